//! Cut-outs: opacity from probabilities, colours at soft edges, and new backgrounds.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use std::sync::Arc;
use unet_wgpu::image::{
    Backdrop, Depth, Job, Mask, Picture, Pipeline, PipelineOptions, Target, TargetKind, Targets, cutout,
    foreground, opacity,
};
use unet_wgpu::recipe::{Class, Decode, OutputRecipe};
use unet_wgpu::{Device, Model, SessionOptions, Shape, Tensor};

fn row(values: &[f32]) -> Tensor {
    Tensor::new(Shape::new(1, 1, 1, values.len()), values.to_vec()).unwrap()
}

fn classes(names: &[&str]) -> Vec<Class> {
    names.iter().map(|name| Class { name: (*name).into(), color: None }).collect()
}

#[track_caller]
fn near(got: &[f32], want: &[f32]) {
    assert!(got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
}

#[test]
fn opacity_is_the_probability_over_its_whole_range() {
    let result = row(&[0.9, 0.2, 0.0, 0.3, 0.0, 0.2, 0.7, 1.2]);
    let recipe = OutputRecipe::default();
    let mut mask = Mask::new(&result, &recipe).unwrap();
    let of = |mask: &Mask| opacity(&result, mask, &[], true, &recipe).unwrap().data().to_vec();
    assert_eq!(of(&mask), [0.9, 0.2, 0.0, 0.3, 0.0, 0.2, 0.7, 1.0], "a faint spot stays");
    mask.keep_largest();
    assert_eq!(of(&mask), [0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.7, 1.0], "it goes with what the mask lost");
    mask.remove_small(3);
    assert_eq!(of(&mask), [0.0; 8]);

    // Logits of one channel.
    let logits = row(&[0.0, 3f32.ln(), -1e4]);
    let mask = Mask::new(&logits, &recipe).unwrap();
    near(opacity(&logits, &mask, &[], false, &recipe).unwrap().data(), &[0.5, 0.75, 0.0]);
    // What a mask of one thing leaves out.
    let sky = recipe.clone().with_background(Some("1".into()));
    let mask = Mask::new(&logits, &sky).unwrap();
    near(opacity(&logits, &mask, &[], false, &sky).unwrap().data(), &[0.5, 0.25, 1.0]);
    // Several classes: all but the background, wherever it stands.
    let three = Tensor::new(Shape::new(1, 3, 1, 2), vec![0.2, 0.5, 0.5, 0.1, 0.3, 0.4]).unwrap();
    let named = OutputRecipe::default().with_classes(classes(&["cat", "background", "dog"]));
    for (recipe, want) in [(&recipe, [0.8, 0.5]), (&named, [0.5, 0.9])] {
        let mask = Mask::new(&three, recipe).unwrap();
        near(opacity(&three, &mask, &[], true, recipe).unwrap().data(), &want);
    }
    // Labels overlap: the most probable one.
    let labels = OutputRecipe::default().with_decode(Some(Decode::Labels));
    let mask = Mask::new(&three, &labels).unwrap();
    near(opacity(&three, &mask, &[], true, &labels).unwrap().data(), &[0.5, 0.5]);
    // Class numbers have no probabilities.
    let numbers = OutputRecipe::default().with_decode(Some(Decode::Classes));
    let result = row(&[0.0, 2.0, 1.0]);
    let mask = Mask::new(&result, &numbers).unwrap();
    assert_eq!(opacity(&result, &mask, &[], false, &numbers).unwrap().data(), [0.0, 1.0, 1.0]);

    let streets = OutputRecipe::default().with_classes(classes(&["road", "sky", "tree"]));
    let mask = Mask::new(&three, &streets).unwrap();
    let error = opacity(&three, &mask, &[], true, &streets).unwrap_err().to_string();
    assert!(error.contains("none of the model's classes is called background"), "{error}");
    let sky = streets.clone().with_background(Some("sky".into()));
    near(opacity(&three, &Mask::new(&three, &sky).unwrap(), &[], true, &sky).unwrap().data(), &[0.5, 0.9]);
    // Classes by number, with or without a background; one of labels.
    near(opacity(&three, &mask, &[2], true, &streets).unwrap().data(), &[0.3, 0.4]);
    near(opacity(&three, &mask, &[0, 2], true, &streets).unwrap().data(), &[0.5, 0.9]);
    let drawn = Mask::new(&three, &labels).unwrap();
    near(opacity(&three, &drawn, &[3], true, &labels).unwrap().data(), &[0.3, 0.4]);
    let other = Mask::new(&row(&[0.0]), &recipe).unwrap();
    assert!(opacity(&three, &other, &[], true, &recipe).unwrap_err().to_string().contains("1x1"));
}

#[test]
fn cutouts_keep_depth_and_opaque_colours() {
    let planes = Tensor::from_fn(Shape::new(1, 3, 1, 8), |i| i as f32 * 257.0 / 300.0);
    let picture = Picture::new(planes, Depth::Sixteen).unwrap();
    let alpha = row(&[1.0, 1.0, 0.999, 0.5, 0.2, 0.0, 0.0, 0.0]);
    for cleaned in [false, true] {
        let cut = cutout(&picture, alpha.clone(), cleaned).unwrap();
        assert_eq!((cut.depth(), cut.alpha()), (Depth::Sixteen, Some(&alpha)));
        for c in 0..3 {
            assert_eq!(cut.planes().plane(0, c)[..3], picture.planes().plane(0, c)[..3], "opaque ones");
        }
        assert_eq!(cut.planes() == picture.planes(), !cleaned);
    }
    // Its own opacity counts too; an opacity of another size is resized.
    let own = picture.clone().with_alpha(Some(row(&[0.5; 8]))).unwrap();
    assert_eq!(cutout(&own, alpha.clone(), true).unwrap().alpha().unwrap().data()[..1], [0.5]);
    let wide = Picture::new(Tensor::zeros(Shape::new(1, 1, 2, 16)), Depth::Eight).unwrap();
    assert_eq!(cutout(&wide, alpha.clone(), true).unwrap().alpha().unwrap().data()[0], 1.0);
    assert!(foreground(&wide, &alpha).unwrap_err().to_string().contains("opacity"));
}

/// A disc with an edge of 24 pixels over a background: what the picture shows, the matte, and the disc's own colour.
fn blurred(
    front: impl Fn(usize, usize) -> [f32; 3],
    behind: impl Fn(usize, usize) -> [f32; 3],
) -> (Picture, Tensor) {
    let side = 96;
    let alpha = Tensor::from_fn(Shape::new(1, 1, side, side), |i| {
        let (x, y) = ((i % side) as f32 - 48.0, (i / side) as f32 - 48.0);
        ((38.0 - x.hypot(y)) / 24.0).clamp(0.0, 1.0)
    });
    let planes = Tensor::from_fn(Shape::new(1, 3, side, side), |i| {
        let (c, x, y) = (i / (side * side), i % side, i / side % side);
        let a = alpha.data()[i % (side * side)];
        (front(x, y)[c] * a + behind(x, y)[c] * (1.0 - a)).round()
    });
    (Picture::new(planes, Depth::Eight).unwrap(), alpha)
}

#[test]
fn soft_edges_get_the_colour_of_the_foreground_alone() {
    let front = |x: usize, _: usize| [200.0 + x as f32 / 4.0, 60.0, 40.0];
    let behind = |_: usize, y: usize| [20.0, 90.0 + y as f32, 220.0];
    let (picture, alpha) = blurred(front, behind);
    let cleaned = foreground(&picture, &alpha).unwrap();
    let mut errors = [0.0f32; 2];
    let mut count = 0.0;
    for i in (0..96 * 96).filter(|&i| (0.1..0.99).contains(&alpha.data()[i])) {
        for c in 0..3 {
            let want = front(i % 96, i / 96)[c];
            errors[0] += (picture.planes().plane(0, c)[i] - want).abs();
            errors[1] += (cleaned.planes().plane(0, c)[i] - want).abs();
            count += 1.0;
        }
    }
    let [mixed, own] = errors.map(|sum| sum / count);
    assert!(mixed > 30.0 && own < 4.0, "off by {mixed} before and {own} after");
    // Over a new background it looks as if it had been there.
    let there = blurred(front, |_, _| [255.0; 3]).0;
    let over = cutout(&picture, alpha.clone(), true).unwrap().over(&Backdrop::Color([255; 3])).unwrap();
    let off = over.planes().data().iter().zip(there.planes().data()).map(|(a, b)| (a - b).abs());
    let (sum, most) = off.fold((0.0, 0.0f32), |(sum, most), off| (sum + off, most.max(off)));
    assert!(sum / 27_648.0 < 1.0 && most < 16.0, "off by {} and at most {most}", sum / 27_648.0);
    // Transparent pixels do not show the old background.
    let corner = cleaned.rgb(0, 0);
    assert!(corner[0] > 150 && corner[2] < 90, "{corner:?}");
}

#[test]
fn foregrounds_of_grey_and_float_pictures() {
    let (picture, alpha) = blurred(|_, _| [200.0; 3], |_, _| [20.0; 3]);
    let grey = Tensor::new(alpha.shape(), picture.planes().plane(0, 0).to_vec()).unwrap();
    let grey = Picture::new(grey, Depth::Eight).unwrap();
    let cleaned = foreground(&grey, &alpha).unwrap();
    assert!(cleaned.planes().data().iter().all(|v| (v - 200.0).abs() < 6.0));
    // Ten times brighter than white stays so.
    let light = Tensor::from_fn(alpha.shape(), |i| 10.0 * alpha.data()[i]);
    let light = Picture::new(light, Depth::Float).unwrap();
    let cleaned = foreground(&light, &alpha).unwrap();
    assert!(
        cleaned.planes().data().iter().zip(alpha.data()).all(|(v, a)| *a < 0.2 || (v - 10.0).abs() < 0.3)
    );
    let mut hole = light.planes().clone();
    hole.data_mut()[0] = f32::NAN;
    hole.data_mut()[95] = f32::INFINITY;
    let cleaned = foreground(&Picture::new(hole, Depth::Float).unwrap(), &alpha).unwrap();
    assert!(cleaned.planes().data().iter().all(|v| v.is_finite() && *v < 11.0));
    // Sizes down to one pixel, all opaque, all transparent.
    for (h, w, a) in [(1, 1, 0.5), (1, 7, 0.0), (9, 2, 1.0), (33, 65, 0.3)] {
        let picture = Picture::new(Tensor::from_fn(Shape::new(1, 3, h, w), |_| 90.0), Depth::Eight).unwrap();
        let alpha = Tensor::from_fn(Shape::new(1, 1, h, w), |_| a);
        let cleaned = foreground(&picture, &alpha).unwrap();
        assert!(cleaned.planes().data().iter().all(|v| v.is_finite() && (0.0..=255.0).contains(v)));
    }
}

#[test]
fn backdrops_cover_and_are_cropped() {
    let clear = |channels: usize, depth: Depth, a: f32| {
        let (h, w) = (4, 6);
        let value = depth.white();
        let planes = Tensor::from_fn(Shape::new(1, channels, h, w), |_| value);
        let alpha = Tensor::from_fn(Shape::new(1, 1, h, w), |_| a);
        Picture::new(planes, depth).unwrap().with_alpha(Some(alpha)).unwrap()
    };
    let over = clear(1, Depth::Sixteen, 0.5).over(&Backdrop::Color([55, 155, 255])).unwrap();
    assert_eq!((over.depth(), over.channels(), over.alpha()), (Depth::Sixteen, 3, None));
    assert_eq!([0, 1, 2].map(|c| over.planes().plane(0, c)[0]), [155.0, 205.0, 255.0]);
    // Light is mixed as light: half of sRGB 188 is not 94.
    let over = clear(3, Depth::Float, 0.0).over(&Backdrop::Color([188; 3])).unwrap();
    assert!((over.planes().data()[0] - 0.502_886_5).abs() < 1e-5, "{}", over.planes().data()[0]);

    // 12x4 behind 6x4: the middle six columns. 3x2: twice as large. 2x8: three times, and the middle rows.
    let behind = |w: usize, h: usize| {
        let planes = Tensor::from_fn(Shape::new(1, 3, h, w), |i| (i % w * 10 + i / w % h) as f32);
        Backdrop::Picture(Arc::new(Picture::new(planes, Depth::Eight).unwrap()))
    };
    let clear = clear(3, Depth::Eight, 0.0);
    let over = clear.over(&behind(12, 4)).unwrap();
    assert_eq!(over.planes().data()[..6], [30.0, 40.0, 50.0, 60.0, 70.0, 80.0]);
    for (w, h) in [(3, 2), (2, 8), (1, 1), (600, 3), (6, 4)] {
        let over = clear.over(&behind(w, h)).unwrap();
        assert_eq!((over.width(), over.height()), (6, 4), "{w}x{h}");
    }
    // A picture without opacity stays.
    let opaque = Picture::new(Tensor::zeros(Shape::new(1, 1, 2, 2)), Depth::Eight).unwrap();
    assert_eq!(opaque.over(&behind(3, 3)).unwrap(), opaque);
}

#[test]
fn a_picture_in_bands_keeps_the_colours_of_its_edges_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (picture, _) = blurred(|_, _| [230.0, 90.0, 60.0], |_, _| [10.0, 60.0, 200.0]);
    std::fs::write(path("in.png"), picture.encode(&path("in.png")).unwrap()).unwrap();
    // The brightness is taken for a matte.
    let recipe = unet_wgpu::recipe::Recipe::default();
    let model = Model::new(unet_wgpu::graph::Graph::new(1), recipe);
    let run = |options: PipelineOptions, name: &str| {
        let pipeline = Pipeline::new(model.clone(), options.with_clean_edges(true)).unwrap();
        let pipeline = pipeline.with_device(Device::Cpu, SessionOptions::default());
        let targets = Targets(vec![Target { kind: TargetKind::Cutout, path: path(name) }]);
        let job = Job { input: path("in.png"), also: Vec::new(), mask: None, name: "in".into(), targets };
        pipeline.run_bands(&job, &|_| {}).map(|report| report.notes)
    };
    let notes = run(PipelineOptions::default(), "cut.png").unwrap();
    assert!(notes.iter().any(|note| note.contains("keeps the colours of its edges")), "{notes:?}");
    assert_eq!(Picture::open(&path("cut.png")).unwrap().planes(), picture.planes());
    let white = PipelineOptions::default().with_backdrop(Some(Backdrop::Color([255; 3])));
    run(white, "over.png").unwrap();
    assert!(Picture::open(&path("over.png")).unwrap().alpha().is_none());
    let beach = PipelineOptions::default().with_backdrop(Some(Backdrop::Picture(Arc::new(picture.clone()))));
    let error = run(beach, "beach.png").unwrap_err().to_string();
    assert!(error.contains("the picture behind it") && !path("beach.png").exists(), "{error}");
}

#[test]
fn labels_that_overlap_are_drawn_in_bands() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (picture, _) = blurred(|_, _| [230.0, 90.0, 160.0], |_, _| [10.0, 160.0, 200.0]);
    std::fs::write(path("in.png"), picture.encode(&path("in.png")).unwrap()).unwrap();
    let output =
        OutputRecipe::default().with_decode(Some(Decode::Labels)).with_classes(classes(&["a", "b", "c"]));
    let model =
        Model::new(unet_wgpu::graph::Graph::new(3), unet_wgpu::recipe::Recipe::default().with_output(output));
    let pipeline = Pipeline::new(model, PipelineOptions::default()).unwrap();
    let pipeline = pipeline.with_device(Device::Cpu, SessionOptions::default());
    let job = |kinds: &[TargetKind], name: &str| {
        let target =
            |kind: &TargetKind| Target { kind: *kind, path: path(&format!("{name}-{}.png", kind.setting())) };
        let targets = Targets(kinds.iter().map(target).collect());
        Job { input: path("in.png"), also: Vec::new(), mask: None, name: "in".into(), targets }
    };
    let kinds = [TargetKind::Overlay, TargetKind::Compare, TargetKind::Cutout];
    pipeline.run_bands(&job(&kinds, "bands"), &|_| {}).unwrap();
    pipeline.write(&pipeline.run(&picture).unwrap(), &job(&kinds, "whole").targets).unwrap();
    for (bands, whole) in job(&kinds, "bands").targets.paths().zip(job(&kinds, "whole").targets.paths()) {
        assert_eq!(Picture::open(bands).unwrap().planes(), Picture::open(whole).unwrap().planes());
    }
    let error = pipeline.run_bands(&job(&[TargetKind::Result], "labels"), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("a file or a page each") && !error.contains('\n'), "{error}");
}

#[test]
fn a_pipeline_cleans_edges_and_puts_them_over_a_backdrop() {
    let (picture, alpha) = blurred(|_, _| [230.0, 90.0, 60.0], |_, _| [10.0, 60.0, 200.0]);
    // The network returns its input, the matte.
    let model = Model::new(unet_wgpu::graph::Graph::new(1), Default::default());
    let cut = |options: PipelineOptions| {
        let pipeline = Pipeline::new(model.clone(), options).unwrap();
        let pipeline = pipeline.with_device(Device::Cpu, SessionOptions::default());
        let matte = Tensor::from_fn(alpha.shape(), |i| alpha.data()[i] * 255.0);
        let mut outcome = pipeline.run(&Picture::new(matte, Depth::Sixteen).unwrap()).unwrap();
        outcome.picture = Some(picture.clone());
        let target = Target { kind: TargetKind::Cutout, path: "a.jpg".into() };
        let decoded = pipeline.decode(&outcome).unwrap();
        let named = Targets(vec![target.clone()]).check(None, pipeline.output_info(), false);
        let made = pipeline.make(&target, &outcome, Some(&decoded)).unwrap();
        let unet_wgpu::image::Artifact::Picture(made) = made else { panic!("no picture") };
        (made, named)
    };
    let (plain, named) = cut(PipelineOptions::default());
    assert_eq!(plain.planes(), picture.planes());
    assert!(named.unwrap_err().to_string().contains("transparent"));
    let (cleaned, _) = cut(PipelineOptions::default().with_clean_edges(true));
    let want = foreground(&picture, &alpha).unwrap();
    assert!(cleaned.planes().data().iter().zip(want.planes().data()).all(|(a, b)| (a - b).abs() < 0.1));
    let white =
        PipelineOptions::default().with_clean_edges(true).with_backdrop(Some(Backdrop::Color([255; 3])));
    let (over, named) = cut(white);
    assert!(over.alpha().is_none() && over.rgb(0, 0) == [255; 3] && named.is_ok());
}
