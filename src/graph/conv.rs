//! Convolution and what is fused into it. Shaders: `conv_*.wgsl`, `winograd_*.wgsl`.

use super::{Activation, Operator, PadMode, Pool, Reach, concat, windows};
#[cfg(feature = "cpu")]
use super::{Pad, PadAmount, Prepared, winograd::Winograd};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// 2-D convolution (cross-correlation, as in every framework) over its input. With one group, also over the channel
/// concatenation of two inputs.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Conv {
    /// Weights `(out, in / groups, kernel height, kernel width)`.
    #[serde(with = "super::stored::tensor")]
    pub weight: Arc<Tensor>,
    /// One summand for each output channel.
    #[serde(with = "super::stored::optional_vector")]
    pub bias: Option<Arc<[f32]>>,
    /// Rows and columns between windows.
    pub stride: [usize; 2],
    /// Rows above, columns left, rows below, columns right that are added.
    pub padding: [usize; 4],
    /// What is in them: zeros, the edge or the reflection. Set by rewrites; files do not store it.
    #[serde(skip, default = "zeros")]
    pub outside: PadMode,
    /// Rows and columns between the taps of a window.
    pub dilation: [usize; 2],
    /// Number of channel groups that do not see each other.
    pub groups: usize,
    /// Applied to the sum.
    pub activation: Activation,
    /// What else is done with the sum. Set by rewrites; files do not store it.
    #[serde(skip)]
    pub ending: Ending,
}

fn zeros() -> PadMode {
    PadMode::Zero
}

/// What a convolution does with its sum, besides applying the activation and storing it.
#[derive(Debug, Clone, Default)]
pub enum Ending {
    /// Nothing else.
    #[default]
    Plain,
    /// Adds the last input, which has the output's shape, before the activation.
    Add,
    /// Also computes a second output: the first one, max-pooled 2x2.
    Pool,
    /// Computes a 1x1 convolution over the activated sum. Its result is the only output.
    Head(Arc<Conv>),
}

impl Conv {
    /// A convolution with stride 1, no padding, one group, and nothing fused.
    pub fn new(weight: Arc<Tensor>, bias: Option<Arc<[f32]>>) -> Conv {
        Conv {
            weight,
            bias,
            stride: [1, 1],
            padding: [0; 4],
            outside: PadMode::Zero,
            dilation: [1, 1],
            groups: 1,
            activation: Activation::None,
            ending: Ending::Plain,
        }
    }

    /// Splits the inputs into those of the convolution and the one that is added to the sum.
    pub(crate) fn operands<'a, T>(&self, inputs: &'a [T]) -> (&'a [T], Option<&'a T>) {
        match inputs.split_last() {
            Some((summand, sources)) if matches!(self.ending, Ending::Add) => (sources, Some(summand)),
            _ => (inputs, None),
        }
    }

    /// The same convolution with zero padding that keeps height and width at stride 1 (odd kernels).
    pub fn same(mut self) -> Conv {
        let [h, w] = self.kernel().map(|k| k / 2);
        self.padding =
            [h * self.dilation[0], w * self.dilation[1], h * self.dilation[0], w * self.dilation[1]];
        self
    }

    /// Kernel height and width.
    pub fn kernel(&self) -> [usize; 2] {
        [self.weight.shape().h, self.weight.shape().w]
    }

    /// Output channels.
    pub fn out_channels(&self) -> usize {
        self.weight.shape().n
    }

    /// The 1x1 convolution that is fused into it, if there is one.
    pub(crate) fn head(&self) -> Option<&Conv> {
        match &self.ending {
            Ending::Head(head) => Some(head),
            Ending::Plain | Ending::Add | Ending::Pool => None,
        }
    }

    /// Whether a second output is the first, max-pooled.
    pub(crate) fn pools(&self) -> bool {
        matches!(self.ending, Ending::Pool)
    }

    /// Shape of the activated sum, which a head reduces to `output`.
    pub(crate) fn map(&self, output: Shape) -> Shape {
        Shape { c: self.out_channels(), ..output }
    }

    /// Pixels from the first to the last tap on each axis.
    pub(crate) fn effective_kernel(&self) -> [usize; 2] {
        let k = self.kernel();
        [0, 1].map(|axis| self.dilation[axis] * (k[axis] - 1) + 1)
    }
}

impl Operator for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let (inputs, summand) = self.operands(inputs);
        let x = concat::joined(inputs)?;
        // Kernels read two sources side by side. With groups, a group could begin in one source and end in the other.
        if inputs.len() > 2 || (inputs.len() == 2 && self.groups > 1) {
            return Err(Error::shape("inputs", "one tensor, or two and one group", inputs.len()));
        }
        let weight = self.weight.shape();
        if self.groups == 0 || !weight.n.is_multiple_of(self.groups) {
            return Err(Error::shape(
                "groups",
                format!("a divisor of {} output channels", weight.n),
                self.groups,
            ));
        }
        if x.c != weight.c * self.groups {
            return Err(Error::shape("input", format!("{} channels", weight.c * self.groups), x.c));
        }
        if let Some(bias) = self.bias.as_ref().filter(|bias| bias.len() != weight.n) {
            return Err(Error::shape("bias", weight.n, bias.len()));
        }
        if let Some(bad) = self.dilation.iter().find(|d| !(1..=1 << 16).contains(*d)) {
            return Err(Error::shape("dilation", "1 to 65536", bad));
        }
        let ([top, left, bottom, right], effective) = (self.padding, self.effective_kernel());
        let y = Shape {
            n: x.n,
            c: weight.n,
            h: windows(x.h, top.saturating_add(bottom), effective[0], self.stride[0], false)?,
            w: windows(x.w, left.saturating_add(right), effective[1], self.stride[1], false)?,
        };
        match &self.ending {
            Ending::Add if summand != Some(&y) => Err(Error::shape("summand", y, format!("{summand:?}"))),
            Ending::Plain | Ending::Add => Ok(vec![y]),
            Ending::Pool => Ok(vec![y, Pool::MAX_2X2.infer(&[y])?[0]]),
            Ending::Head(head) => head.infer(&[y]),
        }
    }

    fn flops(&self, _: &[Shape], outputs: &[Shape]) -> u64 {
        let weight = self.weight.shape();
        let places = (outputs[0].n * outputs[0].pixels()) as u64;
        let own = 2 * places * weight.elements() as u64;
        own + match &self.ending {
            Ending::Plain | Ending::Pool => 0,
            Ending::Add => outputs[0].elements() as u64,
            Ending::Head(head) => head.flops(&[], outputs),
        }
    }

    fn parameters(&self) -> usize {
        let own = self.weight.data().len() + self.bias.as_ref().map_or(0, |b| b.len());
        own + self.head().map_or(0, Operator::parameters)
    }

    fn reach(&self) -> Option<Reach> {
        let extent = self.effective_kernel();
        Some(Reach { extent: extent[0].max(extent[1]), step: self.stride[0] as f64 })
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        self.surrounded(inputs, |conv, inputs| conv.finish(outputs, |map| im2col::run(conv, inputs, map)));
    }

    #[cfg(feature = "cpu")]
    fn prepare(&self, outputs: &[Shape]) -> Option<Prepared> {
        let winograd = Winograd::new(self, self.map(outputs[0]))?;
        let conv = self.clone();
        Some(Box::new(move |inputs, outputs| {
            conv.surrounded(inputs, |conv, inputs| {
                conv.finish(outputs, |map| winograd.run(conv, inputs, map));
            });
        }))
    }
}

#[cfg(feature = "cpu")]
impl Conv {
    /// Runs the convolution with zeros outside. Anything else is added to its sources first.
    fn surrounded(&self, inputs: &[&Tensor], run: impl FnOnce(&Conv, &[&Tensor])) {
        if self.outside == PadMode::Zero {
            return run(self, inputs);
        }
        let pad =
            Pad { amount: PadAmount::Fixed(self.padding.map(|side| side as isize)), mode: self.outside };
        let (sources, summand) = self.operands(inputs);
        let padded = |x: &&Tensor| {
            let shape = pad.infer(&[x.shape()]).expect("shape inference took the padding")[0];
            let mut y = [Tensor::zeros(shape)];
            pad.cpu(&[x], &mut y);
            let [y] = y;
            y
        };
        let padded: Vec<Tensor> = sources.iter().map(padded).collect();
        let inputs: Vec<&Tensor> = padded.iter().chain(summand.copied()).collect();
        run(&Conv { padding: [0; 4], outside: PadMode::Zero, ..self.clone() }, &inputs);
    }

    /// Computes the outputs from the activated sum, which `sum` computes.
    fn finish(&self, outputs: &mut [Tensor], sum: impl FnOnce(&mut Tensor)) {
        match self.head() {
            Some(head) => {
                let mut map = Tensor::zeros(self.map(outputs[0].shape()));
                sum(&mut map);
                head.cpu(&[&map], outputs);
            }
            None => sum(&mut outputs[0]),
        }
        if let [y, pooled] = outputs {
            Pool::MAX_2X2.cpu(&[y], std::slice::from_mut(pooled));
        }
    }

    /// Finishes sums with their bias: a slice of channel `c`'s plane that starts at element `at`.
    pub(super) fn end(&self, sums: &mut [f32], inputs: &[&Tensor], [n, c, at]: [usize; 3]) {
        if let (_, Some(summand)) = self.operands(inputs) {
            sums.iter_mut().zip(&summand.plane(n, c)[at..]).for_each(|(y, x)| *y += x);
        }
        self.activation.apply(sums);
    }

    /// Channel `c` of the concatenated inputs: its plane, height and width.
    pub(super) fn source<'a>(inputs: &[&'a Tensor], n: usize, mut c: usize) -> (&'a [f32], [usize; 2]) {
        let mut last = inputs[0];
        for &x in inputs {
            last = x;
            if c < x.shape().c {
                break;
            }
            c -= x.shape().c;
        }
        (last.plane(n, c), [last.shape().h, last.shape().w])
    }
}

/// The values that one tap of a row meets as the window slides: `to[i] = x[i * stride + tap - left]`, zero outside the
/// row.
#[cfg(feature = "cpu")]
pub(super) fn slide(x: &[f32], tap: usize, left: usize, stride: usize, to: &mut [f32]) {
    let begin = left.saturating_sub(tap).div_ceil(stride).min(to.len());
    let end = (x.len() + left).saturating_sub(tap).div_ceil(stride).clamp(begin, to.len());
    to[..begin].fill(0.0);
    to[end..].fill(0.0);
    let x = &x[(begin * stride + tap).saturating_sub(left).min(x.len())..];
    if stride == 1 {
        to[begin..end].copy_from_slice(&x[..end - begin]);
    } else {
        to[begin..end].iter_mut().zip(x.iter().step_by(stride)).for_each(|(t, &v)| *t = v);
    }
}

/// One task of a convolution: a block of rows of a run of channels, as one slice of each channel's plane.
#[cfg(feature = "cpu")]
pub(super) struct Task<'a> {
    pub(super) picture: usize,
    pub(super) first_channel: usize,
    pub(super) rows: std::ops::Range<usize>,
    pub(super) planes: Vec<&'a mut [f32]>,
}

#[cfg(feature = "cpu")]
impl Task<'_> {
    /// Splits the output into blocks of `rows` rows, and the channels of each group into enough runs for all threads.
    pub(super) fn all(y: &mut Tensor, groups: usize, rows: usize) -> Vec<Task<'_>> {
        let to = y.shape();
        let per_group = to.c / groups;
        let blocks = to.n * groups * to.h.div_ceil(rows);
        let runs = (2 * rayon::current_num_threads()).div_ceil(blocks).min(per_group.div_ceil(16));
        let channels = per_group.div_ceil(runs);
        let mut tasks = Vec::new();
        for (group, planes) in y.data_mut().chunks_mut(per_group * to.pixels()).enumerate() {
            let (picture, group) = (group / groups, group % groups);
            for (run, planes) in planes.chunks_mut(channels * to.pixels()).enumerate() {
                let first = tasks.len();
                for plane in planes.chunks_mut(to.pixels()) {
                    for (block, slice) in plane.chunks_mut(rows * to.w).enumerate() {
                        if tasks.len() == first + block {
                            let start = block * rows;
                            tasks.push(Task {
                                picture,
                                first_channel: group * per_group + run * channels,
                                rows: start..start + slice.len() / to.w,
                                planes: Vec::with_capacity(channels),
                            });
                        }
                        tasks[first + block].planes.push(slice);
                    }
                }
            }
        }
        tasks
    }
}

#[cfg(feature = "cpu")]
mod im2col {
    //! im2col and a matrix product, in blocks of output rows so both stay in the cache.

    use super::*;
    use crate::graph::gemm::{Matrix, multiply};
    use rayon::prelude::*;
    use std::ops::Range;

    /// Elements of an im2col block, a megabyte, which stays in the cache of a core.
    const BLOCK: usize = 256 * 1024;

    pub(super) fn run(conv: &Conv, inputs: &[&Tensor], y: &mut Tensor) {
        let (to, weight) = (y.shape(), conv.weight.shape());
        let taps = weight.c * weight.h * weight.w;
        let rows = (BLOCK / taps.max(64) / to.w).clamp(1, to.h.div_ceil(rayon::current_num_threads()).max(1));
        let tasks = Task::all(y, conv.groups, rows).into_par_iter();
        tasks.for_each_init(Scratch::default, |scratch, task| scratch.run(conv, inputs, task, to.w));
    }

    #[derive(Default)]
    struct Scratch {
        columns: Vec<f32>,
        sums: Vec<f32>,
    }

    impl Scratch {
        fn run(&mut self, conv: &Conv, inputs: &[&Tensor], task: Task<'_>, width: usize) {
            let weight = conv.weight.shape();
            let taps = weight.c * weight.h * weight.w;
            let pixels = task.rows.len() * width;
            let group = task.first_channel / (weight.n / conv.groups);
            self.columns.resize(taps * pixels, 0.0);
            self.sums.resize(task.planes.len() * pixels, 0.0);
            for (c, rows) in self.columns.chunks_mut(weight.h * weight.w * pixels).enumerate() {
                gather(
                    conv,
                    Conv::source(inputs, task.picture, group * weight.c + c),
                    &task.rows,
                    width,
                    rows,
                );
            }
            multiply(
                [task.planes.len(), pixels, taps],
                Matrix::rows(&conv.weight.data()[task.first_channel * taps..], taps),
                Matrix::rows(&self.columns, pixels),
                &mut self.sums,
            );
            for (i, (y, sums)) in task.planes.into_iter().zip(self.sums.chunks(pixels)).enumerate() {
                let c = task.first_channel + i;
                let bias = conv.bias.as_ref().map_or(0.0, |b| b[c]);
                y.iter_mut().zip(sums).for_each(|(y, s)| *y = s + bias);
                conv.end(y, inputs, [task.picture, c, task.rows.start * width]);
            }
        }
    }

    /// The im2col rows of one input channel: for each tap, the pixels that it meets as the window slides.
    fn gather(
        conv: &Conv,
        (x, [h, w]): (&[f32], [usize; 2]),
        rows: &Range<usize>,
        width: usize,
        to: &mut [f32],
    ) {
        let [_, kw] = conv.kernel();
        for (tap, to) in to.chunks_mut(rows.len() * width).enumerate() {
            let (ky, kx) = (tap / kw * conv.dilation[0], tap % kw * conv.dilation[1]);
            for (row, to) in rows.clone().zip(to.chunks_mut(width)) {
                let y = (row * conv.stride[0] + ky).wrapping_sub(conv.padding[0]);
                if y >= h {
                    to.fill(0.0);
                    continue;
                }
                super::slide(&x[y * w..][..w], kx, conv.padding[1], conv.stride[1], to);
            }
        }
    }
}
