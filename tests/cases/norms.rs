//! Batch, group, instance and layer norm.

use super::*;
use crate::oracle::activated;
use std::collections::HashMap;
use unet_wgpu::graph::{Binary, BinaryKind, Norm, NormOver, Reduce, ReduceKind};

pub(super) fn cases() -> Vec<Case> {
    [batch_norms(), norms(), sums(), spelled(), by_pytorch(), kernels()].into_iter().flatten().collect()
}

// ---- definition ----

pub(super) fn reference(op: &Op, inputs: &[&Volume]) -> Option<Volume> {
    match op {
        Op::BatchNorm(op) => Some(Volume::gather(inputs[0].shape, |at @ [_, c, ..]| {
            let y = f64::from(op.scale[c]) * inputs[0].at(at) + f64::from(op.shift[c]);
            activated(op.activation, y)
        })),
        Op::Norm(op) if op.add => {
            let plain = Norm { add: false, activation: Activation::None, ..op.clone() };
            let x = normed(&plain, inputs[0]);
            Some(Volume::gather(x.shape, |at| activated(op.activation, x.at(at) + inputs[1].at(at))))
        }
        Op::Norm(op) => Some(normed(op, inputs[0])),
        _ => None,
    }
}

fn normed(norm: &Norm, x: &Volume) -> Volume {
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
        activated(norm.activation, (x.at(at) - mean) / deviation * scale + shift)
    })
}

// ---- random networks ----

pub(super) fn draw(kind: &str, to: &mut Drawing) -> Option<ValueId> {
    let x = to.value();
    let channels = to.shape(x).c;
    let activation =
        to.random.pick(&[Activation::None, Activation::None, Activation::Relu, Activation::Gelu]);
    match kind {
        "BatchNorm" => {
            let [scale, shift] = [to.vector(channels, 0.3, 1.5), to.vector(channels, -0.5, 0.5)];
            to.push(BatchNorm { scale, shift, activation }, &[x])
        }
        "Norm" => {
            let groups = NormOver::Groups(to.divisor(channels));
            let over = to.random.pick(&[NormOver::Channels, groups, groups]);
            let affine = to.random.below(2) == 0;
            let op = Norm {
                scale: affine.then(|| to.vector(channels, 0.3, 1.5)),
                shift: affine.then(|| to.vector(channels, -0.5, 0.5)),
                activation,
                // Not smaller, because rounding of equal numbers would be amplified.
                ..Norm::new(over, 0.1)
            };
            to.push(op, &[x])
        }
        _ => None,
    }
}

// ---- cases ----

fn batch_norms() -> Vec<Case> {
    SHAPES.map(|shape| Case::op("batch_norm", batch_norm(shape.c), shape)).into()
}

fn norm(over: NormOver, channels: usize) -> Norm {
    let [scale, shift] = [0.5, -1.0].map(|low| Some(vector(channels, low, 1.5).into()));
    Norm { scale, shift, ..Norm::new(over, 1e-5) }
}

fn norms() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in SHAPES {
        // A single element has no deviation; only rounding would remain.
        if shape.pixels() > 1 {
            cases.push(Case::op("instance norm", norm(NormOver::Groups(shape.c), shape.c), shape));
            cases.push(Case::op("group norm, plain", Norm::new(NormOver::Groups(1), 1e-5), shape));
        }
        if shape.c > 1 {
            cases.push(Case::op("layer norm", norm(NormOver::Channels, shape.c), shape));
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
        cases.push(Case::op(format!("group norm, {groups}"), norm(NormOver::Groups(groups), shape.c), shape));
    }
    for (channels, extents) in [(160, [5, 7]), (129, [1, 3])] {
        let shape = Shape::new(2, channels, extents[0], extents[1]);
        cases.push(Case::op("layer norm", norm(NormOver::Channels, channels), shape));
    }
    cases
}

/// Norms whose result is added to another map: small and large ones, of groups and of channels.
fn sums() -> Vec<Case> {
    let mut cases = Vec::new();
    for (groups, shape) in [
        (5, Shape::new(2, 5, 9, 7)),
        (18, Shape::new(1, 18, 70, 61)),
        (6, Shape::new(2, 6, 80, 75)),
        (2, Shape::new(2, 6, 9, 7)),
    ] {
        for activation in [Activation::None, Activation::Relu] {
            let mut graph = single(shape.c, norm(NormOver::Groups(groups), shape.c));
            let y = graph.output();
            let y = push(&mut graph, "sum", Binary::ADD, &[y, Graph::INPUT]);
            if activation != Activation::None {
                push(&mut graph, "activation", activation, &[y]);
            }
            cases.push(
                Case::new(format!("norm and sum, {activation:?}"), graph, shape).becomes(&["group_norm"]),
            );
        }
    }
    for shape in [Shape::new(1, 7, 100, 93), Shape::new(2, 64, 65, 64)] {
        cases.push(Case::op("instance norm in chunks", norm(NormOver::Groups(shape.c), shape.c), shape));
    }
    // The sum over many channels of a small map is split where workgroup memory is used; the norm adds the parts up.
    for (channels, shape) in [(33, Shape::new(1, 65, 12, 11)), (64, Shape::new(2, 64, 16, 16))] {
        let mut graph = single(shape.c, conv(channels, shape.c, [3, 3]).same());
        let y = graph.output();
        push(&mut graph, "norm", norm(NormOver::Groups(channels), channels), &[y]);
        cases.push(Case::new("instance norm of a split sum", graph, shape).within(Tolerance::Network));
    }
    cases
}

/// Norms of large numbers, as exporters spell them. In f16 the squares would be infinite.
fn spelled() -> Vec<Case> {
    let mut cases = Vec::new();
    let shape = Shape::new(2, 6, 9, 8);
    let [sub, mul, div] = [BinaryKind::Sub, BinaryKind::Mul, BinaryKind::Div].map(Binary::new);
    let line = |scale: f32, shift: f32, channels| BatchNorm {
        scale: vec![scale; channels].into(),
        shift: vec![shift; channels].into(),
        activation: Activation::None,
    };
    for (axes, left) in
        [([false, true, true], "group_norm"), ([true; 3], "group_norm"), ([true, false, false], "layer_norm")]
    {
        let channels = if axes[0] { 1 } else { 6 };
        for spelling in
            ["divided", "nearly squared", "of a sample", "by a factor", "to a power", "by TensorFlow"]
        {
            let mut graph = single(6, line(900.0, 100.0, 6));
            let x = graph.output();
            let mut add = |name: &str, op: Op, inputs: &[ValueId]| push(&mut graph, name, op, inputs);
            let average = Reduce { kind: ReduceKind::Mean, axes };
            let mean = add("mean", average.into(), &[x]);
            let difference = add("difference", sub.into(), &[x, mean]);
            let again = match spelling {
                "nearly squared" => add("again", line(1.0, 1e-3, 6).into(), &[difference]),
                _ => difference,
            };
            let square = add("square", mul.into(), &[difference, again]);
            let mut variance = add("variance", average.into(), &[square]);
            if spelling == "of a sample" {
                let sum = add("sum", line(72.0, 0.0, channels).into(), &[variance]);
                variance = add("of a sample", line(1.0 / 71.0, 0.0, channels).into(), &[sum]);
            }
            let raised = add("raised", line(1.0, 1e-5, channels).into(), &[variance]);
            if spelling == "to a power" {
                let factor = add("factor", Activation::Pow(-0.5).into(), &[raised]);
                add("result", mul.into(), &[factor, difference]);
            } else {
                let root = add("root", Activation::Sqrt.into(), &[raised]);
                if spelling.starts_with("by") {
                    let inverse = add("inverse", Activation::Reciprocal.into(), &[root]);
                    let factor = add("factor", line(0.5, 0.0, channels).into(), &[inverse]);
                    if spelling == "by a factor" {
                        add("result", mul.into(), &[difference, inverse]);
                    } else {
                        let product = add("product", mul.into(), &[x, factor]);
                        let moved = add("moved", mul.into(), &[mean, factor]);
                        let moved = add("shift", line(-1.0, 0.25, channels).into(), &[moved]);
                        add("result", Binary::ADD.into(), &[moved, product]);
                    }
                } else {
                    add("result", div.into(), &[difference, root]);
                }
            }
            let case = Case::new(format!("norm over {axes:?} {spelling}"), graph, shape);
            cases.push(case.within(Tolerance::Network).becomes(&["batch_norm", left]));
        }
    }
    cases
}

/// The sum of squares minus the square of the sum would have no correct digit.
#[test]
fn a_norm_far_from_zero_keeps_its_digits() {
    let shape = Shape::new(1, 6, 40, 50);
    let input = uniform(shape, 200.0, 202.0);
    for over in [NormOver::Groups(6), NormOver::Groups(2), NormOver::Channels] {
        let graph = single(6, Norm::new(over, 1e-5));
        let want = oracle::run(&graph, &input);
        for backend in backends().into_iter().filter(|b| !b.is_half()) {
            let got = backend.run(&graph, &input);
            let far = got.data().iter().zip(want.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Near 200, numbers are 1.5e-5 apart; the deviation is about 0.6.
            assert!(far < 2e-4, "{over:?} on {backend}: {far}");
        }
    }
}

fn by_pytorch() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, channels, low, high, eps, expression) in [
        ("batch_norm", 6, 0.5, 1.5, 1e-5, "batch_norm(x, 6, 0.5, 1.5, 1e-5)"),
        ("batch_norm of variances near 0", 5, 0.0, 1e-5, 1e-5, "batch_norm(x, 5, 0, 1e-5, 1e-5)"),
        ("batch_norm with eps 1e-3", 5, 0.0, 1e-2, 1e-3, "batch_norm(x, 5, 0, 1e-2, 1e-3)"),
    ] {
        let [gamma, beta, mean] = [0.5, 1.0, 0.75].map(|high| vector(channels, -high, high));
        let op = BatchNorm::new(&gamma, &beta, &mean, &vector(channels, low, high), eps);
        let case = Case::op(
            format!("{what}, by PyTorch"),
            op.expect("equal lengths"),
            Shape::new(2, channels, 4, 5),
        );
        cases.push(case.in_pytorch(expression));
    }
    let plain = Norm::new;
    let affine = |over, channels, eps| Norm { eps, ..norm(over, channels) };
    for (what, shape, op) in [
        ("group norm", Shape::new(2, 6, 4, 5), affine(NormOver::Groups(3), 6, 1e-5)),
        (
            "group norm, silu",
            Shape::new(1, 16, 7, 5),
            Norm { activation: Activation::Silu, ..affine(NormOver::Groups(4), 16, 1e-5) },
        ),
        ("group norm of one group", Shape::new(2, 5, 3, 4), plain(NormOver::Groups(1), 1e-5)),
        ("instance norm", Shape::new(2, 5, 7, 6), affine(NormOver::Groups(5), 5, 1e-5)),
        ("instance norm, plain", Shape::new(1, 3, 60, 70), plain(NormOver::Groups(3), 1e-5)),
        ("layer norm", Shape::new(2, 7, 3, 4), affine(NormOver::Channels, 7, 1e-6)),
        ("layer norm, plain", Shape::new(1, 130, 2, 3), plain(NormOver::Channels, 1e-5)),
    ] {
        cases.push(Case::op(format!("{what}, by PyTorch"), op, shape).pytorch());
    }
    cases
}

fn kernels() -> Vec<Case> {
    let shape = |channels| Shape::new(1, channels, 33, 18);
    let plain = BatchNorm::new(&[1.0; 5], &[0.0; 5], &[0.0; 5], &[1.0; 5], 1e-5).expect("five each");
    let mut cases = vec![Case::op("kernels of batch_norm", plain, shape(5)).kernels()];
    for (channels, over) in [
        (5, NormOver::Groups(1)),
        (6, NormOver::Groups(3)),
        (64, NormOver::Groups(64)),
        (96, NormOver::Groups(32)),
        (5, NormOver::Channels),
        (130, NormOver::Channels),
    ] {
        let op = Norm::new(over, 1e-5);
        cases.push(Case::op(format!("kernels of a norm over {over:?}"), op, shape(channels)).kernels());
    }
    cases
}
