//! Resampling to another size.

use super::{Lowering, vectors};
use crate::error::Result;
use crate::graph::{Node, Resize};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::pack::{Constant, vec4s};
use std::sync::Arc;

const RESIZE: ShaderFile = shader!("resize");

impl Lowering<'_> {
    pub(super) fn resize(&mut self, node: &Node, resize: &Resize) -> Result<()> {
        let (x, y) = self.ends(node);
        let [rows, columns] = resize.axes(x, y).map(|axis| {
            let places = axis.iter().flat_map(|taps| {
                taps.map(|(place, _)| place as f32).into_iter().chain(taps.map(|tap| tap.1))
            });
            let values: Arc<[f32]> = places.collect();
            self.constant(Constant::Vector { len: values.len(), values: Some(values) })
        });
        let step = self
            .unary(node, RESIZE)
            .constants([("TAPS", resize.taps() as u32)])
            .extents(x, y)
            .sizes([("vectors", vec4s(y.c))])
            .total(vectors(y))
            .bind("rows", rows)
            .bind("columns", columns)
            .flops(self.flops(node));
        self.push(step)
    }
}
