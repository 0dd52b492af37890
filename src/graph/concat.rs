//! Joins tensors along an axis. Shaders: `concat.wgsl` along channels, used only if no convolution can read the parts;
//! `place.wgsl` along rows or columns.

use super::{Axis, Operator};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// The concatenation of its inputs, in order.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct Concat {
    /// The axis; channels by default.
    pub axis: Axis,
}

/// The shape of tensors joined along channels. All other extents must be equal.
pub(crate) fn joined(inputs: &[Shape]) -> Result<Shape> {
    joined_along(inputs, Axis::C)
}

fn joined_along(inputs: &[Shape], axis: Axis) -> Result<Shape> {
    let Some(&first) = inputs.first() else {
        return Err(Error::shape("inputs", "at least 1", 0));
    };
    let mut sum = 0usize;
    for &x in inputs {
        if axis.with(x, axis.extent(first)) != first {
            return Err(Error::shape("concat", format!("{first} except for its {axis}"), x));
        }
        sum = sum.saturating_add(axis.extent(x));
    }
    Ok(axis.with(first, sum))
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![joined_along(inputs, self.axis)?])
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (len, inner) = self.axis.extents(outputs[0].shape());
        let runs = outputs[0].data_mut().par_chunks_mut(inner).with_min_len(4096 / inner);
        runs.enumerate().for_each(|(i, y)| {
            let (block, mut place) = (i / len, i % len);
            for x in inputs {
                let own = self.axis.extent(x.shape());
                if place < own {
                    return y.copy_from_slice(&x.data()[(block * own + place) * inner..][..inner]);
                }
                place -= own;
            }
        });
    }
}
