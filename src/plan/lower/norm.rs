//! Norms with statistics of the input.

use super::step::Step;
use super::{Lower, Lowering, Operand, vectors};
use crate::error::Result;
use crate::graph::{Node, Norm, NormOver};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::plan::pack::Constant;
use crate::tensor::Shape;
use std::sync::Arc;

const APPLY: ShaderFile = shader!("norm_apply");
const CHANNELS: ShaderFile = shader!("norm_channels");
const PLANES: ShaderFile = shader!("norm_planes");
const WHOLE: ShaderFile = shader!("norm_whole");
const MERGE: ShaderFile = shader!("norm_merge");
const STATISTICS: ShaderFile = shader!("norm_statistics");

/// Lanes of the kernels that take statistics: 256 fill a processor of any GPU, and are what WebGPU guarantees.
const LANES: usize = 256;

/// The most chunks of a plane, and the fewest pixels for each lane of one.
const CHUNKS: usize = 128;
const LANE_PIXELS: usize = 16;

/// Most pixels of a plane that a single workgroup normalises: as many as a lane of a chunk has, for each lane.
const SMALL: usize = LANES * LANE_PIXELS;

/// Lanes that share the channels of a pixel, from this many vec4s on.
const TEAM: usize = 16;
const TEAM_VECTORS: usize = 2 * TEAM;

impl Lower for Norm {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let lanes = vec4s(to.shape(node.inputs[0]).c) * 4;
        let scale: Arc<[f32]> = self.scale.clone().unwrap_or_else(|| vec![1.0; lanes].into());
        let scale = to.constant(Constant::Vector { values: Some(scale), len: lanes });
        let shift = to.constant(Constant::Vector { values: self.shift.clone(), len: lanes });
        match self.over {
            NormOver::Groups(groups) => to.norm_groups(node, self, groups, [scale, shift]),
            NormOver::Channels => to.norm_channels(node, self, [scale, shift]),
        }
    }
}

/// A convolution's map that is not stored: the parts of its sums, and its bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub(super) parts: usize,
    pub(super) sums: Operand,
    pub(super) bias: Operand,
}

/// Whether one workgroup for each vec4 of channels computes the norm of a map.
pub(super) fn is_whole(norm: &Norm, x: Shape) -> bool {
    norm.is_instance(x.c) && x.pixels() <= SMALL
}

impl Lowering<'_> {
    /// Binds the other map of a sum.
    fn summand(&self, node: &Node, step: Step) -> Step {
        match node.inputs.get(1) {
            Some(&id) => step.flag("ADD", true).bind("summand", self.source(id)),
            None => step,
        }
    }

    /// An instance norm of a small map, which may still be the parts of a convolution's sums.
    fn norm_whole(&mut self, node: &Node, norm: &Norm, [scale, shift]: [Operand; 2]) -> Result<()> {
        let x = self.shape(node.inputs[0]);
        let step = self
            .step(&node.name, WHOLE)
            .activation(norm.activation)
            .sizes([
                ("pixels", x.pixels()),
                ("vectors", vec4s(x.c)),
                ("channels", x.c),
                ("total", vectors(x)),
            ])
            .bits([("eps", norm.eps.to_bits())])
            .bind("scale", scale)
            .bind("shift", shift)
            .bind("dst", Operand::Value(node.outputs[0]))
            .grid(vec4s(x.c) as u32, x.n as u32)
            .flops(self.flops(node));
        let (step, parts) = match self.unsummed.remove(&node.inputs[0]) {
            Some(Sums { parts, sums, bias }) => {
                (step.flag("SPLIT", true).bind("sums", sums).bind("bias", bias), parts)
            }
            None => (step.bind("src", self.source(node.inputs[0])), 1),
        };
        let step = step.constants([("LANES", LANES as u32), ("PARTS", parts as u32)]);
        self.push(self.summand(node, step))
    }

    /// Statistics of channels in chunks. Then, of single channels, one pass that merges them; of groups, a step that
    /// merges them, and one pass over all elements.
    fn norm_groups(
        &mut self,
        node: &Node,
        norm: &Norm,
        groups: usize,
        [scale, shift]: [Operand; 2],
    ) -> Result<()> {
        let (x, flops) = (self.shape(node.inputs[0]), self.flops(node));
        if is_whole(norm, x) {
            return self.norm_whole(node, norm, [scale, shift]);
        }
        let (pixels, vec4s) = (x.pixels(), vec4s(x.c));
        // Neighbouring lanes read neighbouring vec4s of a pixel, if there are several.
        let columns = (1 << vec4s.ilog2()).min(TEAM);
        let rows = LANES / columns;
        let chunk = pixels.div_ceil(CHUNKS).max(rows * LANE_PIXELS).next_multiple_of(rows).min(pixels);
        let chunks = pixels.div_ceil(chunk);
        let parts = Operand::Value(self.scratch_f32(2 * x.n * chunks * vec4s));
        let in_chunks = |step: Step| {
            step.constants([("LANES", LANES as u32), ("COLUMNS", columns as u32)])
                .sizes([("pixels", pixels), ("vectors", vec4s), ("chunk", chunk)])
                .grid(chunks as u32, vec4s.div_ceil(columns) as u32)
                .layers(x.n as u32)
        };
        let step = in_chunks(self.step(&node.name, STATISTICS)).flops(flops / 2);
        self.push(step.bind("src", self.source(node.inputs[0])).bind("dst", parts))?;

        if norm.is_instance(x.c) {
            let step = in_chunks(self.unary(node, PLANES))
                .activation(norm.activation)
                .sizes([("channels", x.c), ("chunks", chunks)])
                .bits([("eps", norm.eps.to_bits())])
                .bind("statistics", parts)
                .bind("scale", scale)
                .bind("shift", shift)
                .flops(flops - flops / 2);
            return self.push(self.summand(node, step));
        }
        let statistics = Operand::Value(self.scratch_f32(2 * x.n * vec4s));

        let step = self
            .step(&node.name, MERGE)
            .sizes([("groups", groups), ("size", x.c / groups), ("vectors", vec4s)])
            .sizes([("chunks", chunks), ("chunk", chunk), ("pixels", pixels), ("total", x.n * groups)])
            .bits([("eps", norm.eps.to_bits())])
            .bind("src", parts)
            .bind("scale", scale)
            .bind("dst", statistics)
            .groups(x.n * groups);
        self.push(step)?;

        let step = self
            .unary(node, APPLY)
            .activation(norm.activation)
            .sizes([("pixels", pixels), ("vectors", vec4s), ("channels", x.c)])
            .bind("statistics", statistics)
            .bind("shift", shift)
            .total(vectors(x))
            .flops(flops - flops / 2);
        self.push(self.summand(node, step))
    }

    fn norm_channels(&mut self, node: &Node, norm: &Norm, [scale, shift]: [Operand; 2]) -> Result<()> {
        let x = self.shape(node.inputs[0]);
        let (pixels, vec4s) = (x.n * x.pixels(), vec4s(x.c));
        let team = if vec4s >= TEAM_VECTORS { TEAM } else { 1 };
        let step = self
            .unary(node, CHANNELS)
            .constants([("TEAM", team as u32)])
            .activation(norm.activation)
            .sizes([("pixels", pixels), ("vectors", vec4s), ("channels", x.c)])
            .bits([("eps", norm.eps.to_bits())])
            .bind("scale", scale)
            .bind("shift", shift)
            .lanes(pixels * team)
            .flops(self.flops(node));
        self.push(step)
    }
}
