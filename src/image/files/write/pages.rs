//! Stacks: TIFF files of many pages.

use super::aside::Aside;
use super::layout::{Layout, index_bytes, samples};
use super::tiff::TiffWriter;
use crate::error::{Error, Result};
use crate::image::files::format::{Format, refuse};
use crate::image::{Georeference, Picture};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

/// A TIFF file with many pages, written page by page. Pages may differ in size, channels and depth. The file has a
/// temporary name until [`finish`](PageWriter::finish); if it is dropped before, it leaves nothing.
pub struct PageWriter {
    // Declared before `aside`, so it is closed first.
    tiff: TiffWriter<BufWriter<File>>,
    aside: Aside,
    pages: usize,
    georeference: Option<Arc<Georeference>>,
}

impl PageWriter {
    /// Creates a file without pages.
    ///
    /// # Errors
    /// When the path does not name a TIFF file, or a file cannot be created there.
    pub fn create(path: &Path) -> Result<PageWriter> {
        if Format::of(path)? != Format::Tiff {
            return Err(refuse(path, "only .tiff files hold pages; choose that".into()));
        }
        let aside = Aside::create(path)?;
        let tiff = TiffWriter::new(BufWriter::new(aside.handle()?)).map_err(Error::io(path))?;
        Ok(PageWriter { tiff, aside, pages: 0, georeference: None })
    }

    /// Writes a picture with its depth and opacity as the next page.
    pub fn push(&mut self, picture: &Picture) -> Result<()> {
        let layout = Layout::of(picture, picture.depth());
        let place = picture.georeference().or(self.georeference.as_ref()).cloned();
        self.page(layout, &samples(picture, layout.depth), place)
    }

    /// Sets where the following pages lie on the earth, if they do not say it.
    pub fn set_georeference(&mut self, georeference: Option<Arc<Georeference>>) {
        self.georeference = georeference;
    }

    /// Writes class numbers as grey values as the next page: 8 bits if the palette has at most 256 colours, else 16.
    ///
    /// # Errors
    /// When there are not `width * height` numbers, or when one is not below the number of colours.
    pub fn push_indices(
        &mut self,
        width: usize,
        height: usize,
        indices: &[u16],
        palette: &[[u8; 3]],
    ) -> Result<()> {
        let layout = Layout::indices(width, height, palette).check(self.aside.path())?;
        if indices.len() != width * height {
            return Err(Error::shape(
                format!("a page of {width}x{height} pixels"),
                width * height,
                indices.len(),
            ));
        }
        self.page(layout, &index_bytes(indices, palette.len(), layout.depth)?, self.georeference.clone())
    }

    fn page(&mut self, layout: Layout, pixels: &[u8], place: Option<Arc<Georeference>>) -> Result<()> {
        self.pages += 1;
        let written = self.tiff.begin(layout).and_then(|()| self.tiff.write(pixels));
        self.tiff.georeference(place);
        written.map_err(Error::io(self.aside.path()))
    }

    /// Gives the file its final name.
    ///
    /// # Errors
    /// When there is no page, or the disk is full. No file is left then.
    pub fn finish(self) -> Result<()> {
        let PageWriter { tiff, aside, pages, .. } = self;
        if pages == 0 {
            return Err(refuse(aside.path(), "no page came; a TIFF file needs one".into()));
        }
        tiff.finish().map_err(Error::io(aside.path()))?;
        aside.finish()
    }
}
