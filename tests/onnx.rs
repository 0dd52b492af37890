//! ONNX files: PyTorch's exports give PyTorch's results; damaged and unknown files give errors that name the cause.

use crate::support::{Tolerance, Vectors, check};
use std::path::{Path, PathBuf};
use unet_wgpu::image::{Decoded, Depth, Picture, Prepared, read_npy};
use unet_wgpu::{Device, Model, Session, SessionOptions, Shape, Tensor};

const CASES: [&str; 3] = ["transposed", "resized", "classes"];

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(format!("onnx_{name}.onnx"))
}

/// The folder of third-party models, or a word that its tests did not run.
fn assets() -> Option<PathBuf> {
    let folder = std::env::var_os("UNET_TEST_ASSETS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("DID NOT RUN: UNET_TEST_ASSETS does not name the folder of third-party models");
    }
    folder
}

#[test]
fn exports_agree_with_pytorch() {
    let vectors = Vectors::read("onnx");
    for case in CASES {
        let model = Model::open(vector(case)).expect("it is read");
        let [input, output] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        check(case, &model.graph(input.shape()).unwrap(), input, output, Tolerance::Network);
    }
}

#[test]
fn networks_out_of_scope_are_told_by_tensors_and_nodes() {
    for (case, what) in [("out_of_scope", "BiRefNet"), ("out_of_scope_nodes", "Segment Anything")] {
        let text = Model::open(vector(case)).err().unwrap_or_else(|| panic!("{case} runs")).to_string();
        assert!(text.contains(what) && text.contains("Foo") && text.lines().count() == 1, "{case}: {text}");
    }
}

/// The file pads one column on the left, cuts one on the right, and negates.
#[test]
fn a_pad_that_keeps_the_size_shifts() {
    let model = Model::open(vector("shift")).expect("it is read");
    let shape = model.example_input();
    let input = Tensor::from_fn(shape, |i| i as f32 + 1.0);
    let shifted = |i: usize| if i.is_multiple_of(shape.w) { 0.0 } else { -input.data()[i - 1] };
    let want = Tensor::from_fn(shape, shifted);
    check("shift", &model.graph(shape).unwrap(), &input, &want, Tolerance::Exact);
}

#[test]
fn any_size_runs() {
    let model = Model::open(vector("transposed")).expect("it is read");
    let input = Tensor::random(Shape::new(1, 3, 13, 22), 1);
    let session = Session::new(&model, input.shape(), Device::Cpu).expect("it fits");
    assert_eq!(session.run(&input).expect("it runs").shape(), Shape::new(1, 2, 13, 22));
}

#[test]
fn the_nuclei_model_passes_its_own_test() {
    let Some(folder) = assets().map(|a| a.join("models/nuclei")) else { return };
    // The description beside the file, and the description itself.
    let [model, named] =
        ["weights.onnx", "bioimageio.yaml"].map(|name| Model::open(folder.join(name)).expect("it is read"));
    assert_eq!((&model.recipe, &model.test), (&named.recipe, &named.test));
    let test = model.test.clone().expect("it has test tensors");
    assert_eq!(test.tolerance, 1e-5);
    for device in [Some(Device::Cpu), crate::device::gpu().map(Device::Gpu)].into_iter().flatten() {
        let difference = test.run(&model, device, &SessionOptions::default()).expect("it runs");
        assert!(test.passes(&difference) && difference.max_abs <= 1e-5, "{difference:?}");
    }
    // Another network's numbers do not pass.
    let mut wrong = model.clone();
    wrong.recipe.output.steps.clear();
    let difference = test.run(&wrong, Device::Cpu, &SessionOptions::default()).expect("it runs");
    assert!(!test.passes(&difference), "{difference:?}");
}

#[test]
fn the_nuclei_mask_of_a_picture_is_the_golden_one() {
    let Some(folder) = assets().map(|a| a.join("models/nuclei")) else { return };
    let model = Model::open(folder.join("weights.onnx")).expect("it is read");
    let picture = Picture::open(&folder.join("test_input.png")).expect("a picture");
    let prepared = Prepared::picture(&picture, &model).expect("it fits");
    assert_eq!(prepared.note(), None);
    let session = Session::new(&model, prepared.tensor().shape(), Device::Cpu).expect("it fits");
    let result = session.run(prepared.tensor()).expect("it runs");
    let result = prepared.finish(result, &model.recipe).expect("finite numbers");
    let Decoded::Mask(mask) = Decoded::new(&result, &model.recipe, Depth::Eight).expect("a mask") else {
        panic!("not a mask")
    };
    let want = read_npy(&folder.join("test_output.npy")).expect("an array");
    let pairs = mask.classes().iter().zip(want.data());
    let same = pairs.filter(|(class, probability)| (**class == 1) == (**probability > 0.5)).count();
    assert!(same as f64 >= 0.999 * want.data().len() as f64, "{same} of {} pixels", want.data().len());
}

#[test]
fn the_sed_model_correlates_with_its_targets() {
    let Some(folder) = assets().map(|a| a.join("models/sed")) else { return };
    let model = Model::open(folder.join("unet.onnx")).expect("it is read");
    let pictures = std::fs::read_dir(folder.join("input")).expect("a folder").flatten();
    let mut count = 0;
    for picture in pictures {
        let grey = |part: &str| {
            let picture =
                image::open(folder.join(part).join(picture.file_name())).expect("a picture").to_luma8();
            let (w, h) = picture.dimensions();
            let data = picture.into_raw().into_iter().map(|v| f32::from(v) / 255.0).collect();
            Tensor::new(Shape::new(1, 1, h as usize, w as usize), data).expect("as many")
        };
        let (input, want) = (grey("input"), grey("target"));
        let got =
            Session::new(&model, input.shape(), Device::Cpu).expect("it fits").run(&input).expect("it runs");
        // ONNX Runtime's own figures; the fourth target is less like what the network learnt.
        let expected = match picture.file_name().to_str() {
            Some("file01_00050.png") => 0.97527,
            Some("file01_00421.png") => 0.97559,
            Some("file02_00134.png") => 0.97651,
            _ => 0.95256,
        };
        let got = correlation(got.data(), want.data());
        assert!((got - expected).abs() <= 1e-4, "{:?}: {got}", picture.file_name());
        count += 1;
    }
    assert_eq!(count, 4);
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |x: &[f32]| x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| {
        a.iter().zip(b).map(|(&a, &b)| f(f64::from(a) - ma, f64::from(b) - mb)).sum::<f64>()
    };
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}
