//! What stands around a network: how a picture becomes its input and how its result becomes a picture.
//!
//! As JSON, a recipe is the `unet.recipe` entry of a model file.

use serde::{Deserialize, Serialize};

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
    /// From picture to tensor.
    pub input: InputRecipe,
    /// From tensor to picture.
    pub output: OutputRecipe,
}

/// From picture to tensor: `(value * scale - mean) / std`, a mean and a std a channel; then, where asked for, by the
/// picture's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputRecipe {
    /// What the picture is converted to; by the network's input channels when absent.
    pub channels: Option<Channels>,
    /// Factor on the 8-bit values.
    pub scale: f64,
    /// Subtracted after scaling; empty for zero.
    pub mean: Vec<f64>,
    /// Divided by last; empty for one.
    pub std: Vec<f64>,
    /// Whether each channel of each picture is then brought to mean 0 and standard deviation 1.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub standardize: bool,
}

impl Default for InputRecipe {
    fn default() -> InputRecipe {
        InputRecipe {
            channels: None,
            scale: 1.0 / 255.0,
            mean: Vec::new(),
            std: Vec::new(),
            standardize: false,
        }
    }
}

/// Colour channels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Luma.
    Gray,
}

/// From tensor to picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputRecipe {
    /// What the numbers mean; by the network's output channels when absent.
    pub decode: Option<Decode>,
    /// For pictures: factor to 8-bit values.
    pub scale: f64,
    /// For one-channel masks: class 1 above this, class 0 elsewhere.
    pub threshold: f32,
    /// Names and colours, by class number.
    pub classes: Vec<Class>,
}

impl Default for OutputRecipe {
    fn default() -> OutputRecipe {
        OutputRecipe { decode: None, scale: 255.0, threshold: 0.5, classes: Vec::new() }
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
}
