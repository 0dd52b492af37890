//! Drawings for people, and pictures from end to end, compared pixel by pixel with reviewed pictures.
//!
//! The pictures are `tests/vectors/snapshots/*.png`. After an intended change, run these tests with
//! `UNET_ACCEPT_SNAPSHOTS=1`, look at every file that git reports as changed, and commit them.

use std::path::Path;
use unet_wgpu::image::{
    Backdrop, Decoded, Depth, Mask, Picture, Pipeline, PipelineOptions, cutout, opacity, side_by_side,
};
use unet_wgpu::recipe::{Class, OutputRecipe};
use unet_wgpu::{Device, Model, SessionOptions, Shape, Tensor};

const WIDTH: usize = 160;
const HEIGHT: usize = 120;

/// A disc (centre, radius) or a rectangle (corner, size) of a class.
#[derive(Debug, Clone, Copy)]
enum Form {
    Disc(f32, f32, f32),
    Rectangle(f32, f32, f32, f32),
}

/// Later forms lie on top.
const FORMS: [(usize, Form); 7] = [
    (1, Form::Disc(38.0, 36.0, 21.6)),
    (2, Form::Rectangle(66.0, 14.0, 40.0, 34.0)),
    (3, Form::Disc(128.0, 38.0, 19.6)),
    (4, Form::Rectangle(92.0, 36.0, 22.0, 26.0)),
    (1, Form::Disc(146.0, 92.0, 23.6)),
    (3, Form::Disc(36.0, 90.0, 14.6)),
    (2, Form::Rectangle(72.0, 84.0, 34.0, 9.0)),
];

impl Form {
    /// Distance from the border in pixels, positive inside.
    fn depth(self, x: f32, y: f32) -> f32 {
        match self {
            Form::Disc(cx, cy, radius) => radius - ((x - cx).powi(2) + (y - cy).powi(2)).sqrt(),
            Form::Rectangle(left, top, w, h) => (x - left).min(left + w - x).min(y - top).min(top + h - y),
        }
    }
}

/// Evening on the left, noon on the right, with the forms as shaded bodies.
fn picture() -> Picture {
    let planes = Tensor::from_fn(Shape::new(1, 3, HEIGHT, WIDTH), |i| {
        let (c, x, y) = (i / (WIDTH * HEIGHT), (i % WIDTH) as f32, (i / WIDTH % HEIGHT) as f32);
        let light = x / WIDTH as f32;
        let ground = [18.0, 26.0, 44.0][c] + light * [225.0, 214.0, 192.0][c];
        FORMS.iter().fold(ground, |value, (class, form)| {
            let cover = (form.depth(x, y) + 0.5).clamp(0.0, 1.0);
            let tint =
                [[150.0, 120.0, 100.0], [96.0, 128.0, 104.0], [140.0, 136.0, 156.0], [104.0, 116.0, 150.0]];
            let shade = tint[class - 1][c] * (0.45 + 0.7 * light) + form.depth(x, y).min(14.0) * 1.5;
            value + (shade - value) * cover
        })
    });
    let planes = Tensor::from_fn(planes.shape(), |i| planes.data()[i].round());
    Picture::new(planes, Depth::Eight).expect("three planes")
}

/// The forms as a network's result of five classes.
fn classes() -> Tensor {
    Tensor::from_fn(Shape::new(1, 5, HEIGHT, WIDTH), |i| {
        let (channel, x, y) = (i / (WIDTH * HEIGHT), (i % WIDTH) as f32, (i / WIDTH % HEIGHT) as f32);
        let top = FORMS.iter().rev().find(|(_, form)| form.depth(x, y) >= 0.0);
        f32::from(top.map_or(0, |top| top.0) == channel)
    })
}

/// The discs as probabilities that fall off over several pixels, with a faint spot outside of them.
fn soft_discs() -> Tensor {
    Tensor::from_fn(Shape::new(1, 1, HEIGHT, WIDTH), |i| {
        let (x, y) = ((i % WIDTH) as f32, (i / WIDTH) as f32);
        let discs = FORMS.iter().filter(|(_, form)| matches!(form, Form::Disc(..)));
        let depth = discs.map(|(_, form)| form.depth(x, y)).fold(f32::NEG_INFINITY, f32::max);
        let spot = Form::Disc(84.0, 66.0, 5.0).depth(x, y).clamp(0.0, 4.0) / 10.0;
        (depth / 6.0 + 0.5).clamp(0.0, 1.0).max(spot)
    })
}

fn mask(result: &Tensor) -> Mask {
    Mask::new(result, &OutputRecipe::default()).expect("a mask")
}

/// Red, green, blue and opacity of every pixel.
fn rgba(picture: &Picture) -> image::RgbaImage {
    image::RgbaImage::from_fn(picture.width() as u32, picture.height() as u32, |x, y| {
        let [r, g, b] = picture.rgb(x as usize, y as usize);
        let place = y as usize * picture.width() + x as usize;
        let opacity = picture.alpha().map_or(1.0, |alpha| alpha.data()[place]);
        image::Rgba([r, g, b, (opacity * 255.0).round() as u8])
    })
}

/// Compares a picture with the accepted one of that name.
fn check(name: &str, picture: &Picture) {
    let got = rgba(picture);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/snapshots/{name}.png"));
    if std::env::var_os("UNET_ACCEPT_SNAPSHOTS").is_some_and(|value| value == "1") {
        got.save(&path).expect("a place to write");
    }
    let want = image::open(&path).map(image::DynamicImage::into_rgba8).ok();
    if want.as_ref() == Some(&got) {
        return;
    }
    let new = std::env::temp_dir().join(format!("unet-snapshot-{name}.png"));
    got.save(&new).expect("a place to write");
    let differ = want.filter(|want| want.dimensions() == got.dimensions()).map_or_else(
        || "it is missing or of another size".to_string(),
        |want| {
            let count = want.pixels().zip(got.pixels()).filter(|(a, b)| a != b).count();
            format!("{count} of {} pixels differ", want.pixels().len())
        },
    );
    panic!(
        "{}: {differ}; the new picture is {}; if it is right, run with UNET_ACCEPT_SNAPSHOTS=1",
        path.display(),
        new.display()
    );
}

#[test]
fn overlays_look_as_they_did() {
    check("overlay", &mask(&classes()).overlay(&picture()).unwrap());
}

#[test]
fn contours_look_as_they_did() {
    check("contours", &mask(&classes()).contours(&picture()).unwrap());
}

#[test]
fn comparisons_look_as_they_did() {
    let picture = picture();
    let overlay = mask(&classes()).overlay(&picture).unwrap();
    check("compare", &side_by_side(&[&picture, &overlay]).unwrap());
}

#[test]
fn cutouts_look_as_they_did() {
    let (result, picture) = (soft_discs(), picture());
    let mut mask = mask(&result);
    let cut = |mask: &Mask| {
        let opacity = opacity(&result, mask, &[], true, &OutputRecipe::default()).expect("its own mask");
        cutout(&picture, opacity, true).expect("of the picture's size")
    };
    check("cutout", &cut(&mask));
    check("cutout_over", &cut(&mask).over(&Backdrop::Color([255; 3])).expect("a picture"));
    mask.keep_largest();
    check("cutout_largest", &cut(&mask));
}

/// Colours of classes that have names but no colours.
#[test]
fn colours_of_named_classes_look_as_they_did() {
    let class = |i: usize| Class { name: format!("thing {i}"), color: None };
    let recipe = OutputRecipe::default().with_classes((0..24).map(class).collect::<Vec<_>>());
    // Squares of 16 pixels, eight in a row.
    let result = Tensor::from_fn(Shape::new(1, 24, 48, 128), |i| {
        let (channel, x, y) = (i / (48 * 128), i % 128, i / 128 % 48);
        f32::from(channel == y / 16 * 8 + x / 16)
    });
    check("colors", &Mask::new(&result, &recipe).expect("a mask").to_picture().expect("colours"));
}

/// What a small network of `tests/vectors/meaning` makes of a picture, beside it. Nothing describes the network's use.
fn end_to_end(network: &str, picture: &Picture) -> Picture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/meaning/{network}.onnx"));
    let model = Model::open(path).expect("a model");
    let pipeline = Pipeline::new(model, PipelineOptions::default()).expect("a pipeline");
    let pipeline = pipeline.with_device(Device::Cpu, SessionOptions::default());
    let outcome = pipeline.run(picture).expect("it runs");
    let result = match pipeline.decode(&outcome).expect("it is decoded") {
        Decoded::Mask(mask) => mask.overlay(picture).expect("a mask of the picture's size"),
        Decoded::Image(result) => result,
        Decoded::Scores(_) => panic!("not scores"),
    };
    side_by_side(&[picture, &result]).expect("two pictures")
}

/// A network exported for 32x32 pixels on a large picture: it takes the person as a whole, and not the single stripes of
/// the shirt, which at the picture's own size are wider than all that it sees.
#[test]
fn a_portrait_network_finds_the_person() {
    let (width, height) = (480, 360);
    let head = Form::Disc(240.0, 110.0, 62.0);
    let body = Form::Disc(240.0, 330.0, 150.0);
    let planes = Tensor::from_fn(Shape::new(1, 3, height, width), |i| {
        let (c, x, y) = (i / (width * height), (i % width) as f32, (i / width % height) as f32);
        let stripe = if x % 28.0 < 10.0 { 90.0 } else { 240.0 };
        match (head.depth(x, y) > 0.0, body.depth(x, y) > 0.0) {
            (true, _) => [235.0, 190.0, 160.0][c],
            (_, true) => stripe,
            _ => [28.0, 44.0, 60.0][c] + 20.0 * y / height as f32,
        }
    });
    let picture = Picture::new(planes, Depth::Eight).expect("three planes").rounded();
    check("portrait", &end_to_end("portrait", &picture));
}

/// Logits of the brightness: class 1 where their sigmoid is above one half.
#[test]
fn a_network_of_logits_finds_what_is_bright() {
    check("logits", &end_to_end("logits", &picture()));
}

/// Channels first in, last out: red and blue change places, and nothing else moves.
#[test]
fn a_network_with_channels_last_keeps_the_picture() {
    check("swap_last", &end_to_end("swap_last", &picture()));
}
