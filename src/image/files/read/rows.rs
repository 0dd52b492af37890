//! Reads a picture file in bands of rows.

use super::{Decode, Layout, MAX_SAMPLES, Source, decoder, foreign, source};
use crate::error::{Error, Result};
use crate::image::georeference::Georeference;
use crate::image::{Depth, Picture};
use crate::tensor::{Shape, Tensor};
use image::metadata::Orientation;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Approximate number of samples between a decoder and the planes.
const SCRATCH: usize = 1 << 16;

/// A picture file read from the top in bands of rows: the first picture of the file, upright.
///
/// For a PNG that is not interlaced, a PFM, a NIfTI slice and a TIFF, only the band is in memory; for a TIFF also a
/// row of its tiles or compressed strips. For other files, the decoded samples are in memory at their own depth. PNG
/// and TIFF files that an EXIF orientation turns are in memory as f32.
pub struct Rows {
    path: PathBuf,
    decoder: Box<dyn Decode>,
    /// The current page as it is stored.
    stored: Layout,
    /// All its rows, interleaved, if they must be turned and have been read.
    unturned: Vec<f32>,
    /// The next upright row.
    row: usize,
}

impl Rows {
    /// Opens a file of any format that [`Picture::open`] reads, and reads its header.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Picture`] when it is damaged, of another kind, larger than
    /// 262,144 pixels a side, or, if it must be decoded as a whole, larger than 512 MiB of samples.
    pub fn open(path: &Path) -> Result<Rows> {
        Rows::new(source(path)?, path)
    }

    pub(super) fn new(source: Box<dyn Source>, path: &Path) -> Result<Rows> {
        let decoder = decoder(source).map_err(|message| {
            let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            let is_raw = extension.is_some_and(|e| foreign::CAMERA_RAW.contains(&e.as_str()));
            // Cameras write TIFF files that only their name tells from others.
            let message = if is_raw { foreign::camera_raw() } else { message };
            Error::Picture { path: path.to_owned(), message }
        })?;
        let stored = decoder.layout();
        Ok(Rows { path: path.to_owned(), decoder, stored, unturned: Vec::new(), row: 0 })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        if self.lies() { self.stored.height } else { self.stored.width }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        if self.lies() { self.stored.width } else { self.stored.height }
    }

    /// 1 (grey) or 3 (RGB).
    pub fn channels(&self) -> usize {
        self.stored.channels
    }

    /// Number of further bands, such as near infrared.
    pub fn extra_bands(&self) -> usize {
        self.stored.extra
    }

    /// The sample type of the file.
    pub fn depth(&self) -> Depth {
        self.stored.depth
    }

    /// Whether the file holds opacity.
    pub fn has_alpha(&self) -> bool {
        self.stored.alpha
    }

    /// Reads the next rows as a picture; fewer at the end of the file. Every band has opacity if the file has it. The
    /// first band has the notes.
    ///
    /// # Errors
    /// [`Error::Picture`] when the file is damaged or cut off, or the band is larger than 256 Mi samples;
    /// [`Error::Usage`] when `rows` is 0 or no rows remain. After an error, no rows remain.
    pub fn next(&mut self, rows: usize) -> Result<Picture> {
        let (first, left) = (self.row, self.height() - self.row);
        if rows == 0 || left == 0 {
            return Err(Error::Usage(format!(
                "{}: {left} rows are left, {rows} wanted",
                self.path.display()
            )));
        }
        let band = self.band(rows.min(left));
        self.row = if band.is_ok() { first + rows.min(left) } else { self.height() };
        let band = band.map_err(|message| self.error(message))?;
        let notes = if first == 0 { self.decoder.notes() } else { Vec::new() };
        Ok(notes.iter().fold(band, |band, note| band.with_note(Some(note))))
    }

    /// The current page as a whole, without opacity if it is opaque everywhere.
    pub(super) fn page(&mut self) -> Result<Picture> {
        let page = self.next(self.height())?;
        let transparent = page.alpha().is_some_and(|alpha| alpha.data().iter().any(|&v| v != 1.0));
        if transparent { Ok(page) } else { page.with_alpha(None) }
    }

    /// The first page as a whole, with a note if there are more.
    pub(super) fn first_page(mut self) -> Result<Picture> {
        let pages = self.pages()?;
        let note = note(pages, self.is_animation());
        Ok(self.page()?.with_note(note.as_deref()))
    }

    /// Number of pages in the file.
    pub(super) fn pages(&mut self) -> Result<usize> {
        self.decoder.pages().map_err(|message| self.error(message))
    }

    /// Moves to the next page.
    pub(super) fn turn_page(&mut self) -> Result<()> {
        self.decoder.turn_page().map_err(|message| self.error(message))?;
        (self.stored, self.row) = (self.decoder.layout(), 0);
        self.unturned.clear();
        Ok(())
    }

    /// Where the current page lies on the earth, if it is stored upright.
    pub(in crate::image) fn georeference(&self) -> Option<Arc<Georeference>> {
        self.decoder.georeference().filter(|_| self.stored.orientation == Orientation::NoTransforms)
    }

    /// Whether the pages are frames of an animation.
    pub(super) fn is_animation(&self) -> bool {
        self.decoder.is_animation()
    }

    fn error(&self, message: String) -> Error {
        Error::Picture { path: self.path.clone(), message }
    }

    /// Whether rows of the file become columns of the picture.
    fn lies(&self) -> bool {
        lies(self.stored.orientation)
    }

    /// Reads the next `rows` rows, which must exist.
    fn band(&mut self, rows: usize) -> Result<Picture, String> {
        let (width, layout) = (self.width(), self.stored);
        let pixels = rows * width;
        if pixels * layout.stride() > MAX_SAMPLES {
            return Err(format!(
                "{width}x{rows} pixels are too many at once; at most {} Mi samples are read, so scale or cut it",
                MAX_SAMPLES >> 20
            ));
        }
        if layout.orientation != Orientation::NoTransforms && self.unturned.is_empty() {
            self.read_unturned()?;
        }
        let mut planes = vec![0.0; pixels * layout.channels];
        let mut extra = vec![0.0; pixels * layout.extra];
        let mut alpha = vec![0.0; if layout.alpha { pixels } else { 0 }];
        let stride = layout.stride();
        let step = rows.min((SCRATCH / (width * stride)).max(1)) * width;
        let mut scratch = vec![0.0; step * stride];
        for done in (0..pixels).step_by(step) {
            let part = &mut scratch[..step.min(pixels - done) * stride];
            match layout.orientation {
                Orientation::NoTransforms => self.decoder.read(part)?,
                turn => turned(&self.unturned, &layout, turn, self.row + done / width, part),
            }
            let bands = planes.chunks_exact_mut(pixels).chain(extra.chunks_exact_mut(pixels));
            for (c, plane) in bands.enumerate() {
                let values = part.iter().skip(c).step_by(stride);
                plane[done..].iter_mut().zip(values).for_each(|(to, &v)| *to = v);
            }
            let opacity = part.iter().skip(layout.channels + layout.extra).step_by(stride);
            alpha.iter_mut().skip(done).zip(opacity).for_each(|(to, v)| *to = v / layout.depth.white());
        }
        let shape = Shape::new(1, layout.channels, rows, width);
        let alpha = layout.alpha.then(|| Tensor::new(Shape { c: 1, ..shape }, alpha)).transpose();
        let extra =
            (layout.extra > 0).then(|| Tensor::new(Shape { c: layout.extra, ..shape }, extra)).transpose();
        let georeference = self.georeference();
        Tensor::new(shape, planes)
            .and_then(|planes| Picture::new(planes, layout.depth))
            .and_then(|band| band.with_alpha(alpha?)?.with_extra(extra?))
            .map(|band| band.with_nodata(layout.nodata).with_georeference(georeference))
            .map_err(|e| e.to_string())
    }

    /// Reads all rows of a page that must be turned.
    fn read_unturned(&mut self) -> Result<(), String> {
        let Layout { width, height, .. } = self.stored;
        let samples = self.stored.row() * height;
        if samples > MAX_SAMPLES {
            return Err(format!(
                "{width}x{height} pixels are too many to turn as the EXIF orientation says; turn and save it first"
            ));
        }
        self.unturned = vec![0.0; samples];
        self.decoder.read(&mut self.unturned)
    }
}

/// What is said when only the first of several pages is used.
pub(super) fn note(pages: usize, animation: bool) -> Option<String> {
    let what = if animation { "frames" } else { "pages or slices" };
    (pages > 1).then(|| format!("the file has {pages} {what}, the first is used"))
}

/// Whether an orientation turns rows into columns.
pub(super) fn lies(orientation: Orientation) -> bool {
    orientation.to_exif() > 4
}

/// Rows of the upright picture from row `top` on, taken from all rows as they are stored.
///
/// Orientations are those of Exif 2.32 (CIPA DC-008), tag 274: they say which borders row 0 and column 0 of the file
/// are.
fn turned(stored: &[f32], layout: &Layout, turn: Orientation, top: usize, rows: &mut [f32]) {
    let &Layout { width: w, height: h, .. } = layout;
    let (stride, width) = (layout.stride(), if lies(turn) { h } else { w });
    for (i, pixel) in rows.chunks_exact_mut(stride).enumerate() {
        let (x, y) = (i % width, top + i / width);
        let (x, y) = match turn {
            Orientation::NoTransforms => (x, y),
            Orientation::FlipHorizontal => (w - 1 - x, y),
            Orientation::Rotate180 => (w - 1 - x, h - 1 - y),
            Orientation::FlipVertical => (x, h - 1 - y),
            Orientation::Rotate90FlipH => (y, x),
            Orientation::Rotate90 => (y, h - 1 - x),
            Orientation::Rotate270FlipH => (w - 1 - y, h - 1 - x),
            Orientation::Rotate270 => (w - 1 - y, x),
        };
        pixel.copy_from_slice(&stored[(y * w + x) * stride..][..stride]);
    }
}
