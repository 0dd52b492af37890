//! Re-sampling by a whole or fractional factor. Shader: `resize.wgsl`.

use super::{Operator, Reach, one};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;

/// How an output pixel is found between input pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The input pixel at `floor(i * size_in / size_out)`, as PyTorch's `nearest`.
    Nearest,
    /// Bilinear, pixel centres at half places (PyTorch `align_corners=False`).
    Bilinear,
    /// Bilinear, corner pixels on corner pixels (PyTorch `align_corners=True`).
    BilinearAlignCorners,
}

/// Changes height and width by a factor.
#[derive(Debug, Clone, Copy)]
pub struct Resize {
    /// Nearest or bilinear.
    pub interpolation: Interpolation,
    /// Factors for height and width; the new size is rounded down.
    pub scale: [f32; 2],
}

impl Interpolation {
    /// Input coordinate = `i * step + offset` for output pixel `i`, before clamping.
    pub(crate) fn grid(self, from: usize, to: usize) -> (f32, f32) {
        let step = from as f32 / to as f32;
        match self {
            Interpolation::Nearest => (step, 0.0),
            Interpolation::Bilinear => (step, 0.5 * step - 0.5),
            Interpolation::BilinearAlignCorners if to == 1 => (0.0, 0.0),
            Interpolation::BilinearAlignCorners => ((from as f32 - 1.0) / (to as f32 - 1.0), 0.0),
        }
    }
}

impl Operator for Resize {
    fn name(&self) -> &'static str {
        match self.interpolation {
            Interpolation::Nearest => "resize_nearest",
            Interpolation::Bilinear | Interpolation::BilinearAlignCorners => "resize_bilinear",
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let x = one(inputs)?;
        if self.scale.iter().any(|s| !s.is_finite() || *s <= 0.0 || *s > 1024.0) {
            return Err(Error::shape("resize", "factors above 0, at most 1024", format!("{:?}", self.scale)));
        }
        // Places are computed in f32, which counts no further than this.
        if x.h.max(x.w) > 1 << 24 {
            return Err(Error::shape("resize", "sides of at most 2^24", x));
        }
        let scaled = |size: usize, s: f32| (size as f64 * f64::from(s)).floor() as usize;
        Ok(vec![Shape { h: scaled(x.h, self.scale[0]), w: scaled(x.w, self.scale[1]), ..x }])
    }

    fn flops(&self, _: &[Shape], outputs: &[Shape]) -> u64 {
        if self.interpolation == Interpolation::Nearest { 0 } else { 8 * outputs[0].elements() as u64 }
    }

    fn reach(&self) -> Option<Reach> {
        let extent = if self.interpolation == Interpolation::Nearest { 1 } else { 2 };
        Some(Reach { extent, step: 1.0 / f64::from(self.scale[0]) })
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (from, to) = (inputs[0].shape(), outputs[0].shape());
        let (rows, columns) = (self.axis(from.h, to.h), self.axis(from.w, to.w));
        outputs[0].par_planes(|n, c, y| {
            let x = inputs[0].plane(n, c);
            for (y, &(r0, r1, rf)) in y.chunks_mut(to.w).zip(&rows) {
                let (above, below) = (&x[r0 * from.w..][..from.w], &x[r1 * from.w..][..from.w]);
                for (y, &(c0, c1, cf)) in y.iter_mut().zip(&columns) {
                    let top = above[c0] + (above[c1] - above[c0]) * cf;
                    let bottom = below[c0] + (below[c1] - below[c0]) * cf;
                    *y = top + (bottom - top) * rf;
                }
            }
        });
    }
}

#[cfg(feature = "cpu")]
impl Resize {
    /// For each output place: the two input places and the weight of the second.
    fn axis(&self, from: usize, to: usize) -> Vec<(usize, usize, f32)> {
        let (step, offset) = self.interpolation.grid(from, to);
        (0..to)
            .map(|i| {
                let at = (i as f32 * step + offset).clamp(0.0, (from - 1) as f32);
                let low = at.floor();
                match self.interpolation {
                    Interpolation::Nearest => (low as usize, low as usize, 0.0),
                    _ => (low as usize, (low as usize + 1).min(from - 1), at - low),
                }
            })
            .collect()
    }
}
