//! A picture or an array, prepared for the network.

use crate::error::{Error, Result};
use crate::image::{Depth, Hole, Picture, Prepared};
use crate::model::Model;
use crate::tensor::Tensor;

/// A picture or an array, and the network's input made of it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The picture; `None` for arrays that are not pictures.
    pub picture: Option<Picture>,
    /// The network's input.
    pub prepared: Prepared,
}

impl Input {
    /// Prepares a picture according to the model's recipe.
    ///
    /// # Errors
    /// Errors of [`Prepared::picture`].
    pub fn picture(picture: Picture, model: &Model) -> Result<Input> {
        let picture = if model.recipe.input.mask.is_some() { picture.with_missing()? } else { picture };
        let prepared = Prepared::picture(&picture, model)?;
        let mut notes = picture.input_notes(&model.recipe.input, model.picture_channels());
        notes.extend(picture.hole().into_iter().flat_map(Hole::notes));
        let picture = notes.iter().fold(picture, |picture, note| picture.with_note(Some(note)));
        Ok(Input { picture: Some(picture), prepared })
    }

    /// Prepares an array NCHW. Its values count from 0 to 255 or, with `raw`, are those of the network.
    ///
    /// # Errors
    /// Errors of [`Prepared::new`]; [`Error::NonFinite`]; [`Error::Shape`] if the channels differ from the network's.
    pub fn array(tensor: Tensor, raw: bool, model: &Model) -> Result<Input> {
        Input::array_with(tensor, None, raw, model)
    }

    /// The same for an array with missing pixels.
    pub(super) fn array_with(
        mut tensor: Tensor,
        hole: Option<Hole>,
        raw: bool,
        model: &Model,
    ) -> Result<Input> {
        if let Some(value) = model.recipe.input.nodata.filter(|_| !raw) {
            tensor.data_mut().iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = value as f32);
        }
        tensor.check_finite()?;
        let wanted = if raw { model.input_channels() } else { model.picture_channels() };
        let got = tensor.shape().c;
        if got != wanted {
            return Err(Error::shape("array", format!("{wanted} channels, as the network takes"), got));
        }
        if raw {
            return Ok(Input { picture: None, prepared: Prepared::raw(tensor) });
        }
        hole.as_ref().map_or(Ok(()), Hole::check_share)?;
        let prepared = Prepared::with_hole(tensor.clone(), hole.as_ref(), model)?;
        let picture = Picture::new(tensor, Depth::Sixteen).ok().map(|picture| picture.with_hole(hole));
        Ok(Input { picture: picture.transpose()?, prepared })
    }
}
