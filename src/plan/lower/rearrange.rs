//! Moves of elements.

use super::{Lowering, params, write};
use crate::error::Result;
use crate::graph::{Activation, Node, Rearrange};
use crate::plan::kernel;
use crate::plan::pack::vec4s;

impl Lowering {
    pub(super) fn rearrange(&mut self, node: &Node, rearrange: &Rearrange) -> Result<()> {
        const NAMES: [[&str; 2]; 8] = [
            ["size0", "stride0"],
            ["size1", "stride1"],
            ["size2", "stride2"],
            ["size3", "stride3"],
            ["size4", "stride4"],
            ["size5", "stride5"],
            ["size6", "stride6"],
            ["size7", "stride7"],
        ];
        let (x, y) = (rearrange.input, rearrange.output);
        // Places wrap around in 32 bits, and come back as long as the tensors themselves are smaller.
        params(&[("elements", x.elements()), ("elements", y.elements())])?;
        if let Some([first, step_n, step_y, step_x]) = in_vec4s(rearrange) {
            let mut step = self.elementwise(node, kernel::STRIDED, Activation::None, 0)?;
            let sizes = params(&[("out_h", y.h), ("out_w", y.w), ("vectors", vec4s(y.c))])?;
            let steps = [("first", first), ("step_n", step_n), ("step_y", step_y), ("step_x", step_x)];
            let steps = steps.map(|(name, step)| (name, step as u32));
            step.params.splice(0..0, sizes.into_iter().chain(steps));
            step.arguments = vec![self.read(1, node.inputs[0]), write(2, node.outputs[0])];
            return self.push(step);
        }
        let mut step = self.elementwise(node, kernel::REARRANGE, Activation::None, 0)?;
        step.kernel.constants.push(("DIGITS", rearrange.digits.len() as u32));
        let mut sizes = params(&[
            ("out_c", y.c),
            ("out_pixels", y.pixels()),
            ("out_vectors", vec4s(y.c)),
            ("in_c", x.c),
            ("in_pixels", x.pixels()),
            ("in_vectors", vec4s(x.c)),
            ("offset", rearrange.offset),
        ])?;
        let digits = rearrange.digits.iter().rev().copied().chain(std::iter::repeat((1, 0)));
        for ([size, stride], digit) in NAMES.into_iter().zip(digits) {
            sizes.extend([(size, digit.0 as u32), (stride, digit.1 as u32)]);
        }
        step.params.splice(0..0, sizes);
        step.arguments = vec![self.read(1, node.inputs[0]), write(2, node.outputs[0])];
        self.push(step)
    }
}

/// Where whole vec4s move: the first of the input, and how many from one picture, row and column of the output to the
/// next.
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
