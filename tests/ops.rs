//! Operators one at a time. Every check runs on all backends.
//!
//! On a GPU each distinct kernel (size, stride, dilation, activation, ...) costs a shader compilation, while picture
//! sizes and channel counts are parameters: so a few kernels meet many shapes, all others a few shapes, and the
//! vectors use the same kernels where they can (about 90 in this file).

use crate::oracle;
use crate::support::{ACTIVATIONS, BINARY_KINDS, Tolerance, Vectors, check};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use unet_wgpu::graph::{
    Activation, ArgMax, Axis, BatchNorm, Binary, BinaryKind, Concat, Constant, Conv, ConvTranspose,
    Coordinates, Crop, DepthOrder, Graph, Interpolation, MatMul, Norm, NormOver, Op, Operator, PRelu, Pad,
    PadAmount, PadMode, Pointwise, Pool, PoolKind, Rearrange, Reduce, ReduceKind, Resize, ResizeTo, Rounding,
    Slice, Softmax, Source, Step, ValueId,
};
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::{Random, Shape, Tensor};

/// Every channel count and extent that has ever been an edge of some kernel's vec4s or tiles.
const SHAPES: [Shape; 10] = [
    Shape::new(1, 1, 1, 1),
    Shape::new(2, 3, 1, 33),
    Shape::new(1, 7, 2, 3),
    Shape::new(2, 16, 3, 2),
    Shape::new(1, 17, 7, 16),
    Shape::new(1, 64, 16, 7),
    Shape::new(2, 1, 33, 1),
    Shape::new(1, 3, 33, 33),
    Shape::new(2, 17, 3, 7),
    Shape::new(2, 64, 2, 2),
];

/// A few of them, all at least 3x3, with the output channels of a convolution.
const FEW: [(Shape, usize); 3] =
    [(Shape::new(1, 3, 7, 16), 16), (Shape::new(2, 17, 16, 7), 7), (Shape::new(1, 64, 3, 3), 64)];

/// A graph with one operator.
fn single(channels: usize, op: impl Into<Op>) -> Graph {
    let mut graph = Graph::new(channels);
    graph.push("op", op, &[Graph::INPUT]).expect("one node");
    graph
}

/// Compares all backends with the oracle on random data.
#[track_caller]
fn check_oracle(what: &str, graph: &Graph, shape: Shape, tolerance: Tolerance) {
    let input = Tensor::random(shape, shape.elements() as u64);
    check(what, graph, &input, &oracle::run(graph, &input), tolerance);
}

/// As [`check_oracle`], for one operator.
#[track_caller]
fn check_op(what: &str, op: impl Into<Op>, shape: Shape, tolerance: Tolerance) {
    check_oracle(what, &single(shape.c, op), shape, tolerance);
}

fn vector(len: usize, low: f32, high: f32) -> Vec<f32> {
    let mut random = Random::new(len as u64);
    (0..len).map(|_| random.uniform(low, high)).collect()
}

/// Random weights that keep the variance, and a bias.
fn conv(out: usize, ins: usize, [h, w]: [usize; 2]) -> Conv {
    Conv::new(weights(Shape::new(out, ins, h, w), ins * h * w), Some(vector(out, -1.0, 1.0).into()))
}

fn conv_transpose(ins: usize, out: usize, [h, w]: [usize; 2], stride: [usize; 2]) -> ConvTranspose {
    let fan_in = (ins * h * w).div_ceil(stride[0] * stride[1]);
    let weight = weights(Shape::new(ins, out, h, w), fan_in);
    ConvTranspose { stride, ..ConvTranspose::new(weight, Some(vector(out, -1.0, 1.0).into()), 1) }
}

fn weights(shape: Shape, fan_in: usize) -> Arc<Tensor> {
    let mut weight = Tensor::random(shape, 1 + shape.elements() as u64);
    weight.data_mut().iter_mut().for_each(|w| *w *= (3.0 / fan_in as f32).sqrt());
    weight.into()
}

/// Splits the input into parts with 1x1 convolutions that pick channels, exactly: all other products are zeros.
fn split(graph: &mut Graph, channels: &[usize]) -> Vec<ValueId> {
    let total = channels.iter().sum();
    let mut first = 0;
    let mut parts = Vec::new();
    for (part, &count) in channels.iter().enumerate() {
        let picks = |i: usize| f32::from(u8::from(i % total == first + i / total));
        let weight = Tensor::from_fn(Shape::new(count, total, 1, 1), picks);
        let pick = Conv::new(weight.into(), None);
        parts.push(graph.push(&format!("part{part}"), pick, &[Graph::INPUT]).expect("the input exists"));
        first += count;
    }
    parts
}

// ---- convolution ----

#[test]
fn conv_meets_many_shapes() {
    for (shape, out) in SHAPES.into_iter().zip([1, 3, 17, 16, 7, 64, 16, 64, 3, 17]) {
        check_op("conv 1x1", conv(out, shape.c, [1, 1]), shape, Tolerance::Operator);
        check_op("conv 3x3", conv(out, shape.c, [3, 3]).same(), shape, Tolerance::Operator);
    }
}

#[test]
fn conv_attributes() {
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
        // Windows that lie outside the picture altogether.
        ("3x3 wide padding", [3, 3], |c| c.padding = [4, 5, 4, 3]),
    ];
    for (what, kernel, edit) in cases {
        for (shape, out) in FEW {
            let mut conv = conv(out, shape.c, kernel);
            edit(&mut conv);
            check_op(&format!("conv {what}"), conv, shape, Tolerance::Operator);
        }
    }
}

#[test]
fn conv_groups() {
    // Channels in, channels out, groups: aligned to vec4s, not aligned, depthwise, depthwise with two outs an in.
    for (ins, out, groups) in
        [(16, 16, 4), (16, 32, 2), (6, 9, 3), (14, 4, 2), (17, 17, 17), (64, 64, 64), (3, 6, 3)]
    {
        let grouped = Conv { groups, ..conv(out, ins / groups, [3, 3]) };
        let what = format!("conv {ins} to {out} in {groups} groups");
        for [h, w] in [[7, 16], [3, 3]] {
            check_op(&what, grouped.clone().same(), Shape::new(2, ins, h, w), Tolerance::Operator);
        }
        let strided = Conv { stride: [2, 2], padding: [0, 1, 2, 1], activation: Activation::Relu, ..grouped };
        check_op(&format!("{what}, stride 2"), strided, Shape::new(1, ins, 7, 8), Tolerance::Operator);
    }
    let dilated = Conv { groups: 17, dilation: [2, 2], ..conv(17, 1, [5, 5]) };
    check_op("conv depthwise 5x5 dilation 2", dilated.same(), Shape::new(1, 17, 16, 7), Tolerance::Operator);
}

#[test]
fn conv_reads_two_sources() {
    for (a, b, out, h, w) in
        [(3, 7, 16, 7, 16), (16, 17, 7, 16, 7), (1, 2, 3, 1, 1), (8, 4, 64, 33, 16), (7, 1, 1, 3, 33)]
    {
        let joined = conv(out, a + b, [3, 3]).same();
        let shape = Shape::new(2, a + b, h, w);
        let mut graph = Graph::new(a + b);
        // Not in the input's own order, so that the parts cannot be confused.
        let [a, b] = split(&mut graph, &[a, b])[..] else { unreachable!("two parts") };
        let joint = graph.push("joint", Concat::default(), &[b, a]).unwrap();
        graph.push("conv", joined.clone(), &[joint]).unwrap();
        check_oracle("conv after concat", &graph, shape, Tolerance::Operator);

        graph.push("direct", joined, &[b, a]).unwrap();
        check_oracle("conv with two inputs", &graph, shape, Tolerance::Operator);
    }
}

/// Such layers read a concatenation that is made: no kernel would compute them from their parts.
#[test]
fn conv_refuses_three_sources_and_two_with_groups() {
    for (counts, groups) in [(&[4, 4, 4][..], 1), (&[8, 8], 2), (&[8, 8], 16)] {
        let total = counts.iter().sum();
        let mut graph = Graph::new(total);
        let parts = split(&mut graph, counts);
        let layer = Conv { groups, ..conv(16, total / groups, [3, 3]).same() };
        graph.push("conv", layer.clone(), &parts).unwrap();
        let shape = Shape::new(1, total, 5, 5);
        let error = graph.output_shape(shape).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("conv: inputs: expected one tensor, or two and one group, got {}", counts.len())
        );

        let mut graph = Graph::new(total);
        let parts = split(&mut graph, counts);
        let joint = graph.push("joint", Concat::default(), &parts).unwrap();
        graph.push("conv", layer, &[joint]).unwrap();
        check_oracle("conv after a concat that stays", &graph, shape, Tolerance::Operator);
    }
}

#[test]
fn conv_and_its_pool() {
    for (shape, out) in [
        (Shape::new(1, 3, 7, 16), 16),
        (Shape::new(2, 17, 16, 7), 7),
        (Shape::new(1, 16, 33, 33), 64),
        (Shape::new(2, 1, 2, 3), 1),
        (Shape::new(1, 64, 3, 33), 3),
    ] {
        let layer = Conv { activation: Activation::Relu, ..conv(out, shape.c, [3, 3]).same() };
        let mut graph = Graph::new(shape.c);
        let full = graph.push("conv", layer, &[Graph::INPUT]).unwrap();
        let pooled = graph.push("pool", Pool::MAX_2X2, &[full]).unwrap();
        check_oracle("conv and its pool", &graph, shape, Tolerance::Operator);

        // Both results are read: the picture, cut where the pool's last row or column was odd, and the pooled one.
        let nearest = Resize::nearest(ResizeTo::Scale([2.0, 2.0]));
        let grown = graph.push("grown", nearest, &[pooled]).unwrap();
        let cut = graph.push("cut", Crop, &[full, grown]).unwrap();
        graph.push("both", Concat::default(), &[cut, grown]).unwrap();
        check_oracle("conv, its pool and both", &graph, shape, Tolerance::Operator);
    }
    let depthwise = Conv { groups: 17, activation: Activation::Relu, ..conv(17, 1, [3, 3]).same() };
    let mut graph = single(17, depthwise);
    graph.push("pool", Pool::MAX_2X2, &[graph.output()]).unwrap();
    check_oracle("depthwise conv and its pool", &graph, Shape::new(2, 17, 7, 5), Tolerance::Operator);
}

/// Where the numbers are that a function is made for, and where its value is worth comparing.
fn domain(activation: Activation) -> (f32, f32) {
    match activation {
        Activation::Log | Activation::Reciprocal | Activation::Pow(_) => (0.1, 3.0),
        Activation::Sqrt => (0.0, 3.0),
        _ => (-6.0, 6.0),
    }
}

#[test]
fn activations_on_their_own() {
    for activation in ACTIVATIONS {
        let (low, high) = domain(activation);
        for shape in [Shape::new(2, 3, 1, 33), Shape::new(1, 16, 3, 2)] {
            let mut input = Tensor::new(shape, vector(shape.elements(), low, high)).unwrap();
            if let Activation::Floor | Activation::Ceil | Activation::Round | Activation::Sign = activation {
                // In f16 as in f32, on both sides of every step and on it.
                input.data_mut().iter_mut().for_each(|v| *v = (*v * 4.0).round() / 4.0);
            }
            let graph = single(shape.c, activation);
            let want = oracle::run(&graph, &input);
            check(&format!("{activation:?}"), &graph, &input, &want, Tolerance::Operator);
        }
    }
}

/// Far from 0 nothing overflows on the way; and a number that is none stays so.
#[test]
fn activations_far_out() {
    let far = [-1e4, -300.0, -89.0, -20.0, -0.0, 20.0, 89.0, 300.0, 1e4];
    let input = Tensor::new(Shape::new(1, 1, 1, far.len()), far.to_vec()).unwrap();
    for activation in ACTIVATIONS {
        if domain(activation).0 >= 0.0 || matches!(activation, Activation::Exp) {
            continue;
        }
        let graph = single(1, activation);
        let want = oracle::run(&graph, &input);
        for backend in crate::support::backends() {
            let got = backend.run(&graph, &input);
            for ((&x, &got), &want) in far.iter().zip(got.data()).zip(want.data()) {
                let near = (got - want).abs() <= 1e-2 * want.abs().max(1e-2);
                // What f16 cannot hold.
                assert!(near || want.abs() > 6e4, "{activation:?} of {x} on {backend}: {got}, want {want}");
            }
        }
    }
}

/// A fault in a network shows as NaN to the end; no function may hide it.
#[test]
fn activations_keep_nan() {
    let shape = Shape::new(1, 4, 1, 2);
    for activation in ACTIVATIONS {
        let mut graph = Graph::new(4);
        let nan = Tensor::from_fn(shape, |i| if i % 3 == 0 { f32::NAN } else { 0.5 });
        let nan = graph.push("nan", Constant(nan.into()), &[]).unwrap();
        graph.push("sum", Binary::ADD, &[Graph::INPUT, nan]).unwrap();
        graph.push("activation", activation, &[graph.output()]).unwrap();
        for backend in crate::support::backends() {
            let y = backend.run(&graph, &Tensor::zeros(shape));
            for (i, v) in y.data().iter().enumerate() {
                assert_eq!(v.is_nan(), i % 3 == 0, "{activation:?} on {backend}: {v} at {i}");
            }
        }
    }
}

#[test]
fn fused_activations() {
    for activation in ACTIVATIONS {
        let what = |layer: &str| format!("{layer} with {activation:?}");
        let shape = Shape::new(2, 7, 7, 3);
        // Powers, roots and logarithms of negative sums are no numbers to compare.
        if domain(activation).0 < 0.0 {
            let layer = Conv { activation, ..conv(17, 7, [3, 3]).same() };
            check_op(&what("conv"), layer, shape, Tolerance::Operator);
            let mut graph = single(7, batch_norm(7));
            graph.push("activation", activation, &[graph.output()]).unwrap();
            check_oracle(&what("batch_norm"), &graph, shape, Tolerance::Operator);
        }
    }
    for activation in [Activation::Relu, Activation::LeakyRelu(0.1), Activation::Sigmoid, Activation::Silu] {
        let what = |layer: &str| format!("{layer} with {activation:?}");
        let layer = ConvTranspose { activation, ..conv_transpose(7, 17, [2, 2], [2, 2]) };
        check_op(&what("conv_transpose"), layer, Shape::new(2, 7, 7, 3), Tolerance::Operator);
        let mut graph = Graph::new(8);
        let parts = split(&mut graph, &[4, 4]);
        graph.push("add", Binary { activation, ..Binary::ADD }, &parts).unwrap();
        check_oracle(&what("add"), &graph, Shape::new(2, 8, 7, 3), Tolerance::Operator);
        let norm = Norm { activation, ..Norm::new(NormOver::Groups(1), 1e-5) };
        check_op(&what("group_norm"), norm, Shape::new(2, 7, 7, 3), Tolerance::Operator);
    }
}

/// Lanes past the last channel must not become infinite or worse where a later convolution meets them with zeros.
#[test]
fn nothing_leaks_out_of_the_lanes_past_the_last_channel() {
    let shape = Shape::new(1, 5, 3, 4);
    let positive = |graph: &mut Graph| {
        let square = graph.push("square", Activation::Square, &[Graph::INPUT]).unwrap();
        let one = Tensor::from_fn(Shape::new(1, 1, 1, 1), |_| 0.5);
        let one = graph.push("half", Constant(one.into()), &[]).unwrap();
        graph.push("positive", Binary::ADD, &[square, one]).unwrap()
    };
    // Minus one half past the last channel, and a root of it in the kernel of the sum.
    let mut graph = Graph::new(5);
    let sigmoid = graph.push("sigmoid", Activation::Sigmoid, &[Graph::INPUT]).unwrap();
    let minus = graph.push("minus", Activation::Neg, &[sigmoid]).unwrap();
    let ones = Tensor::from_fn(Shape::new(1, 5, 3, 4), |_| 1.5);
    let ones = graph.push("ones", Constant(ones.into()), &[]).unwrap();
    let sum = graph.push("sum", Binary::ADD, &[minus, ones]).unwrap();
    let root = graph.push("root", Activation::Sqrt, &[sum]).unwrap();
    graph.push("after", conv(3, 5, [1, 1]), &[root]).unwrap();
    check_oracle("a root behind a sum", &graph, shape, Tolerance::Operator);

    let mut wild: Vec<Op> = ACTIVATIONS.map(Op::Activation).to_vec();
    wild.extend(BINARY_KINDS.map(|kind| Binary::new(kind).into()));
    wild.push(Norm::new(NormOver::Groups(1), 1e-5).into());
    wild.push(Norm::new(NormOver::Channels, 1e-5).into());
    for op in wild {
        let mut graph = Graph::new(5);
        // The same through a convolution before, into whose kernel the function may move.
        let before = graph.push("before", conv(5, 5, [1, 1]), &[Graph::INPUT]).unwrap();
        let square = positive(&mut graph);
        for (i, x) in [before, square].into_iter().enumerate() {
            // Steps, and what has no value or too steep a one around 0, would not compare.
            let steps = matches!(&op, Op::Activation(a) if a.of(0.3) == a.of(0.2));
            let steep = matches!(&op, Op::Activation(a) if domain(*a).0 >= 0.0);
            if steps || steep && i == 0 {
                continue;
            }
            let inputs = if let Op::Binary(_) = op { vec![square, square] } else { vec![x] };
            let name = op.rules().name();
            let made = graph.push(&format!("{name} {i}"), op.clone(), &inputs).unwrap();
            graph.push(&format!("after {i}"), conv(3, 5, [1, 1]), &[made]).unwrap();
            let what = format!("{name} between convolutions, {i}");
            check_oracle(&what, &graph, shape, Tolerance::Operator);
        }
    }
}

#[test]
fn fused_heads() {
    for (ins, out, heads, activation) in
        [(7, 17, 1, Activation::None), (16, 64, 3, Activation::Sigmoid), (8, 80, 4, Activation::None)]
    {
        let mut graph = Graph::new(ins);
        let body = Conv { activation: Activation::Relu, ..conv(out, ins, [3, 3]).same() };
        let body = graph.push("body", body, &[Graph::INPUT]).unwrap();
        graph.push("head", Conv { activation, ..conv(heads, out, [1, 1]) }, &[body]).unwrap();
        for shape in [Shape::new(2, ins, 9, 21), Shape::new(1, ins, 1, 3)] {
            check_oracle(&format!("{ins} to {out}, head of {heads}"), &graph, shape, Tolerance::Operator);
        }
    }
}

/// The end of a residual block, in every kernel for convolutions.
#[test]
fn fused_sums() {
    // Channels in and out, kernel, stride, groups; the last is deep and its map small, so that its sum is split.
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
        let body = graph.push("body", layer(groups, kernel), &[Graph::INPUT]).unwrap();
        // Made after the convolution that adds it.
        let other = graph.push("shortcut", layer(1, 1), &[Graph::INPUT]).unwrap();
        let other = graph.push("tanh", Activation::Tanh, &[other]).unwrap();
        graph.push("sum", Binary::ADD, &[body, other]).unwrap();
        graph.push("relu", Activation::Relu, &[graph.output()]).unwrap();
        for shape in [Shape::new(2, ins, 7, 11), Shape::new(1, ins, 3, 4)] {
            assert_eq!(optimized_names(&graph, shape), ["conv", "conv"]);
            let what = format!("{kernel}x{kernel} in {groups} groups, and a sum");
            check_oracle(&what, &graph, shape, Tolerance::Operator);
        }
    }
    // Over two sources, and the one added is one of them.
    let mut graph = Graph::new(12);
    let parts = split(&mut graph, &[5, 7]);
    let joined = graph.push("joined", Concat::default(), &parts).unwrap();
    let body = graph.push("body", conv(7, 12, [3, 3]).same(), &[joined]).unwrap();
    graph.push("sum", Binary::ADD, &[parts[1], body]).unwrap();
    // As exporters leave a division by 1.
    let one =
        BatchNorm { scale: vec![1.0; 7].into(), shift: vec![0.0; 7].into(), activation: Activation::None };
    graph.push("one", one, &[graph.output()]).unwrap();
    let shape = Shape::new(1, 12, 6, 10);
    assert_eq!(optimized_names(&graph, shape), ["conv"; 3]);
    check_oracle("two sources plus one of them", &graph, shape, Tolerance::Operator);
}

#[test]
fn sums_that_stay() {
    let shape = Shape::new(1, 5, 4, 6);
    let build = |add: &dyn Fn(&mut Graph, ValueId)| {
        let mut graph = Graph::new(5);
        let body = graph.push("body", conv(5, 5, [3, 3]).same(), &[Graph::INPUT]).unwrap();
        add(&mut graph, body);
        check_oracle("a sum that stays", &graph, shape, Tolerance::Operator);
        optimized_names(&graph, shape)
    };
    let twice = build(&|graph, body| drop(graph.push("sum", Binary::ADD, &[body, body])));
    assert_eq!(twice, ["conv", "add"]);
    let spread = build(&|graph, body| {
        let other = graph.push("constant", constant(Shape::new(1, 5, 1, 1), -1.0, 1.0), &[]).unwrap();
        graph.push("sum", Binary::ADD, &[body, other]).unwrap();
    });
    assert_eq!(spread, ["conv", "add"]);
    let read_again = build(&|graph, body| {
        graph.push("sum", Binary::ADD, &[body, Graph::INPUT]).unwrap();
        graph.push("product", Binary::new(BinaryKind::Mul), &[graph.output(), body]).unwrap();
    });
    assert_eq!(read_again, ["conv", "pointwise"]);
    // A square might pass the largest number where no channel is.
    let wild = build(&|graph, body| {
        graph.push("sum", Binary::ADD, &[body, Graph::INPUT]).unwrap();
        graph.push("square", Activation::Square, &[graph.output()]).unwrap();
    });
    assert_eq!(wild, ["conv", "add"]);
}

// ---- transposed convolution ----

#[test]
fn conv_transpose_meets_many_shapes() {
    for (shape, out) in SHAPES.into_iter().zip([1, 3, 17, 16, 7, 64, 16, 64, 3, 17]) {
        let layer = conv_transpose(shape.c, out, [2, 2], [2, 2]);
        check_op("conv_transpose 2x2 stride 2", layer, shape, Tolerance::Operator);
    }
}

#[test]
fn conv_transpose_attributes() {
    type Edit = fn(&mut ConvTranspose);
    let cases: [(&str, [usize; 2], [usize; 2], Edit); 9] = [
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
    for (what, kernel, stride, edit) in cases {
        for (shape, out) in FEW {
            let mut layer = conv_transpose(shape.c, out, kernel, stride);
            edit(&mut layer);
            check_op(&format!("conv_transpose {what}"), layer, shape, Tolerance::Operator);
        }
    }
}

#[test]
fn conv_transpose_groups() {
    for (ins, out, groups) in [(16, 16, 4), (16, 32, 2), (6, 9, 3), (17, 17, 17)] {
        let bias = Some(vector(out, -1.0, 1.0).into());
        let grouped = ConvTranspose { groups, bias, ..conv_transpose(ins, out / groups, [2, 2], [2, 2]) };
        let what = format!("conv_transpose {ins} to {out} in {groups} groups");
        check_op(&what, grouped, Shape::new(2, ins, 3, 7), Tolerance::Operator);
    }
}

// ---- pools ----

fn pool(kind: PoolKind, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4], ceil: bool) -> Pool {
    Pool { kind, kernel, stride, padding, ceil, ..Pool::MAX_2X2 }
}

#[test]
fn pools() {
    for shape in SHAPES.into_iter().filter(|s| s.h >= 2 && s.w >= 2) {
        check_op("max_pool 2x2", Pool::MAX_2X2, shape, Tolerance::Exact);
    }
    for kind in [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding] {
        let tolerance = if kind == PoolKind::Max { Tolerance::Exact } else { Tolerance::Operator };
        for (kernel, stride, padding, ceil) in [
            ([3, 3], [2, 2], [1; 4], false),
            ([3, 3], [2, 2], [1; 4], true),
            ([3, 3], [2, 2], [0; 4], true),
            ([2, 2], [2, 2], [1; 4], true),
            ([3, 3], [1, 1], [1; 4], false),
            ([2, 3], [1, 2], [0, 1, 1, 0], false),
        ] {
            let op = pool(kind, kernel, stride, padding, ceil);
            for shape in [Shape::new(1, 3, 7, 16), Shape::new(2, 17, 16, 7), Shape::new(1, 64, 3, 3)] {
                check_op(&format!("{op:?}"), op, shape, tolerance);
            }
        }
    }
}

#[test]
fn a_maximum_below_zero_is_not_zero() {
    let padded = pool(PoolKind::Max, [3, 3], [2, 2], [1; 4], false);
    let input = Tensor::from_fn(Shape::new(1, 5, 4, 4), |i| -1.0 - i as f32);
    for (what, op) in [("max_pool 2x2", Pool::MAX_2X2), ("max_pool 3x3 padded", padded)] {
        let graph = single(5, op);
        check(what, &graph, &input, &oracle::run(&graph, &input), Tolerance::Exact);
    }
}

#[test]
fn dilated_pools() {
    for kind in [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding] {
        let tolerance = if kind == PoolKind::Max { Tolerance::Exact } else { Tolerance::Operator };
        for (kernel, stride, dilation, padding, ceil) in [
            ([3, 3], [1, 1], [2, 2], [2; 4], false),
            ([2, 3], [2, 2], [3, 1], [0, 1, 1, 0], false),
            ([2, 2], [2, 2], [2, 2], [1; 4], true),
        ] {
            let op = Pool { dilation, ..pool(kind, kernel, stride, padding, ceil) };
            for shape in [Shape::new(1, 3, 7, 16), Shape::new(2, 17, 16, 7)] {
                check_op(&format!("{op:?}"), op, shape, tolerance);
            }
        }
    }
}

#[test]
fn global_average_pools() {
    for shape in SHAPES {
        check_op("global_average_pool", Reduce::GLOBAL_AVERAGE, shape, Tolerance::Operator);
    }
}

// ---- pointwise ----

fn batch_norm(channels: usize) -> BatchNorm {
    let [gamma, beta, mean] = [1.0, 0.5, 0.25].map(|high| vector(channels, -high, high));
    BatchNorm::new(&gamma, &beta, &mean, &vector(channels, 0.5, 1.5), 1e-5).expect("equal lengths")
}

#[test]
fn pointwise_operators_meet_many_shapes() {
    for shape in SHAPES {
        check_op("batch_norm", batch_norm(shape.c), shape, Tolerance::Operator);
        check_op("softmax", Softmax::default(), shape, Tolerance::Operator);
        for activation in [Activation::Relu, Activation::Sigmoid] {
            check_op(&format!("{activation:?}"), activation, shape, Tolerance::Operator);
        }
        check_op("prelu", PRelu { slope: vector(shape.c, -0.5, 0.5).into() }, shape, Tolerance::Operator);
        check_op("argmax", ArgMax, shape, Tolerance::Exact);
        let mut graph = Graph::new(shape.c);
        let other = graph.push("relu", Activation::Relu, &[Graph::INPUT]).unwrap();
        graph.push("add", Binary::ADD, &[Graph::INPUT, other]).unwrap();
        check_oracle("add", &graph, shape, Tolerance::Operator);
    }
}

#[test]
fn argmax_takes_the_first_of_equal_ones() {
    let input =
        Tensor::from_fn(Shape::new(1, 7, 1, 3), |i| [-2.0, -1.0, -1.0, -3.0, -1.0, -2.0, -1.0][i / 3]);
    let want = Tensor::from_fn(Shape::new(1, 1, 1, 3), |_| 1.0);
    check("argmax", &single(7, ArgMax), &input, &want, Tolerance::Exact);
}

/// A constant of a shape, its elements in `low..high`.
fn constant(shape: Shape, low: f32, high: f32) -> Constant {
    Constant(Tensor::new(shape, vector(shape.elements(), low, high)).expect("as many").into())
}

#[test]
fn binaries_broadcast() {
    let [n, c, h, w] = [2, 7, 3, 5];
    for kind in BINARY_KINDS {
        // Bases of powers and divisors are kept away from 0.
        let (low, high) =
            if kind == BinaryKind::Pow || kind == BinaryKind::Div { (0.5, 2.0) } else { (-1.0, 1.0) };
        for extents in [
            [n, c, h, w],
            [1, c, 1, 1],
            [1, 1, h, w],
            [n, 1, h, 1],
            [1, c, 1, w],
            [n, c, 1, 1],
            [1, 1, 1, 1],
            [1, c, h, w],
        ] {
            let small = Shape::new(extents[0], extents[1], extents[2], extents[3]);
            let mut graph = Graph::new(c);
            let positive = constant(Shape::new(1, 1, 1, 1), 1.5, 1.6);
            let positive = graph.push("positive", positive, &[]).unwrap();
            let x = graph.push("raised", Binary::ADD, &[Graph::INPUT, positive]).unwrap();
            let other = graph.push("constant", constant(small, low, high), &[]).unwrap();
            graph.push("op", Binary::new(kind), &[x, other]).unwrap();
            check_oracle(
                &format!("{kind:?} with {small}"),
                &graph,
                Shape::new(n, c, h, w),
                Tolerance::Operator,
            );
            graph.push("swapped", Binary::new(kind), &[other, x]).unwrap();
            check_oracle(
                &format!("{kind:?} of {small}"),
                &graph,
                Shape::new(n, c, h, w),
                Tolerance::Operator,
            );
        }
    }
    // Each operand is spread along what the other has.
    let mut graph = Graph::new(1);
    let column = graph.push("column", constant(Shape::new(1, 6, 4, 1), -1.0, 1.0), &[]).unwrap();
    graph.push("outer", Binary::new(BinaryKind::Mul), &[Graph::INPUT, column]).unwrap();
    check_oracle("outer product", &graph, Shape::new(2, 1, 1, 3), Tolerance::Operator);
}

/// Chains of pointwise operators over operands of all extents: one kernel for as many as fit.
#[test]
fn pointwise_chains() {
    let mut fused = 0;
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let shape = random.pick(&[
            Shape::new(2, 7, 3, 5),
            Shape::new(1, 5, 1, 9),
            Shape::new(2, 8, 4, 3),
            Shape::new(1, 1, 6, 2),
        ]);
        let mut graph = Graph::new(shape.c);
        let mut whole = vec![Graph::INPUT];
        for i in 0..3 + random.below(8) {
            let name = format!("op{i}");
            let any = random.pick(&whole);
            let a = random.pick(&[*whole.last().unwrap(), any]);
            let made = match random.below(5) {
                0 => {
                    let f = random.pick(&[
                        Activation::Sigmoid,
                        Activation::LeakyRelu(0.1),
                        Activation::LeakyRelu(0.3),
                        Activation::HARD_SIGMOID,
                        Activation::Clip { min: -0.5, max: f32::INFINITY },
                        Activation::Elu(0.7),
                        Activation::Gelu,
                    ]);
                    graph.push(&name, f, &[a])
                }
                1 => graph.push(&name, batch_norm(shape.c), &[a]),
                2 => graph.push(&name, PRelu { slope: vector(shape.c, -0.5, 0.5).into() }, &[a]),
                3 => {
                    let kind = random.pick(&[BinaryKind::Add, BinaryKind::Mul, BinaryKind::Max]);
                    let b = random.pick(&whole);
                    graph.push(&name, Binary::new(kind), &[a, b])
                }
                _ => {
                    let mut extent = |full: usize| if random.below(2) == 0 { 1 } else { full };
                    let small =
                        Shape::new(extent(shape.n), extent(shape.c), extent(shape.h), extent(shape.w));
                    let other = constant(small, 0.5, 2.0);
                    let other = graph.push(&format!("constant{i}"), other, &[]).unwrap();
                    let kind =
                        random.pick(&[BinaryKind::Mul, BinaryKind::Div, BinaryKind::Sub, BinaryKind::Min]);
                    let activation = random.pick(&[Activation::None, Activation::Tanh]);
                    graph.push(&name, Binary { kind, activation }, &[a, other])
                }
            };
            whole.push(made.unwrap());
        }
        let optimized = optimize(&graph, shape, &Optimizations::default()).unwrap();
        let merged = optimized.nodes().iter().filter(|node| matches!(node.op, Op::Pointwise(_))).count();
        fused += usize::from(merged > 0);
        check_oracle(&format!("chain {seed}"), &graph, shape, Tolerance::Operator);
        // Behind it the lanes past the last channel count.
        graph.push("after", conv(3, shape.c, [1, 1]), &[graph.output()]).unwrap();
        let input = Tensor::random(shape, seed);
        check(
            &format!("chain {seed}, convolved"),
            &graph,
            &input,
            &oracle::run(&graph, &input),
            Tolerance::Network,
        );
    }
    assert!(fused >= 20, "{fused} of 24 graphs have chains");
}

/// As many operands as a kernel takes, and one more.
#[test]
fn pointwise_chains_end_where_bindings_and_steps_do() {
    let shape = Shape::new(1, 5, 4, 3);
    for (operands, want) in [(5, &["pointwise"][..]), (6, &["pointwise", "add"]), (7, &["pointwise"; 2])] {
        let mut graph = single(5, batch_norm(5));
        for i in 0..operands {
            let other = graph.push(&format!("constant{i}"), constant(shape, -1.0, 1.0), &[]).unwrap();
            let sum = if i == 0 { graph.nodes()[0].outputs[0] } else { graph.nodes()[2 * i].outputs[0] };
            graph.push(&format!("sum{i}"), Binary::ADD, &[sum, other]).unwrap();
        }
        assert_eq!(optimized_names(&graph, shape), want);
        check_oracle(&format!("{operands} operands"), &graph, shape, Tolerance::Operator);
    }
    let mut graph = single(5, Activation::Tanh);
    for i in 0..20 {
        graph.push(&format!("tanh{i}"), Activation::Sin, &[graph.output()]).unwrap();
    }
    assert_eq!(optimized_names(&graph, shape), ["pointwise"; 2]);
    check_oracle("21 steps", &graph, shape, Tolerance::Operator);
}

/// Operators of the optimised graph, but for constants.
fn optimized_names(graph: &Graph, shape: Shape) -> Vec<&'static str> {
    let graph = optimize(graph, shape, &Optimizations::default()).expect("it optimises");
    let nodes = graph.nodes().iter().filter(|node| !matches!(node.op, Op::Constant(_)));
    nodes.map(|node| node.op.rules().name()).collect()
}

#[test]
fn pointwise_refuses_what_is_not_there() {
    let a = Source::Input(0);
    let f = Step::Activation { a, f: Activation::Relu };
    let affine = Step::Affine { a, scale: vec![1.0; 3].into(), shift: vec![0.0; 2].into() };
    let shape = Shape::new(1, 3, 2, 2);
    for (steps, inputs, want) in [
        (vec![], 1, "steps: expected 1 to 16, got 0"),
        (vec![f.clone(); 17], 1, "steps: expected 1 to 16, got 17"),
        (vec![f.clone()], 0, "inputs: expected 1 to 6, got 0"),
        (vec![f.clone()], 7, "inputs: expected 1 to 6, got 7"),
        (vec![affine], 1, "pointwise: expected 2 channels, got 3"),
        (
            vec![Step::Activation { a: Source::Step(0), f: Activation::Relu }],
            1,
            "pointwise: expected operands that exist, got Activation { a: Step(0), f: Relu }",
        ),
        (
            vec![Step::Binary { kind: BinaryKind::Add, a, b: Source::Input(1) }],
            1,
            "pointwise: expected operands that exist, got Binary { kind: Add, a: Input(0), b: Input(1) }",
        ),
    ] {
        assert_eq!(Pointwise { steps }.infer(&vec![shape; inputs]).unwrap_err().to_string(), want);
    }
}

#[test]
fn powers_of_negative_numbers() {
    let input = Tensor::new(Shape::new(1, 1, 1, 6), vec![-2.0, -1.5, -1.0, 0.0, 1.5, 3.0]).unwrap();
    for exponent in [3.0, 4.0, 0.0, 1.0] {
        let pow = Activation::Pow(exponent);
        let want = Tensor::from_fn(input.shape(), |i| input.data()[i].powf(exponent));
        check(&format!("{pow:?}"), &single(1, pow), &input, &want, Tolerance::Operator);
        assert_eq!(Activation::power(exponent).of(-1.5), (-1.5_f32).powf(exponent));
    }
    assert_eq!(Activation::power(2.0), Activation::Square);
    for backend in crate::support::backends() {
        let y = backend.run(&single(1, Activation::Pow(1.5)), &input);
        let nan: Vec<bool> = y.data().iter().map(|v| v.is_nan()).collect();
        assert_eq!(nan, [true, true, true, false, false, false], "{backend}");
    }
}

#[test]
fn a_constant_is_read_by_any_operator_and_may_be_the_result() {
    let shape = Shape::new(2, 6, 5, 4);
    let mut graph = Graph::new(6);
    let part = graph.push("constant", constant(Shape::new(2, 3, 5, 4), -1.0, 1.0), &[]).unwrap();
    let convolved = graph.push("conv", conv(6, 3, [3, 3]).same(), &[part]).unwrap();
    let pooled = graph.push("pool", Pool::MAX_2X2, &[part]).unwrap();
    graph.push("again", Resize::nearest(ResizeTo::Size([5, 4])), &[pooled]).unwrap();
    let joined = graph.push("joined", Concat::default(), &[graph.output(), part]).unwrap();
    graph.push("sum", Binary::ADD, &[joined, convolved]).unwrap();
    graph.push("with input", Binary::ADD, &[graph.output(), Graph::INPUT]).unwrap();
    check_oracle("constant read", &graph, shape, Tolerance::Operator);
    graph.push("two sources", conv(4, 9, [3, 3]).same(), &[Graph::INPUT, part]).unwrap();
    check_oracle("constant beside a source", &graph, shape, Tolerance::Operator);
    graph.set_output(part);
    check_oracle("constant as the result", &graph, shape, Tolerance::Exact);
}

// ---- statistics ----

fn norm(over: NormOver, channels: usize) -> Norm {
    let [scale, shift] = [0.5, -1.0].map(|low| Some(vector(channels, low, 1.5).into()));
    Norm { scale, shift, ..Norm::new(over, 1e-5) }
}

#[test]
fn norms() {
    for shape in SHAPES {
        // One element has no deviation: what is left is rounding.
        if shape.pixels() > 1 {
            check_op("instance norm", norm(NormOver::Groups(shape.c), shape.c), shape, Tolerance::Operator);
            check_op("group norm, 1", Norm::new(NormOver::Groups(1), 1e-5), shape, Tolerance::Operator);
        }
        if shape.c > 1 {
            check_op("layer norm", norm(NormOver::Channels, shape.c), shape, Tolerance::Operator);
        }
    }
    for (groups, shape) in [
        (3, Shape::new(2, 6, 7, 5)),
        (32, Shape::new(1, 64, 9, 4)),
        (2, Shape::new(1, 10, 3, 3)),
        (8, Shape::new(1, 160, 33, 20)),
        // Several chunks, the last one short.
        (2, Shape::new(1, 4, 130, 129)),
        (1, Shape::new(2, 3, 100, 93)),
    ] {
        check_op(
            &format!("group norm, {groups}"),
            norm(NormOver::Groups(groups), shape.c),
            shape,
            Tolerance::Operator,
        );
    }
    for (channels, extents) in [(160, [5, 7]), (129, [1, 3])] {
        let shape = Shape::new(2, channels, extents[0], extents[1]);
        check_op("layer norm", norm(NormOver::Channels, channels), shape, Tolerance::Operator);
    }
}

/// Sums of squares less the square of the sum would have no digit left.
#[test]
fn a_norm_far_from_zero_keeps_its_digits() {
    let shape = Shape::new(1, 6, 40, 50);
    let input = Tensor::new(shape, vector(shape.elements(), 200.0, 202.0)).unwrap();
    for over in [NormOver::Groups(6), NormOver::Groups(2), NormOver::Channels] {
        let graph = single(6, Norm::new(over, 1e-5));
        let want = oracle::run(&graph, &input);
        for backend in crate::support::backends().into_iter().filter(|b| !b.is_half()) {
            let got = backend.run(&graph, &input);
            let far = got.data().iter().zip(want.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // 200 has 1.5e-5 between neighbours, and a deviation of about 0.6.
            assert!(far < 2e-4, "{over:?} on {backend}: {far}");
        }
    }
}

const REDUCE_KINDS: [ReduceKind; 5] =
    [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min, ReduceKind::L2];

#[test]
fn reductions() {
    for kind in REDUCE_KINDS {
        for bits in 1..8 {
            let axes = [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0];
            for shape in [Shape::new(2, 7, 5, 6), Shape::new(1, 16, 3, 33)] {
                check_op(&format!("{kind:?} {axes:?}"), Reduce { kind, axes }, shape, Tolerance::Operator);
            }
        }
        // Several steps.
        for axes in [[false, true, true], [true; 3]] {
            let shape = Shape::new(1, 5, 150, 131);
            check_op(&format!("{kind:?} {axes:?}"), Reduce { kind, axes }, shape, Tolerance::Operator);
        }
    }
}

#[test]
fn softmaxes() {
    for axis in [Axis::C, Axis::H, Axis::W] {
        for shape in SHAPES {
            check_op(&format!("softmax over {axis}"), Softmax { axis }, shape, Tolerance::Operator);
        }
    }
}

#[test]
fn matmuls() {
    for (a, b) in [
        (Shape::new(2, 7, 5, 6), Shape::new(2, 7, 6, 9)),
        (Shape::new(2, 8, 4, 3), Shape::new(1, 8, 3, 4)),
        (Shape::new(1, 1, 17, 33), Shape::new(1, 1, 33, 7)),
        (Shape::new(2, 5, 3, 4), Shape::new(1, 1, 4, 2)),
        (Shape::new(2, 1, 3, 4), Shape::new(1, 6, 4, 5)),
        (Shape::new(1, 3, 1, 64), Shape::new(1, 3, 64, 1)),
    ] {
        let mut graph = Graph::new(a.c);
        let other = graph.push("constant", constant(b, -1.0, 1.0), &[]).unwrap();
        graph.push("op", MatMul, &[Graph::INPUT, other]).unwrap();
        check_oracle(&format!("matmul with {b}"), &graph, a, Tolerance::Operator);
    }
}

#[test]
fn batch_norm_moves_into_every_convolution_before_it() {
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
    for (what, layer, channels) in layers {
        let mut graph = single(16, layer);
        let normed = graph.push("norm", batch_norm(channels), &[graph.output()]).unwrap();
        graph.push("relu", Activation::Relu, &[normed]).unwrap();
        check_oracle(&format!("{what}, norm, relu"), &graph, shape, Tolerance::Operator);
    }
}

// ---- moving pixels and channels ----

#[test]
fn concat_joins_any_channel_counts() {
    for (counts, h, w) in [
        (&[3, 7][..], 7, 16),
        (&[16, 17], 3, 2),
        (&[1, 1], 1, 1),
        (&[64, 16], 16, 7),
        (&[1, 2, 3], 2, 33),
        (&[7, 4, 1, 17], 3, 3),
        (&[5], 2, 3),
    ] {
        let channels = counts.iter().sum();
        let mut graph = Graph::new(channels);
        let mut parts = split(&mut graph, counts);
        parts.reverse();
        graph.push("concat", Concat::default(), &parts).unwrap();
        check_oracle(&format!("concat {counts:?}"), &graph, Shape::new(2, channels, h, w), Tolerance::Exact);
    }
}

#[test]
fn concat_joins_rows_and_columns() {
    for axis in [Axis::H, Axis::W] {
        for shape in [Shape::new(2, 7, 3, 5), Shape::new(1, 16, 1, 4)] {
            let mut graph = Graph::new(shape.c);
            let relu = graph.push("relu", Activation::Relu, &[Graph::INPUT]).unwrap();
            let grown = graph.push("grown", Resize::nearest(ResizeTo::Scale([2.0, 1.0])), &[relu]);
            let tall = if axis == Axis::H { grown.unwrap() } else { relu };
            graph.push("concat", Concat { axis }, &[Graph::INPUT, tall, Graph::INPUT]).unwrap();
            check_oracle(&format!("concat along {axis}"), &graph, shape, Tolerance::Exact);
        }
    }
}

#[test]
fn rearrangements() {
    let all = |extent: usize| Slice { start: 0, len: extent, step: 1 };
    let [n, c, h, w] = [2, 12, 4, 6];
    let x = Shape::new(n, c, h, w);
    let cases = [
        ("reshape", Rearrange::reshape(x, Shape::new(1, 3, 16, 12))),
        ("flatten", Rearrange::reshape(x, Shape::new(n, 1, c, h * w))),
        ("channels last", Rearrange::transpose(x, [0, 2, 3, 1])),
        ("mirrored", Rearrange::transpose(x, [3, 1, 2, 0])),
        ("tokens", Rearrange::permuted(x, &[n, c, h * w], &[0, 2, 1], Shape::new(n, 1, h * w, c))),
        ("channel shuffle", Rearrange::permuted(x, &[n, 3, 4, h, w], &[0, 2, 1, 3, 4], x)),
        ("eight digits", Rearrange::permuted(x, &[2, 3, 2, 2, 2, 2, 3, 2], &[7, 6, 5, 4, 3, 2, 1, 0], x)),
        ("some channels", Rearrange::slice(x, [all(n), Slice { start: 4, len: 8, step: 1 }, all(h), all(w)])),
        ("all but four", Rearrange::slice(x, [all(n), Slice { start: 4, len: 7, step: 1 }, all(h), all(w)])),
        ("turned", Rearrange::transpose(x, [0, 1, 3, 2])),
        ("pictures as rows", Rearrange::permuted(x, &[n, c, h * w], &[1, 0, 2], Shape::new(1, c, n, h * w))),
        ("every other", Rearrange::slice(x, [all(n), all(c), Slice { start: 1, len: 2, step: 2 }, all(w)])),
        ("backwards", Rearrange::slice(x, [all(n), all(c), all(h), Slice { start: 5, len: 3, step: -2 }])),
        (
            "channels backwards",
            Rearrange::slice(x, [all(n), Slice { start: 11, len: 5, step: -2 }, all(h), all(w)]),
        ),
        ("one picture", Rearrange::slice(x, [Slice { start: 1, len: 1, step: 1 }, all(c), all(h), all(w)])),
        ("depth to space", Rearrange::depth_to_space(x, 2, DepthOrder::Dcr)),
        ("pixel shuffle", Rearrange::depth_to_space(x, 2, DepthOrder::Crd)),
        ("space to depth", Rearrange::space_to_depth(x, 2, DepthOrder::Dcr)),
        ("pixel unshuffle", Rearrange::space_to_depth(x, 2, DepthOrder::Crd)),
    ];
    for (what, rearrange) in cases {
        check_op(what, rearrange.unwrap(), x, Tolerance::Exact);
    }
    let small = Shape::new(1, 5, 1, 3);
    check_op("expand", Rearrange::expand(small, Shape::new(2, 5, 4, 3)).unwrap(), small, Tolerance::Exact);

    // There and back.
    let mut graph = Graph::new(c);
    let apart = Rearrange::space_to_depth(x, 2, DepthOrder::Crd).unwrap();
    let back = Rearrange::depth_to_space(apart.output, 2, DepthOrder::Crd).unwrap();
    graph.push("apart", apart, &[Graph::INPUT]).unwrap();
    graph.push("back", back, &[graph.output()]).unwrap();
    let input = Tensor::random(x, 3);
    check("pixel unshuffle and shuffle", &graph, &input, &input, Tolerance::Exact);
}

#[test]
fn rearrangements_refuse_what_is_not_there() {
    let x = Shape::new(1, 4, 4, 6);
    let all = |extent: usize| Slice { start: 0, len: extent, step: 1 };
    assert!(Rearrange::reshape(x, Shape::new(1, 4, 4, 5)).is_err());
    assert!(Rearrange::transpose(x, [0, 1, 1, 3]).is_err());
    assert!(Rearrange::transpose(x, [0, 1, 2, 4]).is_err());
    assert!(Rearrange::depth_to_space(x, 3, DepthOrder::Dcr).is_err());
    assert!(Rearrange::depth_to_space(x, 0, DepthOrder::Dcr).is_err());
    assert!(Rearrange::space_to_depth(x, 4, DepthOrder::Dcr).is_err());
    assert!(Rearrange::expand(x, Shape::new(1, 8, 4, 6)).is_err());
    for part in [
        Slice { start: 4, len: 1, step: 1 },
        Slice { start: 0, len: 0, step: 1 },
        Slice { start: 2, len: 2, step: 2 },
        Slice { start: 0, len: 2, step: -1 },
        Slice { start: 1, len: usize::MAX, step: isize::MIN },
    ] {
        assert!(Rearrange::slice(x, [all(1), part, all(4), all(6)]).is_err(), "{part:?}");
    }
    // By hand: an index out of range on either side, and sizes that do not fit.
    let literal = |digits: Vec<(usize, isize)>, offset| Rearrange { input: x, output: x, digits, offset };
    for (digits, offset) in [
        (vec![(96, 1)], 1),
        (vec![(96, -1)], 94),
        (vec![(95, 1)], 0),
        (vec![(2, 0); 9], 0),
        (vec![(usize::MAX, isize::MAX); 3], 0),
        (vec![], 0),
    ] {
        assert!(single(4, literal(digits.clone(), offset)).output_shape(x).is_err(), "{digits:?}");
    }
    // Made for one shape.
    let graph = single(4, Rearrange::reshape(x, x).unwrap());
    assert!(graph.output_shape(x).is_ok() && graph.output_shape(Shape::new(1, 4, 6, 4)).is_err());
}

/// Where only channels move, a pixel of the result sees as much as before.
#[test]
fn rearrangements_know_how_far_they_reach() {
    let x = Shape::new(1, 12, 4, 6);
    let field = |op: Rearrange| single(12, op).receptive_field();
    assert_eq!(field(Rearrange::reshape(x, x).unwrap()), Some(1));
    assert_eq!(field(Rearrange::transpose(x, [1, 0, 2, 3]).unwrap()), Some(1));
    assert_eq!(field(Rearrange::permuted(x, &[3, 4, 24], &[1, 0, 2], x).unwrap()), Some(1));
    let all = |extent: usize| Slice { start: 0, len: extent, step: 1 };
    let half = Slice { start: 6, len: 6, step: 1 };
    assert_eq!(field(Rearrange::slice(x, [all(1), half, all(4), all(6)]).unwrap()), Some(1));
    let inner = Slice { start: 1, len: 2, step: 1 };
    assert_eq!(field(Rearrange::slice(x, [all(1), all(12), inner, all(6)]).unwrap()), Some(1));
    assert_eq!(field(Rearrange::depth_to_space(x, 2, DepthOrder::Crd).unwrap()), Some(1));
    assert_eq!(field(Rearrange::space_to_depth(x, 2, DepthOrder::Dcr).unwrap()), Some(2));
    assert_eq!(field(Rearrange::transpose(x, [0, 1, 3, 2]).unwrap()), None);
    assert_eq!(field(Rearrange::transpose(x, [0, 2, 1, 3]).unwrap()), None);
    assert_eq!(field(Rearrange::reshape(x, Shape::new(1, 12, 6, 4)).unwrap()), None);
    assert_eq!(field(Rearrange::reshape(x, Shape::new(1, 1, 12, 24)).unwrap()), None);
    assert_eq!(field(Rearrange::reshape(x, Shape::new(1, 3, 16, 6)).unwrap()), None);

    // Apart, a 3x3 convolution on squares of 2x2, and together again.
    let mut graph = Graph::new(3);
    let apart = Rearrange::space_to_depth(Shape::new(1, 3, 8, 6), 2, DepthOrder::Crd).unwrap();
    let back = Rearrange::depth_to_space(apart.output, 2, DepthOrder::Crd).unwrap();
    graph.push("apart", apart, &[Graph::INPUT]).unwrap();
    graph.push("conv", conv(12, 12, [3, 3]).same(), &[graph.output()]).unwrap();
    graph.push("back", back, &[graph.output()]).unwrap();
    assert_eq!((graph.receptive_field(), graph.stride()), (Some(6), Some((2, 1.0))));
}

#[test]
fn resizes_by_every_rule() {
    let shape = Shape::new(1, 3, 5, 7);
    let roundings = [Rounding::Floor, Rounding::Ceil, Rounding::PreferFloor, Rounding::PreferCeil];
    let coordinates = [
        Coordinates::Asymmetric,
        Coordinates::HalfPixel,
        Coordinates::PytorchHalfPixel,
        Coordinates::AlignCorners,
    ];
    let mut interpolations: Vec<_> = roundings.map(Interpolation::Nearest).to_vec();
    interpolations.extend([Interpolation::Linear, Interpolation::Cubic(-0.75), Interpolation::Cubic(-0.5)]);
    for coordinates in coordinates {
        for &interpolation in &interpolations {
            let exact = matches!(interpolation, Interpolation::Nearest(_));
            let tolerance = if exact { Tolerance::Exact } else { Tolerance::Operator };
            for to in [
                ResizeTo::Scale([2.0, 3.0]),
                ResizeTo::Scale([0.6, 1.0 / 3.0]),
                ResizeTo::Size([1, 10]),
                ResizeTo::Size([8, 4]),
            ] {
                let resize = Resize { to, interpolation, coordinates };
                check_op(&format!("{resize:?}"), resize, shape, tolerance);
            }
        }
    }
}

#[test]
fn resizes() {
    let by = ResizeTo::Scale;
    let kinds: [fn(ResizeTo) -> Resize; 3] =
        [Resize::nearest, |to| Resize::bilinear(to, false), |to| Resize::bilinear(to, true)];
    for resize in kinds {
        let nearest = resize(by([1.0; 2])) == Resize::nearest(by([1.0; 2]));
        let tolerance = if nearest { Tolerance::Exact } else { Tolerance::Operator };
        for (i, shape) in SHAPES.into_iter().enumerate() {
            let resize = resize(by([[2.0, 2.0], [3.0, 3.0]][i % 2]));
            check_op(&format!("{resize:?}"), resize, shape, tolerance);
        }
        for to in [by([1.5, 2.5]), by([0.5, 1.0]), by([0.34, 4.0]), ResizeTo::Size([5, 17])] {
            let resize = resize(to);
            check_op(&format!("{resize:?}"), resize, Shape::new(2, 7, 16, 7), tolerance);
        }
    }
}

#[test]
fn pads() {
    for mode in [PadMode::Zero, PadMode::Edge, PadMode::Reflect] {
        let pad = |amount| Pad { amount, mode };
        for shape in SHAPES {
            // Up to 15 rows beside a picture of 1 to 3: reflected again and again.
            let op = pad(PadAmount::Multiple(16));
            check_op(&format!("{op:?}"), op, shape, Tolerance::Exact);
        }
        for amounts in [[1, 2, 3, 4], [0, 0, 0, 5], [-1, 2, 3, -1], [-2, -1, 0, -3], [9, -2, -1, 30]] {
            let op = pad(PadAmount::Fixed(amounts));
            check_op(&format!("{op:?}"), op, Shape::new(2, 7, 3, 7), Tolerance::Exact);
        }
        let op = pad(PadAmount::Multiple(4));
        check_op(&format!("{op:?}"), op, Shape::new(1, 3, 8, 4), Tolerance::Exact);
    }
}

#[test]
fn crops() {
    for (shape, rows, columns) in
        [(Shape::new(2, 7, 7, 16), 3, 4), (Shape::new(1, 17, 33, 2), 32, 1), (Shape::new(1, 64, 3, 3), 0, 0)]
    {
        let mut graph = Graph::new(shape.c);
        let less = Pad { amount: PadAmount::Fixed([0, 0, -rows, -columns]), mode: PadMode::Zero };
        let like = graph.push("like", less, &[Graph::INPUT]).unwrap();
        graph.push("crop", Crop, &[Graph::INPUT, like]).unwrap();
        check_oracle("crop", &graph, shape, Tolerance::Exact);

        // As at the end of a U-Net.
        let mut graph = Graph::new(shape.c);
        let more = Pad { amount: PadAmount::Multiple(4), mode: PadMode::Reflect };
        let padded = graph.push("pad", more, &[Graph::INPUT]).unwrap();
        graph.push("crop", Crop, &[padded, Graph::INPUT]).unwrap();
        let input = Tensor::random(shape, 7);
        check("crop after pad", &graph, &input, &input, Tolerance::Exact);
    }
}

/// A pad that cuts on one side what it adds on the other moves the picture: only its size stays.
#[test]
fn a_shift_is_no_identity() {
    let input = Tensor::from_fn(Shape::new(1, 1, 2, 3), |i| i as f32 + 1.0);
    let shift = |amounts, mode| Pad { amount: PadAmount::Fixed(amounts), mode };
    for (amounts, mode, want) in [
        ([0, 1, 0, -1], PadMode::Zero, [0, 1, 2, 0, 4, 5]),
        ([0, -1, 0, 1], PadMode::Edge, [2, 3, 3, 5, 6, 6]),
        ([1, 0, -1, 0], PadMode::Reflect, [4, 5, 6, 1, 2, 3]),
    ] {
        let want = integers(input.shape(), &want);
        check("a shift", &single(1, shift(amounts, mode)), &input, &want, Tolerance::Exact);
    }
    // Two that undo each other, two that do not, and a pad below that a crop takes away.
    for (first, second, names) in [
        ([1, 2, 0, 3], [-1, -2, 0, -3], &[][..]),
        ([-1, 0, 0, 0], [1, 0, 0, 0], &["pad", "pad"]),
        ([1, 0, 0, 0], [0, 0, -1, 0], &["pad", "pad"]),
        ([0; 4], [0, 1, 0, -1], &["pad"]),
    ] {
        let mut graph = single(1, Activation::Tanh);
        graph.push("first", shift(first, PadMode::Edge), &[graph.output()]).unwrap();
        graph.push("second", shift(second, PadMode::Zero), &[graph.output()]).unwrap();
        assert_eq!(optimized_names(&graph, input.shape())[1..], *names, "{first:?}, then {second:?}");
        check_oracle("two pads", &graph, input.shape(), Tolerance::Operator);
    }
}

// ---- worked by hand ----

/// `Conv2d(2, 3, 3)`: two channels in, three out, each output channel with its own 2x3x3 weights.
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
#[test]
fn conv_worked_by_hand() {
    let input = [
        [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]],
        [[2, 1, 0, 0], [2, 3, 1, 0], [1, 2, 4, 0], [0, 0, 0, 0]],
    ];
    let weight = [
        [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 2, 1], [0, 1, 2]]],
        [[[0, 0, 0], [0, 1, 0], [0, 0, 0]], [[0; 3]; 3]],
        [[[0; 3]; 3], [[1; 3]; 3]],
    ];
    let input = integers(Shape::new(1, 2, 4, 4), input.as_flattened().as_flattened());
    let weight = integers(Shape::new(3, 2, 3, 3), weight.as_flattened().as_flattened().as_flattened());
    // All of the first channel, each by the same sum as above; zeros stand around the picture.
    let want = [
        [[19, 17, 5, 0], [26, 35, 17, 4], [13, 24, 25, 10], [1, 9, 12, 9]],
        [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]],
        [[8, 9, 5, 1], [11, 16, 11, 5], [8, 13, 10, 5], [3, 7, 6, 4]],
    ];
    for bias in [[0.0; 3], [0.5, -1.0, 2.0]] {
        let graph = single(2, Conv::new(weight.clone().into(), Some(bias.into())).same());
        let mut want = integers(Shape::new(1, 3, 4, 4), want.as_flattened().as_flattened());
        want.data_mut().chunks_mut(16).zip(bias).for_each(|(y, b)| y.iter_mut().for_each(|y| *y += b));
        assert_eq!(want.plane(0, 0)[4 + 1], 35.0 + bias[0]);
        // Not exactly: Winograd's kernels divide by 24.
        check("worked conv", &graph, &input, &want, Tolerance::Operator);
    }
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
#[test]
fn conv_transpose_worked_by_hand() {
    let weight = integers(Shape::new(1, 1, 2, 2), &[1, 10, 100, 1000]);
    let graph = single(1, ConvTranspose::new(weight.into(), None, 2));
    let want = [[1, 10, 2, 20], [100, 1000, 200, 2000], [3, 30, 4, 40], [300, 3000, 400, 4000]];
    check(
        "worked conv_transpose",
        &graph,
        &integers(Shape::new(1, 1, 2, 2), &[1, 2, 3, 4]),
        &integers(Shape::new(1, 1, 4, 4), want.as_flattened()),
        Tolerance::Exact,
    );
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
#[test]
fn strided_conv_worked_by_hand() {
    let weight = integers(Shape::new(1, 1, 3, 3), &[1; 9]);
    let graph = single(1, Conv { stride: [2, 2], ..Conv::new(weight.into(), None).same() });
    check(
        "worked strided conv",
        &graph,
        &Tensor::from_fn(Shape::new(1, 1, 4, 4), |i| i as f32 + 1.0),
        &integers(Shape::new(1, 1, 2, 2), &[14, 30, 57, 99]),
        Tolerance::Exact,
    );
}

fn integers(shape: Shape, values: &[i32]) -> Tensor {
    Tensor::new(shape, values.iter().map(|&v| v as f32).collect()).expect("as many values as the shape has")
}

// ---- PyTorch ----

#[test]
fn operators_agree_with_pytorch() {
    let vectors = Vectors::read("ops");
    for (name, case) in &vectors.cases {
        let (graph, input) = case_graph(name, case, &vectors);
        let moves_only = [
            "max_pool",
            "concat",
            "resize_nearest",
            "pad",
            "crop",
            "rearrange",
            "argmax",
            "reduce_max",
            "reduce_min",
        ];
        let exact = moves_only.contains(&attribute::<String>(case, "op").as_str());
        let tolerance = if exact { Tolerance::Exact } else { Tolerance::Operator };
        let want = vectors.get(&format!("{name}/output"));
        check(name, &graph, &input, want, tolerance);
        // The oracle is no better than its author: it answers to PyTorch too.
        crate::support::assert_close(
            &format!("oracle {name}"),
            &oracle::run(&graph, &input),
            want,
            tolerance,
        );
    }
}

/// One graph of each operator, under each of its names.
#[test]
fn every_operator_has_a_vector() {
    let one = |channels| Arc::new(Tensor::zeros(Shape::new(channels, channels, 1, 1)));
    let twice = ResizeTo::Scale([2.0, 2.0]);
    let mut all: Vec<Op> = vec![
        Conv::new(one(1), None).into(),
        ConvTranspose::new(one(1), None, 1).into(),
        Pool::MAX_2X2.into(),
        Pool { kind: PoolKind::Average, ..Pool::MAX_2X2 }.into(),
        batch_norm(1).into(),
        norm(NormOver::Groups(1), 1).into(),
        norm(NormOver::Channels, 1).into(),
        PRelu { slope: vec![0.1].into() }.into(),
        Constant(one(1)).into(),
        MatMul.into(),
        Concat::default().into(),
        Resize::nearest(twice).into(),
        Resize::bilinear(twice, false).into(),
        Resize { interpolation: Interpolation::Cubic(-0.75), ..Resize::bilinear(twice, false) }.into(),
        Rearrange::reshape(Shape::new(1, 1, 1, 1), Shape::new(1, 1, 1, 1)).unwrap().into(),
        Pad { amount: PadAmount::Multiple(1), mode: PadMode::Zero }.into(),
        Crop.into(),
        Softmax::default().into(),
        ArgMax.into(),
    ];
    all.extend(ACTIVATIONS.into_iter().filter(|a| *a != Activation::None).map(Op::Activation));
    all.extend(BINARY_KINDS.map(|kind| Op::Binary(Binary::new(kind))));
    let axes = [false, true, true];
    all.extend(REDUCE_KINDS.map(|kind| Op::Reduce(Reduce { kind, axes })));
    let seen: BTreeSet<usize> = all.iter().map(place).collect();
    assert_eq!(seen, (0..=seen.len() - 1).collect(), "an operator is missing in the list above");
    assert_eq!(seen.len(), OPERATORS, "an operator is missing in the list above");

    let vectors = Vectors::read("ops");
    let names: BTreeSet<String> = vectors.cases.values().map(|case| attribute(case, "op")).collect();
    for op in all {
        let name = op.rules().name();
        assert!(names.contains(name), "{name} has no vector: add one to tests/vectors/generate.py");
    }
}

const OPERATORS: usize = 18;

/// A number for each operator. A new one does not compile here until it has its own, and then fails above until
/// [`OPERATORS`], the list and the vectors know it too.
fn place(op: &Op) -> usize {
    match op {
        Op::Conv(_) => 0,
        Op::ConvTranspose(_) => 1,
        Op::Pool(_) => 2,
        Op::Reduce(_) => 3,
        Op::BatchNorm(_) => 4,
        Op::Norm(_) => 5,
        Op::Activation(_) => 6,
        Op::PRelu(_) => 7,
        Op::Binary(_) => 8,
        Op::Constant(_) => 9,
        Op::MatMul(_) => 10,
        Op::Concat(_) => 11,
        Op::Resize(_) => 12,
        Op::Rearrange(_) => 13,
        Op::Pad(_) => 14,
        Op::Crop(_) => 15,
        Op::Softmax(_) => 16,
        Op::ArgMax(_) => 17,
        Op::Pointwise(_) => unreachable!("only a rewrite makes it, of others"),
    }
}

fn attribute<T: DeserializeOwned>(case: &Value, name: &str) -> T {
    serde_json::from_value(case[name].clone())
        .unwrap_or_else(|error| panic!("attribute {name}: {error} in {case}"))
}

fn activation(case: &Value) -> Activation {
    match &case["activation"] {
        Value::String(name) if name == "none" => Activation::None,
        Value::String(name) => function(name).unwrap_or_else(|| panic!("no activation {name}")),
        other => Activation::LeakyRelu(attribute(other, "leaky_relu")),
    }
}

fn function(name: &str) -> Option<Activation> {
    ACTIVATIONS.into_iter().find(|a| Op::Activation(*a).rules().name() == name)
}

/// The graph and input of a case. A graph has one input: several are joined along channels and split again.
fn case_graph(name: &str, case: &Value, vectors: &Vectors) -> (Graph, Tensor) {
    let inputs: Vec<&Tensor> = (0..).map_while(|i| vectors.find(&format!("{name}/input{i}"))).collect();
    let op = case_op(name, case, vectors, inputs[0].shape());
    assert_eq!(op.rules().name(), attribute::<String>(case, "op"), "{name}");
    let channels: Vec<usize> = inputs.iter().map(|x| x.shape().c).collect();
    let mut graph = Graph::new(channels.iter().sum());
    if let Op::Constant(_) = op {
        let constant = graph.push("op", op, &[]).expect("the first");
        graph.push("sum", Binary::ADD, &[Graph::INPUT, constant]).expect("its sources exist");
        return (graph, inputs[0].clone());
    }
    let mut sources = if let [_] = inputs[..] { vec![Graph::INPUT] } else { split(&mut graph, &channels) };
    if let Op::Crop(_) = op {
        sources.push(graph.push("like", Pool::MAX_2X2, &[Graph::INPUT]).expect("the input exists"));
    }
    if let Some(operand) = vectors.find(&format!("{name}/operand")) {
        sources.push(graph.push("operand", Constant(operand.clone().into()), &[]).expect("a new name"));
    }
    graph.push("op", op, &sources).expect("its sources exist");
    (graph, joined(&inputs))
}

fn joined(parts: &[&Tensor]) -> Tensor {
    let c = parts.iter().map(|x| x.shape().c).sum();
    let shape = Shape { c, ..parts[0].shape() };
    let pictures = (0..shape.n)
        .flat_map(|n| parts.iter().flat_map(move |x| (0..x.shape().c).map(move |c| x.plane(n, c))));
    Tensor::new(shape, pictures.flatten().copied().collect()).expect("all planes")
}

fn case_op(name: &str, case: &Value, vectors: &Vectors, input: Shape) -> Op {
    let tensor = |part: &str| vectors.find(&format!("{name}/{part}"));
    let vector = |part: &str| tensor(part).map(|v| v.data().into());
    let weight = || Arc::new(tensor("weight").expect("a convolution has weights").clone());
    match attribute::<String>(case, "op").as_str() {
        "conv" => Op::Conv(Conv {
            stride: attribute(case, "stride"),
            padding: attribute(case, "padding"),
            dilation: attribute(case, "dilation"),
            groups: attribute(case, "groups"),
            activation: activation(case),
            ..Conv::new(weight(), vector("bias"))
        }),
        "conv_transpose" => Op::ConvTranspose(ConvTranspose {
            stride: attribute(case, "stride"),
            padding: attribute(case, "padding"),
            output_padding: attribute(case, "output_padding"),
            groups: attribute(case, "groups"),
            activation: activation(case),
            ..ConvTranspose::new(weight(), vector("bias"), 1)
        }),
        "max_pool" | "average_pool" => Op::Pool(Pool {
            kind: match attribute::<String>(case, "kind").as_str() {
                "max" => PoolKind::Max,
                "average" => PoolKind::Average,
                "average_with_padding" => PoolKind::AverageWithPadding,
                other => panic!("{name}: kind {other}"),
            },
            kernel: attribute(case, "kernel"),
            stride: attribute(case, "stride"),
            padding: attribute(case, "padding"),
            ceil: attribute(case, "ceil"),
            dilation: case.get("dilation").map_or([1, 1], |_| attribute(case, "dilation")),
        }),
        "batch_norm" => {
            let [gamma, beta, mean, var] =
                ["gamma", "beta", "mean", "var"].map(|p| tensor(p).expect("four vectors").data());
            BatchNorm::new(gamma, beta, mean, var, attribute(case, "eps")).expect("equal lengths").into()
        }
        "group_norm" | "layer_norm" => Op::Norm(Norm {
            over: case
                .get("groups")
                .map_or(NormOver::Channels, |_| NormOver::Groups(attribute(case, "groups"))),
            scale: vector("gamma"),
            shift: vector("beta"),
            eps: attribute(case, "eps"),
            activation: activation(case),
        }),
        "leaky_relu" => Activation::LeakyRelu(attribute(case, "slope")).into(),
        "prelu" => PRelu { slope: vector("slope").expect("a slope a channel") }.into(),
        "constant" => Constant(tensor("operand").expect("its elements").clone().into()).into(),
        "matmul" => MatMul.into(),
        "softmax" => Softmax { axis: axis(case) }.into(),
        "argmax" => ArgMax.into(),
        "concat" => Concat { axis: axis(case) }.into(),
        "rearrange" => rearrange(case, input).expect("it fits").into(),
        "resize_nearest" | "resize_bilinear" | "resize_bicubic" if case.get("to").is_some() => {
            Op::Resize(Resize {
                to: match case["to"].get("scale") {
                    Some(_) => ResizeTo::Scale(attribute(&case["to"], "scale")),
                    None => ResizeTo::Size(attribute(&case["to"], "size")),
                },
                interpolation: match attribute::<String>(case, "interpolation").as_str() {
                    "floor" => Interpolation::Nearest(Rounding::Floor),
                    "ceil" => Interpolation::Nearest(Rounding::Ceil),
                    "prefer_floor" => Interpolation::Nearest(Rounding::PreferFloor),
                    "prefer_ceil" => Interpolation::Nearest(Rounding::PreferCeil),
                    "linear" => Interpolation::Linear,
                    "cubic" => Interpolation::Cubic(-0.75),
                    other => panic!("{name}: interpolation {other}"),
                },
                coordinates: match attribute::<String>(case, "coordinates").as_str() {
                    "asymmetric" => Coordinates::Asymmetric,
                    "half_pixel" => Coordinates::HalfPixel,
                    "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
                    "align_corners" => Coordinates::AlignCorners,
                    other => panic!("{name}: coordinates {other}"),
                },
            })
        }
        "resize_nearest" | "resize_bilinear" => {
            let to = ResizeTo::Scale(attribute(case, "scale"));
            Op::Resize(match attribute::<String>(case, "interpolation").as_str() {
                "nearest" => Resize::nearest(to),
                "bilinear" => Resize::bilinear(to, false),
                "bilinear_align_corners" => Resize::bilinear(to, true),
                other => panic!("{name}: interpolation {other}"),
            })
        }
        "pad" => {
            let multiple = case.get("multiple").map(|_| PadAmount::Multiple(attribute(case, "multiple")));
            let amount = multiple.unwrap_or_else(|| PadAmount::Fixed(attribute(case, "fixed")));
            Pad { amount, mode: attribute(case, "mode") }.into()
        }
        "crop" => Crop.into(),
        other => {
            if let Some(activation) = function(other) {
                return activation.into();
            }
            if let Some(kind) = BINARY_KINDS.into_iter().find(|kind| Binary::new(*kind).name() == other) {
                return Binary { kind, activation: activation(case) }.into();
            }
            let reduce = |kind| Reduce { kind, axes: [false, true, true] };
            match REDUCE_KINDS.into_iter().find(|kind| reduce(*kind).name() == other) {
                Some(kind) if case.get("axes").is_some() => {
                    Reduce { kind, axes: attribute(case, "axes") }.into()
                }
                Some(kind) => reduce(kind).into(),
                None => panic!("{name}: unknown operator {other}"),
            }
        }
    }
}

fn axis(case: &Value) -> Axis {
    match case["axis"].as_str() {
        None => Axis::C,
        Some("rows") => Axis::H,
        Some("columns") => Axis::W,
        Some(other) => panic!("axis {other}"),
    }
}

fn rearrange(case: &Value, input: Shape) -> unet_wgpu::Result<Rearrange> {
    let shape = |part: &str| {
        let [n, c, h, w] = attribute(case, part);
        Shape { n, c, h, w }
    };
    let order = || match case["order"].as_str() {
        Some("crd") => DepthOrder::Crd,
        _ => DepthOrder::Dcr,
    };
    let has = |part: &str| case.get(part).is_some();
    if has("transpose") {
        Rearrange::transpose(input, attribute(case, "transpose"))
    } else if has("slice") {
        let parts: [(usize, usize, isize); 4] = attribute(case, "slice");
        Rearrange::slice(input, parts.map(|(start, len, step)| Slice { start, len, step }))
    } else if has("expand") {
        Rearrange::expand(input, shape("expand"))
    } else if has("depth_to_space") {
        Rearrange::depth_to_space(input, attribute(case, "depth_to_space"), order())
    } else if has("space_to_depth") {
        Rearrange::space_to_depth(input, attribute(case, "space_to_depth"), order())
    } else if has("permutation") {
        let (extents, order): (Vec<usize>, Vec<usize>) =
            (attribute(case, "extents"), attribute(case, "permutation"));
        Rearrange::permuted(input, &extents, &order, input)
    } else {
        Rearrange::reshape(input, shape("to"))
    }
}
