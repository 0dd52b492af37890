//! Reads picture files. The content decides the format; the file's name does not matter.
//!
//! Every format is decoded in one place, an implementation of [`Decode`], which yields rows from the top. [`Rows`]
//! makes bands of rows, [`Picture::open`] reads one band of all rows, and [`Pages`] reads all pictures of a file.

mod exr;
mod foreign;
mod gif;
mod nifti;
mod pages;
mod pfm;
mod png;
mod rows;
mod tiff;
mod whole;

#[cfg(test)]
pub(crate) use foreign::refused;
pub use pages::Pages;
pub use rows::Rows;

use crate::error::{Error, Result};
use crate::image::georeference::Georeference;
use crate::image::{Depth, Picture};
use image::ImageFormat;
use image::metadata::Orientation;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read, Seek};
use std::path::Path;
use std::sync::Arc;

/// Longest side that is read, pixels.
const MAX_SIDE: usize = 262_144;
/// Most samples that are converted to f32 at once: 1 GiB.
const MAX_SAMPLES: usize = 256 << 20;
/// Most bytes of samples, at the depth of the file, that are decoded at once.
const MAX_DECODED: usize = 512 << 20;
/// Longest file that is read into memory as a whole, bytes.
const MAX_FILE: u64 = 2 << 30;
/// Most bytes that one byte of deflate can expand to: 258 bytes for a match of two bits.
const MAX_DEFLATE: u64 = 1032;
/// Bytes that identify every format, and more than a NIfTI header.
const HEAD: u64 = 1024;
/// Where a NIfTI header of one file ends with `n+1`, of two files with `ni1`.
const NIFTI: std::ops::Range<usize> = 344..348;

/// Most characters of a decoder's error in a message.
const MAX_REASON: usize = 200;

/// The formats that can be read, for messages.
const KNOWN: &str = "PNG, JPEG, WebP, GIF, BMP, TIFF, OpenEXR, PFM, Radiance HDR, PNM and NIfTI are";
/// The message for files that end before their pixels do.
const CUT_OFF: &str = "the picture file is cut off (copy it again)";

impl Picture {
    /// Reads a PNG, JPEG, WebP, GIF, BMP, TIFF, OpenEXR, PFM, Radiance HDR, PNM or NIfTI file (`.nii`, `.nii.gz`). EXIF
    /// orientation is applied. If there are several pages, slices or frames, the first is read, and
    /// [`notes`](Picture::notes) says so; [`Pages`] reads all.
    ///
    /// Samples of fewer than 8 bits and palettes become 8 bits, CMYK becomes RGB. Integers other than unsigned 8 and
    /// 16 bits, and all numbers of NIfTI files, become floats in units of 8-bit steps: 255 becomes 1. With a recipe of
    /// scale 1, a network therefore gets the numbers of a scan. Opacity is kept if any pixel is not opaque.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Picture`] when it is damaged, of another kind, or larger
    /// than 256 Mi samples (1 GiB as f32).
    pub fn open(path: &Path) -> Result<Picture> {
        Rows::open(path)?.first_page()
    }

    /// Reads the bytes of a picture file. The path is only used in errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Picture> {
        Rows::new(Box::new(Cursor::new(bytes.to_vec())), path)?.first_page()
    }

    /// Reads a picture file from a pipe. The path is only used in errors.
    ///
    /// # Errors
    /// Errors of [`open`](Picture::open).
    pub fn from_reader(reader: impl Read, path: &Path) -> Result<Picture> {
        Rows::new(Box::new(Cursor::new(read_all(reader, path)?)), path)?.first_page()
    }
}

/// A source of a picture file's bytes.
trait Source: BufRead + Seek + Send {}

impl<T: BufRead + Seek + Send> Source for T {}

/// A decoder of one format. Its errors are lines without the file's name.
trait Decode: Send {
    /// The current page.
    fn layout(&self) -> Layout;

    /// What was lost or guessed in the current page, one line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Reads the next whole rows of the current page: interleaved samples, opacity last, in the units of
    /// [`Picture::planes`]. Callers never ask for more rows than remain.
    fn read(&mut self, rows: &mut [f32]) -> Result<(), String>;

    /// Where the current page lies on the earth.
    fn georeference(&self) -> Option<Arc<Georeference>> {
        None
    }

    /// Number of pages in the file.
    fn pages(&mut self) -> Result<usize, String> {
        Ok(1)
    }

    /// Whether the pages are frames of an animation, of which the first stands for the file.
    fn is_animation(&self) -> bool {
        false
    }

    /// Moves to the next page, which must exist.
    fn turn_page(&mut self) -> Result<(), String> {
        Err("the file has no further page".into())
    }
}

/// The layout of a page's rows.
#[derive(Debug, Clone, Copy)]
struct Layout {
    width: usize,
    height: usize,
    /// 1 (grey) or 3 (RGB).
    channels: usize,
    /// Further bands.
    extra: usize,
    /// Whether opacity follows the bands.
    alpha: bool,
    depth: Depth,
    /// The value of samples without data, in the units of the planes.
    nodata: Option<f32>,
    /// How the rows must be turned.
    orientation: Orientation,
}

impl Layout {
    /// Samples of a pixel.
    fn stride(&self) -> usize {
        self.channels + self.extra + usize::from(self.alpha)
    }

    /// Samples of a row.
    fn row(&self) -> usize {
        self.width * self.stride()
    }

    /// Refuses empty and far too large pages. Also refuses pages whose `bytes` of samples cannot come from a file of
    /// `length` bytes, if one byte of the file expands to at most `ratio` bytes.
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

/// The file, or its bytes if it does not support seeking, as pipes do not.
fn source(path: &Path) -> Result<Box<dyn Source>> {
    if fs::metadata(path).map_err(Error::io(path))?.is_file() {
        return Ok(Box::new(BufReader::new(File::open(path).map_err(Error::io(path))?)));
    }
    Ok(Box::new(Cursor::new(read_file(path)?)))
}

/// Reads a whole file of bounded size.
pub(in crate::image) fn read_file(path: &Path) -> Result<Vec<u8>> {
    read_all(File::open(path).map_err(Error::io(path))?, path)
}

/// Reads all bytes of a reader, bounded in the same way.
fn read_all(reader: impl Read, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_FILE {
        let message = "the file is larger than 2 GiB; cut it into parts".to_string();
        return Err(Error::Picture { path: path.to_owned(), message });
    }
    Ok(bytes)
}

/// The decoder for the contents of the file.
fn decoder(mut source: Box<dyn Source>) -> Result<Box<dyn Decode>, String> {
    let length = source.seek(io::SeekFrom::End(0)).map_err(unreadable)?;
    source.rewind().map_err(unreadable)?;
    let mut head = Vec::new();
    source.by_ref().take(HEAD).read_to_end(&mut head).map_err(unreadable)?;
    source.rewind().map_err(unreadable)?;
    if let Some(message) = foreign::explain(&head) {
        // PFM and PNM files of a few bytes are text too.
        if !matches!(*head, [b'P', b'1'..=b'7' | b'F' | b'f', ..]) && !head.starts_with(b"#?") {
            return Err(message);
        }
    }
    Ok(match *head {
        [] => return Err("the file is empty (0 bytes); copy or download it again".into()),
        [0x89, b'P', b'N', b'G', ..] => Box::new(png::Png::new(source, length)?),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
            Box::new(tiff::Tiff::new(source, length)?)
        }
        [b'G', b'I', b'F', b'8', ..] => Box::new(gif::Gif::new(source)?),
        [b'P', b'F' | b'f', b' ' | b'\t' | b'\r' | b'\n', ..] => Box::new(pfm::Pfm::new(source, length)?),
        [0x1f, 0x8b, ..] => Box::new(nifti::Nifti::unzip(source, length)?),
        _ if matches!(head.get(NIFTI), Some([b'n', b'+' | b'i', b'1', 0])) => {
            Box::new(nifti::Nifti::new(source, length)?)
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
            _ => return Err(format!("not a picture that is read ({KNOWN}); convert it to PNG or TIFF")),
        },
    })
}

/// A line about a file that is of a known kind, but neither a picture that is read nor a text.
pub(in crate::image) fn other_kind(path: &Path) -> Option<String> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    foreign::explain_beside(&head)
}

/// Converts samples of `N` bytes to f32.
fn fill<const N: usize>(samples: &mut [f32], bytes: &[u8], value: impl Fn([u8; N]) -> f32) {
    samples.iter_mut().zip(bytes.as_chunks().0).for_each(|(to, &sample)| *to = value(sample));
}

/// An error of the system or a decompressor as one line that says what to do.
fn unreadable(error: io::Error) -> String {
    if error.kind() == ErrorKind::UnexpectedEof { CUT_OFF.into() } else { damaged(error) }
}

/// An error of a decoder, likewise.
fn damaged(reason: impl Display) -> String {
    format!("the picture file is damaged or cut off: {}", one_line(reason))
}

/// The error for a variant of a format that its decoder does not support.
fn unsupported(reason: impl Display) -> String {
    format!(
        "this kind of picture is not supported ({}); save it as an RGB or grey PNG or TIFF",
        one_line(reason)
    )
}

/// The error for data that is too large to decode at once.
fn too_large(what: &str) -> String {
    format!("{what} too large; at most {} MiB are decoded at once, so scale or cut it", MAX_DECODED >> 20)
}

/// The error of a decoder on one line. It may quote contents of the file.
fn one_line(reason: impl Display) -> String {
    reason.to_string().chars().take(MAX_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
