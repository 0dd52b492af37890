//! The U-Net family (Ronneberger, Fischer and Brox 2015) as a configuration that builds a [`Graph`].
//!
//! An encoder level is a ConvBlock, whose result is the skip, and a 2x2 max pool. The bottleneck is a ConvBlock. A
//! decoder level is up-sampling by 2, concatenation with the skip, and a ConvBlock. A 1x1 convolution follows. A
//! ConvBlock is two times 3x3 convolution, batch normalisation (eps 1e-5) and activation. Options of [`UnetConfig`]
//! exchange each of these.

mod builder;

use crate::error::{Error, Result};
use crate::graph::{Graph, PadMode};
use crate::tensor::{Random, Shape, Tensor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A network of the family. As JSON it is the `unet.config` entry of a model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UnetConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the result. For an encoder-only network, the number of class scores.
    pub out_channels: usize,
    /// Channels of each encoder level, from full resolution down; 1 to 6 levels.
    pub encoder: Vec<usize>,
    /// Channels of the bottleneck.
    pub bottleneck: usize,
    /// Dilation of the bottleneck's 3x3 convolutions, 1 to 16. A larger one sees more of the picture.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub dilation: usize,
    /// Channels of each decoder level, deepest first. Empty for an encoder-only network: the bottleneck is averaged
    /// over the picture, and a linear layer computes class scores.
    pub decoder: Vec<usize>,
    /// Channels after each up-sampling, deepest first. If absent, up-sampling keeps its channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<Vec<usize>>,
    /// How a decoder level doubles its resolution.
    #[serde(default)]
    pub upsample: Upsample,
    /// The norm between a convolution and its activation.
    #[serde(default)]
    pub norm: Norm,
    /// Whether 3x3 convolutions have a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// The activation of ConvBlocks.
    #[serde(default)]
    pub activation: BlockActivation,
    /// Order of the channels in a concatenation.
    #[serde(default)]
    pub concat: ConcatOrder,
    /// The function after the last convolution.
    #[serde(default)]
    pub output: Output,
    /// Whether the input is added to the result. The network then predicts a correction. If the input has more channels
    /// than the result, its first ones are added. If the result is larger, the input is enlarged bicubically.
    #[serde(default)]
    pub residual: bool,
    /// Whether holes are filled smoothly before the first layer, and from how many levels of a pyramid, 1 to 6. The input's
    /// last channel is then 1 in a hole and 0 elsewhere. Its other channels are the picture. 0 fills nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fill: usize,
    /// The result's height and width for one pixel of the input, 1 to 4. From 2 on, the last layer is a transposed
    /// convolution of stride `scale` and kernel `3 * scale`, which is a 3x3 convolution and a pixel shuffle in one
    /// (Shi et al. 2016).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub scale: usize,
    /// What 3x3 convolutions see outside the picture.
    #[serde(default = "zeros", skip_serializing_if = "is_zeros")]
    pub padding_mode: PadMode,
    /// How a picture is padded if its sides are not multiples of [`stride`](Self::stride).
    #[serde(default)]
    pub pad: PadMode,
}

setters!(UnetConfig {
    with_in_channels(in_channels: usize),
    with_out_channels(out_channels: usize),
    with_encoder(encoder: impl Into<Vec<usize>>),
    with_bottleneck(bottleneck: usize),
    with_dilation(dilation: usize),
    with_decoder(decoder: impl Into<Vec<usize>>),
    with_up(up: Option<Vec<usize>>),
    with_upsample(upsample: Upsample),
    with_norm(norm: Norm),
    with_bias(bias: bool),
    with_activation(activation: BlockActivation),
    with_concat(concat: ConcatOrder),
    with_output(output: Output),
    with_residual(residual: bool),
    with_fill(fill: usize),
    with_scale(scale: usize),
    with_padding_mode(padding_mode: PadMode),
    with_pad(pad: PadMode),
});

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn zeros() -> PadMode {
    PadMode::Zero
}

fn is_zeros(mode: &PadMode) -> bool {
    *mode == PadMode::Zero
}

/// How a decoder level doubles its resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upsample {
    /// 2x2 transposed convolution with stride 2.
    #[default]
    ConvTranspose,
    /// Nearest neighbour, then a 3x3 convolution.
    NearestConv,
    /// Bilinear (half-pixel centres), then a 1x1 convolution.
    BilinearConv1x1,
}

/// The norm between a convolution and its activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Batch normalisation.
    #[default]
    Batch,
    /// Instance normalisation with a factor and a summand for each channel.
    Instance,
    /// Nothing.
    None,
}

/// The activation of ConvBlocks.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockActivation {
    /// ReLU.
    #[default]
    Relu,
    /// Leaky ReLU with its slope.
    LeakyRelu(f32),
}

/// Order of the channels in a concatenation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcatOrder {
    /// Up-sampled first.
    #[default]
    UpSkip,
    /// Skip first.
    SkipUp,
}

/// The function after the last convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Nothing: values or logits.
    #[default]
    None,
    /// Sigmoid on each channel.
    Sigmoid,
    /// Softmax over the channels.
    Softmax,
}

/// A source of trained weights.
pub trait Weights {
    /// The tensor with that name and shape. Vectors have the shape `(len,1,1,1)`.
    ///
    /// # Errors
    /// Names the tensor if it is missing or has another shape.
    fn tensor(&mut self, name: &str, shape: Shape) -> Result<Arc<Tensor>>;
}

/// Seeded random weights: He-uniform convolutions, and batch statistics as for normalised data.
#[derive(Debug, Clone)]
pub struct RandomWeights(Random);

impl RandomWeights {
    /// Weights from a seed; the same seed gives the same weights.
    pub fn new(seed: u64) -> RandomWeights {
        RandomWeights(Random::new(seed))
    }
}

impl Weights for RandomWeights {
    fn tensor(&mut self, name: &str, shape: Shape) -> Result<Arc<Tensor>> {
        let fan_in = if name.ends_with("up.weight") { shape.n } else { shape.c * shape.h * shape.w };
        let (low, high) = match name.rsplit('.').next() {
            Some("running_var") => (0.5, 1.5),
            Some("weight") if shape.elements() == shape.n => (0.5, 1.5),
            Some("weight") => (-(6.0 / fan_in as f32).sqrt(), (6.0 / fan_in as f32).sqrt()),
            _ => (-0.1, 0.1),
        };
        Ok(Arc::new(Tensor::from_fn(shape, |_| self.0.uniform(low, high))))
    }
}

impl UnetConfig {
    /// 3 to 3 channels, encoder 64-128-256-512, bottleneck 512, decoder 256-128-64-64: 14,789,059 parameters.
    pub fn seed() -> UnetConfig {
        UnetConfig::new(3, 3, &[64, 128, 256, 512], 512, &[256, 128, 64, 64])
    }

    /// The preset of that name.
    ///
    /// # Errors
    /// [`Error::Model`] lists the presets if there is none of that name.
    pub fn preset(name: &str) -> Result<UnetConfig> {
        match name {
            "seed" => Ok(UnetConfig::seed()),
            _ => Err(Error::Model(format!("there is no preset {name}; the presets are: seed"))),
        }
    }

    /// A network with the given channels. All other settings are those of [`seed`](Self::seed).
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        encoder: &[usize],
        bottleneck: usize,
        decoder: &[usize],
    ) -> UnetConfig {
        UnetConfig {
            in_channels,
            out_channels,
            encoder: encoder.into(),
            bottleneck,
            dilation: 1,
            decoder: decoder.into(),
            up: None,
            upsample: Upsample::default(),
            norm: Norm::default(),
            bias: true,
            activation: BlockActivation::default(),
            concat: ConcatOrder::default(),
            output: Output::default(),
            residual: false,
            fill: 0,
            scale: 1,
            padding_mode: PadMode::Zero,
            pad: PadMode::default(),
        }
    }

    /// Sides are padded to multiples of this number: 2 to the number of levels of the encoder, or of `fill` if larger.
    pub fn stride(&self) -> usize {
        1 << self.encoder.len().max(self.fill)
    }

    fn check(&self) -> Result<()> {
        let depth = self.encoder.len();
        let widths = [self.in_channels, self.out_channels, self.bottleneck];
        let all = widths.iter().chain(&self.encoder).chain(&self.decoder).chain(self.up.iter().flatten());
        let refuse = |what: &str, expected: &str, got: String| Err(Error::shape(what, expected, got));
        if !(1..=6).contains(&depth) {
            return refuse("encoder", "1 to 6 levels", depth.to_string());
        }
        if let Some(bad) = all.copied().find(|w| !(1..=65536).contains(w)) {
            return refuse("widths", "1 to 65536 channels", bad.to_string());
        }
        if !self.decoder.is_empty() && self.decoder.len() != depth {
            return refuse(
                "decoder",
                &format!("{depth} levels, as the encoder (or none)"),
                self.decoder.len().to_string(),
            );
        }
        if let Some(up) = self.up.as_ref().filter(|up| up.len() != self.decoder.len()) {
            return refuse("up", "one width for each decoder level", up.len().to_string());
        }
        if let BlockActivation::LeakyRelu(slope) = self.activation
            && !slope.is_finite()
        {
            return refuse("leaky_relu", "a finite slope", slope.to_string());
        }
        if !(1..=16).contains(&self.dilation) {
            return refuse("dilation", "1 to 16", self.dilation.to_string());
        }
        if !(1..=4).contains(&self.scale) {
            return refuse("scale", "1 to 4", self.scale.to_string());
        }
        if self.decoder.is_empty() && (self.residual || self.scale > 1) {
            return refuse("residual and scale", "a decoder", "an encoder-only network".into());
        }
        let picture = self.in_channels - usize::from(self.fill > 0);
        if self.residual && picture < self.out_channels {
            let expected = format!("at most the {picture} channels of the picture");
            return refuse("channels out with a residual", &expected, self.out_channels.to_string());
        }
        if self.fill > 6 {
            return refuse("fill", "0 to 6 levels", self.fill.to_string());
        }
        if self.fill > 0 && (picture == 0 || self.decoder.is_empty() || self.scale > 1) {
            return refuse(
                "fill",
                "a picture and a mask in, a decoder, and scale 1",
                "another network".into(),
            );
        }
        Ok(())
    }

    /// Builds the graph with weights from `weights`. Layers are named `enc1.conv1` … `dec1.norm2`, `output`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a configuration that contradicts itself, and errors of `weights`.
    pub fn build(&self, weights: &mut dyn Weights) -> Result<Graph> {
        self.check()?;
        builder::build(self, weights)
    }

    /// The shapes in each level, one line for each, for one input shape.
    pub fn trace(&self, graph: &Graph, input: Shape) -> Result<String> {
        let shapes = graph.shapes(input)?;
        let shape = |name: &str| {
            let id = graph.names.iter().position(|n| n == name).and_then(|i| shapes[i]);
            id.map_or_else(|| "-".to_string(), |s| s.to_string())
        };
        let mut lines = vec![format!("input        {input}")];
        if shape("pad") != input.to_string() {
            lines.push(format!("padded       {}  (cropped again at the end)", shape("pad")));
        }
        for i in 1..=self.encoder.len() {
            let (skip, pooled) = (shape(&format!("enc{i}.act2")), shape(&format!("enc{i}.pool")));
            lines.push(format!("enc{i} skip    {skip:<16}→ pooled {pooled}"));
        }
        lines.push(format!("bottleneck   {}", shape("bottleneck.act2")));
        for i in (1..=self.decoder.len()).rev() {
            let [up, joined, y] = ["up", "concat", "act2"].map(|part| shape(&format!("dec{i}.{part}")));
            lines.push(format!("dec{i}  up {up:<14}+ skip{i} → concat {joined:<15}→ {y}"));
        }
        let head = match (self.decoder.is_empty(), self.scale) {
            (true, _) => "classifier".to_string(),
            (_, 1) => "output 1x1".into(),
            (_, scale) => format!("output {0}x{0}", 3 * scale),
        };
        lines.push(format!("{head:<13}{}", graph.output_shape(input)?));
        Ok(lines.join("\n"))
    }
}
