//! Picture files to pictures. The content decides the format, never the file's name.
//!
//! Every format is decoded in one place, a [`Decode`], which gives rows from the top. [`Rows`] makes bands of them,
//! [`Picture::open`] is its one band of all rows, and [`Pages`] goes through files that hold several pictures.

mod exr;
mod nifti;
mod pages;
mod pfm;
mod png;
mod rows;
mod tiff;
mod whole;

pub use pages::Pages;
pub use rows::Rows;

use crate::error::{Error, Result};
use crate::image::{Depth, Picture};
use image::ImageFormat;
use image::metadata::Orientation;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read, Seek};
use std::path::Path;

/// Longest side that is read, pixels.
const MAX_SIDE: usize = 262_144;
/// Most samples that become f32 at once: 1 GiB.
const MAX_SAMPLES: usize = 256 << 20;
/// Most bytes of samples, at the file's own depth, that are decoded at once.
const MAX_DECODED: usize = 512 << 20;
/// Longest file that is read into memory as a whole, bytes.
const MAX_FILE: u64 = 2 << 30;
/// Bytes that one byte of deflate's output format can stand for: 258 bytes a match of two bits.
const MAX_DEFLATE: u64 = 1032;
/// Bytes from which a format can be told: those of a NIfTI header.
const HEAD: u64 = 348;

/// Most characters of a decoder's reason in a message.
const MAX_REASON: usize = 200;

/// What can be read, for messages.
const KNOWN: &str = "PNG, JPEG, WebP, BMP, TIFF, OpenEXR, PFM, Radiance HDR, PNM and NIfTI can";
/// What is said of files that end before their pixels do.
const CUT_OFF: &str = "the picture file is cut off (copy it again)";

impl Picture {
    /// Reads a PNG, JPEG, WebP, BMP, TIFF, OpenEXR, PFM, Radiance HDR, PNM or NIfTI file (`.nii`, `.nii.gz`), turned
    /// upright as its EXIF orientation says. Of several pages, slices or frames this is the first, and
    /// [`notes`](Picture::notes) says so; [`Pages`] reads all.
    ///
    /// Samples of fewer than 8 bits and palettes become 8 bits, CMYK becomes RGB. Integers of other kinds than unsigned
    /// 8 and 16 bits, and all numbers of NIfTI files, are taken as they are in units of 8-bit steps: they become floats,
    /// 255 is 1. So a network gets a scan's own numbers where its recipe's scale is 1. Opacity is kept where a pixel is
    /// not opaque.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Picture`] when it is damaged, of another kind,
    /// or larger than 256 Mi samples (1 GiB as f32).
    pub fn open(path: &Path) -> Result<Picture> {
        Rows::open(path)?.first_page()
    }

    /// Reads a picture file's bytes; the path only names it in errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Picture> {
        Rows::new(Box::new(Cursor::new(bytes.to_vec())), path)?.first_page()
    }

    /// Reads a picture file from a pipe; the path only names it in errors.
    ///
    /// # Errors
    /// Those of [`open`](Picture::open).
    pub fn from_reader(reader: impl Read, path: &Path) -> Result<Picture> {
        Rows::new(Box::new(Cursor::new(read_all(reader, path)?)), path)?.first_page()
    }
}

/// Where a picture file's bytes come from.
trait Source: BufRead + Seek + Send {}

impl<T: BufRead + Seek + Send> Source for T {}

/// A decoder of one format. Its errors are lines without the file's name.
trait Decode: Send {
    /// The current page.
    fn layout(&self) -> Layout;

    /// What was lost or guessed in the current page, a line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Reads the next whole rows of the current page: samples interleaved, opacity last, all in the units of
    /// [`Picture::planes`]. It is never asked for more rows than there are.
    fn read(&mut self, rows: &mut [f32]) -> Result<(), String>;

    /// How many pages the file has.
    fn pages(&mut self) -> Result<usize, String> {
        Ok(1)
    }

    /// Goes on to the next page, which there is.
    fn turn_page(&mut self) -> Result<(), String> {
        Err("the file has no further page".into())
    }
}

/// What the rows of a page are.
#[derive(Debug, Clone, Copy)]
struct Layout {
    width: usize,
    height: usize,
    /// 1 (grey) or 3 (RGB).
    channels: usize,
    /// Whether opacity follows the colours.
    alpha: bool,
    depth: Depth,
    /// How the rows have to be turned.
    orientation: Orientation,
}

impl Layout {
    /// Samples of a pixel.
    fn stride(&self) -> usize {
        self.channels + usize::from(self.alpha)
    }

    /// Samples of a row.
    fn row(&self) -> usize {
        self.width * self.stride()
    }

    /// Refuses empty and far too large pages, and those whose `bytes` of samples a file of `length` bytes cannot hold
    /// even if each of its bytes stands for `ratio` of theirs.
    fn check(&self, bytes: u64, ratio: u64, length: u64) -> Result<(), String> {
        let Layout { width, height, .. } = *self;
        if width == 0 || height == 0 {
            return Err(format!("the picture is empty ({width}x{height} pixels)"));
        }
        if width.max(height) > MAX_SIDE {
            return Err(format!("{width}x{height} pixels are too many; at most {MAX_SIDE} a side are read"));
        }
        if bytes > length.saturating_mul(ratio) {
            return Err(format!("{length} bytes cannot hold {width}x{height} pixels: {CUT_OFF}"));
        }
        Ok(())
    }
}

/// The file to read from, or its bytes where it cannot be sought in, as pipes cannot.
fn source(path: &Path) -> Result<Box<dyn Source>> {
    if fs::metadata(path).map_err(Error::io(path))?.is_file() {
        return Ok(Box::new(BufReader::new(File::open(path).map_err(Error::io(path))?)));
    }
    Ok(Box::new(Cursor::new(read_file(path)?)))
}

/// A whole file, within reason.
pub(in crate::image) fn read_file(path: &Path) -> Result<Vec<u8>> {
    read_all(File::open(path).map_err(Error::io(path))?, path)
}

/// All that a reader gives, likewise.
fn read_all(reader: impl Read, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_FILE {
        let message = "the file is larger than 2 GiB; cut it into parts".to_string();
        return Err(Error::Picture { path: path.to_owned(), message });
    }
    Ok(bytes)
}

/// The decoder for what the file holds.
fn decoder(mut source: Box<dyn Source>) -> Result<Box<dyn Decode>, String> {
    let length = source.seek(io::SeekFrom::End(0)).map_err(unreadable)?;
    source.rewind().map_err(unreadable)?;
    let mut head = Vec::new();
    source.by_ref().take(HEAD).read_to_end(&mut head).map_err(unreadable)?;
    source.rewind().map_err(unreadable)?;
    Ok(match *head {
        [] => return Err("the file is empty".into()),
        [0x89, b'P', b'N', b'G', ..] => Box::new(png::Png::new(source, length)?),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
            Box::new(tiff::Tiff::new(source, length)?)
        }
        [b'P', b'F' | b'f', b' ' | b'\t' | b'\r' | b'\n', ..] => Box::new(pfm::Pfm::new(source, length)?),
        [0x1f, 0x8b, ..] => Box::new(nifti::Nifti::unzip(source, length)?),
        [.., b'n', b'+' | b'i', b'1', 0] if head.len() as u64 == HEAD => {
            Box::new(nifti::Nifti::new(source, length)?)
        }
        [_, _, _, _, b'n', b'+' | b'i', b'2', 0, ..] => {
            return Err("a NIfTI-2 volume; only NIfTI-1 can be read, so convert it".into());
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            return Err("not a picture but a NumPy array; name it .npy, so that it is read as one".into());
        }
        _ => match image::guess_format(&head) {
            Ok(ImageFormat::OpenExr) => Box::new(exr::Exr::new(source)?),
            Ok(
                format @ (ImageFormat::Jpeg
                | ImageFormat::WebP
                | ImageFormat::Bmp
                | ImageFormat::Hdr
                | ImageFormat::Pnm),
            ) => Box::new(whole::Whole::new(source, format, length)?),
            Ok(other) => {
                return Err(format!("{other:?} pictures cannot be read ({KNOWN}); convert it to PNG"));
            }
            Err(_) => return Err(format!("not a picture that can be read ({KNOWN})")),
        },
    })
}

/// Samples of `N` bytes to f32.
fn fill<const N: usize>(samples: &mut [f32], bytes: &[u8], value: impl Fn([u8; N]) -> f32) {
    samples.iter_mut().zip(bytes.as_chunks().0).for_each(|(to, &sample)| *to = value(sample));
}

/// The system's or a decompressor's reason as one line that says what to do.
fn unreadable(error: io::Error) -> String {
    if error.kind() == ErrorKind::UnexpectedEof { CUT_OFF.into() } else { damaged(error) }
}

/// A decoder's reason likewise.
fn damaged(reason: impl Display) -> String {
    format!("the picture file is damaged or cut off: {}", one_line(reason))
}

/// A kind of a format that its decoder lacks.
fn unsupported(reason: impl Display) -> String {
    format!(
        "a kind of picture that is not read ({}); save it as an RGB or grey PNG or TIFF",
        one_line(reason)
    )
}

/// What is decoded at once would be too large.
fn too_large(what: &str) -> String {
    format!("{what} too large; {} MiB are decoded at once, so scale or cut it", MAX_DECODED >> 20)
}

/// A reason that decoders give, which may be a list of whatever the file holds.
fn one_line(reason: impl Display) -> String {
    reason.to_string().chars().take(MAX_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
