//! Compares a result with a reference.

use crate::error::{Error, Result, Setting};
use crate::image::{Decoded, Hole, Picture, Reference, Scores, Similarity, psnr_within, similarity};
use std::fmt;
use std::path::Path;

/// The similarity of a result to its reference.
#[derive(Debug, Clone, PartialEq)]
pub enum Quality {
    /// For a picture.
    Picture(Similarity),
    /// For a picture whose hole was filled: PSNR in dB over the hole alone, the hole's share of the picture, and the
    /// similarity of the whole.
    Filled {
        /// PSNR over the hole.
        hole: f64,
        /// The share of the picture that is hole.
        share: f64,
        /// Over the whole picture.
        whole: Similarity,
    },
    /// For a mask, class by class.
    Mask(Scores),
}

impl Quality {
    /// Compares a result, rounded as in its file, with a reference file. `hole` is that of the input, if it had one.
    ///
    /// # Errors
    /// When the file cannot be read, or has another size or other classes; [`Error::Setting`] for scores.
    pub fn of(result: &Decoded, hole: Option<&Hole>, reference: &Path) -> Result<Quality> {
        match result {
            Decoded::Image(picture) => {
                let (picture, reference) = (picture.rounded(), Picture::open(reference)?);
                let whole = similarity(&picture, &reference)?;
                let Some(hole) = hole else { return Ok(Quality::Picture(whole)) };
                let share = hole.pixels() as f64 / (picture.width() * picture.height()) as f64;
                Ok(Quality::Filled { hole: psnr_within(hole, &picture, &reference)?, share, whole })
            }
            Decoded::Mask(mask) => Ok(Quality::Mask(mask.scores(&Reference::open(reference, mask)?)?)),
            Decoded::Scores(_) => {
                let reason =
                    "it is compared with pictures and masks, the model gives class scores; leave it out";
                Err(Error::setting(Setting::Reference, reference, reason))
            }
        }
    }

    /// The figures by name: `psnr`, `ssim` (and `psnr_hole`), or `iou` and `dice` as means over the classes.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        match self {
            Quality::Picture(similarity) => similarity.figures(),
            Quality::Filled { hole, whole, .. } => {
                let mut figures = whole.figures();
                figures.insert(0, ("psnr_hole", *hole));
                figures
            }
            Quality::Mask(scores) => vec![("iou", scores.mean_iou()), ("dice", scores.mean_dice())],
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quality::Picture(similarity) => similarity.fmt(f),
            Quality::Filled { hole, share, whole } => {
                let percent = 100.0 * share;
                write!(f, "hole ({percent:.1} % of the picture): PSNR {hole:.2} dB; whole picture: {whole}")
            }
            Quality::Mask(scores) => scores.fmt(f),
        }
    }
}
