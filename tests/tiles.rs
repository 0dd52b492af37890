//! Tiles: the result of the whole picture if that is possible, blended otherwise.

use crate::device::gpu;
use std::path::Path;
use unet_wgpu::graph::{Activation, Conv, Graph, Norm, NormOver};
use unet_wgpu::recipe::Recipe;
use unet_wgpu::tiles::{Blend, TileOptions, TiledSession};
use unet_wgpu::unet::{RandomWeights, UnetConfig, Upsample};
use unet_wgpu::{Augment, Device, Error, Model, Random, Session, SessionOptions, Shape, Tensor};

fn vectors(name: &str) -> Model {
    Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).expect("it is read")
}

/// A network whose result does not cover a border of its input.
fn bordered(name: &str, border: usize) -> Model {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("net.toml");
    std::fs::write(&recipe, format!("scale = 2\n[input]\nborder = {border}\n")).expect("it is written");
    let options = unet_wgpu::OpenOptions::default().with_recipe(recipe);
    Model::open_with(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name), &options)
        .expect("it is read")
}

/// Networks in which every pixel sees a bounded neighbourhood.
fn networks() -> Vec<(&'static str, Model)> {
    let bilinear = UnetConfig::new(2, 1, &[4, 6], 8, &[6, 4]).with_upsample(Upsample::BilinearConv1x1);
    let deeper = UnetConfig::new(1, 2, &[4, 4], 4, &[4, 4]).with_upsample(Upsample::NearestConv);
    let larger = UnetConfig::new(2, 2, &[4], 6, &[4]).with_scale(2).with_residual(true);
    vec![
        ("larger", Model::from_config(&larger, &mut RandomWeights::new(3)).expect("it builds")),
        ("larger, without padding", bordered("meaning/valid_double.onnx", 2)),
        ("configuration", Model::from_config(&bilinear, &mut RandomWeights::new(1)).expect("it builds")),
        ("ONNX", vectors("onnx_transposed.onnx")),
        ("deeper", Model::from_config(&deeper, &mut RandomWeights::new(2)).expect("it builds")),
    ]
}

fn devices() -> impl Iterator<Item = Device> {
    [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten()
}

#[test]
fn tiles_give_exactly_the_result_of_the_whole() {
    for (name, model) in networks() {
        let mut random = Random::new(name.len() as u64);
        for _ in 0..30 {
            let extent = |random: &mut Random| 130 + random.below(150);
            let shape = Shape::new(1, model.input_channels(), extent(&mut random), extent(&mut random));
            let size = 110 + random.below(60);
            for device in devices() {
                assert_exact(name, &model, shape, size, &device);
            }
        }
    }
}

#[test]
fn a_network_that_pads_inside_is_exact_at_odd_sizes_too() {
    let model = vectors("state_dicts/milesial.pth");
    for (h, w, size) in [(600, 531, 480), (561, 613, 500), (499, 700, 470)] {
        assert_exact("milesial", &model, Shape::new(1, 3, h, w), size, &Device::Cpu);
    }
}

#[track_caller]
fn assert_exact(name: &str, model: &Model, shape: Shape, size: usize, device: &Device) {
    let input = Tensor::random(shape, size as u64);
    let want = Session::new(model, shape, device.clone()).expect("it fits").run(&input).expect("it runs");
    let options = TileOptions::default().with_size(Some(size));
    let what = format!("{name} at {shape} in tiles of {size}");
    let tiled = TiledSession::new(model, shape, device, &SessionOptions::default(), &options);
    let tiled = tiled.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(tiled.is_exact(), "{what}");
    let got = tiled.run(&input, &|| {}).expect("it runs");
    let off = got.data().iter().zip(want.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= 1e-6, "{what}, {} tiles: off by {off:e}", tiled.tiles());
}

#[test]
fn what_sees_everything_is_blended() {
    let mut graph = Graph::new(2);
    let weight = Tensor::random(Shape::new(2, 2, 3, 3), 1);
    let x = graph.push("conv", Conv::new(weight.into(), None).same(), &[Graph::INPUT]).expect("a new name");
    graph
        .push("norm", Norm { activation: Activation::Relu, ..Norm::new(NormOver::Groups(2), 1e-5) }, &[x])
        .expect("a new name");
    let model = Model::new(graph, Recipe::default());
    let (shape, device) = (Shape::new(1, 2, 500, 410), Device::Cpu);
    let input = Tensor::random(shape, 1);
    let want = Session::new(&model, shape, device.clone()).expect("it fits").run(&input).expect("it runs");
    for blend in [Blend::Auto, Blend::Gaussian, Blend::Crop] {
        let options = TileOptions::default().with_size(Some(250)).with_blend(blend);
        let tiled =
            TiledSession::new(&model, shape, &device, &SessionOptions::default(), &options).expect("it fits");
        assert!(!tiled.is_exact() && tiled.tiles() > 1);
        let got = tiled.run(&input, &|| {}).expect("it runs");
        let squares = got.data().iter().zip(want.data()).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let rms = (squares / got.data().len() as f64).sqrt();
        // Statistics of a tile of noise are close to those of the whole.
        assert!(rms > 0.0 && rms < 0.05, "{blend:?}: {rms}");
    }
}

#[test]
fn what_does_not_fit_is_cut_by_itself_and_what_cannot_be_cut_is_refused() {
    let (_, model) = networks().remove(0);
    let shape = Shape::new(1, 2, 400, 300);
    for device in devices() {
        let whole =
            TiledSession::new(&model, shape, &device, &SessionOptions::default(), &TileOptions::default());
        assert_eq!(whole.expect("it fits").tiles(), 1);
        let options = SessionOptions::default().with_max_memory(Some(2 << 20));
        let cut =
            TiledSession::new(&model, shape, &device, &options, &TileOptions::default()).expect("tiles fit");
        assert!(cut.tiles() > 1 && cut.is_exact(), "{} tiles", cut.tiles());
        let tiny = SessionOptions::default().with_max_memory(Some(1000));
        let refused = TiledSession::new(&model, shape, &device, &tiny, &TileOptions::default());
        assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{refused:?}");
    }
    // Tiles that are smaller than what a pixel sees are blended, unless they must not be.
    let narrow = TileOptions::default().with_size(Some(20));
    let cut = |options| TiledSession::new(&model, shape, &Device::Cpu, &SessionOptions::default(), &options);
    let blended = cut(narrow).expect("tiles of any size");
    assert!(!blended.is_exact() && blended.tiles() > 100, "{} tiles", blended.tiles());
    let error = cut(narrow.with_blend(Blend::Crop)).expect_err("too small").to_string();
    assert!(error.contains("this network needs tiles of at least"), "{error}");
}

/// The planes mirrored left to right.
fn mirrored(x: &Tensor) -> Tensor {
    let w = x.shape().w;
    Tensor::from_fn(x.shape(), |i| x.data()[i / w * w + (w - 1 - i % w)])
}

#[test]
fn augmented_results_do_not_depend_on_the_orientation() {
    let (_, model) = networks().remove(0);
    let shape = Shape::new(1, 2, 203, 166);
    let input = Tensor::random(shape, 7);
    let run = |device: &Device, input: &Tensor, tiles: TileOptions| {
        let options = SessionOptions::default();
        let session = TiledSession::new(&model, input.shape(), device, &options, &tiles).expect("it fits");
        (session.run(input, &|| {}).expect("it runs"), session.tiles())
    };
    let off = |a: &Tensor, b: &Tensor| {
        a.data().iter().zip(b.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    for device in devices() {
        let (plain, _) = run(&device, &input, TileOptions::default());
        for augment in [Augment::Flips, Augment::All] {
            let options = TileOptions::default().with_augment(augment);
            let (whole, _) = run(&device, &input, options);
            let (turned, _) = run(&device, &mirrored(&input), options);
            assert!(off(&whole, &mirrored(&turned)) <= 1e-6, "{augment:?}");
            assert!(off(&whole, &plain) > 1e-3, "{augment:?} changes nothing");
            let (tiled, tiles) = run(&device, &input, options.with_size(Some(120)));
            assert!(tiles > 1 && off(&whole, &tiled) <= 1e-6, "{augment:?} in {tiles} tiles");
        }
    }
}

#[test]
fn less_overlap_than_the_network_sees_is_not_called_exact() {
    let (_, model) = networks().remove(0);
    let options = TileOptions::default().with_size(Some(120)).with_overlap(Some(8));
    let shape = Shape::new(1, 2, 300, 300);
    let tiled = TiledSession::new(&model, shape, &Device::Cpu, &SessionOptions::default(), &options);
    assert!(!tiled.expect("it fits").is_exact());
}
