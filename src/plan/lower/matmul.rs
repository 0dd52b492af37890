//! Products of two computed matrices.

use super::{Lower, Lowering, Operand};
use crate::error::Result;
use crate::graph::{MatMul, Node};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;

const MATMUL: ShaderFile = shader!("matmul");

/// Rows and columns that a lane makes.
const TILE: usize = 4;

impl Lower for MatMul {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let [a, b] = [0, 1].map(|i| to.shape(node.inputs[i]));
        let y = to.shape(node.outputs[0]);
        let [va, vb, vy] = [a, b, y].map(|x| vec4s(x.c));
        let tiles = [y.h.div_ceil(TILE), y.w.div_ceil(TILE)];
        let step = to
            .step(&node.name, MATMUL)
            .constants([("TILE", TILE as u32)])
            .flag("SPLAT0", a.c < y.c)
            .flag("SPLAT1", b.c < y.c)
            .sizes([("out_h", y.h), ("out_w", y.w), ("depth", a.w), ("channels", y.c)])
            .sizes([("tiles_y", tiles[0]), ("tiles_x", tiles[1])])
            .sizes([("n0", if a.n == 1 { 0 } else { a.pixels() * va })])
            .sizes([("n1", if b.n == 1 { 0 } else { b.pixels() * vb })])
            .sizes([("vectors0", va), ("vectors1", vb), ("vectors", vy)])
            .total(y.n * tiles[0] * tiles[1] * vy)
            .bind("src0", to.source(node.inputs[0]))
            .bind("src1", to.source(node.inputs[1]))
            .bind("dst", Operand::Value(node.outputs[0]))
            .flops(to.flops(node));
        to.push(step)
    }
}
