//! The layout of pixels in files.

use crate::error::{Error, Result};
use crate::image::files::format::refuse;
use crate::image::picture::byte;
use crate::image::{Depth, Picture};
use std::io::Write;
use std::path::Path;

/// Most colours of a palette.
const PALETTE: usize = 256;

/// The layout of pixels in a file's bytes: rows from the top, interleaved samples, big-endian.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 (grey), 2 (grey, opacity), 3 (RGB) or 4 (RGB, opacity).
    pub(super) channels: usize,
    pub(super) depth: Depth,
}

impl Layout {
    /// The layout of a whole picture at that depth.
    pub(super) fn of(picture: &Picture, depth: Depth) -> Layout {
        let channels = picture.channels() + usize::from(picture.alpha().is_some());
        Layout { width: picture.width(), height: picture.height(), channels, depth }
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.width * self.channels * self.depth.bytes()
    }

    /// The layout of class numbers, with as many bits as they need.
    pub(super) fn indices(width: usize, height: usize, palette: &[[u8; 3]]) -> Layout {
        let depth = if palette.len() > PALETTE { Depth::Sixteen } else { Depth::Eight };
        Layout { width, height, channels: 1, depth }
    }

    /// Refuses sizes that no file has.
    pub(super) fn check(self, path: &Path) -> Result<Layout> {
        let side = 1..=i32::MAX as usize;
        if side.contains(&self.width) && side.contains(&self.height) && (1..=4).contains(&self.channels) {
            return Ok(self);
        }
        let Layout { width, height, channels, .. } = self;
        Err(refuse(path, format!("{width}x{height} pixels of {channels} channels are no picture")))
    }
}

/// A picture's samples at that depth: interleaved, opacity last, big-endian.
pub(in crate::image) fn samples(picture: &Picture, depth: Depth) -> Vec<u8> {
    match depth {
        Depth::Eight => interleave(picture, 255.0, |v| [byte(v)]),
        // A float-to-integer cast saturates, so it clamps.
        Depth::Sixteen => interleave(picture, 65535.0, |v| (v.round() as u16).to_be_bytes()),
        Depth::Float => interleave(picture, 1.0, f32::to_be_bytes),
    }
}

/// The bytes of all samples, where `white` stands for white and for full opacity.
pub(in crate::image) fn interleave<const N: usize>(
    picture: &Picture,
    white: f32,
    bytes: impl Fn(f32) -> [u8; N],
) -> Vec<u8> {
    let planes = picture.planes();
    let own = picture.depth().white();
    let mut sources: Vec<(&[f32], f32)> =
        (0..picture.channels()).map(|c| (planes.plane(0, c), own)).collect();
    sources.extend(picture.alpha().map(|alpha| (alpha.data(), 1.0)));
    let stride = sources.len() * N;
    let mut file = vec![0; planes.shape().pixels() * stride];
    for (c, (plane, own)) in sources.into_iter().enumerate() {
        // The larger white divided by the smaller is an integer, so values are rounded only once.
        let scaled = |v: f32| if own > white { v / (own / white) } else { v * (white / own) };
        for (pixel, &v) in file.chunks_exact_mut(stride).zip(plane) {
            pixel[c * N..][..N].copy_from_slice(&bytes(scaled(v)));
        }
    }
    file
}

/// The bytes of class numbers at a depth.
pub(super) fn index_bytes(indices: &[u16], classes: usize, depth: Depth) -> Result<Vec<u8>> {
    if let Some(&index) = indices.iter().find(|&&index| usize::from(index) >= classes) {
        return Err(Error::shape("a mask", format!("class numbers below its {classes} colours"), index));
    }
    Ok(match depth {
        Depth::Eight => indices.iter().map(|&index| index as u8).collect(),
        _ => indices.iter().flat_map(|index| index.to_be_bytes()).collect(),
    })
}

/// An encoder for such pixels, with a palette for class numbers if PNG can hold it.
pub(super) fn png_encoder<W: Write>(
    file: W,
    layout: Layout,
    palette: &[[u8; 3]],
) -> png::Encoder<'static, W> {
    let mut encoder = png::Encoder::new(file, layout.width as u32, layout.height as u32);
    let indexed = (1..=PALETTE).contains(&palette.len());
    if indexed {
        encoder.set_palette(palette.concat());
    }
    encoder.set_color(match layout.channels {
        _ if indexed => png::ColorType::Indexed,
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    let wide = layout.depth != Depth::Eight;
    encoder.set_depth(if wide { png::BitDepth::Sixteen } else { png::BitDepth::Eight });
    encoder.set_compression(png::Compression::Fast);
    encoder
}
