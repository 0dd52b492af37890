//! Products of two computed matrices, as in attention. Shader: `matmul.wgsl`.

use super::{Operator, two};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// `(n,c,h,k)` times `(n,c,k,w)` is `(n,c,h,w)`: a matrix product of each pair of planes. A batch or channel extent of
/// 1 is broadcast.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct MatMul;

impl Operator for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let (a, b) = two(inputs)?;
        let extent = |a: usize, b: usize| (a == b || a == 1 || b == 1).then_some(a.max(b));
        match (extent(a.n, b.n), extent(a.c, b.c)) {
            (Some(n), Some(c)) if a.w == b.h => Ok(vec![Shape { n, c, h: a.h, w: b.w }]),
            _ => Err(Error::shape("matmul", format!("({},{},{},*)", a.n, a.c, a.w), b)),
        }
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> u64 {
        2 * (outputs[0].elements() as u64).saturating_mul(inputs[0].w as u64)
    }

    fn reach(&self) -> Option<super::Reach> {
        None
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (a, b) = (inputs[0], inputs[1]);
        let plane = |x: &Tensor, n: usize, c: usize| {
            let s = x.shape();
            let place = n.min(s.n - 1) * s.c + c.min(s.c - 1);
            place * s.pixels()..(place + 1) * s.pixels()
        };
        let (depth, to) = (a.shape().w, outputs[0].shape());
        let rows = outputs[0].data_mut().par_chunks_mut(to.w).with_min_len(ROWS_FLOPS / (depth * to.w) + 1);
        rows.enumerate().for_each(|(i, y)| {
            let (n, c, row) = (i / to.h / to.c, i / to.h % to.c, i % to.h);
            let a = &a.data()[plane(a, n, c)][row * depth..][..depth];
            y.fill(0.0);
            for (&a, b) in a.iter().zip(b.data()[plane(b, n, c)].chunks(to.w)) {
                y.iter_mut().zip(b).for_each(|(y, b)| *y += a * b);
            }
        });
    }
}

/// Number of multiplications that justifies a thread.
#[cfg(feature = "cpu")]
const ROWS_FLOPS: usize = 1 << 14;
