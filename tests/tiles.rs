//! Tiles: the result of the whole where that is possible, blended where it is not.

use crate::device::gpu;
use std::path::Path;
use unet_wgpu::graph::{Activation, Conv, Graph, Norm, NormOver};
use unet_wgpu::recipe::Recipe;
use unet_wgpu::tiles::{Blend, TileOptions, TiledSession};
use unet_wgpu::unet::{RandomWeights, Upsample, UnetConfig};
use unet_wgpu::{Device, Model, Random, Session, SessionOptions, Shape, Tensor};

fn vectors(name: &str) -> Model {
    Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).expect("it is read")
}

/// Networks without anything that sees the whole picture: up-sampling of two kinds, padding at odd sizes of three.
fn networks() -> Vec<(&'static str, Model)> {
    let bilinear = UnetConfig { upsample: Upsample::BilinearConv1x1, ..UnetConfig::new(2, 1, &[4, 6], 8, &[6, 4]) };
    vec![
        ("configuration", Model::from_config(&bilinear, &mut RandomWeights::new(1)).expect("it builds")),
        ("ONNX", vectors("onnx_transposed.onnx")),
        ("milesial state dict", vectors("state_dicts/milesial.pth")),
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
            let extent = |random: &mut Random| 250 + random.below(150);
            let shape = Shape::new(1, model.input_channels(), extent(&mut random), extent(&mut random));
            let size = 230 + random.below(60);
            let input = Tensor::random(shape, random.bits());
            for device in devices() {
                let whole = Session::new(&model, shape, device.clone()).expect("it fits");
                let want = whole.run(&input).expect("it runs");
                let options = TileOptions { size: Some(size), ..TileOptions::default() };
                let what = format!("{name} at {shape} in tiles of {size}");
                let tiled = TiledSession::new(&model, shape, &device, &SessionOptions::default(), &options);
                let tiled = tiled.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(tiled.is_exact(), "{what}");
                let got = tiled.run(&input, &|| {}).expect("it runs");
                let off = got.data().iter().zip(want.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off <= 1e-6, "{what}, {} tiles: off by {off:e}", tiled.tiles());
            }
        }
    }
}
