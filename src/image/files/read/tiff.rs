//! TIFF and BigTIFF, by the `tiff` crate: strips and tiles, pages.

use super::{Decode, Layout, MAX_DECODED, MAX_SIDE, Source, damaged, one_line, too_large, unsupported};
use crate::image::Depth;
use image::metadata::Orientation;
use std::collections::HashSet;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{ExtraSamples, PhotometricInterpretation, PlanarConfiguration, SampleFormat, Tag};
use tiff::{ColorType, TiffError, TiffResult};

/// Most pages of a file.
const MAX_PAGES: usize = 65_536;
/// Bytes that one byte of a compressed chunk can stand for: an LZW code of 12 bits stands for at most 4096.
const MAX_RATIO: u64 = 4096;

/// A TIFF file on one of its pages.
pub(super) struct Tiff {
    decoder: Decoder<Box<dyn Source>>,
    length: u64,
    page: Page,
    /// The strip, or the row of tiles, that the last row came from; plane after plane.
    chunks: Vec<DecodingResult>,
    /// The next row's samples as they are stored, in units of the planes.
    line: Vec<f32>,
    row: usize,
}

/// How a page is stored.
struct Page {
    layout: Layout,
    colors: Colors,
    /// Bits of a sample.
    bits: u8,
    /// Samples of a pixel that are decoded.
    samples: usize,
    /// Whether each sample has chunks of its own.
    planar: bool,
    /// Columns and rows of a chunk, but at the right and lower border.
    chunk: [usize; 2],
    notes: Vec<String>,
}

/// What the samples of a pixel mean.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Colors {
    /// Grey or RGB, opacity last.
    Plain,
    /// Cyan, magenta, yellow, black, opacity last.
    Cmyk,
    /// Luma and two colour differences, full range, as JPEG has them.
    YCbCr,
}

impl Tiff {
    pub(super) fn new(source: Box<dyn Source>, length: u64) -> Result<Tiff, String> {
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_DECODED;
        limits.intermediate_buffer_size = MAX_DECODED;
        let mut decoder = Decoder::new(source).map_err(explain)?.with_limits(limits);
        let page = Page::new(&mut decoder, length)?;
        Ok(Tiff { decoder, length, page, chunks: Vec::new(), line: Vec::new(), row: 0 })
    }

    /// Decodes the strip or the row of tiles that the next row is in.
    fn read_chunks(&mut self) -> TiffResult<()> {
        let Page { layout, chunk: [width, height], samples, planar, .. } = self.page;
        let across = layout.width.div_ceil(width);
        let plane = across * layout.height.div_ceil(height);
        self.chunks.clear();
        for p in 0..if planar { samples } else { 1 } {
            let first = p * plane + self.row / height * across;
            for index in first..first + across {
                self.chunks.push(self.decoder.read_chunk(u32::try_from(index)?)?);
            }
        }
        Ok(())
    }

    /// Brings the next row of the chunks to `line`.
    fn read_line(&mut self) -> Result<(), String> {
        let Page { layout, chunk: [width, height], samples, planar, bits, .. } = self.page;
        let y = self.row % height;
        if y == 0 {
            self.read_chunks().map_err(explain)?;
        }
        self.line.resize(layout.width * samples, 0.0);
        let across = layout.width.div_ceil(width);
        for (i, chunk) in self.chunks.iter().enumerate() {
            let (plane, left) = (i / across, i % across * width);
            let columns = width.min(layout.width - left);
            let together = if planar { 1 } else { samples };
            let line = &mut self.line[left * samples + plane..];
            let row = columns * together;
            let places = Places { columns, together, samples };
            match chunk {
                DecodingResult::U8(v) if bits < 8 => {
                    places
                        .put(line, &unpacked(v, y, row, bits), |v| v * 255.0 / f32::from((1u8 << bits) - 1));
                }
                DecodingResult::U8(v) => places.put(line, &v[y * row..], f32::from),
                DecodingResult::U16(v) => places.put(line, &v[y * row..], |v| f32::from(v) / 257.0),
                DecodingResult::F16(v) => places.put(line, &v[y * row..], half::f16::to_f32),
                DecodingResult::F32(v) => places.put(line, &v[y * row..], |v| v),
                DecodingResult::F64(v) => places.put(line, &v[y * row..], |v| v as f32),
                DecodingResult::I8(v) => places.put(line, &v[y * row..], |v| f32::from(v) / 255.0),
                DecodingResult::I16(v) => places.put(line, &v[y * row..], |v| f32::from(v) / 255.0),
                DecodingResult::I32(v) => places.put(line, &v[y * row..], |v| v as f32 / 255.0),
                DecodingResult::I64(v) => places.put(line, &v[y * row..], |v| v as f32 / 255.0),
                DecodingResult::U32(v) => places.put(line, &v[y * row..], |v| v as f32 / 255.0),
                DecodingResult::U64(v) => places.put(line, &v[y * row..], |v| v as f32 / 255.0),
            }
        }
        self.row += 1;
        Ok(())
    }

    /// Follows the chain of directories without reading them.
    fn count_pages(&mut self) -> TiffResult<usize> {
        let decoder = &mut self.decoder;
        decoder.goto_offset_u64(2)?;
        let big = decoder.read_short()? == 43;
        decoder.goto_offset_u64(if big { 8 } else { 4 })?;
        let mut seen = HashSet::new();
        loop {
            let place = decoder.read_ifd_offset()?;
            if place == 0 || !seen.insert(place) || seen.len() > MAX_PAGES {
                return Ok(if place == 0 { seen.len() } else { usize::MAX });
            }
            decoder.goto_offset_u64(place)?;
            let (count, head, entry) =
                if big { (decoder.read_long8()?, 8, 20) } else { (decoder.read_short()?.into(), 2, 12) };
            let end = count.checked_mul(entry).and_then(|size| place.checked_add(size)?.checked_add(head));
            decoder.goto_offset_u64(end.ok_or(TiffError::IntSizeError)?)?;
        }
    }
}

impl Decode for Tiff {
    fn layout(&self) -> Layout {
        self.page.layout
    }

    fn notes(&self) -> Vec<String> {
        self.page.notes.clone()
    }

    fn read(&mut self, rows: &mut [f32]) -> Result<(), String> {
        let (stride, samples) = (self.page.layout.stride(), self.page.samples);
        for row in rows.chunks_exact_mut(self.page.layout.row()) {
            self.read_line()?;
            let pixels = row.chunks_exact_mut(stride).zip(self.line.chunks_exact(samples));
            let white = self.page.layout.depth.white();
            match self.page.colors {
                Colors::Plain => row.copy_from_slice(&self.line),
                Colors::Cmyk => pixels.for_each(|(to, ink)| {
                    to[..3].copy_from_slice(&[0, 1, 2].map(|c| (white - ink[c]) * (white - ink[3]) / white));
                    to[3..].copy_from_slice(&ink[4..]);
                }),
                Colors::YCbCr => pixels.for_each(|(to, v)| to.copy_from_slice(&rgb([v[0], v[1], v[2]]))),
            }
        }
        Ok(())
    }

    fn pages(&mut self) -> Result<usize, String> {
        match self.count_pages().map_err(explain)? {
            usize::MAX => Err(format!("the TIFF file's pages run in a circle, or are more than {MAX_PAGES}")),
            pages => Ok(pages),
        }
    }

    fn turn_page(&mut self) -> Result<(), String> {
        self.decoder.next_image().map_err(explain)?;
        self.page = Page::new(&mut self.decoder, self.length)?;
        self.row = 0;
        Ok(())
    }
}

impl Page {
    /// The page that a decoder is on, in a file of that length.
    fn new(decoder: &mut Decoder<Box<dyn Source>>, length: u64) -> Result<Page, String> {
        let (width, height) = decoder.dimensions().map_err(explain)?;
        let mut tag = |tag: Tag| decoder.find_tag_unsigned_vec::<u16>(tag).map_err(explain);
        let extra = tag(Tag::ExtraSamples)?.unwrap_or_default();
        let format = tag(Tag::SampleFormat)?.and_then(|list| list.first().copied());
        let planar = tag(Tag::PlanarConfiguration)?.unwrap_or_default();
        let orientation = tag(Tag::Orientation)?.and_then(|list| list.first().copied()).unwrap_or(1);
        let photometric = tag(Tag::PhotometricInterpretation)?.unwrap_or_default();
        if photometric == [PhotometricInterpretation::RGBPalette.to_u16()] {
            return Err("a TIFF with a palette is not read; save it as an RGB or grey PNG or TIFF".into());
        }
        let color = decoder.colortype().map_err(explain)?;
        let opacity = [ExtraSamples::AssociatedAlpha, ExtraSamples::UnassociatedAlpha].map(|e| e.to_u16());
        let grey_with_opacity = matches!(extra[..], [kind] if opacity.contains(&kind));
        let (colors, channels, alpha) = match color {
            ColorType::Gray(_) => (Colors::Plain, 1, false),
            ColorType::Multiband { num_samples: 2, bit_depth: 8.. } if grey_with_opacity => {
                (Colors::Plain, 1, true)
            }
            ColorType::RGB(_) => (Colors::Plain, 3, false),
            ColorType::RGBA(_) => (Colors::Plain, 3, true),
            ColorType::CMYK(8 | 16) => (Colors::Cmyk, 3, false),
            ColorType::CMYKA(8 | 16) => (Colors::Cmyk, 3, true),
            ColorType::YCbCr(8) => (Colors::YCbCr, 3, false),
            other => return Err(unsupported(format!("TIFF with {other:?}"))),
        };
        let bits = color.bit_depth();
        let (depth, integers) =
            match (format.map_or(SampleFormat::Uint, SampleFormat::from_u16_exhaustive), bits) {
                (SampleFormat::Uint, 1 | 2 | 4 | 8) => (Depth::Eight, false),
                (SampleFormat::Uint, 16) => (Depth::Sixteen, false),
                (SampleFormat::IEEEFP, 16 | 32 | 64) => (Depth::Float, false),
                (SampleFormat::Uint | SampleFormat::Int, 8 | 16 | 32 | 64) => (Depth::Float, true),
                (other, bits) => {
                    return Err(unsupported(format!("TIFF with {other:?} samples of {bits} bits")));
                }
            };
        if colors != Colors::Plain && depth == Depth::Float {
            return Err(unsupported(format!(
                "TIFF with {color:?} of numbers other than unsigned 8 or 16 bits"
            )));
        }
        let layout = Layout {
            width: width as usize,
            height: height as usize,
            channels,
            alpha,
            depth,
            orientation: u8::try_from(orientation)
                .ok()
                .and_then(Orientation::from_exif)
                .unwrap_or(Orientation::NoTransforms),
        };
        let samples = usize::from(color.num_samples());
        // Fax compression of 1-bit pictures is the one that knows no bound.
        let ratio = if bits < 8 { u64::MAX } else { MAX_RATIO };
        let bytes =
            (u64::from(width) * u64::from(height)).saturating_mul(samples as u64 * u64::from(bits) / 8);
        layout.check(bytes, ratio, length)?;

        let (chunk_width, chunk_height) = decoder.chunk_dimensions();
        let chunk = [chunk_width as usize, (chunk_height as usize).min(layout.height)];
        let decoded = layout.width * samples * chunk[1] * usize::from(bits).div_ceil(8);
        if decoded > MAX_DECODED || chunk[0] > MAX_SIDE {
            return Err(too_large("the TIFF file's strips or tiles are"));
        }
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
        let notes = told.iter().filter(|(is, _)| *is).map(|(_, note)| note.to_string()).collect();
        let planar = planar == [PlanarConfiguration::Planar.to_u16()] && samples > 1;
        Ok(Page { layout, colors, bits, samples, planar, chunk, notes })
    }
}

/// Where a row of a chunk goes in a line of interleaved samples.
struct Places {
    /// Pixels.
    columns: usize,
    /// Samples of a pixel that stand together in the chunk.
    together: usize,
    /// Samples of a pixel in the line.
    samples: usize,
}

impl Places {
    fn put<T: Copy>(&self, line: &mut [f32], row: &[T], value: impl Fn(T) -> f32) {
        let pixels = row.chunks_exact(self.together).take(self.columns);
        for (to, from) in line.chunks_mut(self.samples).zip(pixels) {
            to.iter_mut().zip(from).for_each(|(to, &v)| *to = value(v));
        }
    }
}

/// Row `y` of samples of 1, 2 or 4 bits, each row of them in whole bytes, highest bits first.
fn unpacked(bytes: &[u8], y: usize, samples: usize, bits: u8) -> Vec<f32> {
    let in_byte = usize::from(8 / bits);
    let row = &bytes[y * samples.div_ceil(in_byte)..];
    let shift = |i: usize| 8 - usize::from(bits) * (i % in_byte + 1);
    (0..samples).map(|i| f32::from(row[i / in_byte] >> shift(i) & ((1 << bits) - 1))).collect()
}

/// JPEG's colours to RGB: ITU-T T.871, section 7.
fn rgb([y, cb, cr]: [f32; 3]) -> [f32; 3] {
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| v.round().clamp(0.0, 255.0))
}

fn explain(error: TiffError) -> String {
    match error {
        TiffError::IoError(e) => damaged(e),
        TiffError::UnsupportedError(e) => unsupported(e),
        TiffError::LimitsExceeded => too_large("the TIFF file's strips, tiles or tags are"),
        other => format!("the picture file is damaged or cut off: {}", one_line(other)),
    }
}
