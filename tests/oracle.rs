//! Runs graphs in plain f64 loops. The loops are in `tests/cases`, one file for each family of operators. Each output
//! element is gathered from the operator's definition. Nothing is shared with the CPU executor: not the loops, not the
//! shape rules, not the precision. The loops are slow on purpose.

use crate::cases::FAMILIES;
use std::collections::HashMap;
use unet_wgpu::graph::{Activation, Graph, Op, Output};
use unet_wgpu::{Shape, Tensor};

/// The result of a graph with one input, rounded to f32 once at the end.
pub(crate) fn run(graph: &Graph, input: &Tensor) -> Tensor {
    run_with(graph, &[input]).swap_remove(0)
}

/// The outputs of a graph, from a tensor for every input including states.
pub(crate) fn run_with(graph: &Graph, inputs: &[&Tensor]) -> Vec<Tensor> {
    let volumes = inputs.iter().map(|input| Volume::from(*input));
    let mut values: HashMap<_, _> = graph.inputs().iter().map(|input| input.value).zip(volumes).collect();
    for node in graph.nodes() {
        let inputs: Vec<&Volume> = node.inputs.iter().map(|id| &values[id]).collect();
        values.insert(node.outputs[0], operator(&node.op, &inputs));
    }
    let shapes: Vec<Shape> = graph
        .inputs()
        .iter()
        .zip(inputs)
        .filter(|(input, _)| graph.carries().all(|(_, state)| state != *input))
        .map(|(_, tensor)| tensor.shape())
        .collect();
    let shapes = graph.shapes(&shapes).expect("the graph fits the inputs");
    let output = |output: &Output| {
        let y = &values[&output.value];
        assert_eq!(Some(y.shape), shapes[output.value.index()], "the shape rules");
        Tensor::new(y.shape, y.data.iter().map(|&v| v as f32).collect()).expect("volumes are whole")
    };
    graph.outputs().iter().map(output).collect()
}

fn operator(op: &Op, inputs: &[&Volume]) -> Volume {
    let mut found = FAMILIES.iter().filter_map(|family| (family.reference)(op, inputs));
    let (first, second) = (found.next(), found.next());
    assert!(second.is_none(), "two files of tests/cases define {}", op.kind());
    first.unwrap_or_else(|| panic!("no file of tests/cases defines {}", op.kind()))
}

/// An f64 tensor.
#[derive(Clone)]
pub(crate) struct Volume {
    pub(crate) shape: Shape,
    pub(crate) data: Vec<f64>,
}

impl Volume {
    /// A volume whose element at each position is `f([n, c, y, x])`.
    pub(crate) fn gather(shape: Shape, mut f: impl FnMut([usize; 4]) -> f64) -> Volume {
        let mut data = Vec::with_capacity(shape.elements());
        for n in 0..shape.n {
            for c in 0..shape.c {
                for y in 0..shape.h {
                    for x in 0..shape.w {
                        data.push(f([n, c, y, x]));
                    }
                }
            }
        }
        Volume { shape, data }
    }

    pub(crate) fn at(&self, [n, c, y, x]: [usize; 4]) -> f64 {
        let Shape { c: channels, h, w, .. } = self.shape;
        assert!(c < channels && y < h && x < w);
        self.data[((n * channels + c) * h + y) * w + x]
    }

    /// The element, or `None` outside the picture.
    pub(crate) fn inside(&self, n: usize, c: usize, y: isize, x: isize) -> Option<f64> {
        let [h, w] = [self.shape.h, self.shape.w].map(|size| size as isize);
        ((0..h).contains(&y) && (0..w).contains(&x)).then(|| self.at([n, c, y as usize, x as usize]))
    }

    /// The element, where an extent of 1 is broadcast.
    pub(crate) fn spread(&self, [n, c, y, x]: [usize; 4]) -> f64 {
        let Shape { n: ns, c: cs, h, w } = self.shape;
        self.at([n.min(ns - 1), c.min(cs - 1), y.min(h - 1), x.min(w - 1)])
    }

    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Volume {
        Volume { shape: self.shape, data: self.data.iter().map(|&v| f(v)).collect() }
    }
}

impl From<&Tensor> for Volume {
    fn from(tensor: &Tensor) -> Volume {
        Volume { shape: tensor.shape(), data: tensor.data().iter().map(|&v| f64::from(v)).collect() }
    }
}

/// The value of a pointwise function.
pub(crate) fn activated(f: Activation, v: f64) -> f64 {
    let logistic = |v: f64| 0.5 * (1.0 + (0.5 * v).tanh());
    let softplus = |v: f64| if v > 40.0 { v } else { v.exp().ln_1p() };
    match f {
        Activation::None => v,
        Activation::Relu => v.max(0.0),
        Activation::LeakyRelu(slope) => v.max(0.0) + f64::from(slope) * v.min(0.0),
        Activation::Sigmoid => logistic(v),
        Activation::Tanh => v.tanh(),
        Activation::HardSigmoid { alpha, beta } => (f64::from(alpha) * v + f64::from(beta)).clamp(0.0, 1.0),
        Activation::HardSwish => v * (v + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Elu(alpha) => v.max(0.0) + f64::from(alpha) * v.min(0.0).exp_m1(),
        Activation::Selu => 1.0507009873554805 * (v.max(0.0) + 1.6732632423543772 * v.min(0.0).exp_m1()),
        Activation::Softplus => softplus(v),
        Activation::Softsign => v / (1.0 + v.abs()),
        Activation::Mish => v * softplus(v).tanh(),
        Activation::Silu => v * logistic(v),
        Activation::Gelu => v * 0.5 * (1.0 + erf(v / 2.0_f64.sqrt())),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v.powi(3));
            v * logistic(2.0 * inner)
        }
        Activation::Clip { min, max } => v.max(f64::from(min)).min(f64::from(max)),
        Activation::Exp => v.exp(),
        Activation::Log => v.ln(),
        Activation::Sqrt => v.sqrt(),
        Activation::Reciprocal => v.recip(),
        Activation::Abs => v.abs(),
        Activation::Neg => -v,
        Activation::Square => v.powi(2),
        Activation::Sin => v.sin(),
        Activation::Cos => v.cos(),
        Activation::Erf => erf(v),
        Activation::Floor => v.floor(),
        Activation::Ceil => v.ceil(),
        Activation::Round => v.round_ties_even(),
        Activation::Trunc => v.trunc(),
        Activation::IsNan => f64::from(v.is_nan()),
        Activation::IsInfinite => f64::from(v.is_infinite()),
        Activation::Sign => (v > 0.0) as i8 as f64 - (v < 0.0) as i8 as f64,
        Activation::Pow(exponent) => v.powf(f64::from(exponent)),
    }
}

/// `2 / sqrt(pi)` times the integral of `exp(-t^2)` from 0 to `v`, by Simpson's rule.
fn erf(v: f64) -> f64 {
    let (end, steps) = (v.clamp(-6.0, 6.0), 1000);
    let f = |i: usize| (-(end * i as f64 / steps as f64).powi(2)).exp();
    let sum: f64 = (0..steps / 2).map(|i| f(2 * i) + 4.0 * f(2 * i + 1) + f(2 * i + 2)).sum();
    sum * end / steps as f64 / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
}
