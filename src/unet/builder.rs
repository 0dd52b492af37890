//! The graph of a [`UnetConfig`].

use super::{BlockActivation, ConcatOrder, Norm, Output, UnetConfig, Upsample, Weights};
use crate::error::Result;
use crate::graph::{
    self, Activation, BatchNorm, Binary, BinaryKind, Concat, Conv, ConvTranspose, Crop, Graph, NormOver, Op,
    Pad, PadAmount, PadMode, Pool, PoolKind, Reduce, Resize, ResizeTo, Softmax, ValueId,
};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// Epsilon of the norms: PyTorch's default.
const EPS: f64 = 1e-5;

/// Where less than this part of a cell is known, its mean is not scaled up further.
const LEAST_KNOWN: f32 = 1e-4;

pub(super) fn build(config: &UnetConfig, weights: &mut dyn Weights) -> Result<Graph> {
    let graph = Graph::new(config.in_channels);
    let mut builder = Builder { config, weights, graph };
    let pad = Pad { amount: PadAmount::Multiple(config.stride()), mode: config.pad };
    let x = builder.graph.push("pad", pad, &[Graph::INPUT])?;
    let x = if config.fill > 0 { builder.filled(x)? } else { x };
    let mut y = (x, config.in_channels);
    let mut skips = Vec::new();
    for (i, &width) in config.encoder.iter().enumerate() {
        let skip = builder.block(&format!("enc{}", i + 1), y, width)?;
        skips.push(skip);
        y = (builder.graph.push(&format!("enc{}.pool", i + 1), Pool::MAX_2X2, &[skip.0])?, width);
    }
    y = builder.block_dilated("bottleneck", y, config.bottleneck, config.dilation)?;
    if config.decoder.is_empty() {
        let mean = builder.graph.push("average", Reduce::GLOBAL_AVERAGE, &[y.0])?;
        let scores = builder.conv("classifier", (mean, y.1), config.out_channels, 1, true)?;
        return builder.finish(scores);
    }
    for (i, (&width, skip)) in config.decoder.iter().zip(skips.into_iter().rev()).enumerate() {
        let stage = format!("dec{}", config.encoder.len() - i);
        let up = builder.up(&stage, y, config.up.as_ref().map_or(y.1, |up| up[i]))?;
        let parts = match config.concat {
            ConcatOrder::UpSkip => [up.0, skip.0],
            ConcatOrder::SkipUp => [skip.0, up.0],
        };
        let joined = builder.graph.push(&format!("{stage}.concat"), Concat::default(), &parts)?;
        y = builder.block(&stage, (joined, up.1 + skip.1), width)?;
    }
    if config.scale > 1 {
        let result = builder.enlarged(y)?;
        return builder.finish(result);
    }
    let mut result = builder.conv("output", y, config.out_channels, 1, true)?;
    if config.residual {
        let first = builder.picture(x)?;
        result = builder.graph.push("residual", Binary::ADD, &[first, result])?;
    }
    let cropped = builder.graph.push("crop", Crop, &[result, Graph::INPUT])?;
    builder.finish(cropped)
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
        self.same(name, conv, x)
    }

    /// A convolution that keeps the size.
    fn same(&mut self, name: &str, conv: Conv, x: ValueId) -> Result<ValueId> {
        let conv = conv.same();
        let amount = PadAmount::Fixed(conv.padding.map(|rows| rows as isize));
        if self.config.padding_mode == PadMode::Zero || conv.padding == [0; 4] {
            return self.graph.push(name, conv, &[x]);
        }
        let pad = Pad { amount, mode: self.config.padding_mode };
        let padded = self.graph.push(&format!("{name}.pad"), pad, &[x])?;
        self.graph.push(name, Conv { padding: [0; 4], ..conv }, &[padded])
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
            y = self.same(&name, conv, y)?;
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
    fn picture(&mut self, x: ValueId) -> Result<ValueId> {
        let (from, to) = (self.config.in_channels, self.config.out_channels);
        if from == to { Ok(x) } else { self.channels("picture", x, 0, to) }
    }

    /// `count` channels of the input from `first` on.
    fn channels(&mut self, name: &str, x: ValueId, first: usize, count: usize) -> Result<ValueId> {
        let from = self.config.in_channels;
        let one_hot =
            Tensor::from_fn(Shape::new(count, from, 1, 1), |i| f32::from(i % from == first + i / from));
        self.graph.push(name, Conv::new(Arc::new(one_hot), None), &[x])
    }

    /// The input with its holes filled. Known pixels are averaged down a pyramid, in which a cell is known as soon as a
    /// quarter of it is. Each hole takes its value from the finest level that knows it and is smoothed there. Known pixels
    /// do not change.
    fn filled(&mut self, x: ValueId) -> Result<ValueId> {
        let (picture, levels) = (self.config.in_channels - 1, self.config.fill);
        let average = |kernel: usize, stride: usize, padding: usize| Pool {
            kind: PoolKind::AverageWithPadding,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 4],
            ..Pool::MAX_2X2
        };
        let at_least = |min: f32| Activation::Clip { min, max: f32::INFINITY };
        let [mul, div] = [BinaryKind::Mul, BinaryKind::Div].map(Binary::new);

        let mask = self.channels("mask", x, picture, 1)?;
        let not = Conv::new(Arc::new(Tensor::from_fn(Shape::new(1, 1, 1, 1), |_| -1.0)), Some([1.0].into()));
        let mut known = self.graph.push("known", not, &[mask])?;
        let colours = self.channels("colours", x, 0, picture)?;
        let mut colours = self.graph.push("colours.known", mul, &[colours, known])?;
        let mut pyramid = Vec::new();
        for level in 1..=levels {
            pyramid.push((colours, known));
            let mut push = |part: &str, op: Op, from: &[ValueId]| {
                self.graph.push(&format!("fill{level}.{part}"), op, from)
            };
            let half = average(2, 2, 0);
            let mean = push("mean", half.into(), &[colours])?;
            let share = push("share", half.into(), &[known])?;
            let some = push("some", at_least(LEAST_KNOWN).into(), &[share])?;
            let factor = push("factor", Activation::Reciprocal.into(), &[some])?;
            let most = Activation::Clip { min: f32::NEG_INFINITY, max: 4.0 };
            let factor = push("most", most.into(), &[factor])?;
            colours = push("colours", mul.into(), &[mean, factor])?;
            known = push("known", mul.into(), &[share, factor])?;
        }
        let wide = average(7, 1, 3);
        let mean = self.graph.push("fill.mean", wide, &[colours])?;
        let share = self.graph.push("fill.share", wide, &[known])?;
        let some = self.graph.push("fill.some", at_least(LEAST_KNOWN), &[share])?;
        let mut y = self.graph.push("fill", div, &[mean, some])?;
        for (level, (colours, known)) in pyramid.into_iter().enumerate().rev() {
            let twice = Resize::bilinear(ResizeTo::Scale([2.0; 2]), false);
            y = self.graph.push(&format!("fill{level}.up"), twice, &[y])?;
            y = self.inside(&format!("fill{level}"), y, colours, known)?;
            for pass in 1..=2 {
                let stage = format!("fill{level}.smooth{pass}");
                let smooth = Pool { kind: PoolKind::Average, ..average(3, 1, 1) };
                y = self.graph.push(&stage, smooth, &[y])?;
                y = self.inside(&stage, y, colours, known)?;
            }
        }
        self.graph.push("prepared", Concat::default(), &[y, mask])
    }

    /// `y` in holes, and the colours elsewhere. `colours` are 0 in holes.
    fn inside(&mut self, stage: &str, y: ValueId, colours: ValueId, known: ValueId) -> Result<ValueId> {
        let [add, sub, mul] = [BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul].map(Binary::new);
        let outside = self.graph.push(&format!("{stage}.outside"), mul, &[known, y])?;
        let inside = self.graph.push(&format!("{stage}.inside"), sub, &[y, outside])?;
        self.graph.push(&format!("{stage}.filled"), add, &[colours, inside])
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
        let input = self.picture(Graph::INPUT)?;
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
