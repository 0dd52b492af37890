//! The bands of a picture that a network takes, and pixels without data.

use super::{Depth, Picture};
use crate::error::{Error, Result};
use crate::recipe::{Channels, InputRecipe};
use crate::tensor::{Shape, Tensor};
use std::borrow::Cow;

/// What of a picture goes into a network.
#[derive(Debug, PartialEq)]
pub(super) enum Choice {
    /// Its grey or its colours, converted to these.
    Colors(Channels),
    /// Bands, numbered from 1.
    Bands(Vec<usize>),
}

impl Picture {
    /// What of the picture goes into a network of `channels` channels.
    ///
    /// # Errors
    /// Errors of [`values`](Picture::values).
    pub(super) fn choice(&self, recipe: &InputRecipe, channels: usize) -> Result<Choice> {
        let all = self.bands();
        if !recipe.bands.is_empty() {
            if recipe.bands.len() != channels {
                let expected = format!("{channels} numbers, as the network takes channels");
                return Err(Error::shape("bands", expected, recipe.bands.len()));
            }
            return match recipe.bands.iter().find(|&&band| !(1..=all).contains(&band)) {
                Some(&band) => Err(Error::shape(
                    "bands",
                    format!("numbers from 1 to {all}, the bands of the picture"),
                    band,
                )),
                None => Ok(Choice::Bands(recipe.bands.clone())),
            };
        }
        let opaque = self.colors_and_extra();
        let extra = self.extra().is_some();
        match (recipe.channels, channels) {
            // With further bands, only what is called colours can stand for the picture.
            (Some(order @ (Channels::Rgb | Channels::Bgr)), 3) if !extra || self.channels() == 3 => {
                Ok(Choice::Colors(order))
            }
            (None, 3) if !extra || self.channels() == 3 => Ok(Choice::Colors(Channels::Rgb)),
            (None | Some(Channels::Gray), 1) if !extra || self.channels() == 3 => {
                Ok(Choice::Colors(Channels::Gray))
            }
            (None | Some(Channels::Rgb), _) if channels == opaque || channels == all => {
                Ok(Choice::Bands((1..=channels).collect()))
            }
            _ if extra || all > channels => Err(Error::shape(
                "the picture",
                format!("{channels} bands, as the network takes channels"),
                format!(
                    "{all}; choose with bands = [1, 2, ...] under [input] in the recipe (--bands 1,2,...), from 1"
                ),
            )),
            (wanted, _) => {
                let made = match wanted {
                    _ if !recipe.also.is_empty() => {
                        format!(
                            "a picture of {all}; give {} too, as --also NAME=FILE",
                            recipe.also.join(" and ")
                        )
                    }
                    None => {
                        format!("a picture of {all} (give the others as further files, or the input as .npy)")
                    }
                    Some(Channels::Rgb) => "the recipe's rgb picture".into(),
                    Some(Channels::Bgr) => "the recipe's bgr picture".into(),
                    Some(Channels::Gray) => "the recipe's gray picture".into(),
                };
                Err(Error::shape("input", format!("{channels} channels, as the network takes"), made))
            }
        }
    }

    /// Lines about bands that a network of `channels` channels does not get, and about pixels without data.
    pub(super) fn input_notes(&self, recipe: &InputRecipe, channels: usize) -> Vec<String> {
        let all = self.bands();
        let bands = match self.choice(recipe, channels) {
            Ok(Choice::Colors(_)) if self.extra().is_some() => Some(format!(
                "the file has {all} bands; the first three, red, green and blue, are used (bands = [...] under [input] chooses others)"
            )),
            Ok(Choice::Bands(bands))
                if bands.len() == all && self.alpha().is_some() && recipe.bands.is_empty() =>
            {
                Some(format!("the file's opacity is the network's channel {all}"))
            }
            _ => None,
        };
        let empty =
            self.nodata().filter(|&value| recipe.nodata.is_none() && !value.is_nan() && self.holds(value));
        let empty = empty.map(|_| {
            "pixels without data are given to the network as they are (nodata = 0 under [input] replaces them)".to_string()
        });
        bands.into_iter().chain(empty).collect()
    }

    /// The picture with the bands of other pictures of its size after its own.
    ///
    /// # Errors
    /// When a size is another.
    pub(super) fn joined(self, others: &[Picture]) -> Result<Picture> {
        let shape = self.planes().shape();
        let white = self.depth().white() / 255.0;
        let mut data = self.extra().map(|extra| extra.data().to_vec()).unwrap_or_default();
        for other in others {
            let bands: Vec<usize> = (1..=other.colors_and_extra()).collect();
            let steps = other.steps(other.chosen(&bands)?);
            let size = steps.shape();
            if (size.h, size.w) != (shape.h, shape.w) {
                let expected = format!("{}x{} pixels, as the first file", shape.w, shape.h);
                return Err(Error::shape("the picture", expected, format!("{}x{}", size.w, size.h)));
            }
            data.extend(steps.data().iter().map(|v| v * white));
        }
        let extra = Tensor::new(Shape { c: data.len() / shape.pixels(), ..shape }, data)?;
        // Opacity would be a band among them.
        self.with_alpha(None)?.with_extra(Some(extra))
    }

    /// Numbers from -1 to 1 as numbers from 0 to 1.
    pub(super) fn halved(&self) -> Result<Picture> {
        let half = |values: &Tensor| Tensor::from_fn(values.shape(), |i| 0.5 + 0.5 * values.data()[i]);
        Picture::new(half(self.planes()), self.depth())
    }

    /// Bands by their numbers, which exist.
    pub(super) fn chosen(&self, bands: &[usize]) -> Result<Tensor> {
        let shape = self.planes().shape();
        let white = self.depth().white();
        let mut data = Vec::with_capacity(bands.len() * shape.pixels());
        for &band in bands {
            let (colors, opaque) = (self.channels(), self.colors_and_extra());
            match (self.extra(), self.alpha()) {
                _ if band <= colors => data.extend_from_slice(self.planes().plane(0, band - 1)),
                (Some(extra), _) if band <= opaque => {
                    data.extend_from_slice(extra.plane(0, band - 1 - colors))
                }
                (_, Some(alpha)) => data.extend(alpha.data().iter().map(|v| v * white)),
                _ => return Err(Error::shape("bands", format!("numbers from 1 to {}", self.bands()), band)),
            }
        }
        Tensor::new(Shape { c: bands.len(), ..shape }, data)
    }

    /// The picture with the recipe's value, in 8-bit steps, in place of values that are not finite and of the file's
    /// value for pixels without data.
    pub(super) fn with_data(&self, recipe: &InputRecipe) -> Result<Cow<'_, Picture>> {
        let missing = |v: f32| !v.is_finite() || Some(v) == self.nodata();
        let mut values = [Some(self.planes()), self.extra()].into_iter().flatten().flat_map(Tensor::data);
        let Some(value) = recipe.nodata.filter(|_| values.any(|&v| missing(v))) else {
            return Ok(Cow::Borrowed(self));
        };
        let value = (value * f64::from(self.depth().white()) / 255.0) as f32;
        let replaced = |values: &Tensor| {
            let data = values.data();
            Tensor::from_fn(values.shape(), |i| if missing(data[i]) { value } else { data[i] })
        };
        let picture = Picture::new(replaced(self.planes()), self.depth())?
            .with_alpha(self.alpha().cloned())?
            .with_extra(self.extra().map(replaced))?;
        Ok(Cow::Owned(picture))
    }

    /// The first value that is not finite, with its column and row.
    pub(super) fn not_finite(&self) -> Option<(f32, [usize; 2])> {
        let tensors = [Some(self.planes()), self.extra()].into_iter().flatten();
        let mut all = tensors.flat_map(|values| values.data().iter().enumerate());
        let (index, value) = all.find(|(_, v)| !v.is_finite())?;
        let index = index % self.planes().shape().pixels();
        Some((*value, [index % self.width(), index / self.width()]))
    }

    fn holds(&self, value: f32) -> bool {
        let tensors = [Some(self.planes()), self.extra()];
        tensors.into_iter().flatten().any(|values| values.data().contains(&value))
    }

    /// The same picture with the no-data value wherever `input`, of the same size, has no data. Only floats have a value
    /// to spare.
    pub(super) fn without_data_of(self, input: &Picture) -> Result<Picture> {
        let same = [self.height(), self.width()] == [input.height(), input.width()];
        let Some(nodata) =
            input.nodata().filter(|_| same && self.depth() == Depth::Float && input.depth() == Depth::Float)
        else {
            return Ok(self);
        };
        let missing = |v: f32| v == nodata || v.is_nan();
        let pixels = self.planes().shape().pixels();
        let empty: Vec<bool> = (0..pixels)
            .map(|i| (0..input.channels()).any(|c| missing(input.planes().plane(0, c)[i])))
            .collect();
        let values = self.planes().data();
        let planes =
            Tensor::from_fn(self.planes().shape(), |i| if empty[i % pixels] { nodata } else { values[i] });
        let tags = self.georeference().cloned();
        Ok(Picture::new(planes, self.depth())?.with_alpha(self.alpha().cloned())?.with_georeference(tags))
    }
}
