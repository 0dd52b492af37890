//! Output formats, by file extension.

use crate::error::{Error, Result};
use crate::image::Depth;
use std::path::Path;

/// The format of an output file, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.png`: 8 or 16 bits, opacity, masks with a palette.
    Png,
    /// `.jpg`, `.jpeg`: 8 bits.
    Jpeg,
    /// `.tif`, `.tiff`: 8 or 16 bits or floats, opacity, pages; not compressed.
    Tiff,
    /// `.bmp`: 8 bits.
    Bmp,
    /// `.webp`, lossless: 8 bits, opacity.
    Webp,
    /// `.exr`, lossless: floats, opacity. Always RGB.
    Exr,
    /// `.pfm`: floats.
    Pfm,
    /// `.ppm`, `.pgm`, `.pnm`: 8 or 16 bits.
    Pnm,
    /// `.npy`: the network's numbers.
    Npy,
    /// `.txt`: class scores.
    Text,
}

impl Format {
    /// The format of a path's extension.
    pub fn of(path: &Path) -> Result<Format> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        Ok(match extension.as_deref() {
            Some("png") => Format::Png,
            Some("jpg" | "jpeg") => Format::Jpeg,
            Some("tif" | "tiff") => Format::Tiff,
            Some("bmp") => Format::Bmp,
            Some("webp") => Format::Webp,
            Some("exr") => Format::Exr,
            Some("pfm") => Format::Pfm,
            Some("ppm" | "pgm" | "pnm") => Format::Pnm,
            Some("npy") => Format::Npy,
            Some("txt") => Format::Text,
            other => {
                let found =
                    other.map_or("a name with no extension".to_string(), |e| format!("the extension .{e}"));
                let known = "end it in .png, .jpg, .tiff, .bmp, .webp, .exr, .pfm, .ppm, .npy (numbers) or .txt (scores)";
                return Err(refuse(path, format!("{found} does not tell the format; {known}")));
            }
        })
    }

    /// Whether it holds a picture.
    pub fn is_picture(self) -> bool {
        !matches!(self, Format::Npy | Format::Text)
    }

    /// The depth for a picture of depth `depth`: the same if the format has it, else the nearest.
    pub fn depth(self, depth: Depth) -> Depth {
        match (self, depth) {
            (Format::Tiff, depth) => depth,
            (Format::Png | Format::Pnm, Depth::Eight) => Depth::Eight,
            (Format::Png | Format::Pnm, Depth::Sixteen | Depth::Float) => Depth::Sixteen,
            (Format::Exr | Format::Pfm | Format::Npy, _) => Depth::Float,
            (Format::Jpeg | Format::Bmp | Format::Webp | Format::Text, _) => Depth::Eight,
        }
    }

    /// Whether it holds opacity.
    pub fn holds_alpha(self) -> bool {
        matches!(self, Format::Png | Format::Tiff | Format::Webp | Format::Exr)
    }

    /// Whether it can be written from the top in bands of rows.
    pub fn holds_bands(self) -> bool {
        matches!(self, Format::Png | Format::Tiff)
    }
}

pub(super) fn refuse(path: &Path, message: String) -> Error {
    Error::Picture { path: path.to_owned(), message }
}
