//! Norms whose statistics are the picture's own.

use super::{LANES, Lowering, What, params, read, write};
use crate::error::Result;
use crate::graph::{Activation, Node, Norm, NormOver};
use crate::plan::kernel;
use crate::plan::pack::{Constant, vec4s};
use std::sync::Arc;

/// Most chunks of a plane whose statistics are taken apart, and least pixels for a lane of one.
const CHUNKS: usize = 128;
const LANE_PIXELS: usize = 16;

/// Lanes that share the channels of a pixel, from this many vec4s on.
const TEAM: usize = 16;
const TEAM_VECTORS: usize = 2 * TEAM;

impl Lowering {
    pub(super) fn norm(&mut self, node: &Node, norm: &Norm, flops: u64) -> Result<()> {
        let lanes = vec4s(self.shape(node.inputs[0]).c) * 4;
        let scale: Arc<[f32]> = norm.scale.clone().unwrap_or_else(|| vec![1.0; lanes].into());
        let scale = self.constant(Constant::Vector { values: Some(scale), len: lanes });
        let shift = self.constant(Constant::Vector { values: norm.shift.clone(), len: lanes });
        match norm.over {
            NormOver::Groups(groups) => self.norm_groups(node, norm, groups, [scale, shift], flops),
            NormOver::Channels => self.norm_channels(node, norm, [scale, shift], flops),
        }
    }

    /// Statistics of channels in chunks, then of groups, then one pass over all elements.
    fn norm_groups(
        &mut self,
        node: &Node,
        norm: &Norm,
        groups: usize,
        [scale, shift]: [What; 2],
        flops: u64,
    ) -> Result<()> {
        let x = self.shape(node.inputs[0]);
        let (pixels, vectors) = (x.pixels(), vec4s(x.c));
        // Neighbouring lanes read neighbouring vec4s of a pixel, as far as there are some.
        let columns = (1 << vectors.ilog2()).min(TEAM);
        let rows = LANES as usize / columns;
        let chunk = pixels.div_ceil(CHUNKS).max(rows * LANE_PIXELS).next_multiple_of(rows).min(pixels);
        let chunks = pixels.div_ceil(chunk);
        let parts = self.scratch_f32(2 * x.n * chunks * vectors);
        let statistics = self.scratch_f32(2 * x.n * vectors);

        let mut step = self.step(node, kernel::NORM_STATISTICS, Activation::None);
        step.kernel.constants.push(("COLUMNS", columns as u32));
        step.params = params(&[("pixels", pixels), ("vectors", vectors), ("chunk", chunk)])?;
        step.arguments = vec![self.read(1, node.inputs[0]), write(2, parts)];
        step.grid = [chunks as u32, vectors.div_ceil(columns) as u32, x.n as u32];
        step.loops = (chunk.div_ceil(rows) + 7) as u64;
        step.workgroup_memory = LANES * 36;
        step.flops = flops / 2;
        self.push(step)?;

        let size = x.c / groups;
        let mut step = self.step(node, kernel::NORM_MERGE, Activation::None);
        step.params = params(&[
            ("groups", groups),
            ("size", size),
            ("vectors", vectors),
            ("chunks", chunks),
            ("chunk", chunk),
            ("pixels", pixels),
            ("total", x.n * groups),
        ])?;
        step.params.push(("eps", norm.eps.to_bits()));
        step.arguments = vec![read(1, What::Value(parts)), read(2, scale), write(3, statistics)];
        step.grid = self.fold((x.n * groups) as u64, 1)?;
        step.loops = ((chunks * size).div_ceil(LANES as usize) + 7 + size.div_ceil(LANES as usize)) as u64;
        step.workgroup_memory = LANES * 12;
        self.push(step)?;

        let mut step = self.elementwise(node, kernel::NORM_APPLY, norm.activation, flops - flops / 2)?;
        let sizes = [("pixels", pixels), ("vectors", vectors), ("channels", x.c)];
        step.params.splice(0..0, params(&sizes)?);
        let statistics = read(2, What::Value(statistics));
        step.arguments =
            vec![self.read(1, node.inputs[0]), statistics, read(3, shift), write(4, node.outputs[0])];
        self.push(step)
    }

    fn norm_channels(
        &mut self,
        node: &Node,
        norm: &Norm,
        [scale, shift]: [What; 2],
        flops: u64,
    ) -> Result<()> {
        let x = self.shape(node.inputs[0]);
        let (pixels, vectors) = (x.n * x.pixels(), vec4s(x.c));
        let team = if vectors >= TEAM_VECTORS { TEAM } else { 1 };
        let mut step = self.step(node, kernel::NORM_CHANNELS, norm.activation);
        step.kernel.constants.push(("TEAM", team as u32));
        step.params = params(&[("pixels", pixels), ("vectors", vectors), ("channels", x.c)])?;
        step.params.push(("eps", norm.eps.to_bits()));
        step.arguments =
            vec![self.read(1, node.inputs[0]), read(2, scale), read(3, shift), write(4, node.outputs[0])];
        step.grid = self.fold((pixels * team) as u64, LANES)?;
        step.loops = (3 * vectors.div_ceil(team) + 2 * team.ilog2() as usize) as u64;
        step.workgroup_memory = LANES * 4;
        step.flops = flops;
        self.push(step)
    }
}
