//! Picture files to pictures. The content decides the format, never the file's name.

use crate::error::{Error, Result};
use crate::image::{Depth, Picture};
use crate::tensor::{Shape, Tensor};
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Longest side that is read, pixels.
const MAX_SIDE: u32 = 32_768;
/// Most bytes that a decoder may allocate.
const MAX_DECODED: u64 = 512 << 20;
/// Longest picture or array file, bytes.
const MAX_FILE: u64 = 2 << 30;

impl Picture {
    /// Reads a PNG, JPEG, WebP, BMP or TIFF file, turned upright as its EXIF orientation says.
    ///
    /// Transparency is dropped, and [`notes`](Picture::notes) says so.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Picture`] when it is damaged, of another kind,
    /// or larger than 32768 pixels a side or 512 MiB.
    pub fn open(path: &Path) -> Result<Picture> {
        Picture::from_bytes(&read_file(path)?, path)
    }

    /// Reads a picture file's bytes; the path only names it in errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Picture> {
        parse(bytes).map_err(|message| Error::Picture { path: path.to_owned(), message })
    }
}

/// A whole file, within reason.
pub(in crate::image) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_FILE {
        let message = "the file is larger than 2 GiB; cut it into parts".to_string();
        return Err(Error::Picture { path: path.to_owned(), message });
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Picture, String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    reader.limits(limits);
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(explain)?;
    let (width, height) = decoder.dimensions();
    // Not every decoder keeps the limits, so they are checked before pixels are made.
    if width.max(height) > MAX_SIDE || decoder.total_bytes() > MAX_DECODED {
        return Err(format!("{width}x{height} pixels are too many; {}", too_large()));
    }
    if width == 0 || height == 0 {
        return Err(format!("the picture is empty ({width}x{height} pixels)"));
    }
    let orientation = decoder.orientation().map_err(explain)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(explain)?;
    image.apply_orientation(orientation);
    let cut = format == Some(image::ImageFormat::Jpeg) && !jpeg_is_whole(bytes);
    let note = cut.then_some("the JPEG file ends early; the missing part was filled in");
    Ok(from_image(&image)?.with_note(note))
}

/// Takes the planes out of a decoded picture.
fn from_image(image: &DynamicImage) -> Result<Picture, String> {
    let (color, bytes) = (image.color(), image.as_bytes());
    let stride = usize::from(color.channel_count());
    let channels = stride - usize::from(color.has_alpha());
    let plane = |c: usize| match usize::from(color.bits_per_pixel()) / stride {
        8 => samples(bytes, stride, c, |[v]: [u8; 1]| f32::from(v)),
        16 => samples(bytes, stride, c, |v| f32::from(u16::from_ne_bytes(v)) / 257.0),
        _ => samples(bytes, stride, c, f32::from_ne_bytes),
    };
    let data = (0..channels).flat_map(plane).collect();
    let shape = Shape::new(1, channels, image.height() as usize, image.width() as usize);
    let depth = match usize::from(color.bits_per_pixel()) / stride {
        8 => Depth::Eight,
        16 => Depth::Sixteen,
        _ => Depth::Float,
    };
    let picture =
        Tensor::new(shape, data).and_then(|planes| Picture::new(planes, depth)).map_err(|e| e.to_string())?;
    let opaque = depth.white();
    let transparent = color.has_alpha() && plane(channels).iter().any(|&alpha| alpha < opaque);
    Ok(picture
        .with_note(transparent.then_some("transparency was dropped; colours are used as they are stored")))
}

/// Sample `channel` of every pixel, as f32.
fn samples<const N: usize>(
    bytes: &[u8],
    stride: usize,
    channel: usize,
    value: impl Fn([u8; N]) -> f32,
) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().skip(channel).step_by(stride).map(|&sample| value(sample)).collect()
}

/// Whether the last scan of a JPEG file is closed: inside a scan, 0xff never stands before these markers' bytes.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) > last(0xda)
}

fn too_large() -> String {
    format!("at most {MAX_SIDE} a side and {} MiB are read, so scale or cut it", MAX_DECODED >> 20)
}

/// The decoder's reason as one line that says what to do.
fn explain(error: ImageError) -> String {
    match error {
        ImageError::Limits(_) => format!("the picture is too large; {}", too_large()),
        ImageError::Unsupported(_) => {
            "not a picture that can be read (PNG, JPEG, WebP, BMP and TIFF can)".into()
        }
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the picture file is cut off (copy it again)".into()
        }
        other => format!("the picture file is damaged or cut off: {}", other.to_string().replace('\n', " ")),
    }
}
