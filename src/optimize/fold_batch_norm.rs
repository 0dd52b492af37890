//! Conv or ConvTranspose, then BatchNorm: scale the weights, shift the bias, drop the norm.

use super::{absorb, sole_producer};
use crate::graph::{Activation, BatchNorm, Graph, Op};
use crate::tensor::Tensor;
use std::sync::Arc;

pub(super) fn apply(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        match sole_producer(graph, i) {
            Some(producer) if fold(graph, producer, i) => absorb(graph, producer, i),
            _ => i += 1,
        }
    }
}

fn fold(graph: &mut Graph, producer: usize, norm: usize) -> bool {
    let Op::BatchNorm(norm) = graph.nodes[norm].op.clone() else { return false };
    match &mut graph.nodes[producer].op {
        Op::Conv(conv) if conv.activation == Activation::None => {
            let per_channel = conv.weight.data().len() / conv.out_channels();
            conv.weight = scaled(&conv.weight, &norm, |i| i / per_channel);
            conv.bias = Some(shifted(conv.bias.as_deref(), &norm));
            conv.activation = norm.activation;
        }
        Op::ConvTranspose(conv) if conv.activation == Activation::None => {
            let shape = conv.weight.shape();
            let (taps, ins) = (shape.h * shape.w, shape.n / conv.groups);
            let channel = |i: usize| i / (ins * shape.c * taps) * shape.c + i / taps % shape.c;
            conv.weight = scaled(&conv.weight, &norm, channel);
            conv.bias = Some(shifted(conv.bias.as_deref(), &norm));
            conv.activation = norm.activation;
        }
        _ => return false,
    }
    true
}

fn scaled(weight: &Tensor, norm: &BatchNorm, channel: impl Fn(usize) -> usize) -> Arc<Tensor> {
    Arc::new(Tensor::from_fn(weight.shape(), |i| weight.data()[i] * norm.scale[channel(i)]))
}

fn shifted(bias: Option<&[f32]>, norm: &BatchNorm) -> Arc<[f32]> {
    let bias = |c: usize| bias.map_or(0.0, |b| f64::from(b[c]));
    (0..norm.scale.len())
        .map(|c| (bias(c) * f64::from(norm.scale[c]) + f64::from(norm.shift[c])) as f32)
        .collect()
}
