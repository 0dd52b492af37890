//! Decodes a network's result: a picture, a mask or class scores.

use super::picture::{bring, swapped};
use super::{Depth, Mask, Picture};
use crate::error::{Error, Result};
use crate::recipe::{Channels, Decode, Recipe};
use crate::tensor::Tensor;
use std::path::Path;

/// A decoded result.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// Grey or RGB.
    Image(Picture),
    /// One class for each pixel.
    Mask(Mask),
    /// The scores of an encoder-only network, highest first.
    Scores(Vec<Score>),
}

/// A class and its score.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// Name of the class, or its number if the recipe has none.
    pub class: String,
    /// The network's value for the class.
    pub score: f32,
}

impl Decoded {
    /// Decodes a result according to the recipe. Pictures get the given depth and its transfer function.
    ///
    /// # Errors
    /// When values are not finite, or when their channels do not match the recipe.
    pub fn new(result: &Tensor, recipe: &Recipe, depth: Depth) -> Result<Decoded> {
        check_result(result)?;
        let shape = result.shape();
        Ok(match recipe.decode(shape.c, shape.pixels()) {
            Decode::Image => {
                let scale = (recipe.output.scale * f64::from(depth.white()) / 255.0) as f32;
                let mut planes = Tensor::from_fn(shape, |i| result.data()[i] * scale);
                if let Some(transfer) = recipe.input.transfer {
                    bring(planes.data_mut(), depth.white(), [transfer, depth.transfer()]);
                }
                if recipe.input.channels == Some(Channels::Bgr) && (shape.n, shape.c) == (1, 3) {
                    planes = swapped(&planes);
                }
                Decoded::Image(Picture::new(planes, depth)?)
            }
            Decode::Mask | Decode::Classes | Decode::Labels => {
                Decoded::Mask(Mask::new(result, &recipe.output)?)
            }
            // In their own units, which are white's in no sense.
            Decode::Values => Decoded::Image(Picture::new(result.clone(), Depth::Float)?),
            Decode::Scores => Decoded::Scores(scores(result, recipe)?),
        })
    }

    /// The result as the bytes of a file of that name. Scores become text, one line `score<TAB>class` for each.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        match self {
            Decoded::Image(picture) => picture.encode(path),
            Decoded::Mask(mask) => mask.encode(path),
            Decoded::Scores(scores) => Ok(Score::table(scores).into_bytes()),
        }
    }
}

/// The numbers that decode to this picture.
pub(super) fn numbers_of(picture: &Picture, recipe: &Recipe) -> Tensor {
    let (depth, mut planes) = (picture.depth(), picture.planes().clone());
    if recipe.input.channels == Some(Channels::Bgr) && planes.shape().c == 3 {
        planes = swapped(&planes);
    }
    if let Some(transfer) = recipe.input.transfer {
        bring(planes.data_mut(), depth.white(), [depth.transfer(), transfer]);
    }
    let scale = (recipe.output.scale * f64::from(depth.white()) / 255.0) as f32;
    planes.data_mut().iter_mut().for_each(|v| *v /= scale);
    planes
}

impl Score {
    /// Scores as text, one line `score<TAB>class` for each.
    pub fn table(scores: &[Score]) -> String {
        scores.iter().map(|s| format!("{:.6}\t{}\n", s.score, s.class)).collect()
    }
}

/// Errors if a network's result is not finite.
pub(super) fn check_result(result: &Tensor) -> Result<()> {
    let what =
        "the network's result has numbers that are not finite (store numbers as f32, or check the weights)";
    result.check_finite().map_err(|_| Error::Model(what.into()))
}

fn scores(result: &Tensor, recipe: &Recipe) -> Result<Vec<Score>> {
    let shape = result.shape();
    if shape.n != 1 || shape.pixels() != 1 {
        return Err(Error::shape("scores", "one number for each class, (1,classes,1,1)", shape));
    }
    let name = |i: usize| {
        recipe.output.classes.get(i).map_or_else(|| format!("class {i}"), |class| class.name.clone())
    };
    let mut scores: Vec<Score> =
        result.data().iter().enumerate().map(|(i, &score)| Score { class: name(i), score }).collect();
    scores.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(scores)
}
