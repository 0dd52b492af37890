//! Probabilities, and cut-outs of a picture by probability.

use super::Mask;
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::image::resample::{Filter, resize};
use crate::recipe::{Decode, OutputRecipe, Step};
use crate::tensor::{Shape, Tensor};

/// A network's result `(n, classes, h, w)` as probabilities: unchanged if
/// [`Model::gives_probabilities`](crate::Model::gives_probabilities) says so, else the sigmoid of one channel or the
/// softmax over several. Labels and regions do not exclude each other: the sigmoid of each channel.
///
/// # Errors
/// Only errors of the steps sigmoid and softmax.
pub fn probabilities(result: &Tensor, are_probabilities: bool, recipe: &OutputRecipe) -> Result<Tensor> {
    let mut result = result.clone();
    let exclude = recipe.decode != Some(Decode::Labels) && recipe.regions.is_empty();
    match result.shape().c {
        _ if are_probabilities => {}
        _ if !exclude => Step::Sigmoid.apply(&mut result, None)?,
        1 => Step::Sigmoid.apply(&mut result, None)?,
        _ => Step::Softmax.apply(&mut result, None)?,
    }
    Ok(result)
}

/// The picture with class 0 transparent, in its own colours and depth. Combined with its own opacity.
///
/// If one channel of the result holds probabilities, they become the opacity, so edges stay soft. What was removed
/// from the mask (by [`keep_largest`](Mask::keep_largest) or [`remove_small`](Mask::remove_small)) is transparent, and
/// so are faint spots that touch no pixel of the mask. A result of another size is resized to the picture's size.
///
/// # Errors
/// When the mask does not belong to the result.
pub fn cutout(picture: &Picture, result: &Tensor, mask: &Mask, are_probabilities: bool) -> Result<Picture> {
    let shape = result.shape();
    if [1, mask.height, mask.width] != [shape.n, shape.h, shape.w] {
        let expected = format!("one result of the mask's {}x{} pixels", mask.width, mask.height);
        return Err(Error::shape("cutout", expected, shape));
    }
    let opacity = match are_probabilities && shape.c == 1 {
        true => soft(result, mask),
        false => Tensor::from_fn(Shape { c: 1, ..shape }, |i| f32::from(mask.classes[i] != 0)),
    };
    let size = [picture.height(), picture.width()];
    let mut opacity = match size == [shape.h, shape.w] {
        true => opacity,
        false => resize(&opacity, size, Filter::Bilinear),
    };
    if let Some(own) = picture.alpha() {
        opacity.data_mut().iter_mut().zip(own.data()).for_each(|(opacity, own)| *opacity *= own);
    }
    picture.clone().with_alpha(Some(opacity))
}

/// Probabilities, 0 to 1, of belonging to the mask's regions.
fn soft(result: &Tensor, mask: &Mask) -> Tensor {
    let is_inside = |i: usize| mask.classes[i] != 0;
    // A pixel of class 0 with a higher probability than some pixel of the mask was removed from the mask.
    let least = (0..result.data().len()).filter(|&i| is_inside(i)).map(|i| result.data()[i]);
    let least = least.fold(f32::INFINITY, f32::min);
    let mut opacity = Tensor::from_fn(result.shape(), |i| match result.data()[i] {
        v if is_inside(i) || v < least => v.clamp(0.0, 1.0),
        _ => 0.0,
    });
    let visible = |v: f32| u16::from(v > 0.5 / 255.0);
    let mut spots = Mask {
        width: mask.width,
        height: mask.height,
        classes: opacity.data().iter().map(|&v| visible(v)).collect(),
        colors: mask.colors.clone(),
        names: mask.names.clone(),
        georeference: None,
    };
    spots.keep_touching(mask);
    let hidden = spots.classes.iter().zip(opacity.data_mut()).filter(|(class, _)| **class == 0);
    hidden.for_each(|(_, v)| *v = 0.0);
    opacity
}
