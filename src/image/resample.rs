//! Resizes pictures with separable filters that widen when they shrink, as PIL's `Image.resize` does.

use crate::tensor::{Shape, Tensor};

/// A filter by its name in PIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// The pixel at the place. For class numbers.
    Nearest,
    /// Never exceeds the values that it interpolates. For probabilities.
    Bilinear,
    /// Keys 1981 with a = -1/2. Sharper; for pictures.
    Bicubic,
}

impl Filter {
    /// Radius of the filter in pixels.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
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
        }
    }

    /// For each of `to` positions: the first of `from` positions that counts, and the weights from there on. The
    /// weights sum to 1.
    fn weights(self, from: usize, to: usize) -> Vec<(usize, Vec<f64>)> {
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
        (0..to).map(place).collect()
    }
}

/// Resizes all planes to another height and width.
pub(super) fn resize(tensor: &Tensor, [h, w]: [usize; 2], filter: Filter) -> Tensor {
    let shape = tensor.shape();
    let (columns, rows) = (filter.weights(shape.w, w), filter.weights(shape.h, h));
    let mut data = Vec::with_capacity(shape.n * shape.c * h * w);
    let mut wide = vec![0.0f64; shape.h * w];
    for plane in tensor.data().chunks_exact(shape.pixels()) {
        for (row, out) in plane.chunks_exact(shape.w).zip(wide.chunks_exact_mut(w)) {
            for ((first, weights), out) in columns.iter().zip(out) {
                *out = weights.iter().zip(&row[*first..]).map(|(weight, &v)| weight * f64::from(v)).sum();
            }
        }
        for (first, weights) in &rows {
            data.extend((0..w).map(|x| {
                let sum: f64 =
                    weights.iter().enumerate().map(|(k, weight)| weight * wide[(first + k) * w + x]).sum();
                sum as f32
            }));
        }
    }
    let mut data = data.into_iter();
    Tensor::from_fn(Shape { h, w, ..shape }, |_| data.next().unwrap_or(0.0))
}
