//! The pictures of a file, one after the other.

use super::Rows;
use super::rows::note;
use crate::error::Result;
use crate::image::{Hole, Picture};
use std::path::Path;

/// An iterator over the pictures of a file: the pages of a TIFF, the slices of a NIfTI volume, the frames of a GIF,
/// else one picture.
///
/// It ends after an error.
pub struct Pages {
    rows: Rows,
    total: usize,
    next: usize,
    hole: Option<Hole>,
}

impl Pages {
    /// Opens a file of any format that [`Picture::open`] reads, and counts its pictures without decoding them.
    ///
    /// # Errors
    /// Errors of [`Rows::open`].
    pub fn open(path: &Path) -> Result<Pages> {
        let mut rows = Rows::open(path)?;
        Ok(Pages { total: rows.pages()?, rows, next: 0, hole: None })
    }

    /// The same pictures with a hole, the same in all of them.
    pub fn with_hole(self, hole: Option<Hole>) -> Pages {
        Pages { hole, ..self }
    }

    /// The first picture, before anything of it is read.
    pub(in crate::image) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Number of pictures in the file, including those already returned. (`count` is the iterator's method, which
    /// reads them.)
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether the pictures are frames of an animation, of which the first stands for the file.
    pub fn is_animation(&self) -> bool {
        self.rows.is_animation()
    }

    /// The first picture. A note says that there are more.
    pub(in crate::image) fn first(mut self) -> Result<Picture> {
        let note = note(self.total, self.is_animation());
        self.rows.page()?.with_note(note.as_deref()).with_hole(self.hole)
    }

    fn page(&mut self) -> Result<Picture> {
        if self.next > 0 {
            self.rows.turn_page()?;
        }
        self.rows.page()?.with_hole(self.hole.clone())
    }
}

impl Iterator for Pages {
    type Item = Result<Picture>;

    fn next(&mut self) -> Option<Result<Picture>> {
        if self.next >= self.total {
            return None;
        }
        let page = self.page();
        self.next = if page.is_ok() { self.next + 1 } else { self.total };
        Some(page)
    }
}
