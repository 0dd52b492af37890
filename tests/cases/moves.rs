//! Operators that only move numbers: concatenation, reshape, transpose, slice, pad and crop.

use super::*;
use unet_wgpu::graph::{
    Axis, Crop, DepthOrder, Pad, PadAmount, PadMode, Pool, Rearrange, Reduce, ReduceKind, Resize, ResizeTo,
    Slice,
};

const MODES: [PadMode; 5] =
    [PadMode::Zero, PadMode::Value(-0.75), PadMode::Edge, PadMode::Reflect, PadMode::Wrap];

/// Numbers with which a picture is padded before a max pool, and others that are hard to store.
const VALUES: [f32; 5] = [f32::NEG_INFINITY, f32::INFINITY, f32::MIN, 1e9, -65504.0];

pub(super) fn cases() -> Vec<Case> {
    [concats(), rearrangements(), pads(), values(), shifts(), crops(), by_pytorch(), kernels()]
        .into_iter()
        .flatten()
        .collect()
}

// ---- definition ----

pub(super) fn reference(op: &Op, inputs: &[&Volume]) -> Option<Volume> {
    let x = inputs.first()?;
    match op {
        Op::Concat(op) => Some(joined(inputs, op.axis)),
        Op::Rearrange(op) => Some(rearranged(op, x)),
        Op::Pad(op) => Some(padded(op, x)),
        Op::Crop(Crop) => Some(Volume::gather(Shape { c: x.shape.c, ..inputs[1].shape }, |at| x.at(at))),
        _ => None,
    }
}

pub(super) fn joined(parts: &[&Volume], axis: Axis) -> Volume {
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

/// Moves elements index by index as the digits say, without merging digits.
fn rearranged(op: &Rearrange, x: &Volume) -> Volume {
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

fn padded(pad: &Pad, x: &Volume) -> Volume {
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
            PadMode::Value(value) => x.inside(n, c, y, x_).unwrap_or(f64::from(value)),
            PadMode::Wrap => x.at([n, c, y.rem_euclid(h) as usize, x_.rem_euclid(w) as usize]),
            PadMode::Edge => x.at([n, c, y.clamp(0, h - 1) as usize, x_.clamp(0, w - 1) as usize]),
            PadMode::Reflect => x.at([n, c, mirrored(y, h), mirrored(x_, w)]),
        }
    })
}

/// Walks `|i|` steps from pixel 0 and turns around at the edges.
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

// ---- random networks ----

pub(super) fn draw(kind: &str, to: &mut Drawing) -> Option<ValueId> {
    let x = to.value();
    let shape = to.shape(x);
    match kind {
        "Concat" => {
            let axis = to.random.pick(&[Axis::C, Axis::C, Axis::H, Axis::W]);
            let fits = move |a: Shape, b: Shape| match axis {
                Axis::C => Shape { c: a.c, ..b } == a,
                Axis::H => Shape { h: a.h, ..b } == a,
                Axis::W => Shape { w: a.w, ..b } == a,
            };
            let mut parts = vec![x];
            for _ in 0..to.random.below(3) {
                parts.push(to.value_where(fits, x)?);
            }
            to.push(Concat { axis }, &parts)
        }
        "Rearrange" => {
            let op = rearrangement(&mut to.random, shape).ok()?;
            to.push(op, &[x])
        }
        "Pad" => {
            let mode = to.random.pick(&MODES);
            let side = |random: &mut Random| random.below(7) as isize - 3;
            let [top, left] = [side(&mut to.random), side(&mut to.random)];
            let amount = match to.random.below(4) {
                0 => PadAmount::Multiple(1 + to.random.below(8)),
                // A shift, or nothing.
                1 => PadAmount::Fixed([top, left, -top, -left]),
                _ => PadAmount::Fixed([top, left, side(&mut to.random), side(&mut to.random)]),
            };
            to.push(Pad { amount, mode }, &[x])
        }
        "Crop" => {
            let like = to.value_where(|a, b| a.n == b.n && b.h <= a.h && b.w <= a.w, x)?;
            to.push(Crop, &[x, like])
        }
        _ => None,
    }
}

fn rearrangement(random: &mut Random, x: Shape) -> unet_wgpu::Result<Rearrange> {
    let order = random.pick(&[DepthOrder::Dcr, DepthOrder::Crd]);
    match random.below(6) {
        0 => {
            // A divisor of one extent moves to another axis.
            let mut to = [x.n, x.c, x.h, x.w];
            let [from, into] = [1 + random.below(3), 1 + random.below(3)];
            let divisors: Vec<usize> = (1..=to[from]).filter(|d| to[from].is_multiple_of(*d)).collect();
            let divisor = random.pick(&divisors);
            to[from] /= divisor;
            to[into] *= divisor;
            Rearrange::reshape(x, Shape::new(to[0], to[1], to[2], to[3]))
        }
        1 => {
            let orders = [[0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [1, 0, 2, 3], [3, 2, 1, 0]];
            Rearrange::transpose(x, random.pick(&orders))
        }
        2 => {
            let mut part = |extent: usize| {
                let len = 1 + random.below(extent);
                let step = 1 + random.below(1 + (extent - 1) / len.max(2)).min(2);
                let len = len.min(1 + (extent - 1) / step);
                let room = extent - (len - 1) * step;
                let start = random.below(room);
                match random.below(3) {
                    0 => Slice { start: start + (len - 1) * step, len, step: -(step as isize) },
                    _ => Slice { start, len, step: step as isize },
                }
            };
            Rearrange::slice(x, [part(x.n), part(x.c), part(x.h), part(x.w)])
        }
        3 => {
            let mut grown = |extent: usize| if extent == 1 { 1 + random.below(4) } else { extent };
            Rearrange::expand(x, Shape::new(grown(x.n), grown(x.c), grown(x.h), grown(x.w)))
        }
        4 => Rearrange::depth_to_space(x, 2, order),
        _ => Rearrange::space_to_depth(x, 2, order),
    }
}

// ---- cases: joining ----

fn concats() -> Vec<Case> {
    let mut cases = Vec::new();
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
        push(&mut graph, "concat", Concat::default(), &parts);
        cases.push(Case::new(format!("concat {counts:?}"), graph, Shape::new(2, channels, h, w)).exact());
    }
    for axis in [Axis::H, Axis::W] {
        for shape in [Shape::new(2, 7, 3, 5), Shape::new(1, 16, 1, 4)] {
            let mut graph = Graph::new(shape.c);
            let relu = push(&mut graph, "relu", Activation::Relu, &[Graph::INPUT]);
            let grown = push(&mut graph, "grown", Resize::nearest(ResizeTo::Scale([2.0, 1.0])), &[relu]);
            let tall = if axis == Axis::H { grown } else { relu };
            push(&mut graph, "concat", Concat { axis }, &[Graph::INPUT, tall, Graph::INPUT]);
            cases.push(Case::new(format!("concat along {axis}"), graph, shape).exact());
        }
    }
    cases
}

// ---- cases: moving elements ----

fn rearrangements() -> Vec<Case> {
    let all = |extent: usize| Slice { start: 0, len: extent, step: 1 };
    let [n, c, h, w] = [2, 12, 4, 6];
    let x = Shape::new(n, c, h, w);
    let moves = [
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
    let of =
        |(what, op): (&str, unet_wgpu::Result<Rearrange>)| Case::op(what, op.expect("it fits"), x).exact();
    let mut cases: Vec<Case> = moves.into_iter().map(of).collect();
    let small = Shape::new(1, 5, 1, 3);
    let spread = Rearrange::expand(small, Shape::new(2, 5, 4, 3)).expect("it fits");
    cases.push(Case::op("expand", spread, small).exact());

    let apart = Rearrange::space_to_depth(x, 2, DepthOrder::Crd).expect("it fits");
    let back = Rearrange::depth_to_space(apart.output, 2, DepthOrder::Crd).expect("it fits");
    let input = Tensor::random(x, 3);
    let there_and_back = chain(c, [apart.into(), back.into()]);
    let case = Case::new("pixel unshuffle and shuffle", there_and_back, x);
    cases.push(case.on(input.clone()).gives(input).exact());
    cases
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
    // Written by hand: indices out of range on both sides, and sizes that do not match.
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
    let one = Shape::new(1, 1, 1, 1);
    let none = Rearrange { input: one, output: one, digits: vec![], offset: 0 };
    assert!(single(1, none).output_shape(one).is_err(), "a view without digits");
    // Valid for one shape only.
    let graph = single(4, Rearrange::reshape(x, x).unwrap());
    assert!(graph.output_shape(x).is_ok() && graph.output_shape(Shape::new(1, 4, 6, 4)).is_err());
}

/// If only channels move, a pixel of the result sees as much as before.
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

    // Splits squares of 2x2, applies a 3x3 convolution, and joins the squares again.
    let apart = Rearrange::space_to_depth(Shape::new(1, 3, 8, 6), 2, DepthOrder::Crd).unwrap();
    let back = Rearrange::depth_to_space(apart.output, 2, DepthOrder::Crd).unwrap();
    let graph = chain(3, [apart.into(), conv(12, 12, [3, 3]).same().into(), back.into()]);
    assert_eq!((graph.receptive_field(), graph.stride()), (Some(6), Some((2, 1.0))));
}

// ---- cases: padding and cropping ----

fn pads() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in MODES {
        let mut add = |amount: PadAmount, shape: Shape| {
            let op = Pad { amount, mode };
            cases.push(Case::op(format!("{op:?}"), op, shape).exact());
        };
        for shape in SHAPES {
            // Up to 15 rows beside a picture with 1 to 3 rows, reflected several times.
            add(PadAmount::Multiple(16), shape);
        }
        for amounts in [[1, 2, 3, 4], [0, 0, 0, 5], [-1, 2, 3, -1], [-2, -1, 0, -3], [9, -2, -1, 30]] {
            add(PadAmount::Fixed(amounts), Shape::new(2, 7, 3, 7));
        }
        add(PadAmount::Multiple(4), Shape::new(1, 3, 8, 4));
    }
    cases
}

/// Pads with numbers of all sizes, before the windows that they are written for.
fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    let pad = |amounts, value| Pad { amount: PadAmount::Fixed(amounts), mode: PadMode::Value(value) };
    let max = |kernel, stride, ceil| Pool { kernel: [kernel; 2], stride: [stride; 2], ceil, ..Pool::MAX_2X2 };
    // In f16 1e9 is infinite, as is the lowest f32 where it stays.
    for value in VALUES.into_iter().filter(|&value| value != 1e9) {
        for shape in [Shape::new(1, 4, 3, 5), Shape::new(2, 7, 5, 4)] {
            for (kernel, stride, amounts, ceil) in
                [(3, 2, [0, 0, 1, 1], false), (3, 1, [1; 4], false), (2, 2, [1, 0, 0, 1], true)]
            {
                if ceil && value == f32::MIN {
                    continue;
                }
                let graph = chain(shape.c, [pad(amounts, value).into(), max(kernel, stride, ceil).into()]);
                let what = format!("pad {amounts:?} with {value:e}, max_pool {kernel}x{kernel}, ceil {ceil}");
                let case = Case::new(what, graph, shape);
                let lowest = value <= f32::MIN;
                cases.push(match (lowest, ceil) {
                    (true, false) => case.exact().becomes(&["max_pool"]),
                    (false, _) => case.exact().becomes(&["pad", "max_pool"]),
                    _ => case.exact(),
                });
            }
        }
    }
    // Windows in the padding alone give the padding, and the numbers past the last channel meet no infinity.
    let shape = Shape::new(1, 3, 2, 2);
    let lowest = pad([3, 0, 0, 3], f32::NEG_INFINITY);
    let graph = chain(3, [lowest.into(), max(2, 1, false).into()]);
    cases.push(Case::new("max_pool of padding alone", graph, shape).exact());
    let reduced = Reduce { kind: ReduceKind::Max, axes: [false, true, true] };
    let graph = chain(3, [lowest.into(), reduced.into(), conv(5, 3, [1, 1]).into()]);
    cases.push(Case::new("channels after infinite padding", graph, shape));
    // Zeros vanish in the convolution, other numbers stay.
    for (value, left) in [(0.0, &["conv"][..]), (0.5, &["pad", "conv"])] {
        let amount = PadAmount::Fixed([1, 0, 2, 3]);
        let padded = Pad { amount, mode: PadMode::constant(value) };
        let strided = Conv { stride: [2, 2], padding: [1, 0, 0, 1], ..conv(6, 3, [3, 3]) };
        let graph = chain(3, [padded.into(), strided.into()]);
        cases.push(
            Case::new(format!("pad with {value} before a conv"), graph, Shape::new(2, 3, 7, 6)).becomes(left),
        );
    }
    cases
}

/// What f16 cannot hold becomes infinite, and NaN stays NaN.
#[test]
fn pads_with_any_number() {
    let shape = Shape::new(1, 3, 1, 2);
    for value in VALUES.into_iter().chain([f32::NAN, 1e-30]) {
        let op = Pad { amount: PadAmount::Fixed([0, 1, 0, 0]), mode: PadMode::Value(value) };
        for backend in backends() {
            let want = if backend.is_half() { half::f16::from_f32(value).to_f32() } else { value };
            let got = backend.run(&single(3, op), &Tensor::random(shape, 1));
            for c in 0..3 {
                let got = got.plane(0, c)[0];
                assert!(got == want || (got.is_nan() && want.is_nan()), "{got} on {backend}, want {want}");
            }
        }
    }
}

#[test]
fn pads_refuse_amounts_that_32_bits_do_not_hold() {
    let shape = Shape::new(1, 1, 3, 3);
    let huge = 1 << 31;
    for amounts in [[huge, 0, -huge, 0], [0, huge, 0, -huge], [0, 0, isize::MIN, isize::MAX]] {
        let op = Pad { amount: PadAmount::Fixed(amounts), mode: PadMode::Edge };
        let error = op.infer(&[shape]).unwrap_err().to_string();
        assert!(error.starts_with("pad: expected at most 1073741824 rows or columns"), "{error}");
    }
}

/// A pad that cuts on one side what it adds on the other moves the picture. Only the size stays the same.
fn shifts() -> Vec<Case> {
    let shape = Shape::new(1, 1, 2, 3);
    let pad = |amounts, mode| Pad { amount: PadAmount::Fixed(amounts), mode };
    let mut cases = Vec::new();
    for (amounts, mode, want) in [
        ([0, 1, 0, -1], PadMode::Zero, [0, 1, 2, 0, 4, 5]),
        ([0, -1, 0, 1], PadMode::Edge, [2, 3, 3, 5, 6, 6]),
        ([1, 0, -1, 0], PadMode::Reflect, [4, 5, 6, 1, 2, 3]),
    ] {
        let case = Case::op(format!("shift by {amounts:?}, {mode:?}"), pad(amounts, mode), shape);
        let case = case.on(integers(shape, &[1, 2, 3, 4, 5, 6])).gives(integers(shape, &want));
        cases.push(case.exact().becomes(&["pad"]));
    }
    // Two that cancel, two that do not, and one that does nothing before one that shifts.
    for (first, second, left) in [
        ([1, 2, 0, 3], [-1, -2, 0, -3], &["tanh"][..]),
        ([-1, 0, 0, 0], [1, 0, 0, 0], &["tanh", "pad", "pad"]),
        ([1, 0, 0, 0], [0, 0, -1, 0], &["tanh", "pad", "pad"]),
        ([0; 4], [0, 1, 0, -1], &["tanh", "pad"]),
    ] {
        let pads = [pad(first, PadMode::Edge), pad(second, PadMode::Zero)];
        let graph = chain(1, [Activation::Tanh.into(), pads[0].into(), pads[1].into()]);
        cases.push(Case::new(format!("pads by {first:?} and {second:?}"), graph, shape).becomes(left));
    }
    cases
}

fn crops() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, rows, columns) in
        [(Shape::new(2, 7, 7, 16), 3, 4), (Shape::new(1, 17, 33, 2), 32, 1), (Shape::new(1, 64, 3, 3), 0, 0)]
    {
        let mut graph = Graph::new(shape.c);
        let less = Pad { amount: PadAmount::Fixed([0, 0, -rows, -columns]), mode: PadMode::Zero };
        let like = push(&mut graph, "like", less, &[Graph::INPUT]);
        push(&mut graph, "crop", Crop, &[Graph::INPUT, like]);
        cases.push(Case::new("crop", graph, shape).exact());

        // As at the end of a U-Net.
        let mut graph = Graph::new(shape.c);
        let more = Pad { amount: PadAmount::Multiple(4), mode: PadMode::Reflect };
        let padded = push(&mut graph, "pad", more, &[Graph::INPUT]);
        push(&mut graph, "crop", Crop, &[padded, Graph::INPUT]);
        let input = Tensor::random(shape, 7);
        cases.push(Case::new("crop after pad", graph, shape).on(input.clone()).gives(input).exact());
    }
    cases
}

// ---- cases: results of others ----

fn by_pytorch() -> Vec<Case> {
    let (mut cases, mut moves) = (Vec::new(), Vec::new());
    for counts in [&[3, 6][..], &[3, 6, 1]] {
        let shapes: Vec<Shape> = counts.iter().map(|&c| Shape::new(2, c, 3, 4)).collect();
        cases.push(Case::of(format!("concat {counts:?}, by PyTorch"), Concat::default(), &shapes));
    }
    for (axis, other) in [(Axis::H, Shape::new(2, 3, 2, 4)), (Axis::W, Shape::new(2, 3, 3, 5))] {
        let mut graph = Graph::new(3);
        let other = push(&mut graph, "constant", constant(other, -1.0, 1.0), &[]);
        push(&mut graph, "op", Concat { axis }, &[Graph::INPUT, other]);
        cases.push(Case::new(format!("concat along {axis}, by PyTorch"), graph, Shape::new(2, 3, 3, 4)));
    }

    let mut add = |x: Shape, op: unet_wgpu::Result<Rearrange>, expression: &'static str| {
        let case = Case::op(format!("{expression}, by PyTorch"), op.expect("it fits"), x);
        moves.push(case.in_pytorch(expression).exact());
    };
    let x = Shape::new(2, 6, 3, 4);
    add(x, Rearrange::reshape(x, Shape::new(2, 3, 8, 3)), "x.reshape(2, 3, 8, 3)");
    let x = Shape::new(2, 5, 3, 4);
    add(x, Rearrange::transpose(x, [0, 2, 3, 1]), "x.permute(0, 2, 3, 1)");
    add(x, Rearrange::transpose(x, [0, 3, 1, 2]), "x.permute(0, 3, 1, 2)");
    add(x, Rearrange::transpose(x, [3, 2, 1, 0]), "x.permute(3, 2, 1, 0)");
    add(x, Rearrange::transpose(x, [0, 1, 3, 2]), "x.permute(0, 1, 3, 2)");
    let slice = |start, len, step| Slice { start, len, step };
    let x = Shape::new(2, 9, 3, 4);
    let parts = [slice(0, 2, 1), slice(4, 5, 1), slice(0, 3, 1), slice(0, 4, 1)];
    add(x, Rearrange::slice(x, parts), "x[:, 4:9]");
    let x = Shape::new(2, 5, 7, 8);
    let parts = [slice(1, 1, 1), slice(0, 3, 2), slice(1, 3, 2), slice(7, 3, -3)];
    add(x, Rearrange::slice(x, parts), "x[1:, ::2, 1:6:2].flip(3)[:, :, :, ::3]");
    let x = Shape::new(1, 5, 1, 3);
    add(x, Rearrange::expand(x, Shape::new(2, 5, 4, 3)), "x.expand(2, 5, 4, 3)");
    let x = Shape::new(2, 12, 3, 4);
    add(x, Rearrange::depth_to_space(x, 2, DepthOrder::Crd), "F.pixel_shuffle(x, 2)");
    let x = Shape::new(2, 3, 4, 6);
    add(x, Rearrange::space_to_depth(x, 2, DepthOrder::Crd), "F.pixel_unshuffle(x, 2)");
    // As in the formulas of ONNX's documentation.
    let x = Shape::new(1, 18, 2, 3);
    add(
        x,
        Rearrange::depth_to_space(x, 3, DepthOrder::Dcr),
        "x.reshape(1, 3, 3, 2, 2, 3).permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 6, 9)",
    );
    let x = Shape::new(1, 2, 4, 6);
    add(
        x,
        Rearrange::space_to_depth(x, 2, DepthOrder::Dcr),
        "x.reshape(1, 2, 2, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 3)",
    );
    let x = Shape::new(1, 6, 3, 4);
    add(x, Rearrange::permuted(x, &[1, 3, 2, 12], &[0, 2, 1, 3], x), "F.channel_shuffle(x, 3)");

    let x = Shape::new(1, 3, 5, 6);
    for mode in MODES {
        for amount in [PadAmount::Fixed([1, 2, 3, 4]), PadAmount::Multiple(4)] {
            let op = Pad { amount, mode };
            cases.push(Case::op(format!("{op:?}, by PyTorch"), op, x));
        }
    }
    let op = Pad { amount: PadAmount::Fixed([-1, 2, 3, -2]), mode: PadMode::Zero };
    cases.push(Case::op(format!("{op:?}, by PyTorch"), op, x));
    // The crop takes its size from the input, max-pooled 2x2.
    let mut graph = Graph::new(5);
    let like = push(&mut graph, "like", unet_wgpu::graph::Pool::MAX_2X2, &[Graph::INPUT]);
    push(&mut graph, "op", Crop, &[Graph::INPUT, like]);
    cases.push(Case::new("crop, by PyTorch", graph, Shape::new(1, 5, 5, 7)));
    cases.into_iter().map(|case| case.exact().pytorch()).chain(moves).collect()
}

// ---- cases: kernels alone ----

fn kernels() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in MODES {
        let op = Pad { amount: PadAmount::Multiple(16), mode };
        cases.push(Case::op(format!("kernels of {op:?}"), op, Shape::new(1, 5, 33, 18)));
    }
    let x = Shape::new(1, 12, 33, 18);
    let moves = [
        Rearrange::reshape(x, Shape::new(1, 1, 12, 33 * 18)),
        Rearrange::transpose(x, [0, 2, 3, 1]),
        Rearrange::transpose(x, [0, 3, 2, 1]),
        Rearrange::transpose(x, [0, 1, 3, 2]),
        Rearrange::depth_to_space(x, 2, DepthOrder::Dcr),
        Rearrange::space_to_depth(x, 3, DepthOrder::Dcr),
        Rearrange::permuted(x, &[3, 2, 2, 3, 11, 3, 3, 2], &[7, 6, 5, 4, 3, 2, 1, 0], x),
    ];
    for (i, op) in moves.into_iter().enumerate() {
        cases.push(Case::op(format!("kernels of move {i}"), op.expect("it fits"), x));
    }
    for op in [Op::from(Concat { axis: Axis::H }), Crop.into()] {
        let name = op.rules().name();
        let mut graph = Graph::new(5);
        let x = push(&mut graph, "first", op, &[Graph::INPUT, Graph::INPUT]);
        push(&mut graph, "second", Activation::Relu, &[x]);
        cases.push(Case::new(format!("kernels of {name}"), graph, Shape::new(2, 5, 20, 9)));
    }
    cases.into_iter().map(Case::kernels).collect()
}
