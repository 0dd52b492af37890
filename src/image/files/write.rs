//! Pictures to files. A file is written beside its place and then moved there, never half.

use crate::error::{Error, Result};
use crate::image::picture::byte;
use crate::image::{Depth, Picture};
use crate::recipe::Channels;
use image::codecs::{
    bmp::BmpEncoder, jpeg::JpegEncoder, png::PngEncoder, tiff::TiffEncoder, webp::WebPEncoder,
};
use image::{ExtendedColorType, ImageEncoder};
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

/// Quality of JPEG files: no visible loss.
const JPEG_QUALITY: u8 = 95;

/// What a file is written as, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.png`: 8 or 16 bits, masks with a palette.
    Png,
    /// `.jpg`, `.jpeg`.
    Jpeg,
    /// `.tif`, `.tiff`: 8 or 16 bits.
    Tiff,
    /// `.bmp`.
    Bmp,
    /// `.webp`, lossless.
    Webp,
    /// `.npy`: the network's numbers.
    Npy,
    /// `.txt`: class scores.
    Text,
}

impl Format {
    /// The format that a path's extension names.
    pub fn of(path: &Path) -> Result<Format> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        Ok(match extension.as_deref() {
            Some("png") => Format::Png,
            Some("jpg" | "jpeg") => Format::Jpeg,
            Some("tif" | "tiff") => Format::Tiff,
            Some("bmp") => Format::Bmp,
            Some("webp") => Format::Webp,
            Some("npy") => Format::Npy,
            Some("txt") => Format::Text,
            other => {
                let found =
                    other.map_or("a name with no extension".to_string(), |e| format!("the extension .{e}"));
                let known = "end it in .png, .jpg, .tiff, .bmp, .webp, .npy (numbers) or .txt (scores)";
                return Err(refuse(path, format!("{found} does not say what to write; {known}")));
            }
        })
    }

    /// Whether it holds a picture.
    pub fn is_picture(self) -> bool {
        !matches!(self, Format::Npy | Format::Text)
    }
}

impl Picture {
    /// The picture as the bytes of a file with that name.
    ///
    /// 16 bits a sample for deep pictures in PNG and TIFF, 8 bits otherwise; values are clamped and rounded.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        let format = Format::of(path)?;
        let wide = self.depth() != Depth::Eight && matches!(format, Format::Png | Format::Tiff);
        // WebP knows no grey.
        let planes = match format {
            Format::Webp => self.to_channels(Channels::Rgb),
            _ => self.planes().clone(),
        };
        let (shape, data) = (planes.shape(), planes.data());
        let values = (0..shape.elements()).map(|i| data[i % shape.c * shape.pixels() + i / shape.c]);
        let scale = 255.0 / self.depth().white();
        let bytes: Vec<u8> = match wide {
            true => values.flat_map(|v| ((v * scale * 257.0).round() as u16).to_ne_bytes()).collect(),
            false => values.map(|v| byte(v * scale)).collect(),
        };
        let color = match (shape.c, wide) {
            (1, false) => ExtendedColorType::L8,
            (1, true) => ExtendedColorType::L16,
            (_, false) => ExtendedColorType::Rgb8,
            (_, true) => ExtendedColorType::Rgb16,
        };
        let mut file = Cursor::new(Vec::new());
        let (w, h) = (shape.w as u32, shape.h as u32);
        let result = match format {
            Format::Png => PngEncoder::new(&mut file).write_image(&bytes, w, h, color),
            Format::Jpeg => {
                JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY).write_image(&bytes, w, h, color)
            }
            Format::Tiff => TiffEncoder::new(&mut file).write_image(&bytes, w, h, color),
            Format::Bmp => BmpEncoder::new(&mut file).write_image(&bytes, w, h, color),
            Format::Webp => WebPEncoder::new_lossless(&mut file).write_image(&bytes, w, h, color),
            Format::Npy | Format::Text => return Err(not_a_picture(path)),
        };
        result.map_err(|e| refuse(path, format!("{w}x{h} pixels cannot be written so: {e}")))?;
        Ok(file.into_inner())
    }
}

/// Errors early when a picture of that name could not be written later: its format, its folder, what stands there.
pub fn check_target(path: &Path) -> Result<Format> {
    let format = Format::of(path)?;
    check_place(path)?;
    Ok(format)
}

/// Writes a file by way of a temporary one in the same folder: readers see the old bytes or the new ones.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    check_place(path)?;
    // A link stays a link: what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = folder(&target).join(format!(".{name}.{}.tmp", std::process::id()));
    let mut file = File::create_new(&temporary).map_err(Error::io(path))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    written.and_then(|()| fs::rename(&temporary, &target)).map_err(|e| {
        // Best effort: the error that is told is the first one.
        let _ = fs::remove_file(&temporary);
        Error::io(path)(e)
    })
}

/// Errors when a file cannot be written there, so that long work need not be done first to find out.
pub fn check_place(path: &Path) -> Result<()> {
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(refuse(path, format!("the folder {} does not exist; make it first", folder.display())));
    }
    if path.exists() && !path.is_file() {
        return Err(refuse(path, "it exists and is not a file; choose another name".into()));
    }
    Ok(())
}

fn folder(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn not_a_picture(path: &Path) -> Error {
    refuse(path, "a picture goes to .png, .jpg, .tiff, .bmp or .webp".into())
}

fn refuse(path: &Path, message: String) -> Error {
    Error::Picture { path: path.to_owned(), message }
}
