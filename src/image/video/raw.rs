//! Frames of samples without a header: a pixel's side by side, rows from the top.

use crate::error::Result;
use crate::image::files::{interleave, samples};
use crate::image::{Depth, Picture};
use crate::recipe::Channels;
use crate::tensor::{Shape, Tensor};

/// How samples lie.
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
        let shape = Shape::new(1, self.channels, h, w);
        let place = |i: usize| i % shape.pixels() * shape.c + i / shape.pixels();
        let wide = bytes.as_chunks::<2>().0;
        let (planes, depth) = match self.bytes {
            1 => (Tensor::from_fn(shape, |i| f32::from(bytes[place(i)])), Depth::Eight),
            _ => {
                let value = |i: usize| f32::from(u16::from_le_bytes(wide[place(i)])) / 257.0;
                (Tensor::from_fn(shape, value), Depth::Sixteen)
            }
        };
        Picture::new(planes, depth)
    }

    pub(super) fn encode(self, picture: &Picture) -> Result<Vec<u8>> {
        let channels = if self.channels == 3 { Channels::Rgb } else { Channels::Gray };
        // Without the opacity that it may have.
        let picture = Picture::new(picture.to_channels(channels), picture.depth())?;
        Ok(match self.bytes {
            1 => samples(&picture, Depth::Eight),
            _ => interleave(&picture, 65535.0, |v| (v.round() as u16).to_le_bytes()),
        })
    }
}
