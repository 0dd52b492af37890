//! Pointwise non-linearities and sums. Shaders: `activation.wgsl`, `add.wgsl`; fused, `common.wgsl`.

use super::{Operator, one, two};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// A pointwise non-linearity, as an operator or fused behind another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `x` where it is not negative, else 0. NaN stays NaN.
    Relu,
    /// `x` where it is not negative, else `slope * x`.
    LeakyRelu(f32),
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl Activation {
    /// The function's value.
    #[inline]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Activation::None => x,
            Activation::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Activation::LeakyRelu(slope) => {
                if x < 0.0 {
                    slope * x
                } else {
                    x
                }
            }
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }

    /// Applies the function in place, the choice hoisted out of the loop.
    #[cfg(feature = "cpu")]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
            Activation::LeakyRelu(slope) => {
                values.iter_mut().for_each(|v| *v = if *v < 0.0 { slope * *v } else { *v })
            }
            Activation::Sigmoid => values.iter_mut().for_each(|v| *v = self.of(*v)),
        }
    }
}

impl Operator for Activation {
    fn name(&self) -> &'static str {
        match self {
            Activation::None => "identity",
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Sigmoid => "sigmoid",
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        match self {
            Activation::LeakyRelu(slope) if !slope.is_finite() => {
                Err(Error::shape("leaky_relu", "a finite slope", slope))
            }
            _ => Ok(vec![one(inputs)?]),
        }
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let chunks = outputs[0].data_mut().par_chunks_mut(1 << 16);
        chunks.zip(inputs[0].data().par_chunks(1 << 16)).for_each(|(y, x)| {
            y.copy_from_slice(x);
            self.apply(y);
        });
    }
}

/// Element-wise sum of two tensors of one shape.
#[derive(Debug, Clone, Copy, Default)]
pub struct Add {
    /// Applied to the sum.
    pub activation: Activation,
}

impl Operator for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let (a, b) = two(inputs)?;
        if a != b {
            return Err(Error::shape("add", a, b));
        }
        Ok(vec![a])
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (a, b) = (inputs[0].data().par_chunks(1 << 16), inputs[1].data().par_chunks(1 << 16));
        outputs[0].data_mut().par_chunks_mut(1 << 16).zip(a.zip(b)).for_each(|(y, (a, b))| {
            y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = a + b);
            self.activation.apply(y);
        });
    }
}
