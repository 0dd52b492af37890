//! Folds a BatchNorm into the convolution before it: its scale goes to the weights, its shift to the bias. After a norm
//! or another BatchNorm, the two scales and shifts become one.

use super::Editor;
use crate::graph::{Activation, BatchNorm, Op};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

pub(super) fn apply(graph: &mut Editor<'_>, _: &[Option<Shape>], i: usize) -> bool {
    let Op::BatchNorm(norm) = &graph.node(i).op else { return false };
    let Some(maker) = graph.sole_maker(i) else { return false };
    let norm = norm.clone();
    match graph.op_mut(maker) {
        Op::Conv(conv) if conv.activation == Activation::None => {
            let per_channel = conv.weight.data().len() / conv.out_channels();
            conv.weight = scaled(&conv.weight, &norm, |i| i / per_channel);
            conv.bias = Some(biased(conv.bias.as_deref(), &norm));
            conv.activation = norm.activation;
        }
        Op::ConvTranspose(conv) if conv.activation == Activation::None => {
            let shape = conv.weight.shape();
            let (taps, ins) = (shape.h * shape.w, shape.n / conv.groups);
            let channel = |i: usize| i / (ins * shape.c * taps) * shape.c + i / taps % shape.c;
            conv.weight = scaled(&conv.weight, &norm, channel);
            conv.bias = Some(biased(conv.bias.as_deref(), &norm));
            conv.activation = norm.activation;
        }
        Op::BatchNorm(first) if first.activation == Activation::None => {
            first.shift = shifted(&first.shift, &norm);
            first.scale = first.scale.iter().zip(&*norm.scale).map(|(a, b)| a * b).collect();
            first.activation = norm.activation;
        }
        Op::Norm(first) if first.activation == Activation::None => {
            let shift: Arc<[f32]> = match &first.shift {
                Some(shift) => shifted(shift, &norm),
                None => norm.shift.clone(),
            };
            let scale = match &first.scale {
                Some(scale) => scale.iter().zip(&*norm.scale).map(|(a, b)| a * b).collect(),
                None => norm.scale.clone(),
            };
            (first.scale, first.shift, first.activation) = (Some(scale), Some(shift), norm.activation);
        }
        _ => return false,
    }
    graph.absorb(maker, i);
    true
}

fn scaled(weight: &Tensor, norm: &BatchNorm, channel: impl Fn(usize) -> usize) -> Arc<Tensor> {
    Arc::new(Tensor::from_fn(weight.shape(), |i| weight.data()[i] * norm.scale[channel(i)]))
}

fn biased(bias: Option<&[f32]>, norm: &BatchNorm) -> Arc<[f32]> {
    bias.map_or_else(|| norm.shift.clone(), |bias| shifted(bias, norm))
}

fn shifted(bias: &[f32], norm: &BatchNorm) -> Arc<[f32]> {
    let one = |(bias, (scale, shift)): (&f32, (&f32, &f32))| {
        (f64::from(*bias) * f64::from(*scale) + f64::from(*shift)) as f32
    };
    bias.iter().zip(norm.scale.iter().zip(&*norm.shift)).map(one).collect()
}
