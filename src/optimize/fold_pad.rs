//! Moves a pad into the only operator that reads it: zeros into a convolution, numbers that nothing is below into a max
//! pool.

use super::Editor;
use crate::graph::{Op, Pad, PadAmount, PoolKind};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, shapes: &[Option<Shape>], i: usize) -> bool {
    let Some(maker) = graph.sole_maker(i) else { return false };
    let Op::Pad(Pad { amount: PadAmount::Fixed(amounts), mode }) = graph.node(maker).op else { return false };
    let Some(value) = mode.value().filter(|_| amounts.iter().all(|&amount| amount >= 0)) else {
        return false;
    };
    let (from, to) = (graph.node(maker).inputs[0], graph.node(i).outputs[0]);
    let mut op = graph.node(i).op.clone();
    let padding = match &mut op {
        Op::Conv(conv) if value == 0.0 => &mut conv.padding,
        Op::Pool(pool) if pool.kind == PoolKind::Max && value <= f32::MIN => &mut pool.padding,
        _ => return false,
    };
    padding.iter_mut().zip(amounts).for_each(|(side, amount)| *side += amount.unsigned_abs());
    // A pool refuses windows in the padding alone, and one that rounds up drops those that begin behind the picture.
    let same = op.rules().infer(&[shapes[from.index()].expect("a node that runs has shapes")]);
    if same.ok().is_none_or(|made| Some(made[0]) != shapes[to.index()]) {
        return false;
    }
    *graph.op_mut(i) = op;
    graph.set_inputs(i, vec![from]);
    graph.remove(maker);
    true
}
