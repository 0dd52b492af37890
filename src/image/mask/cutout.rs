//! Probabilities, and cut-outs of a picture by probability.

use super::{Mask, foreground};
use crate::error::{Error, Result, Setting};
use crate::image::Picture;
use crate::image::resample::{Filter, resize};
use crate::recipe::{Decode, OutputRecipe, Step};
use crate::tensor::{Shape, Tensor};

/// Why there is no cut-out.
pub(in crate::image) const NO_BACKGROUND: &str = "none of the model's classes is called background; name the classes to \
                                                  keep with --keep, or background = \"NAME\" under [output] in MODEL.toml";

/// Opacity that no 8-bit file shows.
const INVISIBLE: f32 = 0.5 / 255.0;

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

/// The opacity, 0 to 1, of each pixel of a cut-out, `(1, 1, h, w)`: the probability that it belongs to one of the classes
/// `kept` or, if there are none, to any but the [background](Mask::background). The threshold does not matter, so edges
/// and hair stay soft. Where the network gives class numbers, it is 0 or 1.
///
/// What was removed from the mask (by [`keep_largest`](Mask::keep_largest) or [`remove_small`](Mask::remove_small)) is
/// transparent, and so are faint spots that then touch no pixel of the mask.
///
/// # Errors
/// When the mask does not belong to the result, and [`Error::Setting`] when no class is kept and none is the background.
pub fn opacity(
    result: &Tensor,
    mask: &Mask,
    kept: &[u16],
    are_probabilities: bool,
    recipe: &OutputRecipe,
) -> Result<Tensor> {
    let shape = result.shape();
    if [1, mask.height, mask.width] != [shape.n, shape.h, shape.w] {
        let expected = format!("one result of the mask's {}x{} pixels", mask.width, mask.height);
        return Err(Error::shape("cutout", expected, shape));
    }
    let background = mask.background();
    if background.is_none() && kept.is_empty() {
        let reason = NO_BACKGROUND.into();
        return Err(Error::Setting { setting: Setting::Cutout, path: None, reason });
    }
    let is_object = |class: u16| match kept {
        [] => Some(class) != background,
        kept => kept.contains(&class),
    };
    let opaque = Shape { c: 1, ..shape };
    let painted = Mask::new(result, recipe)?;
    let is_exclusive = shape.c > 1 && recipe.decode != Some(Decode::Labels) && recipe.regions.is_empty();
    // The class that a channel stands for. Of one channel, of labels and of regions, class 0 is where none is.
    let class = |c: usize| match (recipe.regions.get(c), is_exclusive) {
        (Some(class), _) => *class,
        (None, true) => c as u16,
        (None, false) => c as u16 + 1,
    };
    let mut opacity = match recipe.decode {
        Some(Decode::Classes) => Tensor::from_fn(opaque, |i| f32::from(is_object(painted.classes[i]))),
        _ => {
            let values = probabilities(result, are_probabilities, recipe)?;
            let channels = (0..shape.c).filter(|&c| is_object(class(c)));
            let planes: Vec<&[f32]> = channels.map(|c| values.plane(0, c)).collect();
            // One of the classes; or any of labels and regions, which may overlap.
            match is_exclusive {
                true => Tensor::from_fn(opaque, |i| planes.iter().map(|plane| plane[i]).sum()),
                false => {
                    let most = |i: usize, planes: &[&[f32]]| planes.iter().map(|v| v[i]).fold(0.0, f32::max);
                    let all: Vec<&[f32]> = (0..shape.c).map(|c| values.plane(0, c)).collect();
                    let rest = |i: usize| if is_object(0) { 1.0 - most(i, &all) } else { 0.0 };
                    Tensor::from_fn(opaque, |i| most(i, &planes).max(rest(i)))
                }
            }
        }
    };
    opacity.data_mut().iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    if painted.classes != mask.classes {
        mask.keep_in(&mut opacity, &painted, is_object);
    }
    Ok(opacity)
}

/// The picture with an opacity `(1, 1, h, w)`, in its own depth. Combined with its own opacity. An opacity of another
/// size is resized to the picture's size.
///
/// With `cleaned`, pixels that are partly transparent get the colour of the [foreground] alone, so that nothing of
/// the old background shows on a new one. Opaque pixels keep their colours to the bit.
///
/// # Errors
/// When the opacity is not that of one picture.
pub fn cutout(picture: &Picture, mut opacity: Tensor, cleaned: bool) -> Result<Picture> {
    let size = [picture.height(), picture.width()];
    if size != [opacity.shape().h, opacity.shape().w] {
        opacity = resize(&opacity, size, Filter::Bilinear);
    }
    let picture = if cleaned { foreground(picture, &opacity)? } else { picture.clone() };
    if let Some(own) = picture.alpha() {
        opacity.data_mut().iter_mut().zip(own.data()).for_each(|(opacity, own)| *opacity *= own);
    }
    picture.with_alpha(Some(opacity))
}

impl Mask {
    /// Makes transparent what was removed from this mask since it was `painted`, and faint spots that are then left
    /// alone.
    fn keep_in(&self, opacity: &mut Tensor, painted: &Mask, is_object: impl Fn(u16) -> bool) {
        let values = opacity.data_mut();
        for (v, (now, before)) in values.iter_mut().zip(self.classes.iter().zip(&painted.classes)) {
            if is_object(*before) && !is_object(*now) {
                *v = 0.0;
            }
        }
        let mut spots = Mask {
            width: self.width,
            height: self.height,
            classes: values.iter().map(|&v| u16::from(v > INVISIBLE)).collect(),
            colors: vec![[0; 3]; 2],
            names: vec!["background".into(), "spot".into()],
            roles: Default::default(),
            georeference: None,
        };
        spots.keep_touching(self, is_object);
        values.iter_mut().zip(&spots.classes).filter(|(_, kept)| **kept == 0).for_each(|(v, _)| *v = 0.0);
    }
}
