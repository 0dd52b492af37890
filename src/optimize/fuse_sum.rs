//! Moves a sum into the convolution or norm that makes one of its operands, if nothing else reads that operand, as at the
//! end of a residual block. The operand's own map is not stored.

use super::Editor;
use crate::graph::{Activation, Binary, BinaryKind, Ending, NormOver, Op, ValueId};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, shapes: &[Option<Shape>], i: usize) -> bool {
    let Some((maker, summand, activation)) = find(graph, shapes, i) else { return false };
    // The operator moves to the position of the sum, because the other operand may be made in between.
    let node = graph.node(maker);
    let (mut op, inputs) = (node.op.clone(), [&node.inputs[..], &[summand]].concat());
    match &mut op {
        Op::Conv(conv) => (conv.ending, conv.activation) = (Ending::Add, activation),
        Op::Norm(norm) => (norm.add, norm.activation) = (true, activation),
        _ => return false,
    }
    graph.set_node(i, &graph.node(maker).name.clone(), op, inputs);
    graph.remove(maker);
    true
}

/// The last operator that a sum can move into, the other operand, and the activation after the sum.
fn find(graph: &Editor<'_>, shapes: &[Option<Shape>], sum: usize) -> Option<(usize, ValueId, Activation)> {
    let sum = graph.node(sum);
    let Op::Binary(Binary { kind: BinaryKind::Add, activation }) = sum.op else { return None };
    let &[a, b] = &sum.inputs[..] else { return None };
    // The lanes past the last channel hold those of the other operand.
    if !activation.is_tame() || shapes[a.index()] != shapes[b.index()] {
        return None;
    }
    let fits = |(own, other): (ValueId, ValueId)| {
        let maker = graph.maker(own)?;
        let plain = match &graph.node(maker).op {
            Op::Conv(conv) => conv.activation == Activation::None && matches!(conv.ending, Ending::Plain),
            Op::Norm(norm) => {
                norm.activation == Activation::None && !norm.add && matches!(norm.over, NormOver::Groups(_))
            }
            _ => false,
        };
        (plain && graph.uses(own) == 1).then_some((maker, other, activation))
    };
    [(a, b), (b, a)].into_iter().filter_map(fits).max_by_key(|found| found.0)
}
