//! Prepares a picture for a network: size and normalisation before it, output steps and size after it.

use super::decode::check_result;
use super::resample::{Filter, resize};
use super::{Depth, Hole, Picture};
use crate::error::{Error, Result, Setting};
use crate::graph::fraction;
use crate::model::Model;
use crate::network::proportion;
use crate::recipe::{Decode, Fit, Recipe, Size, Step};
use crate::tensor::{Shape, Tensor};
use std::ops::Range;

/// The share of a resized pixel that comes from missing ones from which on it is missing itself.
const TOUCHED: f32 = 1e-3;

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
    /// The values at the picture's own size, if the result is mixed with them.
    own_values: Option<Tensor>,
    /// Whether the picture has no values beyond black and white.
    limited: bool,
    /// The exposure factor of the picture, for the output step that undoes it.
    exposure: f64,
    /// Whether the size is the one that the file was exported for.
    exported: bool,
    /// By how much the network enlarges pictures, where its operators tell.
    growth: Option<f64>,
    /// Whether the recipe is left out.
    raw: bool,
}

impl Prepared {
    /// Prepares a picture according to the model's recipe.
    ///
    /// # Errors
    /// Errors of [`Picture::values`] and [`Prepared::new`].
    pub fn picture(picture: &Picture, model: &Model) -> Result<Prepared> {
        let values = picture.values(&model.recipe.input, model.picture_channels())?;
        let prepared = Prepared::with_hole(values, picture.hole(), model)?;
        Ok(Prepared { limited: picture.depth() != Depth::Float, ..prepared })
    }

    /// Prepares values in 8-bit units with the recipe's transfer function, NCHW. Without a size in the recipe, masks and
    /// measurements are computed at the size that the file was exported for, if it names one. Pictures keep their size;
    /// if the network takes only the exported one, smaller pictures are padded to it, and larger ones are cut into tiles
    /// ([`TiledSession`](crate::tiles::TiledSession)).
    ///
    /// # Errors
    /// When the recipe does not match the channels, cannot pad to its size, or sets the exposure of several pictures.
    pub fn new(values: Tensor, model: &Model) -> Result<Prepared> {
        Prepared::with_hole(values, None, model)
    }

    /// The same for a network that fills holes.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the recipe has a mask and there is no hole, or the other way round.
    pub fn with_hole(values: Tensor, hole: Option<&Hole>, model: &Model) -> Result<Prepared> {
        let recipe = &model.recipe;
        recipe.check()?;
        let shape = Shape { c: model.input_channels(), ..values.shape() };
        let mask = match (&recipe.input.mask, hole) {
            (Some(mask), Some(hole)) => {
                hole.check([shape.w, shape.h])?;
                let hole = hole.tensor();
                let mask = mask.filled(&recipe.input, |each| {
                    each(&values, &hole);
                    Ok(())
                })?;
                Some((mask, hole))
            }
            (None, None) => None,
            (Some(_), None) => {
                return Err(no_hole("the network fills holes: give a mask (white is the hole)"));
            }
            (None, Some(_)) => return Err(no_hole("the network takes no mask; leave it out")),
        };
        let own = [shape.h, shape.w];
        let (wanted, how, exported) = size(model, shape)?;
        let fit = (wanted != own).then_some(how);
        let (input, exposure) = recipe.input.exposed(&values)?;
        let own_values = (recipe.output.strength < 1.0).then(|| values.clone());
        let mut tensor = match fit {
            None => values,
            Some(Fit::Resize) => {
                resize(&values, wanted, recipe.input.filter.map_or(Filter::Bicubic, Filter::from))
            }
            Some(fit) => pad(&values, wanted, fit),
        };
        let needs_values = recipe.output.steps.iter().any(|step| matches!(step, Step::MatchInput { .. }));
        let values = needs_values.then(|| tensor.clone());
        input.normalize(&mut tensor)?;
        if model.takes_whole_numbers() {
            tensor.data_mut().iter_mut().for_each(|v| *v = v.round().max(0.0));
        }
        if let Some((mask, hole)) = mask {
            tensor = mask.join(&tensor, &fitted_hole(hole, wanted, fit))?;
        }
        let limited = false;
        let growth = model.growth();
        Ok(Prepared { tensor, own, fit, values, own_values, limited, exposure, exported, growth, raw: false })
    }

    /// Uses a network's input as it is. Its result is not changed either.
    pub fn raw(tensor: Tensor) -> Prepared {
        let own = [tensor.shape().h, tensor.shape().w];
        Prepared {
            own,
            fit: None,
            values: None,
            own_values: None,
            limited: false,
            exposure: 1.0,
            tensor,
            exported: false,
            growth: None,
            raw: true,
        }
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
        let why = match self.exported {
            true => " (the size of the file; --size, or input.size in MODEL.toml, changes it)",
            false => "",
        };
        Some(format!(
            "{how} from {w}x{h} to {}x{} pixels for the network, the result back{why}",
            shape.w, shape.h
        ))
    }

    /// Applies the recipe's output steps to the result and brings it to the picture's own size, times the factor by
    /// which the network enlarges pictures. Smaller masks and measurements get the picture's size.
    ///
    /// # Errors
    /// When the result is not finite, when its size is not in proportion to the input's, or when the recipe does not
    /// match its channels.
    pub fn finish(&self, mut result: Tensor, recipe: &Recipe) -> Result<Tensor> {
        check_result(&result)?;
        if self.raw {
            return Ok(result);
        }
        let (x, y) = (self.tensor.shape(), result.shape());
        check_proportion(x, y, self.growth)?;
        let decode = recipe.decode(y.c, y.pixels());
        let mut own = result_size(self.own, x, y);
        let is_picture = y.pixels() > 1;
        if is_picture && self.fit.is_some_and(|fit| fit != Fit::Resize) {
            result = result.part(0..own[0], 0..own[1]);
        }
        recipe.output.with_exposure(self.exposure).apply(&mut result, self.values.as_ref())?;
        let filter = match decode {
            Decode::Image => Filter::Bicubic,
            Decode::Classes => Filter::Nearest,
            Decode::Mask | Decode::Labels | Decode::Values | Decode::Scores => {
                recipe.input.filter.map_or(Filter::Bilinear, Filter::from)
            }
        };
        if decode != Decode::Image && own[0] <= self.own[0] && own[1] <= self.own[1] {
            own = self.own;
        }
        if is_picture && own != [result.shape().h, result.shape().w] {
            result = resize(&result, own, filter);
        }
        if let Some(values) = &self.own_values {
            recipe.output.mix(&mut result, values, self.limited);
        }
        Ok(result)
    }
}

/// The error of a hole that is not asked for, or is missing.
fn no_hole(reason: &str) -> Error {
    Error::Setting { setting: Setting::Mask, path: None, reason: reason.into() }
}

/// A hole, `(1, 1, h, w)`, brought to the network's size as its picture is. Resized pixels are missing if missing ones
/// are part of them.
fn fitted_hole(hole: Tensor, size: [usize; 2], fit: Option<Fit>) -> Tensor {
    match fit {
        None => hole,
        Some(Fit::Resize) => {
            let mut hole = resize(&hole, size, Filter::Bicubic);
            hole.data_mut().iter_mut().for_each(|v| *v = f32::from(u8::from(v.abs() > TOUCHED)));
            hole
        }
        Some(fit) => pad(&hole, size, fit),
    }
}

/// Height and width of the network's input for a picture, how the picture is brought to it, and whether it is the size
/// that the file was exported for.
fn size(model: &Model, picture: Shape) -> Result<([usize; 2], Fit, bool)> {
    let input = &model.recipe.input;
    let own = [picture.h, picture.w];
    let wanted = input.fitted(own)?;
    let is_said = input.multiple.is_some() || input.size.and_then(Size::fixed).is_some();
    let Some(exported) = model.exported_size().filter(|size| *size != wanted) else {
        return Ok((wanted, input.fit, false));
    };
    let keeps_scale = input.size == Some(Size::Native) || model.decode()? == Decode::Image;
    if !is_said && !keeps_scale {
        return Ok((exported, Fit::Resize, true));
    }
    let [h, w] = wanted;
    if model.graph(Shape { h, w, ..picture }).is_ok() {
        return Ok((wanted, input.fit, false));
    }
    if is_said {
        return Ok((exported, Fit::Resize, true));
    }
    // Tiles of the exported size; a smaller picture is one. The result of each begins at a whole pixel.
    let [_, step] = model.growth().and_then(fraction).unwrap_or([1; 2]);
    let least = |at: usize| exported[at] + own[at].saturating_sub(exported[at]).next_multiple_of(step);
    Ok(([least(0), least(1)], Fit::Reflect, true))
}

/// Refuses a result whose rows and columns are not in proportion to the network's input: a crop, or a fixed size.
pub(super) fn check_proportion(x: Shape, y: Shape, growth: Option<f64>) -> Result<()> {
    if y.pixels() == 1 || proportion([y.h, y.w], [x.h, x.w], growth).is_some() {
        return Ok(());
    }
    // What a network that enlarges pictures this many times takes off on each side of its input.
    let border = |factor: usize| {
        let lost =
            (factor * x.h).checked_sub(y.h).filter(|lost| Some(*lost) == (factor * x.w).checked_sub(y.w))?;
        (lost % (2 * factor) == 0 && lost < factor * x.h / 2).then(|| lost / (2 * factor))
    };
    let what = match (1..=4).find_map(border) {
        Some(border) => format!(
            "{}x{}, as convolutions without padding give it; set border = {border} under [input] in MODEL.toml",
            y.h, y.w
        ),
        None => format!("{}x{}; its file cuts or fixes sizes, so export it without, or use --raw", y.h, y.w),
    };
    let expected = format!("the size of the input, {}x{}, or a whole number of times more or less", x.h, x.w);
    Err(Error::shape("the network's result", expected, what))
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
