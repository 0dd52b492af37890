//! Makes a 2x2 max pool the second output of the convolution that makes its input.

use super::Editor;
use crate::graph::{Ending, Op, Pool};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, _: &[Option<Shape>], i: usize) -> bool {
    let Op::Pool(pool) = graph.node(i).op else { return false };
    if pool != Pool::MAX_2X2 {
        return false;
    }
    let Some(maker) = graph.maker(graph.node(i).inputs[0]) else { return false };
    match graph.op_mut(maker) {
        Op::Conv(conv) if matches!(conv.ending, Ending::Plain) => {
            conv.ending = Ending::Pool;
            let pooled = graph.remove(i);
            let outputs = [&graph.node(maker).outputs[..], &pooled].concat();
            graph.set_outputs(maker, outputs);
            true
        }
        _ => false,
    }
}
