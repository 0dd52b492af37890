//! ONNX files of several inputs and outputs, and recurrent ones, against ONNX Runtime's values.

use crate::device::gpu;
use crate::support::{Tolerance, Vectors, assert_close};
use std::path::{Path, PathBuf};
use unet_wgpu::{
    Device, Error, FixedInput, Model, OpenOptions, Role, Session, SessionOptions, Shape, Tensor,
};

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(format!("onnx_{name}.onnx"))
}

fn open(name: &str) -> Model {
    Model::open(vector(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn devices() -> impl Iterator<Item = Device> {
    [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten()
}

fn names(names: &[&str]) -> SessionOptions {
    SessionOptions::default().with_outputs(names.iter().copied())
}

/// A picture of a batch.
fn frame(batch: &Tensor, place: usize) -> Tensor {
    let shape = Shape { n: 1, ..batch.shape() };
    let size = shape.elements();
    Tensor::new(shape, batch.data()[place * size..][..size].to_vec()).expect("a frame of the batch")
}

fn number(name: &str, value: f64) -> FixedInput {
    FixedInput { name: name.into(), dims: vec![1], values: vec![value] }
}

#[test]
fn a_time_step_is_an_input_or_a_constant() {
    let vectors = Vectors::read("inputs");
    let (model, sample) = (open("time"), vectors.get("time/sample"));
    let signature = model.signature();
    let ports: Vec<_> = signature.inputs.iter().map(|port| (&*port.name, port.element, &port.role)).collect();
    assert_eq!(ports, [("sample", "float32", &Role::Picture), ("timestep", "int64", &Role::Value)]);
    for device in devices() {
        let session = Session::new(&model, sample.shape(), device.clone()).expect("it is built");
        for step in [0, 37, 981] {
            let want = vectors.get(&format!("time/noise{step}"));
            let what = format!("step {step} on {device:?}");
            let time = Tensor::from_fn(Shape::new(1, 1, 1, 1), |_| step as f32);
            let got = session.run_with(&[("sample", sample), ("timestep", &time)]).expect(&what);
            assert_close(&what, &got["noise"], want, Tolerance::Network);

            let options = OpenOptions::default().with_input(number("timestep", f64::from(step)));
            let fixed = Model::open_with(vector("time"), &options).expect("it is read");
            assert_eq!(fixed.signature().inputs.len(), 1);
            let graphs = [&model, &fixed].map(|model| model.graph(sample.shape()).expect("it is built"));
            assert!(graphs[1].nodes().len() < graphs[0].nodes().len(), "the embedding is a constant");
            let session = Session::new(&fixed, sample.shape(), device.clone()).expect("it is built");
            assert_close(&what, &session.run(sample).expect(&what), want, Tolerance::Network);
        }
    }
}

#[test]
fn the_largest_output_is_the_result() {
    let vectors = Vectors::read("inputs");
    let (model, picture) = (open("three"), vectors.get("three/picture"));
    let signature = model.signature();
    let ports: Vec<_> = signature.outputs.iter().map(|port| (&*port.name, &port.role)).collect();
    assert_eq!(ports, [("mask", &Role::Result), ("quarter", &Role::Output), ("half", &Role::Output)]);
    assert_eq!(signature.reason, "it is the only output of the picture's size");
    for device in devices() {
        let session = Session::new(&model, picture.shape(), device.clone()).expect("it is built");
        let mask = session.run(picture).expect("it runs");
        assert_close("mask", &mask, vectors.get("three/mask"), Tolerance::Network);
        let all = ["half", "mask", "quarter"];
        let session = Session::with_options(&model, picture.shape(), device, &names(&all));
        let got = session.expect("it is built").run_with(&[("picture", picture)]).expect("it runs");
        for name in all {
            assert_close(name, &got[name], vectors.get(&format!("three/{name}")), Tolerance::Network);
        }
    }
    let options = OpenOptions::default().with_result("half");
    let half = Model::open_with(vector("three"), &options).expect("it is read");
    assert_eq!(half.signature().outputs[0].name, "half");
    let graph = half.graph(picture.shape()).expect("it is built");
    assert_eq!(graph.output_shape(picture.shape()).expect("it has one"), vectors.get("three/half").shape());
}

/// The states begin as zeros of the size that the network gives them.
#[test]
fn four_states_over_ten_frames() {
    let vectors = Vectors::read("inputs");
    let (model, frames) = (open("recurrent"), vectors.get("recurrent/src"));
    let signature = model.signature();
    assert_eq!(signature.outputs[0].name, "fgr");
    assert_eq!(signature.reason, "it is the first of 2 outputs of the picture's size");
    assert_eq!(signature.inputs[1].role, Role::State("r1o".into()));
    let asked = ["fgr", "pha", "r1o", "r2o", "r3o", "r4o"];
    let shape = Shape { n: 1, ..frames.shape() };
    for device in devices() {
        let session = Session::with_options(&model, shape, device.clone(), &names(&asked));
        let session = session.expect("it is built");
        assert!(session.has_states());
        // Twice: a reset makes the states what they were.
        for round in 0..2 {
            for place in 0..frames.shape().n {
                let what = format!("frame {place} of round {round} on {device:?}");
                let got = session.run_with(&[("src", &frame(frames, place))]).expect(&what);
                for name in ["fgr", "pha"] {
                    let want = frame(vectors.get(&format!("recurrent/{name}")), place);
                    assert_close(&format!("{name}, {what}"), &got[name], &want, Tolerance::Network);
                }
                if place + 1 == frames.shape().n {
                    for name in &asked[2..] {
                        let want = vectors.get(&format!("recurrent/{name}"));
                        assert_close(&format!("{name}, {what}"), &got[*name], want, Tolerance::Network);
                    }
                }
            }
            session.reset().expect("the device is there");
        }
    }
}

/// A size that the network halves unevenly is padded, and its states with it.
#[test]
fn states_of_a_padded_picture() {
    let model = open("recurrent");
    let input = Tensor::random(Shape::new(1, 3, 27, 45), 1);
    for device in devices() {
        let session = Session::with_options(&model, input.shape(), device, &names(&["pha", "r4o"]));
        let got = session.expect("it is built").run_with(&[("src", &input)]).expect("it runs");
        assert_eq!(got["pha"].shape(), Shape::new(1, 1, 27, 45));
        assert_eq!(got["r4o"].shape(), Shape::new(1, 4, 2, 3));
    }
}

#[test]
fn converted_files_keep_inputs_and_states() {
    for name in ["time", "three", "recurrent"] {
        let model = open(name);
        let bytes = model.to_safetensors(false).expect("it is written");
        let back = Model::from_safetensors(&bytes).expect("it is read back");
        assert_eq!(back.signature(), model.signature(), "{name}");
    }
}

#[test]
fn recipes_declare_states_and_the_result() {
    let desk = tempfile::tempdir().expect("a folder");
    let file = desk.path().join("net.onnx");
    std::fs::copy(vector("recurrent"), &file).expect("it is copied");
    let with = |toml: &str| {
        std::fs::write(desk.path().join("net.toml"), toml).expect("it is written");
        Model::open(&file)
    };
    let all = r#"carry = [["r1o", "r1i"], ["r2o", "r2i"], ["r3o", "r3i"], ["r4o", "r4i"]]"#;
    let model = with(&format!("{all}\n[output]\nname = 'pha'")).expect("it is read");
    assert_eq!(model.signature().outputs[0].name, "pha");
    assert_eq!(model.signature().reason, "it was chosen by name");
    for (toml, words) in [
        (r#"carry = [["r1o", "r9i"]]"#, ["r9i", "src, r1i"]),
        (r#"carry = [["r9o", "r1i"]]"#, ["r9o", "fgr, pha, r1o"]),
        (r#"carry = [["fgr", "src"]]"#, ["src", "picture"]),
        ("[output]\nname = 'alpha'", ["alpha", "fgr, pha"]),
    ] {
        let error = with(toml).expect_err(toml).to_string();
        assert!(words.iter().all(|word| error.contains(word)) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn wrong_requests_are_refused_by_name() {
    let options = OpenOptions::default().with_input(number("step", 1.0));
    match Model::open_with(vector("time"), &options) {
        Err(Error::UnknownName { name, known, .. }) => {
            assert_eq!((&*name, &*known), ("step", "sample, timestep"))
        }
        other => panic!("{other:?}"),
    }
    let options = OpenOptions::default().with_result("mosk");
    let error = Model::open_with(vector("three"), &options).expect_err("there is none").to_string();
    assert!(error.contains("mosk") && error.contains("quarter, half, mask"), "{error}");
    let model = open("time");
    let shapes = [Shape::new(1, 3, 8, 8), Shape::new(1, 1, 1, 2)];
    let error = Session::new(&model, shapes, Device::Cpu).expect_err("a wrong shape").to_string();
    assert!(error.contains("timestep"), "{error}");
}
