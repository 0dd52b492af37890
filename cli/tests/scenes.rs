//! Masks of many classes: legends, label maps, references; and cut-outs over new backgrounds.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::desk::{Desk, Parts, small, stderr};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use unet_wgpu::image::{Depth, FrameReader, PageWriter, Pages, Picture};
use unet_wgpu::recipe::{Class, Decode, OutputRecipe, Recipe};
use unet_wgpu::{Shape, Tensor};

const WATER: [u8; 3] = [40, 90, 220];
const ROAD: [u8; 3] = [150, 80, 160];

/// Networks that return their input. `land.safetensors` makes a class of each colour: red is water, green is road,
/// blue is unlabeled. `matte.safetensors` takes grey for probabilities. `labels.safetensors` takes red, green and blue
/// for labels that overlap.
fn desk() -> Desk {
    let desk = Desk::new();
    let class = |name: &str, color| Class { name: name.into(), color };
    let land = [class("water", Some(WATER)), class("road", Some(ROAD)), class("unlabeled", None)];
    let hands = [class("hand", None), class("ring", None), class("tool", None)];
    for (name, channels, decode, classes) in [
        ("land", 3, Decode::Mask, &land[..]),
        ("matte", 1, Decode::Mask, &[]),
        ("labels", 3, Decode::Labels, &hands),
    ] {
        let output = OutputRecipe::default().with_decode(Some(decode)).with_classes(classes);
        let recipe = Recipe::default().with_output(output);
        desk.put(&format!("{name}.safetensors"), &Parts::new(&small(channels), &recipe, None).bytes());
    }
    desk
}

fn put(desk: &Desk, name: &str, picture: &Picture) {
    let path = desk.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, picture.encode(&path).unwrap()).unwrap();
}

/// Stripes: the upper half red, a quarter green, a quarter blue.
fn stripes(width: usize, height: usize) -> Picture {
    let planes = Tensor::from_fn(Shape::new(1, 3, height, width), |i| {
        let (c, y) = (i / (width * height), i / width % height);
        let stripe = (y >= height / 2) as usize + (y >= height * 3 / 4) as usize;
        if c == stripe { 255.0 } else { 20.0 }
    });
    Picture::new(planes, Depth::Eight).unwrap()
}

/// Grey from black on the left to white on the right.
fn ramp(depth: Depth) -> Picture {
    let planes = Tensor::from_fn(Shape::new(1, 1, 4, 256), |i| (i % 256) as f32);
    Picture::new(planes, depth).unwrap()
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn drawings_have_a_legend_below_them() {
    let desk = desk();
    put(&desk, "a.png", &stripes(400, 60));
    let run = "run a.png -m land.safetensors --device cpu";
    desk.unet(&format!("{run} --overlay o.png --contours k.png --compare c.png"));
    desk.unet(&format!("{run} --overlay plain.png --no-legend"));
    let (drawn, plain) = (desk.picture("o.png"), desk.picture("plain.png"));
    assert_eq!((plain.height(), drawn.width()), (60, 400));
    assert!((80..110).contains(&drawn.height()), "{} rows", drawn.height());
    assert_eq!(drawn.rows(0..60).unwrap().planes(), plain.planes());
    assert!(desk.picture("k.png").height() > 60 && desk.picture("c.png").height() > 60);
    // Both classes, and not the one that is not drawn.
    let legend = drawn.rows(60..drawn.height()).unwrap();
    let has =
        |color: [u8; 3]| (0..legend.height()).any(|y| (0..legend.width()).any(|x| legend.rgb(x, y) == color));
    assert!(has(WATER) && has(ROAD) && has([255; 3]) && !has([0; 3]));
    snapshot("legend", &legend);

    // None below small pictures, below masks of one thing, on the earth, and in sequences.
    put(&desk, "small.png", &stripes(100, 60));
    desk.unet("run small.png -m land.safetensors --device cpu --overlay o.png");
    assert_eq!(desk.picture("o.png").height(), 60);
    put(&desk, "ramp.png", &ramp(Depth::Eight));
    desk.unet("run ramp.png -m matte.safetensors --device cpu --overlay o.png");
    assert_eq!(desk.picture("o.png").height(), 4);
    let mut pages = PageWriter::create(&desk.path("two.tif")).unwrap();
    (0..2).for_each(|_| pages.push(&stripes(400, 60)).unwrap());
    pages.finish().unwrap();
    desk.unet("run two.tif -m land.safetensors --device cpu --overlay o.tiff");
    assert!(Pages::open(&desk.path("o.tiff")).unwrap().all(|page| page.unwrap().height() == 60));
}

/// Compares a picture with the accepted one of that name, as tests/snapshots.rs does.
fn snapshot(name: &str, picture: &Picture) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/snapshots");
    let path = folder.join(format!("{name}.png"));
    if std::env::var_os("UNET_ACCEPT_SNAPSHOTS").is_some_and(|value| value == "1") {
        fs::write(&path, picture.encode(&path).unwrap()).unwrap();
    }
    let want = Picture::open(&path).unwrap();
    assert!(want.planes() == picture.planes(), "{} differs", path.display());
}

#[test]
fn a_legend_of_many_classes_has_room_for_the_largest() {
    let desk = Desk::new();
    // 60 classes of grey, in which no class has a name.
    let recipe = Recipe::default().with_output(OutputRecipe::default().with_decode(Some(Decode::Classes)));
    let recipe = recipe.with_input(unet_wgpu::recipe::InputRecipe::default().with_scale(1.0));
    desk.put("numbers.safetensors", &Parts::new(&small(1), &recipe, None).bytes());
    let planes = Tensor::from_fn(Shape::new(1, 1, 60, 300), |i| (i / 300) as f32);
    put(&desk, "a.png", &Picture::new(planes, Depth::Eight).unwrap());
    desk.unet("run a.png -m numbers.safetensors --device cpu --overlay o.png");
    let drawn = desk.picture("o.png");
    assert!((120..=60 + 150 + 16).contains(&drawn.height()), "{} rows", drawn.height());
    desk.unet("run a.png -m numbers.safetensors --device cpu --labels numbers.png");
    let classes = desk.picture("numbers.png");
    assert_eq!((classes.width(), classes.height()), (300, 60));
}

#[test]
fn label_maps_have_numbers_and_a_list_of_names() {
    let desk = desk();
    put(&desk, "a.png", &stripes(8, 8));
    let run = "-m land.safetensors --device cpu";
    let told = stderr(&desk.unet(&format!("run a.png --labels l.png {run}")));
    assert!(told.contains("labelmap.txt"), "{told}");
    let list = "water:40,90,220::\nroad:150,80,160::\nunlabeled:0,0,0::\n";
    assert_eq!(fs::read_to_string(desk.path("labelmap.txt")).unwrap(), list);
    let bytes = fs::read(desk.path("l.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    assert_eq!(reader.info().color_type, png::ColorType::Indexed);
    assert_eq!(reader.info().palette.as_deref(), Some([WATER, ROAD, [0; 3]].concat().as_slice()));
    let mut indices = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut indices).unwrap();
    assert_eq!([0, 3, 4, 5, 6, 7].map(|row| indices[8 * row]), [0, 0, 1, 1, 2, 2]);

    // A folder, also as TIFF; the list is that of the folder.
    put(&desk, "in/a.png", &stripes(8, 8));
    put(&desk, "in/b.tif", &stripes(8, 4));
    desk.unet(&format!("run in --labels maps --overlay over {run}"));
    assert_eq!(fs::read_to_string(desk.path("maps/labelmap.txt")).unwrap(), list);
    assert_eq!(fs::read(desk.path("maps/a.png")).unwrap(), bytes);
    assert_eq!(desk.picture("maps/b.tiff").planes().data()[3 * 8], 2.0);
    // A pipe has no folder for a list.
    fs::remove_file(desk.path("labelmap.txt")).unwrap();
    let out = through(&desk, &format!("run - --labels - {run}"), &fs::read(desk.path("a.png")).unwrap());
    assert!(out == bytes && !desk.path("labelmap.txt").exists());

    // Another list is not replaced.
    desk.put("labelmap.txt", b"background:0,0,0::\n");
    let other = format!("run a.png --labels m.png {run}");
    desk.refuses(&other, &["labelmap.txt", "--labels", "--overwrite"]);
    desk.unet(&format!("{other} --overwrite"));
    assert_eq!(fs::read_to_string(desk.path("labelmap.txt")).unwrap(), list);
    for (line, parts) in [
        ("run a.png --labels l.jpg -m land.safetensors", ["--labels", ".png or .tiff"]),
        ("run a.png --labels l.png -m same.safetensors", ["--labels", "masks"]),
        ("run a.png --labels l.png -m labels.safetensors", ["--labels", "overlap"]),
    ] {
        desk.refuses(&format!("{line} --device cpu"), &parts);
    }
}

/// Runs a command on bytes that must succeed. Returns standard output.
fn through(desk: &Desk, line: &str, input: &[u8]) -> Vec<u8> {
    let mut command = desk.command(line);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "unet {line}: {}", stderr(&output));
    output.stdout
}

#[test]
fn masks_are_compared_class_by_class_without_void() {
    let desk = desk();
    put(&desk, "in/a.png", &stripes(8, 8));
    put(&desk, "in/b.png", &stripes(8, 4));
    // References in the colours of the classes; half of b's road is void in its own.
    let colored = |height: usize, void: usize| {
        let planes = Tensor::from_fn(Shape::new(1, 3, height, 8), |i| {
            let (c, x, y) = (i / (8 * height), i % 8, i / 8 % height);
            let class = (y >= height / 2) as usize + (y >= height * 3 / 4) as usize;
            let class = if class == 1 && x < void { 2 } else { class };
            f32::from([WATER, ROAD, [0; 3]][class][c])
        });
        Picture::new(planes, Depth::Eight).unwrap()
    };
    put(&desk, "truth/a.png", &colored(8, 0));
    put(&desk, "truth/b.png", &colored(4, 4));
    let run = "-m land.safetensors --device cpu";
    let one = desk.unet(&format!("run in/a.png -o m.png --reference truth/a.png {run} --json"));
    let line = json(&one.stdout);
    assert_eq!((&line["iou"], &line["class_iou"]["road"]), (&1.0.into(), &1.0.into()), "{line}");
    assert!(line["class_iou"].get("unlabeled").is_none(), "{line}");
    let told = String::from_utf8(desk.unet(&format!("run in -o m --reference truth {run}")).stdout).unwrap();
    let table: Vec<&str> = told.lines().collect();
    assert!(table[0] == "2 pictures together:" && table[2].starts_with("water  1.0000"), "{told}");
    assert!(
        told.contains("33.3 % of the reference is void") || told.contains("% of the reference is void"),
        "{told}"
    );
    assert!(!told.contains("unlabeled  "), "{told}");

    let mut wrong = colored(8, 0).planes().clone();
    wrong.data_mut()[9] = 7.0;
    put(&desk, "wrong.png", &Picture::new(wrong, Depth::Eight).unwrap());
    let line = format!("run in/a.png -o new.png --reference wrong.png {run}");
    let output = desk.command(&line).output().unwrap();
    let text = stderr(&output);
    assert!(!output.status.success() && text.contains("colour 7 90 220 at column 1, row 1"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("wrong.png")).count(), 1, "{text}");

    // Water is no background: it has regions by name.
    desk.unet(&format!("run in/a.png --stats s.csv {run}"));
    let csv = fs::read_to_string(desk.path("s.csv")).unwrap();
    assert!(
        csv.contains("0,water,32,50.0000,1,32,0,0,8,4") && csv.contains("2,unlabeled,16,25.0000,,"),
        "{csv}"
    );
    let told = stderr(&desk.unet(&format!("run in/a.png -o m.png {run}")));
    assert!(told.contains("water 50.0 %, road 25.0 %"), "{told}");
}

#[test]
fn whether_class_0_is_the_background_is_said() {
    let desk = desk();
    put(&desk, "a.png", &stripes(8, 8));
    let recipe = |text: &str| desk.put("land.toml", format!("[output]\n{text}\n").as_bytes());
    let inspect = || String::from_utf8(desk.unet("inspect land.safetensors").stdout).unwrap();
    assert!(inspect().contains("output.background unlabeled"), "{}", inspect());
    recipe("classes = [{ name = 'road' }, { name = 'sky' }, { name = 'car' }]");
    assert!(inspect().contains("output.background none"), "{}", inspect());
    let cut = "run a.png --cutout c.png -m land.safetensors --device cpu";
    desk.refuses(cut, &["--cutout", "--keep", "background = \"NAME\""]);
    desk.unet(&format!("{cut} --keep car,1"));
    let alpha = desk.picture("c.png").alpha().unwrap().clone();
    assert!(alpha.data()[0] < 0.5 && alpha.data()[5 * 8] > 0.5, "{:?}", alpha.data());
    desk.refuses(&format!("{cut} --keep boat"), &["class", "boat", "road, sky, car"]);
    desk.unet("run a.png -o m.png --min-area 20 -m land.safetensors --device cpu");
    assert_eq!(desk.picture("m.png").rgb(0, 7), desk.picture("m.png").rgb(0, 0), "what surrounds it");
    recipe("classes = [{ name = 'road' }, { name = 'sky' }, { name = 'car' }]\nbackground = 'sky'");
    desk.unet(cut);
    let alpha = desk.picture("c.png").alpha().unwrap().clone();
    assert!(alpha.data()[0] > 0.6 && alpha.data()[5 * 8] < 0.5, "{:?}", alpha.data());
    recipe("background = 'sea'");
    desk.refuses(cut, &["output.background", "water, road, unlabeled", "sea"]);
    // Without names, class 0 is taken for it, and a line says so once.
    desk.put("land.toml", b"[output]\nclasses = []\n");
    put(&desk, "in/a.png", &stripes(8, 8));
    put(&desk, "in/b.png", &stripes(8, 8));
    let told = stderr(&desk.unet("run in --stats s -m land.safetensors --device cpu"));
    assert_eq!(told.matches("class 0 is taken for the background").count(), 1, "{told}");
}

#[test]
fn cutouts_lie_over_colours_and_pictures() {
    let desk = desk();
    let run = "-m matte.safetensors --device cpu";
    for (name, depth) in [("eight.png", Depth::Eight), ("sixteen.png", Depth::Sixteen)] {
        put(&desk, name, &ramp(depth));
        desk.unet(&format!("run {name} --cutout c.png {run}"));
        let cut = desk.picture("c.png");
        assert_eq!(cut.depth(), depth);
        // The whole range: what is below the threshold is not lost.
        let alpha = cut.alpha().unwrap().data();
        assert!((0..256).all(|x| (alpha[x] - x as f32 / 255.0).abs() < 1e-4), "{name}");
        for color in ["white", "#fff", "#ffffff", "WHITE"] {
            desk.unet(&format!("run {name} --cutout o.png --background {color} {run}"));
            let over = desk.picture("o.png");
            assert_eq!(
                (over.depth(), over.alpha(), over.rgb(0, 0)),
                (depth, None, [255; 3]),
                "{name} {color}"
            );
        }
    }
    let red = Tensor::from_fn(Shape::new(1, 3, 5, 9), |i| if i < 45 { 220.0 } else { 30.0 });
    put(&desk, "behind.png", &Picture::new(red, Depth::Eight).unwrap());
    desk.unet(&format!("run eight.png --cutout o.jpg --background behind.png {run}"));
    let [r, g, b] = desk.picture("o.jpg").rgb(0, 2);
    assert!(r > 200 && g < 60 && b < 60, "{r} {g} {b}");
    // Folders and pipes give the same.
    put(&desk, "in/a.png", &ramp(Depth::Eight));
    put(&desk, "in/b.png", &ramp(Depth::Sixteen));
    desk.unet(&format!("run in --cutout out --background teal {run}"));
    desk.unet(&format!("run eight.png --cutout one.png --background teal {run}"));
    let one = fs::read(desk.path("one.png")).unwrap();
    assert_eq!(fs::read(desk.path("out/a.png")).unwrap(), one);
    assert_eq!(desk.picture("out/b.png").rgb(0, 0), [0, 128, 128]);
    let bytes = fs::read(desk.path("eight.png")).unwrap();
    assert_eq!(through(&desk, &format!("run - --cutout - --background #008080 {run}"), &bytes), one);
    // Frames of a video.
    let mut video = b"YUV4MPEG2 W16 H8 F25:1 Ip A1:1 Cmono\n".to_vec();
    for shade in [0u8, 126, 255] {
        video.extend(b"FRAME\n");
        video.extend([shade; 128]);
    }
    let out = through(&desk, &format!("run - --cutout - --background white {run}"), &video);
    let frames: Vec<Picture> =
        FrameReader::new(out.as_slice(), None, None).unwrap().map(Result::unwrap).collect();
    // The middle one is 126 * 126/255 + 255 * 129/255.
    assert_eq!(frames.iter().map(|frame| frame.rgb(3, 3)[0]).collect::<Vec<_>>(), [255, 191, 255]);

    desk.put("in.y4m", &video);
    for (line, parts) in [
        ("run eight.png --cutout o2.png --background nowhere.jpg", ["nowhere.jpg", "colour"]),
        ("run eight.png --cutout o2.png --background #12345", ["#12345", "colour"]),
        ("run eight.png --cutout o2.png --background transparent", ["transparent", "opaque"]),
        ("run eight.png --cutout o2.png --background land.safetensors", ["land.safetensors", "picture"]),
        ("run eight.png --cutout o2.jpg", ["--cutout", "transparent"]),
        ("run in.y4m --cutout o2.y4m", ["o2.y4m", "--background"]),
        ("run in.y4m --labels o2.y4m", ["o2.y4m", ".tiff"]),
    ] {
        desk.refuses(&format!("{line} {run}"), &parts);
    }
    let output = desk.command(&format!("run eight.png -o o.png --background white {run}")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn labels_that_overlap_go_through_stacks_and_not_through_frames() {
    let desk = desk();
    let run = "-m labels.safetensors --device cpu";
    let mut pages = PageWriter::create(&desk.path("two.tif")).unwrap();
    [stripes(8, 8), stripes(8, 4)].iter().for_each(|page| pages.push(page).unwrap());
    pages.finish().unwrap();
    desk.unet(&format!("run two.tif -o m.tiff --overlay o.tiff {run}"));
    let masks: Vec<Picture> = Pages::open(&desk.path("m.tiff")).unwrap().map(Result::unwrap).collect();
    assert_eq!(
        masks.iter().map(Picture::height).collect::<Vec<_>>(),
        [8, 8, 8, 4, 4, 4],
        "a page for each label"
    );
    let rows = |page: &Picture| page.planes().data().iter().step_by(8).copied().collect::<Vec<_>>();
    assert_eq!([rows(&masks[3]), rows(&masks[5])], [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    assert_eq!(Pages::open(&desk.path("o.tiff")).unwrap().count(), 2);

    let mut video = b"YUV4MPEG2 W16 H8 F25:1 Ip A1:1 C444\nFRAME\n".to_vec();
    video.extend([128; 3 * 128]);
    desk.put("in.y4m", &video);
    desk.refuses(&format!("run in.y4m -o o.y4m {run}"), &["o.y4m", "overlap", ".tiff", "--overlay"]);
    desk.unet(&format!("run in.y4m --overlay o.y4m -o pages.tiff {run}"));
    assert_eq!(Pages::open(&desk.path("pages.tiff")).unwrap().count(), 3);
}
