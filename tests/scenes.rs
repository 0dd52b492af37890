//! Masks of many classes: what stands for nothing, cleaning without a background, references, and a real network.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::device::gpu;
use crate::fixtures::blocks;
use std::path::{Path, PathBuf};
use unet_wgpu::graph::Graph;
use unet_wgpu::image::{Decoded, Mask, Palette, Picture, Pipeline, PipelineOptions, Reference};
use unet_wgpu::plan::Precision;
use unet_wgpu::recipe::{Class, Decode, OutputRecipe};
use unet_wgpu::{Device, Model, OpenOptions, SessionOptions, Shape, Tensor};

const LAND: [(&str, [u8; 3]); 4] = [
    ("water", [0, 0, 255]),
    ("road", [90, 90, 90]),
    ("building", [200, 0, 0]),
    ("unlabeled", [155, 155, 155]),
];

fn recipe(classes: &[(&str, [u8; 3])]) -> OutputRecipe {
    let class = |(name, color): &(&str, [u8; 3])| Class { name: (*name).into(), color: Some(*color) };
    OutputRecipe::default().with_classes(classes.iter().map(class).collect::<Vec<_>>())
}

fn named(names: &[&str]) -> OutputRecipe {
    let class = |name: &&str| Class { name: (*name).into(), color: None };
    OutputRecipe::default().with_classes(names.iter().map(class).collect::<Vec<_>>())
}

/// A mask from rows of digits, made by a network of `channels` channels.
fn mask(rows: &[&str], channels: usize, recipe: &OutputRecipe) -> Mask {
    let classes: Vec<usize> =
        rows.iter().flat_map(|row| row.bytes().map(|b| usize::from(b - b'0'))).collect();
    let shape = Shape::new(1, channels, rows.len(), rows[0].len());
    let one_hot = Tensor::from_fn(shape, |i| f32::from(classes[i % classes.len()] == i / classes.len()));
    Mask::new(&one_hot, recipe).unwrap()
}

fn rows(mask: &Mask) -> Vec<String> {
    mask.classes().chunks(mask.width()).map(|row| row.iter().map(u16::to_string).collect()).collect()
}

#[test]
fn what_the_background_is_follows_from_the_recipe() {
    let of = |recipe: &OutputRecipe, channels: usize| mask(&["0"], channels, recipe).background();
    let plain = OutputRecipe::default();
    assert_eq!([of(&plain, 1), of(&plain, 4)], [Some(0); 2]);
    assert!(mask(&["0"], 4, &plain).assumes_background() && !mask(&["0"], 1, &plain).assumes_background());
    for (names, want) in [
        (&["road", "sky", "car"][..], None),
        (&["Background", "cat", "dog"], Some(0)),
        (&["_background_", "cat"], Some(0)),
        (&["cat", "dog", "background"], Some(2)),
        (&["water", "road", "unlabeled"], Some(2)),
        (&["void", "road", "background"], Some(2)),
        (&["backpack", "ground"], None),
    ] {
        assert_eq!(of(&named(names), names.len()), want, "{names:?}");
        assert!(!mask(&["0"], 3, &named(names)).assumes_background());
    }
    // One thing and the rest, whatever its name; and what the recipe says.
    assert_eq!(of(&named(&["road", "sky"]), 1), Some(0));
    let streets = named(&["road", "sky", "car"]);
    let with = |text: &str| streets.clone().with_background(Some(text.into()));
    assert_eq!(["sky", "2", "none", "7"].map(|text| of(&with(text), 3)), [Some(1), Some(2), None, None]);
    assert_eq!(of(&plain.clone().with_background(Some("none".into())), 3), None);
    // A palette's names count as well.
    let streets = mask(&["0"], 19, &plain).with_palette(&Palette::cityscapes());
    assert_eq!((streets.background(), streets.names()[0].as_str()), (None, "road"));
}

#[test]
fn without_a_background_regions_become_what_surrounds_them() {
    let streets = named(&["road", "sky", "car"]);
    let drawn = mask(&["11111", "10001", "10201", "00000"], 3, &streets);
    let statistics = drawn.statistics();
    let regions: Vec<usize> = statistics.classes.iter().map(|class| class.components.len()).collect();
    assert_eq!(regions, [1, 1, 1], "class 0 has regions");
    let mut cleaned = drawn.clone();
    cleaned.remove_small(2);
    assert_eq!(rows(&cleaned), ["11111", "10001", "10001", "00000"]);
    cleaned.remove_small(100);
    assert_eq!(rows(&cleaned), ["11111", "10001", "10001", "00000"], "something has to stay");
    let mut largest = mask(&["00122", "01122", "11000"], 3, &streets);
    largest.keep_largest();
    assert_eq!(rows(&largest), ["00122", "01122", "11122"]);
    // With a background elsewhere, that.
    let mut elsewhere = mask(&["0112", "0002"], 3, &named(&["road", "sky", "void"]));
    assert!(elsewhere.statistics().classes[2].components.is_empty());
    elsewhere.remove_small(3);
    assert_eq!(rows(&elsewhere), ["0222", "0002"]);
}

/// A PNG file of RGB pixels, in a folder.
fn colored(pixels: &[[u8; 3]]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    image::RgbImage::from_vec(pixels.len() as u32, 1, pixels.concat()).unwrap().save(&path).unwrap();
    (folder, path)
}

/// A PNG file with a palette.
fn indexed(indices: &[u8], palette: &[[u8; 3]]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), indices.len() as u32, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette.concat());
    encoder.write_header().unwrap().write_image_data(indices).unwrap();
    (folder, path)
}

#[test]
fn void_does_not_count() {
    // A network of three classes; the recipe knows a fourth, which only references have.
    let land = recipe(&LAND);
    let got = mask(&["0012"], 3, &land);
    assert_eq!((got.names().len(), got.colors()[3]), (4, [155; 3]));
    let [water, road, building, void] = LAND.map(|(_, color)| color);
    let (_folder, path) = colored(&[water, void, road, building]);
    let reference = Reference::open(&path, &got).unwrap();
    assert_eq!(reference.classes(), [Some(0), None, Some(1), Some(2)]);
    let scores = got.scores(&reference).unwrap();
    let names: Vec<&str> = scores.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(
        (names, scores.mean_iou(), scores.void, scores.pixels),
        (vec!["water", "road", "building"], 1.0, 1, 4)
    );
    assert!(scores.to_string().ends_with("\n25.0 % of the reference is void and does not count"));

    // Where the network says void and the reference does not, the class of the reference is missed.
    let missed = mask(&["0032"], 4, &land).scores(&reference).unwrap();
    assert_eq!(missed.classes[1].iou, Some(0.0));
    assert!(missed.classes.iter().all(|class| class.name != "unlabeled"));

    // By number, by colour, and classes of any name.
    let open = |recipe: &OutputRecipe, pixels: &[[u8; 3]]| {
        let (_folder, path) = colored(pixels);
        Reference::open(&path, &mask(&["0012"], 3, recipe))
            .map(|r| r.classes().to_vec())
            .map_err(|e| e.to_string())
    };
    let others = recipe(&LAND[..3]).with_void(vec!["#0a0b0c".to_string(), "road".into(), "9".into()]);
    let got = open(&others, &[water, [10, 11, 12], road, building]).unwrap();
    assert_eq!(got, [Some(0), None, None, Some(2)]);
    assert_eq!(open(&others, &[[0; 3], [9; 3], [255; 3], [2; 3]]).unwrap(), [Some(0), None, None, Some(2)]);
    let error = open(&recipe(&LAND[..3]), &[[0; 3], [9; 3], [1; 3], [2; 3]]).unwrap_err();
    assert!(error.contains("value 9 at column 1") && error.contains("void = [9]"), "{error}");
    let error = open(&land, &[water, [1, 2, 3], road, road]).unwrap_err();
    assert!(error.contains("colour 1 2 3 at column 1") && !error.contains('\n'), "{error}");
    // Two classes, where 255 is void and not white.
    let two = named(&["a", "b"]).with_void(vec!["255".to_string()]);
    let (_folder, path) = indexed(&[0, 1, 255, 255], &[[7; 3]; 256]);
    let reference = Reference::open(&path, &mask(&["0100"], 2, &two)).unwrap();
    assert_eq!(reference.classes(), [Some(0), Some(1), None, None]);
}

#[test]
fn palettes_of_references_decide_by_their_colours() {
    let land = recipe(&LAND);
    let got = mask(&["0012"], 3, &land);
    let [water, road, building, void] = LAND.map(|(_, color)| color);
    let open = |indices: &[u8], palette: &[[u8; 3]]| {
        let (_folder, path) = indexed(indices, palette);
        Reference::open(&path, &got).unwrap().classes().to_vec()
    };
    // As a program orders the colours of a picture; as numbers with colours of another set.
    assert_eq!(open(&[1, 3, 0, 2], &[road, water, building, void]), [Some(0), None, Some(1), Some(2)]);
    assert_eq!(open(&[1, 3, 0, 2], &[[1; 3], [2; 3], road, void]), [Some(1), None, Some(0), Some(2)]);
    // PASCAL VOC's palette is that of numbers, even if its colours are those of classes.
    let voc: Vec<[u8; 3]> = (0..8).map(|i| Palette::voc().color(i)).collect();
    let camvid = recipe(&[("sky", [128; 3]), ("building", [128, 0, 0]), ("unlabelled", [0; 3])]);
    let (_folder, path) = indexed(&[0, 1, 1, 2], &voc);
    let reference = Reference::open(&path, &mask(&["0012"], 3, &camvid)).unwrap();
    assert_eq!(reference.classes(), [Some(0), Some(1), Some(1), None]);
}

#[test]
fn scores_of_several_pictures_add_up() {
    let two = named(&["a", "b"]);
    let [first, second] = [["0011"], ["1111"]].map(|rows| mask(&rows, 2, &two));
    let [one, other] = [["0111"], ["1101"]].map(|rows| Reference::from(&mask(&rows, 2, &two)));
    let mut sum = first.scores(&one).unwrap();
    sum.add(&second.scores(&other).unwrap());
    // a: 1 of 1 + 1 + 1; b: 2 + 3 of 3 + 4.
    let ious: Vec<_> = sum.classes.iter().map(|class| class.iou.unwrap()).collect();
    assert_eq!((ious, sum.pixels), (vec![1.0 / 3.0, 5.0 / 7.0], 8));
}

#[test]
fn names_and_colours_come_from_the_file() {
    let open = |notes: &[(&str, &str)]| Model::from_onnx(&blocks(notes)).unwrap().recipe.output;
    let got = open(&[
        ("names", "{0: 'road', 1: 'ignore'}"),
        ("class_colors", "[[1, 2, 3], '#0a0b0c']"),
        ("ignore_index", "255"),
    ]);
    let classes: Vec<_> = got.classes.iter().map(|class| (class.name.as_str(), class.color)).collect();
    assert_eq!(classes, [("road", Some([1, 2, 3])), ("ignore", Some([10, 11, 12]))]);
    assert_eq!(got.void, ["255"]);
    // What makes no sense is passed over.
    for colors in ["[[1, 2]]", "[300, 1, 2]", "red", "{1: [1, 2, 3]}", "['#12345']"] {
        assert_eq!(open(&[("names", "a, b"), ("palette", colors)]).classes[0].color, None, "{colors}");
    }
    // Names of Cityscapes' classes have its colours.
    let cityscapes = Palette::cityscapes();
    let names: Vec<&str> = (0..19).map(|i| cityscapes.name(i).unwrap()).collect();
    let colors = mask(&["0"], 19, &named(&names)).colors().to_vec();
    assert!((0..19).all(|i| colors[i] == cityscapes.color(i)));
    // Others have none twice, none black but the background.
    let colors =
        mask(&["0"], 6, &named(&["water", "land", "road", "building", "tree", "void"])).colors().to_vec();
    assert_eq!(colors[5], [0; 3]);
    assert!((0..6).all(|i| (0..i).all(|k| colors[i] != colors[k])), "{colors:?}");
}

#[test]
fn a_recipe_says_what_stands_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, blocks(&[("names", "water, land, unlabeled")])).unwrap();
    let open = |text: &str| {
        std::fs::write(folder.path().join("net.toml"), text).unwrap();
        Model::open(&path)
    };
    let classes =
        "classes = [{ name = 'water', color = [226, 169, 41] }, { name = 'road' }, { name = 'unlabeled' }]";
    let model = open(&format!(
        "[output]\ndecode = 'mask'\n{classes}\nbackground = 0\nvoid = ['unlabeled', 7, '#ffffff']\n"
    ))
    .unwrap();
    let output = &model.recipe.output;
    assert_eq!(
        (output.background.as_deref(), output.void.join(" ").as_str()),
        (Some("0"), "unlabeled 7 #ffffff")
    );
    let words = model.recipe.words([3, 3]);
    let said = |path: &str| words.iter().find(|(p, _)| *p == path).map(|(_, text)| text.as_str());
    assert_eq!(said("output.background"), Some("water"));
    assert_eq!(said("output.void"), Some("unlabeled, class 7, #ffffff in a reference does not count"));
    for (text, part) in [
        ("background = 'sky'", "water, road, unlabeled"),
        ("void = ['sky']", "#rrggbb"),
        ("void = 'unlabeled'", "output.void"),
        ("background = [1]", "output.background"),
        ("void = [-1]", "output.void"),
    ] {
        let error = open(&format!("[output]\n{classes}\n{text}\n")).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
    }
    // Names of the file's metadata.
    assert_eq!(open("[output]\nvoid = ['land']\n").unwrap().recipe.output.void, ["land"]);
}

#[test]
fn class_numbers_are_one_channel() {
    let classes = named(&["a", "b"]).with_decode(Some(Decode::Classes));
    let model = Model::new(Graph::new(3), unet_wgpu::recipe::Recipe::default().with_output(classes));
    let error = Pipeline::new(model, PipelineOptions::default()).unwrap_err().to_string();
    assert!(error.contains("decode = \"mask\"") && error.contains("3 channels"), "{error}");
}

#[test]
fn labels_that_overlap_have_colours_of_their_own() {
    let recipe = named(&["hand", "ring"]).with_decode(Some(Decode::Labels));
    let result = Tensor::new(Shape::new(1, 2, 1, 2), vec![1.0, 1.0, 0.0, 1.0]).unwrap();
    let mask = Mask::new(&result, &recipe).unwrap();
    assert_eq!((mask.classes(), mask.background(), mask.colors()[0]), (&[1u16, 2][..], Some(0), [0; 3]));
    assert_ne!(mask.colors()[1], mask.colors()[2]);
}

/// ESPNet for CamVid, which its authors trained.
#[test]
fn a_street_is_segmented_as_by_its_authors() {
    let Some(assets) = std::env::var_os("UNET_TEST_ASSETS") else {
        eprintln!("ESPNET'S LABELS WERE NOT TESTED: UNET_TEST_ASSETS is not set (semantic models)");
        return;
    };
    let folder = Path::new(&assets).join("tasks/semantic");
    let options = OpenOptions::default().with_recipe(folder.join("espnet.toml"));
    let model = Model::open_with(folder.join("espnet_camvid.onnx"), &options).unwrap();
    let street = Picture::open(&folder.join("espnet_in.png")).unwrap();
    let mask = |device: Device, precision: Precision| {
        let pipeline = Pipeline::new(model.clone(), PipelineOptions::default()).unwrap();
        let pipeline = pipeline.with_device(device, SessionOptions::default().with_precision(precision));
        match pipeline.decode(&pipeline.run(&street).unwrap()).unwrap() {
            Decoded::Mask(mask) => mask,
            other => panic!("{other:?}"),
        }
    };
    let on_cpu = mask(Device::Cpu, Precision::F32);
    let label = Reference::open(&folder.join("espnet_label.png"), &on_cpu).unwrap();
    assert_eq!(Reference::from(&on_cpu), label);
    let scores = on_cpu.scores(&label).unwrap();
    assert!(scores.mean_iou() == 1.0 && scores.void > 0 && scores.classes.len() == 11);
    let Some(gpu) = gpu() else { return };
    let mut precisions = vec![(Precision::F32, 0.9999)];
    precisions.extend(gpu.report().f16.then_some((Precision::F16, 0.995)));
    for (precision, least) in precisions {
        let on_gpu = mask(Device::Gpu(gpu.clone()), precision);
        let same = on_gpu.classes().iter().zip(on_cpu.classes()).filter(|(a, b)| a == b).count();
        let share = same as f64 / on_cpu.classes().len() as f64;
        assert!(share >= least, "{precision}: {share:.5} of the labels are equal");
    }
}
