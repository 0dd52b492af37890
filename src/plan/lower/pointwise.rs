//! Pointwise operators, alone or several as one. The kernel's arithmetic is written here, one line for each step.

use super::{Lower, Lowering, vectors};
use crate::error::Result;
use crate::graph::{Activation, BatchNorm, Binary, BinaryKind, Node, PRelu, Pointwise, Source, Step};
use crate::plan::kernel::{self, ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::plan::pack::Constant;
use crate::tensor::Shape;
use std::fmt::Write as _;

const POINTWISE: ShaderFile = shader!("pointwise");

/// Names of the operands. WebGPU guarantees eight storage buffers: these, the numbers and the result.
const SOURCES: [&str; 6] = ["src0", "src1", "src2", "src3", "src4", "src5"];

macro_rules! lower {
    ($($operator:ty),*) => {
        $(impl Lower for $operator {
            fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
                to.pointwise(node, &Pointwise::of(&node.op).expect("it is a pointwise operator"))
            }
        })*
    };
}

lower!(Activation, BatchNorm, Binary, PRelu, Pointwise);

impl Lowering<'_> {
    fn pointwise(&mut self, node: &Node, pointwise: &Pointwise) -> Result<()> {
        let y = self.shape(node.outputs[0]);
        let mut step = self
            .step(&node.name, POINTWISE)
            .flag("MASK", !y.c.is_multiple_of(4))
            .sizes([("out_h", y.h), ("out_w", y.w), ("vectors", vec4s(y.c)), ("channels", y.c)])
            .total(vectors(y))
            .bind("dst", super::Operand::Value(node.outputs[0]))
            .flops(self.flops(node));
        let (mut bindings, mut lines, mut slot) = (String::new(), String::new(), 2);
        let mut bind = |name: &str, of: &str| {
            let _ = writeln!(bindings, "@group(0) @binding({slot}) var<storage, read> {name}: array<{of}>;");
            slot += 1;
        };
        for (i, (&id, name)) in node.inputs.iter().zip(SOURCES).enumerate() {
            bind(name, "elem4");
            step = step.bind(name, self.source(id));
            let _ = writeln!(lines, "let x{i} = {};", load(name, self.shape(id), y));
        }
        let mut numbers: Vec<f32> = Vec::new();
        for (i, step) in pointwise.steps.iter().enumerate() {
            let first = numbers.len() / vec4s(y.c) / 4;
            for vector in step.vectors() {
                numbers.extend_from_slice(vector);
                numbers.resize(numbers.len().next_multiple_of(4), 0.0);
            }
            let _ = writeln!(lines, "let s{i} = {};", value(step, first));
        }
        if !numbers.is_empty() {
            bind("numbers", "vec4<f32>");
            let constant = Constant::Vector { len: numbers.len(), values: Some(numbers.into()) };
            step = step.bind("numbers", self.constant(constant));
        }
        let last = pointwise.steps.len() - 1;
        let written = format!(
            "{bindings}fn expression(i: u32, n: u32, y: u32, x: u32, c: u32) -> vec4<f32> {{\n{lines}return s{last};\n}}\n"
        );
        self.push(step.written(written))
    }
}

/// WGSL that loads the value of an operand for vec4 `i` of the result, at `(n, y, x, c)`.
fn load(source: &str, x: Shape, y: Shape) -> String {
    let axes = [
        ("n", "", x.n == y.n),
        ("y", "p.out_h", x.h == y.h),
        ("x", "p.out_w", x.w == y.w),
        ("c", "p.vectors", x.c == y.c),
    ];
    let along = axes.iter().filter(|axis| axis.2);
    let place = along.fold(String::new(), |place, (coordinate, extent, _)| match &place[..] {
        "" => coordinate.to_string(),
        _ => format!("({place}) * {extent} + {coordinate}"),
    });
    let place = match &place[..] {
        _ if x == y => "i",
        "" => "0u",
        place => place,
    };
    format!("vec4<f32>({source}[{place}]){}", if x.c == y.c { "" } else { ".xxxx" })
}

/// The result of a step. `first` is the index of its first vector among the numbers.
fn value(step: &Step, first: usize) -> String {
    let name = |source: &Source| match source {
        Source::Input(input) => format!("x{input}"),
        Source::Step(step) => format!("s{step}"),
    };
    let vector = |k: usize| format!("numbers[{k}u * p.vectors + c]");
    match step {
        Step::Binary { kind, a, b } => {
            let (a, b) = (name(a), name(b));
            match kind {
                BinaryKind::Add => format!("{a} + {b}"),
                BinaryKind::Sub => format!("{a} - {b}"),
                BinaryKind::Mul => format!("{a} * {b}"),
                BinaryKind::Div => format!("{a} / {b}"),
                BinaryKind::Min => format!("-larger(-{a}, -{b})"),
                BinaryKind::Max => format!("larger({a}, {b})"),
                BinaryKind::Pow => format!("power({a}, {b})"),
                BinaryKind::Less => format!("truth({a} < {b})"),
                BinaryKind::LessOrEqual => format!("truth({a} <= {b})"),
                BinaryKind::Equal => format!("truth({a} == {b})"),
                BinaryKind::Quotient => format!("quotient({a}, {b})"),
                BinaryKind::Remainder => format!("remainder({a}, {b})"),
                BinaryKind::Modulo => format!("modulo({a}, {b})"),
            }
        }
        Step::Affine { a, .. } => format!("{} * {} + {}", name(a), vector(first), vector(first + 1)),
        Step::Activation { a, f } => kernel::call(*f, &name(a)),
        Step::Select { condition, a, b } => {
            format!("select({}, {}, {} != vec4<f32>(0.0))", name(b), name(a), name(condition))
        }
        Step::PRelu { a, .. } => format!("negative({0}, {1} * {0})", name(a), vector(first)),
    }
}
