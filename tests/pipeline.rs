//! The pipeline: batches, threads and their shutdown, and pictures in bands.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::device::gpu;
use crate::fixtures::{decoding, noise};
use std::fs;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use unet_wgpu::image::{
    Batch, Depth, Input, Job, Load, Outcome, Picture, Pipeline, PipelineOptions, Prepared, Target,
    TargetKind, Targets, Threads,
};
use unet_wgpu::recipe::{Decode, Fit, InputRecipe, OutputRecipe, Over, Recipe, Size, Step};
use unet_wgpu::tiles::TileOptions;
use unet_wgpu::unet::{RandomWeights, UnetConfig};
use unet_wgpu::{Augment, Device, Model, SessionOptions, Shape, Tensor};

/// Fails after a minute instead of waiting forever.
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (done, finished) = channel::<()>();
    let worker = thread::spawn(move || {
        work();
        drop(done);
    });
    let waited = finished.recv_timeout(Duration::from_secs(60));
    assert_eq!(waited, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "it hangs");
    worker.join().unwrap();
}

/// A model with random weights and one level.
fn model(input: usize, output: usize, recipe: Recipe, seed: u64) -> Model {
    let config = UnetConfig::new(input, output, &[4], 4, &[4]);
    let mut model = Model::from_config(&config, &mut RandomWeights::new(seed)).unwrap();
    model.recipe = recipe;
    model
}

fn pipeline(model: &Model, options: PipelineOptions, device: Device) -> Pipeline {
    Pipeline::new(model.clone(), options).unwrap().with_device(device, SessionOptions::default())
}

fn devices() -> impl Iterator<Item = Device> {
    [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten()
}

/// The results of all inputs in order, however the pipeline runs them.
fn run_all(pipeline: &Pipeline, inputs: &[Input], threads: Threads) -> Vec<unet_wgpu::Result<Outcome>> {
    let results = Mutex::new(Vec::new());
    let load = |(i, input): (usize, &Input)| (i, Ok(Load::Run(Box::new(input.clone()))));
    let save = |i, outcome: unet_wgpu::Result<Option<Outcome>>| {
        results.lock().unwrap().push((i, outcome.map(Option::unwrap)));
        ControlFlow::Continue(())
    };
    pipeline.run_all(inputs.iter().enumerate(), threads, false, load, save);
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn batches_give_what_single_pictures_give() {
    let model = model(3, 2, decoding(Decode::Mask), 4);
    let sizes = [[20, 16], [12, 30]];
    let picture = |i: usize| noise(3, sizes[i / 3 % 2], Depth::Eight, i as u64);
    let mut inputs: Vec<Input> = (0..40).map(|i| Input::picture(picture(i), &model).unwrap()).collect();
    // One input that fails, alone.
    let nan = Tensor::from_fn(Shape::new(1, 3, 20, 16), |i| if i == 7 { f32::NAN } else { 0.5 });
    inputs.insert(11, Input { picture: None, prepared: Prepared::raw(nan) });
    for device in devices() {
        for batch in [Batch::Auto, Batch::Of(4), Batch::Of(1)] {
            let pipeline = pipeline(&model, PipelineOptions::default().with_batch(batch), device.clone());
            let results = run_all(&pipeline, &inputs, Threads::new(4, 1, 1));
            assert_eq!(results.len(), 41);
            let together = results.iter().flatten().map(|outcome| outcome.report.tile.n).max();
            let expected = match (batch, &device) {
                (Batch::Of(pictures), _) => pictures,
                (Batch::Auto, Device::Gpu(_)) => 16,
                (Batch::Auto, Device::Cpu) => 1,
            };
            assert_eq!(together, Some(expected), "{batch:?}");
            for (i, (result, input)) in results.into_iter().zip(&inputs).enumerate() {
                if i == 11 {
                    assert!(result.unwrap_err().to_string().contains("not finite"));
                    continue;
                }
                let want = pipeline.run_input(input.clone(), &|_| {}).unwrap().result;
                let got = result.unwrap().result;
                let off = got.data().iter().zip(want.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off <= 1e-6, "{batch:?}, picture {i}: off by {off:e}");
            }
        }
    }
}

#[test]
fn work_without_a_device_or_without_an_end_is_refused_and_nothing_hangs() {
    in_time(|| {
        let model = model(3, 2, decoding(Decode::Mask), 4);
        let inputs: Vec<Input> =
            (0..100).map(|i| Input::picture(noise(3, [8, 6], Depth::Eight, i), &model).unwrap()).collect();
        let none = Pipeline::new(model.clone(), PipelineOptions::default()).unwrap();
        for result in run_all(&none, &inputs, Threads::default()) {
            assert!(result.unwrap_err().to_string().contains("no device"));
        }
        assert!(none.run_input(inputs[0].clone(), &|_| {}).is_err());

        let pipeline = pipeline(&model, PipelineOptions::default(), Device::Cpu);
        for threads in [Threads::default(), Threads::new(1, 1, 1), Threads::new(9, 9, 9)] {
            assert!(run_all(&pipeline, &[], threads).is_empty());
            assert_eq!(run_all(&pipeline, &inputs[..2], threads).len(), 2);
            // Saving may stop all work, even with endless jobs.
            for in_order in [false, true] {
                let saved = Mutex::new(Vec::new());
                let load = |i: usize| (i, Ok(Load::Run(Box::new(inputs[i % 100].clone()))));
                let save = |i, _| {
                    let mut saved = saved.lock().unwrap();
                    saved.push(i);
                    if saved.len() == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                pipeline.run_all(0.., threads, in_order, load, save);
                let saved = saved.into_inner().unwrap();
                assert!(saved.len() >= 20 && saved.len() <= 20 + threads.save, "{}", saved.len());
                assert!(!in_order || saved == (0..20).collect::<Vec<_>>(), "{saved:?}");
            }
        }
        // A panic in one thread becomes a panic of the caller.
        for in_order in [false, true] {
            let work = || {
                let load = |i: usize| (i, Ok(Load::Run(Box::new(inputs[i].clone()))));
                let save = |i, _| if i == 3 { panic!("of a test") } else { ControlFlow::Continue(()) };
                pipeline.run_all(0..100, Threads::default(), in_order, load, save);
            };
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
        }
    });
}

/// Compares a picture in bands with the picture as a whole.
#[track_caller]
fn assert_bands(what: &str, model: &Model, options: &PipelineOptions, picture: &Picture, extension: &str) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.tiff");
    fs::write(&input, picture.encode(&input).unwrap()).unwrap();
    let targets = |prefix: &str| {
        let mut kinds = vec![TargetKind::Result, TargetKind::Compare];
        if model.recipe.output.decode == Some(Decode::Mask) {
            kinds.extend([TargetKind::Overlay, TargetKind::Cutout, TargetKind::LabelMap]);
        }
        let path = |kind: TargetKind| folder.path().join(format!("{prefix}-{}.{extension}", kind.setting()));
        Targets(kinds.into_iter().map(|kind| Target { kind, path: path(kind) }).collect())
    };
    let whole = pipeline(model, options.clone().with_tiles(options.tiles.with_size(None)), Device::Cpu);
    whole.write(&whole.run(&Picture::open(&input).unwrap()).unwrap(), &targets("whole")).unwrap();
    let pipeline = pipeline(model, options.clone(), Device::Cpu);
    let report = pipeline
        .run_bands(&Job::new(&input, targets("bands")), &|_| {})
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(report.tiles > 2 && report.exact, "{what}: {} tiles", report.tiles);
    for (whole, bands) in targets("whole").paths().zip(targets("bands").paths()) {
        let [want, got] = [whole, bands].map(|path| Picture::open(path).unwrap());
        let name = bands.file_name().unwrap().to_string_lossy();
        assert_eq!((want.depth(), want.channels()), (got.depth(), got.channels()), "{what}, {name}");
        assert_eq!(want.planes().shape(), got.planes().shape(), "{what}, {name}");
        assert_eq!(want.alpha().is_some(), got.alpha().is_some(), "{what}, {name}");
        let step = match want.depth() {
            Depth::Eight => 1.0,
            Depth::Sixteen => 2.0 / 257.0,
            Depth::Float => 2e-6,
        };
        let is_mask = name.contains("-result")
            && options.palette.is_none()
            && model.recipe.output.decode == Some(Decode::Mask);
        let alphas = want
            .alpha()
            .into_iter()
            .flat_map(Tensor::data)
            .zip(got.alpha().into_iter().flat_map(Tensor::data));
        let pairs = want.planes().data().iter().zip(got.planes().data());
        let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let off_alpha = alphas.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= if is_mask { 0.0 } else { step }, "{what}, {name}: off by {off}");
        assert!(off_alpha <= 1.0 / 255.0 + 1e-6, "{what}, {name}: opacity off by {off_alpha}");
    }
}

#[test]
fn bands_give_what_the_whole_picture_gives() {
    let tiled =
        |size: usize| PipelineOptions::default().with_tiles(TileOptions::default().with_size(Some(size)));
    let size = [151, 138];
    let alpha = |picture: Picture| {
        let shape = Shape { c: 1, ..picture.planes().shape() };
        picture.with_alpha(Some(Tensor::from_fn(shape, |i| (i % 256) as f32 / 255.0))).unwrap()
    };
    let rgb = noise(3, size, Depth::Eight, 1);
    let pictures = [
        ("RGB", rgb.clone()),
        ("grey", noise(1, size, Depth::Eight, 2)),
        ("16 bits", noise(3, size, Depth::Sixteen, 3)),
        ("floats", noise(1, size, Depth::Float, 4)),
        ("opacity", alpha(noise(3, size, Depth::Eight, 5))),
    ];
    for (name, picture) in &pictures {
        for (decode, channels) in [(Decode::Image, 3), (Decode::Mask, 3), (Decode::Mask, 1)] {
            let recipe = Recipe::default()
                .with_output(OutputRecipe::default().with_decode(Some(decode)).with_threshold(0.1));
            let extension = if *name == "floats" { "tiff" } else { "png" };
            assert_bands(name, &model(3, channels, recipe, 7), &tiled(64), picture, extension);
        }
    }
    let over = Over::Channel;
    let steps = [
        vec![],
        vec![Step::Standardize { over, eps: 1e-6 }],
        vec![
            Step::Rescale { low: 1.0, high: 99.0, over: Over::Sample, eps: 0.0 },
            Step::DivideByMax { over },
        ],
    ];
    for fit in [Fit::Zero, Fit::Edge, Fit::Reflect] {
        // A few rows of padding, and more than a tile has.
        for multiple in [32, 128] {
            for steps in &steps {
                let input = InputRecipe::default()
                    .with_fit(fit)
                    .with_multiple(Some(multiple))
                    .with_steps(steps.clone());
                let recipe = decoding(Decode::Image).with_input(input);
                let what = format!("{fit:?} to {multiple}, {} steps", steps.len());
                assert_bands(&what, &model(3, 3, recipe, 8), &tiled(48), &rgb, "png");
            }
        }
    }
    // Larger results, and results that are mixed with the picture.
    for (name, picture) in &pictures {
        let config = UnetConfig::new(3, 3, &[4], 4, &[4]).with_residual(true);
        for (config, strength) in [(config.clone().with_scale(2), 1.0), (config.with_scale(1), 0.3)] {
            let mut model = Model::from_config(&config, &mut RandomWeights::new(11)).unwrap();
            let output = OutputRecipe::default().with_decode(Some(Decode::Image)).with_strength(strength);
            model.recipe = Recipe::default().with_output(output);
            let extension = if *name == "floats" { "tiff" } else { "png" };
            let what = format!("{name}, scale {}, strength {strength}", config.scale);
            assert_bands(&what, &model, &tiled(64), picture, extension);
        }
    }
    let turned = PipelineOptions::default().with_tiles(tiled(64).tiles.with_augment(Augment::All));
    assert_bands("turned", &model(3, 2, decoding(Decode::Mask), 9), &turned, &rgb, "tiff");
}

#[test]
fn what_needs_the_whole_picture_is_not_done_in_bands() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.png");
    fs::write(&input, noise(3, [20, 30], Depth::Eight, 1).encode(&input).unwrap()).unwrap();
    let out = |name: &str, kind| Targets(vec![Target { kind, path: folder.path().join(name) }]);
    let masks = decoding(Decode::Mask);
    let matched = masks.clone().with_output(
        OutputRecipe::default().with_steps([Step::MatchInput { over: Over::Sample, eps: 1e-6 }]),
    );
    let resized = masks.clone().with_input(InputRecipe::default().with_size(Some(Size::Fixed([16, 16]))));
    let plain = PipelineOptions::default();
    let cleaned = plain.clone().with_keep_largest(true);
    for (recipe, options, targets, part) in [
        (&masks, &plain, out("a.webp", TargetKind::Result), "a.webp, since only .png"),
        (&masks, &plain, out("a.png", TargetKind::Contours), "contours"),
        (&masks, &plain, out("a.csv", TargetKind::Statistics), "statistics"),
        (&masks, &cleaned, out("a.png", TargetKind::Result), "keep_largest"),
        (&matched, &plain, out("a.png", TargetKind::Result), "last steps"),
        (&resized, &plain, out("a.png", TargetKind::Result), "one size"),
    ] {
        let pipeline = pipeline(&model(3, 2, recipe.clone(), 1), options.clone(), Device::Cpu);
        let line = pipeline.run_bands(&Job::new(&input, targets), &|_| {}).unwrap_err().to_string();
        assert!(line.contains(part) && line.contains("in.png") && !line.contains('\n'), "{line}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{part}");
    }
    // A truncated picture also leaves nothing.
    let bytes = fs::read(&input).unwrap();
    fs::write(&input, &bytes[..bytes.len() / 2]).unwrap();
    let pipeline = pipeline(&model(3, 2, masks, 1), plain, Device::Cpu);
    assert!(pipeline.run_bands(&Job::new(&input, out("a.png", TargetKind::Result)), &|_| {}).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
