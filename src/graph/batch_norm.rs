//! Batch normalisation at inference: one scale and one shift for each channel. Shader: `pointwise.wgsl`.

use super::{Activation, Operator, one};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
use std::sync::Arc;

/// `y = activation(scale[c] * x + shift[c])`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct BatchNorm {
    /// One factor for each channel.
    #[serde(with = "super::stored::vector")]
    pub scale: Arc<[f32]>,
    /// One summand for each channel.
    #[serde(with = "super::stored::vector")]
    pub shift: Arc<[f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl BatchNorm {
    /// Computes scale and shift from the trained statistics: `scale = gamma / sqrt(var + eps)`, `shift = beta - mean *
    /// scale` (Ioffe and Szegedy 2015), in f64.
    pub fn new(gamma: &[f32], beta: &[f32], mean: &[f32], var: &[f32], eps: f64) -> Result<BatchNorm> {
        if [beta.len(), mean.len(), var.len()].iter().any(|&l| l != gamma.len()) {
            return Err(Error::shape("batch_norm", format!("four vectors of {}", gamma.len()), "others"));
        }
        let scale: Vec<f64> =
            gamma.iter().zip(var).map(|(&g, &v)| f64::from(g) / (f64::from(v) + eps).sqrt()).collect();
        let shift =
            beta.iter().zip(mean).zip(&scale).map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32);
        Ok(BatchNorm {
            shift: shift.collect(),
            scale: scale.iter().map(|&s| s as f32).collect(),
            activation: Activation::None,
        })
    }
}

impl Operator for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let x = one(inputs)?;
        if x.c != self.scale.len() || x.c != self.shift.len() {
            return Err(Error::shape("batch_norm", format!("{} channels", self.scale.len()), x.c));
        }
        Ok(vec![x])
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        outputs[0].par_planes(|n, c, y| {
            for (y, x) in y.iter_mut().zip(inputs[0].plane(n, c)) {
                *y = self.scale[c] * x + self.shift[c];
            }
            self.activation.apply(y);
        });
    }

    fn flops(&self, inputs: &[Shape], _: &[Shape]) -> u64 {
        2 * inputs[0].elements() as u64
    }

    fn parameters(&self) -> usize {
        self.scale.len() + self.shift.len()
    }
}
