//! Automatic exposure, as in `core/autoexposure.h` of github.com/RenderKit/oidn: the factor that brings the mean
//! brightness of a picture to middle grey.
//!
//! The picture is divided into nearly equal rectangles of at most 16x16 pixels, so single bright pixels have little
//! weight. The mean is that of the logarithms of their luminances. Black rectangles do not count.

use super::curve::bounded;
use crate::tensor::Shape;

/// Longest side of a rectangle, pixels.
const SIDE: usize = 16;

/// Middle grey.
const KEY: f64 = 0.18;

/// Largest luminance of a black rectangle.
const BLACK: f64 = 1e-8;

/// Weights of linear red, green and blue in luminance, Rec. 709.
const LUMINANCE: [f64; 3] = [0.212671, 0.715160, 0.072169];

/// Number of channels that hold light: the first three. Albedo or normals may follow them.
pub(super) fn colors(channels: usize) -> usize {
    channels.min(LUMINANCE.len())
}

/// A measurement in progress, over the rows of one picture from the top.
#[derive(Debug, Clone)]
pub(super) struct Exposure {
    /// Rows of the picture, and rows seen so far.
    height: usize,
    seen: usize,
    /// Luminance sums of the row of rectangles in progress.
    sums: Vec<f64>,
    logarithms: f64,
    /// Number of rectangles that are not black.
    bright: usize,
}

impl Exposure {
    /// Starts a measurement of a picture with `height` rows.
    pub(super) fn new(height: usize) -> Exposure {
        Exposure { height, seen: 0, sums: Vec::new(), logarithms: 0.0, bright: 0 }
    }

    /// The exposure of a whole picture, CHW.
    pub(super) fn of(values: &[f32], shape: Shape) -> f64 {
        let mut exposure = Exposure::new(shape.h);
        exposure.add(values, shape);
        exposure.factor()
    }

    /// Adds the next rows, CHW.
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

    /// Adds the rectangles that end with the last row seen.
    fn close_rectangles(&mut self, width: usize) {
        let (rows, columns) = (self.height.div_ceil(SIDE), self.sums.len());
        let edge = |i: usize| i * self.height / rows;
        // The row of rectangles that contains the last row seen.
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

    /// The factor for the picture's values; 1 for a black picture.
    pub(super) fn factor(&self) -> f64 {
        if self.bright == 0 { 1.0 } else { KEY / (self.logarithms / self.bright as f64).exp2() }
    }
}

/// Luminance of a pixel. A grey value is its own luminance.
fn luminance(values: &[f32], shape: Shape, place: usize) -> f64 {
    let value = |channel: usize| bounded(f64::from(values[channel * shape.pixels() + place]));
    if shape.c < LUMINANCE.len() {
        return value(0);
    }
    LUMINANCE.iter().enumerate().map(|(channel, weight)| weight * value(channel)).sum()
}
