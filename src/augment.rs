//! Test-time augmentation: a network runs on mirrored and transposed copies of its input, and the results are brought
//! back and averaged. This reduces effects of orientation and makes borders more stable.

use crate::tensor::{Shape, Tensor};

/// Which copies a network runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Augment {
    /// The input alone.
    #[default]
    None,
    /// The input and its three mirror images: four runs.
    Flips,
    /// Also the transposed input and its mirror images, all eight symmetries of a square: eight runs.
    All,
}

/// A symmetry of the square: first a transposition, then mirrored axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) transpose: bool,
    flip_y: bool,
    flip_x: bool,
}

impl Augment {
    /// The copies, the unchanged input first.
    pub(crate) fn turns(self) -> impl Iterator<Item = Turn> {
        let count = match self {
            Augment::None => 1,
            Augment::Flips => 4,
            Augment::All => 8,
        };
        (0..count).map(|i| Turn { flip_x: i & 1 != 0, flip_y: i & 2 != 0, transpose: i & 4 != 0 })
    }
}

impl Turn {
    /// Applies the symmetry to all planes.
    pub(crate) fn apply(self, x: &Tensor) -> Tensor {
        let Shape { h, w, .. } = x.shape();
        let shape = if self.transpose { Shape { h: w, w: h, ..x.shape() } } else { x.shape() };
        let step = if self.transpose { [1, w] } else { [w, 1] };
        self.moved(x, shape, step)
    }

    /// Reverses [`apply`](Self::apply).
    pub(crate) fn undo(self, y: &Tensor) -> Tensor {
        // Mirroring an axis before a transposition equals mirroring the other axis after it.
        let back = match self.transpose {
            true => Turn { flip_x: self.flip_y, flip_y: self.flip_x, ..self },
            false => self,
        };
        back.apply(y)
    }

    /// `step` is the distance of rows and columns of the result in a plane of `x`.
    fn moved(self, x: &Tensor, shape: Shape, step: [usize; 2]) -> Tensor {
        let mut data = Vec::with_capacity(shape.elements());
        for plane in x.data().chunks_exact(shape.pixels()) {
            for row in 0..shape.h {
                let row = if self.flip_y { shape.h - 1 - row } else { row } * step[0];
                let columns = (0..shape.w).map(|column| plane[row + column * step[1]]);
                if self.flip_x { data.extend(columns.rev()) } else { data.extend(columns) }
            }
        }
        Tensor::new(shape, data).expect("a transposition keeps the number of elements")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_different_turns_and_each_turns_back() {
        let x = Tensor::from_fn(Shape::new(2, 2, 3, 5), |i| i as f32);
        let turned: Vec<Tensor> = Augment::All.turns().map(|turn| turn.apply(&x)).collect();
        for (i, (turn, y)) in Augment::All.turns().zip(&turned).enumerate() {
            assert_eq!(turn.undo(y), x, "{turn:?}");
            assert!(turned[..i].iter().all(|other| other != y), "{turn:?}");
        }
        assert_eq!(turned[0], x);
        assert_eq!(turned[1].data()[..5], [4.0, 3.0, 2.0, 1.0, 0.0]);
        assert_eq!(turned[2].data()[..5], [10.0, 11.0, 12.0, 13.0, 14.0]);
        assert_eq!(turned[4].data()[..3], [0.0, 5.0, 10.0]);
        assert_eq!(Augment::Flips.turns().count(), 4);
        assert_eq!(Augment::None.turns().count(), 1);
    }
}
