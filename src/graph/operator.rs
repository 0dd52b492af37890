//! The trait of operators.

use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;

/// What every operator implements.
pub trait Operator {
    /// The operator's usual name, such as `conv`.
    fn name(&self) -> &'static str;

    /// Shapes of the outputs from those of the inputs. Errors name what was expected.
    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>>;

    /// Computes the outputs. `inputs` and `outputs` have the shapes of [`infer`](Self::infer).
    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]);

    /// A faster way to compute outputs of these shapes, with everything prepared once. It may round differently, so the
    /// reference does not use it.
    #[cfg(feature = "cpu")]
    fn prepare(&self, _outputs: &[Shape]) -> Option<Prepared> {
        None
    }

    /// Multiplications and additions for the given shapes (two for a multiply-add).
    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> u64 {
        outputs.first().map_or(0, |s| s.elements() as u64)
    }

    /// Number of trained values in the operator.
    fn parameters(&self) -> usize {
        0
    }

    /// How far an output pixel sees into the inputs; `None` if it sees all of them.
    fn reach(&self) -> Option<Reach> {
        Some(Reach::POINT)
    }
}

/// The result of [`Operator::prepare`]: computes outputs from inputs, as [`Operator::cpu`] does.
#[cfg(feature = "cpu")]
pub type Prepared = Box<dyn Fn(&[&Tensor], &mut [Tensor]) + Send + Sync>;

/// How an output pixel depends on input pixels along one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// Number of input pixels that one output pixel sees.
    pub extent: usize,
    /// Distance in input pixels between neighbouring outputs: the stride, or 1/stride when up-sampling.
    pub step: f64,
}

impl Reach {
    /// The reach of a pointwise operator.
    pub const POINT: Reach = Reach { extent: 1, step: 1.0 };
}

/// Declares [`Op`] from the list of operators, and `with_operator!`, which runs an expression on the operator in an
/// `Op`.
macro_rules! operators {
    ($dollar:tt $($(#[$doc:meta])* $name:ident($type:ty)),* $(,)?) => {
        macro_rules! with_operator {
            ($dollar op:expr, $dollar name:ident => $dollar result:expr) => {
                match $dollar op { $($crate::graph::Op::$name($dollar name) => $dollar result),* }
            };
        }
        pub(crate) use with_operator;

        /// An operator. CONTRIBUTING.md says how to add one.
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        pub enum Op { $($(#[$doc])* $name($type)),* }

        impl Op {
            /// The names of all kinds of operators: those of the variants.
            pub const KINDS: &[&str] = &[$(stringify!($name)),*];

            /// The name of the operator's kind, one of [`KINDS`](Self::KINDS).
            pub fn kind(&self) -> &'static str {
                match self { $(Op::$name(_) => stringify!($name)),* }
            }

            /// The implementation of the operator.
            pub fn rules(&self) -> &dyn Operator {
                with_operator!(self, op => op)
            }
        }

        $(impl From<$type> for Op {
            fn from(op: $type) -> Op { Op::$name(op) }
        })*
    };
}
pub(super) use operators;

/// The only input of an operator with one input.
pub(crate) fn one(inputs: &[Shape]) -> Result<Shape> {
    match inputs {
        [x] => Ok(*x),
        _ => Err(Error::shape("inputs", 1, inputs.len())),
    }
}

/// The inputs of an operator with two inputs.
pub(crate) fn two(inputs: &[Shape]) -> Result<(Shape, Shape)> {
    match inputs {
        [a, b] => Ok((*a, *b)),
        _ => Err(Error::shape("inputs", 2, inputs.len())),
    }
}

/// Largest kernel, stride, dilation and padding, so no index of a kernel overflows.
pub(super) const MAX_ATTRIBUTE: usize = 1 << 16;

/// Output extent of a sliding window: `floor((size + pad - effective) / stride) + 1`, or with `ceil`.
pub(crate) fn windows(
    size: usize,
    padding: usize,
    effective: usize,
    stride: usize,
    ceil: bool,
) -> Result<usize> {
    let padded = size.saturating_add(padding);
    if stride > MAX_ATTRIBUTE || padding > MAX_ATTRIBUTE || effective > MAX_ATTRIBUTE {
        return Err(Error::shape(
            "window",
            format!("extents of at most {MAX_ATTRIBUTE}"),
            effective.max(stride),
        ));
    }
    if stride == 0 || effective == 0 || padded < effective {
        return Err(Error::shape("window", format!("at least {effective} pixels"), padded));
    }
    let room = padded - effective;
    Ok(if ceil { room.div_ceil(stride) } else { room / stride } + 1)
}
