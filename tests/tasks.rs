//! Networks of other people for super-resolution and style transfer, against results of the programs that made them.

use crate::device::gpu;
use crate::support::npz;
use std::path::{Path, PathBuf};
use unet_wgpu::image::{Decoded, Picture, Pipeline, PipelineOptions, similarity};
use unet_wgpu::plan::Precision;
use unet_wgpu::{Device, Error, Model, Session, SessionOptions, Shape, Tensor};

/// The folder of such networks, or a line that says that their tests did not run.
fn assets(part: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("UNET_TEST_ASSETS").map(|folder| Path::new(&folder).join("tasks").join(part));
    if folder.is_none() {
        eprintln!("DID NOT RUN: UNET_TEST_ASSETS does not name the folder of third-party models ({part})");
    }
    folder
}

fn devices() -> impl Iterator<Item = Device> {
    [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten()
}

fn open(path: &Path) -> Model {
    Model::open(path).unwrap_or_else(|error| panic!("{error}"))
}

fn run(model: &Model, input: &Tensor, device: Device, precision: Precision) -> unet_wgpu::Result<Tensor> {
    let options = SessionOptions::default().with_precision(precision);
    Session::with_options(model, input.shape(), device, &options)?.run(input)
}

/// The largest difference.
fn off(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.data().iter().zip(b.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Peak signal-to-noise ratio, dB, if white is `peak`.
fn psnr(a: &Tensor, b: &Tensor, peak: f64) -> f64 {
    let squares = a.data().iter().zip(b.data()).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    10.0 * (peak * peak * a.data().len() as f64 / squares).log10()
}

#[test]
fn cunet_doubles_a_picture_as_waifu2x_does() {
    let Some(folder) = assets("sr") else { return };
    let model = open(&folder.join("cunet_scale2x.onnx"));
    assert_eq!((model.known_as(), model.recipe.scale), (Some("waifu2x UpCUNet"), Some(2)));
    let golden = folder.join("cunet_scale2x_golden.npz");
    let [x, want] = ["x", "y"].map(|name| npz(&golden, name));
    // The stored input has the border that the recipe adds.
    let border = model.recipe.input.border;
    let [h, w] = [x.shape().h, x.shape().w];
    let inside = Shape { h: h - 2 * border, w: w - 2 * border, ..x.shape() };
    let value = |i: usize| {
        let (plane, y, column) = (i / inside.pixels(), i / inside.w % inside.h, i % inside.w);
        x.data()[(plane * h + y + border) * w + column + border]
    };
    let input = Tensor::from_fn(inside, value);
    for device in devices() {
        let got = run(&model, &input, device.clone(), Precision::F32).expect("it runs");
        let difference = off(&got, &want);
        assert!(difference <= 1e-4, "off by {difference:e}");
        match run(&model, &input, device, Precision::F16) {
            Ok(half) => assert!(psnr(&half, &want, 1.0) >= 45.0, "{} dB", psnr(&half, &want, 1.0)),
            Err(Error::MissingFeature { .. } | Error::Usage(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let pipeline = Pipeline::new(model, PipelineOptions::default()).expect("a pipeline");
    let pipeline = pipeline.with_device(Device::Cpu, SessionOptions::default());
    let picture = |name: &str| Picture::open(&folder.join(name)).expect("it is read");
    let outcome = pipeline.run(&picture("cunet_scale2x_in.png")).expect("it runs");
    let Ok(Decoded::Image(made)) = pipeline.decode(&outcome) else { panic!("it makes a picture") };
    let alike = similarity(&made.rounded(), &picture("cunet_scale2x_out.png")).expect("they have one size");
    assert!(alike.psnr > 55.0, "{alike}");
}

#[test]
fn a_style_is_painted_at_any_size() {
    let Some(folder) = assets("style") else { return };
    let golden = folder.join("style_mosaic_golden.npz");
    let [input, want] = ["x", "y"].map(|name| npz(&golden, name));
    let [export, checkpoint] = ["mosaic.onnx", "mosaic.model"].map(|name| open(&folder.join(name)));
    assert_eq!(export.known_as(), Some("fast-neural-style"));
    for model in [&export, &checkpoint] {
        let recipe = &model.recipe;
        assert_eq!((recipe.input.scale, recipe.output.scale), (1.0, 1.0));
        for device in devices() {
            let got = run(model, &input, device, Precision::F32).expect("it runs");
            // Its results reach from -150 to 390.
            assert!(off(&got, &want) <= 0.02, "off by {}", off(&got, &want));
        }
    }
    if let Some(gpu) = gpu()
        && let Ok(half) = run(&export, &input, Device::Gpu(gpu), Precision::F16)
    {
        assert!(psnr(&half, &want, 255.0) >= 45.0, "{} dB", psnr(&half, &want, 255.0));
    }
    // The export is for 256x256; its numbers stand for the extents of any picture.
    for (h, w) in [(90, 135), (256, 200), (77, 141)] {
        let input = Tensor::from_fn(Shape::new(1, 3, h, w), |i| (i * 37 % 251) as f32);
        let [one, other] = [&export, &checkpoint]
            .map(|model| run(model, &input, Device::Cpu, Precision::F32).expect("it runs"));
        assert_eq!(one.shape(), input.shape());
        if h % 4 == 0 && w % 4 == 0 {
            assert!(off(&one, &other) <= 0.02, "{h}x{w}: off by {}", off(&one, &other));
        }
    }
}
