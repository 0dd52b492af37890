//! What a file holds: made of an outcome, and encoded.

use super::{Outcome, Pipeline, Target, TargetKind};
use crate::error::{Error, Result};
use crate::image::decode::numbers_of;
use crate::image::{
    Decoded, Depth, Format, Mask, Picture, Score, Statistics, cutout, encode_npy, opacity, probabilities,
    side_by_side,
};
use crate::recipe::Decode;
use crate::tensor::Tensor;
use std::path::Path;

/// The contents of a file, made of an outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Artifact {
    /// A picture.
    Picture(Picture),
    /// A class for each pixel.
    Mask(Mask),
    /// A mask for each of several labels that may overlap.
    Labels(Vec<Mask>),
    /// Class scores, highest first.
    Scores(Vec<Score>),
    /// Numbers, NCHW.
    Numbers(Tensor),
    /// A table.
    Statistics(Statistics),
}

impl Artifact {
    /// What a file of that name cannot hold.
    pub(super) fn loss(&self, path: &Path) -> Option<String> {
        let Artifact::Picture(picture) = self else { return None };
        let lost = picture.alpha().is_some() && !Format::of(path).is_ok_and(Format::holds_alpha);
        lost.then(|| format!("{}: such files hold no transparency; it was dropped", path.display()))
    }

    /// The bytes of a file of that name.
    ///
    /// # Errors
    /// When the format cannot hold the contents.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        match self {
            Artifact::Picture(picture) => picture.encode(path),
            Artifact::Mask(mask) => mask.encode(path),
            Artifact::Labels(_) => {
                let message = "labels that overlap are several masks; end the name in .tiff or .npy";
                Err(Error::Usage(format!("{}: {message}", path.display())))
            }
            Artifact::Scores(scores) => Ok(Score::table(scores).into_bytes()),
            Artifact::Numbers(tensor) => Ok(encode_npy(tensor)),
            Artifact::Statistics(table) => {
                match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
                    true => Ok(table.to_json().into_bytes()),
                    false => Ok(table.to_csv().into_bytes()),
                }
            }
        }
    }
}

impl Pipeline {
    /// Makes one target from an outcome and its decoded result. Drawings of several classes get the pipeline's legend
    /// below them, unless they have a place on the earth.
    ///
    /// # Errors
    /// [`Error::Setting`] when the result is of another kind, or when the target needs a picture and the input was
    /// none.
    pub fn make(&self, target: &Target, outcome: &Outcome, decoded: Option<&Decoded>) -> Result<Artifact> {
        let made = self.make_plain(target, outcome, decoded, true)?;
        let is_drawing =
            matches!(target.kind, TargetKind::Overlay | TargetKind::Contours | TargetKind::Compare);
        match (made, decoded, &self.options.legend) {
            (Artifact::Picture(drawing), Some(Decoded::Mask(mask)), Some(legend))
                if is_drawing && drawing.georeference().is_none() =>
            {
                Ok(Artifact::Picture(match (legend.0)(mask, drawing.width())? {
                    Some(legend) => Picture::stacked(&[drawing, legend])?,
                    None => drawing,
                }))
            }
            (made, ..) => Ok(made),
        }
    }

    /// The same without a legend. For a picture in bands, `is_whole` is false, and edges of cut-outs keep their colours.
    pub(super) fn make_plain(
        &self,
        target: &Target,
        outcome: &Outcome,
        decoded: Option<&Decoded>,
        is_whole: bool,
    ) -> Result<Artifact> {
        let refuse = |reason: &str| Error::setting(target.kind.setting(), &target.path, reason);
        let no_picture = "this shows the input, which is no picture of 1 or 3 channels; leave it out";
        let shown = if target.kind.needs_picture() { outcome.shown()? } else { None };
        let picture = || shown.as_deref().ok_or_else(|| refuse(no_picture));
        let place = outcome.picture.as_ref().and_then(Picture::georeference);
        let drawing = |drawing: Picture| Artifact::Picture(drawing.with_georeference(place.cloned()));
        let decode = self.output_info.decode;
        Ok(match (target.kind, decoded) {
            (TargetKind::Result, _) if target.is_numbers() => Artifact::Numbers(self.numbers(outcome)?),
            (TargetKind::Result, Some(Decoded::Image(result)))
                if decode == Decode::Values && !target.holds_floats() =>
            {
                Artifact::Picture(stretched(result)?)
            }
            (TargetKind::Result, Some(Decoded::Image(result))) => Artifact::Picture(result.clone()),
            (TargetKind::Result, Some(Decoded::Mask(_))) if decode == Decode::Labels => {
                Artifact::Labels(self.labels(outcome)?)
            }
            (TargetKind::Result | TargetKind::LabelMap, Some(Decoded::Mask(mask))) => {
                Artifact::Mask(mask.clone())
            }
            (TargetKind::Result, Some(Decoded::Scores(scores))) => Artifact::Scores(scores.clone()),
            (TargetKind::Probabilities, _) => Artifact::Numbers(probabilities(
                &outcome.result,
                self.output_info.probabilities,
                &self.model.recipe.output,
            )?),
            (TargetKind::Overlay, Some(Decoded::Mask(mask))) => drawing(mask.overlay(picture()?)?),
            (TargetKind::Contours, Some(Decoded::Mask(mask))) => drawing(mask.contours(picture()?)?),
            (TargetKind::Cutout, Some(Decoded::Mask(mask))) => {
                let (result, recipe) = (&outcome.result, &self.model.recipe.output);
                let opacity = opacity(result, mask, &self.kept, self.output_info.probabilities, recipe)?;
                let cut = cutout(picture()?, opacity, self.options.clean_edges && is_whole)?;
                Artifact::Picture(match &self.options.backdrop {
                    Some(backdrop) => cut.over(backdrop)?,
                    None => cut,
                })
            }
            (TargetKind::Compare, Some(Decoded::Image(result))) if decode == Decode::Values => {
                Artifact::Picture(side_by_side(&[picture()?, &stretched(result)?])?)
            }
            (TargetKind::Compare, Some(Decoded::Image(result))) => {
                Artifact::Picture(side_by_side(&[&picture()?.with_hole_shown()?, result])?)
            }
            (TargetKind::Compare, Some(Decoded::Mask(mask))) => {
                Artifact::Picture(side_by_side(&[picture()?, &mask.overlay(picture()?)?])?)
            }
            (TargetKind::Statistics, Some(Decoded::Mask(mask))) if decode == Decode::Labels => {
                Artifact::Statistics(mask.statistics_of(&self.labels(outcome)?))
            }
            (TargetKind::Statistics, Some(Decoded::Mask(mask))) => Artifact::Statistics(mask.statistics()),
            _ => return Err(refuse("the model gives nothing that this is made of; leave it out")),
        })
    }

    /// The decoded result, if one of the targets needs it.
    pub(super) fn decoded_for<'a>(
        &self,
        outcome: &Outcome,
        mut targets: impl Iterator<Item = &'a Target>,
    ) -> Result<Option<Decoded>> {
        let wanted = targets.any(|target| !target.is_numbers() && target.kind != TargetKind::Probabilities);
        wanted.then(|| self.decode(outcome)).transpose()
    }

    /// A mask for each label, after the options' clean-up.
    fn labels(&self, outcome: &Outcome) -> Result<Vec<Mask>> {
        let masks = Mask::of_labels(&outcome.result, &self.model.recipe.output)?;
        Ok(masks.into_iter().map(|mask| self.cleaned(mask)).collect())
    }

    /// The numbers of a result. If the picture has a hole, its known pixels keep their values.
    fn numbers(&self, outcome: &Outcome) -> Result<Tensor> {
        let has_hole = outcome.picture.as_ref().is_some_and(|picture| picture.hole().is_some());
        match if has_hole { Some(self.decode(outcome)?) } else { None } {
            Some(Decoded::Image(picture)) => Ok(numbers_of(&picture, &self.model.recipe)),
            _ => Ok(outcome.result.clone()),
        }
    }
}

/// The smallest and the largest value.
pub(super) fn range(tensor: &Tensor) -> [f32; 2] {
    let fold = |start, f: fn(f32, f32) -> f32| tensor.data().iter().copied().fold(start, f);
    [fold(f32::INFINITY, f32::min), fold(f32::NEG_INFINITY, f32::max)]
}

/// Measurements as a picture of 16 bits, from black to white.
fn stretched(values: &Picture) -> Result<Picture> {
    let [low, high] = range(values.planes());
    let span = if high > low { high - low } else { 1.0 };
    let planes = values.planes();
    let stretch = |i: usize| (planes.data()[i] - low) / span * Depth::Sixteen.white();
    Picture::new(Tensor::from_fn(planes.shape(), stretch), Depth::Sixteen)
}
