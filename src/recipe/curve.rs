//! Curves between linear light and the values that networks are trained on, as in `core/color.h` of
//! github.com/RenderKit/oidn.

use serde::{Deserialize, Serialize};

/// A curve over light, 0 and above. Negative values and NaN count as 0, values beyond f32 as its largest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// IEC 61966-2-1, the curve of most 8-bit pictures. 1 stays 1.
    Srgb,
    /// Perceptually uniform: a fit of Aydin et al. 2008 where 1 is 100 cd/m², scaled so that 65504 becomes 1.
    Pu,
    /// `ln(light + 1)`, scaled so that 65504 becomes 1.
    Log,
}

/// The light that becomes 1 on the HDR curves: the largest f16 number.
const BRIGHTEST: f64 = 65504.0;

/// Three pieces: `slope * light` up to `bend[0]`, `gain * light^power + shift` up to `bend[1]`, and `log_gain *
/// ln(light + log_inner) + log_shift` above. `bend_on` holds the values of the curve at the bends.
mod pu {
    pub(super) const SLOPE: f64 = 1412.83765;
    pub(super) const GAIN: f64 = 1.64593172;
    pub(super) const POWER: f64 = 0.431384981;
    pub(super) const SHIFT: f64 = -0.00294139609;
    pub(super) const LOG_GAIN: f64 = 0.192653254;
    pub(super) const LOG_INNER: f64 = 0.00626026094;
    pub(super) const LOG_SHIFT: f64 = 0.998620152;
    pub(super) const BEND: [f64; 2] = [1.57945760e-6, 0.0322087631];
    pub(super) const BEND_ON: [f64; 2] = [0.00223151711, 0.370974749];
}

impl Curve {
    /// From light to the curve.
    pub fn forward(self, light: f64) -> f64 {
        let light = bounded(light);
        match self {
            Curve::Srgb if light <= 0.0031308 => 12.92 * light,
            Curve::Srgb => 1.055 * light.powf(1.0 / 2.4) - 0.055,
            Curve::Pu => pu_forward(light) / pu_forward(BRIGHTEST),
            Curve::Log => light.ln_1p() / BRIGHTEST.ln_1p(),
        }
    }

    /// From the curve to light.
    pub fn inverse(self, place: f64) -> f64 {
        let place = bounded(place);
        bounded(match self {
            Curve::Srgb if place <= 0.04045 => place / 12.92,
            Curve::Srgb => ((place + 0.055) / 1.055).powf(2.4),
            Curve::Pu => pu_inverse(place * pu_forward(BRIGHTEST)),
            Curve::Log => (place * BRIGHTEST.ln_1p()).exp_m1(),
        })
    }
}

/// Limits to 0 and the largest f32. NaN becomes 0.
pub(super) fn bounded(value: f64) -> f64 {
    // `max` returns the other operand if one is NaN.
    value.max(0.0).min(f64::from(f32::MAX))
}

fn pu_forward(light: f64) -> f64 {
    if light <= pu::BEND[0] {
        pu::SLOPE * light
    } else if light <= pu::BEND[1] {
        pu::GAIN * light.powf(pu::POWER) + pu::SHIFT
    } else {
        pu::LOG_GAIN * (light + pu::LOG_INNER).ln() + pu::LOG_SHIFT
    }
}

fn pu_inverse(place: f64) -> f64 {
    if place <= pu::BEND_ON[0] {
        place / pu::SLOPE
    } else if place <= pu::BEND_ON[1] {
        ((place - pu::SHIFT) / pu::GAIN).powf(1.0 / pu::POWER)
    } else {
        ((place - pu::LOG_SHIFT) / pu::LOG_GAIN).exp() - pu::LOG_INNER
    }
}
