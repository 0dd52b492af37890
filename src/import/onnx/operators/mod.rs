//! Maps ONNX's operators to those of this project. Unsupported operators are errors that name them; nothing is skipped.

mod axes;
mod matrices;
mod norms;
mod pointwise;
mod windows;

use super::array::Array;
use super::build::{Builder, Live, Value};
use super::node::{Reader, axes, axis, extent};
use super::view::{View, broadcast, product};
use crate::error::{Error, Result};
use crate::graph::{
    Activation, ArgMax, Axis, BatchNorm, Binary, BinaryKind, Concat, Conv, ConvTranspose, Coordinates,
    Interpolation, MatMul, Norm, NormOver, Op, PRelu, Pad, PadAmount, PadMode, Pool, PoolKind, Reduce,
    ReduceKind, Resize, ResizeTo, Rounding, Softmax, ValueId,
};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

impl<'a> Builder<'a> {
    /// A node that computes something from computed tensors.
    pub(super) fn operator(&mut self, reader: &Reader<'a>) -> Result<Live> {
        if let Some(activation) = activation(reader) {
            return self.activate(reader, activation);
        }
        match reader.op() {
            "Clip" => {
                let bound = |i: usize, name: &str, default: f32| match self.optional_constant(reader, i)? {
                    Some(array) => Ok::<_, Error>(array.floats().first().copied().unwrap_or(default)),
                    None => Ok(reader.float(name, default)),
                };
                let (min, max) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
                self.activate(reader, Activation::Clip { min, max })
            }
            "Conv" => self.conv(reader),
            "ConvTranspose" => self.conv_transpose(reader),
            "MaxPool" | "AveragePool" => self.pool(reader),
            "GlobalAveragePool" => self.global(reader, ReduceKind::Mean),
            "GlobalMaxPool" => self.global(reader, ReduceKind::Max),
            "ReduceMean" => self.reduce(reader, ReduceKind::Mean),
            "ReduceSum" => self.reduce(reader, ReduceKind::Sum),
            "ReduceMax" => self.reduce(reader, ReduceKind::Max),
            "ReduceMin" => self.reduce(reader, ReduceKind::Min),
            "ReduceL2" | "ReduceSumSquare" => self.reduce(reader, ReduceKind::Sum),
            "BatchNormalization" => self.batch_norm(reader),
            "InstanceNormalization" | "GroupNormalization" => self.group_norm(reader),
            "LayerNormalization" => self.layer_norm(reader),
            "PRelu" => self.prelu(reader),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" => self.arithmetic(reader),
            "Sum" | "Min" | "Max" | "Mean" => self.variadic(reader),
            "Selu" => {
                let (alpha, gamma) = (reader.float("alpha", 1.673_263_2), reader.float("gamma", 1.050_701));
                let elu = self.activate(reader, Activation::Elu(alpha))?;
                self.affine(reader.name(), &elu, vec![gamma], vec![0.0])
            }
            "Attention" => self.attention(reader),
            "MatMul" => self.matmul(reader),
            "Gemm" => self.gemm(reader),
            "Softmax" => self.softmax(reader),
            "ArgMax" => self.arg_max(reader),
            "Concat" => self.concat(reader),
            "Pad" => self.pad(reader),
            "Resize" | "Upsample" => self.resize(reader),
            _ => Err(reader.unsupported("there is no kernel for it")),
        }
    }
}

/// Functions of one element.
fn activation(reader: &Reader<'_>) -> Option<Activation> {
    Some(match reader.op() {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu(reader.float("alpha", 0.01)),
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "HardSigmoid" => {
            Activation::HardSigmoid { alpha: reader.float("alpha", 0.2), beta: reader.float("beta", 0.5) }
        }
        "HardSwish" => Activation::HardSwish,
        "Elu" => Activation::Elu(reader.float("alpha", 1.0)),
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "Mish" => Activation::Mish,
        "Swish" if !reader.has("alpha") => Activation::Silu,
        "Gelu" if reader.text("approximate", "none") == "tanh" => Activation::GeluTanh,
        "Gelu" => Activation::Gelu,
        "Erf" => Activation::Erf,
        "Exp" => Activation::Exp,
        "Log" => Activation::Log,
        "Sqrt" => Activation::Sqrt,
        "Abs" => Activation::Abs,
        "Neg" => Activation::Neg,
        "Reciprocal" => Activation::Reciprocal,
        "Sin" => Activation::Sin,
        "Cos" => Activation::Cos,
        "Floor" => Activation::Floor,
        "Ceil" => Activation::Ceil,
        "Round" => Activation::Round,
        "Sign" => Activation::Sign,
        _ => return None,
    })
}

/// How [`Builder::channels`] moved the axes: the extents after the move, the original axis of each, and the one that
/// holds the channels.
struct Moved {
    dims: Vec<usize>,
    order: Vec<usize>,
    at: usize,
}

/// A shape with the extents before some axes as pictures, those axes as channels, and the extents after them as rows
/// and columns.
fn around(dims: &[usize], axes: std::ops::Range<usize>) -> Result<Shape> {
    let w = if axes.end < dims.len() { dims[dims.len() - 1] } else { 1 };
    let behind = product(&dims[axes.end..]);
    let h = behind.checked_div(w).unwrap_or(0);
    Shape::new(product(&dims[..axes.start]), product(&dims[axes]), h, w).check("operand")
}

/// The inverse of a permutation of axes.
fn inverse(order: &[usize]) -> Vec<usize> {
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
    back
}

/// Refuses weights that are not finite, because the zeros in unused lanes would turn into NaN.
fn finite(weight: Arc<Tensor>) -> Result<Arc<Tensor>> {
    match weight.data().iter().find(|v| !v.is_finite()) {
        Some(v) => Err(Error::shape("weight", "finite numbers", v)),
        None => Ok(weight),
    }
}
