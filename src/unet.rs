//! The U-Net family (Ronneberger, Fischer and Brox 2015) as a configuration that builds a [`Graph`].
//!
//! An encoder level is a ConvBlock, whose result is the skip, and a 2x2 max pool. The bottleneck is a ConvBlock. A
//! decoder level is up-sampling by 2, concatenation with the skip, and a ConvBlock. A 1x1 convolution follows. A
//! ConvBlock is two times 3x3 convolution, batch normalisation (eps 1e-5) and activation. Options of [`UnetConfig`]
//! exchange each of these.

use crate::error::{Error, Result};
use crate::graph::{
    self, Activation, BatchNorm, Binary, Concat, Conv, ConvTranspose, Crop, Graph, NormOver, Pad, PadAmount,
    PadMode, Pool, Reduce, Resize, ResizeTo, Softmax, ValueId,
};
use crate::tensor::{Random, Shape, Tensor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Epsilon of the norms: PyTorch's default.
const EPS: f64 = 1e-5;

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
    /// The result's height and width for one pixel of the input, 1 to 4. From 2 on, the last layer is a transposed
    /// convolution of stride `scale` and kernel `3 * scale`, which is a 3x3 convolution and a pixel shuffle in one
    /// (Shi et al. 2016).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub scale: usize,
    /// How a picture is padded if its sides are not multiples of `2^levels`.
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
    with_scale(scale: usize),
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
            scale: 1,
            pad: PadMode::default(),
        }
    }

    /// Sides are padded to multiples of this number, `2^levels`.
    pub fn stride(&self) -> usize {
        1 << self.encoder.len()
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
        if self.residual && self.in_channels < self.out_channels {
            return refuse("residual", "at most as many channels out as in", self.out_channels.to_string());
        }
        Ok(())
    }

    /// Builds the graph with weights from `weights`. Layers are named `enc1.conv1` … `dec1.norm2`, `output`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a configuration that contradicts itself, and errors of `weights`.
    pub fn build(&self, weights: &mut dyn Weights) -> Result<Graph> {
        self.check()?;
        let graph = Graph::new(self.in_channels);
        let mut builder = Builder { config: self, weights, graph };
        let pad = Pad { amount: PadAmount::Multiple(self.stride()), mode: self.pad };
        let x = builder.graph.push("pad", pad, &[Graph::INPUT])?;
        let mut y = (x, self.in_channels);
        let mut skips = Vec::new();
        for (i, &width) in self.encoder.iter().enumerate() {
            let skip = builder.block(&format!("enc{}", i + 1), y, width)?;
            skips.push(skip);
            y = (builder.graph.push(&format!("enc{}.pool", i + 1), Pool::MAX_2X2, &[skip.0])?, width);
        }
        y = builder.block_dilated("bottleneck", y, self.bottleneck, self.dilation)?;
        if self.decoder.is_empty() {
            let mean = builder.graph.push("average", Reduce::GLOBAL_AVERAGE, &[y.0])?;
            let scores = builder.conv("classifier", (mean, y.1), self.out_channels, 1, true)?;
            return builder.finish(scores);
        }
        for (i, (&width, skip)) in self.decoder.iter().zip(skips.into_iter().rev()).enumerate() {
            let stage = format!("dec{}", self.encoder.len() - i);
            let up = builder.up(&stage, y, self.up.as_ref().map_or(y.1, |up| up[i]))?;
            let parts = match self.concat {
                ConcatOrder::UpSkip => [up.0, skip.0],
                ConcatOrder::SkipUp => [skip.0, up.0],
            };
            let joined = builder.graph.push(&format!("{stage}.concat"), Concat::default(), &parts)?;
            y = builder.block(&stage, (joined, up.1 + skip.1), width)?;
        }
        if self.scale > 1 {
            let result = builder.enlarged(y)?;
            return builder.finish(result);
        }
        let mut result = builder.conv("output", y, self.out_channels, 1, true)?;
        if self.residual {
            let first = builder.first_channels(x)?;
            result = builder.graph.push("residual", Binary::ADD, &[first, result])?;
        }
        let cropped = builder.graph.push("crop", Crop, &[result, Graph::INPUT])?;
        builder.finish(cropped)
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

/// A value and its channels.
type Wide = (ValueId, usize);

struct Builder<'a> {
    config: &'a UnetConfig,
    weights: &'a mut dyn Weights,
    graph: Graph,
}

impl Builder<'_> {
    fn vector(&mut self, name: &str, len: usize) -> Result<Arc<[f32]>> {
        Ok(self.weights.tensor(name, Shape::new(len, 1, 1, 1))?.data().into())
    }

    /// A convolution with its weights, and without dilation.
    fn weighted(&mut self, name: &str, from: usize, to: usize, kernel: usize, bias: bool) -> Result<Conv> {
        let weight = self.weights.tensor(&format!("{name}.weight"), Shape::new(to, from, kernel, kernel))?;
        let bias = if bias { Some(self.vector(&format!("{name}.bias"), to)?) } else { None };
        Ok(Conv::new(weight, bias))
    }

    fn conv(&mut self, name: &str, (x, from): Wide, to: usize, kernel: usize, bias: bool) -> Result<ValueId> {
        let conv = self.weighted(name, from, to, kernel, bias)?;
        self.graph.push(name, conv.same(), &[x])
    }

    /// Two times convolution, norm, activation.
    fn block(&mut self, stage: &str, x: Wide, width: usize) -> Result<Wide> {
        self.block_dilated(stage, x, width, 1)
    }

    fn block_dilated(&mut self, stage: &str, x: Wide, width: usize, dilation: usize) -> Result<Wide> {
        let (mut y, mut from) = x;
        for i in 1..=2 {
            let name = format!("{stage}.conv{i}");
            let conv =
                Conv { dilation: [dilation; 2], ..self.weighted(&name, from, width, 3, self.config.bias)? };
            y = self.graph.push(&name, conv.same(), &[y])?;
            y = self.norm(&format!("{stage}.norm{i}"), y, width)?;
            let activation = match self.config.activation {
                BlockActivation::Relu => Activation::Relu,
                BlockActivation::LeakyRelu(slope) => Activation::LeakyRelu(slope),
            };
            y = self.graph.push(&format!("{stage}.act{i}"), activation, &[y])?;
            from = width;
        }
        Ok((y, width))
    }

    fn norm(&mut self, name: &str, x: ValueId, width: usize) -> Result<ValueId> {
        let norm = self.config.norm;
        let mut part = |part: &str| self.vector(&format!("{name}.{part}"), width);
        match norm {
            Norm::None => Ok(x),
            Norm::Batch => {
                let (gamma, beta) = (part("weight")?, part("bias")?);
                let (mean, var) = (part("running_mean")?, part("running_var")?);
                self.graph.push(name, BatchNorm::new(&gamma, &beta, &mean, &var, EPS)?, &[x])
            }
            Norm::Instance => {
                let (scale, shift) = (Some(part("weight")?), Some(part("bias")?));
                let norm = graph::Norm::new(NormOver::Groups(width), EPS as f32);
                self.graph.push(name, graph::Norm { scale, shift, ..norm }, &[x])
            }
        }
    }

    /// The channels of the input that a residual adds.
    fn first_channels(&mut self, x: ValueId) -> Result<ValueId> {
        let (from, to) = (self.config.in_channels, self.config.out_channels);
        if from == to {
            return Ok(x);
        }
        let one_hot = Tensor::from_fn(Shape::new(to, from, 1, 1), |i| f32::from(i % from == i / from));
        self.graph.push("residual.channels", Conv::new(Arc::new(one_hot), None), &[x])
    }

    /// The last layer of a network whose result is larger than its input.
    fn enlarged(&mut self, (x, from): Wide) -> Result<ValueId> {
        let (to, scale) = (self.config.out_channels, self.config.scale);
        let weight = self.weights.tensor("output.weight", Shape::new(from, to, 3 * scale, 3 * scale))?;
        let bias = self.vector("output.bias", to)?;
        let shuffle = ConvTranspose { padding: [scale; 4], ..ConvTranspose::new(weight, Some(bias), scale) };
        let result = self.graph.push("output", shuffle, &[x])?;
        let factor = ResizeTo::Scale([scale as f32; 2]);
        if !self.config.residual {
            let size = self.graph.push("size", Resize::nearest(factor), &[Graph::INPUT])?;
            return self.graph.push("crop", Crop, &[result, size]);
        }
        let input = self.first_channels(Graph::INPUT)?;
        let input = self.graph.push("bicubic", Resize::bicubic(factor), &[input])?;
        let cropped = self.graph.push("crop", Crop, &[result, input])?;
        self.graph.push("residual", Binary::ADD, &[input, cropped])
    }

    fn up(&mut self, stage: &str, (x, from): Wide, to: usize) -> Result<Wide> {
        let name = format!("{stage}.up");
        let twice = ResizeTo::Scale([2.0, 2.0]);
        let y = match self.config.upsample {
            Upsample::ConvTranspose => {
                let weight = self.weights.tensor(&format!("{name}.weight"), Shape::new(from, to, 2, 2))?;
                let bias = self.vector(&format!("{name}.bias"), to)?;
                self.graph.push(&name, ConvTranspose::new(weight, Some(bias), 2), &[x])?
            }
            Upsample::NearestConv => {
                let y = self.graph.push(&format!("{stage}.resize"), Resize::nearest(twice), &[x])?;
                self.conv(&name, (y, from), to, 3, true)?
            }
            Upsample::BilinearConv1x1 => {
                let y = self.graph.push(&format!("{stage}.resize"), Resize::bilinear(twice, false), &[x])?;
                self.conv(&name, (y, from), to, 1, true)?
            }
        };
        Ok((y, to))
    }

    /// Adds the output function and finishes the graph.
    fn finish(mut self, x: ValueId) -> Result<Graph> {
        match self.config.output {
            Output::None => self.graph.set_output(x),
            Output::Sigmoid => drop(self.graph.push("sigmoid", Activation::Sigmoid, &[x])?),
            Output::Softmax => drop(self.graph.push("softmax", Softmax::default(), &[x])?),
        }
        Ok(self.graph)
    }
}
