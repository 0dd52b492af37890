//! Random networks of all operators: no rewrite changes the result.
//!
//! A network is drawn value by value. Each value is computed at once, so the next operator can be chosen by the
//! numbers: no logarithm of negative numbers, no step where rounding would decide. The files of `tests/cases` draw
//! their operators; the phrases here are the patterns of the rewrites.

use crate::cases::FAMILIES;
use crate::oracle;
use crate::support::{Tolerance, backends, closeness, session, shapes};
use std::collections::BTreeSet;
use std::sync::Arc;
use unet_wgpu::graph::{
    Activation, BatchNorm, Binary, BinaryKind, Concat, Constant, Conv, Crop, Graph, Op, Pad, PadAmount,
    PadMode, Pool, PoolKind, Reduce, ReduceKind, ValueId,
};
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::{Device, Random, SessionOptions, Shape, Tensor, cpu};

/// Number of networks that the test draws. The environment variable `UNET_RANDOM_NETWORKS` sets a larger number.
const NETWORKS: u64 = 500;

/// Most elements of a value.
const ELEMENTS: usize = 10_000;

/// A value with larger elements is scaled down; with elements ten times as large, it is refused.
const LARGEST: f32 = 8.0;

/// A network in progress.
pub(crate) struct Drawing {
    /// The source of all random choices.
    pub(crate) random: Random,
    graph: Graph,
    values: Vec<Value>,
}

struct Value {
    id: ValueId,
    tensor: Tensor,
    /// Whether other operators may read it.
    moderate: bool,
}

impl Drawing {
    /// A network with a few operators, one to three inputs and one to three outputs, and tensors for its inputs.
    fn network(seed: u64) -> (Graph, Vec<Tensor>) {
        let mut random = Random::new(seed);
        let mut extent = |most| 1 + random.below(most);
        let shape = Shape::new(extent(2), extent(9), extent(17), extent(17));
        let mut graph = Graph::new(shape.c);
        let mut shapes = vec![(Graph::INPUT, shape)];
        for i in 0..extent(5).saturating_sub(3) {
            let shape = Shape { h: extent(shape.h), ..shape };
            shapes.push((graph.add_input(&format!("input {i}"), shape).expect("a new name"), shape));
        }
        let value =
            |(i, (id, shape))| Value { id, tensor: Tensor::random(shape, 3 * seed + i), moderate: true };
        let values: Vec<Value> = (0..).zip(shapes).map(value).collect();
        let inputs = values.iter().map(|value| value.tensor.clone()).collect();
        let mut drawing = Drawing { random, graph, values };
        let nodes = 2 + drawing.random.below(10);
        while drawing.graph.nodes().len() < nodes {
            if drawing.random.below(3) == 0 {
                phrase(&mut drawing);
            } else {
                let kind = drawing.random.pick(Op::KINDS);
                // One file draws it, if the values allow.
                let _ = FAMILIES.iter().find_map(|family| (family.draw)(kind, &mut drawing));
            }
        }
        let outputs: Vec<ValueId> = (0..1 + drawing.random.below(5) / 2).map(|_| drawing.value()).collect();
        drawing.graph.set_output(outputs[0]);
        for (i, &id) in outputs.iter().enumerate().skip(1) {
            drawing.graph.add_output(&format!("output {i}"), id).expect("a new name");
        }
        (drawing.graph, inputs)
    }

    fn find(&self, id: ValueId) -> &Value {
        self.values.iter().find(|value| value.id == id).expect("a value of this network")
    }

    /// A value: often the last one.
    pub(crate) fn value(&mut self) -> ValueId {
        let ids: Vec<ValueId> = self.values.iter().filter(|v| v.moderate).map(|v| v.id).collect();
        let any = self.random.pick(&ids);
        self.random.pick(&[any, ids[ids.len() - 1]])
    }

    /// A value whose shape fits together with that of another one, which comes first.
    pub(crate) fn value_where(&mut self, fits: impl Fn(Shape, Shape) -> bool, x: ValueId) -> Option<ValueId> {
        let x = self.shape(x);
        let fitting = self.values.iter().filter(|v| v.moderate && fits(x, v.tensor.shape()));
        let ids: Vec<ValueId> = fitting.map(|v| v.id).collect();
        (!ids.is_empty()).then(|| self.random.pick(&ids))
    }

    pub(crate) fn shape(&self, id: ValueId) -> Shape {
        self.find(id).tensor.shape()
    }

    /// Whether all elements of a value pass a test.
    pub(crate) fn all(&self, id: ValueId, test: impl Fn(f32) -> bool) -> bool {
        self.find(id).tensor.data().iter().all(|&v| test(v))
    }

    /// Whether at each pixel the largest channel exceeds all others by more than `gap`.
    pub(crate) fn apart(&self, id: ValueId, gap: f32) -> bool {
        let x = &self.find(id).tensor;
        let Shape { n, c, .. } = x.shape();
        (0..n).all(|n| {
            (0..x.shape().pixels()).all(|i| {
                let mut values: Vec<f32> = (0..c).map(|c| x.plane(n, c)[i]).collect();
                values.sort_by(|a, b| b.total_cmp(a));
                values.len() == 1 || values[0] - values[1] > gap
            })
        })
    }

    /// Appends an operator, if it accepts these inputs and makes finite numbers that are not too many and not too
    /// large.
    pub(crate) fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Option<ValueId> {
        let (op, tensor) = self.computed(op.into(), inputs)?;
        let largest = tensor.data().iter().fold(0.0, |a: f32, v| a.max(v.abs()));
        (tensor.data().iter().all(|v| v.is_finite()) && largest <= 10.0 * LARGEST).then_some(())?;
        let id = self.append(op, inputs, tensor, largest <= LARGEST);
        if largest > LARGEST {
            self.affine(id, LARGEST / largest / 2.0, 0.0);
        }
        Some(id)
    }

    /// Appends an operator whose numbers may be infinite; no operator reads them by chance.
    fn push_infinite(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Option<ValueId> {
        let (op, tensor) = self.computed(op.into(), inputs)?;
        Some(self.append(op, inputs, tensor, false))
    }

    /// An operator and its result, if it accepts these inputs and the result is not too large.
    fn computed(&self, op: Op, inputs: &[ValueId]) -> Option<(Op, Tensor)> {
        let tensors: Vec<&Tensor> = inputs.iter().map(|&id| &self.find(id).tensor).collect();
        let shapes: Vec<Shape> = tensors.iter().map(|tensor| tensor.shape()).collect();
        let shape = op.rules().infer(&shapes).ok()?[0];
        (1..=ELEMENTS).contains(&shape.elements()).then_some(())?;
        let mut made = [Tensor::zeros(shape)];
        op.rules().cpu(&tensors, &mut made);
        let [tensor] = made;
        Some((op, tensor))
    }

    fn append(&mut self, op: Op, inputs: &[ValueId], tensor: Tensor, moderate: bool) -> ValueId {
        let name = format!("{} {}", op.rules().name(), self.graph.nodes().len());
        let id = self.graph.push(&name, op, inputs).expect("a new name, and values of this network");
        self.values.push(Value { id, tensor, moderate });
        id
    }

    /// `x * scale`.
    pub(crate) fn scaled(&mut self, x: ValueId, scale: f32) -> Option<ValueId> {
        self.affine(x, scale, 0.0)
    }

    /// `x * scale + shift`, the same in all channels.
    fn affine(&mut self, x: ValueId, scale: f32, shift: f32) -> Option<ValueId> {
        let [scale, shift] = [scale, shift].map(|v| vec![v; self.shape(x).c].into());
        self.push(BatchNorm { scale, shift, activation: Activation::None }, &[x])
    }

    /// A new constant with elements in `low..high`, if it is not too large.
    pub(crate) fn constant(&mut self, shape: Shape, low: f32, high: f32) -> Option<ValueId> {
        let values = (0..shape.elements()).map(|_| self.random.uniform(low, high)).collect();
        let constant = Constant(Tensor::new(shape, values).expect("as many").into());
        self.push(constant, &[])
    }

    /// A value of that shape: often an existing one, if there is one, else a new constant.
    pub(crate) fn operand(&mut self, shape: Shape, low: f32, high: f32) -> Option<ValueId> {
        let there: Vec<_> =
            self.values.iter().filter(|v| v.moderate && v.tensor.shape() == shape).map(|v| v.id).collect();
        if there.is_empty() || self.random.below(4) == 0 {
            self.constant(shape, low, high)
        } else {
            Some(self.random.pick(&there))
        }
    }

    /// The extent or 1, for broadcast operands.
    pub(crate) fn random_extent(&mut self, full: usize) -> usize {
        self.random.pick(&[full, 1])
    }

    /// 1, or any divisor of a number.
    pub(crate) fn divisor(&mut self, of: usize) -> usize {
        let divisors: Vec<usize> = (1..=of).filter(|d| of.is_multiple_of(*d)).collect();
        let any = self.random.pick(&divisors);
        self.random.pick(&[1, any])
    }

    /// Weights that keep the variance.
    pub(crate) fn weights(&mut self, shape: Shape) -> Arc<Tensor> {
        let mut weight = Tensor::random(shape, self.random.bits());
        let scale = (3.0 / (shape.elements() / shape.n) as f32).sqrt();
        weight.data_mut().iter_mut().for_each(|w| *w *= scale);
        weight.into()
    }

    /// One number for each channel.
    pub(crate) fn vector(&mut self, len: usize, low: f32, high: f32) -> Arc<[f32]> {
        (0..len).map(|_| self.random.uniform(low, high)).collect()
    }

    /// Often one number for each channel.
    pub(crate) fn bias(&mut self, len: usize) -> Option<Arc<[f32]>> {
        (self.random.below(4) > 0).then(|| self.vector(len, -0.5, 0.5))
    }
}

// ---- what the rewrites look for ----

/// A group of operators, or as many of them as the values allow. Most match the pattern of a rewrite; some differ in
/// one attribute.
fn phrase(to: &mut Drawing) -> Option<ValueId> {
    let x = to.value();
    let shape = to.shape(x);
    let odd = to.random.below(4) == 0;
    let channels = 1 + to.random.below(6);
    match to.random.below(9) {
        0 => {
            let activation = if odd { Activation::Relu } else { Activation::None };
            let y = conv(to, &[x], channels, 3, |conv| conv.activation = activation)?;
            let [scale, shift] = [to.vector(channels, 0.3, 1.5), to.vector(channels, -0.5, 0.5)];
            let y = to.push(BatchNorm { scale, shift, activation: Activation::None }, &[y])?;
            let f = to.random.pick(&[Activation::Relu, Activation::Silu, Activation::LeakyRelu(0.2)]);
            to.push(f, &[y])
        }
        // The end of a residual block.
        1 => {
            let y = conv(to, &[x], shape.c, 3, |_| {})?;
            let other = to.operand(shape, -1.0, 1.0)?;
            let inputs = to.random.pick(&[[y, other], [other, y]]);
            let sum = to.push(Binary::ADD, &inputs)?;
            to.push(Activation::Relu, &[sum])
        }
        2 => {
            let y = conv(to, &[x], channels, 3, |_| {})?;
            let mut pool = Pool::MAX_2X2;
            match to.random.below(5) {
                _ if !odd => {}
                0 => pool.ceil = true,
                1 => pool.dilation = [1, 2],
                2 => pool.stride = [2, 1],
                3 => pool.padding = [1, 0, 0, 1],
                _ => pool.kind = PoolKind::Average,
            }
            to.push(pool, &[y])
        }
        3 => {
            let beside = to.value_where(|a, b| Shape { c: a.c, ..b } == a, x)?;
            let joined = to.push(Concat::default(), &[x, beside])?;
            let groups = if odd { to.shape(joined).c } else { 1 };
            conv(to, &[joined], channels * groups, 3, |conv| conv.groups = groups)
        }
        4 => {
            let y = conv(to, &[x], 5 + channels, 3, |_| {})?;
            let which = to.random.below(3);
            let bend = |conv: &mut Conv| match which {
                _ if !odd => {}
                0 => conv.padding = [1, 0, 0, 1],
                1 => conv.stride = [1, 2],
                _ => conv.activation = Activation::Relu,
            };
            let y = conv(to, &[y], 1 + shape.h % 4, 1, bend)?;
            to.push(Activation::Sigmoid, &[y])
        }
        // A pad before a window, in which it may vanish.
        5 if odd => {
            let amounts = [(); 4].map(|()| to.random.below(3) as isize);
            let lowest = to.random.below(2) == 0;
            let mode = if lowest { PadMode::Value(f32::NEG_INFINITY) } else { PadMode::Zero };
            // The values outside are infinite until the window removes them.
            let pool = Pool { kernel: [3, 3], ceil: to.random.below(2) == 0, ..Pool::MAX_2X2 };
            let y = to.push_infinite(Pad { amount: PadAmount::Fixed(amounts), mode }, &[x])?;
            match lowest {
                true => to.push(pool, &[y]),
                false => conv(to, &[y], channels, 3, |_| {}),
            }
        }
        // A pad, and an operator that reverses it or only seems to.
        5 => {
            let mut side = || to.random.below(4) as isize - isize::from(odd);
            let amounts = [side(), side(), side(), side()];
            let mode = to.random.pick(&[PadMode::Zero, PadMode::Edge, PadMode::Reflect]);
            let y = to.push(Pad { amount: PadAmount::Fixed(amounts), mode }, &[x])?;
            if to.random.below(2) == 0 {
                return to.push(Crop, &[y, x]);
            }
            let [top, left, bottom, right] = amounts.map(|amount| -amount);
            let back = to.random.pick(&[[top, left, bottom, right], [bottom, right, top, left]]);
            to.push(Pad { amount: PadAmount::Fixed(back), mode }, &[y])
        }
        6 => spelled_function(to, x),
        7 => spelled_norm(to, x),
        _ => {
            let mut y = x;
            for _ in 0..2 + to.random.below(4) {
                let kind = to.random.pick(&["Activation", "PRelu", "Binary", "BatchNorm"]);
                y = FAMILIES.iter().find_map(|family| (family.draw)(kind, to)).unwrap_or(y);
            }
            Some(y)
        }
    }
}

/// A convolution that keeps the size, before random changes.
fn conv(
    to: &mut Drawing,
    x: &[ValueId],
    outs: usize,
    kernel: usize,
    edit: impl FnOnce(&mut Conv),
) -> Option<ValueId> {
    let ins: usize = x.iter().map(|&id| to.shape(id).c).sum();
    let bias = to.bias(outs);
    let mut layer = Conv::new(to.weights(Shape::new(outs, ins, kernel, kernel)), bias).same();
    edit(&mut layer);
    if layer.groups > 1 {
        layer.weight = to.weights(Shape::new(outs, ins / layer.groups, kernel, kernel));
    }
    to.push(layer, x)
}

fn spelled_function(to: &mut Drawing, x: ValueId) -> Option<ValueId> {
    let mul = Binary::new(BinaryKind::Mul);
    match to.random.below(6) {
        0 => {
            let gate = to.push(Activation::Sigmoid, &[x])?;
            to.push(mul, &[gate, x])
        }
        1 => {
            let gate = to.push(Activation::HARD_SIGMOID, &[x])?;
            to.push(mul, &[x, gate])
        }
        2 => {
            let raised = to.affine(x, 1.0, 3.0)?;
            let clipped = to.push(Activation::Clip { min: 0.0, max: 6.0 }, &[raised])?;
            if to.random.below(2) == 0 {
                let gate = to.affine(clipped, 1.0 / 6.0, 0.0)?;
                return to.push(mul, &[x, gate]);
            }
            let product = to.push(mul, &[clipped, x])?;
            to.affine(product, 1.0 / 6.0, 0.0)
        }
        3 => {
            let soft = to.push(Activation::Softplus, &[x])?;
            let gate = to.push(Activation::Tanh, &[soft])?;
            to.push(mul, &[x, gate])
        }
        half => {
            let scaled = to.affine(x, std::f32::consts::FRAC_1_SQRT_2, 0.0)?;
            let erf = to.push(Activation::Erf, &[scaled])?;
            let gate = to.affine(erf, 1.0, 1.0)?;
            if half == 4 {
                let x = to.affine(x, 0.5, 0.0)?;
                return to.push(mul, &[x, gate]);
            }
            let product = to.push(mul, &[x, gate])?;
            to.affine(product, 0.5, 0.0)
        }
    }
}

fn spelled_norm(to: &mut Drawing, x: ValueId) -> Option<ValueId> {
    let axes = to.random.pick(&[[true, false, false], [false, true, true], [true; 3], [false, true, false]]);
    let average = Reduce { kind: ReduceKind::Mean, axes };
    let [sub, mul] = [BinaryKind::Sub, BinaryKind::Mul].map(Binary::new);
    let mean = to.push(average, &[x])?;
    let difference = to.push(sub, &[x, mean])?;
    let square = match to.random.below(3) {
        0 => to.push(Activation::Square, &[difference])?,
        1 => to.push(mul, &[difference; 2])?,
        _ => {
            let raised = to.affine(difference, 1.0, 0.01)?;
            to.push(mul, &[difference, raised])?
        }
    };
    let mut variance = to.push(average, &[square])?;
    // The variance of a sample.
    if to.random.below(3) == 0 {
        variance = to.affine(variance, 1.25, 0.0)?;
    }
    let raised = to.affine(variance, 1.0, 0.1)?;
    let deviation = to.push(Activation::Sqrt, &[raised])?;
    let inverse = match to.random.below(4) {
        0 => return to.push(Binary::new(BinaryKind::Div), &[difference, deviation]),
        1 => to.push(Activation::Pow(-0.5), &[raised])?,
        _ => to.push(Activation::Reciprocal, &[deviation])?,
    };
    if to.random.below(2) == 0 {
        return to.push(mul, &[inverse, difference]);
    }
    // As TensorFlow writes it.
    let scale = to.random.pick(&[1.0, 0.7]);
    let factor = if scale == 1.0 { inverse } else { to.scaled(inverse, scale)? };
    let product = to.push(mul, &[x, factor])?;
    let moved = to.push(mul, &[mean, factor])?;
    let moved = to.affine(moved, -1.0, 0.3)?;
    to.push(Binary::ADD, &[product, moved])
}

// ---- the tests ----

/// All rewrites, none, all but one, and each alone.
pub(crate) fn choices() -> Vec<(String, Optimizations)> {
    let (all, none) = (Optimizations::default(), Optimizations::none());
    let mut choices = vec![("all".into(), all), ("none".into(), none)];
    for name in Optimizations::NAMES {
        let [mut without, mut alone] = [all, none];
        without.set(name, false).expect("its own name");
        alone.set(name, true).expect("its own name");
        choices.extend([(format!("all but {name}"), without), (format!("{name} alone"), alone)]);
    }
    choices
}

/// Statistics of the random networks.
#[derive(Default)]
struct Reached {
    kinds: BTreeSet<&'static str>,
    rewrites: BTreeSet<String>,
    /// Networks whose f32 result differs from f64 by more than a network's tolerance.
    rounded: usize,
}

/// All errors in the results of all choices of rewrites, compared with the reference.
fn faults(graph: &Graph, inputs: &[&Tensor], reached: &mut Reached) -> Vec<String> {
    let want = cpu::run_with(graph, inputs).expect("each operator took its inputs");
    let mut results = Vec::new();
    for (what, optimizations) in choices() {
        let optimized = optimize(graph, shapes(inputs), &optimizations).expect("it optimises");
        if text(&optimized) != text(graph) {
            reached.rewrites.extend(what.strip_suffix(" alone").map(String::from));
        }
        reached.kinds.extend(optimized.nodes().iter().map(|node| node.op.kind()));
        results.push((format!("rewrites: {what}"), cpu::run_with(&optimized, inputs)));
        if what == "all" || what == "none" {
            let options = SessionOptions::default().with_optimizations(optimizations);
            let result = session(graph, inputs, Device::Cpu, options);
            results.push((format!("a session with rewrites: {what}"), result));
        }
    }
    let mut exact = None;
    let mut off = |got: &[Tensor]| {
        let pairs = || got.iter().zip(&want);
        let fault = pairs().find_map(|(got, want)| closeness(got, want, Tolerance::Network).err())?;
        // If a network amplifies rounding, a result may be as far off as the reference is.
        let exact = exact.get_or_insert_with(|| oracle::run_with(graph, inputs));
        reached.rounded += 1;
        let further = pairs().zip(exact).find(|((got, want), exact)| {
            let furthest = |x: &Tensor| {
                x.data().iter().zip(exact.data()).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()))
            };
            let close = closeness(got, want, Tolerance::Network).is_ok();
            !close && (got.shape() != want.shape() || furthest(got) > 4.0 * furthest(want))
        });
        further.map(|_| fault)
    };
    let off = |(what, result): (String, unet_wgpu::Result<Vec<Tensor>>)| match result {
        Ok(got) => off(&got).map(|fault| format!("{what}: {fault}")),
        Err(error) => Some(format!("{what}: {error}")),
    };
    results.into_iter().filter_map(off).collect()
}

/// The operators, their inputs and their attributes without weights.
fn text(graph: &Graph) -> String {
    let line = |node: &unet_wgpu::graph::Node| {
        let inputs: Vec<usize> = node.inputs.iter().map(|id| id.index()).collect();
        let outputs: Vec<usize> = node.outputs.iter().map(|id| id.index()).collect();
        let held = match &node.op {
            Op::Conv(conv) => format!("{} {:?} {:?}", conv.weight.shape(), conv.padding, conv.activation),
            Op::Rearrange(_) | Op::Pad(_) | Op::Binary(_) | Op::Activation(_) => format!("{:?}", node.op),
            _ => String::new(),
        };
        format!("{outputs:?} = {} {held} {inputs:?}\n", node.op.kind())
    };
    let outputs: Vec<usize> = graph.outputs().iter().map(|output| output.value.index()).collect();
    graph.nodes().iter().map(line).collect::<String>() + &format!("outputs {outputs:?}")
}

#[test]
fn rewrites_keep_the_results_of_random_networks_of_all_operators() {
    let asked = std::env::var("UNET_RANDOM_NETWORKS").ok().map(|count| count.parse());
    let count = asked.map_or(NETWORKS, |count| count.expect("UNET_RANDOM_NETWORKS is a number"));
    let mut reached = Reached::default();
    let mut bad = Vec::new();
    for seed in 0..count {
        let (graph, inputs) = Drawing::network(seed);
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        reached.kinds.extend(graph.nodes().iter().map(|node| node.op.kind()));
        let faults = faults(&graph, &inputs, &mut reached);
        if !faults.is_empty() {
            let shapes = shapes(&inputs);
            bad.push(format!("network {seed} of {shapes:?}:\n{}\n  {}", text(&graph), faults.join("\n  ")));
        }
    }
    eprintln!("{count} networks, {} results rounded further than others", reached.rounded);
    assert!(bad.is_empty(), "{} of {count} networks:\n{}", bad.len(), bad.join("\n\n"));
    assert_eq!(reached.kinds, Op::KINDS.iter().copied().collect(), "kinds of operators that were drawn");
    let names: BTreeSet<String> = Optimizations::NAMES.iter().map(|name| name.to_string()).collect();
    assert_eq!(reached.rewrites, names, "rewrites that changed a network");
    assert!(reached.rounded as u64 <= 1 + count / 10, "{} results are mostly rounding", reached.rounded);
}

/// Only a few on all backends, because each has many kernels of its own.
#[test]
fn random_networks_of_all_operators_run_on_every_backend() {
    for seed in 0..4 {
        let (graph, inputs) = Drawing::network(seed);
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let want = oracle::run_with(&graph, &inputs);
        for backend in backends().into_iter().filter(|backend| !backend.is_half()) {
            for (got, want) in backend.run_with(&graph, &inputs).iter().zip(&want) {
                let close = closeness(got, want, Tolerance::Network);
                close.unwrap_or_else(|fault| {
                    panic!("network {seed} on {backend}:\n{}\n{fault}", text(&graph))
                });
            }
        }
    }
}
