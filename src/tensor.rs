//! Shapes and host tensors: four extents in NCHW order, the convention of every model file.

use crate::error::{Error, Result};
use std::ops::Range;

/// The extents of a tensor: batch, channels, height, width.
///
/// Convolution weights use the same four extents as `(out, in, kernel height, kernel width)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Pictures in the batch.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl Shape {
    /// A shape from its four extents.
    pub const fn new(n: usize, c: usize, h: usize, w: usize) -> Shape {
        Shape { n, c, h, w }
    }

    /// Number of elements. `usize::MAX` if the product overflows, so every limit refuses it.
    pub fn elements(self) -> usize {
        [self.n, self.c, self.h, self.w].into_iter().fold(1, usize::saturating_mul)
    }

    /// Number of pixels in one plane.
    pub fn pixels(self) -> usize {
        self.h.saturating_mul(self.w)
    }

    /// Refuses empty tensors, and tensors whose size in bytes would overflow.
    pub(crate) fn check(self, what: &str) -> Result<Shape> {
        if [self.n, self.c, self.h, self.w].contains(&0) {
            return Err(Error::shape(what, "extents of at least 1", self));
        }
        if self.elements() > isize::MAX as usize / 8
            || [self.n, self.c, self.h, self.w].iter().any(|&e| e > 1 << 30)
        {
            return Err(Error::shape(what, "fewer than 2^60 elements", self));
        }
        Ok(self)
    }
}

impl AsRef<[Shape]> for Shape {
    /// A list of one, for what takes the shapes of several inputs.
    fn as_ref(&self) -> &[Shape] {
        std::slice::from_ref(self)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({},{},{},{})", self.n, self.c, self.h, self.w)
    }
}

/// A dense f32 tensor on the host, NCHW.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: Vec<f32>,
}

impl Tensor {
    /// A tensor from its elements, NCHW.
    ///
    /// # Errors
    /// [`Error::Shape`] if their number is not that of the shape.
    pub fn new(shape: Shape, data: Vec<f32>) -> Result<Tensor> {
        shape.check("tensor")?;
        if data.len() != shape.elements() {
            return Err(Error::shape(format!("tensor {shape}"), shape.elements(), data.len()));
        }
        Ok(Tensor { shape, data })
    }

    /// A tensor of zeros.
    pub fn zeros(shape: Shape) -> Tensor {
        Tensor { shape, data: vec![0.0; shape.elements()] }
    }

    /// A tensor whose element with flat index `i` is `f(i)`.
    pub fn from_fn(shape: Shape, f: impl FnMut(usize) -> f32) -> Tensor {
        Tensor { shape, data: (0..shape.elements()).map(f).collect() }
    }

    /// Uniform values in -1..1 from a seed, the same on every machine.
    pub fn random(shape: Shape, seed: u64) -> Tensor {
        let mut random = Random::new(seed);
        Tensor::from_fn(shape, |_| random.uniform(-1.0, 1.0))
    }

    /// The four extents.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The elements, NCHW.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The elements, NCHW, for writing.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The elements, NCHW, by value.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Some rows and columns of every plane. Both ranges must not be empty.
    pub(crate) fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Tensor {
        let s = self.shape;
        if (rows.len(), columns.len()) == (s.h, s.w) {
            return self.clone();
        }
        let shape = Shape { h: rows.len(), w: columns.len(), ..s };
        let mut data = Vec::with_capacity(shape.elements());
        for plane in self.data.chunks_exact(s.pixels()) {
            for row in rows.clone() {
                data.extend_from_slice(&plane[row * s.w..][columns.clone()]);
            }
        }
        Tensor { shape, data }
    }

    /// One channel of one picture.
    pub fn plane(&self, n: usize, c: usize) -> &[f32] {
        let pixels = self.shape.pixels();
        &self.data[(n * self.shape.c + c) * pixels..][..pixels]
    }

    /// Runs `f(n, c, plane)` over all planes, in parallel.
    #[cfg(feature = "cpu")]
    pub(crate) fn par_planes(&mut self, f: impl Fn(usize, usize, &mut [f32]) + Sync) {
        use rayon::prelude::*;
        let Shape { c: channels, .. } = self.shape;
        let planes = self.data.par_chunks_mut(self.shape.pixels()).enumerate();
        planes.for_each(|(i, plane)| f(i / channels, i % channels, plane));
    }

    /// Errors with the first element that is NaN or infinite.
    pub fn check_finite(&self) -> Result<()> {
        match self.data.iter().position(|v| !v.is_finite()) {
            Some(index) => Err(Error::NonFinite { what: "the input".into(), index, value: self.data[index] }),
            None => Ok(()),
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): a small seeded generator, the same on every machine, for weights and test
/// data.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator from a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform value in `low..high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (self.bits() >> 40) as f32 / (1u32 << 24) as f32 * (high - low)
    }

    /// A uniform integer in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// One of the given choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
