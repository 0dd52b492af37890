//! Dense convolutions by the product kernels, with the sum over input channels whole or split, and their endings.

use super::choose::{Layer, Method, method};
use super::norm::Sums;
use super::step::Step;
use super::{Lower, Lowering, Operand, padding};
use crate::error::Result;
use crate::graph::{Activation, Conv, Ending, Node, Operator, PadMode, ValueId};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::plan::pack::Constant;
use crate::plan::{ConvKernel, Tuning};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

const REDUCE: ShaderFile = shader!("conv_reduce");

/// A dense convolution as the kernels see it.
#[derive(Clone)]
pub(super) struct Dense<'a> {
    pub(super) node: &'a Node,
    pub(super) conv: &'a Conv,
    pub(super) x: Shape,
    /// Shape of the sums, before a head.
    pub(super) y: Shape,
    /// Channels of each source.
    pub(super) parts: Vec<usize>,
    /// Whether the weights of groups that are not whole vec4s are spread into one matrix.
    pub(super) spread: bool,
    pub(super) asked: ConvKernel,
    pub(super) flops: u64,
}

impl Dense<'_> {
    /// Vec4s of each source.
    fn sources(&self) -> Vec<u32> {
        self.parts.iter().map(|&c| vec4s(c) as u32).collect()
    }

    pub(super) fn two(&self) -> bool {
        self.parts.len() == 2
    }

    pub(super) fn src0_c(&self) -> usize {
        vec4s(self.parts[0])
    }

    pub(super) fn in_c(&self) -> usize {
        self.parts.iter().map(|&c| vec4s(c)).sum()
    }

    pub(super) fn out_c(&self) -> usize {
        vec4s(self.y.c)
    }

    fn groups(&self) -> usize {
        if self.spread { 1 } else { self.conv.groups }
    }

    pub(super) fn layer(&self) -> Layer {
        let out = [self.y.n, self.y.h, self.y.w];
        Layer::new(self.conv, self.in_c() as u32, self.out_c() as u32, out, self.spread)
    }

    /// Output channels including the padding of the weights.
    pub(super) fn columns(&self, method: Method) -> usize {
        self.out_c().next_multiple_of(method.tile().c as usize) * 4
    }
}

impl Lower for Conv {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        to.convolve(node, self, to.asked(node))
    }
}

impl Lowering<'_> {
    fn convolve(&mut self, node: &Node, conv: &Conv, asked: ConvKernel) -> Result<()> {
        let sources = conv.operands(&node.inputs).0;
        let inputs: Vec<Shape> = sources.iter().map(|&id| self.shape(id)).collect();
        let parts: Vec<usize> = inputs.iter().map(|s| s.c).collect();
        let channels: usize = parts.iter().sum();
        let output = self.shape(node.outputs[0]);
        let (x, y, flops) = (inputs[0], conv.map(output), conv.flops(&inputs, &[output]));
        if conv.groups > 1 && conv.groups == channels && y.c == channels {
            return self.depthwise(node, conv, x, y, flops);
        }
        let spread = spread(conv.groups, channels, y.c);
        let flops = if spread { flops * conv.groups as u64 } else { flops };
        let dense = Dense { node, conv, x, y, parts, spread, asked, flops };
        match method(&dense.layer(), &self.device, self.precision(), asked) {
            Method::Winograd(size) => self.winograd(&dense, size as usize),
            method => match conv.head() {
                Some(head) if !method.computes_head(dense.out_c() as u32) => self.headless(&dense, head),
                _ => self.product(&dense, method),
            },
        }
    }

    /// The requested kernel or, under `Auto`, the measured one. `Auto` if the measured one cannot run here.
    pub(super) fn asked(&self, node: &Node) -> ConvKernel {
        let measured = || {
            let inputs: Vec<Shape> = node.inputs.iter().map(|&id| self.shape(id)).collect();
            let key = Tuning::key(&node.op, &inputs, self.precision())?;
            let kernel = self.options.tuning.as_ref()?.get(&key)?;
            kernel.applies(self.precision(), &self.device).then_some(kernel)
        };
        match self.options.conv {
            ConvKernel::Auto => measured().unwrap_or_default(),
            forced => forced,
        }
    }

    /// A convolution and then its head, for kernels whose workgroups do not have all channels of a pixel.
    fn headless(&mut self, dense: &Dense<'_>, head: &Conv) -> Result<()> {
        let map = self.scratch(dense.y);
        let part = |op: &Conv, inputs: &[ValueId], outputs: &[ValueId]| Node {
            name: dense.node.name.clone(),
            op: op.clone().into(),
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
        };
        let body = Conv { ending: Ending::Plain, ..dense.conv.clone() };
        self.convolve(&part(&body, &dense.node.inputs, &[map]), &body, dense.asked)?;
        self.convolve(&part(head, &[map], &dense.node.outputs), head, dense.asked)
    }

    fn product(&mut self, dense: &Dense<'_>, method: Method) -> Result<()> {
        let columns = dense.columns(method);
        let weights = Constant::conv(dense.conv, dense.parts.clone(), dense.spread, columns);
        let weights = self.constant(weights);
        let bias = self.constant(Constant::Vector { values: dense.conv.bias.clone(), len: columns });
        let step = self.product_step(dense, method).bind("weights", weights);
        let step = self.sources(dense, step);
        match self.parts(dense, &step, method)? {
            1 => {
                let step = self.ending(dense.node, dense.conv, step.bind("bias", bias));
                self.push(step)
            }
            parts => self.split(dense, step, method, parts, bias),
        }
    }

    /// A step of a product kernel without its buffers.
    pub(super) fn product_step(&self, dense: &Dense<'_>, method: Method) -> Step {
        let (tile, tiles) = (method.tile(), tiles(dense.y, method));
        let sources = dense.sources();
        let step = self.step(&dense.node.name, method.file()).constants(method.constants(&dense.layer()));
        let step = step.extents(dense.x, dense.y).sizes(padding(dense.conv.padding)).sizes([
            ("out_c", dense.out_c()),
            ("tiles_y", tiles[1]),
            ("tiles_x", tiles[2]),
            ("tiles", tiles.iter().product()),
            ("src0_c", dense.src0_c()),
            ("weight_c", dense.columns(method) / 4),
            ("weight_n", 0),
        ]);
        let step = match method {
            Method::Tiled(..) | Method::Cooperative(_) => step
                .flag("SIDE16", matches!(method, Method::Cooperative(_)) && tile.w == 16)
                .sizes([("in_c", dense.in_c()), ("part_c", dense.in_c())])
                .sizes([("pixels", dense.y.n * dense.y.pixels())])
                .groups(tiles.iter().product()),
            Method::Direct(_) | Method::Winograd(_) => step
                .flag("PADDED", dense.conv.padding != [0; 4] && dense.conv.outside == PadMode::Zero)
                .sizes([("src1_c", sources.get(1).map_or(0, |&c| c as usize))])
                .sizes([("group_in", sources[0] as usize / dense.groups())])
                .sizes([("group_out", dense.out_c() / dense.groups())])
                .lanes(tiles.iter().product()),
        };
        step.layers((dense.out_c() as u32).div_ceil(tile.c)).flops(dense.flops)
    }

    /// Binds one or two sources.
    pub(super) fn sources(&self, dense: &Dense<'_>, step: Step) -> Step {
        let sources = dense.conv.operands(&dense.node.inputs).0.iter();
        let bound =
            sources.zip(["src0", "src1"]).fold(step, |step, (&id, name)| step.bind(name, self.source(id)));
        let outside = dense.conv.outside;
        let bound = bound.flag("EDGE", outside == PadMode::Edge).flag("REFLECT", outside == PadMode::Reflect);
        bound.flag("TWO", dense.two())
    }

    /// Binds the operands of a convolution's ending.
    pub(super) fn ending(&mut self, node: &Node, conv: &Conv, step: Step) -> Step {
        let step = step.activation(conv.activation);
        let (outputs, operands) = (&node.outputs, conv.operands(&node.inputs));
        let dst = Operand::Value(outputs[0]);
        match &conv.ending {
            Ending::Plain => step.flag("STORE", true).bind("dst", dst),
            Ending::Add => {
                let summand = operands.1.map(|&id| self.source(id)).expect("shape inference found it");
                step.flag("STORE", true).bind("dst", dst).flag("ADD", true).bind("summand", summand)
            }
            Ending::Pool => {
                let step = step.flag("POOL", true).bind("pooled", Operand::Value(outputs[1]));
                // If only the pooled half is read, the map need not be stored.
                let wanted = self.readers[outputs[0].0] > 0 || self.options.keep_values;
                if wanted { step.flag("STORE", true).bind("dst", dst) } else { step }
            }
            Ending::Head(head) => {
                let weights = self.constant(Constant::conv(head, vec![conv.out_channels()], false, 4));
                let bias = self.constant(Constant::Vector { values: head.bias.clone(), len: 4 });
                let step = step.bind("dst", dst).bind("head", weights).bind("head_bias", bias);
                step.flag("HEAD", true).flag("HEAD_SIGMOID", head.activation == Activation::Sigmoid)
            }
        }
    }

    /// The number of parts of the sum over input channels. A small map is split so that it fills the device.
    fn parts(&self, dense: &Dense<'_>, step: &Step, method: Method) -> Result<usize> {
        let workgroups = step.workgroups(&self.device)?;
        // Two for each of a large GPU's processors; a CPU has few.
        let wanted = if self.device.software { 8 } else { 256 };
        // Adding up costs more than a part of few rounds saves. A head needs whole sums.
        Ok(match method.depth() {
            Some(depth) if dense.conv.head().is_none() => {
                (wanted / workgroups).min(dense.in_c() as u32 / (4 * depth)).clamp(1, 16) as usize
            }
            _ => 1,
        })
    }

    /// A step in which each workgroup sums a part of the input channels, and the step that adds the parts up.
    fn split(
        &mut self,
        dense: &Dense<'_>,
        step: Step,
        method: Method,
        parts: usize,
        bias: Operand,
    ) -> Result<()> {
        let y = dense.y;
        let depth = method.depth().expect("only kernels with a depth are split") as usize;
        let part_c = dense.in_c().div_ceil(parts).next_multiple_of(depth);
        let parts = dense.in_c().div_ceil(part_c);
        // Parts are f32 in either precision, so a split sum is as exact as a whole one.
        let lanes = vec4s(y.c) * 16 / self.precision().bytes();
        let sums = self.scratch(Shape { n: y.n * parts, c: lanes, ..y });
        let step = step.flag("SPLIT", true).constants([("PARTS", parts as u32)]).sizes([("part_c", part_c)]);
        let blocks = (dense.out_c() as u32).div_ceil(method.tile().c);
        self.push(step.layers(blocks * parts as u32).bind("parts", Operand::Value(sums)))?;
        let map = dense.node.outputs[0];
        let is_plain =
            matches!(dense.conv.ending, Ending::Plain) && dense.conv.activation == Activation::None;
        if is_plain && self.normed.contains(&map) {
            self.unsummed.insert(map, Sums { parts, sums: Operand::Value(sums), bias });
            return Ok(());
        }

        let (quads_y, quads_x) = (y.h.div_ceil(2), y.w.div_ceil(2));
        let step = self
            .step(&dense.node.name, REDUCE)
            .constants([("PARTS", parts as u32)])
            .sizes([("out_h", y.h), ("out_w", y.w), ("out_c", vec4s(y.c))])
            .sizes([("quads_y", quads_y), ("quads_x", quads_x), ("pixels", y.n * y.pixels())])
            .total(y.n * quads_y * quads_x * vec4s(y.c))
            .bind("sums", Operand::Value(sums))
            .bind("bias", bias);
        let step = self.ending(dense.node, dense.conv, step);
        self.push(step)
    }
}

/// The number of pictures, and of the tiles that cover a map's rows and columns.
pub(super) fn tiles(map: Shape, method: Method) -> [usize; 3] {
    let tile = method.tile();
    [map.n, map.h.div_ceil(tile.h as usize), map.w.div_ceil(tile.w as usize)]
}

/// A 1x1 convolution whose weights do not matter, which describes a product.
pub(super) fn one_by_one() -> Conv {
    Conv::new(Arc::new(Tensor::zeros(Shape::new(1, 1, 1, 1))), None)
}

/// Whether groups cut through vec4s, so their weights are spread into one dense matrix.
pub(super) fn spread(groups: usize, ins: usize, outs: usize) -> bool {
    groups > 1 && !((ins / groups).is_multiple_of(4) && (outs / groups).is_multiple_of(4))
}
