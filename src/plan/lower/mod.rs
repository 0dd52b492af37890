//! Turns layers into kernel runs, one file for each family of operators. `choose.rs` chooses the kernels of
//! convolutions.

mod choose;
mod conv;
mod depthwise;
mod ends;
mod matmul;
mod moves;
mod norm;
mod pad;
mod pointwise;
mod pool;
mod reduce;
mod resize;
mod step;
mod transposed;
mod winograd;

use crate::error::Result;
use crate::graph::{Activation, Constant as OfNetwork, Graph, Node, Op, ValueId, with_operator};
use crate::plan::arena::Place;
use crate::plan::kernel::ShaderFile;
use crate::plan::layout::{value_bytes, vec4s};
use crate::plan::pack::Constant;
use crate::plan::{Binding, DeviceProfile, Dispatch, PlanOptions, Port, Precision, Store};
use crate::tensor::Shape;
use norm::Sums;
use std::collections::{HashMap, HashSet};
use step::Step;

/// An operand of a kernel before it has memory.
#[derive(Debug, Clone, Copy)]
enum Operand {
    /// One of the plan's inputs, by its place, and its bytes.
    Input(usize, u64),
    /// One of the plan's outputs.
    Output(usize, u64),
    Value(ValueId),
    Constant(usize),
}

/// An operand of a kernel run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument {
    slot: u32,
    operand: Operand,
    written: bool,
}

/// How an operator becomes kernel runs.
trait Lower {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()>;
}

pub(super) struct Lowering<'a> {
    device: DeviceProfile,
    options: &'a PlanOptions,
    /// Shapes of all values of the graph, then of the scratch values between the kernels of one layer.
    pub(super) shapes: Vec<Option<Shape>>,
    /// The source of each value. Constants of the network are among the weights.
    sources: Vec<Operand>,
    /// Number of nodes that read each value.
    readers: Vec<usize>,
    /// Values that only a norm of small maps reads. The parts of a convolution's sum may stay parts until then.
    normed: HashSet<ValueId>,
    /// Such values, while they are parts.
    unsummed: HashMap<ValueId, Sums>,
    /// For each state the value that it becomes, and the value that the next run finds it in.
    pub(super) carries: Vec<(ValueId, ValueId)>,
    pub(super) steps: Vec<Dispatch<Argument>>,
    pub(super) constants: Vec<Constant>,
}

impl Lowering<'_> {
    pub(super) fn new(
        device: DeviceProfile,
        options: &PlanOptions,
        shapes: Vec<Option<Shape>>,
    ) -> Lowering<'_> {
        Lowering {
            device,
            options,
            sources: (0..shapes.len()).map(|id| Operand::Value(ValueId(id))).collect(),
            shapes,
            readers: Vec::new(),
            normed: HashSet::new(),
            unsummed: HashMap::new(),
            carries: Vec::new(),
            steps: Vec::new(),
            constants: Vec::new(),
        }
    }

    /// Lowers all nodes, between the arrival of the inputs and the departure of the outputs.
    pub(super) fn graph(&mut self, graph: &Graph, inputs: &[Port], outputs: &[Port]) -> Result<()> {
        self.readers = graph.all_uses();
        self.normed = graph.nodes.iter().filter_map(|node| self.whole_input(node)).collect();
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

    /// The value that a norm of small maps reads, if nothing else does.
    fn whole_input(&self, node: &Node) -> Option<ValueId> {
        let Op::Norm(norm) = &node.op else { return None };
        let x = node.inputs[0];
        let is_only = self.readers[x.0] == 1 && !self.options.keep_values;
        (is_only && norm::is_whole(norm, self.shape(x))).then_some(x)
    }

    /// Notes what a state becomes. A constant, or another state, which is about to change, is copied first.
    fn carry(&mut self, graph: &Graph, name: &str, from: ValueId, to: ValueId) -> Result<()> {
        let is_state = graph.carries().any(|(_, state)| state.value == from);
        let from = match self.source(from) {
            Operand::Value(_) if !is_state => from,
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

    /// The first and the last step that use each value.
    pub(super) fn value_steps(&self) -> Vec<Option<(usize, usize)>> {
        let mut steps: Vec<Option<(usize, usize)>> = vec![None; self.shapes.len()];
        for (i, step) in self.steps.iter().enumerate() {
            for argument in &step.bindings {
                if let Operand::Value(id) = argument.operand {
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

    /// The tenants that each step reads, and those that it writes. A tenant that is read and written counts as written.
    pub(super) fn tenant_sides(&self, tenant_of: &[Option<usize>]) -> Vec<(Vec<usize>, Vec<usize>)> {
        let side = |step: &Dispatch<Argument>, written: bool| {
            let values = step.bindings.iter().filter(|a| a.written == written);
            let tenant =
                |a: &Argument| if let Operand::Value(id) = a.operand { tenant_of[id.0] } else { None };
            values.filter_map(tenant).collect()
        };
        let steps = self.steps.iter().map(|step| (side(step, false), side(step, true)));
        let tenant = |id: ValueId| tenant_of[id.0].into_iter().collect();
        steps.chain(self.carries.iter().map(|&(from, to)| (tenant(from), tenant(to)))).collect()
    }

    /// The finished dispatches, after every value and constant has a place.
    pub(super) fn dispatches(
        &self,
        values: &[Option<(Place, Shape)>],
        weights: &[Place],
    ) -> Result<Vec<Dispatch>> {
        let precision = self.options.precision;
        let binding = |argument: &Argument| {
            let (store, offset, bytes) = match argument.operand {
                Operand::Input(place, bytes) => (Store::Input(place), 0, bytes),
                Operand::Output(place, bytes) => (Store::Output(place), 0, bytes),
                Operand::Value(id) => {
                    let (place, shape) = values[id.0].expect("every value of a step has a place");
                    (Store::Activations(place.buffer), place.offset, value_bytes(shape, precision))
                }
                Operand::Constant(i) => {
                    let place = weights[i];
                    (Store::Weights(place.buffer), place.offset, self.constants[i].bytes(precision))
                }
            };
            Binding { slot: argument.slot, store, offset, bytes, written: argument.written }
        };
        Ok(self.steps.iter().map(|step| step.bind(binding)).collect())
    }

    fn node(&mut self, node: &Node) -> Result<()> {
        with_operator!(&node.op, op => op.lower(self, node))
    }

    fn shape(&self, id: ValueId) -> Shape {
        self.shapes[id.0].expect("shape inference gave every value of the graph a shape")
    }

    /// Shapes of a node's first input and first output.
    fn ends(&self, node: &Node) -> (Shape, Shape) {
        (self.shape(node.inputs[0]), self.shape(node.outputs[0]))
    }

    /// Multiplications and additions of a node.
    fn flops(&self, node: &Node) -> u64 {
        let shapes = |ids: &[ValueId]| ids.iter().map(|&id| self.shape(id)).collect::<Vec<_>>();
        node.op.rules().flops(&shapes(&node.inputs), &shapes(&node.outputs))
    }

    /// The source of a value.
    fn source(&self, id: ValueId) -> Operand {
        self.sources[id.0]
    }

    fn precision(&self) -> Precision {
        self.options.precision
    }

    fn step(&self, label: &str, file: ShaderFile) -> Step {
        Step::new(label, file, self.precision())
    }

    /// A step of a kernel that reads `src` and writes `dst`, a node's first input and first output.
    fn unary(&self, node: &Node, file: ShaderFile) -> Step {
        let (src, dst) = (self.source(node.inputs[0]), Operand::Value(node.outputs[0]));
        self.step(&node.name, file).bind("src", src).bind("dst", dst)
    }

    fn push(&mut self, step: Step) -> Result<()> {
        self.steps.push(step.finish(&self.device)?);
        Ok(())
    }

    fn constant(&mut self, constant: Constant) -> Operand {
        self.constants.push(constant);
        Operand::Constant(self.constants.len() - 1)
    }

    /// A value that only the kernels of one layer use.
    fn scratch(&mut self, shape: Shape) -> ValueId {
        let id = ValueId(self.shapes.len());
        self.shapes.push(Some(shape));
        self.sources.push(Operand::Value(id));
        id
    }

    /// The same, with f32 vec4s in either precision.
    fn scratch_f32(&mut self, vectors: usize) -> ValueId {
        let vectors = vectors * 4 / self.precision().bytes();
        self.scratch(Shape { n: 1, c: 4, h: 1, w: vectors })
    }
}

impl Lower for OfNetwork {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        to.sources[node.outputs[0].0] = to.constant(Constant::Tensor(self.0.clone()));
        Ok(())
    }
}

/// Vec4s of a value.
fn vectors(shape: Shape) -> usize {
    shape.n * shape.pixels() * vec4s(shape.c)
}

fn window(kernel: [usize; 2], stride: [usize; 2]) -> [(&'static str, u32); 4] {
    let [kernel_h, kernel_w] = kernel.map(|k| k as u32);
    let [stride_h, stride_w] = stride.map(|s| s as u32);
    [("KERNEL_H", kernel_h), ("KERNEL_W", kernel_w), ("STRIDE_H", stride_h), ("STRIDE_W", stride_w)]
}

fn dilation(dilation: [usize; 2]) -> [(&'static str, u32); 2] {
    [("DILATION_H", dilation[0] as u32), ("DILATION_W", dilation[1] as u32)]
}

/// Rows above and columns left of the input.
fn padding(padding: [usize; 4]) -> [(&'static str, usize); 2] {
    [("pad_y", padding[0]), ("pad_x", padding[1])]
}
