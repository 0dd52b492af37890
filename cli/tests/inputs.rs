//! Networks of several inputs and outputs, and with states, through the command, against ONNX Runtime's values.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::desk::{Desk, stderr};
use crate::device::gpu;
use serde_json::Value;
use std::path::{Path, PathBuf};
use unet_wgpu::image::{Depth, PageWriter, Picture, encode_npy, read_npy};
use unet_wgpu::{Shape, Tensor};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

/// A tensor of `inputs.safetensors`.
fn vector(name: &str) -> Tensor {
    let bytes = std::fs::read(vectors().join("inputs.safetensors")).unwrap();
    let (len, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let header: Value = serde_json::from_slice(header).unwrap();
    let numbers = |field: &str| -> Vec<usize> {
        header[name][field].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
    };
    let (shape, place) = (numbers("shape"), numbers("data_offsets"));
    let data = data[place[0]..place[1]].as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    Tensor::new(Shape::new(shape[0], shape[1], shape[2], shape[3]), data).unwrap()
}

/// A desk with the three networks.
fn desk() -> Desk {
    let desk = Desk::new();
    for name in ["time", "three", "recurrent"] {
        let file = std::fs::read(vectors().join(format!("onnx_{name}.onnx"))).unwrap();
        desk.put(&format!("{name}.onnx"), &file);
    }
    desk
}

#[track_caller]
fn close(desk: &Desk, file: &str, want: &Tensor) {
    let got = read_npy(&desk.path(file)).unwrap();
    assert_eq!(got.shape(), want.shape());
    let largest = got.data().iter().zip(want.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-4, "{file} differs by {largest}");
}

/// An array of one axis of whole numbers, as NumPy writes it.
fn whole_numbers(values: &[i64]) -> Vec<u8> {
    let header = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}\n", values.len());
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[test]
fn an_input_gets_a_number_or_an_array() {
    let desk = desk();
    desk.put("x.npy", &encode_npy(&vector("time/sample")));
    desk.put("t.npy", &whole_numbers(&[981]));
    let run = "run x.npy --raw -m time.onnx -o out.npy --device cpu";
    desk.unet(&format!("{run} --input timestep=37"));
    close(&desk, "out.npy", &vector("time/noise37"));
    desk.unet(&format!("{run} --input timestep=t.npy"));
    close(&desk, "out.npy", &vector("time/noise981"));

    desk.put("two.npy", &whole_numbers(&[1, 2]));
    let run = "run x.npy --raw -m time.onnx -o new.npy --device cpu";
    desk.refuses(run, &["timestep", "int64", "--input timestep=NUMBER"]);
    desk.refuses(&format!("{run} --input step=3"), &["step", "sample, timestep"]);
    desk.refuses(&format!("{run} --input timestep=0.5"), &["timestep", "whole numbers", "0.5"]);
    desk.refuses(&format!("{run} --input timestep=two.npy"), &["timestep", "expected (1)", "got (2)"]);
    desk.refuses("bench time.onnx --size 32 --device cpu", &["timestep", "--input timestep=NUMBER"]);
    for line in ["bench time.onnx --size 32 --runs 1", "inspect time.onnx --size 32"] {
        desk.unet(&format!("{line} --device cpu --input timestep=t.npy"));
    }
    if gpu().is_some() {
        desk.unet("verify time.onnx --size 32 --device gpu --input timestep=37");
        desk.unet("tune time.onnx --size 32 --device gpu --input timestep=37");
    }
    desk.refuses("inspect --preset seed --input timestep=37", &["--input", "model files"]);
    desk.refuses(&format!("{run} --input timestep=gone.npy"), &["gone.npy"]);
    desk.refuses(&format!("{run} --input timestep=1 --input timestep=2"), &["timestep", "twice"]);
    for wrong in ["timestep", "timestep=ten", "timestep=nan", "=1", "timestep=inf"] {
        let output = desk.command(&format!("{run} --input {wrong}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", stderr(&output));
        assert!(stderr(&output).contains("expected"), "{wrong}");
    }
    desk.refuses("run picture.png -m same.safetensors -o new.png --device cpu --input t=1", &["t", "input"]);
}

#[test]
fn an_output_is_chosen_by_name() {
    let desk = desk();
    desk.put("x.npy", &encode_npy(&vector("three/picture")));
    let run = "run x.npy --raw -m three.onnx -o out.npy --device cpu";
    desk.unet(run);
    close(&desk, "out.npy", &vector("three/mask"));
    desk.unet(&format!("{run} --output quarter"));
    close(&desk, "out.npy", &vector("three/quarter"));
    desk.refuses(
        "run x.npy --raw -m three.onnx -o new.npy --device cpu --output mosk",
        &["mosk", "quarter, half, mask"],
    );
    let text = String::from_utf8(desk.unet("inspect three.onnx --size 24x40").stdout).unwrap();
    let line = text.lines().find(|line| line.contains("mask") && line.starts_with("output")).unwrap();
    assert!(line.contains("(1,2,24,40)") && line.contains("the only output of the picture's size"), "{line}");
    let report: Value = serde_json::from_slice(&desk.unet("inspect recurrent.onnx --json").stdout).unwrap();
    assert_eq!(report["inputs"].as_array().unwrap().len(), 5);
    assert_eq!(report["outputs"].as_array().unwrap().len(), 6);
    assert_eq!(report["outputs"][0]["name"], "fgr");
    assert!(report["inputs"][1]["purpose"].as_str().unwrap().contains("r1o"));
}

/// Pages carry states from one to the next; each stack, and each picture by itself, begins with zeros.
#[test]
fn stacks_carry_states() {
    let desk = desk();
    let frames = vector("recurrent/src");
    let page = |place: usize| {
        let shape = Shape { n: 1, ..frames.shape() };
        let size = shape.elements();
        let data = frames.data()[place * size..][..size].to_vec();
        Picture::new(Tensor::new(shape, data).unwrap(), Depth::Float).unwrap()
    };
    let mut writer = PageWriter::create(&desk.path("pages.tiff")).unwrap();
    (0..frames.shape().n).for_each(|place| writer.push(&page(place)).unwrap());
    writer.finish().unwrap();
    std::fs::copy(desk.path("pages.tiff"), desk.path("again.tiff")).unwrap();
    for device in std::iter::once("cpu").chain(gpu().map(|_| "gpu")) {
        desk.unet(&format!("run pages.tiff -m recurrent.onnx -o out.npy --device {device}"));
        close(&desk, "out.npy", &vector("recurrent/fgr"));
    }
    desk.unet("run pages.tiff -m recurrent.onnx -o pha.npy --device cpu --output pha");
    close(&desk, "pha.npy", &vector("recurrent/pha"));
    desk.unet("run pages.tiff again.tiff -m recurrent.onnx -o out/ --format npy --device cpu");
    close(&desk, "out/pages.npy", &vector("recurrent/fgr"));
    close(&desk, "out/again.npy", &vector("recurrent/fgr"));

    for name in ["a.tiff", "b.tiff"] {
        desk.put(name, &page(0).encode(Path::new(name)).unwrap());
    }
    desk.unet("run a.tiff b.tiff -m recurrent.onnx -o alone/ --format npy --device cpu");
    let [a, b] = ["a", "b"].map(|name| std::fs::read(desk.path(&format!("alone/{name}.npy"))).unwrap());
    assert!(a == b);
    let line = "run pages.tiff -m recurrent.onnx -o new.npy --device cpu";
    desk.refuses(&format!("{line} --tta flips"), &["states"]);
}
