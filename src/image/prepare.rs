//! A picture on its way through a network: brought to the size that the network takes, normalised, and the result
//! brought back.

use super::Picture;
use super::decode::check_result;
use super::resample::{Filter, resize};
use crate::error::Result;
use crate::model::Model;
use crate::recipe::{Decode, Fit, Recipe, Step};
use crate::tensor::{Shape, Tensor};
use std::ops::Range;

/// What a network gets of a picture, and what its result needs to become the picture's.
#[derive(Debug, Clone)]
pub struct Prepared {
    tensor: Tensor,
    /// Height and width that the picture came with.
    own: [usize; 2],
    /// How it was brought to the tensor's height and width; `None` where it had them.
    fit: Option<Fit>,
    /// The values before they were normalised, where a step on the result asks for them.
    values: Option<Tensor>,
    /// The factor by which the picture was exposed, which a step on the result may undo.
    exposure: f64,
}

impl Prepared {
    /// Prepares a picture as the model's recipe says.
    ///
    /// # Errors
    /// Those of [`Picture::values`] and [`Prepared::new`].
    pub fn picture(picture: &Picture, model: &Model) -> Result<Prepared> {
        Prepared::new(picture.values(&model.recipe.input, model.input_channels())?, model)
    }

    /// Prepares values in the units of 8-bit pictures and of the recipe's transfer function, NCHW. Where the recipe asks
    /// for no size and the network takes only the one that it was exported for, they are resized to that.
    ///
    /// # Errors
    /// When the recipe does not fit the channels, cannot pad to its size, or exposes several pictures.
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

    /// Takes a network's input as it is.
    pub fn raw(tensor: Tensor) -> Prepared {
        let own = [tensor.shape().h, tensor.shape().w];
        Prepared { own, fit: None, values: Some(tensor.clone()), exposure: 1.0, tensor }
    }

    /// What the network gets, NCHW.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// A line that tells how the picture was brought to another size, where it was.
    pub fn note(&self) -> Option<String> {
        let how = match self.fit? {
            Fit::Resize => "resized",
            Fit::Zero | Fit::Edge | Fit::Reflect => "padded",
        };
        let (shape, [h, w]) = (self.tensor.shape(), self.own);
        Some(format!("{how} from {w}x{h} to {}x{} pixels for the network, the result back", shape.w, shape.h))
    }

    /// The result after the recipe's output steps, at the picture's own size, or as much larger or smaller as the
    /// network makes its pictures.
    ///
    /// # Errors
    /// When it holds numbers that are not finite, or the recipe does not fit its channels.
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

/// Height and width of a picture's result, where the network makes a result of `output` of an input of `input`.
pub(super) fn result_size(own: [usize; 2], input: Shape, output: Shape) -> [usize; 2] {
    let scaled = |own: usize, x: usize, y: usize| (own * y).div_ceil(x).max(1);
    [scaled(own[0], input.h, output.h), scaled(own[1], input.w, output.w)]
}

/// The planes with rows below and columns to the right.
fn pad(values: &Tensor, [h, w]: [usize; 2], fit: Fit) -> Tensor {
    padded_rows(values, 0, values.shape().h, 0..h, w, fit)
}

/// Rows of a padded picture of `height` own rows, of which `values` holds those from `first` on that are needed.
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
