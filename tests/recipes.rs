//! Recipes: their arithmetic, their sources, precedence, and errors.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::fixtures::blocks;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use unet_wgpu::graph::Graph;
use unet_wgpu::image::{Decoded, Depth, Picture, Prepared, write_npy};
use unet_wgpu::recipe::{
    Channels, Decode, Fit, InputRecipe, MaskPlace, MaskRecipe, Over, Recipe, Resampling, Size, Step,
};
use unet_wgpu::{Device, Model, OpenOptions, Random, Session, SessionOptions, Shape, Tensor};

fn row(values: &[f32]) -> Tensor {
    Tensor::new(Shape::new(1, 1, 1, values.len()), values.to_vec()).unwrap()
}

#[track_caller]
fn assert_near(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 1e-5), "{got:?}, expected {want:?}");
}

/// A folder with `net.onnx` in it.
struct Folder(TempDir);

impl Folder {
    fn new(notes: &[(&str, &str)]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.put("net.onnx", blocks(notes));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn open(&self, name: &str) -> unet_wgpu::Result<Model> {
        Model::open(self.path(name))
    }

    /// Opening this file must end with one line that holds all parts.
    #[track_caller]
    fn refuses(&self, name: &str, parts: &[&str]) {
        let text = self.open(name).unwrap_err().to_string();
        assert!(!text.contains('\n') && parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

/// Version 0.5, with the lists of steps as YAML's flow style.
fn description(before: &str, after: &str) -> String {
    format!(
        "format_version: 0.5.4
type: model
name: Blocks
description: 'Finds: blocks'
license: CC0-1.0
authors: [{{name: Ann}}, {{name: Bo}}]
cite: [{{text: A paper, doi: 10.1/x}}]
inputs:
- id: raw
  axes:
  - {{type: batch}}
  - {{type: channel, channel_names: [grey]}}
  - {{type: space, id: y, size: {{min: 8, step: 4}}}}
  - {{type: space, id: x, size: {{min: 8, step: 4}}}}
  test_tensor: {{source: in.npy}}
  preprocessing: {before}
outputs:
- axes: [{{type: batch}}, {{type: channel, channel_names: [cell]}}, {{type: space, id: y, halo: 2}}, {{type: space, halo: 2}}]
  test_tensor: {{source: out.npy}}
  postprocessing: {after}
weights:
  onnx: {{source: net.onnx}}
  pytorch_state_dict: {{source: 'https://example.com/files/net.pt'}}
"
    )
}

#[test]
fn steps_do_what_they_say() {
    let run = |step: Step, values: &[f32]| {
        let mut tensor = row(values);
        step.apply(&mut tensor, Some(&row(&[10.0, 20.0]))).map(|()| tensor.into_data())
    };
    let over = Over::Sample;
    let linear = Step::Linear { gain: vec![2.0], offset: vec![-1.0] };
    assert_near(&run(linear, &[0.0, 3.0]).unwrap(), &[-1.0, 5.0]);
    let clip = Step::Clip { min: Some(-1.0), max: None };
    assert_near(&run(clip, &[-3.0, 9.0]).unwrap(), &[-1.0, 9.0]);
    let standardize = Step::Standardize { over, eps: 1.0 };
    assert_near(&run(standardize, &[1.0, 5.0]).unwrap(), &[-2.0 / 3.0, 2.0 / 3.0]);
    // numpy.percentile([1, 2, 3, 4, 11], [10, 90]) is 1.4 and 8.2.
    let rescale = Step::Rescale { low: 10.0, high: 90.0, over, eps: 0.0 };
    assert_near(&run(rescale, &[11.0, 1.4, 8.2, 2.0, 3.0]).unwrap()[..1], &[(11.0 - 1.64) / (9.88 - 1.64)]);
    let min_max = Step::Rescale { low: 0.0, high: 100.0, over, eps: 0.0 };
    assert_near(&run(min_max.clone(), &[4.0, 8.0, 5.0]).unwrap(), &[0.0, 1.0, 0.25]);
    assert_near(&run(min_max, &[4.0, 4.0]).unwrap(), &[0.0, 0.0]);
    assert_near(&run(Step::DivideByMax { over }, &[4.0, 8.0]).unwrap(), &[0.5, 1.0]);
    assert_near(&run(Step::DivideByMax { over }, &[0.0, 0.0]).unwrap(), &[0.0, 0.0]);
    assert_near(&run(Step::Sigmoid, &[0.0, -1e4, 3.0f32.ln()]).unwrap(), &[0.5, 0.0, 0.75]);
    assert_near(&run(Step::Binarize { threshold: 1.0 }, &[1.0, 1.5]).unwrap(), &[0.0, 1.0]);
    // Mean 15 and standard deviation 5 of the picture.
    assert_near(&run(Step::MatchInput { over, eps: 0.0 }, &[0.0, 4.0]).unwrap(), &[10.0, 20.0]);

    let mut two = Tensor::new(Shape::new(1, 2, 1, 2), vec![0.0, 1e4, 3.0f32.ln(), 1e4]).unwrap();
    Step::Softmax.apply(&mut two, None).unwrap();
    assert_near(two.data(), &[0.25, 0.5, 0.75, 0.5]);
    let mut two = Tensor::new(Shape::new(1, 2, 1, 2), vec![0.0, 2.0, 5.0, 9.0]).unwrap();
    Step::Standardize { over: Over::Channel, eps: 0.0 }.apply(&mut two, None).unwrap();
    assert_near(two.data(), &[-1.0, 1.0, -1.0, 1.0]);
    Step::Linear { gain: vec![1.0, 3.0], offset: vec![] }.apply(&mut two, None).unwrap();
    assert_near(two.data(), &[-1.0, 1.0, -3.0, 3.0]);

    for bad in [
        Step::Linear { gain: vec![1.0; 3], offset: vec![] },
        Step::Linear { gain: vec![f64::NAN], offset: vec![] },
        Step::Clip { min: Some(2.0), max: Some(1.0) },
        Step::Rescale { low: 50.0, high: 50.0, over, eps: 0.0 },
        Step::Rescale { low: 0.0, high: 101.0, over, eps: 0.0 },
        Step::Standardize { over, eps: -1.0 },
        Step::Binarize { threshold: 1e300 },
    ] {
        assert!(run(bad.clone(), &[1.0]).is_err(), "{bad:?}");
    }
}

#[test]
fn scale_steps_mean_and_std_follow_in_that_order() {
    // U2-Net: by the maximum, then ImageNet's mean and standard deviation.
    let recipe = InputRecipe::default()
        .with_steps([Step::DivideByMax { over: Over::Sample }])
        .with_mean([0.25])
        .with_std([0.5]);
    let mut tensor = row(&[0.0, 102.0, 204.0]);
    recipe.normalize(&mut tensor).unwrap();
    assert_near(tensor.data(), &[-0.5, 0.5, 1.5]);
}

#[test]
fn pictures_are_brought_to_a_size_and_back() {
    let model = |input: InputRecipe, decode| {
        let mut recipe = Recipe::default().with_input(input);
        recipe.output.decode = Some(decode);
        Model::new(Graph::new(1), recipe)
    };
    let plain = InputRecipe::default().with_scale(1.0);
    let prepare = |values: Tensor, model: &Model| Prepared::new(values, model).unwrap();

    // A ramp keeps its slope between the edges; a shrunk picture keeps its mean.
    let ramp = Tensor::from_fn(Shape::new(1, 1, 4, 16), |i| (i % 16) as f32);
    let wide = model(plain.clone().with_size(Some(Size::Fixed([4, 32]))), Decode::Mask);
    let prepared = prepare(ramp.clone(), &wide);
    assert_near(&prepared.tensor().data()[8..11], &[3.75, 4.25, 4.75]);
    assert!(prepared.note().unwrap().contains("from 16x4 to 32x4"), "{:?}", prepared.note());
    let back = prepared.finish(prepared.tensor().clone(), &wide.recipe).unwrap();
    assert_eq!(back.shape(), ramp.shape());
    assert_near(&back.data()[4..12], &ramp.data()[4..12]);
    let small =
        prepare(ramp.clone(), &model(plain.clone().with_size(Some(Size::Fixed([1, 4]))), Decode::Mask));
    // PIL's BICUBIC of a row from 0 to 15 to 4 columns, as floats.
    assert_eq!(small.tensor().shape(), Shape::new(1, 1, 1, 4));
    let mean = small.tensor().data().iter().sum::<f32>() / 4.0;
    assert!((mean - 7.5).abs() < 1e-4, "{mean}");

    // PIL 12: Image.resize of such a row to 4 columns, and of 0, 0, 1, 1 to 8.
    for (filter, want) in [
        (None, [1.591_27, 5.416_827, 9.583_173, 13.408_731]),
        (Some(Resampling::Bilinear), [1.892_857, 5.5, 9.5, 13.107_142]),
        (Some(Resampling::Bicubic), [1.591_27, 5.416_827, 9.583_173, 13.408_731]),
        (Some(Resampling::Lanczos), [1.514_968, 5.387_838, 9.612_162, 13.485_032]),
    ] {
        let input = plain.clone().with_size(Some(Size::Fixed([4, 4]))).with_filter(filter);
        assert_near(&prepare(ramp.clone(), &model(input, Decode::Mask)).tensor().data()[..4], &want);
    }
    let lanczos = plain.clone().with_size(Some(Size::Fixed([4, 4]))).with_filter(Some(Resampling::Lanczos));
    let lanczos = model(lanczos, Decode::Mask);
    let step = Tensor::from_fn(Shape::new(1, 1, 4, 4), |i| f32::from(u8::from(i % 4 > 1)));
    let back =
        prepare(Tensor::zeros(Shape::new(1, 1, 4, 8)), &lanczos).finish(step, &lanczos.recipe).unwrap();
    assert_near(&back.data()[..4], &[0.038_136, -0.054_950, -0.097_266, 0.210_921]);

    // Padded ones come back to the bit.
    for fit in [Fit::Zero, Fit::Edge, Fit::Reflect] {
        let padding = model(plain.clone().with_multiple(Some(5)).with_fit(fit), Decode::Mask);
        let prepared = prepare(row(&[1.0, 2.0, 3.0]), &padding);
        let last = match fit {
            Fit::Zero => [0.0, 0.0],
            Fit::Edge => [3.0, 3.0],
            _ => [2.0, 1.0],
        };
        assert_eq!(prepared.tensor().shape(), Shape::new(1, 1, 5, 5));
        assert_eq!(&prepared.tensor().data()[..5], [1.0, 2.0, 3.0, last[0], last[1]], "{fit:?}");
        let back = prepared.finish(prepared.tensor().clone(), &padding.recipe).unwrap();
        assert_eq!(back.data(), [1.0, 2.0, 3.0]);
        // A network that doubles its pictures.
        let shape = Shape::new(1, 1, 10, 10);
        let double = Tensor::from_fn(shape, |i| prepared.tensor().data()[i / 20 * 5 + i % 10 / 2]);
        let back = prepared.finish(double, &padding.recipe).unwrap();
        assert_eq!(
            (back.shape(), &back.data()[..6]),
            (Shape::new(1, 1, 2, 6), &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0][..])
        );
    }
    let narrow = model(plain.with_size(Some(Size::Fixed([1, 2]))).with_fit(Fit::Zero), Decode::Mask);
    let error = Prepared::new(row(&[1.0, 2.0, 3.0]), &narrow).unwrap_err().to_string();
    assert!(error.contains("1x2") && error.contains("fit"), "{error}");
}

#[test]
fn blue_comes_first_where_the_recipe_says_so() {
    let planes = Tensor::from_fn(Shape::new(1, 3, 1, 1), |i| i as f32);
    let picture = Picture::new(planes.clone(), Depth::Eight).unwrap();
    let mut recipe = Recipe::default();
    (recipe.input.channels, recipe.input.scale) = (Some(Channels::Bgr), 1.0);
    (recipe.output.decode, recipe.output.scale) = (Some(Decode::Image), 1.0);
    let input = picture.to_tensor(&recipe.input, 3).unwrap();
    assert_eq!(input.data(), [2.0, 1.0, 0.0]);
    let Decoded::Image(result) = Decoded::new(&input, &recipe, Depth::Eight).unwrap() else {
        panic!("not a picture")
    };
    assert_eq!(result.planes(), &planes);
}

#[test]
fn a_network_of_one_size_takes_pictures_of_all() {
    let folder = Folder::new(&[]);
    let model = folder.open("net.onnx").unwrap();
    assert_eq!(model.exported_size(), Some([8, 8]));
    for (height, width, resized) in [(8, 8, false), (5, 7, true), (16, 24, true), (9, 5, true)] {
        let picture =
            Picture::new(Tensor::from_fn(Shape::new(1, 1, height, width), |_| 51.0), Depth::Eight).unwrap();
        let prepared = Prepared::picture(&picture, &model).unwrap();
        assert_eq!(prepared.note().is_some(), resized);
        let session = Session::new(&model, prepared.tensor().shape(), Device::Cpu).unwrap();
        let result = prepared.finish(session.run(prepared.tensor()).unwrap(), &model.recipe).unwrap();
        assert_eq!(result.shape(), Shape::new(1, 1, height, width));
        assert!(result.data().iter().all(|v| (v - 0.2).abs() < 1e-6));
    }
}

#[test]
fn descriptions_of_both_versions_become_recipes() {
    let steps = "[{id: ensure_dtype, kwargs: {dtype: float32}}, {id: scale_linear, kwargs: {gain: 2, offset: [1]}}, \
                 {id: clip, kwargs: {min: 0, max: 1}}, {id: zero_mean_unit_variance, kwargs: {axes: [channel, y, x]}}, \
                 {id: fixed_zero_mean_unit_variance, kwargs: {mean: 1, std: 2}}, \
                 {id: scale_range, kwargs: {axes: [x, y], min_percentile: 1, max_percentile: 99.8}}]";
    let after = "[{id: scale_mean_variance, kwargs: {reference_tensor: raw}}, {id: sigmoid}, {id: softmax, kwargs: {axis: channel}}, \
                 {id: binarize, kwargs: {threshold: 0.4}}, {id: ensure_dtype, kwargs: {dtype: uint8}}]";
    let folder = Folder::new(&[]);
    folder.put("bioimageio.yaml", description(steps, after));
    let model = folder.open("net.onnx").unwrap();
    let recipe = &model.recipe;
    let input = &recipe.input;
    let over = Over::Sample;
    assert_eq!((input.scale, input.multiple, input.fit), (1.0, Some(4), Fit::Reflect));
    assert_eq!(
        input.steps,
        [
            Step::Linear { gain: vec![2.0], offset: vec![1.0] },
            Step::Clip { min: Some(0.0), max: Some(1.0) },
            Step::Standardize { over, eps: 1e-6 },
            Step::Linear { gain: vec![0.5], offset: vec![-0.5] },
            Step::Rescale { low: 1.0, high: 99.8, over: Over::Channel, eps: 1e-6 },
        ]
    );
    let output = &recipe.output;
    assert_eq!(
        output.steps,
        [
            Step::MatchInput { over, eps: 1e-6 },
            Step::Sigmoid,
            Step::Softmax,
            Step::Binarize { threshold: 0.4 },
        ]
    );
    assert_eq!((output.decode, output.threshold, output.halo), (Some(Decode::Mask), 0.5, 2));
    let names: Vec<&str> = output.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["background", "cell"]);
    let texts = [&recipe.description, &recipe.license, &recipe.authors, &recipe.citation];
    assert_eq!(texts, ["Finds: blocks", "CC0-1.0", "Ann, Bo", "A paper 10.1/x"]);
    assert_eq!(model.origins["input.steps"], "bioimageio.yaml");
    let words = recipe.words([1, 1]);
    assert_eq!(words.iter().filter(|(path, _)| *path == "input.steps").count(), 5);
    assert!(
        words.iter().any(|(_, text)| text.contains("percentiles 1 and 99.8 of each channel")),
        "{words:?}"
    );
    assert_eq!(folder.open("bioimageio.yaml").unwrap().recipe, *recipe);

    let old = "format_version: 0.4.10
name: Old
license: MIT
tags: [denoising]
inputs: [{name: raw, axes: byxc, data_type: uint16, shape: {min: [1, 6, 6, 1], step: [0, 3, 3, 0]},
  preprocessing: [{name: zero_mean_unit_variance, kwargs: {mode: fixed, axes: xy, mean: [4], std: [8]}}]}]
outputs: [{name: out, axes: byxc, halo: [0, 3, 5, 0],
  postprocessing: [{name: scale_mean_variance, kwargs: {mode: per_sample, reference_tensor: raw, axes: yxc}}]}]
test_inputs: [in.npy]
test_outputs: [out.npy]
weights: {torchscript: {source: gone.pt}, onnx: {source: net.onnx, test_kwargs: {}}}
config: {bioimageio: {reproducibility_tolerance: [{absolute_tolerance: 1.0e-3}]}}
";
    let folder = Folder::new(&[]);
    folder.put("rdf.yaml", old);
    write_npy(&folder.path("in.npy"), &Tensor::zeros(Shape::new(1, 8, 8, 1))).unwrap();
    write_npy(&folder.path("out.npy"), &Tensor::zeros(Shape::new(1, 8, 8, 1))).unwrap();
    let model = folder.open("rdf.yaml").unwrap();
    let input = &model.recipe.input;
    assert_eq!((input.scale, input.multiple), (257.0, Some(3)));
    assert_eq!(input.steps, [Step::Linear { gain: vec![0.125], offset: vec![-0.5] }]);
    let output = &model.recipe.output;
    assert_eq!((output.decode, output.halo, output.scale), (Some(Decode::Image), 5, 1.0 / 257.0));
    let test = model.test.unwrap();
    assert_eq!((test.input.axes.as_str(), test.tolerance), ("byxc", 1e-3));
}

#[test]
fn test_tensors_run_in_their_own_axes() {
    let folder = Folder::new(&[]);
    let steps = "[{id: scale_linear, kwargs: {gain: 0.5}}]";
    let text = description(steps, "[{id: scale_linear, kwargs: {offset: 1}}]");
    // Columns before rows, and no batch.
    let text = text.replacen("  - {type: batch}\n", "", 1).replacen("id: y", "id: z", 1);
    let text = text.replacen("id: x", "id: y", 1).replacen("id: z", "id: x", 1);
    folder.put("bioimageio.yaml", text);
    let pixel = |x: usize, y: usize| (x * 8 + y * y) as f32;
    let flipped = Tensor::from_fn(Shape::new(1, 1, 8, 8), |i| pixel(i / 8, i % 8));
    write_npy(&folder.path("in.npy"), &flipped).unwrap();
    let want = Tensor::from_fn(Shape::new(1, 1, 8, 8), |i| pixel((i % 8) | 1, (i / 8) | 1) * 0.5 + 1.0);
    write_npy(&folder.path("out.npy"), &want).unwrap();
    let model = folder.open("net.onnx").unwrap();
    let test = model.test.clone().unwrap();
    assert_eq!(test.input.axes, "cxy");
    let run = |model: &Model| test.run(model, Device::Cpu, &SessionOptions::default());
    assert!(test.passes(&run(&model).unwrap()));
    write_npy(&folder.path("out.npy"), &Tensor::zeros(Shape::new(1, 1, 8, 8))).unwrap();
    assert!(!test.passes(&run(&model).unwrap()));
    write_npy(&folder.path("out.npy"), &Tensor::zeros(Shape::new(1, 1, 8, 9))).unwrap();
    assert!(run(&model).unwrap_err().to_string().contains("out.npy"));
}

#[test]
fn onnx_notes_are_read_as_their_writers_mean_them() {
    let folder = Folder::new(&[
        ("class_names", r#"{"0": "not", "1": "tree"}"#),
        ("standardization_mean", "[0.5]"),
        ("standardization_std", "[0.25]"),
        ("seg_thresh", "0.4"),
        ("resolution", "10"),
        ("tiles_overlap", "15"),
    ]);
    let recipe = folder.open("net.onnx").unwrap().recipe;
    assert_eq!((&recipe.input.mean[..], &recipe.input.std[..]), (&[0.5][..], &[0.25][..]));
    assert_eq!((recipe.input.scale, recipe.output.threshold), (1.0 / 255.0, 0.4));
    assert!(recipe.output.classes[1].name == "tree" && recipe.training.contains("10 cm"));

    let notes = [
        ("names", "{0: 'per\\'son', 1: 'dog'}"),
        ("license", "AGPL-3.0"),
        ("task", "segment"),
        ("imgsz", "[8, 8]"),
    ];
    for (names, second) in
        [("{0: 'person', 1: \"dog's\"}", "dog's"), ("('a', 'b')", "b"), ("a, b", "b"), ("[1, 2]", "2")]
    {
        let mut notes = notes;
        notes[0].1 = names;
        let recipe = Folder::new(&notes).open("net.onnx").unwrap().recipe;
        assert_eq!((recipe.output.classes[1].name.as_str(), recipe.license.as_str()), (second, "AGPL-3.0"));
    }
    // Of 8-bit values; and what says nothing is passed over.
    let recipe = Folder::new(&[("mean", "(116.28)"), ("std", "57.4")]).open("net.onnx").unwrap().recipe;
    assert_eq!((recipe.input.scale, recipe.input.mean[0]), (1.0, 116.28));
    for (mean, std) in
        [("[nan]", "[1]"), ("x", "1"), ("[1,2,3,4,5]", "[1]"), ("[1e999]", "1"), ("", ""), ("{", "[")]
    {
        let recipe = Folder::new(&[("mean", mean), ("std", std), ("names", "{3: a}")])
            .open("net.onnx")
            .unwrap()
            .recipe;
        assert_eq!(recipe, Folder::new(&[]).open("net.onnx").unwrap().recipe, "{mean}");
    }
}

#[test]
fn what_stands_first_wins() {
    let folder = Folder::new(&[
        ("mean", "0.5"),
        ("std", "0.5"),
        ("classes", "no, yes"),
        ("license", "GPL"),
        ("task", "guess"),
    ]);
    let notes = folder.open("net.onnx").unwrap();
    assert_eq!(
        (notes.recipe.license.as_str(), notes.origins["input.mean"].as_str()),
        ("GPL", "the file's metadata")
    );

    // A description: its steps replace mean and std, which would be meant for other values.
    folder.put("bioimageio.yaml", description("[{id: clip, kwargs: {max: 9}}]", "[{id: sigmoid}]"));
    let described = folder.open("net.onnx").unwrap().recipe;
    assert_eq!(
        (described.license.as_str(), described.input.mean.len(), described.input.scale),
        ("CC0-1.0", 0, 1.0)
    );
    assert_eq!((described.input.steps.len(), described.output.classes[1].name.as_str()), (1, "cell"));

    // By hand: field by field.
    folder.put("net.toml", "license = 'mine'\n[input]\nmean = [3.0]\n[output]\nthreshold = 0.7\n[[output.classes]]\nname = 'a'\ncolor = [1, 2, 3]\n");
    let model = folder.open("net.onnx").unwrap();
    let recipe = &model.recipe;
    assert_eq!((recipe.license.as_str(), recipe.input.mean[0], recipe.input.steps.len()), ("mine", 3.0, 1));
    assert_eq!((recipe.output.threshold, recipe.output.classes[0].color), (0.7, Some([1, 2, 3])));
    assert_eq!(
        (model.origins["input.mean"].as_str(), model.origins["input.steps"].as_str()),
        ("net.toml", "bioimageio.yaml")
    );
    folder.put("other.toml", "task = 'other'\n");
    let other = Model::open_with(
        folder.path("net.onnx"),
        &OpenOptions::default().with_recipe(folder.path("other.toml")),
    )
    .unwrap()
    .recipe;
    assert_eq!((other.task.as_str(), other.license.as_str()), ("other", "CC0-1.0"));
    assert!(
        Model::open_with(
            folder.path("net.onnx"),
            &OpenOptions::default().with_recipe(folder.path("gone.toml"))
        )
        .is_err()
    );

    // What a code base keeps with its weights comes before a description; what names alone tell comes after.
    let smp = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/state_dicts/smp");
    let text = description("[{id: clip, kwargs: {max: 9}}]", "[]")
        .replace("https://example.com/files/net.pt", "model.safetensors");
    for (with_config, steps, mean) in [(true, 0, 3), (false, 1, 0)] {
        let folder = Folder::new(&[]);
        folder.put("model.safetensors", std::fs::read(smp.join("model.safetensors")).unwrap());
        folder.put("rdf.yaml", &text);
        if with_config {
            folder.put("config.json", std::fs::read(smp.join("config.json")).unwrap());
        }
        let recipe = folder.open("model.safetensors").unwrap().recipe;
        assert_eq!(
            (recipe.input.steps.len(), recipe.input.mean.len(), recipe.license.as_str()),
            (steps, mean, "CC0-1.0")
        );
    }
    // A description of another file is nobody's business here.
    let folder = Folder::new(&[]);
    folder.put("rdf.yaml", description("[{id: unheard_of}]", "[]").replace("net.onnx", "other.onnx"));
    let alone = Folder::new(&[]).open("net.onnx").unwrap().recipe;
    assert_eq!(folder.open("net.onnx").unwrap().recipe, alone);
}

#[test]
fn the_examples_in_the_docs_are_recipes() {
    let page = include_str!("../docs/recipes.md");
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let opened = |example: &str| {
        let folder = Folder::new(&[]);
        folder.put("net.toml", example);
        folder.open("net.onnx").unwrap().recipe
    };
    let recipes: Vec<Recipe> = blocks.map(opened).collect();
    let [first, hole, land, light] = &recipes[..] else { panic!("expected four, got {}", recipes.len()) };
    assert_eq!(
        (first.input.size, first.input.scale, first.input.mean.len()),
        (Some(Size::Fixed([320, 320])), 1.0, 3)
    );
    assert_eq!((first.input.steps.len(), first.output.steps.len()), (1, 1));
    assert_eq!(first.output.classes[1].color, Some([255, 80, 0]));
    let mask = MaskRecipe::default().with_place(MaskPlace::First).with_hole(-0.5).with_known(0.5);
    assert_eq!(hole.input.mask, Some(mask));
    assert_eq!((land.output.classes.len(), &land.output.void[..]), (6, &["unlabeled".to_string()][..]));
    assert_eq!((light.input.steps.len(), light.output.steps.len()), (2, 2));
}

#[test]
fn what_is_not_understood_is_named() {
    let folder = Folder::new(&[]);
    let none = "[]";
    for (before, after, parts) in [
        ("[{id: unheard_of}]", none, ["preprocessing", "unheard_of"]),
        (none, "[{id: cellpose_flow_dynamics}]", ["postprocessing", "cellpose_flow_dynamics"]),
        ("[{id: clip, kwargs: {min_percentile: 2}}]", none, ["clip", "min_percentile"]),
        ("[{id: clip, kwargs: {min: many}}]", none, ["clip", "many"]),
        ("[{id: ensure_dtype, kwargs: {dtype: uint8}}]", none, ["ensure_dtype", "uint8"]),
        ("[{id: fixed_zero_mean_unit_variance, kwargs: {mean: 1, std: 0}}]", none, ["std", "other than 0"]),
        ("[{id: scale_range, kwargs: {reference_tensor: raw}}]", none, ["scale_range", "reference_tensor"]),
        (
            "[{id: scale_range, kwargs: {min_percentile: 80, max_percentile: 20}}]",
            none,
            ["step", "percentiles"],
        ),
        ("[{id: zero_mean_unit_variance, kwargs: {axes: [time]}}]", none, ["axes", "time"]),
        ("[{id: binarize}]", none, ["binarize", "threshold"]),
        ("[{id: scale_mean_variance}]", none, ["match_input", "output.steps"]),
    ] {
        folder.put("bioimageio.yaml", description(before, after));
        folder.refuses("net.onnx", &parts);
    }
    // Steps by hand are instead of those that are not understood.
    folder.put("bioimageio.yaml", description("[{id: unheard_of}]", none));
    folder.put("net.toml", "[input]\nsteps = ['sigmoid', { clip = { min = 0 } }]\n");
    assert_eq!(folder.open("net.onnx").unwrap().recipe.input.steps.len(), 2);

    for (text, parts) in [
        (description(none, none).replace("0.5.4", "0.3.6"), ["format_version", "0.3.6"]),
        (description(none, none).replace("id: y", "id: z"), ["axes", "space z"]),
        (description(none, none).replace("{type: batch}", "{type: time}"), ["axes", "time"]),
        (description(none, none).replace("outputs:", "outcomes:"), ["no outputs", "bioimageio.yaml"]),
        (description(none, none).replace("inputs:", "inputs:\n- {axes: byxc}"), ["inputs", "2"]),
        (description("&a [*a]", none), ["alias", "line"]),
        (description("{a: 1, a: 2}", none), ["twice", "line"]),
    ] {
        folder.put("bioimageio.yaml", text);
        std::fs::remove_file(folder.path("net.toml")).ok();
        folder.refuses("net.onnx", &parts);
    }
    folder.put(
        "lost.yaml",
        description(none, none).replace("net.onnx", "../net.onnx").replace("net.pt", "gone.pt"),
    );
    folder.put("only.yaml", description(none, none).replace("net.onnx", "gone.onnx"));
    folder.refuses("only.yaml", &["no weights", "gone.onnx"]);

    std::fs::remove_file(folder.path("bioimageio.yaml")).unwrap();
    for (text, parts) in [
        ("[input]\nmeen = [1]", ["net.toml: unknown field input.meen", "mean"]),
        ("tusk = 'segment'", ["unknown field tusk", "task"]),
        ("[input]\nmean = 'x'", ["input.mean", "\"x\""]),
        ("[input]\nsize = [8]", ["input.size", "length"]),
        ("[input]\nsize = [0, 8]", ["size", "32768"]),
        ("[input]\nsize = [8, 8]\nmultiple = 8", ["input.size", "input.multiple"]),
        ("[input]\nscale = inf", ["scale", "null"]),
        ("[input]\nstd = [0]", ["std", "zero"]),
        ("[output]\nthreshold = 1e300", ["threshold", "f32"]),
        ("[input]\nsteps = ['sigmoyd']", ["input.steps", "sigmoyd"]),
        ("[input]\nsteps = [{ clip = { low = 1 } }]", ["input.steps", "low"]),
        ("[output]\nclasses = [{ name = 'a', color = [256, 0, 0] }]", ["output.classes", "256"]),
        ("input = 3", ["input", "3"]),
        ("[input", ["line 1", "net.toml"]),
        ("a = 1\nb = \n", ["line 2", "TOML"]),
    ] {
        folder.put("net.toml", text);
        folder.refuses("net.onnx", &parts);
    }
}

#[test]
fn hostile_sidecars_are_refused_or_read() {
    let folder = Folder::new(&[]);
    let deep = |part: &str| part.repeat(100_000);
    let laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string()
        + &(1..12)
            .map(|i| format!("a{i}: &a{i} [{}]\n", format!("*a{}, ", i - 1).repeat(10)))
            .collect::<String>();
    for yaml in
        [deep("["), deep("{a: "), deep("- "), deep("? "), deep("&a "), deep("a:\n "), deep("{a,"), laughs]
    {
        folder.put("evil.yaml", yaml);
        folder.refuses("evil.yaml", &["evil.yaml"]);
    }
    for toml in
        [deep("a."), format!("[{}a]", deep("a.")), format!("a={}", deep("[")), format!("a={}", deep("{a="))]
    {
        folder.put("net.toml", toml);
        folder.refuses("net.onnx", &["net.toml"]);
    }
    folder.put("net.toml", vec![b' '; 2 << 20]);
    folder.refuses("net.onnx", &["1 MiB"]);

    let yaml = description(
        "[{id: scale_range, kwargs: {axes: [x, y], min_percentile: 1, max_percentile: 99.8}}]",
        "[{id: scale_linear, kwargs: {gain: [2.5], offset: -1}}, {id: sigmoid}]",
    );
    let toml = "task = 'segment'\n[input]\nchannels = 'gray'\nscale = 0.5\nmean = [0.5]\nstd = [0.25]\nmultiple = 8\nfit = 'edge'\n\
                steps = ['sigmoid', { rescale = { low = 1, high = 99 } }]\n[output]\nthreshold = 0.5\n[[output.classes]]\nname = 'a'\ncolor = [1, 2, 3]\n";
    let notes = [("mean", "[0.5]"), ("std", "(0.25,)"), ("names", "{0: 'a', 1: 'b'}"), ("seg_thresh", "0.4")];
    let words = [
        "999999999999999999999",
        "-1",
        "1e308",
        ".nan",
        "null",
        "[[]]",
        "{}",
        "\"",
        "&a",
        "*a",
        "!!int",
        "\u{0}",
        "𝕏",
        "- ",
        ": ",
    ];
    let mut random = Random::new(7);
    let mut mutated = |text: &[u8]| {
        let mut bytes = text.to_vec();
        for _ in 0..1 + random.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.bits() as u8,
                1 => drop(bytes.drain(at..(at + random.below(20)).min(bytes.len()))),
                2 => drop(bytes.splice(at..at, random.pick(&words).bytes())),
                _ => {
                    let from = random.below(bytes.len());
                    let part = bytes[from..(from + random.below(30)).min(bytes.len())].to_vec();
                    drop(bytes.splice(at..at, part));
                }
            }
        }
        bytes
    };
    let folder = Folder::new(&[]);
    let mut read = 0;
    for i in 0..10_000 {
        let result = match i % 3 {
            0 => {
                folder.put("bioimageio.yaml", mutated(yaml.as_bytes()));
                folder.open("bioimageio.yaml")
            }
            1 => {
                folder.put("other.toml", mutated(toml.as_bytes()));
                Model::open_with(
                    folder.path("net.onnx"),
                    &OpenOptions::default().with_recipe(folder.path("other.toml")),
                )
            }
            _ => {
                let text = |text: &str| String::from_utf8_lossy(&mutated(text.as_bytes())).into_owned();
                let values = notes.map(|(_, value)| value).map(text);
                let pairs: Vec<_> =
                    notes.iter().zip(&values).map(|((key, _), value)| (*key, &**value)).collect();
                Model::from_onnx(&blocks(&pairs))
            }
        };
        match result {
            Ok(model) => {
                read += 1;
                drop(Prepared::new(Tensor::random(Shape::new(1, 1, 8, 8), 1), &model));
                assert!(!model.recipe.words([1, 1]).is_empty());
            }
            Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
        }
        std::fs::remove_file(folder.path("bioimageio.yaml")).ok();
    }
    assert!(read > 1000, "{read} of 10,000 were read");
}
