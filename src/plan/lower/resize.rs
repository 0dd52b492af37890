//! Resampling to another size.

use super::{Lower, Lowering, vectors};
use crate::error::Result;
use crate::graph::{Node, Resize};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::plan::pack::Constant;
use std::sync::Arc;

const RESIZE: ShaderFile = shader!("resize");

impl Lower for Resize {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let (x, y) = to.ends(node);
        let [rows, columns] = self.axes(x, y).map(|axis| {
            let places = axis.iter().flat_map(|taps| {
                taps.map(|(place, _)| place as f32).into_iter().chain(taps.map(|tap| tap.1))
            });
            let values: Arc<[f32]> = places.collect();
            to.constant(Constant::Vector { len: values.len(), values: Some(values) })
        });
        let step = to
            .unary(node, RESIZE)
            .constants([("TAPS", self.taps() as u32)])
            .extents(x, y)
            .sizes([("vectors", vec4s(y.c))])
            .total(vectors(y))
            .bind("rows", rows)
            .bind("columns", columns)
            .flops(to.flops(node));
        to.push(step)
    }
}
