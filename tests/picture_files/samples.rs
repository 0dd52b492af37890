//! Files of every readable format, made in the tests, with the samples that were written to them.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use exr::prelude::{SpecificChannels, Vec2, WritableImage};
use flate2::write::{GzEncoder, ZlibEncoder};
use image::codecs::{hdr::HdrEncoder, jpeg::JpegEncoder, openexr::OpenExrEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use std::io::{Cursor, Write};
use tiff::encoder::{Compression, Predictor, TiffEncoder, TiffKindBig, TiffKindStandard, colortype};
use unet_wgpu::image::{Depth, Picture};
use unet_wgpu::{Random, Tensor};

/// Columns and rows of the samples. They do not fill whole bytes, tiles or strips.
pub(crate) const SIZE: (usize, usize) = (13, 11);

/// A file, and the samples that were written to it.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) file: Vec<u8>,
    pub(crate) channels: usize,
    pub(crate) depth: Depth,
    /// Interleaved, in units of the planes, opacity as its last channel from 0 to 1.
    samples: Vec<f32>,
}

impl Sample {
    fn new(name: &str, file: Vec<u8>, channels: usize, depth: Depth, samples: Vec<f32>) -> Sample {
        Sample { name: name.into(), file, channels, depth, samples }
    }

    pub(crate) fn stride(&self) -> usize {
        self.samples.len() / (SIZE.0 * SIZE.1)
    }

    /// Rows of one channel.
    fn plane(&self, channel: usize, rows: std::ops::Range<usize>) -> Vec<f32> {
        let plane: Vec<f32> = self.samples.iter().skip(channel).step_by(self.stride()).copied().collect();
        plane[rows.start * SIZE.0..rows.end * SIZE.0].to_vec()
    }

    /// Whether a picture, or a band of it, equals these rows.
    #[track_caller]
    pub(crate) fn agrees(&self, picture: &Picture, rows: std::ops::Range<usize>) {
        let name = &self.name;
        assert_eq!((picture.width(), picture.height()), (SIZE.0, rows.len()), "{name}");
        assert_eq!((picture.channels(), picture.depth()), (self.channels, self.depth), "{name}");
        for c in 0..self.channels {
            assert_eq!(picture.planes().plane(0, c), self.plane(c, rows.clone()), "{name}, channel {c}");
        }
        let alpha = (self.stride() > self.channels).then(|| self.plane(self.channels, rows));
        assert_eq!(picture.alpha().map(Tensor::data), alpha.as_deref(), "{name}");
    }
}

/// The same pseudo-random bytes every time.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    let mut random = Random::new(count as u64);
    (0..count).map(|_| random.bits() as u8).collect()
}

/// Positive and negative numbers, some brighter than white.
fn floats(count: usize) -> Vec<f32> {
    let mut random = Random::new(count as u64);
    (0..count).map(|_| random.uniform(-1.0, 20.0)).collect()
}

/// Samples of `bits` bits in the units of the planes. If the stride is even, the last channel is opacity.
fn units(values: impl IntoIterator<Item = u32>, bits: u32, stride: usize) -> Vec<f32> {
    let value = |(i, v): (usize, u32)| {
        let unit = if bits == 16 { v as f32 / 257.0 } else { v as f32 };
        if stride.is_multiple_of(2) && i % stride == stride - 1 { unit / 255.0 } else { unit }
    };
    values.into_iter().enumerate().map(value).collect()
}

/// A file written by the `image` crate.
fn encoded(format: ImageFormat, raw: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut file, raw, SIZE.0 as u32, SIZE.1 as u32, color, format).unwrap();
    file.into_inner()
}

pub(crate) fn native<const N: usize, T: Copy>(values: &[T], to: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&v| to(v)).collect()
}

/// Every kind of file, with opacity in some.
pub(crate) fn samples() -> Vec<Sample> {
    use ExtendedColorType::*;
    let mut samples = Vec::new();
    let pixels = SIZE.0 * SIZE.1;
    let kinds8 = [(L8, 1), (La8, 2), (Rgb8, 3), (Rgba8, 4)];
    let kinds16 = [(L16, 1), (La16, 2), (Rgb16, 3), (Rgba16, 4)];
    for ((color, stride), (color16, _)) in kinds8.into_iter().zip(kinds16) {
        let channels = if stride > 2 { 3 } else { 1 };
        let raw = bytes(pixels * stride);
        let words: Vec<u16> =
            raw.iter().zip(raw.iter().rev()).map(|(&a, &b)| u16::from_le_bytes([a, b])).collect();
        let eight = units(raw.iter().map(|&v| v.into()), 8, stride);
        let sixteen = units(words.iter().map(|&v| v.into()), 16, stride);
        let mut add = |name: &str, file, depth| {
            let expected = if depth == Depth::Eight { &eight } else { &sixteen };
            samples.push(Sample::new(&format!("{name} {color:?}"), file, channels, depth, expected.clone()));
        };
        add("png", encoded(ImageFormat::Png, &raw, color), Depth::Eight);
        let raw16 = native(&words, u16::to_ne_bytes);
        add("png 16", encoded(ImageFormat::Png, &raw16, color16), Depth::Sixteen);
        add("interlaced png", interlaced(&raw, stride), Depth::Eight);
        if stride > 2 {
            add("webp", encoded(ImageFormat::WebP, &raw, color), Depth::Eight);
            add("bmp", encoded(ImageFormat::Bmp, &raw, color), Depth::Eight);
        }
        for (layout, name) in
            [(Stored::Strips, "strips"), (Stored::Tiles, "tiles"), (Stored::Planes, "planes")]
        {
            for big_endian in [false, true] {
                let name = format!("tiff {name} {}", if big_endian { "big" } else { "little" });
                let file = tiff_of(&raw, stride, 1, layout, big_endian, &[]);
                add(&name, file, Depth::Eight);
                let to = if big_endian { u16::to_be_bytes } else { u16::to_le_bytes };
                let file = tiff_of(&native(&words, to), stride, 2, layout, big_endian, &[]);
                add(&format!("{name} 16"), file, Depth::Sixteen);
            }
        }
        if stride % 2 == 1 {
            let magic = if stride == 1 { "P5" } else { "P6" };
            let header = format!("{magic}\n{} {}\n", SIZE.0, SIZE.1);
            add("pnm", [header.as_bytes(), b"255\n", &raw].concat(), Depth::Eight);
            let raw16 = native(&words, u16::to_be_bytes);
            add("pnm 16", [header.as_bytes(), b"65535\n", &raw16].concat(), Depth::Sixteen);
        }
    }
    samples.extend(compressed_tiffs());
    samples.extend(float_files());
    samples.extend(volumes());
    samples
}

/// TIFF files written by the `tiff` crate.
fn compressed_tiffs() -> Vec<Sample> {
    let (pixels, mut samples) = (SIZE.0 * SIZE.1, Vec::new());
    let size = (SIZE.0 as u32, SIZE.1 as u32);
    for (name, compression) in [
        ("none", Compression::Uncompressed),
        ("lzw", Compression::Lzw),
        ("deflate", Compression::Deflate(tiff::encoder::DeflateLevel::Balanced)),
        ("packbits", Compression::Packbits),
    ] {
        for (predictor, number) in [(Predictor::None, 1), (Predictor::Horizontal, 2)] {
            let name = format!("tiff {name} predictor {number}");
            let (raw, mut file, mut big) =
                (bytes(pixels * 3), Cursor::new(Vec::new()), Cursor::new(Vec::new()));
            let words: Vec<u16> = raw[..pixels].iter().map(|&v| u16::from(v) * 201).collect();
            let encoder = TiffEncoder::<_, TiffKindStandard>::new_generic(&mut file).unwrap();
            let mut encoder = encoder.with_compression(compression).with_predictor(predictor);
            let mut image = encoder.new_image::<colortype::RGB8>(size.0, size.1).unwrap();
            image.rows_per_strip(4).unwrap();
            image.write_data(&raw).unwrap();
            let encoder = TiffEncoder::<_, TiffKindBig>::new_generic(&mut big).unwrap();
            let mut encoder = encoder.with_compression(compression).with_predictor(predictor);
            encoder.write_image::<colortype::Gray16>(size.0, size.1, &words).unwrap();
            let eight = units(raw.iter().map(|&v| v.into()), 8, 3);
            let sixteen = units(words.iter().map(|&v| v.into()), 16, 1);
            samples.push(Sample::new(&name, file.into_inner(), 3, Depth::Eight, eight));
            samples.push(Sample::new(&format!("big {name}"), big.into_inner(), 1, Depth::Sixteen, sixteen));
        }
    }
    samples
}

/// Files of floats.
fn float_files() -> Vec<Sample> {
    let (pixels, mut samples) = (SIZE.0 * SIZE.1, Vec::new());
    for stride in [1, 3, 4] {
        let values = floats(pixels * stride);
        let halves: Vec<f32> = values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
        let channels = if stride == 1 { 1 } else { 3 };
        let mut add = |name: &str, file: Vec<u8>, values: &[f32]| {
            let name = format!("{name} float {stride}");
            samples.push(Sample::new(&name, file, channels, Depth::Float, values.to_vec()));
        };
        let raw = native(&values, f32::to_le_bytes);
        let format = [(339, vec![3; stride])];
        add("tiff tiles", tiff_of(&raw, stride, 4, Stored::Tiles, false, &format), &values);
        let raw16 = native(&values, |v| half::f16::from_f32(v).to_be_bytes());
        add("tiff half", tiff_of(&raw16, stride, 2, Stored::Planes, true, &format), &halves);
        let raw64 = native(&values, |v| f64::from(v).to_le_bytes());
        add("tiff double", tiff_of(&raw64, stride, 8, Stored::Strips, false, &format), &values);
        if stride != 1 {
            let color = if stride == 3 { ExtendedColorType::Rgb32F } else { ExtendedColorType::Rgba32F };
            let mut file = Cursor::new(Vec::new());
            let raw = native(&values, f32::to_ne_bytes);
            let encoder = OpenExrEncoder::new(&mut file);
            encoder.write_image(&raw, SIZE.0 as u32, SIZE.1 as u32, color).unwrap();
            add("exr", file.into_inner(), &values);
        }
        if stride == 1 {
            let pixel = |at: Vec2<usize>| (values[at.y() * SIZE.0 + at.x()],);
            let channels = SpecificChannels::build().with_channel("Y").with_pixel_fn(pixel);
            let mut file = Cursor::new(Vec::new());
            exr::prelude::Image::from_channels(SIZE, channels).write().to_buffered(&mut file).unwrap();
            add("exr luminance", file.into_inner(), &values);
        }
        if stride != 4 {
            add("pfm little", pfm(stride, &values, false), &values);
            add("pfm big", pfm(stride, &values, true), &values);
        }
        if stride == 3 {
            // Numbers that 8 bits of mantissa with a shared exponent can hold.
            let values: Vec<f32> = bytes(pixels * 3).iter().map(|&v| f32::from(v | 128) / 64.0).collect();
            let (mut file, colors) = (Vec::new(), values.as_chunks::<3>().0);
            let colors: Vec<image::Rgb<f32>> = colors.iter().map(|&v| image::Rgb(v)).collect();
            HdrEncoder::new(&mut file).encode(&colors, SIZE.0, SIZE.1).unwrap();
            add("hdr", file, &values);
        }
    }
    samples
}

/// NIfTI volumes of one slice, with every type and both byte orders.
fn volumes() -> Vec<Sample> {
    let raw = bytes(SIZE.0 * SIZE.1 * 8);
    let mut samples = Vec::new();
    macro_rules! add {
        ($kind:ty, $datatype:expr, $big:expr) => {{
            const BYTES: usize = size_of::<$kind>();
            let numbers: Vec<$kind> = raw[..SIZE.0 * SIZE.1 * BYTES]
                .as_chunks::<BYTES>()
                .0
                .iter()
                .map(|&b| <$kind>::from_ne_bytes(b))
                // Random bytes may make floats that are not finite.
                .map(|v| if (v as f64).is_finite() { v } else { 7 as $kind })
                .collect();
            let to = if $big { <$kind>::to_be_bytes } else { <$kind>::to_le_bytes };
            let file = nifti($datatype, BYTES, [SIZE.0, SIZE.1, 1], (0.0, 0.0), $big, &native(&numbers, to));
            let (depth, unit) = if $datatype == 2 { (Depth::Eight, 1.0) } else { (Depth::Float, 255.0) };
            let values = numbers.iter().map(|&v| (v as f64 / unit) as f32).collect();
            let name = format!("nifti {} big endian {}", stringify!($kind), $big);
            samples.push(Sample::new(&format!("{name} gz"), gzip(&file), 1, depth, Vec::clone(&values)));
            samples.push(Sample::new(&name, file, 1, depth, values));
        }};
    }
    for big in [false, true] {
        add!(u8, 2, big);
        add!(i16, 4, big);
        add!(i32, 8, big);
        add!(f32, 16, big);
        add!(f64, 64, big);
        add!(i8, 256, big);
        add!(u16, 512, big);
        add!(u32, 768, big);
    }
    samples
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A NIfTI-1 file of three axes, its samples at 352.
pub(crate) fn nifti(
    datatype: i16,
    size: usize,
    axes: [usize; 3],
    (slope, offset): (f32, f32),
    big: bool,
    data: &[u8],
) -> Vec<u8> {
    let mut file = vec![0; 352];
    let mut put = |at: usize, value: &[u8]| {
        let target = &mut file[at..at + value.len()];
        target.copy_from_slice(value);
        if big {
            target.reverse();
        }
    };
    put(0, &348i32.to_le_bytes());
    for (i, extent) in [3, axes[0], axes[1], axes[2]].into_iter().enumerate() {
        put(40 + 2 * i, &(extent as i16).to_le_bytes());
    }
    put(70, &datatype.to_le_bytes());
    put(72, &(8 * size as i16).to_le_bytes());
    put(108, &352f32.to_le_bytes());
    put(112, &slope.to_le_bytes());
    put(116, &offset.to_le_bytes());
    file[344..348].copy_from_slice(b"n+1\0");
    [&file, data].concat()
}

fn pfm(channels: usize, values: &[f32], big: bool) -> Vec<u8> {
    let (kind, scale) = (if channels == 3 { "PF" } else { "Pf" }, if big { "1.0" } else { "-1.0" });
    let header = format!("{kind}\n{} {}\n{scale}\n", SIZE.0, SIZE.1).into_bytes();
    let rows = values.rchunks_exact(SIZE.0 * channels);
    let to = if big { f32::to_be_bytes } else { f32::to_le_bytes };
    [header, rows.flat_map(|row| native(row, to)).collect()].concat()
}

/// A PNG file with this header and these samples, compressed in one chunk.
pub(crate) fn png_of(info: png::Info, rows: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(rows).unwrap();
    let mut file = Vec::new();
    let mut writer = png::Encoder::with_info(&mut file, info).unwrap().write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, &zlib.finish().unwrap()).unwrap();
    drop(writer);
    file
}

/// The seven passes of an interlaced PNG: PNG specification, section 8.1.
fn interlaced(raw: &[u8], stride: usize) -> Vec<u8> {
    let mut info = png::Info::with_size(SIZE.0 as u32, SIZE.1 as u32);
    info.color_type = [
        png::ColorType::Grayscale,
        png::ColorType::GrayscaleAlpha,
        png::ColorType::Rgb,
        png::ColorType::Rgba,
    ][stride - 1];
    info.bit_depth = png::BitDepth::Eight;
    info.interlaced = true;
    let passes =
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
    let mut rows = Vec::new();
    for (left, top, across, down) in passes {
        for y in (top..SIZE.1).step_by(down) {
            rows.push(0);
            for x in (left..SIZE.0).step_by(across) {
                rows.extend(&raw[(y * SIZE.0 + x) * stride..][..stride]);
            }
        }
    }
    png_of(info, &rows)
}

/// The layout of the samples in a TIFF file.
#[derive(Clone, Copy, PartialEq)]
enum Stored {
    /// Strips of four rows.
    Strips,
    /// Tiles of 5 columns and 3 rows.
    Tiles,
    /// Strips of four rows of one channel each.
    Planes,
}

/// An uncompressed TIFF file of interleaved samples of `size` bytes in the file's byte order.
fn tiff_of(
    raw: &[u8],
    stride: usize,
    size: usize,
    stored: Stored,
    big: bool,
    more: &[(u16, Vec<u32>)],
) -> Vec<u8> {
    let (w, h) = SIZE;
    let sample = |x: usize, y: usize, c: usize| match x < w && y < h {
        true => raw[((y * w + x) * stride + c) * size..][..size].to_vec(),
        false => vec![0; size],
    };
    let all: Vec<usize> = (0..stride).collect();
    let block = |left: usize, top: usize, columns: usize, rows: usize, channels: &[usize]| -> Vec<u8> {
        let places = (top..top + rows).flat_map(|y| (left..left + columns).map(move |x| (x, y)));
        places.flat_map(|(x, y)| channels.iter().flat_map(move |&c| sample(x, y, c))).collect()
    };
    let strips = |channels: &[usize]| -> Vec<Vec<u8>> {
        (0..h).step_by(4).map(|y| block(0, y, w, 4.min(h - y), channels)).collect()
    };
    let chunks: Vec<Vec<u8>> = match stored {
        Stored::Strips => strips(&all),
        Stored::Planes => all.iter().flat_map(|&c| strips(&[c])).collect(),
        Stored::Tiles => (0..h)
            .step_by(3)
            .flat_map(|y| (0..w).step_by(5).map(move |x| (x, y)))
            .map(|(x, y)| block(x, y, 5, 3, &all))
            .collect(),
    };
    let mut tags = vec![
        (258, vec![8 * size as u32; stride]),
        (262, vec![if stride > 2 { 2 } else { 1 }]),
        (277, vec![stride as u32]),
        (284, vec![if stored == Stored::Planes { 2 } else { 1 }]),
    ];
    tags.extend(if stored == Stored::Tiles {
        vec![(322, vec![5]), (323, vec![3])]
    } else {
        vec![(278, vec![4])]
    });
    if stride.is_multiple_of(2) {
        tags.push((338, vec![2]));
    }
    tags.extend_from_slice(more);
    raw_tiff(SIZE, &tags, &chunks, big)
}

/// A TIFF file of one page: tags with 32-bit values, and chunks.
pub(crate) fn raw_tiff(
    (w, h): (usize, usize),
    tags: &[(u16, Vec<u32>)],
    chunks: &[Vec<u8>],
    big: bool,
) -> Vec<u8> {
    let word = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let long = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let mut file = [if big { b"MM" } else { b"II" }.as_slice(), &word(42), &[0; 4]].concat();
    let places = chunks.iter().scan(8, |place, chunk| Some(std::mem::replace(place, *place + chunk.len())));
    let tiled = tags.iter().any(|(tag, _)| *tag == 322);
    let mut tags = [
        &[(256, vec![w as u32]), (257, vec![h as u32])],
        tags,
        &[
            (if tiled { 324 } else { 273 }, places.map(|place| place as u32).collect()),
            (if tiled { 325 } else { 279 }, chunks.iter().map(|chunk| chunk.len() as u32).collect()),
        ],
    ]
    .concat();
    tags.sort();
    chunks.iter().for_each(|chunk| file.extend(chunk));
    let mut directory = word(tags.len() as u16).to_vec();
    for (tag, values) in tags {
        let short = values.len() == 1 && values[0] < 1 << 16;
        directory.extend([word(tag), word(if short { 3 } else { 4 })].concat());
        directory.extend(long(values.len() as u32));
        if short {
            directory.extend([word(values[0] as u16), [0; 2]].concat());
        } else if let [value] = values[..] {
            directory.extend(long(value));
        } else {
            directory.extend(long(file.len() as u32));
            values.iter().for_each(|&value| file.extend(long(value)));
        }
    }
    let place = long(file.len() as u32);
    file[4..8].copy_from_slice(&place);
    [file, directory, vec![0; 4]].concat()
}

/// A JPEG file of four flat components: the tables of a grey file, and a scan whose blocks are all zeros.
pub(crate) fn cmyk_jpeg() -> Vec<u8> {
    let mut grey = Vec::new();
    JpegEncoder::new(&mut grey).write_image(&[128; 64], 8, 8, ExtendedColorType::L8).unwrap();
    let place = |marker: u8| grey.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
    let frame = place(0xc0);
    let components = [1, 2, 3, 4].map(|id| [id, 0x11, 0]).concat();
    let scan = [1, 2, 3, 4].map(|id| [id, 0]).concat();
    [
        &grey[..frame],
        &[0xff, 0xc0, 0, 20, 8, 0, 8, 0, 8, 4],
        &components,
        // The tables that follow a frame header of one component.
        &grey[frame + 13..place(0xda)],
        &[0xff, 0xda, 0, 14, 4],
        &scan,
        // Four times 00 (no difference) and 1010 (end of block).
        &[0, 63, 0, 0x28, 0xa2, 0x8a, 0xff, 0xd9],
    ]
    .concat()
}

/// Two frames of two pixels: <https://developers.google.com/speed/webp/docs/riff_container>.
pub(crate) fn animated_webp() -> Vec<u8> {
    let frame = |raw: &[u8]| {
        let mut file = Vec::new();
        WebPEncoder::new_lossless(&mut file).write_image(raw, 2, 1, ExtendedColorType::Rgb8).unwrap();
        // Position, size minus one, 100 ms, no blending; then the chunk of the still file.
        let body = [&[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 100, 0, 0, 2], &file[12..]].concat();
        [b"ANMF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
    };
    let body = [
        b"WEBPVP8X\x0a\0\0\0\x02\0\0\0\x01\0\0\0\0\0ANIM\x06\0\0\0\0\0\0\0\0\0".as_slice(),
        &frame(&[1, 2, 3, 4, 5, 6]),
        &frame(&[0; 6]),
    ]
    .concat();
    [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// A TIFF file of three pages of different kinds.
pub(crate) fn stack() -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    encoder.write_image::<colortype::Gray8>(2, 1, &[1, 2]).unwrap();
    encoder.write_image::<colortype::RGB16>(1, 1, &[257, 514, 771]).unwrap();
    encoder.write_image::<colortype::Gray32Float>(1, 3, &[0.5, f32::NAN, -2.0]).unwrap();
    file.into_inner()
}
