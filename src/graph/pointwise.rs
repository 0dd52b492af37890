//! Pointwise operators as an expression over tensors: one that chooses between two tensors, or several merged by a
//! rewrite. Shader: `pointwise.wgsl`, which also computes single operators.

use super::binary::broadcast;
#[cfg(feature = "cpu")]
use super::binary::spread_row;
use super::{Activation, BinaryKind, Op, Operator};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
use std::sync::Arc;

/// The source of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Source {
    /// An input of the operator, by index.
    Input(usize),
    /// The result of an earlier step, by index.
    Step(usize),
}

/// A function of one to three operands, element by element.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub enum Step {
    /// Arithmetic on two operands.
    Binary {
        /// The operation.
        kind: BinaryKind,
        /// The first operand.
        a: Source,
        /// The second operand.
        b: Source,
    },
    /// `scale[c] * a + shift[c]`.
    Affine {
        /// The operand.
        a: Source,
        /// One factor for each channel.
        #[serde(with = "super::stored::vector")]
        scale: Arc<[f32]>,
        /// One summand for each channel.
        #[serde(with = "super::stored::vector")]
        shift: Arc<[f32]>,
    },
    /// A function without weights.
    Activation {
        /// The operand.
        a: Source,
        /// The function.
        f: Activation,
    },
    /// `a` if it is not negative, else `slope[c] * a`.
    PRelu {
        /// The operand.
        a: Source,
        /// One slope for each channel.
        #[serde(with = "super::stored::vector")]
        slope: Arc<[f32]>,
    },
    /// `a` where the condition is not 0, else `b`.
    Select {
        /// The condition.
        condition: Source,
        /// The operand where it holds.
        a: Source,
        /// The operand where it does not.
        b: Source,
    },
}

impl Step {
    pub(crate) fn sources(&mut self) -> impl Iterator<Item = &mut Source> {
        let (a, b, c) = match self {
            Step::Select { condition, a, b } => (condition, Some(a), Some(b)),
            Step::Binary { a, b, .. } => (a, Some(b), None),
            Step::Affine { a, .. } | Step::Activation { a, .. } | Step::PRelu { a, .. } => (a, None, None),
        };
        [a].into_iter().chain(b).chain(c)
    }

    /// The vectors with one number for each channel.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = &Arc<[f32]>> {
        let (first, second) = match self {
            Step::Binary { .. } | Step::Activation { .. } | Step::Select { .. } => (None, None),
            Step::Affine { scale, shift, .. } => (Some(scale), Some(shift)),
            Step::PRelu { slope, .. } => (Some(slope), None),
        };
        first.into_iter().chain(second)
    }

    /// Computes the step for a run of channel `c`, from the inputs and earlier results.
    #[cfg(feature = "cpu")]
    fn cpu(&self, before: &[Vec<f32>], inputs: usize, c: usize, result: &mut [f32]) {
        let of = |source: &Source| match *source {
            Source::Input(input) => &before[input],
            Source::Step(step) => &before[inputs + step],
        };
        match self {
            Step::Binary { kind, a, b } => {
                let operands = of(a).iter().zip(of(b));
                result.iter_mut().zip(operands).for_each(|(y, (&a, &b))| *y = kind.of(a, b));
            }
            Step::Affine { a, scale, shift } => {
                result.iter_mut().zip(of(a)).for_each(|(y, a)| *y = scale[c] * a + shift[c]);
            }
            Step::Activation { a, f } => {
                result.copy_from_slice(&of(a)[..result.len()]);
                f.apply(result);
            }
            Step::PRelu { a, slope } => {
                result.copy_from_slice(&of(a)[..result.len()]);
                Activation::LeakyRelu(slope[c]).apply(result);
            }
            Step::Select { condition, a, b } => {
                let operands = of(condition).iter().zip(of(a).iter().zip(of(b)));
                let chosen = operands.map(|(&c, (&a, &b))| if c != 0.0 { a } else { b });
                result.iter_mut().zip(chosen).for_each(|(y, chosen)| *y = chosen);
            }
        }
    }
}

/// Steps in execution order. The result of the last one is the operator's result. All inputs are broadcast to the shape
/// of the result: each extent is equal or 1.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Pointwise {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Pointwise {
    /// Most inputs. Together with the result and the numbers of the steps, they use the eight bindings that every
    /// device has.
    pub const MAX_INPUTS: usize = 6;
    /// Most steps, so their results fit into registers.
    pub const MAX_STEPS: usize = 16;

    /// `a` where a condition is not 0, else `b`: the operands in this order, the condition first.
    pub fn select() -> Pointwise {
        let [condition, a, b] = [0, 1, 2].map(Source::Input);
        Pointwise { steps: vec![Step::Select { condition, a, b }] }
    }

    /// The expression of a pointwise operator; `None` for other operators.
    pub(crate) fn of(op: &Op) -> Option<Pointwise> {
        let a = Source::Input(0);
        let (first, f) = match op {
            Op::Pointwise(pointwise) => return Some(pointwise.clone()),
            Op::Activation(f) => (Step::Activation { a, f: *f }, Activation::None),
            Op::PRelu(op) => (Step::PRelu { a, slope: op.slope.clone() }, Activation::None),
            Op::BatchNorm(op) => {
                (Step::Affine { a, scale: op.scale.clone(), shift: op.shift.clone() }, op.activation)
            }
            Op::Binary(op) => (Step::Binary { kind: op.kind, a, b: Source::Input(1) }, op.activation),
            _ => return None,
        };
        let then = (f != Activation::None).then_some(Step::Activation { a: Source::Step(0), f });
        Some(Pointwise { steps: [first].into_iter().chain(then).collect() })
    }
}

impl Operator for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        for (what, count, most) in
            [("inputs", inputs.len(), Self::MAX_INPUTS), ("steps", self.steps.len(), Self::MAX_STEPS)]
        {
            if !(1..=most).contains(&count) {
                return Err(Error::shape(what, format!("1 to {most}"), count));
            }
        }
        let y = inputs[1..].iter().try_fold(inputs[0], |y, &x| broadcast(y, x))?;
        for (i, step) in self.steps.iter().enumerate() {
            let known = |source: &mut Source| match *source {
                Source::Input(input) => input < inputs.len(),
                Source::Step(step) => step < i,
            };
            if !step.clone().sources().all(known) {
                return Err(Error::shape("pointwise", "operands that exist", format!("{step:?}")));
            }
            if let Some(vector) = step.vectors().find(|vector| vector.len() != y.c) {
                return Err(Error::shape("pointwise", format!("{} channels", vector.len()), y.c));
            }
            if let Step::Activation { f, .. } = step {
                f.infer(&[y])?;
            }
        }
        Ok(vec![y])
    }

    /// Computes a run of each plane at a time, so the results of steps stay in the cache.
    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let y = outputs[0].shape();
        let spread = |x: &&Tensor| ![1, y.pixels()].contains(&x.shape().pixels());
        // If an input is broadcast along only rows or only columns, a run is one row.
        let run = if inputs.iter().any(spread) { y.w } else { y.pixels().min(1 << 10) };
        outputs[0].par_planes(|n, c, plane| {
            let mut values = vec![vec![0.0; run]; inputs.len() + self.steps.len()];
            for (i, result) in plane.chunks_mut(run).enumerate() {
                for (value, x) in values.iter_mut().zip(inputs) {
                    load(&mut value[..result.len()], x, y, [n, c, i * run]);
                }
                for (k, step) in self.steps.iter().enumerate() {
                    let (before, to) = values.split_at_mut(inputs.len() + k);
                    step.cpu(before, inputs.len(), c, &mut to[0][..result.len()]);
                }
                result.copy_from_slice(&values[values.len() - 1][..result.len()]);
            }
        });
    }

    fn flops(&self, _: &[Shape], outputs: &[Shape]) -> u64 {
        let each = |step: &Step| if let Step::Affine { .. } = step { 2 } else { 1 };
        self.steps.iter().map(each).sum::<u64>() * outputs[0].elements() as u64
    }

    fn parameters(&self) -> usize {
        self.steps.iter().flat_map(Step::vectors).map(|vector| vector.len()).sum()
    }
}

/// Loads the values of an input for the run that starts at element `at` of the result's plane.
#[cfg(feature = "cpu")]
fn load(run: &mut [f32], x: &Tensor, y: Shape, [n, c, at]: [usize; 3]) {
    let plane = x.plane(n.min(x.shape().n - 1), c.min(x.shape().c - 1));
    if let [single] = plane {
        run.fill(*single);
    } else if plane.len() == y.pixels() {
        run.copy_from_slice(&plane[at..][..run.len()]);
    } else {
        let (row, along) = spread_row(x, n, c, at / y.w);
        run.iter_mut().enumerate().for_each(|(column, v)| *v = row[column * along]);
    }
}
