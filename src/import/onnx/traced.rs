//! Extents that an export for one size holds as numbers, and what they are at other sizes.
//!
//! Exporters that trace a network write the extents of a reshape as those of their example: 4096 for 64 channels times
//! 64 rows. In the view that the reshape makes, the number is a run of whole axes of a tensor in its own order. At
//! another size it is the same run of the tensor's axes. A number that cuts an axis is taken as a constant part of it, as
//! in a pixel shuffle, if the numbers of the file do not fit.

use super::view::{Digits, product};
use crate::tensor::Shape;
use std::collections::HashMap;

/// What a file says of extents at the size for which it was exported, by the names of the nodes' results.
#[derive(Debug, Default)]
pub(super) struct Traced {
    reshapes: HashMap<String, Reshape>,
    /// The sizes that resizes ask for, and the extents of what they resize.
    resizes: HashMap<String, [Vec<usize>; 2]>,
}

/// A reshape at the size for which the file was exported.
#[derive(Debug)]
struct Reshape {
    /// The extents that the node asks for.
    wanted: Vec<i64>,
    /// Extents of the tensor that the view shows, and whether it was moved into its own order first.
    of: Shape,
    moved: bool,
    /// The runs of elements that each axis of the view counts.
    axes: Vec<Vec<Run>>,
}

/// What a digit of an axis counts.
#[derive(Debug)]
enum Run {
    /// The same elements this many times.
    Again(usize),
    /// Elements from one place in the tensor's order to another.
    Between(Mark, Mark),
}

/// A distance in a tensor: this many steps along an axis, counted from the last one.
#[derive(Debug, Clone, Copy)]
struct Mark {
    axis: usize,
    steps: usize,
}

/// Distances between the elements of each axis from the last one on, then the number of elements.
fn strides(of: Shape) -> [usize; 5] {
    [1, of.w, of.h * of.w, of.c * of.pixels(), of.elements()]
}

impl Mark {
    fn of(distance: usize, of: Shape) -> Option<Mark> {
        let divides = |&(_, stride): &(usize, usize)| distance.is_multiple_of(stride) && distance >= stride;
        let (axis, stride) = strides(of).into_iter().enumerate().rev().find(divides)?;
        Some(Mark { axis, steps: distance / stride })
    }

    fn distance(self, of: Shape) -> usize {
        strides(of)[self.axis].saturating_mul(self.steps)
    }

    /// Whether it is the beginning of an axis, or within one that is the same in both tensors.
    fn is_sure(self, one: Shape, other: Shape) -> bool {
        let extents = |of: Shape| [of.w, of.h, of.c, of.n, 1];
        self.steps == 1 || extents(one)[self.axis] == extents(other)[self.axis]
    }
}

impl Run {
    fn of(&(size, stride): &(usize, isize), of: Shape) -> Option<Run> {
        if size == 1 || stride == 0 {
            return Some(Run::Again(size));
        }
        let stride = usize::try_from(stride).ok()?;
        Some(Run::Between(Mark::of(stride, of)?, Mark::of(stride.checked_mul(size)?, of)?))
    }

    /// Its length in another tensor.
    fn length(&self, of: Shape) -> Option<usize> {
        match *self {
            Run::Again(size) => Some(size),
            Run::Between(from, to) => {
                let (from, to) = (from.distance(of), to.distance(of));
                (from > 0 && to.is_multiple_of(from)).then_some(to / from)
            }
        }
    }
}

impl Traced {
    /// Notes the extents that a reshape asks for and the axes of the view that it makes of a tensor, which may have been
    /// moved first.
    pub(super) fn note_reshape(
        &mut self,
        name: &str,
        wanted: &[i64],
        (of, moved): (Shape, bool),
        axes: &[Digits],
    ) {
        let runs = |axis: &Digits| axis.iter().map(|digit| Run::of(digit, of)).collect::<Option<Vec<_>>>();
        if let Some(axes) = axes.iter().map(runs).collect() {
            self.reshapes.insert(name.into(), Reshape { wanted: wanted.to_vec(), of, moved, axes });
        }
    }

    /// The extents for which a reshape's numbers stand in a tensor of other extents, as it is and moved, and whether no
    /// other reading is possible. `None` if the file computes its extents.
    pub(super) fn reshape(
        &self,
        name: &str,
        wanted: &[i64],
        [plain, moved]: [Shape; 2],
    ) -> Option<(Vec<usize>, bool)> {
        let known = self.reshapes.get(name).filter(|known| known.wanted == wanted)?;
        let of = if known.moved { moved } else { plain };
        let axes = known.axes.iter();
        let dims = axes
            .map(|runs| Some(product(&runs.iter().map(|run| run.length(of)).collect::<Option<Vec<_>>>()?)));
        let sure = |run: &Run| match run {
            Run::Again(_) => true,
            Run::Between(from, to) => from.is_sure(known.of, of) && to.is_sure(known.of, of),
        };
        Some((dims.collect::<Option<_>>()?, known.axes.iter().flatten().all(sure)))
    }

    /// Notes the sizes that a resize asks for.
    pub(super) fn note_resize(&mut self, name: &str, sizes: &[usize], dims: &[usize]) {
        self.resizes.insert(name.into(), [sizes.to_vec(), dims.to_vec()]);
    }

    /// The sizes for which a resize's numbers stand, in proportion to the extents of what it resizes. `None` if the file
    /// computes them, and if they are not whole.
    pub(super) fn resize(&self, name: &str, sizes: &[usize], dims: &[usize]) -> Option<Vec<usize>> {
        let [known, from] = self.resizes.get(name).filter(|[known, _]| known == sizes)?;
        let scaled = |((&size, &from), &dim): ((&usize, &usize), &usize)| {
            let made = size.checked_mul(dim)?;
            (from > 0 && made.is_multiple_of(from)).then(|| made / from)
        };
        known.iter().zip(from).zip(dims).map(scaled).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::onnx::view::View;

    #[test]
    fn numbers_are_runs_of_axes() {
        let (small, large) = (Shape::new(1, 64, 8, 8), Shape::new(1, 64, 18, 27));
        let mut traced = Traced::default();
        // Nearest neighbours as PyTorch 0.4 writes them: each element twice, then each row.
        let twice = View::whole(&[1, 64, 8, 8]).reshaped(&[4096, 1]).unwrap().expanded(&[4096, 2]).unwrap();
        let rows = twice.reshaped(&[512, 16]).unwrap();
        traced.note_reshape("rows", &[-1, 16], (small, false), rows.axes());
        assert_eq!(traced.reshape("rows", &[-1, 16], [large; 2]), Some((vec![64 * 18, 54], true)));
        // Extents that the file computes are its own affair.
        assert_eq!(traced.reshape("rows", &[-1, 54], [large; 2]), None);
        assert_eq!(traced.reshape("other", &[-1, 16], [large; 2]), None);
        // A part of an axis that changes is constant; of channels, it is that for sure.
        let parts = View::whole(&[1, 64, 8, 8]).reshaped(&[1, 64, 4, 2, 4, 2]).unwrap();
        traced.note_reshape("parts", &[1, 64, 4, 2, 4, 2], (small, false), parts.axes());
        let even = Shape { w: 26, ..large };
        let expected = Some((vec![1, 64, 9, 2, 13, 2], false));
        assert_eq!(traced.reshape("parts", &[1, 64, 4, 2, 4, 2], [even; 2]), expected);
        let shuffle = View::whole(&[1, 64, 8, 8]).reshaped(&[1, 16, 2, 2, 8, 8]).unwrap();
        traced.note_reshape("shuffle", &[1, 16, 2, 2, 8, 8], (small, false), shuffle.axes());
        let expected = Some((vec![1, 16, 2, 2, 18, 27], true));
        assert_eq!(traced.reshape("shuffle", &[1, 16, 2, 2, 8, 8], [large; 2]), expected);

        traced.note_resize("up", &[1, 64, 16, 24], &[1, 64, 8, 8]);
        assert_eq!(traced.resize("up", &[1, 64, 16, 24], &[1, 64, 18, 27]), Some(vec![1, 64, 36, 81]));
        traced.note_resize("odd", &[1, 64, 5, 5], &[1, 64, 8, 8]);
        assert_eq!(traced.resize("odd", &[1, 64, 5, 5], &[1, 64, 18, 27]), None);
    }
}
