//! Measured kernel choices and the caches: files, plans that follow them, measuring, the command.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::device::gpu;
use std::path::PathBuf;
use std::sync::Arc;
use unet_wgpu::gpu::AdapterReport;
use unet_wgpu::graph::{Conv, ConvTranspose, Ending, Graph, Op, Pool};
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::plan::{ConvKernel, DeviceProfile, Dispatch, Kernel, Plan, PlanOptions, Precision, Tuning};
use unet_wgpu::tune::tune;
use unet_wgpu::unet::{RandomWeights, UnetConfig};
use unet_wgpu::verify::Difference;
use unet_wgpu::{AdapterChoice, Device, Gpu, Model, Session, SessionOptions, Shape, Tensor};

fn adapter(name: &str, driver: &str) -> AdapterReport {
    let mut adapter = AdapterReport::default();
    adapter.name = name.into();
    adapter.backend = "Vulkan".into();
    adapter.driver = driver.into();
    adapter
}

fn every_choice() -> Tuning {
    let mut tuning = Tuning::default();
    ConvKernel::ALL.iter().for_each(|&kernel| tuning.set(format!("layer {kernel:?}"), kernel));
    tuning
}

#[test]
fn a_tuning_comes_back_from_its_file_and_grows() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = adapter("GPU (rev. 1)", "driver 1.2");
    let inner = folder.path().join("made/when/missing");
    assert_eq!(Tuning::load_from(&inner, &adapter), None);
    let path = every_choice().save_to(&inner, &adapter).unwrap();
    assert_eq!(Tuning::load_from(&inner, &adapter), Some(every_choice()));
    let mut newer = Tuning::default();
    newer.set("layer Auto", ConvKernel::Direct);
    newer.set("new", ConvKernel::Winograd4);
    newer.save_to(&inner, &adapter).unwrap();
    let both = Tuning::load_from(&inner, &adapter).unwrap();
    assert_eq!(both.layers().len(), ConvKernel::ALL.len() + 1);
    let chosen = ["layer Auto", "layer Tiled", "new", "other"].map(|key| both.get(key));
    let [direct, tiled, winograd] = [ConvKernel::Direct, ConvKernel::Tiled, ConvKernel::Winograd4].map(Some);
    assert_eq!(chosen, [direct, tiled, winograd, None]);
    assert!(std::fs::read_to_string(&path).unwrap().contains(r#""new": "winograd4""#));
    let files: Vec<_> = std::fs::read_dir(&inner).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files, [path], "no temporary file stays");
}

#[test]
fn a_broken_or_foreign_file_counts_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, other) = (adapter("mine", "1"), adapter("mine", "2"));
    let path = every_choice().save_to(folder.path(), &mine).unwrap();
    assert_eq!(Tuning::load_from(folder.path(), &other), None);
    let whole = std::fs::read_to_string(&path).unwrap();
    let moved = |from: &str, to: &str| {
        assert!(whole.contains(from));
        whole.replace(from, to)
    };
    for bad in [
        String::new(),
        "[]".into(),
        whole[..whole.len() / 2].into(),
        moved("\"tiled\"", "\"fancy\""),
        moved("\"mine\"", "\"yours\""),
        moved("\"1\"", "\"2\""),
        moved("\"Vulkan\"", "\"Metal\""),
        moved(env!("CARGO_PKG_VERSION"), "0.0.0"),
    ] {
        std::fs::write(&path, &bad).unwrap();
        assert_eq!(Tuning::load_from(folder.path(), &mine), None, "{bad}");
    }
    // It is replaced, not kept.
    every_choice().save_to(folder.path(), &mine).unwrap();
    assert_eq!(Tuning::load_from(folder.path(), &mine), Some(every_choice()));
}

#[test]
fn files_stay_in_their_folder_and_apart_whatever_the_adapter_is_called() {
    let folder = PathBuf::from("folder");
    let names = ["a b", "a_b", "../../a", "/etc/passwd", "", "日本", "日木", &"long ".repeat(99), "con\u{7}"];
    let path = |name| Tuning::path_in(&folder, &adapter(name, ""));
    let mut paths: Vec<PathBuf> = names.map(path).to_vec();
    for path in &paths {
        assert_eq!(path.parent(), Some(folder.as_path()), "{path:?}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name.len() < 200 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
            "{name}"
        );
    }
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), names.len());
}

fn weight(extents: [usize; 4]) -> Arc<Tensor> {
    let [n, c, h, w] = extents;
    Arc::new(Tensor::zeros(Shape::new(n, c, h, w)))
}

#[test]
fn a_key_changes_with_everything_that_decides_the_kernel() {
    let conv = || Conv::new(weight([8, 4, 3, 3]), None).same();
    let up = || ConvTranspose::new(weight([4, 8, 2, 2]), None, 2);
    let convs = [
        conv(),
        Conv { weight: weight([12, 4, 3, 3]), ..conv() },
        Conv { weight: weight([8, 4, 5, 3]), ..conv() },
        Conv { weight: weight([8, 4, 3, 5]), ..conv() },
        Conv { stride: [2, 1], ..conv() },
        Conv { stride: [1, 2], ..conv() },
        Conv { dilation: [2, 1], ..conv() },
        Conv { dilation: [1, 2], ..conv() },
        Conv { groups: 2, ..conv() },
        Conv { ending: Ending::Pool, ..conv() },
        Conv { padding: [0, 1, 1, 1], ..conv() },
        Conv { padding: [1, 0, 1, 1], ..conv() },
        Conv { padding: [1, 1, 0, 1], ..conv() },
        Conv { padding: [1, 1, 1, 0], ..conv() },
    ];
    let ups = [
        up(),
        ConvTranspose { weight: weight([4, 12, 2, 2]), ..up() },
        ConvTranspose { weight: weight([4, 8, 3, 2]), ..up() },
        ConvTranspose { stride: [2, 1], ..up() },
        ConvTranspose { groups: 2, weight: weight([4, 4, 2, 2]), ..up() },
        ConvTranspose { padding: [1, 0, 0, 0], ..up() },
        ConvTranspose { output_padding: [0, 1], ..up() },
    ];
    let x = Shape::new(1, 4, 16, 16);
    let key = |op: &Op, inputs: &[Shape], precision| Tuning::key(op, inputs, precision).unwrap();
    let ops = convs.into_iter().map(Op::from).chain(ups.into_iter().map(Op::from));
    let mut keys: Vec<String> = ops.map(|op| key(&op, &[x], Precision::F32)).collect();
    assert_eq!(keys[0], "conv 4>8 k3x3 s1x1 d1x1 g1 p1,1,1,1 16x16 n1 f32");
    let op = Op::from(conv());
    for shape in [Shape { n: 2, ..x }, Shape { c: 8, ..x }, Shape { h: 8, ..x }, Shape { w: 8, ..x }] {
        keys.push(key(&op, &[shape], Precision::F32));
    }
    keys.push(key(&op, &[x], Precision::F16));
    let half = Shape { c: 2, ..x };
    keys.push(key(&op, &[half, half], Precision::F32));
    keys.push(key(&op, &[Shape { c: 1, ..x }, Shape { c: 3, ..x }], Precision::F32));
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
    let biased = Conv { bias: Some(vec![1.0; 8].into()), ..conv() };
    assert_eq!(key(&biased.into(), &[x], Precision::F32), key(&op, &[x], Precision::F32));
    assert_eq!(Tuning::key(&Pool::MAX_2X2.into(), &[x], Precision::F32), None);
    assert_eq!(Tuning::key(&op, &[], Precision::F32), None);
}

const SHAPE: Shape = Shape::new(1, 3, 24, 32);

/// Wide enough that every kernel is possible for some layer.
fn graph() -> Graph {
    let config = UnetConfig::new(3, 2, &[16, 32], 64, &[32, 16]);
    let graph = config.build(&mut RandomWeights::new(1)).unwrap();
    optimize(&graph, SHAPE, &Optimizations::default()).unwrap()
}

/// Name and key of each convolution.
fn keys(graph: &Graph, input: Shape, precision: Precision) -> Vec<(String, String)> {
    let shapes = graph.shapes(input).unwrap();
    let key = |node: &unet_wgpu::graph::Node| {
        let inputs: Vec<Shape> = node.inputs.iter().map(|id| shapes[id.index()].unwrap()).collect();
        Some((node.name.clone(), Tuning::key(&node.op, &inputs, precision)?))
    };
    graph.nodes().iter().filter_map(key).collect()
}

fn dispatches(device: &DeviceProfile, options: PlanOptions) -> Vec<Dispatch> {
    Plan::new(&graph(), SHAPE, device, &options).unwrap().dispatches
}

/// Label, kernel, grid and params of a dispatch.
type Step<'a> = (&'a str, &'a Kernel, [u32; 3], &'a [(&'static str, u32)]);

fn steps(dispatches: &[Dispatch], of: impl Fn(&str) -> bool) -> Vec<Step<'_>> {
    let kept = dispatches.iter().filter(|d| of(&d.label));
    kept.map(|d| (d.label.as_str(), &d.kernel, d.grid, &d.params[..])).collect()
}

#[test]
fn a_plan_takes_the_choices_that_it_is_given() {
    let hardware = DeviceProfile::default().with_max_workgroup_memory(48 << 10).with_max_lanes(1024);
    let software = hardware.with_software(true);
    let matrices = hardware.with_cooperative(Some(16));
    for (device, precision) in [
        (hardware, Precision::F32),
        (software, Precision::F32),
        (hardware, Precision::F16),
        (matrices, Precision::F16),
    ] {
        let plain =
            |conv| dispatches(&device, PlanOptions::default().with_precision(precision).with_conv(conv));
        let tuned = |tuning: Tuning, conv| {
            dispatches(
                &device,
                PlanOptions::default()
                    .with_precision(precision)
                    .with_conv(conv)
                    .with_tuning(Some(tuning.into())),
            )
        };
        let auto = plain(ConvKernel::Auto);
        let mut differ = 0;
        for &kernel in ConvKernel::ALL {
            let forced = plain(kernel);
            let impossible = kernel == ConvKernel::Cooperative && device.cooperative.is_none();
            let wanted = if impossible { &auto } else { &forced };
            let all: Vec<(String, String)> = keys(&graph(), SHAPE, precision);
            let mut tuning = Tuning::default();
            all.iter().for_each(|(_, key)| tuning.set(key, kernel));
            let got = tuned(tuning.clone(), ConvKernel::Auto);
            assert_eq!(steps(&got, |_| true), steps(wanted, |_| true), "{kernel:?} everywhere");
            for forced in ConvKernel::ALL.iter().copied().filter(|&k| k != ConvKernel::Auto) {
                let got = tuned(tuning.clone(), forced);
                assert_eq!(steps(&got, |_| true), steps(&plain(forced), |_| true), "{forced:?} is asked for");
            }
            for (name, key) in &all {
                let mut tuning = Tuning::default();
                tuning.set(key, kernel);
                let got = tuned(tuning, ConvKernel::Auto);
                let same: Vec<&str> = all.iter().filter(|(_, k)| k == key).map(|(n, _)| n.as_str()).collect();
                assert_eq!(steps(&got, |l| l == name), steps(wanted, |l| l == name), "{kernel:?} in {name}");
                let others = |label: &str| !same.contains(&label);
                assert_eq!(steps(&got, others), steps(&auto, others), "{kernel:?} in {name} alone");
                differ += usize::from(steps(&got, |_| true) != steps(&auto, |_| true));
            }
        }
        assert!(differ > 0, "no choice changed anything");
    }
}

fn small() -> Model {
    let config = UnetConfig::new(3, 2, &[16], 16, &[16]);
    Model::from_config(&config, &mut RandomWeights::new(5)).unwrap()
}

#[test]
fn tuning_keeps_the_result_and_chooses_for_every_convolution() {
    let Some(gpu) = gpu() else { return };
    if !gpu.report().timestamps {
        eprintln!("no timestamps: tuning was not tested");
        return;
    }
    let (model, shape) = (small(), Shape::new(1, 3, 24, 20));
    let precisions = if gpu.report().f16 { &[Precision::F32, Precision::F16][..] } else { &[Precision::F32] };
    for &precision in precisions {
        let options = SessionOptions::default().with_precision(precision);
        let mut seen = Vec::new();
        let report =
            tune(&model, shape, &gpu, &options, &mut |kernel, at, of| seen.push((kernel, at, of))).unwrap();
        assert!(seen.iter().enumerate().all(|(i, &(_, at, of))| at == i && of == seen.len()), "{seen:?}");
        assert_eq!(report.left_out, [], "all are within rounding of each other");
        let optimized = optimize(&model.graph(shape).unwrap(), shape, &Optimizations::default()).unwrap();
        for layer in &report.layers {
            // Layers with the same key get the same choice.
            let alike = || report.layers.iter().filter(|other| other.key == layer.key);
            let best: f64 = alike().map(|other| other.best.seconds).sum();
            let default: f64 = alike().map(|other| other.default.seconds).sum();
            assert!(best <= default && layer.best.seconds > 0.0, "{layer:?}");
            let known = keys(&optimized, shape, precision).contains(&(layer.name.clone(), layer.key.clone()));
            assert!(known && report.tuning.get(&layer.key).is_some(), "{layer:?}");
        }
        assert!(report.layers.iter().any(|layer| layer.name == "enc1.conv2"), "{:?}", report.layers);
        // Whichever was fastest: the fastest by far and the slowest must give the same result.
        let mut tunings = vec![report.tuning.clone(), Tuning::default(), Tuning::default()];
        for (layer, i) in report.layers.iter().zip(0..) {
            tunings[1].set(&layer.key, [ConvKernel::Direct, ConvKernel::Winograd4, ConvKernel::Tiled][i % 3]);
            tunings[2].set(&layer.key, [ConvKernel::Tiled, ConvKernel::Direct, ConvKernel::Winograd2][i % 3]);
        }
        let input = Tensor::random(shape, 4);
        let run = |tuning: Option<Tuning>| {
            let options = options.clone().with_tuning(tuning.map(Arc::new));
            let session = Session::with_options(&model, shape, Device::Gpu(gpu.clone()), &options).unwrap();
            session.poison();
            session.run(&input).unwrap()
        };
        let plain = run(None);
        for tuning in tunings {
            let difference = Difference::of(&run(Some(tuning.clone())), &plain);
            assert!(difference.passes(precision), "{tuning:?}: {difference:?}");
        }
    }
}

#[test]
fn a_tuned_plan_that_does_not_fit_gives_way_to_the_default() {
    let Some(gpu) = gpu() else { return };
    let (model, shape) = (small(), Shape::new(1, 3, 64, 64));
    let plan = |options: &SessionOptions| {
        let session = Session::with_options(&model, shape, Device::Gpu(gpu.clone()), options).unwrap();
        session.plan().unwrap().memory_bytes()
    };
    let optimized = optimize(&model.graph(shape).unwrap(), shape, &Optimizations::default()).unwrap();
    let mut tuning = Tuning::default();
    // Scratch of four times a layer's input, more than any default.
    keys(&optimized, shape, Precision::F32)
        .iter()
        .for_each(|(_, key)| tuning.set(key, ConvKernel::Winograd2));
    let tuned = SessionOptions::default().with_tuning(Some(tuning.into()));
    let (default, large) = (plan(&SessionOptions::default()), plan(&tuned));
    assert!(default < large);
    assert_eq!(plan(&tuned.with_max_memory(Some(default))), default);
}

#[test]
fn compiled_pipelines_are_kept_and_a_broken_file_is_none() {
    let Some(_) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new");
    let input = Tensor::random(SHAPE, 1);
    // Devices of its own: pipelines are made once a device.
    let run = || {
        let gpu = Gpu::open(&AdapterChoice::Any).unwrap();
        let has = gpu.load_pipeline_cache(&folder);
        assert_eq!(gpu.load_pipeline_cache(&folder), has, "a second call changes nothing");
        let session = Session::new(&small(), SHAPE, Device::Gpu(gpu.clone())).unwrap();
        let result = session.run(&input).unwrap();
        (has, gpu.save_pipeline_cache().unwrap(), gpu.save_pipeline_cache().unwrap(), result)
    };
    let (has, saved, again, first) = run();
    assert_eq!((saved, again), (has, false), "nothing new is written twice");
    if !has {
        eprintln!("no pipeline cache on this backend");
        return;
    }
    let path = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(run().3, first, "from the cache");
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [&b""[..], b"not a cache", &whole[..20], &whole[..whole.len() - 1], &flipped] {
        std::fs::write(&path, bad).unwrap();
        let (has, saved, _, result) = run();
        assert!(has && saved, "it is begun anew");
        assert_eq!(result, first);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }
    let plain = Gpu::open(&AdapterChoice::Any).unwrap();
    assert!(!plain.save_pipeline_cache().unwrap(), "nothing is kept unless asked for");
}
