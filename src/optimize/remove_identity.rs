//! Pads and crops that keep every extent at this input size, and what else does nothing, goes away.

use crate::graph::{Activation, Graph, Op};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Graph, shapes: &[Option<Shape>]) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let node = &graph.nodes[i];
        let &[from, ..] = &node.inputs[..] else {
            i += 1;
            continue;
        };
        let to = node.outputs[0];
        let unchanged = match node.op {
            Op::Pad(_) | Op::Crop(_) => shapes[from.index()] == shapes[to.index()],
            Op::Rearrange(ref rearrange) => rearrange.is_identity(),
            Op::Activation(Activation::None) => true,
            _ => false,
        };
        if unchanged && !(from == Graph::INPUT && graph.output == to) {
            graph.nodes.remove(i);
            graph
                .nodes
                .iter_mut()
                .flat_map(|n| &mut n.inputs)
                .filter(|id| **id == to)
                .for_each(|id| *id = from);
            if graph.output == to {
                graph.output = from;
            }
        } else {
            i += 1;
        }
    }
}
