//! Resampling to another size. Shader: `resize.wgsl`, which reads the positions and weights computed here.

use super::{Operator, Reach, fraction, one, two};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;

/// How an output pixel is computed from the pixels around its position in the input.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Interpolation {
    /// One pixel, by rounding the position.
    Nearest(Rounding),
    /// Two pixels on each axis, weighted by distance.
    Linear,
    /// Four pixels on each axis, by Keys' cubic with this coefficient (PyTorch and ONNX: -0.75).
    Cubic(f32),
    /// The same, where pixels outside the input count for nothing.
    CubicInside(f32),
}

/// How a position between two pixels is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Rounding {
    /// Down.
    Floor,
    /// Up.
    Ceil,
    /// To the nearest pixel; down from the middle.
    PreferFloor,
    /// To the nearest pixel; up from the middle.
    PreferCeil,
}

/// The position of output pixel `i` in the input, with the names of ONNX. `scale` is the given factor, or the ratio of
/// the sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Coordinates {
    /// `i / scale`.
    Asymmetric,
    /// `(i + 1/2) / scale - 1/2`: pixel centres are at half positions.
    HalfPixel,
    /// The same, but 0 if the output has one pixel.
    PytorchHalfPixel,
    /// The same, around the middle of the input where the size is rounded down.
    HalfPixelSymmetric,
    /// `(i + 1/2) / scale`.
    TfHalfPixel,
    /// `i * (size_in - 1) / (size_out - 1)`: corner pixels map to corner pixels. As in PyTorch and ONNX Runtime; the
    /// reference of ONNX does not round `size_out` down.
    AlignCorners,
}

/// The new height and width.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum ResizeTo {
    /// Factors for height and width. The new size, computed in f32, is rounded down.
    Scale([f32; 2]),
    /// Height and width.
    Size([usize; 2]),
    /// Those of a second input.
    Like,
}

/// Changes height and width. Pixels outside the input are those at its edges.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Resize {
    /// The new height and width.
    pub to: ResizeTo,
    /// How output pixels are computed.
    pub interpolation: Interpolation,
    /// How positions are computed.
    pub coordinates: Coordinates,
}

/// The input pixels and weights of one output position along an axis.
pub(crate) type Taps = [(usize, f32); 4];

impl Resize {
    /// The input pixel at `floor(i / scale)`, as in PyTorch's `nearest`.
    pub const fn nearest(to: ResizeTo) -> Resize {
        let interpolation = Interpolation::Nearest(Rounding::Floor);
        Resize { to, interpolation, coordinates: Coordinates::Asymmetric }
    }

    /// Bilinear, as in PyTorch with either value of `align_corners`.
    pub const fn bilinear(to: ResizeTo, align_corners: bool) -> Resize {
        let coordinates = if align_corners { Coordinates::AlignCorners } else { Coordinates::HalfPixel };
        Resize { to, interpolation: Interpolation::Linear, coordinates }
    }

    /// Bicubic (Keys 1981, a = -0.75) with half-pixel centres and without antialiasing, as in PyTorch.
    pub const fn bicubic(to: ResizeTo) -> Resize {
        Resize { to, interpolation: Interpolation::Cubic(-0.75), coordinates: Coordinates::HalfPixel }
    }

    /// Factors for height and width. If sizes are given, they follow from the shapes.
    fn scale(&self, from: Shape, to: Shape) -> [f64; 2] {
        match self.to {
            ResizeTo::Scale(scale) => scale.map(f64::from),
            ResizeTo::Size(_) | ResizeTo::Like => [to.h as f64 / from.h as f64, to.w as f64 / from.w as f64],
        }
    }

    /// Number of input pixels on each axis for an output pixel.
    pub(crate) fn taps(&self) -> usize {
        match self.interpolation {
            Interpolation::Nearest(_) => 1,
            Interpolation::Linear => 2,
            Interpolation::Cubic(_) | Interpolation::CubicInside(_) => 4,
        }
    }

    /// For each output row and column, the input pixels and their weights. Only the first [`taps`](Self::taps) of them
    /// count.
    pub(crate) fn axes(&self, from: Shape, to: Shape) -> [Vec<Taps>; 2] {
        let [y, x] = self.scale(from, to);
        [self.axis(from.h, to.h, y), self.axis(from.w, to.w, x)]
    }

    fn axis(&self, from: usize, to: usize, scale: f64) -> Vec<Taps> {
        let last = (from - 1) as f64;
        // Around the middle, by the share of a pixel that rounding the size down left out.
        let length = f64::from(from as f32 * scale as f32);
        let moved = from as f64 / 2.0 * (1.0 - to as f64 / length);
        let place = |i: f64| match self.coordinates {
            Coordinates::Asymmetric => i / scale,
            Coordinates::PytorchHalfPixel if to == 1 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (i + 0.5) / scale - 0.5,
            Coordinates::HalfPixelSymmetric => moved + (i + 0.5) / scale - 0.5,
            Coordinates::TfHalfPixel => (i + 0.5) / scale,
            Coordinates::AlignCorners if to == 1 => 0.0,
            Coordinates::AlignCorners => i * last / (to - 1) as f64,
        };
        let clamped = |at: f64| at.clamp(0.0, last) as usize;
        (0..to)
            .map(|i| {
                let at = snapped(place(i as f64));
                let low = at.floor();
                let t = at - low;
                match self.interpolation {
                    Interpolation::Nearest(rounding) => {
                        let nearest = match rounding {
                            Rounding::Floor => low,
                            Rounding::Ceil => at.ceil(),
                            Rounding::PreferFloor => (at - 0.5).ceil(),
                            Rounding::PreferCeil => (at + 0.5).floor(),
                        };
                        [(clamped(nearest), 1.0), (0, 0.0), (0, 0.0), (0, 0.0)]
                    }
                    Interpolation::Linear => {
                        let (low, high) = (clamped(low), clamped(low + 1.0));
                        [(low, (1.0 - t) as f32), (high, t as f32), (0, 0.0), (0, 0.0)]
                    }
                    Interpolation::Cubic(a) => {
                        let weights = cubic(t, f64::from(a));
                        [0, 1, 2, 3].map(|tap| (clamped(low + tap as f64 - 1.0), weights[tap] as f32))
                    }
                    Interpolation::CubicInside(a) => {
                        let places = [-1.0, 0.0, 1.0, 2.0].map(|tap| low + tap);
                        let mut weights = cubic(t, f64::from(a));
                        for (weight, place) in weights.iter_mut().zip(places) {
                            *weight *= f64::from(u8::from((0.0..=last).contains(&place)));
                        }
                        let sum: f64 = weights.iter().sum();
                        [0, 1, 2, 3].map(|tap| (clamped(places[tap]), (weights[tap] / sum) as f32))
                    }
                }
            })
            .collect()
    }
}

/// Rounds a position that is almost an integer or a half. Factors such as 1/3 are not exact in f32.
fn snapped(at: f64) -> f64 {
    let half = (at * 2.0).round() / 2.0;
    if (at - half).abs() <= f64::from(f32::EPSILON) * (at.abs() + 1.0) { half } else { at }
}

/// Weights of the four pixels around a position at distance `t` after the second (Keys 1981).
fn cubic(t: f64, a: f64) -> [f64; 4] {
    let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

impl Operator for Resize {
    fn name(&self) -> &'static str {
        match self.interpolation {
            Interpolation::Nearest(_) => "resize_nearest",
            Interpolation::Linear => "resize_bilinear",
            Interpolation::Cubic(_) | Interpolation::CubicInside(_) => "resize_bicubic",
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let (x, like) = match self.to {
            ResizeTo::Like => two(inputs)?,
            _ => one(inputs).map(|x| (x, x))?,
        };
        if let Interpolation::Cubic(a) | Interpolation::CubicInside(a) = self.interpolation
            && !a.is_finite()
        {
            return Err(Error::shape("resize", "a finite cubic coefficient", a));
        }
        // Positions are f32 on a GPU, where integers are exact up to 2^24.
        if x.h.max(x.w) > 1 << 24 {
            return Err(Error::shape("resize", "sides of at most 2^24", x));
        }
        let (h, w) = match self.to {
            ResizeTo::Size([h, w]) => (h, w),
            ResizeTo::Like => (like.h, like.w),
            ResizeTo::Scale(scale) => {
                if scale.iter().any(|s| !s.is_finite() || *s <= 0.0 || *s > 1024.0) {
                    return Err(Error::shape(
                        "resize",
                        "factors above 0, at most 1024",
                        format!("{scale:?}"),
                    ));
                }
                let scaled = |size: usize, s: f32| (size as f32 * s) as usize;
                (scaled(x.h, scale[0]), scaled(x.w, scale[1]))
            }
        };
        Ok(vec![Shape { h, w, ..x }])
    }

    fn flops(&self, _: &[Shape], outputs: &[Shape]) -> u64 {
        let taps = match self.taps() {
            1 => 0,
            taps => 2 * taps as u64 * (taps as u64 + 1),
        };
        taps * outputs[0].elements() as u64
    }

    /// `None` for a target size, because the distance between pixels then depends on the input, and for factors that are
    /// no simple fractions, because the pixels seen then depend on the size of the whole.
    fn reach(&self) -> Option<Reach> {
        let ResizeTo::Scale(factors) = self.to else { return None };
        if matches!(self.coordinates, Coordinates::AlignCorners | Coordinates::HalfPixelSymmetric) {
            return None;
        }
        let [rows, columns] = factors.map(|factor| fraction(f64::from(factor)));
        let [p, q] = columns.and(rows)?;
        Some(Reach { extent: self.taps(), step: q as f64 / p as f64 })
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (from, to) = (inputs[0].shape(), outputs[0].shape());
        let ([rows, columns], taps) = (self.axes(from, to), self.taps());
        outputs[0].par_planes(|n, c, y| {
            let x = inputs[0].plane(n, c);
            for (y, rows) in y.chunks_mut(to.w).zip(&rows) {
                for (y, columns) in y.iter_mut().zip(&columns) {
                    let mut sum = 0.0;
                    for &(row, weight) in &rows[..taps] {
                        let x = &x[row * from.w..][..from.w];
                        let line = columns[..taps].iter().map(|&(column, weight)| weight * x[column]);
                        sum += weight * line.sum::<f32>();
                    }
                    *y = sum;
                }
            }
        });
    }
}
