//! The tags of a page in a TIFF file.

use super::super::{Layout, MAX_DECODED, MAX_SIDE, too_large, unsupported};
use super::directories::{File, without_palette};
use super::explain;
use super::strips::Strips;
use crate::image::Depth;
use image::metadata::Orientation;
use tiff::ColorType;
use tiff::decoder::Decoder;
use tiff::tags::{ExtraSamples, PhotometricInterpretation, PlanarConfiguration, SampleFormat, Tag};

/// Most bytes that one byte of a compressed chunk can expand to: an LZW code of 12 bits stands for at most 4096.
const MAX_RATIO: u64 = 4096;

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
    /// Page `number`, the current page of the decoder, in a file of `length` bytes.
    pub(super) fn new(decoder: &mut Decoder<File>, number: usize, length: u64) -> Result<Page, String> {
        let (width, height) = decoder.dimensions().map_err(explain)?;
        let extra = tag(decoder, Tag::ExtraSamples)?;
        let palette = palette(decoder)?;
        if palette.is_some() {
            without_palette(decoder, number).map_err(explain)?;
        }
        let color = decoder.colortype().map_err(explain)?;
        let (colors, channels, alpha) = match (color, palette) {
            (ColorType::Gray(_), Some(palette)) => (Colors::Palette(palette), 3, false),
            (ColorType::Gray(_), None) => (Colors::Plain, 1, false),
            (ColorType::Multiband { num_samples: 2, bit_depth: 8.. }, _) if is_opacity(&extra) => {
                (Colors::Plain, 1, true)
            }
            (ColorType::RGB(8..), _) => (Colors::Plain, 3, false),
            (ColorType::RGBA(8..), _) => (Colors::Plain, 3, true),
            (ColorType::CMYK(8 | 16), _) => (Colors::Cmyk, 3, false),
            (ColorType::CMYKA(8 | 16), _) => (Colors::Cmyk, 3, true),
            (ColorType::YCbCr(8), _) => (Colors::YCbCr, 3, false),
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
        let layout = Layout {
            width: width as usize,
            height: height as usize,
            channels,
            alpha,
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
                extra.len() > usize::from(alpha),
                "the TIFF file's samples beyond colours and opacity were left out",
            ),
        ];
        let notes = told.into_iter().filter(|(is, _)| *is).map(|(_, note)| note.to_string()).collect();
        let (chunk_width, chunk_height) = decoder.chunk_dimensions();
        let chunk = [chunk_width as usize, layout.height.min(chunk_height as usize)];
        let planar = planar && samples > 1;
        let mut page = Page { layout, colors, bits, samples, planar, chunk, strips: None, notes };
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
fn palette(decoder: &mut Decoder<File>) -> Result<Option<Vec<[f32; 3]>>, String> {
    let photometric = tag(decoder, Tag::PhotometricInterpretation)?;
    if photometric != [PhotometricInterpretation::RGBPalette.to_u16()] {
        return Ok(None);
    }
    let (map, bits) = (tag(decoder, Tag::ColorMap)?, tag(decoder, Tag::BitsPerSample)?);
    let count = map.len() / 3;
    match bits[..] {
        [bits @ 1..=16] if map.len() == 3 << bits => (),
        _ => return Err(unsupported(format!("TIFF with a palette of {count} colours for {bits:?} bits"))),
    }
    let color = |i| [i, count + i, 2 * count + i].map(|place| f32::from(map[place] >> 8));
    Ok(Some((0..count).map(color).collect()))
}

/// The numbers of a tag; empty if the page lacks it.
pub(super) fn tag(decoder: &mut Decoder<File>, tag: Tag) -> Result<Vec<u16>, String> {
    Ok(decoder.find_tag_unsigned_vec(tag).map_err(explain)?.unwrap_or_default())
}

/// Whether the only extra sample is opacity.
fn is_opacity(extra: &[u16]) -> bool {
    let kinds = [ExtraSamples::AssociatedAlpha, ExtraSamples::UnassociatedAlpha];
    matches!(extra, [kind] if kinds.iter().any(|k| k.to_u16() == *kind))
}
