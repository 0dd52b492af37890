//! What stands around a network: how a picture becomes its input and how its result becomes a picture.
//!
//! As JSON, a recipe is the `unet.recipe` entry of a model file; as TOML, it stands beside any model file as
//! `MODEL.toml`. All arithmetic is done on the host, in f64 a value.

mod curve;
mod exposure;
mod measure;
mod step;
mod words;

pub use curve::Curve;
pub use measure::Pass;
pub use step::{Over, Step};

use crate::error::{Error, Result};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Longest side that a recipe may ask for, pixels.
const MAX_SIDE: usize = 32_768;

/// How to use a network.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Recipe {
    /// `segment`, `denoise`, `restore`, `classify`, or empty when unknown.
    pub task: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// Licence of the weights.
    pub license: String,
    /// How and on what it was trained.
    pub training: String,
    /// Who made it.
    pub authors: String,
    /// What to cite.
    pub citation: String,
    /// From picture to tensor.
    pub input: InputRecipe,
    /// From tensor to picture.
    pub output: OutputRecipe,
}

/// From picture to tensor: channels, transfer function, size, `value * scale`, the steps in their order, then
/// `(value - mean) / std` with a mean and a std a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputRecipe {
    /// What the picture is converted to; by the network's input channels when absent.
    pub channels: Option<Channels>,
    /// Height and width that the network gets; the picture's own when absent.
    pub size: Option<[usize; 2]>,
    /// Or: what both sides are brought up to a multiple of.
    pub multiple: Option<usize>,
    /// How the picture is brought to `size` or `multiple`.
    pub fit: Fit,
    /// The transfer function that a picture's values are brought to; as its file has them when absent.
    pub transfer: Option<Transfer>,
    /// Factor on the 8-bit values.
    pub scale: f64,
    /// What is done to the scaled values, one after the other.
    pub steps: Vec<Step>,
    /// Subtracted after the steps; empty for zero.
    pub mean: Vec<f64>,
    /// Divided by last; empty for one.
    pub std: Vec<f64>,
}

impl Default for InputRecipe {
    fn default() -> InputRecipe {
        InputRecipe {
            channels: None,
            size: None,
            multiple: None,
            fit: Fit::default(),
            transfer: None,
            scale: 1.0 / 255.0,
            steps: Vec::new(),
            mean: Vec::new(),
            std: Vec::new(),
        }
    }
}

/// Colour channels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as OpenCV reads pictures; a result of three channels comes in that order too.
    Bgr,
    /// Luma.
    Gray,
}

/// What a picture's values are of light. Files of 8 and 16 bits are taken to have the sRGB curve, files of floats to be
/// linear; a result that is a picture is brought back to what its picture had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    /// In proportion to light.
    Linear,
    /// On the sRGB curve, [`Curve::Srgb`].
    Srgb,
}

/// How a picture is brought to a size. The result is brought back to the picture's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Stretched or shrunk.
    #[default]
    Resize,
    /// Padded below and right with zeros.
    Zero,
    /// Padded below and right with the last row and column.
    Edge,
    /// Padded below and right with the picture mirrored, its edge not repeated.
    Reflect,
}

/// From tensor to picture: the steps in their order, then what the numbers mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputRecipe {
    /// What is done to the network's numbers, one after the other.
    pub steps: Vec<Step>,
    /// What the numbers mean; by the network's output channels when absent.
    pub decode: Option<Decode>,
    /// For pictures: factor to 8-bit values.
    pub scale: f64,
    /// For one-channel masks: class 1 above this, class 0 elsewhere.
    pub threshold: f32,
    /// Names and colours, by class number.
    pub classes: Vec<Class>,
    /// Pixels along each border of a result that another tile should give.
    pub halo: usize,
}

impl Default for OutputRecipe {
    fn default() -> OutputRecipe {
        OutputRecipe {
            steps: Vec::new(),
            decode: None,
            scale: 255.0,
            threshold: 0.5,
            classes: Vec::new(),
            halo: 0,
        }
    }
}

/// What a network's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// Grey or RGB values, clamped and rounded.
    Image,
    /// A probability, compared with the threshold; or, of several channels, the class with the largest value.
    Mask,
    /// Class scores of an encoder-only network.
    Scores,
}

/// A class of a mask or of scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its colour in pictures, red, green, blue; from the palette when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<[u8; 3]>,
}

impl Recipe {
    /// What the numbers mean, for a result of that many channels.
    pub fn decode(&self, channels: usize, pixels: usize) -> Decode {
        self.output.decode.unwrap_or(match channels {
            _ if pixels == 1 => Decode::Scores,
            3 => Decode::Image,
            _ => Decode::Mask,
        })
    }

    /// Errors with the first number that nothing can be computed with.
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
        if input.std.contains(&0.0) {
            return Err(Error::Model("the recipe's std has a zero; nothing can be divided by it".into()));
        }
        if !output.threshold.is_finite() {
            return refuse("output.threshold", "a number that fits f32", output.threshold.to_string());
        }
        let sides = input.size.into_iter().flatten().chain(input.multiple);
        if let Some(side) = sides.into_iter().find(|side| !(1..=MAX_SIDE).contains(side)) {
            return refuse("input.size or multiple", &format!("1 to {MAX_SIDE} pixels"), side.to_string());
        }
        if input.size.is_some() && input.multiple.is_some() {
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
        input.steps.iter().chain(&output.steps).try_for_each(Step::check)
    }
}

impl InputRecipe {
    /// Turns picture values into network values, NCHW: `value * scale`, the steps, then `(value - mean) / std`.
    ///
    /// # Errors
    /// When mean or std are neither absent, nor one, nor one a channel, or a std is zero; those of the steps.
    pub fn normalize(&self, tensor: &mut Tensor) -> Result<()> {
        let shape = tensor.shape();
        for (name, list) in [("mean", &self.mean), ("std", &self.std)] {
            if ![0, 1, shape.c].contains(&list.len()) {
                let expected = format!("0, 1 or {} numbers", shape.c);
                return Err(Error::shape(format!("the recipe's {name}"), expected, list.len()));
            }
        }
        if self.std.contains(&0.0) {
            return Err(Error::Model("the recipe's std has a zero; nothing can be divided by it".into()));
        }
        // In one go where nothing stands between: each value is then rounded once.
        let first = if self.steps.is_empty() { 1.0 } else { self.scale };
        let last = if self.steps.is_empty() { self.scale } else { 1.0 };
        if first != 1.0 {
            tensor.data_mut().iter_mut().for_each(|v| *v = (f64::from(*v) * first) as f32);
        }
        for step in &self.steps {
            step.apply(tensor, None)?;
        }
        for (i, plane) in tensor.data_mut().chunks_exact_mut(shape.pixels()).enumerate() {
            let pick =
                |list: &[f64], default| list.get(i % shape.c).or(list.first()).copied().unwrap_or(default);
            let (mean, std) = (pick(&self.mean, 0.0), pick(&self.std, 1.0));
            plane.iter_mut().for_each(|v| *v = ((f64::from(*v) * last - mean) / std) as f32);
        }
        Ok(())
    }

    /// The size that the network gets of a picture of that height and width.
    ///
    /// # Errors
    /// When it would have to be padded to less than it has.
    pub fn fitted(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let wanted = match (self.size, self.multiple) {
            (Some(fixed), _) => fixed,
            (None, Some(multiple)) => size.map(|side| side.next_multiple_of(multiple.max(1))),
            (None, None) => size,
        };
        if self.fit != Fit::Resize && (wanted[0] < size[0] || wanted[1] < size[1]) {
            let expected = format!("at most {}x{} pixels, to which the recipe pads", wanted[0], wanted[1]);
            let got = format!("{}x{} (cut it, or set fit = \"resize\")", size[0], size[1]);
            return Err(Error::shape("the picture", expected, got));
        }
        Ok(wanted)
    }
}

impl OutputRecipe {
    /// The same recipe for the result of a picture that was exposed by that factor.
    pub fn with_exposure(&self, exposure: f64) -> OutputRecipe {
        let undo = Step::Linear { gain: vec![exposure.recip()], offset: Vec::new() };
        let known = |step: &Step| if *step == Step::UndoExposure { undo.clone() } else { step.clone() };
        OutputRecipe { steps: self.steps.iter().map(known).collect(), ..self.clone() }
    }

    /// Runs the steps on a network's result, NCHW; `input` is what it was computed from, before it was normalised.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn apply(&self, result: &mut Tensor, input: Option<&Tensor>) -> Result<()> {
        self.steps.iter().try_for_each(|step| step.apply(result, input))
    }
}
