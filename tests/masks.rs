//! Masks: their files, palettes, components, statistics and scores; similarity of pictures.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use std::path::{Path, PathBuf};
use std::time::Instant;
use unet_wgpu::graph::{Activation, Crop, Graph, Softmax};
use unet_wgpu::image::{Depth, Mask, Palette, Picture, Reference, probabilities, similarity};
use unet_wgpu::recipe::{Class, OutputRecipe, Recipe, Step};
use unet_wgpu::{Error, Model, Random, Shape, Tensor};

/// A mask from its rows, one digit for each pixel, with `count` classes.
fn mask(rows: &[&str], count: usize) -> Mask {
    let classes: Vec<usize> =
        rows.iter().flat_map(|row| row.bytes().map(|b| usize::from(b - b'0'))).collect();
    of_classes(&classes, rows[0].len(), count)
}

fn of_classes(classes: &[usize], width: usize, count: usize) -> Mask {
    let shape = Shape::new(1, count, classes.len() / width, width);
    let one_hot = Tensor::from_fn(shape, |i| f32::from(classes[i % classes.len()] == i / classes.len()));
    Mask::new(&one_hot, &OutputRecipe::default()).unwrap()
}

/// The rows of a mask, one digit for each pixel.
fn rows(mask: &Mask) -> Vec<String> {
    let row = |row: &[u16]| row.iter().map(u16::to_string).collect();
    mask.classes().chunks(mask.width()).map(row).collect()
}

fn gray(width: usize, height: usize, data: &[f32]) -> Picture {
    Picture::new(Tensor::new(Shape::new(1, 1, height, width), data.to_vec()).unwrap(), Depth::Eight).unwrap()
}

fn class(name: &str, color: Option<[u8; 3]>) -> Class {
    Class { name: name.into(), color }
}

/// A folder with one file.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn png(bytes: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(bytes, width, height, color).unwrap();
    file
}

/// A PNG file with these packed samples.
fn raw_png(packed: &[u8], width: u32, height: u32, color: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_palette([9, 9, 9].repeat(1 << depth as usize));
    encoder.write_header().unwrap().write_image_data(packed).unwrap();
    file
}

#[test]
fn results_become_masks_with_names_and_shares() {
    let classes = vec![class("back", None), class("cell", Some([1, 2, 3]))];
    let recipe = OutputRecipe::default().with_threshold(0.44).with_classes(classes);
    let result = Tensor::new(Shape::new(1, 1, 2, 2), vec![0.43, 0.44, 0.45, 0.9]).unwrap();
    let mask = Mask::new(&result, &recipe).unwrap();
    assert_eq!(mask.classes(), [0, 0, 1, 1]);
    assert_eq!(mask.shares(), [("back", 50.0), ("cell", 50.0)]);
    assert_eq!(mask.colors(), [[0, 0, 0], [1, 2, 3]]);

    // Several channels: the largest value, the first if several are equal; PASCAL VOC colours.
    let result = Tensor::new(Shape::new(1, 3, 1, 2), vec![0.0, 1.0, 5.0, 1.0, 4.0, 0.0]).unwrap();
    let mask = Mask::new(&result, &OutputRecipe::default()).unwrap();
    assert_eq!(mask.classes(), [1, 0]);
    assert_eq!(mask.colors(), [[0, 0, 0], [128, 0, 0], [0, 128, 0]]);
    assert_eq!(mask.names(), ["class 0", "class 1", "class 2"]);
    let many = |count| Mask::new(&Tensor::zeros(Shape::new(1, count, 1, 1)), &OutputRecipe::default());
    let colors = many(300).unwrap().colors().to_vec();
    // After the last of 256 colours comes the second, because the first is the background's.
    assert_eq!([colors[20], colors[255], colors[256]], [[0, 64, 128], [224, 224, 192], [128, 0, 0]]);
    assert!(many(65_537).unwrap_err().to_string().contains("65536 classes"));
    assert!(Mask::new(&Tensor::zeros(Shape::new(2, 1, 1, 1)), &OutputRecipe::default()).is_err());
}

#[test]
fn masks_of_few_classes_are_palette_pictures() {
    let classes = vec![class("back", None), class("cell", Some([1, 2, 3]))];
    let recipe = OutputRecipe::default().with_classes(classes);
    let result = Tensor::new(Shape::new(1, 1, 2, 2), vec![0.0, 0.0, 1.0, 1.0]).unwrap();
    let mask = Mask::new(&result, &recipe).unwrap();
    let bytes = mask.encode(Path::new("a.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    assert_eq!(reader.info().color_type, png::ColorType::Indexed);
    assert_eq!(reader.info().palette.as_deref(), Some([0, 0, 0, 1, 2, 3].as_slice()));
    let mut indices = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut indices).unwrap();
    assert_eq!(indices, [0, 0, 1, 1]);

    let tiff = image::load_from_memory(&mask.encode(Path::new("a.tif")).unwrap()).unwrap();
    assert_eq!(tiff.as_luma8().unwrap().as_raw(), &[0, 0, 1, 1]);
    let bmp = Picture::from_bytes(&mask.encode(Path::new("a.bmp")).unwrap(), Path::new("a.bmp")).unwrap();
    assert_eq!(bmp.rgb(0, 1), [1, 2, 3]);
    assert!(mask.encode(Path::new("a.txt")).is_err());
}

#[test]
fn masks_come_back_from_their_files() {
    let mut random = Random::new(5);
    for (count, names) in [(2, ["a.png", "a.tiff", "a.webp"]), (256, ["a.png", "a.tiff", "a.bmp"])] {
        let classes: Vec<usize> = (0..60).map(|_| random.below(count)).collect();
        let mask = of_classes(&classes, 10, count);
        for name in names {
            let (_folder, path) = file(name, &mask.encode(Path::new(name)).unwrap());
            assert_eq!(Reference::open(&path, &mask).unwrap(), Reference::from(&mask), "{name} of {count}");
        }
    }
    let classes: Vec<usize> = (0..600).map(|i| i % 300).collect();
    let mask = of_classes(&classes, 30, 300);
    for name in ["a.png", "a.tiff"] {
        let bytes = mask.encode(Path::new(name)).unwrap();
        let read = image::load_from_memory(&bytes).unwrap();
        assert_eq!(read.as_luma16().unwrap().as_raw()[299], 299, "{name}");
        let (_folder, path) = file(name, &bytes);
        assert_eq!(Reference::open(&path, &mask).unwrap(), Reference::from(&mask), "{name}");
    }
    // The number of the last class is exact in f32.
    let last =
        Mask::new(&Tensor::from_fn(Shape::new(1, 65_536, 1, 1), |i| i as f32), &OutputRecipe::default())
            .unwrap();
    let (_folder, path) = file("a.png", &last.encode(Path::new("a.png")).unwrap());
    assert_eq!(Reference::open(&path, &last).unwrap().classes(), [Some(65_535)]);
}

#[test]
fn references_of_many_kinds_are_read() {
    use png::{BitDepth, ColorType};
    let (two, three) = (mask(&["0110"], 2), mask(&["0120"], 3));
    let open = |bytes: &[u8], like: &Mask| {
        let (_folder, path) = file("a", bytes);
        Reference::open(&path, like).map_err(|e| e.to_string())
    };
    let good = |bytes: &[u8], like: &Mask| assert_eq!(open(bytes, like).unwrap(), Reference::from(like));
    good(&raw_png(&[0b0110_0000], 4, 1, ColorType::Indexed, BitDepth::One), &two);
    good(&raw_png(&[0b0110_0000], 4, 1, ColorType::Grayscale, BitDepth::One), &two);
    good(&raw_png(&[0b0001_1000], 4, 1, ColorType::Indexed, BitDepth::Two), &three);
    good(&raw_png(&[0x01, 0x20], 4, 1, ColorType::Grayscale, BitDepth::Four), &three);
    good(&raw_png(&[0, 1, 2, 0], 4, 1, ColorType::Indexed, BitDepth::Eight), &three);
    good(&raw_png(&[0, 255, 255, 0], 4, 1, ColorType::Indexed, BitDepth::Eight), &two);
    good(&png(&[0, 1, 2, 0], 4, 1, ExtendedColorType::L8), &three);
    good(&png(&[0, 255, 255, 0], 4, 1, ExtendedColorType::L8), &two);
    good(&png(&[0, 0, 255, 255, 255, 255, 0, 0], 4, 1, ExtendedColorType::L16), &two);
    good(&png(&[0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0, 0], 4, 1, ExtendedColorType::Rgb8), &two);
    good(&png(&[0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 0], 4, 1, ExtendedColorType::Rgb8), &three);

    let bad = |bytes: &[u8], like: &Mask, parts: &[&str]| {
        let error = open(bytes, like).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)) && !error.contains('\n'), "{error}");
    };
    bad(&png(&[0, 1, 2, 3], 4, 1, ExtendedColorType::L8), &three, &["value 3 at column 3, row 0", "0 to 2"]);
    bad(&png(&[0, 1, 254, 0], 4, 1, ExtendedColorType::L8), &two, &["value 254 at column 2", "0 to 1"]);
    let void = open(&png(&[0, 1, 255, 0], 4, 1, ExtendedColorType::L8), &two).unwrap();
    assert_eq!(void.classes(), [Some(0), Some(1), None, Some(0)]);
    assert_eq!(two.scores(&void).unwrap().mean_iou(), 1.0, "255 does not count");
    bad(&raw_png(&[7; 4], 4, 1, ColorType::Indexed, BitDepth::Eight), &two, &["value 7 at column 0"]);
    let colors = [0, 0, 0, 128, 1, 0, 0, 128, 0, 0, 0, 0];
    bad(&png(&colors, 4, 1, ExtendedColorType::Rgb8), &three, &["colour 128 1 0 at column 1", "exactly"]);
    for color in [ExtendedColorType::L8, ExtendedColorType::Rgb8] {
        let bytes = png(&[0; 9][..if color == ExtendedColorType::L8 { 3 } else { 9 }], 3, 1, color);
        bad(&bytes, &two, &["expected a mask of 4x1 pixels, got 3x1"]);
    }
    let mut huge = Vec::new();
    let mut encoder = png::Encoder::new(&mut huge, 65_535, 65_535);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    encoder.write_header().unwrap().write_chunk(png::chunk::IDAT, b"\x78\x9c").unwrap();
    bad(&huge, &two, &["got 65535x65535"]);
    let whole = raw_png(&[0, 1, 2, 0], 4, 1, ColorType::Indexed, BitDepth::Eight);
    for end in 0..whole.len() - 12 {
        assert!(open(&whole[..end], &three).is_err(), "cut at {end}");
    }
    let missing = Reference::open(Path::new("no such file.png"), &two);
    assert!(matches!(missing, Err(Error::Io { .. })));
}

#[test]
fn palettes_colour_classes() {
    let colors = |name: &str, classes: &[usize]| {
        let palette = Palette::open(name).unwrap();
        classes.iter().map(|&class| palette.color(class)).collect::<Vec<_>>()
    };
    assert_eq!(colors("voc", &[0, 1, 15]), [[0, 0, 0], [128, 0, 0], [192, 128, 128]]);
    assert_eq!(
        colors("cityscapes", &[0, 18, 19]),
        [[128, 64, 128], [119, 11, 32], [128, 64, 128]],
        "from the first on, which is no background"
    );
    assert_eq!(colors("tab20", &[0, 1, 20, 21]), [[0; 3], [31, 119, 180], [158, 218, 229], [31, 119, 180]]);

    let text = "# my classes\n\n#000000 nothing\r\n#FF8000 left lung\n 1  2\t3   a b \n255 255 255\n";
    let (_folder, path) = file("own.txt", text.as_bytes());
    let own = Palette::open(path.to_str().unwrap()).unwrap();
    let entry = |class| (own.color(class), own.name(class));
    assert_eq!(entry(0), ([0; 3], Some("nothing")));
    assert_eq!(entry(1), ([255, 128, 0], Some("left lung")));
    assert_eq!(entry(2), ([1, 2, 3], Some("a b")));
    assert_eq!([entry(3), entry(4)], [([255; 3], None), ([255, 128, 0], None)]);

    let gimp = "GIMP Palette\nName: mine\nColumns: 4\n#any\n  0   0   0\tback\n255   0   0\tUntitled\n";
    let (_folder, path) = file("own.gpl", gimp.as_bytes());
    let palette = Palette::open(path.to_str().unwrap()).unwrap();
    assert_eq!((palette.name(0), palette.name(1), palette.color(1)), (Some("back"), None, [255, 0, 0]));

    // Colours are the palette's, names only where the recipe has none.
    let recipe = OutputRecipe::default().with_classes(vec![class("back", Some([7; 3]))]);
    let mask = Mask::new(&Tensor::zeros(Shape::new(1, 4, 1, 1)), &recipe).unwrap().with_palette(&own);
    assert_eq!(mask.colors()[..2], [[0; 3], [255, 128, 0]]);
    assert_eq!(mask.names(), ["back", "left lung", "a b", "class 3"]);
}

#[test]
fn palettes_that_make_no_sense_are_refused_by_line() {
    for (text, part) in [
        ("#000000\n#12345", "line 2"),
        ("1 2", "line 1"),
        ("1 2 256 name", "line 1"),
        ("0 0 0\n\n1 2 -3", "line 3"),
        ("#12345g", "line 1"),
        ("#+12345", "line 1"),
        ("Name: mine\n1 2 3", "line 1"),
        ("# nothing else\n", "no colour"),
        ("", "no colour"),
    ] {
        let (_folder, path) = file("bad", text.as_bytes());
        let error = Palette::open(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{text:?}: {error}");
    }
    let (_folder, path) = file("bad", &[b'1', 0xff]);
    assert!(Palette::open(path.to_str().unwrap()).unwrap_err().to_string().contains("UTF-8"));
    assert!(Palette::open("no such").unwrap_err().to_string().contains("voc, cityscapes and tab20"));
}

#[test]
fn components_touch_at_sides_and_corners() {
    let mask = mask(&["1100200", "0010020", "1000002", "1101110"], 3);
    let components = mask.components();
    let found: Vec<_> = components
        .list()
        .iter()
        .map(|c| (c.class, c.area, [c.x, c.y, c.width, c.height], c.center))
        .collect();
    assert_eq!(
        found,
        [
            (1, 3, [0, 0, 3, 2], [1.0, 1.0 / 3.0]),
            (2, 3, [4, 0, 3, 3], [5.0, 1.0]),
            (1, 3, [0, 2, 2, 2], [1.0 / 3.0, 8.0 / 3.0]),
            (1, 3, [3, 3, 3, 1], [4.0, 3.0]),
        ]
    );
    // Runs that end at the same column touch the next ones at a corner, in both directions.
    for rows in [["1122", "2211"], ["1221", "2112"]] {
        assert_eq!(self::mask(&rows, 3).components().list().len(), 2, "{rows:?}");
    }
}

/// Class, pixels and bounds (left, top, right, bottom) of every component, found by flood fill.
fn flooded(mask: &Mask) -> Vec<(u16, usize, [usize; 4])> {
    let (w, h) = (mask.width(), mask.height());
    let mut seen = vec![false; w * h];
    let mut found = Vec::new();
    for start in 0..w * h {
        let class = mask.classes()[start];
        let mut open = vec![start];
        let (mut area, mut bounds) = (0, [usize::MAX, usize::MAX, 0, 0]);
        while let Some(i) = open.pop() {
            if class == 0 || mask.classes()[i] != class || std::mem::replace(&mut seen[i], true) {
                continue;
            }
            let (x, y) = (i % w, i / w);
            area += 1;
            bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
            for y in y.saturating_sub(1)..(y + 2).min(h) {
                open.extend((x.saturating_sub(1)..(x + 2).min(w)).map(|x| y * w + x));
            }
        }
        if area > 0 {
            found.push((class, area, bounds));
        }
    }
    found
}

#[test]
fn components_are_those_of_a_flood_fill() {
    let mut random = Random::new(11);
    for round in 0..400 {
        let (w, h) = (1 + random.below(40), 1 + random.below(40));
        let (count, empty) = (2 + random.below(5), random.below(100));
        let classes: Vec<usize> = (0..w * h)
            .map(|_| if random.below(100) < empty { 0 } else { 1 + random.below(count - 1) })
            .collect();
        let mask = of_classes(&classes, w, count);
        let components = mask.components();
        let list = components.list().iter();
        let got: Vec<_> =
            list.map(|c| (c.class, c.area, [c.x, c.y, c.x + c.width - 1, c.y + c.height - 1])).collect();
        let want = flooded(&mask);
        assert_eq!(got, want, "round {round}: {w}x{h} pixels, {count} classes");

        let mut kept = mask.clone();
        kept.keep_largest();
        for class in 1..count as u16 {
            let of_class = |list: &[(u16, usize, [usize; 4])]| -> Vec<usize> {
                list.iter().filter(|c| c.0 == class).map(|c| c.1).collect()
            };
            let largest = of_class(&want).into_iter().max();
            assert_eq!(of_class(&flooded(&kept)), Vec::from_iter(largest), "round {round}, class {class}");
        }
        let min_area = random.below(8);
        let mut kept = mask.clone();
        kept.remove_small(min_area);
        let want: Vec<_> = want.into_iter().filter(|component| component.1 >= min_area).collect();
        assert_eq!(flooded(&kept), want, "round {round}: components of {min_area} pixels or more");
    }
}

#[test]
fn small_components_become_background() {
    let drawn = mask(&["110002", "000022", "101110", "001012"], 3);
    let mut largest = drawn.clone();
    largest.keep_largest();
    assert_eq!(rows(&largest), ["000002", "000022", "001110", "001010"]);
    let mut large = drawn.clone();
    large.remove_small(3);
    assert_eq!(rows(&large), ["000002", "000022", "001110", "001010"]);
    large.remove_small(4);
    assert_eq!(rows(&large), ["000000", "000000", "001110", "001010"]);
    // The first of equal ones.
    let mut equal = mask(&["1010"], 2);
    equal.keep_largest();
    assert_eq!(rows(&equal), ["1000"]);
}

#[test]
fn statistics_are_tables() {
    let classes = vec![class("background", None), class("car, \"red\"", None)];
    let recipe = OutputRecipe::default().with_classes(classes);
    let drawn = mask(&["100", "011", "100"], 3);
    let one_hot =
        Tensor::from_fn(Shape::new(1, 3, 3, 3), |i| f32::from(usize::from(drawn.classes()[i % 9]) == i / 9));
    let statistics = Mask::new(&one_hot, &recipe).unwrap().statistics();
    assert_eq!(
        statistics.to_csv(),
        "class,name,pixels,percent,component,area,x,y,width,height,center_x,center_y\n\
         0,background,5,55.5556,,,,,,,,\n\
         1,\"car, \"\"red\"\"\",4,44.4444,1,4,0,0,3,3,0.75,1.00\n\
         2,class 2,0,0.0000,,,,,,,,\n"
    );
    let statistics = mask(&["1011"], 2).statistics();
    assert_eq!(
        statistics.to_csv().lines().skip(2).collect::<Vec<_>>(),
        ["1,class 1,3,75.0000,1,2,2,0,2,1,2.50,0.00", "1,class 1,3,75.0000,2,1,0,0,1,1,0.00,0.00"]
    );
    let json = statistics.to_json();
    assert!(json.ends_with("}\n"));
    let compact: String = json.split_whitespace().collect();
    assert_eq!(
        compact,
        "{\"width\":4,\"height\":1,\"classes\":[\
         {\"class\":0,\"name\":\"class0\",\"pixels\":1,\"percent\":25.0,\"components\":[]},\
         {\"class\":1,\"name\":\"class1\",\"pixels\":3,\"percent\":75.0,\"components\":[\
         {\"area\":2,\"x\":2,\"y\":0,\"width\":2,\"height\":1,\"center\":[2.5,0.0]},\
         {\"area\":1,\"x\":0,\"y\":0,\"width\":1,\"height\":1,\"center\":[0.0,0.0]}]}]}"
    );
}

#[test]
fn large_masks_are_measured_quickly() {
    let side = 4000;
    let blobs = |i: usize| ((i % side) as f32 / 37.0).sin() * ((i / side) as f32 / 53.0).cos();
    let noise = Tensor::random(Shape::new(1, 1, side, side), 3);
    for result in [Tensor::from_fn(noise.shape(), blobs), noise] {
        let mask = Mask::new(&result, &OutputRecipe::default()).unwrap();
        let start = Instant::now();
        let statistics = mask.statistics();
        let took = start.elapsed();
        println!("{} components in {took:?}", statistics.classes[1].components.len());
        let areas: usize = statistics.classes[1].components.iter().map(|c| c.area).sum();
        assert_eq!(areas, statistics.classes[1].pixels);
        // Ten times the usual time, because other work runs beside the tests.
        assert!(took.as_secs_f64() < 5.0, "{took:?}");
    }
}

#[test]
fn overlays_paint_classes_and_leave_the_background() {
    let classes = vec![class("a", None), class("b", Some([200, 100, 0]))];
    let recipe = OutputRecipe::default().with_classes(classes);
    let result = Tensor::new(Shape::new(1, 1, 1, 2), vec![0.0, 1.0]).unwrap();
    let mask = Mask::new(&result, &recipe).unwrap();
    let overlay = mask.overlay(&gray(2, 1, &[50.0, 100.0])).unwrap();
    assert_eq!((overlay.rgb(0, 0), overlay.rgb(1, 0)), ([50, 50, 50], [150, 100, 50]));
    // A mask of half the size covers the whole picture.
    let wide = mask.overlay(&gray(4, 2, &[100.0; 8])).unwrap();
    assert_eq!([wide.rgb(1, 1), wide.rgb(2, 0), wide.rgb(3, 1)], [[100; 3], [150, 100, 50], [150, 100, 50]]);
}

#[test]
fn contours_follow_borders_and_leave_the_rest() {
    // A square of class 1 in the middle of 20x20 pixels.
    let classes: Vec<usize> =
        (0..400).map(|i| usize::from((4..16).contains(&(i % 20)) && (4..16).contains(&(i / 20)))).collect();
    let mask = of_classes(&classes, 20, 2);
    for light in [0.0, 90.0, 255.0] {
        let drawn = mask.contours(&gray(20, 20, &[light; 400])).unwrap();
        let row: Vec<[u8; 3]> = (0..20).map(|x| drawn.rgb(x, 10)).collect();
        let ground = [light as u8; 3];
        assert_eq!([row[0], row[2], row[9], row[17]], [ground; 4], "far from the border");
        assert_eq!([row[4], row[5]], [[128, 0, 0]; 2], "two pixels along the inside");
        // A white edge on both sides, because the colour is dark.
        let edge = [(light + (255.0 - light) * 0.8).round() as u8; 3];
        assert_eq!([row[3], row[6]], [edge; 2]);
        assert_eq!([row[15], row[16]], [[128, 0, 0], edge]);
    }
    // Nothing is drawn where the region meets the border of the picture, or around a black class.
    let full = of_classes(&[1; 400], 20, 2).contours(&gray(20, 20, &[90.0; 400])).unwrap();
    assert!(full.planes().data().iter().all(|&v| v == 90.0));
    let (_folder, black) = file("black", b"0 0 0\n0 0 0\n");
    let mask = mask.with_palette(&Palette::open(black.to_str().unwrap()).unwrap());
    assert!(mask.contours(&gray(20, 20, &[90.0; 400])).unwrap().planes().data().iter().all(|&v| v == 90.0));
    // Float pictures and masks of another size.
    let float = Picture::new(Tensor::zeros(Shape::new(1, 3, 40, 40)), Depth::Float).unwrap();
    assert_eq!(of_classes(&classes, 20, 2).contours(&float).unwrap().rgb(8, 20), [128, 0, 0]);
}

#[test]
fn logits_become_probabilities() {
    let one = Tensor::new(Shape::new(1, 1, 1, 2), vec![0.0, 3_f32.ln()]).unwrap();
    assert_eq!(probabilities(&one, false, &OutputRecipe::default()).unwrap().data(), [0.5, 0.75]);
    assert_eq!(probabilities(&one, true, &OutputRecipe::default()).unwrap(), one);
    let two = Tensor::new(Shape::new(1, 2, 1, 1), vec![0.0, 3_f32.ln()]).unwrap();
    assert_eq!(probabilities(&two, false, &OutputRecipe::default()).unwrap().data(), [0.25, 0.75]);

    let gives = |graph: &Graph, output: OutputRecipe| {
        let model = Model::new(graph.clone(), Recipe::default().with_output(output));
        model.gives_probabilities(Shape::new(1, graph.input_channels(), 8, 8)).unwrap()
    };
    let at = |threshold| OutputRecipe::default().with_threshold(threshold);
    let with = |step| at(0.0).with_steps([step]);
    let ending = |channels, ops: Vec<unet_wgpu::graph::Op>| {
        let mut graph = Graph::new(channels);
        let mut last = Graph::INPUT;
        for (i, op) in ops.into_iter().enumerate() {
            let inputs = if matches!(op, unet_wgpu::graph::Op::Crop(_)) {
                vec![last, Graph::INPUT]
            } else {
                vec![last]
            };
            last = graph.push(&format!("layer {i}"), op, &inputs).unwrap();
        }
        graph
    };
    let plain = ending(1, vec![Activation::Relu.into()]);
    assert_eq!(
        [0.0, 0.5, 1.0, -1.0].map(|threshold| gives(&plain, at(threshold))),
        [false, true, false, false]
    );
    assert!(!gives(&ending(3, vec![Activation::Relu.into()]), at(0.5)), "several channels have no threshold");
    assert!(gives(&plain, with(Step::Sigmoid)) && gives(&plain, with(Step::Softmax)));
    assert!(!gives(&plain, with(Step::Binarize { threshold: 0.5 })));
    assert!(gives(&ending(1, vec![Activation::Sigmoid.into(), Crop.into()]), at(0.0)), "a crop may follow");
    assert!(gives(&ending(3, vec![Softmax::default().into()]), at(0.0)));
    assert!(gives(&ending(3, vec![Activation::HARD_SIGMOID.into()]), at(0.0)));
    assert!(!gives(&ending(1, vec![Activation::Sigmoid.into(), Activation::Neg.into()]), at(0.0)));
    let model = Model::new(plain, Recipe::default());
    assert!(model.gives_probabilities(Shape::new(1, 2, 8, 8)).is_err());
}

#[test]
fn masks_are_scored_against_a_reference() {
    let (got, reference) = (mask(&["0011", "0011"], 4), mask(&["0111", "0112"], 4));
    let scores = got.scores(&Reference::from(&reference)).unwrap();
    let list: Vec<_> = scores.classes.iter().map(|class| (class.iou, class.dice)).collect();
    assert_eq!(
        list,
        [
            (Some(2.0 / 4.0), Some(4.0 / 6.0)),
            (Some(3.0 / 6.0), Some(6.0 / 9.0)),
            (Some(0.0), Some(0.0)),
            (None, None),
        ]
    );
    assert_eq!(scores.mean_iou(), 1.0 / 3.0);
    assert!((scores.mean_dice() - 4.0 / 9.0).abs() < 1e-12);
    assert_eq!(
        scores.to_string(),
        "class       IoU    Dice\n\
         class 0  0.5000  0.6667\n\
         class 1  0.5000  0.6667\n\
         class 2  0.0000  0.0000\n\
         class 3       -       -\n\
         mean     0.3333  0.4444"
    );
    assert_eq!(got.scores(&Reference::from(&got)).unwrap().mean_iou(), 1.0);
    assert!(
        got.scores(&Reference::from(&mask(&["00"], 2)))
            .unwrap_err()
            .to_string()
            .contains("expected 4x2 pixels")
    );
}

/// A picture of whole numbers, and the same with some noise.
fn pair(channels: usize) -> [Picture; 2] {
    let (w, h) = (40, 32);
    let shape = Shape::new(1, channels, h, w);
    let place = |i: usize| (i % w, i / w % h, i / (w * h) + 1);
    let clean = |i| {
        let (x, y, k) = place(i);
        (x * 7 * k + y * 13 + x * y % (31 * k)) % 256
    };
    let noisy = |i| {
        let (x, y, k) = place(i);
        (clean(i) + (x * 5 + y * 3 * k) % 23).saturating_sub(11).min(255)
    };
    let picture = |value: &dyn Fn(usize) -> usize| {
        Picture::new(Tensor::from_fn(shape, |i| value(i) as f32), Depth::Eight).unwrap()
    };
    [picture(&noisy), picture(&clean)]
}

#[test]
fn similarity_is_that_of_scikit_image() {
    // skimage.metrics 0.26: peak_signal_noise_ratio and structural_similarity(gaussian_weights=True, sigma=1.5,
    // use_sample_covariance=False, data_range=255; channel_axis for the second) of the same pictures.
    for (channels, psnr, ssim) in [
        (1, 31.799_276_410_215_35, 0.977_688_830_202_548_9),
        (3, 31.798_644_755_088_2, 0.986_777_319_444_275_2),
    ] {
        let [noisy, clean] = pair(channels);
        let got = similarity(&noisy, &clean).unwrap();
        assert!((got.psnr - psnr).abs() < 1e-9, "{} dB, not {psnr}", got.psnr);
        assert!((got.ssim.unwrap() - ssim).abs() < 1e-9, "{:?}, not {ssim}", got.ssim);
    }
    let [noisy, clean] = pair(1);
    assert_eq!(similarity(&noisy, &clean).unwrap().to_string(), "PSNR 31.80 dB, SSIM 0.9777");
    // Grey is compared with colours as colours; floats with white as 1.
    let rgb = Picture::new(clean.to_channels(unet_wgpu::recipe::Channels::Rgb), Depth::Eight).unwrap();
    let (mixed, grey) = (similarity(&noisy, &rgb).unwrap(), similarity(&noisy, &clean).unwrap());
    assert!((mixed.psnr - grey.psnr).abs() < 1e-9 && (mixed.ssim.unwrap() - grey.ssim.unwrap()).abs() < 1e-9);
    let scaled = Tensor::from_fn(clean.planes().shape(), |i| clean.planes().data()[i] / 255.0);
    let float = Picture::new(scaled, Depth::Float).unwrap();
    assert!((similarity(&noisy, &float).unwrap().psnr - grey.psnr).abs() < 1e-4);

    let same = similarity(&clean, &clean).unwrap();
    assert!(same.psnr.is_infinite() && (same.ssim.unwrap() - 1.0).abs() < 1e-12);
    let small = similarity(&gray(10, 40, &[0.0; 400]), &gray(10, 40, &[255.0; 400])).unwrap();
    assert_eq!((small.psnr, small.ssim, small.to_string().as_str()), (0.0, None, "PSNR 0.00 dB"));
    assert!(similarity(&clean, &gray(1, 1, &[0.0])).unwrap_err().to_string().contains("expected 40x32"));
}
