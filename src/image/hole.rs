//! Holes of pictures: the pixels that are missing, and that an inpainting network fills.

use super::{Pages, Picture, Rows};
use crate::error::{Error, Result, Setting};
use crate::recipe::Channels;
use crate::tensor::{Shape, Tensor};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Samples of a file that are read at once.
const BAND: usize = 4 << 20;

/// Half of white, in units of 8-bit steps. What is above is white.
const HALF: f32 = 127.5;

/// Side of the squares that stand for a hole in a drawing, pixels, and their grey values.
const SQUARE: usize = 8;
const GREYS: [f32; 2] = [102.0, 153.0];

/// The share of a picture from which on a line says how much of it is missing.
const MOST: f64 = 0.5;

/// The missing pixels of a picture, or of a band of its rows.
///
/// In a mask, white is the hole: a pixel whose brightest colour is above half of white. A mask with transparency has its
/// hole where it is visible if all that is visible is white or of one colour, as paint on an empty layer, and else where
/// it is transparent, as in a picture of which a part was erased.
#[derive(Debug, Clone, PartialEq)]
pub struct Hole {
    width: usize,
    /// Of each row of the whole picture, the ranges of missing pixels in order.
    runs: Arc<Vec<Vec<Range<usize>>>>,
    /// The rows of this band.
    rows: Range<usize>,
    /// What was taken of a mask with transparency.
    reading: Option<&'static str>,
}

impl Hole {
    /// The hole of a mask file of any format that [`Picture::open`] reads.
    ///
    /// # Errors
    /// Errors of reading, and [`Error::Picture`] if no pixel is white, or all are, or if there are several pages.
    pub fn open(path: &Path) -> Result<Hole> {
        let refuse = |message: &str| Error::Picture { path: path.into(), message: message.into() };
        let pages = Pages::open(path)?.total();
        if pages > 1 {
            return Err(refuse(&format!(
                "a mask is one picture, and this has {pages} pages; save one of them"
            )));
        }
        let mut drawn = Drawn::new();
        for_each_band(path, |band| {
            drawn.add(band);
            Ok(())
        })?;
        let brightest = drawn.brightest.round();
        let hole = drawn.hole();
        if hole.is_empty() {
            return Err(refuse(&format!(
                "this mask has no hole: no pixel is white, and the brightest has {brightest} of 255"
            )));
        }
        if hole.pixels() == hole.width() * hole.height() {
            return Err(refuse(
                "all of this mask is white, so nothing of the picture is known; white is the hole",
            ));
        }
        Ok(hole)
    }

    /// The hole of a mask in memory, which may be empty.
    pub fn of_mask(mask: &Picture) -> Hole {
        let mut drawn = Drawn::new();
        drawn.add(mask);
        drawn.hole()
    }

    /// The pixels of a picture file that are not opaque.
    pub(super) fn of_transparent_file(path: &Path) -> Result<Hole> {
        let mut hole = Hole::new(0);
        for_each_band(path, |band| {
            hole.extend(band, |i| band.alpha().is_some_and(|alpha| alpha.data()[i] < 1.0));
            Ok(())
        })?;
        Ok(hole)
    }

    /// The pixels of a picture that are not opaque.
    pub(super) fn of_transparent(picture: &Picture) -> Hole {
        let mut hole = Hole::new(0);
        hole.extend(picture, |i| picture.alpha().is_some_and(|alpha| alpha.data()[i] < 1.0));
        hole
    }

    fn new(width: usize) -> Hole {
        Hole { width, runs: Arc::default(), rows: 0..0, reading: None }
    }

    /// Adds the rows of a band below, whose pixels are missing where `is_missing` says so.
    fn extend(&mut self, band: &Picture, is_missing: impl Fn(usize) -> bool) {
        self.width = band.width();
        let runs = Arc::make_mut(&mut self.runs);
        for row in 0..band.height() {
            let mut found: Vec<Range<usize>> = Vec::new();
            for x in (0..band.width()).filter(|x| is_missing(row * band.width() + x)) {
                match found.last_mut().filter(|run| run.end == x) {
                    Some(run) => run.end = x + 1,
                    None => found.push(x..x + 1),
                }
            }
            runs.push(found);
        }
        self.rows = 0..runs.len();
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.rows.len()
    }

    /// Number of missing pixels.
    pub fn pixels(&self) -> usize {
        self.runs[self.rows.clone()].iter().flatten().map(Range::len).sum()
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.runs[self.rows.clone()].iter().all(Vec::is_empty)
    }

    /// Some of its rows, which must exist.
    pub(super) fn rows(&self, rows: Range<usize>) -> Hole {
        let rows = self.rows.start + rows.start..self.rows.start + rows.end;
        Hole { rows, ..self.clone() }
    }

    /// The holes of bands below each other as one.
    pub(super) fn stacked(parts: &[&Hole]) -> Option<Hole> {
        let width = parts.first()?.width;
        let runs: Vec<_> =
            parts.iter().flat_map(|part| part.runs[part.rows.clone()].iter().cloned()).collect();
        Some(Hole { width, rows: 0..runs.len(), runs: Arc::new(runs), reading: None })
    }

    /// `(1, 1, height, width)`, 1 where a pixel is missing, 0 elsewhere.
    pub fn tensor(&self) -> Tensor {
        self.weights(0)
    }

    /// The share of a network's result at each pixel, `(1, 1, height, width)`: 1 in the hole, and less with the distance
    /// from it, up to `feather` pixels away.
    pub(super) fn weights(&self, feather: usize) -> Tensor {
        let mut weights = Tensor::zeros(Shape::new(1, 1, self.height(), self.width));
        for (row, weights) in weights.data_mut().chunks_exact_mut(self.width.max(1)).enumerate() {
            let row = self.rows.start + row;
            let near = row.saturating_sub(feather)..(row + feather + 1).min(self.runs.len());
            for other in near {
                let down = other.abs_diff(row) as f32;
                for run in &self.runs[other] {
                    let reach = run.start.saturating_sub(feather)..(run.end + feather).min(self.width);
                    for x in reach {
                        let across = run.start.saturating_sub(x).max((x + 1).saturating_sub(run.end)) as f32;
                        let weight = 1.0 - across.hypot(down) / (feather + 1) as f32;
                        weights[x] = weights[x].max(weight);
                    }
                }
            }
        }
        weights
    }

    /// Whether a rectangle of that height and width lies in the hole.
    pub(super) fn holds(&self, [h, w]: [usize; 2]) -> bool {
        let mut depths = vec![0usize; self.width];
        self.runs[self.rows.clone()].iter().any(|runs| {
            let mut next = vec![0; self.width];
            runs.iter().cloned().flatten().for_each(|x| next[x] = depths[x] + 1);
            depths = next;
            let mut stretch = 0;
            depths.iter().any(|&depth| {
                stretch = if depth >= h { stretch + 1 } else { 0 };
                stretch >= w
            })
        })
    }

    /// Refuses a hole that is nothing, or everything.
    pub(super) fn check_share(&self) -> Result<()> {
        let reason = match self.pixels() {
            0 => "no pixel is missing: give a mask (white is the hole), or make the hole transparent",
            all if all == self.width * self.height() => "all pixels are missing, so nothing is known",
            _ => return Ok(()),
        };
        Err(Error::Setting { setting: Setting::Mask, path: None, reason: reason.into() })
    }

    /// Refuses a hole that does not belong to a picture of that width and height.
    pub(super) fn check(&self, [width, height]: [usize; 2]) -> Result<()> {
        if [self.width, self.height()] == [width, height] {
            return Ok(());
        }
        let expected = format!("{width}x{height} pixels, as the picture has");
        Err(Error::shape("the mask", expected, format!("{}x{}", self.width, self.height())))
    }

    /// Lines about what was taken of a mask with transparency, and about a hole that is most of its picture.
    pub(super) fn notes(&self) -> Vec<String> {
        let share = self.pixels() as f64 / (self.width * self.height()).max(1) as f64;
        let most = (share > MOST).then(|| {
            let percent = (100.0 * share).floor();
            format!("the hole is {percent} % of the picture (white in the mask is the hole)")
        });
        self.reading.map(str::to_string).into_iter().chain(most).collect()
    }
}

/// A mask of which all rows so far are read.
struct Drawn {
    white: Hole,
    visible: Hole,
    hidden: Hole,
    /// Whether all visible pixels are white.
    all_white: bool,
    /// The colour of all visible pixels, or, if there are several, of the first.
    color: Option<Vec<f32>>,
    has_colors: bool,
    /// In units of 8-bit steps.
    brightest: f32,
}

impl Drawn {
    fn new() -> Drawn {
        let [white, visible, hidden] = [(); 3].map(|()| Hole::new(0));
        Drawn { white, visible, hidden, all_white: true, color: None, has_colors: false, brightest: 0.0 }
    }

    fn add(&mut self, band: &Picture) {
        let scale = 255.0 / band.depth().white();
        let planes: Vec<&[f32]> = (0..band.channels()).map(|c| band.planes().plane(0, c)).collect();
        let brightness = |i: usize| planes.iter().map(|plane| plane[i]).fold(0.0, f32::max) * scale;
        let is_visible = |i: usize| band.alpha().is_none_or(|alpha| alpha.data()[i] > 0.5);
        for i in (0..band.width() * band.height()).filter(|&i| is_visible(i)) {
            self.brightest = self.brightest.max(brightness(i));
            self.all_white &= brightness(i) > HALF;
            let color = || planes.iter().map(|plane| plane[i]);
            let first = self.color.get_or_insert_with(|| color().collect());
            self.has_colors |= !color().eq(first.iter().copied());
        }
        self.white.extend(band, |i| is_visible(i) && brightness(i) > HALF);
        if band.alpha().is_some() {
            self.visible.extend(band, is_visible);
            self.hidden.extend(band, |i| !is_visible(i));
        }
    }

    fn hole(self) -> Hole {
        if self.hidden.is_empty() {
            return self.white;
        }
        let is_paint = (self.all_white || !self.has_colors) && !self.visible.is_empty();
        let (hole, reading) = match is_paint {
            true => (self.visible, "the hole is where the mask is visible, as paint on an empty layer"),
            false => (self.hidden, "the hole is where the mask is transparent"),
        };
        Hole { reading: Some(reading), ..hole }
    }
}

/// Reads a picture file from the top in bands.
fn for_each_band(path: &Path, mut each: impl FnMut(&Picture) -> Result<()>) -> Result<()> {
    let mut rows = Rows::open(path)?;
    let (height, samples) = (rows.height(), rows.width() * (rows.channels() + rows.extra_bands() + 1));
    let step = (BAND / samples.max(1)).max(1);
    (0..height).step_by(step).try_for_each(|_| each(&rows.next(step)?))
}

impl Picture {
    /// The same picture with its missing pixels: those that it names, or else those that are not opaque, and it becomes
    /// opaque.
    ///
    /// # Errors
    /// [`Error::Setting`] if nothing, or everything, is missing.
    pub(super) fn with_missing(self) -> Result<Picture> {
        let picture = match self.hole() {
            Some(_) => self,
            None => {
                let hole = Hole::of_transparent(&self);
                self.with_alpha(None)?.with_hole(Some(hole))?
            }
        };
        picture.hole().map_or(Ok(()), Hole::check_share)?;
        Ok(picture)
    }

    /// The picture with a checkerboard in its hole.
    pub(super) fn with_hole_shown(&self) -> Result<Picture> {
        let mut planes = self.planes().clone();
        if let Some(hole) = self.hole() {
            let (scale, width) = (self.depth().white() / 255.0, self.width());
            for plane in planes.data_mut().chunks_exact_mut(width * self.height()) {
                for (row, y) in plane.chunks_exact_mut(width).zip(hole.rows.clone()) {
                    for x in hole.runs[y].iter().cloned().flatten() {
                        row[x] = GREYS[(x / SQUARE + y / SQUARE) % 2] * scale;
                    }
                }
            }
        }
        Picture::new(planes, self.depth())
    }

    /// A network's result for this picture with the known pixels as they are, bit by bit. Within `feather` pixels around
    /// the hole both are mixed. A grey picture stays grey.
    pub(super) fn completed(&self, result: Picture, feather: usize) -> Result<Picture> {
        let Some(hole) = self.hole() else { return Ok(result) };
        let is_grey = self.channels().min(result.channels()) == 1;
        let wanted = if is_grey { Channels::Gray } else { Channels::Rgb };
        let known = self.to_channels(wanted);
        let mut planes = result.to_channels(wanted);
        if known.shape() != planes.shape() {
            return Err(Error::shape("the result of filling a hole", known.shape(), planes.shape()));
        }
        let weights = hole.weights(feather);
        let pixels = known.shape().pixels();
        for (i, (value, &known)) in planes.data_mut().iter_mut().zip(known.data()).enumerate() {
            *value = match weights.data()[i % pixels] {
                0.0 => known,
                1.0 => *value,
                weight => known + weight * (*value - known),
            };
        }
        Picture::new(planes, result.depth())?.with_alpha(result.alpha().cloned())
    }
}
