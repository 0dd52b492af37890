//! The picture in memory: one or three planes, and their conversion to a network's input.

use crate::error::{Error, Result};
use crate::image::bands::Choice;
use crate::image::georeference::Georeference;
use crate::image::hole::Hole;
use crate::image::resample::{Filter, resize_rows};
use crate::recipe::{Channels, Curve, InputRecipe, Transfer};
use crate::tensor::{Shape, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Rec. 601 luma, as in PIL, OpenCV and most training scripts.
pub(super) const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Columns between the pictures of [`side_by_side`].
const GAP: usize = 4;

/// The sample type of a picture's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// 0 to 255.
    #[default]
    Eight,
    /// 0 to 65,535.
    Sixteen,
    /// f32. 1 is white; brighter values are kept.
    Float,
}

impl Depth {
    /// White in the units of [`Picture::planes`].
    pub fn white(self) -> f32 {
        match self {
            Depth::Eight | Depth::Sixteen => 255.0,
            Depth::Float => 1.0,
        }
    }

    /// The transfer function that samples of this type are assumed to have.
    pub fn transfer(self) -> Transfer {
        match self {
            Depth::Eight | Depth::Sixteen => Transfer::Srgb,
            Depth::Float => Transfer::Linear,
        }
    }

    /// Bytes of a sample in a file.
    pub(super) fn bytes(self) -> usize {
        match self {
            Depth::Eight => 1,
            Depth::Sixteen => 2,
            Depth::Float => 4,
        }
    }
}

/// A grey or RGB picture, perhaps with further bands. Values are 0 to 255 if its file has 8 or 16 bits. For float files
/// they are the file's own.
///
/// Bands are numbered from 1: colours or grey, further bands, opacity. A file of several bands that are not called
/// colours has its first one as grey, or all as colours if there are three.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// `(1, 1 or 3, height, width)`.
    planes: Tensor,
    /// Further bands, in the units of the planes.
    extra: Option<Tensor>,
    /// Opacity, 0 to 1, `(1, 1, height, width)`.
    alpha: Option<Tensor>,
    hole: Option<Hole>,
    depth: Depth,
    /// The value of pixels without data, in the units of the planes.
    nodata: Option<f32>,
    georeference: Option<Arc<Georeference>>,
    notes: Vec<String>,
}

impl Picture {
    /// A picture from planes of shape `(1, 1 or 3, height, width)` in the units of `depth`. Files are written with
    /// that depth, or the next lower one that their format has.
    pub fn new(planes: Tensor, depth: Depth) -> Result<Picture> {
        let shape = planes.shape();
        if shape.n != 1 || !matches!(shape.c, 1 | 3) {
            return Err(Error::shape("picture", "one picture of 1 or 3 channels (or write .npy)", shape));
        }
        Ok(Picture {
            planes,
            extra: None,
            alpha: None,
            hole: None,
            depth,
            nodata: None,
            georeference: None,
            notes: Vec::new(),
        })
    }

    /// The same picture with an opacity, 0 to 1, `(1, 1, height, width)`.
    pub fn with_alpha(mut self, alpha: Option<Tensor>) -> Result<Picture> {
        let expected = Shape { c: 1, ..self.planes.shape() };
        if let Some(shape) = alpha.as_ref().map(Tensor::shape).filter(|&shape| shape != expected) {
            return Err(Error::shape("the picture's opacity", expected, shape));
        }
        self.alpha = alpha;
        Ok(self)
    }

    /// The same picture with other values of the same shape.
    pub(super) fn with_planes(mut self, planes: Tensor) -> Result<Picture> {
        if planes.shape() != self.planes.shape() {
            return Err(Error::shape("the picture's values", self.planes.shape(), planes.shape()));
        }
        self.planes = planes;
        Ok(self)
    }

    /// The same picture with further bands in the units of its planes, `(1, bands, height, width)`.
    ///
    /// # Errors
    /// When their size is another.
    pub fn with_extra(mut self, extra: Option<Tensor>) -> Result<Picture> {
        if let Some(shape) = extra.as_ref().map(Tensor::shape) {
            let expected = Shape { c: shape.c, ..self.planes.shape() };
            if shape != expected {
                return Err(Error::shape("the picture's further bands", expected, shape));
            }
        }
        self.extra = extra;
        Ok(self)
    }

    /// The same picture with missing pixels, which an inpainting network fills.
    ///
    /// # Errors
    /// [`Error::Shape`] if the hole has another size.
    pub fn with_hole(mut self, hole: Option<Hole>) -> Result<Picture> {
        hole.as_ref().map_or(Ok(()), |hole| hole.check([self.width(), self.height()]))?;
        self.hole = hole;
        Ok(self)
    }

    /// The same picture with a value, in the units of its planes, of pixels without data.
    pub fn with_nodata(mut self, nodata: Option<f32>) -> Picture {
        self.nodata = nodata;
        self
    }

    /// The same picture at a place on the earth.
    pub fn with_georeference(mut self, georeference: Option<Arc<Georeference>>) -> Picture {
        self.georeference = georeference;
        self
    }

    /// The same picture with a note for the user.
    pub(super) fn with_note(mut self, note: Option<&str>) -> Picture {
        self.notes.extend(note.map(str::to_string));
        self
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.planes.shape().w
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.planes.shape().h
    }

    /// 1 (grey) or 3 (RGB).
    pub fn channels(&self) -> usize {
        self.planes.shape().c
    }

    /// The sample type of its file.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The values, `(1, channels, height, width)`.
    pub fn planes(&self) -> &Tensor {
        &self.planes
    }

    /// Opacity, 0 to 1, `(1, 1, height, width)`, if the file has it.
    pub fn alpha(&self) -> Option<&Tensor> {
        self.alpha.as_ref()
    }

    /// Its missing pixels, if it was given some.
    pub fn hole(&self) -> Option<&Hole> {
        self.hole.as_ref()
    }

    /// Further bands, `(1, bands, height, width)`, if the file has more than colours.
    pub fn extra(&self) -> Option<&Tensor> {
        self.extra.as_ref()
    }

    /// The value of pixels without data, if the file names one.
    pub fn nodata(&self) -> Option<f32> {
        self.nodata
    }

    /// Where it lies on the earth, if the file says it.
    pub fn georeference(&self) -> Option<&Arc<Georeference>> {
        self.georeference.as_ref()
    }

    /// What was lost or guessed while reading, one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The picture as a file of its depth holds it. Integers are clamped and rounded.
    pub fn rounded(&self) -> Picture {
        let steps = match self.depth {
            Depth::Eight => 1.0,
            Depth::Sixteen => 257.0,
            Depth::Float => return self.clone(),
        };
        let mut rounded = self.clone();
        rounded.planes.data_mut().iter_mut().for_each(|v| *v = (v.clamp(0.0, 255.0) * steps).round() / steps);
        rounded
    }

    /// A range of its rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if the range is empty or exceeds the picture.
    pub fn rows(&self, rows: Range<usize>) -> Result<Picture> {
        if rows.is_empty() || rows.end > self.height() {
            return Err(Error::shape(
                "rows of a picture",
                format!("some of {}", self.height()),
                format!("{rows:?}"),
            ));
        }
        let part = |planes: &Tensor| planes.part(rows.clone(), 0..self.width());
        let part = Picture::new(part(&self.planes), self.depth)?
            .with_alpha(self.alpha.as_ref().map(part))?
            .with_extra(self.extra.as_ref().map(part))?
            .with_hole(self.hole.as_ref().map(|hole| hole.rows(rows)))?;
        Ok(part.with_nodata(self.nodata).with_georeference(self.georeference.clone()))
    }

    /// The picture at another size: colours by bicubic interpolation, opacity by bilinear, further bands left out.
    ///
    /// # Errors
    /// None for a size above 0.
    pub fn resized(&self, size: [usize; 2]) -> Result<Picture> {
        self.resized_rows(0, self.height(), size, 0..size[0])
    }

    /// Some rows of a picture of `height` rows at another size. `self` holds its rows from `first` on.
    pub(super) fn resized_rows(
        &self,
        first: usize,
        height: usize,
        size: [usize; 2],
        rows: Range<usize>,
    ) -> Result<Picture> {
        let part = |values, filter| resize_rows(values, first, height, size, rows.clone(), filter);
        let picture = Picture::new(part(&self.planes, Filter::Bicubic), self.depth)?;
        picture.with_alpha(self.alpha.as_ref().map(|alpha| part(alpha, Filter::Bilinear)))
    }

    /// Pictures of the same width, depth and kind, stacked from top to bottom.
    ///
    /// # Errors
    /// [`Error::Shape`] if they differ, or if there are none.
    pub fn stacked(parts: &[Picture]) -> Result<Picture> {
        let unlike = |got: &dyn std::fmt::Display| {
            Error::shape("pictures to stack", "at least one, and all of the same kind", got)
        };
        let Some(first) = parts.first() else { return Err(unlike(&"none")) };
        let kind =
            |p: &Picture| (p.width(), p.bands(), p.channels(), p.depth, p.alpha.is_some(), p.hole.is_some());
        if let Some(other) = parts.iter().find(|part| kind(part) != kind(first)) {
            return Err(unlike(&format!("{} and {}", first.planes.shape(), other.planes.shape())));
        }
        let stacked = |planes: Vec<&Tensor>| (!planes.is_empty()).then(|| stacked_rows(&planes)).transpose();
        let planes: Vec<&Tensor> = parts.iter().map(Picture::planes).collect();
        let picture = Picture::new(stacked_rows(&planes)?, first.depth)?
            .with_alpha(stacked(parts.iter().filter_map(Picture::alpha).collect())?)?
            .with_extra(stacked(parts.iter().filter_map(Picture::extra).collect())?)?
            .with_hole(Hole::stacked(&parts.iter().filter_map(Picture::hole).collect::<Vec<_>>()))?;
        Ok(picture.with_nodata(first.nodata).with_georeference(first.georeference.clone()))
    }

    /// Number of bands, opacity among them.
    pub(super) fn bands(&self) -> usize {
        self.colors_and_extra() + usize::from(self.alpha.is_some())
    }

    pub(super) fn colors_and_extra(&self) -> usize {
        self.channels() + self.extra.as_ref().map_or(0, |extra| extra.shape().c)
    }

    /// Red, green and blue of a pixel, rounded to bytes.
    pub fn rgb(&self, x: usize, y: usize) -> [u8; 3] {
        let last = self.channels() - 1;
        let scale = 255.0 / self.depth.white();
        [0, 1, 2].map(|c| byte(scale * self.planes.plane(0, last.min(c))[y * self.width() + x]))
    }

    /// The planes in the requested channels: grey is copied three times, colours are weighted to luma.
    pub fn to_channels(&self, wanted: Channels) -> Tensor {
        let shape = self.planes.shape();
        match (wanted, shape.c) {
            (Channels::Rgb | Channels::Bgr, 1) => {
                let plane = self.planes.data();
                Tensor::from_fn(Shape { c: 3, ..shape }, |i| plane[i % plane.len()])
            }
            (Channels::Gray, 3) => {
                let planes = [0, 1, 2].map(|c| self.planes.plane(0, c));
                let luma = |i: usize| (0..3).map(|c| planes[c][i] * LUMA[c]).sum();
                Tensor::from_fn(Shape { c: 1, ..shape }, luma)
            }
            (Channels::Bgr, 3) => swapped(&self.planes),
            _ => self.planes.clone(),
        }
    }

    /// The same in units of 8-bit steps, 255 for white.
    pub(super) fn in_steps(&self, wanted: Channels) -> Tensor {
        self.steps(self.to_channels(wanted))
    }

    /// Values in the units of the planes in units of 8-bit steps.
    pub(super) fn steps(&self, mut planes: Tensor) -> Tensor {
        if self.depth == Depth::Float {
            planes.data_mut().iter_mut().for_each(|v| *v *= 255.0);
        }
        planes
    }

    /// The picture in the bands or channels that the recipe names, or else the network needs. Values are 0 to 255, with
    /// the recipe's transfer function. Values that are not finite, and the file's value for pixels without data, are
    /// first replaced by the recipe's `nodata`.
    ///
    /// # Errors
    /// When the recipe's bands or channels are not as many as the network takes, and when several bands could be meant.
    pub fn values(&self, recipe: &InputRecipe, channels: usize) -> Result<Tensor> {
        let picture = self.with_data(recipe)?;
        let mut values = match picture.choice(recipe, channels)? {
            Choice::Colors(order) => picture.in_steps(order),
            Choice::Bands(bands) => picture.steps(picture.chosen(&bands)?),
        };
        if let Some(wanted) = recipe.transfer {
            // Bands beyond colours, such as albedo and normals, are no light.
            let light = if self.extra.is_some() && self.channels() == 3 { 3 } else { values.shape().c };
            let pixels = values.shape().pixels();
            bring(&mut values.data_mut()[..light * pixels], 255.0, [self.depth.transfer(), wanted]);
        }
        Ok(values)
    }

    /// The network's input at the picture's own size: the recipe's channels, normalised. [`Prepared`](super::Prepared)
    /// also applies the recipe's size.
    ///
    /// # Errors
    /// Errors of [`values`](Picture::values) and of [`InputRecipe::normalize`].
    pub fn to_tensor(&self, recipe: &InputRecipe, channels: usize) -> Result<Tensor> {
        let mut tensor = self.values(recipe, channels)?;
        recipe.normalize(&mut tensor)?;
        Ok(tensor)
    }
}

/// Converts values from one transfer function to another. `white` is the value of white.
pub(super) fn bring(values: &mut [f32], white: f32, way: [Transfer; 2]) {
    let curve = match way {
        [Transfer::Linear, Transfer::Srgb] => Curve::forward,
        [Transfer::Srgb, Transfer::Linear] => Curve::inverse,
        [Transfer::Linear, Transfer::Linear] | [Transfer::Srgb, Transfer::Srgb] => return,
    };
    let white = f64::from(white);
    values.iter_mut().for_each(|v| *v = (curve(Curve::Srgb, f64::from(*v) / white) * white) as f32);
}

fn stacked_rows(parts: &[&Tensor]) -> Result<Tensor> {
    let shape = parts[0].shape();
    let plane = |c: usize| parts.iter().flat_map(move |part| part.plane(0, c)).copied();
    let data = (0..shape.c).flat_map(plane).collect();
    Tensor::new(Shape { h: parts.iter().map(|part| part.shape().h).sum(), ..shape }, data)
}

/// Three planes in reverse order.
pub(super) fn swapped(planes: &Tensor) -> Tensor {
    let shape = planes.shape();
    let pixels = shape.pixels();
    Tensor::from_fn(shape, |i| planes.data()[(2 - i / pixels) * pixels + i % pixels])
}

/// One RGB picture of all given ones, from left to right, aligned at the top, with white between and below them.
pub fn side_by_side(pictures: &[&Picture]) -> Result<Picture> {
    let height = pictures.iter().map(|p| p.height()).max().unwrap_or(0);
    let width = pictures.iter().map(|p| p.width()).sum::<usize>() + GAP * pictures.len().saturating_sub(1);
    let shape = Shape::new(1, 3, height, width).check("side by side")?;
    let mut data = vec![255.0; shape.elements()];
    let mut left = 0;
    for picture in pictures {
        let planes = picture.in_steps(Channels::Rgb);
        for c in 0..3 {
            for (y, row) in planes.plane(0, c).chunks_exact(picture.width()).enumerate() {
                data[(c * height + y) * width + left..][..row.len()].copy_from_slice(row);
            }
        }
        left += picture.width() + GAP;
    }
    Picture::new(Tensor::new(shape, data)?, Depth::Eight)
}

/// Clamps to 0 to 255 and rounds.
pub(super) fn byte(value: f32) -> u8 {
    // A float-to-integer cast saturates, so it clamps.
    value.round() as u8
}
