//! Formats that the `image` crate decodes as a whole: JPEG, WebP, BMP, Radiance HDR and PNM.

use super::{Decode, Layout, MAX_DECODED, Source, damaged, fill, rows, too_large, unreadable, unsupported};
use crate::image::Depth;
use image::codecs::{
    bmp::BmpDecoder, hdr::HdrDecoder, jpeg::JpegDecoder, pnm::PnmDecoder, webp::WebPDecoder,
};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits};
use std::io::Cursor;

/// Most pixels that one byte of a JPEG file can hold: one bit for a block of 64.
const MAX_JPEG: u64 = 512;

/// A file. Only the header is decoded at first.
pub(super) struct Whole {
    decoder: Option<Box<dyn ImageDecoder + Send>>,
    /// The upright picture.
    image: DynamicImage,
    orientation: Orientation,
    layout: Layout,
    notes: Vec<String>,
    row: usize,
}

impl Whole {
    pub(super) fn new(
        mut source: Box<dyn Source>,
        format: ImageFormat,
        length: u64,
    ) -> Result<Whole, String> {
        let mut notes = Vec::new();
        let mut decoder: Box<dyn ImageDecoder + Send> = match format {
            ImageFormat::Jpeg => {
                let mut bytes = Vec::new();
                source.read_to_end(&mut bytes).map_err(unreadable)?;
                notes = jpeg_notes(&bytes);
                Box::new(JpegDecoder::new(Cursor::new(bytes)).map_err(explain)?)
            }
            ImageFormat::WebP => {
                let decoder = WebPDecoder::new(source).map_err(explain)?;
                if decoder.has_animation() {
                    notes.push("the WebP file is animated, its first picture is used".into());
                }
                Box::new(decoder)
            }
            ImageFormat::Bmp => Box::new(BmpDecoder::new(source).map_err(explain)?),
            ImageFormat::Hdr => Box::new(HdrDecoder::new(source).map_err(explain)?),
            _ => Box::new(PnmDecoder::new(source).map_err(explain)?),
        };
        let (width, height) = decoder.dimensions();
        let orientation = decoder.orientation().map_err(explain)?;
        let (width, height) = if rows::lies(orientation) { (height, width) } else { (width, height) };
        let color = decoder.color_type();
        let layout = Layout {
            width: width as usize,
            height: height as usize,
            channels: if color.has_color() { 3 } else { 1 },
            alpha: color.has_alpha(),
            depth: match color.bits_per_pixel() / u16::from(color.channel_count()) {
                8 => Depth::Eight,
                16 => Depth::Sixteen,
                _ => Depth::Float,
            },
            extra: 0,
            nodata: None,
            orientation: Orientation::NoTransforms,
        };
        // A JPEG file that is too short for its pixels is refused early. Other formats can hold many pixels in few
        // bytes.
        let ratio = if format == ImageFormat::Jpeg { MAX_JPEG } else { u64::MAX };
        layout.check(u64::from(width) * u64::from(height), ratio, length)?;
        if decoder.total_bytes() > MAX_DECODED as u64 {
            return Err(too_large(&format!("{width}x{height} pixels are")));
        }
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_DECODED as u64);
        decoder.set_limits(limits).map_err(explain)?;
        let image = DynamicImage::default();
        Ok(Whole { decoder: Some(decoder), image, orientation, layout, notes, row: 0 })
    }
}

impl Decode for Whole {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn read(&mut self, rows: &mut [f32]) -> Result<(), String> {
        if let Some(decoder) = self.decoder.take() {
            self.image = DynamicImage::from_decoder(decoder).map_err(explain)?;
            self.image.apply_orientation(self.orientation);
        }
        let first = self.row * self.layout.row();
        self.row += rows.len() / self.layout.row();
        let bytes = self.image.as_bytes();
        match self.layout.depth {
            Depth::Eight => fill(rows, &bytes[first..], |[v]| f32::from(v)),
            Depth::Sixteen => fill(rows, &bytes[first * 2..], |v| f32::from(u16::from_ne_bytes(v)) / 257.0),
            Depth::Float => fill(rows, &bytes[first * 4..], f32::from_ne_bytes),
        }
        Ok(())
    }
}

/// What the decoder does not report: an early end of the file, and colours other than RGB.
fn jpeg_notes(bytes: &[u8]) -> Vec<String> {
    // Inside a scan, 0xff never precedes the second byte of these markers.
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    let cut = last(0xd9) <= last(0xda);
    let cut = cut.then_some("the JPEG file ends early; the missing part was filled in");
    let cmyk = (jpeg_components(bytes) == Some(4))
        .then_some("the JPEG file's CMYK colours were converted to RGB without their profile");
    cut.into_iter().chain(cmyk).map(str::to_string).collect()
}

/// The number of components in a JPEG file's frame header, which holds: marker, length, precision, height, width,
/// components.
fn jpeg_components(bytes: &[u8]) -> Option<u8> {
    let mut segment = bytes.get(2..)?;
    loop {
        match *segment {
            [0xff, 0xff, ..] => segment = &segment[1..],
            [0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf, ..] => {
                return segment.get(9).copied();
            }
            [0xff, _, high, low, ..] => {
                segment = segment.get(2 + usize::from(u16::from_be_bytes([high, low]))..)?;
            }
            _ => return None,
        }
    }
}

fn explain(error: ImageError) -> String {
    match error {
        ImageError::Limits(_) => too_large("the picture is"),
        ImageError::Unsupported(e) => unsupported(e),
        ImageError::IoError(e) => unreadable(e),
        other => damaged(other),
    }
}
