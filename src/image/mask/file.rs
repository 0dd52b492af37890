//! Writes masks to files and reads them.

use super::{Mask, Palette, Reference};
use crate::error::{Error, Result};
use crate::image::files::{encode_indices, read_file};
use crate::image::{Depth, Format, Picture};
use crate::recipe::{Channels, Void};
use std::io::Cursor;
use std::path::Path;

/// A frequent reason for values that are no class.
const LOSSY: &str = "JPEG changes values; use PNG or TIFF";

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

impl Mask {
    /// Names and colours of the classes by class number, one on each line: `name:red,green,blue::`. Annotation tools
    /// with PASCAL VOC's masks read it as `labelmap.txt` (CVAT's "Segmentation mask", Datumaro).
    pub fn label_list(&self) -> String {
        let plain = |name: &str| name.replace([':', '\n', '\r'], "_");
        let line = |(name, [r, g, b]): (&String, &[u8; 3])| format!("{}:{r},{g},{b}::\n", plain(name));
        self.names.iter().zip(&self.colors).map(line).collect()
    }
}

impl Reference {
    /// Reads a reference mask with the classes and the size of another mask.
    ///
    /// A reference has class numbers or the colours of the classes. A PNG's palette has both: its colours decide if
    /// all that are used are those of the classes and it is not PASCAL VOC's palette; else its indices. Grey values
    /// are class numbers. With two classes, black and white are 0 and 1.
    ///
    /// What the recipe calls void does not count, nor do bytes of 255, as in PASCAL VOC and Cityscapes, if 255 is not a
    /// class.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Picture`] when it is damaged, has another size, or holds a
    /// value that is no class. The first such value is named.
    pub fn open(path: &Path, like: &Mask) -> Result<Reference> {
        let bytes = read_file(path)?;
        let known = Known::of(like);
        let classes = match raw_samples(&bytes, like).map_err(|message| refuse(path, message))? {
            Some(indexed) => known.indexed(&indexed),
            None => known.picture(&Picture::from_bytes(&bytes, path)?),
        };
        let mut classes = classes.map_err(|message| refuse(path, message))?;
        let is_void = |class: &Option<u16>| class.is_some_and(|class| known.void.numbers.contains(&class));
        classes.iter_mut().filter(|class| is_void(class)).for_each(|class| *class = None);
        Ok(Reference { width: like.width, height: like.height, classes })
    }
}

/// The stored samples of a PNG, and the colours that they stand for.
struct Indexed {
    samples: Vec<u8>,
    /// Empty if the samples are grey.
    palette: Vec<[u8; 3]>,
}

/// The stored samples of a PNG with a palette or with grey of less than 8 bits, and the palette's colours. `None` for
/// other files; a [`Picture`] has their samples.
fn raw_samples(bytes: &[u8], like: &Mask) -> Result<Option<Indexed>, String> {
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
    let colors = info.palette.iter().flat_map(|palette| palette.as_chunks::<3>().0).copied().collect();
    let mut packed = vec![0; reader.output_buffer_size().ok_or("the mask is too large")?];
    let line = reader.next_frame(&mut packed).map_err(damaged)?.line_size;
    // Each row begins at a whole byte, with its first sample in the high bits.
    let sample = |row: &[u8], x: usize| row[x * bits / 8] >> (8 - bits - x * bits % 8) & (0xff >> (8 - bits));
    let samples = packed.chunks_exact(line).flat_map(|row| (0..width).map(move |x| sample(row, x)));
    Ok(Some(Indexed { samples: samples.collect(), palette: colors }))
}

/// What the values of a reference may be.
struct Known<'a> {
    like: &'a Mask,
    void: Void,
}

impl Known<'_> {
    fn of(like: &Mask) -> Known<'_> {
        Known { like, void: like.void() }
    }

    /// The class of a colour, `None` if it does not count; an outer `None` if it belongs to nothing known.
    fn of_color(&self, color: [u8; 3]) -> Option<Option<u16>> {
        let class = self.like.colors.iter().position(|&known| known == color).map(|class| Some(class as u16));
        class.or_else(|| self.void.colors.contains(&color).then_some(None))
    }

    /// The classes of indices into a palette.
    fn indexed(&self, Indexed { samples, palette }: &Indexed) -> Result<Vec<Option<u16>>, String> {
        let by_number = || self.numbers(samples.iter().copied().map(f32::from), 255.0);
        let mut used = [false; 256];
        samples.iter().for_each(|&sample| used[usize::from(sample)] = true);
        let used: Vec<usize> = (0..palette.len()).filter(|&i| used[i]).collect();
        let voc = Palette::voc();
        let has_colors_of =
            |of: &dyn Fn(usize) -> Option<[u8; 3]>| used.iter().all(|&i| of(i) == Some(palette[i]));
        let is_numbered =
            has_colors_of(&|i| self.like.colors.get(i).copied()) || has_colors_of(&|i| Some(voc.color(i)));
        let is_complete = samples.iter().all(|&sample| usize::from(sample) < palette.len());
        let classes: Option<Vec<Option<u16>>> = used.iter().map(|&i| self.of_color(palette[i])).collect();
        match classes.filter(|_| is_complete && !is_numbered) {
            None => by_number(),
            Some(classes) => {
                let mut by_index = [None; 256];
                used.iter().zip(classes).for_each(|(&i, class)| by_index[i] = class);
                Ok(samples.iter().map(|&sample| by_index[usize::from(sample)]).collect())
            }
        }
    }

    /// The classes of a picture's pixels.
    fn picture(&self, picture: &Picture) -> Result<Vec<Option<u16>>, String> {
        check_size([picture.width(), picture.height()], self.like)?;
        let planes = picture.planes();
        let values = planes.plane(0, 0).iter().copied();
        let grey = || match picture.depth() {
            Depth::Sixteen => self.numbers(values.clone().map(|v| (v * 257.0).round()), 65_535.0),
            depth => self.numbers(values.clone(), depth.white()),
        };
        if picture.channels() == 1 {
            return grey();
        }
        let [red, green, blue] = [0, 1, 2].map(|c| planes.plane(0, c));
        let is_grey = red == green && green == blue;
        // Grey that is stored as colours: colours are tried first, because a palette may have grey ones.
        self.colors(picture).or_else(|message| if is_grey { grey() } else { Err(message) })
    }

    /// Classes from numbers.
    fn numbers(
        &self,
        values: impl Iterator<Item = f32> + Clone,
        white: f32,
    ) -> Result<Vec<Option<u16>>, String> {
        let count = self.like.colors.len();
        let is_void = |v: f32| self.void.numbers.iter().any(|&number| f32::from(number) == v);
        let black_and_white =
            count == 2 && !is_void(white) && values.clone().all(|v| v == 0.0 || v == white || is_void(v));
        let class = |(i, v): (usize, f32)| match v {
            _ if is_void(v) => Ok(None),
            _ if black_and_white => Ok(Some(u16::from(v == white))),
            _ if v >= 0.0 && v.fract() == 0.0 && (v as usize) < count => Ok(Some(v as u16)),
            255.0 if white == 255.0 => Ok(None),
            _ => {
                let remedy = match v >= 0.0 && v.fract() == 0.0 {
                    true => format!("void = [{v}] under [output] in MODEL.toml leaves it out"),
                    false => LOSSY.into(),
                };
                Err(no_class(
                    self.like,
                    i,
                    format!("the value {v}"),
                    format!("0 to {} ({remedy})", count - 1),
                ))
            }
        };
        values.enumerate().map(class).collect()
    }

    /// Classes from colours.
    fn colors(&self, picture: &Picture) -> Result<Vec<Option<u16>>, String> {
        let rgb = picture.in_steps(Channels::Rgb);
        let planes = [0, 1, 2].map(|c| rgb.plane(0, c));
        // Neighbours usually have the same colour.
        let mut last = ([-1.0; 3], None);
        let class = |i: usize| {
            let color = planes.map(|plane| plane[i]);
            if last.0 != color {
                let bytes = color.map(|v| v as u8);
                let found =
                    Some(bytes).filter(|bytes| bytes.map(f32::from) == color).and_then(|c| self.of_color(c));
                let class = found.ok_or_else(|| {
                    let found = format!("the colour {} {} {}", color[0], color[1], color[2]);
                    let expected = format!("exactly the colours of the model's classes ({LOSSY})");
                    no_class(self.like, i, found, expected)
                })?;
                last = (color, class);
            }
            Ok(last.1)
        };
        (0..rgb.shape().pixels()).map(class).collect()
    }
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
    format!("{found} at column {x}, row {y} is no class: expected {expected}")
}

fn refuse(path: &Path, message: String) -> Error {
    Error::Picture { path: path.to_owned(), message }
}
