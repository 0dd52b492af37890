//! Compares a picture with a reference.

use super::{Hole, Picture};
use crate::error::{Error, Result};
use crate::recipe::Channels;
use crate::tensor::{Shape, Tensor};
use std::fmt;

/// Radius of the SSIM window in pixels, and its standard deviation.
const RADIUS: usize = 5;
const SIGMA: f64 = 1.5;
/// Side of the window in pixels.
const WINDOW: usize = 2 * RADIUS + 1;
/// White.
const PEAK: f64 = 255.0;

/// Two measures of similarity to a reference; higher is more similar.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Similarity {
    /// Peak signal-to-noise ratio in dB with white as the peak; infinite for equal pictures.
    pub psnr: f64,
    /// Structural similarity, at most 1; `None` if a side has less than 11 pixels.
    pub ssim: Option<f64>,
}

impl Similarity {
    /// The figures by name.
    pub(super) fn figures(&self) -> Vec<(&'static str, f64)> {
        std::iter::once(("psnr", self.psnr)).chain(self.ssim.map(|ssim| ("ssim", ssim))).collect()
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PSNR {:.2} dB", self.psnr)?;
        self.ssim.map_or(Ok(()), |ssim| write!(f, ", SSIM {ssim:.4}"))
    }
}

/// Compares a picture with a reference over all channels. If only one of them is grey, its plane is used for all
/// colours.
///
/// SSIM is that of Wang et al. 2004: Gaussian windows of 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03. It is the mean
/// over all positions of the window inside the picture, and over the channels. scikit-image gives the same with
/// `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255`.
///
/// # Errors
/// When the sizes differ.
pub fn similarity(picture: &Picture, reference: &Picture) -> Result<Similarity> {
    let [x, y] = alike(picture, reference)?;
    let Shape { c, h, w, .. } = x.shape();
    let ssim = (h.min(w) >= WINDOW).then(|| {
        let sum: f64 = (0..c).map(|c| ssim(x.plane(0, c), y.plane(0, c), w)).sum();
        sum / c as f64
    });
    Ok(Similarity { psnr: psnr(x.data().iter().zip(y.data())), ssim })
}

/// The peak signal-to-noise ratio over the pixels of a hole.
///
/// # Errors
/// When the sizes differ.
pub(super) fn psnr_within(hole: &Hole, picture: &Picture, reference: &Picture) -> Result<f64> {
    hole.check([picture.width(), picture.height()])?;
    let [x, y] = alike(picture, reference)?;
    let is_hole = hole.tensor();
    let pixels = x.data().iter().zip(y.data()).zip(is_hole.data().iter().cycle());
    Ok(psnr(pixels.filter(|(_, hole)| **hole > 0.0).map(|(pixel, _)| pixel)))
}

/// Two pictures of one size as grey or colours, in 8-bit steps.
fn alike(picture: &Picture, reference: &Picture) -> Result<[Tensor; 2]> {
    let size = |picture: &Picture| [picture.width(), picture.height()];
    let [own, wanted] = [size(picture), size(reference)];
    if own != wanted {
        let expected = format!("{}x{} pixels, the size of the result", own[0], own[1]);
        return Err(Error::shape("the reference", expected, format!("{}x{}", wanted[0], wanted[1])));
    }
    let is_color = picture.channels().max(reference.channels()) == 3;
    let wanted = if is_color { Channels::Rgb } else { Channels::Gray };
    Ok([picture, reference].map(|picture| picture.in_steps(wanted)))
}

/// The peak signal-to-noise ratio of pairs of values, dB.
fn psnr<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f64 {
    let (mut squares, mut count) = (0.0, 0.0);
    for (&x, &y) in pairs {
        squares += (f64::from(x) - f64::from(y)).powi(2);
        count += 1.0;
    }
    10.0 * (PEAK * PEAK / (squares / count)).log10()
}

/// The mean structural similarity of two planes with `w` columns.
fn ssim(x: &[f32], y: &[f32], w: usize) -> f64 {
    let weights = gaussian();
    let (c1, c2) = ((0.01 * PEAK).powi(2), (0.03 * PEAK).powi(2));
    let rows = x.len() / w - (WINDOW - 1);
    let mut sum = 0.0;
    for row in 0..rows {
        let columns = moments_of_columns(&x[row * w..], &y[row * w..], w, &weights);
        for window in columns.windows(WINDOW) {
            let mut mean = [0.0; 5];
            for (weight, column) in weights.iter().zip(window) {
                mean.iter_mut().zip(column).for_each(|(mean, moment)| *mean += weight * moment);
            }
            let [x, y, xx, yy, xy] = mean;
            let (vx, vy, vxy) = (xx - x * x, yy - y * y, xy - x * y);
            sum += (2.0 * x * y + c1) * (2.0 * vxy + c2) / ((x * x + y * y + c1) * (vx + vy + c2));
        }
    }
    sum / (rows * (w - (WINDOW - 1))) as f64
}

/// Weighted means of x, y, x², y² and xy over the first rows, for each column.
fn moments_of_columns(x: &[f32], y: &[f32], w: usize, weights: &[f64; WINDOW]) -> Vec<[f64; 5]> {
    let mut moments = vec![[0.0; 5]; w];
    for ((weight, x), y) in weights.iter().zip(x.chunks_exact(w)).zip(y.chunks_exact(w)) {
        for ((moments, &x), &y) in moments.iter_mut().zip(x).zip(y) {
            let (x, y) = (f64::from(x), f64::from(y));
            let values = [x, y, x * x, y * y, x * y];
            moments.iter_mut().zip(values).for_each(|(moment, value)| *moment += weight * value);
        }
    }
    moments
}

/// The weights of the window along one axis; their sum is 1.
fn gaussian() -> [f64; WINDOW] {
    let weight = |i: usize| (-0.5 * ((i as f64 - RADIUS as f64) / SIGMA).powi(2)).exp();
    let sum: f64 = (0..WINDOW).map(weight).sum();
    std::array::from_fn(|i| weight(i) / sum)
}
