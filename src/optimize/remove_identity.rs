//! Removes operators that do nothing at this input size: pads and crops by nothing, pairs of which the second cuts what
//! the first added, moves of no element, and scales by 1.

use super::Editor;
use crate::graph::{Activation, Node, Op, Pad, PadAmount, ValueId};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, shapes: &[Option<Shape>], i: usize) -> bool {
    let to = graph.node(i).outputs[0];
    match same(graph, shapes, i) {
        Some(from) if !(graph.graph().input(from).is_some() && graph.graph().is_output(to)) => {
            graph.remove(i);
            graph.replace(to, &[from]);
            true
        }
        _ => false,
    }
}

/// The input that a node returns unchanged.
fn same(graph: &Editor<'_>, shapes: &[Option<Shape>], i: usize) -> Option<ValueId> {
    let node = graph.node(i);
    let &from = node.inputs.first()?;
    let unchanged = match &node.op {
        Op::Rearrange(rearrange) => rearrange.is_identity(),
        Op::Activation(activation) => *activation == Activation::None,
        // The remainder of a division by 1.
        Op::BatchNorm(norm) => {
            norm.activation == Activation::None
                && norm.scale.iter().all(|&scale| scale == 1.0)
                && norm.shift.iter().all(|&shift| shift == 0.0)
        }
        _ => false,
    };
    if unchanged {
        return Some(from);
    }
    let added = added(node, shapes)?;
    if added == [0; 4] {
        return Some(from);
    }
    let before = graph.node(graph.maker(from)?);
    let first = self::added(before, shapes)?;
    (0..4).all(|side| first[side] >= 0 && first[side] + added[side] == 0).then_some(before.inputs[0])
}

/// Rows above, columns left, rows below and columns right that a pad or crop adds; negative for those it removes.
fn added(node: &Node, shapes: &[Option<Shape>]) -> Option<[isize; 4]> {
    match node.op {
        Op::Pad(Pad { amount: PadAmount::Fixed(amounts), .. }) => Some(amounts),
        Op::Pad(_) | Op::Crop(_) => {
            let (from, to) = (shapes[node.inputs[0].index()]?, shapes[node.outputs[0].index()]?);
            Some([0, 0, to.h as isize - from.h as isize, to.w as isize - from.w as isize])
        }
        _ => None,
    }
}
