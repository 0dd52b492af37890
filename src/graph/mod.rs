//! Graphs: nodes are operators with their weights, values are NCHW tensors.
//!
//! [`Graph`] is in `structure.rs`, its named inputs and outputs in `ports.rs`, and its analysis in `analysis.rs`.
//! [`Operator`] and the list of operators are in `operator.rs`. Each operator family has one file with its struct, its
//! shape rule and its CPU implementation. Value ids never change: rewrites replace nodes, so a value that survives
//! optimisation can be compared with the same value of the original graph.

mod analysis;
mod axis;
mod operator;
mod ports;
pub(crate) mod stored;
mod structure;

mod activation;
mod batch_norm;
mod binary;
mod concat;
mod constant;
mod conv;
mod conv_transpose;
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

pub use axis::Axis;
#[cfg(feature = "cpu")]
pub use operator::Prepared;
pub use operator::{Op, Operator, Reach};
pub(crate) use operator::{one, two, windows};
pub(crate) use ports::named;
pub use ports::{Extent, Input, Output};
pub use structure::{Graph, Node, ValueId};

pub use activation::{Activation, PRelu};
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
