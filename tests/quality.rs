//! The quality of the shipped models, against the figures in models/README.md.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::device::gpu;
use std::path::{Path, PathBuf};
use unet_wgpu::image::{Decoded, Hole, Mask, Picture, Pipeline, PipelineOptions};
use unet_wgpu::recipe::Decode;
use unet_wgpu::{Device, Model, Session, SessionOptions};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn picture(path: &Path) -> Picture {
    Picture::open(path).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a picture through a model, as `unet run` does.
fn decoded(model: &Model, picture: &Picture, device: Device) -> Decoded {
    let input = picture.to_tensor(&model.recipe.input, model.input_channels()).unwrap();
    let session = Session::new(model, input.shape(), device).unwrap();
    Decoded::new(&session.run(&input).unwrap(), &model.recipe, picture.depth()).unwrap()
}

/// Peak signal-to-noise ratio over all pixels and channels of 8-bit values, dB.
fn psnr(a: &Picture, b: &Picture) -> f64 {
    assert_eq!(a.planes().shape(), b.planes().shape());
    let pairs = a.planes().data().iter().zip(b.planes().data());
    let square = |(a, b): (&f32, &f32)| f64::from(a.clamp(0.0, 255.0).round() - b).powi(2);
    10.0 * (255.0f64.powi(2) * a.planes().data().len() as f64 / pairs.map(square).sum::<f64>()).log10()
}

#[test]
fn denoise_gains_six_decibels() {
    let model = Model::open(root("models/denoise.safetensors")).unwrap();
    let (noisy, clean) = (picture(&root("demo/noisy.png")), picture(&root("demo/clean.png")));
    for device in [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten() {
        let Decoded::Image(result) = decoded(&model, &noisy, device) else { panic!("not a picture") };
        let (before, after) = (psnr(&noisy, &clean), psnr(&result, &clean));
        assert!(after - before >= 6.0, "from {before:.2} to {after:.2} dB");
        // The README's caption.
        assert!(
            (before - 20.3).abs() < 0.1 && (after - 30.9).abs() < 0.1,
            "from {before:.2} to {after:.2} dB"
        );
    }
}

#[test]
fn upscale2x_is_nearer_to_the_large_picture_than_bicubic_enlargement() {
    let model = Model::open(root("models/upscale2x.safetensors")).unwrap();
    let (small, large) = (picture(&root("demo/small.png")), picture(&root("demo/portrait.png")));
    for device in [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten() {
        let Decoded::Image(result) = decoded(&model, &small, device) else { panic!("not a picture") };
        // Pillow's bicubic enlargement has 31.40 dB.
        let figure = psnr(&result, &large);
        assert!((figure - 34.35).abs() < 0.05, "{figure:.2} dB");
    }
}

#[test]
fn inpaint_fills_scratches_and_keeps_every_known_pixel() {
    let (photo, mask) = (picture(&root("demo/clean.png")), picture(&root("demo/hole.png")));
    for device in [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten() {
        let model = Model::open(root("models/inpaint.safetensors")).unwrap();
        let pipeline = Pipeline::new(model, PipelineOptions::default()).unwrap();
        let pipeline = pipeline.with_device(device, SessionOptions::default());
        let scratched = photo.clone().with_hole(Some(Hole::of_mask(&mask))).unwrap();
        let outcome = pipeline.run(&scratched).unwrap();
        let Decoded::Image(result) = pipeline.decode(&outcome).unwrap() else { panic!("not a picture") };
        let (mut square, mut holes) = (0.0, 0);
        for c in 0..3 {
            let planes = [&result, &photo].map(|picture| picture.planes().plane(0, c));
            for ((&made, &truth), &white) in planes[0].iter().zip(planes[1]).zip(mask.planes().plane(0, 0)) {
                if white > 127.5 {
                    square += f64::from(made.round() - truth).powi(2);
                    holes += 1;
                } else {
                    assert_eq!(made, truth, "a known pixel");
                }
            }
        }
        let figure = 10.0 * (255.0f64.powi(2) * f64::from(holes) / square).log10();
        assert!((figure - 25.23).abs() < 0.05, "{figure:.2} dB");
    }
}

#[test]
fn cells_finds_membranes_as_well_as_its_readme_says() {
    let Some(assets) = std::env::var_os("UNET_TEST_ASSETS") else {
        eprintln!("THE CELLS MODEL'S SCORE WAS NOT TESTED: UNET_TEST_ASSETS is not set (labelled pictures)");
        return;
    };
    let data = Path::new(&assets).join("data/membrane");
    let model = Model::open(root("models/cells.safetensors")).unwrap();
    let readme = std::fs::read_to_string(root("models/README.md")).unwrap();
    // The first column after the picture's number in the table of scores.
    let promised = |row: &str| -> f64 {
        let line = readme.lines().find(|line| line.starts_with(&format!("| {row} | 0."))).unwrap();
        line.split('|').nth(2).unwrap().trim().parse().unwrap()
    };
    let mut mean = 0.0;
    for number in 24..30 {
        let input = picture(&data.join(format!("image/{number}.png")));
        let label = picture(&data.join(format!("label/{number}.png")));
        let Decoded::Mask(mask) = decoded(&model, &input, Device::Cpu) else { panic!("not a mask") };
        let f1 = f1(&mask, &label);
        let row = promised(&number.to_string());
        assert!((f1 - row).abs() < 0.01, "picture {number}: F1 {f1:.4}, the README says {row}");
        mean += f1 / 6.0;
    }
    let promised = promised("**mean**");
    assert!(mean >= 0.80 && (mean - promised).abs() < 0.01, "F1 {mean:.4}, the README says {promised}");
}

/// F1 of class 1 against the black lines of the label.
fn f1(mask: &Mask, label: &Picture) -> f64 {
    assert_eq!((mask.width(), mask.height()), (label.width(), label.height()));
    let (mut both, mut found, mut wanted) = (0, 0, 0);
    for (&class, &white) in mask.classes().iter().zip(label.planes().plane(0, 0)) {
        let (is, should) = (class == 1, white < 128.0);
        both += usize::from(is && should);
        found += usize::from(is);
        wanted += usize::from(should);
    }
    2.0 * both as f64 / (found + wanted) as f64
}

#[test]
fn every_model_that_ships_is_small_and_tells_what_it_is() {
    let readme = std::fs::read_to_string(root("models/README.md")).unwrap();
    let mut models = 0;
    for entry in std::fs::read_dir(root("models")).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) =
            path.file_name().and_then(|name| name.to_str()).filter(|n| n.ends_with(".safetensors"))
        else {
            continue;
        };
        models += 1;
        assert!(std::fs::metadata(&path).unwrap().len() <= 4_000_000, "{name}");
        assert!(readme.contains(name), "models/README.md does not tell of {name}");
        let model = Model::open(&path).unwrap();
        let recipe = &model.recipe;
        for (key, text) in [
            ("task", &recipe.task),
            ("description", &recipe.description),
            ("license", &recipe.license),
            ("training", &recipe.training),
        ] {
            assert!(!text.trim().is_empty(), "{name}: no {key}");
        }
        assert!(
            recipe.input.channels.is_some() && recipe.output.decode.is_some(),
            "{name}: what goes in or out?"
        );
        if recipe.output.decode == Some(Decode::Mask) {
            let classes = model.config.as_ref().unwrap().out_channels.max(2);
            assert_eq!(recipe.output.classes.len(), classes, "{name}");
            assert!(recipe.output.classes.iter().all(|class| !class.name.is_empty()), "{name}");
        }
    }
    assert!(models >= 4, "{models} models");
}
