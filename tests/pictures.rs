//! Pictures and arrays: what is read equals what was written, and no file is ever incomplete.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::path::{Path, PathBuf};
use unet_wgpu::image::{Decoded, Depth, Format, Picture, read_npy, side_by_side, write_atomic, write_npy};
use unet_wgpu::recipe::{Channels, Decode, InputRecipe, OutputRecipe, Recipe};
use unet_wgpu::{Error, Shape, Tensor};

/// A PNG file written by the `image` crate.
fn png(bytes: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(bytes, width, height, color).unwrap();
    file
}

fn read(bytes: &[u8]) -> Picture {
    Picture::from_bytes(bytes, Path::new("test")).unwrap()
}

fn message(bytes: &[u8]) -> String {
    Picture::from_bytes(bytes, Path::new("test")).unwrap_err().to_string()
}

fn gray(width: usize, height: usize, data: &[f32]) -> Picture {
    Picture::new(Tensor::new(Shape::new(1, 1, height, width), data.to_vec()).unwrap(), Depth::Eight).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn eight_bits_come_back_as_they_were() {
    let bytes: Vec<u8> = (0..24 * 3).map(|i| (i * 37 % 256) as u8).collect();
    let picture = read(&png(&bytes, 6, 4, ExtendedColorType::Rgb8));
    assert_eq!(
        (picture.width(), picture.height(), picture.channels(), picture.depth()),
        (6, 4, 3, Depth::Eight)
    );
    assert_eq!(picture.rgb(2, 1), [bytes[24], bytes[25], bytes[26]]);
    for name in ["a.png", "a.tiff", "a.bmp", "a.webp"] {
        assert_eq!(read(&picture.encode(Path::new(name)).unwrap()).planes(), picture.planes(), "{name}");
    }
    let jpeg = read(&gray(9, 9, &[100.0; 81]).encode(Path::new("a.jpg")).unwrap());
    assert!(jpeg.planes().data().iter().all(|v| (v - 100.0).abs() <= 1.0));
    assert!(jpeg.notes().is_empty(), "{:?}", jpeg.notes());
}

#[test]
fn sixteen_bits_are_kept() {
    let values: Vec<u16> = (0..12).map(|i| i * 5461 + 1).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
    let picture = read(&png(&bytes, 4, 3, ExtendedColorType::L16));
    assert_eq!(picture.depth(), Depth::Sixteen);
    assert_eq!(picture.planes().data()[3], f32::from(values[3]) / 257.0);
    for name in ["a.png", "a.tif"] {
        let file = picture.encode(Path::new(name)).unwrap();
        let again = image::load_from_memory(&file).unwrap();
        assert_eq!(again.as_luma16().unwrap().as_raw(), &values, "{name}");
    }
    let small = image::load_from_memory(&picture.encode(Path::new("a.bmp")).unwrap()).unwrap();
    assert_eq!(small.to_luma8().as_raw()[11], ((f32::from(values[11]) / 257.0).round()) as u8);
}

#[test]
fn opacity_is_kept_where_a_pixel_is_not_opaque() {
    let picture = read(&png(&[9, 8, 7, 51, 6, 5, 4, 255], 2, 1, ExtendedColorType::Rgba8));
    assert_eq!((picture.rgb(0, 0), picture.rgb(1, 0)), ([9, 8, 7], [6, 5, 4]));
    assert_eq!(picture.alpha().unwrap().data(), [0.2, 1.0]);
    assert!(read(&png(&[9, 255, 7, 255], 2, 1, ExtendedColorType::La8)).alpha().is_none());
}

#[test]
fn damaged_pictures_are_refused_in_one_line() {
    let bytes: Vec<u8> = (0..300).map(|i| (i * i * 37 % 251) as u8).collect();
    let whole = png(&bytes, 10, 10, ExtendedColorType::Rgb8);
    for end in 0..whole.len() - 12 {
        // The last 12 bytes are the end marker. Without it, all pixels are still there.
        assert!(Picture::from_bytes(&whole[..end], Path::new("test")).is_err(), "cut at {end}");
    }
    let most = &whole[..whole.len() - 30];
    assert!(message(most).contains("cut off"), "{}", message(most));
    assert!(message(b"hello, I am a text").contains("text file"));
    assert!(message(b"").contains("empty"));
    let mut huge = Vec::new();
    png::Encoder::new(&mut huge, 65535, 65535).write_header().unwrap();
    assert!(huge.len() < 200 && message(&huge).contains("cut off"), "{}", message(&huge));
    let noise = Tensor::random(Shape::new(1, 1, 64, 64), 1).into_data();
    let jpeg = gray(64, 64, &noise.iter().map(|v| v.abs() * 255.0).collect::<Vec<_>>());
    let jpeg = jpeg.encode(Path::new("a.jpg")).unwrap();
    match Picture::from_bytes(&jpeg[..jpeg.len() / 2 + 300], Path::new("test")) {
        Ok(picture) => assert!(picture.notes()[0].contains("ends early"), "a cut JPEG must not go unnoticed"),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}

#[test]
fn recipes_normalise_each_channel() {
    let planes = Tensor::from_fn(Shape::new(1, 3, 1, 2), |i| i as f32 * 10.0);
    let picture = Picture::new(planes, Depth::Eight).unwrap();
    let recipe = InputRecipe::default().with_scale(0.1).with_mean([0.0, 1.0, 2.0]).with_std([0.5]);
    let tensor = picture.to_tensor(&recipe, 3).unwrap();
    assert_eq!(tensor.data(), [0.0, 2.0, 2.0, 4.0, 4.0, 6.0]);

    let gray = picture.to_tensor(&InputRecipe::default().with_scale(1.0), 1).unwrap();
    assert!((gray.data()[1] - (0.299 * 10.0 + 0.587 * 30.0 + 0.114 * 50.0)).abs() < 1e-4);
    let rgb = self::gray(2, 1, &[5.0, 6.0]).to_channels(Channels::Rgb);
    assert_eq!(rgb.data(), [5.0, 6.0, 5.0, 6.0, 5.0, 6.0]);

    let bad = |recipe: InputRecipe, channels| picture.to_tensor(&recipe, channels).unwrap_err().to_string();
    assert!(bad(InputRecipe::default(), 5).contains("5 channels"));
    assert!(bad(InputRecipe::default().with_channels(Some(Channels::Gray)), 3).contains("3 channels"));
    assert!(bad(InputRecipe::default().with_mean([1.0, 2.0]), 3).contains("mean"));
    assert!(bad(InputRecipe::default().with_std([0.0]), 3).contains("std"));

    let mut batch = Tensor::from_fn(Shape::new(2, 2, 1, 1), |_| 1.0);
    let recipe = InputRecipe::default().with_scale(1.0).with_mean([0.0, 1.0]);
    recipe.normalize(&mut batch).unwrap();
    assert_eq!(batch.data(), [1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn results_become_pictures_by_the_recipe() {
    let output = OutputRecipe::default().with_decode(Some(Decode::Image));
    let recipe = Recipe::default().with_output(output);
    let result = Tensor::new(Shape::new(1, 1, 1, 4), vec![-0.5, 0.5, 1.0, 2.0]).unwrap();
    let Decoded::Image(picture) = Decoded::new(&result, &recipe, Depth::Eight).unwrap() else {
        panic!("not a picture")
    };
    let read = image::load_from_memory(&picture.encode(Path::new("a.png")).unwrap()).unwrap();
    assert_eq!(read.as_luma8().unwrap().as_raw(), &[0, 128, 255, 255]);

    let nan = Tensor::new(Shape::new(1, 1, 1, 1), vec![f32::NAN]).unwrap();
    assert!(Decoded::new(&nan, &recipe, Depth::Eight).unwrap_err().to_string().contains("not finite"));

    let scores = Tensor::new(Shape::new(1, 3, 1, 1), vec![0.25, 2.0, -1.0]).unwrap();
    let decoded = Decoded::new(&scores, &Recipe::default(), Depth::Eight).unwrap();
    assert_eq!(
        decoded.encode(Path::new("a.txt")).unwrap(),
        b"2.000000\tclass 1\n0.250000\tclass 0\n-1.000000\tclass 2\n"
    );
}

#[test]
fn pictures_stand_side_by_side() {
    let both = side_by_side(&[&gray(2, 1, &[1.0, 2.0]), &gray(1, 2, &[3.0, 4.0])]).unwrap();
    assert_eq!((both.width(), both.height(), both.channels()), (7, 2, 3));
    let expected = [(0, 0, 1), (1, 0, 2), (2, 0, 255), (5, 0, 255), (6, 0, 3), (6, 1, 4), (0, 1, 255)];
    for (x, y, value) in expected {
        assert_eq!(both.rgb(x, y), [value; 3], "{x},{y}");
    }
}

#[test]
fn arrays_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let tensor = Tensor::random(Shape::new(2, 3, 5, 7), 4);
    write_npy(&path, &tensor).unwrap();
    assert_eq!(read_npy(&path).unwrap(), tensor);
    assert_eq!(
        (std::fs::metadata(&path).unwrap().len() - 2 * 3 * 5 * 7 * 4) % 64,
        0,
        "numpy aligns its data"
    );
}

/// A `.npy` file with any header.
fn npy(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0".as_slice(), &length, header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn arrays_of_other_kinds_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read_npy(&path).map_err(|e| e.to_string())
    };
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    assert_eq!(read(&npy(good, 24)).unwrap().shape(), Shape::new(1, 1, 2, 3));
    let bytes = [npy(&good.replace("<f4", "<u2"), 0), [1, 2].repeat(6)].concat();
    assert_eq!(read(&bytes).unwrap().data(), [513.0; 6]);
    let three = good.replace("(2, 3)", "(4, 2, 3)");
    assert_eq!(read(&npy(&three, 96)).unwrap().shape(), Shape::new(1, 4, 2, 3));
    for (from, to, part) in [
        ("<f4", "<c8", "<c8"),
        ("<f4", "<f8", "48 bytes"),
        ("<f4", ">f4", ">f4"),
        ("False", "True", "Fortran"),
        ("(2, 3)", "(6,)", "axes"),
        ("(2, 3)", "()", "axes"),
        ("(2, 3)", "(0, 3)", "at least 1"),
        ("(2, 3)", "(2, 4)", "bytes"),
        ("(2, 3)", "(1000000, 1000000)", "bytes"),
        ("(2, 3)", "(18446744073709551615, 18446744073709551615)", "elements"),
        ("(2, 3)", "(99999999999999999999, 3)", "numbers"),
        ("(2, 3)", "(-2, 3)", "numbers"),
        ("(2, 3)", "(2, 3", "tuple"),
        ("'descr'", "'desc'", "descr"),
        ("'shape'", "'shap'", "shape"),
    ] {
        let error = read(&npy(&good.replace(from, to), 24)).unwrap_err();
        assert!(error.contains(part) && !error.contains('\n'), "{to}: {error}");
    }
    let whole = npy(good, 24);
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "cut at {end}");
    }
    assert!(read(b"PK\x03\x04 zipped").unwrap_err().contains("numpy.save"));
    assert!(read(b"\x93NUMPY\x02\0\xff\xff\xff\xff").unwrap_err().contains("cut off"));
}

#[test]
fn writing_is_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let (first, second) = (vec![1; 300_000], vec![2; 200_000]);
    write_atomic(&path, &first).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..40 {
                write_atomic(&path, if i % 2 == 0 { &second } else { &first }).unwrap();
            }
        });
        while !writer.is_finished() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(bytes == first || bytes == second, "a half-written file of {} bytes", bytes.len());
        }
    });
    assert_eq!(files(folder.path()), [path], "a temporary file was left");

    let taken = folder.path().join("folder.png");
    std::fs::create_dir(&taken).unwrap();
    assert!(matches!(write_atomic(&taken, &first), Err(Error::Picture { .. })));
    let lost = folder.path().join("nowhere/a.png");
    assert!(write_atomic(&lost, &first).unwrap_err().to_string().contains("make it first"));
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn extensions_name_formats() {
    assert_eq!(Format::of(Path::new("a/b.JPEG")).unwrap(), Format::Jpeg);
    for bad in ["a", "a.gif", ".png", "a.png.bak"] {
        assert!(Format::of(Path::new(bad)).unwrap_err().to_string().contains(".png"), "{bad}");
    }
}
