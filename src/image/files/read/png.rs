//! PNG and the first frame of APNG.

use super::{Decode, Layout, MAX_DECODED, MAX_DEFLATE, Source, damaged, fill, too_large, unreadable};
use crate::image::Depth;
use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, DecodingError, Reader, Transformations};

/// A PNG file. Samples of fewer than 8 bits, palettes and transparent colours are expanded.
pub(super) struct Png {
    reader: Reader<Box<dyn Source>>,
    layout: Layout,
    /// All rows, if they are interlaced and have been read.
    whole: Vec<u8>,
    line: Vec<u8>,
    row: usize,
}

impl Png {
    pub(super) fn new(source: Box<dyn Source>, length: u64) -> Result<Png, String> {
        let mut decoder = Decoder::new(source);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        decoder.set_transformations(Transformations::EXPAND);
        let reader = decoder.read_info().map_err(explain)?;
        let (info, (color, bits)) = (reader.info(), reader.output_color_type());
        let orientation = info.exif_metadata.as_deref().and_then(Orientation::from_exif_chunk);
        let layout = Layout {
            width: info.width as usize,
            height: info.height as usize,
            channels: if matches!(color, ColorType::Grayscale | ColorType::GrayscaleAlpha) { 1 } else { 3 },
            alpha: matches!(color, ColorType::GrayscaleAlpha | ColorType::Rgba),
            depth: if bits == BitDepth::Sixteen { Depth::Sixteen } else { Depth::Eight },
            extra: 0,
            nodata: None,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
        };
        let stored = (info.raw_row_length() as u64).saturating_mul(u64::from(info.height));
        layout.check(stored, MAX_DEFLATE, length)?;
        let line = vec![0; reader.output_line_size(info.width).unwrap_or(0)];
        if info.interlaced && line.len() * layout.height > MAX_DECODED {
            return Err(too_large("an interlaced PNG"));
        }
        Ok(Png { reader, layout, whole: Vec::new(), line, row: 0 })
    }

    /// Reads the bytes of the next row into `line`.
    fn next_line(&mut self) -> Result<(), DecodingError> {
        if self.reader.info().interlaced {
            if self.whole.is_empty() {
                self.whole = vec![0; self.line.len() * self.layout.height];
                self.reader.next_frame(&mut self.whole)?;
            }
            let bytes = self.line.len();
            self.line.copy_from_slice(&self.whole[self.row * bytes..][..bytes]);
        } else {
            self.reader.read_row(&mut self.line)?;
            if self.row + 1 == self.layout.height {
                // The checksums follow the last row.
                self.reader.read_row(&mut [])?;
            }
        }
        self.row += 1;
        Ok(())
    }
}

impl Decode for Png {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn notes(&self) -> Vec<String> {
        let animated = self.reader.info().animation_control.is_some();
        Vec::from_iter(animated.then(|| "the PNG file is animated, its first picture is used".to_string()))
    }

    fn read(&mut self, rows: &mut [f32]) -> Result<(), String> {
        for row in rows.chunks_exact_mut(self.layout.row()) {
            self.next_line().map_err(explain)?;
            match self.layout.depth {
                Depth::Sixteen => fill(row, &self.line, |v| f32::from(u16::from_be_bytes(v)) / 257.0),
                _ => fill(row, &self.line, |[v]| f32::from(v)),
            }
        }
        Ok(())
    }
}

fn explain(error: DecodingError) -> String {
    match error {
        DecodingError::IoError(e) => unreadable(e),
        DecodingError::LimitsExceeded => too_large("the picture's rows or metadata are"),
        other => damaged(other),
    }
}
