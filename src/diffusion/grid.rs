//! Timesteps and noise levels of a run.

use super::config::{Prediction, Scheduler, Sigmas, Spacing};
use crate::error::{Error, Result};

/// Noise levels of a run.
pub(super) struct Grid {
    pub(super) times: Vec<f64>,
    /// One for each timestep and the last one, which the run ends with.
    pub(super) sigmas: Vec<f64>,
}

impl Scheduler {
    /// Whole timesteps from noise to picture.
    pub(super) fn times(&self, steps: usize) -> Vec<f64> {
        let (train, count) = (self.train as f64, steps as f64);
        let time = |i: usize| match self.spacing {
            Spacing::Linspace if steps == 1 => 0.0,
            Spacing::Linspace => (i as f64 * ((train - 1.0) / (count - 1.0))).round_ties_even(),
            Spacing::Leading => (i * (self.train / steps) + self.offset) as f64,
            Spacing::Trailing => (train - (steps - 1 - i) as f64 * (train / count)).round_ties_even() - 1.0,
        };
        (0..steps).rev().map(time).collect()
    }

    /// The index of a timestep, which `steps_offset` can move beyond the last one.
    pub(super) fn index(&self, time: f64) -> Result<usize> {
        let index = time as usize;
        if time >= 0.0 && index < self.train {
            return Ok(index);
        }
        Err(Error::Usage(format!(
            "{}: timestep {time} is not below num_train_timesteps, {} (make fewer steps or lower steps_offset)",
            self.class, self.train
        )))
    }

    /// The noise level of each timestep of training, rounded as diffusers rounds it.
    pub(super) fn training_sigmas(&self) -> Vec<f64> {
        self.signal.iter().map(|a| f64::from(((1.0 - a) / a).sqrt() as f32)).collect()
    }

    /// `count` noise levels between two, by the scheduler's rule.
    pub(super) fn spread(&self, from: f64, to: f64, count: usize) -> Vec<f64> {
        let (from, to) = (self.sigma_max.unwrap_or(from), self.sigma_min.unwrap_or(to));
        let part = |i: usize| i as f64 / count.saturating_sub(1).max(1) as f64;
        let karras = |i: usize| {
            let [a, b] = [from, to].map(|sigma| sigma.powf(1.0 / self.rho));
            (a + part(i) * (b - a)).powf(self.rho)
        };
        let exponential = |i: usize| (from.ln() + part(i) * (to.ln() - from.ln())).exp();
        match self.sigmas {
            Sigmas::Karras => (0..count).map(karras).collect(),
            _ => (0..count).map(exponential).collect(),
        }
    }

    pub(super) fn grid(&self, steps: usize) -> Result<Grid> {
        let train = self.training_sigmas();
        let mut times = match self.spacing {
            Spacing::Linspace => {
                let step = (self.train - 1) as f64 / steps.saturating_sub(1).max(1) as f64;
                (0..steps).rev().map(|i| i as f64 * step).collect()
            }
            _ => self.times(steps),
        };
        let mut sigmas: Vec<f64> = times.iter().map(|&time| interpolate(&train, time)).collect();
        if self.log_interpolation {
            let [from, to] = [train[train.len() - 1].ln(), train[0].ln()];
            sigmas = (0..=steps).map(|i| (from + i as f64 / steps as f64 * (to - from)).exp()).collect();
        }
        if self.sigmas != Sigmas::Timesteps {
            sigmas = self.spread(sigmas[0], sigmas[sigmas.len() - 1], steps);
            times = sigmas.iter().map(|&sigma| time_of(sigma, &train)).collect();
        }
        if self.continuous && self.prediction == Prediction::Velocity {
            times = sigmas.iter().take(steps).map(|sigma| 0.25 * sigma.ln()).collect();
        }
        sigmas.push(if self.ends_at_zero { 0.0 } else { train[0] });
        Ok(Grid { times, sigmas })
    }
}

/// The value at a position between elements, as `numpy.interp` has it.
pub(super) fn interpolate(values: &[f64], at: f64) -> f64 {
    let last = values.len() - 1;
    let below = (at.max(0.0) as usize).min(last);
    let above = (below + 1).min(last);
    values[below] + (values[above] - values[below]) * (at - below as f64).clamp(0.0, 1.0)
}

/// The timestep of a noise level, between those of training. Their logarithms are rounded to f32, because classes that
/// drop the fraction of a timestep would otherwise give another one than diffusers.
pub(super) fn time_of(sigma: f64, train: &[f64]) -> f64 {
    let logs = |i: usize| f64::from(train[i].ln() as f32);
    let log = sigma.max(1e-10).ln();
    let Some(most) = train.len().checked_sub(2) else { return 0.0 };
    let low = (0..train.len()).rev().find(|i| log >= logs(*i)).unwrap_or(0).min(most);
    let [from, to] = [logs(low), logs(low + 1)];
    low as f64 + ((from - log) / (from - to)).clamp(0.0, 1.0)
}
