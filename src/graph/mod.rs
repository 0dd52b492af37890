//! Graphs: nodes are operators with their weights, values are NCHW tensors.
//!
//! [`Graph`] is in `structure.rs`, its named inputs and outputs in `ports.rs`, and its analysis in `analysis.rs`.
//! The trait [`Operator`] is in `operator.rs`, the list of operators is below. Each operator family has one file with
//! its struct, its shape rule and its CPU implementation. Value ids never change: rewrites replace nodes, so a value
//! that survives optimisation can be compared with the same value of the original graph.

mod analysis;
mod axis;
mod encoders;
mod operator;
mod ports;
pub(crate) mod stored;
mod structure;

mod activation;
mod adaptive_pool;
mod batch_norm;
mod binary;
mod concat;
mod constant;
mod conv;
mod conv_transpose;
mod ends;
#[cfg(feature = "cpu")]
mod gemm;
mod matmul;
mod norm;
mod pad;
mod pointwise;
mod pool;
mod rearrange;
mod reduce;
mod resize;
mod softmax;
mod winograd;

pub(crate) use analysis::{fraction, scales};
pub use axis::Axis;
#[cfg(any(feature = "onnx", feature = "recipes"))]
pub(crate) use ends::Closing;
pub(crate) use ends::Ends;
#[cfg(feature = "cpu")]
pub use operator::Prepared;
pub use operator::{Operator, Reach};
pub(crate) use operator::{one, two, windows};
pub(crate) use ports::named;
pub use ports::{Extent, Input, Output};
pub use structure::{Graph, Node, ValueId};

pub use activation::{Activation, PRelu};
pub use adaptive_pool::AdaptivePool;
pub use batch_norm::BatchNorm;
pub use binary::{Binary, BinaryKind};
pub use concat::Concat;
pub use constant::Constant;
pub use conv::{Conv, Ending};
pub use conv_transpose::ConvTranspose;
pub use matmul::MatMul;
pub use norm::{Norm, NormOver};
pub use pad::{Crop, Pad, PadAmount, PadMode};
pub use pointwise::{Pointwise, Source, Step};
pub use pool::{Pool, PoolKind};
pub use rearrange::{DepthOrder, Rearrange, Slice};
pub use reduce::{Reduce, ReduceKind};
pub use resize::{Coordinates, Interpolation, Resize, ResizeTo, Rounding};
pub use softmax::{ArgMax, Softmax};
pub(crate) use winograd::transform_weights;

operator::operators! {
    $
    /// Convolution over the channel concatenation of its inputs.
    Conv(Conv),
    /// Transposed convolution.
    ConvTranspose(ConvTranspose),
    /// Max or average pooling.
    Pool(Pool),
    /// Means of a given number of windows.
    AdaptivePool(AdaptivePool),
    /// Sum, mean and extremes along axes.
    Reduce(Reduce),
    /// Scale and shift for each channel.
    BatchNorm(BatchNorm),
    /// Group, instance and layer norm.
    Norm(Norm),
    /// Pointwise function.
    Activation(Activation),
    /// Leaky ReLU with a slope for each channel.
    PRelu(PRelu),
    /// Arithmetic on two tensors.
    Binary(Binary),
    /// An expression: a choice between two tensors, or several pointwise operators that a rewrite merged.
    Pointwise(Pointwise),
    /// A constant tensor of the network.
    Constant(Constant),
    /// Products of computed matrices.
    MatMul(MatMul),
    /// Concatenation along an axis.
    Concat(Concat),
    /// Nearest, bilinear or bicubic resampling.
    Resize(Resize),
    /// Reshape, transpose, slice and other moves of elements.
    Rearrange(Rearrange),
    /// Padding by fixed amounts or up to a multiple.
    Pad(Pad),
    /// Cropping to another value's size.
    Crop(Crop),
    /// Softmax along an axis.
    Softmax(Softmax),
    /// The index of the channel with the largest value.
    ArgMax(ArgMax),
}
