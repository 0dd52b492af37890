//! Writes pictures in the format of the file's extension.

mod aside;
mod layout;
mod netpbm;
mod pages;
mod rows;
mod tiff;

pub(in crate::image) use aside::Aside;
pub use aside::{check_writable, remove_temporary_files, write_atomic};
pub(in crate::image) use layout::{interleave, samples};
pub use pages::PageWriter;
pub use rows::RowWriter;

use super::format::{Format, refuse};
use crate::error::{Error, Result};
use crate::image::{Depth, Georeference, Picture};
use crate::recipe::Channels;
use image::codecs::{bmp::BmpEncoder, jpeg::JpegEncoder, openexr::OpenExrEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};
use layout::{Layout, index_bytes, png_encoder};
use std::borrow::Cow;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::sync::Arc;
use tiff::TiffWriter;

/// Quality of JPEG files, without visible loss.
const JPEG_QUALITY: u8 = 95;

impl Picture {
    /// The picture as the bytes of a file of that name. It has the picture's depth or [the nearest](Format::depth)
    /// that the format has, and the opacity [if the format holds it](Format::holds_alpha).
    ///
    /// Integers are clamped and rounded. Floats are neither; 1 is white. In OpenEXR, colours are not multiplied with
    /// the opacity.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        let format = Format::of(path)?;
        let picture = self.fitted(format)?;
        let layout = Layout::of(&picture, format.depth(picture.depth())).check(path)?;
        let pixels = || samples(&picture, layout.depth);
        let mut file = Cursor::new(Vec::new());
        let written = match format {
            Format::Png => {
                write_png(png_encoder(&mut file, layout, &[]), &pixels()).map_err(|e| e.to_string())
            }
            Format::Tiff => {
                let georeference = picture.georeference().cloned();
                write_tiff(&mut file, layout, &pixels(), georeference).map_err(|e| e.to_string())
            }
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
        written.map_err(|e| unfit(path, layout, e))?;
        Ok(file.into_inner())
    }

    /// The picture without what the format lacks, and as RGB if the format has no grey.
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

/// Class numbers as the bytes of a PNG or TIFF file, in the format of [`RowWriter::indexed`].
pub(in crate::image) fn encode_indices(
    path: &Path,
    [width, height]: [usize; 2],
    indices: &[u16],
    palette: &[[u8; 3]],
    georeference: Option<Arc<Georeference>>,
) -> Result<Vec<u8>> {
    let layout = Layout::indices(width, height, palette).check(path)?;
    let pixels = index_bytes(indices, palette.len(), layout.depth)?;
    let mut file = Cursor::new(Vec::new());
    let written = match Format::of(path)? {
        Format::Tiff => write_tiff(&mut file, layout, &pixels, georeference).map_err(|e| e.to_string()),
        _ => {
            let mut encoder = png_encoder(&mut file, layout, palette);
            // Masks compress much better than pictures.
            encoder.set_compression(png::Compression::Balanced);
            write_png(encoder, &pixels).map_err(|e| e.to_string())
        }
    };
    written.map_err(|e| unfit(path, layout, e))?;
    Ok(file.into_inner())
}

fn write_png<W: Write>(encoder: png::Encoder<'_, W>, pixels: &[u8]) -> Result<(), png::EncodingError> {
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()
}

fn write_tiff(
    file: &mut Cursor<Vec<u8>>,
    layout: Layout,
    pixels: &[u8],
    georeference: Option<Arc<Georeference>>,
) -> io::Result<()> {
    let mut tiff = TiffWriter::new(file)?;
    tiff.begin(layout)?;
    tiff.georeference(georeference);
    tiff.write(pixels)?;
    tiff.finish()
}

/// Encodes pixels with an encoder of the `image` crate.
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

fn unfit(path: &Path, Layout { width, height, .. }: Layout, error: String) -> Error {
    refuse(path, format!("{width}x{height} pixels cannot be written so: {error}"))
}

fn not_a_picture(path: &Path) -> Error {
    refuse(path, "a picture goes to .png, .jpg, .tiff, .bmp, .webp, .exr, .pfm or .ppm".into())
}
