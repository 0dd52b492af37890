//! New backgrounds for cut-outs.

use super::picture::bring;
use super::resample::{Filter, resize};
use super::{Depth, Picture};
use crate::error::Result;
use crate::recipe::{Channels, Transfer};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// What lies behind a picture where it is transparent.
#[derive(Debug, Clone, PartialEq)]
pub enum Backdrop {
    /// One colour: red, green, blue on the sRGB curve.
    Color([u8; 3]),
    /// A picture, scaled until it covers the other one, and cropped at both sides alike.
    Picture(Arc<Picture>),
}

impl Backdrop {
    /// Three planes of that height and width, in the units and on the transfer function of files of that depth.
    fn planes(&self, size @ [h, w]: [usize; 2], depth: Depth) -> Tensor {
        let shape = Shape::new(1, 3, h, w);
        let (mut planes, transfer) = match self {
            Backdrop::Color(color) => {
                (Tensor::from_fn(shape, |i| f32::from(color[i / (h * w)])), Transfer::Srgb)
            }
            Backdrop::Picture(picture) => {
                let own = [picture.height(), picture.width()];
                let factor = (h as f64 / own[0] as f64).max(w as f64 / own[1] as f64);
                let scaled =
                    [0, 1].map(|axis| ((own[axis] as f64 * factor).round() as usize).max(size[axis]));
                let planes = picture.in_steps(Channels::Rgb);
                let planes = if scaled == own { planes } else { resize(&planes, scaled, Filter::Bicubic) };
                let [top, left] = [(scaled[0] - h) / 2, (scaled[1] - w) / 2];
                (planes.part(top..top + h, left..left + w), picture.depth().transfer())
            }
        };
        bring(planes.data_mut(), 255.0, [transfer, depth.transfer()]);
        let units = depth.white() / 255.0;
        // Integers have nothing beyond white.
        let most = if depth == Depth::Float { f32::INFINITY } else { depth.white() };
        planes.data_mut().iter_mut().for_each(|v| *v = (*v * units).clamp(0.0, most));
        planes
    }
}

impl Picture {
    /// The picture without its opacity, over a backdrop. Values are mixed as files store them: on the sRGB curve for
    /// 8 and 16 bits, as mattes are defined and browsers mix; linear light for floats.
    ///
    /// # Errors
    /// None for a picture that is one.
    pub fn over(&self, backdrop: &Backdrop) -> Result<Picture> {
        let Some(alpha) = self.alpha() else { return Ok(self.clone()) };
        let behind = backdrop.planes([self.height(), self.width()], self.depth());
        let front = self.to_channels(Channels::Rgb);
        let pixels = alpha.data().len();
        let mixed = Tensor::from_fn(front.shape(), |i| {
            let (front, behind) = (front.data()[i], behind.data()[i]);
            behind + (front - behind) * alpha.data()[i % pixels]
        });
        let picture = Picture::new(mixed, self.depth())?;
        Ok(picture.with_georeference(self.georeference().cloned()))
    }
}
