//! Steps with statistics of a whole picture, for pictures that are never in memory as a whole. Passes over bands of
//! rows measure the statistics first. The step then becomes a linear one, which can be applied band by band. Exposure
//! is measured in this way for every picture, because the output steps need the factor too.

use super::exposure::{Exposure, colors};
use super::step::{Over, Step, ratio};
use super::{InputRecipe, Recipe};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Reads a picture once: calls the function with each band of its values, all channels, from the top.
pub type Pass<'a> = dyn FnMut(&mut dyn FnMut(&Tensor) -> Result<()>) -> Result<()> + 'a;

impl Recipe {
    /// Whether the output steps can be applied to one band of rows at a time.
    pub fn finishes_in_bands(&self) -> bool {
        self.output.steps.iter().all(|step| step.is_local() || *step == Step::UndoExposure)
    }
}

impl InputRecipe {
    /// The same recipe for one picture of `height` rows: steps with statistics are replaced by linear ones. Also
    /// returns the exposure factor of the picture, 1 without such a step; the output steps need it
    /// ([`OutputRecipe::with_exposure`](super::OutputRecipe::with_exposure)).
    ///
    /// # Errors
    /// Errors of the passes and of the steps.
    pub fn measured(&self, height: usize, pass: &mut Pass<'_>) -> Result<(InputRecipe, f64)> {
        let mut exposure = 1.0;
        let mut known = InputRecipe { steps: Vec::new(), mean: Vec::new(), std: Vec::new(), ..self.clone() };
        for step in &self.steps {
            step.check()?;
            let step = match step {
                Step::AutoExposure => {
                    let (factor, channels) = measure_exposure(height, &known, pass)?;
                    exposure *= factor;
                    let gain = (0..channels).map(|c| if c < colors(channels) { factor } else { 1.0 });
                    Step::Linear { gain: gain.collect(), offset: Vec::new() }
                }
                step if step.is_local() => step.clone(),
                step => linear(step, &known, pass)?,
            };
            known.steps.push(step);
        }
        Ok((InputRecipe { mean: self.mean.clone(), std: self.std.clone(), ..known }, exposure))
    }

    /// The same for a picture in memory, NCHW. Replaces only the exposure step; without one, returns the recipe
    /// unchanged.
    ///
    /// # Errors
    /// Errors of the steps; [`Error::Shape`] for several pictures, because their exposures differ.
    pub fn exposed(&self, values: &Tensor) -> Result<(InputRecipe, f64)> {
        let shape = values.shape();
        if !self.steps.contains(&Step::AutoExposure) {
            return Ok((self.clone(), 1.0));
        }
        if shape.n != 1 {
            return Err(Error::shape("the step auto_exposure", "one picture at a time", shape));
        }
        self.measured(shape.h, &mut |each| each(values))
    }
}

/// The exposure and the channels of a picture of `height` rows. `before` holds the operations before it.
fn measure_exposure(height: usize, before: &InputRecipe, pass: &mut Pass<'_>) -> Result<(f64, usize)> {
    let (mut exposure, mut channels) = (Exposure::new(height), 0);
    pass(&mut |band| {
        let mut band = band.clone();
        before.normalize(&mut band)?;
        channels = band.shape().c;
        exposure.add(band.data(), band.shape());
        Ok(())
    })?;
    Ok((exposure.factor(), channels))
}

/// The linear step that has the effect of `step` on this picture. `before` holds the operations before it.
fn linear(step: &Step, before: &InputRecipe, pass: &mut Pass<'_>) -> Result<Step> {
    // (value - low) / width, one pair for each channel or for the sample.
    let pairs: Vec<(f64, f64)> = match *step {
        Step::Standardize { over, eps } => {
            let moments = collect(|_| Moments::default(), over, before, pass)?;
            moments.iter().map(|part| (part.mean, part.deviation() + eps)).collect()
        }
        Step::DivideByMax { over } => {
            let largest = collect(|_| Largest(f64::MIN), over, before, pass)?;
            largest.iter().map(|part| (0.0, if part.0 >= 1e-6 { part.0 } else { 1.0 })).collect()
        }
        Step::Rescale { low, high, over, eps } => {
            let percentiles = percentiles([low, high], over, before, pass)?;
            percentiles.into_iter().map(|[low, high]| (low, high - low + eps)).collect()
        }
        _ => return Ok(step.clone()),
    };
    let gain: Vec<f64> = pairs.iter().map(|&(_, width)| ratio(1.0, width)).collect();
    let offset = pairs.iter().zip(&gain).map(|(&(low, _), gain)| -low * gain).collect();
    Ok(Step::Linear { gain, offset })
}

/// Statistics of values that arrive in parts.
trait Collect {
    fn add(&mut self, values: &[f32]);
}

impl<C: Collect, const N: usize> Collect for [C; N] {
    fn add(&mut self, values: &[f32]) {
        self.iter_mut().for_each(|part| part.add(values));
    }
}

/// Collects statistics in one pass: one collection for the whole picture or one for each channel. `begin` gets its
/// number.
fn collect<C: Collect>(
    begin: impl Fn(usize) -> C,
    over: Over,
    before: &InputRecipe,
    pass: &mut Pass<'_>,
) -> Result<Vec<C>> {
    let mut parts = Vec::new();
    pass(&mut |band| {
        let mut band = band.clone();
        before.normalize(&mut band)?;
        let values = band.data().chunks_exact(over.len(band.shape()));
        for (i, values) in values.enumerate() {
            if i == parts.len() {
                parts.push(begin(i));
            }
            parts[i].add(values);
        }
        Ok(())
    })?;
    Ok(parts)
}

/// Mean and squared deviations, merged as in Chan, Golub and LeVeque 1979.
#[derive(Debug, Clone, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn deviation(&self) -> f64 {
        (self.squares / self.count).sqrt()
    }
}

impl Collect for Moments {
    fn add(&mut self, values: &[f32]) {
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
        let (total, apart) = (self.count + count, mean - self.mean);
        self.squares += squares + apart * apart * self.count * count / total;
        self.mean += apart * count / total;
        self.count = total;
    }
}

struct Largest(f64);

impl Collect for Largest {
    fn add(&mut self, values: &[f32]) {
        self.0 = values.iter().fold(self.0, |max, &v| max.max(f64::from(v)));
    }
}

/// Counts of the upper halves of all values, or of the lower halves of values with one given upper half. Halves are
/// those of [`key`].
struct Histogram {
    upper: Option<u32>,
    counts: Vec<u64>,
}

impl Histogram {
    fn new(upper: Option<u32>) -> Histogram {
        Histogram { upper, counts: vec![0; 1 << 16] }
    }

    /// The half that contains the value of that rank, and its rank within the half.
    fn find(&self, mut rank: u64) -> (u32, u64) {
        for (half, &count) in self.counts.iter().enumerate() {
            if rank < count {
                return (half as u32, rank);
            }
            rank -= count;
        }
        (u32::from(u16::MAX), 0)
    }
}

impl Collect for Histogram {
    fn add(&mut self, values: &[f32]) {
        for key in values.iter().map(|&v| key(v)) {
            match self.upper {
                None => self.counts[(key >> 16) as usize] += 1,
                Some(upper) if key >> 16 == upper => self.counts[(key & 0xffff) as usize] += 1,
                Some(_) => {}
            }
        }
    }
}

/// An integer with the same order as the values.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// Two percentiles of each part, with linear interpolation. Exact, in two passes.
fn percentiles(
    percents: [f64; 2],
    over: Over,
    before: &InputRecipe,
    pass: &mut Pass<'_>,
) -> Result<Vec<[f64; 2]>> {
    let upper = collect(|_| Histogram::new(None), over, before, pass)?;
    let last = |part: &Histogram| part.counts.iter().sum::<u64>().saturating_sub(1);
    let places = |part: &Histogram| percents.map(|percent| last(part) as f64 * percent / 100.0);
    // The value at each rank, and the next one.
    let find = |part: &Histogram| {
        let [low, high] = places(part).map(|place| place as u64);
        [low, low + 1, high, high + 1].map(|rank| part.find(rank.min(last(part))))
    };
    let found: Vec<[(u32, u64); 4]> = upper.iter().map(find).collect();
    let lower = collect(|i| found[i].map(|(half, _)| Histogram::new(Some(half))), over, before, pass)?;
    let between = |part: usize| {
        let exact = |i: usize| {
            let (half, rank) = found[part][i];
            f64::from(value(half << 16 | lower[part][i].find(rank).0))
        };
        let [low, high] = places(&upper[part]).map(f64::fract);
        [(0, low), (2, high)].map(|(i, share)| exact(i) + (exact(i + 1) - exact(i)) * share)
    };
    Ok((0..upper.len()).map(between).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Random, Shape};

    /// Bands of three rows.
    fn in_bands(picture: &Tensor, each: &mut dyn FnMut(&Tensor) -> Result<()>) -> Result<()> {
        let shape = picture.shape();
        for first in (0..shape.h).step_by(3) {
            let h = 3.min(shape.h - first);
            each(&picture.part(first..first + h, 0..shape.w))?;
        }
        Ok(())
    }

    #[test]
    fn what_is_measured_in_bands_is_what_the_whole_tells() {
        let mut random = Random::new(5);
        let picture = Tensor::from_fn(Shape::new(1, 3, 20, 17), |i| {
            (random.uniform(-20.0, 250.0) + (i / 340) as f32 * 40.0).round()
        });
        for over in [Over::Sample, Over::Channel] {
            let steps = vec![
                Step::Clip { min: Some(-0.05), max: Some(1.1) },
                Step::Rescale { low: 1.0, high: 99.8, over, eps: 1e-6 },
                Step::Rescale { low: 0.0, high: 100.0, over, eps: 0.0 },
                Step::Standardize { over, eps: 1e-6 },
                Step::DivideByMax { over },
            ];
            let recipe = InputRecipe { steps, mean: vec![0.1], std: vec![0.5], ..InputRecipe::default() };
            let mut want = picture.clone();
            recipe.normalize(&mut want).unwrap();
            let (known, _) = recipe.measured(20, &mut |each| in_bands(&picture, each)).unwrap();
            assert!(known.steps.iter().all(Step::is_local));
            let mut got = picture.clone();
            known.normalize(&mut got).unwrap();
            let off = got.data().iter().zip(want.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-6, "{over:?}: {off:e}");
        }
        // A constant picture: the divisor is 0.
        let flat = Tensor::from_fn(Shape::new(1, 1, 4, 4), |_| 7.0);
        let steps = vec![Step::Rescale { low: 0.0, high: 100.0, over: Over::Sample, eps: 0.0 }];
        let recipe = InputRecipe { steps, ..InputRecipe::default() };
        let (known, _) = recipe.measured(4, &mut |each| in_bands(&flat, each)).unwrap();
        let mut got = flat.clone();
        known.normalize(&mut got).unwrap();
        assert!(got.data().iter().all(|&v| v == 0.0), "{got:?}");
    }
}
