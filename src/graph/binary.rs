//! Arithmetic on two tensors and their comparison, element by element. Shader: `pointwise.wgsl`.

use super::{Activation, Operator, two};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// The operation on two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum BinaryKind {
    /// `a + b`.
    #[default]
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// The smaller one; NaN if either is.
    Min,
    /// The larger one; NaN if either is.
    Max,
    /// `a` to the power of `b`. NaN for negative `a`, unless `b` is an integer.
    Pow,
    /// 1 if `a < b`, else 0.
    Less,
    /// 1 if `a <= b`, else 0.
    LessOrEqual,
    /// 1 if `a` equals `b`, else 0.
    Equal,
    /// `a / b` rounded toward zero, for whole numbers below 2^24.
    Quotient,
    /// What the quotient leaves of `a`: the sign is that of `a`. Exact for whole numbers below 2^24.
    Remainder,
    /// The remainder with the sign of `b`. Exact for whole numbers below 2^24.
    Modulo,
}

/// Element-wise arithmetic on two tensors. Each extent must be the same in both, or 1 in one of them (NumPy's
/// broadcasting).
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct Binary {
    /// The operation.
    pub kind: BinaryKind,
    /// Applied to the result.
    pub activation: Activation,
}

impl Binary {
    /// The sum of two tensors.
    pub const ADD: Binary = Binary::new(BinaryKind::Add);

    /// Without an activation.
    pub const fn new(kind: BinaryKind) -> Binary {
        Binary { kind, activation: Activation::None }
    }
}

impl BinaryKind {
    /// The result for two elements.
    #[inline]
    pub fn of(self, a: f32, b: f32) -> f32 {
        match self {
            BinaryKind::Add => a + b,
            BinaryKind::Sub => a - b,
            BinaryKind::Mul => a * b,
            BinaryKind::Div => a / b,
            BinaryKind::Min => {
                if b > a || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            BinaryKind::Max => {
                if b < a || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            BinaryKind::Pow => a.powf(b),
            BinaryKind::Less => f32::from(a < b),
            BinaryKind::LessOrEqual => f32::from(a <= b),
            BinaryKind::Equal => f32::from(a == b),
            BinaryKind::Quotient => (a / b).trunc(),
            BinaryKind::Remainder => a % b,
            BinaryKind::Modulo => {
                let rest = a % b;
                if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
            }
        }
    }
}

/// The shape that both are broadcast to.
pub(super) fn broadcast(a: Shape, b: Shape) -> Result<Shape> {
    let extent = |a: usize, b: usize| (a == b || a == 1 || b == 1).then_some(if a == 1 { b } else { a });
    match (extent(a.n, b.n), extent(a.c, b.c), extent(a.h, b.h), extent(a.w, b.w)) {
        (Some(n), Some(c), Some(h), Some(w)) => Ok(Shape { n, c, h, w }),
        _ => Err(Error::shape("operands", format!("{a}, or 1 in place of an extent"), b)),
    }
}

impl Operator for Binary {
    fn name(&self) -> &'static str {
        match self.kind {
            BinaryKind::Add => "add",
            BinaryKind::Sub => "sub",
            BinaryKind::Mul => "mul",
            BinaryKind::Div => "div",
            BinaryKind::Min => "min",
            BinaryKind::Max => "max",
            BinaryKind::Pow => "pow",
            BinaryKind::Less => "less",
            BinaryKind::LessOrEqual => "less_or_equal",
            BinaryKind::Equal => "equal",
            BinaryKind::Quotient => "quotient",
            BinaryKind::Remainder => "remainder",
            BinaryKind::Modulo => "modulo",
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let (a, b) = two(inputs)?;
        Ok(vec![broadcast(a, b)?])
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        if inputs[0].shape() == inputs[1].shape() {
            let (a, b) = (inputs[0].data().par_chunks(1 << 16), inputs[1].data().par_chunks(1 << 16));
            outputs[0].data_mut().par_chunks_mut(1 << 16).zip(a.zip(b)).for_each(|(y, (a, b))| {
                y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (&a, &b))| *y = self.kind.of(a, b));
                self.activation.apply(y);
            });
            return;
        }
        let width = outputs[0].shape().w;
        outputs[0].par_planes(|n, c, y| {
            for (row, y) in y.chunks_mut(width).enumerate() {
                let [(a, along_a), (b, along_b)] = [inputs[0], inputs[1]].map(|x| spread_row(x, n, c, row));
                for (column, y) in y.iter_mut().enumerate() {
                    *y = self.kind.of(a[column * along_a], b[column * along_b]);
                }
            }
            self.activation.apply(y);
        });
    }
}

/// The row of an operand for a position in the result, and its step from column to column.
#[cfg(feature = "cpu")]
pub(super) fn spread_row(x: &Tensor, n: usize, c: usize, row: usize) -> (&[f32], usize) {
    let s = x.shape();
    let within = |place: usize, extent: usize| if extent == 1 { 0 } else { place };
    let plane = x.plane(within(n, s.n), within(c, s.c));
    (&plane[within(row, s.h) * s.w..][..s.w], usize::from(s.w > 1))
}
