//! Softmax and argmax. Shaders: `softmax.wgsl` over channels, `softmax_plane.wgsl` over rows or columns, `argmax.wgsl`.

use super::{Axis, Operator, Reach, one};
use crate::error::Result;
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// `exp(x - max) / sum(exp(x - max))` along an axis.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct Softmax {
    /// The axis of the sum; channels by default.
    pub axis: Axis,
}

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

    fn reach(&self) -> Option<Reach> {
        (self.axis == Axis::C).then_some(Reach::POINT)
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (len, inner) = self.axis.extents(inputs[0].shape());
        let volume = len * inner;
        let blocks = outputs[0].data_mut().par_chunks_mut(volume);
        blocks.zip(inputs[0].data().par_chunks(volume)).for_each(|(y, x)| {
            let mut sums = vec![0.0; inner];
            let mut peaks = vec![f32::NEG_INFINITY; inner];
            for x in x.chunks(inner) {
                peaks.iter_mut().zip(x).for_each(|(p, &v)| *p = p.max(v));
            }
            for (y, x) in y.chunks_mut(inner).zip(x.chunks(inner)) {
                for i in 0..inner {
                    y[i] = (x[i] - peaks[i]).exp();
                    sums[i] += y[i];
                }
            }
            y.chunks_mut(inner).for_each(|y| y.iter_mut().zip(&sums).for_each(|(y, s)| *y /= s));
        });
    }
}

/// The index of the channel with the largest value at each pixel, the first of equal ones, as `(n,1,h,w)`. In f16,
/// indices above 2048 are rounded.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct ArgMax;

impl Operator for ArgMax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![Shape { c: 1, ..one(inputs)? }])
    }

    fn flops(&self, inputs: &[Shape], _: &[Shape]) -> u64 {
        inputs[0].elements() as u64
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        const RUN: usize = 1024;
        let (x, s) = (inputs[0], inputs[0].shape());
        for (n, y) in outputs[0].data_mut().chunks_mut(s.pixels()).enumerate() {
            y.par_chunks_mut(RUN).enumerate().for_each(|(run, y)| {
                let channel = |c: usize| &x.plane(n, c)[run * RUN..][..y.len()];
                let mut peaks = channel(0).to_vec();
                let mut best = vec![0.0; peaks.len()];
                for c in 1..s.c {
                    for ((best, peak), &v) in best.iter_mut().zip(&mut peaks).zip(channel(c)) {
                        if v > *peak {
                            (*best, *peak) = (c as f32, v);
                        }
                    }
                }
                y.copy_from_slice(&best);
            });
        }
    }
}
