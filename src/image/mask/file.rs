//! Writes masks to files and reads them.

use super::{Mask, Reference};
use crate::error::{Error, Result};
use crate::image::files::{encode_indices, read_file};
use crate::image::{Depth, Format, Picture};
use crate::recipe::Channels;
use std::io::Cursor;
use std::path::Path;

impl Mask {
    /// The mask as the bytes of a file of that name. PNG has a palette and class numbers as indices; TIFF has class
    /// numbers as 8-bit grey. With more than 256 classes, both have class numbers as 16-bit grey. Other formats get
    /// the colours.
    ///
    /// # Errors
    /// When the extension is not that of a picture, or the format does not support the mask's size.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        match Format::of(path)? {
            Format::Png | Format::Tiff => {
                let georeference = self.georeference.clone();
                encode_indices(path, [self.width, self.height], &self.classes, &self.colors, georeference)
            }
            _ => self.to_picture()?.encode(path),
        }
    }
}

impl Reference {
    /// Reads a reference mask with the classes and the size of another mask.
    ///
    /// The class of a pixel is its index in a PNG's palette, whatever the colours are; or its grey value; or the class
    /// of `like` that has exactly its colour. With two classes, black and white are 0 and 1. If 255 is not a class,
    /// bytes of 255 are pixels that do not count, as in PASCAL VOC and Cityscapes.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Picture`] when it is damaged, has another size, or holds a
    /// value that is no class. The first such value is named.
    pub fn open(path: &Path, like: &Mask) -> Result<Reference> {
        let bytes = read_file(path)?;
        let classes = match raw_samples(&bytes, like).map_err(|message| refuse(path, message))? {
            Some(samples) => numbers(samples.iter().copied().map(f32::from), 255.0, like),
            None => from_picture(&Picture::from_bytes(&bytes, path)?, like),
        };
        let classes = classes.map_err(|message| refuse(path, message))?;
        Ok(Reference { width: like.width, height: like.height, classes })
    }
}

/// The stored samples of a PNG with a palette or with grey of less than 8 bits. `None` for other files; a [`Picture`]
/// has their samples.
fn raw_samples(bytes: &[u8], like: &Mask) -> Result<Option<Vec<u8>>, String> {
    if !bytes.starts_with(b"\x89PNG") {
        return Ok(None);
    }
    let damaged = |e: png::DecodingError| format!("the mask is damaged or cut off: {e}");
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().map_err(damaged)?;
    let info = reader.info();
    let (width, bits) = (info.width as usize, info.bit_depth as usize);
    let is_raw = info.color_type == png::ColorType::Indexed
        || info.color_type == png::ColorType::Grayscale && bits < 8;
    if !is_raw {
        return Ok(None);
    }
    check_size([width, info.height as usize], like)?;
    let mut packed = vec![0; reader.output_buffer_size().ok_or("the mask is too large")?];
    let line = reader.next_frame(&mut packed).map_err(damaged)?.line_size;
    // Each row begins at a whole byte, with its first sample in the high bits.
    let sample = |row: &[u8], x: usize| row[x * bits / 8] >> (8 - bits - x * bits % 8) & (0xff >> (8 - bits));
    let samples = packed.chunks_exact(line).flat_map(|row| (0..width).map(move |x| sample(row, x)));
    Ok(Some(samples.collect()))
}

/// The classes of a picture's pixels.
fn from_picture(picture: &Picture, like: &Mask) -> Result<Vec<Option<u16>>, String> {
    check_size([picture.width(), picture.height()], like)?;
    let planes = picture.planes();
    let values = planes.plane(0, 0).iter().copied();
    let grey = || match picture.depth() {
        Depth::Sixteen => numbers(values.clone().map(|v| (v * 257.0).round()), 65_535.0, like),
        depth => numbers(values.clone(), depth.white(), like),
    };
    if picture.channels() == 1 {
        return grey();
    }
    let [red, green, blue] = [0, 1, 2].map(|c| planes.plane(0, c));
    let is_grey = red == green && green == blue;
    // Grey that is stored as colours: colours are tried first, because a palette may have grey ones.
    colors(picture, like).or_else(|message| if is_grey { grey() } else { Err(message) })
}

/// Classes from numbers.
fn numbers(
    values: impl Iterator<Item = f32> + Clone,
    white: f32,
    like: &Mask,
) -> Result<Vec<Option<u16>>, String> {
    let count = like.colors.len();
    let black_and_white = count == 2 && values.clone().all(|v| v == 0.0 || v == white);
    let class = |(i, v): (usize, f32)| match v {
        _ if black_and_white => Ok(Some(u16::from(v == white))),
        _ if v >= 0.0 && v.fract() == 0.0 && (v as usize) < count => Ok(Some(v as u16)),
        255.0 if white == 255.0 => Ok(None),
        _ => Err(no_class(like, i, format!("the value {v}"), format!("0 to {}", count - 1))),
    };
    values.enumerate().map(class).collect()
}

/// Classes from colours.
fn colors(picture: &Picture, like: &Mask) -> Result<Vec<Option<u16>>, String> {
    let rgb = picture.in_steps(Channels::Rgb);
    let known: Vec<[f32; 3]> = like.colors.iter().map(|color| color.map(f32::from)).collect();
    // Neighbours usually have the same colour.
    let mut last = 0;
    let class = |i: usize| {
        let color = [0, 1, 2].map(|c| rgb.plane(0, c)[i]);
        if known[last] != color {
            last = known.iter().position(|&known| known == color).ok_or_else(|| {
                let found = format!("the colour {} {} {}", color[0], color[1], color[2]);
                no_class(like, i, found, "exactly the colours of the model's classes".into())
            })?;
        }
        Ok(Some(last as u16))
    };
    (0..rgb.shape().pixels()).map(class).collect()
}

fn check_size([w, h]: [usize; 2], like: &Mask) -> Result<(), String> {
    if [w, h] == [like.width, like.height] {
        return Ok(());
    }
    Err(format!(
        "expected a mask of {}x{} pixels, got {w}x{h}; use the mask of the same picture",
        like.width, like.height
    ))
}

fn no_class(like: &Mask, pixel: usize, found: String, expected: String) -> String {
    let (x, y) = (pixel % like.width, pixel / like.width);
    format!(
        "{found} at column {x}, row {y} is no class: expected {expected} (JPEG changes values; use PNG or TIFF)"
    )
}

fn refuse(path: &Path, message: String) -> Error {
    Error::Picture { path: path.to_owned(), message }
}
