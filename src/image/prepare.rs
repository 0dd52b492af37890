//! Prepares a picture for a network: size and normalisation before it, output steps and size after it.

use super::Picture;
use super::decode::check_result;
use super::resample::{Filter, resize};
use crate::error::Result;
use crate::model::Model;
use crate::recipe::{Decode, Fit, Recipe, Step};
use crate::tensor::{Shape, Tensor};
use std::ops::Range;

/// A network's input, and what is needed to bring its result back to the picture.
#[derive(Debug, Clone)]
pub struct Prepared {
    tensor: Tensor,
    /// Height and width of the picture.
    own: [usize; 2],
    /// How the picture was fitted to the tensor's size; `None` if it had that size.
    fit: Option<Fit>,
    /// The values before normalisation, if an output step needs them.
    values: Option<Tensor>,
    /// The exposure factor of the picture, for the output step that undoes it.
    exposure: f64,
}

impl Prepared {
    /// Prepares a picture according to the model's recipe.
    ///
    /// # Errors
    /// Errors of [`Picture::values`] and [`Prepared::new`].
    pub fn picture(picture: &Picture, model: &Model) -> Result<Prepared> {
        Prepared::new(picture.values(&model.recipe.input, model.input_channels())?, model)
    }

    /// Prepares values in 8-bit units with the recipe's transfer function, NCHW. If the recipe has no size and the
    /// network takes only the size that it was exported for, the values are resized to it.
    ///
    /// # Errors
    /// When the recipe does not match the channels, cannot pad to its size, or sets the exposure of several pictures.
    pub fn new(values: Tensor, model: &Model) -> Result<Prepared> {
        let recipe = &model.recipe;
        recipe.check()?;
        let shape = values.shape();
        let own = [shape.h, shape.w];
        let mut wanted = recipe.input.fitted(own)?;
        let mut how = recipe.input.fit;
        if let Some(size) = model.exported_size()
            && size != wanted
            && model.graph(Shape { h: wanted[0], w: wanted[1], ..shape }).is_err()
        {
            (wanted, how) = (size, Fit::Resize);
        }
        let fit = (wanted != own).then_some(how);
        let (input, exposure) = recipe.input.exposed(&values)?;
        let mut tensor = match fit {
            None => values,
            Some(Fit::Resize) => resize(&values, wanted, Filter::Bicubic),
            Some(fit) => pad(&values, wanted, fit),
        };
        let needs_values = recipe.output.steps.iter().any(|step| matches!(step, Step::MatchInput { .. }));
        let values = needs_values.then(|| tensor.clone());
        input.normalize(&mut tensor)?;
        Ok(Prepared { tensor, own, fit, values, exposure })
    }

    /// Uses a network's input as it is.
    pub fn raw(tensor: Tensor) -> Prepared {
        let own = [tensor.shape().h, tensor.shape().w];
        Prepared { own, fit: None, values: Some(tensor.clone()), exposure: 1.0, tensor }
    }

    /// The network's input, NCHW.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// One line about the change of size, if there was one.
    pub fn note(&self) -> Option<String> {
        let how = match self.fit? {
            Fit::Resize => "resized",
            Fit::Zero | Fit::Edge | Fit::Reflect => "padded",
        };
        let (shape, [h, w]) = (self.tensor.shape(), self.own);
        Some(format!("{how} from {w}x{h} to {}x{} pixels for the network, the result back", shape.w, shape.h))
    }

    /// Applies the recipe's output steps to the result and brings it to the picture's own size, times the factor by
    /// which the network changes sizes.
    ///
    /// # Errors
    /// When the result is not finite, or the recipe does not match its channels.
    pub fn finish(&self, mut result: Tensor, recipe: &Recipe) -> Result<Tensor> {
        check_result(&result)?;
        let (x, y) = (self.tensor.shape(), result.shape());
        let own = result_size(self.own, x, y);
        let is_picture = y.pixels() > 1;
        if is_picture && self.fit.is_some_and(|fit| fit != Fit::Resize) {
            result = result.part(0..own[0], 0..own[1]);
        }
        recipe.output.with_exposure(self.exposure).apply(&mut result, self.values.as_ref())?;
        if is_picture && self.fit == Some(Fit::Resize) {
            let filter = match recipe.decode(y.c, y.pixels()) {
                Decode::Image => Filter::Bicubic,
                Decode::Mask | Decode::Scores => Filter::Bilinear,
            };
            result = resize(&result, own, filter);
        }
        Ok(result)
    }
}

/// Height and width of the result for a picture of size `own`, if the network makes `output` of `input`.
pub(super) fn result_size(own: [usize; 2], input: Shape, output: Shape) -> [usize; 2] {
    let scaled = |own: usize, x: usize, y: usize| (own * y).div_ceil(x).max(1);
    [scaled(own[0], input.h, output.h), scaled(own[1], input.w, output.w)]
}

/// Pads planes below and to the right.
fn pad(values: &Tensor, [h, w]: [usize; 2], fit: Fit) -> Tensor {
    padded_rows(values, 0, values.shape().h, 0..h, w, fit)
}

/// Rows of a padded picture whose own height is `height`. `values` holds the needed rows from `first` on.
pub(super) fn padded_rows(
    values: &Tensor,
    first: usize,
    height: usize,
    rows: Range<usize>,
    w: usize,
    fit: Fit,
) -> Tensor {
    let (shape, h) = (values.shape(), rows.len());
    let place = |i: usize, own: usize| match fit {
        _ if i < own => Some(i),
        Fit::Zero => None,
        Fit::Reflect if own > 1 => {
            let turn = i % (2 * own - 2);
            Some(turn.min(2 * own - 2 - turn))
        }
        Fit::Resize | Fit::Edge | Fit::Reflect => Some(own - 1),
    };
    let row = |i: usize| place(rows.start + i, height);
    Tensor::from_fn(Shape { h, w, ..shape }, |i| match (row(i / w % h), place(i % w, shape.w)) {
        (Some(y), Some(x)) => values.data()[(i / (h * w) * shape.h + y - first) * shape.w + x],
        _ => 0.0,
    })
}
