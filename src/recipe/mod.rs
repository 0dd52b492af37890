//! Recipes: how a picture becomes a network's input, and how the network's result becomes a picture.
//!
//! A recipe is stored as JSON in the `unet.recipe` entry of a model file, or as TOML in `MODEL.toml` beside any model
//! file. All arithmetic is done on the host, in f64 for each value.

mod classes;
mod curve;
mod exposure;
mod input;
mod mask;
mod measure;
mod output;
mod size;
mod step;
mod words;

pub use classes::Class;
pub(crate) use classes::Void;
#[cfg(feature = "image")]
pub(crate) use classes::{Roles, hex_color, is_nothing};
pub use curve::Curve;
pub use input::{Channels, Fit, InputRecipe, Resampling, Transfer};
pub use mask::{Fill, MaskPlace, MaskRecipe};
pub use measure::Pass;
pub use output::{Decode, OutputRecipe};
pub use size::Size;
pub use step::{Over, Step};

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Mean and standard deviation of ImageNet's pictures, red, green, blue, for values from 0 to 1.
pub(crate) const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// Longest side that a recipe may specify, pixels.
const MAX_SIDE: usize = 32_768;

/// Largest factor between a picture and its result.
const MAX_SCALE: usize = 64;

/// How to use a network: what its input is made of and what its output means.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Recipe {
    /// `segment`, `denoise`, `restore`, `classify`, or empty when unknown.
    pub task: String,
    /// What the model is for, in one sentence.
    pub description: String,
    /// Licence of the weights.
    pub license: String,
    /// How and on what it was trained.
    pub training: String,
    /// Authors of the model.
    pub authors: String,
    /// Publications to cite.
    pub citation: String,
    /// States: pairs of an output and the input that it becomes in the next run. If absent, those of an ONNX file are
    /// found by names and shapes.
    pub carry: Option<Vec<[String; 2]>>,
    /// How many times wider and higher than the picture the result is. If absent, the network tells. A network that
    /// disagrees is refused.
    pub scale: Option<usize>,
    /// From a picture to the network's input.
    pub input: InputRecipe,
    /// From the network's output to a result.
    pub output: OutputRecipe,
}

setters!(Recipe {
    with_task(task: impl Into<String>),
    with_description(description: impl Into<String>),
    with_license(license: impl Into<String>),
    with_training(training: impl Into<String>),
    with_authors(authors: impl Into<String>),
    with_citation(citation: impl Into<String>),
    with_scale(scale: Option<usize>),
    with_input(input: InputRecipe),
    with_output(output: OutputRecipe),
});

impl Recipe {
    /// What an output of `channels` channels and `pixels` pixels means.
    pub fn decode(&self, channels: usize, pixels: usize) -> Decode {
        self.output.decode.unwrap_or(match channels {
            _ if pixels == 1 => Decode::Scores,
            3 => Decode::Image,
            _ => Decode::Mask,
        })
    }

    /// Checks that all numbers can be used.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Model`] names the first field that is wrong.
    pub fn check(&self) -> Result<()> {
        let (input, output) = (&self.input, &self.output);
        let refuse = |field: &str, expected: &str, got: String| {
            Err(Error::shape(format!("the recipe's {field}"), expected, got))
        };
        let lists = [&input.mean, &input.std].into_iter().flatten();
        let numbers = lists.chain([&input.scale, &output.scale]);
        if let Some(number) = numbers.copied().find(|v| !(*v as f32).is_finite()) {
            return refuse("scale, mean and std", "numbers that fit f32", number.to_string());
        }
        if let Some(scale) = self.scale.filter(|scale| !(1..=MAX_SCALE).contains(scale)) {
            return refuse("scale", &format!("a whole number from 1 to {MAX_SCALE}"), scale.to_string());
        }
        if !(0.0..=1.0).contains(&output.strength) {
            let what = "output.strength, the share of the network in the result";
            return refuse(what, "a number from 0 to 1", output.strength.to_string());
        }
        input.check_std()?;
        if !output.threshold.is_finite() {
            return refuse("output.threshold", "a number that fits f32", output.threshold.to_string());
        }
        if let Some(value) = input.nodata.filter(|value| !(*value as f32).is_finite()) {
            return refuse("input.nodata", "a number that fits f32", value.to_string());
        }
        if input.bands.contains(&0) {
            return refuse("input.bands", "numbers from 1", "0".into());
        }
        let sides =
            input.size.and_then(Size::fixed).into_iter().flatten().chain(input.multiple).chain(input.tile);
        if let Some(side) = sides.into_iter().find(|side| !(1..=MAX_SIDE).contains(side)) {
            let expected = format!("1 to {MAX_SIDE} pixels");
            return refuse("input.size, multiple or tile", &expected, side.to_string());
        }
        if let Some(side) = input.overlap.into_iter().chain([input.border]).find(|side| *side > MAX_SIDE) {
            let expected = format!("at most {MAX_SIDE} pixels");
            return refuse("input.overlap or border", &expected, side.to_string());
        }
        if input.size.and_then(Size::fixed).is_some() && input.multiple.is_some() {
            let both = "the recipe has both input.size and input.multiple; leave one out";
            return Err(Error::Model(both.into()));
        }
        for (steps, list) in [(&input.steps, "input.steps"), (&output.steps, "output.steps")] {
            if let Some((name, only)) = steps.iter().filter_map(Step::only_in).find(|(_, only)| *only != list)
            {
                return Err(Error::Model(format!("the step {name} is for {only}, not for {list}")));
            }
        }
        if input.channels == Some(Channels::Bgr) && input.steps.contains(&Step::AutoExposure) {
            let message = "the step auto_exposure measures red, green, blue; set channels = \"rgb\"";
            return Err(Error::Model(message.into()));
        }
        if let Some(mask) = &input.mask {
            mask.check(&input.steps)?;
        }
        output.check_roles()?;
        input.steps.iter().chain(&output.steps).try_for_each(Step::check)
    }
}
