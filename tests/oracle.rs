//! Every operator in plain f64 loops, each output element gathered by the operator's definition. Nothing is shared
//! with the CPU executor: not the loops, not the shape rules, not the precision. Slow on purpose.

use std::collections::HashMap;
use unet_wgpu::graph::{
    Activation, Axis, BatchNorm, Binary, BinaryKind, Conv, ConvTranspose, Coordinates, Graph, Interpolation,
    MatMul, Norm, NormOver, Op, Output, Pad, PadAmount, PadMode, Pool, PoolKind, Rearrange, Reduce,
    ReduceKind, Resize, ResizeTo, Rounding,
};
use unet_wgpu::{Shape, Tensor};

/// The result of a graph of one input, rounded to f32 once at the end.
pub(crate) fn run(graph: &Graph, input: &Tensor) -> Tensor {
    run_with(graph, &[input]).swap_remove(0)
}

/// The outputs of a graph, from a tensor for every input, states included.
pub(crate) fn run_with(graph: &Graph, inputs: &[&Tensor]) -> Vec<Tensor> {
    let volumes = inputs.iter().map(|input| Volume::from(*input));
    let mut values: HashMap<_, _> = graph.inputs().iter().map(|input| input.value).zip(volumes).collect();
    for node in graph.nodes() {
        let inputs: Vec<&Volume> = node.inputs.iter().map(|id| &values[id]).collect();
        let y = operator(&node.op, &inputs);
        // A convolution with a pool has two results.
        if let [_, pooled] = node.outputs[..] {
            values.insert(pooled, pool(&Pool::MAX_2X2, &y));
        }
        values.insert(node.outputs[0], y);
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

/// An f64 tensor.
#[derive(Clone)]
struct Volume {
    shape: Shape,
    data: Vec<f64>,
}

impl Volume {
    /// A volume whose element at each place is `f([n, c, y, x])`.
    fn gather(shape: Shape, mut f: impl FnMut([usize; 4]) -> f64) -> Volume {
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

    fn at(&self, [n, c, y, x]: [usize; 4]) -> f64 {
        let Shape { c: channels, h, w, .. } = self.shape;
        assert!(c < channels && y < h && x < w);
        self.data[((n * channels + c) * h + y) * w + x]
    }

    /// The element, or `None` outside the picture.
    fn inside(&self, n: usize, c: usize, y: isize, x: isize) -> Option<f64> {
        let [h, w] = [self.shape.h, self.shape.w].map(|size| size as isize);
        ((0..h).contains(&y) && (0..w).contains(&x)).then(|| self.at([n, c, y as usize, x as usize]))
    }

    /// The element, where an extent of 1 stands for any.
    fn spread(&self, [n, c, y, x]: [usize; 4]) -> f64 {
        let Shape { n: ns, c: cs, h, w } = self.shape;
        self.at([n.min(ns - 1), c.min(cs - 1), y.min(h - 1), x.min(w - 1)])
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Volume {
        Volume { shape: self.shape, data: self.data.iter().map(|&v| f(v)).collect() }
    }
}

impl From<&Tensor> for Volume {
    fn from(tensor: &Tensor) -> Volume {
        Volume { shape: tensor.shape(), data: tensor.data().iter().map(|&v| f64::from(v)).collect() }
    }
}

fn operator(op: &Op, inputs: &[&Volume]) -> Volume {
    if let Op::Constant(constant) = op {
        return Volume::from(&*constant.0);
    }
    let x = inputs[0];
    match op {
        Op::Conv(op) => conv(op, &concat(inputs, Axis::C)),
        Op::ConvTranspose(op) => conv_transpose(op, x),
        Op::Pool(op) => pool(op, x),
        Op::Reduce(op) => reduce(*op, x),
        Op::BatchNorm(op) => batch_norm(op, x),
        Op::Norm(op) => norm(op, x),
        Op::Activation(op) => x.map(|v| activation(*op, v)),
        Op::PRelu(op) => Volume::gather(x.shape, |at @ [_, c, ..]| {
            activation(Activation::LeakyRelu(op.slope[c]), x.at(at))
        }),
        Op::Binary(op) => binary(*op, x, inputs[1]),
        Op::MatMul(MatMul) => matmul(x, inputs[1]),
        Op::Concat(op) => concat(inputs, op.axis),
        Op::Resize(op) => resize(op, x),
        Op::Rearrange(op) => rearrange(op, x),
        Op::Pad(op) => pad(op, x),
        Op::Crop(_) => Volume::gather(Shape { c: x.shape.c, ..inputs[1].shape }, |at| x.at(at)),
        Op::Softmax(op) => softmax(x, op.axis),
        Op::ArgMax(_) => Volume::gather(Shape { c: 1, ..x.shape }, |[n, _, y, x_]| {
            let value = |c: &usize| x.at([n, *c, y, x_]);
            // `max_by` takes the last of equal ones.
            let last = (0..x.shape.c).rev().max_by(|a, b| value(a).total_cmp(&value(b)));
            last.expect("at least one channel") as f64
        }),
        Op::Constant(_) => unreachable!("returned above"),
        Op::Pointwise(_) => unreachable!("the oracle runs graphs as they were built"),
    }
}

fn activation(f: Activation, v: f64) -> f64 {
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

fn binary(op: Binary, a: &Volume, b: &Volume) -> Volume {
    let larger =
        |a: Shape, b: Shape| Shape { n: a.n.max(b.n), c: a.c.max(b.c), h: a.h.max(b.h), w: a.w.max(b.w) };
    Volume::gather(larger(a.shape, b.shape), |at| {
        let (a, b) = (a.spread(at), b.spread(at));
        let y = match op.kind {
            BinaryKind::Add => a + b,
            BinaryKind::Sub => a - b,
            BinaryKind::Mul => a * b,
            BinaryKind::Div => a / b,
            BinaryKind::Min => a.min(b),
            BinaryKind::Max => a.max(b),
            BinaryKind::Pow => a.powf(b),
        };
        activation(op.activation, y)
    })
}

fn matmul(a: &Volume, b: &Volume) -> Volume {
    let (n, c) = (a.shape.n.max(b.shape.n), a.shape.c.max(b.shape.c));
    Volume::gather(Shape { n, c, h: a.shape.h, w: b.shape.w }, |[n, c, y, x]| {
        (0..a.shape.w).map(|k| a.spread([n, c, y, k]) * b.spread([n, c, k, x])).sum()
    })
}

fn norm(norm: &Norm, x: &Volume) -> Volume {
    let places = |[n, c, y, x_]: [usize; 4]| -> Vec<[usize; 4]> {
        match norm.over {
            NormOver::Channels => (0..x.shape.c).map(|c| [n, c, y, x_]).collect(),
            NormOver::Groups(groups) => {
                let size = x.shape.c / groups;
                let channels = c / size * size..c / size * size + size;
                let rows = channels.flat_map(|c| (0..x.shape.h).map(move |y| (c, y)));
                rows.flat_map(|(c, y)| (0..x.shape.w).map(move |x_| [n, c, y, x_])).collect()
            }
        }
    };
    let mut known: HashMap<[usize; 4], (f64, f64)> = HashMap::new();
    Volume::gather(x.shape, |at @ [_, c, ..]| {
        let places = places(at);
        let (mean, deviation) = *known.entry(places[0]).or_insert_with(|| {
            let count = places.len() as f64;
            let mean = places.iter().map(|&at| x.at(at)).sum::<f64>() / count;
            let variance = places.iter().map(|&at| (x.at(at) - mean).powi(2)).sum::<f64>() / count;
            (mean, (variance + f64::from(norm.eps)).sqrt())
        });
        let scale = norm.scale.as_ref().map_or(1.0, |s| f64::from(s[c]));
        let shift = norm.shift.as_ref().map_or(0.0, |s| f64::from(s[c]));
        activation(norm.activation, (x.at(at) - mean) / deviation * scale + shift)
    })
}

/// Moves from index to index by the digits, nothing merged or run over.
fn rearrange(op: &Rearrange, x: &Volume) -> Volume {
    let data = (0..op.output.elements()).map(|i| {
        let mut weight = op.output.elements();
        let mut at = op.offset as isize;
        for &(size, stride) in &op.digits {
            weight /= size;
            at += (i / weight % size) as isize * stride;
        }
        x.data[at as usize]
    });
    Volume { shape: op.output, data: data.collect() }
}

/// How many windows of `window` pixels, `stride` apart, fit into `size`.
fn fitting(size: usize, window: usize, stride: usize) -> usize {
    (0..).take_while(|i| i * stride + window <= size).count()
}

fn conv(conv: &Conv, x: &Volume) -> Volume {
    let weight = Volume::from(&*conv.weight);
    let Shape { n: outs, c: ins, h: kh, w: kw } = weight.shape;
    let ([top, left, bottom, right], [sy, sx], [dy, dx]) = (conv.padding, conv.stride, conv.dilation);
    let shape = Shape {
        n: x.shape.n,
        c: outs,
        h: fitting(x.shape.h + top + bottom, (kh - 1) * dy + 1, sy),
        w: fitting(x.shape.w + left + right, (kw - 1) * dx + 1, sx),
    };
    Volume::gather(shape, |[n, o, row, column]| {
        let group = o / (outs / conv.groups);
        let mut sum = conv.bias.as_ref().map_or(0.0, |bias| f64::from(bias[o]));
        for c in 0..ins {
            for ky in 0..kh {
                for kx in 0..kw {
                    let from_y = (row * sy + ky * dy) as isize - top as isize;
                    let from_x = (column * sx + kx * dx) as isize - left as isize;
                    if let Some(v) = x.inside(n, group * ins + c, from_y, from_x) {
                        sum += weight.at([o, c, ky, kx]) * v;
                    }
                }
            }
        }
        activation(conv.activation, sum)
    })
}

/// Output pixel `y` gets, through tap `k`, the input pixel `i` with `i * stride + k - padding = y`, if there is one.
fn conv_transpose(conv: &ConvTranspose, x: &Volume) -> Volume {
    let weight = Volume::from(&*conv.weight);
    let Shape { n: ins, c: outs, h: kh, w: kw } = weight.shape;
    let ([top, left, bottom, right], [sy, sx]) = (conv.padding, conv.stride);
    let shape = Shape {
        n: x.shape.n,
        c: outs * conv.groups,
        h: (x.shape.h - 1) * sy + kh + conv.output_padding[0] - top - bottom,
        w: (x.shape.w - 1) * sx + kw + conv.output_padding[1] - left - right,
    };
    let ins = ins / conv.groups;
    let source = |place: usize, cut: usize, tap: usize, stride: usize| {
        let scaled = (place + cut) as isize - tap as isize;
        (scaled % stride as isize == 0).then_some(scaled / stride as isize)
    };
    Volume::gather(shape, |[n, o, row, column]| {
        let group = o / outs;
        let mut sum = conv.bias.as_ref().map_or(0.0, |bias| f64::from(bias[o]));
        for c in group * ins..(group + 1) * ins {
            for ky in 0..kh {
                for kx in 0..kw {
                    let from = source(row, top, ky, sy).zip(source(column, left, kx, sx));
                    if let Some(v) = from.and_then(|(y, x_)| x.inside(n, c, y, x_)) {
                        sum += weight.at([c, o % outs, ky, kx]) * v;
                    }
                }
            }
        }
        activation(conv.activation, sum)
    })
}

/// PyTorch's rule: with `ceil` a last window may pass the padded picture, if it begins in the picture or before it.
fn pool(pool: &Pool, x: &Volume) -> Volume {
    let [top, left, bottom, right] = pool.padding;
    let count = |size: usize, before: usize, after: usize, axis: usize| {
        let window = (pool.kernel[axis] - 1) * pool.dilation[axis] + 1;
        let stride = pool.stride[axis];
        let whole = fitting(size + before + after, window, stride);
        let covered = (whole - 1) * stride + window >= size + before + after;
        whole + usize::from(pool.ceil && !covered && whole * stride < size + before)
    };
    let shape = Shape { h: count(x.shape.h, top, bottom, 0), w: count(x.shape.w, left, right, 1), ..x.shape };
    Volume::gather(shape, |[n, c, row, column]| {
        let (mut inside, mut padded) = (Vec::new(), 0_usize);
        for ky in 0..pool.kernel[0] {
            for kx in 0..pool.kernel[1] {
                let y = row * pool.stride[0] + ky * pool.dilation[0];
                let x_ = column * pool.stride[1] + kx * pool.dilation[1];
                padded += usize::from(y < x.shape.h + top + bottom && x_ < x.shape.w + left + right);
                inside.extend(x.inside(n, c, y as isize - top as isize, x_ as isize - left as isize));
            }
        }
        match pool.kind {
            PoolKind::Max => inside.into_iter().reduce(f64::max).expect("windows touch the picture"),
            PoolKind::Average => inside.iter().sum::<f64>() / inside.len() as f64,
            PoolKind::AverageWithPadding => inside.iter().sum::<f64>() / padded as f64,
        }
    })
}

fn reduce(op: Reduce, x: &Volume) -> Volume {
    let [c, h, w] = op.axes;
    let left = |reduced: bool, extent: usize| if reduced { 1 } else { extent };
    let shape = Shape { n: x.shape.n, c: left(c, x.shape.c), h: left(h, x.shape.h), w: left(w, x.shape.w) };
    let range = |reduced: bool, at: usize, extent: usize| if reduced { 0..extent } else { at..at + 1 };
    Volume::gather(shape, |[n, channel, row, column]| {
        let mut all = Vec::new();
        for c in range(c, channel, x.shape.c) {
            for y in range(h, row, x.shape.h) {
                all.extend(range(w, column, x.shape.w).map(|x_| x.at([n, c, y, x_])));
            }
        }
        let sum: f64 = all.iter().sum();
        match op.kind {
            ReduceKind::Mean => sum / all.len() as f64,
            ReduceKind::Sum => sum,
            ReduceKind::Max => all.into_iter().reduce(f64::max).expect("not empty"),
            ReduceKind::Min => all.into_iter().reduce(f64::min).expect("not empty"),
            ReduceKind::L2 => all.iter().map(|v| v * v).sum::<f64>().sqrt(),
        }
    })
}

fn batch_norm(norm: &BatchNorm, x: &Volume) -> Volume {
    Volume::gather(x.shape, |at @ [_, c, ..]| {
        activation(norm.activation, f64::from(norm.scale[c]) * x.at(at) + f64::from(norm.shift[c]))
    })
}

fn concat(parts: &[&Volume], axis: Axis) -> Volume {
    let index = match axis {
        Axis::C => 1,
        Axis::H => 2,
        Axis::W => 3,
    };
    let extent = |x: &Volume| [x.shape.n, x.shape.c, x.shape.h, x.shape.w][index];
    let places: Vec<(usize, usize)> =
        parts.iter().enumerate().flat_map(|(part, x)| (0..extent(x)).map(move |i| (part, i))).collect();
    let mut shape = [parts[0].shape.n, parts[0].shape.c, parts[0].shape.h, parts[0].shape.w];
    shape[index] = places.len();
    let [n, c, h, w] = shape;
    Volume::gather(Shape { n, c, h, w }, |mut at| {
        let (part, place) = places[at[index]];
        at[index] = place;
        parts[part].at(at)
    })
}

fn resize(resize: &Resize, x: &Volume) -> Volume {
    let from = [x.shape.h, x.shape.w];
    let (to, scale) = match resize.to {
        ResizeTo::Size(to) => (to, [0, 1].map(|axis| to[axis] as f64 / from[axis] as f64)),
        ResizeTo::Scale(scale) => {
            let scale = scale.map(f64::from);
            ([0, 1].map(|axis| (from[axis] as f64 * scale[axis]) as usize), scale)
        }
    };
    // Place in the input for place `i` in the output.
    let place = |i: usize, axis: usize| {
        let (i, from, scale) = (i as f64, from[axis] as f64, scale[axis]);
        match resize.coordinates {
            Coordinates::Asymmetric => i / scale,
            Coordinates::HalfPixel => (i + 0.5) / scale - 0.5,
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if to[axis] == 1 => 0.0,
            Coordinates::PytorchHalfPixel => (i + 0.5) / scale - 0.5,
            Coordinates::AlignCorners => i * (from - 1.0) / (from * scale - 1.0),
        }
    };
    // How much a pixel counts at a distance.
    let kernel = |d: f64| match (resize.interpolation, d.abs()) {
        (Interpolation::Cubic(a), d) if d <= 1.0 => {
            (f64::from(a) + 2.0) * d.powi(3) - (f64::from(a) + 3.0) * d.powi(2) + 1.0
        }
        (Interpolation::Cubic(a), d) if d < 2.0 => {
            f64::from(a) * (d.powi(3) - 5.0 * d.powi(2) + 8.0 * d - 4.0)
        }
        (Interpolation::Cubic(_), _) => 0.0,
        (_, d) => (1.0 - d).max(0.0),
    };
    // The weights of all pixels of an axis, those beyond its edges added to those at them.
    let weights = |i: usize, axis: usize| {
        let (mut weights, last) = (vec![0.0; from[axis]], from[axis] as isize - 1);
        // Factors are f32: what should be whole may be off by a billionth.
        let place = (place(i, axis) * 1e6).round() / 1e6;
        if let Interpolation::Nearest(rounding) = resize.interpolation {
            let nearest = match rounding {
                Rounding::Floor => place.floor(),
                Rounding::Ceil => place.ceil(),
                Rounding::PreferFloor => -(0.5 - place).floor(),
                Rounding::PreferCeil => (place + 0.5).floor(),
            };
            weights[(nearest as isize).clamp(0, last) as usize] = 1.0;
        } else {
            for j in -4..last + 5 {
                weights[j.clamp(0, last) as usize] += kernel(place - j as f64);
            }
        }
        weights
    };
    let rows: Vec<_> = (0..to[0]).map(|i| weights(i, 0)).collect();
    let columns: Vec<_> = (0..to[1]).map(|i| weights(i, 1)).collect();
    Volume::gather(Shape { h: to[0], w: to[1], ..x.shape }, |[n, c, row, column]| {
        let mut sum = 0.0;
        for (y, wy) in rows[row].iter().enumerate().filter(|(_, w)| **w != 0.0) {
            for (x_, wx) in columns[column].iter().enumerate().filter(|(_, w)| **w != 0.0) {
                sum += wy * wx * x.at([n, c, y, x_]);
            }
        }
        sum
    })
}

fn pad(pad: &Pad, x: &Volume) -> Volume {
    let [h, w] = [x.shape.h as isize, x.shape.w as isize];
    let [top, left, bottom, right] = match pad.amount {
        PadAmount::Fixed(amounts) => amounts,
        PadAmount::Multiple(m) => {
            let missing =
                |size: isize| (0..).find(|extra| (size + extra) % m as isize == 0).expect("m is above 0");
            [0, 0, missing(h), missing(w)]
        }
    };
    let shape = Shape { h: (h + top + bottom) as usize, w: (w + left + right) as usize, ..x.shape };
    Volume::gather(shape, |[n, c, row, column]| {
        let (y, x_) = (row as isize - top, column as isize - left);
        match pad.mode {
            PadMode::Zero => x.inside(n, c, y, x_).unwrap_or(0.0),
            PadMode::Edge => x.at([n, c, y.clamp(0, h - 1) as usize, x_.clamp(0, w - 1) as usize]),
            PadMode::Reflect => x.at([n, c, mirrored(y, h), mirrored(x_, w)]),
        }
    })
}

/// Walks `|i|` steps from pixel 0 and turns at the edges.
fn mirrored(i: isize, size: isize) -> usize {
    let (mut at, mut step) = (0, 1);
    for _ in 0..i.abs() {
        if !(0..size).contains(&(at + step)) {
            step = -step;
        }
        if (0..size).contains(&(at + step)) {
            at += step;
        }
    }
    at as usize
}

fn softmax(x: &Volume, axis: Axis) -> Volume {
    let Shape { c: channels, h, w, .. } = x.shape;
    Volume::gather(x.shape, |at @ [n, c, y, x_]| {
        let along: Vec<_> = match axis {
            Axis::C => (0..channels).map(|c| [n, c, y, x_]).collect(),
            Axis::H => (0..h).map(|y| [n, c, y, x_]).collect(),
            Axis::W => (0..w).map(|x_| [n, c, y, x_]).collect(),
        };
        1.0 / along.into_iter().map(|other| (x.at(other) - x.at(at)).exp()).sum::<f64>()
    })
}
