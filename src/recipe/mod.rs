//! Recipes: how a picture becomes a network's input, and how the network's result becomes a picture.
//!
//! A recipe is stored as JSON in the `unet.recipe` entry of a model file, or as TOML in `MODEL.toml` beside any model
//! file. All arithmetic is done on the host, in f64 for each value.

mod classes;
mod curve;
mod exposure;
mod mask;
mod measure;
mod size;
mod step;
mod words;

pub use classes::Class;
pub(crate) use classes::Void;
#[cfg(feature = "image")]
pub(crate) use classes::{Roles, hex_color, is_nothing};
pub use curve::Curve;
pub use mask::{Fill, MaskPlace, MaskRecipe};
pub use measure::Pass;
pub use size::Size;
pub use step::{Over, Step};

use crate::error::{Error, Result};
use crate::graph::PadMode;
use crate::tensor::Tensor;
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

/// From a picture to the network's input, in this order: pixels without data, bands or channels, transfer function,
/// size, `value * scale`, the steps, `(value - mean) / std`, the mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct InputRecipe {
    /// Value in 8-bit units that replaces numbers that are not finite, and the value that a file has for pixels without
    /// data, before anything else. If absent, such numbers are an error, and that value stays.
    pub nodata: Option<f64>,
    /// Bands of the picture, numbered from 1, that are the network's channels, instead of `channels`. If empty, all are,
    /// or the colours.
    pub bands: Vec<usize>,
    /// Names of further pictures whose bands follow the picture's, such as albedo and normal of a rendered picture.
    pub also: Vec<String>,
    /// Channels that the picture is converted to. If absent, the network's input channels decide.
    pub channels: Option<Channels>,
    /// For networks that fill holes: the mask among the network's channels.
    pub mask: Option<MaskRecipe>,
    /// Size of the network's input. If absent, the size that a file fixes where its result is no picture; else the
    /// picture's own.
    pub size: Option<Size>,
    /// Instead of `size`: both sides become a multiple of this.
    pub multiple: Option<usize>,
    /// How the picture is fitted to `size` or `multiple`.
    pub fit: Fit,
    /// The filter with which it is resampled, and with which masks and measurements are brought back. If absent, bicubic
    /// and bilinear.
    pub filter: Option<Resampling>,
    /// Side of the tiles that larger pictures are cut into, pixels. If absent, pictures are cut only where they must be.
    pub tile: Option<usize>,
    /// Overlap of neighbouring tiles, pixels.
    pub overlap: Option<usize>,
    /// Pixels of its input that the network's result does not cover on each side, as behind convolutions without
    /// padding. The picture is continued outwards by as many, so that the result covers it: with zeros or its edge if
    /// that is the `fit`, else mirrored.
    pub border: usize,
    /// Transfer function that values are converted to. If absent, values stay as in the file.
    pub transfer: Option<Transfer>,
    /// Factor on values in 8-bit units.
    pub scale: f64,
    /// Steps on the scaled values, in order.
    pub steps: Vec<Step>,
    /// Subtracted after the steps: one number, or one for each channel. Empty means 0.
    pub mean: Vec<f64>,
    /// Divisor after the mean is subtracted: one number, or one for each channel. Empty means 1.
    pub std: Vec<f64>,
}

setters!(InputRecipe {
    with_nodata(nodata: Option<f64>),
    with_bands(bands: impl Into<Vec<usize>>),
    with_also(also: impl Into<Vec<String>>),
    with_channels(channels: Option<Channels>),
    with_mask(mask: Option<MaskRecipe>),
    with_size(size: Option<Size>),
    with_multiple(multiple: Option<usize>),
    with_fit(fit: Fit),
    with_filter(filter: Option<Resampling>),
    with_tile(tile: Option<usize>),
    with_overlap(overlap: Option<usize>),
    with_border(border: usize),
    with_transfer(transfer: Option<Transfer>),
    with_scale(scale: f64),
    with_steps(steps: impl Into<Vec<Step>>),
    with_mean(mean: impl Into<Vec<f64>>),
    with_std(std: impl Into<Vec<f64>>),
});

impl Default for InputRecipe {
    fn default() -> InputRecipe {
        InputRecipe {
            nodata: None,
            bands: Vec::new(),
            also: Vec::new(),
            channels: None,
            mask: None,
            size: None,
            multiple: None,
            fit: Fit::default(),
            filter: None,
            tile: None,
            overlap: None,
            border: 0,
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
    /// Blue, green, red, as OpenCV reads pictures. A result of three channels has the same order.
    Bgr,
    /// Luma.
    Gray,
}

/// How a picture's values relate to light. Files of 8 and 16 bits have the sRGB curve, float files are linear. A
/// result that is a picture is converted back to the transfer function of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    /// Proportional to light.
    Linear,
    /// On the sRGB curve, [`Curve::Srgb`].
    Srgb,
}

/// How a picture is brought to a size. The result is brought back to the size of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Resampled.
    #[default]
    Resize,
    /// Padded below and right with zeros.
    Zero,
    /// Padded below and right with copies of the last row and column.
    Edge,
    /// Padded below and right with the mirrored picture; the edge is not repeated.
    Reflect,
}

/// A filter by its name in PIL. It widens when pictures shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Never exceeds the values that it interpolates.
    Bilinear,
    /// Keys 1981 with a = -1/2.
    Bicubic,
    /// Sharper: a sine cardinal in a window of three pixels.
    Lanczos,
}

impl Resampling {
    fn name(self) -> &'static str {
        match self {
            Resampling::Bilinear => "bilinear",
            Resampling::Bicubic => "bicubic",
            Resampling::Lanczos => "Lanczos",
        }
    }
}

/// From the network's output to a result: the steps in order, then decoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OutputRecipe {
    /// The output that is the result: its name, or its place in the file, from 0. If absent, sizes, names and places of
    /// the outputs decide.
    #[serde(deserialize_with = "classes::name")]
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
    #[serde(deserialize_with = "classes::name")]
    pub background: Option<String>,
    /// Pixels of a reference that do not count: names and numbers of classes, and colours as `#rrggbb`. Classes called
    /// void, unlabeled or ignore never count, nor does 255 where it is no class.
    #[serde(deserialize_with = "classes::names")]
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
        if input.std.contains(&0.0) {
            return Err(Error::Model(
                "the recipe's std has a zero, which cannot divide; set it to a number other than 0".into(),
            ));
        }
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

impl InputRecipe {
    /// Turns picture values into network values, NCHW: `value * scale`, the steps, then `(value - mean) / std`.
    ///
    /// # Errors
    /// When mean or std has neither 0, 1 nor as many numbers as there are channels, when a std is zero, and errors of
    /// the steps.
    pub fn normalize(&self, tensor: &mut Tensor) -> Result<()> {
        let shape = tensor.shape();
        for (name, list) in [("mean", &self.mean), ("std", &self.std)] {
            if ![0, 1, shape.c].contains(&list.len()) {
                let expected = format!("0, 1 or {} numbers", shape.c);
                return Err(Error::shape(format!("the recipe's {name}"), expected, list.len()));
            }
        }
        if self.std.contains(&0.0) {
            return Err(Error::Model(
                "the recipe's std has a zero, which cannot divide; set it to a number other than 0".into(),
            ));
        }
        // Without steps, all factors are applied at once, so each value is rounded only once.
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

    /// What continues the picture outwards by the border.
    pub(crate) fn outside(&self) -> PadMode {
        match self.fit {
            Fit::Zero => PadMode::Zero,
            Fit::Edge => PadMode::Edge,
            Fit::Resize | Fit::Reflect => PadMode::Reflect,
        }
    }

    /// The height and width of the network's input for a picture of height and width `size`.
    ///
    /// # Errors
    /// When the recipe pads and the picture is larger than the target size.
    pub fn fitted(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let wanted = match (self.size.and_then(Size::fixed), self.multiple) {
            (Some(fixed), _) => fixed,
            (None, Some(multiple)) => size.map(|side| side.next_multiple_of(multiple.max(1))),
            (None, None) => size,
        };
        if self.fit != Fit::Resize && (wanted[0] < size[0] || wanted[1] < size[1]) {
            let expected =
                format!("at most {}x{} pixels, the size that the recipe pads to", wanted[0], wanted[1]);
            let got = format!("{}x{} (cut it, or set fit = \"resize\")", size[0], size[1]);
            return Err(Error::shape("the picture", expected, got));
        }
        Ok(wanted)
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
