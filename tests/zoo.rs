//! Networks of many families as their exporters write them, and ONNX's own operator cases.

use crate::support::{Backend, Vectors};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use unet_wgpu::{Model, Shape, Tensor};

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
    shape: Vec<usize>,
    seed: u64,
}

#[derive(Deserialize)]
struct Weight {
    offset: usize,
    count: usize,
    seed: u64,
    scale: f64,
    shift: f64,
}

#[derive(Deserialize)]
struct Output {
    name: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/zoo")
}

/// A network of the zoo with its weights beside it.
struct Animal {
    model: Model,
    /// NCHW.
    input: Tensor,
    want: Vec<f32>,
}

impl Animal {
    fn read(name: &str, vectors: &BTreeMap<&str, Vectors>) -> Result<Animal, String> {
        let sidecar = std::fs::read(folder().join(format!("{name}.json"))).expect("a sidecar");
        let sidecar: Sidecar = serde_json::from_slice(&sidecar).expect("it is whole");
        let desk = tempfile::tempdir().expect("a folder");
        let half = sidecar.input.r#type == "f16";
        let mut bytes = vec![0; sidecar.external_bytes];
        for weight in &sidecar.tensors {
            let random = Tensor::random(Shape::new(1, 1, 1, weight.count), weight.seed);
            let (scale, shift) = (weight.scale as f32, weight.shift as f32);
            let size = if half { 2 } else { 4 };
            let place = &mut bytes[weight.offset..][..weight.count * size];
            for (to, u) in place.chunks_exact_mut(size).zip(random.data()) {
                let value = shift + scale * u;
                match half {
                    true => to.copy_from_slice(&half::f16::from_f32(value).to_le_bytes()),
                    false => to.copy_from_slice(&value.to_le_bytes()),
                }
            }
        }
        std::fs::write(desk.path().join("weights.bin"), bytes).expect("it is written");
        let file = desk.path().join("model.onnx");
        std::fs::copy(folder().join(format!("{name}.onnx")), &file).expect("a model");
        let model = Model::open(&file).map_err(|e| e.to_string())?;
        let dims = &sidecar.input.shape;
        let channels_last = name.starts_with("keras");
        let [n, c, h, w] = match dims[..] {
            [n, h, w, c] if channels_last => [n, c, h, w],
            [n, c, h, w] => [n, c, h, w],
            _ => panic!("{dims:?}"),
        };
        let random = Tensor::random(Shape::new(1, 1, 1, n * c * h * w), sidecar.input.seed);
        let input = Tensor::from_fn(Shape::new(n, c, h, w), |i| {
            let at = match channels_last {
                true => (i % (h * w)) * c + i / (h * w) % c + i / (c * h * w) * (c * h * w),
                false => i,
            };
            if half { half::f16::from_f32(random.data()[at]).to_f32() } else { random.data()[at] }
        });
        let exporter = if name.ends_with("dynamo") { "dynamo" } else { "ts" };
        let want = vectors[exporter].get(&format!("{name}/{}", sidecar.outputs[0].name)).data().to_vec();
        Ok(Animal { model, input, want })
    }
}

fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).expect("the zoo").map(|f| f.expect("a file").file_name());
    let files = files.filter_map(|f| f.to_string_lossy().strip_suffix(".onnx").map(str::to_string));
    let mut names: Vec<String> = files.collect();
    names.sort();
    names
}

fn vectors() -> BTreeMap<&'static str, Vectors> {
    ["dynamo", "ts"].into_iter().map(|exporter| (exporter, Vectors::read(&format!("zoo/{exporter}")))).collect()
}

#[test]
fn every_family_gives_its_golden_result() {
    let vectors = vectors();
    let only = std::env::var("UNET_ZOO").unwrap_or_default();
    let mut failures = Vec::new();
    for name in names().iter().filter(|n| n.contains(&only)) {
        match Animal::read(name, &vectors) {
            Ok(animal) => {
                let graph = match animal.model.graph(animal.input.shape()) {
                    Ok(graph) => graph,
                    Err(error) => {
                        failures.push(format!("{name}: {error}"));
                        continue;
                    }
                };
                let got = Backend::Cpu.run(&graph, &animal.input);
                let range = animal.want.iter().fold((0f32, 0f32), |r, &v| (r.0.min(v), r.1.max(v)));
                let off = got.data().iter().zip(&animal.want).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                let off = off / (range.1 - range.0);
                if got.data().len() != animal.want.len() || !(off <= 1e-4) {
                    failures.push(format!("{name}: off by {off:.1e}, {} and {} numbers", got.data().len(), animal.want.len()));
                }
                let ops: Vec<&str> = graph.nodes().iter().map(|n| n.op.rules().name()).collect();
                eprintln!("{name}: {off:.1e}, {} nodes, {} rearranged", ops.len(), ops.iter().filter(|o| **o == "rearrange").count());
            }
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
