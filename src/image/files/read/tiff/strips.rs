//! Uncompressed strips. Rows are read as they are needed, because the `tiff` crate decodes whole strips, and many
//! programs write a page as a single strip.

use super::super::CUT_OFF;
use super::directories::File;
use super::explain;
use super::page::{Page, tag};
use std::io::Read;
use std::num::NonZero;
use tiff::decoder::{BufferLayoutPreference, ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{ByteOrder, CompressionMethod, PhotometricInterpretation, Predictor, Tag, Type};
use tiff::{TiffFormatError, TiffResult};

/// Most bytes of a strip that are read at once, unless a row is longer.
const GROUP: usize = 256 << 10;

/// The strips of a page whose samples are stored as they are decoded, except for the byte order.
pub(super) struct Strips {
    /// Offset of each strip in the file, plane after plane.
    starts: Vec<u64>,
    /// The layout of the first strip, for the type of the samples.
    layout: BufferLayoutPreference,
    /// Bytes of a row.
    row: usize,
    /// An unsigned integer as wide as the samples; bytes if several samples share one.
    word: Type,
}

impl Strips {
    /// The strips of the current page in a file of `length` bytes. `None` for tiles, and for samples that are
    /// compressed, predicted, inverted, or interleaved with samples that are left out.
    pub(super) fn new(
        decoder: &mut Decoder<File>,
        page: &Page,
        length: u64,
    ) -> Result<Option<Strips>, String> {
        // The default of these tags is 1.
        let mut number = |name| tag(decoder, name).map(|numbers| numbers.first().map_or(1, |&v| v));
        let plain = number(Tag::Compression)? == CompressionMethod::None.to_u16()
            && number(Tag::Predictor)? == Predictor::None.to_u16()
            && number(Tag::PhotometricInterpretation)? != PhotometricInterpretation::WhiteIsZero.to_u16()
            && (page.planar || usize::from(number(Tag::SamplesPerPixel)?) == page.samples);
        if !plain || decoder.get_chunk_type() != ChunkType::Strip {
            return Ok(None);
        }
        let starts = decoder.get_tag_u64_vec(Tag::StripOffsets).map_err(explain)?;
        let counts = decoder.get_tag_u64_vec(Tag::StripByteCounts).map_err(explain)?;
        let layout = decoder.image_chunk_buffer_layout(0).map_err(explain)?;
        let row = layout.row_stride.map_or(1, NonZero::get);
        let (height, down) = (page.chunk[1], page.layout.height.div_ceil(page.chunk[1]));
        for (i, (start, &count)) in starts.iter().zip(&counts).enumerate() {
            let rows = height.min(page.layout.height - i % down * height);
            let end = start.saturating_add(count.max((rows * row) as u64));
            if end > length {
                let strip = i + 1;
                return Err(format!(
                    "strip {strip} of the TIFF file ends at byte {end}, the file at {length}: {CUT_OFF}"
                ));
            }
        }
        let word = match page.bits {
            16 => Type::SHORT,
            32 => Type::LONG,
            64 => Type::LONG8,
            _ => Type::BYTE,
        };
        Ok(Some(Strips { starts, layout, row, word }))
    }

    /// Number of rows to read at once.
    pub(super) fn group(&self) -> usize {
        (GROUP / self.row).max(1)
    }

    /// Reads rows of strip `index`, beginning `top` rows below the strip's first row.
    pub(super) fn read(
        &self,
        decoder: &mut Decoder<File>,
        index: usize,
        top: usize,
        rows: usize,
    ) -> TiffResult<DecodingResult> {
        let start = self.starts.get(index).ok_or(TiffFormatError::InconsistentSizesEncountered)?;
        let mut layout = self.layout.clone();
        layout.complete_len = rows * self.row;
        let mut samples = DecodingResult::U8(Vec::new());
        samples.resize_to(&layout, &Limits::default())?;
        decoder.goto_offset_u64(start + (top * self.row) as u64)?;
        let mut buffer = samples.as_buffer(0);
        decoder.inner().read_exact(buffer.as_bytes_mut())?;
        decoder.byte_order().convert(self.word, buffer.as_bytes_mut(), ByteOrder::native());
        Ok(samples)
    }
}
