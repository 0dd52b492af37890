//! Draws masks in colour, alone and over a picture.

use super::Mask;
use crate::error::Result;
use crate::image::{Depth, Picture};
use crate::recipe::Channels;
use crate::tensor::{Shape, Tensor};
use std::borrow::Cow;

/// Opacity of a class colour in an overlay.
const OPACITY: f32 = 0.5;

impl Mask {
    /// The mask in its colours.
    pub fn to_picture(&self) -> Result<Picture> {
        let pixels = self.classes.len();
        let planes = Tensor::from_fn(Shape::new(1, 3, self.height, self.width), |i| {
            f32::from(self.colors[usize::from(self.classes[i % pixels])][i / pixels])
        });
        Picture::new(planes, Depth::Eight)
    }

    /// The colours over a picture with half opacity. The picture's own opacity is ignored. Black classes, such as
    /// VOC's background, leave it unchanged.
    ///
    /// A mask of another size is stretched to the picture's size.
    pub fn overlay(&self, picture: &Picture) -> Result<Picture> {
        let mut planes = picture.in_steps(Channels::Rgb);
        for (i, &class) in self.stretched(picture).iter().enumerate() {
            let color = self.colors[usize::from(class)];
            if color != [0; 3] {
                blend(&mut planes, i, color, OPACITY);
            }
        }
        Picture::new(planes, Depth::Eight)
    }

    /// The class of each pixel of a picture, with the mask stretched to the picture, row by row.
    pub(super) fn stretched(&self, picture: &Picture) -> Cow<'_, [u16]> {
        let (w, h) = (picture.width(), picture.height());
        if [w, h] == [self.width, self.height] {
            return Cow::Borrowed(&self.classes);
        }
        let place = |x: usize, y: usize| y * self.height / h * self.width + x * self.width / w;
        (0..w * h).map(|i| self.classes[place(i % w, i / w)]).collect()
    }
}

/// Blends a colour over a pixel of three planes.
pub(super) fn blend(planes: &mut Tensor, pixel: usize, color: [u8; 3], opacity: f32) {
    let pixels = planes.shape().pixels();
    for (c, part) in color.into_iter().enumerate() {
        let value = &mut planes.data_mut()[c * pixels + pixel];
        *value += (f32::from(part) - *value) * opacity;
    }
}
