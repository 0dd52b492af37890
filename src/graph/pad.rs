//! Padding and cropping of rows and columns. Shader: `pad.wgsl` for both.

use super::{Operator, Reach, one, two};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The values outside the picture.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// Zeros.
    Zero,
    /// Any number, also an infinity. A GPU that stores f16 rounds it as it rounds all numbers: those beyond 65504
    /// become infinite.
    Value(#[serde(with = "super::stored::number")] f32),
    /// The nearest edge pixel.
    Edge,
    /// The picture mirrored at its edge pixels, without repeating them; several times if necessary.
    #[default]
    Reflect,
    /// The picture repeated.
    Wrap,
}

impl PadMode {
    /// The mode that adds one number.
    pub fn constant(value: f32) -> PadMode {
        if value == 0.0 { PadMode::Zero } else { PadMode::Value(value) }
    }

    /// The number of the modes that add one.
    pub(crate) fn value(self) -> Option<f32> {
        match self {
            PadMode::Zero => Some(0.0),
            PadMode::Value(value) => Some(value),
            PadMode::Edge | PadMode::Reflect | PadMode::Wrap => None,
        }
    }

    /// The index in `0..size` of the pixel at position `i`; `None` if it holds the mode's number.
    #[cfg(feature = "cpu")]
    pub(crate) fn source(self, i: isize, size: usize) -> Option<usize> {
        let last = size as isize - 1;
        match self {
            PadMode::Zero | PadMode::Value(_) => (0..=last).contains(&i).then_some(i as usize),
            PadMode::Wrap => Some(i.rem_euclid(size as isize) as usize),
            PadMode::Edge => Some(i.clamp(0, last) as usize),
            PadMode::Reflect if last == 0 => Some(0),
            PadMode::Reflect => {
                let folded = i.rem_euclid(2 * last);
                Some(folded.min(2 * last - folded) as usize)
            }
        }
    }
}

/// How much to pad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PadAmount {
    /// Rows above, columns left, rows below, columns right. Negative numbers crop.
    Fixed([isize; 4]),
    /// Below and right, up to the next multiple.
    Multiple(usize),
}

/// Adds or removes rows and columns.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Pad {
    /// How much.
    pub amount: PadAmount,
    /// The added values.
    pub mode: PadMode,
}

impl Pad {
    /// Rows above and columns left.
    pub(crate) fn origin(&self) -> [isize; 2] {
        match self.amount {
            PadAmount::Fixed([top, left, ..]) => [top, left],
            PadAmount::Multiple(_) => [0, 0],
        }
    }
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let x = one(inputs)?;
        // A kernel adds amounts to extents in 32 bits.
        const MOST: usize = 1 << 30;
        if let PadAmount::Fixed(amounts) = self.amount
            && let Some(amount) = amounts.iter().find(|amount| amount.unsigned_abs() > MOST)
        {
            return Err(Error::shape("pad", format!("at most {MOST} rows or columns"), amount));
        }
        let grow = |size: usize, amount: isize| {
            let grown = (size as isize).saturating_add(amount);
            usize::try_from(grown).map_err(|_| Error::shape("pad", "at least one pixel left", grown))
        };
        Ok(vec![match self.amount {
            PadAmount::Fixed([top, left, bottom, right]) => {
                Shape { h: grow(x.h, top + bottom)?, w: grow(x.w, left + right)?, ..x }
            }
            PadAmount::Multiple(m) => {
                Shape { h: x.h.next_multiple_of(m.max(1)), w: x.w.next_multiple_of(m.max(1)), ..x }
            }
        }])
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    /// With [`PadMode::Wrap`], pixels at one edge depend on those at the other.
    fn reach(&self) -> Option<Reach> {
        (self.mode != PadMode::Wrap).then_some(Reach::POINT)
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        window(inputs[0], &mut outputs[0], self.origin(), self.mode);
    }
}

/// Crops the first input to the size of the second, from the top-left corner.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct Crop;

impl Operator for Crop {
    fn name(&self) -> &'static str {
        "crop"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let (x, like) = two(inputs)?;
        if like.h > x.h || like.w > x.w {
            return Err(Error::shape(
                "crop",
                format!("at most {}x{}", x.h, x.w),
                format!("{}x{}", like.h, like.w),
            ));
        }
        Ok(vec![Shape { h: like.h, w: like.w, ..x }])
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        window(inputs[0], &mut outputs[0], [0, 0], PadMode::Zero);
    }
}

/// Fills `y` with a window of `x` that begins `origin` rows and columns before `x`.
#[cfg(feature = "cpu")]
fn window(x: &Tensor, y: &mut Tensor, origin: [isize; 2], mode: PadMode) {
    let (from, to, value) = (x.shape(), y.shape(), mode.value().unwrap_or(0.0));
    y.par_planes(|n, c, y| {
        let x = x.plane(n, c);
        for (row, y) in y.chunks_mut(to.w).enumerate() {
            let row = mode.source(row as isize - origin[0], from.h);
            for (column, y) in y.iter_mut().enumerate() {
                let column = mode.source(column as isize - origin[1], from.w);
                *y = row.zip(column).map_or(value, |(r, c)| x[r * from.w + c]);
            }
        }
    });
}
