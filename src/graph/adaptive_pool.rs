//! Means over a given number of windows, whatever the size of the input. Shader: `adaptive_pool.wgsl`.

use super::operator::MAX_ATTRIBUTE;
use super::{Axis, Operator, Reach, one};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use std::ops::Range;

/// The means of `to` windows along an axis. Window `i` of `count` elements covers those from `floor(i * count / to)` up to
/// `ceil((i + 1) * count / to)`. Along rows and then columns, it is PyTorch's `AdaptiveAvgPool2d`.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct AdaptivePool {
    /// Rows or columns.
    pub axis: Axis,
    /// The number of windows.
    pub to: usize,
}

impl AdaptivePool {
    /// The elements of a window.
    #[cfg(feature = "cpu")]
    fn window(self, i: usize, count: usize) -> Range<usize> {
        i * count / self.to..((i + 1) * count).div_ceil(self.to)
    }
}

impl Operator for AdaptivePool {
    fn name(&self) -> &'static str {
        "adaptive_average_pool"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let (x, to) = (one(inputs)?, self.to);
        if !(1..=MAX_ATTRIBUTE).contains(&to) {
            return Err(Error::shape("adaptive_average_pool", format!("1 to {MAX_ATTRIBUTE} windows"), to));
        }
        let (y, count) = match self.axis {
            Axis::C => return Err(Error::shape("axis", "rows or columns", self.axis)),
            Axis::H => (Shape { h: to, ..x }, x.h),
            Axis::W => (Shape { w: to, ..x }, x.w),
        };
        // The kernel multiplies them in 32 bits.
        match (to + 1).checked_mul(count).is_some_and(|product| product < 1 << 32) {
            true => Ok(vec![y]),
            false => {
                Err(Error::shape("adaptive_average_pool", "fewer windows or pixels", format!("{to} of {x}")))
            }
        }
    }

    fn flops(&self, inputs: &[Shape], _: &[Shape]) -> u64 {
        inputs[0].elements() as u64
    }

    fn reach(&self) -> Option<Reach> {
        None
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (from, to) = (inputs[0].shape(), outputs[0].shape());
        outputs[0].par_planes(|n, c, y| {
            let x = inputs[0].plane(n, c);
            for (at, y) in y.iter_mut().enumerate() {
                let (row, column) = (at / to.w, at % to.w);
                *y = match self.axis {
                    Axis::H => {
                        let rows = self.window(row, from.h);
                        let count = rows.len() as f32;
                        rows.map(|row| x[row * from.w + column]).sum::<f32>() / count
                    }
                    _ => {
                        let columns = self.window(column, from.w);
                        let count = columns.len() as f32;
                        x[row * from.w..][columns].iter().sum::<f32>() / count
                    }
                };
            }
        });
    }
}
