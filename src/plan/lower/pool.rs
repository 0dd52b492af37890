//! Max and average pooling, and means of a given number of windows.

use super::reduce::View;
use super::{Lower, Lowering, Operand, dilation, padding, vectors, window};
use crate::error::Result;
use crate::graph::{AdaptivePool, Node, Pool, PoolKind, ValueId};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;

const ADAPTIVE_POOL: ShaderFile = shader!("adaptive_pool");
const POOL: ShaderFile = shader!("pool");

impl Lower for Pool {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        to.pool(&node.name, self, node.inputs[0], node.outputs[0])
    }
}

impl Lower for AdaptivePool {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let view = View::new(to.shape(node.inputs[0]), Some(self.axis));
        let longest = view.count.div_ceil(self.to) + 1;
        let step = to.unary(node, ADAPTIVE_POOL).sizes([
            ("inner", view.inner),
            ("count", view.count),
            ("windows", self.to),
            ("longest", longest),
        ]);
        to.push(step.total(view.outer * self.to * view.inner).flops(to.flops(node)))
    }
}

impl Lowering<'_> {
    pub(super) fn pool(&mut self, label: &str, pool: &Pool, from: ValueId, to: ValueId) -> Result<()> {
        let (x, y) = (self.shape(from), self.shape(to));
        let [top, left, bottom, right] = pool.padding;
        let kind = match pool.kind {
            PoolKind::Max => 0,
            PoolKind::Average => 1,
            PoolKind::AverageWithPadding => 2,
        };
        let step = self
            .step(label, POOL)
            .constants(window(pool.kernel, pool.stride))
            .constants(dilation(pool.dilation))
            .constants([("KIND", kind)])
            .extents(x, y)
            .sizes(padding(pool.padding))
            .sizes([("padded_h", x.h + top + bottom), ("padded_w", x.w + left + right)])
            .sizes([("vectors", vec4s(y.c))])
            .total(vectors(y))
            .bind("src", self.source(from))
            .bind("dst", Operand::Value(to))
            .flops((y.elements() * pool.kernel[0] * pool.kernel[1]) as u64);
        self.push(step)
    }
}
