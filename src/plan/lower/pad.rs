//! Padding and cropping of rows and columns.

use super::{Lower, Lowering, vectors};
use crate::error::{Error, Result};
use crate::graph::{Crop, Node, Pad, PadMode};
use crate::plan::Precision;
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
        let number = match mode {
            PadMode::Zero | PadMode::Value(_) => 0,
            PadMode::Edge => 1,
            PadMode::Reflect => 2,
            PadMode::Wrap => 3,
        };
        // Numbers beyond the range of f16 become infinite. A driver might also round them toward zero.
        let value = match (mode, self.precision()) {
            (PadMode::Value(value), Precision::F16) => half::f16::from_f32(value).to_f32(),
            (PadMode::Value(value), Precision::F32) => value,
            _ => 0.0,
        };
        let step = self
            .unary(node, PAD)
            .constants([("MODE", number)])
            .flag("VALUE", value != 0.0)
            .flag("MASK", value != 0.0 && !y.c.is_multiple_of(4))
            .extents(x, y)
            .bits([("top", signed(top)?), ("left", signed(left)?), ("value", value.to_bits())])
            .sizes([("vectors", vec4s(y.c)), ("channels", y.c)])
            .total(vectors(y));
        self.push(step)
    }
}
