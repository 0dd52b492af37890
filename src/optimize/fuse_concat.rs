//! Lets a convolution read both parts of a concatenation. The joined tensor is not made.

use super::Editor;
use crate::graph::{Axis, Concat, Op};
use crate::tensor::Shape;

/// Tensors that a convolution kernel can read side by side.
pub(crate) const SOURCES: usize = 2;

pub(super) fn apply(graph: &mut Editor<'_>, _: &[Option<Shape>], i: usize) -> bool {
    let node = graph.node(i);
    let joined = node.outputs[0];
    let readable = matches!(node.op, Op::Concat(Concat { axis: Axis::C }))
        && node.inputs.len() <= SOURCES
        && !graph.graph().is_output(joined)
        && graph
            .readers(joined)
            .all(|n| n.inputs.len() == 1 && matches!(&n.op, Op::Conv(conv) if conv.groups == 1));
    if readable {
        let parts = node.inputs.clone();
        graph.remove(i);
        graph.replace(joined, &parts);
    }
    readable
}
