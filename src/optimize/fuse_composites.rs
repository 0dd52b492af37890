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

    /// The operand of `x * scale[c] + shift[c]`.
    fn scaled(&self, id: ValueId) -> Option<(ValueId, &[f32], &[f32])> {
        match self.maker(id)? {
            Node {
                op: Op::BatchNorm(BatchNorm { scale, shift, activation: Activation::None }),
                inputs,
                ..
            } => Some((inputs[0], scale, shift)),
            _ => None,
        }
    }

    /// The operand of `x * scale + shift`, in one or several steps, with the same numbers in all channels.
    fn line(&self, mut id: ValueId) -> (ValueId, f32, f32) {
        let (mut scale, mut shift) = (1.0, 0.0);
        let same = |values: &[f32]| values.iter().all(|&v| v == values[0]);
        while let Some((x, s, t)) = self.scaled(id).filter(|(_, s, t)| same(s) && same(t)) {
            (id, scale, shift) = (x, scale * s[0], shift + scale * t[0]);
        }
        (id, scale, shift)
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

    /// A norm, written as `(x - mean) / deviation`, `(x - mean) * (1 / deviation)`, or as TensorFlow does,
    /// `x * factor + (shift - mean * factor)`.
    fn norm(&self, node: &Node) -> Option<(ValueId, Norm)> {
        if let Some([difference, deviation]) = self.binary(node, BinaryKind::Div) {
            let root = self.activated(deviation, |a| a == Activation::Sqrt)?;
            let (x, mean) = self.difference(difference)?;
            return self.normalised(x, mean, root, &[1.0]);
        }
        let by_factor = |(difference, factor)| {
            let (x, mean) = self.difference(difference)?;
            self.normalised(x, mean, self.under_root(factor)?, &[1.0])
        };
        if let Some(found) = self.factors(node).find_map(by_factor) {
            return Some(found);
        }
        let [a, b] = self.binary(node, BinaryKind::Add)?;
        [(a, b), (b, a)].into_iter().find_map(|(product, rest)| {
            let (moved, signs, shift) = self.scaled(rest)?;
            let (product, moved) = (self.maker(product)?, self.maker(moved)?);
            self.factors(product).find_map(|(x, factor)| {
                let (inverse, scale, zeros) = self.scaled(factor).unwrap_or((factor, &[1.0], &[0.0]));
                let mean = self.factors(moved).find(|pair| pair.1 == factor)?.0;
                let plain = signs.iter().all(|&s| s == -1.0) && zeros.iter().all(|&z| z == 0.0);
                let (x, norm) = self.normalised(x, mean, self.under_root(inverse)?, scale)?;
                let shift = (0..self.shapes[x.index()]?.c).map(|c| shift[c % shift.len()]).collect();
                plain.then_some((x, Norm { shift: Some(shift), ..norm }))
            })
        })
    }

    /// The operands of `x - mean`.
    fn difference(&self, id: ValueId) -> Option<(ValueId, ValueId)> {
        self.binary(self.maker(id)?, BinaryKind::Sub).map(|[x, mean]| (x, mean))
    }

    /// The operand of `1 / sqrt(v)`.
    fn under_root(&self, id: ValueId) -> Option<ValueId> {
        let root = self.activated(id, |a| a == Activation::Reciprocal);
        root.and_then(|id| self.activated(id, |a| a == Activation::Sqrt))
            .or_else(|| self.activated(id, |a| a == Activation::Pow(-0.5)))
    }

    /// `scale * (x - mean) / sqrt(mean (x - mean)^2 * factor + eps)`. The factor is 1, or n / (n - 1) where the variance
    /// is that of a sample.
    fn normalised(
        &self,
        x: ValueId,
        mean: ValueId,
        under_root: ValueId,
        scale: &[f32],
    ) -> Option<(ValueId, Norm)> {
        let (of, axes) = self.mean(mean)?;
        let channels = self.shapes[x.index()]?.c;
        let over = match axes {
            [true, false, false] => NormOver::Channels,
            [false, true, true] => NormOver::Groups(channels),
            [true, true, true] => NormOver::Groups(1),
            _ => return None,
        };
        let (variance, factor, eps) = self.line(under_root);
        let (square, its_axes) = self.mean(variance)?;
        let squared = self.maker(square)?;
        let is_difference = |id: ValueId| self.difference(id) == Some((x, mean));
        let is_square = match &squared.op {
            Op::Activation(Activation::Square) => is_difference(squared.inputs[0]),
            // The mean of a difference is 0, so a number added to one factor changes nothing: PyTorch 0.4 adds 1e-9.
            _ => self.factors(squared).any(|(a, b)| {
                let (b, scale, _) = self.line(b);
                is_difference(a) && is_difference(b) && scale == 1.0
            }),
        };
        if !(of == x && its_axes == axes && is_square && eps > 0.0 && factor > 0.0) {
            return None;
        }
        let mut norm = Norm::new(over, eps / factor);
        if factor != 1.0 || scale.iter().any(|&s| s != 1.0) {
            let each = |c: usize| scale[c % scale.len()] / factor.sqrt();
            norm.scale = Some((0..channels).map(each).collect());
        }
        Some((x, norm))
    }
}
