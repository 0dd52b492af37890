//! Moves elements without arithmetic: reshape, transpose, slice, expand, depth to space. Shader: `rearrange.wgsl`.

use super::{Operator, Reach, one};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// Most digits of a [`Rearrange`].
pub(crate) const MAX_DIGITS: usize = 8;

/// A strided view of a tensor of one shape, in the host's order NCHW.
///
/// The flat index of an output element is written in mixed radix, the most significant digit first. The element comes
/// from the input at `offset` plus the sum of each digit times its stride.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rearrange {
    /// The shape that the input must have.
    pub input: Shape,
    /// The shape of the result.
    pub output: Shape,
    /// Sizes and strides of at most 8 digits. The product of the sizes is the number of output elements.
    pub digits: Vec<(usize, isize)>,
    /// Index of the first input element.
    pub offset: usize,
}

/// A part of an axis: `len` elements from `start`, `step` apart. Steps may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// First element.
    pub start: usize,
    /// Number of elements.
    pub len: usize,
    /// Distance between elements.
    pub step: isize,
}

/// The order in which depth to space splits channels (ONNX).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DepthOrder {
    /// Row, column, channel: ONNX's default.
    Dcr,
    /// Channel, row, column: PyTorch's pixel shuffle.
    Crd,
}

impl Rearrange {
    /// The same elements in the same order with another shape.
    ///
    /// # Errors
    /// When the numbers of elements differ.
    pub fn reshape(input: Shape, output: Shape) -> Result<Rearrange> {
        Rearrange::permuted(input, &[input.elements()], &[0], output)
    }

    /// Views the elements with `extents` (any number of axes), moves axis `permutation[i]` to position `i`, and views
    /// the result as `output`: a model's `Reshape`, `Transpose`, `Reshape` in one.
    ///
    /// # Errors
    /// When the product of the extents differs from the elements of either shape, when the axes are not a permutation,
    /// or when more than 8 axes remain after merging.
    pub fn permuted(
        input: Shape,
        extents: &[usize],
        permutation: &[usize],
        output: Shape,
    ) -> Result<Rearrange> {
        let mut sorted = permutation.to_vec();
        sorted.sort_unstable();
        if sorted.iter().copied().ne(0..extents.len()) {
            let expected = format!("a permutation of 0..{}", extents.len());
            return Err(Error::shape("transpose", expected, format!("{permutation:?}")));
        }
        let elements = extents.iter().fold(1, |product: usize, &e| product.saturating_mul(e));
        if elements != input.elements() || elements != output.elements() {
            return Err(Error::shape("reshape", input, format!("{extents:?} as {output}")));
        }
        let strides = strides(extents);
        let digits = permutation.iter().map(|&axis| (extents[axis], strides[axis])).collect();
        Rearrange { input, output, digits, offset: 0 }.checked()
    }

    /// Moves axis `permutation[i]` of `(n,c,h,w)` to position `i`.
    ///
    /// # Errors
    /// When the axes are not a permutation.
    pub fn transpose(input: Shape, permutation: [usize; 4]) -> Result<Rearrange> {
        let extents = extents(input);
        let [n, c, h, w] = permutation.map(|axis| extents.get(axis).copied().unwrap_or(0));
        Rearrange::permuted(input, &extents, &permutation, Shape { n, c, h, w })
    }

    /// A part of each axis.
    ///
    /// # Errors
    /// When a part is empty or exceeds its axis.
    pub fn slice(input: Shape, parts: [Slice; 4]) -> Result<Rearrange> {
        let (strides, mut offset) = (strides(&extents(input)), 0);
        let mut digits = Vec::new();
        for ((part, extent), stride) in parts.iter().zip(extents(input)).zip(strides) {
            let last = (part.len as i128 - 1) * part.step as i128 + part.start as i128;
            let inside = (0..extent as i128).contains(&last) && part.start < extent;
            if !(1..=extent).contains(&part.len) || !inside {
                return Err(Error::shape("slice", format!("a part of {extent}"), format!("{part:?}")));
            }
            offset += part.start * stride as usize;
            // With a single element, the step does not matter.
            digits.push((part.len, if part.len == 1 { 0 } else { part.step * stride }));
        }
        let [n, c, h, w] = parts.map(|part| part.len);
        Rearrange { input, output: Shape { n, c, h, w }, digits, offset }.checked()
    }

    /// Repeats axes of extent 1.
    ///
    /// # Errors
    /// When an axis with another extent would change.
    pub fn expand(input: Shape, output: Shape) -> Result<Rearrange> {
        let axes = extents(input).into_iter().zip(extents(output)).zip(strides(&extents(input)));
        let digit = |((from, to), stride): ((usize, usize), isize)| match from {
            1 => Ok((to, 0)),
            _ if from == to => Ok((to, stride)),
            _ => Err(Error::shape("expand", format!("{input}, or other extents in place of 1"), output)),
        };
        let digits = axes.map(digit).collect::<Result<Vec<_>>>()?;
        Rearrange { input, output, digits, offset: 0 }.checked()
    }

    /// Turns `block * block` channels into squares with sides of `block` pixels.
    ///
    /// # Errors
    /// When the number of channels is not a multiple of `block * block`.
    pub fn depth_to_space(input: Shape, block: usize, order: DepthOrder) -> Result<Rearrange> {
        let Shape { n, c, h, w } = input;
        let squared = block.saturating_mul(block);
        if block == 0 || c % squared != 0 {
            return Err(Error::shape("depth to space", format!("a multiple of {squared} channels"), c));
        }
        let output = Shape { n, c: c / squared, h: h.saturating_mul(block), w: w.saturating_mul(block) };
        match order {
            DepthOrder::Dcr => {
                Rearrange::permuted(input, &[n, block, block, output.c, h, w], &[0, 3, 4, 1, 5, 2], output)
            }
            DepthOrder::Crd => {
                Rearrange::permuted(input, &[n, output.c, block, block, h, w], &[0, 1, 4, 2, 5, 3], output)
            }
        }
    }

    /// Turns squares with sides of `block` pixels into channels: row, column, channel, as in ONNX. PyTorch's pixel
    /// unshuffle (channel, row, column) is [`DepthOrder::Crd`].
    ///
    /// # Errors
    /// When a side is not a multiple of `block`.
    pub fn space_to_depth(input: Shape, block: usize, order: DepthOrder) -> Result<Rearrange> {
        let Shape { n, c, h, w } = input;
        if block == 0 || h % block != 0 || w % block != 0 {
            return Err(Error::shape(
                "space to depth",
                format!("sides that are multiples of {block}"),
                input,
            ));
        }
        let output =
            Shape { n, c: c.saturating_mul(block.saturating_mul(block)), h: h / block, w: w / block };
        let extents = [n, c, h / block, block, w / block, block];
        let permutation = match order {
            DepthOrder::Dcr => [0, 3, 5, 1, 2, 4],
            DepthOrder::Crd => [0, 1, 3, 5, 2, 4],
        };
        Rearrange::permuted(input, &extents, &permutation, output)
    }

    /// Merges digits that continue each other, and refuses what [`Operator::infer`] would refuse.
    fn checked(mut self) -> Result<Rearrange> {
        let mut merged: Vec<(usize, isize)> = Vec::new();
        for &(size, stride) in self.digits.iter().filter(|digit| digit.0 != 1) {
            match merged.last_mut() {
                Some(last) if stride.checked_mul(size as isize) == Some(last.1) => {
                    *last = (last.0.saturating_mul(size), stride)
                }
                _ => merged.push((size, stride)),
            }
        }
        if merged.is_empty() {
            merged.push((1, 0));
        }
        self.digits = merged;
        self.infer(&[self.input])?;
        Ok(self)
    }

    /// Whether no element moves.
    pub(crate) fn is_identity(&self) -> bool {
        self.input == self.output && self.offset == 0 && self.digits == [(self.input.elements(), 1)]
    }

    /// The distance in input elements between neighbours along each axis of the output. `None` if it is not constant.
    pub(crate) fn axis_strides(&self) -> Option<[isize; 4]> {
        let mut strides = [0; 4];
        for (axis, places, _, stride) in self.parts()? {
            // A second part would have been merged if it continued the first.
            if places > 1 {
                return None;
            }
            strides[axis] = stride;
        }
        Some(strides)
    }

    /// The digits, split at the borders of the output's axes, the least significant first: axis, distance along the
    /// axis of one step of the digit, size and stride. `None` if a digit crosses a border.
    fn parts(&self) -> Option<Vec<(usize, usize, usize, isize)>> {
        let mut digits = self.digits.iter().rev().copied();
        let (mut left, mut parts) = ((1, 0), Vec::new());
        for (axis, extent) in extents(self.output).into_iter().enumerate().rev() {
            let mut places = 1;
            while places < extent {
                if left.0 == 1 {
                    left = digits.next()?;
                    continue;
                }
                let rest = extent / places;
                let size = if left.0 % rest == 0 { rest } else { left.0 };
                if rest % size != 0 {
                    return None;
                }
                parts.push((axis, places, size, left.1));
                left = (left.0 / size, left.1.checked_mul(size as isize)?);
                places *= size;
            }
        }
        Some(parts)
    }

    /// How rows and columns of the output depend on those of the input. `None` if an axis does not follow its own in
    /// order.
    fn plane_reach(&self) -> Option<[Reach; 2]> {
        let Shape { h, w, .. } = self.input;
        let pixels = isize::try_from(self.input.pixels()).ok().filter(|&pixels| pixels > 0)?;
        let place = self.offset % self.input.pixels();
        // For rows and for columns: position of the last ones read, pixels seen, and pixels between neighbours.
        let mut ends = [place / w, place % w];
        let mut seen = [1, 1];
        let mut steps = [None, None];
        for (axis, places, size, stride) in self.parts()? {
            if stride % pixels == 0 {
                // Rows of one channel below rows of another do not follow the input's rows.
                if axis >= 2 && steps[axis - 2].is_some() {
                    return None;
                }
                continue;
            }
            let stride = usize::try_from(stride).ok()?;
            let (plane_axis, step) = if stride % w == 0 { (0, stride / w) } else { (1, stride) };
            ends[plane_axis] = ends[plane_axis].checked_add((size - 1).checked_mul(step)?)?;
            match axis {
                // Pixels that become channels are seen together.
                1 => seen[plane_axis] += (size - 1) * step,
                // The axis itself. Only digits that stay on one pixel may follow it.
                axis if axis == plane_axis + 2 && steps[plane_axis].is_none() => {
                    steps[plane_axis] = Some(step as f64 / places as f64);
                }
                _ => return None,
            }
        }
        let followed = [0, 1].map(|axis| steps[axis].is_some() || [self.output.h, self.output.w][axis] == 1);
        (ends[0] < h && ends[1] < w && followed == [true; 2])
            .then(|| [0, 1].map(|axis| Reach { extent: seen[axis], step: steps[axis].unwrap_or(1.0) }))
    }
}

fn extents(shape: Shape) -> [usize; 4] {
    [shape.n, shape.c, shape.h, shape.w]
}

/// Distances between elements along each axis; the last axis is contiguous.
fn strides(extents: &[usize]) -> Vec<isize> {
    let mut strides: Vec<isize> = extents
        .iter()
        .rev()
        .scan(1isize, |stride, &extent| {
            Some(std::mem::replace(stride, stride.saturating_mul(extent as isize)))
        })
        .collect();
    strides.reverse();
    strides
}

impl Operator for Rearrange {
    fn name(&self) -> &'static str {
        "rearrange"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let x = one(inputs)?;
        if x != self.input {
            return Err(Error::shape("rearrange", self.input, x));
        }
        let Rearrange { output, digits, offset, .. } = self;
        let (mut elements, mut low, mut high) = (1u128, *offset as i128, *offset as i128);
        for &(size, stride) in digits {
            elements = elements.saturating_mul(size as u128);
            let end = (size as i128 - 1).saturating_mul(stride as i128);
            low = low.saturating_add(end.min(0));
            high = high.saturating_add(end.max(0));
        }
        if !(1..=MAX_DIGITS).contains(&digits.len()) || elements != output.elements() as u128 || elements == 0
        {
            let expected = format!("1 to {MAX_DIGITS} digits for {} elements", output.elements());
            return Err(Error::shape("rearrange", expected, format!("{digits:?}")));
        }
        if low < 0 || high >= x.elements() as i128 {
            let expected = format!("elements within 0..{}", x.elements());
            return Err(Error::shape("rearrange", expected, format!("{low}..={high}")));
        }
        Ok(vec![*output])
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    fn reach(&self) -> Option<Reach> {
        let [rows, columns] = self.plane_reach()?;
        // One value for both axes: the larger extent, and the step of the rows.
        Some(Reach { extent: rows.extent.max(columns.extent), ..rows })
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let x = inputs[0].data();
        let Some((&(run, step), outer)) = self.digits.split_last() else { return };
        let runs = outputs[0].data_mut().par_chunks_mut(run).with_min_len((4096 / run).max(1));
        runs.enumerate().for_each(|(i, y)| {
            let mut rest = i;
            let mut at = self.offset as isize;
            for &(size, stride) in outer.iter().rev() {
                at += (rest % size) as isize * stride;
                rest /= size;
            }
            if step == 1 {
                y.copy_from_slice(&x[at as usize..][..run]);
            } else {
                y.iter_mut().enumerate().for_each(|(i, y)| *y = x[(at + i as isize * step) as usize]);
            }
        });
    }
}
