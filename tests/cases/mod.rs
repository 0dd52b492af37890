//! One table of operator cases, one file for each family of operators: the definition of an operator (plain f64 loops),
//! the graphs in which it is tested, and how a random network draws it.
//!
//! Each case runs on every backend and is compared with the f64 loops. The shader tests validate the kernels of all
//! cases, PyTorch computes those that ask for it (`tests/vectors/generate.py`), and `tests/networks.rs` draws from the
//! families. If an operator of [`Op::KINDS`] is missing in one of these places, a test fails.
//!
//! On a GPU each distinct kernel (size, stride, dilation, activation, ...) costs a shader compilation, while picture
//! sizes and channel counts are parameters. Therefore a few kernels run with many shapes, and all others with a few.

mod convolution;
mod ends;
mod matrices;
mod moves;
mod norms;
mod pointwise;
mod pooling;
mod resize;

use crate::networks::Drawing;
use crate::oracle::{self, Volume};
use crate::support::{Tolerance, Vectors, backends, closeness};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use unet_wgpu::graph::{
    Activation, BatchNorm, Concat, Constant, Conv, ConvTranspose, Graph, Op, Operator, ValueId,
};
use unet_wgpu::image::write_npy;
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::recipe::Recipe;
use unet_wgpu::{Model, Random, Shape, Tensor};

/// The tests of a family of operators.
pub(crate) struct Family {
    /// The cases.
    pub(crate) cases: fn() -> Vec<Case>,
    /// An operator's result in f64, gathered element by element from its definition; `None` for other families.
    pub(crate) reference: fn(&Op, &[&Volume]) -> Option<Volume>,
    /// Appends an operator of this kind to a random network, if its values allow it; `None` for other families.
    pub(crate) draw: fn(kind: &str, to: &mut Drawing) -> Option<ValueId>,
}

macro_rules! families {
    ($($name:ident),* $(,)?) => {
        /// All families.
        pub(crate) const FAMILIES: &[Family] =
            &[$(Family { cases: $name::cases, reference: $name::reference, draw: $name::draw }),*];

        $(#[test]
        fn $name() {
            run_all(&$name::cases());
        })*
    };
}

families!(convolution, ends, matrices, moves, norms, pointwise, pooling, resize);

/// The cases of all families.
pub(crate) fn all() -> impl Iterator<Item = Case> {
    FAMILIES.iter().flat_map(|family| (family.cases)())
}

/// A graph, its inputs, and its expected result.
pub(crate) struct Case {
    /// The subject of the test. Together with the shapes of the inputs, it names the case.
    what: String,
    /// The operator, and the operators around it.
    pub(crate) graph: Graph,
    inputs: Vec<Tensor>,
    tolerance: Tolerance,
    want: Want,
    /// The operators that remain after the rewrites, without constants, if that is part of the case.
    becomes: Option<Vec<&'static str>>,
}

/// The source of a case's expected result.
enum Want {
    /// The f64 loops.
    Oracle,
    /// PyTorch, which the loops must match. With an expression of `x`, PyTorch computes it; otherwise each operator.
    PyTorch(Option<&'static str>),
    /// The case itself.
    Given(Tensor),
    /// None. No backend runs the case. It exists for its kernels, which are too many to compile or too large.
    Nowhere,
}

impl Case {
    /// A graph with seeded random inputs from -1 to 1.
    pub(crate) fn new(what: impl Into<String>, graph: Graph, shape: Shape) -> Case {
        Case {
            what: what.into(),
            graph,
            inputs: vec![Tensor::random(shape, shape.elements() as u64)],
            tolerance: Tolerance::Operator,
            want: Want::Oracle,
            becomes: None,
        }
    }

    /// The same, with one operator.
    fn op(what: impl Into<String>, op: impl Into<Op>, shape: Shape) -> Case {
        Case::new(what, single(shape.c, op), shape)
    }

    /// The same, with one operator with several inputs.
    fn of(what: impl Into<String>, op: impl Into<Op>, shapes: &[Shape]) -> Case {
        let mut graph = Graph::new(shapes[0].c);
        let mut inputs = vec![Graph::INPUT];
        for (i, &shape) in shapes.iter().enumerate().skip(1) {
            inputs.push(graph.add_input(&format!("input{i}"), shape).expect("a new name"));
        }
        push(&mut graph, "op", op, &inputs);
        let random = |(i, shape): (usize, &Shape)| Tensor::random(*shape, (shape.elements() + i) as u64);
        let inputs = shapes.iter().enumerate().map(random).collect();
        Case { inputs, ..Case::new(what, graph, shapes[0]) }
    }

    /// Sets the input.
    fn on(self, input: Tensor) -> Case {
        Case { inputs: vec![input], ..self }
    }

    /// Sets the tolerance.
    fn within(self, tolerance: Tolerance) -> Case {
        Case { tolerance, ..self }
    }

    /// Requires an exact result.
    fn exact(self) -> Case {
        self.within(Tolerance::Exact)
    }

    /// Sets the expected result, written by hand.
    fn gives(self, want: Tensor) -> Case {
        Case { want: Want::Given(want), ..self }
    }

    /// Expects PyTorch's result of the same operators.
    fn pytorch(self) -> Case {
        Case { want: Want::PyTorch(None), ..self }
    }

    /// Expects the value of a Python expression, the case in PyTorch's terms.
    fn in_pytorch(self, expression: &'static str) -> Case {
        Case { want: Want::PyTorch(Some(expression)), ..self }
    }

    /// Uses the case only for its kernels.
    fn kernels(self) -> Case {
        Case { want: Want::Nowhere, ..self }
    }

    /// Expects that these operators remain after the rewrites, without constants.
    fn becomes(self, names: &[&'static str]) -> Case {
        Case { becomes: Some(names.to_vec()), ..self }
    }

    fn name(&self) -> String {
        let shapes: Vec<String> = self.shapes().iter().map(Shape::to_string).collect();
        format!("{} {}", self.what, shapes.join(" "))
    }

    /// The shapes of the inputs.
    pub(crate) fn shapes(&self) -> Vec<Shape> {
        self.inputs.iter().map(Tensor::shape).collect()
    }

    /// All errors in the results of all backends and in the rewritten graph.
    fn faults(&self, vectors: &Vectors) -> Vec<String> {
        let inputs: Vec<&Tensor> = self.inputs.iter().collect();
        let want = match &self.want {
            Want::Nowhere => return Vec::new(),
            Want::Oracle | Want::PyTorch(_) => oracle::run_with(&self.graph, &inputs).swap_remove(0),
            Want::Given(want) => want.clone(),
        };
        let mut results = Vec::new();
        match &self.want {
            Want::PyTorch(_) => results.push((
                "the oracle beside PyTorch".into(),
                closeness(&want, vectors.get(&self.name()), self.tolerance),
            )),
            Want::Given(want) => {
                let loops = oracle::run_with(&self.graph, &inputs).swap_remove(0);
                results.push(("the oracle".into(), closeness(&loops, want, self.tolerance)));
            }
            _ => {}
        }
        for backend in backends() {
            let got = backend.run_with(&self.graph, &inputs).swap_remove(0);
            results.push((backend.to_string(), closeness(&got, &want, backend.tolerance(self.tolerance))));
        }
        if let Some(names) = &self.becomes {
            let left = optimized_names(&self.graph, &self.shapes());
            let same =
                (left == *names).then_some(()).ok_or_else(|| format!("{left:?} are left, want {names:?}"));
            results.push(("rewrites".into(), same));
        }
        let faults = results.into_iter().filter_map(|(where_, result)| Some((where_, result.err()?)));
        faults.map(|(where_, fault)| format!("{} on {where_}: {fault}", self.name())).collect()
    }
}

/// Runs cases on every backend. Fails with all errors.
fn run_all(cases: &[Case]) {
    let vectors = Vectors::read("cases");
    let faults: Vec<String> = cases.iter().flat_map(|case| case.faults(&vectors)).collect();
    assert!(faults.is_empty(), "{} faults in {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

#[test]
fn every_kind_has_cases_and_one_whose_result_no_loop_of_ours_made() {
    let (mut run, mut known) = (BTreeSet::new(), BTreeSet::new());
    for case in all().filter(|case| !matches!(case.want, Want::Nowhere)) {
        let optimized =
            optimize(&case.graph, case.shapes(), &Optimizations::default()).expect("it optimises");
        let kinds = case.graph.nodes().iter().chain(optimized.nodes()).map(|node| node.op.kind());
        run.extend(kinds.clone());
        if matches!(case.want, Want::PyTorch(_) | Want::Given(_)) {
            known.extend(kinds);
        }
    }
    let all: BTreeSet<_> = Op::KINDS.iter().copied().collect();
    assert_eq!(run, all, "kinds of operators with a case");
    assert_eq!(known, all, "kinds of operators with a case that has PyTorch's result or one written by hand");
}

#[test]
fn names_are_unique_and_vectors_have_their_cases() {
    let mut names = BTreeMap::new();
    for case in all() {
        *names.entry(case.name()).or_insert(0) += 1;
    }
    let twice: Vec<_> = names.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "names of several cases: {twice:?}");
    let asked: BTreeSet<_> =
        all().filter(|case| matches!(case.want, Want::PyTorch(_))).map(|case| case.name()).collect();
    let vectors = Vectors::read("cases");
    let there: BTreeSet<_> = vectors.names().map(String::from).collect();
    assert_eq!(asked, there, "cases for PyTorch, and its results: run tests/vectors/generate.py");
}

/// Writes the cases that ask for PyTorch's results to the folder that `tests/vectors/generate.py` names.
#[test]
#[ignore = "tests/vectors/generate.py runs it"]
fn written_for_pytorch() {
    let folder = PathBuf::from(std::env::var_os("UNET_CASES").expect("UNET_CASES names a folder"));
    for (i, case) in all().enumerate() {
        let Want::PyTorch(expression) = case.want else { continue };
        let file = |ending: &str| folder.join(format!("{i}.{ending}"));
        let about = serde_json::json!({ "name": case.name(), "pytorch": expression });
        let model = Model::new(case.graph, Recipe::default()).to_safetensors(false).expect("it is written");
        std::fs::write(file("json"), about.to_string()).expect("the folder exists");
        std::fs::write(file("safetensors"), model).expect("the folder exists");
        for (place, input) in case.inputs.iter().enumerate() {
            write_npy(&file(&format!("{place}.npy")), input).expect("the folder exists");
        }
    }
}

// ---- shapes ----

/// Every channel count and extent that was ever an edge case of a kernel's vec4s or tiles.
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

/// Output channels of a convolution for each of them.
const OUTS: [usize; 10] = [1, 3, 17, 16, 7, 64, 16, 64, 3, 17];

/// A few of them, all at least 3x3, with the output channels of a convolution.
const FEW: [(Shape, usize); 3] =
    [(Shape::new(1, 3, 7, 16), 16), (Shape::new(2, 17, 16, 7), 7), (Shape::new(1, 64, 3, 3), 64)];

// ---- graphs and numbers ----

/// A graph with one operator.
fn single(channels: usize, op: impl Into<Op>) -> Graph {
    chain(channels, [op.into()])
}

/// A graph of operators in a chain.
fn chain(channels: usize, ops: impl IntoIterator<Item = Op>) -> Graph {
    let mut graph = Graph::new(channels);
    for (i, op) in ops.into_iter().enumerate() {
        let x = graph.output();
        push(&mut graph, &format!("op{i}"), op, &[x]);
    }
    graph
}

/// Appends a node.
#[track_caller]
fn push(graph: &mut Graph, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
    graph.push(name, op, inputs).expect("a new name, and inputs that exist")
}

/// Splits the input into parts with 1x1 convolutions that select channels. This is exact: all other products are zero.
fn split(graph: &mut Graph, channels: &[usize]) -> Vec<ValueId> {
    let total = channels.iter().sum();
    let mut first = 0;
    let mut parts = Vec::new();
    for (part, &count) in channels.iter().enumerate() {
        let picks = |i: usize| f32::from(u8::from(i % total == first + i / total));
        let weight = Tensor::from_fn(Shape::new(count, total, 1, 1), picks);
        parts.push(push(graph, &format!("part{part}"), Conv::new(weight.into(), None), &[Graph::INPUT]));
        first += count;
    }
    parts
}

/// Seeded numbers in `low..high`.
fn vector(len: usize, low: f32, high: f32) -> Vec<f32> {
    let mut random = Random::new(len as u64);
    (0..len).map(|_| random.uniform(low, high)).collect()
}

/// Elements in `low..high`.
fn uniform(shape: Shape, low: f32, high: f32) -> Tensor {
    Tensor::new(shape, vector(shape.elements(), low, high)).expect("as many")
}

/// A constant of this shape with elements in `low..high`.
fn constant(shape: Shape, low: f32, high: f32) -> Constant {
    Constant(uniform(shape, low, high).into())
}

fn integers(shape: Shape, values: &[i32]) -> Tensor {
    Tensor::new(shape, values.iter().map(|&v| v as f32).collect()).expect("as many values as the shape has")
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

fn batch_norm(channels: usize) -> BatchNorm {
    let [gamma, beta, mean] = [1.0, 0.5, 0.25].map(|high| vector(channels, -high, high));
    BatchNorm::new(&gamma, &beta, &mean, &vector(channels, 0.5, 1.5), 1e-5).expect("equal lengths")
}

/// The range of arguments that a function is made for and where its values can be compared.
fn domain(activation: Activation) -> (f32, f32) {
    match activation {
        Activation::Log | Activation::Reciprocal | Activation::Pow(_) => (0.1, 3.0),
        Activation::Sqrt => (0.0, 3.0),
        _ => (-6.0, 6.0),
    }
}

/// Operators of the optimised graph, without constants.
fn optimized_names(graph: &Graph, shapes: &[Shape]) -> Vec<&'static str> {
    let graph = optimize(graph, shapes, &Optimizations::default()).expect("it optimises");
    let nodes = graph.nodes().iter().filter(|node| !matches!(node.op, Op::Constant(_)));
    nodes.map(|node| node.op.rules().name()).collect()
}
