//! Functions of one element, arithmetic on two with broadcasting, constants, and chains of them.

use super::*;
use crate::oracle::activated;
use crate::support::{ACTIVATIONS, BINARY_KINDS};
use unet_wgpu::graph::{Binary, BinaryKind, Concat, PRelu, Pointwise, Pool, Resize, ResizeTo, Source, Step};

pub(super) fn cases() -> Vec<Case> {
    [
        many_shapes(),
        functions(),
        powers_of_negative_numbers(),
        broadcasts(),
        whole_numbers(),
        choices(),
        constants(),
        chains(),
        ends_of_chains(),
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
        Op::Activation(op) => Some(inputs[0].map(|v| activated(*op, v))),
        Op::PRelu(op) => {
            let x = inputs[0];
            Some(Volume::gather(x.shape, |at @ [_, c, ..]| {
                activated(Activation::LeakyRelu(op.slope[c]), x.at(at))
            }))
        }
        Op::Binary(op) => Some(binary(*op, inputs[0], inputs[1])),
        Op::Constant(constant) => Some(Volume::from(&*constant.0)),
        Op::Pointwise(op) => Some(steps(op, inputs)),
        _ => None,
    }
}

fn arithmetic(kind: BinaryKind, a: f64, b: f64) -> f64 {
    match kind {
        BinaryKind::Add => a + b,
        BinaryKind::Sub => a - b,
        BinaryKind::Mul => a * b,
        BinaryKind::Div => a / b,
        BinaryKind::Min => a.min(b),
        BinaryKind::Max => a.max(b),
        BinaryKind::Pow => a.powf(b),
        BinaryKind::Less => f64::from(a < b),
        BinaryKind::LessOrEqual => f64::from(a <= b),
        BinaryKind::Equal => f64::from(a == b),
        BinaryKind::Quotient => (a / b).trunc(),
        BinaryKind::Remainder => a - (a / b).trunc() * b,
        BinaryKind::Modulo => a - (a / b).floor() * b,
    }
}

fn larger(a: Shape, b: Shape) -> Shape {
    Shape { n: a.n.max(b.n), c: a.c.max(b.c), h: a.h.max(b.h), w: a.w.max(b.w) }
}

fn binary(op: Binary, a: &Volume, b: &Volume) -> Volume {
    Volume::gather(larger(a.shape, b.shape), |at| {
        activated(op.activation, arithmetic(op.kind, a.spread(at), b.spread(at)))
    })
}

fn steps(op: &Pointwise, inputs: &[&Volume]) -> Volume {
    let shape = inputs.iter().map(|x| x.shape).reduce(larger).expect("at least one input");
    Volume::gather(shape, |at @ [_, c, ..]| {
        let mut made: Vec<f64> = Vec::new();
        for step in &op.steps {
            let of = |source: &Source| match *source {
                Source::Input(i) => inputs[i].spread(at),
                Source::Step(i) => made[i],
            };
            let y = match step {
                Step::Binary { kind, a, b } => arithmetic(*kind, of(a), of(b)),
                Step::Affine { a, scale, shift } => f64::from(scale[c]) * of(a) + f64::from(shift[c]),
                Step::Activation { a, f } => activated(*f, of(a)),
                Step::PRelu { a, slope } => activated(Activation::LeakyRelu(slope[c]), of(a)),
                Step::Select { condition, a, b } => of(if of(condition) != 0.0 { a } else { b }),
            };
            made.push(y);
        }
        made.pop().expect("at least one step")
    })
}

// ---- random networks ----

pub(super) fn draw(kind: &str, to: &mut Drawing) -> Option<ValueId> {
    let x = to.value();
    let shape = to.shape(x);
    match kind {
        "Activation" => {
            let f = to.random.pick(&ACTIVATIONS);
            // Only where the function is defined and not steep, and where rounding does not choose between two steps.
            let fits = match f {
                Activation::Log | Activation::Reciprocal | Activation::Pow(_) | Activation::Sqrt => {
                    to.all(x, |v| v > 0.1)
                }
                Activation::Exp => to.all(x, |v| v < 2.0),
                Activation::Floor | Activation::Ceil | Activation::Trunc => {
                    to.all(x, |v| (v - v.round()).abs() > 1e-3)
                }
                Activation::Round => to.all(x, |v| (v - v.floor() - 0.5).abs() > 1e-3),
                Activation::Sign => to.all(x, |v| v.abs() > 1e-3),
                _ => true,
            };
            fits.then_some(())?;
            to.push(f, &[x])
        }
        "PRelu" => {
            let slope = to.vector(shape.c, -0.5, 0.5);
            to.push(PRelu { slope }, &[x])
        }
        "Binary" => {
            let kind = to.random.pick(&BINARY_KINDS);
            let spread = Shape::new(
                to.random_extent(shape.n),
                to.random_extent(shape.c),
                to.random_extent(shape.h),
                to.random_extent(shape.w),
            );
            let wanted = to.random.pick(&[shape, shape, spread]);
            let (low, high) = operands(kind);
            if let Some(grain) = grain(kind) {
                // Both operands are multiples of a number, so that rounding decides nothing.
                let coarse = |to: &mut Drawing, id| {
                    let steps = to.scaled(id, 1.0 / grain)?;
                    to.all(steps, |v| (v - v.floor() - 0.5).abs() > 1e-3).then_some(())?;
                    let steps = to.push(Activation::Round, &[steps])?;
                    to.scaled(steps, grain)
                };
                let (a, b) = (coarse(to, x)?, to.constant(wanted, low, high)?);
                let b = coarse(to, b)?;
                to.all(b, |v| v != 0.0).then_some(())?;
                return to.push(Binary::new(kind), &[a, b]);
            }
            // Divisors, bases and exponents are limited to where the result is defined and not steep.
            let (a, b) = match kind {
                BinaryKind::Div | BinaryKind::Pow => (x, to.constant(wanted, 0.5, 2.0)?),
                _ => (x, to.operand(wanted, -1.0, 1.0)?),
            };
            (kind != BinaryKind::Pow || to.all(a, |v| v > 0.1)).then_some(())?;
            let commutes = matches!(kind, BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul);
            let inputs = if commutes && to.random.below(2) == 0 { [b, a] } else { [a, b] };
            let activation = to.random.pick(&[Activation::None, Activation::None, Activation::Relu]);
            to.push(Binary { kind, activation }, &inputs)
        }
        "Constant" => to.constant(shape, -1.0, 1.0),
        // As the rewrite makes them, with an operand of its own.
        "Pointwise" => {
            let operand = to.operand(shape, -1.0, 1.0)?;
            let (a, b) = (Source::Input(0), Source::Input(1));
            let op = Pointwise {
                steps: vec![
                    Step::Activation { a, f: Activation::Tanh },
                    Step::Affine {
                        a: b,
                        scale: to.vector(shape.c, 0.3, 1.5),
                        shift: to.vector(shape.c, -0.5, 0.5),
                    },
                    Step::Binary { kind: BinaryKind::Mul, a: Source::Step(0), b: Source::Step(1) },
                ],
            };
            let product = to.push(op, &[x, operand])?;
            // A choice by a value that no rounding turns into 0.
            (to.random.below(2) == 0 && to.all(x, |v| v == 0.0 || v.abs() > 1e-3)).then_some(())?;
            to.push(Pointwise::select(), &[x, product, operand])
        }
        _ => None,
    }
}

// ---- cases: functions ----

fn many_shapes() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in SHAPES {
        for activation in [Activation::Relu, Activation::Sigmoid] {
            cases.push(Case::op(format!("{activation:?} on many shapes"), activation, shape));
        }
        cases.push(Case::op("prelu", PRelu { slope: vector(shape.c, -0.5, 0.5).into() }, shape));
        let mut graph = Graph::new(shape.c);
        let other = push(&mut graph, "relu", Activation::Relu, &[Graph::INPUT]);
        push(&mut graph, "add", Binary::ADD, &[Graph::INPUT, other]);
        cases.push(Case::new("add", graph, shape));
    }
    cases
}

/// Arguments in the domain of the function. For functions with steps, exact in f16 and on both sides of the step.
fn numbers(activation: Activation, shape: Shape) -> Tensor {
    let (low, high) = domain(activation);
    let mut input = uniform(shape, low, high);
    if let Activation::Floor | Activation::Ceil | Activation::Round | Activation::Trunc | Activation::Sign =
        activation
    {
        input.data_mut().iter_mut().for_each(|v| *v = (*v * 4.0).round() / 4.0);
    }
    input
}

fn functions() -> Vec<Case> {
    let mut cases = Vec::new();
    for activation in ACTIVATIONS {
        for shape in [Shape::new(2, 3, 1, 33), Shape::new(1, 16, 3, 2)] {
            let input = numbers(activation, shape);
            cases.push(Case::op(format!("{activation:?}"), activation, shape).on(input));
        }
    }
    cases
}

/// Far from 0 nothing overflows, and NaN stays NaN.
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
        for backend in backends() {
            let got = backend.run(&graph, &input);
            for ((&x, &got), &want) in far.iter().zip(got.data()).zip(want.data()) {
                let near = (got - want).abs() <= 1e-2 * want.abs().max(1e-2);
                // Beyond the range of f16.
                assert!(near || want.abs() > 6e4, "{activation:?} of {x} on {backend}: {got}, want {want}");
            }
        }
    }
}

/// A fault in a network must be visible as NaN at the end; no function may hide it.
#[test]
fn activations_keep_nan() {
    let shape = Shape::new(1, 4, 1, 2);
    let asking = [Activation::IsNan, Activation::IsInfinite];
    for activation in ACTIVATIONS.into_iter().filter(|activation| !asking.contains(activation)) {
        let mut graph = Graph::new(4);
        let nan = Tensor::from_fn(shape, |i| if i % 3 == 0 { f32::NAN } else { 0.5 });
        let nan = push(&mut graph, "nan", Constant(nan.into()), &[]);
        let sum = push(&mut graph, "sum", Binary::ADD, &[Graph::INPUT, nan]);
        push(&mut graph, "activation", activation, &[sum]);
        for backend in backends() {
            let y = backend.run(&graph, &Tensor::zeros(shape));
            for (i, v) in y.data().iter().enumerate() {
                assert_eq!(v.is_nan(), i % 3 == 0, "{activation:?} on {backend}: {v} at {i}");
            }
        }
    }
}

const SIGNED: [f32; 6] = [-2.0, -1.5, -1.0, 0.0, 1.5, 3.0];

fn powers_of_negative_numbers() -> Vec<Case> {
    let input = Tensor::new(Shape::new(1, 1, 1, 6), SIGNED.to_vec()).expect("six");
    let of = |exponent: f32| {
        let pow = Activation::Pow(exponent);
        let want = Tensor::from_fn(input.shape(), |i| input.data()[i].powf(exponent));
        Case::op(format!("{pow:?} of negative numbers"), pow, input.shape()).on(input.clone()).gives(want)
    };
    [3.0, 4.0, 0.0, 1.0].map(of).into()
}

#[test]
fn powers_that_are_none_and_those_that_have_a_name() {
    for exponent in [3.0, 4.0, 0.0, 1.0] {
        assert_eq!(Activation::power(exponent).of(-1.5), (-1.5_f32).powf(exponent));
    }
    assert_eq!(Activation::power(2.0), Activation::Square);
    let input = Tensor::new(Shape::new(1, 1, 1, 6), SIGNED.to_vec()).unwrap();
    for backend in backends() {
        let y = backend.run(&single(1, Activation::Pow(1.5)), &input);
        let nan: Vec<bool> = y.data().iter().map(|v| v.is_nan()).collect();
        assert_eq!(nan, [true, true, true, false, false, false], "{backend}");
    }
}

// ---- cases: two operands ----

/// Ranges of the second operand, and of the first one of a power, where the result is defined and not steep.
fn operands(kind: BinaryKind) -> (f32, f32) {
    match kind {
        BinaryKind::Pow | BinaryKind::Div => (0.5, 2.0),
        BinaryKind::Quotient | BinaryKind::Remainder | BinaryKind::Modulo => (2.0, 7.0),
        _ => (-1.0, 1.0),
    }
}

/// The number of which the operands are multiples where rounding could decide the result.
fn grain(kind: BinaryKind) -> Option<f32> {
    match kind {
        BinaryKind::Less | BinaryKind::LessOrEqual | BinaryKind::Equal => Some(0.5),
        BinaryKind::Quotient | BinaryKind::Remainder | BinaryKind::Modulo => Some(1.0),
        _ => None,
    }
}

/// A tensor rounded to multiples of that number.
fn grained(kind: BinaryKind, mut tensor: Tensor) -> Tensor {
    if let Some(grain) = grain(kind) {
        tensor.data_mut().iter_mut().for_each(|v| *v = (*v / grain).round() * grain);
    }
    tensor
}

fn broadcasts() -> Vec<Case> {
    let mut cases = Vec::new();
    let [n, c, h, w] = [2, 7, 3, 5];
    for kind in BINARY_KINDS {
        let (low, high) = operands(kind);
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
            let positive = grained(kind, uniform(Shape::new(1, 1, 1, 1), 1.5, 1.6));
            let positive = push(&mut graph, "positive", Constant(positive.into()), &[]);
            let x = push(&mut graph, "raised", Binary::ADD, &[Graph::INPUT, positive]);
            let other = Constant(grained(kind, uniform(small, low, high)).into());
            let other = push(&mut graph, "constant", other, &[]);
            push(&mut graph, "op", Binary::new(kind), &[x, other]);
            let shape = Shape::new(n, c, h, w);
            let input = grained(kind, Tensor::random(shape, shape.elements() as u64));
            let case = |what: &str, graph| {
                Case::new(format!("{kind:?} {what} {small}"), graph, shape).on(input.clone())
            };
            cases.push(case("with", graph.clone()));
            push(&mut graph, "swapped", Binary::new(kind), &[other, x]);
            cases.push(case("of", graph));
        }
    }
    // Each operand is broadcast along an axis of the other.
    let mut graph = Graph::new(1);
    let column = push(&mut graph, "column", constant(Shape::new(1, 6, 4, 1), -1.0, 1.0), &[]);
    push(&mut graph, "outer", Binary::new(BinaryKind::Mul), &[Graph::INPUT, column]);
    cases.push(Case::new("outer product", graph, Shape::new(2, 1, 1, 3)));
    cases
}

/// Quotients and remainders of all signs.
fn whole_numbers() -> Vec<Case> {
    let pairs: Vec<(i32, i32)> =
        (-7..=7).flat_map(|a| [-7, -3, -2, -1, 1, 2, 3, 7].map(|b| (a, b))).collect();
    let shape = Shape::new(1, 1, 1, pairs.len());
    let [a, b] = [pairs.iter().map(|p| p.0).collect::<Vec<_>>(), pairs.iter().map(|p| p.1).collect()];
    type Rule = fn((i32, i32)) -> i32;
    let rules: [(BinaryKind, Rule); 3] = [
        (BinaryKind::Quotient, |(a, b)| a / b),
        (BinaryKind::Remainder, |(a, b)| a % b),
        (BinaryKind::Modulo, |(a, b)| (a % b + b) % b),
    ];
    let case = |(kind, rule): (BinaryKind, Rule)| {
        let mut graph = Graph::new(1);
        let divisors = push(&mut graph, "divisors", Constant(integers(shape, &b).into()), &[]);
        push(&mut graph, "op", Binary::new(kind), &[Graph::INPUT, divisors]);
        let want: Vec<i32> = pairs.iter().copied().map(rule).collect();
        let case = Case::new(format!("{kind:?} of all signs"), graph, shape);
        case.on(integers(shape, &a)).gives(integers(shape, &want)).exact()
    };
    rules.into_iter().map(case).collect()
}

/// A division that is off by one unit in the last place must not change a quotient.
#[test]
fn quotients_of_large_numbers_are_exact() {
    let mut random = Random::new(5);
    let pairs: Vec<(i32, i32)> = (0..2000)
        .map(|i| {
            let b = 1 + random.below(5000) as i32;
            let most = (1 << 24) / b;
            // Multiples, and their neighbours.
            ((1 + random.below(most as usize - 1) as i32) * b - i % 3 + 1, b)
        })
        .collect();
    let shape = Shape::new(1, 4, 1, pairs.len() / 4);
    let [a, b, want] = [|(a, _)| a, |(_, b)| b, |(a, b): (i32, i32)| a / b]
        .map(|f: fn((i32, i32)) -> i32| integers(shape, &pairs.iter().copied().map(f).collect::<Vec<_>>()));
    let mut graph = Graph::new(4);
    let divisors = push(&mut graph, "divisors", Constant(b.into()), &[]);
    push(&mut graph, "op", Binary::new(BinaryKind::Quotient), &[Graph::INPUT, divisors]);
    for backend in backends().into_iter().filter(|backend| !backend.is_half()) {
        let got = backend.run(&graph, &a);
        assert_eq!(got.data(), want.data(), "{backend}");
    }
}

/// Choices with operands of all extents, by a comparison in the same kernel.
fn choices() -> Vec<Case> {
    let mut cases = Vec::new();
    let shape = Shape::new(2, 7, 3, 5);
    let sixteenths = |shape| {
        let mut x = Tensor::random(shape, 11);
        x.data_mut().iter_mut().for_each(|v| *v = (*v * 16.0).round() / 16.0);
        x
    };
    for small in [shape, Shape::new(1, 7, 1, 1), Shape::new(2, 1, 3, 1), Shape::new(1, 1, 1, 1)] {
        for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
            let mut graph = Graph::new(7);
            let other = push(&mut graph, "constant", Constant(sixteenths(small).into()), &[]);
            let less = push(&mut graph, "less", Binary::new(BinaryKind::Less), &[other, Graph::INPUT]);
            let operands = [less, Graph::INPUT, other];
            push(&mut graph, "where", Pointwise::select(), &order.map(|i| operands[i]));
            let case = Case::new(format!("choice {order:?} with {small}"), graph, shape);
            let case = if order[0] == 0 { case.becomes(&["pointwise"]) } else { case };
            cases.push(case.on(sixteenths(shape)));
        }
    }
    let mut graph = Graph::new(5);
    let quarter =
        push(&mut graph, "quarter", Constant(uniform(Shape::new(1, 1, 1, 1), 0.25, 0.25).into()), &[]);
    let less = push(&mut graph, "less", Binary::new(BinaryKind::Less), &[quarter, Graph::INPUT]);
    let square = push(&mut graph, "square", Activation::Square, &[Graph::INPUT]);
    let minus = push(&mut graph, "minus", Activation::Neg, &[Graph::INPUT]);
    push(&mut graph, "where", Pointwise::select(), &[less, square, minus]);
    let shape = Shape::new(1, 5, 4, 3);
    let case = Case::new("choice by PyTorch", graph, shape).on(sixteenths(shape));
    cases.push(case.in_pytorch("torch.where(x > 0.25, x * x, -x)").becomes(&["pointwise"]));
    cases
}

/// The branch that is not taken counts for nothing, and comparisons with NaN do not hold.
#[test]
fn choices_and_comparisons_of_what_is_not_finite() {
    let shape = Shape::new(1, 1, 1, 5);
    let numbers = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 2.0];
    let mut graph = Graph::new(1);
    let odd = Constant(Tensor::new(shape, numbers.to_vec()).unwrap().into());
    let odd = push(&mut graph, "numbers", odd, &[]);
    for (name, op) in [("is_nan", Activation::IsNan), ("is_infinite", Activation::IsInfinite)] {
        let truth = push(&mut graph, name, op, &[odd]);
        let kept =
            push(&mut graph, &format!("{name} else"), Pointwise::select(), &[truth, Graph::INPUT, odd]);
        graph.add_output(name, truth).unwrap();
        graph.add_output(&format!("{name} else"), kept).unwrap();
    }
    for kind in [BinaryKind::Less, BinaryKind::LessOrEqual, BinaryKind::Equal] {
        let name = format!("{kind:?}");
        let truth = push(&mut graph, &name, Binary::new(kind), &[odd, odd]);
        graph.add_output(&name, truth).unwrap();
    }
    let input = Tensor::zeros(shape);
    for backend in backends() {
        let got = backend.run_with(&graph, &[&input]);
        let got: Vec<&[f32]> = got.iter().skip(1).map(Tensor::data).collect();
        assert_eq!(got[0], [1.0, 0.0, 0.0, 0.0, 0.0], "{backend}");
        assert_eq!(got[1], [0.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, 2.0], "{backend}");
        assert_eq!(got[2], [0.0, 1.0, 1.0, 0.0, 0.0], "{backend}");
        assert!(got[3][0].is_nan() && got[3][1..] == [0.0, 0.0, 0.0, 2.0], "{backend}: {:?}", got[3]);
        let of_itself = [[0.0; 5], [0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0, 1.0]];
        assert_eq!(got[4..], of_itself, "{backend}");
    }
}

/// Any operator may read a constant, and a constant may be the result.
fn constants() -> Vec<Case> {
    let shape = Shape::new(2, 6, 5, 4);
    let mut graph = Graph::new(6);
    let part = push(&mut graph, "constant", constant(Shape::new(2, 3, 5, 4), -1.0, 1.0), &[]);
    let convolved = push(&mut graph, "conv", conv(6, 3, [3, 3]).same(), &[part]);
    let pooled = push(&mut graph, "pool", Pool::MAX_2X2, &[part]);
    let again = push(&mut graph, "again", Resize::nearest(ResizeTo::Size([5, 4])), &[pooled]);
    let joined = push(&mut graph, "joined", Concat::default(), &[again, part]);
    let sum = push(&mut graph, "sum", Binary::ADD, &[joined, convolved]);
    push(&mut graph, "with input", Binary::ADD, &[sum, Graph::INPUT]);
    let read = Case::new("constant read", graph.clone(), shape);
    push(&mut graph, "two sources", conv(4, 9, [3, 3]).same(), &[Graph::INPUT, part]);
    let beside = Case::new("constant beside a source", graph.clone(), shape);
    graph.set_output(part);
    vec![read, beside, Case::new("constant as the result", graph, shape).exact()]
}

// ---- cases: chains ----

/// Chains of pointwise operators with operands of all extents; one kernel computes as many as fit.
fn chains() -> Vec<Case> {
    let mut cases = Vec::new();
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
            let a = random.pick(&[*whole.last().expect("not empty"), any]);
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
                    push(&mut graph, &name, f, &[a])
                }
                1 => push(&mut graph, &name, batch_norm(shape.c), &[a]),
                2 => push(&mut graph, &name, PRelu { slope: vector(shape.c, -0.5, 0.5).into() }, &[a]),
                3 => {
                    let kind = random.pick(&[BinaryKind::Add, BinaryKind::Mul, BinaryKind::Max]);
                    let b = random.pick(&whole);
                    push(&mut graph, &name, Binary::new(kind), &[a, b])
                }
                _ => {
                    let mut extent = |full: usize| if random.below(2) == 0 { 1 } else { full };
                    let small =
                        Shape::new(extent(shape.n), extent(shape.c), extent(shape.h), extent(shape.w));
                    let other = constant(small, 0.5, 2.0);
                    let other = push(&mut graph, &format!("constant{i}"), other, &[]);
                    let kind =
                        random.pick(&[BinaryKind::Mul, BinaryKind::Div, BinaryKind::Sub, BinaryKind::Min]);
                    let activation = random.pick(&[Activation::None, Activation::Tanh]);
                    push(&mut graph, &name, Binary { kind, activation }, &[a, other])
                }
            };
            whole.push(made);
        }
        cases.push(Case::new(format!("chain {seed}"), graph.clone(), shape));
        // After it, the lanes past the last channel matter.
        let last = graph.output();
        push(&mut graph, "after", conv(3, shape.c, [1, 1]), &[last]);
        let case = Case::new(format!("chain {seed}, convolved"), graph, shape);
        cases.push(case.on(Tensor::random(shape, seed)).within(Tolerance::Network));
    }
    cases
}

#[test]
fn chains_become_one_operator() {
    let chains: Vec<Case> = chains().into_iter().step_by(2).collect();
    let fused = chains.iter().filter(|c| optimized_names(&c.graph, &c.shapes()).contains(&"pointwise"));
    let fused = fused.count();
    assert!(fused >= 20, "{fused} of {} graphs have chains", chains.len());
}

/// As many operands and steps as a kernel takes, and one more.
fn ends_of_chains() -> Vec<Case> {
    let shape = Shape::new(1, 5, 4, 3);
    let mut cases = Vec::new();
    for (operands, left) in [(5, &["pointwise"][..]), (6, &["pointwise", "add"]), (7, &["pointwise"; 2])] {
        let mut graph = single(5, batch_norm(5));
        for i in 0..operands {
            let sum = graph.output();
            let other = push(&mut graph, &format!("constant{i}"), constant(shape, -1.0, 1.0), &[]);
            push(&mut graph, &format!("sum{i}"), Binary::ADD, &[sum, other]);
        }
        cases.push(Case::new(format!("{operands} operands"), graph, shape).becomes(left));
    }
    let steps = [Activation::Tanh].into_iter().chain([Activation::Sin; 20]);
    let graph = chain(5, steps.map(Op::from));
    cases.push(Case::new("21 steps", graph, shape).becomes(&["pointwise"; 2]));
    cases
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

// ---- cases: results of others ----

fn by_pytorch() -> Vec<Case> {
    let mut cases = Vec::new();
    for activation in ACTIVATIONS.into_iter().filter(|a| *a != Activation::None) {
        let shape = Shape::new(1, 5, 4, 3);
        let input = match activation {
            Activation::Relu | Activation::LeakyRelu(_) | Activation::Sigmoid => uniform(shape, -8.0, 8.0),
            _ => numbers(activation, shape),
        };
        cases.push(Case::op(format!("{activation:?}, by PyTorch"), activation, shape).on(input).pytorch());
    }
    let prelu = PRelu { slope: vector(5, -1.0, 1.0).into() };
    cases.push(Case::op("prelu, by PyTorch", prelu, Shape::new(2, 5, 4, 3)).pytorch());

    let shape = Shape::new(1, 5, 3, 4);
    for activation in [Activation::None, Activation::Relu] {
        let op = Binary { activation, ..Binary::ADD };
        cases.push(Case::of(format!("add, {activation:?}, by PyTorch"), op, &[shape; 2]).pytorch());
    }
    // A constant alone has no input, so it is added to one.
    let mut graph = Graph::new(5);
    let other = push(&mut graph, "constant", constant(shape, -1.0, 1.0), &[]);
    push(&mut graph, "op", Binary::ADD, &[Graph::INPUT, other]);
    cases.push(Case::new("constant, by PyTorch", graph, shape).pytorch());
    let shape = Shape::new(2, 5, 3, 4);
    for kind in BINARY_KINDS {
        let (low, high) = operands(kind);
        for small in [shape, Shape::new(1, 5, 1, 1), Shape::new(2, 1, 3, 4), Shape::new(1, 1, 1, 4)] {
            let mut graph = Graph::new(5);
            let other = Constant(grained(kind, uniform(small, low, high)).into());
            let other = push(&mut graph, "constant", other, &[]);
            push(&mut graph, "op", Binary::new(kind), &[Graph::INPUT, other]);
            let case = Case::new(format!("{kind:?} with {small}, by PyTorch"), graph, shape);
            cases.push(case.on(grained(kind, uniform(shape, low, high))).pytorch());
        }
    }
    cases
}

/// `max(2 relu(x) + 1, constant)` and a PReLU of it, as one operator.
fn by_hand() -> Vec<Case> {
    let shape = Shape::new(1, 1, 1, 3);
    let mut graph = Graph::new(1);
    let other = push(&mut graph, "constant", Constant(integers(shape, &[2, -9, 1]).into()), &[]);
    let a = Source::Input(0);
    let steps = vec![
        Step::Activation { a, f: Activation::Relu },
        Step::Affine { a: Source::Step(0), scale: vec![2.0].into(), shift: vec![1.0].into() },
        Step::Binary { kind: BinaryKind::Max, a: Source::Step(1), b: Source::Input(1) },
        Step::PRelu { a: Source::Step(2), slope: vec![0.5].into() },
    ];
    push(&mut graph, "op", Pointwise { steps }, &[Graph::INPUT, other]);
    // Of -4, 3 and -1: 0, 3, 0 after the ReLU, then 1, 7, 1, and the constant is larger once.
    let case = Case::new("pointwise by hand", graph, shape);
    vec![case.on(integers(shape, &[-4, 3, -1])).gives(integers(shape, &[2, 7, 1])).exact()]
}

// ---- cases: kernels alone ----

fn kernels() -> Vec<Case> {
    let mut cases = Vec::new();
    let shape = Shape::new(1, 5, 33, 18);
    for activation in ACTIVATIONS {
        cases.push(Case::op(format!("kernels of {activation:?}"), activation, shape).kernels());
    }
    cases.push(Case::op("kernels of prelu", PRelu { slope: vec![0.1; 5].into() }, shape).kernels());
    for kind in BINARY_KINDS {
        let mut graph = Graph::new(5);
        let x = push(&mut graph, "first", Binary::new(kind), &[Graph::INPUT, Graph::INPUT]);
        let wide = Conv::new(Tensor::random(Shape::new(40, 5, 3, 3), 1).into(), None);
        push(&mut graph, "second", wide, &[x]);
        cases.push(Case::new(format!("kernels of {kind:?}"), graph, Shape::new(2, 5, 20, 9)).kernels());
    }
    // All steps in one kernel, as many as its bindings allow, with and without lanes to clear.
    for channels in [5, 8] {
        let mut graph = Graph::new(channels);
        let vector: Arc<[f32]> = vec![0.1; channels].into();
        let mut x = push(&mut graph, "prelu", PRelu { slope: vector.clone() }, &[Graph::INPUT]);
        let norm = BatchNorm { scale: vector.clone(), shift: vector, activation: Activation::Pow(1.5) };
        x = push(&mut graph, "norm", norm, &[x]);
        for (i, (extents, kind)) in
            [[2, 1, 20, 9], [1, channels, 1, 9], [1; 4], [2, channels, 1, 1], [2, channels, 20, 9]]
                .into_iter()
                .zip(BINARY_KINDS.into_iter().rev())
                .enumerate()
        {
            let [n, c, h, w] = extents;
            let other = Constant(Tensor::zeros(Shape::new(n, c, h, w)).into());
            let other = push(&mut graph, &format!("constant{i}"), other, &[]);
            let activation = ACTIVATIONS[(7 * i + channels) % ACTIVATIONS.len()];
            x = push(&mut graph, &format!("op{i}"), Binary { kind, activation }, &[x, other]);
        }
        cases.push(Case::new("kernels of all steps", graph, Shape::new(2, channels, 20, 9)).kernels());
    }
    // With a constant of other extents, on either side.
    for kind in BINARY_KINDS {
        for (channels, extents) in [(1, 1), (5, 1), (5, 20), (8, 20)] {
            let mut graph = Graph::new(channels);
            let constant = Tensor::zeros(Shape::new(1, [channels, 1][extents % 2], 1, extents));
            let c = push(&mut graph, "constant", Constant(constant.into()), &[]);
            let x = push(&mut graph, "first", Binary::new(kind), &[Graph::INPUT, c]);
            push(&mut graph, "second", Binary::new(kind), &[c, x]);
            let what = format!("kernels of {kind:?} with a constant of {extents}");
            cases.push(Case::new(what, graph, Shape::new(2, channels, 20, 20)).kernels());
        }
    }
    cases
}
