//! What the first and last operators of a graph tell of the numbers that it takes and gives.

use super::{Activation, Binary, BinaryKind, Graph, Op, ReduceKind, Step, ValueId};
use crate::tensor::Shape;

/// Factors of a network's first operators below this bring values from 0 to 255 to a small range.
const SMALL: f32 = 0.1;

/// Summands of a network's first operators above this are subtracted from values from 0 to 255.
const LARGE: f32 = 8.0;

/// The operator that decides what a result is, behind moves, resizes, limits and factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Closing {
    /// Class numbers of so many classes.
    ArgMax(usize),
    /// Probabilities of classes.
    Softmax,
    /// Logarithms of such.
    LogSoftmax,
    /// A probability of each channel by itself.
    Sigmoid,
    /// A comparison or a rounded probability: 0 or 1.
    Truth,
    /// A hyperbolic tangent, from -1 to 1.
    Tanh,
    /// Arithmetic on the picture itself, such as the sum of a residual network.
    Picture,
    /// None of these: any numbers.
    #[default]
    Open,
}

/// What the ends of a graph tell.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Ends {
    pub(crate) closing: Closing,
    /// The smallest and the largest value that the result can have; infinite where nothing bounds it.
    pub(crate) bounds: [f64; 2],
    /// Whether the network itself brings values from 0 to 255 to another range.
    pub(crate) takes_bytes: bool,
    /// Whether the network looks at the picture on a coarser scale.
    pub(crate) looks_coarsely: bool,
}

impl Graph {
    /// Reads both ends. `shapes` are those of all values; the graph is not optimised.
    pub(crate) fn ends(&self, shapes: &[Option<Shape>]) -> Ends {
        let walk = Walk { graph: self, producers: self.producers(), shapes };
        let (closing, bounds) = walk.back(self.output());
        let picture = shapes[Graph::INPUT.index()].map_or(0, Shape::pixels);
        let is_coarse = |shape: &Shape| shape.pixels() > 1 && 2 * shape.pixels() <= picture;
        Ends {
            closing,
            bounds,
            takes_bytes: self.takes_bytes(),
            looks_coarsely: shapes.iter().flatten().any(is_coarse),
        }
    }

    /// Whether the result is probabilities: a sigmoid, hard sigmoid or softmax makes it. Operators that only move or
    /// resample them may follow. For graphs that are not optimised.
    pub fn ends_in_probabilities(&self) -> bool {
        let walk = Walk { graph: self, producers: self.producers(), shapes: &[] };
        let (closing, bounds) = walk.back(self.output());
        matches!(closing, Closing::Sigmoid | Closing::Softmax | Closing::Truth) && bounds == [0.0, 1.0]
    }

    /// Whether the first operators are factors and summands for values from 0 to 255.
    fn takes_bytes(&self) -> bool {
        let mut value = Graph::INPUT;
        let (mut factor, mut taken) = (1.0f32, false);
        for node in &self.nodes {
            if !node.inputs.contains(&value) {
                continue;
            }
            match &node.op {
                Op::BatchNorm(norm) => {
                    let most = |list: &[f32]| list.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                    taken |= most(&norm.shift) / factor.max(f32::MIN_POSITIVE) > LARGE;
                    factor *= most(&norm.scale);
                }
                Op::Pad(_) | Op::Rearrange(_) | Op::Resize(_) | Op::Crop(_) => {}
                _ => break,
            }
            value = node.outputs[0];
        }
        taken || factor < SMALL
    }
}

/// Follows values back to the operators that make them.
struct Walk<'a> {
    graph: &'a Graph,
    producers: Vec<Option<usize>>,
    shapes: &'a [Option<Shape>],
}

/// `factor * value + summand`.
#[derive(Clone, Copy)]
struct Affine {
    factor: f64,
    summand: f64,
}

impl Affine {
    /// The bounds of the result for those of the value.
    fn of(self, bounds: [f64; 2]) -> [f64; 2] {
        let ends =
            bounds.map(|v| if self.factor == 0.0 { self.summand } else { self.factor * v + self.summand });
        [ends[0].min(ends[1]), ends[0].max(ends[1])]
    }
}

impl Walk<'_> {
    fn op(&self, value: ValueId) -> Option<(&Op, &[ValueId])> {
        let node = &self.graph.nodes[self.producers[value.index()]?];
        Some((&node.op, &node.inputs))
    }

    /// The operator that decides what a value is, and the value's bounds.
    fn back(&self, mut value: ValueId) -> (Closing, [f64; 2]) {
        let mut after = Affine { factor: 1.0, summand: 0.0 };
        let mut bounds = [f64::NEG_INFINITY, f64::INFINITY];
        // Limits only tighten.
        let limit = |bounds: &mut [f64; 2], by: [f64; 2]| {
            *bounds = [bounds[0].max(by[0]), bounds[1].min(by[1])];
        };
        let mut rounded = false;
        while let Some((op, inputs)) = self.op(value) {
            let activation = match op {
                Op::Activation(activation) => *activation,
                Op::Binary(Binary { activation, .. }) => *activation,
                Op::Conv(conv) => conv.activation,
                Op::ConvTranspose(conv) => conv.activation,
                _ => Activation::None,
            };
            let closing = match activation {
                Activation::None => None,
                Activation::Sigmoid | Activation::HardSigmoid { .. } => {
                    limit(&mut bounds, after.of([0.0, 1.0]));
                    Some(if rounded { Closing::Truth } else { Closing::Sigmoid })
                }
                Activation::Tanh => {
                    limit(&mut bounds, after.of([-1.0, 1.0]));
                    Some(Closing::Tanh)
                }
                Activation::Log if self.is_softmax(inputs[0]) => Some(Closing::LogSoftmax),
                Activation::Relu => {
                    limit(&mut bounds, after.of([0.0, f64::INFINITY]));
                    None
                }
                Activation::Clip { min, max } => {
                    limit(&mut bounds, after.of([min, max].map(f64::from)));
                    None
                }
                Activation::Neg => {
                    after.factor = -after.factor;
                    None
                }
                Activation::Round | Activation::Floor | Activation::Ceil | Activation::Trunc => {
                    rounded = true;
                    None
                }
                Activation::Softplus
                | Activation::Exp
                | Activation::Abs
                | Activation::Sqrt
                | Activation::Square => {
                    limit(&mut bounds, after.of([0.0, f64::INFINITY]));
                    Some(Closing::Open)
                }
                _ => Some(Closing::Open),
            };
            if let Some(closing) = closing {
                return (closing, bounds);
            }
            match op {
                Op::ArgMax(_) => {
                    let channels =
                        self.shapes.get(inputs[0].index()).copied().flatten().map_or(0, |shape| shape.c);
                    return (Closing::ArgMax(channels), bounds);
                }
                Op::Softmax(_) => {
                    limit(&mut bounds, after.of([0.0, 1.0]));
                    return (if rounded { Closing::Truth } else { Closing::Softmax }, bounds);
                }
                Op::BatchNorm(norm) => {
                    let uniform = |list: &[f32]| list.iter().all(|v| *v == list[0]);
                    if norm.activation != Activation::None || !uniform(&norm.scale) || !uniform(&norm.shift) {
                        return (Closing::Open, bounds);
                    }
                    after.summand += after.factor * f64::from(norm.shift[0]);
                    after.factor *= f64::from(norm.scale[0]);
                }
                Op::Binary(Binary { kind, .. }) => {
                    let closing = match kind {
                        BinaryKind::Less | BinaryKind::LessOrEqual | BinaryKind::Equal => {
                            Some(Closing::Truth)
                        }
                        BinaryKind::Div if self.is_softmax_of(inputs) => Some(Closing::Softmax),
                        BinaryKind::Sub if self.is_log_softmax_of(inputs) => {
                            return (Closing::LogSoftmax, bounds);
                        }
                        _ => None,
                    };
                    if let Some(closing) = closing {
                        limit(&mut bounds, after.of([0.0, 1.0]));
                        return (closing, bounds);
                    }
                    let from_picture = inputs.iter().any(|&input| self.is_picture(input));
                    return (if from_picture { Closing::Picture } else { Closing::Open }, bounds);
                }
                Op::Pointwise(pointwise) if matches!(pointwise.steps[..], [Step::Select { .. }]) => {
                    return match (self.constant(inputs[1]), self.constant(inputs[2])) {
                        (Some(a), Some(b)) => {
                            limit(&mut bounds, after.of([a, b]));
                            (Closing::Truth, bounds)
                        }
                        _ => (Closing::Open, bounds),
                    };
                }
                Op::Concat(_) => {
                    let mut parts = inputs.iter().map(|&part| self.back(part));
                    let first = parts.next();
                    return match first {
                        Some((closing, own)) if parts.all(|part| part == (closing, own)) => {
                            limit(&mut bounds, after.of(own));
                            (closing, bounds)
                        }
                        _ => (Closing::Open, bounds),
                    };
                }
                Op::Activation(_) | Op::Crop(_) | Op::Pad(_) | Op::Rearrange(_) | Op::Resize(_) => {}
                _ => return (Closing::Open, bounds),
            }
            value = inputs[0];
        }
        // The picture itself, moved.
        (if self.graph.input(value).is_some() { Closing::Picture } else { Closing::Open }, bounds)
    }

    fn is_softmax(&self, value: ValueId) -> bool {
        matches!(self.op(value), Some((Op::Softmax(_), _)))
    }

    /// `exp(x) / sum(exp(x))`.
    fn is_softmax_of(&self, inputs: &[ValueId]) -> bool {
        self.activated(inputs[0], Activation::Exp).is_some() && self.summed(inputs[1]) == Some(inputs[0])
    }

    /// `x - log(sum(exp(x)))`.
    fn is_log_softmax_of(&self, inputs: &[ValueId]) -> bool {
        let sum = self.activated(inputs[1], Activation::Log).and_then(|sum| self.summed(sum));
        sum.and_then(|exp| self.activated(exp, Activation::Exp)) == Some(inputs[0])
    }

    /// The number that all elements of a constant are.
    fn constant(&self, mut value: ValueId) -> Option<f64> {
        while let Some((Op::Rearrange(_), inputs)) = self.op(value) {
            value = inputs[0];
        }
        let Some((Op::Constant(constant), _)) = self.op(value) else { return None };
        let data = constant.0.data();
        data.iter().all(|v| *v == data[0]).then(|| f64::from(data[0]))
    }

    /// What a value is that function of.
    fn activated(&self, value: ValueId, function: Activation) -> Option<ValueId> {
        match self.op(value) {
            Some((Op::Activation(found), inputs)) if *found == function => Some(inputs[0]),
            _ => None,
        }
    }

    /// What a value is a sum of.
    fn summed(&self, value: ValueId) -> Option<ValueId> {
        match self.op(value) {
            Some((Op::Reduce(reduce), inputs)) if reduce.kind == ReduceKind::Sum => Some(inputs[0]),
            _ => None,
        }
    }

    /// Whether a value is an input, moved, resampled, limited or scaled.
    fn is_picture(&self, mut value: ValueId) -> bool {
        while let Some((op, inputs)) = self.op(value) {
            match op {
                Op::Activation(Activation::Clip { .. } | Activation::Relu | Activation::Neg)
                | Op::BatchNorm(_)
                | Op::Crop(_)
                | Op::Pad(_)
                | Op::Rearrange(_)
                | Op::Resize(_) => value = inputs[0],
                _ => return false,
            }
        }
        self.graph.input(value).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Axis, BatchNorm, Conv, Crop, Pool, Softmax};
    use crate::tensor::Tensor;

    /// What a chain of operators behind a convolution from three to `channels` channels ends in.
    fn chain(channels: usize, ops: Vec<Op>) -> Ends {
        let mut graph = Graph::new(3);
        let weight = Tensor::zeros(Shape::new(channels, 3, 1, 1)).into();
        let mut value = graph.push("conv", Conv::new(weight, None), &[Graph::INPUT]).expect("a free name");
        for (i, op) in ops.into_iter().enumerate() {
            let inputs = if matches!(op, Op::Crop(_)) { vec![value, Graph::INPUT] } else { vec![value] };
            value = graph.push(&format!("{i}"), op, &inputs).expect("a free name");
        }
        graph.ends(&graph.shapes(Shape::new(1, 3, 16, 16)).expect("shapes that fit"))
    }

    fn affine(channels: usize, scale: f32, shift: f32) -> Op {
        let [scale, shift] = [scale, shift].map(|v| vec![v; channels].into());
        BatchNorm { scale, shift, activation: Activation::None }.into()
    }

    #[test]
    fn the_last_operators_tell_what_a_result_is() {
        const ALL: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];
        let clip = |min, max| Op::from(Activation::Clip { min, max });
        for (ops, closing, bounds) in [
            (vec![], Closing::Open, ALL),
            (vec![Crop.into()], Closing::Open, ALL),
            (vec![Activation::Relu.into()], Closing::Open, [0.0, f64::INFINITY]),
            (vec![clip(0.0, 1.0)], Closing::Open, [0.0, 1.0]),
            (vec![clip(0.0, 1.0), affine(2, 255.0, 0.0)], Closing::Open, [0.0, 255.0]),
            (vec![Activation::Sigmoid.into(), Crop.into()], Closing::Sigmoid, [0.0, 1.0]),
            (vec![Activation::Sigmoid.into(), affine(2, -1.0, 1.0)], Closing::Sigmoid, [0.0, 1.0]),
            (vec![Activation::Sigmoid.into(), affine(2, 80.0, 0.0)], Closing::Sigmoid, [0.0, 80.0]),
            (vec![Activation::Sigmoid.into(), Activation::Round.into()], Closing::Truth, [0.0, 1.0]),
            (vec![Activation::Tanh.into(), affine(2, 0.5, 0.5)], Closing::Tanh, [0.0, 1.0]),
            (vec![Softmax { axis: Axis::C }.into(), Crop.into()], Closing::Softmax, [0.0, 1.0]),
            (vec![Softmax { axis: Axis::C }.into(), Activation::Log.into()], Closing::LogSoftmax, ALL),
            (vec![super::super::ArgMax.into(), Crop.into()], Closing::ArgMax(2), ALL),
            (vec![Activation::Sigmoid.into(), Activation::Silu.into()], Closing::Open, ALL),
        ] {
            let what = format!("{ops:?}");
            let ends = chain(2, ops);
            assert_eq!((ends.closing, ends.bounds), (closing, bounds), "{what}");
            assert!(!ends.takes_bytes && !ends.looks_coarsely);
        }
    }

    #[test]
    fn sums_with_the_picture_are_pictures() {
        let mut graph = Graph::new(1);
        let small = graph.push("small", affine(1, 1.0 / 255.0, 0.0), &[Graph::INPUT]).expect("a free name");
        let pooled = graph.push("pooled", Pool::MAX_2X2, &[small]).expect("a free name");
        let relu = graph.push("relu", Activation::Relu, &[small]).expect("a free name");
        graph.push("noise", Activation::Silu, &[relu]).expect("a free name");
        let noise = graph.output();
        let sum = graph.push("sum", Binary::new(BinaryKind::Sub), &[small, noise]).expect("a free name");
        graph.push("clip", Activation::Clip { min: 0.0, max: 1.0 }, &[sum]).expect("a free name");
        let ends = graph.ends(&graph.shapes(Shape::new(1, 1, 16, 16)).expect("shapes that fit"));
        assert_eq!((ends.closing, ends.bounds), (Closing::Picture, [0.0, 1.0]));
        assert!(ends.takes_bytes && ends.looks_coarsely, "{pooled:?}");
    }

    #[test]
    fn a_softmax_may_be_spelled_out() {
        let mut graph = Graph::new(3);
        let exp = graph.push("exp", Activation::Exp, &[Graph::INPUT]).expect("a free name");
        let sum = super::super::Reduce { kind: ReduceKind::Sum, axes: [true, false, false] };
        let sum = graph.push("sum", sum, &[exp]).expect("a free name");
        graph.push("div", Binary::new(BinaryKind::Div), &[exp, sum]).expect("a free name");
        let ends =
            |graph: &Graph| graph.ends(&graph.shapes(Shape::new(1, 3, 8, 8)).expect("shapes that fit"));
        assert_eq!((ends(&graph).closing, ends(&graph).bounds), (Closing::Softmax, [0.0, 1.0]));
        let log = graph.push("log", Activation::Log, &[sum]).expect("a free name");
        graph.push("sub", Binary::new(BinaryKind::Sub), &[Graph::INPUT, log]).expect("a free name");
        assert_eq!(ends(&graph).closing, Closing::LogSoftmax);
        graph.push("less", Binary::new(BinaryKind::Less), &[Graph::INPUT, log]).expect("a free name");
        assert_eq!((ends(&graph).closing, ends(&graph).bounds), (Closing::Truth, [0.0, 1.0]));
        let less = graph.output();
        let [high, low] = [("high", 255.0), ("low", 0.0)].map(|(name, value)| {
            let tensor = Tensor::from_fn(Shape::new(1, 1, 1, 1), |_| value).into();
            graph.push(name, super::super::Constant(tensor), &[]).expect("a free name")
        });
        let select = super::super::Pointwise::select();
        graph.push("select", select, &[less, high, low]).expect("a free name");
        assert_eq!((ends(&graph).closing, ends(&graph).bounds), (Closing::Truth, [0.0, 255.0]));
    }
}
