//! The steps of a recipe: arithmetic on a tensor, also with statistics of the whole tensor.

use super::Curve;
use super::exposure::{Exposure, colors};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use serde::{Deserialize, Serialize};

/// An operation on all values of a tensor, NCHW.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// `value * gain + offset`.
    Linear {
        /// One number, or one for each channel. Empty means 1.
        #[serde(default)]
        gain: Vec<f64>,
        /// One number, or one for each channel. Empty means 0.
        #[serde(default)]
        offset: Vec<f64>,
    },
    /// Limits values to `min` and `max`.
    Clip {
        /// Smallest value.
        #[serde(default)]
        min: Option<f64>,
        /// Largest value.
        #[serde(default)]
        max: Option<f64>,
    },
    /// `(value - mean) / (std + eps)` with mean and standard deviation of the tensor itself.
    Standardize {
        /// What the statistics are taken over.
        #[serde(default)]
        over: Over,
        /// Keeps constant pictures finite.
        #[serde(default = "small")]
        eps: f64,
    },
    /// `(value - low) / (high - low + eps)` with percentiles of the tensor itself, as in `numpy.percentile`.
    /// Percentiles 0 and 100 are the smallest and the largest value. Nothing is clipped.
    Rescale {
        /// Percentile that becomes 0.
        #[serde(default)]
        low: f64,
        /// Percentile that becomes 1.
        #[serde(default = "hundred")]
        high: f64,
        /// What the percentiles are taken over.
        #[serde(default)]
        over: Over,
        /// Keeps constant pictures finite. With 0, a constant picture becomes 0.
        #[serde(default)]
        eps: f64,
    },
    /// `value / max` with the tensor's own maximum, as in U2-Net. A tensor with a maximum below 1e-6 stays as it is.
    DivideByMax {
        /// What the maximum is taken over.
        #[serde(default)]
        over: Over,
    },
    /// Input only. Multiplies linear light so that its mean brightness is middle grey, 0.18, as Open Image Denoise
    /// measures it. With more than three channels, only the first three are measured and multiplied.
    AutoExposure,
    /// Output only. Divides by the factor of [`AutoExposure`](Step::AutoExposure).
    UndoExposure,
    /// From light to a curve. With more than three channels, only the first three.
    Curve(Curve),
    /// From a curve back to light. With more than three channels, only the first three.
    Inverse(Curve),
    /// `1 / (1 + exp(-value))`.
    Sigmoid,
    /// `exp(value)` divided by its sum along the channels.
    Softmax,
    /// 1 above the threshold, 0 elsewhere.
    Binarize {
        /// The threshold.
        threshold: f64,
    },
    /// Output only. Brings the result to the mean and standard deviation of the input picture.
    MatchInput {
        /// What the statistics are taken over.
        #[serde(default)]
        over: Over,
        /// Keeps constant results finite.
        #[serde(default = "small")]
        eps: f64,
    },
}

/// What statistics are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// All channels of a picture together.
    #[default]
    Sample,
    /// Each channel of a picture separately.
    Channel,
}

fn small() -> f64 {
    1e-6
}

fn hundred() -> f64 {
    100.0
}

impl Over {
    /// Number of consecutive elements that share their statistics.
    pub(super) fn len(self, shape: Shape) -> usize {
        match self {
            Over::Sample => shape.c * shape.pixels(),
            Over::Channel => shape.pixels(),
        }
    }
}

impl Step {
    /// Checks the step's numbers.
    pub(super) fn check(&self) -> Result<()> {
        let is_finite = |v: &f64| (*v as f32).is_finite();
        let good = match self {
            Step::Linear { gain, offset } => gain.iter().chain(offset).all(is_finite),
            Step::Clip { min, max } => {
                let [low, high] = [min.unwrap_or(f64::MIN), max.unwrap_or(f64::MAX)];
                min.iter().chain(max).all(is_finite) && low <= high
            }
            Step::Standardize { eps, .. } | Step::MatchInput { eps, .. } => is_finite(eps) && *eps >= 0.0,
            Step::Rescale { low, high, eps, .. } => {
                0.0 <= *low && low < high && *high <= 100.0 && is_finite(eps) && *eps >= 0.0
            }
            Step::Binarize { threshold } => is_finite(threshold),
            Step::DivideByMax { .. }
            | Step::AutoExposure
            | Step::UndoExposure
            | Step::Curve(_)
            | Step::Inverse(_)
            | Step::Sigmoid
            | Step::Softmax => true,
        };
        let expected = "finite numbers, min up to max, rising percentiles from 0 to 100, eps at least 0";
        if good { Ok(()) } else { Err(Error::shape("a step of the recipe", expected, format!("{self:?}"))) }
    }

    /// Whether each pixel can be computed without the others.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Step::Linear { .. }
            | Step::Clip { .. }
            | Step::Curve(_)
            | Step::Inverse(_)
            | Step::Sigmoid
            | Step::Softmax
            | Step::Binarize { .. } => true,
            Step::Standardize { .. }
            | Step::Rescale { .. }
            | Step::DivideByMax { .. }
            | Step::AutoExposure
            | Step::UndoExposure
            | Step::MatchInput { .. } => false,
        }
    }

    /// For a step that belongs in only one list of the recipe: its name and that list's name.
    pub(super) fn only_in(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Step::MatchInput { .. } => Some(("match_input", "output.steps")),
            Step::UndoExposure => Some(("undo_exposure", "output.steps")),
            Step::AutoExposure => Some(("auto_exposure", "input.steps")),
            _ => None,
        }
    }

    /// Applies the step. `input` is the picture that a result was computed from.
    ///
    /// # Errors
    /// When the step's lists do not match the channels, when its numbers are invalid, when there is no input to match,
    /// or when the exposure to undo is unknown ([`OutputRecipe::with_exposure`](super::OutputRecipe::with_exposure)
    /// sets it).
    pub fn apply(&self, tensor: &mut Tensor, input: Option<&Tensor>) -> Result<()> {
        self.check()?;
        let shape = tensor.shape();
        let data = tensor.data_mut();
        let map = |data: &mut [f32], f: &dyn Fn(f64) -> f64| {
            data.iter_mut().for_each(|v| *v = f(f64::from(*v)) as f32);
        };
        let map_colors = |data: &mut [f32], f: &dyn Fn(f64) -> f64| {
            for part in data.chunks_exact_mut(Over::Sample.len(shape)) {
                map(&mut part[..colors(shape.c) * shape.pixels()], f);
            }
        };
        match self {
            Step::Linear { gain, offset } => {
                for (name, list) in [("gain", gain), ("offset", offset)] {
                    if ![0, 1, shape.c].contains(&list.len()) {
                        let expected = format!("0, 1 or {} numbers", shape.c);
                        return Err(Error::shape(format!("the recipe's {name}"), expected, list.len()));
                    }
                }
                for (i, plane) in data.chunks_exact_mut(shape.pixels()).enumerate() {
                    let pick = |list: &[f64], default| {
                        list.get(i % shape.c).or(list.first()).copied().unwrap_or(default)
                    };
                    let (gain, offset) = (pick(gain, 1.0), pick(offset, 0.0));
                    map(plane, &|v| v * gain + offset);
                }
            }
            Step::Clip { min, max } => {
                let [min, max] = [min.unwrap_or(f64::MIN), max.unwrap_or(f64::MAX)];
                // `clamp` keeps NaN, which a later check reports.
                map(data, &|v| v.clamp(min, max));
            }
            Step::Standardize { over, eps } => {
                for part in data.chunks_exact_mut(over.len(shape)) {
                    let (mean, std) = moments(part);
                    map(part, &|v| ratio(v - mean, std + eps));
                }
            }
            Step::Rescale { low, high, over, eps } => {
                for part in data.chunks_exact_mut(over.len(shape)) {
                    let mut values = part.to_vec();
                    let [low, high] = [low, high].map(|&percent| percentile(&mut values, percent));
                    map(part, &|v| ratio(v - low, high - low + eps));
                }
            }
            Step::DivideByMax { over } => {
                for part in data.chunks_exact_mut(over.len(shape)) {
                    let max = part.iter().fold(f64::MIN, |max, &v| max.max(f64::from(v)));
                    if max >= 1e-6 {
                        map(part, &|v| v / max);
                    }
                }
            }
            Step::AutoExposure => {
                for part in data.chunks_exact_mut(Over::Sample.len(shape)) {
                    let exposure = Exposure::of(part, shape);
                    map(&mut part[..colors(shape.c) * shape.pixels()], &|v| v * exposure);
                }
            }
            Step::UndoExposure => {
                let message = "the step undo_exposure needs the exposure of the input picture";
                return Err(Error::Model(message.into()));
            }
            Step::Curve(curve) => map_colors(data, &|v| curve.forward(v)),
            Step::Inverse(curve) => map_colors(data, &|v| curve.inverse(v)),
            Step::Sigmoid => map(data, &|v| 1.0 / (1.0 + (-v).exp())),
            Step::Softmax => {
                data.chunks_exact_mut(Over::Sample.len(shape)).for_each(|part| softmax(part, shape))
            }
            Step::Binarize { threshold } => map(data, &|v| f64::from(u8::from(v > *threshold))),
            Step::MatchInput { over, eps } => {
                let Some(input) = input else {
                    return Err(Error::Model("the step match_input needs the input picture".into()));
                };
                let theirs = input.data().chunks_exact(over.len(input.shape()));
                let ours = data.chunks_exact_mut(over.len(shape));
                if theirs.len() != ours.len() {
                    let expected = "as many channels in the result as in the picture (or over = \"sample\")";
                    return Err(Error::shape("match_input", expected, shape));
                }
                for (part, input) in ours.zip(theirs) {
                    let ((mean, std), (input_mean, input_std)) = (moments(part), moments(input));
                    map(part, &|v| ratio(v - mean, std + eps) * (input_std + eps) + input_mean);
                }
            }
        }
        Ok(())
    }
}

/// `dividend / divisor`, or 0 if `divisor` is 0.
pub(super) fn ratio(dividend: f64, divisor: f64) -> f64 {
    if divisor == 0.0 { 0.0 } else { dividend / divisor }
}

/// Mean and population standard deviation of the values.
fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// A percentile with linear interpolation. Reorders `values`.
fn percentile(values: &mut [f32], percent: f64) -> f64 {
    let last = values.len() - 1;
    let place = last as f64 * percent / 100.0;
    let below = (place as usize).min(last);
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    f64::from(low) + (f64::from(high) - f64::from(low)) * place.fract()
}

/// Softmax along the channels of one picture, CHW.
fn softmax(part: &mut [f32], shape: Shape) {
    let pixels = shape.pixels();
    for pixel in 0..pixels {
        let places = || (pixel..pixels * shape.c).step_by(pixels);
        let max = places().map(|i| part[i]).fold(f32::MIN, f32::max);
        let exp = |v: f32| (f64::from(v) - f64::from(max)).exp();
        let sum: f64 = places().map(|i| exp(part[i])).sum();
        places().for_each(|i| part[i] = (exp(part[i]) / sum) as f32);
    }
}
