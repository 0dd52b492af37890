//! What a network's numbers mean where nothing describes its use: layouts, sizes, outputs, recipes. Networks and
//! results: `tests/vectors/generate_meaning.py`.

use crate::device::gpu;
use crate::support::{Tolerance, Vectors, assert_close};
use std::path::{Path, PathBuf};
use unet_wgpu::image::{
    Decoded, Depth, Hole, Outcome, Picture, Pipeline, PipelineOptions, Target, TargetKind, Targets,
};
use unet_wgpu::recipe::{Decode, MaskPlace, MaskRecipe, Size};
use unet_wgpu::tiles::{TileOptions, TiledSession};
use unet_wgpu::{Device, Model, Role, Session, SessionOptions, Shape, Tensor};

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/meaning/{name}.onnx"))
}

fn open(name: &str) -> Model {
    Model::open(vector(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The model with lines of a hand-written recipe.
fn open_with(name: &str, recipe: &str) -> unet_wgpu::Result<Model> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.toml");
    std::fs::write(&path, recipe).expect("it is written");
    Model::open_with(vector(name), &unet_wgpu::OpenOptions::default().with_recipe(path))
}

/// A picture whose left part is dark and whose right part is bright, with stripes of one pixel on the right.
fn striped(height: usize, width: usize) -> Picture {
    let planes = Tensor::from_fn(Shape::new(1, 3, height, width), |i| match i % width {
        x if 2 * x < width => 20.0,
        x => [90.0, 250.0][x % 2],
    });
    Picture::new(planes, Depth::Eight).expect("three planes")
}

fn run(model: Model, picture: &Picture) -> (Pipeline, Outcome) {
    let pipeline = Pipeline::new(model, PipelineOptions::default()).expect("a pipeline");
    let pipeline = pipeline.with_device(Device::Cpu, SessionOptions::default());
    let outcome = pipeline.run(picture).expect("it runs");
    (pipeline, outcome)
}

/// Rows and columns of the arrays in the vectors.
const SIZE: [usize; 2] = [16, 24];

/// An array whose rows and columns are last.
fn first(array: &Tensor) -> Tensor {
    let [h, w] = if array.data().len().is_multiple_of(24 * 40 * 3) { [24, 40] } else { SIZE };
    let shape = Shape::new(1, array.data().len() / (h * w), h, w);
    Tensor::new(shape, array.data().to_vec()).expect("as many")
}

/// An array whose channels are last.
fn last(array: &Tensor) -> Tensor {
    let [h, w] = SIZE;
    let c = array.data().len() / (h * w);
    Tensor::from_fn(Shape::new(1, c, h, w), |i| array.data()[i % (h * w) * c + i / (h * w)])
}

#[test]
fn layouts_are_followed_from_both_ends() {
    let vectors = Vectors::read("meaning");
    let same = |array: &Tensor| array.clone();
    type Order = fn(&Tensor) -> Tensor;
    let (same, first, last): (Order, Order, Order) = (same, first, last);
    for (name, result, input, output) in [
        ("argmax_last", "classes", last, first),
        ("argmax_half", "y", same, same),
        ("softmax_last", "y", same, last),
        ("labels", "y", same, same),
        ("bytes_last", "y", last, same),
        ("sixteen_and_eight", "y", same, same),
        ("rows_columns", "y", same, first),
        ("channels_rows", "y", same, first),
        ("rows_columns_channels", "y", same, last),
        ("one_last", "y", last, same),
        ("supervised", "r", same, same),
        ("named", "mask", same, same),
        ("valid", "y", same, same),
    ] {
        let input = input(vectors.get(&format!("{name}/input")));
        let want = output(vectors.get(&format!("{name}/{result}")));
        let model = open(name);
        for device in [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten() {
            let session = Session::new(&model, input.shape(), device).expect(name);
            assert_close(name, &session.run(&input).expect(name), &want, Tolerance::Network);
        }
    }
}

#[test]
fn the_graph_tells_what_its_result_is() {
    for (name, decode, scale, threshold, doubts) in [
        ("argmax_last", Decode::Classes, 1.0, 0.5, 0),
        ("argmax_half", Decode::Classes, 1.0 / 255.0, 0.5, 0),
        ("softmax_last", Decode::Mask, 1.0 / 255.0, 0.5, 0),
        ("labels", Decode::Labels, 1.0 / 255.0, 0.5, 0),
        ("grey_logits", Decode::Mask, 1.0 / 255.0, 0.0, 1),
        ("depth", Decode::Values, 1.0 / 255.0, 0.5, 1),
        ("grey_residual", Decode::Image, 1.0 / 255.0, 0.5, 0),
        ("bytes_last", Decode::Mask, 1.0, 0.5, 0),
        ("portrait", Decode::Mask, 1.0 / 255.0, 0.5, 0),
        ("restore_fixed", Decode::Image, 1.0 / 255.0, 0.5, 0),
        ("regressor", Decode::Values, 1.0 / 255.0, 0.5, 0),
        ("logits", Decode::Mask, 1.0 / 255.0, 0.0, 1),
    ] {
        let model = open(name);
        let output = &model.recipe.output;
        let got = (output.decode, model.recipe.input.scale, output.threshold, model.assumptions().count());
        assert_eq!(got, (Some(decode), scale, threshold, doubts), "{name}: {:?}", model.assumptions().next());
    }
    // A line of the recipe is the last word, and ends the doubt.
    let model = open_with("logits", "[output]\ndecode = \"image\"").expect("it is read");
    assert_eq!((model.recipe.output.decode, model.assumptions().count()), (Some(Decode::Image), 0));
    let error = Model::open(vector("detector")).expect_err("it gives boxes").to_string();
    assert!(error.contains("Detector") && error.contains("boxes"), "{error}");
    let input = open("regressor").recipe.input;
    assert_eq!((input.size, input.tile, input.overlap), (Some(Size::Native), Some(64), Some(16)));
}

#[test]
fn a_result_of_one_size_is_not_cropped() {
    let model = open("fixed_result");
    for [h, w] in [[256, 256], [33, 47], [64, 64], [300, 200]] {
        let input = Shape::new(1, 3, h, w);
        let result =
            model.graph(input).and_then(|graph| graph.output_shape(input)).expect("it takes any size");
        assert_eq!(result, Shape::new(1, 1, 9, 10), "for {h}x{w}");
    }
}

#[test]
fn pictures_grow_by_fractions() {
    let vectors = Vectors::read("meaning");
    for (name, [up, down]) in [
        ("half_more", [3, 2]),
        ("half_more_odd", [3, 2]),
        ("half_more_by_size", [3, 2]),
        ("half_more_fixed", [3, 2]),
        ("half_more_shuffled", [3, 2]),
        ("eight_fifths", [8, 5]),
        ("eight_fifths_fixed", [8, 5]),
        ("up_and_down", [5, 2]),
        ("four_fifths", [4, 5]),
        ("aligned", [3, 2]),
    ] {
        let [input, want] = ["input", "y"].map(|part| vectors.get(&format!("{name}/{part}")));
        for device in [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten() {
            let session = Session::new(&open(name), input.shape(), device).expect(name);
            assert_close(name, &session.run(input).expect(name), want, Tolerance::Network);
        }
        // The picture keeps the network's factor, whatever its size; files of one size run in tiles.
        for [h, w] in [[41, 57], [30, 80], [16, 16]] {
            let (_, outcome) = run(open(name), &striped(h, w));
            let shape = outcome.result.shape();
            for (got, own) in [(shape.h, h), (shape.w, w)] {
                let exact = own * up / down;
                assert!((exact..=exact + 1).contains(&got), "{name}: {own} to {got} by {up}/{down}");
            }
        }
    }
}

#[test]
fn tiles_of_a_picture_that_grows_by_a_fraction_fit_together() {
    for (name, size, is_exact) in [
        ("half_more", 72, true),
        ("half_more_shuffled", 72, true),
        ("eight_fifths", 120, true),
        ("up_and_down", 72, true),
        ("four_fifths", 96, true),
        ("aligned", 260, false),
    ] {
        let model = open(name);
        let [h, w] = if is_exact { [205, 240] } else { [333, 400] };
        let input = Tensor::from_fn(Shape::new(1, 3, h, w), |i| ((i * 37) % 101) as f32 / 101.0);
        let options = SessionOptions::default();
        let whole = Session::new(&model, input.shape(), Device::Cpu).expect(name).run(&input).expect(name);
        let tiles = TileOptions::default().with_size(Some(size));
        let tiled = TiledSession::new(&model, input.shape(), &Device::Cpu, &options, &tiles).expect(name);
        assert!(tiled.tiles() > 3 && tiled.is_exact() == is_exact, "{name}: {} tiles", tiled.tiles());
        let result = tiled.run(&input, &|| ()).expect(name);
        if is_exact {
            assert_close(name, &result, &whole, Tolerance::Network);
        }
        assert_eq!(result.shape(), whole.shape(), "{name}");
    }
}

#[test]
fn outputs_of_one_size_are_told_apart() {
    let reason = |name: &str| open(name).signature().reason;
    assert_eq!(reason("supervised"), "it is computed last of 3 outputs of the picture's size");
    assert_eq!(reason("named"), "its name fits best of 2 outputs of the picture's size");
    for (chosen, name) in [("1", "q"), ("\"p\"", "p"), ("2", "r")] {
        let model = open_with("supervised", &format!("[output]\nname = {chosen}")).expect("it is read");
        assert_eq!(model.signature().outputs[0].name, name);
    }
    let error = open_with("supervised", "[output]\nname = 3").expect_err("there are three").to_string();
    assert!(error.contains("p, q, r"), "{error}");
}

#[test]
fn masks_are_computed_at_the_size_of_the_file() {
    let picture = striped(96, 160);
    let (_, outcome) = run(open("portrait"), &picture);
    assert_eq!(
        (outcome.report.input, outcome.result.shape()),
        (Shape::new(1, 3, 32, 32), Shape::new(1, 1, 96, 160))
    );
    assert!(outcome.report.notes.iter().any(|note| note.contains("32x32") && note.contains("--size")));
    let native = open_with("portrait", "[input]\nsize = \"native\"").expect("it is read");
    let (_, own) = run(native, &picture);
    assert_eq!((own.report.input.h, own.report.input.w), (96, 160));
    let at = |outcome: &Outcome, x: usize| outcome.result.data()[48 * 160 + x];
    assert!(at(&outcome, 20) < 0.1 && at(&outcome, 140) > 0.9);
    assert!(at(&own, 84) - at(&outcome, 84) > 0.2, "at the picture's own size, the kernel sees less of it");

    // Pictures keep their size: numbers of the file stand for extents of any size, and where the graph has only its own,
    // there are tiles.
    for [h, w] in [[96, 160], [20, 70], [32, 32]] {
        for (name, tile) in [("restore_fixed", h), ("restore_places", 32)] {
            let (_, outcome) = run(open(name), &striped(h, w));
            assert_eq!(outcome.result.shape(), Shape::new(1, 3, h, w), "{name}");
            assert_eq!(outcome.report.tile.h, tile, "{name}");
        }
    }
}

#[test]
fn smaller_results_become_masks_of_the_picture() {
    let picture = striped(33, 47);
    for name in ["argmax_half", "argmax_last", "softmax_last", "labels", "sixteen_and_eight"] {
        let (pipeline, outcome) = run(open(name), &picture);
        let Decoded::Mask(mask) = pipeline.decode(&outcome).expect(name) else {
            panic!("{name} gives a mask")
        };
        assert_eq!([mask.height(), mask.width()], [33, 47], "{name}");
    }
}

#[test]
fn results_that_lose_a_border_are_completed() {
    let picture = striped(33, 47);
    let pipeline = |model| {
        let pipeline = Pipeline::new(model, PipelineOptions::default()).expect("a pipeline");
        pipeline.with_device(Device::Cpu, SessionOptions::default())
    };
    for (name, parts) in [
        ("valid", ["29x43", "border = 2"]),
        ("valid_double", ["58x86", "border = 2"]),
        ("cut", ["24x20", "33x47"]),
    ] {
        let Err(error) = pipeline(open(name)).run(&picture) else { panic!("{name} does not keep the size") };
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{name}: {text}");
    }
    for (name, factor) in [("valid", 1), ("valid_double", 2)] {
        let model = open_with(name, "[input]\nborder = 2").expect("it is read");
        let (_, outcome) = run(model, &picture);
        let shape = outcome.result.shape();
        assert_eq!([shape.h, shape.w], [33 * factor, 47 * factor], "{name}");
    }
    // The middle is what the network makes of the picture alone.
    let vectors = Vectors::read("meaning");
    let (input, want) = (vectors.get("valid/input"), vectors.get("valid/y"));
    let model = open_with("valid", "[input]\nborder = 2").expect("it is read");
    let got =
        Session::new(&model, input.shape(), Device::Cpu).expect("it is built").run(input).expect("it runs");
    let middle = Tensor::from_fn(want.shape(), |i| got.data()[(i / 20 + 2) * 24 + i % 20 + 2]);
    assert_close("the middle", &middle, want, Tolerance::Network);
    assert!(open_with("valid", "[input]\nborder = 3").is_err());
    assert!(open_with("labels", "[input]\nborder = 2").is_err(), "it loses none");
}

#[test]
fn labels_get_a_file_or_a_page_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pipeline, outcome) = run(open("labels"), &striped(24, 32));
    let target = |name: &str, kind| Target { kind, path: folder.path().join(name) };
    let targets = Targets(vec![target("out.png", TargetKind::Result)]);
    let (_, notes) = pipeline.write(&outcome, &targets).expect("they are written");
    assert!(notes.iter().any(|note| note.contains("out-hand.png")), "{notes:?}");
    for (channel, name) in ["hand", "ring"].iter().enumerate() {
        let mask = image::open(folder.path().join(format!("out-{name}.png"))).expect("a mask").to_luma8();
        let want = outcome.result.plane(0, channel).iter().map(|v| *v > 0.5);
        let shown = mask.pixels().map(|pixel| pixel.0[0] != 0);
        assert!(shown.eq(want), "{name}");
    }
    let targets =
        Targets(vec![target("out.tiff", TargetKind::Result), target("out.csv", TargetKind::Statistics)]);
    pipeline.write(&outcome, &targets).expect("they are written");
    assert_eq!(unet_wgpu::image::Pages::open(&folder.path().join("out.tiff")).expect("pages").total(), 2);
    let table = std::fs::read_to_string(folder.path().join("out.csv")).expect("a table");
    let count = |c: usize| outcome.result.plane(0, c).iter().filter(|v| **v > 0.5).count();
    assert!(table.contains("hand") && table.contains(&count(0).to_string()), "{table}");
}

#[test]
fn measurements_are_kept_or_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pipeline, outcome) = run(open("depth"), &striped(24, 32));
    let write = |name: &str| {
        let path = folder.path().join(name);
        let targets = Targets(vec![Target { kind: TargetKind::Result, path: path.clone() }]);
        let (_, notes) = pipeline.write(&outcome, &targets).expect("it is written");
        (Picture::open(&path).expect("a picture"), notes)
    };
    let (floats, notes) = write("out.tiff");
    assert_eq!((floats.planes().data(), notes.len()), (outcome.result.data(), 0));
    let (drawn, notes) = write("out.png");
    assert_eq!(drawn.depth(), Depth::Sixteen);
    assert!(notes[0].contains("black to white"), "{notes:?}");
    let values = drawn.planes().data();
    assert_eq!(values.iter().copied().fold(f32::INFINITY, f32::min), 0.0);
    assert_eq!(values.iter().copied().fold(0.0, f32::max), 255.0);
}

#[test]
fn clipped_pictures_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pipeline, outcome) = run(open("bright"), &striped(24, 32));
    let notes = |name: &str| {
        let path = folder.path().join(name);
        let targets = Targets(vec![Target { kind: TargetKind::Result, path }]);
        pipeline.write(&outcome, &targets).expect("it is written").1
    };
    let lines = notes("out.png");
    assert!(
        lines[0].contains("% of the result's values") && lines[0].contains("scale under [output]"),
        "{lines:?}"
    );
    assert!(notes("out.npy").is_empty());
}

#[test]
fn networks_that_fill_holes_are_known_by_their_inputs() {
    let vectors = Vectors::read("meaning");
    type Order = fn(&Tensor) -> Tensor;
    let (first, last): (Order, Order) = (first, last);
    for (name, order, white, line) in [
        (
            "fill_two",
            first,
            1.0,
            "an input mask; the mask is 1 in the hole, where the picture is 0, and 0 elsewhere",
        ),
        ("fill_last", last, 255.0, "an input mask; the mask is 255 in the hole"),
        (
            "fill_one",
            first,
            1.0,
            "four channels become three; the last channel is the mask, which is 1 in the hole",
        ),
    ] {
        let model = open(name);
        assert_eq!(model.recipe.input.mask, Some(MaskRecipe::default().with_hole(white)), "{name}");
        assert_eq!((model.decode().expect(name), model.picture_channels()), (Decode::Image, 3), "{name}");
        let lines: Vec<&str> = model.assumptions().collect();
        assert!(lines.len() == 1 && lines[0].contains(line), "{name}: {lines:?}");
        // The mask is the last channel, also where it has an input of its own.
        let part = |part: &str| vectors.find(&format!("{name}/{part}")).map(order);
        let input = part("input").unwrap_or_else(|| {
            let [image, mask] = ["image", "mask"].map(|name| part(name).expect("both").into_data());
            Tensor::new(Shape::new(1, 4, SIZE[0], SIZE[1]), [image, mask].concat()).expect("four channels")
        });
        let want = vectors.get(&format!("{name}/y"));
        for device in [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten() {
            let session = Session::new(&model, input.shape(), device).expect(name);
            assert_close(name, &session.run(&input).expect(name), want, Tolerance::Network);
        }
        let white = Tensor::from_fn(Shape::new(1, 1, 60, 70), |i| if i % 70 < 20 { 255.0 } else { 0.0 });
        let mask = Hole::of_mask(&Picture::new(white, Depth::Eight).expect("a plane"));
        let (pipeline, outcome) = run(model, &striped(60, 70).with_hole(Some(mask)).expect("one size"));
        assert!(pipeline.output_info().receptive_field.is_some(), "{name}");
        let Decoded::Image(filled) = pipeline.decode(&outcome).expect(name) else { panic!("{name}") };
        assert_eq!(filled.rgb(20, 5), [20; 3], "{name}");
        assert_ne!(filled.rgb(19, 5), [20; 3], "{name}");
    }
    let roles: Vec<_> =
        open("fill_two").signature().inputs.into_iter().map(|port| (port.name, port.role)).collect();
    assert_eq!(roles, [("image".into(), Role::Picture), ("mask".into(), Role::Mask)]);

    // What a person writes counts.
    for recipe in ["[output]\ndecode = \"mask\"", "[input]\nbands = [1, 2, 3, 4]"] {
        let model = open_with("fill_one", recipe).expect("it is read");
        assert_eq!((model.recipe.input.mask.clone(), model.assumptions().count()), (None, 0), "{recipe}");
    }
    let model = open_with("fill_one", "[input.mask]\nplace = \"first\"").expect("it is read");
    assert_eq!(model.recipe.input.mask, Some(MaskRecipe::default().with_place(MaskPlace::First)));
    assert_eq!(model.assumptions().count(), 0);
    let model = open_with("fill_two", "[input.mask]\nplace = \"first\"").expect("it is read");
    let line = Pipeline::new(model, PipelineOptions::default()).expect_err("it has a place").to_string();
    assert!(line.contains("input.mask.place") && line.contains("input of its own"), "{line}");
}
