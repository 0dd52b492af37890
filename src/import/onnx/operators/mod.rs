//! Maps ONNX's operators to those of this project. Unsupported operators are errors that name them; nothing is skipped.

mod axes;
mod broadcasts;
mod composites;
mod einsum;
mod levels;
mod matrices;
mod microsoft;
mod norms;
mod pointwise;
mod quantised;
mod windows;

use super::array::{Array, Kind};
use super::build::{Builder, Live, Value};
use super::emit::ADAPTIVE_POOL;
use super::node::{Reader, axes, axis, extent};
use super::view::{View, any_shape, broadcast, product};
use crate::error::{Error, Result};
use crate::graph::{
    Activation, AdaptivePool, ArgMax, Axis, BatchNorm, Binary, BinaryKind, Concat, Conv, ConvTranspose,
    Coordinates, Interpolation, MatMul, Norm, NormOver, Op, PRelu, Pad, PadAmount, PadMode, Pointwise, Pool,
    PoolKind, Reduce, ReduceKind, Resize, ResizeTo, Rounding, Softmax, ValueId,
};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

pub(super) use microsoft::{SHARED, foreign};
pub(super) use quantised::QUANTISED;

impl<'a> Builder<'a> {
    /// The results of a node that computes something.
    pub(super) fn results(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        if let Some(made) = self.quantised(reader)? {
            return Ok(made);
        }
        if reader.node.domain == "com.microsoft" && !SHARED.contains(&reader.op()) {
            return self.microsoft(reader);
        }
        self.operator(reader).map(|live| vec![Value::Live(live)])
    }

    /// A node that computes something from computed tensors.
    pub(super) fn operator(&mut self, reader: &Reader<'a>) -> Result<Live> {
        if let Some(activation) = activation(reader) {
            return self.activate(reader, activation);
        }
        match reader.op() {
            "Clip" => self.clip(reader),
            "Conv" => self.conv(reader),
            "ConvTranspose" => self.conv_transpose(reader),
            "MaxPool" | "AveragePool" => self.pool(reader),
            // ONNX has no such operator; other formats have.
            ADAPTIVE_POOL => self.adaptive_pool(reader),
            "GlobalAveragePool" => self.global(reader, ReduceKind::Mean),
            "GlobalMaxPool" => self.global(reader, ReduceKind::Max),
            "ReduceMean" => self.reduce(reader, ReduceKind::Mean),
            "ReduceSum" => self.reduce(reader, ReduceKind::Sum),
            "ReduceMax" => self.reduce(reader, ReduceKind::Max),
            "ReduceMin" => self.reduce(reader, ReduceKind::Min),
            "ReduceL1" | "ReduceL2" | "ReduceSumSquare" | "ReduceLogSum" => {
                self.reduce(reader, ReduceKind::Sum)
            }
            "ReduceLogSumExp" => self.log_sum_exp(reader),
            "BatchNormalization" => self.batch_norm(reader),
            "InstanceNormalization" | "GroupNormalization" => self.group_norm(reader),
            "LayerNormalization" => self.layer_norm(reader),
            "PRelu" => self.prelu(reader),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" => self.arithmetic(reader),
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" => {
                self.comparison(reader)
            }
            "Not" => self.not(reader),
            "IsNaN" => Ok(Live { kind: Kind::Bool, ..self.activate(reader, Activation::IsNan)? }),
            "IsInf" => self.is_infinite(reader),
            "Where" => self.choice(reader),
            "Mod" => self.modulo(reader),
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
            "LogSoftmax" => self.log_softmax(reader),
            "Hardmax" => self.hardmax(reader),
            "ScatterND" | "ScatterElements" | "Scatter" => self.scattered(reader),
            "ArgMax" | "ArgMin" => self.arg_max(reader),
            "Gather" => self.looked_up(reader),
            "Einsum" => self.einsum(reader),
            "CumSum" => self.cum_sum(reader),
            "Trilu" => self.triangle(reader),
            "Celu" => self.celu(reader),
            "Swish" => self.swish(reader, reader.float("alpha", 1.0)),
            "ThresholdedRelu" => self.thresholded(reader),
            "Shrink" => self.shrink(reader),
            "LpNormalization" => self.lp_norm(reader),
            "MeanVarianceNormalization" => self.mean_variance(reader),
            "RMSNormalization" | "SimplifiedLayerNormalization" => self.rms_norm(reader),
            "Concat" => self.concat(reader),
            "Pad" => self.pad(reader),
            "Resize" | "Upsample" => self.resize_or_truncate(reader),
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
        "Swish" if reader.float("alpha", 1.0) == 1.0 => Activation::Silu,
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
