//! Every operator in plain f64 loops, each output element gathered by the operator's definition. Nothing is shared
//! with the CPU executor: not the loops, not the shape rules, not the precision. Slow on purpose.

use std::collections::HashMap;
use unet_wgpu::graph::{
    Activation, BatchNorm, Conv, ConvTranspose, Graph, Interpolation, Op, Pad, PadAmount, PadMode, Pool,
    PoolKind, Resize,
};
use unet_wgpu::{Shape, Tensor};

/// The result of a graph, rounded to f32 once at the end.
pub(crate) fn run(graph: &Graph, input: &Tensor) -> Tensor {
    let mut values = HashMap::from([(Graph::INPUT, Volume::from(input))]);
    for node in graph.nodes() {
        let inputs: Vec<&Volume> = node.inputs.iter().map(|id| &values[id]).collect();
        let y = operator(&node.op, &inputs);
        // A convolution with a pool has two results.
        if let [_, pooled] = node.outputs[..] {
            values.insert(pooled, pool(&Pool::MAX_2X2, &y));
        }
        values.insert(node.outputs[0], y);
    }
    let y = &values[&graph.output()];
    assert_eq!(
        y.shape,
        graph.output_shape(input.shape()).expect("the graph fits the input"),
        "the shape rules"
    );
    Tensor::new(y.shape, y.data.iter().map(|&v| v as f32).collect()).expect("volumes are whole")
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
    let x = inputs[0];
    match op {
        Op::Conv(op) => conv(op, &concat(inputs)),
        Op::ConvTranspose(op) => conv_transpose(op, x),
        Op::Pool(op) => pool(op, x),
        Op::GlobalAveragePool(_) => global_average_pool(x),
        Op::BatchNorm(op) => batch_norm(op, x),
        Op::Activation(op) => x.map(|v| activation(*op, v)),
        Op::Add(op) => {
            assert_eq!(x.shape, inputs[1].shape);
            Volume::gather(x.shape, |at| activation(op.activation, x.at(at) + inputs[1].at(at)))
        }
        Op::Concat(_) => concat(inputs),
        Op::Resize(op) => resize(op, x),
        Op::Pad(op) => pad(op, x),
        Op::Crop(_) => Volume::gather(Shape { c: x.shape.c, ..inputs[1].shape }, |at| x.at(at)),
        Op::Softmax(_) => softmax(x),
    }
}

fn activation(f: Activation, v: f64) -> f64 {
    match f {
        Activation::None => v,
        Activation::Relu => v.max(0.0),
        Activation::LeakyRelu(slope) => v.max(0.0) + f64::from(slope) * v.min(0.0),
        Activation::Sigmoid => 0.5 * (1.0 + (0.5 * v).tanh()),
    }
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
        let (window, stride) = (pool.kernel[axis], pool.stride[axis]);
        let whole = fitting(size + before + after, window, stride);
        let covered = (whole - 1) * stride + window >= size + before + after;
        whole + usize::from(pool.ceil && !covered && whole * stride < size + before)
    };
    let shape = Shape { h: count(x.shape.h, top, bottom, 0), w: count(x.shape.w, left, right, 1), ..x.shape };
    Volume::gather(shape, |[n, c, row, column]| {
        let (mut inside, mut padded) = (Vec::new(), 0_usize);
        for ky in 0..pool.kernel[0] {
            for kx in 0..pool.kernel[1] {
                let [y, x_] = [row * pool.stride[0] + ky, column * pool.stride[1] + kx];
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

fn global_average_pool(x: &Volume) -> Volume {
    Volume::gather(Shape { h: 1, w: 1, ..x.shape }, |[n, c, ..]| {
        let rows = (0..x.shape.h).flat_map(|y| (0..x.shape.w).map(move |x_| (y, x_)));
        rows.map(|(y, x_)| x.at([n, c, y, x_])).sum::<f64>() / x.shape.pixels() as f64
    })
}

fn batch_norm(norm: &BatchNorm, x: &Volume) -> Volume {
    Volume::gather(x.shape, |at @ [_, c, ..]| {
        activation(norm.activation, f64::from(norm.scale[c]) * x.at(at) + f64::from(norm.shift[c]))
    })
}

fn concat(parts: &[&Volume]) -> Volume {
    let channels: Vec<(usize, usize)> =
        parts.iter().enumerate().flat_map(|(part, x)| (0..x.shape.c).map(move |c| (part, c))).collect();
    Volume::gather(Shape { c: channels.len(), ..parts[0].shape }, |[n, c, y, x]| {
        let (part, c) = channels[c];
        parts[part].at([n, c, y, x])
    })
}

fn resize(resize: &Resize, x: &Volume) -> Volume {
    let scaled = |size: usize, factor: f32| (size as f64 * f64::from(factor)) as usize;
    let shape =
        Shape { h: scaled(x.shape.h, resize.scale[0]), w: scaled(x.shape.w, resize.scale[1]), ..x.shape };
    // Place in the input for place `i` in the output.
    let place = |i: usize, from: usize, to: usize| {
        let (i, ratio) = (i as f64, from as f64 / to as f64);
        match resize.interpolation {
            Interpolation::Nearest => unreachable!("has no fractions"),
            Interpolation::Bilinear => (i + 0.5) * ratio - 0.5,
            Interpolation::BilinearAlignCorners if to == 1 => 0.0,
            Interpolation::BilinearAlignCorners => i * (from - 1) as f64 / (to - 1) as f64,
        }
    };
    // A tent of width 1 around that place, over the picture with its edge pixels repeated.
    let tent = |i: usize, from: usize, to: usize| {
        let mut weights = vec![0.0; from];
        let place = place(i, from, to);
        for j in -2..from as isize + 2 {
            weights[j.clamp(0, from as isize - 1) as usize] += (1.0 - (place - j as f64).abs()).max(0.0);
        }
        weights
    };
    Volume::gather(shape, |[n, c, row, column]| {
        if resize.interpolation == Interpolation::Nearest {
            return x.at([n, c, row * x.shape.h / shape.h, column * x.shape.w / shape.w]);
        }
        let (rows, columns) = (tent(row, x.shape.h, shape.h), tent(column, x.shape.w, shape.w));
        let mut sum = 0.0;
        for (y, wy) in rows.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            for (x_, wx) in columns.iter().enumerate().filter(|(_, w)| **w != 0.0) {
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

fn softmax(x: &Volume) -> Volume {
    Volume::gather(x.shape, |at @ [n, _, y, x_]| {
        1.0 / (0..x.shape.c).map(|c| (x.at([n, c, y, x_]) - x.at(at)).exp()).sum::<f64>()
    })
}
