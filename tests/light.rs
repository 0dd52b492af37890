//! Light of any range: curves and exposure as in Open Image Denoise, and pictures that are returned unchanged.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use std::path::Path;
use unet_wgpu::graph::{Activation, Graph};
use unet_wgpu::image::{
    Decoded, Depth, Input, Job, Picture, Pipeline, PipelineOptions, Target, TargetKind, Targets,
};
use unet_wgpu::recipe::{Channels, Curve, Decode, InputRecipe, Recipe, Step, Transfer};
use unet_wgpu::{Device, Model, Random, SessionOptions, Shape, Tensor};

/// What comes before and after networks for linear light.
fn hdr(curve: Curve) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.input.transfer = Some(Transfer::Linear);
    recipe.input.steps = vec![Step::AutoExposure, Step::Curve(curve)];
    recipe.output.steps = vec![Step::Inverse(curve), Step::UndoExposure];
    recipe.output.decode = Some(Decode::Image);
    recipe
}

/// A network that gives back what it gets: nothing on a curve is below 0.
fn same(recipe: Recipe) -> Pipeline {
    let mut graph = Graph::new(3);
    graph.push("relu", Activation::Relu, &[Graph::INPUT]).unwrap();
    let pipeline = Pipeline::new(Model::new(graph, recipe), PipelineOptions::default()).unwrap();
    pipeline.with_device(Device::Cpu, SessionOptions::default())
}

fn through(recipe: Recipe, picture: &Picture) -> Picture {
    let pipeline = same(recipe);
    match pipeline.decode(&pipeline.run(picture).unwrap()).unwrap() {
        Decoded::Image(picture) => picture,
        other => panic!("not a picture: {other:?}"),
    }
}

/// A render: eight decades of light, a hot pixel, black ones, and two that no light has.
fn render() -> Picture {
    let mut random = Random::new(11);
    let shape = Shape::new(1, 3, 37, 21);
    let mut planes = Tensor::from_fn(shape, |_| 10f32.powf(random.uniform(-5.0, 3.0)));
    let values = planes.data_mut();
    (values[5], values[6], values[7], values[8]) = (1e6, 0.0, -2.0, f32::NAN);
    Picture::new(planes, Depth::Float).unwrap()
}

/// Each value within that share of what it should be; what no light has is black.
#[track_caller]
fn assert_close(got: &Picture, want: &Picture, share: f32) {
    assert_eq!(got.depth(), want.depth());
    assert_eq!(got.planes().shape(), want.planes().shape());
    for (i, (got, want)) in got.planes().data().iter().zip(want.planes().data()).enumerate() {
        let want = want.max(0.0);
        assert!((got - want).abs() <= share * want, "{i}: {got}, expected {want}");
    }
}

fn exposure(values: &Tensor) -> f64 {
    let input = InputRecipe::default().with_scale(1.0).with_steps([Step::AutoExposure]);
    input.exposed(values).unwrap().1
}

/// `f(channel, row, column)`.
fn colors(h: usize, w: usize, f: impl Fn(usize, usize, usize) -> f32) -> Tensor {
    Tensor::from_fn(Shape::new(1, 3, h, w), |i| f(i / (h * w), i / w % h, i % w))
}

/// Dark in a corner, with a hot pixel.
fn pattern() -> Tensor {
    colors(21, 35, |c, y, x| match (c, y, x) {
        (_, 0..11, 0..12) => 0.0,
        (0, 15, 20) => 1000.0,
        _ => (((c * 21 + y) * 35 + x) * 37 % 101) as f32 / 10.0,
    })
}

// The numbers: forward of the three transfer functions in training/color.py of github.com/RenderKit/oidn 2.4.1, run
// with PyTorch in f64 on [0, 1e-6, 1e-4, 0.18, 1, 100, 65504].
#[test]
fn curves_are_open_image_denoises() {
    let light = [0.0, 1e-6, 1e-4, 0.18, 1.0, 100.0, 65504.0];
    for (curve, want) in [
        (Curve::Srgb, [0.0, 1.292e-05, 0.001292, 0.46135613, 1.0, 7.13263133, 107.10451]),
        (Curve::Pu, [0.0, 0.000450648806, 0.00893862756, 0.215253423, 0.318910523, 0.601518862, 1.0]),
        (Curve::Log, [0.0, 9.01722419e-08, 9.01677787e-06, 0.0149248154, 0.0625026665, 0.416155972, 1.0]),
    ] {
        for (light, want) in light.into_iter().zip(want) {
            let got = curve.forward(light);
            assert!((got - want).abs() <= 1e-7 * want, "{curve:?} of {light}: {got}, expected {want}");
        }
    }
}

#[test]
fn curves_lead_back() {
    let light = Tensor::from_fn(Shape::new(1, 1, 1, 4001), |i| {
        (1e-6f64 * (65504.0f64 / 1e-6).powf(i as f64 / 4000.0)) as f32
    });
    for curve in [Curve::Srgb, Curve::Pu, Curve::Log] {
        let mut values = light.clone();
        Step::Curve(curve).apply(&mut values, None).unwrap();
        assert!(values.data().is_sorted(), "{curve:?} rises");
        Step::Inverse(curve).apply(&mut values, None).unwrap();
        for (got, want) in values.data().iter().zip(light.data()) {
            assert!((got - want).abs() <= 1e-4 * want, "{curve:?}: {got}, expected {want}");
        }
        // What no light has, and what no number holds.
        for nothing in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!((curve.forward(nothing), curve.inverse(nothing)), (0.0, 0.0));
        }
        let most = f64::from(f32::MAX);
        assert_eq!(curve.forward(f64::INFINITY), curve.forward(most));
        assert_eq!(curve.inverse(most), most, "{curve:?}");
    }
}

// The numbers: `autoexposure` in training/color.py, run with NumPy in f64.
#[test]
fn exposure_is_open_image_denoises() {
    for (name, values, want) in [
        ("pattern", pattern(), 0.03514490101245305),
        ("flat", colors(20, 17, |_, _, _| 2.0), 0.09),
        (
            "a bright row",
            colors(33, 16, |_, y, _| [0.25, 4.0, 0.0][usize::from(y > 15) + usize::from(y > 16)]),
            0.5210977424081369,
        ),
        ("black", colors(5, 5, |_, _, _| 0.0), 1.0),
        ("no light", colors(5, 5, |_, _, _| -3.0), 1.0),
    ] {
        let got = exposure(&values);
        assert!((got - want).abs() <= 1e-6 * want, "{name}: {got}, expected {want}");
    }
}

#[test]
fn exposure_is_the_same_in_bands() {
    let input = InputRecipe::default().with_steps([Step::AutoExposure]);
    let picture = Picture::new(pattern(), Depth::Float).unwrap();
    let values = |picture: &Picture| picture.values(&input, 3);
    let (_, whole) = input.exposed(&values(&picture).unwrap()).unwrap();
    for rows in [1, 4, 16, 21] {
        let mut pass = |each: &mut dyn FnMut(&Tensor) -> unet_wgpu::Result<()>| {
            (0..21).step_by(rows).try_for_each(|y| each(&values(&picture.rows(y..(y + rows).min(21))?)?))
        };
        let (known, exposure) = input.measured(21, &mut pass).unwrap();
        assert_eq!(exposure, whole, "{rows} rows");
        assert_eq!(known.steps, [Step::Linear { gain: vec![whole; 3], offset: vec![] }]);
    }
}

#[test]
fn light_of_any_range_comes_back() {
    for curve in [Curve::Pu, Curve::Log] {
        let render = render();
        let result = through(hdr(curve), &render);
        assert_close(&result, &render, 1e-3);
        // So it does from files.
        for name in ["render.pfm", "render.exr"] {
            let read =
                Picture::from_bytes(&render.encode(Path::new(name)).unwrap(), Path::new(name)).unwrap();
            assert_close(&through(hdr(curve), &read), &render, 1e-3);
        }
        // Grey is its own luminance.
        let gray = Picture::new(render.to_channels(Channels::Gray), Depth::Float).unwrap();
        assert_eq!(through(hdr(curve), &gray).channels(), 3);
    }
}

#[test]
fn the_network_gets_light_as_the_recipe_wants_it() {
    // 8-bit pictures are on the sRGB curve, floats are linear: the same light either way.
    let coded = Picture::new(colors(4, 4, |_, _, x| [0.0, 10.0, 128.0, 255.0][x]), Depth::Eight).unwrap();
    let linear = [0.0, 0.003_035_27, 0.215_860_5, 1.0];
    let linear = Picture::new(colors(4, 4, |_, _, x| linear[x]), Depth::Float).unwrap();
    for transfer in [Transfer::Linear, Transfer::Srgb] {
        let mut recipe = Recipe::default();
        recipe.input.transfer = Some(transfer);
        let [a, b] = [&coded, &linear].map(|picture| picture.values(&recipe.input, 3).unwrap());
        assert!(a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() < 1e-3), "{a:?}, {b:?}");
        for picture in [&coded, &linear] {
            let result = through(recipe.clone(), picture);
            assert_close(&result, picture, 1e-5);
        }
    }
    assert_eq!(through(hdr(Curve::Pu), &coded).rounded(), coded);
    // Without a word on it values stay as the file has them.
    assert_eq!(linear.values(&InputRecipe::default(), 3).unwrap().data()[3], 255.0);
}

#[test]
fn albedo_and_normals_are_no_light() {
    let nine = Tensor::from_fn(Shape::new(1, 9, 2, 2), |i| if i < 12 { 36.0 } else { 0.5 });
    let steps = vec![Step::AutoExposure, Step::Curve(Curve::Log)];
    let input = InputRecipe::default().with_scale(1.0).with_steps(steps);
    let (known, exposure) = input.exposed(&nine).unwrap();
    assert!((exposure - 0.005).abs() < 1e-9, "{exposure}");
    for recipe in [input, known] {
        let mut values = nine.clone();
        recipe.normalize(&mut values).unwrap();
        assert!(values.data()[..12].iter().all(|&v| v == Curve::Log.forward(0.18) as f32));
        assert!(values.data()[12..].iter().all(|&v| v == 0.5));
    }
}

#[test]
fn floats_go_row_by_row_as_they_go_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from.tiff", "to.tiff"].map(|name| folder.path().join(name));
    let picture = Picture::new(pattern(), Depth::Float).unwrap();
    std::fs::write(&from, picture.encode(&from).unwrap()).unwrap();
    let target = Target { kind: TargetKind::Result, path: to.clone() };
    same(hdr(Curve::Pu)).run_bands(&Job::new(&from, Targets(vec![target])), &|_| {}).unwrap();
    assert_eq!(Picture::open(&to).unwrap().planes(), through(hdr(Curve::Pu), &picture).planes());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |change: fn(&mut Recipe)| {
        let mut recipe = hdr(Curve::Pu);
        change(&mut recipe);
        recipe.check().unwrap_err().to_string()
    };
    for (text, part) in [
        (refused(|recipe| recipe.output.steps.push(Step::AutoExposure)), "auto_exposure is for input.steps"),
        (refused(|recipe| recipe.input.steps.push(Step::UndoExposure)), "undo_exposure is for output.steps"),
        (refused(|recipe| recipe.input.channels = Some(Channels::Bgr)), "channels = \"rgb\""),
    ] {
        assert!(text.contains(part) && !text.contains('\n'), "{text}");
    }
    let model = Model::new(Graph::new(3), hdr(Curve::Pu));
    let two = Tensor::zeros(Shape::new(2, 3, 4, 4));
    let text = Input::array(two.clone(), false, &model).unwrap_err().to_string();
    assert!(text.contains("one picture at a time"), "{text}");
    let text = model.recipe.output.apply(&mut two.clone(), None).unwrap_err().to_string();
    assert!(text.contains("needs the exposure"), "{text}");
    // The network's own numbers were not exposed.
    assert!(
        Input::array(two, true, &model)
            .unwrap()
            .prepared
            .finish(Tensor::zeros(Shape::new(2, 3, 4, 4)), &model.recipe)
            .is_ok()
    );
}
