//! Compares a result with a reference.

use crate::error::{Error, Result, Setting};
use crate::image::{Decoded, Picture, Reference, Scores, Similarity, similarity};
use std::fmt;
use std::path::Path;

/// The similarity of a result to its reference.
#[derive(Debug, Clone, PartialEq)]
pub enum Quality {
    /// For a picture.
    Picture(Similarity),
    /// For a mask, class by class.
    Mask(Scores),
}

impl Quality {
    /// Compares a result, rounded as in its file, with a reference file.
    ///
    /// # Errors
    /// When the file cannot be read, or has another size or other classes; [`Error::Setting`] for scores.
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

    /// The figures by name: `psnr`, `ssim`, or `iou` and `dice` as means over the classes.
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
