//! Kernels that see a tensor as (outer, count, inner) vec4s and work along the middle axis.

use super::{Lower, Lowering, Operand};
use crate::error::Result;
use crate::graph::{ArgMax, Axis, Node, Reduce, ReduceKind, Softmax};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::tensor::Shape;

const ARGMAX: ShaderFile = shader!("argmax");
const REDUCE: ShaderFile = shader!("reduce");
const SOFTMAX: ShaderFile = shader!("softmax");
const SOFTMAX_PLANE: ShaderFile = shader!("softmax_plane");

/// Axes of at most this length are reduced in one step. Longer ones are reduced in chunks of [`SPAN`], unless there are
/// [`ENOUGH`] lanes anyway.
const SHORT: usize = 256;
const SPAN: usize = 64;
const ENOUGH: usize = 1 << 14;
/// The longest chunk, well below the limit for loops of a lane.
const LONG: usize = 1 << 14;

/// A tensor as vec4s.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub(super) outer: usize,
    pub(super) count: usize,
    pub(super) inner: usize,
}

impl View {
    /// The view along an axis of an NCHW shape in the device's layout. `None` stands for rows and columns together.
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

impl Lower for ArgMax {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let x = to.shape(node.inputs[0]);
        let step = to.unary(node, ARGMAX).sizes([("vectors", vec4s(x.c)), ("channels", x.c)]);
        to.push(step.total(x.n * x.pixels()).flops(to.flops(node)))
    }
}

impl Lower for Softmax {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let x = to.shape(node.inputs[0]);
        let step = if self.axis == Axis::C {
            let pixels = x.n * x.pixels();
            let step = to.unary(node, SOFTMAX).sizes([("vectors", vec4s(x.c)), ("channels", x.c)]);
            step.sizes([("pixels", pixels)]).lanes(pixels)
        } else {
            let view = View::new(x, Some(self.axis));
            let step = to.unary(node, SOFTMAX_PLANE).sizes([("inner", view.inner), ("count", view.count)]);
            step.total(view.outer * view.inner)
        };
        to.push(step.flops(to.flops(node)))
    }
}

impl Lower for Reduce {
    /// First the plane, then the channels of what is left of it.
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let x = to.shape(node.inputs[0]);
        let [c, h, w] = self.axes;
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
            // The channels of a pixel are masked by their index, which a second step over chunks would not know.
            let lanes = view.outer * view.inner;
            while !is_channels && view.count > SHORT && (lanes < ENOUGH || view.count > LONG) {
                let span = SPAN.max((lanes * view.count).div_ceil(ENOUGH)).min(LONG);
                passes.push((view, is_channels, span));
                view = View { count: view.count.div_ceil(span), ..view };
            }
            passes.push((view, is_channels, view.count));
        }
        let counted = x.elements() / to.shape(node.outputs[0]).elements();
        let last = passes.len() - 1;
        let norm = self.kind == ReduceKind::L2;
        let kind = match self.kind {
            ReduceKind::Mean | ReduceKind::Sum | ReduceKind::L2 => 0,
            ReduceKind::Max => 1,
            ReduceKind::Min => 2,
        };
        let mut from = to.source(node.inputs[0]);
        for (i, (view, is_channels, span)) in passes.into_iter().enumerate() {
            let chunks = view.count.div_ceil(span);
            let total = view.outer * chunks * view.inner;
            let made = if i == last { node.outputs[0] } else { to.scratch_f32(total) };
            let factor = if self.kind == ReduceKind::Mean && i == last { 1.0 / counted as f32 } else { 1.0 };
            let step = to
                .step(&node.name, REDUCE)
                .constants([("KIND", kind)])
                .flag("SQUARE", norm && i == 0)
                .flag("ROOT", norm && i == last)
                .flag("PARTIAL_IN", i > 0)
                .flag("PARTIAL_OUT", i < last)
                .flag("CHANNELS", is_channels)
                .sizes([("inner", view.inner), ("count", view.count), ("chunks", chunks), ("span", span)])
                .sizes([("channels", x.c)])
                .bits([("factor", factor.to_bits())])
                .total(total)
                .bind("src", from)
                .bind("dst", Operand::Value(made))
                .flops(if i == 0 { to.flops(node) } else { 0 });
            to.push(step)?;
            from = Operand::Value(made);
        }
        Ok(())
    }
}
