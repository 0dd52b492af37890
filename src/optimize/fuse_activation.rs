//! Moves an activation into the epilogue of the node that makes its input, if nothing else reads that input.

use super::Editor;
use crate::graph::{Activation, Op};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, _: &[Option<Shape>], i: usize) -> bool {
    let Op::Activation(activation) = graph.node(i).op else { return false };
    let Some(maker) = graph.sole_maker(i).filter(|_| activation.is_fusable()) else { return false };
    match epilogue(graph.op_mut(maker)) {
        Some(slot) if *slot == Activation::None => {
            *slot = activation;
            graph.absorb(maker, i);
            true
        }
        _ => false,
    }
}

fn epilogue(op: &mut Op) -> Option<&mut Activation> {
    match op {
        Op::Conv(conv) => Some(&mut conv.activation),
        Op::ConvTranspose(conv) => Some(&mut conv.activation),
        Op::BatchNorm(norm) => Some(&mut norm.activation),
        Op::Norm(norm) => Some(&mut norm.activation),
        Op::Binary(binary) => Some(&mut binary.activation),
        _ => None,
    }
}
