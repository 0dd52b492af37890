//! What a network that fills holes gets: a mask, and something in place of the pixels that are missing.

use super::{InputRecipe, Step};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use serde::{Deserialize, Serialize};

/// The mask of a network that fills holes, and what its picture holds where pixels are missing. All values are on the
/// network's scale. Pixels that are known stay as they are in the result, whatever the network gives there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MaskRecipe {
    /// Where the mask is among the network's channels. A mask with an input of its own is the last.
    pub place: MaskPlace,
    /// The mask's value where a pixel is missing.
    pub hole: f64,
    /// The mask's value where a pixel is known.
    pub known: f64,
    /// What the picture's channels hold where a pixel is missing.
    pub fill: Fill,
}

setters!(MaskRecipe {
    with_place(place: MaskPlace),
    with_hole(hole: f64),
    with_known(known: f64),
    with_fill(fill: Fill),
});

impl Default for MaskRecipe {
    fn default() -> MaskRecipe {
        MaskRecipe { place: MaskPlace::Last, hole: 1.0, known: 0.0, fill: Fill::Values(vec![0.0]) }
    }
}

/// The place of the mask among the network's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskPlace {
    /// Before the picture's channels.
    First,
    /// After the picture's channels.
    Last,
}

/// What the channels of a picture hold where pixels are missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Fill {
    /// One number, or one for each channel.
    Values(Vec<f64>),
    /// The mean of the known pixels of each channel.
    Mean,
    /// What the file holds there.
    None,
}

/// A fill as it is written: a number, numbers, or a word.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, a list of numbers, \"mean\" or \"none\"")]
enum Written {
    Value(f64),
    Values(Vec<f64>),
    Word(Word),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Mean,
    None,
}

impl From<Written> for Fill {
    fn from(written: Written) -> Fill {
        match written {
            Written::Value(value) => Fill::Values(vec![value]),
            Written::Values(values) => Fill::Values(values),
            Written::Word(Word::Mean) => Fill::Mean,
            Written::Word(Word::None) => Fill::None,
        }
    }
}

impl From<Fill> for Written {
    fn from(fill: Fill) -> Written {
        match fill {
            Fill::Values(values) if values.len() == 1 => Written::Value(values[0]),
            Fill::Values(values) => Written::Values(values),
            Fill::Mean => Written::Word(Word::Mean),
            Fill::None => Written::Word(Word::None),
        }
    }
}

impl MaskRecipe {
    /// Checks its numbers, and that the input's steps look at each pixel by itself: statistics would depend on what
    /// lies in the hole.
    pub(super) fn check(&self, steps: &[Step]) -> Result<()> {
        let fill = if let Fill::Values(values) = &self.fill { &values[..] } else { &[] };
        let mut numbers = fill.iter().chain([&self.hole, &self.known]);
        if let Some(number) = numbers.find(|v| !(**v as f32).is_finite()) {
            return Err(Error::shape("the recipe's input.mask", "numbers that fit f32", number));
        }
        if self.fill == Fill::Values(Vec::new()) {
            return Err(Error::shape("the recipe's input.mask.fill", "a number", "none"));
        }
        if self.hole == self.known {
            let expected = "two values that tell a hole from what is known";
            return Err(Error::shape("the recipe's input.mask", expected, format!("{} for both", self.hole)));
        }
        match steps.iter().any(|step| !step.is_local()) {
            true => Err(Error::Model(
                "the recipe has input.mask and a step that measures the picture, hole and all; use fixed mean and std"
                    .into(),
            )),
            false => Ok(()),
        }
    }

    /// The network's input, `(1, channels + 1, h, w)`, from the normalised channels of a picture and its hole, `(1, 1, h,
    /// w)`, 1 where a pixel is missing. The fill must not be [`Fill::Mean`], which [`filled`](Self::filled) replaces.
    ///
    /// # Errors
    /// When there is neither one fill nor one for each channel, and for several pictures.
    pub fn join(&self, picture: &Tensor, hole: &Tensor) -> Result<Tensor> {
        let shape = picture.shape();
        if shape.n != 1 {
            return Err(Error::shape("an input with a hole", "one picture at a time", shape));
        }
        let is_hole = |i: usize| hole.data()[i] > 0.0;
        let values = if let Fill::Values(values) = &self.fill { &values[..] } else { &[] };
        if ![0, 1, shape.c].contains(&values.len()) {
            let expected = format!("1 or {} numbers", shape.c);
            return Err(Error::shape("the recipe's input.mask.fill", expected, values.len()));
        }
        let mut data = Vec::with_capacity((shape.c + 1) * shape.pixels());
        let mask = (0..shape.pixels()).map(|i| if is_hole(i) { self.hole } else { self.known } as f32);
        if self.place == MaskPlace::First {
            data.extend(mask.clone());
        }
        for c in 0..shape.c {
            let plane = picture.plane(0, c).iter().enumerate();
            match values.get(c).or(values.first()) {
                Some(&fill) => data.extend(plane.map(|(i, &v)| if is_hole(i) { fill as f32 } else { v })),
                None => data.extend(picture.plane(0, c)),
            }
        }
        if self.place == MaskPlace::Last {
            data.extend(mask);
        }
        Tensor::new(Shape { c: shape.c + 1, ..shape }, data)
    }

    /// The same recipe with the mean of the known pixels of this picture in place of [`Fill::Mean`]. `pass` calls its
    /// function with each band of the picture's values and of its hole.
    ///
    /// # Errors
    /// Errors of the pass and of normalising.
    pub fn filled(
        &self,
        input: &InputRecipe,
        pass: impl FnOnce(&mut dyn FnMut(&Tensor, &Tensor)) -> Result<()>,
    ) -> Result<MaskRecipe> {
        if self.fill != Fill::Mean {
            return Ok(self.clone());
        }
        let (mut sums, mut count) = (Vec::new(), 0.0f64);
        pass(&mut |values, hole| {
            sums.resize(values.shape().c, 0.0);
            for (c, sum) in sums.iter_mut().enumerate() {
                let pixels = values.plane(0, c).iter().zip(hole.data());
                *sum += pixels.filter(|(_, hole)| **hole == 0.0).map(|(&v, _)| f64::from(v)).sum::<f64>();
            }
            count += hole.data().iter().filter(|hole| **hole == 0.0).count() as f64;
        })?;
        let means = sums.iter().map(|sum| (sum / count.max(1.0)) as f32).collect();
        let mut pixel = Tensor::new(Shape::new(1, sums.len(), 1, 1), means)?;
        input.normalize(&mut pixel)?;
        let values = pixel.data().iter().map(|&v| f64::from(v)).collect();
        Ok(MaskRecipe { fill: Fill::Values(values), ..self.clone() })
    }
}
