//! Schedules: linear combinations for each evaluation of a network, and their use on slices.

use crate::error::{Error, Result};
use std::ops::{Add, Div, Mul, Sub};

/// The number of buffers that a schedule keeps from one evaluation to the next.
pub const SLOTS: usize = 5;

/// Coefficients of a linear combination of buffers of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Terms {
    /// Of the latents before the step.
    pub latents: f64,
    /// Of what the network returned.
    pub output: f64,
    /// Of the limited estimate of the picture, [`Evaluation::estimate`].
    pub estimate: f64,
    /// Of fresh normal noise.
    pub noise: f64,
    /// Of the kept buffers.
    pub kept: [f64; SLOTS],
}

impl Terms {
    pub(super) const ZERO: Terms =
        Terms { latents: 0.0, output: 0.0, estimate: 0.0, noise: 0.0, kept: [0.0; SLOTS] };
    pub(super) const LATENTS: Terms = Terms { latents: 1.0, ..Terms::ZERO };
    pub(super) const OUTPUT: Terms = Terms { output: 1.0, ..Terms::ZERO };
    pub(super) const ESTIMATE: Terms = Terms { estimate: 1.0, ..Terms::ZERO };
    pub(super) const NOISE: Terms = Terms { noise: 1.0, ..Terms::ZERO };

    pub(super) fn kept(slot: usize) -> Terms {
        let mut terms = Terms::ZERO;
        terms.kept[slot] = 1.0;
        terms
    }

    fn zip(self, other: Terms, f: impl Fn(f64, f64) -> f64) -> Terms {
        Terms {
            latents: f(self.latents, other.latents),
            output: f(self.output, other.output),
            estimate: f(self.estimate, other.estimate),
            noise: f(self.noise, other.noise),
            kept: std::array::from_fn(|i| f(self.kept[i], other.kept[i])),
        }
    }

    fn is_finite(self) -> bool {
        let named = [self.latents, self.output, self.estimate, self.noise];
        named.iter().chain(&self.kept).all(|coefficient| coefficient.is_finite())
    }
}

impl Add for Terms {
    type Output = Terms;
    fn add(self, other: Terms) -> Terms {
        self.zip(other, |a, b| a + b)
    }
}

impl Sub for Terms {
    type Output = Terms;
    fn sub(self, other: Terms) -> Terms {
        self.zip(other, |a, b| a - b)
    }
}

impl Mul<f64> for Terms {
    type Output = Terms;
    fn mul(self, factor: f64) -> Terms {
        self.zip(self, |a, _| a * factor)
    }
}

impl Div<f64> for Terms {
    type Output = Terms;
    fn div(self, divisor: f64) -> Terms {
        self.zip(self, |a, _| a / divisor)
    }
}

/// What is done to the estimate of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Elements are clipped to plus and minus this.
    Clip(f64),
    /// Dynamic thresholding (Saharia et al. 2022): elements are clipped to plus and minus a quantile of their absolute
    /// values, which itself is at least 1 and at most `max`, and divided by it.
    Quantile {
        /// The part of the elements below the quantile, 0 to 1.
        ratio: f64,
        /// The largest threshold.
        max: f64,
    },
}

/// One evaluation of the network and the step after it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The time that the network gets.
    pub timestep: f64,
    /// The factor on the latents for the network's input.
    pub scale: f64,
    /// The factors of a clean picture and of noise that give latents of this timestep.
    pub mix: [f64; 2],
    /// The estimate of the picture, a combination of latents and output, and its limit. `None` if nothing limits it.
    pub estimate: Option<(Terms, Limit)>,
    /// The next latents.
    pub next: Terms,
    /// Slots that are written, from the values before the step.
    pub keep: Vec<(usize, Terms)>,
    /// Whether noise is drawn for this step. It can have the coefficient 0.
    pub draws: bool,
}

/// All evaluations of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Schedule {
    /// The standard deviation of the noise that a run from nothing starts with.
    pub start: f64,
    /// The evaluations in order. There can be more or fewer than steps that were asked for.
    pub evaluations: Vec<Evaluation>,
}

impl Schedule {
    /// Refuses coefficients that are infinite or no numbers.
    pub(super) fn checked(self, class: &str) -> Result<Schedule> {
        let bad = self.evaluations.iter().find(|e| {
            let mut terms =
                e.estimate.iter().map(|(terms, _)| terms).chain(e.keep.iter().map(|(_, terms)| terms));
            let finite = e.timestep.is_finite() && e.scale.is_finite() && e.next.is_finite();
            !(finite && terms.all(|terms| terms.is_finite()))
        });
        match bad {
            None => Ok(self),
            Some(e) => Err(Error::Model(format!(
                "{class}: the step at timestep {} divides by zero (choose other steps, timestep_spacing or \
                 prediction_type; zero-terminal SNR needs v_prediction or sample)",
                e.timestep
            ))),
        }
    }
}

/// The buffers that one picture's run keeps from step to step.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    slots: [Vec<f32>; SLOTS],
}

impl Kept {
    /// Replaces the latents of one picture by the next ones, from the network's output and fresh normal noise. All
    /// slices have the same length; noise is empty if the evaluation draws none.
    ///
    /// # Errors
    /// [`Error::Shape`] if the lengths differ.
    pub fn step(
        &mut self,
        evaluation: &Evaluation,
        latents: &mut [f32],
        output: &[f32],
        noise: &[f32],
    ) -> Result<()> {
        let length = latents.len();
        let drawn = if evaluation.draws { length } else { 0 };
        for (what, slice, expected) in [("output", output, length), ("noise", noise, drawn)] {
            if slice.len() != expected {
                return Err(Error::shape(format!("{what} of a step"), expected, slice.len()));
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.len() != length) {
            *slot = vec![0.0; length];
        }
        let mut estimate = Vec::new();
        if let Some((terms, limit)) = evaluation.estimate {
            estimate = self.combine(terms, [latents, output, &[], noise]);
            limit.apply(&mut estimate);
        }
        let buffers = [latents, output, &estimate, noise];
        let next = self.combine(evaluation.next, buffers);
        let kept = evaluation.keep.iter().map(|&(slot, terms)| (slot, self.combine(terms, buffers)));
        for (slot, values) in kept.collect::<Vec<_>>() {
            self.slots[slot] = values;
        }
        latents.copy_from_slice(&next);
        Ok(())
    }

    /// The combination of latents, output, estimate, noise and the kept buffers.
    fn combine(&self, terms: Terms, buffers: [&[f32]; 4]) -> Vec<f32> {
        let mut sums = vec![0.0; buffers[0].len()];
        let named = [terms.latents, terms.output, terms.estimate, terms.noise].into_iter().zip(buffers);
        let kept = terms.kept.into_iter().zip(self.slots.iter().map(Vec::as_slice));
        for (factor, buffer) in named.chain(kept).filter(|(factor, _)| *factor != 0.0) {
            sums.iter_mut().zip(buffer).for_each(|(sum, &x)| *sum += factor * f64::from(x));
        }
        sums.into_iter().map(|sum: f64| sum as f32).collect()
    }
}

impl Limit {
    fn apply(self, values: &mut [f32]) {
        let (bound, divisor) = match self {
            Limit::Clip(bound) => (bound, 1.0),
            Limit::Quantile { ratio, max } => {
                let threshold = quantile(values, ratio).max(1.0).min(max);
                (threshold, threshold)
            }
        };
        for x in values {
            *x = (f64::from(*x).max(-bound).min(bound) / divisor) as f32;
        }
    }
}

/// The quantile of the absolute values, between its two neighbours as `torch.quantile` does it; 0 of nothing.
fn quantile(values: &[f32], ratio: f64) -> f64 {
    let mut sorted: Vec<f32> = values.iter().map(|x| x.abs()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let at = ratio * sorted.len().saturating_sub(1) as f64;
    let value = |i: usize| sorted.get(i).or(sorted.last()).map_or(0.0, |&x| f64::from(x));
    let below = value(at as usize);
    below + (value(at as usize + 1) - below) * at.fract()
}
