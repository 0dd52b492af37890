//! Convolutions and transposed convolutions, and the rewrites that fuse other operators into them.

use super::*;
use crate::oracle::activated;
use crate::support::ACTIVATIONS;
use unet_wgpu::graph::{
    Axis, Binary, BinaryKind, Crop, Norm, NormOver, Pad, PadAmount, PadMode, Pool, Resize, ResizeTo,
};

pub(super) fn cases() -> Vec<Case> {
    [
        many_shapes(),
        attributes(),
        groups(),
        two_sources(),
        pools(),
        activations(),
        continued(),
        heads(),
        sums(),
        sums_that_stay(),
        transposed(),
        norms(),
        lanes_past_the_last_channel(),
        by_pytorch(),
        by_hand(),
        kernels(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

// ---- definition ----

pub(super) fn reference(op: &Op, inputs: &[&Volume]) -> Option<Volume> {
    match op {
        Op::Conv(op) => Some(convolved(op, &moves::joined(inputs, Axis::C))),
        Op::ConvTranspose(op) => Some(stamped(op, inputs[0])),
        _ => None,
    }
}

fn convolved(conv: &Conv, x: &Volume) -> Volume {
    let weight = Volume::from(&*conv.weight);
    let Shape { n: outs, c: ins, h: kh, w: kw } = weight.shape;
    let ([top, left, bottom, right], [sy, sx], [dy, dx]) = (conv.padding, conv.stride, conv.dilation);
    let shape = Shape {
        n: x.shape.n,
        c: outs,
        h: pooling::fitting(x.shape.h + top + bottom, (kh - 1) * dy + 1, sy),
        w: pooling::fitting(x.shape.w + left + right, (kw - 1) * dx + 1, sx),
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
        activated(conv.activation, sum)
    })
}

/// Output pixel `y` gets, through tap `k`, the input pixel `i` with `i * stride + k * dilation - padding = y`, if it
/// exists.
fn stamped(conv: &ConvTranspose, x: &Volume) -> Volume {
    let weight = Volume::from(&*conv.weight);
    let Shape { n: ins, c: outs, h: kh, w: kw } = weight.shape;
    let ([top, left, bottom, right], [sy, sx], [dy, dx]) = (conv.padding, conv.stride, conv.dilation);
    let shape = Shape {
        n: x.shape.n,
        c: outs * conv.groups,
        h: (x.shape.h - 1) * sy + (kh - 1) * dy + 1 + conv.output_padding[0] - top - bottom,
        w: (x.shape.w - 1) * sx + (kw - 1) * dx + 1 + conv.output_padding[1] - left - right,
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
                    let from = source(row, top, ky * dy, sy).zip(source(column, left, kx * dx, sx));
                    if let Some(v) = from.and_then(|(y, x_)| x.inside(n, c, y, x_)) {
                        sum += weight.at([c, o % outs, ky, kx]) * v;
                    }
                }
            }
        }
        activated(conv.activation, sum)
    })
}

// ---- random networks ----

pub(super) fn draw(kind: &str, to: &mut Drawing) -> Option<ValueId> {
    let x = to.value();
    let ins = to.shape(x).c;
    let kernel = [1 + to.random.below(4), 1 + to.random.below(4)];
    let activation =
        to.random.pick(&[Activation::None, Activation::None, Activation::Relu, Activation::Silu]);
    match kind {
        "Conv" => {
            // With two inputs, the other one is an existing value of the same size, if there is one.
            let beside = to.value_where(|a, b| Shape { c: a.c, ..b } == a, x);
            let inputs = if to.random.below(3) == 0 { vec![x, beside?] } else { vec![x] };
            let ins = inputs.iter().map(|&id| to.shape(id).c).sum();
            let groups = match inputs[..] {
                [_] => to.divisor(ins),
                _ => 1,
            };
            let most = 20_usize.div_ceil(groups).min(6);
            let outs = groups * (1 + to.random.below(most));
            let op = Conv {
                stride: [1 + to.random.below(4) / 3, 1 + to.random.below(4) / 3],
                padding: [(); 4].map(|()| to.random.below(3)),
                dilation: [1 + to.random.below(4) / 3, 1 + to.random.below(4) / 3],
                groups,
                activation,
                ..Conv::new(to.weights(Shape::new(outs, ins / groups, kernel[0], kernel[1])), to.bias(outs))
            };
            let same = to.random.below(2) == 0;
            to.push(if same { op.same() } else { op }, &inputs)
        }
        "ConvTranspose" => {
            let groups = to.divisor(ins);
            let outs = 1 + to.random.below(4);
            let stride = kernel.map(|k| 1 + to.random.below(k + 1));
            let op = ConvTranspose {
                stride,
                dilation: [(); 2].map(|()| to.random.pick(&[1, 1, 1, 2, 3])),
                padding: [(); 4].map(|()| to.random.below(3) / 2),
                output_padding: stride.map(|s| to.random.below(s)),
                groups,
                activation,
                ..ConvTranspose::new(
                    to.weights(Shape::new(ins, outs, kernel[0], kernel[1])),
                    to.bias(outs * groups),
                    1,
                )
            };
            to.push(op, &[x])
        }
        _ => None,
    }
}

// ---- cases: convolution ----

fn many_shapes() -> Vec<Case> {
    let of = |(shape, out): (Shape, usize)| {
        [
            Case::op("conv 1x1", conv(out, shape.c, [1, 1]), shape),
            Case::op("conv 3x3", conv(out, shape.c, [3, 3]).same(), shape),
        ]
    };
    SHAPES.into_iter().zip(OUTS).flat_map(of).collect()
}

fn attributes() -> Vec<Case> {
    type Edit = fn(&mut Conv);
    let cases: [(&str, [usize; 2], Edit); 13] = [
        ("3x3 valid", [3, 3], |_| {}),
        ("3x3 no bias", [3, 3], |c| c.bias = None),
        ("5x5", [5, 5], |c| c.padding = [2; 4]),
        ("7x7 stride 2", [7, 7], |c| (c.padding, c.stride) = ([3; 4], [2, 2])),
        ("3x3 stride 2", [3, 3], |c| (c.padding, c.stride) = ([1; 4], [2, 2])),
        ("2x2 stride 2", [2, 2], |c| c.stride = [2, 2]),
        ("1x1 stride 3", [1, 1], |c| c.stride = [3, 3]),
        ("3x3 dilation 2", [3, 3], |c| (c.padding, c.dilation) = ([2; 4], [2, 2])),
        ("3x3 asymmetric", [3, 3], |c| c.padding = [0, 2, 1, 3]),
        ("3x3 stride 2 asymmetric", [3, 3], |c| (c.padding, c.stride) = ([0, 0, 1, 1], [2, 2])),
        ("2x4 stride 1x3", [2, 4], |c| (c.padding, c.stride) = ([1, 0, 0, 2], [1, 3])),
        ("3x3 dilation 1x3", [3, 3], |c| {
            (c.padding, c.stride, c.dilation) = ([1, 3, 1, 3], [2, 1], [1, 3]);
        }),
        // Windows that are entirely outside the picture.
        ("3x3 wide padding", [3, 3], |c| c.padding = [4, 5, 4, 3]),
    ];
    let of = |(what, kernel, edit): (&str, [usize; 2], Edit)| {
        let name = format!("conv {what}");
        FEW.map(|(shape, out)| {
            let mut conv = conv(out, shape.c, kernel);
            edit(&mut conv);
            Case::op(&name, conv, shape)
        })
    };
    cases.into_iter().flat_map(of).collect()
}

fn groups() -> Vec<Case> {
    let mut cases = Vec::new();
    // Input channels, output channels, groups: aligned to vec4s, not aligned, depthwise, depthwise with two outputs for
    // each input.
    for (ins, out, groups) in
        [(16, 16, 4), (16, 32, 2), (6, 9, 3), (14, 4, 2), (17, 17, 17), (64, 64, 64), (3, 6, 3)]
    {
        let grouped = Conv { groups, ..conv(out, ins / groups, [3, 3]) };
        let what = format!("conv {ins} to {out} in {groups} groups");
        for [h, w] in [[7, 16], [3, 3]] {
            cases.push(Case::op(&what, grouped.clone().same(), Shape::new(2, ins, h, w)));
        }
        let strided = Conv { stride: [2, 2], padding: [0, 1, 2, 1], activation: Activation::Relu, ..grouped };
        cases.push(Case::op(format!("{what}, stride 2"), strided, Shape::new(1, ins, 7, 8)));
    }
    let dilated = Conv { groups: 17, dilation: [2, 2], ..conv(17, 1, [5, 5]) };
    cases.push(Case::op("conv depthwise 5x5 dilation 2", dilated.same(), Shape::new(1, 17, 16, 7)));
    cases
}

fn two_sources() -> Vec<Case> {
    let mut cases = Vec::new();
    for (a, b, out, h, w) in
        [(3, 7, 16, 7, 16), (16, 17, 7, 16, 7), (1, 2, 3, 1, 1), (8, 4, 64, 33, 16), (7, 1, 1, 3, 33)]
    {
        let layer = conv(out, a + b, [3, 3]).same();
        let shape = Shape::new(2, a + b, h, w);
        let mut graph = Graph::new(a + b);
        // Not in the order of the input, so parts cannot be confused.
        let [a, b] = split(&mut graph, &[a, b])[..] else { unreachable!("two parts") };
        let joint = push(&mut graph, "joint", Concat::default(), &[b, a]);
        push(&mut graph, "conv", layer.clone(), &[joint]);
        cases.push(Case::new("conv after concat", graph.clone(), shape));
        push(&mut graph, "direct", layer, &[b, a]);
        cases.push(Case::new("conv with two inputs", graph, shape));
    }
    for (counts, layer) in more_sources() {
        let total = counts.iter().sum();
        let mut graph = Graph::new(total);
        let parts = split(&mut graph, counts);
        let joint = push(&mut graph, "joint", Concat::default(), &parts);
        let what = format!("conv of {counts:?} in {} groups after a concat that stays", layer.groups);
        push(&mut graph, "conv", layer, &[joint]);
        cases.push(Case::new(what, graph, Shape::new(1, total, 5, 5)));
    }
    cases
}

/// Three sources, and two sources with groups. No kernel can compute these layers from the parts.
fn more_sources() -> [(&'static [usize], Conv); 3] {
    [(&[4, 4, 4][..], 1), (&[8, 8], 2), (&[8, 8], 16)].map(|(counts, groups)| {
        let total: usize = counts.iter().sum();
        (counts, Conv { groups, ..conv(16, total / groups, [3, 3]).same() })
    })
}

#[test]
fn three_sources_and_two_with_groups_are_refused() {
    for (counts, layer) in more_sources() {
        let total = counts.iter().sum();
        let mut graph = Graph::new(total);
        let parts = split(&mut graph, counts);
        push(&mut graph, "conv", layer, &parts);
        let error = graph.output_shape(Shape::new(1, total, 5, 5)).unwrap_err().to_string();
        let got = counts.len();
        assert_eq!(error, format!("conv: inputs: expected one tensor, or two and one group, got {got}"));
    }
}

fn pools() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, out) in [
        (Shape::new(1, 3, 7, 16), 16),
        (Shape::new(2, 17, 16, 7), 7),
        (Shape::new(1, 16, 33, 33), 64),
        (Shape::new(2, 1, 2, 3), 1),
        (Shape::new(1, 64, 3, 33), 3),
    ] {
        let layer = Conv { activation: Activation::Relu, ..conv(out, shape.c, [3, 3]).same() };
        let mut graph = Graph::new(shape.c);
        let full = push(&mut graph, "conv", layer, &[Graph::INPUT]);
        let pooled = push(&mut graph, "pool", Pool::MAX_2X2, &[full]);
        cases.push(Case::new("conv and its pool", graph.clone(), shape));

        // Both results are read: the map, cropped where the pool's last row or column was odd, and the pooled map.
        let nearest = Resize::nearest(ResizeTo::Scale([2.0, 2.0]));
        let grown = push(&mut graph, "grown", nearest, &[pooled]);
        let cut = push(&mut graph, "cut", Crop, &[full, grown]);
        push(&mut graph, "both", Concat::default(), &[cut, grown]);
        cases.push(Case::new("conv, its pool and both", graph, shape));
    }
    let depthwise = Conv { groups: 17, activation: Activation::Relu, ..conv(17, 1, [3, 3]).same() };
    let graph = chain(17, [depthwise.into(), Pool::MAX_2X2.into()]);
    cases.push(Case::new("depthwise conv and its pool", graph, Shape::new(2, 17, 7, 5)));
    cases
}

fn activations() -> Vec<Case> {
    let mut cases = Vec::new();
    let shape = Shape::new(2, 7, 7, 3);
    // Powers, roots and logarithms of negative sums cannot be compared.
    for activation in ACTIVATIONS.into_iter().filter(|a| domain(*a).0 < 0.0) {
        let layer = Conv { activation, ..conv(17, 7, [3, 3]).same() };
        cases.push(Case::op(format!("conv with {activation:?}"), layer, shape));
        let graph = chain(7, [batch_norm(7).into(), activation.into()]);
        cases.push(Case::new(format!("batch_norm with {activation:?}"), graph, shape));
    }
    for activation in [Activation::Relu, Activation::LeakyRelu(0.1), Activation::Sigmoid, Activation::Silu] {
        let layer = ConvTranspose { activation, ..conv_transpose(7, 17, [2, 2], [2, 2]) };
        cases.push(Case::op(format!("conv_transpose with {activation:?}"), layer, shape));
        let mut graph = Graph::new(8);
        let parts = split(&mut graph, &[4, 4]);
        push(&mut graph, "add", Binary { activation, ..Binary::ADD }, &parts);
        cases.push(Case::new(format!("add with {activation:?}"), graph, Shape::new(2, 8, 7, 3)));
        let norm = Norm { activation, ..Norm::new(NormOver::Groups(1), 1e-5) };
        cases.push(Case::op(format!("group_norm with {activation:?}"), norm, shape));
    }
    cases
}

fn heads() -> Vec<Case> {
    let mut cases = Vec::new();
    for (ins, out, heads, activation) in
        [(7, 17, 1, Activation::None), (16, 64, 3, Activation::Sigmoid), (8, 80, 4, Activation::None)]
    {
        let body = Conv { activation: Activation::Relu, ..conv(out, ins, [3, 3]).same() };
        let head = Conv { activation, ..conv(heads, out, [1, 1]) };
        let graph = chain(ins, [body.into(), head.into()]);
        for shape in [Shape::new(2, ins, 9, 21), Shape::new(1, ins, 1, 3)] {
            let what = format!("conv {ins} to {out}, head of {heads}");
            cases.push(Case::new(what, graph.clone(), shape).becomes(&["conv"]));
        }
    }
    cases
}

/// Pads with the edge and the reflection, which convolutions compute themselves where they can.
fn continued() -> Vec<Case> {
    let mut cases = Vec::new();
    let pad = |amounts: [isize; 4], mode| Pad { amount: PadAmount::Fixed(amounts), mode };
    for mode in [PadMode::Edge, PadMode::Reflect] {
        for (what, kernel, stride, amounts) in [
            ("3x3", [3, 3], [1, 1], [1; 4]),
            ("9x9", [9, 9], [1, 1], [4; 4]),
            ("3x3 stride 2", [3, 3], [2, 2], [1; 4]),
            ("2x5 asymmetric", [2, 5], [1, 1], [0, 3, 1, 2]),
        ] {
            for channels in [7, 16] {
                let layer = Conv { stride, activation: Activation::Relu, ..conv(17, channels, kernel) };
                let graph = chain(channels, [pad(amounts, mode).into(), layer.into()]);
                for shape in [Shape::new(2, channels, 12, 37), Shape::new(1, channels, 5, 6)] {
                    let what = format!("{what} behind {mode:?}");
                    cases.push(Case::new(what, graph.clone(), shape).becomes(&["conv"]));
                }
            }
        }
        // Two sources side by side.
        let mut graph = Graph::new(12);
        let parts = split(&mut graph, &[5, 7]);
        let joined = push(&mut graph, "joined", Concat::default(), &parts);
        let padded = push(&mut graph, "padded", pad([1; 4], mode), &[joined]);
        push(&mut graph, "conv", conv(8, 12, [3, 3]), &[padded]);
        let case = Case::new(format!("two sources behind {mode:?}"), graph, Shape::new(1, 12, 9, 11));
        cases.push(case.becomes(&["conv", "conv", "conv"]));
        // Pads that stay: of a grouped convolution, of one that pads by itself, and one that turns back twice.
        let grouped = Conv { groups: 4, ..conv(16, 4, [3, 3]) };
        for (what, layer, amounts, shape) in [
            ("groups", grouped, [1; 4], Shape::new(1, 16, 6, 7)),
            ("a pad of its own", conv(9, 16, [3, 3]).same(), [1; 4], Shape::new(1, 16, 6, 7)),
            ("a small map", conv(9, 16, [3, 3]), [0, 3, 0, 3], Shape::new(1, 16, 6, 3)),
        ] {
            let folds = what == "a small map" && mode == PadMode::Edge;
            let graph = chain(16, [pad(amounts, mode).into(), layer.into()]);
            let left: &[&str] = if folds { &["conv"] } else { &["pad", "conv"] };
            cases.push(Case::new(format!("{what} behind {mode:?}"), graph, shape).becomes(left));
        }
    }
    cases
}

/// The end of a residual block, in every kernel for convolutions.
fn sums() -> Vec<Case> {
    let mut cases = Vec::new();
    // Input channels, output channels, kernel, stride, groups. The last one is deep and its map is small, so its sum is
    // split.
    for (ins, out, kernel, stride, groups) in [
        (7, 17, 3, 1, 1),
        (16, 64, 1, 1, 1),
        (16, 16, 3, 2, 1),
        (16, 16, 3, 1, 4),
        (5, 5, 3, 1, 5),
        (64, 9, 3, 1, 1),
    ] {
        let layer = |groups: usize, kernel: usize| Conv {
            groups,
            stride: [stride; 2],
            ..conv(out, ins / groups, [kernel; 2]).same()
        };
        let mut graph = Graph::new(ins);
        let body = push(&mut graph, "body", layer(groups, kernel), &[Graph::INPUT]);
        // Made after the convolution that adds it.
        let other = push(&mut graph, "shortcut", layer(1, 1), &[Graph::INPUT]);
        let other = push(&mut graph, "tanh", Activation::Tanh, &[other]);
        let sum = push(&mut graph, "sum", Binary::ADD, &[body, other]);
        push(&mut graph, "relu", Activation::Relu, &[sum]);
        for shape in [Shape::new(2, ins, 7, 11), Shape::new(1, ins, 3, 4)] {
            let what = format!("conv {ins} to {out}, {kernel}x{kernel} in {groups} groups, and a sum");
            cases.push(Case::new(what, graph.clone(), shape).becomes(&["conv", "conv"]));
        }
    }
    // Over two sources, one of which is also added.
    let mut graph = Graph::new(12);
    let parts = split(&mut graph, &[5, 7]);
    let joined = push(&mut graph, "joined", Concat::default(), &parts);
    let body = push(&mut graph, "body", conv(7, 12, [3, 3]).same(), &[joined]);
    let sum = push(&mut graph, "sum", Binary::ADD, &[parts[1], body]);
    // As exporters write a division by 1.
    let one =
        BatchNorm { scale: vec![1.0; 7].into(), shift: vec![0.0; 7].into(), activation: Activation::None };
    push(&mut graph, "one", one, &[sum]);
    cases.push(
        Case::new("conv of two sources plus one of them", graph, Shape::new(1, 12, 6, 10))
            .becomes(&["conv"; 3]),
    );
    cases
}

fn sums_that_stay() -> Vec<Case> {
    let case = |what: &str, left: &[&'static str], add: &dyn Fn(&mut Graph, ValueId)| {
        let mut graph = Graph::new(5);
        let body = push(&mut graph, "body", conv(5, 5, [3, 3]).same(), &[Graph::INPUT]);
        add(&mut graph, body);
        Case::new(what, graph, Shape::new(1, 5, 4, 6)).becomes(left)
    };
    vec![
        case("conv plus itself", &["conv", "add"], &|graph, body| {
            push(graph, "sum", Binary::ADD, &[body, body]);
        }),
        case("conv plus a spread constant", &["conv", "add"], &|graph, body| {
            let other = push(graph, "constant", constant(Shape::new(1, 5, 1, 1), -1.0, 1.0), &[]);
            push(graph, "sum", Binary::ADD, &[body, other]);
        }),
        case("conv that is read again", &["conv", "pointwise"], &|graph, body| {
            let sum = push(graph, "sum", Binary::ADD, &[body, Graph::INPUT]);
            push(graph, "product", Binary::new(BinaryKind::Mul), &[sum, body]);
        }),
        // A square might overflow in lanes without a channel.
        case("conv, sum and square", &["conv", "add"], &|graph, body| {
            let sum = push(graph, "sum", Binary::ADD, &[body, Graph::INPUT]);
            push(graph, "square", Activation::Square, &[sum]);
        }),
    ]
}

fn norms() -> Vec<Case> {
    let shape = Shape::new(2, 16, 3, 5);
    let bias = |len| Some(vector(len, -1.0, 1.0).into());
    let layers: [(&str, Op, usize); 5] = [
        ("conv", conv(7, 16, [3, 3]).same().into(), 7),
        ("conv without bias", Conv { bias: None, ..conv(7, 16, [3, 3]).same() }.into(), 7),
        ("conv in groups", Conv { groups: 4, ..conv(8, 4, [3, 3]).same() }.into(), 8),
        ("conv_transpose", conv_transpose(16, 7, [2, 2], [2, 2]).into(), 7),
        (
            "conv_transpose in groups",
            ConvTranspose { groups: 4, bias: bias(8), ..conv_transpose(16, 2, [2, 2], [2, 2]) }.into(),
            8,
        ),
    ];
    let of = |(what, layer, channels): (&str, Op, usize)| {
        let left = [layer.rules().name()];
        let graph = chain(16, [layer, batch_norm(channels).into(), Activation::Relu.into()]);
        Case::new(format!("{what}, norm, relu"), graph, shape).becomes(&left)
    };
    layers.into_iter().map(of).collect()
}

/// Lanes past the last channel must stay finite if a later convolution multiplies them by zero.
fn lanes_past_the_last_channel() -> Vec<Case> {
    let shape = Shape::new(1, 5, 3, 4);
    let mut cases = Vec::new();
    // -1/2 past the last channel, and a root of it in the kernel of the sum.
    let mut graph = Graph::new(5);
    let sigmoid = push(&mut graph, "sigmoid", Activation::Sigmoid, &[Graph::INPUT]);
    let minus = push(&mut graph, "minus", Activation::Neg, &[sigmoid]);
    let ones = Tensor::from_fn(Shape::new(1, 5, 3, 4), |_| 1.5);
    let ones = push(&mut graph, "ones", Constant(ones.into()), &[]);
    let sum = push(&mut graph, "sum", Binary::ADD, &[minus, ones]);
    let root = push(&mut graph, "root", Activation::Sqrt, &[sum]);
    push(&mut graph, "after", conv(3, 5, [1, 1]), &[root]);
    cases.push(Case::new("a root behind a sum", graph, shape));

    let mut wild: Vec<Op> = ACTIVATIONS.map(Op::Activation).to_vec();
    wild.extend(crate::support::BINARY_KINDS.map(|kind| Binary::new(kind).into()));
    wild.push(Norm::new(NormOver::Groups(1), 1e-5).into());
    wild.push(Norm::new(NormOver::Channels, 1e-5).into());
    for op in wild {
        let mut graph = Graph::new(5);
        // The same after a convolution, into whose kernel the function may move.
        let before = push(&mut graph, "before", conv(5, 5, [1, 1]), &[Graph::INPUT]);
        let square = push(&mut graph, "square", Activation::Square, &[Graph::INPUT]);
        let half = Tensor::from_fn(Shape::new(1, 1, 1, 1), |_| 0.5);
        let half = push(&mut graph, "half", Constant(half.into()), &[]);
        let positive = push(&mut graph, "positive", Binary::ADD, &[square, half]);
        for (i, x) in [before, positive].into_iter().enumerate() {
            // Functions with steps, without a value or too steep near 0 cannot be compared.
            let steps = matches!(&op, Op::Activation(a) if a.of(0.3) == a.of(0.2));
            let steep = matches!(&op, Op::Activation(a) if domain(*a).0 >= 0.0);
            if steps || steep && i == 0 {
                continue;
            }
            let inputs = if let Op::Binary(_) = op { vec![positive, positive] } else { vec![x] };
            let name = op.rules().name();
            let made = push(&mut graph, &format!("{name} {i}"), op.clone(), &inputs);
            push(&mut graph, &format!("after {i}"), conv(3, 5, [1, 1]), &[made]);
            cases.push(Case::new(format!("{name} between convolutions, {i}"), graph.clone(), shape));
        }
    }
    cases
}

// ---- cases: transposed convolution ----

fn transposed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, out) in SHAPES.into_iter().zip(OUTS) {
        let layer = conv_transpose(shape.c, out, [2, 2], [2, 2]);
        cases.push(Case::op("conv_transpose 2x2 stride 2", layer, shape));
    }
    type Edit = fn(&mut ConvTranspose);
    let attributes: [(&str, [usize; 2], [usize; 2], Edit); 9] = [
        ("2x2 no bias", [2, 2], [2, 2], |c| c.bias = None),
        ("3x3 stride 2", [3, 3], [2, 2], |c| c.padding = [1; 4]),
        ("3x3 stride 2, doubling", [3, 3], [2, 2], |c| (c.padding, c.output_padding) = ([1; 4], [1, 1])),
        ("3x3 stride 2, doubling rows", [3, 3], [2, 2], |c| (c.padding, c.output_padding) = ([1; 4], [1, 0])),
        ("4x4 stride 2", [4, 4], [2, 2], |c| c.padding = [1; 4]),
        ("3x3 stride 1", [3, 3], [1, 1], |c| c.padding = [1; 4]),
        ("3x3 stride 3", [3, 3], [3, 3], |_| {}),
        ("2x3 stride 2x3", [2, 3], [2, 3], |c| c.output_padding = [1, 2]),
        ("3x3 stride 2 asymmetric", [3, 3], [2, 2], |c| c.padding = [0, 2, 1, 3]),
    ];
    for (what, kernel, stride, edit) in attributes {
        for (shape, out) in FEW {
            let mut layer = conv_transpose(shape.c, out, kernel, stride);
            edit(&mut layer);
            cases.push(Case::op(format!("conv_transpose {what}"), layer, shape));
        }
    }
    // Strides that divide the dilation, are divided by it, and share a factor with it or none.
    for (kernel, stride, dilation, padding, output_padding) in [
        ([3, 3], [1, 1], [2, 2], [2; 4], [0, 0]),
        ([3, 3], [2, 2], [2, 2], [2; 4], [1, 1]),
        ([3, 3], [3, 2], [2, 3], [0, 1, 2, 3], [2, 0]),
        ([2, 3], [2, 6], [4, 4], [1, 0, 0, 1], [0, 3]),
        ([3, 1], [1, 2], [3, 2], [0; 4], [0, 1]),
        // Output pixels that no input reaches.
        ([1, 1], [2, 3], [1, 1], [0; 4], [1, 2]),
        ([2, 1], [3, 2], [5, 1], [0; 4], [0, 0]),
    ] {
        for (shape, out) in FEW {
            let layer = ConvTranspose {
                dilation,
                padding,
                output_padding,
                ..conv_transpose(shape.c, out, kernel, stride)
            };
            let what = format!("conv_transpose {kernel:?} stride {stride:?} dilation {dilation:?}");
            cases.push(Case::op(what, layer, shape));
        }
    }
    for groups in [2, 8] {
        let grouped = ConvTranspose {
            groups,
            dilation: [2, 2],
            bias: Some(vector(16, -1.0, 1.0).into()),
            ..conv_transpose(8, 16 / groups, [3, 3], [2, 2])
        };
        let what = format!("conv_transpose in {groups} groups, dilation 2");
        cases.push(Case::op(what, grouped, Shape::new(2, 8, 3, 7)));
    }
    for (ins, out, groups) in [(16, 16, 4), (16, 32, 2), (6, 9, 3), (17, 17, 17)] {
        let bias = Some(vector(out, -1.0, 1.0).into());
        let grouped = ConvTranspose { groups, bias, ..conv_transpose(ins, out / groups, [2, 2], [2, 2]) };
        let what = format!("conv_transpose {ins} to {out} in {groups} groups");
        cases.push(Case::op(what, grouped, Shape::new(2, ins, 3, 7)));
    }
    cases
}

#[test]
fn transposed_convolutions_refuse_what_a_kernel_cannot_hold() {
    let huge = (1 << 32) + 3;
    type Edit = fn(&mut ConvTranspose, usize);
    let edits: [(&str, Edit); 4] = [
        ("conv_transpose stride", |c, huge| c.stride = [1, huge]),
        ("conv_transpose dilation", |c, huge| c.dilation = [huge, 1]),
        ("conv_transpose padding", |c, huge| c.padding = [huge, 0, 0, 0]),
        ("conv_transpose output padding", |c, huge| c.output_padding = [0, huge]),
    ];
    for (what, edit) in edits {
        let mut layer = conv_transpose(1, 1, [3, 3], [1, 1]);
        edit(&mut layer, huge);
        let error = layer.infer(&[Shape::new(1, 1, 4, 4)]).unwrap_err().to_string();
        assert!(error.starts_with(what), "{error}");
    }
}

// ---- cases: results of others ----

fn by_pytorch() -> Vec<Case> {
    // Input, output channels, kernel, and special settings.
    type Layer = (&'static str, [usize; 4], usize, [usize; 2], fn(&mut Conv));
    let layers: [Layer; 24] = [
        ("1x1", [2, 5, 4, 3], 7, [1, 1], |_| {}),
        ("1x1 stride 2", [1, 4, 7, 6], 4, [1, 1], |c| c.stride = [2, 2]),
        ("3x3 same", [1, 3, 9, 7], 6, [3, 3], |c| c.padding = [1; 4]),
        ("3x3 valid, no bias", [1, 3, 9, 7], 5, [3, 3], |c| c.bias = None),
        ("3x3 stride 2", [1, 4, 9, 8], 5, [3, 3], |c| (c.stride, c.padding) = ([2, 2], [1; 4])),
        ("3x3 of one pixel", [2, 3, 1, 1], 4, [3, 3], |c| c.padding = [1; 4]),
        ("7x7 stride 2", [1, 3, 15, 13], 4, [7, 7], |c| (c.stride, c.padding) = ([2, 2], [3; 4])),
        ("asymmetric padding", [1, 3, 6, 7], 4, [3, 3], |c| c.padding = [0, 2, 1, 3]),
        ("asymmetric padding, stride 2", [1, 3, 8, 8], 4, [3, 3], |c| {
            (c.stride, c.padding) = ([2, 2], [0, 0, 1, 1]);
        }),
        ("2x4 stride 1x3", [1, 3, 7, 11], 4, [2, 4], |c| (c.stride, c.padding) = ([1, 3], [1, 0, 0, 2])),
        ("dilation 2", [1, 3, 9, 9], 4, [3, 3], |c| (c.padding, c.dilation) = ([2; 4], [2, 2])),
        ("dilation 1x3, stride 2", [1, 3, 9, 11], 4, [3, 3], |c| {
            (c.stride, c.padding, c.dilation) = ([2, 1], [1, 3, 1, 3], [1, 3]);
        }),
        ("groups, aligned", [1, 16, 5, 6], 16, [3, 3], |c| (c.padding, c.groups) = ([1; 4], 4)),
        ("groups, misaligned", [2, 6, 5, 6], 9, [3, 3], |c| (c.padding, c.groups) = ([1; 4], 3)),
        ("depthwise", [1, 17, 6, 5], 17, [3, 3], |c| (c.padding, c.groups) = ([1; 4], 17)),
        ("depthwise, stride 2", [1, 5, 6, 5], 5, [3, 3], |c| {
            (c.stride, c.padding, c.groups) = ([2, 2], [1; 4], 5);
        }),
        ("depthwise, two outs an in", [1, 3, 6, 5], 6, [3, 3], |c| (c.padding, c.groups) = ([1; 4], 3)),
        ("relu", [1, 3, 5, 5], 4, [3, 3], |c| (c.padding, c.activation) = ([1; 4], Activation::Relu)),
        ("leaky relu", [1, 3, 5, 5], 4, [3, 3], |c| {
            (c.padding, c.activation) = ([1; 4], Activation::LeakyRelu(0.1));
        }),
        ("sigmoid", [1, 3, 5, 5], 4, [3, 3], |c| (c.padding, c.activation) = ([1; 4], Activation::Sigmoid)),
        ("silu", [1, 3, 5, 5], 6, [3, 3], |c| (c.padding, c.activation) = ([1; 4], Activation::Silu)),
        ("gelu", [1, 3, 5, 5], 6, [3, 3], |c| (c.padding, c.activation) = ([1; 4], Activation::Gelu)),
        ("hard swish", [1, 3, 5, 5], 6, [3, 3], |c| {
            (c.padding, c.activation) = ([1; 4], Activation::HardSwish);
        }),
        ("tanh", [1, 3, 5, 5], 6, [3, 3], |c| (c.padding, c.activation) = ([1; 4], Activation::Tanh)),
    ];
    let mut cases = Vec::new();
    for (what, [n, c, h, w], out, kernel, edit) in layers {
        let mut layer = conv(out, c, kernel);
        edit(&mut layer);
        layer.weight = conv(out, c / layer.groups, kernel).weight;
        cases.push(Case::op(format!("conv {what}, by PyTorch"), layer, Shape::new(n, c, h, w)).pytorch());
    }
    type Transposed = (&'static str, [usize; 4], usize, [usize; 2], [usize; 2], fn(&mut ConvTranspose));
    let layers: [Transposed; 15] = [
        ("2x2 stride 2", [2, 5, 3, 4], 6, [2, 2], [2, 2], |_| {}),
        ("2x2 stride 2, no bias", [1, 3, 3, 4], 4, [2, 2], [2, 2], |c| c.bias = None),
        ("3x3 stride 2", [1, 3, 4, 5], 4, [3, 3], [2, 2], |c| c.padding = [1; 4]),
        ("3x3 stride 2, doubling", [1, 3, 4, 5], 4, [3, 3], [2, 2], |c| {
            (c.padding, c.output_padding) = ([1; 4], [1, 1]);
        }),
        ("3x3 stride 2, doubling rows", [1, 3, 4, 5], 4, [3, 3], [2, 2], |c| {
            (c.padding, c.output_padding) = ([1; 4], [1, 0]);
        }),
        ("4x4 stride 2", [1, 3, 4, 5], 4, [4, 4], [2, 2], |c| c.padding = [1; 4]),
        ("3x3 stride 1", [1, 3, 4, 5], 4, [3, 3], [1, 1], |c| c.padding = [1; 4]),
        ("2x3 stride 2x3", [1, 3, 4, 3], 4, [2, 3], [2, 3], |_| {}),
        ("3x3 stride 2 asymmetric", [1, 3, 4, 5], 4, [3, 3], [2, 2], |c| c.padding = [0, 1, 1, 0]),
        ("dilation 2", [1, 3, 4, 5], 4, [3, 3], [1, 1], |c| (c.padding, c.dilation) = ([1; 4], [2, 2])),
        ("stride 2, dilation 2", [2, 3, 4, 5], 4, [3, 3], [2, 2], |c| {
            (c.padding, c.output_padding, c.dilation) = ([2; 4], [1, 1], [2, 2]);
        }),
        ("stride 3x2, dilation 2x3", [1, 5, 4, 5], 7, [2, 3], [3, 2], |c| {
            (c.output_padding, c.dilation) = ([2, 2], [2, 3]);
        }),
        ("groups, aligned", [1, 16, 3, 3], 16, [2, 2], [2, 2], |c| c.groups = 4),
        ("groups, misaligned", [1, 6, 3, 3], 9, [3, 3], [2, 2], |c| {
            (c.padding, c.output_padding, c.groups) = ([1; 4], [1, 1], 3);
        }),
        ("relu", [1, 3, 3, 3], 4, [2, 2], [2, 2], |c| c.activation = Activation::Relu),
    ];
    for (what, [n, c, h, w], out, kernel, stride, edit) in layers {
        let mut layer = conv_transpose(c, out, kernel, stride);
        edit(&mut layer);
        layer.weight = conv_transpose(c, out / layer.groups, kernel, stride).weight;
        let what = format!("conv_transpose {what}, by PyTorch");
        cases.push(Case::op(what, layer, Shape::new(n, c, h, w)).pytorch());
    }
    cases
}

fn by_hand() -> Vec<Case> {
    let mut cases = conv_by_hand();
    cases.extend([conv_transpose_by_hand(), strided_conv_by_hand()]);
    cases
}

/// `Conv2d(2, 3, 3)`: two input channels, three output channels, each with its own 2x3x3 weights.
///
/// The first output channel at row 1, column 1 sees the top left 3x3 pixels of both input channels:
///
/// ```text
/// channel 0   1 2 3     1 0 0
///             4 5 6  ·  0 1 0   =  1·1 + 5·1 + 9·1                         = 15
///             7 8 9     0 0 1
/// channel 1   2 1 0     0 1 0
///             2 3 1  ·  1 2 1   =  1·1 + 2·1 + 3·2 + 1·1 + 2·1 + 4·2       = 20
///             1 2 4     0 1 2
///                                                              15 + 20     = 35, then + bias
/// ```
///
/// The second only copies the centre of channel 0, 5; the third sums the window of channel 1, 16.
fn conv_by_hand() -> Vec<Case> {
    let input = [
        [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]],
        [[2, 1, 0, 0], [2, 3, 1, 0], [1, 2, 4, 0], [0, 0, 0, 0]],
    ];
    let weight = [
        [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 2, 1], [0, 1, 2]]],
        [[[0, 0, 0], [0, 1, 0], [0, 0, 0]], [[0; 3]; 3]],
        [[[0; 3]; 3], [[1; 3]; 3]],
    ];
    let shape = Shape::new(1, 2, 4, 4);
    let input = integers(shape, input.as_flattened().as_flattened());
    let weight = integers(Shape::new(3, 2, 3, 3), weight.as_flattened().as_flattened().as_flattened());
    // All of the first channel, each value by the same sum; zeros surround the picture.
    let want = [
        [[19, 17, 5, 0], [26, 35, 17, 4], [13, 24, 25, 10], [1, 9, 12, 9]],
        [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]],
        [[8, 9, 5, 1], [11, 16, 11, 5], [8, 13, 10, 5], [3, 7, 6, 4]],
    ];
    let of = |bias: [f32; 3]| {
        let op = Conv::new(weight.clone().into(), Some(bias.into())).same();
        let mut want = integers(Shape::new(1, 3, 4, 4), want.as_flattened().as_flattened());
        want.data_mut().chunks_mut(16).zip(bias).for_each(|(y, b)| y.iter_mut().for_each(|y| *y += b));
        assert_eq!(want.plane(0, 0)[4 + 1], 35.0 + bias[0]);
        // Not exact: Winograd's kernels divide by 24.
        Case::op(format!("conv by hand, bias {bias:?}"), op, shape).on(input.clone()).gives(want)
    };
    [[0.0; 3], [0.5, -1.0, 2.0]].map(of).into()
}

/// Each input pixel stamps the kernel, scaled by its value, into its own 2x2 square of the output:
///
/// ```text
/// 1 2   by   1   10    stride 2 gives     1   10 |   2   20
/// 3 4      100 1000                     100 1000 | 200 2000
///                                       ---------+---------
///                                         3   30 |   4   40
///                                       300 3000 | 400 4000
/// ```
fn conv_transpose_by_hand() -> Case {
    let shape = Shape::new(1, 1, 2, 2);
    let weight = integers(shape, &[1, 10, 100, 1000]);
    let want = [[1, 10, 2, 20], [100, 1000, 200, 2000], [3, 30, 4, 40], [300, 3000, 400, 4000]];
    Case::op("conv_transpose by hand", ConvTranspose::new(weight.into(), None, 2), shape)
        .on(integers(shape, &[1, 2, 3, 4]))
        .gives(integers(Shape::new(1, 1, 4, 4), want.as_flattened()))
        .exact()
}

/// A 3x3 kernel of ones with stride 2 and padding 1 sums every other window; `.` is padding:
///
/// ```text
/// . .  .  .  .
/// . 1  2  3  4     rows -1..=1: 1+2+5+6 = 14          2+3+4+6+7+8 = 30
/// . 5  6  7  8
/// . 9 10 11 12     rows  1..=3: 5+6+9+10+13+14 = 57   6+7+8+10+11+12+14+15+16 = 99
/// . 13 14 15 16
/// ```
fn strided_conv_by_hand() -> Case {
    let shape = Shape::new(1, 1, 4, 4);
    let weight = integers(Shape::new(1, 1, 3, 3), &[1; 9]);
    Case::op("strided conv by hand", Conv { stride: [2, 2], ..Conv::new(weight.into(), None).same() }, shape)
        .on(Tensor::from_fn(shape, |i| i as f32 + 1.0))
        .gives(integers(Shape::new(1, 1, 2, 2), &[14, 30, 57, 99]))
        .exact()
}

// ---- cases: kernels alone ----

fn kernels() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |what: String, channels: usize, ops: Vec<Op>| {
        cases.push(Case::new(what, chain(channels, ops), Shape::new(1, channels, 33, 18)).kernels());
    };
    let weight = |o, i, k| Arc::new(Tensor::random(Shape::new(o, i, k, k), 1));
    for kernel in [1, 3, 5, 7] {
        for (stride, dilation) in [(1, 1), (2, 1), (1, 2)] {
            for outs in [3, 32, 64] {
                let conv = Conv {
                    stride: [stride; 2],
                    dilation: [dilation; 2],
                    ..Conv::new(weight(outs, 8, kernel), None)
                };
                let what = format!("kernels of conv {kernel}x{kernel}, {stride}, {dilation}, to {outs}");
                for activation in
                    [Activation::None, Activation::Relu, Activation::LeakyRelu(0.1), Activation::Sigmoid]
                {
                    let conv = Conv { activation, ..conv.clone().same() };
                    let what = format!("{what}, {activation:?}");
                    add(format!("{what}, pooled"), 8, vec![conv.clone().into(), Pool::MAX_2X2.into()]);
                    add(what, 8, vec![conv.into()]);
                }
                add(format!("{what}, valid"), 8, vec![conv.into()]);
            }
        }
    }
    let deep = Conv::new(weight(64, 256, 3), None).same();
    add("kernels of a deep conv, pooled".into(), 256, vec![deep.clone().into(), Pool::MAX_2X2.into()]);
    add("kernels of a deep conv".into(), 256, vec![deep.into()]);
    for activation in [Activation::None, Activation::Sigmoid] {
        let head = Conv { activation, ..Conv::new(weight(3, 64, 1), None) };
        let body = Conv::new(weight(64, 8, 3), None).same();
        add(format!("kernels of a head, {activation:?}"), 8, vec![body.into(), head.into()]);
    }
    for (channels, groups, padded) in [(16, 4, false), (6, 3, false), (17, 17, true)] {
        let conv = Conv { groups, ..Conv::new(weight(channels, channels / groups, 3), None) };
        let conv = if padded { conv.same() } else { conv };
        add(format!("kernels of {groups} groups"), channels, vec![conv.into()]);
    }
    for (kernel, stride) in [(2, 2), (3, 2), (4, 2), (3, 1)] {
        let op = ConvTranspose::new(weight(8, 20, kernel), None, stride);
        add(format!("kernels of conv_transpose {kernel}, {stride}"), 8, vec![op.into()]);
    }
    // Wide enough for every product kernel.
    add("kernels of a wide conv".into(), 16, vec![Conv::new(weight(72, 16, 3), None).same().into()]);
    let wide = ConvTranspose::new(weight(32, 20, 2), None, 2);
    add("kernels of a wide conv_transpose".into(), 32, vec![wide.into()]);

    let mut graph = Graph::new(5);
    let twice = push(&mut graph, "twice", Concat::default(), &[Graph::INPUT, Graph::INPUT]);
    push(&mut graph, "conv", Conv::new(weight(40, 10, 3), None), &[twice]);
    cases.push(Case::new("kernels of two sources", graph, Shape::new(2, 5, 20, 9)).kernels());
    for (ins, outs, kernel, groups) in
        [(8, 32, 3, 1), (8, 64, 1, 1), (8, 16, 3, 1), (16, 16, 3, 4), (17, 17, 3, 17), (256, 64, 3, 1)]
    {
        for activation in [Activation::None, Activation::Relu] {
            let mut graph = Graph::new(ins);
            let conv = Conv { groups, ..Conv::new(weight(outs, ins / groups, kernel), None) }.same();
            let x = push(&mut graph, "conv", conv, &[Graph::INPUT]);
            let other = Constant(Tensor::zeros(Shape::new(1, outs, 33, 18)).into());
            let other = push(&mut graph, "constant", other, &[]);
            push(&mut graph, "sum", Binary { activation, ..Binary::ADD }, &[x, other]);
            let what = format!("kernels of a sum, {ins} to {outs}, {groups} groups, {activation:?}");
            cases.push(Case::new(what, graph, Shape::new(1, ins, 33, 18)).kernels());
        }
    }
    cases
}
