//! The colours of the foreground where it is mixed with the background, at hair and soft edges.
//!
//! Each pixel is `alpha * foreground + (1 - alpha) * background`. Both colours are found together: they must add up
//! to the picture and be smooth where alpha is. From one pixel up to the size of the picture, a few Gauss-Seidel
//! steps solve the two equations of each pixel (Germer et al. 2020, "Fast Multi-Level Foreground Estimation"). Mattes
//! are defined by the values of a file, so all is done in them, not in linear light.

use crate::error::{Error, Result};
use crate::image::{Depth, Picture};
use crate::tensor::{Shape, Tensor};

/// Weight of smoothness where alpha is constant.
const SMOOTHNESS: f32 = 1e-5;
/// Sides, in pixels, up to which a level is small, and the steps for small and for larger levels.
const SMALL: usize = 32;
const STEPS: [usize; 2] = [10, 2];
/// Alpha above which a pixel is opaque in an 8-bit file, and keeps its colour.
const OPAQUE: f32 = 254.5 / 255.0;
/// Alpha of pixels that surely belong to one side.
const SURE: [f32; 2] = [0.1, 0.9];

/// The picture in the colours of its foreground alone. `opacity` is `(1, 1, height, width)`, 0 to 1. Opaque pixels keep
/// their colours; transparent ones get those of the foreground around them.
///
/// # Errors
/// When the opacity has another size.
pub fn foreground(picture: &Picture, opacity: &Tensor) -> Result<Picture> {
    let expected = Shape { c: 1, ..picture.planes().shape() };
    if opacity.shape() != expected {
        return Err(Error::shape("the opacity", expected, opacity.shape()));
    }
    let planes = match picture.channels() {
        1 => estimated::<1>(picture, opacity),
        _ => estimated::<3>(picture, opacity),
    };
    picture.clone().with_planes(planes)
}

fn estimated<const N: usize>(picture: &Picture, opacity: &Tensor) -> Tensor {
    let (planes, alpha) = (picture.planes(), opacity.data());
    let shape = planes.shape();
    // Pixels without data would spread over all others.
    let value = |v: f32| if v.is_finite() { v } else { 0.0 };
    let color = |i: usize| -> [f32; N] { std::array::from_fn(|c| value(planes.plane(0, c)[i])) };
    let white = match picture.depth() {
        Depth::Float => planes.data().iter().map(|&v| value(v)).fold(1.0, f32::max),
        depth => depth.white(),
    };
    let mut level = Level {
        size: [1, 1],
        foreground: vec![mean((0..alpha.len()).filter(|&i| alpha[i] > SURE[1]).map(color))],
        background: vec![mean((0..alpha.len()).filter(|&i| alpha[i] < SURE[0]).map(color))],
    };
    let last = shape.h.max(shape.w).next_power_of_two().trailing_zeros().max(1);
    for number in 1..=last {
        let part = f64::from(number) / f64::from(last);
        let side = |full: usize| (full as f64).powf(part).round() as usize;
        let size = if number == last { [shape.h, shape.w] } else { [side(shape.h), side(shape.w)] };
        level = level.resized(size);
        let places: Vec<usize> = nearest([shape.h, shape.w], size).collect();
        let alpha: Vec<f32> = places.iter().map(|&place| alpha[place]).collect();
        let is_small = size[0].max(size[1]) <= SMALL;
        let mut open = Vec::new();
        for (i, &a) in alpha.iter().enumerate() {
            // At large levels, a pixel that belongs to one side alone has that side's colour, and keeps the other from
            // the level below.
            match a {
                1.0.. if !is_small => level.foreground[i] = color(places[i]),
                ..=0.0 if !is_small => level.background[i] = color(places[i]),
                _ => open.push(i),
            }
        }
        let mixed: Vec<[f32; N]> = open.iter().map(|&i| color(places[i])).collect();
        (0..STEPS[usize::from(!is_small)]).for_each(|_| level.step(&open, &mixed, &alpha, white));
    }
    let pixels = shape.pixels();
    Tensor::from_fn(shape, |i| match alpha[i % pixels] > OPAQUE {
        true => planes.data()[i],
        false => level.foreground[i % pixels][i / pixels],
    })
}

/// Both colours of each pixel at one size.
struct Level<const N: usize> {
    size: [usize; 2],
    foreground: Vec<[f32; N]>,
    background: Vec<[f32; N]>,
}

impl<const N: usize> Level<N> {
    /// The same at another size; each pixel is the nearest one.
    fn resized(&self, size: [usize; 2]) -> Level<N> {
        let places = || nearest(self.size, size);
        Level {
            size,
            foreground: places().map(|i| self.foreground[i]).collect(),
            background: places().map(|i| self.background[i]).collect(),
        }
    }

    /// Solves the equations of the open pixels once, with the newest colours of their neighbours. `mixed` are the colours
    /// of the open pixels in the picture.
    fn step(&mut self, open: &[usize], mixed: &[[f32; N]], alpha: &[f32], white: f32) {
        let [h, w] = self.size;
        for (&i, mixed) in open.iter().zip(mixed) {
            let (x, y, a) = (i % w, i / w, alpha[i]);
            let around = [
                if y > 0 { i - w } else { i },
                if y + 1 < h { i + w } else { i },
                if x > 0 { i - 1 } else { i },
                if x + 1 < w { i + 1 } else { i },
            ];
            // The matrix [[ff, fb], [fb, bb]] and the right sides.
            let (mut ff, fb, mut bb) = (a * a, a * (1.0 - a), (1.0 - a) * (1.0 - a));
            let mut sides = [mixed.map(|v| v * a), mixed.map(|v| v * (1.0 - a))];
            for j in around {
                let weight = SMOOTHNESS + (a - alpha[j]).abs();
                (ff, bb) = (ff + weight, bb + weight);
                for (side, near) in sides.iter_mut().zip([&self.foreground[j], &self.background[j]]) {
                    side.iter_mut().zip(near).for_each(|(v, near)| *v += weight * near);
                }
            }
            // Never zero: both diagonals have the weights of smoothness.
            let determinant = ff * bb - fb * fb;
            let [front, behind] = sides;
            let solved = |v: f32| (v / determinant).clamp(0.0, white);
            self.foreground[i] = std::array::from_fn(|c| solved(bb * front[c] - fb * behind[c]));
            self.background[i] = std::array::from_fn(|c| solved(ff * behind[c] - fb * front[c]));
        }
    }
}

/// For each pixel of a size the nearest pixel of another, row by row.
fn nearest([rows, columns]: [usize; 2], [h, w]: [usize; 2]) -> impl Iterator<Item = usize> {
    let across: Vec<usize> = (0..w).map(|x| x * columns / w).collect();
    (0..h).flat_map(move |y| {
        let row = y * rows / h * columns;
        across.clone().into_iter().map(move |column| row + column)
    })
}

/// The mean colour; black if there is none.
fn mean<const N: usize>(colors: impl Iterator<Item = [f32; N]>) -> [f32; N] {
    let (sum, count) = colors.fold(([0.0f64; N], 0u64), |(sum, count), color| {
        (std::array::from_fn(|c| sum[c] + f64::from(color[c])), count + 1)
    });
    sum.map(|sum| (sum / count.max(1) as f64) as f32)
}
