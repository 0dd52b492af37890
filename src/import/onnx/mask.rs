//! The input of a mask beside the picture, which callers give as the last channel of the picture.

use super::layout::Layout;
use super::ports::{Declared, Dim, Picture};
use crate::tensor::Shape;

impl Declared {
    /// Whether it is called a mask and has one channel.
    pub(super) fn is_mask(&self) -> bool {
        let name = self.name.to_lowercase();
        let is_one = matches!(
            self.dims.as_deref(),
            Some([_, Dim::Fixed(1), _, _] | [_, _, _, Dim::Fixed(1)] | [_, _, _])
        );
        is_one && (name.contains("mask") || name.contains("hole"))
    }

    /// Its extents as a mask of pictures of that shape, in the file's order.
    pub(super) fn mask_extents(&self, Shape { n, h, w, .. }: Shape) -> Vec<usize> {
        match self.dims.as_deref().unwrap_or_default() {
            [_, Dim::Fixed(1), _, _] => vec![n, 1, h, w],
            [_, _, _, _] => vec![n, h, w, 1],
            [_, _, Dim::Fixed(1)] => vec![h, w, 1],
            _ => vec![n, h, w],
        }
    }
}

impl Picture {
    /// Whether another input is a mask of the picture's size.
    pub(super) fn has_mask(&self, input: &Declared) -> bool {
        let is_color = matches!(self.channels, 1 | 3)
            && matches!(self.layout, Layout::Nchw | Layout::Nhwc | Layout::Chw | Layout::Hwc);
        let dims = input.dims.as_deref().unwrap_or_default();
        let sides = match dims {
            [_, Dim::Fixed(1), h, w] | [_, h, w, Dim::Fixed(1)] | [h, w, Dim::Fixed(1)] | [_, h, w] => [h, w],
            _ => return false,
        };
        let agree = |(side, own): (&&Dim, &Option<usize>)| match (side, own) {
            (Dim::Fixed(side), Some(own)) => side == own,
            (Dim::Fixed(_), None) => false,
            (Dim::Named(_), _) => true,
        };
        is_color && input.is_mask() && sides.iter().zip(&self.size).all(agree)
    }
}
