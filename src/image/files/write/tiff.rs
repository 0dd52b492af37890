//! Writes TIFF files from the top: first the pixels, then the directories.
//!
//! All directories come after all pixels. Rows can therefore come from outside, any number of pages can follow each
//! other, and a file becomes a BigTIFF only if it exceeds 4 GiB. Pixels are not compressed; every reader accepts and
//! can map them. Numbers are big-endian, as in PNG.
//!
//! Specifications: TIFF Revision 6.0, Adobe 1992; BigTIFF: <https://www.awaresystems.be/imaging/tiff/bigtiff.html>.

use super::layout::Layout;
use crate::image::Depth;
use std::io::{self, Seek, SeekFrom, Write};

/// Approximate bytes of a strip, the unit that readers read.
const STRIP: usize = 1 << 20;
/// Bytes reserved for the header, as long as a BigTIFF's.
const HEADER: u64 = 16;

/// Number types in directories: code and bytes.
const SHORT: (u64, usize) = (3, 2);
const LONG: (u64, usize) = (4, 4);
const RATIONAL: (u64, usize) = (5, 8);
const LONG8: (u64, usize) = (16, 8);

/// Writes pages: for each, [`begin`](TiffWriter::begin), then its pixels.
#[derive(Debug)]
pub(super) struct TiffWriter<W> {
    file: W,
    /// Bytes written so far.
    at: u64,
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    layout: Layout,
    /// Offset of its pixels.
    offset: u64,
}

impl<W: Write + Seek> TiffWriter<W> {
    pub(super) fn new(mut file: W) -> io::Result<TiffWriter<W>> {
        file.write_all(&[0; HEADER as usize])?;
        Ok(TiffWriter { file, at: HEADER, pages: Vec::new() })
    }

    /// Begins a page.
    pub(super) fn begin(&mut self, layout: Layout) -> io::Result<()> {
        self.align()?;
        self.pages.push(Page { layout, offset: self.at });
        Ok(())
    }

    /// Writes pixels of the page in the order of [`Layout`].
    pub(super) fn write(&mut self, pixels: &[u8]) -> io::Result<()> {
        self.at += pixels.len() as u64;
        self.file.write_all(pixels)
    }

    /// Writes the directories and the header.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.align()?;
        let mut directories = self.directories(false);
        let big = self.at + directories.len() as u64 > u64::from(u32::MAX);
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

    /// Directories and their data begin at even offsets.
    fn align(&mut self) -> io::Result<()> {
        match self.at % 2 {
            0 => Ok(()),
            _ => self.write(&[0]),
        }
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
        let row = self.layout.row_bytes();
        let rows = (STRIP / row).clamp(1, height);
        let tops: Vec<usize> = (0..height).step_by(rows).collect();
        let offsets = tops.iter().map(|top| self.offset + (top * row) as u64).collect();
        let counts = tops.iter().map(|top| (rows.min(height - top) * row) as u64).collect();
        let colors = if channels < 3 { 1 } else { 3 };
        let float = if depth == Depth::Float { 3 } else { 1 };
        // Ratio 1 without a unit: a picture has no size on paper.
        let resolution = 1 << 32 | 1;
        let place = if big { LONG8 } else { LONG };
        let mut fields = vec![
            (256, LONG, vec![width as u64]),
            (257, LONG, vec![height as u64]),
            (258, SHORT, vec![8 * depth.bytes() as u64; channels]),
            (259, SHORT, vec![1]),                               // not compressed
            (262, SHORT, vec![if colors == 1 { 1 } else { 2 }]), // black is 0, or RGB
            (273, place, offsets),
            (277, SHORT, vec![channels as u64]),
            (278, LONG, vec![rows as u64]),
            (279, place, counts),
            (282, RATIONAL, vec![resolution]),
            (283, RATIONAL, vec![resolution]),
            (296, SHORT, vec![1]),
        ];
        if channels > colors {
            fields.push((338, SHORT, vec![2])); // opacity that is not multiplied into the colours
        }
        fields.push((339, SHORT, vec![float; channels]));
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
    use std::io::{Cursor, Read};
    use tiff::decoder::{Decoder, DecodingResult};

    /// A file that keeps only its first and last bytes, with zeros in between.
    #[derive(Default)]
    struct Sparse {
        start: Vec<u8>,
        end: Vec<u8>,
        end_at: u64,
        at: u64,
    }

    impl Write for Sparse {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.at == 0 {
                self.start = bytes.to_vec();
            } else if bytes.iter().any(|&b| b != 0) {
                (self.end, self.end_at) = (bytes.to_vec(), self.at);
            }
            self.at += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.at = match to {
                SeekFrom::Start(at) => at,
                SeekFrom::Current(by) => self.at.saturating_add_signed(by),
                SeekFrom::End(by) => (self.end_at + self.end.len() as u64).saturating_add_signed(by),
            };
            Ok(self.at)
        }
    }

    impl Read for Sparse {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            for byte in bytes.iter_mut() {
                let from = |part: &[u8], at: u64| part.get(usize::try_from(at).ok()?).copied();
                let end = self.at.checked_sub(self.end_at).and_then(|at| from(&self.end, at));
                *byte = end.or_else(|| from(&self.start, self.at)).unwrap_or(0);
                self.at += 1;
            }
            Ok(bytes.len())
        }
    }

    #[test]
    fn files_beyond_4_gib_are_bigtiff() {
        let layout = Layout { width: 1 << 17, height: 11_000, channels: 3, depth: Depth::Eight };
        let mut file = Sparse::default();
        let mut tiff = TiffWriter::new(&mut file).expect("a file");
        tiff.begin(layout).expect("a page");
        let band = vec![0; 1000 * layout.row_bytes()];
        (0..11).for_each(|_| tiff.write(&band).expect("rows"));
        tiff.begin(Layout { width: 2, height: 1, channels: 1, ..layout }).expect("a page");
        tiff.write(&[0, 0]).expect("rows");
        tiff.finish().expect("directories");
        assert_eq!(file.start[..4], *b"MM\0\x2b");

        file.at = 0;
        let mut decoder = Decoder::new(file).expect("a BigTIFF");
        assert_eq!(decoder.dimensions().expect("a size"), (1 << 17, 11_000));
        let strip = decoder.read_chunk(5499).expect("the last strip");
        assert!(matches!(strip, DecodingResult::U8(v) if v.len() == 2 * layout.row_bytes()));
        decoder.next_image().expect("the second page");
        assert_eq!(decoder.dimensions().expect("a size"), (2, 1));
    }

    #[test]
    fn small_files_are_plain_tiff() {
        let mut file = Cursor::new(Vec::new());
        let mut tiff = TiffWriter::new(&mut file).expect("a file");
        tiff.begin(Layout { width: 3, height: 1, channels: 1, depth: Depth::Eight }).expect("a page");
        tiff.write(&[1, 2, 3]).expect("rows");
        tiff.finish().expect("directories");
        assert_eq!(file.get_ref()[..4], *b"MM\0\x2a");
        assert_eq!(file.get_ref()[16..19], [1, 2, 3]);
    }
}
