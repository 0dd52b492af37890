//! Pointwise functions. Shaders: `pointwise.wgsl`; the functions, `shared/activations.wgsl`.

use super::{Operator, one};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;
use std::sync::Arc;

/// A pointwise function, as an operator or fused into another one. All of them keep NaN, except
/// those that ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `x` if it is not negative, else 0.
    Relu,
    /// `x` if it is not negative, else `slope * x`.
    LeakyRelu(f32),
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
    /// `alpha * x + beta`, limited to 0 and 1.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// `x * clip(x / 6 + 1/2, 0, 1)`.
    HardSwish,
    /// `x` if it is not negative, else `alpha * (exp(x) - 1)`.
    Elu(f32),
    /// Elu with the constants of Klambauer et al. 2017.
    Selu,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x * tanh(log(1 + exp(x)))`.
    Mish,
    /// `x / (1 + exp(-x))`, also known as swish.
    Silu,
    /// `x / 2 * (1 + erf(x / sqrt(2)))`.
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `x` limited to two bounds; `max` wins if they cross. An absent bound is infinite.
    Clip {
        /// The lower bound.
        #[serde(with = "super::stored::number")]
        min: f32,
        /// The upper bound.
        #[serde(with = "super::stored::number")]
        max: f32,
    },
    /// `exp(x)`.
    Exp,
    /// The natural logarithm.
    Log,
    /// The square root.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `|x|`.
    Abs,
    /// `-x`.
    Neg,
    /// `x * x`.
    Square,
    /// The sine. On a GPU, `|x|` must be at most 10^4.
    Sin,
    /// The cosine. On a GPU, `|x|` must be at most 10^4.
    Cos,
    /// The error function.
    Erf,
    /// The largest integer that is not above `x`.
    Floor,
    /// The smallest integer that is not below `x`.
    Ceil,
    /// The nearest integer; of two, the even one.
    Round,
    /// The integer part: the nearest integer toward zero.
    Trunc,
    /// -1, 0 or 1.
    Sign,
    /// 1 for NaN, else 0.
    IsNan,
    /// 1 for both infinities, else 0.
    IsInfinite,
    /// `x` to the power of a number. NaN for negative `x`, unless that number is an integer.
    Pow(f32),
}

impl Activation {
    /// PyTorch's hard sigmoid: `x / 6 + 1/2` limited to 0 and 1.
    pub const HARD_SIGMOID: Activation = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

    /// The cheapest function that raises `x` to the power of `exponent`.
    pub fn power(exponent: f32) -> Activation {
        match exponent {
            1.0 => Activation::None,
            2.0 => Activation::Square,
            0.5 => Activation::Sqrt,
            -1.0 => Activation::Reciprocal,
            _ => Activation::Pow(exponent),
        }
    }

    /// The function's value.
    #[inline]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Activation::None => x,
            Activation::Relu => negative(x, 0.0),
            Activation::LeakyRelu(slope) => negative(x, slope * x),
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
            Activation::HardSigmoid { alpha, beta } => clip(alpha * x + beta, 0.0, 1.0),
            Activation::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
            Activation::Elu(alpha) => negative(x, alpha * x.exp_m1()),
            Activation::Selu => SELU[0] * negative(x, SELU[1] * x.exp_m1()),
            Activation::Softplus => negative(x, 0.0) + (-x.abs()).exp().ln_1p(),
            Activation::Softsign => x / (1.0 + x.abs()),
            // tanh(log(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2), which is 1 in f32 long before e^2 is infinite.
            Activation::Mish => {
                let e = clip(x, x, 20.0).exp();
                x * (e * (e + 2.0) / (e * (e + 2.0) + 2.0))
            }
            Activation::Silu => x * sigmoid(x),
            Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Activation::GeluTanh => 0.5 * x * (1.0 + (GELU_TANH * (x + 0.044715 * x * x * x)).tanh()),
            Activation::Clip { min, max } => clip(x, min, max),
            Activation::Exp => x.exp(),
            Activation::Log => x.ln(),
            Activation::Sqrt => x.sqrt(),
            Activation::Reciprocal => 1.0 / x,
            Activation::Abs => x.abs(),
            Activation::Neg => -x,
            Activation::Square => x * x,
            Activation::Sin => x.sin(),
            Activation::Cos => x.cos(),
            Activation::Erf => erf(x),
            Activation::Floor => x.floor(),
            Activation::Ceil => x.ceil(),
            Activation::Round => x.round_ties_even(),
            Activation::Trunc => x.trunc(),
            Activation::IsNan => f32::from(x.is_nan()),
            Activation::IsInfinite => f32::from(x.is_infinite()),
            Activation::Sign if x == 0.0 || x.is_nan() => x,
            Activation::Sign => x.signum(),
            Activation::Pow(exponent) => x.powf(exponent),
        }
    }

    /// Applies the function in place. The choice between common functions is outside of the loop.
    #[cfg(feature = "cpu")]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Relu => values.iter_mut().for_each(|v| *v = negative(*v, 0.0)),
            Activation::LeakyRelu(slope) => values.iter_mut().for_each(|v| *v = negative(*v, slope * *v)),
            _ => values.iter_mut().for_each(|v| *v = self.of(*v)),
        }
    }

    /// Whether the function is finite for every finite argument, so lanes past the last channel need no care.
    pub(crate) fn is_tame(self) -> bool {
        !matches!(
            self,
            Activation::Exp
                | Activation::Log
                | Activation::Sqrt
                | Activation::Reciprocal
                | Activation::Square
                | Activation::Pow(_)
        )
    }

    /// Whether the function may be fused into the kernel that makes its argument. Lanes past the last channel hold 0
    /// there and must stay finite.
    pub(crate) fn is_fusable(self) -> bool {
        self.of(0.0).is_finite()
    }

    /// The parameters of the function.
    pub(crate) fn numbers(self) -> Vec<f32> {
        match self {
            Activation::LeakyRelu(a) | Activation::Elu(a) | Activation::Pow(a) => vec![a],
            Activation::HardSigmoid { alpha, beta } => vec![alpha, beta],
            // WGSL has no infinities.
            Activation::Clip { min, max } => [min, max].map(|v| v.clamp(f32::MIN, f32::MAX)).into(),
            _ => Vec::new(),
        }
    }
}

/// Scale and alpha.
const SELU: [f32; 2] = [1.050_701, 1.673_263_2];

/// `sqrt(2 / pi)`.
const GELU_TANH: f32 = 0.797_884_6;

/// `x` if it is not negative, else `y`. Not `max`, which would turn NaN into a number.
fn negative(x: f32, y: f32) -> f32 {
    if x < 0.0 { y } else { x }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Not `clamp`, which panics if the bounds cross.
fn clip(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// The error function, exact to a few units in the last place: a rational function of x^2, as in Eigen and XLA.
fn erf(x: f32) -> f32 {
    // From here on the nearest f32 is 1; the quotient is slightly off.
    if x.abs() > 3.95 {
        return x.signum();
    }
    let polynomial = |factors: &[f32]| factors.iter().fold(0.0, |sum, &factor| sum * x * x + factor);
    let above = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let below = [-1.456_607_2e-5, -2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    x * polynomial(&above) / polynomial(&below)
}

impl Operator for Activation {
    fn name(&self) -> &'static str {
        match self {
            Activation::None => "identity",
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::HardSigmoid { .. } => "hard_sigmoid",
            Activation::HardSwish => "hard_swish",
            Activation::Elu(_) => "elu",
            Activation::Selu => "selu",
            Activation::Softplus => "softplus",
            Activation::Softsign => "softsign",
            Activation::Mish => "mish",
            Activation::Silu => "silu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::Clip { .. } => "clip",
            Activation::Exp => "exp",
            Activation::Log => "log",
            Activation::Sqrt => "sqrt",
            Activation::Reciprocal => "reciprocal",
            Activation::Abs => "abs",
            Activation::Neg => "neg",
            Activation::Square => "square",
            Activation::Sin => "sin",
            Activation::Cos => "cos",
            Activation::Erf => "erf",
            Activation::Floor => "floor",
            Activation::Ceil => "ceil",
            Activation::Round => "round",
            Activation::Trunc => "trunc",
            Activation::Sign => "sign",
            Activation::IsNan => "is_nan",
            Activation::IsInfinite => "is_infinite",
            Activation::Pow(_) => "pow_scalar",
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let sound = match self {
            Activation::Clip { min, max } => !min.is_nan() && !max.is_nan(),
            _ => self.numbers().iter().all(|v| v.is_finite()),
        };
        if !sound {
            return Err(Error::shape(self.name(), "finite parameters", format!("{self:?}")));
        }
        Ok(vec![one(inputs)?])
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let chunks = outputs[0].data_mut().par_chunks_mut(1 << 16);
        chunks.zip(inputs[0].data().par_chunks(1 << 16)).for_each(|(y, x)| {
            y.copy_from_slice(x);
            self.apply(y);
        });
    }
}

/// `x` if it is not negative, else `slope[c] * x` (He et al. 2015).
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct PRelu {
    /// One slope for each channel.
    #[serde(with = "super::stored::vector")]
    pub slope: Arc<[f32]>,
}

impl Operator for PRelu {
    fn name(&self) -> &'static str {
        "prelu"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let x = one(inputs)?;
        if x.c != self.slope.len() {
            return Err(Error::shape("prelu", format!("{} channels", self.slope.len()), x.c));
        }
        Ok(vec![x])
    }

    fn parameters(&self) -> usize {
        self.slope.len()
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        outputs[0].par_planes(|n, c, y| {
            y.copy_from_slice(inputs[0].plane(n, c));
            Activation::LeakyRelu(self.slope[c]).apply(y);
        });
    }
}
