//! Networks that fill holes: what they get, what stays as it is, masks of every kind, tiles, bands, averages.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::device::gpu;
use crate::fixtures::{decoding, noise};
use std::fs;
use std::path::Path;
use unet_wgpu::image::{
    Decoded, Depth, Hole, Input, Job, Mask, Outcome, Picture, Pipeline, PipelineOptions, Prepared, Quality,
    Target, TargetKind, Targets,
};
use unet_wgpu::plan::Precision;
use unet_wgpu::recipe::{
    Decode, Fill, Fit, InputRecipe, MaskPlace, MaskRecipe, OutputRecipe, Recipe, Size, Step,
};
use unet_wgpu::tiles::TileOptions;
use unet_wgpu::unet::{Norm, RandomWeights, UnetConfig};
use unet_wgpu::{Augment, Device, Model, SessionOptions, Shape, Tensor};

const SIZE: [usize; 2] = [61, 74];

fn recipe(mask: MaskRecipe) -> Recipe {
    decoding(Decode::Image).with_input(InputRecipe::default().with_mask(Some(mask)))
}

/// A network with random weights that makes pictures of `channels` channels from such and a mask.
fn model_of(channels: usize, recipe: Recipe) -> Model {
    let config = UnetConfig::new(channels + 1, channels, &[4], 4, &[4]);
    let mut model = Model::from_config(&config, &mut RandomWeights::new(3)).unwrap();
    model.recipe = recipe;
    model
}

fn model(mask: MaskRecipe) -> Model {
    model_of(3, recipe(mask))
}

fn pipeline_on(device: Device, model: Model, options: PipelineOptions) -> Pipeline {
    Pipeline::new(model, options).unwrap().with_device(device, SessionOptions::default())
}

fn pipeline(model: Model, options: PipelineOptions) -> Pipeline {
    pipeline_on(Device::Cpu, model, options)
}

/// Two strokes, one of them at the border, and a block.
fn is_hole(x: usize, y: usize) -> bool {
    x < 3 && y > 20 || (x + y) % 41 < 4 && y < 40 || (30..52).contains(&x) && (35..50).contains(&y)
}

/// White where pixels are missing.
fn mask([h, w]: [usize; 2], depth: Depth) -> Picture {
    let white = depth.white();
    let value = |i: usize| if is_hole(i % w, i / w) { white } else { 0.0 };
    Picture::new(Tensor::from_fn(Shape::new(1, 1, h, w), value), depth).unwrap()
}

fn with_hole(picture: Picture) -> Picture {
    let hole = Hole::of_mask(&mask([picture.height(), picture.width()], Depth::Eight));
    picture.with_hole(Some(hole)).unwrap()
}

fn image(pipeline: &Pipeline, outcome: &Outcome) -> Picture {
    match pipeline.decode(outcome).unwrap() {
        Decoded::Image(picture) => picture,
        other => panic!("{other:?}"),
    }
}

/// Whether the result has all known pixels of the input, bit by bit, and none of the others.
#[track_caller]
fn assert_known(what: &str, input: &Picture, result: &Picture) {
    assert_eq!((result.planes().shape(), result.depth()), (input.planes().shape(), input.depth()), "{what}");
    let pixels = input.planes().shape().pixels();
    let pairs = input.planes().data().iter().zip(result.planes().data()).enumerate();
    let mut changed = 0;
    for (i, (a, b)) in pairs {
        let (x, y) = (i % pixels % input.width(), i % pixels / input.width());
        match is_hole(x, y) {
            true => changed += usize::from(a != b),
            false => assert_eq!(a.to_bits(), b.to_bits(), "{what}: column {x}, row {y}"),
        }
    }
    assert!(changed > 500, "{what}: {changed} values of the hole changed");
}

#[test]
fn known_pixels_stay_bit_by_bit_whatever_the_network_gives() {
    let folder = tempfile::tempdir().unwrap();
    for fill in [Fill::Values(vec![0.0]), Fill::Values(vec![0.4, -0.5, 7.0]), Fill::Mean, Fill::None] {
        for place in [MaskPlace::First, MaskPlace::Last] {
            let mask = MaskRecipe::default().with_fill(fill.clone()).with_place(place);
            let pipeline = pipeline(model(mask), PipelineOptions::default());
            for (depth, name) in [
                (Depth::Eight, "a.png"),
                (Depth::Sixteen, "b.png"),
                (Depth::Sixteen, "b.tiff"),
                (Depth::Float, "c.tiff"),
            ] {
                let input = with_hole(noise(3, SIZE, depth, 5));
                let outcome = pipeline.run(&input).unwrap();
                let what = format!("{fill:?}, {place:?}, {name}");
                assert_known(&what, &input, &image(&pipeline, &outcome));
                let path = folder.path().join(name);
                let targets = Targets(vec![Target { kind: TargetKind::Result, path: path.clone() }]);
                pipeline.write(&outcome, &targets).unwrap();
                assert_known(&what, &input, &Picture::open(&path).unwrap());
            }
        }
    }
    // Grey stays grey, also behind a network for colours, and at the network's own size.
    let small =
        InputRecipe::default().with_mask(Some(MaskRecipe::default())).with_size(Some(Size::Fixed([40, 40])));
    for (model, channels) in [
        (model(MaskRecipe::default()), 1),
        (model_of(1, recipe(MaskRecipe::default())), 1),
        (model_of(3, decoding(Decode::Image).with_input(small.clone())), 3),
        (
            model_of(
                3,
                decoding(Decode::Image)
                    .with_input(small.with_size(None).with_multiple(Some(64)).with_fit(Fit::Reflect)),
            ),
            3,
        ),
    ] {
        let input = with_hole(noise(channels, SIZE, Depth::Sixteen, 6));
        let pipeline = pipeline(model, PipelineOptions::default());
        assert_known("another network", &input, &image(&pipeline, &pipeline.run(&input).unwrap()));
    }
}

#[test]
fn the_network_gets_the_mask_and_the_fill() {
    let shape = Shape::new(1, 3, 1, 3);
    let picture = Picture::new(Tensor::from_fn(shape, |i| (i * 10) as f32), Depth::Eight).unwrap();
    let hole = Hole::of_mask(
        &Picture::new(Tensor::new(Shape { c: 1, ..shape }, vec![0.0, 128.0, 127.0]).unwrap(), Depth::Eight)
            .unwrap(),
    );
    assert_eq!((hole.pixels(), hole.width(), hole.height()), (1, 3, 1));
    let picture = picture.with_hole(Some(hole)).unwrap();
    let tensor = |mask: MaskRecipe| {
        let input =
            InputRecipe::default().with_scale(1.0).with_mean([10.0]).with_std([2.0]).with_mask(Some(mask));
        let model = model_of(3, decoding(Decode::Image).with_input(input));
        Prepared::picture(&picture, &model).unwrap().tensor().data().to_vec()
    };
    let plain = MaskRecipe::default();
    let zero = [-5.0, 0.0, 5.0, 10.0, 0.0, 20.0, 25.0, 0.0, 35.0, 0.0, 1.0, 0.0];
    assert_eq!(tensor(plain.clone()), zero);
    // MI-GAN: the mask is first, and 0.5 where a pixel is known.
    let first = plain.clone().with_place(MaskPlace::First).with_hole(-0.5).with_known(0.5);
    assert_eq!(tensor(first), [&[0.5, -0.5, 0.5], &zero[..9]].concat());
    let filled = |fill: Fill| {
        let data = tensor(plain.clone().with_fill(fill));
        [data[1], data[4], data[7]]
    };
    assert_eq!(filled(Fill::Values(vec![1.0, 2.0, 3.0])), [1.0, 2.0, 3.0]);
    assert_eq!(filled(Fill::None), [0.0, 15.0, 30.0]);
    // Means of 0 and 20, 30 and 50, 60 and 80; what is missing does not count.
    assert_eq!(filled(Fill::Mean), [0.0, 15.0, 30.0]);

    // A resized pixel is missing if a missing one is part of it.
    let input =
        InputRecipe::default().with_mask(Some(plain)).with_size(Some(Size::Fixed([1, 6]))).with_scale(1.0);
    let model = model_of(3, decoding(Decode::Image).with_input(input));
    let data = Prepared::picture(&picture, &model).unwrap().tensor().data().to_vec();
    assert_eq!(data[18..], [1.0; 6]);
}

#[test]
fn masks_of_every_kind_have_the_same_hole() {
    let folder = tempfile::tempdir().unwrap();
    let [h, w] = SIZE;
    let want = Hole::of_mask(&mask(SIZE, Depth::Eight));
    let shape = Shape::new(1, 1, h, w);
    let alpha = |hole: f32, known: f32| {
        Some(Tensor::from_fn(shape, |i| if is_hole(i % w, i / w) { hole } else { known }))
    };
    let plain = |grey: f32| Picture::new(Tensor::from_fn(shape, |_| grey), Depth::Eight).unwrap();
    let photo = noise(3, SIZE, Depth::Eight, 8);
    let red = Tensor::from_fn(Shape { c: 3, ..shape }, |i| {
        if i < w * h && is_hole(i % w, i / w) { 255.0 } else { 0.0 }
    });
    let classes = Tensor::from_fn(shape, |i| f32::from(u8::from(is_hole(i % w, i / w))));
    let grey = Tensor::from_fn(shape, |i| if is_hole(i % w, i / w) { 128.0 } else { 127.0 });
    let bits = (0..h).map(|y| (0..w).map(|x| if is_hole(x, y) { "0 " } else { "1 " }).collect::<String>());
    fs::write(
        folder.path().join("bits.pbm"),
        format!("P1\n{w} {h}\n{}", bits.collect::<Vec<_>>().join("\n")),
    )
    .unwrap();
    let palette = Mask::new(&classes, &OutputRecipe::default().with_decode(Some(Decode::Classes))).unwrap();
    let encode = |name: &str, picture: &Picture| {
        let path = folder.path().join(name);
        fs::write(&path, picture.encode(&path).unwrap()).unwrap();
    };
    encode("eight.png", &mask(SIZE, Depth::Eight));
    encode("sixteen.png", &mask(SIZE, Depth::Sixteen));
    encode("float.tiff", &mask(SIZE, Depth::Float));
    encode("half.png", &Picture::new(grey, Depth::Eight).unwrap());
    encode("red.png", &Picture::new(red, Depth::Eight).unwrap());
    encode("erased.png", &photo.with_alpha(alpha(0.0, 1.0)).unwrap());
    encode("painted_black.png", &plain(0.0).with_alpha(alpha(0.9, 0.2)).unwrap());
    encode("painted_white.png", &plain(255.0).with_alpha(alpha(1.0, 0.0)).unwrap());
    fs::write(folder.path().join("palette.png"), palette.encode(Path::new("palette.png")).unwrap()).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let hole = Hole::open(&entry).unwrap();
        assert_eq!(hole.tensor(), want.tensor(), "{}", entry.display());
    }
    for (name, grey, part) in [
        ("black.png", 0.0, "no hole"),
        ("ones.png", 1.0, "1 of 255"),
        ("white.png", 255.0, "all of this mask"),
    ] {
        encode(name, &plain(grey));
        let line = Hole::open(&folder.path().join(name)).unwrap_err().to_string();
        assert!(line.contains(part) && line.contains(name) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn transparency_is_a_hole_and_the_result_is_opaque() {
    let pipeline = pipeline(model(MaskRecipe::default()), PipelineOptions::default());
    let picture = noise(3, SIZE, Depth::Eight, 9);
    let shape = Shape { c: 1, ..picture.planes().shape() };
    let alpha = Tensor::from_fn(shape, |i| if is_hole(i % SIZE[1], i / SIZE[1]) { 0.99 } else { 1.0 });
    let clear = picture.clone().with_alpha(Some(alpha.clone())).unwrap();
    let [masked, transparent] =
        [&with_hole(picture.clone()), &clear].map(|input| image(&pipeline, &pipeline.run(input).unwrap()));
    assert_eq!(masked, transparent);
    assert!(transparent.alpha().is_none());
    // With a mask of its own, opacity stays.
    let both = with_hole(picture).with_alpha(Some(alpha.clone())).unwrap();
    assert_eq!(image(&pipeline, &pipeline.run(&both).unwrap()).alpha(), Some(&alpha));
}

fn tiled(side: usize) -> PipelineOptions {
    PipelineOptions::default().with_tiles(TileOptions::default().with_size(Some(side)))
}

#[test]
fn tiles_and_bands_carry_the_mask() {
    let folder = tempfile::tempdir().unwrap();
    let size = [151, 138];
    let at = |name: &str| folder.path().join(name);
    for fill in [Fill::Values(vec![0.0]), Fill::Mean] {
        let model = model(MaskRecipe::default().with_fill(fill));
        let whole = pipeline(model.clone(), PipelineOptions::default().with_feather(3));
        let tiles = pipeline(model, tiled(64).with_feather(3));
        for (depth, transparent) in [(Depth::Eight, true), (Depth::Sixteen, false), (Depth::Float, false)] {
            let picture = noise(3, size, depth, 11);
            let input = with_hole(picture.clone());
            let [want, got] = [&whole, &tiles].map(|pipeline| pipeline.run(&input).unwrap());
            assert!(got.report.tiles > 4 && got.report.exact);
            let pairs = want.result.data().iter().zip(got.result.data());
            let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-6, "{depth:?}: off by {off:e}");

            let (from, to) = (at("in.tiff"), at("out.tiff"));
            let alpha = Tensor::from_fn(Shape::new(1, 1, size[0], size[1]), |i| {
                if is_hole(i % size[1], i / size[1]) { 0.0 } else { 1.0 }
            });
            let stored = picture.with_alpha(transparent.then_some(alpha)).unwrap();
            fs::write(&from, stored.encode(&from).unwrap()).unwrap();
            fs::write(at("mask.png"), mask(size, Depth::Eight).encode(&at("mask.png")).unwrap()).unwrap();
            let kinds = [(TargetKind::Result, to.clone()), (TargetKind::Compare, at("compare.tiff"))];
            let targets = Targets(kinds.map(|(kind, path)| Target { kind, path }).into());
            let mut job = Job::new(&from, targets.clone());
            job.mask = (!transparent).then(|| at("mask.png"));
            tiles.run_bands(&job, &|_| {}).unwrap();
            let banded = targets.paths().map(|path| Picture::open(path).unwrap()).collect::<Vec<_>>();
            whole.write(&want, &targets).unwrap();
            let step = if depth == Depth::Float { 2e-6 } else { 1.0 };
            for (whole, banded) in targets.paths().map(|path| Picture::open(path).unwrap()).zip(&banded) {
                assert_eq!(whole.planes().shape(), banded.planes().shape());
                assert!(banded.alpha().is_none());
                let pairs = whole.planes().data().iter().zip(banded.planes().data());
                let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off <= step, "{depth:?}: bands are off by {off}");
            }
        }
    }
    // In bands, known pixels stay too.
    let picture = noise(3, size, Depth::Sixteen, 12);
    fs::write(at("in.png"), picture.encode(&at("in.png")).unwrap()).unwrap();
    let target = Target { kind: TargetKind::Result, path: at("out.png") };
    let job = Job { mask: Some(at("mask.png")), ..Job::new(at("in.png"), Targets(vec![target])) };
    pipeline(model(MaskRecipe::default()), tiled(64)).run_bands(&job, &|_| {}).unwrap();
    assert_known("bands", &with_hole(picture), &Picture::open(&at("out.png")).unwrap());
}

#[test]
fn a_hole_larger_than_a_tile_or_than_the_network_sees_is_told() {
    const SIDE: usize = 192;
    let block = |side: usize| {
        let value = |i: usize| if i % SIDE < side && i / SIDE < side { 255.0 } else { 0.0 };
        let planes = Tensor::from_fn(Shape::new(1, 1, SIDE, SIDE), value);
        Hole::of_mask(&Picture::new(planes, Depth::Eight).unwrap())
    };
    let [near, all] = [Norm::Batch, Norm::Instance].map(|norm| {
        let config = UnetConfig::new(4, 3, &[4], 4, &[4]).with_norm(norm);
        let mut model = Model::from_config(&config, &mut RandomWeights::new(3)).unwrap();
        model.recipe = recipe(MaskRecipe::default());
        model
    });
    let notes = |model: &Model, side: usize, tile: usize| {
        let picture = noise(3, [SIDE, SIDE], Depth::Eight, 1).with_hole(Some(block(side))).unwrap();
        pipeline(model.clone(), tiled(tile)).run(&picture).unwrap().report.notes.join("\n")
    };
    let field = near.graph(Shape::new(1, 4, SIDE, SIDE)).unwrap().receptive_field().unwrap();
    for (model, side, tile, part) in [
        (&near, field, SIDE, Some("pixels at once, and the hole is larger")),
        (&near, field - 1, SIDE, None),
        (&near, field - 1, 32, Some("larger than the 8x8 pixels between tiles, with the same result")),
        (&all, 120, 128, Some("larger than the 64x64 pixels between tiles, so tiles inside")),
        (&all, 60, 128, None),
        (&all, 120, SIDE, None),
    ] {
        let text = notes(model, side, tile);
        assert_eq!(text.contains("hole"), part.is_some(), "{side}, {tile}: {text}");
        assert!(text.contains(part.unwrap_or_default()), "{side}, {tile}: {text}");
    }
    assert!(notes(&all, 180, SIDE).contains("87 % of the picture"));
}

#[test]
fn copies_of_the_input_have_copies_of_the_mask() {
    let options = || PipelineOptions::default().with_tiles(TileOptions::default().with_augment(Augment::All));
    let pipeline = pipeline(model(MaskRecipe::default()), options());
    let input = with_hole(noise(3, SIZE, Depth::Float, 13));
    let mirrored = |x: &Tensor| {
        let w = x.shape().w;
        Tensor::from_fn(x.shape(), |i| x.data()[i - i % w + (w - 1 - i % w)])
    };
    let white = |hole: &Tensor| Picture::new(hole.clone(), Depth::Float).unwrap();
    let turned = Picture::new(mirrored(input.planes()), Depth::Float).unwrap();
    let turned_hole = Hole::of_mask(&white(&mirrored(&input.hole().unwrap().tensor())));
    let turned = turned.with_hole(Some(turned_hole)).unwrap();
    let [want, got] = [&input, &turned].map(|picture| pipeline.run(picture).unwrap().result);
    let pairs = want.data().iter().zip(mirrored(&got).data().to_vec());
    let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= 1e-5, "off by {off:e}");
}

#[test]
fn half_precision_fills_alike() {
    let Some(gpu) = gpu().filter(|gpu| gpu.report().f16) else { return };
    let input = with_hole(noise(3, SIZE, Depth::Eight, 14));
    let [want, got] = [Precision::F32, Precision::F16].map(|precision| {
        let options = SessionOptions::default().with_precision(precision);
        let pipeline = Pipeline::new(model(MaskRecipe::default()), PipelineOptions::default()).unwrap();
        let pipeline = pipeline.with_device(Device::Gpu(gpu.clone()), options);
        image(&pipeline, &pipeline.run(&input).unwrap())
    });
    assert_known("f16", &input, &got);
    let psnr = unet_wgpu::image::similarity(&got, &want).unwrap().psnr;
    assert!(psnr >= 45.0, "{psnr} dB");
}

#[test]
fn a_feather_mixes_around_the_hole_only() {
    let model = model(MaskRecipe::default());
    let input = with_hole(noise(3, SIZE, Depth::Float, 15));
    let [sharp, soft] = [0, 3].map(|feather| {
        let pipeline = pipeline(model.clone(), PipelineOptions::default().with_feather(feather));
        image(&pipeline, &pipeline.run(&input).unwrap())
    });
    let outcome = pipeline(model, PipelineOptions::default()).run(&input).unwrap();
    let [h, w] = SIZE;
    let mut mixed = 0;
    for (i, &value) in soft.planes().data().iter().enumerate() {
        let (x, y) = (i % w, i / w % h);
        let [known, network] = [input.planes().data()[i], outcome.result.data()[i]];
        let pixels = (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).filter(|&(x, y)| is_hole(x, y));
        let distance = pixels.map(|(a, b)| (a.abs_diff(x) as f64).hypot(b.abs_diff(y) as f64));
        let distance = distance.fold(f64::INFINITY, f64::min);
        let want = match distance {
            0.0 => f64::from(sharp.planes().data()[i]),
            d if d >= 4.0 => f64::from(known),
            d => f64::from(known) + (1.0 - d / 4.0) * (f64::from(network) - f64::from(known)),
        };
        assert!((f64::from(value) - want).abs() < 1e-4, "column {x}, row {y}: {value}, not {want}");
        mixed += usize::from(distance > 0.0 && distance < 4.0);
    }
    assert!(mixed > 1000, "{mixed}");
}

#[test]
fn the_reference_is_compared_over_the_hole_and_over_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reference.png");
    let reference = noise(3, SIZE, Depth::Eight, 16);
    fs::write(&path, reference.encode(&path).unwrap()).unwrap();
    let input = with_hole(reference.clone());
    let hole = input.hole().unwrap();
    // 10 steps off in the hole.
    let off = Tensor::from_fn(reference.planes().shape(), |i| {
        let value = reference.planes().data()[i];
        let pixel = i % (SIZE[0] * SIZE[1]);
        let change = if value > 128.0 { -10.0 } else { 10.0 };
        if is_hole(pixel % SIZE[1], pixel / SIZE[1]) { value + change } else { value }
    });
    let result = Decoded::Image(Picture::new(off, Depth::Eight).unwrap());
    let quality = Quality::of(&result, Some(hole), &path).unwrap();
    let figures = quality.figures();
    let share = hole.pixels() as f64 / (SIZE[0] * SIZE[1]) as f64;
    let psnr = |error: f64| 10.0 * (255.0 * 255.0 / error).log10();
    assert_eq!(figures.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["psnr_hole", "psnr", "ssim"]);
    assert!((figures[0].1 - psnr(100.0)).abs() < 1e-9 && (figures[1].1 - psnr(100.0 * share)).abs() < 1e-9);
    let text = quality.to_string();
    assert!(text.contains("hole (") && text.contains("28.13 dB") && text.contains("whole picture"), "{text}");
}

#[test]
fn what_cannot_be_filled_is_refused_in_one_line() {
    let plain = || noise(3, SIZE, Depth::Eight, 17);
    let line = |error: unet_wgpu::Error| {
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    };
    let filling = model(MaskRecipe::default());
    let refused = |picture: Picture| line(Input::picture(picture, &filling).unwrap_err());
    assert!(refused(plain()).contains("no pixel is missing"));
    let empty = Hole::of_mask(
        &Picture::new(Tensor::zeros(Shape::new(1, 1, SIZE[0], SIZE[1])), Depth::Eight).unwrap(),
    );
    assert!(refused(plain().with_hole(Some(empty)).unwrap()).contains("no pixel is missing"));
    let other = Hole::of_mask(&mask([20, 30], Depth::Eight));
    let text = line(plain().with_hole(Some(other)).unwrap_err());
    assert!(text.contains("74x61") && text.contains("30x20"), "{text}");

    // A recipe with a mask for a network that gives classes, or with steps that measure the hole.
    let classes =
        decoding(Decode::Mask).with_input(InputRecipe::default().with_mask(Some(MaskRecipe::default())));
    let text = line(Pipeline::new(model_of(3, classes), PipelineOptions::default()).unwrap_err());
    assert!(text.contains("input.mask"), "{text}");
    let steps = [Step::Standardize { over: unet_wgpu::recipe::Over::Sample, eps: 0.0 }];
    let measured = InputRecipe::default().with_mask(Some(MaskRecipe::default())).with_steps(steps);
    let text = line(decoding(Decode::Image).with_input(measured).check().unwrap_err());
    assert!(text.contains("input.mask") && text.contains("fixed mean"), "{text}");
    for mask in [MaskRecipe::default().with_known(1.0), MaskRecipe::default().with_fill(Fill::Values(vec![]))]
    {
        assert!(line(recipe(mask).check().unwrap_err()).contains("input.mask"));
    }
    let two = model(MaskRecipe::default().with_fill(Fill::Values(vec![1.0, 2.0])));
    let text = line(Input::picture(with_hole(plain()), &two).unwrap_err());
    assert!(text.contains("fill") && text.contains("1 or 3"), "{text}");
}
