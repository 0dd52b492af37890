//! Packs constants in the layout that kernels read: channels in vec4s, with zeros in lanes past the last channel.

use crate::graph::{Conv, ConvTranspose, transform_weights};
use crate::plan::Precision;
use crate::plan::layout::{value_bytes, vec4s};
use crate::tensor::Tensor;
use std::sync::Arc;

/// A constant, kept in its original form until a session uploads it.
#[derive(Debug, Clone)]
pub(crate) enum Constant {
    /// A value of the network, in the layout of the device's values.
    Tensor(Arc<Tensor>),
    /// One f32 for each channel, padded to `len`.
    Vector { values: Option<Arc<[f32]>>, len: usize },
    /// A convolution's weights as `[tap][in vec4][in lane][out]` with `columns` outputs in a row.
    Matrix { weight: Arc<Tensor>, shape: MatrixShape, columns: usize },
    /// 3x3 weights as Winograd's `G g Gt`, `[place in tile][in vec4][in lane][out]`, for tiles with sides of `size`
    /// outputs.
    Winograd { weight: Arc<Tensor>, shape: MatrixShape, columns: usize, size: usize },
    /// The weights of a transposed convolution whose kernel is as large as its stride, as `[in][tap][out vec4][out
    /// lane]`.
    Scatter { weight: Arc<Tensor>, columns: usize },
    /// A depthwise convolution's weights as `[tap][channel]`.
    Depthwise { weight: Arc<Tensor>, channels: usize },
}

/// The position of `(tap, in, out)` in a model's weight tensor.
#[derive(Debug, Clone)]
pub(crate) struct MatrixShape {
    /// Whether the tensor is `(in, out / groups, h, w)` rather than `(out, in / groups, h, w)`.
    transposed: bool,
    groups: usize,
    /// Channels of each source, one run of vec4s after the other.
    sources: Vec<usize>,
    /// Whether groups that do not fill vec4s are spread into one dense matrix with zeros.
    dense: bool,
}

impl Constant {
    pub(crate) fn conv(conv: &Conv, sources: Vec<usize>, dense: bool, columns: usize) -> Constant {
        let shape = MatrixShape { transposed: false, groups: conv.groups, sources, dense };
        Constant::Matrix { weight: conv.weight.clone(), shape, columns }
    }

    pub(crate) fn winograd(conv: &Conv, sources: Vec<usize>, size: usize, columns: usize) -> Constant {
        let shape = MatrixShape { transposed: false, groups: 1, sources, dense: false };
        Constant::Winograd { weight: conv.weight.clone(), shape, columns, size }
    }

    pub(crate) fn conv_transpose(conv: &ConvTranspose, dense: bool, columns: usize) -> Constant {
        let sources = vec![conv.weight.shape().n];
        let shape = MatrixShape { transposed: true, groups: conv.groups, sources, dense };
        Constant::Matrix { weight: conv.weight.clone(), shape, columns }
    }

    /// Size in bytes when packed.
    pub(crate) fn bytes(&self, precision: Precision) -> u64 {
        let (elements, size) = match self {
            Constant::Tensor(tensor) => return value_bytes(tensor.shape(), precision),
            Constant::Vector { len, .. } => (*len, 4),
            Constant::Depthwise { weight, channels } => {
                (weight.shape().pixels() * vec4s(*channels) * 4, precision.bytes())
            }
            Constant::Matrix { weight, shape, columns } => {
                (weight.shape().pixels() * shape.rows() * columns, precision.bytes())
            }
            Constant::Scatter { weight, columns } => {
                (vec4s(weight.shape().n) * 4 * columns, precision.bytes())
            }
            Constant::Winograd { shape, columns, size, .. } => {
                ((size + 2) * (size + 2) * shape.rows() * columns, precision.bytes())
            }
        };
        (elements * size) as u64
    }

    /// The packed bytes.
    pub(crate) fn pack(&self, precision: Precision) -> Vec<u8> {
        match self {
            Constant::Tensor(tensor) => {
                let s = tensor.shape();
                let (pixels, lanes) = (s.pixels(), vec4s(s.c) * 4);
                let mut packed = vec![0.0; s.n * pixels * lanes];
                for (i, &v) in tensor.data().iter().enumerate() {
                    let (plane, pixel) = (i / pixels, i % pixels);
                    packed[(plane / s.c * pixels + pixel) * lanes + plane % s.c] = v;
                }
                precision.encode(&packed)
            }
            Constant::Vector { values, len } => {
                let mut padded = vec![0.0f32; *len];
                if let Some(values) = values {
                    padded[..values.len()].copy_from_slice(values);
                }
                Precision::F32.encode(&padded)
            }
            Constant::Depthwise { weight, channels } => {
                let (taps, lanes) = (weight.shape().pixels(), vec4s(*channels) * 4);
                let mut packed = vec![0.0; taps * lanes];
                for (i, &v) in weight.data().iter().enumerate() {
                    packed[i % taps * lanes + i / taps] = v;
                }
                precision.encode(&packed)
            }
            Constant::Matrix { weight, shape, columns } => precision.encode(&shape.pack(weight, *columns)),
            Constant::Scatter { weight, columns } => {
                let s = weight.shape();
                let (taps, lanes) = (s.pixels(), vec4s(s.c) * 4);
                let mut packed = vec![0.0; vec4s(s.n) * 4 * columns];
                for (i, &v) in weight.data().iter().enumerate() {
                    let (pair, tap) = (i / taps, i % taps);
                    packed[pair / s.c * columns + tap * lanes + pair % s.c] = v;
                }
                precision.encode(&packed)
            }
            Constant::Winograd { weight, shape, columns, size } => {
                precision.encode(&shape.pack(&transform_weights(weight, *size), *columns))
            }
        }
    }
}

impl MatrixShape {
    /// Rows for each tap: input lanes that one output sees, with each source rounded up to vec4s.
    fn rows(&self) -> usize {
        if self.groups > 1 && !self.dense {
            return vec4s(self.sources[0] / self.groups) * 4;
        }
        self.sources.iter().map(|&c| vec4s(c) * 4).sum()
    }

    fn pack(&self, weight: &Tensor, columns: usize) -> Vec<f32> {
        let s = weight.shape();
        let (taps, rows, data) = (s.pixels(), self.rows(), weight.data());
        let mut packed = vec![0.0; taps * rows * columns];
        // The tensor is (outer, inner, taps). Which of the first two is `in` depends on its kind.
        let (per_group_out, per_group_in) =
            if self.transposed { (s.c, s.n / self.groups) } else { (s.n / self.groups, s.c) };
        for outer in 0..s.n {
            for inner in 0..s.c {
                let (group, out, within) = if self.transposed {
                    (outer / per_group_in, outer / per_group_in * per_group_out + inner, outer % per_group_in)
                } else {
                    (outer / per_group_out, outer, inner)
                };
                let row = if self.dense { self.row(group * per_group_in + within) } else { self.row(within) };
                for tap in 0..taps {
                    packed[(tap * rows + row) * columns + out] = data[(outer * s.c + inner) * taps + tap];
                }
            }
        }
        packed
    }

    /// The row of an input channel. Preceding sources count in whole vec4s.
    fn row(&self, mut channel: usize) -> usize {
        let mut row = 0;
        for &source in &self.sources {
            if channel < source {
                break;
            }
            channel -= source;
            row += vec4s(source) * 4;
        }
        row + channel
    }
}
