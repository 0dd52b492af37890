//! PFM, the portable float map: <https://www.pauldebevec.com/Research/HDR/PFM/>.
//!
//! A text header is followed by f32 samples, the bottom row first.

use super::{CUT_OFF, Decode, Layout, Source, fill, unreadable};
use crate::image::Depth;
use image::metadata::Orientation;
use std::io::{Read, Seek, SeekFrom};

/// Most bytes of a header: a kind, two extents and a scale.
const MAX_HEADER: u64 = 256;

/// A PFM file. The magnitude of its scale concerns physical units and is ignored.
pub(super) struct Pfm {
    source: Box<dyn Source>,
    layout: Layout,
    big_endian: bool,
    /// Where the samples begin.
    start: u64,
    row: usize,
}

impl Pfm {
    pub(super) fn new(mut source: Box<dyn Source>, length: u64) -> Result<Pfm, String> {
        let mut header = source.by_ref().take(MAX_HEADER).bytes();
        let mut word = || -> Result<String, String> {
            let mut text = String::new();
            // One white space ends a word. Samples may follow the last word directly.
            while let Some(byte) = header.next().transpose().map_err(unreadable)? {
                match (byte.is_ascii_whitespace(), text.is_empty()) {
                    (true, true) => continue,
                    (true, false) => return Ok(text),
                    (false, _) => text.push(char::from(byte)),
                }
            }
            Err(CUT_OFF.into())
        };
        let (kind, width, height, scale) = (word()?, word()?, word()?, word()?);
        let number =
            |text: &str| text.parse().map_err(|_| format!("the PFM header has no size, but {text:?}"));
        let layout = Layout {
            width: number(&width)?,
            height: number(&height)?,
            channels: if kind == "PF" { 3 } else { 1 },
            alpha: false,
            depth: Depth::Float,
            extra: 0,
            nodata: None,
            orientation: Orientation::NoTransforms,
        };
        let big_endian = match scale.parse::<f64>() {
            Ok(scale) if scale != 0.0 && scale.is_finite() => scale > 0.0,
            _ => return Err(format!("the PFM header's scale is {scale:?}, expected a number other than 0")),
        };
        let start = source.stream_position().map_err(unreadable)?;
        let samples =
            (layout.width.saturating_mul(layout.height) as u64).saturating_mul(layout.channels as u64);
        layout.check(samples.saturating_mul(4), 1, length.saturating_sub(start))?;
        Ok(Pfm { source, layout, big_endian, start, row: 0 })
    }
}

impl Decode for Pfm {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn read(&mut self, rows: &mut [f32]) -> Result<(), String> {
        let row = self.layout.row();
        self.row += rows.len() / row;
        let place = self.start + ((self.layout.height - self.row) * row * 4) as u64;
        let mut bytes = vec![0; rows.len() * 4];
        self.source.seek(SeekFrom::Start(place)).map_err(unreadable)?;
        self.source.read_exact(&mut bytes).map_err(unreadable)?;
        let sample = if self.big_endian { f32::from_be_bytes } else { f32::from_le_bytes };
        for (row, bytes) in rows.chunks_exact_mut(row).zip(bytes.rchunks_exact(row * 4)) {
            fill(row, bytes, sample);
        }
        Ok(())
    }
}
