//! Transposed convolution, the learned up-sampling of U-Nets. Shader: `conv_transpose.wgsl`.

use super::operator::MAX_ATTRIBUTE;
use super::{Activation, Operator, Reach, one};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// 2-D transposed convolution: each input pixel adds its scaled kernel to the output, `stride` apart.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ConvTranspose {
    /// Weights `(in, out / groups, kernel height, kernel width)`, the order of PyTorch and ONNX.
    #[serde(with = "super::stored::tensor")]
    pub weight: Arc<Tensor>,
    /// One summand for each output channel.
    #[serde(with = "super::stored::optional_vector")]
    pub bias: Option<Arc<[f32]>>,
    /// Output rows and columns between input pixels.
    pub stride: [usize; 2],
    /// Output rows and columns between the taps of a kernel. Older files have none.
    #[serde(default = "dense")]
    pub dilation: [usize; 2],
    /// Rows and columns that are removed: above, left, below, right.
    pub padding: [usize; 4],
    /// Extra rows and columns at the bottom and right.
    pub output_padding: [usize; 2],
    /// Number of channel groups that do not see each other.
    pub groups: usize,
    /// Applied to the sum.
    pub activation: Activation,
}

fn dense() -> [usize; 2] {
    [1; 2]
}

impl ConvTranspose {
    /// A transposed convolution with the given stride, no padding, one group, and nothing fused.
    pub fn new(weight: Arc<Tensor>, bias: Option<Arc<[f32]>>, stride: usize) -> ConvTranspose {
        ConvTranspose {
            weight,
            bias,
            stride: [stride; 2],
            dilation: dense(),
            padding: [0; 4],
            output_padding: [0; 2],
            groups: 1,
            activation: Activation::None,
        }
    }

    /// Kernel height and width.
    pub fn kernel(&self) -> [usize; 2] {
        [self.weight.shape().h, self.weight.shape().w]
    }

    /// Output rows and columns that one input pixel reaches.
    fn extent(&self) -> [usize; 2] {
        let [kernel, dilation] = [self.kernel(), self.dilation];
        [0, 1].map(|axis| kernel[axis].saturating_sub(1).saturating_mul(dilation[axis]).saturating_add(1))
    }

    /// Output channels.
    pub fn out_channels(&self) -> usize {
        self.weight.shape().c * self.groups
    }
}

impl Operator for ConvTranspose {
    fn name(&self) -> &'static str {
        "conv_transpose"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let (x, weight) = (one(inputs)?, self.weight.shape());
        if x.c != weight.n {
            return Err(Error::shape("input", format!("{} channels", weight.n), x.c));
        }
        if self.groups == 0 || !weight.n.is_multiple_of(self.groups) {
            return Err(Error::shape(
                "groups",
                format!("a divisor of {} input channels", weight.n),
                self.groups,
            ));
        }
        if let Some(bias) = self.bias.as_ref().filter(|bias| bias.len() != self.out_channels()) {
            return Err(Error::shape("bias", self.out_channels(), bias.len()));
        }
        let ([top, left, bottom, right], kernel) = (self.padding, self.extent());
        let extent = |size: usize, cut: usize, axis: usize| {
            let (stride, extra) = (self.stride[axis], self.output_padding[axis]);
            // Places of taps are 32-bit numbers in a kernel.
            for (what, least, value) in [
                ("stride", 1, stride),
                ("dilation", 1, self.dilation[axis]),
                ("kernel", 1, kernel[axis]),
                ("padding", 0, cut),
                ("output padding", 0, extra),
            ] {
                if !(least..=MAX_ATTRIBUTE).contains(&value) {
                    let expected = format!("{least} to {MAX_ATTRIBUTE}");
                    return Err(Error::shape(format!("conv_transpose {what}"), expected, value));
                }
            }
            let full = (size - 1).saturating_mul(stride).saturating_add(kernel[axis] + extra);
            full.checked_sub(cut).ok_or_else(|| Error::shape("padding", format!("at most {full}"), cut))
        };
        Ok(vec![Shape {
            n: x.n,
            c: self.out_channels(),
            h: extent(x.h, top.saturating_add(bottom), 0)?,
            w: extent(x.w, left.saturating_add(right), 1)?,
        }])
    }

    fn flops(&self, inputs: &[Shape], _: &[Shape]) -> u64 {
        let weight = self.weight.shape();
        2 * inputs[0].elements() as u64 * (weight.c * weight.h * weight.w) as u64
    }

    fn parameters(&self) -> usize {
        self.weight.data().len() + self.bias.as_ref().map_or(0, |b| b.len())
    }

    fn reach(&self) -> Option<Reach> {
        let reached = self.extent();
        let extent = [0, 1].map(|axis| reached[axis].div_ceil(self.stride[axis]));
        Some(Reach { extent: extent[0].max(extent[1]), step: 1.0 / self.stride[0] as f64 })
    }

    /// A matrix product into `(out, kernel) x pixels`, one run of output channels at a time, which is then scattered.
    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        use crate::graph::gemm::{Matrix, multiply};
        use rayon::prelude::*;
        let (from, to, weight) = (inputs[0].shape(), outputs[0].shape(), self.weight.shape());
        let (taps, pixels, ins) = (weight.h * weight.w, from.pixels(), from.c / self.groups);
        // Runs of channels that keep the product near a megabyte and do not cross groups.
        let wanted = (256 * 1024 / (taps * pixels))
            .clamp(1, weight.c.div_ceil(2 * rayon::current_num_threads()).max(1));
        let run = (1..=wanted).rev().find(|r| weight.c % r == 0).unwrap_or(1);
        let planes = outputs[0].data_mut().par_chunks_mut(run * to.pixels()).enumerate();
        planes.for_each_init(Vec::new, |product, (i, planes)| {
            let (n, first) = (i * run / to.c, i * run % to.c);
            let (group, within) = (first / weight.c, first % weight.c);
            product.resize(run * taps * pixels, 0.0);
            multiply(
                [run * taps, pixels, ins],
                Matrix::columns(
                    &self.weight.data()[(group * ins * weight.c + within) * taps..],
                    weight.c * taps,
                ),
                Matrix::rows(&inputs[0].data()[(n * from.c + group * ins) * pixels..], pixels),
                product,
            );
            for (c, (y, product)) in
                planes.chunks_mut(to.pixels()).zip(product.chunks(taps * pixels)).enumerate()
            {
                y.fill(self.bias.as_ref().map_or(0.0, |b| b[first + c]));
                for (tap, product) in product.chunks(pixels).enumerate() {
                    self.scatter(tap, product, from, y, to);
                }
                self.activation.apply(y);
            }
        });
    }
}

#[cfg(feature = "cpu")]
impl ConvTranspose {
    /// Adds the products of one tap to an output plane.
    fn scatter(&self, tap: usize, product: &[f32], from: Shape, y: &mut [f32], to: Shape) {
        let [top, left, ..] = self.padding;
        let [dy, dx] = self.dilation;
        let (ky, kx) = (tap / self.weight.shape().w * dy, tap % self.weight.shape().w * dx);
        let [sy, sx] = self.stride;
        // Input columns whose target `column * sx + kx - left` lies in 0..to.w.
        let begin = left.saturating_sub(kx).div_ceil(sx).min(from.w);
        let end = (to.w + left).saturating_sub(kx).div_ceil(sx).clamp(begin, from.w);
        for (row, product) in product.chunks(from.w).enumerate() {
            let target = (row * sy + ky).wrapping_sub(top);
            if target < to.h && begin < end {
                let y = &mut y[target * to.w + begin * sx + kx - left..(target + 1) * to.w];
                y.iter_mut().step_by(sx).zip(&product[begin..end]).for_each(|(y, p)| *y += p);
            }
        }
    }
}
