//! The axes of a tensor within one picture.

use crate::tensor::Shape;

/// An axis of a tensor within one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum Axis {
    /// Channels.
    #[default]
    C,
    /// Rows.
    H,
    /// Columns.
    W,
}

impl Axis {
    pub(crate) fn extent(self, shape: Shape) -> usize {
        match self {
            Axis::C => shape.c,
            Axis::H => shape.h,
            Axis::W => shape.w,
        }
    }

    /// The shape with another extent along this axis.
    pub(crate) fn with(self, shape: Shape, extent: usize) -> Shape {
        match self {
            Axis::C => Shape { c: extent, ..shape },
            Axis::H => Shape { h: extent, ..shape },
            Axis::W => Shape { w: extent, ..shape },
        }
    }

    /// The extent, and the distance in elements between neighbours along the axis, NCHW.
    #[cfg(feature = "cpu")]
    pub(crate) fn extents(self, shape: Shape) -> (usize, usize) {
        match self {
            Axis::C => (shape.c, shape.pixels()),
            Axis::H => (shape.h, shape.w),
            Axis::W => (shape.w, 1),
        }
    }
}

impl std::fmt::Display for Axis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Axis::C => "channels",
            Axis::H => "rows",
            Axis::W => "columns",
        })
    }
}
