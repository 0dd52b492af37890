//! Lets a convolution read both parts of a concatenation. The joined tensor is not made.

use crate::graph::{Axis, Concat, Graph, Op};
use crate::tensor::Shape;

/// Tensors that a convolution kernel can read side by side.
pub(crate) const SOURCES: usize = 2;

pub(super) fn apply(graph: &mut Graph, _: &[Option<Shape>]) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let joined = graph.nodes[i].outputs[0];
        let readable = !graph.is_output(joined)
            && matches!(graph.nodes[i].op, Op::Concat(Concat { axis: Axis::C }))
            && graph.nodes[i].inputs.len() <= SOURCES
            && graph
                .nodes
                .iter()
                .filter(|n| n.inputs.contains(&joined))
                .all(|n| n.inputs.len() == 1 && matches!(&n.op, Op::Conv(conv) if conv.groups == 1));
        if readable {
            let parts = graph.nodes.remove(i).inputs;
            graph.nodes.iter_mut().filter(|n| n.inputs == [joined]).for_each(|n| n.inputs.clone_from(&parts));
        } else {
            i += 1;
        }
    }
}
