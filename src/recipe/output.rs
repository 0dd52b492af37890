//! From the network's output to a result.

use super::{Class, Step};
use crate::error::Result;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// From the network's output to a result: the steps in order, then decoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OutputRecipe {
    /// The output that is the result: its name, or its place in the file, from 0. If absent, sizes, names and places of
    /// the outputs decide.
    #[serde(deserialize_with = "super::classes::name")]
    pub name: Option<String>,
    /// Steps on the network's output, in order.
    pub steps: Vec<Step>,
    /// What the output means. If absent, the end of the network decides, or else its channels.
    pub decode: Option<Decode>,
    /// For images: factor to values in 8-bit units.
    pub scale: f64,
    /// For masks of one channel, regions and labels: the class or label is where the value is above this.
    pub threshold: f32,
    /// For masks: the class number that each channel paints where its value is above the threshold, later channels over
    /// earlier ones. If empty, the channel with the largest value is the class.
    pub regions: Vec<u16>,
    /// Names and colours of the classes, by class number.
    pub classes: Vec<Class>,
    /// The class of pixels that belong to nothing: its name or number, or `none`. It forms no regions, is transparent in
    /// cut-outs, and is what regions become that are removed. If absent, a class called background, void or the like is;
    /// class 0 where the network tells one thing from the rest, and where classes have no names.
    #[serde(deserialize_with = "super::classes::name")]
    pub background: Option<String>,
    /// Pixels of a reference that do not count: names and numbers of classes, and colours as `#rrggbb`. Classes called
    /// void, unlabeled or ignore never count, nor does 255 where it is no class.
    #[serde(deserialize_with = "super::classes::names")]
    pub void: Vec<String>,
    /// Pixels along each border of a tile's result that should come from a neighbouring tile.
    pub halo: usize,
    /// For images of the picture's size: the share of the network in the result, 0 to 1; the rest is the picture.
    pub strength: f64,
}

setters!(OutputRecipe {
    with_steps(steps: impl Into<Vec<Step>>),
    with_decode(decode: Option<Decode>),
    with_scale(scale: f64),
    with_threshold(threshold: f32),
    with_regions(regions: impl Into<Vec<u16>>),
    with_classes(classes: impl Into<Vec<Class>>),
    with_background(background: Option<String>),
    with_void(void: impl Into<Vec<String>>),
    with_halo(halo: usize),
    with_strength(strength: f64),
});

impl Default for OutputRecipe {
    fn default() -> OutputRecipe {
        OutputRecipe {
            name: None,
            steps: Vec::new(),
            decode: None,
            scale: 255.0,
            threshold: 0.5,
            regions: Vec::new(),
            classes: Vec::new(),
            background: None,
            void: Vec::new(),
            halo: 0,
            strength: 1.0,
        }
    }
}

impl OutputRecipe {
    /// The same recipe with [`Step::UndoExposure`] replaced, for a picture that was multiplied by `exposure`.
    pub fn with_exposure(&self, exposure: f64) -> OutputRecipe {
        let undo = Step::Linear { gain: vec![exposure.recip()], offset: Vec::new() };
        let known = |step: &Step| if *step == Step::UndoExposure { undo.clone() } else { step.clone() };
        OutputRecipe { steps: self.steps.iter().map(known).collect(), ..self.clone() }
    }

    /// Applies the steps to a network's output, NCHW. `input` is the picture before normalisation.
    ///
    /// # Errors
    /// Errors of the steps.
    pub fn apply(&self, result: &mut Tensor, input: Option<&Tensor>) -> Result<()> {
        self.steps.iter().try_for_each(|step| step.apply(result, input))
    }

    /// Mixes a result with the picture, whose values are in 8-bit steps, according to the strength. A picture of 8 or
    /// 16 bits has no values beyond black and white (`limited`), so the network's are brought to them first.
    #[cfg(feature = "image")]
    pub(crate) fn mix(&self, result: &mut Tensor, picture: &Tensor, limited: bool) {
        let (scale, strength) = (self.scale, self.strength);
        for (result, &own) in result.data_mut().iter_mut().zip(picture.data()) {
            let made = f64::from(*result) * scale;
            let made = if limited { made.clamp(0.0, 255.0) } else { made };
            *result = ((strength * made + (1.0 - strength) * f64::from(own)) / scale) as f32;
        }
    }
}

/// What a network's output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// Grey or RGB values; clamped and rounded when written.
    Image,
    /// One channel: a value, compared with the threshold. Several channels: the class with the largest value, or the
    /// regions that the channels paint.
    Mask,
    /// One channel of class numbers, as ArgMax makes them.
    Classes,
    /// Each channel is a label of its own, where its value is above the threshold. Labels may overlap.
    Labels,
    /// One channel of measurements in units of their own, such as depth. Float files hold them as they are; in others,
    /// the smallest value is black and the largest white.
    Values,
    /// Class scores of an encoder-only network.
    Scores,
}

impl Decode {
    /// Whether each pixel gets classes or labels.
    pub fn is_mask(self) -> bool {
        matches!(self, Decode::Mask | Decode::Classes | Decode::Labels)
    }
}
