//! Recognises functions that exporters write as several nodes and replaces them by one operator: SiLU, hard swish,
//! Mish, GELU, and instance and layer norm written as means and differences.

use super::Editor;
use crate::graph::{Activation, BatchNorm, BinaryKind, Node, Norm, NormOver, Op, ReduceKind, ValueId};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, shapes: &[Option<Shape>], i: usize) -> bool {
    let reader = Reader { graph, shapes };
    let found = reader.activation(graph.node(i)).map(|(x, activation)| (x, Op::from(activation)));
    let Some((x, op)) = found.or_else(|| reader.norm(graph.node(i)).map(|(x, norm)| (x, norm.into()))) else {
        return false;
    };
    *graph.op_mut(i) = op;
    graph.set_inputs(i, vec![x]);
    true
}

/// Matches patterns from their last node backwards.
struct Reader<'a> {
    graph: &'a Editor<'a>,
    shapes: &'a [Option<Shape>],
}

impl Reader<'_> {
    fn maker(&self, id: ValueId) -> Option<&Node> {
        self.graph.maker(id).map(|i| self.graph.node(i))
    }

    /// The operand of the activation that makes this value.
    fn activated(&self, id: ValueId, wanted: impl Fn(Activation) -> bool) -> Option<ValueId> {
        match self.maker(id)? {
            Node { op: Op::Activation(activation), inputs, .. } if wanted(*activation) => Some(inputs[0]),
            _ => None,
        }
    }

    /// The operand of `x * scale + shift`, with the same numbers in all channels.
    fn affine(&self, id: ValueId, scale: f32, shift: f32) -> Option<ValueId> {
        let close =
            |values: &[f32], wanted: f32| values.iter().all(|v| (v - wanted).abs() <= 1e-6 * wanted.abs());
        match self.maker(id)? {
            Node {
                op: Op::BatchNorm(BatchNorm { scale: s, shift: t, activation: Activation::None }),
                inputs,
                ..
            } if close(s, scale) && close(t, shift) => Some(inputs[0]),
            _ => None,
        }
    }

    /// The operands of arithmetic on two tensors.
    fn binary(&self, node: &Node, kind: BinaryKind) -> Option<[ValueId; 2]> {
        match (&node.op, &node.inputs[..]) {
            (Op::Binary(binary), &[a, b]) if binary.kind == kind && binary.activation == Activation::None => {
                Some([a, b])
            }
            _ => None,
        }
    }

    /// The factors of a product, in both orders.
    fn factors(&self, node: &Node) -> impl Iterator<Item = (ValueId, ValueId)> {
        let pair = self.binary(node, BinaryKind::Mul);
        pair.into_iter().flat_map(|[a, b]| [(a, b), (b, a)])
    }

    fn activation(&self, node: &Node) -> Option<(ValueId, Activation)> {
        let six = Activation::Clip { min: 0.0, max: 6.0 };
        let clipped = |id: ValueId| self.affine(self.activated(id, |a| a == six)?, 1.0, 3.0);
        for (x, gate) in self.factors(node) {
            let gated = |by: Activation| self.activated(gate, |a| a == by) == Some(x);
            let hard = |a: Activation| match a {
                Activation::HardSigmoid { alpha, beta } => (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5,
                _ => false,
            };
            if gated(Activation::Sigmoid) {
                return Some((x, Activation::Silu));
            }
            if self.activated(gate, hard) == Some(x)
                || self.affine(gate, 1.0 / 6.0, 0.0).and_then(clipped) == Some(x)
            {
                return Some((x, Activation::HardSwish));
            }
            let soft = self.activated(gate, |a| a == Activation::Tanh);
            if soft.and_then(|id| self.activated(id, |a| a == Activation::Softplus)) == Some(x) {
                return Some((x, Activation::Mish));
            }
            // x / 2 * (1 + erf(x / sqrt 2)), the half first.
            if let Some(whole) = self.affine(x, 0.5, 0.0)
                && self.erf_gate(gate) == Some(whole)
            {
                return Some((whole, Activation::Gelu));
            }
        }
        // The same, the half last; and hard swish, the sixth last.
        let last = |scale: f32| match &node.op {
            Op::BatchNorm(_) => self.affine(node.outputs[0], scale, 0.0).and_then(|id| self.maker(id)),
            _ => None,
        };
        if let Some(product) = last(0.5) {
            let found = self.factors(product).find(|&(x, gate)| self.erf_gate(gate) == Some(x));
            return found.map(|(x, _)| (x, Activation::Gelu));
        }
        let product = last(1.0 / 6.0)?;
        let found = self.factors(product).find(|&(x, gate)| clipped(gate) == Some(x));
        found.map(|(x, _)| (x, Activation::HardSwish))
    }

    /// The operand of `1 + erf(x / sqrt 2)`.
    fn erf_gate(&self, id: ValueId) -> Option<ValueId> {
        let erf = self.activated(self.affine(id, 1.0, 1.0)?, |a| a == Activation::Erf)?;
        self.affine(erf, std::f32::consts::FRAC_1_SQRT_2, 0.0)
    }

    /// The operand of a mean over these axes.
    fn mean(&self, id: ValueId) -> Option<(ValueId, [bool; 3])> {
        match self.maker(id)? {
            Node { op: Op::Reduce(reduce), inputs, .. } if reduce.kind == ReduceKind::Mean => {
                Some((inputs[0], reduce.axes))
            }
            _ => None,
        }
    }

    /// `(x - mean x) / sqrt(mean (x - mean x)^2 + eps)`.
    fn norm(&self, node: &Node) -> Option<(ValueId, Norm)> {
        let [difference, deviation] = self.binary(node, BinaryKind::Div)?;
        let [x, mean] = self.binary(self.maker(difference)?, BinaryKind::Sub)?;
        let (of, axes) = self.mean(mean)?;
        let over = match axes {
            [true, false, false] => NormOver::Channels,
            [false, true, true] => NormOver::Groups(self.shapes[x.index()]?.c),
            [true, true, true] => NormOver::Groups(1),
            _ => return None,
        };
        let sum = self.maker(self.activated(deviation, |a| a == Activation::Sqrt)?)?;
        let (variance, eps) = match &sum.op {
            Op::BatchNorm(BatchNorm { scale, shift, activation: Activation::None })
                if scale.iter().all(|&s| s == 1.0) && shift.iter().all(|&s| s == shift[0]) =>
            {
                (sum.inputs[0], shift[0])
            }
            _ => return None,
        };
        let (square, its_axes) = self.mean(variance)?;
        let squared = match &self.maker(square)?.op {
            Op::Activation(Activation::Square) => self.maker(square)?.inputs[0] == difference,
            _ => self.binary(self.maker(square)?, BinaryKind::Mul) == Some([difference; 2]),
        };
        (of == x && its_axes == axes && squared && eps > 0.0).then(|| (x, Norm::new(over, eps)))
    }
}
