//! Nodes, and the values between them.

use super::{Extent, Input, Op, Output};
use crate::error::{Error, Result};
use crate::tensor::Shape;
use std::collections::HashSet;

/// Identifies a value of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

impl ValueId {
    /// The value's index in tables such as [`Graph::shapes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// An operator in a graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// The layer's name, unique in the graph.
    pub name: String,
    /// Its operator.
    pub op: Op,
    /// Values that it reads, in the operator's order.
    pub inputs: Vec<ValueId>,
    /// Values that it makes, in the operator's order.
    pub outputs: Vec<ValueId>,
}

/// A network: nodes in execution order, named inputs and outputs, and states.
///
/// A network with one input and one output needs no names:
///
/// ```
/// use unet_wgpu::graph::{Activation, Graph};
///
/// let mut graph = Graph::new(3);
/// graph.push("relu", Activation::Relu, &[Graph::INPUT])?;
/// # Ok::<(), unet_wgpu::Error>(())
/// ```
///
/// A second input, here one number for each picture, and a state that each run passes to the next:
///
/// ```
/// use unet_wgpu::Shape;
/// use unet_wgpu::graph::{Binary, Extent, Graph};
///
/// let mut graph = Graph::new(3);
/// let gain = graph.add_input("gain", Shape::new(1, 1, 1, 1))?;
/// let last = graph.add_input("last", [Extent::Part(1), Extent::Fixed(3), Extent::Part(1), Extent::Part(1)])?;
/// let lit = graph.push("lit", Binary::new(unet_wgpu::graph::BinaryKind::Mul), &[Graph::INPUT, gain])?;
/// let sum = graph.push("sum", Binary::ADD, &[lit, last])?;
/// graph.add_output("next", sum)?;
/// graph.carry("next", "last")?;
/// # Ok::<(), unet_wgpu::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// For each value, the name of the input or of the node that first made it.
    pub(crate) names: Vec<String>,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    /// For each state, the indices of its output and of its input.
    pub(super) carries: Vec<(usize, usize)>,
    /// Names of inputs and layers.
    taken: HashSet<String>,
}

impl Graph {
    /// The value of the first input.
    pub const INPUT: ValueId = ValueId(0);

    /// A graph that consists of one picture with `channels` channels. Its input is called `input`, its result `output`.
    pub fn new(channels: usize) -> Graph {
        Graph::with_input("input", Extent::picture(channels))
    }

    /// A graph that consists of one input, which is also its result.
    pub fn with_input(name: &str, extents: impl Into<[Extent; 4]>) -> Graph {
        Graph {
            nodes: Vec::new(),
            names: vec![name.into()],
            inputs: vec![Input { name: name.into(), extents: extents.into(), value: Graph::INPUT }],
            outputs: vec![Output { name: "output".into(), value: Graph::INPUT, given: true }],
            carries: Vec::new(),
            taken: HashSet::from([name.into()]),
        }
    }

    /// Errors if a layer or an input already has that name.
    pub(super) fn take_name(&mut self, name: &str) -> Result<()> {
        match self.taken.insert(name.into()) {
            true => Ok(()),
            false => Err(Error::Model(format!("two layers or inputs are named {name}; names must differ"))),
        }
    }

    /// Appends a node and returns its value, which becomes the graph's result.
    ///
    /// # Errors
    /// If the name is taken, or an input is not a value of this graph.
    pub fn push(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        if let Some(id) = inputs.iter().find(|id| id.0 >= self.names.len()) {
            return Err(Error::Model(format!("{name} reads value {}, which does not exist yet", id.0)));
        }
        self.take_name(name)?;
        let output = self.add_value(name);
        self.nodes.push(Node {
            name: name.into(),
            op: op.into(),
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        self.set_output(output);
        Ok(output)
    }

    pub(crate) fn add_value(&mut self, name: &str) -> ValueId {
        self.names.push(name.into());
        ValueId(self.names.len() - 1)
    }

    /// Nodes in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The name of a value: that of its input, or of the node that first made it.
    pub fn value_name(&self, id: ValueId) -> &str {
        &self.names[id.0]
    }

    /// Channels of the first input; 0 if it takes any number.
    pub fn input_channels(&self) -> usize {
        match self.inputs[0].extents[1] {
            Extent::Fixed(channels) => channels,
            _ => 0,
        }
    }

    /// The shape of every value, from the shapes of the inputs in order. `None` for values that no node makes any more.
    /// A single [`Shape`] is enough if all other inputs are fixed or follow from the first.
    ///
    /// # Errors
    /// [`Error::Shape`] names the input or layer whose shape does not match.
    pub fn shapes(&self, inputs: impl AsRef<[Shape]>) -> Result<Vec<Option<Shape>>> {
        let given = self.input_shapes(inputs)?;
        let mut shapes = vec![None; self.names.len()];
        for (input, shape) in self.inputs.iter().zip(given) {
            shapes[input.value.0] = Some(shape);
        }
        for node in &self.nodes {
            let made = node.op.rules().infer(&node.input_shapes(&shapes)?).map_err(|e| e.at(&node.name))?;
            if made.len() != node.outputs.len() {
                return Err(Error::shape(&node.name, format!("{} outputs", made.len()), node.outputs.len()));
            }
            for (&id, shape) in node.outputs.iter().zip(made) {
                shapes[id.0] = Some(shape.check(&node.name)?);
            }
        }
        for (from, to) in self.carries() {
            let [made, taken] = [from.value, to.value].map(|id| shapes[id.0]);
            if let (Some(made), Some(taken)) = (made, taken)
                && made != taken
            {
                let expected = format!("{taken}, which it is in the next run as the input {}", to.name);
                return Err(Error::shape(format!("output {}", from.name), expected, made));
            }
        }
        Ok(shapes)
    }

    /// The shape of the result.
    ///
    /// # Errors
    /// As [`shapes`](Self::shapes).
    pub fn output_shape(&self, inputs: impl AsRef<[Shape]>) -> Result<Shape> {
        Ok(self.output_shapes(&self.shapes(inputs)?)?[0])
    }

    /// The shapes of all outputs, from the table of all values.
    pub(crate) fn output_shapes(&self, shapes: &[Option<Shape>]) -> Result<Vec<Shape>> {
        let made = |output: &Output| {
            shapes[output.value.0]
                .ok_or_else(|| Error::Model(format!("no node makes the output {}", output.name)))
        };
        self.outputs.iter().map(made).collect()
    }

    /// Number of trained values in the network.
    pub fn parameters(&self) -> usize {
        self.nodes.iter().map(|node| node.op.rules().parameters()).sum()
    }

    /// Removes the nodes on which no output depends.
    pub(crate) fn prune(&mut self) {
        let mut wanted = vec![false; self.names.len()];
        self.outputs.iter().for_each(|output| wanted[output.value.0] = true);
        let mut kept = vec![false; self.nodes.len()];
        for (node, kept) in self.nodes.iter().zip(&mut kept).rev() {
            *kept = node.outputs.iter().any(|id| wanted[id.0]);
            if *kept {
                node.inputs.iter().for_each(|id| wanted[id.0] = true);
            }
        }
        let mut kept = kept.into_iter();
        self.nodes.retain(|_| kept.next() == Some(true));
    }

    /// Number of nodes that read a value, plus one if it is an output.
    pub fn uses(&self, id: ValueId) -> usize {
        self.nodes.iter().flat_map(|node| &node.inputs).filter(|&&read| read == id).count()
            + self.outputs.iter().filter(|output| output.value == id).count()
    }

    /// The number of uses of every value.
    pub(crate) fn all_uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.names.len()];
        self.nodes.iter().flat_map(|node| &node.inputs).for_each(|id| uses[id.0] += 1);
        self.outputs.iter().for_each(|output| uses[output.value.0] += 1);
        uses
    }

    /// The node that makes each value.
    pub(crate) fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.names.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            node.outputs.iter().for_each(|id| producers[id.0] = Some(i));
        }
        producers
    }

    /// The node that makes a value.
    pub fn producer(&self, id: ValueId) -> Option<usize> {
        self.nodes.iter().position(|node| node.outputs.contains(&id))
    }
}

impl Node {
    /// The shapes of this node's inputs, from a graph's table ([`Graph::shapes`]).
    ///
    /// # Errors
    /// [`Error::Model`] if the node reads a value that no earlier node makes.
    pub fn input_shapes(&self, shapes: &[Option<Shape>]) -> Result<Vec<Shape>> {
        let known = |id: &ValueId| {
            shapes.get(id.0).copied().flatten().ok_or_else(|| {
                Error::Model(format!("{} reads value {}, which no earlier node makes", self.name, id.0))
            })
        };
        self.inputs.iter().map(known).collect()
    }

    /// The shapes of this node's outputs, from a graph's table ([`Graph::shapes`]).
    pub fn output_shapes(&self, shapes: &[Option<Shape>]) -> Vec<Shape> {
        self.outputs.iter().filter_map(|id| shapes[id.0]).collect()
    }
}
