//! Pads and crops that keep every extent at this input size, alone or one behind the other, and what else does nothing,
//! go away.

use crate::graph::{Activation, Graph, Op, ValueId};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Graph, shapes: &[Option<Shape>]) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let node = &graph.nodes[i];
        let &[before, ..] = &node.inputs[..] else {
            i += 1;
            continue;
        };
        let to = node.outputs[0];
        let padded = padded(graph, i).filter(|from| shapes[from.index()] == shapes[to.index()]);
        let from = padded.unwrap_or(before);
        let unchanged = match node.op {
            Op::Pad(_) | Op::Crop(_) => shapes[from.index()] == shapes[to.index()],
            Op::Rearrange(ref rearrange) => rearrange.is_identity(),
            Op::Activation(Activation::None) => true,
            // What is left of a division by 1.
            Op::BatchNorm(ref norm) => {
                norm.activation == Activation::None
                    && norm.scale.iter().all(|&scale| scale == 1.0)
                    && norm.shift.iter().all(|&shift| shift == 0.0)
            }
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
            if padded.is_some() && graph.uses(before) == 0 {
                graph.nodes.retain(|n| n.outputs[0] != before);
                i -= 1;
            }
        } else {
            i += 1;
        }
    }
}

/// What was padded below and right before this crop.
fn padded(graph: &Graph, crop: usize) -> Option<ValueId> {
    let node = &graph.nodes[crop];
    let before = &graph.nodes[graph.producer(*node.inputs.first()?)?];
    match (&node.op, &before.op) {
        (Op::Crop(_), Op::Pad(pad)) if pad.origin() == [0, 0] => Some(before.inputs[0]),
        _ => None,
    }
}
