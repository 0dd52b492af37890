//! Moves a 1x1 convolution to at most four channels, the usual end of a network, into the convolution before it, if
//! nothing else reads the map between them. The wide map is not stored.

use super::{absorb, sole_producer};
use crate::graph::{Activation, Ending, Graph, Op};
use crate::tensor::Shape;
use std::sync::Arc;

/// Output channels of a head: one vec4.
const CHANNELS: usize = 4;

pub(super) fn apply(graph: &mut Graph, _: &[Option<Shape>]) {
    let mut i = 0;
    while i < graph.nodes.len() {
        match sole_producer(graph, i) {
            Some(producer) if fuse(graph, producer, i) => absorb(graph, producer, i),
            _ => i += 1,
        }
    }
}

fn fuse(graph: &mut Graph, producer: usize, head: usize) -> bool {
    let Op::Conv(head) = graph.nodes[head].op.clone() else { return false };
    let pointwise = head.kernel() == [1, 1] && head.stride == [1, 1] && head.padding == [0; 4];
    let plain = head.groups == 1 && matches!(head.ending, Ending::Plain);
    let ends = matches!(head.activation, Activation::None | Activation::Sigmoid);
    match &mut graph.nodes[producer].op {
        Op::Conv(conv) if conv.groups == 1 && matches!(conv.ending, Ending::Plain) => {
            let fits = pointwise && plain && ends && head.out_channels() <= CHANNELS;
            if fits {
                conv.ending = Ending::Head(Arc::new(head));
            }
            fits
        }
        _ => false,
    }
}
