//! Pools and reductions: windows and whole axes become one number.

use super::*;
use crate::support::Tolerance;
use unet_wgpu::graph::{AdaptivePool, Axis, Pool, PoolKind, Reduce, ReduceKind};

const KINDS: [PoolKind; 3] = [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding];
const REDUCE_KINDS: [ReduceKind; 5] =
    [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min, ReduceKind::L2];

pub(super) fn cases() -> Vec<Case> {
    [pools(), below_zero(), reductions(), by_pytorch(), kernels()].into_iter().flatten().collect()
}

// ---- definition ----

pub(super) fn reference(op: &Op, inputs: &[&Volume]) -> Option<Volume> {
    match op {
        Op::Pool(op) => Some(pooled(op, inputs[0])),
        Op::AdaptivePool(op) => Some(adapted(*op, inputs[0])),
        Op::Reduce(op) => Some(reduced(*op, inputs[0])),
        _ => None,
    }
}

/// Number of windows of `window` pixels, `stride` apart, that fit into `size`.
pub(super) fn fitting(size: usize, window: usize, stride: usize) -> usize {
    (0..).take_while(|i| i * stride + window <= size).count()
}

/// PyTorch's rule: with `ceil`, a last window may exceed the padded picture if it begins in the picture or before it.
fn pooled(pool: &Pool, x: &Volume) -> Volume {
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

fn adapted(op: AdaptivePool, x: &Volume) -> Volume {
    let range = |i: usize, count: usize| {
        (i as f64 * count as f64 / op.to as f64) as usize
            ..((i + 1) as f64 * count as f64 / op.to as f64).ceil() as usize
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    match op.axis {
        Axis::H => Volume::gather(Shape { h: op.to, ..x.shape }, |[n, c, row, column]| {
            mean(range(row, x.shape.h).map(|y| x.at([n, c, y, column])).collect())
        }),
        _ => Volume::gather(Shape { w: op.to, ..x.shape }, |[n, c, row, column]| {
            mean(range(column, x.shape.w).map(|x_| x.at([n, c, row, x_])).collect())
        }),
    }
}

fn reduced(op: Reduce, x: &Volume) -> Volume {
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

// ---- random networks ----

pub(super) fn draw(kind: &str, to: &mut Drawing) -> Option<ValueId> {
    let x = to.value();
    match kind {
        "Pool" if to.random.below(3) == 0 => to.push(Pool::MAX_2X2, &[x]),
        "Pool" => {
            let kernel = [1 + to.random.below(3), 1 + to.random.below(3)];
            let [top, left, bottom, right] = [0, 1, 0, 1].map(|axis: usize| to.random.below(kernel[axis]));
            let op = Pool {
                kind: to.random.pick(&KINDS),
                kernel,
                stride: [1 + to.random.below(3), 1 + to.random.below(3)],
                padding: [top, left, bottom, right],
                dilation: [1 + to.random.below(3) / 2, 1 + to.random.below(3) / 2],
                ceil: to.random.below(2) == 0,
            };
            to.push(op, &[x])
        }
        "AdaptivePool" => {
            let (axis, to_) = (to.random.pick(&[Axis::H, Axis::W]), 1 + to.random.below(9));
            to.push(AdaptivePool { axis, to: to_ }, &[x])
        }
        "Reduce" => {
            let axes = to.random.pick(&AXES);
            let kind = to.random.pick(&REDUCE_KINDS);
            to.push(Reduce { kind, axes }, &[x])
        }
        _ => None,
    }
}

const AXES: [[bool; 3]; 7] = [
    [true, false, false],
    [false, true, false],
    [true, true, false],
    [false, false, true],
    [true, false, true],
    [false, true, true],
    [true, true, true],
];

// ---- cases ----

fn tolerance(kind: PoolKind) -> Tolerance {
    if kind == PoolKind::Max { Tolerance::Exact } else { Tolerance::Operator }
}

fn pool(kind: PoolKind, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4], ceil: bool) -> Pool {
    Pool { kind, kernel, stride, padding, ceil, ..Pool::MAX_2X2 }
}

fn pools() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in SHAPES.into_iter().filter(|s| s.h >= 2 && s.w >= 2) {
        cases.push(Case::op("max_pool 2x2", Pool::MAX_2X2, shape).exact());
    }
    let mut add = |op: Pool, shapes: &[Shape]| {
        cases.extend(shapes.iter().map(|&s| Case::op(format!("{op:?}"), op, s).within(tolerance(op.kind))));
    };
    let shapes = [Shape::new(1, 3, 7, 16), Shape::new(2, 17, 16, 7), Shape::new(1, 64, 3, 3)];
    for kind in KINDS {
        for (kernel, stride, padding, ceil) in [
            ([3, 3], [2, 2], [1; 4], false),
            ([3, 3], [2, 2], [1; 4], true),
            ([3, 3], [2, 2], [0; 4], true),
            ([2, 2], [2, 2], [1; 4], true),
            ([3, 3], [1, 1], [1; 4], false),
            ([2, 3], [1, 2], [0, 1, 1, 0], false),
        ] {
            add(pool(kind, kernel, stride, padding, ceil), &shapes);
        }
        for (kernel, stride, dilation, padding, ceil) in [
            ([3, 3], [1, 1], [2, 2], [2; 4], false),
            ([2, 3], [2, 2], [3, 1], [0, 1, 1, 0], false),
            ([2, 2], [2, 2], [2, 2], [1; 4], true),
        ] {
            add(Pool { dilation, ..pool(kind, kernel, stride, padding, ceil) }, &shapes[..2]);
        }
    }
    cases.extend(adaptive());
    cases
}

fn adaptive() -> Vec<Case> {
    let mut cases = Vec::new();
    for (axis, to) in [(Axis::H, 1), (Axis::W, 2), (Axis::H, 3), (Axis::W, 6), (Axis::W, 20)] {
        let op = AdaptivePool { axis, to };
        cases.extend(SHAPES.map(|shape| Case::op(format!("{op:?}"), op, shape)));
    }
    let shape = Shape::new(1, 1, 1, 5);
    let input = Tensor::from_fn(shape, |i| (i * i) as f32);
    // 0, 1, 4 and 4, 9, 16; then 0, 0 and 1, 1 and 4, ...
    for (to, want) in [(2, vec![5.0 / 3.0, 29.0 / 3.0]), (10, vec![0., 0., 1., 1., 4., 4., 9., 9., 16., 16.])]
    {
        let op = AdaptivePool { axis: Axis::W, to };
        let want = Tensor::new(Shape { w: to, ..shape }, want).expect("as many values");
        cases.push(Case::op(format!("{op:?} by hand"), op, shape).on(input.clone()).gives(want));
    }
    cases
}

/// The maximum of negative numbers is negative.
fn below_zero() -> Vec<Case> {
    let padded = pool(PoolKind::Max, [3, 3], [2, 2], [1; 4], false);
    let input = Tensor::from_fn(Shape::new(1, 5, 4, 4), |i| -1.0 - i as f32);
    let of = |(what, op): (&str, Pool)| {
        Case::op(format!("{what} below zero"), op, input.shape()).on(input.clone()).exact()
    };
    [("max_pool 2x2", Pool::MAX_2X2), ("max_pool 3x3 padded", padded)].map(of).into()
}

fn reductions() -> Vec<Case> {
    let mut cases: Vec<Case> =
        SHAPES.map(|shape| Case::op("global_average_pool", Reduce::GLOBAL_AVERAGE, shape)).into();
    for kind in REDUCE_KINDS {
        let mut add = |axes: [bool; 3], shape: Shape| {
            cases.push(Case::op(format!("{kind:?} {axes:?}"), Reduce { kind, axes }, shape));
        };
        for axes in AXES {
            add(axes, Shape::new(2, 7, 5, 6));
            add(axes, Shape::new(1, 16, 3, 33));
        }
        // Several steps.
        for axes in [[false, true, true], [true; 3]] {
            add(axes, Shape::new(1, 5, 150, 131));
        }
    }
    cases
}

#[test]
fn pools_refuse_extents_that_a_kernel_cannot_hold() {
    for dilation in [0, 1 << 17, 1 << 32] {
        let op = Pool { kernel: [1, 1], dilation: [1, dilation], ..Pool::MAX_2X2 };
        let error = op.infer(&[Shape::new(1, 1, 4, 4)]).unwrap_err().to_string();
        assert!(error.starts_with("pool: expected kernel and dilation of 1 to 65536"), "{error}");
    }
}

fn by_pytorch() -> Vec<Case> {
    let max = |kernel, stride, padding, ceil| pool(PoolKind::Max, kernel, stride, padding, ceil);
    let mut pools = vec![
        ("2x2", Shape::new(2, 5, 6, 7), Pool::MAX_2X2),
        ("3x3 stride 2", Shape::new(1, 3, 7, 8), max([3, 3], [2, 2], [1; 4], false)),
        ("3x3 stride 2, floor", Shape::new(1, 3, 6, 8), max([3, 3], [2, 2], [0; 4], false)),
        ("3x3 stride 2, ceil", Shape::new(1, 3, 6, 8), max([3, 3], [2, 2], [0; 4], true)),
        // The last window would begin in the padding after the picture; PyTorch drops it.
        ("2x2 padded, ceil", Shape::new(1, 3, 5, 6), max([2, 2], [2, 2], [1; 4], true)),
        ("2x3 stride 1x2", Shape::new(1, 3, 5, 6), max([2, 3], [1, 2], [0, 1, 0, 1], false)),
        ("dilation", Shape::new(2, 3, 9, 8), Pool { dilation: [2, 2], ..max([3, 3], [2, 2], [1; 4], false) }),
    ];
    for kind in [PoolKind::Average, PoolKind::AverageWithPadding] {
        pools.extend([
            ("2x2", Shape::new(1, 3, 6, 7), pool(kind, [2, 2], [2, 2], [0; 4], false)),
            ("3x3 stride 2", Shape::new(1, 3, 7, 8), pool(kind, [3, 3], [2, 2], [1; 4], false)),
            ("3x3 stride 2, ceil", Shape::new(1, 3, 6, 8), pool(kind, [3, 3], [2, 2], [1; 4], true)),
        ]);
    }
    let named = |(what, shape, op): (&str, Shape, Pool)| {
        let case = Case::op(format!("{:?} pool {what}, by PyTorch", op.kind), op, shape);
        case.within(tolerance(op.kind)).pytorch()
    };
    let mut cases: Vec<Case> = pools.into_iter().map(named).collect();
    let mut add = |what: String, op: Reduce, shape: Shape| {
        let exact = matches!(op.kind, ReduceKind::Max | ReduceKind::Min);
        let tolerance = if exact { Tolerance::Exact } else { Tolerance::Operator };
        cases.push(Case::op(format!("{what}, by PyTorch"), op, shape).within(tolerance).pytorch());
    };
    add("global_average_pool".into(), Reduce::GLOBAL_AVERAGE, Shape::new(2, 5, 7, 3));
    add("global_average_pool".into(), Reduce::GLOBAL_AVERAGE, Shape::new(1, 3, 50, 41));
    for kind in REDUCE_KINDS {
        for axes in
            [[true, false, false], [false, true, true], [false, true, false], [false, false, true], [true; 3]]
        {
            add(format!("{kind:?} {axes:?}"), Reduce { kind, axes }, Shape::new(2, 5, 3, 4));
        }
    }
    cases
}

fn kernels() -> Vec<Case> {
    let shape = Shape::new(1, 5, 33, 18);
    let mut cases = Vec::new();
    for kind in KINDS {
        let op = Pool { kind, kernel: [3, 3], padding: [1; 4], ..Pool::MAX_2X2 };
        cases.push(Case::op(format!("kernels of {op:?}"), op, shape).kernels());
    }
    cases.push(Case::op("kernels of global_average_pool", Reduce::GLOBAL_AVERAGE, shape).kernels());
    for kind in REDUCE_KINDS {
        for axes in [[true, false, false], [false, true, true], [true, true, false], [true; 3]] {
            let op = Reduce { kind, axes };
            cases.push(Case::op(format!("kernels of {op:?}"), op, shape).kernels());
        }
    }
    cases
}
