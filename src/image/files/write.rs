//! Pictures to files of the format that their name asks for.

use super::aside::check_place;
use super::netpbm;
use super::rows::{Layout, png_encoder};
use super::tiff::TiffWriter;
use crate::error::{Error, Result};
use crate::image::picture::byte;
use crate::image::{Depth, Picture};
use crate::recipe::Channels;
use image::codecs::{bmp::BmpEncoder, jpeg::JpegEncoder, openexr::OpenExrEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};
use std::borrow::Cow;
use std::io::{self, Cursor};
use std::path::Path;

/// Quality of JPEG files: no visible loss.
const JPEG_QUALITY: u8 = 95;

/// What a file is written as, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.png`: 8 or 16 bits, opacity, masks with a palette.
    Png,
    /// `.jpg`, `.jpeg`: 8 bits.
    Jpeg,
    /// `.tif`, `.tiff`: 8 or 16 bits or floats, opacity, pages; not compressed.
    Tiff,
    /// `.bmp`: 8 bits.
    Bmp,
    /// `.webp`, lossless: 8 bits, opacity.
    Webp,
    /// `.exr`, lossless: floats, opacity. Always RGB.
    Exr,
    /// `.pfm`: floats.
    Pfm,
    /// `.ppm`, `.pgm`, `.pnm`: 8 or 16 bits.
    Pnm,
    /// `.npy`: the network's numbers.
    Npy,
    /// `.txt`: class scores.
    Text,
}

impl Format {
    /// The format that a path's extension names.
    pub fn of(path: &Path) -> Result<Format> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        Ok(match extension.as_deref() {
            Some("png") => Format::Png,
            Some("jpg" | "jpeg") => Format::Jpeg,
            Some("tif" | "tiff") => Format::Tiff,
            Some("bmp") => Format::Bmp,
            Some("webp") => Format::Webp,
            Some("exr") => Format::Exr,
            Some("pfm") => Format::Pfm,
            Some("ppm" | "pgm" | "pnm") => Format::Pnm,
            Some("npy") => Format::Npy,
            Some("txt") => Format::Text,
            other => {
                let found =
                    other.map_or("a name with no extension".to_string(), |e| format!("the extension .{e}"));
                let known = "end it in .png, .jpg, .tiff, .bmp, .webp, .exr, .pfm, .ppm, .npy (numbers) or .txt (scores)";
                return Err(refuse(path, format!("{found} does not say what to write; {known}")));
            }
        })
    }

    /// Whether it holds a picture.
    pub fn is_picture(self) -> bool {
        !matches!(self, Format::Npy | Format::Text)
    }

    /// What a picture of that depth is written with: the same where the format has it, else the nearest it has.
    pub fn depth(self, depth: Depth) -> Depth {
        match (self, depth) {
            (Format::Tiff, depth) => depth,
            (Format::Png | Format::Pnm, Depth::Eight) => Depth::Eight,
            (Format::Png | Format::Pnm, Depth::Sixteen | Depth::Float) => Depth::Sixteen,
            (Format::Exr | Format::Pfm | Format::Npy, _) => Depth::Float,
            (Format::Jpeg | Format::Bmp | Format::Webp | Format::Text, _) => Depth::Eight,
        }
    }

    /// Whether it holds opacity.
    pub fn holds_alpha(self) -> bool {
        matches!(self, Format::Png | Format::Tiff | Format::Webp | Format::Exr)
    }

    /// Whether one file holds many pictures.
    pub fn holds_pages(self) -> bool {
        matches!(self, Format::Tiff | Format::Npy)
    }
}

impl Picture {
    /// The picture as the bytes of a file with that name: of its own depth or [the nearest](Format::depth) that the
    /// format has, with its opacity [where the format holds it](Format::holds_alpha).
    ///
    /// Integers are clamped and rounded; floats are 1 for white and neither. In OpenEXR colours are written as they
    /// are, not multiplied with the opacity.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        let format = Format::of(path)?;
        let picture = self.fitted(format)?;
        let layout = Layout::of(&picture, format.depth(picture.depth())).check(path)?;
        let pixels = || samples(&picture, layout.depth);
        let mut file = Cursor::new(Vec::new());
        let written = match format {
            Format::Png => write_png(&mut file, layout, &pixels()).map_err(|e| e.to_string()),
            Format::Tiff => write_tiff(&mut file, layout, &pixels()).map_err(|e| e.to_string()),
            Format::Jpeg => {
                let encoder = JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY);
                write(encoder, layout, &pixels())
            }
            Format::Bmp => write(BmpEncoder::new(&mut file), layout, &pixels()),
            Format::Webp => write(WebPEncoder::new_lossless(&mut file), layout, &pixels()),
            Format::Exr => {
                write(OpenExrEncoder::new(&mut file), layout, &interleave(&picture, 1.0, f32::to_ne_bytes))
            }
            Format::Pfm => return Ok(netpbm::pfm(&picture)),
            Format::Pnm => return Ok(netpbm::pnm(&picture)),
            Format::Npy | Format::Text => return Err(not_a_picture(path)),
        };
        written.map_err(|e| {
            let Layout { width, height, .. } = layout;
            refuse(path, format!("{width}x{height} pixels cannot be written so: {e}"))
        })?;
        Ok(file.into_inner())
    }

    /// The picture with what the format lacks taken out, and as RGB where it has no grey.
    fn fitted(&self, format: Format) -> Result<Cow<'_, Picture>> {
        let colors = self.channels() == 1 && matches!(format, Format::Webp | Format::Exr);
        let opaque = self.alpha().is_some() && !format.holds_alpha();
        if !colors && !opaque {
            return Ok(Cow::Borrowed(self));
        }
        let planes = if colors { self.to_channels(Channels::Rgb) } else { self.planes().clone() };
        let alpha = self.alpha().filter(|_| !opaque).cloned();
        Ok(Cow::Owned(Picture::new(planes, self.depth())?.with_alpha(alpha)?))
    }
}

fn write_png(file: &mut Cursor<Vec<u8>>, layout: Layout, pixels: &[u8]) -> Result<(), png::EncodingError> {
    let mut writer = png_encoder(file, layout, &[]).write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()
}

fn write_tiff(file: &mut Cursor<Vec<u8>>, layout: Layout, pixels: &[u8]) -> io::Result<()> {
    let mut tiff = TiffWriter::new(file)?;
    tiff.begin(layout)?;
    tiff.write(pixels)?;
    tiff.finish()
}

/// Writes pixels by an encoder of the `image` crate.
fn write(encoder: impl ImageEncoder, layout: Layout, pixels: &[u8]) -> Result<(), String> {
    let color = match (layout.channels, layout.depth) {
        (1, _) => ExtendedColorType::L8,
        (3, Depth::Float) => ExtendedColorType::Rgb32F,
        (3, _) => ExtendedColorType::Rgb8,
        (_, Depth::Float) => ExtendedColorType::Rgba32F,
        _ => ExtendedColorType::Rgba8,
    };
    encoder.write_image(pixels, layout.width as u32, layout.height as u32, color).map_err(|e| e.to_string())
}

/// A picture's samples of that depth, a pixel's side by side with its opacity last, big-endian.
pub(in crate::image) fn samples(picture: &Picture, depth: Depth) -> Vec<u8> {
    match depth {
        Depth::Eight => interleave(picture, 255.0, |v| [byte(v)]),
        // A float-to-integer cast saturates, which is the clamp.
        Depth::Sixteen => interleave(picture, 65535.0, |v| (v.round() as u16).to_be_bytes()),
        Depth::Float => interleave(picture, 1.0, f32::to_be_bytes),
    }
}

/// The bytes of all samples, which are `white` for white and for full opacity.
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
        // The larger white over the smaller is a whole number, so that one rounding is all there is.
        let scaled = |v: f32| if own > white { v / (own / white) } else { v * (white / own) };
        for (pixel, &v) in file.chunks_exact_mut(stride).zip(plane) {
            pixel[c * N..][..N].copy_from_slice(&bytes(scaled(v)));
        }
    }
    file
}

/// Errors early when a picture of that name could not be written later: its format, its folder, what stands there.
pub fn check_target(path: &Path) -> Result<Format> {
    let format = Format::of(path)?;
    check_place(path)?;
    Ok(format)
}

fn not_a_picture(path: &Path) -> Error {
    refuse(path, "a picture goes to .png, .jpg, .tiff, .bmp, .webp, .exr, .pfm or .ppm".into())
}

pub(super) fn refuse(path: &Path, message: String) -> Error {
    Error::Picture { path: path.to_owned(), message }
}
