//! Written picture files: exact samples if the format can hold them, bands and pages equal to the whole, and no
//! leftovers when writing fails.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use image::DynamicImage;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use tiff::decoder::{Decoder, DecodingResult};
use unet_wgpu::image::{Depth, Format, PageWriter, Picture, RowWriter, remove_temporary_files};
use unet_wgpu::{Error, Random, Shape, Tensor};

const DEPTHS: [Depth; 3] = [Depth::Eight, Depth::Sixteen, Depth::Float];

/// A picture with values of its depth, with opacity if `alpha`.
fn picture(channels: usize, alpha: bool, depth: Depth, [h, w]: [usize; 2]) -> Picture {
    let mut random = Random::new((channels * h * w) as u64);
    let mut plane = |c| {
        Tensor::from_fn(Shape::new(1, c, h, w), |_| match depth {
            Depth::Eight => random.below(256) as f32,
            Depth::Sixteen => random.below(65536) as f32 / 257.0,
            Depth::Float => random.uniform(-0.5, 7.0),
        })
    };
    let planes = plane(channels);
    let alpha = alpha.then(|| {
        let plane = plane(1);
        let most = if depth == Depth::Float { 7.0 } else { 255.0 };
        Tensor::from_fn(plane.shape(), |i| plane.data()[i] / most)
    });
    Picture::new(planes, depth).unwrap().with_alpha(alpha).unwrap()
}

/// All samples of a picture as its file holds them, interleaved: plain loops that the writers are checked against.
fn expected(picture: &Picture) -> Vec<f64> {
    let (w, h) = (picture.width(), picture.height());
    let mut samples = Vec::new();
    let (most, white) = match picture.depth() {
        Depth::Eight => (255.0, 255.0),
        Depth::Sixteen => (65535.0, 255.0),
        Depth::Float => (1.0, 1.0),
    };
    let stored = |v: f64| if picture.depth() == Depth::Float { v } else { v.round() };
    for i in 0..w * h {
        for c in 0..picture.channels() {
            samples.push(stored(f64::from(picture.planes().plane(0, c)[i]) / white * most));
        }
        if let Some(alpha) = picture.alpha() {
            samples.push(stored(f64::from(alpha.data()[i]) * most));
        }
    }
    samples
}

/// The current page of a TIFF decoder: size and samples.
fn tiff_page(decoder: &mut Decoder<Cursor<Vec<u8>>>) -> ((u32, u32), Vec<f64>) {
    let size = decoder.dimensions().unwrap();
    let samples = match decoder.read_image().unwrap() {
        DecodingResult::U8(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::U16(v) => v.into_iter().map(f64::from).collect(),
        DecodingResult::F32(v) => v.into_iter().map(f64::from).collect(),
        _ => panic!("samples of another type"),
    };
    (size, samples)
}

fn tiff(file: Vec<u8>) -> Decoder<Cursor<Vec<u8>>> {
    Decoder::new(Cursor::new(file)).unwrap()
}

/// The samples of a PNG, EXR or PNM file.
fn samples(file: &[u8]) -> Vec<f64> {
    match image::load_from_memory(file).unwrap() {
        DynamicImage::ImageLuma16(p) => p.into_raw().into_iter().map(f64::from).collect(),
        DynamicImage::ImageLumaA16(p) => p.into_raw().into_iter().map(f64::from).collect(),
        DynamicImage::ImageRgb16(p) => p.into_raw().into_iter().map(f64::from).collect(),
        DynamicImage::ImageRgba16(p) => p.into_raw().into_iter().map(f64::from).collect(),
        DynamicImage::ImageRgb32F(p) => p.into_raw().into_iter().map(f64::from).collect(),
        DynamicImage::ImageRgba32F(p) => p.into_raw().into_iter().map(f64::from).collect(),
        eight => eight.into_bytes().into_iter().map(f64::from).collect(),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_depth_is_kept_with_its_opacity() {
    for depth in DEPTHS {
        for (channels, alpha) in [(1, false), (1, true), (3, false), (3, true)] {
            let picture = picture(channels, alpha, depth, [5, 7]);
            let case = format!("{depth:?}, {channels} channels, opacity {alpha}");
            let (size, got) = tiff_page(&mut tiff(picture.encode(Path::new("a.tif")).unwrap()));
            assert_eq!((size, got), ((7, 5), expected(&picture)), "TIFF, {case}");
            if depth != Depth::Float {
                assert_eq!(
                    samples(&picture.encode(Path::new("a.png")).unwrap()),
                    expected(&picture),
                    "PNG, {case}"
                );
            }
            if depth == Depth::Float && channels == 3 {
                assert_eq!(
                    samples(&picture.encode(Path::new("a.exr")).unwrap()),
                    expected(&picture),
                    "EXR, {case}"
                );
            }
            if depth == Depth::Eight && channels == 3 {
                assert_eq!(
                    samples(&picture.encode(Path::new("a.webp")).unwrap()),
                    expected(&picture),
                    "WebP, {case}"
                );
            }
        }
    }
}

#[test]
fn other_depths_become_the_nearest_that_the_format_has() {
    let row = |depth, values: &[f32]| {
        Picture::new(Tensor::new(Shape::new(1, 1, 1, values.len()), values.to_vec()).unwrap(), depth).unwrap()
    };
    let float = row(Depth::Float, &[-1.0, 0.0, 0.5, 1.0, 9.0, f32::NAN]);
    let png = image::load_from_memory(&float.encode(Path::new("a.png")).unwrap()).unwrap();
    assert_eq!(png.as_luma16().unwrap().as_raw(), &[0, 0, 32768, 65535, 65535, 0]);
    let bmp = image::load_from_memory(&float.encode(Path::new("a.bmp")).unwrap()).unwrap();
    assert_eq!(bmp.to_luma8().as_raw(), &[0, 0, 128, 255, 255, 0]);

    let eight = row(Depth::Eight, &[0.0, 1.0, 128.0, 255.0]);
    let light: Vec<f64> = [0.0_f32, 1.0 / 255.0, 128.0 / 255.0, 1.0].map(f64::from).to_vec();
    let thrice: Vec<f64> = light.iter().flat_map(|&v| [v; 3]).collect();
    assert_eq!(samples(&eight.encode(Path::new("a.exr")).unwrap()), thrice, "grey is three equal channels");
    let pfm = eight.encode(Path::new("a.pfm")).unwrap();
    let floats: Vec<f64> =
        pfm[pfm.len() - 16..].as_chunks::<4>().0.iter().map(|&v| f64::from(f32::from_le_bytes(v))).collect();
    assert_eq!(floats, light);

    for (format, depths) in [
        (Format::Png, [Depth::Eight, Depth::Sixteen, Depth::Sixteen]),
        (Format::Tiff, DEPTHS),
        (Format::Exr, [Depth::Float; 3]),
        (Format::Jpeg, [Depth::Eight; 3]),
    ] {
        assert_eq!(DEPTHS.map(|depth| format.depth(depth)), depths, "{format:?}");
    }
    // If a format has no opacity, only the colours are written.
    let clear = picture(3, true, Depth::Eight, [2, 2]);
    for name in ["a.bmp", "a.ppm", "a.jpg"] {
        assert!(!Format::of(Path::new(name)).unwrap().holds_alpha());
        let image = image::load_from_memory(&clear.encode(Path::new(name)).unwrap());
        assert!(image.map_or(name == "a.ppm", |image| !image.color().has_alpha()), "{name}");
    }
}

#[test]
fn plain_files_are_as_their_descriptions_say() {
    let planes = Tensor::from_fn(Shape::new(1, 3, 2, 1), |i| i as f32);
    let eight = Picture::new(planes.clone(), Depth::Eight).unwrap();
    assert_eq!(eight.encode(Path::new("a.ppm")).unwrap(), b"P6\n1 2\n255\n\x00\x02\x04\x01\x03\x05");
    let deep = Tensor::new(Shape::new(1, 1, 1, 2), vec![1.0 / 257.0, 255.0]).unwrap();
    let deep = Picture::new(deep, Depth::Sixteen).unwrap();
    assert_eq!(deep.encode(Path::new("a.pgm")).unwrap(), b"P5\n2 1\n65535\n\x00\x01\xff\xff");

    // Rows from the bottom.
    let light = Picture::new(planes, Depth::Float).unwrap();
    let floats = [1.0_f32, 3.0, 5.0, 0.0, 2.0, 4.0].map(f32::to_le_bytes).concat();
    assert_eq!(light.encode(Path::new("a.pfm")).unwrap(), [b"PF\n1 2\n-1.0\n".to_vec(), floats].concat());
}

/// The picture's rows from `top` on.
fn band(picture: &Picture, top: usize, height: usize) -> Picture {
    let cut = |tensor: &Tensor| {
        let Shape { c, w, .. } = tensor.shape();
        let rows = (0..c).flat_map(|c| tensor.plane(0, c)[top * w..][..height * w].to_vec()).collect();
        Tensor::new(Shape::new(1, c, height, w), rows).unwrap()
    };
    let planes = Picture::new(cut(picture.planes()), picture.depth()).unwrap();
    planes.with_alpha(picture.alpha().map(cut)).unwrap()
}

#[test]
fn bands_of_rows_make_the_same_file_as_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    for (name, depth) in [
        ("a.png", Depth::Eight),
        ("a.png", Depth::Sixteen),
        ("a.tiff", Depth::Float),
        ("a.tif", Depth::Eight),
    ] {
        for (channels, alpha) in [(1, false), (3, true)] {
            let whole = picture(channels, alpha, depth, [37, 19]);
            let path = folder.path().join(name);
            let channels = channels + usize::from(alpha);
            let mut rows = RowWriter::picture(&path, 19, 37, channels, depth).unwrap();
            let mut top = 0;
            for height in [1, 16, 16, 4] {
                rows.write_picture(&band(&whole, top, height)).unwrap();
                top += height;
            }
            assert!(!path.exists(), "a file that is not whole must not be seen");
            rows.finish().unwrap();
            let file = fs::read(&path).unwrap();
            let got = if name == "a.png" { samples(&file) } else { tiff_page(&mut tiff(file)).1 };
            assert_eq!(got, expected(&whole), "{name}, {depth:?}, {channels} channels");
            assert_eq!(files(folder.path()), std::slice::from_ref(&path));
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn class_numbers_are_kept_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, indices: &[u16], colors: usize| {
        let palette: Vec<[u8; 3]> = (0..colors).map(|i| [i as u8, 7, (i >> 8) as u8]).collect();
        let path = folder.path().join(name);
        let mut rows = RowWriter::indexed(&path, 2, 3, &palette).unwrap();
        rows.write_indices(&indices[..4]).unwrap();
        rows.write_indices(&indices[4..]).unwrap();
        rows.finish().unwrap();
        fs::read(path).unwrap()
    };
    let few = write("a.png", &[0, 1, 255, 3, 2, 9], 256);
    let mut reader = png::Decoder::new(Cursor::new(&few)).read_info().unwrap();
    assert_eq!(reader.info().color_type, png::ColorType::Indexed);
    assert_eq!(reader.info().palette.as_ref().unwrap()[9 * 3..][..3], [9, 7, 0]);
    let mut indices = vec![0; 6];
    reader.next_frame(&mut indices).unwrap();
    assert_eq!(indices, [0, 1, 255, 3, 2, 9]);

    let many = [0, 1, 65535, 256, 300, 2];
    let got = image::load_from_memory(&write("b.png", &many, 65536)).unwrap();
    assert_eq!(got.as_luma16().unwrap().as_raw(), &many);
    for (colors, indices) in [(65536, many), (10, [9, 1, 2, 3, 4, 5])] {
        let mut file = tiff(write("a.tif", &indices, colors));
        assert_eq!(file.colortype().unwrap(), tiff::ColorType::Gray(if colors > 256 { 16 } else { 8 }));
        assert_eq!(tiff_page(&mut file).1, indices.map(f64::from));
    }
}

#[test]
fn pages_may_differ() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.tif");
    let pages = [
        picture(1, false, Depth::Eight, [3, 5]),
        picture(3, true, Depth::Float, [2, 2]),
        picture(3, false, Depth::Sixteen, [400, 700]),
    ];
    let mut stack = PageWriter::create(&path).unwrap();
    for page in &pages {
        stack.push(page).unwrap();
    }
    stack.push_indices(2, 2, &[3, 2, 1, 0], &[[0; 3]; 4]).unwrap();
    assert!(stack.push_indices(2, 2, &[3, 2, 1, 4], &[[0; 3]; 4]).is_err());
    assert!(stack.push_indices(2, 2, &[3, 2, 1], &[[0; 3]; 4]).is_err());
    assert!(!path.exists());
    stack.finish().unwrap();

    let mut file = tiff(fs::read(&path).unwrap());
    for page in &pages {
        let size = (page.width() as u32, page.height() as u32);
        assert_eq!(tiff_page(&mut file), (size, expected(page)));
        file.next_image().unwrap();
    }
    assert_eq!(tiff_page(&mut file), ((2, 2), vec![3.0, 2.0, 1.0, 0.0]));
    assert!(!file.more_images());

    let empty = PageWriter::create(&path).unwrap().finish().unwrap_err();
    assert!(empty.to_string().contains("no page"), "{empty}");
    assert!(PageWriter::create(&folder.path().join("a.png")).is_err());
    assert_eq!(files(folder.path()), [path]);
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    fn send<T: Send>(_: &T) {}
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let small = picture(1, false, Depth::Eight, [2, 4]);
    let mut rows = RowWriter::picture(&path, 4, 3, 1, Depth::Eight).unwrap();
    send(&rows);
    for wrong in [
        picture(1, false, Depth::Eight, [2, 5]),
        picture(3, false, Depth::Eight, [2, 4]),
        picture(1, true, Depth::Eight, [2, 4]),
        picture(1, false, Depth::Eight, [4, 4]),
    ] {
        let error = rows.write_picture(&wrong).unwrap_err().to_string();
        assert!(error.contains("at most 3 rows of 4 pixels") && !error.contains('\n'), "{error}");
    }
    assert!(rows.write_indices(&[0; 4]).is_err());
    rows.write_picture(&small).unwrap();
    assert!(rows.write_picture(&small).unwrap_err().to_string().contains("at most 1 rows"));
    assert!(rows.finish().unwrap_err().to_string().contains("expected 3 rows, got 2"));
    assert!(files(folder.path()).is_empty());

    let mut rows = RowWriter::indexed(&path, 2, 2, &[[1, 2, 3]; 2]).unwrap();
    for wrong in [[0, 2].as_slice(), &[0; 3], &[0; 6]] {
        assert!(rows.write_indices(wrong).is_err(), "{wrong:?}");
    }
    assert!(rows.write_picture(&small).is_err());
    drop(rows);
    assert!(files(folder.path()).is_empty());

    for (name, width, channels) in
        [("a.jpg", 4, 1), ("a.png", 0, 1), ("a.png", 4, 5), ("a.tif", usize::MAX, 1)]
    {
        let refused = RowWriter::picture(&folder.path().join(name), width, 3, channels, Depth::Eight).err();
        assert!(matches!(refused, Some(Error::Picture { .. })), "{name} {width} {channels}");
    }
    assert!(RowWriter::indexed(&path, 2, 2, &[]).is_err());
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_folder_that_vanishes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "a.tif"] {
        let inside = folder.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let path = inside.join(name);
        let mut rows = RowWriter::picture(&path, 4, 2, 1, Depth::Eight).unwrap();
        rows.write_picture(&picture(1, false, Depth::Eight, [2, 4])).unwrap();
        if fs::remove_dir_all(&inside).is_err() {
            return; // a system that keeps what is open
        }
        let error = rows.finish().unwrap_err();
        assert!(matches!(&error, Error::Io { path: at, .. } if *at == path), "{error}");
    }
}

#[test]
fn leftovers_of_killed_runs_are_named_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let left = folder.path().join(format!(".a.png.{}.tmp", std::process::id()));
    fs::write(&left, "half").unwrap();
    let error = RowWriter::picture(&path, 4, 2, 1, Depth::Eight).err().unwrap().to_string();
    assert!(error.contains(".tmp") && error.contains("killed") && !error.contains('\n'), "{error}");

    // No system has so many processes.
    fs::write(folder.path().join(".a.png.4294967295.tmp"), "half").unwrap();
    let others = [".a.png.tmp", ".a.png.x1.tmp", ".b.png.1.tmp", "a.png.1.tmp", ".a.png.1.tmp.png"];
    for other in others {
        fs::write(folder.path().join(other), "mine").unwrap();
    }
    remove_temporary_files([path.as_path()]).unwrap();
    let mut kept: Vec<String> =
        files(folder.path()).iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
    kept.sort();
    let mut others = others.to_vec();
    others.sort_unstable();
    assert_eq!(kept, others);
    remove_temporary_files([folder.path().join("nowhere/a.png").as_path()]).unwrap();
}
