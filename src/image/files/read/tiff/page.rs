//! The tags of a page in a TIFF file.

use super::super::{Layout, MAX_DECODED, MAX_SIDE, too_large, unsupported};
use super::directories::File;
use super::explain;
use super::strips::Strips;
use crate::image::Depth;
use crate::image::georeference::Georeference;
use image::metadata::Orientation;
use std::sync::Arc;
use tiff::ColorType;
use tiff::decoder::Decoder;
use tiff::decoder::ifd::Value;
use tiff::tags::{ExtraSamples, PhotometricInterpretation, PlanarConfiguration, SampleFormat, Tag};

/// Most bytes that one byte of a compressed chunk can expand to: an LZW code of 12 bits stands for at most 4096.
const MAX_RATIO: u64 = 4096;

/// Most numbers or characters of a GeoTIFF's tag.
const MAX_VALUES: u64 = 1 << 20;

/// How a page is stored.
pub(super) struct Page {
    pub(super) layout: Layout,
    pub(super) colors: Colors,
    /// Bits of a sample.
    pub(super) bits: u8,
    /// Samples of a pixel that are decoded.
    pub(super) samples: usize,
    /// Whether each sample has chunks of its own.
    pub(super) planar: bool,
    /// Columns and rows of a chunk, except at the right and lower border.
    pub(super) chunk: [usize; 2],
    /// The chunks, if rows can be read from them directly.
    pub(super) strips: Option<Strips>,
    pub(super) georeference: Option<Arc<Georeference>>,
    pub(super) notes: Vec<String>,
}

/// What the samples of a pixel mean.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Colors {
    /// Grey or RGB, opacity last.
    Plain,
    /// Indices of these colours. There is a colour for every value of the bits.
    Palette(Vec<[f32; 3]>),
    /// Cyan, magenta, yellow, black, opacity last.
    Cmyk,
    /// Luma and two colour differences, full range, as in JPEG.
    YCbCr,
}

impl Page {
    /// The current page of the decoder in a file of `length` bytes. `kind` is its photometric interpretation.
    pub(super) fn new(decoder: &mut Decoder<File>, kind: u64, length: u64) -> Result<Page, String> {
        let (width, height) = decoder.dimensions().map_err(explain)?;
        let extra = tag(decoder, Tag::ExtraSamples)?;
        let is = |interpretation: PhotometricInterpretation| kind == u64::from(interpretation.to_u16());
        let palette = is(PhotometricInterpretation::RGBPalette).then(|| palette(decoder)).transpose()?;
        let color = decoder.colortype().map_err(explain)?;
        let opacity = usize::from(is_opacity(&extra));
        // Grey or colours, further bands, opacity.
        let (colors, channels, further, alpha) = match (color, palette) {
            (ColorType::Gray(_), Some(palette)) => (Colors::Palette(palette), 3, 0, false),
            (ColorType::Gray(_), None) => (Colors::Plain, 1, 0, false),
            (ColorType::Multiband { num_samples, bit_depth: 8.. }, None) => {
                let bands = usize::from(num_samples) - opacity;
                // Three bands may well be colours; of others, none is known to be.
                let channels = if is(PhotometricInterpretation::RGB) || bands == 3 { 3 } else { 1 };
                (Colors::Plain, channels, bands.saturating_sub(channels), opacity == 1)
            }
            (ColorType::RGB(8..), _) => (Colors::Plain, 3, 0, false),
            (ColorType::RGBA(8..), _) => (Colors::Plain, 3, 0, true),
            (ColorType::CMYK(8 | 16), _) => (Colors::Cmyk, 3, 0, false),
            (ColorType::CMYKA(8 | 16), _) => (Colors::Cmyk, 3, 0, true),
            (ColorType::YCbCr(8), _) => (Colors::YCbCr, 3, 0, false),
            (other, _) => return Err(unsupported(format!("TIFF with {other:?}"))),
        };
        let format = tag(decoder, Tag::SampleFormat)?
            .first()
            .map_or(SampleFormat::Uint, |&format| SampleFormat::from_u16_exhaustive(format));
        let bits = color.bit_depth();
        let (depth, integers) = match (format, bits) {
            (SampleFormat::Uint, 1 | 2 | 4 | 8) => (Depth::Eight, false),
            (SampleFormat::Uint, 16) => (Depth::Sixteen, false),
            (SampleFormat::IEEEFP, 16 | 32 | 64) => (Depth::Float, false),
            (SampleFormat::Uint | SampleFormat::Int, 8 | 16 | 32 | 64) => (Depth::Float, true),
            (other, bits) => return Err(unsupported(format!("TIFF with {other:?} samples of {bits} bits"))),
        };
        if colors != Colors::Plain && depth == Depth::Float {
            return Err(unsupported(format!("TIFF with {color:?} of {format:?} samples")));
        }
        let orientation = tag(decoder, Tag::Orientation)?.first().and_then(|&v| u8::try_from(v).ok());
        let georeference = georeference(decoder);
        let nodata = georeference.as_ref().and_then(|tags| tags.nodata());
        let nodata = nodata.map(|value| match (depth, integers) {
            (Depth::Sixteen, _) => value as f32 / 257.0,
            (_, true) => value as f32 / 255.0,
            _ => value as f32,
        });
        let layout = Layout {
            width: width as usize,
            height: height as usize,
            channels,
            extra: further,
            alpha,
            nodata,
            depth: if matches!(colors, Colors::Palette(_)) { Depth::Eight } else { depth },
            orientation: orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms),
        };
        let samples = usize::from(color.num_samples());
        let planar = tag(decoder, Tag::PlanarConfiguration)? == [PlanarConfiguration::Planar.to_u16()];
        let told = [
            (
                colors == Colors::Cmyk,
                "the TIFF file's CMYK colours were converted to RGB without their profile",
            ),
            (integers, "the TIFF file's integers are taken as they are, 255 as white"),
            (
                extra.len() > usize::from(alpha) + further,
                "the TIFF file's samples beyond colours and opacity were left out",
            ),
        ];
        let notes = told.into_iter().filter(|(is, _)| *is).map(|(_, note)| note.to_string()).collect();
        let (chunk_width, chunk_height) = decoder.chunk_dimensions();
        let chunk = [chunk_width as usize, layout.height.min(chunk_height as usize)];
        let planar = planar && samples > 1;
        let georeference = georeference.map(Arc::new);
        let mut page =
            Page { layout, colors, bits, samples, planar, chunk, strips: None, georeference, notes };
        page.check(length)?;
        page.strips = Strips::new(decoder, &page, length)?;
        if page.strips.is_none() {
            page.check_chunks()?;
        }
        Ok(page)
    }

    /// Bytes of a row, of all planes.
    fn row(&self) -> usize {
        (self.layout.width * self.samples * usize::from(self.bits)).div_ceil(8)
    }

    /// Refuses pages that the file cannot hold.
    fn check(&self, length: u64) -> Result<(), String> {
        // Only fax compression, for pages with one bit a pixel, has no bound.
        let ratio = if self.bits == 1 { u64::MAX } else { MAX_RATIO };
        self.layout.check((self.row() as u64).saturating_mul(self.layout.height as u64), ratio, length)
    }

    /// Refuses strips and tiles that are too large to decode.
    fn check_chunks(&self) -> Result<(), String> {
        let [width, height] = self.chunk;
        if self.row().saturating_mul(height) > MAX_DECODED || width > MAX_SIDE {
            return Err(too_large("the TIFF file's strips or tiles are"));
        }
        Ok(())
    }
}

/// The colours of a page whose samples are indices. TIFF 6.0, section 5: all reds, then all greens, then all blues, 16
/// bits each.
fn palette(decoder: &mut Decoder<File>) -> Result<Vec<[f32; 3]>, String> {
    let (map, bits) = (tag(decoder, Tag::ColorMap)?, tag(decoder, Tag::BitsPerSample)?);
    let count = map.len() / 3;
    match bits[..] {
        [bits @ 1..=16] if map.len() == 3 << bits => (),
        _ => return Err(unsupported(format!("TIFF with a palette of {count} colours for {bits:?} bits"))),
    }
    let color = |i| [i, count + i, 2 * count + i].map(|place| f32::from(map[place] >> 8));
    Ok((0..count).map(color).collect())
}

/// The tags of a GeoTIFF. Tags of a wrong type are left out, because the pixels do not need them.
fn georeference(decoder: &mut Decoder<File>) -> Option<Georeference> {
    let mut find = |code| {
        let tag = Tag::from_u16_exhaustive(code);
        let short = decoder.image_ifd().find_entry(tag).is_some_and(|entry| entry.count() <= MAX_VALUES);
        if short { decoder.find_tag(tag).ok().flatten() } else { None }
    };
    let mut doubles = |code| {
        let values = find(code).and_then(|value| value.into_f64_vec().ok()).unwrap_or_default();
        if values.iter().all(|v| v.is_finite()) { values } else { Vec::new() }
    };
    let (scale, tiepoints, matrix, parameters) =
        (doubles(33550), doubles(33922), doubles(34264), doubles(34736));
    let keys = find(34735).and_then(|value| value.into_u16_vec().ok()).unwrap_or_default();
    let mut text = |code| match find(code) {
        Some(Value::Ascii(text)) => text,
        _ => String::new(),
    };
    let (texts, metadata, nodata) = (text(34737), text(42112), text(42113));
    let tags = Georeference { scale, tiepoints, matrix, keys, doubles: parameters, texts, metadata, nodata };
    (tags != Georeference::default()).then_some(tags)
}

/// The numbers of a tag; empty if the page lacks it.
pub(super) fn tag(decoder: &mut Decoder<File>, tag: Tag) -> Result<Vec<u16>, String> {
    Ok(decoder.find_tag_unsigned_vec(tag).map_err(explain)?.unwrap_or_default())
}

/// Whether the last extra sample is opacity.
fn is_opacity(extra: &[u16]) -> bool {
    let kinds = [ExtraSamples::AssociatedAlpha, ExtraSamples::UnassociatedAlpha];
    extra.last().is_some_and(|last| kinds.iter().any(|kind| kind.to_u16() == *last))
}
