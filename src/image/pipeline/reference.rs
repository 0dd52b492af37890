//! How near a result comes to a reference that somebody made.

use crate::error::{Error, Result, Setting};
use crate::image::{Decoded, Picture, Reference, Scores, Similarity, similarity};
use std::fmt;
use std::path::Path;

/// How near a result comes to its reference.
#[derive(Debug, Clone, PartialEq)]
pub enum Quality {
    /// Of a picture.
    Picture(Similarity),
    /// Of a mask, class by class.
    Mask(Scores),
}

impl Quality {
    /// Compares a result, rounded as its file has it, with a file.
    ///
    /// # Errors
    /// When the file cannot be read, has another size or no such classes; [`Error::Setting`] for scores.
    pub fn of(result: &Decoded, reference: &Path) -> Result<Quality> {
        match result {
            Decoded::Image(picture) => {
                Ok(Quality::Picture(similarity(&picture.rounded(), &Picture::open(reference)?)?))
            }
            Decoded::Mask(mask) => Ok(Quality::Mask(mask.scores(&Reference::open(reference, mask)?)?)),
            Decoded::Scores(_) => {
                let reason =
                    "it is compared with pictures and masks, the model gives class scores; leave it out";
                Err(Error::setting(Setting::Reference, reference, reason))
            }
        }
    }

    /// The figures by their names: `psnr`, `ssim`, or `iou` and `dice` as means over the classes.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        match self {
            Quality::Picture(Similarity { psnr, ssim }) => [("psnr", Some(*psnr)), ("ssim", *ssim)]
                .into_iter()
                .filter_map(|(n, v)| Some((n, v?)))
                .collect(),
            Quality::Mask(scores) => vec![("iou", scores.mean_iou()), ("dice", scores.mean_dice())],
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quality::Picture(similarity) => similarity.fmt(f),
            Quality::Mask(scores) => scores.fmt(f),
        }
    }
}
