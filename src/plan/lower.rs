//! From layers to dispatches: the one place that chooses kernels.

use super::arena::Place;
use super::kernel::{self, Kernel, ShaderFile};
use super::pack::{Constant, vec4s};
use super::{
    Binding, ConvKernel, DeviceProfile, Dispatch, LOOP_BUDGET, PlanOptions, Precision, Store, nchw_bytes,
    value_bytes,
};
use crate::error::{Error, Result};
use crate::graph::{
    Activation, Conv, ConvTranspose, Graph, Interpolation, Node, Op, PadMode, Pool, PoolKind, ValueId,
};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// Lanes of kernels in which each lane works for itself.
const LANES: u32 = 64;

/// A dispatch whose values have no bytes yet.
pub(super) struct Step {
    label: String,
    kernel: Kernel,
    grid: [u32; 3],
    params: Vec<(&'static str, u32)>,
    arguments: Vec<Argument>,
    flops: u64,
    loops: u64,
    workgroup_memory: u32,
}

#[derive(Clone, Copy)]
enum What {
    Input(Shape),
    Output(Shape),
    Value(ValueId),
    Constant(usize),
}

#[derive(Clone, Copy)]
struct Argument {
    slot: u32,
    what: What,
    written: bool,
}

fn read(slot: u32, what: What) -> Argument {
    Argument { slot, what, written: false }
}

fn write(slot: u32, id: ValueId) -> Argument {
    Argument { slot, what: What::Value(id), written: true }
}

pub(super) struct Lowering {
    device: DeviceProfile,
    precision: Precision,
    conv: ConvKernel,
    keep_values: bool,
    /// Of every value of the graph, then of the scratch values that kernels in several steps pass on.
    pub(super) shapes: Vec<Option<Shape>>,
    /// How many nodes read each value.
    readers: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) constants: Vec<Constant>,
}

/// What a convolution kernel reads and makes, in vec4s.
struct ConvShape {
    x: Shape,
    y: Shape,
    sources: Vec<u32>,
    out_c: u32,
    groups: u32,
}

/// How a dense convolution is computed.
enum Method {
    Direct,
    Tiled(Tile, u32),
    Winograd(u32),
}

/// Bytes that a Winograd band may take in each of its two scratch values.
const WINOGRAD_BAND: u64 = 8 << 20;

/// Pixels and channel vec4s that one lane (direct) or one workgroup (tiled) makes.
#[derive(Clone, Copy)]
struct Tile {
    h: u32,
    w: u32,
    c: u32,
}

impl Lowering {
    pub(super) fn new(device: DeviceProfile, options: &PlanOptions, shapes: Vec<Option<Shape>>) -> Lowering {
        Lowering {
            device,
            precision: options.precision,
            conv: options.conv,
            keep_values: options.keep_values,
            shapes,
            readers: Vec::new(),
            steps: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// Lowers all nodes, between the upload of the input and the download of the result.
    pub(super) fn graph(&mut self, graph: &Graph, input: Shape, output: Shape) -> Result<()> {
        self.readers = (0..graph.names.len()).map(|id| graph.uses(ValueId(id))).collect();
        self.convert("input", kernel::PACK, input, read(1, What::Input(input)), write(2, Graph::INPUT))?;
        for node in &graph.nodes {
            self.node(node).map_err(|e| e.at(&node.name))?;
        }
        let result = Argument { slot: 2, what: What::Output(output), written: true };
        self.convert("output", kernel::UNPACK, output, read(1, What::Value(graph.output)), result)
    }

    /// First and last step that touch each value.
    pub(super) fn value_steps(&self) -> Vec<Option<(usize, usize)>> {
        let mut steps: Vec<Option<(usize, usize)>> = vec![None; self.shapes.len()];
        for (i, step) in self.steps.iter().enumerate() {
            for argument in &step.arguments {
                if let What::Value(id) = argument.what {
                    let span = steps[id.0].get_or_insert((i, i));
                    span.1 = i;
                }
            }
        }
        steps
    }

    /// The tenants that each step reads and writes; one that does both is written.
    pub(super) fn tenant_sides(&self, tenant_of: &[Option<usize>]) -> Vec<(Vec<usize>, Vec<usize>)> {
        let side = |step: &Step, written: bool| {
            let values = step.arguments.iter().filter(|a| a.written == written);
            values.filter_map(|a| if let What::Value(id) = a.what { tenant_of[id.0] } else { None }).collect()
        };
        self.steps.iter().map(|step| (side(step, false), side(step, true))).collect()
    }

    /// The finished dispatches, once every value and constant has its place.
    pub(super) fn dispatches(
        &self,
        values: &[Option<(Place, Shape)>],
        weights: &[Place],
    ) -> Result<Vec<Dispatch>> {
        self.steps
            .iter()
            .map(|step| {
                let bindings = step.arguments.iter().map(|argument| {
                    let (store, offset, bytes) = match argument.what {
                        What::Input(shape) => (Store::Input, 0, nchw_bytes(shape)),
                        What::Output(shape) => (Store::Output, 0, nchw_bytes(shape)),
                        What::Value(id) => {
                            let (place, shape) = values[id.0].expect("every value of a step was placed");
                            (
                                Store::Activations(place.buffer),
                                place.offset,
                                value_bytes(shape, self.precision),
                            )
                        }
                        What::Constant(i) => {
                            let bytes = self.constants[i].bytes(self.precision);
                            (Store::Weights(weights[i].buffer), weights[i].offset, bytes)
                        }
                    };
                    Binding { slot: argument.slot, store, offset, bytes, written: argument.written }
                });
                Ok(Dispatch {
                    label: step.label.clone(),
                    kernel: step.kernel.clone(),
                    grid: step.grid,
                    params: step.params.clone(),
                    bindings: bindings.collect(),
                    flops: step.flops,
                    loops: step.loops,
                    workgroup_memory: step.workgroup_memory,
                })
            })
            .collect()
    }

    fn shape(&self, id: ValueId) -> Shape {
        self.shapes[id.0].expect("shape inference gave every value of the graph a shape")
    }

    fn node(&mut self, node: &Node) -> Result<()> {
        let (x, y) = (self.shape(node.inputs[0]), self.shape(node.outputs[0]));
        let src = read(1, What::Value(node.inputs[0]));
        let flops = {
            let ins: Vec<Shape> = node.inputs.iter().map(|&id| self.shape(id)).collect();
            let outs: Vec<Shape> = node.outputs.iter().map(|&id| self.shape(id)).collect();
            node.op.rules().flops(&ins, &outs)
        };
        match &node.op {
            Op::Conv(conv) => self.conv(node, conv, flops),
            Op::ConvTranspose(conv) => self.conv_transpose(node, conv, flops),
            Op::Pool(pool) => self.pool(&node.name, pool, node.inputs[0], node.outputs[0]),
            Op::GlobalAveragePool(_) => {
                let channels = vec4s(x.c);
                let total = x.n * channels;
                let mut step = self.step(node, kernel::GLOBAL_AVERAGE_POOL, Activation::None);
                step.params = params(&[("pixels", x.pixels()), ("channels", channels), ("total", total)])?;
                step.arguments = vec![src, write(2, node.outputs[0])];
                step.grid = self.fold(total as u64, 1)?;
                step.loops = (x.pixels() as u64).div_ceil(u64::from(LANES)) + 7;
                step.workgroup_memory = LANES * 16;
                step.flops = flops;
                self.push(step)
            }
            Op::BatchNorm(norm) => {
                let lanes = vec4s(x.c) * 4;
                let scale = self.constant(Constant::Vector { values: Some(norm.scale.clone()), len: lanes });
                let shift = self.constant(Constant::Vector { values: Some(norm.shift.clone()), len: lanes });
                let arguments = vec![src, read(2, scale), read(3, shift), write(4, node.outputs[0])];
                self.pointwise(node, kernel::BATCH_NORM, norm.activation, arguments, true, flops)
            }
            Op::Activation(activation) => {
                let arguments = vec![src, write(2, node.outputs[0])];
                self.pointwise(node, kernel::ACTIVATION, *activation, arguments, false, flops)
            }
            Op::Add(add) => {
                let arguments = vec![src, read(2, What::Value(node.inputs[1])), write(3, node.outputs[0])];
                self.pointwise(node, kernel::ADD, add.activation, arguments, false, flops)
            }
            Op::Concat(_) => self.concat(node, y),
            Op::Resize(resize) => {
                let (step_y, offset_y) = resize.interpolation.grid(x.h, y.h);
                let (step_x, offset_x) = resize.interpolation.grid(x.w, y.w);
                let mut step = self.windowed(node, kernel::RESIZE, x, y)?;
                step.params.extend([
                    ("step_y", step_y.to_bits()),
                    ("step_x", step_x.to_bits()),
                    ("offset_y", offset_y.to_bits()),
                    ("offset_x", offset_x.to_bits()),
                ]);
                step.kernel.flags = vec![("BILINEAR", resize.interpolation != Interpolation::Nearest)];
                step.arguments = vec![src, write(2, node.outputs[0])];
                step.flops = flops;
                self.push(step)
            }
            Op::Pad(pad) => self.pad(node, x, y, pad.origin(), pad.mode),
            Op::Crop(_) => self.pad(node, x, y, [0, 0], PadMode::Zero),
            Op::Softmax(_) => {
                let pixels = x.n * x.pixels();
                let mut step = self.step(node, kernel::SOFTMAX, Activation::None);
                step.params = params(&[("pixels", pixels), ("vectors", vec4s(x.c)), ("channels", x.c)])?;
                step.arguments = vec![src, write(2, node.outputs[0])];
                step.grid = self.fold(pixels as u64, LANES)?;
                step.loops = 3 * vec4s(x.c) as u64;
                step.flops = flops;
                self.push(step)
            }
        }
    }

    /// A step with nothing but its kernel.
    fn step(&self, node: &Node, file: ShaderFile, activation: Activation) -> Step {
        self.named(&node.name, file, activation)
    }

    fn named(&self, label: &str, file: ShaderFile, activation: Activation) -> Step {
        let activation = match activation {
            Activation::None => (0, 0),
            Activation::Relu => (1, 0),
            Activation::LeakyRelu(slope) => (2, slope.to_bits()),
            Activation::Sigmoid => (3, 0),
        };
        Step {
            label: label.into(),
            kernel: Kernel {
                file,
                precision: self.precision,
                constants: vec![("LANES", LANES)],
                flags: Vec::new(),
                activation,
            },
            grid: [1; 3],
            params: Vec::new(),
            arguments: Vec::new(),
            flops: 0,
            loops: 0,
            workgroup_memory: 0,
        }
    }

    fn push(&mut self, step: Step) -> Result<()> {
        if step.loops > LOOP_BUDGET {
            return Err(Error::shape("kernel loop", format!("at most {LOOP_BUDGET} iterations"), step.loops));
        }
        self.steps.push(step);
        Ok(())
    }

    fn constant(&mut self, constant: Constant) -> What {
        self.constants.push(constant);
        What::Constant(self.constants.len() - 1)
    }

    /// `items` in workgroups of `lanes`, x folded into y past the device's limit.
    fn fold(&self, items: u64, lanes: u32) -> Result<[u32; 3]> {
        let groups = items.div_ceil(u64::from(lanes)).max(1);
        let max = u64::from(self.device.max_workgroups);
        let rows = groups.div_ceil(max);
        if rows > max || items > u64::from(u32::MAX) {
            return Err(Error::shape("tensor", "fewer than 2^32 vec4s", items));
        }
        // Even rows, so that little is dispatched for nothing.
        Ok([groups.div_ceil(rows) as u32, rows as u32, 1])
    }

    /// The upload and download of the network's ends.
    fn convert(
        &mut self,
        label: &str,
        file: ShaderFile,
        shape: Shape,
        from: Argument,
        to: Argument,
    ) -> Result<()> {
        let vectors = vec4s(shape.c);
        let total = shape.n * shape.pixels() * vectors;
        let mut step = self.named(label, file, Activation::None);
        step.params = params(&[
            ("pixels", shape.pixels()),
            ("channels", shape.c),
            ("vectors", vectors),
            ("total", total),
        ])?;
        step.arguments = vec![from, to];
        step.grid = self.fold(total as u64, LANES)?;
        self.push(step)
    }

    /// Kernels whose lanes each make one vec4 from the vec4s at the same place.
    fn pointwise(
        &mut self,
        node: &Node,
        file: ShaderFile,
        activation: Activation,
        arguments: Vec<Argument>,
        channels: bool,
        flops: u64,
    ) -> Result<()> {
        let y = self.shape(node.outputs[0]);
        let total = y.n * y.pixels() * vec4s(y.c);
        let mut step = self.step(node, file, activation);
        if channels {
            step.params = params(&[("channels", vec4s(y.c))])?;
        }
        step.params.extend(params(&[("total", total)])?);
        step.arguments = arguments;
        step.grid = self.fold(total as u64, LANES)?;
        step.flops = flops;
        self.push(step)
    }

    /// Kernels whose lanes each make one vec4 from a window: sizes and grid.
    fn windowed(&self, node: &Node, file: ShaderFile, x: Shape, y: Shape) -> Result<Step> {
        let total = y.n * y.pixels() * vec4s(y.c);
        let mut step = self.step(node, file, Activation::None);
        step.params = params(&[
            ("in_h", x.h),
            ("in_w", x.w),
            ("out_h", y.h),
            ("out_w", y.w),
            ("channels", vec4s(y.c)),
            ("total", total),
        ])?;
        step.grid = self.fold(total as u64, LANES)?;
        Ok(step)
    }

    fn pad(&mut self, node: &Node, x: Shape, y: Shape, [top, left]: [isize; 2], mode: PadMode) -> Result<()> {
        let mut step = self.windowed(node, kernel::PAD, x, y)?;
        let signed = |v: isize| {
            i32::try_from(v).map(|v| v as u32).map_err(|_| Error::shape("pad", "32-bit amounts", v))
        };
        step.params.extend([("top", signed(top)?), ("left", signed(left)?)]);
        let mode = match mode {
            PadMode::Zero => 0,
            PadMode::Edge => 1,
            PadMode::Reflect => 2,
        };
        step.kernel.constants.push(("MODE", mode));
        step.arguments = vec![read(1, What::Value(node.inputs[0])), write(2, node.outputs[0])];
        self.push(step)
    }

    fn pool(&mut self, label: &str, pool: &Pool, from: ValueId, to: ValueId) -> Result<()> {
        let (x, y) = (self.shape(from), self.shape(to));
        let [top, left, bottom, right] = pool.padding;
        let total = y.n * y.pixels() * vec4s(y.c);
        let mut step = self.named(label, kernel::POOL, Activation::None);
        step.params = params(&[
            ("in_h", x.h),
            ("in_w", x.w),
            ("out_h", y.h),
            ("out_w", y.w),
            ("channels", vec4s(y.c)),
            ("total", total),
            ("pad_y", top),
            ("pad_x", left),
            ("padded_h", x.h + top + bottom),
            ("padded_w", x.w + left + right),
        ])?;
        let kind = match pool.kind {
            PoolKind::Max => 0,
            PoolKind::Average => 1,
            PoolKind::AverageWithPadding => 2,
        };
        step.kernel.constants.extend(window_constants(pool.kernel, pool.stride));
        step.kernel.constants.push(("KIND", kind));
        step.arguments = vec![read(1, What::Value(from)), write(2, to)];
        step.grid = self.fold(total as u64, LANES)?;
        step.loops = (pool.kernel[0] * (pool.kernel[1] + 1)) as u64;
        step.flops = (y.elements() * pool.kernel[0] * pool.kernel[1]) as u64;
        self.push(step)
    }

    /// One dispatch a part; each keeps the lanes of the parts before it.
    fn concat(&mut self, node: &Node, y: Shape) -> Result<()> {
        let mut offset = 0;
        for &part in &node.inputs {
            let x = self.shape(part);
            let touched = vec4s(offset + x.c) - offset / 4;
            let total = y.n * y.pixels() * touched;
            let mut step = self.step(node, kernel::CONCAT, Activation::None);
            step.params = params(&[
                ("src_c", vec4s(x.c)),
                ("dst_c", vec4s(y.c)),
                ("offset", offset),
                ("channels", x.c),
                ("touched", touched),
                ("total", total),
            ])?;
            step.arguments = vec![read(1, What::Value(part)), write(2, node.outputs[0])];
            step.grid = self.fold(total as u64, LANES)?;
            self.push(step)?;
            offset += x.c;
        }
        Ok(())
    }

    fn conv(&mut self, node: &Node, conv: &Conv, flops: u64) -> Result<()> {
        let inputs: Vec<Shape> = node.inputs.iter().map(|&id| self.shape(id)).collect();
        let (x, y) = (inputs[0], self.shape(node.outputs[0]));
        let channels: usize = inputs.iter().map(|s| s.c).sum();
        let depthwise = conv.groups == channels && y.c == channels && conv.groups > 1;
        let mut flops = flops;
        if depthwise {
            self.depthwise(node, conv, x, y, flops)?;
        } else {
            let aligned = (channels / conv.groups) % 4 == 0 && (y.c / conv.groups) % 4 == 0;
            let dense = conv.groups > 1 && !aligned;
            if dense {
                flops *= conv.groups as u64;
            }
            let shape = ConvShape {
                x,
                y,
                sources: inputs.iter().map(|s| vec4s(s.c) as u32).collect(),
                out_c: vec4s(y.c) as u32,
                groups: if dense { 1 } else { conv.groups as u32 },
            };
            let parts: Vec<usize> = inputs.iter().map(|s| s.c).collect();
            match self.method(conv, &shape) {
                Method::Winograd(size) => self.winograd(node, conv, &shape, parts, size, flops)?,
                Method::Tiled(tile, depth) => {
                    self.conv_tiled(node, conv, &shape, parts, dense, (tile, depth), flops)?;
                }
                Method::Direct => self.conv_direct(node, conv, &shape, parts, dense, flops)?,
            }
        }
        match node.outputs[..] {
            [full, pooled] if depthwise => {
                self.pool(&format!("{}.pool", node.name), &Pool::MAX_2X2, full, pooled)
            }
            _ => Ok(()),
        }
    }

    /// The choice between the kernels for dense convolutions.
    fn method(&self, conv: &Conv, shape: &ConvShape) -> Method {
        let in_c: u32 = shape.sources.iter().sum();
        let plain = (conv.kernel(), conv.stride, conv.dilation, shape.groups) == ([3, 3], [1, 1], [1, 1], 1);
        // The transforms lose bits that 16-bit storage does not have.
        let winograd = plain && self.precision == Precision::F32;
        let tiled = self.tile(conv, shape).filter(|_| shape.groups == 1);
        match self.conv {
            ConvKernel::Winograd2 if winograd => Method::Winograd(2),
            ConvKernel::Winograd4 if winograd => Method::Winograd(4),
            ConvKernel::Tiled => tiled.map_or(Method::Direct, |(tile, depth)| Method::Tiled(tile, depth)),
            ConvKernel::Auto if self.device.software && winograd && in_c >= 4 && shape.out_c >= 4 => {
                Method::Winograd(4)
            }
            // Small maps and thin layers leave most of a tile's lanes idle.
            ConvKernel::Auto
                if !self.device.software && in_c >= 2 && shape.out_c >= 8 && shape.y.pixels() >= 64 =>
            {
                tiled.map_or(Method::Direct, |(tile, depth)| Method::Tiled(tile, depth))
            }
            _ => Method::Direct,
        }
    }

    /// The tile and channel depth of `conv_tiled` for this layer, if its workgroup memory suffices.
    fn tile(&self, conv: &Conv, shape: &ConvShape) -> Option<(Tile, u32)> {
        let tile = Tile { h: 8, w: 16, c: if shape.out_c >= 12 { 16 } else { 8 } };
        let possible = |&depth: &u32| {
            tiled_memory(conv, tile, depth, self.precision) <= self.device.max_workgroup_memory
                && tiled_lanes(tile) <= self.device.max_lanes
        };
        [2, 1].into_iter().find(possible).map(|depth| (tile, depth))
    }

    /// A value that only kernels of one layer see.
    fn scratch(&mut self, shape: Shape) -> ValueId {
        self.shapes.push(Some(shape));
        ValueId(self.shapes.len() - 1)
    }

    /// Input transform, a batch of matrix products, output transform: a band of tile rows at a time, so that scratch
    /// stays small. The products are a 1x1 convolution whose pictures are the places in a tile, each with its weights.
    fn winograd(
        &mut self,
        node: &Node,
        conv: &Conv,
        shape: &ConvShape,
        parts: Vec<usize>,
        size: u32,
        flops: u64,
    ) -> Result<()> {
        let (places, in_c) = ((size + 2).pow(2) as usize, shape.sources.iter().sum::<u32>() as usize);
        let out_c = shape.out_c as usize;
        let (tiles_y, tiles_x) = (shape.y.h.div_ceil(size as usize), shape.y.w.div_ceil(size as usize));
        let row_bytes = (places * tiles_x * in_c.max(out_c) * 16) as u64;
        let rows_in_band = (WINOGRAD_BAND / row_bytes).max(1) as usize;
        let rows = shape.y.n * tiles_y;
        let band = Shape::new(places, out_c * 4, 1, rows.min(rows_in_band) * tiles_x);
        let tile = self.direct_tile(band, shape.out_c, 1, false);
        let columns = out_c.next_multiple_of(tile.c as usize) * 4;
        let weights = self.constant(Constant::winograd(conv, parts, size as usize, columns));
        let zero = self.constant(Constant::Vector { values: None, len: columns });
        let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: columns });
        let constants = [("SIZE", size)];
        for first_row in (0..rows).step_by(rows_in_band) {
            let band = rows_in_band.min(rows - first_row);
            let tiles = band * tiles_x;
            let transformed = self.scratch(Shape::new(places, in_c * 4, 1, tiles));
            let products = self.scratch(Shape::new(places, out_c * 4, 1, tiles));
            let place = [
                ("tiles_y", tiles_y),
                ("tiles_x", tiles_x),
                ("first", first_row * tiles_x),
                ("tiles", tiles),
            ];

            let mut step = self.step(node, kernel::WINOGRAD_INPUT, Activation::None);
            step.kernel.constants.extend(constants);
            step.kernel.flags = vec![("F4", size == 4), ("TWO", node.inputs.len() == 2)];
            step.params = params(&[("in_h", shape.x.h), ("in_w", shape.x.w)])?;
            step.params.extend(params(&place)?);
            step.params.extend([("src0_c", shape.sources[0]), ("in_c", in_c as u32)]);
            step.params.extend([("pad_y", conv.padding[0] as u32), ("pad_x", conv.padding[1] as u32)]);
            step.arguments =
                node.inputs.iter().zip(1..).map(|(&id, slot)| read(slot, What::Value(id))).collect();
            step.arguments.push(write(3, transformed));
            step.grid = self.fold((tiles * in_c) as u64, LANES)?;
            self.push(step)?;

            let (x, y) = (self.shape(transformed), self.shape(products));
            let product = Conv::new(Arc::new(Tensor::zeros(Shape::new(1, 1, 1, 1))), None);
            let inner = ConvShape { x, y, sources: vec![in_c as u32], out_c: shape.out_c, groups: 1 };
            let mut step = self.direct_step(node, &product, &inner, tile, Activation::None)?;
            set(&mut step.params, "weight_n", (in_c * columns) as u32);
            step.kernel.flags.extend([("TWO", false), ("FULL", true), ("POOL", false)]);
            step.arguments =
                vec![read(1, What::Value(transformed)), read(3, weights), read(4, zero), write(5, products)];
            step.flops = flops * band as u64 / rows as u64;
            self.push(step)?;

            let mut step = self.step(node, kernel::WINOGRAD_OUTPUT, conv.activation);
            step.kernel.constants.extend(constants);
            step.params = params(&[("out_h", shape.y.h), ("out_w", shape.y.w)])?;
            step.params.extend(params(&place)?);
            step.params.push(("out_c", shape.out_c));
            step.arguments = vec![read(1, What::Value(products)), read(2, bias)];
            step.kernel.flags.push(("F4", size == 4));
            self.conv_outputs(node, conv, &mut step, 3);
            step.grid = self.fold((tiles * out_c) as u64, LANES)?;
            self.push(step)?;
        }
        Ok(())
    }

    fn conv_tiled(
        &mut self,
        node: &Node,
        conv: &Conv,
        shape: &ConvShape,
        parts: Vec<usize>,
        dense: bool,
        (tile, depth): (Tile, u32),
        flops: u64,
    ) -> Result<()> {
        let in_c: u32 = shape.sources.iter().sum();
        let mut step = self.step(node, kernel::CONV_TILED, conv.activation);
        let constants = &mut step.kernel.constants;
        constants[0] = ("LANES", tiled_lanes(tile));
        constants.extend(conv_constants(conv));
        constants.extend([("TILE_H", tile.h), ("TILE_W", tile.w), ("TILE_C", tile.c), ("DEPTH", depth)]);
        constants.extend([("REG_H", REGISTERS.h), ("REG_W", REGISTERS.w), ("REG_C", REGISTERS.c)]);
        let tiles = self.tiles(&mut step, shape, tile, shape.y)?;
        step.params.extend([("src0_c", shape.sources[0]), ("in_c", in_c)]);
        step.params.extend(self.conv_ends(conv, shape, tile));
        let kernel = conv.kernel();
        let loads = tiled_memory(conv, tile, depth, Precision::F32) / 16 / tiled_lanes(tile) + 2;
        step.loops =
            u64::from(in_c.div_ceil(depth)) * (u64::from(depth) * (kernel[0] as u64 + 1) + u64::from(loads));
        step.workgroup_memory = tiled_memory(conv, tile, depth, self.precision);
        step.grid = self.fold(tiles, 1)?;
        step.flops = flops;
        self.finish_conv(node, conv, shape, parts, dense, tile, step)
    }

    fn conv_direct(
        &mut self,
        node: &Node,
        conv: &Conv,
        shape: &ConvShape,
        parts: Vec<usize>,
        dense: bool,
        flops: u64,
    ) -> Result<()> {
        let tile = self.direct_tile(shape.y, shape.out_c, shape.groups, conv.pool);
        let mut step = self.direct_step(node, conv, shape, tile, conv.activation)?;
        step.flops = flops;
        self.finish_conv(node, conv, shape, parts, dense, tile, step)
    }

    /// A `conv_direct` step without its arguments.
    fn direct_step(
        &self,
        node: &Node,
        conv: &Conv,
        shape: &ConvShape,
        tile: Tile,
        activation: Activation,
    ) -> Result<Step> {
        let in_c: u32 = shape.sources.iter().sum();
        let mut step = self.step(node, kernel::CONV_DIRECT, activation);
        let constants = &mut step.kernel.constants;
        constants.extend(conv_constants(conv));
        constants.extend([("TILE_H", tile.h), ("TILE_W", tile.w), ("TILE_C", tile.c)]);
        constants.push(("SOURCES", shape.sources.len() as u32));
        step.kernel.flags.push(("PADDED", conv.padding != [0; 4]));
        let tiles = self.tiles(&mut step, shape, tile, shape.y)?;
        step.params.extend([
            ("src0_c", shape.sources[0]),
            ("src1_c", shape.sources.get(1).copied().unwrap_or(0)),
            ("group_in", shape.sources[0] / shape.groups),
            ("group_out", shape.out_c / shape.groups),
        ]);
        step.params.extend(self.conv_ends(conv, shape, tile));
        let taps = conv.weight.shape().pixels() as u64;
        step.loops = taps * u64::from(in_c / shape.groups + 2);
        step.grid = self.fold(tiles, LANES)?;
        step.grid[2] = shape.out_c.div_ceil(tile.c);
        Ok(step)
    }

    /// A lane's tile in the direct kernels. Where a CPU plays the GPU, the one of least estimated work; with `even`
    /// sides where the tile is pooled.
    fn direct_tile(&self, y: Shape, out_c: u32, groups: u32, even: bool) -> Tile {
        let fits = |c: &u32| *c == 1 || (out_c >= *c && (out_c / groups) % c == 0);
        if !self.device.software {
            let c = if fits(&2) { 2 } else { 1 };
            return Tile { h: 2, w: if y.n * y.pixels() > 1024 { 4 } else { 2 }, c };
        }
        let sides = [1, 2, 4, 8, 16].into_iter().flat_map(|h| [1, 2, 4, 8, 16].map(|w| (h, w)));
        let tiles = sides.flat_map(|(h, w)| [1, 2, 4, 8].map(|c| Tile { h, w, c }));
        let allowed = |t: &Tile| {
            let odd = t.h % 2 + t.w % 2 > 0;
            fits(&t.c) && t.h * t.w <= 16 && t.h * t.w * t.c <= 128 && !(even && odd)
        };
        let work = |t: &Tile| {
            let tiles = y.n * y.h.div_ceil(t.h as usize) * y.w.div_ceil(t.w as usize);
            let pixels = u64::from(t.h * t.w);
            // lavapipe runs 8 lanes together. A multiply-add of four channels takes about 8 instructions a
            // subgroup, a vec4 load about 240, whatever its width, because each lane is fetched by itself.
            let inner = 32 * pixels * u64::from(t.c) + 240 * (pixels + 4 * u64::from(t.c));
            (tiles as u64).next_multiple_of(8) * u64::from(out_c.div_ceil(t.c)) * inner
        };
        tiles.filter(allowed).min_by_key(work).unwrap_or(Tile { h: 2, w: 2, c: 1 })
    }

    /// The params that all convolution kernels begin with. Returns the number of tiles over the batch.
    fn tiles(&self, step: &mut Step, shape: &ConvShape, tile: Tile, covered: Shape) -> Result<u64> {
        let (tiles_y, tiles_x) = (covered.h.div_ceil(tile.h as usize), covered.w.div_ceil(tile.w as usize));
        let tiles = covered.n * tiles_y * tiles_x;
        step.params = params(&[
            ("in_h", shape.x.h),
            ("in_w", shape.x.w),
            ("out_h", shape.y.h),
            ("out_w", shape.y.w),
            ("tiles_y", tiles_y),
            ("tiles_x", tiles_x),
            ("tiles", tiles),
        ])?;
        Ok(tiles as u64)
    }

    /// The params that all convolution kernels end with.
    fn conv_ends(&self, conv: &Conv, shape: &ConvShape, tile: Tile) -> [(&'static str, u32); 5] {
        [
            ("out_c", shape.out_c),
            ("weight_c", shape.out_c.next_multiple_of(tile.c)),
            ("weight_n", 0),
            ("pad_y", conv.padding[0] as u32),
            ("pad_x", conv.padding[1] as u32),
        ]
    }

    /// The map and its pooled half, from binding `slot` on.
    fn conv_outputs(&self, node: &Node, conv: &Conv, step: &mut Step, slot: u32) {
        let [full, pooled] = [node.outputs[0], *node.outputs.last().expect("a conv has an output")];
        // A map of which only the pooled half is read need not be stored.
        let wanted = !conv.pool || self.readers[full.0] > 0 || self.keep_values;
        if wanted {
            step.arguments.push(write(slot, full));
        }
        if conv.pool {
            step.arguments.push(write(slot + 1, pooled));
        }
        step.kernel.flags.extend([("TWO", node.inputs.len() == 2), ("FULL", wanted), ("POOL", conv.pool)]);
    }

    /// Sources, weights, bias, outputs; the same for both dense kernels.
    #[allow(
        clippy::too_many_arguments,
        reason = "one private caller each for two kernels that differ only in these"
    )]
    fn finish_conv(
        &mut self,
        node: &Node,
        conv: &Conv,
        shape: &ConvShape,
        parts: Vec<usize>,
        dense: bool,
        tile: Tile,
        mut step: Step,
    ) -> Result<()> {
        let columns = shape.out_c.next_multiple_of(tile.c) as usize * 4;
        let weights = self.constant(Constant::conv(conv, parts, dense, columns));
        let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: columns });
        let slots = node.inputs.iter().zip(1..).map(|(&id, slot)| read(slot, What::Value(id)));
        step.arguments = slots.chain([read(3, weights), read(4, bias)]).collect();
        self.conv_outputs(node, conv, &mut step, 5);
        step.grid[2] = shape.out_c.div_ceil(tile.c);
        self.push(step)
    }

    fn depthwise(&mut self, node: &Node, conv: &Conv, x: Shape, y: Shape, flops: u64) -> Result<()> {
        let weights = self.constant(Constant::Depthwise { weight: conv.weight.clone(), channels: y.c });
        let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: vec4s(y.c) * 4 });
        let mut step = self.windowed(node, kernel::CONV_DEPTHWISE, x, y)?;
        step.kernel.activation = self.step(node, kernel::CONV_DEPTHWISE, conv.activation).kernel.activation;
        step.kernel.constants.extend(conv_constants(conv));
        step.params.extend([("pad_y", conv.padding[0] as u32), ("pad_x", conv.padding[1] as u32)]);
        step.arguments = vec![
            read(1, What::Value(node.inputs[0])),
            read(2, weights),
            read(3, bias),
            write(4, node.outputs[0]),
        ];
        let [kh, kw] = conv.kernel();
        step.loops = (kh * (kw + 1)) as u64;
        step.flops = flops;
        self.push(step)
    }

    fn conv_transpose(&mut self, node: &Node, conv: &ConvTranspose, flops: u64) -> Result<()> {
        let (x, y) = (self.shape(node.inputs[0]), self.shape(node.outputs[0]));
        let aligned = (x.c / conv.groups) % 4 == 0 && (y.c / conv.groups) % 4 == 0;
        let dense = conv.groups > 1 && !aligned;
        let groups = if dense { 1 } else { conv.groups as u32 };
        let (in_c, out_c) = (vec4s(x.c) as u32, vec4s(y.c) as u32);
        let phases = conv.stride[0] * conv.stride[1];
        // Output pixels of one phase.
        let phase = Shape { h: y.h.div_ceil(conv.stride[0]), w: y.w.div_ceil(conv.stride[1]), ..y };
        let tile = self.direct_tile(phase, out_c, groups, false);
        let columns = out_c.next_multiple_of(tile.c);

        let mut step = self.step(node, kernel::CONV_TRANSPOSE, conv.activation);
        step.kernel.constants.extend(window_constants(conv.kernel(), conv.stride));
        step.kernel.constants.extend([("TILE_H", tile.h), ("TILE_W", tile.w), ("TILE_C", tile.c)]);
        let shape = ConvShape { x, y, sources: vec![in_c], out_c, groups };
        let tiles = self.tiles(&mut step, &shape, tile, phase)?;
        step.params.extend([
            ("in_c", in_c),
            ("group_in", in_c / groups),
            ("group_out", out_c / groups),
            ("out_c", out_c),
            ("weight_c", columns),
            ("pad_y", conv.padding[0] as u32),
            ("pad_x", conv.padding[1] as u32),
        ]);
        let weights = self.constant(Constant::conv_transpose(conv, dense, columns as usize * 4));
        let bias: Option<Arc<[f32]>> = conv.bias.clone();
        let bias = self.constant(Constant::Vector { values: bias, len: columns as usize * 4 });
        step.arguments = vec![
            read(1, What::Value(node.inputs[0])),
            read(2, weights),
            read(3, bias),
            write(4, node.outputs[0]),
        ];
        let taps: usize = [0, 1].map(|a| conv.kernel()[a].div_ceil(conv.stride[a])).iter().product();
        step.loops = taps as u64 * u64::from(in_c / groups + 2);
        step.grid = self.fold(tiles, LANES)?;
        step.grid[2] = out_c.div_ceil(tile.c) * phases as u32;
        step.flops = flops;
        self.push(step)
    }
}

/// Pixels and channel vec4s that one lane of `conv_tiled` keeps in registers.
const REGISTERS: Tile = Tile { h: 2, w: 4, c: 2 };

fn tiled_lanes(tile: Tile) -> u32 {
    tile.h / REGISTERS.h * (tile.w / REGISTERS.w) * (tile.c / REGISTERS.c)
}

/// Workgroup bytes of `conv_tiled`: its input patch and weights for `depth` vec4s.
fn tiled_memory(conv: &Conv, tile: Tile, depth: u32, precision: Precision) -> u32 {
    let effective = conv.effective_kernel();
    let patch = |tile: u32, axis: usize| (tile as usize - 1) * conv.stride[axis] + effective[axis];
    let taps = conv.weight.shape().pixels() * 4 * tile.c as usize;
    let vectors = (patch(tile.h, 0) * patch(tile.w, 1) + taps) * depth as usize;
    u32::try_from(vectors * 4 * precision.bytes()).unwrap_or(u32::MAX)
}

fn window_constants(kernel: [usize; 2], stride: [usize; 2]) -> [(&'static str, u32); 4] {
    [
        ("KERNEL_H", kernel[0] as u32),
        ("KERNEL_W", kernel[1] as u32),
        ("STRIDE_H", stride[0] as u32),
        ("STRIDE_W", stride[1] as u32),
    ]
}

fn conv_constants(conv: &Conv) -> impl Iterator<Item = (&'static str, u32)> {
    let dilation = [("DILATION_H", conv.dilation[0] as u32), ("DILATION_W", conv.dilation[1] as u32)];
    window_constants(conv.kernel(), conv.stride).into_iter().chain(dilation)
}

/// Changes one param.
fn set(params: &mut [(&'static str, u32)], name: &str, value: u32) {
    params.iter_mut().filter(|p| p.0 == name).for_each(|p| p.1 = value);
}

/// Sizes as a kernel takes them. Errors when one passes 32 bits.
fn params(sizes: &[(&'static str, usize)]) -> Result<Vec<(&'static str, u32)>> {
    let one = |&(name, size): &(&'static str, usize)| {
        u32::try_from(size).map(|s| (name, s)).map_err(|_| Error::shape(name, "fewer than 2^32", size))
    };
    sizes.iter().map(one).collect()
}
