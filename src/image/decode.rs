//! What a network's numbers mean: a picture, a mask or class scores.

use super::picture::{bring, swapped};
use super::{Depth, Mask, Picture};
use crate::error::{Error, Result};
use crate::recipe::{Channels, Decode, Recipe};
use crate::tensor::Tensor;
use std::path::Path;

/// A result that a person can look at.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// Grey or RGB.
    Image(Picture),
    /// A class a pixel.
    Mask(Mask),
    /// The classes of an encoder-only network, best first.
    Scores(Vec<Score>),
}

/// A class and its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Name, or number when the recipe has none.
    pub class: String,
    /// The network's number.
    pub score: f32,
}

impl Decoded {
    /// Decodes a result as the recipe says, pictures to that depth and its transfer function.
    ///
    /// # Errors
    /// When the numbers are not finite or their channels do not fit the recipe.
    pub fn new(result: &Tensor, recipe: &Recipe, depth: Depth) -> Result<Decoded> {
        check_result(result)?;
        let shape = result.shape();
        Ok(match recipe.decode(shape.c, shape.pixels()) {
            Decode::Image => {
                let scale = (recipe.output.scale * f64::from(depth.white()) / 255.0) as f32;
                let mut planes = Tensor::from_fn(shape, |i| result.data()[i] * scale);
                if let Some(transfer) = recipe.input.transfer {
                    bring(&mut planes, depth.white(), [transfer, depth.transfer()]);
                }
                if recipe.input.channels == Some(Channels::Bgr) && (shape.n, shape.c) == (1, 3) {
                    planes = swapped(&planes);
                }
                Decoded::Image(Picture::new(planes, depth)?)
            }
            Decode::Mask => Decoded::Mask(Mask::new(result, &recipe.output)?),
            Decode::Scores => Decoded::Scores(scores(result, recipe)?),
        })
    }

    /// The result as the bytes of a file with that name; scores as text, `score<TAB>class` a line.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        match self {
            Decoded::Image(picture) => picture.encode(path),
            Decoded::Mask(mask) => mask.encode(path),
            Decoded::Scores(scores) => Ok(Score::table(scores).into_bytes()),
        }
    }
}

impl Score {
    /// Scores as text, `score<TAB>class` a line.
    pub fn table(scores: &[Score]) -> String {
        scores.iter().map(|s| format!("{:.6}\t{}\n", s.score, s.class)).collect()
    }
}

/// Errors when a network's numbers are not finite.
pub(super) fn check_result(result: &Tensor) -> Result<()> {
    let what =
        "the network's result has numbers that are not finite (use --precision f32, or check the weights)";
    result.check_finite().map_err(|_| Error::Model(what.into()))
}

fn scores(result: &Tensor, recipe: &Recipe) -> Result<Vec<Score>> {
    let shape = result.shape();
    if shape.n != 1 || shape.pixels() != 1 {
        return Err(Error::shape("scores", "one number a class, (1,classes,1,1)", shape));
    }
    let name = |i: usize| {
        recipe.output.classes.get(i).map_or_else(|| format!("class {i}"), |class| class.name.clone())
    };
    let mut scores: Vec<Score> =
        result.data().iter().enumerate().map(|(i, &score)| Score { class: name(i), score }).collect();
    scores.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(scores)
}
