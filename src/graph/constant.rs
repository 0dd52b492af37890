//! A constant tensor of the network. It has no kernel: operators read it from the weights.

use super::Operator;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// A value without inputs, such as a positional embedding.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Constant(#[serde(with = "super::stored::tensor")] pub Arc<Tensor>);

impl Operator for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [] => Ok(vec![self.0.shape()]),
            _ => Err(Error::shape("inputs", 0, inputs.len())),
        }
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    fn parameters(&self) -> usize {
        self.0.data().len()
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, _: &[&Tensor], outputs: &mut [Tensor]) {
        outputs[0].data_mut().copy_from_slice(self.0.data());
    }
}
