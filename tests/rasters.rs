//! Raster files of remote sensing and animations: pages that are none, any number of bands, places on the earth, pixels
//! without data, frames.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::fixtures::decoding;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use tiff::decoder::{Decoder, ifd::Value};
use tiff::tags::Tag;
use unet_wgpu::image::{Decoded, Depth, Pages, Picture, Pipeline, PipelineOptions, Rows};
use unet_wgpu::recipe::{Decode, InputRecipe, Transfer};
use unet_wgpu::unet::{UnetConfig, Weights};
use unet_wgpu::{Device, Error, Model, SessionOptions, Shape, Tensor};

/// The values of a tag.
#[derive(Clone)]
enum Tagged {
    Short(Vec<u16>),
    Long(Vec<u32>),
    Double(Vec<f64>),
    Text(&'static str),
}
use Tagged::{Double, Long, Short, Text};

impl Tagged {
    /// Code, count, bytes.
    fn stored(&self) -> (u16, usize, Vec<u8>) {
        match self {
            Short(v) => (3, v.len(), v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Long(v) => (4, v.len(), v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Double(v) => (12, v.len(), v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Text(v) => (2, v.len() + 1, [v.as_bytes(), &[0]].concat()),
        }
    }
}

/// A directory and the bytes of its strips.
#[derive(Clone, Default)]
struct Page {
    tags: Vec<(u16, Tagged)>,
    strips: Vec<Vec<u8>>,
}

impl Page {
    /// Rows and columns, samples of a pixel, their bits and format; one strip, or one for each plane.
    fn new([h, w]: [u32; 2], samples: usize, bits: u16, format: u16, strips: Vec<Vec<u8>>) -> Page {
        let mut page = Page { tags: Vec::new(), strips };
        page.set(256, Long(vec![w]));
        page.set(257, Long(vec![h]));
        page.set(258, Short(vec![bits; samples]));
        page.set(259, Short(vec![1]));
        page.set(262, Short(vec![1]));
        page.set(277, Short(vec![samples as u16]));
        page.set(278, Long(vec![h]));
        page.set(339, Short(vec![format; samples]));
        if page.strips.len() > 1 {
            page.set(284, Short(vec![2]));
        }
        page
    }

    /// A grey page whose pixels all have this value.
    fn flat(size: [u32; 2], value: u8) -> Page {
        Page::new(size, 1, 8, 1, vec![vec![value; (size[0] * size[1]) as usize]])
    }

    fn set(&mut self, tag: u16, values: Tagged) {
        self.tags.retain(|(known, _)| *known != tag);
        self.tags.push((tag, values));
    }

    fn with(mut self, tag: u16, values: Tagged) -> Page {
        self.set(tag, values);
        self
    }
}

/// A little-endian TIFF or BigTIFF file.
fn file(pages: &[Page], big: bool) -> Vec<u8> {
    let word =
        |v: usize| if big { (v as u64).to_le_bytes().to_vec() } else { (v as u32).to_le_bytes().to_vec() };
    let mut bytes = if big { b"II\x2b\0\x08\0\0\0".to_vec() } else { b"II\x2a\0".to_vec() };
    let mut link = bytes.len();
    bytes.extend(word(0));
    for page in pages {
        let mut page = page.clone();
        let places = page.strips.iter().map(|strip| {
            let place = bytes.len() as u32;
            bytes.extend(strip);
            place
        });
        let places = places.collect::<Vec<u32>>();
        if !places.is_empty() {
            let tiled = page.tags.iter().any(|(tag, _)| *tag == 322);
            let lengths = page.strips.iter().map(|strip| strip.len() as u32).collect();
            page.set(if tiled { 325 } else { 279 }, Long(lengths));
            page.set(if tiled { 324 } else { 273 }, Long(places));
        }
        page.tags.sort_by_key(|(tag, _)| *tag);
        let mut entries = Vec::new();
        for (tag, values) in &page.tags {
            let (code, count, mut values) = values.stored();
            entries.extend([tag.to_le_bytes(), code.to_le_bytes()].concat());
            entries.extend(word(count));
            if values.len() > word(0).len() {
                let place = word(bytes.len());
                bytes.extend(values);
                entries.extend(place);
            } else {
                values.resize(word(0).len(), 0);
                entries.extend(values);
            }
        }
        let place = word(bytes.len());
        bytes[link..link + place.len()].copy_from_slice(&place);
        bytes.extend(if big {
            (page.tags.len() as u64).to_le_bytes().to_vec()
        } else {
            (page.tags.len() as u16).to_le_bytes().to_vec()
        });
        bytes.extend(entries);
        link = bytes.len();
        bytes.extend(word(0));
    }
    bytes
}

fn read(bytes: &[u8]) -> Picture {
    Picture::from_bytes(bytes, Path::new("test.tif")).unwrap()
}

fn message(bytes: &[u8], name: &str) -> String {
    Picture::from_bytes(bytes, Path::new(name)).unwrap_err().to_string()
}

#[test]
fn overviews_masks_and_thumbnails_are_no_pages() {
    let overview = |kind: u32| Page::flat([2, 3], 9).with(254, Long(vec![kind]));
    let old = |kind: u16| Page::flat([2, 3], 9).with(255, Short(vec![kind]));
    // As in the files of cameras: an embedded JPEG, and neither size nor strips.
    let mut thumbnail =
        Page::default().with(259, Short(vec![6])).with(513, Long(vec![8])).with(514, Long(vec![4]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let page = Page::flat([4, 6], 1);
    // A photometric interpretation that no decoder knows, in a page that nobody reads.
    let strange = overview(1).with(262, Short(vec![9999]));
    thumbnail.set(262, Short(vec![6]));
    for big in [false, true] {
        for (others, what) in [
            (vec![overview(1), overview(1)], "overviews"),
            (vec![overview(4).with(262, Short(vec![4])), overview(5)], "masks"),
            (vec![old(2)], "old overviews"),
            (vec![thumbnail.clone()], "thumbnails"),
            (vec![strange.clone()], "strange overviews"),
        ] {
            let after = [std::slice::from_ref(&page), &others].concat();
            let before = [&others, std::slice::from_ref(&page)].concat();
            let between = [&others, std::slice::from_ref(&page), &others].concat();
            for pages in [after, before, between] {
                std::fs::write(&path, file(&pages, big)).unwrap();
                let pages: Vec<Picture> = Pages::open(&path).unwrap().map(Result::unwrap).collect();
                assert_eq!(pages.len(), 1, "{what}");
                assert_eq!((pages[0].width(), pages[0].planes().data()[0]), (6, 1.0), "{what}");
                assert!(Picture::open(&path).unwrap().notes().is_empty(), "{what}");
            }
        }
        // A page of several is a page (bit 1), and so is what the old tag calls full or a page.
        let pages =
            [page.clone().with(254, Long(vec![2])), old(1), overview(1), old(3), Page::flat([1, 1], 7)];
        std::fs::write(&path, file(&pages, big)).unwrap();
        let values = Pages::open(&path).unwrap().map(|page| page.unwrap().planes().data()[0]);
        assert_eq!(values.collect::<Vec<_>>(), [1.0, 9.0, 9.0, 7.0]);
        // An overview alone is what there is.
        std::fs::write(&path, file(&[overview(1)], big)).unwrap();
        assert_eq!(Picture::open(&path).unwrap().width(), 3);
        assert!(message(&file(&[thumbnail.clone()], big), "a.tif").contains("no picture"));
    }
}

#[test]
fn pyramids_of_slides_are_one_page() {
    let tiled = |[h, w]: [u32; 2]| {
        let tiles = vec![vec![7; 256]; (w.div_ceil(16) * h.div_ceil(16)) as usize];
        Page::new([h, w], 1, 8, 1, tiles)
            .with(322, Short(vec![16]))
            .with(323, Short(vec![16]))
            .with(284, Short(vec![1]))
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.svs");
    let slide = tiled([32, 4112]);
    let pages = |pages: &[Page]| {
        std::fs::write(&path, file(pages, false)).unwrap();
        Pages::open(&path).unwrap().map(|page| page.unwrap().width()).collect::<Vec<_>>()
    };
    assert_eq!(pages(&[slide.clone(), Page::flat([8, 1028], 1), tiled([16, 2056]), tiled([2, 257])]), [4112]);
    // Other proportions, and pages that are not large, are pages.
    assert_eq!(pages(&[slide, tiled([16, 257])]), [4112, 257]);
    assert_eq!(pages(&[tiled([32, 512]), tiled([16, 256])]), [512, 256]);
}

#[test]
fn camera_raw_files_are_named() {
    let small = Page::flat([2, 3], 9).with(254, Long(vec![1]));
    let camera = small.clone().with(271, Text("NIKON CORPORATION")).with(330, Long(vec![8]));
    let sensor = Page::flat([2, 3], 9).with(262, Short(vec![32803]));
    let linear = Page::flat([2, 3], 9).with(262, Short(vec![34892]));
    let negative = Page::flat([2, 3], 9).with(50706, Long(vec![1]));
    for pages in [vec![camera], vec![small.clone(), sensor], vec![linear], vec![negative]] {
        let text = message(&file(&pages, false), "a.tif");
        assert!(text.contains("camera raw") && text.contains("darktable-cli"), "{text}");
    }
    // The name tells where the file does not.
    let damaged = b"II*\0\x08\0\0\0\0\0\0\0\0\0";
    assert!(message(damaged, "a.NEF").contains("camera raw"));
    assert!(!message(damaged, "a.tif").contains("camera raw"));
    // A scanner is no camera.
    let scan = Page::flat([2, 3], 9).with(271, Text("EPSON"));
    assert_eq!(read(&file(&[scan], false)).width(), 3);
}

/// A page of bands, band `b` of pixel `i` is `value(b, i)`, interleaved or plane after plane.
fn banded(bands: usize, kind: (u16, u16), planar: bool, value: impl Fn(usize, usize) -> f64) -> Page {
    let pixels = 3 * 5;
    let sample = |b: usize, i: usize| {
        let v = value(b, i);
        match kind {
            (8, _) => vec![v as u8],
            (16, 1) => (v as u16).to_le_bytes().to_vec(),
            (16, _) => (v as i16).to_le_bytes().to_vec(),
            (32, _) => (v as f32).to_le_bytes().to_vec(),
            _ => v.to_le_bytes().to_vec(),
        }
    };
    let strips: Vec<Vec<u8>> = match planar {
        true => (0..bands).map(|b| (0..pixels).flat_map(|i| sample(b, i)).collect()).collect(),
        false => vec![(0..pixels).flat_map(|i| (0..bands).flat_map(move |b| sample(b, i))).collect()],
    };
    Page::new([3, 5], bands, kind.0, kind.1, strips)
}

#[test]
fn every_number_of_bands_goes_into_networks_of_as_many_channels() {
    let value = |b: usize, i: usize| (20 * b + i + 1) as f64;
    for (kind, unit) in
        [((8, 1), 1.0), ((16, 1), 1.0 / 257.0), ((16, 2), 1.0), ((32, 3), 255.0), ((64, 3), 255.0)]
    {
        for planar in [false, true] {
            for (bands, colors, extra) in
                [(4, true, 1), (6, true, 3), (2, false, 1), (4, false, 3), (6, false, 5), (13, false, 12)]
            {
                let mut page = banded(bands, kind, planar, value);
                if colors {
                    page.set(262, Short(vec![2]));
                }
                let known = if colors { 3 } else { 1 };
                page.set(338, Short(vec![0; bands - known]));
                let picture = read(&file(&[page], bands % 4 == 0));
                let case = format!("{kind:?}, planar {planar}, {bands} bands, colours {colors}");
                assert_eq!(
                    (picture.channels(), picture.extra().unwrap().shape().c),
                    (known, extra),
                    "{case}"
                );
                assert!(picture.alpha().is_none(), "{case}");
                let check = |recipe: &InputRecipe, wanted: &[usize]| {
                    let got = picture.values(recipe, wanted.len()).unwrap();
                    for (c, &band) in wanted.iter().enumerate() {
                        for (i, got) in got.plane(0, c).iter().enumerate() {
                            let want = (value(band - 1, i) * unit) as f32;
                            assert!((got - want).abs() <= want.abs() * 1e-6, "{case}: {got} for {want}");
                        }
                    }
                };
                let all: Vec<usize> = (1..=bands).collect();
                check(&InputRecipe::default(), &all);
                check(&InputRecipe::default().with_bands(vec![bands, 1, 2]), &[bands, 1, 2]);
                check(&InputRecipe::default().with_bands(vec![2]), &[2]);
                if colors {
                    check(&InputRecipe::default(), &[1, 2, 3]);
                }
                for channels in (1..15).filter(|&n| n != bands && !(colors && matches!(n, 1 | 3))) {
                    let error = picture.values(&InputRecipe::default(), channels).unwrap_err().to_string();
                    assert!(
                        error.contains(&bands.to_string()) && error.contains("bands = ["),
                        "{case}: {error}"
                    );
                }
                let beyond = InputRecipe::default().with_bands(vec![1, bands + 1]);
                assert!(
                    picture.values(&beyond, 2).unwrap_err().to_string().contains(&format!("1 to {bands}"))
                );
                assert!(picture.values(&beyond, 3).unwrap_err().to_string().contains("3 numbers"));
            }
        }
    }
    // Three bands of unknown meaning are three colours.
    let three = read(&file(&[banded(3, (16, 1), false, value)], false));
    assert_eq!((three.channels(), three.extra()), (3, None));
    // Opacity is no band until it is needed.
    let opaque = banded(5, (8, 1), false, value).with(262, Short(vec![2])).with(338, Short(vec![0, 2]));
    let opaque = read(&file(&[opaque], false));
    assert_eq!((opaque.channels(), opaque.extra().unwrap().shape().c), (3, 1));
    assert_eq!(opaque.values(&InputRecipe::default(), 4).unwrap().plane(0, 3)[0], 61.0);
    assert_eq!(opaque.values(&InputRecipe::default(), 5).unwrap().plane(0, 4)[0], 81.0);
}

#[test]
fn bands_are_read_in_bands_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let page = banded(6, (32, 3), true, |b, i| (100 * b + i) as f64).with(338, Short(vec![0; 5]));
    std::fs::write(&path, file(&[page.with(42113, Text("-9999"))], false)).unwrap();
    let mut rows = Rows::open(&path).unwrap();
    assert_eq!((rows.channels(), rows.extra_bands()), (1, 5));
    let whole = Picture::open(&path).unwrap();
    let parts: Vec<Picture> = (0..3).map(|_| rows.next(1).unwrap()).collect();
    assert_eq!(Picture::stacked(&parts).unwrap(), whole);
    assert_eq!(whole.rows(1..2).unwrap(), parts[1]);
    assert_eq!(whole.nodata(), Some(-9999.0));
}

/// A network that returns its input.
fn same(channels: usize, decode: Decode) -> Model {
    struct Zeros;
    impl Weights for Zeros {
        fn tensor(&mut self, _: &str, shape: Shape) -> unet_wgpu::Result<Arc<Tensor>> {
            Ok(Arc::new(Tensor::zeros(shape)))
        }
    }
    let config = UnetConfig::new(channels, channels, &[4], 4, &[4]).with_residual(true);
    let mut model = Model::from_config(&config, &mut Zeros).unwrap();
    model.recipe = decoding(decode);
    model
}

fn run(model: Model, picture: &Picture) -> unet_wgpu::Result<Decoded> {
    let pipeline = Pipeline::new(model, PipelineOptions::default())?;
    let pipeline = pipeline.with_device(Device::Cpu, SessionOptions::default());
    pipeline.decode(&pipeline.run(picture)?)
}

/// A GeoTIFF of one float band.
fn located(nodata: &'static str, value: impl Fn(usize, usize) -> f64) -> Vec<u8> {
    let page = banded(1, (32, 3), false, value)
        .with(33550, Double(vec![10.0, 10.0, 0.0]))
        .with(33922, Double(vec![0.0, 0.0, 0.0, 399_960.0, 5_000_040.0, 0.0]))
        .with(34735, Short(vec![1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633]))
        .with(34736, Double(vec![298.25, 6_378_137.0]))
        .with(34737, Text("WGS 84 / UTM zone 33N|"))
        .with(42112, Text("<GDALMetadata></GDALMetadata>"))
        .with(42113, Text(nodata));
    file(&[page], false)
}

#[test]
fn results_lie_where_their_pictures_lie() {
    let bytes = located("-9999", |_, i| i as f64);
    let picture = read(&bytes);
    let image = run(same(1, Decode::Image), &picture).unwrap().encode(Path::new("a.tif")).unwrap();
    let mask = run(same(1, Decode::Mask), &picture).unwrap().encode(Path::new("a.tif")).unwrap();
    let tags = |bytes: &[u8]| -> Vec<Option<Value>> {
        let mut decoder = Decoder::new(Cursor::new(bytes.to_vec())).unwrap();
        [33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113]
            .map(|tag| decoder.find_tag(Tag::from_u16_exhaustive(tag)).unwrap())
            .to_vec()
    };
    assert_eq!(tags(&image), tags(&bytes));
    assert_eq!(tags(&mask), tags(&bytes));
    assert!(tags(&bytes)[2].is_none() && tags(&bytes)[0].is_some());
    // Class 0 does not become a pixel without data.
    let mask = run(same(1, Decode::Mask), &read(&located("0", |_, i| i as f64))).unwrap();
    assert_eq!(tags(&mask.encode(Path::new("a.tif")).unwrap())[7], None);
    // What is read back is the same picture.
    assert_eq!(read(&image).georeference(), picture.georeference());
    assert_eq!(read(&image).planes(), picture.planes());
}

#[test]
fn pixels_without_data_are_replaced_where_the_recipe_says_so() {
    let value = |_, i| {
        if i == 3 {
            f64::NAN
        } else if i == 4 {
            -9999.0
        } else {
            i as f64 / 16.0
        }
    };
    let picture = read(&located("-9999", value));
    let error = run(same(1, Decode::Image), &picture).unwrap_err();
    assert!(matches!(error, Error::NonFinite { index: 3, .. }), "{error}");
    let mut model = same(1, Decode::Image);
    model.recipe.input.nodata = Some(51.0);
    let values = picture.values(&model.recipe.input, 1).unwrap();
    assert_eq!([values.data()[3], values.data()[4]], [51.0, 51.0]);
    let Decoded::Image(result) = run(model.clone(), &picture).unwrap() else { panic!("a mask") };
    // Floats keep the value for pixels without data where their input had none.
    assert_eq!([result.planes().data()[3], result.planes().data()[4]], [-9999.0; 2]);
    assert_eq!(result.planes().data()[5], 5.0 / 16.0);
    // Three colours are replaced before they become luma.
    let rgb = Tensor::from_fn(Shape::new(1, 3, 1, 2), |i| if i == 0 { f32::NAN } else { 1.0 });
    let rgb = Picture::new(rgb, Depth::Float).unwrap();
    let luma = rgb.values(&InputRecipe::default().with_nodata(Some(255.0)), 1).unwrap();
    assert!((luma.data()[0] - 255.0).abs() < 1e-3);
    // A value that is there, and that nothing replaces, is said.
    let bright = read(&located("0", |_, i| i as f64));
    let pipeline = Pipeline::new(same(1, Decode::Image), PipelineOptions::default()).unwrap();
    let pipeline = pipeline.with_device(Device::Cpu, SessionOptions::default());
    let notes = pipeline.run(&bright).unwrap().report.notes;
    assert!(notes.iter().any(|note| note.contains("without data")), "{notes:?}");
    assert!(InputRecipe::default().with_transfer(Some(Transfer::Linear)).nodata.is_none());
}

/// A GIF of three frames of 3x2 pixels: red; one green pixel over it, then removed; one blue pixel.
fn gif_of_three() -> Vec<u8> {
    let mut bytes = Vec::new();
    let palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30];
    let mut encoder = gif::Encoder::new(&mut bytes, 3, 2, &palette).unwrap();
    let frame = |size: (u16, u16), at: (u16, u16), pixels: Vec<u8>, dispose| gif::Frame {
        width: size.0,
        height: size.1,
        left: at.0,
        top: at.1,
        buffer: pixels.into(),
        dispose,
        ..gif::Frame::default()
    };
    use gif::DisposalMethod::{Background, Keep, Previous};
    encoder.write_frame(&frame((3, 2), (0, 0), vec![0; 6], Keep)).unwrap();
    encoder.write_frame(&frame((1, 1), (2, 1), vec![1], Previous)).unwrap();
    encoder.write_frame(&frame((2, 1), (0, 0), vec![2, 3], Background)).unwrap();
    encoder.write_frame(&frame((1, 1), (1, 1), vec![1], Keep)).unwrap();
    drop(encoder);
    bytes
}

#[test]
fn gif_frames_are_pages_as_they_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    std::fs::write(&path, gif_of_three()).unwrap();
    let pages = Pages::open(&path).unwrap();
    assert!(pages.is_animation());
    assert_eq!(pages.total(), 4);
    let pages: Vec<Picture> = pages.map(Result::unwrap).collect();
    let shown =
        |page: &Picture| [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)].map(|(x, y)| page.rgb(x, y));
    let (red, green, blue, dark) = ([255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]);
    assert_eq!(shown(&pages[0]), [red; 6]);
    assert_eq!(shown(&pages[1]), [red, red, red, red, red, green]);
    assert_eq!(shown(&pages[2]), [blue, dark, red, red, red, red]);
    assert_eq!(shown(&pages[3])[2..], [red, red, green, red]);
    assert_eq!(pages[3].alpha().unwrap().data(), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    assert!(pages[..3].iter().all(|page| page.alpha().is_none()));
    let first = Picture::open(&path).unwrap();
    assert_eq!(first.planes(), pages[0].planes());
    assert!(first.notes()[0].contains("4 frames"), "{:?}", first.notes());
    // Cut off after the first frame, and within it.
    let bytes = gif_of_three();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        if let Ok(pages) = Pages::open(&path) {
            pages.for_each(drop);
        }
    }
}
