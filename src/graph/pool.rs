//! Max and average pooling. Shader: `pool.wgsl`.

use super::operator::MAX_ATTRIBUTE;
use super::{Operator, Reach, one, windows};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;

/// The result for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum PoolKind {
    /// The largest value; NaN if the window holds one.
    Max,
    /// The mean of the values inside the picture.
    Average,
    /// The mean of all values, where padding counts as zeros.
    AverageWithPadding,
}

/// Pooling over a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pool {
    /// Max or average.
    pub kind: PoolKind,
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Rows and columns between windows.
    pub stride: [usize; 2],
    /// Distance in rows and columns between the pixels of a window.
    pub dilation: [usize; 2],
    /// Rows above, columns left, rows below, columns right.
    pub padding: [usize; 4],
    /// Whether a last window that exceeds the picture counts.
    pub ceil: bool,
}

impl Pool {
    /// The pool of U-Nets: 2x2 windows, stride 2, no padding.
    pub const MAX_2X2: Pool = Pool {
        kind: PoolKind::Max,
        kernel: [2, 2],
        stride: [2, 2],
        dilation: [1, 1],
        padding: [0; 4],
        ceil: false,
    };

    /// Extent of a window in rows and columns, including dilation.
    fn window(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            self.kernel[axis].saturating_sub(1).saturating_mul(self.dilation[axis]).saturating_add(1)
        })
    }
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
        let window = self.window();
        let extents = 1..=MAX_ATTRIBUTE;
        if !self.kernel.iter().chain(&self.dilation).all(|extent| extents.contains(extent)) {
            let expected = format!("kernel and dilation of 1 to {MAX_ATTRIBUTE}");
            return Err(Error::shape("pool", expected, format!("{self:?}")));
        }
        if top.max(bottom) >= window[0] || left.max(right) >= window[1] {
            return Err(Error::shape("pool padding", "less than the window", format!("{:?}", self.padding)));
        }
        let extent = |size: usize, before: usize, after: usize, axis: usize| {
            let n = windows(size, before + after, window[axis], self.stride[axis], self.ceil)?;
            // As in PyTorch, a window that would begin in the padding after the picture is dropped.
            Ok::<_, Error>(if (n - 1) * self.stride[axis] >= size + before { n - 1 } else { n })
        };
        Ok(vec![Shape { h: extent(x.h, top, bottom, 0)?, w: extent(x.w, left, right, 1)?, ..x }])
    }

    fn flops(&self, _: &[Shape], outputs: &[Shape]) -> u64 {
        (outputs[0].elements() * self.kernel[0] * self.kernel[1]) as u64
    }

    fn reach(&self) -> Option<Reach> {
        let [h, w] = self.window();
        Some(Reach { extent: h.max(w), step: self.stride[0] as f64 })
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (from, to) = (inputs[0].shape(), outputs[0].shape());
        let [top, left, bottom, right] = self.padding;
        outputs[0].par_planes(|n, c, y| {
            let x = inputs[0].plane(n, c);
            for (row, y) in y.chunks_mut(to.w).enumerate() {
                let rows = self.inside(0, row, top, from.h);
                for (column, y) in y.iter_mut().enumerate() {
                    let columns = self.inside(1, column, left, from.w);
                    let count = rows.len() * columns.len();
                    let values = rows.clone().flat_map(|r| columns.clone().map(move |c| x[r * from.w + c]));
                    *y = match self.kind {
                        PoolKind::Max => {
                            values.fold(f32::NEG_INFINITY, |a, b| if b < a || a.is_nan() { a } else { b })
                        }
                        PoolKind::Average => values.sum::<f32>() / count as f32,
                        PoolKind::AverageWithPadding => {
                            let h = self.pixels(0, row, from.h + top + bottom);
                            let w = self.pixels(1, column, from.w + left + right);
                            values.sum::<f32>() / (h * w) as f32
                        }
                    };
                }
            }
        });
    }
}

#[cfg(feature = "cpu")]
impl Pool {
    /// Number of pixels of a window before `end`, which counts from the first row or column of the padding.
    fn pixels(&self, axis: usize, window: usize, end: usize) -> usize {
        end.saturating_sub(window * self.stride[axis]).div_ceil(self.dilation[axis]).min(self.kernel[axis])
    }

    /// The rows or columns of a window that lie inside the picture.
    fn inside(
        &self,
        axis: usize,
        window: usize,
        before: usize,
        size: usize,
    ) -> std::iter::StepBy<std::ops::Range<usize>> {
        let (at, step) = (window * self.stride[axis], self.dilation[axis]);
        let first = before.saturating_sub(at).div_ceil(step);
        let last = self.pixels(axis, window, size + before).max(first);
        let start = (at + first * step).saturating_sub(before);
        (start..start + (last - first) * step).step_by(step)
    }
}
