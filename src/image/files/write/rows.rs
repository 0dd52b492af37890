//! Writes pictures from the top in bands of rows, so pictures larger than memory can be written.

use super::aside::Aside;
use super::layout::{Layout, index_bytes, png_encoder, samples};
use super::tiff::TiffWriter;
use crate::error::{Error, Result};
use crate::image::files::format::{Format, refuse};
use crate::image::{Depth, Georeference, Picture};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

/// Bytes of a chunk of a PNG file. Each chunk costs a system call.
const CHUNK: usize = 1 << 18;
/// The last chunk of a PNG file.
const PNG_END: [u8; 12] = *b"\0\0\0\0IEND\xae\x42\x60\x82";

/// A file in progress.
enum Rows {
    Png(Box<png::StreamWriter<'static, BufWriter<File>>>),
    Tiff(TiffWriter<BufWriter<File>>),
}

impl Rows {
    fn begin(file: BufWriter<File>, format: Format, layout: Layout, palette: &[[u8; 3]]) -> io::Result<Rows> {
        if format == Format::Png {
            let writer = png_encoder(file, layout, palette).write_header()?;
            return Ok(Rows::Png(Box::new(writer.into_stream_writer_with_size(CHUNK)?)));
        }
        let mut tiff = TiffWriter::new(file)?;
        tiff.begin(layout)?;
        Ok(Rows::Tiff(tiff))
    }

    fn write(&mut self, pixels: &[u8]) -> io::Result<()> {
        match self {
            Rows::Png(stream) => stream.write_all(pixels),
            Rows::Tiff(tiff) => tiff.write(pixels),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Rows::Png(stream) => Ok(stream.finish()?),
            Rows::Tiff(tiff) => tiff.finish(),
        }
    }
}

/// A PNG or TIFF file written from the top in bands of rows. It has a temporary name until
/// [`finish`](RowWriter::finish); if it is dropped before, it leaves nothing.
///
/// ```
/// # use unet_wgpu::image::{Depth, Picture, RowWriter};
/// # use unet_wgpu::{Shape, Tensor};
/// # fn main() -> unet_wgpu::Result<()> {
/// # let folder = std::env::temp_dir();
/// # let path = folder.join(format!("rows-{}.png", std::process::id()));
/// let mut rows = RowWriter::picture(&path, 64, 100, 3, Depth::Eight)?;
/// for height in [48, 48, 4] {
///     let band = Tensor::zeros(Shape::new(1, 3, height, 64));
///     rows.write_picture(&Picture::new(band, Depth::Eight)?)?;
/// }
/// rows.finish()?;
/// # std::fs::remove_file(&path).ok();
/// # Ok(())
/// # }
/// ```
pub struct RowWriter {
    // Declared before `aside`, so it is closed first.
    rows: Rows,
    aside: Aside,
    format: Format,
    layout: Layout,
    /// Rows that remain to be written.
    left: usize,
    /// Number of classes; 0 for pictures.
    classes: usize,
}

impl RowWriter {
    /// Creates a picture file with 1 (grey) or 3 (RGB) channels, or 2 or 4 with opacity, at that depth or the nearest
    /// that the format has.
    ///
    /// # Errors
    /// When the path names neither PNG nor TIFF, or a file cannot be created there.
    pub fn picture(
        path: &Path,
        width: usize,
        height: usize,
        channels: usize,
        depth: Depth,
    ) -> Result<RowWriter> {
        let depth = Format::of(path)?.depth(depth);
        RowWriter::begin(path, Layout { width, height, channels, depth }, &[])
    }

    /// Creates a file of class numbers. PNG has a palette of up to 256 colours. With more colours, and in TIFF files,
    /// the numbers are grey values, with 16 bits if there are more than 256 colours.
    ///
    /// # Errors
    /// When there is no colour, and errors of [`picture`](RowWriter::picture).
    pub fn indexed(path: &Path, width: usize, height: usize, palette: &[[u8; 3]]) -> Result<RowWriter> {
        if palette.is_empty() {
            return Err(refuse(path, "a mask needs a palette of at least one colour".into()));
        }
        RowWriter::begin(path, Layout::indices(width, height, palette), palette)
    }

    fn begin(path: &Path, layout: Layout, palette: &[[u8; 3]]) -> Result<RowWriter> {
        let format = Format::of(path)?;
        if !format.holds_bands() {
            return Err(refuse(
                path,
                "only .png and .tiff files are written in bands; choose one of them".into(),
            ));
        }
        let layout = layout.check(path)?;
        let aside = Aside::create(path)?;
        let file = BufWriter::new(aside.handle()?);
        let rows = Rows::begin(file, format, layout, palette).map_err(Error::io(path))?;
        Ok(RowWriter { rows, aside, format, layout, left: layout.height, classes: palette.len() })
    }

    /// Writes the next rows of a picture.
    ///
    /// # Errors
    /// When their width or channels differ from the file's, when there are too many, or when the disk is full.
    pub fn write_picture(&mut self, band: &Picture) -> Result<()> {
        let Layout { width, height, channels, depth } = self.layout;
        let got = Layout::of(band, depth);
        if self.classes > 0 || (got.width, got.channels) != (width, channels) || got.height > self.left {
            let expected = match self.classes {
                0 => format!("at most {} rows of {width} pixels, {channels} channels", self.left),
                _ => "class numbers".into(),
            };
            let got = format!("{} rows of {} pixels, {} channels", got.height, got.width, got.channels);
            return Err(Error::shape(format!("a band of {width}x{height} pixels"), expected, got));
        }
        self.write(&samples(band, depth), band.height())
    }

    /// The next rows of class numbers, whole rows.
    ///
    /// # Errors
    /// When they are not whole rows, too many, or not below the number of colours, or when the disk is full.
    pub fn write_indices(&mut self, indices: &[u16]) -> Result<()> {
        let Layout { width, height, depth, .. } = self.layout;
        let rows = indices.len() / width;
        if self.classes == 0 || !indices.len().is_multiple_of(width) || rows > self.left {
            let expected = match self.classes {
                0 => "a picture".into(),
                _ => format!("whole rows of {width} class numbers, at most {}", self.left),
            };
            let got = format!("{} class numbers", indices.len());
            return Err(Error::shape(format!("a band of {width}x{height} pixels"), expected, got));
        }
        self.write(&index_bytes(indices, self.classes, depth)?, rows)
    }

    /// Sets where the picture lies on the earth. Only TIFF files keep it.
    pub fn set_georeference(&mut self, georeference: Option<Arc<Georeference>>) {
        if let Rows::Tiff(tiff) = &mut self.rows {
            tiff.georeference(georeference);
        }
    }

    fn write(&mut self, pixels: &[u8], rows: usize) -> Result<()> {
        self.left -= rows;
        self.rows.write(pixels).map_err(Error::io(self.aside.path()))
    }

    /// Gives the file its final name.
    ///
    /// # Errors
    /// When rows are missing, or the disk is full. No file is left then.
    pub fn finish(self) -> Result<()> {
        let RowWriter { rows, aside, format, layout, left, .. } = self;
        if left > 0 {
            let what = format!("the file {}", aside.path().display());
            return Err(Error::shape(what, format!("{} rows", layout.height), layout.height - left));
        }
        rows.finish().map_err(Error::io(aside.path()))?;
        if format == Format::Png {
            check_png_end(aside.handle()?).map_err(Error::io(aside.path()))?;
        }
        aside.finish()
    }
}

/// `png` writes the last chunk when it is dropped and does not report errors, so the end of the file is checked.
fn check_png_end(mut file: File) -> io::Result<()> {
    let mut end = [0; PNG_END.len()];
    file.seek(SeekFrom::End(-(PNG_END.len() as i64)))?;
    file.read_exact(&mut end)?;
    match end == PNG_END {
        true => Ok(()),
        false => Err(io::Error::other("the last bytes could not be written; is the disk full?")),
    }
}
