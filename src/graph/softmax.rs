//! Softmax over channels. Shader: `softmax.wgsl`.

use super::{Operator, one};
use crate::error::Result;
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// `exp(x[c] - max) / sum(exp(x - max))` at each pixel, over its channels.
#[derive(Debug, Clone, Copy, Default)]
pub struct Softmax;

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![one(inputs)?])
    }

    fn flops(&self, inputs: &[Shape], _: &[Shape]) -> u64 {
        4 * inputs[0].elements() as u64
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let s = inputs[0].shape();
        let (pixels, volume) = (s.pixels(), s.c * s.pixels());
        let pictures = outputs[0].data_mut().par_chunks_mut(volume);
        pictures.zip(inputs[0].data().par_chunks(volume)).for_each(|(y, x)| {
            let mut sums = vec![0.0; pixels];
            let mut peaks = vec![f32::NEG_INFINITY; pixels];
            for plane in x.chunks(pixels) {
                peaks.iter_mut().zip(plane).for_each(|(p, &v)| *p = p.max(v));
            }
            for (y, x) in y.chunks_mut(pixels).zip(x.chunks(pixels)) {
                for i in 0..pixels {
                    y[i] = (x[i] - peaks[i]).exp();
                    sums[i] += y[i];
                }
            }
            y.chunks_mut(pixels).for_each(|y| y.iter_mut().zip(&sums).for_each(|(y, s)| *y /= s));
        });
    }
}
