//! Makes a 2x2 max pool the second output of the convolution that makes its input.

use super::Editor;
use crate::graph::{Ending, Op, PoolKind};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, _: &[Option<Shape>], i: usize) -> bool {
    let Op::Pool(pool) = graph.node(i).op else { return false };
    let plain = pool.kind == PoolKind::Max
        && (pool.kernel, pool.stride, pool.padding) == ([2, 2], [2, 2], [0; 4])
        && (pool.dilation, pool.ceil) == ([1, 1], false);
    let Some(maker) = graph.maker(graph.node(i).inputs[0]).filter(|_| plain) else { return false };
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
