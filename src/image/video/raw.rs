//! Frames without a header: interleaved samples, rows from the top.

use crate::error::Result;
use crate::image::files::{interleave, samples};
use crate::image::{Depth, Picture};
use crate::recipe::Channels;
use crate::tensor::{Shape, Tensor};

/// The layout of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    /// 1 (grey) or 3 (RGB).
    pub(super) channels: usize,
    /// Bytes of a sample, 1 or 2, little-endian.
    pub(super) bytes: usize,
}

impl Raw {
    pub(super) fn frame_bytes(self, [h, w]: [usize; 2]) -> usize {
        Shape::new(self.bytes, self.channels, h, w).elements()
    }

    pub(super) fn decode(self, bytes: &[u8], [h, w]: [usize; 2]) -> Result<Picture> {
        let data = match self.bytes {
            1 => self.planes(bytes, |[v]: [u8; 1]| f32::from(v)),
            _ => self.planes(bytes, |v| f32::from(u16::from_le_bytes(v)) / 257.0),
        };
        let depth = if self.bytes == 1 { Depth::Eight } else { Depth::Sixteen };
        Picture::new(Tensor::new(Shape::new(1, self.channels, h, w), data)?, depth)
    }

    /// Splits interleaved samples into planes.
    fn planes<const N: usize>(self, bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let samples = bytes.as_chunks::<N>().0;
        let plane = |c: usize| samples.iter().skip(c).step_by(self.channels);
        (0..self.channels).flat_map(plane).map(|&sample| value(sample)).collect()
    }

    pub(super) fn encode(self, picture: &Picture) -> Result<Vec<u8>> {
        let channels = if self.channels == 3 { Channels::Rgb } else { Channels::Gray };
        // Without opacity, if it has any.
        let picture = Picture::new(picture.to_channels(channels), picture.depth())?;
        Ok(match self.bytes {
            1 => samples(&picture, Depth::Eight),
            _ => interleave(&picture, 65535.0, |v| (v.round() as u16).to_le_bytes()),
        })
    }
}
