//! Depthwise convolutions: as many groups as channels.

use super::{Lowering, dilation, padding, vectors, window};
use crate::error::Result;
use crate::graph::{Conv, Ending, Node, Pool};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::plan::pack::Constant;
use crate::tensor::Shape;

const DEPTHWISE: ShaderFile = shader!("conv_depthwise");

impl Lowering<'_> {
    pub(super) fn depthwise(
        &mut self,
        node: &Node,
        conv: &Conv,
        x: Shape,
        y: Shape,
        flops: u64,
    ) -> Result<()> {
        let weights = self.constant(Constant::Depthwise { weight: conv.weight.clone(), channels: y.c });
        let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: vec4s(y.c) * 4 });
        let step = self
            .step(&node.name, DEPTHWISE)
            .constants(window(conv.kernel(), conv.stride))
            .constants(dilation(conv.dilation))
            .extents(x, y)
            .sizes(padding(conv.padding))
            .sizes([("vectors", vec4s(y.c))])
            .total(vectors(y))
            .bind("src", self.source(node.inputs[0]))
            .bind("weights", weights)
            .bind("bias", bias)
            .flops(flops);
        // The kernel pools nothing.
        let ending = if conv.pools() { Ending::Plain } else { conv.ending.clone() };
        let stored = Conv { ending, ..conv.clone() };
        let step = self.ending(node, &stored, step);
        self.push(step)?;
        match node.outputs[..] {
            [full, pooled] => self.pool(&format!("{}.pool", node.name), &Pool::MAX_2X2, full, pooled),
            _ => Ok(()),
        }
    }
}
