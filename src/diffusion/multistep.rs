//! The schedules of DPM-Solver and UniPC, which integrate over half the logarithm of the signal-to-noise ratio.

use super::config::{Kind, Scheduler, Sigmas, Spacing};
use super::grid::{Grid, interpolate, time_of};
use super::schedule::{Evaluation, Schedule, Terms};
use super::solvers::Level;
use crate::error::{Error, Result};

/// The latents that UniPC's corrector starts from.
const START: usize = 0;

/// The kept estimate of `age` steps ago, after `count` were kept.
fn past(count: usize, age: usize) -> Terms {
    Terms::kept(1 + (count - age) % 3)
}

impl Level {
    fn lambda(self) -> f64 {
        self.alpha.ln() - self.sigma.ln()
    }
}

impl Scheduler {
    fn solver_grid(&self, steps: usize) -> Result<Grid> {
        let train = self.training_sigmas();
        let is_dpm = self.kind == Kind::Dpm;
        let lambda = |a: f64| 0.5 * (a.ln() - (1.0 - a).ln());
        let clipped = match is_dpm {
            true => self.signal.iter().filter(|a| lambda(**a) < self.solver.lambda_min).count(),
            false => 0,
        };
        let last = self.train - clipped;
        if last <= steps {
            return Err(Error::Usage(format!(
                "{} makes at most {} steps, not {steps}",
                self.class,
                last.saturating_sub(1)
            )));
        }
        let mut times: Vec<f64> = match self.spacing {
            Spacing::Linspace => {
                let step = (last - 1) as f64 / steps as f64;
                (1..=steps).rev().map(|i| (i as f64 * step).round_ties_even()).collect()
            }
            Spacing::Leading => {
                (1..=steps).rev().map(|i| (i * (last / (steps + 1)) + self.offset) as f64).collect()
            }
            Spacing::Trailing => {
                let step = self.train as f64 / steps as f64;
                let times = (0..steps).map(|i| (last as f64 - i as f64 * step).round_ties_even() - 1.0);
                times.filter(|time| *time >= 0.0).collect()
            }
        };
        let mut end = train[0];
        let mut sigmas: Vec<f64> = times.iter().map(|&time| interpolate(&train, time)).collect();
        if self.sigmas != Sigmas::Timesteps {
            sigmas = self.spread(train[train.len() - 1], train[0], steps);
            let rounds = match is_dpm {
                true => self.sigmas != Sigmas::Exponential && !self.cosine,
                false => self.sigmas == Sigmas::Karras,
            };
            let whole = |time: f64| if rounds { time.round_ties_even() } else { time.trunc() };
            times = sigmas.iter().map(|&sigma| whole(time_of(sigma, &train))).collect();
            if !is_dpm {
                end = sigmas[steps - 1];
            }
        }
        sigmas.push(if self.ends_at_zero { 0.0 } else { end });
        Ok(Grid { times, sigmas })
    }

    /// DPM-Solver and DPM-Solver++ (Lu et al. 2022) and their stochastic forms, of orders 1 to 3.
    pub(super) fn dpm(&self, steps: usize, begin: usize) -> Result<Schedule> {
        let Grid { times, sigmas } = self.solver_grid(steps)?;
        let solver = &self.solver;
        let levels: Vec<Level> = sigmas.into_iter().map(Level::of).collect();
        let n = times.len();
        let few = solver.lower_order_final && n < 15;
        let step = |i: usize| {
            let (level, to) = (levels[i], levels[i + 1]);
            let count = i - begin;
            let x = Terms::LATENTS;
            let (estimate, picture) = self.limited(self.picture(x, level));
            let m = match (solver.data, estimate) {
                (true, _) => picture,
                (false, None) => self.noise(x, level),
                (false, Some(_)) => (x - picture * level.alpha) / level.sigma,
            };
            let ends = i + 1 == n && (solver.euler_at_final || few || self.ends_at_zero);
            let order = match solver.order {
                _ if count == 0 || ends => 1,
                3 if count > 1 && !(few && i + 2 == n) => 3,
                order => order.min(2),
            };
            let h = to.lambda() - level.lambda();
            // The factor of the latents, the factor `p` of the estimate, and its moments, all as integrals over h.
            let p = if solver.data { (-h).exp_m1() } else { h.exp_m1() };
            let twice = -(-2.0 * h).exp_m1();
            let (keep_x, scale, weight, first, second, noise) = match (solver.data, solver.sde) {
                (true, false) => {
                    (to.sigma / level.sigma, to.alpha, -p, p / h + 1.0, -((p + h) / (h * h) - 0.5), 0.0)
                }
                (false, false) => {
                    (to.alpha / level.alpha, to.sigma, -p, 1.0 - p / h, -((p - h) / (h * h) - 0.5), 0.0)
                }
                (true, true) => {
                    let keep_x = to.sigma / level.sigma * (-h).exp();
                    let second = (twice - 2.0 * h) / (4.0 * h * h) - 0.5;
                    (keep_x, to.alpha, twice, 1.0 - twice / (2.0 * h), second, to.sigma * twice.sqrt())
                }
                (false, true) => {
                    let noise = to.sigma * (2.0 * h).exp_m1().sqrt();
                    (to.alpha / level.alpha, to.sigma, -2.0 * p, 2.0 - 2.0 * p / h, 0.0, noise)
                }
            };
            let mut next = x * keep_x + m * (scale * weight) + Terms::NOISE * noise;
            if order > 1 {
                let distance = level.lambda() - levels[i - 1].lambda();
                let d = (m - past(count, 1)) * (h / distance);
                if order == 2 {
                    next = next + d * (scale * if solver.heun { first } else { 0.5 * weight });
                } else {
                    let (r0, before) = (distance / h, levels[i - 1].lambda() - levels[i - 2].lambda());
                    let bend = d - (past(count, 1) - past(count, 2)) * (h / before);
                    let sum = r0 + before / h;
                    next = next + (d + bend * (r0 / sum)) * (scale * first) + bend * (scale * second / sum);
                }
            }
            let mix = [level.alpha, level.sigma];
            let keep = vec![(1 + count % 3, m)];
            Evaluation { keep, draws: solver.sde, ..Evaluation::new(times[i], mix, estimate, next) }
        };
        Ok(Schedule { start: 1.0, evaluations: (begin..n).map(step).collect() })
    }

    /// UniPC (Zhao et al. 2023): a corrector of the last step, then a predictor, both of orders 1 to 3.
    pub(super) fn unipc(&self, steps: usize, begin: usize) -> Result<Schedule> {
        let Grid { times, sigmas } = self.solver_grid(steps)?;
        let solver = &self.solver;
        let levels: Vec<Level> = sigmas.into_iter().map(Level::of).collect();
        let n = times.len();
        let order = |i: usize| {
            let most = if solver.lower_order_final { solver.order.min(n - i) } else { solver.order };
            most.min(i - begin + 1)
        };
        let step = |i: usize| {
            let (level, count) = (levels[i], i - begin);
            let (estimate, picture) = self.limited(self.picture(Terms::LATENTS, level));
            let m = if solver.data { picture } else { self.noise(Terms::LATENTS, level) };
            let mut x = Terms::LATENTS;
            if count > 0 && !solver.uncorrected.contains(&(i - 1)) {
                let outputs: Vec<Terms> = (1..=order(i - 1)).map(|age| past(count, age)).collect();
                x = self.bh(Terms::kept(START), &levels[..=i], &outputs, Some(m));
            }
            let outputs: Vec<Terms> =
                (0..order(i)).map(|age| if age == 0 { m } else { past(count, age) }).collect();
            let next = self.bh(x, &levels[..=i + 1], &outputs, None);
            let keep = vec![(START, x), (1 + count % 3, m)];
            let mix = [level.alpha, level.sigma];
            Evaluation { keep, ..Evaluation::new(times[i], mix, estimate, next) }
        };
        Ok(Schedule { start: 1.0, evaluations: (begin..n).map(step).collect() })
    }

    /// A step from the last but one of the levels to the last: with the outputs so far, newest first, and, as a
    /// corrector, the output at the end of the step.
    fn bh(&self, x: Terms, levels: &[Level], outputs: &[Terms], end: Option<Terms>) -> Terms {
        let [to, from] = [levels[levels.len() - 1], levels[levels.len() - 2]];
        let h = to.lambda() - from.lambda();
        let order = outputs.len();
        let place = |age: usize| (levels[levels.len() - 2 - age].lambda() - from.lambda()) / h;
        let hh = if self.solver.data { -h } else { h };
        let phi = hh.exp_m1();
        let base = if self.solver.bh1 { hh } else { phi };
        let (keep_x, scale) = match self.solver.data {
            true => (to.sigma / from.sigma, to.alpha),
            false => (to.alpha / from.alpha, to.sigma),
        };
        let mut differences: Vec<Terms> =
            (1..order).map(|age| (outputs[age] - outputs[0]) / place(age)).collect();
        let mut places: Vec<f64> = (1..order).map(place).collect();
        if let Some(end) = end {
            differences.push(end - outputs[0]);
            places.push(1.0);
        }
        let mut next = x * keep_x - outputs[0] * (scale * phi);
        for (difference, weight) in differences.iter().zip(weights(&places, hh, base, order)) {
            next = next - *difference * (scale * base * weight);
        }
        next
    }
}

/// The weights of the differences: the solution of `sum of places^k * weight = moment k`. One alone is a half, as
/// the authors take it.
fn weights(places: &[f64], hh: f64, base: f64, order: usize) -> Vec<f64> {
    let n = places.len();
    if n == 1 && order <= 2 {
        return vec![0.5];
    }
    let (mut phi, mut factorial) = (hh.exp_m1() / hh - 1.0, 1.0);
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for k in 0..n {
        let powers = places.iter().map(|place| place.powi(k as i32));
        rows.push(powers.chain([phi * factorial / base]).collect());
        factorial *= (k + 2) as f64;
        phi = phi / hh - 1.0 / factorial;
    }
    // Gauss and Jordan; the places differ, so no pivot is zero after the rows are ordered by size.
    for k in 0..n {
        let largest = (k..n).max_by(|a, b| rows[*a][k].abs().total_cmp(&rows[*b][k].abs())).unwrap_or(k);
        rows.swap(k, largest);
        let pivot = rows[k].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != k) {
            let factor = row[k] / pivot[k];
            row.iter_mut().zip(&pivot).for_each(|(value, p)| *value -= factor * p);
        }
    }
    rows.iter().enumerate().map(|(k, row)| row[n] / row[k]).collect()
}
