//! The schedules of the schedulers with one network output for each step, and of PNDM, LMS and Heun.

use super::config::{Kind, Prediction, Scheduler, Spacing};
use super::grid::Grid;
use super::schedule::{Evaluation, Limit, Schedule, Terms};
use crate::error::{Error, Result};

/// Latents with this factor of the picture and this factor of noise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) alpha: f64,
    pub(super) sigma: f64,
}

impl Level {
    /// The level of latents `x` with `picture + sigma * noise`, scaled so that the variances add up to 1.
    pub(super) fn of(sigma: f64) -> Level {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Level { alpha, sigma: sigma * alpha }
    }
}

impl Evaluation {
    pub(super) fn new(
        timestep: f64,
        mix: [f64; 2],
        estimate: Option<(Terms, Limit)>,
        next: Terms,
    ) -> Evaluation {
        Evaluation { timestep, scale: 1.0, mix, estimate, next, keep: Vec::new(), draws: false }
    }
}

impl Scheduler {
    /// The evaluations of a run of `steps` steps, without the first `begin` steps. A run that begins with a picture
    /// leaves out the first ones and starts with the picture and noise as [`Evaluation::mix`] says.
    ///
    /// # Errors
    /// [`Error::Usage`] if the scheduler cannot make so many steps or begin there, [`Error::Model`] if the settings
    /// lead to a division by zero.
    pub fn schedule(&self, steps: usize, begin: usize) -> Result<Schedule> {
        let least = if self.kind == Kind::Pndm && !self.skip_prk { 4 } else { 1 };
        let most = if self.kind == Kind::Lcm { self.original_steps } else { self.train };
        if !(least..=most).contains(&steps) {
            return Err(Error::Usage(format!("{} makes {least} to {most} steps, not {steps}", self.class)));
        }
        if begin >= steps {
            return Err(Error::Usage(format!("a run of {steps} steps cannot begin after {begin} of them")));
        }
        let schedule = match self.kind {
            Kind::Ddpm | Kind::Ddim | Kind::Lcm => self.discrete(steps, begin),
            Kind::Pndm => self.pndm(steps, begin),
            Kind::Euler | Kind::EulerAncestral | Kind::Heun | Kind::Lms => self.derivative(steps, begin),
            Kind::Edm => Ok(self.edm(steps, begin)),
            Kind::Dpm => self.dpm(steps, begin),
            Kind::UniPc => self.unipc(steps, begin),
        };
        schedule?.checked(self.class)
    }

    // ---- what the network says ----

    /// The picture in latents of unit variance.
    pub(super) fn picture(&self, x: Terms, Level { alpha, sigma }: Level) -> Terms {
        match self.prediction {
            Prediction::Noise => (x - Terms::OUTPUT * sigma) / alpha,
            Prediction::Velocity => x * alpha - Terms::OUTPUT * sigma,
            Prediction::Sample => Terms::OUTPUT,
        }
    }

    /// The noise in latents of unit variance.
    pub(super) fn noise(&self, x: Terms, Level { alpha, sigma }: Level) -> Terms {
        match self.prediction {
            Prediction::Noise => Terms::OUTPUT,
            Prediction::Velocity => Terms::OUTPUT * alpha + x * sigma,
            Prediction::Sample => (x - Terms::OUTPUT * alpha) / sigma,
        }
    }

    /// The picture with its limit: the combination that is limited, and the terms that stand for the result.
    pub(super) fn limited(&self, picture: Terms) -> (Option<(Terms, Limit)>, Terms) {
        match self.limit {
            Some(limit) => (Some((picture, limit)), Terms::ESTIMATE),
            None => (None, picture),
        }
    }

    // ---- schedules ----

    /// DDPM (Ho et al. 2020), DDIM (Song et al. 2020) with eta 0, and latent consistency (Luo et al. 2023).
    fn discrete(&self, steps: usize, begin: usize) -> Result<Schedule> {
        let mut times = self.times(steps);
        if self.kind == Kind::Lcm {
            let stride = self.train / self.original_steps;
            let origin = |i: usize| ((self.original_steps - i) * stride) as f64 - 1.0;
            times = (0..steps).map(|i| origin(self.original_steps * i / steps)).collect();
        }
        let step = |i: usize| {
            let time = times[i];
            let a = self.signal[self.index(time)?];
            let level = Level { alpha: a.sqrt(), sigma: (1.0 - a).sqrt() };
            let (estimate, picture) = self.limited(self.picture(Terms::LATENTS, level));
            let mix = [level.alpha, level.sigma];
            let last = i + 1 == steps;
            Ok(match self.kind {
                Kind::Ddim => {
                    let before = time - (self.train / steps) as f64;
                    let to = if before >= 0.0 { self.signal[self.index(before)?] } else { self.final_signal };
                    let noise = self.noise(Terms::LATENTS, level);
                    let next = picture * to.sqrt() + noise * (1.0 - to).sqrt();
                    Evaluation::new(time, mix, estimate, next)
                }
                Kind::Lcm => {
                    let scaled = time * self.timestep_scaling;
                    let norm = scaled * scaled + 0.25; // sigma_data is 0.5
                    let denoised = picture * (scaled / norm.sqrt()) + Terms::LATENTS * (0.25 / norm);
                    let next = if last {
                        denoised
                    } else {
                        let to = self.signal[self.index(times[i + 1])?];
                        denoised * to.sqrt() + Terms::NOISE * (1.0 - to).sqrt()
                    };
                    Evaluation { draws: !last, ..Evaluation::new(time, mix, estimate, next) }
                }
                _ => {
                    let to = if last { 1.0 } else { self.signal[self.index(times[i + 1])?] };
                    let (alpha, variance) = (a / to, 1.0 - a);
                    let mean = picture * (to.sqrt() * (1.0 - alpha) / variance)
                        + Terms::LATENTS * (alpha.sqrt() * (1.0 - to) / variance);
                    let drawn = match self.large_variance {
                        true => 1.0 - alpha,
                        false => ((1.0 - to) / variance * (1.0 - alpha)).max(1e-20),
                    };
                    let draws = time > 0.0;
                    let next = if draws { mean + Terms::NOISE * drawn.sqrt() } else { mean };
                    Evaluation { draws, ..Evaluation::new(time, mix, estimate, next) }
                }
            })
        };
        Ok(Schedule { start: 1.0, evaluations: (begin..steps).map(step).collect::<Result<_>>()? })
    }

    /// Pseudo numerical methods (Liu et al. 2022): optional Runge-Kutta steps, then linear multistep ones.
    fn pndm(&self, steps: usize, begin: usize) -> Result<Schedule> {
        const START: usize = 0; // latents that several evaluations start from
        const SUM: usize = 4; // of the outputs of a Runge-Kutta step
        let ratio = (self.train / steps) as f64;
        let half = (self.train / steps / 2) as f64;
        let times = self.times(steps);
        let mut prk = Vec::new();
        let mut all = Vec::new();
        if self.skip_prk {
            all.extend(&times);
            if steps > 1 {
                all.insert(1, times[1]);
            }
        } else if begin > 0 {
            let line = "with skip_prk_steps false begins with the first step (set skip_prk_steps to true)";
            return Err(Error::Usage(format!("{} {line}", self.class)));
        } else {
            // Four steps, each evaluated at its start, twice in its middle and at its end.
            for i in 0..3 {
                prk.extend([times[i], times[i + 1] + half, times[i + 1] + half, times[i + 1]]);
            }
            all.extend(prk.iter().chain(&times[3..]));
        }
        let output = |age: usize, count: usize| Terms::kept(1 + (count - age) % 3);
        let o = Terms::OUTPUT;
        let mut count = 0; // outputs that were kept
        let mut evaluations = Vec::new();
        for (counter, &time) in all[begin.min(all.len() - 1)..].iter().enumerate() {
            let mut keep = Vec::new();
            let mut x = Terms::LATENTS;
            let a = self.signal[self.index(time)?];
            let (out, from, to);
            if counter < prk.len() {
                from = prk[counter / 4 * 4];
                to = time - if counter % 2 == 0 { half } else { 0.0 };
                (out, x) = match counter % 4 {
                    0 => {
                        keep = vec![(1 + count % 3, o), (START, x), (SUM, o / 6.0)];
                        count += 1;
                        (o, x)
                    }
                    3 => (Terms::kept(SUM) + o / 6.0, Terms::kept(START)),
                    _ => {
                        keep = vec![(SUM, Terms::kept(SUM) + o / 3.0)];
                        (o, Terms::kept(START))
                    }
                };
            } else if counter == 1 {
                (from, to) = (time + ratio, time);
                out = (o + output(1, count)) / 2.0;
                x = Terms::kept(START);
            } else {
                (from, to) = (time, time - ratio);
                let e = |age: usize| output(age, count);
                out = match count {
                    0 => o,
                    1 => (o * 3.0 - e(1)) / 2.0,
                    2 => (o * 23.0 - e(1) * 16.0 + e(2) * 5.0) / 12.0,
                    _ => (o * 55.0 - e(1) * 59.0 + e(2) * 37.0 - e(3) * 9.0) / 24.0,
                };
                keep.push((1 + count % 3, o));
                if counter == 0 {
                    keep.push((START, x));
                }
                count += 1;
            }
            let next = self.transfer(x, out, from, to)?;
            let mix = [a.sqrt(), (1.0 - a).sqrt()];
            evaluations.push(Evaluation { keep, ..Evaluation::new(time, mix, None, next) });
        }
        Ok(Schedule { start: 1.0, evaluations })
    }

    /// Formula (9) of Liu et al. 2022.
    fn transfer(&self, x: Terms, out: Terms, from: f64, to: f64) -> Result<Terms> {
        let a = self.signal[self.index(from)?];
        let b = if to >= 0.0 { self.signal[self.index(to)?] } else { self.final_signal };
        let noise = match self.prediction {
            Prediction::Velocity => out * a.sqrt() + x * (1.0 - a).sqrt(),
            _ => out,
        };
        let divisor = a * (1.0 - b).sqrt() + (a * (1.0 - a) * b).sqrt();
        Ok(x * (b / a).sqrt() - noise * ((b - a) / divisor))
    }

    /// Schedulers that integrate `dx / dsigma` (Karras et al. 2022): Euler, its ancestral form, Heun, LMS.
    fn derivative(&self, steps: usize, begin: usize) -> Result<Schedule> {
        const START: usize = 0; // latents that a step of Heun's starts from
        const SLOPE: usize = 1;
        let Grid { times, sigmas } = self.grid(steps)?;
        let largest = sigmas.iter().copied().fold(0.0, f64::max);
        let start = match self.spacing {
            Spacing::Leading => (largest * largest + 1.0).sqrt(),
            _ => largest,
        };
        let x = Terms::LATENTS;
        let mut evaluations = Vec::new();
        for i in begin..steps {
            let (time, sigma, to) = (times[i], sigmas[i], sigmas[i + 1]);
            let slope = |sigma: f64| {
                let level = Level::of(sigma);
                let (estimate, picture) = self.limited(self.picture(x * level.alpha, level));
                (estimate, (x - picture) / sigma)
            };
            let (estimate, d) = slope(sigma);
            let plain = |next: Terms| Evaluation {
                scale: Level::of(sigma).alpha,
                ..Evaluation::new(time, [1.0, sigma], estimate, next)
            };
            let euler = x + d * (to - sigma);
            match self.kind {
                Kind::EulerAncestral => {
                    let up = (to * to * (sigma * sigma - to * to) / (sigma * sigma)).sqrt();
                    let down = (to * to - up * up).max(0.0).sqrt();
                    let next = x + d * (down - sigma) + Terms::NOISE * up;
                    evaluations.push(Evaluation { draws: true, ..plain(next) });
                }
                Kind::Lms => {
                    let order = (i + 1).min(4);
                    let slope = |age: usize| if age == 0 { d } else { Terms::kept((i - age) % 3) };
                    let ages = 0..order.min(i - begin + 1);
                    let next = ages.fold(x, |sum, age| sum + slope(age) * adams(&sigmas, i, order, age));
                    evaluations.push(Evaluation { keep: vec![(i % 3, d)], ..plain(next) });
                }
                Kind::Heun if i + 1 < steps => {
                    evaluations.push(Evaluation { keep: vec![(START, x), (SLOPE, d)], ..plain(euler) });
                    let (estimate, second) = slope(to);
                    let mean = (Terms::kept(SLOPE) + second) / 2.0;
                    let next = Terms::kept(START) + mean * (to - sigma);
                    let scale = Level::of(to).alpha;
                    let corrected = Evaluation::new(times[i + 1], [1.0, to], estimate, next);
                    evaluations.push(Evaluation { scale, ..corrected });
                }
                _ => evaluations.push(plain(euler)),
            }
        }
        Ok(Schedule { start, evaluations })
    }

    /// Euler's steps with the preconditioning of Karras et al. 2022.
    fn edm(&self, steps: usize, begin: usize) -> Schedule {
        let mut sigmas = self.spread(80.0, 0.002, steps);
        let start = sigmas[0].max(self.sigma_max.unwrap_or(80.0)).hypot(1.0);
        sigmas.push(if self.ends_at_zero { 0.0 } else { sigmas[steps - 1] });
        let step = |i: usize| {
            let (sigma, data) = (sigmas[i], self.sigma_data);
            let norm = sigma * sigma + data * data;
            let sign = if self.prediction == Prediction::Velocity { -1.0 } else { 1.0 };
            let x = Terms::LATENTS;
            let picture = x * (data * data / norm) + Terms::OUTPUT * (sign * sigma * data / norm.sqrt());
            let next = x + (x - picture) * ((sigmas[i + 1] - sigma) / sigma);
            let scale = 1.0 / norm.sqrt();
            Evaluation { scale, ..Evaluation::new(0.25 * sigma.ln(), [1.0, sigma], None, next) }
        };
        Schedule { start, evaluations: (begin..steps).map(step).collect() }
    }
}

/// The weight of the slope `age` steps ago in a linear multistep: the integral of its Lagrange polynomial, of which
/// the formula of Gauss with two points is exact up to order 4.
fn adams(sigmas: &[f64], i: usize, order: usize, age: usize) -> f64 {
    let polynomial = |tau: f64| {
        let factor = |k: usize| (tau - sigmas[i - k]) / (sigmas[i - age] - sigmas[i - k]);
        (0..order).filter(|k| *k != age).map(factor).product::<f64>()
    };
    let [middle, half] = [(sigmas[i + 1] + sigmas[i]) / 2.0, (sigmas[i + 1] - sigmas[i]) / 2.0];
    let off = half / 3f64.sqrt();
    half * (polynomial(middle - off) + polynomial(middle + off))
}
