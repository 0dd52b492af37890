//! The picture in memory: one or three planes, and the way to the network's input.

use crate::error::{Error, Result};
use crate::recipe::{Channels, InputRecipe};
use crate::tensor::{Shape, Tensor};

/// Rec. 601 luma, as PIL, OpenCV and most training scripts compute it.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Columns between the pictures of [`side_by_side`].
const GAP: usize = 4;

/// A grey or RGB picture with values from 0 to 255.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// `(1, 1 or 3, height, width)`.
    planes: Tensor,
    deep: bool,
    notes: Vec<String>,
}

impl Picture {
    /// A picture from planes of shape `(1, 1 or 3, height, width)`; `deep` asks for 16-bit files where the format has them.
    pub fn new(planes: Tensor, deep: bool) -> Result<Picture> {
        let shape = planes.shape();
        if shape.n != 1 || !matches!(shape.c, 1 | 3) {
            return Err(Error::shape("picture", "one picture of 1 or 3 channels (or write .npy)", shape));
        }
        Ok(Picture { planes, deep, notes: Vec::new() })
    }

    /// The same picture with something to tell its user.
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

    /// Whether it came with more than 8 bits a sample.
    pub fn deep(&self) -> bool {
        self.deep
    }

    /// The values, `(1, channels, height, width)`, 0 to 255.
    pub fn planes(&self) -> &Tensor {
        &self.planes
    }

    /// What was lost or guessed while reading, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Red, green and blue at a place, rounded to bytes.
    pub fn rgb(&self, x: usize, y: usize) -> [u8; 3] {
        let last = self.channels() - 1;
        [0, 1, 2].map(|c| byte(self.planes.plane(0, last.min(c))[y * self.width() + x]))
    }

    /// The picture in the wanted channels: grey copied thrice, or colours weighted to luma.
    pub fn to_channels(&self, wanted: Channels) -> Tensor {
        let shape = self.planes.shape();
        match (wanted, shape.c) {
            (Channels::Rgb, 1) => {
                let plane = self.planes.data();
                Tensor::from_fn(Shape { c: 3, ..shape }, |i| plane[i % plane.len()])
            }
            (Channels::Gray, 3) => {
                let planes = [0, 1, 2].map(|c| self.planes.plane(0, c));
                let luma = |i: usize| (0..3).map(|c| planes[c][i] * LUMA[c]).sum();
                Tensor::from_fn(Shape { c: 1, ..shape }, luma)
            }
            _ => self.planes.clone(),
        }
    }

    /// The network's input: the recipe's channels, scaled and normalised.
    ///
    /// # Errors
    /// When the network does not take as many channels as the recipe makes, or neither one nor three.
    pub fn to_tensor(&self, recipe: &InputRecipe, channels: usize) -> Result<Tensor> {
        let wanted = match (recipe.channels, channels) {
            (None | Some(Channels::Rgb), 3) => Channels::Rgb,
            (None | Some(Channels::Gray), 1) => Channels::Gray,
            (recipe, _) => {
                let made = match recipe {
                    None => "a picture of 1 or 3 channels (give the input as .npy)",
                    Some(Channels::Rgb) => "the recipe's rgb picture",
                    Some(Channels::Gray) => "the recipe's gray picture",
                };
                return Err(Error::shape(
                    "input",
                    format!("{channels} channels, as the network takes"),
                    made,
                ));
            }
        };
        let mut tensor = self.to_channels(wanted);
        normalize(&mut tensor, recipe)?;
        Ok(tensor)
    }
}

/// Turns picture values into network values: `(value * scale - mean) / std` in each channel, then each plane to mean 0
/// and standard deviation 1 where the recipe says so.
///
/// # Errors
/// When mean or std are neither absent, nor one, nor one a channel, or a std is zero.
pub fn normalize(tensor: &mut Tensor, recipe: &InputRecipe) -> Result<()> {
    let shape = tensor.shape();
    for (name, list) in [("mean", &recipe.mean), ("std", &recipe.std)] {
        if ![0, 1, shape.c].contains(&list.len()) {
            let expected = format!("0, 1 or {} numbers", shape.c);
            return Err(Error::shape(format!("the recipe's {name}"), expected, list.len()));
        }
    }
    if recipe.std.contains(&0.0) {
        return Err(Error::Model("the recipe's std has a zero; nothing can be divided by it".into()));
    }
    let pick = |list: &[f64], c: usize| list.get(c).or(list.first()).copied();
    for (i, plane) in tensor.data_mut().chunks_exact_mut(shape.pixels()).enumerate() {
        let c = i % shape.c;
        let (mean, std) = (pick(&recipe.mean, c).unwrap_or(0.0), pick(&recipe.std, c).unwrap_or(1.0));
        plane.iter_mut().for_each(|v| *v = ((f64::from(*v) * recipe.scale - mean) / std) as f32);
        if recipe.standardize {
            standardize(plane);
        }
    }
    Ok(())
}

/// `(value - mean) / std` with the plane's own; a plane of one value becomes zero. The least std is nnU-Net's.
fn standardize(plane: &mut [f32]) {
    let count = plane.len() as f64;
    let mean = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = plane.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    let std = variance.sqrt().max(1e-8);
    plane.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) / std) as f32);
}

/// One RGB picture of all the given ones, left to right, tops aligned, white between and below them.
pub fn side_by_side(pictures: &[&Picture]) -> Result<Picture> {
    let height = pictures.iter().map(|p| p.height()).max().unwrap_or(0);
    let width = pictures.iter().map(|p| p.width()).sum::<usize>() + GAP * pictures.len().saturating_sub(1);
    let shape = Shape::new(1, 3, height, width).check("side by side")?;
    let mut data = vec![255.0; shape.elements()];
    let mut left = 0;
    for picture in pictures {
        let planes = picture.to_channels(Channels::Rgb);
        for c in 0..3 {
            for (y, row) in planes.plane(0, c).chunks_exact(picture.width()).enumerate() {
                data[(c * height + y) * width + left..][..row.len()].copy_from_slice(row);
            }
        }
        left += picture.width() + GAP;
    }
    Picture::new(Tensor::new(shape, data)?, false)
}

/// A value from 0 to 255, clamped and rounded.
pub(super) fn byte(value: f32) -> u8 {
    // A float-to-integer cast saturates, which is the clamp.
    value.round() as u8
}
