//! Pictures as people have them: formats that are not read, animations, several files, bands, missing values, and results
//! beside their inputs.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::desk::{Desk, Parts, small, stderr};
use crate::fixtures::{decoding, noise};
use std::fs;
use std::path::Path;
use unet_wgpu::image::{Depth, Pages, Picture, read_npy};
use unet_wgpu::recipe::Decode;
use unet_wgpu::{Shape, Tensor};

/// Networks that return their input, of 1, 2, 4 and 6 channels.
fn desk() -> Desk {
    let desk = Desk::new();
    for (name, channels, decode) in [
        ("grey", 1, Decode::Image),
        ("two", 2, Decode::Mask),
        ("four", 4, Decode::Mask),
        ("six", 6, Decode::Mask),
    ] {
        desk.put(
            &format!("{name}.safetensors"),
            &Parts::new(&small(channels), &decoding(decode), None).bytes(),
        );
    }
    desk
}

fn put(desk: &Desk, name: &str, picture: &Picture) {
    let path = desk.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, picture.encode(&path).unwrap()).unwrap();
}

/// Values of a grey picture in steps of 8 bits.
fn grey(values: [f32; 6]) -> Picture {
    Picture::new(Tensor::new(Shape::new(1, 1, 2, 3), values.to_vec()).unwrap(), Depth::Eight).unwrap()
}

#[test]
fn files_of_other_formats_are_named_on_one_line() {
    let desk = desk();
    let mut dicom = vec![0; 200];
    dicom[128..132].copy_from_slice(b"DICM");
    for (name, bytes, parts) in [
        ("IMG_0001.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(), ["HEIC", "heif-convert"]),
        ("a.jpg", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf".to_vec(), ["AVIF", "avifdec"]),
        ("a.jxl", b"\xff\x0a\xfa\x1f".to_vec(), ["JPEG XL", "djxl"]),
        ("a.cr2", b"II*\0\x10\0\0\0CR\x02\0".to_vec(), ["camera raw", "darktable-cli"]),
        ("a.nef", b"MM\0*\0\0\0\x08\0\0\0\0\0\0".to_vec(), ["camera raw", "darktable-cli"]),
        ("a.dcm", dicom, ["DICOM", "dcm2niix"]),
        ("clip.mp4", b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41".to_vec(), ["video", "ffmpeg"]),
        ("a.svg", b"<?xml version='1.0'?><svg/>".to_vec(), ["SVG", "rsvg-convert"]),
        ("a.png", b"<!DOCTYPE html><html>".to_vec(), ["web page", "download"]),
        ("b.png", b"version https://git-lfs.github.com/spec/v1".to_vec(), ["LFS", "git lfs pull"]),
        ("c.png", Vec::new(), ["empty", "copy"]),
    ] {
        desk.put(name, &bytes);
        desk.refuses(
            &format!("run {name} -m same.safetensors -o o.png --device cpu"),
            &[name, parts[0], parts[1]],
        );
        fs::remove_file(desk.path(name)).unwrap();
    }
}

#[test]
fn pictures_of_a_folder_that_are_not_read_are_told() {
    let desk = desk();
    put(&desk, "in/a.png", &noise(3, [4, 6], Depth::Eight, 1));
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".as_slice();
    desk.put("in/IMG_1.HEIC", heic);
    desk.put("in/IMG_2.HEIC", heic);
    let text = stderr(&desk.unet("run in -m same.safetensors -o out --device cpu"));
    assert!(
        text.contains("IMG_1.HEIC") && text.contains("heif-convert") && text.contains("2 such files"),
        "{text}"
    );
    assert_eq!(fs::read_dir(desk.path("out")).unwrap().count(), 1);
    fs::remove_file(desk.path("in/a.png")).unwrap();
    desk.refuses(
        "run in -m same.safetensors -o out --device cpu",
        &["no pictures", "IMG_1.HEIC", "heif-convert"],
    );
}

#[test]
fn the_first_frame_or_all_frames_of_an_animation() {
    let desk = desk();
    // Two frames of 2x1 pixels: black and white, then white and black.
    let frame = |data: u8| {
        [b"!\xf9\x04\0\0\0\0\0,\0\0\0\0\x02\0\x01\0\0\x02\x02".as_slice(), &[data, 0x0a, 0]].concat()
    };
    let head = b"GIF89a\x02\0\x01\0\x80\0\0\0\0\0\xff\xff\xff".as_slice();
    desk.put("a.gif", &[head, &frame(0x44), &frame(0x0c), b";"].concat());
    let text = stderr(&desk.unet("run a.gif -m same.safetensors -o o.png --device cpu"));
    assert!(text.contains("2 frames"), "{text}");
    assert_eq!([0, 1].map(|x| desk.picture("o.png").rgb(x, 0)), [[0; 3], [255; 3]]);
    desk.unet("run a.gif -m same.safetensors -o o.tiff --device cpu");
    let pages: Vec<Picture> = Pages::open(&desk.path("o.tiff")).unwrap().map(Result::unwrap).collect();
    let rows: Vec<[[u8; 3]; 2]> = pages.iter().map(|page| [0, 1].map(|x| page.rgb(x, 0))).collect();
    assert_eq!(rows, [[[0; 3], [255; 3]], [[255; 3], [0; 3]]]);
    fs::create_dir(desk.path("in")).unwrap();
    fs::rename(desk.path("a.gif"), desk.path("in/a.gif")).unwrap();
    desk.unet("run in -m same.safetensors -o out --device cpu");
    assert_eq!(Picture::open(&desk.path("out/a.png")).unwrap().rgb(1, 0), [255; 3]);
}

#[test]
fn a_picture_of_one_pixel_is_a_picture() {
    let desk = Desk::new();
    desk.put("same.safetensors", &Parts::new(&small(3), &Default::default(), None).bytes());
    put(
        &desk,
        "dot.png",
        &Picture::new(Tensor::new(Shape::new(1, 3, 1, 1), vec![1.0, 2.0, 3.0]).unwrap(), Depth::Eight)
            .unwrap(),
    );
    desk.unet("run dot.png -m same.safetensors -o o.png --device cpu");
    assert_eq!(desk.picture("o.png").rgb(0, 0), [1, 2, 3]);
}

#[test]
fn files_of_a_case_are_its_channels() {
    let desk = desk();
    let (a, b) = (grey([0.0, 10.0, 20.0, 30.0, 40.0, 50.0]), grey([50.0, 40.0, 30.0, 20.0, 10.0, 0.0]));
    for (case, first, second) in [("liver_7", &a, &b), ("x", &b, &a)] {
        put(&desk, &format!("in/{case}_0000.png"), first);
        put(&desk, &format!("in/{case}_0001.png"), second);
    }
    desk.unet("run in -m two.safetensors -o out --device cpu");
    let mut names: Vec<_> = fs::read_dir(desk.path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["liver_7.png", "x.png"]);
    desk.unet("run in/liver_7_0000.png -m two.safetensors -o one.npy --device cpu");
    let numbers = read_npy(&desk.path("one.npy")).unwrap();
    for (c, picture) in [&a, &b].into_iter().enumerate() {
        let want = picture.planes().data().iter().map(|v| v / 255.0);
        assert!(numbers.plane(0, c).iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6));
    }
    // Labels have the names of cases.
    put(&desk, "labels/liver_7.png", &desk.picture("out/liver_7.png"));
    put(&desk, "labels/x.png", &desk.picture("out/x.png"));
    let output = desk.unet("run in -m two.safetensors -o out --device cpu --reference labels");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("mean Dice 1.0000") || !output.stdout.is_empty()
    );
    // The missing file is named; a file of another size likewise.
    fs::remove_file(desk.path("in/x_0001.png")).unwrap();
    desk.refuses("run in/x_0000.png -m two.safetensors -o o.png --device cpu", &["x_0001.png"]);
    put(&desk, "in/x_0001.png", &noise(1, [2, 4], Depth::Eight, 1));
    desk.refuses("run in/x_0000.png -m two.safetensors -o o.png --device cpu", &["x_0001.png", "3x2", "4x2"]);
    // Numbered pictures for networks of one or three channels stay apart.
    desk.unet("run in -m grey.safetensors -o apart --device cpu");
    assert_eq!(fs::read_dir(desk.path("apart")).unwrap().count(), 4);
}

#[test]
fn further_files_follow_the_picture() {
    let desk = desk();
    let [color, albedo] = [1, 2].map(|seed| noise(3, [4, 6], Depth::Eight, seed));
    put(&desk, "color.png", &color);
    put(&desk, "albedo.png", &albedo);
    desk.unet("run color.png -m six.safetensors --also albedo=albedo.png -o o.npy --device cpu");
    let numbers = read_npy(&desk.path("o.npy")).unwrap();
    for c in 0..6 {
        let plane = if c < 3 { color.planes().plane(0, c) } else { albedo.planes().plane(0, c - 3) };
        assert!(numbers.plane(0, c).iter().zip(plane).all(|(got, want)| (got - want / 255.0).abs() < 1e-6));
    }
    desk.refuses("run color.png -m six.safetensors -o o.png --device cpu", &["6 channels", "further files"]);
    desk.refuses("run color.png -m six.safetensors --also a=gone.png -o o.png --device cpu", &["gone.png"]);
    put(&desk, "in/color.png", &color);
    put(&desk, "albedos/color.png", &albedo);
    desk.unet("run in -m six.safetensors --also albedo=albedos -o out --format npy --device cpu");
    assert_eq!(read_npy(&desk.path("out/color.npy")).unwrap(), numbers);
}

#[test]
fn bands_are_chosen_by_number() {
    let desk = desk();
    let rgb = noise(3, [4, 6], Depth::Eight, 5);
    let alpha = Tensor::from_fn(Shape::new(1, 1, 4, 6), |i| i as f32 / 255.0);
    put(&desk, "rgba.png", &rgb.with_alpha(Some(alpha)).unwrap());
    let picture = desk.picture("rgba.png");
    let text = stderr(&desk.unet("run rgba.png -m four.safetensors -o o.npy --device cpu"));
    assert!(text.contains("opacity") && text.contains("channel 4"), "{text}");
    desk.unet("run rgba.png -m four.safetensors -o p.npy --bands 4,3,2,1 --device cpu");
    let (o, p) = (read_npy(&desk.path("o.npy")).unwrap(), read_npy(&desk.path("p.npy")).unwrap());
    for c in 0..4 {
        assert_eq!(o.plane(0, c), p.plane(0, 3 - c));
    }
    assert!((o.plane(0, 0)[0] - picture.planes().data()[0] / 255.0).abs() < 1e-6);
    desk.refuses("run rgba.png -m four.safetensors -o o.png --bands 1,2,3,5 --device cpu", &["1 to 4", "5"]);
    desk.refuses("run rgba.png -m four.safetensors -o o.png --bands 1,2 --device cpu", &["4 numbers", "2"]);
    desk.put("four.toml", b"[input]\nbands = [4, 3, 2, 1]\n");
    desk.unet("run rgba.png -m four.safetensors -o q.npy --device cpu");
    assert_eq!(read_npy(&desk.path("q.npy")).unwrap(), p);
    desk.put("four.toml", b"[input]\nbands = [0]\n");
    desk.refuses("run rgba.png -m four.safetensors -o o.png --device cpu", &["bands", "from 1"]);
}

#[test]
fn a_value_that_is_no_number_names_its_file() {
    let desk = desk();
    let values = |i| if i == 8 { f32::NAN } else { 0.25 };
    let picture = Picture::new(Tensor::from_fn(Shape::new(1, 1, 3, 5), values), Depth::Float).unwrap();
    put(&desk, "in/hole.tif", &picture);
    put(&desk, "in/well.tif", &noise(1, [3, 5], Depth::Float, 1));
    let parts = ["hole.tif", "NaN", "column 3, row 1", "nodata = 0"];
    desk.refuses("run in/hole.tif -m grey.safetensors -o o.tif --device cpu", &parts);
    let output = desk.command("run in -m grey.safetensors -o out --device cpu").output().unwrap();
    let text = stderr(&output);
    assert!(!output.status.success() && parts.iter().all(|part| text.contains(part)), "{text}");
    assert!(desk.path("out/well.tiff").is_file() && !desk.path("out/hole.tiff").exists());
    desk.put("grey.toml", b"[input]\nnodata = 0\n");
    desk.unet("run in -m grey.safetensors -o out --device cpu");
    assert_eq!(Picture::open(&desk.path("out/hole.tiff")).unwrap().planes().data()[8], 0.0);
}

#[test]
fn results_never_replace_their_inputs_unasked() {
    let desk = desk();
    put(&desk, "in/a.png", &noise(3, [4, 6], Depth::Eight, 1));
    let before = fs::read(desk.path("in/a.png")).unwrap();
    let parts = ["--overwrite", "input"];
    desk.refuses("run in/a.png -m same.safetensors -o in/../in/a.png --device cpu", &parts);
    desk.refuses("run in -m same.safetensors -o in --device cpu", &parts);
    desk.refuses("run in/a.png -m same.safetensors -o in/ --device cpu", &parts);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(desk.path("in/a.png"), desk.path("link.png")).unwrap();
        desk.refuses("run in/a.png -m same.safetensors -o link.png --device cpu", &parts);
        desk.refuses("run link.png -m same.safetensors -o in/a.png --device cpu", &parts);
        // A link where a result goes is replaced, not followed.
        desk.put("precious.png", b"precious");
        fs::create_dir(desk.path("out")).unwrap();
        std::os::unix::fs::symlink(desk.path("precious.png"), desk.path("out/a.png")).unwrap();
        desk.unet("run in -m same.safetensors -o out --device cpu");
        assert_eq!(fs::read(desk.path("precious.png")).unwrap(), b"precious");
        assert!(!desk.path("out/a.png").is_symlink());
    }
    assert_eq!(fs::read(desk.path("in/a.png")).unwrap(), before);
    desk.unet("run in -m same.safetensors -o in --overwrite --device cpu");
    let text = stderr(&desk.unet("run in/a.png -m same.safetensors -o in/a.png --overwrite --device cpu"));
    assert!(!text.contains("XDG_RUNTIME_DIR"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_have_temporaries_of_their_own() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let desk = desk();
    fs::create_dir(desk.path("in")).unwrap();
    let bytes = noise(3, [4, 6], Depth::Eight, 1).encode(Path::new("a.png")).unwrap();
    for name in [b"a\xff.png".as_slice(), b"a\xfe.png", b"a\xfd.png"] {
        fs::write(desk.path("in").join(OsStr::from_bytes(name)), &bytes).unwrap();
    }
    desk.unet("run in -m same.safetensors -o out --jobs 3:1:3 --device cpu");
    assert_eq!(fs::read_dir(desk.path("out")).unwrap().count(), 3);
}

#[test]
fn no_layer_of_the_driver_writes_to_stderr() {
    let desk = desk();
    let output = desk.command("devices").output().unwrap();
    assert!(!stderr(&output).contains("XDG_RUNTIME_DIR"), "{}", stderr(&output));
}
