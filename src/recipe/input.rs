//! From a picture to the network's input.

use super::{MaskRecipe, Size, Step};
use crate::error::{Error, Result};
use crate::graph::PadMode;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

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
        self.check_std()?;
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

    /// Refuses a standard deviation that cannot divide.
    pub(super) fn check_std(&self) -> Result<()> {
        match self.std.contains(&0.0) {
            true => Err(Error::Model(
                "the recipe's std has a zero, which cannot divide; set it to a number other than 0".into(),
            )),
            false => Ok(()),
        }
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
    /// On the sRGB curve, [`Curve::Srgb`](super::Curve::Srgb).
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
    /// The name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Resampling::Bilinear => "bilinear",
            Resampling::Bicubic => "bicubic",
            Resampling::Lanczos => "Lanczos",
        }
    }
}
