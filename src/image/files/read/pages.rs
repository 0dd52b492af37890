//! The pictures of a file, one after the other.

use super::Rows;
use crate::error::Result;
use crate::image::Picture;
use std::path::Path;

/// An iterator over the pictures of a file: the pages of a TIFF, the slices of a NIfTI volume, else one picture.
///
/// It ends after an error.
pub struct Pages {
    rows: Rows,
    total: usize,
    next: usize,
}

impl Pages {
    /// Opens a file of any format that [`Picture::open`] reads, and counts its pictures without decoding them.
    ///
    /// # Errors
    /// Errors of [`Rows::open`].
    pub fn open(path: &Path) -> Result<Pages> {
        let mut rows = Rows::open(path)?;
        Ok(Pages { total: rows.pages()?, rows, next: 0 })
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

    fn page(&mut self) -> Result<Picture> {
        if self.next > 0 {
            self.rows.turn_page()?;
        }
        self.rows.page()
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
