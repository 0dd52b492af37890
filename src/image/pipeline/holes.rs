//! Networks that fill holes: where the hole of a picture comes from, what fills it, and what is told of it.

use super::bands::MEASURE_ROWS;
use super::source::of_file;
use super::{Job, OutputInfo, Pipeline, Report};
use crate::error::{Error, Result, Setting};
use crate::image::{Hole, Rows};
use crate::model::Model;
use crate::network::Role;
use crate::recipe::{Decode, InputRecipe, MaskPlace, MaskRecipe};
use std::path::Path;

impl Pipeline {
    /// The hole that the mask of a picture of that width and height names.
    pub(super) fn mask_of(&self, job: &Job, [width, height]: [usize; 2]) -> Result<Option<Hole>> {
        let Some(path) = &job.mask else { return Ok(None) };
        let refuse = |reason: String| Err(Error::setting(Setting::Mask, path, reason));
        if self.model.recipe.input.mask.is_none() {
            let reason =
                "this network takes no mask; leave it out, or describe it as [input.mask] in MODEL.toml";
            return refuse(reason.into());
        }
        let hole = Hole::open(path)?;
        if [hole.width(), hole.height()] != [width, height] {
            return refuse(format!(
                "it has {}x{} pixels, but {} has {width}x{height}; a mask has the size of its picture",
                hole.width(),
                hole.height(),
                job.input.display()
            ));
        }
        Ok(Some(hole))
    }

    /// The missing pixels of a picture of that width and height, if the network fills holes.
    pub(super) fn hole_of(&self, job: &Job, size: [usize; 2]) -> Result<Option<Hole>> {
        if job.mask.is_some() || self.model.recipe.input.mask.is_none() {
            return self.mask_of(job, size);
        }
        let hole = Hole::of_transparent_file(&job.input)?;
        hole.check_share().map_err(|error| of_file(error, &job.input))?;
        Ok(Some(hole))
    }

    /// The recipe of the mask with what fills this picture's hole.
    pub(super) fn filled(
        &self,
        path: &Path,
        hole: Option<&Hole>,
        recipe: &InputRecipe,
    ) -> Result<Option<MaskRecipe>> {
        let Some((mask, hole)) = recipe.mask.as_ref().zip(hole) else { return Ok(None) };
        let filled = mask.filled(recipe, |each| {
            let mut rows = Rows::open(path)?;
            (0..rows.height()).step_by(MEASURE_ROWS).try_for_each(|first| {
                let band = rows.next(MEASURE_ROWS)?;
                let hole = hole.rows(first..first + band.height());
                each(&band.values(recipe, self.model.picture_channels())?, &hole.tensor());
                Ok(())
            })
        })?;
        Ok(Some(filled))
    }
}

impl Report {
    /// A line about a hole that is larger than the network, or a tile, sees at once.
    pub(super) fn hole_note(&self, hole: &Hole, info: &OutputInfo) -> Option<String> {
        // In pixels of the picture.
        let seen = info.receptive_field.map(|field| field * hole.height() / self.input.h.max(1));
        if let Some(field) = seen.filter(|&field| hole.holds([field; 2])) {
            return Some(format!(
                "the network sees {field} pixels at once, and the hole is larger, so its middle is not derived from what is \
                 known (--size HEIGHTxWIDTH, or input.size in MODEL.toml, runs the network on a smaller picture)"
            ));
        }
        let [h, w] = self.core;
        let effect = match self.exact {
            true => "with the same result",
            false => "so tiles inside it know little of what is around it (--tile PIXELS makes tiles larger)",
        };
        (self.tiles > 1 && hole.holds(self.core))
            .then(|| format!("the hole is larger than the {w}x{h} pixels between tiles, {effect}"))
    }
}

/// Refuses a mask for a network that does not fill pictures.
pub(super) fn check_mask(model: &Model, info: &OutputInfo) -> Result<()> {
    let is_first = model.recipe.input.mask.as_ref().is_some_and(|mask| mask.place == MaskPlace::First);
    if is_first && model.signature().inputs.iter().any(|port| port.role == Role::Mask) {
        let expected = "no place, because the mask has an input of its own";
        return Err(Error::shape("the recipe's input.mask.place", expected, "first"));
    }
    let fills = info.decode == Decode::Image && matches!(info.channels, 1 | 3) && info.scale == 1.0;
    if model.recipe.input.mask.is_none() || fills && model.picture_channels() > 0 {
        return Ok(());
    }
    let expected = "a network that makes a picture of the same size from a picture and a mask";
    let got = format!("{} channels from {}", info.channels, model.input_channels());
    Err(Error::shape("the recipe's input.mask", expected, got))
}
