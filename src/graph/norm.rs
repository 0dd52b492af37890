//! Normalisation by statistics of the picture itself: group, instance and layer norm. Shaders: `norm_statistics.wgsl`
//! and `norm_groups.wgsl`, `norm_channels.wgsl`.

use super::{Activation, Operator, Reach, one};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;
use std::sync::Arc;

/// What one mean and one variance are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormOver {
    /// As many groups of channels that follow each other, each with all its pixels (Wu and He 2018). One group a
    /// channel is instance norm; one group is layer norm over channels and pixels.
    Groups(usize),
    /// The channels of each pixel: layer norm of a channels-last tensor.
    Channels,
}

/// `y = activation((x - mean) / sqrt(var + eps) * scale[c] + shift[c])`, with the variance of a whole population.
#[derive(Debug, Clone)]
pub struct Norm {
    /// What statistics are taken over, in each picture.
    pub over: NormOver,
    /// One factor a channel; 1 where there is none.
    pub scale: Option<Arc<[f32]>>,
    /// One summand a channel; 0 where there is none.
    pub shift: Option<Arc<[f32]>>,
    /// Added to the variance; above 0.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
}

impl Norm {
    /// Without scale, shift and activation.
    pub fn new(over: NormOver, eps: f32) -> Norm {
        Norm { over, scale: None, shift: None, eps, activation: Activation::None }
    }

    #[cfg(feature = "cpu")]
    fn affine(&self, c: usize) -> (f32, f32) {
        (self.scale.as_ref().map_or(1.0, |s| s[c]), self.shift.as_ref().map_or(0.0, |s| s[c]))
    }
}

impl Operator for Norm {
    fn name(&self) -> &'static str {
        match self.over {
            NormOver::Groups(_) => "group_norm",
            NormOver::Channels => "layer_norm",
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let x = one(inputs)?;
        if let NormOver::Groups(groups) = self.over
            && (groups == 0 || x.c % groups != 0)
        {
            return Err(Error::shape("groups", format!("a divisor of {} channels", x.c), groups));
        }
        if !self.eps.is_finite() || self.eps <= 0.0 {
            return Err(Error::shape("eps", "a number above 0", self.eps));
        }
        for vector in [&self.scale, &self.shift].into_iter().flatten() {
            if vector.len() != x.c {
                return Err(Error::shape(self.name(), format!("{} channels", vector.len()), x.c));
            }
        }
        Ok(vec![x])
    }

    fn flops(&self, inputs: &[Shape], _: &[Shape]) -> u64 {
        6 * inputs[0].elements() as u64
    }

    fn parameters(&self) -> usize {
        [&self.scale, &self.shift].into_iter().flatten().map(|v| v.len()).sum()
    }

    fn reach(&self) -> Option<Reach> {
        match self.over {
            NormOver::Groups(_) => None,
            NormOver::Channels => Some(Reach::POINT),
        }
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let s = inputs[0].shape();
        let pixels = s.pixels();
        let eps = f64::from(self.eps);
        match self.over {
            NormOver::Groups(groups) => {
                let volume = s.c / groups * pixels;
                let parts = outputs[0].data_mut().par_chunks_mut(volume);
                parts.zip(inputs[0].data().par_chunks(volume)).enumerate().for_each(|(group, (y, x))| {
                    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / volume as f64;
                    let squares = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
                    let (mean, deviation) = (mean as f32, (squares / volume as f64 + eps).sqrt() as f32);
                    for (i, (y, x)) in y.chunks_mut(pixels).zip(x.chunks(pixels)).enumerate() {
                        let (scale, shift) = self.affine(group % groups * (s.c / groups) + i);
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) / deviation * scale + shift);
                        self.activation.apply(y);
                    }
                });
            }
            NormOver::Channels => {
                let volume = s.c * pixels;
                let pictures = outputs[0].data_mut().par_chunks_mut(volume);
                pictures.zip(inputs[0].data().par_chunks(volume)).for_each(|(y, x)| {
                    let mut means = vec![0.0f64; pixels];
                    for x in x.chunks(pixels) {
                        means.iter_mut().zip(x).for_each(|(m, &v)| *m += f64::from(v) / s.c as f64);
                    }
                    let mut vars = vec![0.0f64; pixels];
                    for x in x.chunks(pixels) {
                        for ((var, mean), &v) in vars.iter_mut().zip(&means).zip(x) {
                            *var += (f64::from(v) - mean).powi(2) / s.c as f64;
                        }
                    }
                    vars.iter_mut().for_each(|v| *v = 1.0 / (*v + eps).sqrt());
                    for (c, (y, x)) in y.chunks_mut(pixels).zip(x.chunks(pixels)).enumerate() {
                        let (scale, shift) = self.affine(c);
                        for i in 0..pixels {
                            y[i] = ((f64::from(x[i]) - means[i]) * vars[i]) as f32 * scale + shift;
                        }
                        self.activation.apply(y);
                    }
                });
            }
        }
    }
}
