//! Resizes pictures with separable filters that widen when they shrink, as PIL's `Image.resize` does.

use crate::recipe::Resampling;
use crate::tensor::{Shape, Tensor};
use std::ops::Range;

/// A filter by its name in PIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// The pixel at the place. For class numbers.
    Nearest,
    /// Never exceeds the values that it interpolates. For probabilities.
    Bilinear,
    /// Keys 1981 with a = -1/2. Sharper; for pictures.
    Bicubic,
    /// `sinc(x) sinc(x / 3)`. Sharper still.
    Lanczos,
}

impl From<Resampling> for Filter {
    fn from(filter: Resampling) -> Filter {
        match filter {
            Resampling::Bilinear => Filter::Bilinear,
            Resampling::Bicubic => Filter::Bicubic,
            Resampling::Lanczos => Filter::Lanczos,
        }
    }
}

impl Filter {
    /// Radius of the filter in pixels.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Filter::Nearest => 1.0,
            Filter::Bilinear => (1.0 - x).max(0.0),
            Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Filter::Bicubic => 0.0,
            Filter::Lanczos if x == 0.0 => 1.0,
            Filter::Lanczos if x < 3.0 => {
                let x = x * std::f64::consts::PI;
                3.0 * x.sin() * (x / 3.0).sin() / (x * x)
            }
            Filter::Lanczos => 0.0,
        }
    }

    /// For each of `to` positions in a range: the first of `from` positions that counts, and the weights from there on.
    /// The weights sum to 1.
    fn weights(self, from: usize, to: usize, range: Range<usize>) -> Vec<(usize, Vec<f64>)> {
        let step = from as f64 / to as f64;
        let wide = step.max(1.0);
        let place = |i: usize| {
            let center = (i as f64 + 0.5) * step;
            if self == Filter::Nearest {
                return ((center as usize).min(from - 1), vec![1.0]);
            }
            let first = (center - self.support() * wide + 0.5).max(0.0) as usize;
            let end = ((center + self.support() * wide + 0.5) as usize).min(from);
            let mut weights: Vec<f64> =
                (first..end).map(|j| self.weight((j as f64 + 0.5 - center) / wide)).collect();
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= sum);
            (first, weights)
        };
        range.map(place).collect()
    }
}

/// Resizes all planes to another height and width.
pub(super) fn resize(tensor: &Tensor, size: [usize; 2], filter: Filter) -> Tensor {
    resize_rows(tensor, 0, tensor.shape().h, size, 0..size[0], filter)
}

/// Some rows of planes of `height` rows that are resized to another height and width. The tensor holds the rows from
/// `first` on that they need; a row beyond them counts as the nearest one.
pub(super) fn resize_rows(
    tensor: &Tensor,
    first: usize,
    height: usize,
    [h, w]: [usize; 2],
    range: Range<usize>,
    filter: Filter,
) -> Tensor {
    let shape = tensor.shape();
    let (columns, rows) = (filter.weights(shape.w, w, 0..w), filter.weights(height, h, range));
    let held = |row: usize| row.saturating_sub(first).min(shape.h - 1);
    let lowest = rows.first().map_or(0, |(start, _)| held(*start));
    let highest = rows.last().map_or(0, |(start, weights)| held(start + weights.len() - 1));
    let mut data = Vec::with_capacity(shape.n * shape.c * rows.len() * w);
    let mut wide = vec![0.0f64; (highest + 1 - lowest) * w];
    for plane in tensor.data().chunks_exact(shape.pixels()) {
        for (row, out) in plane.chunks_exact(shape.w).skip(lowest).zip(wide.chunks_exact_mut(w)) {
            for ((first, weights), out) in columns.iter().zip(out) {
                *out = weights.iter().zip(&row[*first..]).map(|(weight, &v)| weight * f64::from(v)).sum();
            }
        }
        for (start, weights) in &rows {
            let row = |k: usize| (held(start + k) - lowest) * w;
            data.extend((0..w).map(|x| {
                let sum: f64 = weights.iter().enumerate().map(|(k, weight)| weight * wide[row(k) + x]).sum();
                sum as f32
            }));
        }
    }
    let mut data = data.into_iter();
    Tensor::from_fn(Shape { h: rows.len(), w, ..shape }, |_| data.next().unwrap_or(0.0))
}
