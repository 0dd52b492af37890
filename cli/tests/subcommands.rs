//! The built command: what it writes, what scripts rely on, and one-line errors for every bad input.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::desk::{Desk, Parts, small, stderr};
use crate::fixtures::{blocks, decoding};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use unet_wgpu::graph::{Activation, Graph};
use unet_wgpu::image::{Depth, Picture, read_npy, write_npy};
use unet_wgpu::recipe::{Decode, Recipe};
use unet_wgpu::unet::UnetConfig;
use unet_wgpu::{Model, Random, Shape, Tensor, cpu, gpu};

fn parse(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

const RUN: &str = "run picture.png -m same.safetensors -o out.png --device cpu";

#[test]
fn a_picture_goes_through_and_says_how() {
    let desk = Desk::new();
    let output = desk.unet(&format!("{RUN} --compare both.png"));
    assert_eq!(desk.picture("out.png").planes(), desk.picture("picture.png").planes());
    assert_eq!(desk.picture("both.png").width(), 13 + 4 + 13);
    let text = stderr(&output);
    assert!(
        text.contains("CPU") && text.contains("13x10 pixels padded to 14x10") && text.lines().count() == 1,
        "{text}"
    );
    assert_eq!(stderr(&desk.unet(&format!("{RUN} -q"))), "");
    // The result may replace the input if that is asked for: the input is read before anything is written.
    let over = "run picture.png -m same.safetensors -o ./picture.png --device cpu";
    desk.refuses(over, &["picture.png", "--out", "--overwrite"]);
    desk.unet(&format!("{over} --overwrite"));
    assert_eq!(desk.picture("out.png").planes(), desk.picture("picture.png").planes());
}

#[test]
fn sixteen_bit_pictures_stay_so() {
    let desk = Desk::new();
    let planes = Tensor::from_fn(Shape::new(1, 3, 6, 6), |i| (i * 601) as f32 / 257.0);
    let picture = Picture::new(planes, Depth::Sixteen).unwrap();
    desk.put("deep.png", &picture.encode(Path::new("deep.png")).unwrap());
    desk.unet("run deep.png -m same.safetensors -o out.png --device cpu");
    assert_eq!(desk.picture("out.png").depth(), Depth::Sixteen);
    assert_eq!(desk.picture("out.png").planes(), desk.picture("deep.png").planes());
}

#[test]
fn masks_get_an_overlay_and_shares() {
    let desk = Desk::new();
    desk.put("mask.safetensors", &Parts::new(&small(1), &decoding(Decode::Mask), None).bytes());
    let planes = Tensor::from_fn(Shape::new(1, 1, 2, 4), |i| i as f32 * 30.0);
    desk.put("gray.png", &Picture::new(planes, Depth::Eight).unwrap().encode(Path::new("gray.png")).unwrap());
    let line =
        "run gray.png -m mask.safetensors -o out.png --overlay over.png --compare both.png --device cpu";
    let text = stderr(&desk.unet(line));
    // Of eight values, 150, 180 and 210 are above 127.5 of 255.
    assert!(text.contains("class 0 62.5 %, class 1 37.5 %"), "{text}");
    assert_eq!(desk.picture("out.png").rgb(0, 1), [0, 0, 0]);
    assert_eq!(desk.picture("out.png").rgb(1, 1), [128, 0, 0]);
    assert_eq!(desk.picture("over.png").rgb(1, 1), [139, 75, 75]);
    assert_eq!(desk.picture("both.png").rgb(8 + 1, 1), desk.picture("over.png").rgb(1, 1));
    let text = stderr(&desk.unet(&format!("{line} --threshold 0")));
    assert!(text.contains("class 1 87.5 %"), "{text}");
    // The network's values before the threshold.
    desk.unet("run gray.png -m mask.safetensors -o out.npy --device cpu");
    assert_eq!(read_npy(&desk.path("out.npy")).unwrap().data()[7], (210.0 / 255.0) as f32);
}

#[test]
fn arrays_go_through_unchanged() {
    let desk = Desk::new();
    desk.put("random.safetensors", &Parts::new(&small(5), &Recipe::default(), Some(3)).bytes());
    let input = Tensor::random(Shape::new(2, 5, 6, 7), 1);
    write_npy(&desk.path("in.npy"), &input).unwrap();
    desk.unet("run in.npy --raw -m random.safetensors -o out.npy --device cpu --no-optimize");
    let model = Model::open(desk.path("random.safetensors")).unwrap();
    assert_eq!(
        read_npy(&desk.path("out.npy")).unwrap(),
        cpu::run(&model.graph(input.shape()).unwrap(), &input).unwrap()
    );
    desk.refuses(
        "run in.npy --raw -m random.safetensors -o out.png --device cpu",
        &["more than one picture"],
    );
}

#[test]
fn recipes_beside_a_model_are_used_and_told() {
    let desk = Desk::new();
    // Only pictures of 8x8.
    desk.put("net.onnx", &blocks(&[("license", "CC0-1.0")]));
    desk.put(
        "net.toml",
        b"task = 'segment'\n[output]\ndecode = 'mask'\nclasses = [{name = 'sky'}, {name = 'tree'}]\n",
    );
    let text = stderr(&desk.unet("run picture.png -m net.onnx -o out.png --device cpu"));
    assert!(text.contains("resized from 13x10 to 8x8 pixels") && text.contains("tree"), "{text}");
    assert_eq!((desk.picture("out.png").width(), desk.picture("out.png").height()), (13, 10));
    desk.put("other.toml", b"[output]\ndecode = 'image'\nsteps = [{ linear = { offset = [0.2] } }]\n");
    desk.unet("run picture.png -m net.onnx --recipe other.toml -o image.png --device cpu");
    let text = String::from_utf8(desk.unet("inspect net.onnx").stdout).unwrap();
    for part in ["net.toml", "0 sky, 1 tree", "CC0-1.0  [the file's metadata]", "class 1 above 0"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let report = parse(&desk.unet("inspect net.onnx --recipe other.toml --json"));
    assert_eq!(report["recipe_origins"]["output.steps"], "other.toml");

    let yaml = "format_version: 0.5.4\ninputs: [{axes: [{type: space, id: y}, {type: space}], test_tensor: {source: in.npy}}]\n\
                outputs: [{axes: [{type: space, id: y}, {type: space}], test_tensor: {source: out.npy}}]\n\
                weights: {onnx: {source: net.onnx}}\n";
    desk.put("rdf.yaml", yaml.as_bytes());
    let input = Tensor::from_fn(Shape::new(1, 1, 8, 8), |i| i as f32);
    write_npy(&desk.path("in.npy"), &input).unwrap();
    write_npy(&desk.path("out.npy"), &Tensor::from_fn(input.shape(), |i| (i | 9) as f32)).unwrap();
    for model in ["net.onnx", "rdf.yaml"] {
        let text = String::from_utf8(desk.unet(&format!("verify {model} --device cpu")).stdout).unwrap();
        assert!(text.contains("max abs difference 0.00e0") && text.contains("pass"), "{text}");
    }
    write_npy(&desk.path("out.npy"), &input).unwrap();
    let output = desk.command("verify net.onnx --device cpu").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("max abs difference 9.00e0"));
    desk.put("net.toml", b"[output]\nstops = []\n");
    desk.refuses(
        "run picture.png -m net.onnx -o new.png --device cpu",
        &["net.toml", "output.stops", "steps"],
    );
}

#[test]
fn an_encoder_alone_gives_scores() {
    let desk = Desk::new();
    let config = UnetConfig::new(3, 4, &[4], 4, &[]);
    desk.put("scores.safetensors", &Parts::new(&config, &decoding(Decode::Scores), Some(1)).bytes());
    desk.unet("run picture.png -m scores.safetensors -o out.txt --device cpu");
    assert_eq!(std::fs::read_to_string(desk.path("out.txt")).unwrap().lines().count(), 4);
    desk.refuses("run picture.png -m scores.safetensors -o new.png --device cpu", &["scores", ".txt"]);
}

#[test]
fn inspect_tells_what_scripts_read() {
    let desk = Desk::new();
    let report = parse(&desk.unet("inspect --preset seed --size 64x32 --json"));
    assert_eq!(report["parameters"], 14_789_059);
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(report["flops"], layers.iter().map(|l| l["flops"].as_u64().unwrap()).sum::<u64>());
    assert!(report["activation_bytes"].as_u64() < report["naive_activation_bytes"].as_u64());
    assert!(report["weight_bytes"].as_u64() > Some(14_000_000 * 4));
    let layer = layers.iter().find(|l| l["name"] == "enc2.conv1").unwrap();
    assert_eq!((&layer["op"], &layer["shape"]), (&json!("conv"), &json!([1, 128, 32, 16])));

    let text = String::from_utf8(desk.unet("inspect same.safetensors --size 13").stdout).unwrap();
    for part in ["padded", "enc1 skip", "conv_transpose", "parameters", "receptive field", "activations"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn bench_writes_what_scripts_read() {
    let desk = Desk::new();
    desk.unet("bench same.safetensors --size 8,12x16 --batch 2 --runs 3 --device cpu --json bench.json");
    let report: Value = serde_json::from_slice(&std::fs::read(desk.path("bench.json")).unwrap()).unwrap();
    assert!(report["device"].as_str().unwrap().contains("CPU"));
    let run = &report["runs"][1];
    assert_eq!([&run["height"], &run["width"], &run["batch"]], [&json!(12), &json!(16), &json!(2)]);
    assert_eq!(run["precision"], "f32");
    assert!(run["median_ms"].as_f64() > Some(0.0) && run["median_ms"].as_f64() <= run["p95_ms"].as_f64());
    assert!(run["gflops"].as_f64() > Some(0.0));
}

#[test]
fn devices_lists_every_adapter_and_the_cpu() {
    let report = parse(&Desk::new().unet("devices --json"));
    assert_eq!(report["adapters"].as_array().unwrap().len(), gpu::adapters().len());
    assert!(report["cpu"]["threads"].as_u64() >= Some(1));
}

#[test]
fn a_gpu_that_is_asked_for_runs() {
    if gpu::adapters().is_empty() {
        eprintln!("no adapter: the binary's GPU path was not run");
        return;
    }
    let desk = Desk::new();
    let output = desk.unet("run picture.png -m same.safetensors -o out.png --device gpu --require-gpu");
    assert!(!stderr(&output).contains("CPU ("), "{}", stderr(&output));
    assert_eq!(desk.picture("out.png").planes(), desk.picture("picture.png").planes());
    desk.unet("run picture.png -m same.safetensors -o out.png --device 0");
    let text =
        String::from_utf8(desk.unet("verify same.safetensors --size 9x14 --device gpu").stdout).unwrap();
    assert!(text.contains("all agree"), "{text}");
    desk.refuses(
        "run picture.png -m same.safetensors -o new.png --device gpu --max-memory 10K",
        &["bytes", "raise the limit"],
    );
}

/// The squares of a picture of 0..255 exceed f16, those of 0..1 do not.
#[test]
fn verify_finds_networks_that_f16_cannot_hold() {
    if !gpu::adapters().iter().any(|adapter| adapter.f16) {
        eprintln!("no adapter with f16: verify in f16 was not run");
        return;
    }
    let desk = Desk::new();
    let mut graph = Graph::new(3);
    let square = graph.push("square", Activation::Square, &[Graph::INPUT]).unwrap();
    graph.push("root", Activation::Sqrt, &[square]).unwrap();
    for (scale, code, parts) in [
        (2.0, 1, ["DIFFER", "exceed 65504", "--precision f32"]),
        (1.0 / 255.0, 0, ["all agree", "f16", "ok"]),
    ] {
        let mut recipe = Recipe::default();
        recipe.input.scale = scale;
        let model = Model::new(graph.clone(), recipe).to_safetensors(false).unwrap();
        desk.put("squares.safetensors", &model);
        let line = "verify squares.safetensors --size 16 --device gpu --precision f16 --no-optimize";
        let output = desk.command(line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{text}{}", stderr(&output));
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn without_an_adapter_the_cpu_runs_and_says_so() {
    let desk = Desk::new();
    let blind = |line: &str| {
        let mut command = desk.command(line);
        command.env("VK_ICD_FILENAMES", "/nonexistent").env("VK_DRIVER_FILES", "/nonexistent");
        command
    };
    if cfg!(not(target_os = "linux")) {
        eprintln!("adapters can only be hidden from Vulkan: not run here");
        return;
    }
    let output = blind("run picture.png -m same.safetensors -o out.png").output().unwrap();
    assert!(output.status.success() && stderr(&output).contains("running on the CPU"), "{}", stderr(&output));
    for (line, part) in [
        ("run picture.png -m same.safetensors -o new.png --require-gpu", "no hardware GPU"),
        ("run picture.png -m same.safetensors -o new.png --device gpu", "none found"),
        ("run picture.png -m same.safetensors -o new.png --device 3", "index 3"),
        ("run picture.png -m same.safetensors -o new.png --device GeForce", "GeForce"),
        ("verify same.safetensors", "verify needs a GPU"),
        ("bench same.safetensors --layers", "needs a GPU"),
    ] {
        desk.refuses_as(blind(line), line, &[part]);
    }
    let report = parse(&blind("devices --json").output().unwrap());
    assert_eq!(report["adapters"], json!([]));
}

#[test]
fn bad_requests_are_refused_before_any_work() {
    let desk = Desk::new();
    let run = "run picture.png -m same.safetensors --device cpu -o";
    for (line, parts) in [
        (format!("{run} new.gif"), ["new.gif", ".png"]),
        (format!("{run} new"), ["no extension", ".png"]),
        (format!("{run} nowhere/new.png"), ["nowhere", "make it first"]),
        (format!("{run} new.txt"), ["picture", ".png"]),
        (format!("{run} new.png --overlay o.png"), ["--overlay", "masks"]),
        (format!("{run} new.png --compare new.png"), ["--compare", "another result"]),
        (format!("{run} new.png --compare both.npy"), ["both.npy", ".png"]),
        (format!("{run} new.png --threshold 0.5"), ["--threshold", "masks"]),
        (format!("{run} new.png --raw"), ["--raw", ".npy"]),
        (format!("{run} new.png --require-gpu"), ["--require-gpu", "contradict"]),
        (format!("{run} new.png --precision f16"), ["f16", "CPU"]),
        (format!("{run} new.png --max-memory 1K"), ["bytes", "raise the limit"]),
        ("verify same.safetensors --device cpu".into(), ["verify", "GPU"]),
        ("inspect --preset tree".into(), ["tree", "seed"]),
        ("inspect missing.safetensors".into(), ["missing.safetensors", "os error 2"]),
    ] {
        desk.refuses(&line, &parts);
    }
    for line in
        ["", "run", "fly", "inspect", "inspect --preset seed --size 0", "bench --preset seed --size 4x0"]
    {
        assert_eq!(desk.command(line).output().unwrap().status.code(), Some(2), "unet {line}");
    }
}

#[test]
fn bad_inputs_are_refused_by_name() {
    let desk = Desk::new();
    let whole = std::fs::read(desk.path("picture.png")).unwrap();
    desk.put("cut.png", &whole[..whole.len() / 2]);
    desk.put("text.png", b"this is a text file");
    let mut huge = Vec::new();
    png::Encoder::new(&mut huge, 65535, 65535).write_header().unwrap();
    assert!(huge.len() < 200);
    desk.put("huge.png", &huge);
    let array = |name: &str, tensor: Tensor| write_npy(&desk.path(name), &tensor).unwrap();
    array("five.npy", Tensor::zeros(Shape::new(1, 5, 8, 8)));
    array("nan.npy", Tensor::from_fn(Shape::new(1, 3, 2, 2), |i| if i == 7 { f32::NAN } else { 0.0 }));
    let bytes = std::fs::read(desk.path("five.npy")).unwrap();
    let empty = String::from_utf8_lossy(&bytes[10..128]).replace("(1, 5, 8, 8)", "(1, 3, 0, 8)");
    desk.put("empty.npy", &[&bytes[..10], empty.as_bytes()].concat());
    for (input, part) in [
        ("missing.png", "os error 2"),
        (".", "need a folder"),
        ("cut.png", "cut off"),
        ("text.png", "text file"),
        ("huge.png", "cut off"),
        ("five.npy", "expected 3 channels, as the network takes, got 5"),
        ("nan.npy", "not finite at element 7"),
        ("empty.npy", "at least 1"),
    ] {
        let line = format!("run {input} -m same.safetensors -o new.png --device cpu");
        desk.refuses(&line, &[if input == "." { "new.png" } else { input }, part]);
    }
}

#[test]
fn bad_models_are_refused_by_name() {
    let desk = Desk::new();
    let fresh = || Parts::new(&small(3), &decoding(Decode::Image), None);
    let whole = fresh().bytes();

    desk.put("cut.safetensors", &whole[..whole.len() - 10]);
    desk.put("stub.safetensors", &whole[..5]);
    desk.put("length.safetensors", &[&(1u64 << 63).to_le_bytes(), &whole[8..]].concat());
    desk.put("text.safetensors", b"these are not the weights that you are looking for");
    let mut header = fresh().header();
    header["enc1.conv2.weight"]["data_offsets"] = header["enc1.conv1.weight"]["data_offsets"].clone();
    desk.put("overlap.safetensors", &fresh().with_header(&header));

    let mut parts = fresh();
    parts.find("enc1.conv1.bias").1 = "I32";
    desk.put("dtype.safetensors", &parts.bytes());
    let mut parts = fresh();
    parts.tensors.retain(|tensor| tensor.0 != "dec1.up.bias");
    desk.put("missing.safetensors", &parts.bytes());
    let mut parts = fresh();
    parts.tensors.push(("surplus.weight".into(), "F32", vec![1], vec![0; 4]));
    desk.put("extra.safetensors", &parts.bytes());
    let mut parts = fresh();
    parts.find("enc1.conv2.weight").2 = vec![4, 4, 9, 1];
    desk.put("shape.safetensors", &parts.bytes());
    let mut parts = fresh();
    parts.find("output.bias").3 = f32::NAN.to_le_bytes().repeat(3);
    desk.put("nan.safetensors", &parts.bytes());
    let mut parts = fresh();
    parts.metadata["unet.config"] = json!("{\"in_channels\": -1}");
    desk.put("config.safetensors", &parts.bytes());
    let mut parts = fresh();
    parts.metadata["unet.recipe"] = json!("{\"input\": {\"scale\": \"\u{1b}[31m\\n\"}}");
    desk.put("recipe.safetensors", &parts.bytes());

    for (model, part) in [
        ("cut", "complete"),
        ("stub", "complete"),
        ("length", "safetensors"),
        ("text", "safetensors"),
        ("overlap", "safetensors"),
        ("dtype", "enc1.conv1.bias"),
        ("missing", "dec1.up.bias"),
        ("extra", "surplus.weight"),
        ("shape", "enc1.conv2.weight"),
        ("nan", "output.bias"),
        ("config", "unet.config"),
        ("recipe", "unet.recipe"),
        ("absent", "os error 2"),
    ] {
        let file = format!("{model}.safetensors");
        desk.refuses(&format!("run picture.png -m {file} -o new.png --device cpu"), &[&file, part]);
    }
}

#[test]
fn every_model_that_ships_runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let files = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let models: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    assert!(!models.is_empty(), "no model in {}", folder.display());
    let desk = Desk::new();
    let dot = Tensor::from_fn(Shape::new(1, 1, 10, 13), |i| if i == 70 { 255.0 } else { 0.0 });
    desk.put("hole.png", &Picture::new(dot, Depth::Eight).unwrap().encode(Path::new("hole.png")).unwrap());
    for path in models {
        let model = Model::open(&path).unwrap_or_else(|e| panic!("{e}"));
        assert!(!model.recipe.task.is_empty() && !model.recipe.license.is_empty(), "{}", path.display());
        let mask = if model.recipe.input.mask.is_some() { "--mask hole.png" } else { "" };
        let mut command = desk.command(&format!("run picture.png {mask} -o out.png --device cpu -m"));
        let output = command.arg(&path).output().unwrap();
        assert!(output.status.success(), "{}: {}", path.display(), stderr(&output));
        let scale = model.config.as_ref().map_or(1, |config| config.scale);
        let result = desk.picture("out.png");
        assert_eq!((result.width(), result.height()), (13 * scale, 10 * scale), "{}", path.display());
    }
}

/// Light of 0 to 40, where white is 1.
fn render() -> Picture {
    let mut random = Random::new(1);
    let light = Tensor::from_fn(Shape::new(1, 3, 12, 17), |_| 40.0 * random.uniform(0.0, 1.0).powi(3));
    Picture::new(light, Depth::Float).unwrap()
}

#[test]
fn the_command_keeps_light() {
    let desk = Desk::new();
    let recipe = "[input]\ntransfer = \"linear\"\nsteps = [\"auto_exposure\", { curve = \"pu\" }]\n\
                  [output]\nsteps = [{ inverse = \"pu\" }, \"undo_exposure\"]\n";
    std::fs::write(desk.path("same.toml"), recipe).unwrap();
    let render = render();
    for (from, to) in [("x.pfm", "y.pfm"), ("x.exr", "y.exr")] {
        std::fs::write(desk.path(from), render.encode(Path::new(from)).unwrap()).unwrap();
        desk.unet(&format!("run {from} -m same.safetensors -o {to} --device cpu"));
        let picture = desk.picture(to);
        for (got, want) in picture.planes().data().iter().zip(render.planes().data()) {
            assert!((got - want).abs() <= 1e-3 * want.abs().max(0.1), "{to}: {got}, expected {want}");
        }
    }
    let told = String::from_utf8(desk.unet("inspect same.safetensors").stdout).unwrap();
    for part in ["linear light", "exposed", "onto the perceptually uniform curve", "the exposure undone"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
