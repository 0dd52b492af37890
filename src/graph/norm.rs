//! Normalisation by statistics of the input: group, instance and layer norm. Shaders: `norm_*.wgsl`.

use super::{Activation, Operator, Reach, one, two};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;
use std::sync::Arc;

/// The elements that share a mean and a variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum NormOver {
    /// This number of groups of consecutive channels, each with all its pixels (Wu and He 2018). With one group for
    /// each channel, this is instance norm. With one group, it is layer norm over channels and pixels.
    Groups(usize),
    /// The channels of each pixel: layer norm of a channels-last tensor.
    Channels,
}

/// `y = activation((x - mean) / sqrt(var + eps) * scale[c] + shift[c])` with the population variance. A second input is
/// added before the activation.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Norm {
    /// The elements that share statistics, in each picture.
    pub over: NormOver,
    /// One factor for each channel; 1 if absent.
    #[serde(with = "super::stored::optional_vector")]
    pub scale: Option<Arc<[f32]>>,
    /// One summand for each channel; 0 if absent.
    #[serde(with = "super::stored::optional_vector")]
    pub shift: Option<Arc<[f32]>>,
    /// Added to the variance; above 0.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
    /// Whether there is a second input, of the first one's shape. Set by rewrites; files do not store it.
    #[serde(skip)]
    pub add: bool,
}

impl Norm {
    /// A norm without scale, shift and activation.
    pub fn new(over: NormOver, eps: f32) -> Norm {
        Norm { over, scale: None, shift: None, eps, activation: Activation::None, add: false }
    }

    /// Whether each channel has its own statistics.
    pub(crate) fn is_instance(&self, channels: usize) -> bool {
        self.over == NormOver::Groups(channels)
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
        let x = match self.add {
            true => {
                let (x, summand) = two(inputs)?;
                if summand != x {
                    return Err(Error::shape("summand", x, summand));
                }
                x
            }
            false => one(inputs)?,
        };
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
        (6 + u64::from(self.add)) * inputs[0].elements() as u64
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
        let (x, s) = (inputs[0], inputs[0].shape());
        let end = |y: &mut [f32], n: usize, c: usize| {
            if self.add {
                y.iter_mut().zip(inputs[1].plane(n, c)).for_each(|(y, x)| *y += x);
            }
            self.activation.apply(y);
        };
        match self.over {
            NormOver::Groups(groups) => {
                let size = s.c / groups;
                let count = (size * s.pixels()) as f64;
                // Plane by plane, so the number of threads does not change the order of a sum.
                let over_groups = |of: &(dyn Fn(usize, &[f32]) -> f64 + Sync)| -> Vec<f64> {
                    let planes = x.data().par_chunks(s.pixels()).enumerate();
                    let planes: Vec<f64> = planes.map(|(plane, x)| of(plane / size, x)).collect();
                    planes.chunks(size).map(|group| group.iter().sum::<f64>() / count).collect()
                };
                let means = over_groups(&|_, x| x.iter().map(|&v| f64::from(v)).sum());
                let squares =
                    |group: usize, x: &[f32]| x.iter().map(|&v| (f64::from(v) - means[group]).powi(2)).sum();
                let variances = over_groups(&squares);
                outputs[0].par_planes(|n, c, y| {
                    let group = n * groups + c / size;
                    let (scale, shift) = self.affine(c);
                    let factor = 1.0 / (variances[group] + f64::from(self.eps)).sqrt();
                    for (y, &x) in y.iter_mut().zip(x.plane(n, c)) {
                        *y = ((f64::from(x) - means[group]) * factor) as f32 * scale + shift;
                    }
                    end(y, n, c);
                });
            }
            NormOver::Channels => {
                const RUN: usize = 1024;
                let mut statistics = vec![(0.0f64, 0.0f64); s.n * s.pixels()];
                for (n, statistics) in statistics.chunks_mut(s.pixels()).enumerate() {
                    statistics.par_chunks_mut(RUN).enumerate().for_each(|(run, statistics)| {
                        let channels = || (0..s.c).map(|c| &x.plane(n, c)[run * RUN..]);
                        for x in channels() {
                            statistics.iter_mut().zip(x).for_each(|(s, &x)| s.0 += f64::from(x));
                        }
                        statistics.iter_mut().for_each(|at| at.0 /= s.c as f64);
                        for x in channels() {
                            statistics
                                .iter_mut()
                                .zip(x)
                                .for_each(|(s, &x)| s.1 += (f64::from(x) - s.0).powi(2));
                        }
                        for at in statistics {
                            at.1 = 1.0 / (at.1 / s.c as f64 + f64::from(self.eps)).sqrt();
                        }
                    });
                }
                outputs[0].par_planes(|n, c, y| {
                    let (scale, shift) = self.affine(c);
                    let statistics = &statistics[n * s.pixels()..];
                    for ((y, &x), (mean, factor)) in y.iter_mut().zip(x.plane(n, c)).zip(statistics) {
                        *y = ((f64::from(x) - mean) * factor) as f32 * scale + shift;
                    }
                    end(y, n, c);
                });
            }
        }
    }
}
