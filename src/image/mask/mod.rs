//! Masks: a class number a pixel, with names and colours.

use super::{Depth, Picture};
use crate::error::{Error, Result};
use crate::recipe::OutputRecipe;
use crate::tensor::{Shape, Tensor};

/// How much of a class colour an overlay shows.
const OPACITY: f32 = 0.5;

/// A class number for every pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    classes: Vec<u8>,
    colors: Vec<[u8; 3]>,
    names: Vec<String>,
}

impl Mask {
    /// Decides every pixel of a network's result `(1, channels, height, width)`.
    ///
    /// One channel: class 1 above the threshold, class 0 elsewhere. Several: the class of the largest value,
    /// the first of equals. Names and colours are the recipe's, else numbers and the PASCAL VOC colours.
    pub fn new(result: &Tensor, recipe: &OutputRecipe) -> Result<Mask> {
        let shape = result.shape();
        if shape.n != 1 || shape.c > 256 {
            return Err(Error::shape("mask", "one picture of at most 256 classes (or write .npy)", shape));
        }
        let classes = match shape.c {
            1 => result.data().iter().map(|&v| u8::from(v > recipe.threshold)).collect(),
            _ => largest(result),
        };
        let count = shape.c.max(2);
        let named = |i: usize| recipe.classes.get(i);
        let name = |i| named(i).map_or_else(|| format!("class {i}"), |class| class.name.clone());
        let color = |i| named(i).and_then(|class| class.color).unwrap_or_else(|| voc_color(i as u8));
        Ok(Mask {
            width: shape.w,
            height: shape.h,
            classes,
            colors: (0..count).map(color).collect(),
            names: (0..count).map(name).collect(),
        })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Class numbers, row by row.
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// Colours by class number.
    pub fn colors(&self) -> &[[u8; 3]] {
        &self.colors
    }

    /// Every class's name and share of the pixels in percent.
    pub fn shares(&self) -> Vec<(&str, f64)> {
        let mut counts = [0_usize; 256];
        self.classes.iter().for_each(|&class| counts[usize::from(class)] += 1);
        let percent = |count: usize| 100.0 * count as f64 / self.classes.len() as f64;
        self.names.iter().zip(counts).map(|(name, count)| (name.as_str(), percent(count))).collect()
    }

    /// The mask in its colours.
    pub fn to_picture(&self) -> Result<Picture> {
        self.paint(self.width, self.height, |_, color, _| color)
    }

    /// The colours laid half over a picture; black classes, such as VOC's background, leave it as it is.
    ///
    /// A mask of another size is stretched to the picture's.
    pub fn overlay(&self, picture: &Picture) -> Result<Picture> {
        let (w, h) = (picture.width(), picture.height());
        let rgb = picture.to_channels(crate::recipe::Channels::Rgb);
        let scale = 255.0 / picture.depth().white();
        self.paint(w, h, |class, color, i| match self.colors[class] {
            [0, 0, 0] => rgb.data()[i] * scale,
            _ => rgb.data()[i] * scale * (1.0 - OPACITY) + color * OPACITY,
        })
    }

    /// An RGB picture of `value(class, one part of its colour, flat index)`.
    fn paint(&self, w: usize, h: usize, value: impl Fn(usize, f32, usize) -> f32) -> Result<Picture> {
        let shape = Shape::new(1, 3, h, w);
        let planes = Tensor::from_fn(shape, |i| {
            let (c, y, x) = (i / (w * h), i / w % h, i % w);
            let class = usize::from(self.classes[y * self.height / h * self.width + x * self.width / w]);
            value(class, f32::from(self.colors[class][c]), i)
        });
        Picture::new(planes, Depth::Eight)
    }
}

/// The channel with the largest value, for every pixel.
fn largest(result: &Tensor) -> Vec<u8> {
    let mut best = result.plane(0, 0).to_vec();
    let mut classes = vec![0; best.len()];
    for c in 1..result.shape().c {
        for ((best, class), &v) in best.iter_mut().zip(&mut classes).zip(result.plane(0, c)) {
            if v > *best {
                (*best, *class) = (v, c as u8);
            }
        }
    }
    classes
}

/// The PASCAL VOC colour of a class: its bits, three at a time, from the colours' high bits down.
fn voc_color(class: u8) -> [u8; 3] {
    let bit = |place: u32| u32::from(class) >> place & 1;
    [0, 1, 2].map(|channel| (0..3).fold(0, |color, step| color | bit(3 * step + channel) << (7 - step)) as u8)
}
