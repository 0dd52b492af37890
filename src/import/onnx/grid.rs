//! Sides that a network takes: a picture padded up to them, and the part of the result that belongs to the picture.

use super::build::Builder;
use crate::error::{Error, Result};
use crate::graph::{Crop, Graph, Pad, PadAmount, PadMode, Rearrange, Slice, ValueId, scales};
use crate::tensor::Shape;

/// The sides that a network is tried with: those of the picture and a border around it, enlarged to the next ones that
/// leave a remainder.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) border: usize,
    /// What is added.
    pub(super) outside: PadMode,
    pub(super) multiple: usize,
    /// For rows and columns.
    pub(super) rest: [usize; 2],
}

impl Grid {
    /// The picture's own sides with a border.
    pub(super) fn bordered(border: usize, outside: PadMode) -> Grid {
        Grid { border, outside, multiple: 1, rest: [0; 2] }
    }

    /// The shape of the network's input for a picture.
    pub(super) fn of(self, picture: Shape) -> Shape {
        let side = |side: usize, rest: usize| {
            let least = side + 2 * self.border;
            least + (rest + self.multiple - least % self.multiple) % self.multiple
        };
        Shape { h: side(picture.h, self.rest[0]), w: side(picture.w, self.rest[1]), ..picture }
    }

    /// The shape of the result of a network that keeps sizes, without the border.
    pub(super) fn kept(self, picture: Shape) -> Shape {
        let padded = self.of(picture);
        Shape { h: padded.h - 2 * self.border, w: padded.w - 2 * self.border, ..padded }
    }

    /// Whether nothing is added.
    pub(super) fn is_empty(self, picture: Shape) -> bool {
        self.of(picture) == picture
    }

    /// What brings a picture to that shape.
    pub(super) fn pad(self, picture: Shape) -> Pad {
        let amount = match self {
            Grid { border: 0, rest: [0, 0], multiple, .. } => PadAmount::Multiple(multiple),
            Grid { border, .. } => {
                let Shape { h, w, .. } = self.of(picture);
                let [first, bottom, right] = [border, h - picture.h - border, w - picture.w - border];
                PadAmount::Fixed([first, first, bottom, right].map(|side| side as isize))
            }
        };
        Pad { amount, mode: self.outside }
    }
}

/// Whether a result is as large as the picture times these factors, for rows and columns.
pub(super) fn grows(result: Shape, picture: Shape, [down, across]: [f64; 2]) -> bool {
    scales(result.h, picture.h, down) && scales(result.w, picture.w, across)
}

/// The part of a padded output that belongs to the picture.
///
/// # Errors
/// When the result does not grow with the padded picture: its part of the picture is unknown.
pub(super) fn crop(
    builder: &mut Builder<'_>,
    y: ValueId,
    [padded, input]: [Shape; 2],
    ratio: [f64; 2],
) -> Result<ValueId> {
    let shape = builder.shape(y);
    if !grows(shape, padded, ratio) {
        let expected = format!("{} and {} times {}x{}", ratio[0], ratio[1], padded.h, padded.w);
        return Err(Error::shape("result", expected, format!("{}x{}", shape.h, shape.w)));
    }
    if ratio == [1.0, 1.0] {
        return builder.push("crop to input", Crop, &[y, Graph::INPUT]);
    }
    let part = |len: usize| Slice { start: 0, len, step: 1 };
    let scaled = |side: usize, ratio: f64| (side as f64 * ratio).ceil() as usize;
    let [h, w] = [scaled(input.h, ratio[0]).min(shape.h), scaled(input.w, ratio[1]).min(shape.w)];
    let slice = Rearrange::slice(shape, [part(shape.n), part(shape.c), part(h), part(w)])?;
    builder.push("crop to input", slice, &[y])
}
