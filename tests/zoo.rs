//! Networks of many families as exporters write them, and ONNX's own operator cases.

use crate::device::gpu;
use crate::support::{Tolerance, Vectors, assert_close, check};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use unet_wgpu::graph::{Activation, BatchNorm, Binary, BinaryKind, Graph, Node, Op, ValueId};
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::{Device, FixedInput, Model, Session, Shape, Tensor, cpu};

#[derive(Deserialize)]
struct Sidecar {
    input: Input,
    tensors: Vec<Weight>,
    external_bytes: usize,
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Input {
    r#type: String,
    shape: [usize; 4],
    seed: u64,
}

#[derive(Deserialize)]
struct Weight {
    offset: usize,
    count: usize,
    seed: u64,
    scale: f32,
    shift: f32,
}

#[derive(Deserialize)]
struct Output {
    name: String,
}

/// A network of the zoo, with an input and ONNX Runtime's result for it.
struct Animal {
    model: Model,
    input: Tensor,
    want: Vec<f32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/zoo")
}

/// All files, `family.exporter`. If `UNET_ZOO` is set, only those whose name contains it.
fn names() -> Vec<String> {
    let only = std::env::var("UNET_ZOO").unwrap_or_default();
    let files = std::fs::read_dir(folder()).expect("the zoo").map(|f| f.expect("a file").file_name());
    let files = files.filter_map(|f| f.to_string_lossy().strip_suffix(".onnx").map(str::to_string));
    let mut names: Vec<String> = files.filter(|name| name.contains(&only)).collect();
    names.sort();
    names
}

/// ONNX Runtime's results for all files, by exporter.
fn goldens() -> BTreeMap<&'static str, Vectors> {
    BTreeMap::from(["dynamo", "ts"].map(|exporter| (exporter, Vectors::read(&format!("zoo/{exporter}")))))
}

fn sidecar(name: &str) -> Sidecar {
    let bytes = std::fs::read(folder().join(format!("{name}.json"))).expect("a sidecar");
    serde_json::from_slice(&bytes).expect("the sidecar is whole")
}

/// The numbers of the file's external tensors, as described in `tests/vectors/README.md`.
fn weights(sidecar: &Sidecar) -> Vec<u8> {
    let half = sidecar.input.r#type == "f16";
    let mut bytes = vec![0; sidecar.external_bytes];
    for weight in &sidecar.tensors {
        let random = Tensor::random(Shape::new(1, 1, 1, weight.count), weight.seed);
        let size = if half { 2 } else { 4 };
        let place = bytes[weight.offset..][..weight.count * size].chunks_exact_mut(size);
        for (to, u) in place.zip(random.data()) {
            let value = weight.shift + weight.scale * u;
            match half {
                true => to.copy_from_slice(&half::f16::from_f32(value).to_le_bytes()),
                false => to.copy_from_slice(&value.to_le_bytes()),
            }
        }
    }
    bytes
}

/// Writes a model and its weights to a folder. Returns the model's path.
pub(crate) fn unpack(name: &str, folder_to: &Path) -> PathBuf {
    let file = folder_to.join("model.onnx");
    std::fs::write(folder_to.join("weights.bin"), weights(&sidecar(name))).expect("it is written");
    std::fs::copy(folder().join(format!("{name}.onnx")), &file).expect("a model");
    file
}

impl Animal {
    fn read(name: &str, goldens: &BTreeMap<&str, Vectors>) -> Result<Animal, unet_wgpu::Error> {
        let sidecar = sidecar(name);
        let desk = tempfile::tempdir().expect("a folder");
        let model = Model::open(unpack(name, desk.path()))?;
        let [n, second, third, last] = sidecar.input.shape;
        let channels_last = name.starts_with("keras");
        let shape = if channels_last {
            Shape::new(n, last, second, third)
        } else {
            Shape::new(n, second, third, last)
        };
        let random = Tensor::random(shape, sidecar.input.seed);
        let input = Tensor::from_fn(shape, |i| {
            let (pixel, plane) = (i % shape.pixels(), i / shape.pixels());
            let (picture, channel) = (plane / shape.c, plane % shape.c);
            let at = if channels_last { (picture * shape.pixels() + pixel) * shape.c + channel } else { i };
            let value = random.data()[at];
            if sidecar.input.r#type == "f16" { half::f16::from_f32(value).to_f32() } else { value }
        });
        let exporter = if name.contains(".dynamo") { "dynamo" } else { "ts" };
        let want = goldens[exporter].get(&format!("{name}/{}", sidecar.outputs[0].name)).data().to_vec();
        Ok(Animal { model, input, want })
    }

    /// The largest difference on a device, relative to the range of the expected result.
    fn off(&self, device: &Device) -> Result<f32, String> {
        let session =
            Session::new(&self.model, self.input.shape(), device.clone()).map_err(|e| e.to_string())?;
        session.poison();
        let got = session.run(&self.input).map_err(|e| e.to_string())?;
        if got.data().len() != self.want.len() {
            return Err(format!("{} numbers, not {}", got.data().len(), self.want.len()));
        }
        let (low, high) = self.want.iter().fold((0f32, 0f32), |(low, high), &v| (low.min(v), high.max(v)));
        let differences = got.data().iter().zip(&self.want).map(|(a, b)| (a - b).abs());
        let off =
            differences.fold(0f32, |most, d| if d > most || d.is_nan() { d } else { most }) / (high - low);
        if off <= 1e-4 { Ok(off) } else { Err(format!("off by {off:.1e} of the range")) }
    }
}

/// Runs all files on a device.
#[track_caller]
fn visit(device: &Device) {
    let goldens = goldens();
    let mut failures = Vec::new();
    let names = names();
    for name in &names {
        let start = std::time::Instant::now();
        let off =
            Animal::read(name, &goldens).map_err(|e| e.to_string()).and_then(|animal| animal.off(device));
        match off {
            Ok(off) => eprintln!("{name}: {off:.1e}, {:.1} s", start.elapsed().as_secs_f64()),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(!names.is_empty());
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), names.len(), failures.join("\n"));
}

/// The path of the table of results.
fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/zoo.md")
}

#[test]
fn the_table_has_every_file() {
    let text = std::fs::read_to_string(table()).expect("docs/zoo.md");
    for name in names() {
        let (family, exporter) = name.split_once('.').expect("family.exporter");
        let row = text.lines().find(|line| line.starts_with(&format!("| {family} | {exporter} |")));
        assert!(row.is_some_and(|row| !row.contains("off")), "{name}: run the test write_the_table");
    }
}

#[test]
#[ignore = "writes docs/zoo.md: cargo test --release write_the_table -- --ignored"]
fn write_the_table() {
    let Some(gpu) = gpu() else { return };
    let devices = [Device::Cpu, Device::Gpu(gpu.clone())];
    let goldens = goldens();
    let mut text = format!(
        "# Tested families\n\n\
         Networks with random weights, as exporters write them (`tests/vectors/zoo`), against ONNX Runtime. The errors are\n\
         the largest difference, relative to the range of the result, on the CPU and on {}.\n\
         `write_the_table` in `tests/zoo.rs` writes this file.\n\n\
         | family | exporter | operators of the graph | optimised | CPU | GPU |\n|---|---|---:|---:|---:|---:|\n",
        gpu.report().name
    );
    for name in names() {
        let (family, exporter) = name.split_once('.').expect("family.exporter");
        let animal = Animal::read(&name, &goldens).expect("it is read");
        let shape = animal.input.shape();
        let graph = animal.model.graph(shape).expect("it takes its size");
        let optimized = optimize(&graph, shape, &Optimizations::default()).expect("it optimises");
        let off = |device: &Device| animal.off(device).map_or_else(|error| error, |off| format!("{off:.0e}"));
        let [cpu, gpu] = [off(&devices[0]), off(&devices[1])];
        let (all, left) = (graph.nodes().len(), optimized.nodes().len());
        text.push_str(&format!("| {family} | {exporter} | {all} | {left} | {cpu} | {gpu} |\n"));
    }
    std::fs::write(table(), text).expect("it is written");
}

#[test]
fn every_export_of_every_family_gives_its_golden_result_on_the_cpu() {
    visit(&Device::Cpu);
}

#[test]
fn every_family_gives_its_golden_result_on_the_gpu() {
    let Some(gpu) = gpu() else { return };
    visit(&Device::Gpu(gpu));
}

#[derive(Deserialize)]
struct Case {
    op: String,
    inputs: Vec<String>,
    rtol: f32,
    atol: f32,
    #[serde(default)]
    disputed: bool,
}

/// A tensor of the operator cases, of any type.
struct Numbers {
    dims: Vec<usize>,
    float: bool,
    values: Vec<f64>,
}

fn numbers(view: &safetensors::tensor::TensorView<'_>) -> Numbers {
    use safetensors::Dtype;
    let bytes = view.data();
    let values = match view.dtype() {
        Dtype::F32 => {
            bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
        }
        Dtype::I64 => bytes.chunks_exact(8).map(|b| bytemuck::pod_read_unaligned::<i64>(b) as f64).collect(),
        Dtype::F64 => bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned::<f64>).collect(),
        Dtype::I32 => {
            bytes.chunks_exact(4).map(|b| f64::from(bytemuck::pod_read_unaligned::<i32>(b))).collect()
        }
        Dtype::F16 => bytes
            .chunks_exact(2)
            .map(|b| f64::from(half::f16::from_le_bytes([b[0], b[1]]).to_f32()))
            .collect(),
        Dtype::BOOL | Dtype::U8 => bytes.iter().map(|&b| f64::from(b)).collect(),
        other => panic!("{other:?}"),
    };
    Numbers { dims: view.shape().to_vec(), float: view.dtype() == Dtype::F32, values }
}

#[test]
fn operator_cases_of_onnx_pass() {
    let [passed, _] = onnx_cases("operators");
    assert!(passed >= 361, "fewer pass than once did: {passed}");
}

#[test]
fn graphs_give_the_results_of_onnx_runtime() {
    let [_, refused] = onnx_cases("runtime");
    assert_eq!(refused, 0, "cases that are refused");
}

/// Cases that turn channels-last pictures planar, or back, as exporters write it. The library takes and gives planar
/// pictures, so their numbers are in another order.
const TURNED: [&str; 2] = ["transpose_all_permutations_3", "transpose_all_permutations_4"];

/// Runs the cases of a file of `tests/vectors` that holds ONNX files. Fails with all wrong results; returns how many
/// cases pass, and how many are refused. `UNET_CASE` names a part of the names of those that run.
fn onnx_cases(file: &str) -> [usize; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{file}.safetensors"));
    let bytes = std::fs::read(path).expect("the cases");
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("a safetensors file");
    let cases = &metadata.metadata().as_ref().expect("metadata")["cases"];
    let cases: BTreeMap<String, Case> = serde_json::from_str(cases).expect("the index is whole");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let only = std::env::var("UNET_CASE").unwrap_or_default();
    let gpu = gpu().map(Device::Gpu);
    let (mut passed, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
    let runs = |(name, case): &(&String, &Case)| {
        !case.disputed && name.contains(&only) && !TURNED.contains(&name.as_str())
    };
    for (name, case) in cases.iter().filter(runs) {
        let tensor = |part: &str| file.tensor(&format!("{name}/{part}")).expect("it is in the index");
        let inputs: Vec<Numbers> =
            (0..case.inputs.len()).map(|i| numbers(&tensor(&format!("input{i}")))).collect();
        let want = numbers(&tensor("output0"));
        // The first float tensor is the data; all others are constants.
        let Some(data) = inputs.iter().position(|i| i.float && !i.values.is_empty()) else { continue };
        let bound = inputs.iter().zip(&case.inputs).enumerate().filter(|(i, _)| *i != data);
        let bound: Vec<FixedInput> = bound
            .map(|(_, (i, name))| FixedInput {
                name: name.clone(),
                dims: i.dims.clone(),
                values: i.values.clone(),
            })
            .collect();
        let result = Model::from_onnx_fixed(tensor("model").data(), &bound)
            .map_err(|e| e.to_string())
            .and_then(|model| {
                let values: Vec<f32> = inputs[data].values.iter().map(|&v| v as f32).collect();
                let input = Tensor::new(model.example_input(), values).map_err(|e| e.to_string())?;
                for device in [Some(Device::Cpu), gpu.clone()].into_iter().flatten() {
                    let on = if matches!(device, Device::Cpu) { "CPU" } else { "GPU" };
                    let session =
                        Session::new(&model, input.shape(), device).map_err(|e| format!("{on}: {e}"))?;
                    let got = session.run(&input).map_err(|e| format!("{on}: {e}"))?;
                    let close = |(&g, &w): (&f32, &f64)| {
                        let w = w as f32;
                        g == w
                            || (g.is_nan() && w.is_nan())
                            || (g - w).abs() <= case.atol + 1e-6 + case.rtol * w.abs()
                    };
                    if got.data().len() != want.values.len()
                        || !got.data().iter().zip(&want.values).all(close)
                    {
                        let first = |v: &[f32]| {
                            v.iter().take(4).map(|v| format!("{v}")).collect::<Vec<_>>().join(" ")
                        };
                        let wanted: Vec<f32> = want.values.iter().map(|&v| v as f32).collect();
                        let [got, want] =
                            [got.data(), &wanted].map(|v| format!("{} numbers, {}", v.len(), first(v)));
                        return Ok(Some(format!(
                            "{name} ({}) on the {on}: {got}..., wanted {want}...",
                            case.op
                        )));
                    }
                }
                Ok(None)
            });
        match result {
            Ok(None) => passed += 1,
            Ok(Some(difference)) => wrong.push(difference),
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    eprintln!("{}", refused.join("\n"));
    let (all, no) = (cases.len(), refused.len());
    eprintln!(
        "{passed} of {all} operator cases of ONNX pass, {no} are refused by name, {} are wrong",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    [passed, no]
}

#[test]
fn what_exporters_spell_out_is_one_operator_again() {
    let goldens = goldens();
    let operators = |name: &str| {
        let animal = Animal::read(name, &goldens).expect("it is read");
        let graph = animal.model.graph(animal.input.shape()).expect("it takes its size");
        let graph = optimize(&graph, animal.input.shape(), &Optimizations::default()).expect("it optimises");
        graph.nodes().iter().map(|node| node.op.rules().name()).collect::<Vec<_>>()
    };
    for (name, gone) in [
        ("nafnet.ts", &["div", "square", "sqrt", "sub"][..]),
        ("nafnet.dynamo", &["div", "square", "sqrt", "sub"]),
        ("nafnet.dynamoraw", &["div", "square", "sqrt", "sub"]),
        ("ddpm.ts", &["sigmoid", "mul", "silu"]),
        ("ddpm.dynamo", &["sigmoid", "mul", "silu"]),
        ("smp_fpn_resnet18.ts", &["batch_norm", "relu"]),
        ("monai_segresnet.dynamo", &["batch_norm", "relu"]),
    ] {
        let operators = operators(name);
        assert!(!operators.iter().any(|op| gone.contains(op)), "{name}: {}", operators.join(" "));
    }
}

#[test]
fn spelled_out_functions_are_found() {
    let affine = |scale: f32, shift: f32| BatchNorm {
        scale: vec![scale; 3].into(),
        shift: vec![shift; 3].into(),
        activation: Activation::None,
    };
    type Build = fn(&mut Graph, &dyn Fn(f32, f32) -> BatchNorm) -> unet_wgpu::Result<ValueId>;
    let cases: [(&str, Build); 6] = [
        ("silu", |g, _| {
            let gate = g.push("gate", Activation::Sigmoid, &[Graph::INPUT])?;
            g.push("y", Binary::new(BinaryKind::Mul), &[gate, Graph::INPUT])
        }),
        ("hard_swish", |g, affine| {
            let sum = g.push("sum", affine(1.0, 3.0), &[Graph::INPUT])?;
            let six = g.push("six", Activation::Clip { min: 0.0, max: 6.0 }, &[sum])?;
            let product = g.push("product", Binary::new(BinaryKind::Mul), &[Graph::INPUT, six])?;
            g.push("y", affine(1.0 / 6.0, 0.0), &[product])
        }),
        ("hard_swish", |g, _| {
            let gate = g.push("gate", Activation::HARD_SIGMOID, &[Graph::INPUT])?;
            g.push("y", Binary::new(BinaryKind::Mul), &[Graph::INPUT, gate])
        }),
        ("mish", |g, _| {
            let soft = g.push("soft", Activation::Softplus, &[Graph::INPUT])?;
            let gate = g.push("gate", Activation::Tanh, &[soft])?;
            g.push("y", Binary::new(BinaryKind::Mul), &[Graph::INPUT, gate])
        }),
        ("gelu", |g, affine| {
            let part = g.push("part", affine(std::f32::consts::FRAC_1_SQRT_2, 0.0), &[Graph::INPUT])?;
            let erf = g.push("erf", Activation::Erf, &[part])?;
            let sum = g.push("sum", affine(1.0, 1.0), &[erf])?;
            let product = g.push("product", Binary::new(BinaryKind::Mul), &[Graph::INPUT, sum])?;
            g.push("y", affine(0.5, 0.0), &[product])
        }),
        ("gelu", |g, affine| {
            let half = g.push("half", affine(0.5, 0.0), &[Graph::INPUT])?;
            let part = g.push("part", affine(std::f32::consts::FRAC_1_SQRT_2, 0.0), &[Graph::INPUT])?;
            let erf = g.push("erf", Activation::Erf, &[part])?;
            let sum = g.push("sum", affine(1.0, 1.0), &[erf])?;
            g.push("y", Binary::new(BinaryKind::Mul), &[half, sum])
        }),
    ];
    for (want, build) in cases {
        let mut graph = Graph::new(3);
        build(&mut graph, &affine).expect("it builds");
        let input = Tensor::random(Shape::new(1, 3, 5, 7), 1);
        let optimized = optimize(&graph, input.shape(), &Optimizations::default()).expect("it optimises");
        let names: Vec<&str> = optimized.nodes().iter().map(|n| n.op.rules().name()).collect();
        assert_eq!(names, [want]);
        check(want, &graph, &input, &cpu::run(&graph, &input).expect("it runs"), Tolerance::Operator);
    }
}

#[test]
fn converted_networks_read_back_the_same() {
    let goldens = goldens();
    for name in ["milesial_dynamic.ts", "nafnet.dynamo", "monai_unet.ts", "keras.written", "milesial_half.ts"]
    {
        let animal = Animal::read(name, &goldens).expect("it is read");
        let bytes = animal.model.to_safetensors(false).expect("it is written");
        let back = Animal { model: Model::from_safetensors(&bytes).expect("it is read back"), ..animal };
        back.off(&Device::Cpu).expect("the same result");
        assert_eq!(back.model.to_safetensors(false).expect("it is written again"), bytes, "{name}");
        let half = back.model.to_safetensors(true).expect("it is written");
        assert!(half.len() * 3 < bytes.len() * 2, "{} and {} bytes", half.len(), bytes.len());
        let half = Model::from_safetensors(&half).expect("it is read back");
        let run = |model: &Model| {
            let session = Session::new(model, back.input.shape(), Device::Cpu).expect("it fits");
            session.run(&back.input).expect("it runs")
        };
        assert_close(name, &run(&half), &run(&back.model), Tolerance::Half);
    }
}

#[test]
fn no_two_pointwise_operators_follow_each_other() {
    let goldens = goldens();
    let mut chains = Vec::new();
    for name in names() {
        let animal = Animal::read(&name, &goldens).expect("it is read");
        let shape = animal.input.shape();
        let graph = animal.model.graph(shape).expect("it takes its size");
        let graph = optimize(&graph, shape, &Optimizations::default()).expect("it optimises");
        let shapes = graph.shapes(shape).expect("it has its shapes");
        let pointwise = |node: &&Node| {
            matches!(
                node.op,
                Op::Activation(_) | Op::BatchNorm(_) | Op::PRelu(_) | Op::Binary(_) | Op::Pointwise(_)
            )
        };
        for node in graph.nodes().iter().filter(pointwise).filter(|n| n.outputs[0] != graph.output()) {
            let of = |node: &Node| shapes[node.outputs[0].index()];
            let readers: Vec<&Node> =
                graph.nodes().iter().filter(|n| n.inputs.contains(&node.outputs[0])).collect();
            if let [reader] = readers[..]
                && pointwise(&reader)
                && of(reader) == of(node)
            {
                chains.push(format!("{name}: {} then {}", node.name, reader.name));
            }
        }
    }
    assert!(chains.is_empty(), "{}", chains.join("\n"));
}
