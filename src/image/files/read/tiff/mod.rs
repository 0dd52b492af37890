//! TIFF and BigTIFF, by the `tiff` crate: strips, tiles and pages.

mod directories;
mod page;
mod strips;

use super::{Decode, Layout, MAX_DECODED, Source, damaged, too_large, unreadable, unsupported};
use crate::image::georeference::Georeference;
use directories::File;
use page::{Colors, Page};
use std::ops::Range;
use std::sync::Arc;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::{TiffError, TiffResult};

/// A TIFF file, positioned at one of its pages.
pub(super) struct Tiff {
    decoder: Decoder<File>,
    length: u64,
    page: Page,
    /// Photometric interpretations of all pages, and the index of this one.
    colors: Vec<u64>,
    number: usize,
    /// The strip, the row of tiles, or the rows of a strip that contain the last row; plane after plane.
    chunks: Vec<DecodingResult>,
    /// The rows of the page in `chunks`.
    held: Range<usize>,
    /// The next row's samples as they are stored, in units of the planes.
    line: Vec<f32>,
    row: usize,
}

impl Tiff {
    pub(super) fn new(source: Box<dyn Source>, length: u64) -> Result<Tiff, String> {
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_DECODED;
        limits.intermediate_buffer_size = MAX_DECODED;
        let (file, colors) = directories::open(source)?;
        let mut decoder = Decoder::new(file).map_err(explain)?.with_limits(limits);
        let page = Page::new(&mut decoder, colors[0], length)?;
        let (chunks, line) = (Vec::new(), Vec::new());
        Ok(Tiff { decoder, length, page, colors, number: 0, chunks, held: 0..0, line, row: 0 })
    }

    /// Decodes the strip or the row of tiles that contains the next row. For uncompressed strips, reads as many rows
    /// from that one on as should be read at once.
    fn read_chunks(&mut self) -> TiffResult<()> {
        let Page { layout, chunk: [width, height], samples, planar, ref strips, .. } = self.page;
        let across = layout.width.div_ceil(width);
        let plane = across * layout.height.div_ceil(height);
        let top = self.row / height * height;
        let below = layout.height.min(top + height);
        let held = strips.as_ref().map_or(top..below, |s| self.row..below.min(self.row + s.group()));
        self.chunks.clear();
        for p in 0..if planar { samples } else { 1 } {
            let first = p * plane + self.row / height * across;
            for index in first..first + across {
                self.chunks.push(match strips {
                    Some(strips) => strips.read(&mut self.decoder, index, self.row - top, held.len())?,
                    None => self.decoder.read_chunk(u32::try_from(index)?)?,
                });
            }
        }
        self.held = held;
        Ok(())
    }

    /// Copies the next row of the chunks to `line`.
    fn read_line(&mut self) -> Result<(), String> {
        let Page { layout, chunk: [width, _], samples, planar, bits, .. } = self.page;
        if !self.held.contains(&self.row) {
            self.read_chunks().map_err(explain)?;
        }
        let y = self.row - self.held.start;
        self.line.resize(layout.width * samples, 0.0);
        let across = layout.width.div_ceil(width);
        for (i, chunk) in self.chunks.iter().enumerate() {
            let (plane, left) = (i / across, i % across * width);
            let columns = width.min(layout.width - left);
            let line = &mut self.line[left * samples + plane..(left + columns) * samples];
            let (step, row) = if planar { (samples, columns) } else { (1, columns * samples) };
            match chunk {
                DecodingResult::U8(v) if bits < 8 => {
                    let unit = 255.0 / f32::from((1u8 << bits) - 1);
                    put(line, step, &unpacked(v, y, row, bits), |v| f32::from(v) * unit);
                }
                DecodingResult::U8(v) => put(line, step, &v[y * row..], f32::from),
                DecodingResult::U16(v) => put(line, step, &v[y * row..], |v| f32::from(v) / 257.0),
                DecodingResult::F16(v) => put(line, step, &v[y * row..], half::f16::to_f32),
                DecodingResult::F32(v) => put(line, step, &v[y * row..], |v| v),
                DecodingResult::F64(v) => put(line, step, &v[y * row..], |v| v as f32),
                DecodingResult::I8(v) => put(line, step, &v[y * row..], |v| f32::from(v) / 255.0),
                DecodingResult::I16(v) => put(line, step, &v[y * row..], |v| f32::from(v) / 255.0),
                DecodingResult::I32(v) => put(line, step, &v[y * row..], |v| v as f32 / 255.0),
                DecodingResult::I64(v) => put(line, step, &v[y * row..], |v| v as f32 / 255.0),
                DecodingResult::U32(v) => put(line, step, &v[y * row..], |v| v as f32 / 255.0),
                DecodingResult::U64(v) => put(line, step, &v[y * row..], |v| v as f32 / 255.0),
            }
        }
        self.row += 1;
        Ok(())
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
            match &self.page.colors {
                Colors::Plain => row.copy_from_slice(&self.line),
                Colors::Palette(colors) => {
                    let most = (colors.len() - 1) as f32;
                    let color = |v: f32| colors[(v / 255.0 * most).round() as usize];
                    pixels.for_each(|(to, v)| to.copy_from_slice(&color(v[0])));
                }
                Colors::Cmyk => pixels.for_each(|(to, ink)| {
                    to[..3].copy_from_slice(&[0, 1, 2].map(|c| (white - ink[c]) * (white - ink[3]) / white));
                    to[3..].copy_from_slice(&ink[4..]);
                }),
                Colors::YCbCr => pixels.for_each(|(to, v)| to.copy_from_slice(&rgb([v[0], v[1], v[2]]))),
            }
        }
        Ok(())
    }

    fn georeference(&self) -> Option<Arc<Georeference>> {
        self.page.georeference.clone()
    }

    fn pages(&mut self) -> Result<usize, String> {
        Ok(self.colors.len())
    }

    fn turn_page(&mut self) -> Result<(), String> {
        self.decoder.next_image().map_err(explain)?;
        self.number += 1;
        self.page = Page::new(&mut self.decoder, self.colors[self.number], self.length)?;
        (self.row, self.held) = (0, 0..0);
        Ok(())
    }
}

/// Copies the samples of a row to every `step`th position of a line, until it is full.
fn put<T: Copy>(line: &mut [f32], step: usize, row: &[T], value: impl Fn(T) -> f32) {
    // The common case is separate, because a step known only at run time prevents vectorisation.
    match step {
        1 => line.iter_mut().zip(row).for_each(|(to, &v)| *to = value(v)),
        _ => line.iter_mut().step_by(step).zip(row).for_each(|(to, &v)| *to = value(v)),
    }
}

/// Row `y` of samples of 1, 2 or 4 bits. Each row starts at a whole byte, highest bits first.
fn unpacked(bytes: &[u8], y: usize, samples: usize, bits: u8) -> Vec<u8> {
    let in_byte = usize::from(8 / bits);
    let row = &bytes[y * samples.div_ceil(in_byte)..];
    let shift = |i: usize| 8 - usize::from(bits) * (i % in_byte + 1);
    (0..samples).map(|i| row[i / in_byte] >> shift(i) & ((1 << bits) - 1)).collect()
}

/// JPEG's colours to RGB: ITU-T T.871, section 7.
fn rgb([y, cb, cr]: [f32; 3]) -> [f32; 3] {
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| v.round().clamp(0.0, 255.0))
}

fn explain(error: TiffError) -> String {
    match error {
        TiffError::IoError(e) => unreadable(e),
        TiffError::UnsupportedError(e) => unsupported(e),
        TiffError::LimitsExceeded => too_large("the TIFF file's strips, tiles or tags are"),
        other => damaged(other),
    }
}
