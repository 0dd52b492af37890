//! Results that are larger than their pictures, and results that are mixed with them.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::desk::{Desk, Parts, small};
use crate::fixtures::{decoding, noise};
use crate::folders::{frames, put, put_pages, raw, through};
use std::fs;
use unet_wgpu::image::{Depth, Pages, Picture, read_npy};
use unet_wgpu::recipe::Decode;
use unet_wgpu::unet::UnetConfig;
use unet_wgpu::{Shape, Tensor};

/// `double.safetensors` and `gray.safetensors` enlarge pictures by two, `paint.safetensors` changes them.
fn desk() -> Desk {
    let desk = Desk::new();
    let image = decoding(Decode::Image);
    for (name, config, seed) in [
        ("double", small(3).with_scale(2), None),
        ("gray", small(1).with_scale(2), None),
        ("paint", small(3), Some(3)),
    ] {
        desk.put(&format!("{name}.safetensors"), &Parts::new(&config, &image, seed).bytes());
    }
    desk
}

fn size(picture: &Picture) -> [usize; 2] {
    [picture.width(), picture.height()]
}

/// The largest difference between two pictures.
fn off(a: &Picture, b: &Picture) -> f32 {
    assert_eq!(a.planes().shape(), b.planes().shape());
    a.planes().data().iter().zip(b.planes().data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_input_is_enlarged_beside_a_larger_result() {
    let desk = desk();
    let run = "-m double.safetensors --device cpu";
    let output = desk.unet(&format!("run picture.png -o o.png --compare c.png {run}"));
    assert!(output.stdout.is_empty());
    let (result, compared) = (desk.picture("o.png"), desk.picture("c.png"));
    assert_eq!((size(&result), size(&compared)), ([26, 20], [56, 20]));
    let input = desk.picture("picture.png").resized([20, 26]).unwrap().rounded();
    for (y, x) in (0..20).flat_map(|y| (0..26).map(move |x| (y, x))) {
        assert_eq!(compared.rgb(x, y), input.rgb(x, y));
        assert_eq!(compared.rgb(x + 30, y), result.rgb(x, y));
    }
    // A reference has the size of the result.
    let output = desk.unet(&format!("run picture.png -o o.png --reference o.png {run}"));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("PSNR inf dB"));
    desk.refuses(
        &format!("run picture.png -o o.png --reference picture.png {run}"),
        &["the reference", "26x20", "13x10"],
    );
}

#[test]
fn opacity_is_enlarged_with_the_picture() {
    let desk = desk();
    let opaque = noise(3, [10, 13], Depth::Sixteen, 1);
    let shape = Shape { c: 1, ..opaque.planes().shape() };
    let alpha = Tensor::from_fn(shape, |i| (i % 13) as f32 / 12.0);
    put(&desk, "in.png", &opaque.with_alpha(Some(alpha)).unwrap());
    desk.unet("run in.png -o o.png -m double.safetensors --device cpu");
    let (result, want) = (desk.picture("o.png"), desk.picture("in.png").resized([20, 26]).unwrap());
    assert_eq!(result.depth(), Depth::Sixteen);
    let pairs = result.alpha().unwrap().data().iter().zip(want.alpha().unwrap().data());
    assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-4);
}

#[test]
fn larger_results_of_folders_stacks_arrays_and_streams() {
    let desk = desk();
    let run = "-m double.safetensors --device cpu";
    put(&desk, "in/a.png", &noise(3, [9, 12], Depth::Eight, 1));
    put(&desk, "in/b.jpg", &noise(3, [16, 8], Depth::Eight, 2));
    put_pages(&desk.path("in/c.tif"), &[1, 2, 3].map(|i| noise(3, [8, 10], Depth::Eight, i)));
    desk.unet(&format!("run in -o out --compare both {run}"));
    assert_eq!(size(&desk.picture("out/a.png")), [24, 18]);
    assert_eq!(size(&desk.picture("both/b.png")), [36, 32]);
    let pages: Vec<Picture> = Pages::open(&desk.path("out/c.tiff")).unwrap().map(Result::unwrap).collect();
    assert_eq!(pages.iter().map(size).collect::<Vec<_>>(), [[20, 16]; 3]);
    desk.unet(&format!("run picture.png -o o.npy {run}"));
    desk.unet(&format!("run picture.png -o t.npy --tta all {run}"));
    desk.unet(&format!("run o.npy -o twice.npy {run}"));
    let [once, turned, twice] =
        ["o.npy", "t.npy", "twice.npy"].map(|name| read_npy(&desk.path(name)).unwrap());
    assert_eq!((once.shape(), twice.shape()), (Shape::new(1, 3, 20, 26), Shape::new(1, 3, 40, 52)));
    let pairs = once.data().iter().zip(turned.data());
    assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-5);

    // The header states the size of the result.
    let mut video = b"YUV4MPEG2 W12 H10 F25:1 Ip A1:1 C420jpeg\n".to_vec();
    for frame in raw(3, 180).chunks(180) {
        video.extend(b"FRAME\n");
        video.extend(frame);
    }
    let out = through(&desk, &format!("run - -o - {run}"), &video);
    assert!(out.starts_with(b"YUV4MPEG2 W24 H20 F25:1"));
    assert_eq!(frames(&out).iter().map(size).collect::<Vec<_>>(), [[24, 20]; 3]);
    desk.put("in.y4m", &video);
    desk.unet(&format!("run in.y4m -o out.y4m --compare both.y4m {run}"));
    assert_eq!(fs::read(desk.path("out.y4m")).unwrap(), out);
    assert!(fs::read(desk.path("both.y4m")).unwrap().starts_with(b"YUV4MPEG2 W52 H20"));
    for (format, net, bytes) in [("rgb24", "double", 3), ("gray16le", "gray", 2)] {
        let line =
            format!("run - -o - -m {net}.safetensors --pixel-format {format} --frame-size 6x5 --device cpu");
        assert_eq!(through(&desk, &line, &raw(2, 30 * bytes)).len(), 2 * 120 * bytes, "{format}");
    }
}

#[test]
fn a_scale_that_the_network_does_not_have_is_refused() {
    let desk = desk();
    desk.unet("inspect double.safetensors --size 16");
    for (scale, net, parts) in [
        ("3", "double", ["the recipe's scale", "got 3"]),
        ("2", "same", ["the recipe's scale", "got 2"]),
        ("0", "double", ["the recipe's scale", "1 to 64"]),
        ("1.5", "double", ["scale", "1.5"]),
    ] {
        desk.put("s.toml", format!("scale = {scale}\n").as_bytes());
        let line = format!("run picture.png -o new.png -m {net}.safetensors --recipe s.toml --device cpu");
        desk.refuses(&line, &parts);
    }
    desk.put("s.toml", b"scale = 2\n");
    desk.unet("run picture.png -o o.png -m double.safetensors --recipe s.toml --device cpu");
}

#[test]
fn a_strength_mixes_the_result_with_its_input() {
    let desk = desk();
    let run = "-m paint.safetensors --device cpu";
    for depth in [Depth::Eight, Depth::Sixteen] {
        put(&desk, "in/a.png", &noise(3, [20, 16], depth, 1));
        for (name, strength) in [("none", "0"), ("half", "0.5"), ("full", "1")] {
            desk.unet(&format!("run in -o {name} --strength {strength} {run}"));
        }
        desk.unet(&format!("run in/a.png -o plain.png {run}"));
        let [input, none, half, full] =
            ["in", "none", "half", "full"].map(|folder| desk.picture(&format!("{folder}/a.png")));
        assert_eq!(input.planes(), none.planes());
        assert_eq!(full.planes(), desk.picture("plain.png").planes());
        assert!(off(&input, &full) > 20.0);
        let mean = Tensor::from_fn(input.planes().shape(), |i| {
            (input.planes().data()[i] + full.planes().data()[i]) / 2.0
        });
        assert!(off(&half, &Picture::new(mean, depth).unwrap()) <= 1.0);
    }
    // A recipe may hold it; an option goes first.
    desk.put("half.toml", b"[output]\nstrength = 0.5\n");
    desk.unet(&format!("run in/a.png -o h.png --recipe half.toml {run}"));
    assert_eq!(desk.picture("h.png").planes(), desk.picture("half/a.png").planes());
    desk.unet(&format!("run in/a.png -o h.png --recipe half.toml --strength 0 {run}"));
    assert_eq!(desk.picture("h.png").planes(), desk.picture("in/a.png").planes());
    let frames = raw(4, 12 * 10 * 3);
    let line = format!("run - -o - --pixel-format rgb24 --frame-size 12x10 --strength 0 {run}");
    assert!(through(&desk, &line, &frames) == frames);

    let mask = Parts::new(&UnetConfig::new(3, 3, &[4], 4, &[4]), &decoding(Decode::Mask), None);
    desk.put("mask.safetensors", &mask.bytes());
    for (net, strength, parts) in [
        ("paint", "2", ["strength", "from 0 to 1"]),
        ("paint", "nan", ["strength", "from 0 to 1"]),
        ("mask", "0.5", ["strength", "no picture of its input's size"]),
        ("double", "0.5", ["strength", "no picture of its input's size"]),
    ] {
        desk.refuses(
            &format!("run picture.png -o new.png --strength {strength} -m {net}.safetensors --device cpu"),
            &parts,
        );
    }
}
