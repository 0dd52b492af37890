//! Moves of elements: views and concatenations.

use super::reduce::View;
use super::{Lower, Lowering, Operand, vectors};
use crate::error::{Error, Result};
use crate::graph::{Axis, Concat, Node, Rearrange};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;

const CONCAT: ShaderFile = shader!("concat");
const PLACE: ShaderFile = shader!("place");
const REARRANGE: ShaderFile = shader!("rearrange");
const STRIDED: ShaderFile = shader!("strided");

/// The digits that `rearrange.wgsl` has sizes for.
const DIGITS: [[&str; 2]; 8] = [
    ["size0", "stride0"],
    ["size1", "stride1"],
    ["size2", "stride2"],
    ["size3", "stride3"],
    ["size4", "stride4"],
    ["size5", "stride5"],
    ["size6", "stride6"],
    ["size7", "stride7"],
];

impl Lower for Rearrange {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let (x, y) = (self.input, self.output);
        // Indices wrap around in 32 bits and come back as long as both tensors are smaller.
        for elements in [x.elements(), y.elements()] {
            u32::try_from(elements).map_err(|_| Error::shape("elements", "fewer than 2^32", elements))?;
        }
        if let Some(steps) = in_vec4s(self) {
            let names = ["first", "step_n", "step_y", "step_x"];
            let step = to
                .unary(node, STRIDED)
                .sizes([("out_h", y.h), ("out_w", y.w), ("vectors", vec4s(y.c))])
                .bits(names.into_iter().zip(steps.map(|step| step as u32)))
                .total(vectors(y));
            return to.push(step);
        }
        let digits = self.digits.iter().rev().copied().chain(std::iter::repeat((1, 0)));
        let digits = DIGITS.into_iter().zip(digits);
        let digits =
            digits.flat_map(|([size, stride], digit)| [(size, digit.0 as u32), (stride, digit.1 as u32)]);
        let step = to
            .unary(node, REARRANGE)
            .constants([("DIGITS", self.digits.len() as u32)])
            .sizes([("out_c", y.c), ("out_pixels", y.pixels()), ("out_vectors", vec4s(y.c))])
            .sizes([("in_c", x.c), ("in_pixels", x.pixels()), ("in_vectors", vec4s(x.c))])
            .sizes([("offset", self.offset)])
            .bits(digits)
            .total(vectors(y));
        to.push(step)
    }
}

impl Lower for Concat {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        match self.axis {
            Axis::C => to.concat(node),
            axis => to.concat_plane(node, axis),
        }
    }
}

impl Lowering<'_> {
    /// One dispatch a part, along channels. Each keeps the channels of the parts before it.
    fn concat(&mut self, node: &Node) -> Result<()> {
        let y = self.shape(node.outputs[0]);
        let mut offset = 0;
        for &part in &node.inputs {
            let x = self.shape(part);
            let touched = vec4s(offset + x.c) - offset / 4;
            let step = self
                .step(&node.name, CONCAT)
                .sizes([("src_c", vec4s(x.c)), ("dst_c", vec4s(y.c)), ("offset", offset)])
                .sizes([("channels", x.c), ("touched", touched)])
                .total(y.n * y.pixels() * touched)
                .bind("src", self.source(part))
                .bind("dst", Operand::Value(node.outputs[0]));
            self.push(step)?;
            offset += x.c;
        }
        Ok(())
    }

    /// One dispatch a part, along rows or columns.
    fn concat_plane(&mut self, node: &Node, axis: Axis) -> Result<()> {
        let view = View::new(self.shape(node.outputs[0]), Some(axis));
        let mut first = 0;
        for &part in &node.inputs {
            let run = axis.extent(self.shape(part)) * view.inner;
            let step = self
                .step(&node.name, PLACE)
                .sizes([("src_run", run), ("dst_run", view.count * view.inner), ("first", first)])
                .total(view.outer * run)
                .bind("src", self.source(part))
                .bind("dst", Operand::Value(node.outputs[0]));
            self.push(step)?;
            first += run;
        }
        Ok(())
    }
}

/// Whether whole vec4s move: the first vec4 of the input, and the distances between pictures, rows and columns of the
/// output.
fn in_vec4s(rearrange: &Rearrange) -> Option<[isize; 4]> {
    let x = rearrange.input;
    let y = rearrange.output;
    let (pixels, vectors) = (x.pixels(), vec4s(x.c));
    let [step_n, step_c, step_y, step_x] = rearrange.axis_strides()?;
    let (plane, pixel) = (rearrange.offset / pixels, rearrange.offset % pixels);
    let (picture, channel) = (plane / x.c, plane % x.c);
    if (y.c > 1 && step_c != pixels as isize) || !channel.is_multiple_of(4) || channel + y.c > x.c {
        return None;
    }
    // A step is pictures, or pixels that never leave their plane.
    let volume = (x.c * pixels) as isize;
    let (mut low, mut high) = (pixel as isize, pixel as isize);
    let mut step = |step: isize, extent: usize| {
        if step % volume == 0 {
            return Some(step / volume * (pixels * vectors) as isize);
        }
        let end = step.checked_mul(extent as isize - 1)?;
        low += end.min(0);
        high += end.max(0);
        step.checked_mul(vectors as isize)
    };
    let steps = [step(step_n, y.n)?, step(step_y, y.h)?, step(step_x, y.w)?];
    let first = (picture * pixels + pixel) * vectors + channel / 4;
    ((0..pixels as isize).contains(&low) && high < pixels as isize).then_some([
        first as isize,
        steps[0],
        steps[1],
        steps[2],
    ])
}
