//! The ends of classifying networks: softmax, and the channel with the largest value.

use super::*;
use unet_wgpu::graph::{ArgMax, Axis, Softmax};

const AXES: [Axis; 3] = [Axis::C, Axis::H, Axis::W];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in SHAPES {
        cases.push(Case::op("argmax", ArgMax, shape).exact());
        cases.extend(AXES.map(|axis| Case::op(format!("softmax over {axis}"), Softmax { axis }, shape)));
    }
    // The first of equal values.
    let shape = Shape::new(1, 7, 1, 3);
    let equal = Tensor::from_fn(shape, |i| [-2.0, -1.0, -1.0, -3.0, -1.0, -2.0, -1.0][i / 3]);
    let first = Tensor::from_fn(Shape { c: 1, ..shape }, |_| 1.0);
    cases.push(Case::op("argmax of equal ones", ArgMax, shape).on(equal).gives(first).exact());

    let shape = Shape::new(1, 5, 4, 3);
    for axis in AXES {
        let what = format!("softmax over {axis}, by PyTorch");
        cases.push(Case::op(what, Softmax { axis }, shape).on(uniform(shape, -8.0, 8.0)).pytorch());
    }
    let shape = Shape::new(1, 4, 2, 2);
    let far = uniform(shape, -100.0, 100.0);
    cases.push(Case::op("softmax far apart, by PyTorch", Softmax::default(), shape).on(far).pytorch());
    let shape = Shape::new(2, 7, 4, 3);
    let mut equal = uniform(shape, -3.0, 3.0);
    equal.data_mut().iter_mut().for_each(|v| *v = v.round());
    cases.push(Case::op("argmax, by PyTorch", ArgMax, shape).on(equal).exact().pytorch());

    let shape = Shape::new(1, 5, 33, 18);
    cases.extend(
        AXES.map(|axis| {
            Case::op(format!("kernels of softmax over {axis}"), Softmax { axis }, shape).kernels()
        }),
    );
    cases.push(Case::op("kernels of argmax", ArgMax, shape).kernels());
    cases
}

pub(super) fn reference(op: &Op, inputs: &[&Volume]) -> Option<Volume> {
    match op {
        Op::Softmax(op) => Some(softmax(inputs[0], op.axis)),
        Op::ArgMax(ArgMax) => Some(argmax(inputs[0])),
        _ => None,
    }
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

fn argmax(x: &Volume) -> Volume {
    Volume::gather(Shape { c: 1, ..x.shape }, |[n, _, y, x_]| {
        let value = |c: &usize| x.at([n, *c, y, x_]);
        // `max_by` returns the last of equal values.
        let last = (0..x.shape.c).rev().max_by(|a, b| value(a).partial_cmp(&value(b)).expect("numbers"));
        last.expect("at least one channel") as f64
    })
}

pub(super) fn draw(kind: &str, to: &mut Drawing) -> Option<ValueId> {
    match kind {
        "Softmax" => {
            let (x, axis) = (to.value(), to.random.pick(&AXES));
            to.push(Softmax { axis }, &[x])
        }
        "ArgMax" => {
            let x = to.value();
            // Rounding must not decide.
            to.apart(x, 1e-3).then_some(())?;
            to.push(ArgMax, &[x])
        }
        _ => None,
    }
}
