//! Moves a pad into the only operator that reads it: zeros, the edge and the reflection into a convolution, numbers that
//! nothing is below into a max pool.

use super::Editor;
use crate::graph::{Conv, Op, Pad, PadAmount, PadMode, PoolKind};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, shapes: &[Option<Shape>], i: usize) -> bool {
    let Some(maker) = graph.sole_maker(i) else { return false };
    let Op::Pad(Pad { amount: PadAmount::Fixed(amounts), mode }) = graph.node(maker).op else { return false };
    if amounts.iter().any(|&amount| amount < 0) {
        return false;
    }
    let amounts = amounts.map(isize::unsigned_abs);
    let (from, to) = (graph.node(maker).inputs[0], graph.node(i).outputs[0]);
    let own = shapes[from.index()].expect("a node that runs has shapes");
    let mut op = graph.node(i).op.clone();
    let padding = match &mut op {
        Op::Conv(conv) if mode.value() == Some(0.0) && conv.outside == PadMode::Zero => &mut conv.padding,
        Op::Conv(conv) if continues(conv, mode, amounts, own) => {
            conv.outside = mode;
            &mut conv.padding
        }
        Op::Pool(pool)
            if pool.kind == PoolKind::Max && mode.value().is_some_and(|value| value <= f32::MIN) =>
        {
            &mut pool.padding
        }
        _ => return false,
    };
    padding.iter_mut().zip(amounts).for_each(|(side, amount)| *side += amount);
    // A pool refuses windows in the padding alone, and one that rounds up drops those that begin behind the picture.
    let same = op.rules().infer(&[own]);
    if same.ok().is_none_or(|made| Some(made[0]) != shapes[to.index()]) {
        return false;
    }
    *graph.op_mut(i) = op;
    graph.set_inputs(i, vec![from]);
    graph.remove(maker);
    true
}

/// Whether a convolution can continue its input like this: it pads with nothing else, and a reflection does not turn
/// back within the padding.
fn continues(conv: &Conv, mode: PadMode, [top, left, bottom, right]: [usize; 4], own: Shape) -> bool {
    let once = top.max(bottom) < own.h && left.max(right) < own.w;
    let fits = mode == PadMode::Edge || mode == PadMode::Reflect && once;
    fits && conv.groups == 1 && conv.padding == [0; 4]
}
