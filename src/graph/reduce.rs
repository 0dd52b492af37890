//! Reductions along axes: sum, mean, extremes, norm. Shader: `reduce.wgsl`.

use super::{Operator, Reach, one};
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

/// The result for a set of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ReduceKind {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// The largest; NaN if any is NaN.
    Max,
    /// The smallest; NaN if any is NaN.
    Min,
    /// The root of the sum of their squares.
    L2,
}

/// Reduces axes to an extent of 1 each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reduce {
    /// The operation.
    pub kind: ReduceKind,
    /// Whether channels, rows and columns are reduced.
    pub axes: [bool; 3],
}

impl Reduce {
    /// The mean of each plane.
    pub const GLOBAL_AVERAGE: Reduce = Reduce { kind: ReduceKind::Mean, axes: [false, true, true] };
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            ReduceKind::Mean => "reduce_mean",
            ReduceKind::Sum => "reduce_sum",
            ReduceKind::Max => "reduce_max",
            ReduceKind::Min => "reduce_min",
            ReduceKind::L2 => "reduce_l2",
        }
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let x = one(inputs)?;
        let [c, h, w] = self.axes;
        if !(c || h || w) {
            return Err(Error::shape(self.name(), "at least one axis", "none"));
        }
        let left = |reduced: bool, extent: usize| if reduced { 1 } else { extent };
        Ok(vec![Shape { n: x.n, c: left(c, x.c), h: left(h, x.h), w: left(w, x.w) }])
    }

    fn flops(&self, inputs: &[Shape], _: &[Shape]) -> u64 {
        inputs[0].elements() as u64
    }

    fn reach(&self) -> Option<Reach> {
        matches!(self.axes, [_, false, false]).then_some(Reach::POINT)
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        let (x, s, to) = (inputs[0], inputs[0].shape(), outputs[0].shape());
        let [c, h, w] = self.axes;
        let over = |reduced: bool, place: usize, extent: usize| {
            if reduced { 0..extent } else { place..place + 1 }
        };
        let kind = self.kind;
        outputs[0].data_mut().par_iter_mut().with_min_len(64).enumerate().for_each(|(i, y)| {
            let (plane, row, column) = (i / to.pixels(), i / to.w % to.h, i % to.w);
            let columns = over(w, column, s.w);
            let mut all = kind.start();
            for channel in over(c, plane % to.c, s.c) {
                let plane = x.plane(plane / to.c, channel);
                for row in over(h, row, s.h) {
                    let row = &plane[row * s.w..][columns.clone()];
                    all = row.iter().fold(all, |all, &v| kind.step(all, f64::from(v)));
                }
            }
            *y = kind.end(all, (s.elements() / to.elements()) as f64) as f32;
        });
    }
}

#[cfg(feature = "cpu")]
impl ReduceKind {
    fn start(self) -> f64 {
        match self {
            ReduceKind::Mean | ReduceKind::Sum | ReduceKind::L2 => 0.0,
            ReduceKind::Max => f64::NEG_INFINITY,
            ReduceKind::Min => f64::INFINITY,
        }
    }

    fn step(self, all: f64, v: f64) -> f64 {
        match self {
            ReduceKind::Mean | ReduceKind::Sum => all + v,
            ReduceKind::L2 => all + v * v,
            ReduceKind::Max if v < all || all.is_nan() => all,
            ReduceKind::Min if v > all || all.is_nan() => all,
            ReduceKind::Max | ReduceKind::Min => v,
        }
    }

    fn end(self, all: f64, count: f64) -> f64 {
        match self {
            ReduceKind::Mean => all / count,
            ReduceKind::L2 => all.sqrt(),
            ReduceKind::Sum | ReduceKind::Max | ReduceKind::Min => all,
        }
    }
}
