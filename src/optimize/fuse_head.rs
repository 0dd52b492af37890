//! Moves a 1x1 convolution to at most four channels, the usual end of a network, into the convolution before it, if
//! nothing else reads the map between them. The wide map is not stored.

use super::Editor;
use crate::graph::{Activation, Ending, Op};
use crate::tensor::Shape;
use std::sync::Arc;

/// Output channels of a head: one vec4.
const CHANNELS: usize = 4;

pub(super) fn apply(graph: &mut Editor<'_>, _: &[Option<Shape>], i: usize) -> bool {
    let Op::Conv(head) = &graph.node(i).op else { return false };
    let Some(maker) = graph.sole_maker(i) else { return false };
    let pointwise = head.kernel() == [1, 1] && head.stride == [1, 1] && head.padding == [0; 4];
    let plain = head.groups == 1 && matches!(head.ending, Ending::Plain);
    let ends = matches!(head.activation, Activation::None | Activation::Sigmoid);
    if !(pointwise && plain && ends && head.out_channels() <= CHANNELS) {
        return false;
    }
    let head = Arc::new(head.clone());
    match graph.op_mut(maker) {
        Op::Conv(conv) if conv.groups == 1 && matches!(conv.ending, Ending::Plain) => {
            conv.ending = Ending::Head(head);
            graph.absorb(maker, i);
            true
        }
        _ => false,
    }
}
