//! Kernels that see a tensor as (outer, count, inner) vec4s and work along the middle axis.

use super::{LANES, Lowering, What, params, read, write};
use crate::error::Result;
use crate::graph::{Activation, Axis, Node, Reduce, ReduceKind, Softmax, ValueId};
use crate::plan::kernel;
use crate::plan::pack::vec4s;
use crate::tensor::Shape;

/// An axis of at most this length is reduced in one step; a longer one in chunks of [`SPAN`], unless there are
/// [`ENOUGH`] lanes without that.
const SHORT: usize = 256;
const SPAN: usize = 64;
const ENOUGH: usize = 1 << 14;
/// The longest chunk, well within what a lane may loop.
const LONG: usize = 1 << 14;

/// A tensor as vec4s.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub(super) outer: usize,
    pub(super) count: usize,
    pub(super) inner: usize,
}

impl View {
    /// Along an axis of an NCHW shape, as the device lays it out; `None` stands for rows and columns together.
    pub(super) fn new(x: Shape, axis: Option<Axis>) -> View {
        let vectors = vec4s(x.c);
        match axis {
            Some(Axis::C) => View { outer: x.n * x.pixels(), count: vectors, inner: 1 },
            Some(Axis::W) => View { outer: x.n * x.h, count: x.w, inner: vectors },
            Some(Axis::H) => View { outer: x.n, count: x.h, inner: x.w * vectors },
            None => View { outer: x.n, count: x.pixels(), inner: vectors },
        }
    }
}

impl Lowering {
    /// First the plane, then the channels of what is left of it.
    pub(super) fn reduce(&mut self, node: &Node, reduce: Reduce, flops: u64) -> Result<()> {
        let x = self.shape(node.inputs[0]);
        let [c, h, w] = reduce.axes;
        let plane = match (h, w) {
            (true, true) => Some(View::new(x, None)),
            (true, false) => Some(View::new(x, Some(Axis::H))),
            (false, true) => Some(View::new(x, Some(Axis::W))),
            (false, false) => None,
        };
        let left = Shape { h: if h { 1 } else { x.h }, w: if w { 1 } else { x.w }, ..x };
        let channels = c.then(|| View::new(left, Some(Axis::C)));
        let mut passes: Vec<(View, bool, usize)> = Vec::new();
        for (view, is_channels) in [(plane, false), (channels, true)] {
            let Some(mut view) = view else { continue };
            // The channels of a pixel are masked by their place, which a second step over chunks would not know.
            let lanes = view.outer * view.inner;
            while !is_channels && view.count > SHORT && (lanes < ENOUGH || view.count > LONG) {
                let span = SPAN.max((lanes * view.count).div_ceil(ENOUGH)).min(LONG);
                passes.push((view, is_channels, span));
                view = View { count: view.count.div_ceil(span), ..view };
            }
            passes.push((view, is_channels, view.count));
        }
        let counted = x.elements() / self.shape(node.outputs[0]).elements();
        let last = passes.len() - 1;
        let mut from = self.sources[node.inputs[0].0];
        for (i, (view, is_channels, span)) in passes.into_iter().enumerate() {
            let chunks = view.count.div_ceil(span);
            let total = view.outer * chunks * view.inner;
            let to = if i == last { node.outputs[0] } else { self.scratch_f32(total) };
            let mut step = self.step(node, kernel::REDUCE, Activation::None);
            let kind = match reduce.kind {
                ReduceKind::Mean | ReduceKind::Sum | ReduceKind::L2 => 0,
                ReduceKind::Max => 1,
                ReduceKind::Min => 2,
            };
            step.kernel.constants.push(("KIND", kind));
            let norm = reduce.kind == ReduceKind::L2;
            step.kernel.flags = vec![
                ("SQUARE", norm && i == 0),
                ("ROOT", norm && i == last),
                ("PARTIAL_IN", i > 0),
                ("PARTIAL_OUT", i < last),
                ("CHANNELS", is_channels),
            ];
            step.params = params(&[
                ("inner", view.inner),
                ("count", view.count),
                ("chunks", chunks),
                ("span", span),
                ("channels", x.c),
            ])?;
            let factor =
                if reduce.kind == ReduceKind::Mean && i == last { 1.0 / counted as f32 } else { 1.0 };
            step.params.push(("factor", factor.to_bits()));
            step.params.extend(params(&[("total", total)])?);
            step.arguments = vec![read(1, from), write(2, to)];
            step.grid = self.fold(total as u64, LANES)?;
            step.loops = span as u64;
            step.flops = if i == 0 { flops } else { 0 };
            self.push(step)?;
            from = What::Value(to);
        }
        Ok(())
    }

    pub(super) fn softmax(&mut self, node: &Node, softmax: Softmax, flops: u64) -> Result<()> {
        let x = self.shape(node.inputs[0]);
        let mut step = self.step(node, kernel::SOFTMAX, Activation::None);
        let items = if softmax.axis == Axis::C {
            let pixels = x.n * x.pixels();
            step.params = params(&[("pixels", pixels), ("vectors", vec4s(x.c)), ("channels", x.c)])?;
            step.loops = 3 * vec4s(x.c) as u64;
            pixels
        } else {
            let view = View::new(x, Some(softmax.axis));
            let items = view.outer * view.inner;
            step.kernel.file = kernel::SOFTMAX_PLANE;
            step.params = params(&[("inner", view.inner), ("count", view.count), ("total", items)])?;
            step.loops = 3 * view.count as u64;
            items
        };
        step.arguments = vec![self.read(1, node.inputs[0]), write(2, node.outputs[0])];
        step.grid = self.fold(items as u64, LANES)?;
        step.flops = flops;
        self.push(step)
    }

    pub(super) fn argmax(&mut self, node: &Node, flops: u64) -> Result<()> {
        let x = self.shape(node.inputs[0]);
        let pixels = x.n * x.pixels();
        let mut step = self.step(node, kernel::ARGMAX, Activation::None);
        step.params = params(&[("vectors", vec4s(x.c)), ("channels", x.c), ("total", pixels)])?;
        step.arguments = vec![self.read(1, node.inputs[0]), write(2, node.outputs[0])];
        step.grid = self.fold(pixels as u64, LANES)?;
        step.loops = vec4s(x.c) as u64;
        step.flops = flops;
        self.push(step)
    }

    /// One dispatch a part, along rows or columns.
    pub(super) fn concat_plane(&mut self, node: &Node, axis: Axis) -> Result<()> {
        let view = View::new(self.shape(node.outputs[0]), Some(axis));
        let mut first = 0;
        for &part in &node.inputs {
            let run = axis.extent(self.shape(part)) * view.inner;
            let total = view.outer * run;
            let mut step = self.step(node, kernel::PLACE, Activation::None);
            let dst_run = view.count * view.inner;
            step.params =
                params(&[("src_run", run), ("dst_run", dst_run), ("first", first), ("total", total)])?;
            step.arguments = vec![self.read(1, part), write(2, node.outputs[0])];
            step.grid = self.fold(total as u64, LANES)?;
            self.push(step)?;
            first += run;
        }
        Ok(())
    }

    /// A value of `vectors` f32 vec4s that only the kernels of one layer see, in either precision.
    pub(super) fn scratch_f32(&mut self, vectors: usize) -> ValueId {
        let vectors = vectors * 4 / self.precision.bytes();
        self.scratch(Shape { n: 1, c: 4, h: 1, w: vectors })
    }
}
