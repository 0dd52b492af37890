//! Builds a graph from a state dict. Layers take their shapes from tensors and keep the names of the file.

use super::super::tensors::StateDict;
use crate::error::{Error, Result};
use crate::graph::{
    Activation, BatchNorm, Concat, Conv, ConvTranspose, Crop, Graph, Norm, NormOver, Op, PRelu, Pad,
    PadAmount, PadMode, ValueId,
};
use crate::model::Model;
use crate::recipe::{Decode, OutputRecipe, Recipe};
use crate::tensor::Shape;

/// Batch normalisation's epsilon: PyTorch's default.
const EPS: f64 = 1e-5;

/// A network in progress.
pub(super) struct Net<'a, 'b> {
    pub(super) dict: &'a mut StateDict<'b>,
    pub(super) graph: Graph,
    /// Shapes of all values for a picture of [`SIDE`] pixels a side.
    shapes: Vec<Shape>,
}

/// A side that all families take.
const SIDE: usize = 512;

impl<'a, 'b> Net<'a, 'b> {
    /// Starts a network whose first layer is the convolution `first`.
    pub(super) fn new(dict: &'a mut StateDict<'b>, first: &str) -> Result<Net<'a, 'b>> {
        let name = format!("{first}.weight");
        match dict.shape(&name) {
            Some(&[_, channels, _, _]) => Ok(Net::of_channels(dict, channels)),
            Some(other) => Err(Error::shape(format!("tensor {name}"), "4 extents", format!("{other:?}"))),
            None => Err(Error::Model(format!("missing tensor {name}"))),
        }
    }

    /// Starts a network that reads a picture of so many channels.
    pub(super) fn of_channels(dict: &'a mut StateDict<'b>, channels: usize) -> Net<'a, 'b> {
        Net { dict, graph: Graph::new(channels), shapes: vec![Shape::new(1, channels, SIDE, SIDE)] }
    }

    /// Channels of a value.
    pub(super) fn channels(&self, x: ValueId) -> usize {
        self.shapes[x.index()].c
    }

    pub(super) fn has(&self, tensor: &str) -> bool {
        self.dict.has(tensor)
    }

    pub(super) fn push(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        let op = op.into();
        let shapes: Vec<Shape> = inputs.iter().map(|input| self.shapes[input.index()]).collect();
        let made = op.rules().infer(&shapes).map_err(|e| e.at(name))?;
        self.shapes.extend(made);
        self.graph.push(name, op, inputs)
    }

    /// The weights of a convolution, and its bias if it has one.
    pub(super) fn take_conv(&mut self, name: &str) -> Result<Conv> {
        let weight = self.dict.take_kernel(&format!("{name}.weight"))?;
        let bias = format!("{name}.bias");
        let bias = if self.has(&bias) { Some(self.dict.take_vector(&bias)?) } else { None };
        Ok(Conv::new(weight, bias))
    }

    /// A convolution that keeps height and width.
    pub(super) fn conv(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let conv = self.take_conv(name)?.same();
        self.push(name, conv, &[x])
    }

    /// The weights of a transposed convolution, and its bias if it has one.
    pub(super) fn take_transposed(&mut self, name: &str, stride: usize) -> Result<ConvTranspose> {
        let Conv { weight, bias, .. } = self.take_conv(name)?;
        Ok(ConvTranspose::new(weight, bias, stride))
    }

    /// A transposed convolution whose kernel is as large as its stride.
    pub(super) fn up(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let mut up = self.take_transposed(name, 2)?;
        up.stride = up.kernel();
        self.push(name, up, &[x])
    }

    pub(super) fn batch_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        self.batch_norm_with(name, x, EPS)
    }

    /// The same with another epsilon.
    pub(super) fn batch_norm_with(&mut self, name: &str, x: ValueId, eps: f64) -> Result<ValueId> {
        let mut part = |part: &str| self.dict.take_vector(&format!("{name}.{part}"));
        let (gamma, beta) = (part("weight")?, part("bias")?);
        let (mean, var) = (part("running_mean")?, part("running_var")?);
        self.push(name, BatchNorm::new(&gamma, &beta, &mean, &var, eps)?, &[x])
    }

    /// The norm of that name: batch norm if there are statistics, else instance norm over `channels`, with scale and
    /// shift if there are any.
    pub(super) fn norm(&mut self, name: &str, x: ValueId, channels: usize) -> Result<ValueId> {
        if self.has(&format!("{name}.running_mean")) {
            return self.batch_norm(name, x);
        }
        let mut norm = Norm::new(NormOver::Groups(channels), EPS as f32);
        if self.has(&format!("{name}.weight")) {
            norm.scale = Some(self.dict.take_vector(&format!("{name}.weight"))?);
            norm.shift = Some(self.dict.take_vector(&format!("{name}.bias"))?);
        }
        self.push(name, norm, &[x])
    }

    /// A leaky ReLU with trained slopes: one, or one for each channel.
    pub(super) fn prelu(&mut self, name: &str, x: ValueId, channels: usize) -> Result<ValueId> {
        let mut slope = self.dict.take_vector(&format!("{name}.weight"))?;
        if let [one] = slope[..] {
            slope = vec![one; channels].into();
        }
        self.push(name, PRelu { slope }, &[x])
    }

    pub(super) fn relu(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        self.push(name, Activation::Relu, &[x])
    }

    pub(super) fn concat(&mut self, name: &str, parts: [ValueId; 2]) -> Result<ValueId> {
        self.push(name, Concat::default(), &parts)
    }

    /// Pads a map that was halved and doubled to the size of `like`, which is larger by a row or a column if it is
    /// odd.
    pub(super) fn fit(&mut self, name: &str, x: ValueId, like: ValueId, mode: PadMode) -> Result<ValueId> {
        let pad = Pad { amount: PadAmount::Fixed([0, 0, 1, 1]), mode };
        let padded = self.push(&format!("{name}.pad"), pad, &[x])?;
        self.push(&format!("{name}.crop"), Crop, &[padded, like])
    }

    /// The input, padded below and right to multiples of `multiple`.
    pub(super) fn padded_input(&mut self, multiple: usize, mode: PadMode) -> Result<ValueId> {
        self.push("pad", Pad { amount: PadAmount::Multiple(multiple), mode }, &[Graph::INPUT])
    }

    /// The result, cropped to the input's size.
    pub(super) fn crop_to_input(&mut self, x: ValueId) -> Result<ValueId> {
        self.push("crop", Crop, &[x, Graph::INPUT])
    }

    /// Finishes the network; the last layer is its result.
    pub(super) fn finish(self, family: &'static str, recipe: Recipe) -> Option<Model> {
        Some(Model::new(self.graph, recipe).of_family(family))
    }
}

/// The recipe of a network with one score for each class. A logit of 0 is a probability of 0.5.
pub(super) fn segment(threshold: f32) -> Recipe {
    let output = OutputRecipe { decode: Some(Decode::Mask), threshold, ..OutputRecipe::default() };
    Recipe { task: "segment".into(), output, ..Recipe::default() }
}
