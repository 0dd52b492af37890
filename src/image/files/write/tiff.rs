//! Writes TIFF files from the top: first the pixels, in compressed tiles, then the directories.
//!
//! All directories come after all pixels. Rows can therefore come from outside, any number of pages can follow each
//! other, and a file becomes a BigTIFF only if it exceeds 4 GiB. Numbers are big-endian, as in PNG.
//!
//! Specifications: TIFF Revision 6.0, Adobe 1992; deflate: Adobe's TIFF Technical Notes, 2002; BigTIFF:
//! <https://www.awaresystems.be/imaging/tiff/bigtiff.html>.

use super::layout::Layout;
use crate::image::Depth;
use crate::image::georeference::{Georeference, Values};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;

/// Longest side of a tile, the unit that readers read. A multiple of 16.
const TILE: usize = 256;
/// Bytes reserved for the header, as long as a BigTIFF's.
const HEADER: u64 = 16;

/// Number types in directories: code and bytes.
const ASCII: (u64, usize) = (2, 1);
const SHORT: (u64, usize) = (3, 2);
const LONG: (u64, usize) = (4, 4);
const RATIONAL: (u64, usize) = (5, 8);
const DOUBLE: (u64, usize) = (12, 8);
const LONG8: (u64, usize) = (16, 8);

/// Writes pages: for each, [`begin`](TiffWriter::begin), then its pixels.
#[derive(Debug)]
pub(super) struct TiffWriter<W> {
    file: W,
    /// Bytes written so far.
    at: u64,
    /// Longest plain TIFF file.
    most: u64,
    pages: Vec<Page>,
    /// Rows of the last page that do not fill a row of tiles yet.
    rows: Vec<u8>,
}

#[derive(Debug)]
struct Page {
    layout: Layout,
    /// Columns and rows of a tile.
    tile: [usize; 2],
    /// Offset and length of each tile.
    tiles: Vec<(u64, u64)>,
    georeference: Option<Arc<Georeference>>,
}

impl<W: Write + Seek> TiffWriter<W> {
    pub(super) fn new(mut file: W) -> io::Result<TiffWriter<W>> {
        file.write_all(&[0; HEADER as usize])?;
        Ok(TiffWriter { file, at: HEADER, most: u32::MAX.into(), pages: Vec::new(), rows: Vec::new() })
    }

    /// Begins a page.
    pub(super) fn begin(&mut self, layout: Layout) -> io::Result<()> {
        self.end_page()?;
        let tile = [layout.width, layout.height].map(|side| side.next_multiple_of(16).min(TILE));
        self.pages.push(Page { layout, tile, tiles: Vec::new(), georeference: None });
        Ok(())
    }

    /// Sets where the page lies on the earth.
    pub(super) fn georeference(&mut self, georeference: Option<Arc<Georeference>>) {
        if let Some(page) = self.pages.last_mut() {
            page.georeference = georeference;
        }
    }

    /// Writes pixels of the page in the order of [`Layout`].
    pub(super) fn write(&mut self, mut pixels: &[u8]) -> io::Result<()> {
        let Some(page) = self.pages.last() else { return Err(io::Error::other("no page has begun")) };
        let full = page.tile[1] * page.layout.row_bytes();
        while !pixels.is_empty() {
            let (part, rest) = pixels.split_at(pixels.len().min(full - self.rows.len()));
            self.rows.extend_from_slice(part);
            pixels = rest;
            if self.rows.len() == full {
                self.write_tiles()?;
            }
        }
        Ok(())
    }

    /// Writes the rows that are left of the last page.
    fn end_page(&mut self) -> io::Result<()> {
        if self.rows.is_empty() { Ok(()) } else { self.write_tiles() }
    }

    /// Writes a row of tiles.
    fn write_tiles(&mut self) -> io::Result<()> {
        let Some(Page { layout, tile: [width, height], tiles, .. }) = self.pages.last_mut() else {
            return Ok(());
        };
        let pixel = layout.channels * layout.depth.bytes();
        let row = layout.row_bytes();
        for left in (0..layout.width).step_by(*width) {
            let columns = (*width).min(layout.width - left);
            let mut tile = vec![0; *width * *height * pixel];
            for (to, from) in tile.chunks_exact_mut(*width * pixel).zip(self.rows.chunks_exact(row)) {
                let to = &mut to[..columns * pixel];
                to.copy_from_slice(&from[left * pixel..][..columns * pixel]);
                differences(to, layout);
            }
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&tile)?;
            let bytes = encoder.finish()?;
            self.file.write_all(&bytes)?;
            tiles.push((self.at, bytes.len() as u64));
            self.at += bytes.len() as u64;
        }
        self.rows.clear();
        Ok(())
    }

    /// Writes the directories and the header.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end_page()?;
        // Directories and their data begin at even offsets.
        if self.at % 2 == 1 {
            self.file.write_all(&[0])?;
            self.at += 1;
        }
        let mut directories = self.directories(false);
        let big = self.at + directories.len() as u64 > self.most;
        let mut header = b"MM\0\x2a".to_vec();
        if big {
            directories = self.directories(true);
            header = b"MM\0\x2b\0\x08\0\0".to_vec();
        }
        header.extend(number(self.at, if big { 8 } else { 4 }));
        self.file.write_all(&directories)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        self.file.flush()
    }

    /// The bytes of all directories, if they begin at offset `at`.
    fn directories(&self, big: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (i, page) in self.pages.iter().enumerate() {
            let at = self.at + bytes.len() as u64;
            bytes.extend(page.directory(at, big, i + 1 == self.pages.len()));
        }
        bytes
    }
}

/// Replaces integers of a row by their differences to the pixel on the left, which deflate better: TIFF 6.0, section 14.
fn differences(row: &mut [u8], layout: &Layout) {
    let step = layout.channels;
    match layout.depth {
        Depth::Eight => (step..row.len()).rev().for_each(|i| row[i] = row[i].wrapping_sub(row[i - step])),
        Depth::Sixteen => {
            let words = row.as_chunks_mut::<2>().0;
            for i in (step..words.len()).rev() {
                let [left, own] = [words[i - step], words[i]].map(u16::from_be_bytes);
                words[i] = own.wrapping_sub(left).to_be_bytes();
            }
        }
        Depth::Float => (),
    }
}

impl Page {
    /// The bytes of the directory if it begins at that offset: entries, the offset of the next one, numbers too long
    /// for an entry.
    fn directory(&self, at: u64, big: bool, last: bool) -> Vec<u8> {
        // Bytes of an offset, and of the number of entries.
        let (word, count) = if big { (8, 8) } else { (4, 2) };
        let fields = self.fields(big);
        let long_at = at + (count + fields.len() * (4 + 2 * word) + word) as u64;
        let mut entries = number(fields.len() as u64, count);
        let mut long = Vec::new();
        for (tag, (code, bytes), values) in fields {
            entries.extend([number(tag, 2), number(code, 2), number(values.len() as u64, word)].concat());
            let mut values: Vec<u8> = values.into_iter().flat_map(|v| number(v, bytes)).collect();
            if values.len() > word {
                entries.extend(number(long_at + long.len() as u64, word));
                long.append(&mut values);
            } else {
                values.resize(word, 0);
                entries.append(&mut values);
            }
        }
        entries.extend(number(if last { 0 } else { long_at + long.len() as u64 }, word));
        entries.append(&mut long);
        entries
    }

    /// Tags in order, with the type of their values.
    fn fields(&self, big: bool) -> Vec<(u64, (u64, usize), Vec<u64>)> {
        let Layout { width, height, channels, depth } = self.layout;
        let colors = if channels < 3 { 1 } else { 3 };
        let (float, predictor) = if depth == Depth::Float { (3, 1) } else { (1, 2) };
        // Ratio 1 without a unit: a picture has no size on paper.
        let resolution = 1 << 32 | 1;
        let place = if big { LONG8 } else { LONG };
        let (offsets, counts) = self.tiles.iter().copied().unzip();
        let mut fields = vec![
            (256, LONG, vec![width as u64]),
            (257, LONG, vec![height as u64]),
            (258, SHORT, vec![8 * depth.bytes() as u64; channels]),
            (259, SHORT, vec![8]),                               // deflate
            (262, SHORT, vec![if colors == 1 { 1 } else { 2 }]), // black is 0, or RGB
            (277, SHORT, vec![channels as u64]),
            (282, RATIONAL, vec![resolution]),
            (283, RATIONAL, vec![resolution]),
            (296, SHORT, vec![1]),
            (317, SHORT, vec![predictor]), // differences along rows, or none
            (322, LONG, vec![self.tile[0] as u64]),
            (323, LONG, vec![self.tile[1] as u64]),
            (324, place, offsets),
            (325, place, counts),
        ];
        if channels > colors {
            fields.push((338, SHORT, vec![2])); // opacity that is not multiplied into the colours
        }
        fields.push((339, SHORT, vec![float; channels]));
        fields.extend(self.georeference.iter().flat_map(|tags| tags.tags()).map(
            |(tag, values)| match values {
                Values::Doubles(values) => (tag.into(), DOUBLE, values.iter().map(|v| v.to_bits()).collect()),
                Values::Shorts(values) => (tag.into(), SHORT, values.iter().map(|&v| v.into()).collect()),
                Values::Text(text) => (tag.into(), ASCII, text.bytes().chain([0]).map(u64::from).collect()),
            },
        ));
        fields
    }
}

/// The last bytes of a number, big-endian.
fn number(value: u64, bytes: usize) -> Vec<u8> {
    value.to_be_bytes()[8 - bytes..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use tiff::decoder::{Decoder, DecodingResult};

    #[test]
    fn long_files_are_bigtiff() {
        let pixels: Vec<u8> = (0..300 * 20 * 3).map(|i| (i * 7 % 251) as u8).collect();
        for (most, magic) in [(1000, b"MM\0\x2b"), (u64::from(u32::MAX), b"MM\0\x2a")] {
            let mut file = Cursor::new(Vec::new());
            let mut tiff = TiffWriter::new(&mut file).expect("a file");
            tiff.most = most;
            let layout = Layout { width: 300, height: 20, channels: 3, depth: Depth::Eight };
            tiff.begin(layout).expect("a page");
            pixels.chunks(777).for_each(|part| tiff.write(part).expect("pixels"));
            tiff.begin(Layout { width: 2, height: 1, channels: 1, ..layout }).expect("a page");
            tiff.write(&[5, 9]).expect("pixels");
            tiff.finish().expect("directories");
            assert_eq!(file.get_ref()[..4], *magic);

            let mut decoder = Decoder::new(Cursor::new(file.into_inner())).expect("a TIFF file");
            assert_eq!(decoder.dimensions().expect("a size"), (300, 20));
            assert!(matches!(decoder.read_image().expect("pixels"), DecodingResult::U8(v) if v == pixels));
            decoder.next_image().expect("the second page");
            assert!(matches!(decoder.read_image().expect("pixels"), DecodingResult::U8(v) if v == [5, 9]));
        }
    }
}
