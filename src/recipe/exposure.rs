//! The exposure that a picture asks for, as in `core/autoexposure.h` of github.com/RenderKit/oidn: what brings the mean
//! of its brightness to middle grey.
//!
//! The picture is parted into nearly equal rectangles of at most 16x16 pixels, so that single bright pixels count little;
//! the mean is that of the logarithms of their luminances, black rectangles left out.

use super::curve::bounded;
use crate::tensor::Shape;

/// Most pixels along a side of a rectangle.
const SIDE: usize = 16;

/// Middle grey.
const KEY: f64 = 0.18;

/// Luminance up to which a rectangle is black.
const BLACK: f64 = 1e-8;

/// Rec. 709's luminance of linear red, green and blue.
const LUMINANCE: [f64; 3] = [0.212671, 0.715160, 0.072169];

/// Channels that light has: the first three, where albedo or normals follow them.
pub(super) fn colors(channels: usize) -> usize {
    channels.min(LUMINANCE.len())
}

/// A measurement under way, over one picture's rows from the top.
#[derive(Debug, Clone)]
pub(super) struct Exposure {
    /// Rows of the picture, and how many of them were seen.
    height: usize,
    seen: usize,
    /// Luminance of the row of rectangles that is not seen to its end.
    sums: Vec<f64>,
    logarithms: f64,
    /// Rectangles that are not black.
    bright: usize,
}

impl Exposure {
    /// Nothing seen yet of a picture of so many rows.
    pub(super) fn new(height: usize) -> Exposure {
        Exposure { height, seen: 0, sums: Vec::new(), logarithms: 0.0, bright: 0 }
    }

    /// The exposure of a picture that is there as a whole, CHW.
    pub(super) fn of(values: &[f32], shape: Shape) -> f64 {
        let mut exposure = Exposure::new(shape.h);
        exposure.add(values, shape);
        exposure.factor()
    }

    /// Adds the rows that follow, CHW.
    pub(super) fn add(&mut self, values: &[f32], shape: Shape) {
        let columns = shape.w.div_ceil(SIDE);
        self.sums.resize(columns, 0.0);
        for y in 0..shape.h {
            for (i, sum) in self.sums.iter_mut().enumerate() {
                let row = y * shape.w;
                let places = row + i * shape.w / columns..row + (i + 1) * shape.w / columns;
                *sum += places.map(|place| luminance(values, shape, place)).sum::<f64>();
            }
            self.seen += 1;
            self.close_rectangles(shape.w);
        }
    }

    /// Takes the rectangles in that end with the row that was seen last.
    fn close_rectangles(&mut self, width: usize) {
        let (rows, columns) = (self.height.div_ceil(SIDE), self.sums.len());
        let edge = |i: usize| i * self.height / rows;
        // The row of rectangles in which that row lies.
        let i = (self.seen * rows - 1) / self.height;
        if edge(i + 1) != self.seen {
            return;
        }
        for (j, sum) in self.sums.iter_mut().enumerate() {
            let pixels = (self.seen - edge(i)) * ((j + 1) * width / columns - j * width / columns);
            let mean = std::mem::take(sum) / pixels as f64;
            if mean > BLACK {
                self.logarithms += mean.log2();
                self.bright += 1;
            }
        }
    }

    /// What the picture's values are to be multiplied by; 1 where all is black.
    pub(super) fn factor(&self) -> f64 {
        if self.bright == 0 { 1.0 } else { KEY / (self.logarithms / self.bright as f64).exp2() }
    }
}

/// Of a pixel; grey is its own luminance.
fn luminance(values: &[f32], shape: Shape, place: usize) -> f64 {
    let value = |channel: usize| bounded(f64::from(values[channel * shape.pixels() + place]));
    if shape.c < LUMINANCE.len() {
        return value(0);
    }
    LUMINANCE.iter().enumerate().map(|(channel, weight)| weight * value(channel)).sum()
}
