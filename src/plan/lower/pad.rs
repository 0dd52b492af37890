//! Padding and cropping of rows and columns.

use super::{Lower, Lowering, vectors};
use crate::error::{Error, Result};
use crate::graph::{Crop, Node, Pad, PadMode};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;

const PAD: ShaderFile = shader!("pad");

impl Lower for Pad {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        to.pad(node, self.origin(), self.mode)
    }
}

impl Lower for Crop {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        to.pad(node, [0, 0], PadMode::Zero)
    }
}

impl Lowering<'_> {
    /// Rows above and columns left of the input; negative ones are cut.
    fn pad(&mut self, node: &Node, [top, left]: [isize; 2], mode: PadMode) -> Result<()> {
        let (x, y) = self.ends(node);
        let signed = |v: isize| {
            i32::try_from(v).map(|v| v as u32).map_err(|_| Error::shape("pad", "32-bit amounts", v))
        };
        let mode = match mode {
            PadMode::Zero => 0,
            PadMode::Edge => 1,
            PadMode::Reflect => 2,
        };
        let step = self
            .unary(node, PAD)
            .constants([("MODE", mode)])
            .extents(x, y)
            .bits([("top", signed(top)?), ("left", signed(left)?)])
            .sizes([("vectors", vec4s(y.c))])
            .total(vectors(y));
        self.push(step)
    }
}
