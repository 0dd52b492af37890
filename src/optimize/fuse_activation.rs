//! Moves an activation into the epilogue of the node that makes its input, if nothing else reads that input.

use super::{absorb, sole_producer};
use crate::graph::{Activation, Graph, Op};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Graph, _: &[Option<Shape>]) {
    let mut i = 0;
    while i < graph.nodes.len() {
        match (&graph.nodes[i].op, sole_producer(graph, i)) {
            (&Op::Activation(activation), Some(producer)) => match epilogue(&mut graph.nodes[producer].op) {
                Some(slot) if *slot == Activation::None && activation.is_fusable() => {
                    *slot = activation;
                    absorb(graph, producer, i);
                }
                _ => i += 1,
            },
            _ => i += 1,
        }
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
