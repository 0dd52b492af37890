//! Shared by all test modules: backends, tolerances, and the vectors made by PyTorch.

use crate::device::gpu;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use unet_wgpu::graph::{Activation, BinaryKind, Graph};
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::plan::{ConvKernel, Precision};
use unet_wgpu::recipe::Recipe;
use unet_wgpu::unet::Weights;
use unet_wgpu::{Device, Error, Gpu, Model, Session, SessionOptions, Shape, Tensor, cpu};

/// An array of one of NumPy's compressed archives, a zip file.
pub(crate) fn npz(path: &Path, name: &str) -> Tensor {
    let unpacked = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(unpacked.path(), npz_entry(path, name)).expect("a file");
    unet_wgpu::image::read_npy(unpacked.path()).expect("an array")
}

/// The elements of an array of any rank, f32 or f64, in a `.npz`.
pub(crate) fn npz_values(path: &Path, name: &str) -> Vec<f32> {
    let entry = npz_entry(path, name);
    let (header, data) = entry[10..].split_at(usize::from(u16::from_le_bytes([entry[8], entry[9]])));
    let has = |kind: &[u8]| header.windows(kind.len()).any(|text| text == kind);
    match (has(b"'<f4'"), has(b"'<f8'")) {
        (true, _) => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        (_, true) => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        _ => panic!("{name} holds neither f32 nor f64"),
    }
}

/// The `.npy` file of an array in a compressed `.npz`.
fn npz_entry(path: &Path, name: &str) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = format!("{name}.npy");
    let is_entry =
        |at: &usize| bytes[*at..].starts_with(b"PK\x03\x04") && bytes[at + 30..].starts_with(file.as_bytes());
    let at = (0..bytes.len() - 30).find(is_entry).expect("the archive holds the array");
    let length = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let data = &bytes[at + 30 + length(at + 26) + length(at + 28)..];
    let mut unpacked = Vec::new();
    std::io::copy(&mut flate2::read::DeflateDecoder::new(data), &mut unpacked).expect("it is deflated");
    unpacked
}

/// Every activation.
pub(crate) const ACTIVATIONS: [Activation; 34] = [
    Activation::None,
    Activation::Relu,
    Activation::LeakyRelu(0.1),
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::HARD_SIGMOID,
    Activation::HardSwish,
    Activation::Elu(1.5),
    Activation::Selu,
    Activation::Softplus,
    Activation::Softsign,
    Activation::Mish,
    Activation::Silu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Clip { min: f32::NEG_INFINITY, max: 6.0 },
    Activation::Exp,
    Activation::Log,
    Activation::Sqrt,
    Activation::Reciprocal,
    Activation::Abs,
    Activation::Neg,
    Activation::Square,
    Activation::Sin,
    Activation::Cos,
    Activation::Erf,
    Activation::Floor,
    Activation::Ceil,
    Activation::Round,
    Activation::Trunc,
    Activation::Sign,
    Activation::IsNan,
    Activation::IsInfinite,
    Activation::Pow(1.5),
];

/// Every kind of arithmetic.
pub(crate) const BINARY_KINDS: [BinaryKind; 13] = [
    BinaryKind::Add,
    BinaryKind::Sub,
    BinaryKind::Mul,
    BinaryKind::Div,
    BinaryKind::Min,
    BinaryKind::Max,
    BinaryKind::Pow,
    BinaryKind::Less,
    BinaryKind::LessOrEqual,
    BinaryKind::Equal,
    BinaryKind::Quotient,
    BinaryKind::Remainder,
    BinaryKind::Modulo,
];

/// A way to run a graph.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    /// The CPU on the graph as it was built.
    Cpu,
    /// The CPU on the optimised graph, with each operator in the simplest way. Checks the rewrites and the fused
    /// operators.
    CpuOptimized,
    /// The CPU as users get it: optimised, with each operator in the fastest way.
    CpuFast,
    /// A GPU with a choice of rewrites, kernels and precision.
    Gpu(Gpu, Optimizations, ConvKernel, Precision),
}

/// Every backend of this machine, with each kernel variant forced in turn.
pub(crate) fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Cpu, Backend::CpuOptimized, Backend::CpuFast];
    if let Some(gpu) = gpu() {
        let on = |which, conv, precision| Backend::Gpu(gpu.clone(), which, conv, precision);
        let all = Optimizations::default();
        backends.extend([
            on(all, ConvKernel::Auto, Precision::F32),
            on(Optimizations::none(), ConvKernel::Direct, Precision::F32),
            on(all, ConvKernel::Tiled, Precision::F32),
            on(all, ConvKernel::Winograd2, Precision::F32),
            on(all, ConvKernel::Winograd4, Precision::F32),
        ]);
        if gpu.report().f16 {
            backends.extend([ConvKernel::Auto, ConvKernel::Tiled].map(|conv| on(all, conv, Precision::F16)));
        }
    }
    backends
}

impl Backend {
    /// The result of a graph of one input. On a GPU the buffers hold NaN before the run.
    pub(crate) fn run(&self, graph: &Graph, input: &Tensor) -> Tensor {
        self.run_with(graph, &[input]).swap_remove(0)
    }

    /// As [`run`](Self::run), of any inputs and outputs, in the graph's order.
    pub(crate) fn run_with(&self, graph: &Graph, inputs: &[&Tensor]) -> Vec<Tensor> {
        let result = match self {
            Backend::Cpu => cpu::run_with(graph, inputs),
            Backend::CpuOptimized => optimize(graph, shapes(inputs), &Optimizations::default())
                .and_then(|optimized| cpu::run_with(&optimized, inputs)),
            Backend::CpuFast => session(graph, inputs, Device::Cpu, SessionOptions::default()),
            Backend::Gpu(gpu, optimizations, conv, precision) => {
                let (optimizations, conv, precision) = (*optimizations, *conv, *precision);
                let options = SessionOptions::default()
                    .with_optimizations(optimizations)
                    .with_conv(conv)
                    .with_precision(precision);
                session(graph, inputs, Device::Gpu(gpu.clone()), options)
            }
        };
        result.unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// Whether the backend differs from the default for users.
    pub(crate) fn is_forced(&self) -> bool {
        matches!(self, Backend::Gpu(_, which, conv, _)
            if *which != Optimizations::default() || *conv != ConvKernel::Auto)
    }

    /// Whether the backend stores 16-bit floats.
    pub(crate) fn is_half(&self) -> bool {
        matches!(self, Backend::Gpu(.., Precision::F16))
    }

    /// The tolerance for this backend if the arithmetic alone would allow the given one.
    pub(crate) fn tolerance(&self, tolerance: Tolerance) -> Tolerance {
        match self {
            Backend::Gpu(.., Precision::F16) => Tolerance::Half,
            Backend::Cpu | Backend::CpuOptimized | Backend::CpuFast | Backend::Gpu(..) => tolerance,
        }
    }
}

/// The shapes of tensors.
pub(crate) fn shapes(tensors: &[&Tensor]) -> Vec<Shape> {
    tensors.iter().map(|tensor| tensor.shape()).collect()
}

/// Runs a graph in a session whose buffers hold NaN before.
pub(crate) fn session(
    graph: &Graph,
    inputs: &[&Tensor],
    device: Device,
    options: SessionOptions,
) -> unet_wgpu::Result<Vec<Tensor>> {
    let names: Vec<String> = graph.outputs().iter().map(|output| output.name.clone()).collect();
    let model = Model::new(graph.clone(), Recipe::default());
    let options = options.with_outputs(names.clone());
    let session = Session::with_options(&model, shapes(inputs), device, &options)?;
    session.poison();
    let named = graph.inputs().iter().map(|input| &*input.name).zip(inputs.iter().copied());
    let mut given = session.run_with(&named.collect::<Vec<_>>())?;
    Ok(names.iter().map(|name| given.remove(name).expect("an output that was asked for")).collect())
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Backend::Gpu(gpu, which, conv, precision) => {
                let rewrites = if *which == Optimizations::none() { "unoptimised" } else { "optimised" };
                write!(f, "{} {rewrites} {conv:?} {precision}", gpu.report().name)
            }
            cpu => write!(f, "{cpu:?}"),
        }
    }
}

/// The allowed difference between a result and its expected value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Tolerance {
    /// None. For pool, concat and everything else that only moves numbers.
    Exact,
    /// One operator in f32: `|d| <= 1e-5 * max(1, rms) + 1e-4 * |want|`, with the rms of all expected values.
    Operator,
    /// A whole network in f32: `|d| <= 1e-4 * range`. The range includes 0, so a constant result has one too.
    Network,
    /// Anything in f16: the root mean square of `d` is at most 5e-3 of that of the expected values. Below an rms of
    /// 0.1, the errors of the terms count, not the result.
    Half,
}

impl Tolerance {
    /// The largest difference of each element; for [`Half`](Self::Half), of their root mean square.
    fn allowed(self, want: &[f32]) -> impl Fn(f64) -> f64 {
        let rms = rms(want.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)));
        let low = want.iter().fold(0.0_f64, |a, &v| a.min(f64::from(v)));
        let high = want.iter().fold(0.0_f64, |a, &v| a.max(f64::from(v)));
        move |want| match self {
            Tolerance::Exact => 0.0,
            Tolerance::Operator => 1e-5 * rms.max(1.0) + 1e-4 * want.abs(),
            Tolerance::Network => 1e-4 * (high - low),
            Tolerance::Half => 5e-3 * rms.max(0.1),
        }
    }
}

fn rms(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0_f64), |(sum, count), v| (sum + v * v, count + 1.0));
    (sum / count.max(1.0)).sqrt()
}

/// Fails with the worst element if `got` is not within tolerance of `want`.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &Tensor, want: &Tensor, tolerance: Tolerance) {
    closeness(got, want, tolerance).unwrap_or_else(|fault| panic!("{what}: {fault}"));
}

/// The worst element when `got` is not within tolerance of `want`.
pub(crate) fn closeness(got: &Tensor, want: &Tensor, tolerance: Tolerance) -> Result<(), String> {
    if got.shape() != want.shape() {
        return Err(format!("shape {}, want {}", got.shape(), want.shape()));
    }
    slices_closeness(got.data(), want.data(), tolerance, |i| {
        let Shape { c, h, w, .. } = got.shape();
        format!("(n {}, c {}, y {}, x {})", i / (c * h * w), i / (h * w) % c, i / w % h, i % w)
    })
}

/// As [`assert_close`], for elements whose names come from `place`.
#[track_caller]
pub(crate) fn assert_slices_close(
    what: &str,
    got: &[f32],
    want: &[f32],
    tolerance: Tolerance,
    place: impl Fn(usize) -> String,
) {
    slices_closeness(got, want, tolerance, place).unwrap_or_else(|fault| panic!("{what}: {fault}"));
}

fn slices_closeness(
    got: &[f32],
    want: &[f32],
    tolerance: Tolerance,
    place: impl Fn(usize) -> String,
) -> Result<(), String> {
    assert_eq!(got.len(), want.len(), "lengths");
    let allowed = tolerance.allowed(want);
    // The difference divided by the allowed one; infinite for NaN.
    let excess = |i: usize| {
        let off = (f64::from(got[i]) - f64::from(want[i])).abs();
        // Equal infinities have no difference.
        if got[i] == want[i] {
            0.0
        } else {
            Some(off / allowed(f64::from(want[i]))).filter(|e| !e.is_nan()).unwrap_or(f64::INFINITY)
        }
    };
    let Some(worst) = (0..got.len()).max_by(|&a, &b| excess(a).total_cmp(&excess(b))) else { return Ok(()) };
    let measured = match tolerance {
        Tolerance::Half => rms((0..got.len()).map(excess)),
        _ => excess(worst),
    };
    if measured <= 1.0 {
        return Ok(());
    }
    let bad = (0..got.len()).filter(|&i| excess(i) > 1.0).count();
    Err(format!(
        "{measured:.3} times the error that {tolerance:?} allows ({:.3e}); worst at {}: got {}, want {}; {bad} of {} \
         elements are beyond it",
        allowed(f64::from(want[worst])),
        place(worst),
        got[worst],
        want[worst],
        got.len(),
    ))
}

/// Runs the graph on every backend and compares the results with `want`.
#[track_caller]
pub(crate) fn check(what: &str, graph: &Graph, input: &Tensor, want: &Tensor, tolerance: Tolerance) {
    for backend in backends() {
        let what = format!("{what} {} on {backend}", input.shape());
        assert_close(&what, &backend.run(graph, input), want, backend.tolerance(tolerance));
    }
}

/// A file of `tests/vectors`: tensors by name and, for each case, its attributes.
pub(crate) struct Vectors {
    tensors: HashMap<String, Tensor>,
    /// Attributes by case.
    pub(crate) cases: BTreeMap<String, serde_json::Value>,
}

impl Vectors {
    /// Reads `tests/vectors/<name>.safetensors`. Vectors become `(len,1,1,1)`, integers become f32.
    pub(crate) fn read(name: &str) -> Vectors {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let cases = header.metadata().as_ref().and_then(|metadata| metadata.get("cases"));
        let cases =
            cases.map_or_else(BTreeMap::new, |json| serde_json::from_str(json).expect("cases as JSON"));
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensors = file.iter().map(|(name, view)| (name.to_string(), tensor(name, &view)));
        Vectors { tensors: tensors.collect(), cases }
    }

    /// The tensor of that name.
    pub(crate) fn get(&self, name: &str) -> &Tensor {
        self.find(name).unwrap_or_else(|| panic!("no tensor {name} in the vectors"))
    }

    /// The names of the tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }
}

impl Weights for &Vectors {
    fn tensor(&mut self, name: &str, shape: Shape) -> unet_wgpu::Result<std::sync::Arc<Tensor>> {
        match self.find(name) {
            Some(tensor) if tensor.shape() == shape => Ok(tensor.clone().into()),
            Some(tensor) => Err(Error::Model(format!("{name}: expected {shape}, got {}", tensor.shape()))),
            None => Err(Error::Model(format!("{name} is missing"))),
        }
    }
}

fn tensor(name: &str, view: &safetensors::tensor::TensorView<'_>) -> Tensor {
    let [n, c, h, w] = [0, 1, 2, 3].map(|axis| view.shape().get(axis).copied().unwrap_or(1));
    let words = view.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
    let data = match view.dtype() {
        safetensors::Dtype::F32 => words.map(f32::from_le_bytes).collect(),
        safetensors::Dtype::U32 => words.map(|b| u32::from_le_bytes(b) as f32).collect(),
        other => panic!("{name}: {other:?} is not read here"),
    };
    Tensor::new(Shape::new(n, c, h, w), data).expect("the file's shapes are checked by its reader")
}

#[test]
fn closeness_names_the_worst_element_and_never_accepts_nan() {
    let shape = Shape::new(1, 2, 2, 3);
    let want = Tensor::from_fn(shape, |i| i as f32);
    let message = |place: usize, off: f32, tolerance| {
        let mut got = want.clone();
        got.data_mut()[place] += off;
        let failed = std::panic::catch_unwind(|| assert_close("it", &got, &want, tolerance));
        failed.err().map(|panic| *panic.downcast::<String>().expect("a formatted message"))
    };
    for tolerance in [Tolerance::Exact, Tolerance::Operator, Tolerance::Network, Tolerance::Half] {
        assert_eq!(message(0, 0.0, tolerance), None);
        let text = message(10, 0.5, tolerance).expect("far beyond every tolerance");
        assert!(text.contains("worst at (n 0, c 1, y 1, x 1): got 10.5, want 10"), "{text}");
        assert!(message(4, f32::NAN, tolerance).is_some() && message(4, f32::INFINITY, tolerance).is_some());
    }
    assert!(message(10, 1e-4, Tolerance::Exact).is_some());
    assert_eq!(message(10, 1e-4, Tolerance::Operator), None);
    assert_eq!(message(10, 1e-3, Tolerance::Network), None);
    assert!(message(10, 2e-3, Tolerance::Network).is_some());
    // 0.1 in one of twelve elements is 0.029 rms, 0.4 % of the wanted 6.5 rms.
    assert_eq!(message(10, 0.1, Tolerance::Half), None);
    assert!(message(10, 0.15, Tolerance::Half).is_some());
}
