//! The directories of a TIFF file, one for each page. The `tiff` crate does not expose everything in them.

use super::super::Source;
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};
use tiff::decoder::Decoder;
use tiff::tags::{ByteOrder, Tag, Type};
use tiff::{TiffError, TiffResult};

/// A file in which one byte can be replaced by 1.
///
/// The `tiff` crate refuses pages with a palette, although their indices are stored like grey values. The byte of the
/// photometric interpretation that says 3 (palette) is therefore replaced by 1 (grey).
pub(super) struct File {
    source: Box<dyn Source>,
    place: u64,
    one: Option<u64>,
}

impl File {
    pub(super) fn new(source: Box<dyn Source>) -> File {
        File { source, place: 0, one: None }
    }
}

impl Read for File {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(bytes)?;
        let inside = self.one.and_then(|one| one.checked_sub(self.place)).filter(|&at| at < count as u64);
        if let Some(at) = inside {
            bytes[at as usize] = 1;
        }
        self.place += count as u64;
        Ok(count)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.place = self.source.seek(to)?;
        Ok(self.place)
    }
}

/// The entries of a directory: TIFF 6.0, section 2. BigTIFF has wider numbers.
struct Entries {
    first: u64,
    count: u64,
    /// Bytes of one entry.
    size: u64,
}

impl Entries {
    /// The entries of the directory at offset `place`.
    fn new(decoder: &mut Decoder<File>, place: u64) -> TiffResult<Entries> {
        let big = is_big(decoder)?;
        decoder.goto_offset_u64(place)?;
        let (count, head, size) =
            if big { (decoder.read_long8()?, 8, 20) } else { (decoder.read_short()?.into(), 2, 12) };
        let end = place.checked_add(head).and_then(|first| first.checked_add(count.checked_mul(size)?));
        end.ok_or(TiffError::IntSizeError)?;
        Ok(Entries { first: place + head, count, size })
    }
}

/// Number of directories in the chain, without reading them. `None` if the chain is a circle or has more than `most`.
pub(super) fn count(decoder: &mut Decoder<File>, most: usize) -> TiffResult<Option<usize>> {
    let head = if is_big(decoder)? { 8 } else { 4 };
    decoder.goto_offset_u64(head)?;
    let mut seen = HashSet::new();
    loop {
        let place = decoder.read_ifd_offset()?;
        if place == 0 {
            return Ok(Some(seen.len()));
        }
        if !seen.insert(place) || seen.len() > most {
            return Ok(None);
        }
        let entries = Entries::new(decoder, place)?;
        decoder.goto_offset_u64(entries.first + entries.count * entries.size)?;
    }
}

/// Turns page `page`, the current page of the decoder, into one of grey indices.
pub(super) fn without_palette(decoder: &mut Decoder<File>, page: usize) -> TiffResult<()> {
    let place = decoder.ifd_pointer().map_or(0, |pointer| pointer.0);
    let entries = Entries::new(decoder, place)?;
    let is_little = decoder.byte_order() == ByteOrder::LittleEndian;
    for entry in (0..entries.count).map(|i| entries.first + i * entries.size) {
        decoder.goto_offset_u64(entry)?;
        if decoder.read_short()? != Tag::PhotometricInterpretation.to_u16() {
            continue;
        }
        let bytes = if decoder.read_short()? == Type::LONG.to_u16() { 4 } else { 2 };
        let value = entry + if entries.size == 20 { 12 } else { 8 };
        decoder.inner().one = Some(if is_little { value } else { value + bytes - 1 });
    }
    decoder.seek_to_image(page)
}

/// Whether the file is a BigTIFF.
fn is_big(decoder: &mut Decoder<File>) -> TiffResult<bool> {
    decoder.goto_offset_u64(2)?;
    Ok(decoder.read_short()? == 43)
}
