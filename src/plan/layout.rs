//! How tensors lie on the device: channels last, in vec4s of f32 or f16.

use crate::tensor::Shape;

/// How numbers are stored on the device. Sums are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats: half the memory and traffic.
    F16,
}

impl Precision {
    /// Bytes of a stored element.
    pub const fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F16 => 2,
        }
    }

    pub(super) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Precision::F32 => bytemuck::cast_slice(values).to_vec(),
            Precision::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        }
    }

    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Precision::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Precision::F16 => {
                bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        })
    }
}

/// Bytes of a value on the device.
pub(super) fn value_bytes(shape: Shape, precision: Precision) -> u64 {
    (Shape { c: vec4s(shape.c) * 4, ..shape }.elements() as u64).saturating_mul(precision.bytes() as u64)
}

/// Number of vec4s for `channels` channels.
pub(crate) fn vec4s(channels: usize) -> usize {
    channels.div_ceil(4)
}
