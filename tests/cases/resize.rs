//! Nearest, bilinear and bicubic resampling by every rule of ONNX and PyTorch.

use super::*;
use unet_wgpu::graph::{Coordinates, Interpolation, Pool, Resize, ResizeTo, Rounding};

const ROUNDINGS: [Rounding; 4] =
    [Rounding::Floor, Rounding::Ceil, Rounding::PreferFloor, Rounding::PreferCeil];
const COORDINATES: [Coordinates; 6] = [
    Coordinates::Asymmetric,
    Coordinates::HalfPixel,
    Coordinates::PytorchHalfPixel,
    Coordinates::HalfPixelSymmetric,
    Coordinates::TfHalfPixel,
    Coordinates::AlignCorners,
];
const CUBIC: Interpolation = Interpolation::Cubic(-0.75);
const INSIDE: Interpolation = Interpolation::CubicInside(-0.75);

pub(super) fn cases() -> Vec<Case> {
    [by_every_rule(), many_shapes(), like(), by_pytorch(), by_onnx(), kernels()]
        .into_iter()
        .flatten()
        .collect()
}

// ---- definition ----

pub(super) fn reference(op: &Op, inputs: &[&Volume]) -> Option<Volume> {
    let Op::Resize(op) = op else { return None };
    Some(resized(op, inputs))
}

fn resized(resize: &Resize, inputs: &[&Volume]) -> Volume {
    let x = inputs[0];
    let from = [x.shape.h, x.shape.w];
    let by_size = |to: [usize; 2]| (to, [0, 1].map(|axis| to[axis] as f64 / from[axis] as f64));
    let (to, scale) = match resize.to {
        ResizeTo::Size(to) => by_size(to),
        ResizeTo::Like => by_size([inputs[1].shape.h, inputs[1].shape.w]),
        ResizeTo::Scale(scale) => {
            ([0, 1].map(|axis| (from[axis] as f32 * scale[axis]) as usize), scale.map(f64::from))
        }
    };
    // Position in the input for index `i` of the output.
    let place = |i: usize, axis: usize| {
        let (i, from, scale) = (i as f64, from[axis] as f64, scale[axis]);
        match resize.coordinates {
            Coordinates::Asymmetric => i / scale,
            Coordinates::HalfPixel => (i + 0.5) / scale - 0.5,
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if to[axis] == 1 => 0.0,
            Coordinates::PytorchHalfPixel => (i + 0.5) / scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let length = f64::from(from as f32 * scale as f32);
                from / 2.0 * (1.0 - to[axis] as f64 / length) + (i + 0.5) / scale - 0.5
            }
            Coordinates::TfHalfPixel => (i + 0.5) / scale,
            Coordinates::AlignCorners => i * (from - 1.0) / (to[axis] as f64 - 1.0),
        }
    };
    // Weight of a pixel at a distance.
    use Interpolation::{Cubic, CubicInside};
    let kernel = |d: f64| match (resize.interpolation, d.abs()) {
        (Cubic(a) | CubicInside(a), d) if d <= 1.0 => {
            (f64::from(a) + 2.0) * d.powi(3) - (f64::from(a) + 3.0) * d.powi(2) + 1.0
        }
        (Cubic(a) | CubicInside(a), d) if d < 2.0 => {
            f64::from(a) * (d.powi(3) - 5.0 * d.powi(2) + 8.0 * d - 4.0)
        }
        (Cubic(_) | CubicInside(_), _) => 0.0,
        (_, d) => (1.0 - d).max(0.0),
    };
    // The weights of all pixels of an axis. Those beyond the edges are added to the pixels at the edges.
    let weights = |i: usize, axis: usize| {
        let (mut weights, last) = (vec![0.0; from[axis]], from[axis] as isize - 1);
        // Factors are f32, so an integer may be off by a billionth.
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
            let outside = if matches!(resize.interpolation, CubicInside(_)) { 0 } else { 4 };
            for j in -outside..=last + outside {
                weights[j.clamp(0, last) as usize] += kernel(place - j as f64);
            }
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
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

// ---- random networks ----

pub(super) fn draw(kind: &str, to: &mut Drawing) -> Option<ValueId> {
    if kind != "Resize" {
        return None;
    }
    let x = to.value();
    let size = ResizeTo::Size([1 + to.random.below(20), 1 + to.random.below(20)]);
    let scale = ResizeTo::Scale([(); 2].map(|()| to.random.pick(&[0.5, 0.7, 1.0, 1.5, 2.0, 2.0, 2.3])));
    let op = Resize {
        to: to.random.pick(&[size, scale, scale, ResizeTo::Like]),
        interpolation: match to.random.below(3) {
            0 => Interpolation::Nearest(to.random.pick(&ROUNDINGS)),
            1 => Interpolation::Linear,
            _ => to.random.pick(&[CUBIC, Interpolation::Cubic(-0.5), INSIDE]),
        },
        coordinates: to.random.pick(&COORDINATES),
    };
    match op.to {
        ResizeTo::Like => {
            let like = to.value();
            to.push(op, &[x, like])
        }
        _ => to.push(op, &[x]),
    }
}

// ---- cases ----

fn case(what: &str, resize: Resize, shape: Shape) -> Case {
    let case = Case::op(format!("{what} {resize:?}"), resize, shape);
    match resize.interpolation {
        Interpolation::Nearest(_) => case.exact(),
        _ => case,
    }
}

fn by_every_rule() -> Vec<Case> {
    let mut interpolations: Vec<_> = ROUNDINGS.map(Interpolation::Nearest).to_vec();
    interpolations.extend([Interpolation::Linear, CUBIC, Interpolation::Cubic(-0.5), INSIDE]);
    let mut cases = Vec::new();
    for coordinates in COORDINATES {
        for &interpolation in &interpolations {
            for to in [
                ResizeTo::Scale([2.0, 3.0]),
                ResizeTo::Scale([0.6, 1.0 / 3.0]),
                ResizeTo::Size([1, 10]),
                ResizeTo::Size([8, 4]),
            ] {
                cases.push(case("", Resize { to, interpolation, coordinates }, Shape::new(1, 3, 5, 7)));
            }
        }
    }
    cases
}

fn many_shapes() -> Vec<Case> {
    let by = ResizeTo::Scale;
    let kinds: [fn(ResizeTo) -> Resize; 3] =
        [Resize::nearest, |to| Resize::bilinear(to, false), |to| Resize::bilinear(to, true)];
    let mut cases = Vec::new();
    for resize in kinds {
        for (i, shape) in SHAPES.into_iter().enumerate() {
            cases.push(case("", resize(by([[2.0, 2.0], [3.0, 3.0]][i % 2])), shape));
        }
        for to in [by([1.5, 2.5]), by([0.5, 1.0]), by([0.34, 4.0]), ResizeTo::Size([5, 17])] {
            cases.push(case("", resize(to), Shape::new(2, 7, 16, 7)));
        }
    }
    cases
}

/// The size of another map.
fn like() -> Vec<Case> {
    let kinds: [fn(ResizeTo) -> Resize; 3] =
        [Resize::nearest, |to| Resize::bilinear(to, false), |to| Resize::bilinear(to, true)];
    let of = |resize: fn(ResizeTo) -> Resize| {
        let mut graph = Graph::new(5);
        let half = graph.push("half", Pool::MAX_2X2, &[Graph::INPUT]).expect("a free name");
        let resize = resize(ResizeTo::Like);
        graph.push("like", resize, &[half, Graph::INPUT]).expect("a free name");
        Case::new(format!("{resize:?}"), graph, Shape::new(2, 5, 9, 13))
    };
    kinds.map(of).into()
}

fn by_pytorch() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |to, interpolation, coordinates, shape| {
        cases.push(case("by PyTorch:", Resize { to, interpolation, coordinates }, shape).pytorch());
    };
    let [floor, exact] = [Rounding::Floor, Rounding::PreferCeil].map(Interpolation::Nearest);
    let (linear, half, align) = (Interpolation::Linear, Coordinates::HalfPixel, Coordinates::AlignCorners);
    for (to, shape) in [
        (ResizeTo::Scale([2.0, 2.0]), Shape::new(1, 3, 4, 5)),
        (ResizeTo::Scale([3.0, 3.0]), Shape::new(1, 3, 3, 2)),
        (ResizeTo::Scale([1.5, 0.5]), Shape::new(1, 3, 6, 6)),
        (ResizeTo::Scale([2.0, 2.0]), Shape::new(1, 3, 1, 1)),
    ] {
        add(to, floor, Coordinates::Asymmetric, shape);
        add(to, linear, half, shape);
        add(to, linear, align, shape);
    }
    let shape = Shape::new(1, 3, 6, 7);
    // Factors that are not ratios of integer sizes.
    for scale in [[1.37, 2.3], [0.6, 0.45]] {
        add(ResizeTo::Scale(scale), floor, Coordinates::Asymmetric, shape);
        for interpolation in [exact, linear, CUBIC] {
            add(ResizeTo::Scale(scale), interpolation, half, shape);
        }
    }
    for size in [[9, 4], [1, 20]] {
        for interpolation in [linear, CUBIC] {
            add(ResizeTo::Size(size), interpolation, half, shape);
            add(ResizeTo::Size(size), interpolation, align, shape);
        }
    }
    cases
}

/// Rules that PyTorch lacks are checked with ONNX's reference implementation.
fn by_onnx() -> Vec<Case> {
    let mut interpolations: Vec<_> = ROUNDINGS.map(Interpolation::Nearest).to_vec();
    interpolations.extend([Interpolation::Linear, CUBIC]);
    let mut cases = Vec::new();
    // The reference has forgotten one of opset 11; ONNX Runtime's results are in `runtime.safetensors`.
    for coordinates in COORDINATES.into_iter().filter(|rule| *rule != Coordinates::TfHalfPixel) {
        for to in [ResizeTo::Scale([2.0, 3.0]), ResizeTo::Scale([0.65, 0.7]), ResizeTo::Size([3, 10])] {
            for &interpolation in &interpolations {
                let resize = Resize { to, interpolation, coordinates };
                cases.push(case("by ONNX:", resize, Shape::new(1, 2, 4, 5)).pytorch());
            }
        }
    }
    cases
}

fn kernels() -> Vec<Case> {
    let to = ResizeTo::Scale([2.0; 2]);
    let linear = Resize::bilinear(to, false);
    [Resize::nearest(to), Resize::bilinear(to, true), Resize { interpolation: CUBIC, ..linear }]
        .map(|resize| case("kernels of", resize, Shape::new(1, 5, 33, 18)).kernels())
        .into()
}
