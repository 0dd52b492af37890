//! Moves a sum into the convolution that makes one of its operands, if nothing else reads that operand, as at the end
//! of a residual block. The convolution's own map is not stored.

use crate::graph::{Activation, Binary, BinaryKind, Ending, Graph, Op, ValueId};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Graph, shapes: &[Option<Shape>]) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let Some((convolution, summand, activation)) = find(graph, shapes, i) else {
            i += 1;
            continue;
        };
        // At the position of the sum, because the other operand may be made in between.
        let mut node = graph.nodes[convolution].clone();
        if let Op::Conv(conv) = &mut node.op {
            (conv.ending, conv.activation) = (Ending::Add, activation);
        }
        node.inputs.push(summand);
        node.outputs.clone_from(&graph.nodes[i].outputs);
        graph.nodes[i] = node;
        graph.nodes.remove(convolution);
    }
}

/// The last convolution that a sum can move into, the other operand, and the activation after the sum.
fn find(graph: &Graph, shapes: &[Option<Shape>], sum: usize) -> Option<(usize, ValueId, Activation)> {
    let sum = &graph.nodes[sum];
    let Op::Binary(Binary { kind: BinaryKind::Add, activation }) = sum.op else { return None };
    let &[a, b] = &sum.inputs[..] else { return None };
    // The lanes past the last channel hold those of the other operand.
    if !activation.is_tame() || shapes[a.index()] != shapes[b.index()] {
        return None;
    }
    let fits = |(own, other): (ValueId, ValueId)| {
        let maker = graph.producer(own)?;
        let Op::Conv(conv) = &graph.nodes[maker].op else { return None };
        let plain = conv.activation == Activation::None && matches!(conv.ending, Ending::Plain);
        (plain && graph.uses(own) == 1).then_some((maker, other, activation))
    };
    [(a, b), (b, a)].into_iter().filter_map(fits).max_by_key(|found| found.0)
}
