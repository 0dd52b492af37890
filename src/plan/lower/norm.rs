//! Norms with statistics of the input.

use super::step::LANES;
use super::{Lower, Lowering, Operand, vectors};
use crate::error::Result;
use crate::graph::{Node, Norm, NormOver};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::plan::pack::Constant;
use std::sync::Arc;

const APPLY: ShaderFile = shader!("norm_apply");
const CHANNELS: ShaderFile = shader!("norm_channels");
const MERGE: ShaderFile = shader!("norm_merge");
const STATISTICS: ShaderFile = shader!("norm_statistics");

/// The most chunks of a plane, and the fewest pixels for each lane of one.
const CHUNKS: usize = 128;
const LANE_PIXELS: usize = 16;

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

impl Lowering<'_> {
    /// Statistics of channels in chunks, then of groups, then one pass over all elements.
    fn norm_groups(
        &mut self,
        node: &Node,
        norm: &Norm,
        groups: usize,
        [scale, shift]: [Operand; 2],
    ) -> Result<()> {
        let (x, flops) = (self.shape(node.inputs[0]), self.flops(node));
        let (pixels, vec4s) = (x.pixels(), vec4s(x.c));
        // Neighbouring lanes read neighbouring vec4s of a pixel, if there are several.
        let columns = (1 << vec4s.ilog2()).min(TEAM);
        let rows = LANES as usize / columns;
        let chunk = pixels.div_ceil(CHUNKS).max(rows * LANE_PIXELS).next_multiple_of(rows).min(pixels);
        let chunks = pixels.div_ceil(chunk);
        let parts = Operand::Value(self.scratch_f32(2 * x.n * chunks * vec4s));
        let statistics = Operand::Value(self.scratch_f32(2 * x.n * vec4s));

        let step = self
            .step(&node.name, STATISTICS)
            .constants([("COLUMNS", columns as u32)])
            .sizes([("pixels", pixels), ("vectors", vec4s), ("chunk", chunk)])
            .bind("src", self.source(node.inputs[0]))
            .bind("dst", parts)
            .grid(chunks as u32, vec4s.div_ceil(columns) as u32)
            .layers(x.n as u32)
            .flops(flops / 2);
        self.push(step)?;

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
        self.push(step)
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
