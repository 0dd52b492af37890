//! `unet run` with networks that fill holes: masks of files and folders, transparency, pipes, videos, errors.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::desk::{Desk, Parts, stderr};
use crate::fixtures::{decoding, noise};
use std::fs;
use std::process::Stdio;
use unet_wgpu::image::{Depth, FrameReader, PageWriter, Pages, Picture, read_npy, write_npy};
use unet_wgpu::recipe::{Decode, InputRecipe, MaskRecipe};
use unet_wgpu::unet::UnetConfig;
use unet_wgpu::{Shape, Tensor};

const SIZE: [usize; 2] = [20, 24];

fn desk() -> Desk {
    let desk = Desk::new();
    let recipe =
        decoding(Decode::Image).with_input(InputRecipe::default().with_mask(Some(MaskRecipe::default())));
    let fill = Parts::new(&UnetConfig::new(4, 3, &[4], 4, &[4]), &recipe, Some(3));
    desk.put("fill.safetensors", &fill.bytes());
    desk
}

fn put(desk: &Desk, name: &str, picture: &Picture) {
    let path = desk.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, picture.encode(&path).unwrap()).unwrap();
}

/// A mask whose left columns are white.
fn mask(columns: usize) -> Picture {
    let value = |i: usize| if i % SIZE[1] < columns { 255.0 } else { 0.0 };
    Picture::new(Tensor::from_fn(Shape::new(1, 1, SIZE[0], SIZE[1]), value), Depth::Eight).unwrap()
}

/// Whether all pixels right of the first columns are those of the input, and others not.
#[track_caller]
fn assert_filled(input: &Picture, result: &Picture, columns: usize) {
    assert_eq!(input.planes().shape(), result.planes().shape());
    let pairs = input.planes().data().iter().zip(result.planes().data());
    let (hole, known): (Vec<_>, Vec<_>) = pairs.enumerate().partition(|(i, _)| i % SIZE[1] < columns);
    assert!(known.iter().all(|(_, (a, b))| a == b));
    assert!(hole.iter().filter(|(_, (a, b))| a != b).count() > hole.len() / 2);
}

#[test]
fn a_mask_or_transparency_is_filled() {
    let desk = desk();
    let picture = noise(3, SIZE, Depth::Sixteen, 1);
    put(&desk, "in.png", &picture);
    put(&desk, "hole.png", &mask(5));
    let run = "run in.png -m fill.safetensors --device cpu";
    let output =
        desk.unet(&format!("{run} --mask hole.png -o out.png --compare both.png --reference in.png"));
    assert_filled(&picture, &desk.picture("out.png"), 5);
    let figures = String::from_utf8(output.stdout).unwrap();
    assert!(
        figures.contains("hole (20.8 % of the picture): PSNR") && figures.contains("whole picture"),
        "{figures}"
    );
    // The input is shown with a checkerboard where it is unknown.
    assert_eq!(desk.picture("both.png").rgb(0, 0), [102; 3]);

    let alpha =
        Tensor::from_fn(Shape::new(1, 1, SIZE[0], SIZE[1]), |i| f32::from(u8::from(i % SIZE[1] >= 5)));
    put(&desk, "clear.png", &picture.clone().with_alpha(Some(alpha)).unwrap());
    desk.unet("run clear.png -m fill.safetensors --device cpu -o clear_out.png");
    assert_eq!(desk.picture("clear_out.png"), desk.picture("out.png"));

    desk.unet(&format!("{run} --mask hole.png --feather 4 -o soft.png"));
    assert_ne!(desk.picture("soft.png"), desk.picture("out.png"));
    assert_filled(&picture, &desk.picture("soft.png"), 9);
    desk.unet(&format!("{run} --mask hole.png --tta all -o turned.png"));
    assert_filled(&picture, &desk.picture("turned.png"), 5);

    put(&desk, "other.png", &noise(1, [9, 9], Depth::Eight, 1));
    put(&desk, "black.png", &mask(0));
    let mut pages = PageWriter::create(&desk.path("pages.tiff")).unwrap();
    (0..2).for_each(|_| pages.push(&mask(5)).unwrap());
    pages.finish().unwrap();
    for (options, parts) in [
        ("-m fill.safetensors", ["in.png", "--mask", "white is the hole"]),
        ("-m fill.safetensors --mask other.png", ["other.png: --mask: it has 9x9", "in.png", "24x20"]),
        ("-m fill.safetensors --mask pages.tiff", ["pages.tiff", "2 pages", "one picture"]),
        ("-m fill.safetensors --mask black.png", ["black.png", "no hole", "0 of 255"]),
        ("-m fill.safetensors --mask none.png", ["none.png", "No such file", ""]),
        ("-m same.safetensors --mask hole.png", ["--mask", "takes no mask", "[input.mask]"]),
        ("-m same.safetensors --feather 3", ["--feather", "takes no mask", ""]),
    ] {
        desk.refuses(&format!("run in.png {options} -o refused.png --device cpu"), &parts);
    }
    desk.refuses(&format!("{run} --mask hole.png -o hole.png"), &["hole.png", "--out", "--overwrite"]);
    // Numbers: those of the picture where it is known. An array needs a mask too.
    let numbers = |name: &str| read_npy(&desk.path(name)).unwrap();
    desk.unet(&format!("{run} --mask hole.png -o out.npy"));
    let filled = desk.picture("out.png");
    for (number, value) in numbers("out.npy").data().iter().zip(filled.planes().data()) {
        assert!(
            (255.0 * number - value).abs() < 0.01 || !(0.0..1.0).contains(number),
            "{number} and {value}"
        );
    }
    write_npy(&desk.path("in.npy"), picture.planes()).unwrap();
    desk.unet("run in.npy -m fill.safetensors --device cpu --mask hole.png -o again.npy");
    assert_eq!(numbers("again.npy"), numbers("out.npy"));
    desk.refuses("run in.npy -m fill.safetensors --device cpu -o refused.npy", &["in.npy", "--mask"]);

    desk.put("fill.toml", b"[input.mask]\nfills = 0\n");
    desk.refuses(&format!("{run} --mask hole.png -o refused.png"), &["input.mask", "fills", "fill"]);
    desk.put("fill.toml", b"[input.mask]\nfill = \"median\"\n");
    desk.refuses(&format!("{run} --mask hole.png -o refused.png"), &["input.mask", "mean"]);
    // What is not written stays as the file has it.
    desk.put("fill.toml", b"[input.mask]\nfill = \"mean\"\n");
    desk.unet(&format!("{run} --mask hole.png -o mean.png"));
    assert_ne!(desk.picture("mean.png"), desk.picture("out.png"));
    let shown = String::from_utf8(desk.unet("inspect fill.safetensors").stdout).unwrap();
    assert!(
        shown.contains("the last channel is the mask: 1 in the hole, where the picture is the mean"),
        "{shown}"
    );
}

#[test]
fn masks_of_a_folder_have_the_names_of_the_pictures() {
    let desk = desk();
    for (i, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        put(&desk, &format!("in/{name}.png"), &noise(3, SIZE, Depth::Eight, i as u64));
    }
    put(&desk, "in/masks/a.tiff", &mask(4));
    put(&desk, "in/masks/b.png", &mask(6));
    put(&desk, "in/masks/c.bmp", &mask(0));
    let output =
        desk.command("run in -r -m fill.safetensors --mask in/masks -o out --device cpu").output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for (name, columns) in [("a", 4), ("b", 6)] {
        let [input, result] = ["in", "out"].map(|folder| desk.picture(&format!("{folder}/{name}.png")));
        assert_filled(&input, &result, columns);
    }
    assert!(
        text.contains("2 of 4 pictures failed") && text.contains("c.bmp") && text.contains("no hole"),
        "{text}"
    );
    assert!(text.contains("in/d.png: no mask has its name"), "{text}");
    assert_eq!(fs::read_dir(desk.path("out")).unwrap().count(), 2);
    // One mask for all, which is no picture itself.
    put(&desk, "in/hole.png", &mask(3));
    desk.unet("run in -m fill.safetensors --mask in/hole.png -o all --device cpu");
    assert_eq!(fs::read_dir(desk.path("all")).unwrap().count(), 4);
    assert_filled(&desk.picture("in/d.png"), &desk.picture("all/d.png"), 3);
}

#[test]
fn pipes_videos_and_stacks_take_a_mask() {
    let desk = desk();
    put(&desk, "hole.png", &mask(5));
    let picture = noise(3, SIZE, Depth::Eight, 1);
    put(&desk, "in.png", &picture);
    let through = |line: &str, from: &str| {
        let mut command = desk.command(line);
        command.stdin(Stdio::from(fs::File::open(desk.path(from)).unwrap()));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    };
    let line = "run - -m fill.safetensors --mask hole.png -o - --device cpu";
    fs::write(desk.path("out.png"), through(line, "in.png")).unwrap();
    assert_filled(&picture, &desk.picture("out.png"), 5);

    let bytes: Vec<u8> = (0..2 * 3 * SIZE[0] * SIZE[1]).map(|i| (i * 31 % 251) as u8).collect();
    desk.put("in.rgb", &bytes);
    let raw = "--pixel-format rgb24 --frame-size 24x20";
    let out = through(&format!("{line} {raw}"), "in.rgb");
    let frames = |bytes: &[u8]| {
        let format = "rgb24".parse().unwrap();
        let frames =
            FrameReader::new(std::io::Cursor::new(bytes.to_vec()), Some(format), Some((24, 20))).unwrap();
        frames.map(Result::unwrap).collect::<Vec<Picture>>()
    };
    let (before, after) = (frames(&bytes), frames(&out));
    assert_eq!((before.len(), after.len()), (2, 2));
    before.iter().zip(&after).for_each(|(before, after)| assert_filled(before, after, 5));

    let mut stack = PageWriter::create(&desk.path("stack.tiff")).unwrap();
    before.iter().for_each(|page| stack.push(page).unwrap());
    stack.finish().unwrap();
    desk.unet("run stack.tiff -m fill.safetensors --mask hole.png -o filled.tiff --device cpu");
    let filled: Vec<Picture> = Pages::open(&desk.path("filled.tiff")).unwrap().map(Result::unwrap).collect();
    assert_eq!(filled.len(), 2);
    before.iter().zip(&filled).for_each(|(before, after)| assert_filled(before, after, 5));
}
