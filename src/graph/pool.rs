//! Max, average and global average pooling. Shaders: `pool.wgsl`, `global_average_pool.wgsl`.

use super::{Operator, Reach, one, windows};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;

/// What is kept of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest value; NaN if the window holds one.
    Max,
    /// The mean of the values inside the picture.
    Average,
    /// The mean with padding counted as zeros.
    AverageWithPadding,
}

/// Pooling over a sliding window.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Max or average.
    pub kind: PoolKind,
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Rows and columns between windows.
    pub stride: [usize; 2],
    /// Rows above, columns left, rows below, columns right.
    pub padding: [usize; 4],
    /// Whether a last, partly filled window counts.
    pub ceil: bool,
}

impl Pool {
    /// The U-Net's own: 2x2 windows, stride 2, no padding.
    pub const MAX_2X2: Pool =
        Pool { kind: PoolKind::Max, kernel: [2, 2], stride: [2, 2], padding: [0; 4], ceil: false };
}

impl Operator for Pool {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "max_pool",
            PoolKind::Average | PoolKind::AverageWithPadding => "average_pool",
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let x = one(inputs)?;
        let [top, left, bottom, right] = self.padding;
        if top.max(bottom) >= self.kernel[0] || left.max(right) >= self.kernel[1] {
            return Err(Error::shape("pool padding", "less than the window", format!("{:?}", self.padding)));
        }
        let extent = |size: usize, before: usize, after: usize, axis: usize| {
            let n = windows(size, before + after, self.kernel[axis], self.stride[axis], self.ceil)?;
            // As in PyTorch: a window that would begin in the padding after the picture is dropped.
            Ok::<_, Error>(if (n - 1) * self.stride[axis] >= size + before { n - 1 } else { n })
        };
        Ok(vec![Shape { h: extent(x.h, top, bottom, 0)?, w: extent(x.w, left, right, 1)?, ..x }])
    }

    fn flops(&self, _: &[Shape], outputs: &[Shape]) -> u64 {
        (outputs[0].elements() * self.kernel[0] * self.kernel[1]) as u64
    }

    fn reach(&self) -> Option<Reach> {
        Some(Reach { extent: self.kernel[0].max(self.kernel[1]), step: self.stride[0] as f64 })
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (from, to) = (inputs[0].shape(), outputs[0].shape());
        let [top, left, bottom, right] = self.padding;
        outputs[0].par_planes(|n, c, y| {
            let x = inputs[0].plane(n, c);
            for (row, y) in y.chunks_mut(to.w).enumerate() {
                let rows = span(row * self.stride[0], top, self.kernel[0], from.h);
                for (column, y) in y.iter_mut().enumerate() {
                    let columns = span(column * self.stride[1], left, self.kernel[1], from.w);
                    let values = rows.clone().flat_map(|r| x[r * from.w..][columns.clone()].iter().copied());
                    *y = match self.kind {
                        PoolKind::Max => {
                            values.fold(f32::NEG_INFINITY, |a, b| if b < a || a.is_nan() { a } else { b })
                        }
                        PoolKind::Average => values.sum::<f32>() / (rows.len() * columns.len()) as f32,
                        PoolKind::AverageWithPadding => {
                            let inside = |at: usize, k: usize, size: usize| (at + k).min(size) - at;
                            let h = inside(row * self.stride[0], self.kernel[0], from.h + top + bottom);
                            let w = inside(column * self.stride[1], self.kernel[1], from.w + left + right);
                            values.sum::<f32>() / (h * w) as f32
                        }
                    };
                }
            }
        });
    }
}

/// The part of a window that lies inside the picture.
#[cfg(feature = "cpu")]
fn span(at: usize, before: usize, kernel: usize, size: usize) -> std::ops::Range<usize> {
    at.saturating_sub(before).min(size)..(at + kernel).saturating_sub(before).min(size)
}

/// The mean of each plane, as a `(n,c,1,1)` tensor.
#[derive(Debug, Clone, Copy, Default)]
pub struct GlobalAveragePool;

impl Operator for GlobalAveragePool {
    fn name(&self) -> &'static str {
        "global_average_pool"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![Shape { h: 1, w: 1, ..one(inputs)? }])
    }

    fn flops(&self, inputs: &[Shape], _: &[Shape]) -> u64 {
        inputs[0].elements() as u64
    }

    fn reach(&self) -> Option<Reach> {
        None
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        outputs[0].par_planes(|n, c, y| {
            let x = inputs[0].plane(n, c);
            y[0] = (x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64) as f32;
        });
    }
}
