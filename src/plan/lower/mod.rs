//! From layers to dispatches: the one place that chooses kernels. Convolutions have a file of their own.

mod conv;
mod norm;
mod pointwise;
mod rearrange;
mod reduce;

use crate::error::{Error, Result};
use crate::graph::{Activation, Axis, Concat, Graph, Node, Op, PadMode, Pointwise, Pool, PoolKind, ValueId};
use crate::plan::arena::Place;
use crate::plan::kernel::{self, Kernel, ShaderFile};
use crate::plan::pack::{Constant, vec4s};
use crate::plan::{
    Binding, ConvKernel, DeviceProfile, Dispatch, InputFormat, LOOP_BUDGET, OutputFormat, PlanOptions, Port,
    Precision, Store, Tuning, format, value_bytes,
};
use crate::tensor::Shape;
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
    /// One of the plan's inputs, by its place, and its bytes.
    Input(usize, u64),
    /// One of the plan's outputs.
    Output(usize, u64),
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
    tuning: Option<Arc<Tuning>>,
    keep_values: bool,
    input: InputFormat,
    output: OutputFormat,
    /// Of every value of the graph, then of the scratch values that kernels in several steps pass on.
    pub(super) shapes: Vec<Option<Shape>>,
    /// Where each value of the graph is read.
    sources: Vec<What>,
    /// How many nodes read each value.
    readers: Vec<usize>,
    /// Of each state, the value that it becomes and the value that the next run finds it in.
    pub(super) carries: Vec<(ValueId, ValueId)>,
    pub(super) steps: Vec<Step>,
    pub(super) constants: Vec<Constant>,
}

impl Lowering {
    pub(super) fn new(device: DeviceProfile, options: &PlanOptions, shapes: Vec<Option<Shape>>) -> Lowering {
        Lowering {
            device,
            precision: options.precision,
            conv: options.conv,
            tuning: options.tuning.clone(),
            keep_values: options.keep_values,
            input: options.input.clone(),
            output: options.output,
            sources: (0..shapes.len()).map(|id| What::Value(ValueId(id))).collect(),
            shapes,
            readers: Vec::new(),
            carries: Vec::new(),
            steps: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// Lowers all nodes, between the arrival of the inputs and the departure of the outputs.
    pub(super) fn graph(&mut self, graph: &Graph, inputs: &[Port], outputs: &[Port]) -> Result<()> {
        self.readers = graph.all_uses();
        for (place, (input, port)) in graph.caller_inputs().zip(inputs).enumerate() {
            if self.readers[input.value.0] > 0 {
                self.take_input(place, port, input.value)?;
            }
        }
        for node in &graph.nodes {
            self.node(node).map_err(|e| e.at(&node.name))?;
        }
        for (place, (output, port)) in graph.caller_outputs().zip(outputs).enumerate() {
            self.give_output(place, port, output.value)?;
        }
        for (output, input) in graph.carries() {
            self.carry(graph, &input.name, output.value, input.value)?;
        }
        Ok(())
    }

    /// Notes what a state becomes. A constant, or another state, which is about to change, is copied first.
    fn carry(&mut self, graph: &Graph, name: &str, from: ValueId, to: ValueId) -> Result<()> {
        let is_state = graph.carries().any(|(_, state)| state.value == from);
        let from = match self.sources[from.0] {
            What::Value(_) if !is_state => from,
            _ => {
                let copy = self.scratch(self.shape(from));
                let (name, op) = (format!("state {name}"), Activation::None.into());
                self.node(&Node { name, op, inputs: vec![from], outputs: vec![copy] })?;
                copy
            }
        };
        self.carries.push((from, to));
        Ok(())
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
        let last = self.steps.len().saturating_sub(1);
        for (from, to) in &self.carries {
            steps[to.0] = Some((0, last));
            if let Some(span) = &mut steps[from.0] {
                span.1 = last;
            }
        }
        steps
    }

    /// The tenants that each step reads and writes, then those that each state is copied from and to; one that is both is
    /// written.
    pub(super) fn tenant_sides(&self, tenant_of: &[Option<usize>]) -> Vec<(Vec<usize>, Vec<usize>)> {
        let side = |step: &Step, written: bool| {
            let values = step.arguments.iter().filter(|a| a.written == written);
            values.filter_map(|a| if let What::Value(id) = a.what { tenant_of[id.0] } else { None }).collect()
        };
        let steps = self.steps.iter().map(|step| (side(step, false), side(step, true)));
        let tenant = |id: ValueId| tenant_of[id.0].into_iter().collect();
        steps.chain(self.carries.iter().map(|&(from, to)| (tenant(from), tenant(to)))).collect()
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
                        What::Input(place, bytes) => (Store::Input(place), 0, bytes),
                        What::Output(place, bytes) => (Store::Output(place), 0, bytes),
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
        if let Op::Constant(constant) = &node.op {
            let uploaded = self.constant(Constant::Tensor(constant.0.clone()));
            self.sources[node.outputs[0].0] = uploaded;
            return Ok(());
        }
        let (x, y) = (self.shape(node.inputs[0]), self.shape(node.outputs[0]));
        let src = self.read(1, node.inputs[0]);
        let flops = {
            let ins: Vec<Shape> = node.inputs.iter().map(|&id| self.shape(id)).collect();
            let outs: Vec<Shape> = node.outputs.iter().map(|&id| self.shape(id)).collect();
            node.op.rules().flops(&ins, &outs)
        };
        if let Some(pointwise) = Pointwise::of(&node.op) {
            return self.pointwise(node, &pointwise, flops);
        }
        match &node.op {
            Op::Conv(conv) => self.conv(node, conv, flops),
            Op::ConvTranspose(conv) => self.conv_transpose(node, conv, flops),
            Op::Pool(pool) => self.pool(&node.name, pool, node.inputs[0], node.outputs[0]),
            Op::Reduce(reduce) => self.reduce(node, *reduce, flops),
            Op::Norm(norm) => self.norm(node, norm, flops),
            Op::Constant(_)
            | Op::BatchNorm(_)
            | Op::Activation(_)
            | Op::PRelu(_)
            | Op::Binary(_)
            | Op::Pointwise(_) => unreachable!("returned above"),
            Op::MatMul(_) => self.matmul(node, flops),
            Op::Concat(Concat { axis: Axis::C }) => self.concat(node, y),
            Op::Concat(Concat { axis }) => self.concat_plane(node, *axis),
            Op::Resize(resize) => {
                let mut step = self.windowed(node, kernel::RESIZE, Activation::None, x, y)?;
                step.kernel.constants.push(("TAPS", resize.taps() as u32));
                let [rows, columns] = resize.axes(x, y).map(|axis| {
                    let places = axis.iter().flat_map(|taps| {
                        taps.map(|(place, _)| place as f32).into_iter().chain(taps.map(|tap| tap.1))
                    });
                    let values: Arc<[f32]> = places.collect();
                    self.constant(Constant::Vector { len: values.len(), values: Some(values) })
                });
                step.arguments = vec![src, read(2, rows), read(3, columns), write(4, node.outputs[0])];
                step.flops = flops;
                self.push(step)
            }
            Op::Pad(pad) => self.pad(node, x, y, pad.origin(), pad.mode),
            Op::Crop(_) => self.pad(node, x, y, [0, 0], PadMode::Zero),
            Op::Softmax(softmax) => self.softmax(node, *softmax, flops),
            Op::ArgMax(_) => self.argmax(node, flops),
            Op::Rearrange(rearrange) => self.rearrange(node, rearrange),
        }
    }

    /// A kernel's argument that reads a value: out of the weights where it is a constant of the network.
    fn read(&self, slot: u32, id: ValueId) -> Argument {
        read(slot, self.sources[id.0])
    }

    /// A step with nothing but its kernel.
    fn step(&self, node: &Node, file: ShaderFile, activation: Activation) -> Step {
        self.named(&node.name, file, activation)
    }

    fn named(&self, label: &str, file: ShaderFile, activation: Activation) -> Step {
        Step {
            label: label.into(),
            kernel: Kernel {
                file,
                precision: self.precision,
                constants: vec![("LANES", LANES)],
                flags: Vec::new(),
                activation: kernel::call(activation, "x"),
                written: String::new(),
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
        if let Some(&axis) = step.grid.iter().find(|&&axis| axis > self.device.max_workgroups) {
            return Err(Error::shape(
                "workgroups",
                format!("at most {} an axis", self.device.max_workgroups),
                axis,
            ));
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

    /// From the host's layout to the device's.
    fn take_input(&mut self, place: usize, port: &Port, value: ValueId) -> Result<()> {
        let shape = port.shape;
        let (pixels, vectors) = (shape.pixels(), vec4s(shape.c));
        let total = shape.n * pixels * vectors;
        let mut step = self.named(&port.label("input"), kernel::PACK, Activation::None);
        let src = read(1, What::Input(place, port.bytes));
        step.params = params(&[("channels", shape.c), ("vectors", vectors), ("total", total)])?;
        step.arguments = match format::at(&self.input, place) {
            InputFormat::Planar => {
                step.params.insert(0, params(&[("pixels", pixels)])?[0]);
                vec![src, write(2, value)]
            }
            InputFormat::Picture { bits, scale, shift } => {
                step.kernel.file = kernel::PACK_BYTES;
                step.kernel.constants.push(("BITS", bits.count()));
                let mut vector = |values: Vec<f32>| {
                    self.constant(Constant::Vector { values: Some(values.into()), len: vectors * 4 })
                };
                let (scale, shift) = (vector(scale), vector(shift));
                vec![src, read(2, scale), read(3, shift), write(4, value)]
            }
        };
        step.grid = self.fold(total as u64, LANES)?;
        self.push(step)
    }

    /// From the device's layout to the host's.
    fn give_output(&mut self, place: usize, port: &Port, value: ValueId) -> Result<()> {
        let (shape, format) = (port.shape, format::at(&self.output, place));
        let (pixels, vectors) = (shape.pixels(), vec4s(shape.c));
        let words = format.bytes(shape).div_ceil(4);
        let mut step = self.named(&port.label("output"), kernel::UNPACK, Activation::None);
        let channels = [("channels", shape.c), ("vectors", vectors)];
        step.params = params(&channels)?;
        let items = match format {
            OutputFormat::Planar => {
                step.params.insert(0, params(&[("pixels", pixels)])?[0]);
                shape.n * pixels * vectors
            }
            OutputFormat::Picture { bits, scale } => {
                step.kernel.file = kernel::UNPACK_BYTES;
                step.kernel.constants.push(("BITS", bits.count()));
                step.params.extend(params(&[("numbers", shape.elements())])?);
                step.params.extend([("total", words as u32), ("scale", scale.to_bits())]);
                words
            }
            OutputFormat::Classes { threshold } => {
                step.kernel.file = kernel::UNPACK_CLASSES;
                step.params.extend(params(&[("pixels", shape.n * pixels)])?);
                step.params.extend([("total", words as u32), ("threshold", threshold.to_bits())]);
                step.loops = 4 * shape.c as u64;
                words
            }
        };
        if format == OutputFormat::Planar {
            step.params.extend(params(&[("total", items)])?);
        }
        let dst = Argument { slot: 2, what: What::Output(place, port.bytes), written: true };
        step.arguments = vec![self.read(1, value), dst];
        step.grid = self.fold(items as u64, LANES)?;
        self.push(step)
    }

    /// Kernels whose lanes each make one vec4 from the vec4s at the same place.
    fn elementwise(&self, node: &Node, file: ShaderFile, activation: Activation, flops: u64) -> Result<Step> {
        let y = self.shape(node.outputs[0]);
        let total = y.n * y.pixels() * vec4s(y.c);
        let mut step = self.step(node, file, activation);
        step.params = params(&[("total", total)])?;
        step.grid = self.fold(total as u64, LANES)?;
        step.flops = flops;
        Ok(step)
    }

    /// Kernels whose lanes each make one vec4 from a window: sizes and grid.
    fn windowed(
        &self,
        node: &Node,
        file: ShaderFile,
        activation: Activation,
        x: Shape,
        y: Shape,
    ) -> Result<Step> {
        let total = y.n * y.pixels() * vec4s(y.c);
        let mut step = self.step(node, file, activation);
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
        let mut step = self.windowed(node, kernel::PAD, Activation::None, x, y)?;
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
        step.arguments = vec![self.read(1, node.inputs[0]), write(2, node.outputs[0])];
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
        let [dilation_h, dilation_w] = pool.dilation.map(|d| d as u32);
        step.kernel.constants.extend([("DILATION_H", dilation_h), ("DILATION_W", dilation_w)]);
        step.kernel.constants.push(("KIND", kind));
        step.arguments = vec![self.read(1, from), write(2, to)];
        step.grid = self.fold(total as u64, LANES)?;
        step.loops = (pool.kernel[0] * (pool.kernel[1] + 1)) as u64;
        step.flops = (y.elements() * pool.kernel[0] * pool.kernel[1]) as u64;
        self.push(step)
    }

    fn matmul(&mut self, node: &Node, flops: u64) -> Result<()> {
        const TILE: usize = 4;
        let [a, b] = [0, 1].map(|i| self.shape(node.inputs[i]));
        let y = self.shape(node.outputs[0]);
        let [va, vb, vy] = [a, b, y].map(|x| vec4s(x.c));
        let tiles = [y.h.div_ceil(TILE), y.w.div_ceil(TILE)];
        let total = y.n * tiles[0] * tiles[1] * vy;
        let mut step = self.step(node, kernel::MATMUL, Activation::None);
        step.kernel.constants.push(("TILE", TILE as u32));
        step.kernel.flags = vec![("SPLAT0", a.c < y.c), ("SPLAT1", b.c < y.c)];
        step.params = params(&[
            ("out_h", y.h),
            ("out_w", y.w),
            ("depth", a.w),
            ("tiles_y", tiles[0]),
            ("tiles_x", tiles[1]),
            ("n0", if a.n == 1 { 0 } else { a.pixels() * va }),
            ("n1", if b.n == 1 { 0 } else { b.pixels() * vb }),
            ("vectors0", va),
            ("vectors1", vb),
            ("vectors", vy),
            ("channels", y.c),
            ("total", total),
        ])?;
        step.arguments =
            vec![self.read(1, node.inputs[0]), self.read(2, node.inputs[1]), write(3, node.outputs[0])];
        step.grid = self.fold(total as u64, LANES)?;
        step.loops = a.w as u64;
        step.flops = flops;
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
            step.arguments = vec![self.read(1, part), write(2, node.outputs[0])];
            step.grid = self.fold(total as u64, LANES)?;
            self.push(step)?;
            offset += x.c;
        }
        Ok(())
    }

    /// A value that only the kernels of one layer see.
    fn scratch(&mut self, shape: Shape) -> ValueId {
        let id = ValueId(self.shapes.len());
        self.shapes.push(Some(shape));
        self.sources.push(What::Value(id));
        id
    }
}

fn window_constants(kernel: [usize; 2], stride: [usize; 2]) -> [(&'static str, u32); 4] {
    [
        ("KERNEL_H", kernel[0] as u32),
        ("KERNEL_W", kernel[1] as u32),
        ("STRIDE_H", stride[0] as u32),
        ("STRIDE_W", stride[1] as u32),
    ]
}

/// Sizes as a kernel takes them. Errors when one passes 32 bits.
fn params(sizes: &[(&'static str, usize)]) -> Result<Vec<(&'static str, u32)>> {
    let one = |&(name, size): &(&'static str, usize)| {
        u32::try_from(size).map(|s| (name, s)).map_err(|_| Error::shape(name, "fewer than 2^32", size))
    };
    sizes.iter().map(one).collect()
}
