//! Picture files of every format, depth and layout: what is read equals what was written, whole, in bands and page by
//! page.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

pub(crate) mod samples; // the files, and what was written to them

use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};
use samples::{SIZE, animated_webp, bytes, cmyk_jpeg, gzip, native, nifti, png_of, raw_tiff, samples, stack};
use std::io::Cursor;
use std::path::Path;
use tiff::encoder::{TiffEncoder, colortype};
use unet_wgpu::Error;
use unet_wgpu::image::{Depth, Pages, Picture, Rows};
use unet_wgpu::recipe::InputRecipe;

fn read(bytes: &[u8]) -> Picture {
    Picture::from_bytes(bytes, Path::new("test")).unwrap()
}

fn message(bytes: &[u8]) -> String {
    Picture::from_bytes(bytes, Path::new("test")).unwrap_err().to_string()
}

#[test]
fn every_kind_of_file_comes_back_bit_exact() {
    for sample in samples() {
        let picture = Picture::from_bytes(&sample.file, Path::new("test"));
        let picture = picture.unwrap_or_else(|e| panic!("{}: {e}", sample.name));
        sample.agrees(&picture, 0..SIZE.1);
        assert!(picture.notes().is_empty(), "{}: {:?}", sample.name, picture.notes());
    }
}

#[test]
fn bands_are_parts_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.txt");
    for sample in samples() {
        std::fs::write(&path, &sample.file).unwrap();
        for step in [1, 2, 3, 5, 100] {
            let mut rows = Rows::open(&path).unwrap();
            assert_eq!((rows.width(), rows.height()), SIZE, "{}", sample.name);
            assert_eq!((rows.channels(), rows.depth()), (sample.channels, sample.depth), "{}", sample.name);
            assert_eq!(rows.has_alpha(), sample.stride() > sample.channels, "{}", sample.name);
            for top in (0..SIZE.1).step_by(step) {
                sample.agrees(&rows.next(step).unwrap(), top..(top + step).min(SIZE.1));
            }
            assert!(matches!(rows.next(step), Err(Error::Usage(_))), "{}", sample.name);
        }
        let pages: Vec<Picture> = Pages::open(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(pages.len(), 1, "{}", sample.name);
        sample.agrees(&pages[0], 0..SIZE.1);
    }
}

/// An EXIF block that contains only an orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    [b"II*\0\x08\0\0\0\x01\0".as_slice(), &entry, &[0; 4]].concat()
}

#[test]
fn all_orientations_are_turned_upright() {
    // 3x2 blocks of 8x8 pixels, because JPEG is not exact within a block.
    let raw: Vec<u8> = (0..16 * 24).map(|i| 40 * (i / 24 / 8 * 3 + i % 24 / 8 + 1) as u8).collect();
    let rgb: Vec<u8> = raw.iter().flat_map(|&v| [v; 3]).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture");
    for (orientation, expected) in [
        (1, [[1, 2, 3], [4, 5, 6]].concat()),
        (2, [[3, 2, 1], [6, 5, 4]].concat()),
        (3, [[6, 5, 4], [3, 2, 1]].concat()),
        (4, [[4, 5, 6], [1, 2, 3]].concat()),
        (5, [[1, 4], [2, 5], [3, 6]].concat()),
        (6, [[4, 1], [5, 2], [6, 3]].concat()),
        (7, [[6, 3], [5, 2], [4, 1]].concat()),
        (8, [[3, 6], [2, 5], [1, 4]].concat()),
    ] {
        let (mut png, mut jpeg, mut webp) = (Vec::new(), Vec::new(), Vec::new());
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&raw, 24, 16, ExtendedColorType::L8).unwrap();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 100);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&raw, 24, 16, ExtendedColorType::L8).unwrap();
        let mut encoder = WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&rgb, 24, 16, ExtendedColorType::Rgb8).unwrap();
        let tags = [(258, vec![8]), (262, vec![1]), (274, vec![orientation.into()])];
        let tiff = raw_tiff((24, 16), &tags, std::slice::from_ref(&raw), false);
        for (name, file) in [("png", png), ("jpeg", jpeg), ("webp", webp), ("tiff", tiff)] {
            std::fs::write(&path, &file).unwrap();
            let picture = Picture::open(&path).unwrap();
            let width = if orientation > 4 { 16 } else { 24 };
            assert_eq!((picture.width(), picture.height()), (width, 24 * 16 / width), "{name} {orientation}");
            let center = |i: usize| (i / (width / 8) * 8 + 4) * width + i % (width / 8) * 8 + 4;
            for (i, &block) in expected.iter().enumerate() {
                let value = picture.planes().data()[center(i)];
                assert!((value - 40.0 * block as f32).abs() < 3.0, "{name} {orientation}: {i} is {value}");
            }
            let mut rows = Rows::open(&path).unwrap();
            for top in (0..rows.height()).step_by(5) {
                let band = rows.next(5).unwrap();
                let expected = &picture.planes().plane(0, 0)[top * width..][..band.height() * width];
                assert_eq!(band.planes().plane(0, 0), expected, "{name} {orientation}, rows from {top}");
            }
        }
    }
}

#[test]
fn few_bits_and_palettes_become_eight_bits() {
    // Nine pixels in a row, so the last byte is not full.
    for (bits, row, values) in [
        (1, vec![0b1010_0110, 0x80], vec![255, 0, 255, 0, 0, 255, 255, 0, 255]),
        (2, vec![0b0001_1011, 0b1100_0110, 0b0100_0000], vec![0, 85, 170, 255, 255, 0, 85, 170, 85]),
        (4, vec![0x01, 0x23, 0xfe, 0xdc, 0x50], vec![0, 17, 34, 51, 255, 238, 221, 204, 85]),
    ] {
        let values: Vec<f32> = values.into_iter().map(|v: u8| v.into()).collect();
        let mut info = png::Info::with_size(9, 1);
        info.bit_depth = png::BitDepth::from_u8(bits).unwrap();
        let picture = read(&png_of(info.clone(), &[vec![0], row.clone()].concat()));
        assert_eq!(
            (picture.depth(), picture.planes().data()),
            (Depth::Eight, &values[..]),
            "png, {bits} bits"
        );
        let tiff = |photometric| {
            let tags = [(258, vec![bits.into()]), (262, vec![photometric])];
            read(&raw_tiff((9, 1), &tags, std::slice::from_ref(&row), false)).planes().clone().into_data()
        };
        assert_eq!(tiff(1), values, "tiff, {bits} bits");
        let inverted: Vec<f32> = values.iter().map(|v| 255.0 - v).collect();
        assert_eq!(tiff(0), inverted, "tiff, {bits} bits, 0 is white");
    }
    let mut info = png::Info::with_size(3, 1);
    (info.color_type, info.bit_depth) = (png::ColorType::Indexed, png::BitDepth::Two);
    info.palette = Some(vec![1, 2, 3, 4, 5, 6, 7, 8, 9].into());
    let indices = [0, 0b1001_0000];
    let opaque = read(&png_of(info.clone(), &indices));
    assert_eq!([0, 1, 2].map(|x| opaque.rgb(x, 0)), [[7, 8, 9], [4, 5, 6], [1, 2, 3]]);
    assert!(opaque.alpha().is_none());
    info.trns = Some(vec![0, 51].into());
    assert_eq!(read(&png_of(info, &indices)).alpha().unwrap().data(), [1.0, 0.2, 0.0]);

    let map = (0..3u32).flat_map(|c| (0..256u32).map(move |i| (i * 3 + c) % 256 * 257)).collect();
    let tags = |bits| [(258, vec![bits]), (262, vec![3]), (320, Vec::clone(&map))];
    for big in [false, true] {
        let picture = read(&raw_tiff((3, 1), &tags(8), &[vec![2, 1, 0]], big));
        assert_eq!([0, 1, 2].map(|x| picture.rgb(x, 0)), [[6, 7, 8], [3, 4, 5], [0, 1, 2]]);
    }
}

#[test]
fn other_colours_become_rgb() {
    let cmyk = [(258, vec![8; 4]), (262, vec![5]), (277, vec![4])];
    let picture = read(&raw_tiff((2, 1), &cmyk, &[vec![0, 51, 255, 0, 0, 51, 255, 204]], false));
    assert_eq!([picture.rgb(0, 0), picture.rgb(1, 0)], [[255, 204, 0], [51, 41, 0]]);
    assert!(picture.notes()[0].contains("CMYK"), "{:?}", picture.notes());

    let colors = [(258, vec![8; 3]), (262, vec![6]), (277, vec![3]), (530, vec![1, 1])];
    let picture = read(&raw_tiff((2, 1), &colors, &[vec![100, 128, 128, 76, 85, 255]], false));
    assert_eq!([picture.rgb(0, 0), picture.rgb(1, 0)], [[100; 3], [254, 0, 0]]);

    let picture = read(&cmyk_jpeg());
    assert_eq!((picture.width(), picture.channels()), (8, 3));
    assert!(picture.notes()[0].contains("CMYK"), "{:?}", picture.notes());

    let four_bits = [(258, vec![4; 3]), (262, vec![2]), (277, vec![3])];
    assert!(message(&raw_tiff((1, 1), &four_bits, &[vec![0; 2]], false)).contains("RGB(4)"));
    let fewer = [(258, vec![8; 3]), (262, vec![6]), (277, vec![3]), (530, vec![2, 2])];
    assert!(message(&raw_tiff((2, 2), &fewer, &[vec![0; 6]], false)).contains("not supported"));
}

#[test]
fn integers_of_other_kinds_are_taken_as_they_are() {
    for (format, size, raw, expected) in [
        (2, 1, vec![0xff, 0, 100, 0x80], vec![-1.0, 0.0, 100.0, -128.0]),
        (2, 2, native(&[-1000i16, 3071, 0, 255], i16::to_le_bytes), vec![-1000.0, 3071.0, 0.0, 255.0]),
        (2, 4, native(&[-70_000i32, 1, 2, 3], i32::to_le_bytes), vec![-70_000.0, 1.0, 2.0, 3.0]),
        (1, 4, native(&[70_000u32, 1, 2, 3], u32::to_le_bytes), vec![70_000.0, 1.0, 2.0, 3.0]),
    ] {
        let tags = [(258, vec![8 * size]), (262, vec![1]), (339, vec![format])];
        let picture = read(&raw_tiff((2, 2), &tags, &[raw], false));
        assert!(picture.notes()[0].contains("255 as white"), "{:?}", picture.notes());
        let values = picture.values(&InputRecipe::default(), 1).unwrap();
        for (value, expected) in values.data().iter().zip(expected) {
            assert!((value - expected).abs() <= expected.abs() * 1e-6, "{value} for {expected}");
        }
    }
}

/// The same samples as uncompressed TIFF files: one tile, which is decoded as a whole; one strip; many strips.
fn tiled_and_in_strips(
    (w, h): (usize, usize),
    (format, bits): (u32, usize),
    (stride, planar): (usize, bool),
    big: bool,
) -> [Vec<u8>; 3] {
    let tags = [
        (258, vec![bits as u32; stride]),
        (262, vec![if stride == 3 { 2 } else { 1 }]),
        (277, vec![stride as u32]),
        (284, vec![if planar { 2 } else { 1 }]),
        (339, vec![format; stride]),
    ];
    let (planes, samples) = if planar { (stride, w) } else { (1, w * stride) };
    let row = (samples * bits).div_ceil(8);
    let raw = bytes(planes * row * h);
    let file = |more: &[(u16, Vec<u32>)], rows: usize| {
        let chunks: Vec<Vec<u8>> =
            raw.chunks(row * h).flat_map(|plane| plane.chunks(row * rows)).map(<[u8]>::to_vec).collect();
        raw_tiff((w, h), &[&tags, more].concat(), &chunks, big)
    };
    let tile = [(322, vec![w as u32]), (323, vec![h as u32])];
    [file(&tile, h), file(&[(278, vec![u32::MAX])], h), file(&[(278, vec![7])], 7)]
}

#[test]
fn rows_of_a_strip_are_those_of_the_whole() {
    // A strip with 8 bits or more is read in several steps.
    let size = (1001, 303);
    let grey = [1, 2, 4, 8, 16, 32, 64].map(|bits| (1, bits)).into_iter();
    let grey = grey.chain([8, 16, 32, 64].map(|bits| (2, bits))).chain([16, 32, 64].map(|bits| (3, bits)));
    let colors = [(1, 8), (1, 16), (3, 32)].into_iter();
    let kinds = grey.map(|kind| (kind, (1, false)));
    let kinds = kinds.chain(colors.flat_map(|kind| [(kind, (3, false)), (kind, (3, true))]));
    let folder = tempfile::tempdir().unwrap();
    for (kind, layout) in kinds {
        for big in [false, true] {
            let files = tiled_and_in_strips(size, kind, layout, big);
            let paths = [0, 1, 2].map(|i| folder.path().join(i.to_string()));
            paths.iter().zip(files).for_each(|(path, file)| std::fs::write(path, file).unwrap());
            for step in [1, 3, 100] {
                let mut rows = paths.each_ref().map(|path| Rows::open(path).unwrap());
                for top in (0..size.1).step_by(step) {
                    // Compared as bits, because random ones may be NaN.
                    let band = |rows: &mut Rows| -> Vec<u32> {
                        let band = rows.next(step).unwrap();
                        band.planes().data().iter().map(|v| v.to_bits()).collect()
                    };
                    let [whole, one, many] = rows.each_mut().map(band);
                    let what = || format!("{kind:?}, {layout:?}, big {big}, rows {top} on, {step} at once");
                    assert!(one == whole, "one strip: {}", what());
                    assert!(many == whole, "many strips: {}", what());
                }
            }
        }
    }
}

#[test]
fn strips_beyond_the_end_of_the_file_are_refused() {
    let tags = [(258, vec![8]), (262, vec![1]), (278, vec![2])];
    let file = raw_tiff((2, 4), &tags, &[vec![1, 2, 3, 4], vec![5, 6, 7, 8]], false);
    let place = |longs: [u32; 2]| {
        let bytes = native(&longs, u32::to_le_bytes);
        file.windows(8).position(|window| window == bytes).unwrap()
    };
    let (offsets, counts) = (place([8, 12]), place([4, 4]));
    let changed = |at: usize, number: u32| {
        let mut file = file.clone();
        file[at..at + 4].copy_from_slice(&number.to_le_bytes());
        file
    };
    let end = file.len() as u32;
    for (at, number, strip, byte) in [
        (offsets, end - 3, 1, end as u64 + 1),
        (offsets + 4, 1000, 2, 1004),
        (offsets + 4, u32::MAX, 2, (1 << 32) + 3),
        (counts, u32::MAX, 1, (1 << 32) + 7),
        (counts + 4, end - 11, 2, end as u64 + 1),
    ] {
        let text = message(&changed(at, number));
        let expected = format!("strip {strip} of the TIFF file ends at byte {byte}, the file at {end}");
        assert!(text.contains(&expected) && text.contains("cut off"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
    // Some writers get the count of long strips wrong; all rows exist nevertheless.
    assert_eq!(read(&changed(counts, 1)), read(&file));

    let mut big = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new_big(&mut big).unwrap();
    encoder.write_image::<colortype::Gray8>(2, 1, &[1, 2]).unwrap();
    let mut big = big.into_inner();
    // The tag, 64-bit numbers, one of them.
    let entry = [0x11, 1, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    let place = big.windows(12).position(|window| window == entry).unwrap() + 12;
    big[place..place + 8].fill(0xff);
    assert!(message(&big).contains(&format!("ends at byte {}", u64::MAX)), "{}", message(&big));
}

#[test]
fn stacks_are_read_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.png");
    std::fs::write(&path, stack()).unwrap();
    let pages = Pages::open(&path).unwrap();
    assert_eq!(pages.total(), 3);
    let pages: Vec<Picture> = pages.map(Result::unwrap).collect();
    assert_eq!(
        pages.iter().map(Picture::depth).collect::<Vec<_>>(),
        [Depth::Eight, Depth::Sixteen, Depth::Float]
    );
    assert_eq!((pages[0].planes().data(), pages[1].rgb(0, 0)), ([1.0, 2.0].as_slice(), [1, 2, 3]));
    assert!(pages[2].planes().data()[1].is_nan());
    assert_eq!((pages[2].width(), pages[2].height()), (1, 3));
    assert!(pages.iter().all(|page| page.notes().is_empty()));
    let first = Picture::open(&path).unwrap();
    assert_eq!(first.planes(), pages[0].planes());
    assert!(first.notes()[0].contains("3 pages"), "{:?}", first.notes());
}

#[test]
fn volumes_are_read_slice_by_slice() {
    let values: Vec<i16> = (0..24).map(|i| i * 100 - 1000).collect();
    let expected =
        |slice: usize| values[slice * 6..][..6].iter().map(|&v| (f64::from(v) * 2.0 - 24.0) as f32);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan");
    for big in [false, true] {
        let to = if big { i16::to_be_bytes } else { i16::to_le_bytes };
        let plain = nifti(4, 2, [3, 2, 4], (2.0, -24.0), big, &native(&values, to));
        for file in [gzip(&plain), plain] {
            std::fs::write(&path, &file).unwrap();
            let pages = Pages::open(&path).unwrap();
            assert_eq!(pages.total(), 4);
            for (slice, page) in pages.enumerate() {
                let page = page.unwrap();
                assert_eq!((page.width(), page.height(), page.depth()), (3, 2, Depth::Float));
                let numbers = page.values(&InputRecipe::default(), 1).unwrap();
                for (number, expected) in numbers.data().iter().zip(expected(slice)) {
                    assert!((number - expected).abs() <= expected.abs() * 1e-6, "{number} for {expected}");
                }
            }
            assert!(Picture::open(&path).unwrap().notes()[0].contains("4 pages or slices"));
        }
    }
    let volume = nifti(4, 2, [3, 2, 4], (0.0, 0.0), false, &native(&values, i16::to_le_bytes));
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = volume.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        message(&file)
    };
    assert!(changed(70, &[128]).contains("datatype is 128"));
    assert!(changed(40, &[1]).contains("1 axes"));
    assert!(changed(42, &[0, 0]).contains("empty"));
    assert!(changed(46, &[255, 255]).contains("no slices"));
    assert!(changed(46, &[255, 127]).contains("cut off"));
    assert!(changed(108, &f32::NAN.to_le_bytes()).contains("begin at byte NaN"));
    assert!(changed(112, &f32::INFINITY.to_le_bytes()).contains("slope"));
    assert!(changed(344, b"ni1\0").contains("pair"));
    let mut zipped = gzip(&volume);
    let checksum = zipped.len() - 8;
    zipped[checksum] ^= 1;
    std::fs::write(&path, &zipped).unwrap();
    assert!(Pages::open(&path).unwrap().last().unwrap().is_err(), "the checksum is looked at");
    assert!(message(&gzip(b"hello")).contains("no NIfTI-1 volume"));
}

#[test]
fn of_animations_the_first_picture_is_used() {
    let (mut file, raw) = (Vec::new(), [7, 8, 9, 10]);
    let mut encoder = png::Encoder::new(&mut file, 2, 2);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&raw).unwrap();
    writer.write_image_data(&[0; 4]).unwrap();
    drop(writer);
    let picture = read(&file);
    assert_eq!(picture.planes().data(), [7.0, 8.0, 9.0, 10.0]);
    assert!(picture.notes()[0].contains("animated"), "{:?}", picture.notes());

    let picture = read(&animated_webp());
    assert_eq!(picture.rgb(1, 0), [4, 5, 6]);
    assert!(picture.notes()[0].contains("animated"), "{:?}", picture.notes());
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    assert!(message(b"\x93NUMPY\x01\0").contains(".npy"));
    assert!(message(b"\x1c\x02\0\0n+2\0\r\n").contains("NIfTI-2"));
    assert!(message(b"%PDF-1.7").contains("pdftoppm"));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Rows::open(folder.path()), Err(Error::Io { .. })));
    assert!(matches!(Pages::open(&folder.path().join("missing.tif")), Err(Error::Io { .. })));
}

/// Readers can be sent to other threads.
const _: fn() = || {
    fn send<T: Send>() {}
    send::<Rows>();
    send::<Pages>();
};
