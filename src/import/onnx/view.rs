//! Strided views, which represent reshapes, transposes, slices and similar operators without moving elements.
//!
//! Exporters write simple operations (pixel shuffle, group norm, channels-last borders) as chains of such moves. A
//! chain becomes one view here. A view that is the identity costs nothing.

use crate::error::{Error, Result};
use crate::tensor::Shape;

/// Sizes and strides of the digits of an axis, the most significant first.
pub(super) type Digits = Vec<(usize, isize)>;

/// A tensor of any rank as a view of a flat sequence of elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    offset: usize,
    /// Each axis in mixed radix.
    axes: Vec<Digits>,
}

impl View {
    /// All elements in their own order.
    pub(super) fn whole(dims: &[usize]) -> View {
        let mut stride = 1isize;
        let mut axes: Vec<Digits> = dims
            .iter()
            .rev()
            .map(|&size| {
                let digit = (size, stride);
                stride = stride.saturating_mul(size as isize);
                vec![digit]
            })
            .collect();
        axes.reverse();
        View { offset: 0, axes }
    }

    pub(super) fn dims(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.iter().map(|d| d.0).fold(1, usize::saturating_mul)).collect()
    }

    /// The digits of each axis.
    pub(super) fn axes(&self) -> &[Digits] {
        &self.axes
    }

    pub(super) fn rank(&self) -> usize {
        self.axes.len()
    }

    pub(super) fn elements(&self) -> usize {
        product(&self.dims())
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The digits of all axes; adjacent digits that continue each other are merged.
    pub(super) fn digits(&self) -> Digits {
        let mut joined: Digits = Vec::new();
        for &(size, stride) in self.axes.iter().flatten().filter(|d| d.0 != 1) {
            match joined.last_mut() {
                Some(last) if stride.checked_mul(size as isize) == Some(last.1) => {
                    *last = (last.0.saturating_mul(size), stride)
                }
                _ => joined.push((size, stride)),
            }
        }
        joined
    }

    /// Whether the view shows all `elements` elements in their own order.
    pub(super) fn is_whole(&self, elements: usize) -> bool {
        self.offset == 0 && self.elements() == elements && matches!(self.digits()[..], [] | [(_, 1)])
    }

    /// The stride of an axis with a single digit.
    pub(super) fn stride(&self, axis: usize) -> Option<isize> {
        match self.axes[axis].iter().filter(|d| d.0 != 1).collect::<Vec<_>>()[..] {
            [] => Some(0),
            [digit] => Some(digit.1),
            _ => None,
        }
    }

    pub(super) fn permuted(&self, order: &[usize]) -> Result<View> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if sorted.iter().copied().ne(0..self.rank()) {
            let expected = format!("an order of {} axes", self.rank());
            return Err(Error::shape("transpose", expected, format!("{order:?}")));
        }
        Ok(View { offset: self.offset, axes: order.iter().map(|&axis| self.axes[axis].clone()).collect() })
    }

    /// The same elements with other extents. `None` if a new extent splits a digit, so the elements must be moved
    /// first.
    pub(super) fn reshaped(&self, dims: &[usize]) -> Option<View> {
        if product(dims) != self.elements() {
            return None;
        }
        if product(dims) == 0 {
            return Some(View::whole(dims));
        }
        let mut rest = self.digits();
        let mut axes = Vec::with_capacity(dims.len());
        for &dim in dims.iter().rev() {
            let (mut wanted, mut axis) = (dim, Digits::new());
            while wanted > 1 {
                let (size, stride) = rest.pop()?;
                if wanted.is_multiple_of(size) {
                    axis.push((size, stride));
                    wanted /= size;
                } else if size.is_multiple_of(wanted) {
                    axis.push((wanted, stride));
                    rest.push((size / wanted, stride.checked_mul(wanted as isize)?));
                    wanted = 1;
                } else {
                    return None;
                }
            }
            axis.reverse();
            axes.push(if axis.is_empty() { vec![(1, 0)] } else { axis });
        }
        axes.reverse();
        Some(View { offset: self.offset, axes })
    }

    /// `len` positions of an axis from `start`, `step` apart. `None` if the axis is not evenly spaced.
    pub(super) fn sliced(&self, axis: usize, start: usize, len: usize, step: isize) -> Option<View> {
        let mut view = self.clone();
        if start == 0 && step == 1 && len == self.dims()[axis] {
            return Some(view);
        }
        let stride = self.stride(axis)?;
        // With a single position, the step does not matter.
        let step = if len == 1 { 1 } else { step };
        view.offset += usize::try_from(stride.checked_mul(start as isize)?).ok()?;
        view.axes[axis] = vec![(len, stride.checked_mul(step)?)];
        Some(view)
    }

    /// The places of an axis that `digits` counts, from a first one. `None` if the axis is not evenly spaced.
    pub(super) fn picked(&self, axis: usize, first: usize, digits: &[(usize, isize)]) -> Option<View> {
        let mut view = self.clone();
        let stride = self.stride(axis)?;
        view.offset = view.offset.checked_add_signed(stride.checked_mul(isize::try_from(first).ok()?)?)?;
        let digit = |&(size, step): &(usize, isize)| Some((size, stride.checked_mul(step)?));
        view.axes[axis] = digits.iter().map(digit).collect::<Option<_>>()?;
        Some(view)
    }

    /// Repeats axes of extent 1 and adds axes in front, as in NumPy's broadcasting.
    pub(super) fn expanded(&self, dims: &[usize]) -> Result<View> {
        let mut axes = vec![vec![(1, 0)]; dims.len().saturating_sub(self.rank())];
        axes.extend(self.axes.iter().cloned());
        let own = self.dims();
        let missing = axes.len() - own.len();
        for (i, (axis, &dim)) in axes.iter_mut().zip(dims).enumerate() {
            let size = if i < missing { 1 } else { own[i - missing] };
            if size == 1 {
                *axis = vec![(dim, 0)];
            } else if size != dim {
                return Err(Error::shape(
                    "broadcast",
                    format!("{own:?}, or other extents in place of 1"),
                    format!("{dims:?}"),
                ));
            }
        }
        Ok(View { offset: self.offset, axes })
    }

    /// The flat index of every element, in order.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> {
        let (digits, offset) = (self.digits(), self.offset as isize);
        (0..self.elements()).map(move |mut i| {
            let mut at = offset;
            for &(size, stride) in digits.iter().rev() {
                at += (i % size) as isize * stride;
                i /= size;
            }
            at as usize
        })
    }
}

/// The digits that count these places, relative to the first; `None` if they are not regular.
pub(super) fn digits(places: &[usize]) -> Option<Digits> {
    let mut rest: Vec<isize> = places.iter().map(|&place| place as isize).collect();
    let mut digits = Digits::new();
    while rest.len() > 1 {
        let step = rest[1] - rest[0];
        let run = 1 + rest.windows(2).take_while(|pair| pair[1] - pair[0] == step).count();
        let alike = |run: &[isize]| run.windows(2).all(|pair| pair[1] - pair[0] == step);
        if !rest.len().is_multiple_of(run) || !rest.chunks(run).all(alike) {
            return None;
        }
        digits.push((run, step));
        rest = rest.chunks(run).map(|run| run[0]).collect();
    }
    digits.reverse();
    Some(if digits.is_empty() { vec![(1, 0)] } else { digits })
}

/// Number of elements for these extents; `usize::MAX` if it overflows.
pub(super) fn product(dims: &[usize]) -> usize {
    dims.iter().copied().fold(1, usize::saturating_mul)
}

/// Any number of extents as four: missing ones are 1, in front; of more than four, the first are joined.
pub(super) fn any_shape(dims: &[usize]) -> Result<Shape> {
    let split = dims.len().saturating_sub(3);
    let mut last = vec![1; 3_usize.saturating_sub(dims.len())];
    last.extend(&dims[split..]);
    let first = product(&dims[..split]);
    Shape::new(first, last[0], last[1], last[2]).check("tensor")
}

/// The extents to which all of these are broadcast.
pub(super) fn broadcast(all: &[&[usize]]) -> Result<Vec<usize>> {
    let rank = all.iter().map(|dims| dims.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for dims in all {
        for (to, &dim) in out[rank - dims.len()..].iter_mut().zip(*dims) {
            if *to == 1 {
                *to = dim;
            } else if dim != 1 && dim != *to {
                return Err(Error::shape("operands", "extents that are equal or 1", format!("{all:?}")));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_moves_is_one_view() {
        // Pixel shuffle as PyTorch writes it: (1, 8, 3, 5) to (1, 2, 2, 2, 3, 5) to (1, 2, 3, 2, 5, 2) to (1, 2, 6,
        // 10).
        let view = View::whole(&[1, 8, 3, 5]).reshaped(&[1, 2, 2, 2, 3, 5]).unwrap();
        let view = view.permuted(&[0, 1, 4, 2, 5, 3]).unwrap().reshaped(&[1, 2, 6, 10]).unwrap();
        let indices: Vec<usize> = view.indices().collect();
        for (i, &at) in indices.iter().enumerate() {
            let (c, y, x) = (i / 60, i / 10 % 6, i % 10);
            assert_eq!(at, ((c * 4 + y % 2 * 2 + x % 2) * 3 + y / 2) * 5 + x / 2);
        }
        // A permutation and its inverse are the identity.
        let back = view.reshaped(&[1, 2, 3, 2, 5, 2]).unwrap().permuted(&[0, 1, 3, 5, 2, 4]).unwrap();
        assert!(back.reshaped(&[1, 8, 3, 5]).unwrap().is_whole(120));
    }

    #[test]
    fn regular_places_are_digits() {
        assert_eq!(digits(&[5]), Some(vec![(1, 0)]));
        assert_eq!(digits(&[4, 2, 0]), Some(vec![(3, -2)]));
        assert_eq!(digits(&[0, 4, 1, 5, 2, 6, 3, 7]), Some(vec![(4, 1), (2, 4)]));
        assert_eq!(digits(&[3, 3, 8, 8]), Some(vec![(2, 5), (2, 0)]));
        assert_eq!(digits(&[0, 1, 4]), None);
        let view = View::whole(&[8]).picked(0, 1, &[(2, 4), (2, 1)]).unwrap();
        assert_eq!(view.indices().collect::<Vec<_>>(), [1, 2, 5, 6]);
    }

    #[test]
    fn slices_and_broadcasts() {
        let view = View::whole(&[2, 6]).sliced(1, 5, 3, -2).unwrap();
        assert_eq!(view.indices().collect::<Vec<_>>(), [5, 3, 1, 11, 9, 7]);
        assert_eq!(
            View::whole(&[2, 1]).expanded(&[2, 2, 2]).unwrap().indices().collect::<Vec<_>>(),
            [0, 0, 1, 1, 0, 0, 1, 1]
        );
        // Nothing is nothing in any order.
        assert_eq!(View::whole(&[1, 0, 6]).reshaped(&[3, 0]).unwrap().dims(), [3, 0]);
        // An extent that splits a transposed digit needs a move.
        assert!(View::whole(&[4, 6]).permuted(&[1, 0]).unwrap().reshaped(&[3, 8]).is_some());
        assert!(View::whole(&[4, 6]).permuted(&[1, 0]).unwrap().reshaped(&[8, 3]).is_none());
        assert_eq!(broadcast(&[&[3, 1], &[2, 1, 4]]).unwrap(), [2, 3, 4]);
        assert!(broadcast(&[&[3], &[2]]).is_err());
    }
}
