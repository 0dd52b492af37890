//! The directories of a TIFF file: those of its pages, and what the `tiff` crate needs to decode them.
//!
//! Overviews, masks and thumbnails have directories too, in the same chain. The crate's decoder refuses some of them,
//! and pages with a palette or with more bands than colours. It therefore reads a [`File`] in which the chain holds
//! only pages, and in which the pages that it refuses are called grey.

use super::super::{Source, foreign, unreadable};
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};
use tiff::tags::{CompressionMethod, PhotometricInterpretation, Tag};

/// Most directories of a file.
const MAX_DIRECTORIES: usize = 65_536;
/// Most entries of a directory. Real ones have some dozens.
const MAX_ENTRIES: u64 = 4096;

/// `NewSubfileType`: a smaller version of another page, or its transparency. TIFF 6.0, section 8.
const NO_PAGE: u64 = 1 | 4;
/// `SubfileType`, its predecessor: a smaller version.
const REDUCED: u64 = 2;
/// Photometric interpretations of camera raw files: colour filter array, linear raw. DNG 1.7, appendix A.
const RAW: [u64; 2] = [32803, 34892];

/// Sides of a page, pixels, above which smaller pages of its proportions are its overviews, though nothing says so.
const PYRAMID: u64 = 4096;

/// A file of which some bytes read as others.
pub(super) struct File {
    source: Box<dyn Source>,
    place: u64,
    /// Offsets and bytes, in the order of offsets.
    changes: Vec<(u64, Vec<u8>)>,
}

impl Read for File {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(bytes)?;
        let (from, to) = (self.place, self.place + count as u64);
        let first = self.changes.partition_point(|(at, new)| at + new.len() as u64 <= from);
        for (at, new) in self.changes[first..].iter().take_while(|(at, _)| *at < to) {
            for (place, &byte) in (*at..).zip(new).filter(|(place, _)| (from..to).contains(place)) {
                bytes[(place - from) as usize] = byte;
            }
        }
        self.place = to;
        Ok(count)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.place = self.source.seek(to)?;
        Ok(self.place)
    }
}

/// A directory of the chain.
struct Directory {
    offset: u64,
    /// Where the offset of the next directory is.
    next_at: u64,
    entries: Vec<Entry>,
}

/// An entry. Its value is the first if there are several, and `u64::MAX` if it is no number or stands elsewhere.
struct Entry {
    tag: u16,
    value: u64,
    /// Where the value is.
    at: u64,
    bytes: usize,
}

impl Directory {
    fn entry(&self, tag: Tag) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag.to_u16())
    }

    fn value(&self, tag: Tag) -> Option<u64> {
        self.entry(tag).map(|entry| entry.value)
    }

    /// Whether it holds pixels, be it a page or not.
    fn has_pixels(&self) -> bool {
        let has = |tag| self.entry(tag).is_some();
        has(Tag::ImageWidth) && has(Tag::ImageLength) && (has(Tag::StripOffsets) || has(Tag::TileOffsets))
    }

    fn is_page(&self) -> bool {
        let reduced = match self.value(Tag::NewSubfileType) {
            Some(kind) => kind & NO_PAGE != 0,
            None => self.value(Tag::SubfileType) == Some(REDUCED),
        };
        self.has_pixels() && !reduced
    }

    /// Whether it is a smaller version of the first page. Scanners of slides write pyramids without saying so: large
    /// tiled pages, then smaller ones of the same proportions.
    fn shrinks(&self, first: &Directory) -> bool {
        let size = |of: &Directory| Some((of.value(Tag::ImageWidth)?, of.value(Tag::ImageLength)?));
        let (Some((width, height)), Some((w, h))) = (size(first), size(self)) else { return false };
        // The height that the first page's proportions give, within two pixels.
        let proportional =
            |w: u64, h: u64| (h.saturating_mul(width) / w.max(1)).abs_diff(height) <= 2 * width / w.max(1);
        let is_large = first.entry(Tag::TileOffsets).is_some() && width.max(height) > PYRAMID;
        is_large && w < width && proportional(w, h)
    }

    /// Whether the pixels are those of a camera's sensor, or stand for them.
    fn is_raw(&self) -> bool {
        let has = |tag| self.entry(Tag::from_u16_exhaustive(tag)).is_some();
        let (maker, more, dng) = (has(271), has(330), has(50706));
        let stands_for_more = maker && more && !self.is_page();
        dng || stands_for_more
            || self.value(Tag::PhotometricInterpretation).is_some_and(|kind| RAW.contains(&kind))
    }

    /// The entry to be called grey: of pages with a palette, and of colours with more bands than the crate keeps.
    fn called_grey(&self) -> Option<&Entry> {
        let samples = self.value(Tag::SamplesPerPixel).unwrap_or(1);
        let first_extra = self.value(Tag::ExtraSamples);
        let jpeg = self.value(Tag::Compression) == Some(CompressionMethod::ModernJPEG.to_u16().into());
        let entry = self.entry(Tag::PhotometricInterpretation)?;
        let is = |kind: PhotometricInterpretation| entry.value == u64::from(kind.to_u16());
        let bands = samples > 4 || samples == 4 && first_extra == Some(0);
        let refused =
            is(PhotometricInterpretation::RGBPalette) || is(PhotometricInterpretation::RGB) && bands;
        (refused && !jpeg).then_some(entry)
    }
}

/// Opens a file for the decoder. Also gives the photometric interpretation of each page, as the file says it.
///
/// # Errors
/// A line about camera raw files, files without a page, and chains that do not end.
pub(super) fn open(mut source: Box<dyn Source>) -> Result<(File, Vec<u64>), String> {
    let all = read(&mut source).map_err(unreadable)?;
    let all = all.ok_or_else(|| {
        format!("the TIFF file's pages form a circle, or there are more than {MAX_DIRECTORIES}")
    })?;
    if all.iter().any(Directory::is_raw) {
        return Err(foreign::camera_raw());
    }
    let mut pages: Vec<&Directory> = all.iter().filter(|directory| directory.is_page()).collect();
    if pages.is_empty() {
        // A file of one small picture that is called an overview.
        pages.extend(all.iter().find(|directory| directory.has_pixels()));
    }
    if let [first, ..] = pages[..] {
        pages.retain(|page| !page.shrinks(first));
    }
    let Some(first) = pages.first() else {
        return Err("the TIFF file has no picture: no directory gives a size and the place of pixels".into());
    };
    let mut head = [0; 4];
    source.rewind().and_then(|()| source.read_exact(&mut head)).map_err(unreadable)?;
    let (big, little) = (head.contains(&43), head[0] == b'I');
    let number = |value: u64, bytes: usize| match little {
        true => value.to_le_bytes()[..bytes].to_vec(),
        false => value.to_be_bytes()[8 - bytes..].to_vec(),
    };
    let word = if big { 8 } else { 4 };
    let mut changes = vec![(word, number(first.offset, word as usize))];
    for (i, page) in pages.iter().enumerate() {
        changes.push((page.next_at, number(pages.get(i + 1).map_or(0, |next| next.offset), word as usize)));
        let grey = page.called_grey().map(|entry| (entry.at, number(1, entry.bytes)));
        changes.extend(grey);
    }
    changes.sort();
    source.rewind().map_err(unreadable)?;
    let colors = pages.iter().map(|page| page.value(Tag::PhotometricInterpretation).unwrap_or(u64::MAX));
    let colors = colors.collect();
    Ok((File { source, place: 0, changes }, colors))
}

/// All directories of the chain. `None` if it is a circle or too long.
fn read(source: &mut Box<dyn Source>) -> io::Result<Option<Vec<Directory>>> {
    let mut head = [0; 4];
    source.rewind()?;
    source.read_exact(&mut head)?;
    let (little, big) = (head[0] == b'I', head.contains(&43));
    let number = |bytes: &[u8]| {
        let digit = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        if little { bytes.iter().rev().fold(0, digit) } else { bytes.iter().fold(0, digit) }
    };
    // Bytes of an offset, of the number of entries, of an entry.
    let (word, count_bytes, size) = if big { (8, 8, 20) } else { (4, 2, 12) };
    let mut block = vec![0; word];
    source.seek(SeekFrom::Start(word as u64))?;
    source.read_exact(&mut block)?;
    let mut offset = number(&block);
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    while offset != 0 {
        if !seen.insert(offset) || all.len() == MAX_DIRECTORIES {
            return Ok(None);
        }
        source.seek(SeekFrom::Start(offset))?;
        block.resize(count_bytes, 0);
        source.read_exact(&mut block)?;
        let count = number(&block);
        if count > MAX_ENTRIES {
            return Err(io::Error::other(format!("a TIFF directory of {count} entries")));
        }
        let first = offset.saturating_add(count_bytes as u64);
        let length = count as usize * size;
        block.resize(length + word, 0);
        source.read_exact(&mut block)?;
        let entry = |(i, entry): (usize, &[u8])| {
            let bytes = match number(&entry[2..4]) {
                1 => 1,
                3 => 2,
                4 | 13 => 4,
                16 | 18 => 8,
                _ => 0,
            };
            let (values, value) = (number(&entry[4..4 + word]), &entry[4 + word..]);
            // Values that do not fit stand elsewhere.
            let fits = bytes > 0 && (1..=(word / bytes) as u64).contains(&values);
            Entry {
                tag: number(&entry[..2]) as u16,
                value: if fits { number(&value[..bytes]) } else { u64::MAX },
                at: first.saturating_add((i * size + 4 + word) as u64),
                bytes,
            }
        };
        let entries = block[..length].chunks_exact(size).enumerate().map(entry).collect();
        all.push(Directory { offset, next_at: first.saturating_add(length as u64), entries });
        offset = number(&block[length..]);
    }
    Ok(Some(all))
}
