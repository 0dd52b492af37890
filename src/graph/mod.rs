//! What to compute: nodes are operators with their weights, values are NCHW tensors.
//!
//! Each operator family has one file with its struct, its shape rule and its CPU implementation.
//! Value ids never change: rewrites replace nodes, so a value that survives optimisation can still be
//! compared with the same value of the original graph.

mod activation;
mod batch_norm;
mod binary;
mod concat;
mod constant;
mod conv;
mod conv_transpose;
#[cfg(feature = "cpu")]
mod gemm;
mod matmul;
mod norm;
mod pad;
mod pointwise;
mod pool;
mod rearrange;
mod reduce;
mod resize;
mod softmax;
pub(crate) mod stored;
mod winograd;

pub use activation::{Activation, PRelu};
pub use batch_norm::BatchNorm;
pub use binary::{Binary, BinaryKind};
pub use concat::Concat;
pub use constant::Constant;
pub use conv::{Conv, Ending};
pub use conv_transpose::ConvTranspose;
pub use matmul::MatMul;
pub use norm::{Norm, NormOver};
pub use pad::{Crop, Pad, PadAmount, PadMode};
pub use pointwise::{Pointwise, Source, Step};
pub use pool::{Pool, PoolKind};
pub use rearrange::{DepthOrder, Rearrange, Slice};
pub use reduce::{Reduce, ReduceKind};
pub use resize::{Coordinates, Interpolation, Resize, ResizeTo, Rounding};
pub use softmax::{ArgMax, Softmax};
pub(crate) use winograd::transform_weights;

use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;

/// What every operator answers for.
pub trait Operator {
    /// The operator's name in the field's words, such as `conv`.
    fn name(&self) -> &'static str;

    /// Shapes of the outputs, from those of the inputs. Errors name what was expected.
    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>>;

    /// Computes the outputs; `inputs` and `outputs` have the shapes that [`infer`](Self::infer) gave.
    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]);

    /// A faster way to compute outputs of these shapes, with what it needs made ready once. It may round differently,
    /// so the reference does not take it.
    #[cfg(feature = "cpu")]
    fn prepare(&self, _outputs: &[Shape]) -> Option<Prepared> {
        None
    }

    /// Multiplications and additions for the given shapes (two for a multiply-add).
    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> u64 {
        outputs.first().map_or(0, |s| s.elements() as u64)
    }

    /// Trained numbers held by the operator.
    fn parameters(&self) -> usize {
        0
    }

    /// How far an output pixel sees into the inputs; `None` when it sees all of it.
    fn reach(&self) -> Option<Reach> {
        Some(Reach::POINT)
    }
}

/// What [`Operator::prepare`] makes: computes outputs from inputs, as [`Operator::cpu`] does.
#[cfg(feature = "cpu")]
pub type Prepared = Box<dyn Fn(&[&Tensor], &mut [Tensor]) + Send + Sync>;

/// How an output pixel depends on input pixels along one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// Input pixels seen by one output pixel.
    pub extent: usize,
    /// Input pixels an output step moves: the stride, or 1/stride when up-sampling.
    pub step: f64,
}

impl Reach {
    /// A pointwise operator.
    pub const POINT: Reach = Reach { extent: 1, step: 1.0 };
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident($type:ty)),* $(,)?) => {
        /// An operator. To add one: a file beside this one, a line here, its lowering in `plan`, a vector.
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        pub enum Op { $($(#[$doc])* $name($type)),* }

        impl Op {
            /// The operator's rules.
            pub fn rules(&self) -> &dyn Operator {
                match self { $(Op::$name(op) => op),* }
            }
        }

        $(impl From<$type> for Op {
            fn from(op: $type) -> Op { Op::$name(op) }
        })*
    };
}

operators! {
    /// Convolution over the channel concatenation of its inputs.
    Conv(Conv),
    /// Transposed convolution.
    ConvTranspose(ConvTranspose),
    /// Max or average pooling.
    Pool(Pool),
    /// Sums, means and extremes along axes.
    Reduce(Reduce),
    /// Per-channel scale and shift.
    BatchNorm(BatchNorm),
    /// Group, instance and layer norm.
    Norm(Norm),
    /// Pointwise function.
    Activation(Activation),
    /// Leaky ReLU with a slope a channel.
    PRelu(PRelu),
    /// Arithmetic on two tensors.
    Binary(Binary),
    /// Several of these, which a rewrite makes one.
    Pointwise(Pointwise),
    /// A tensor that belongs to the network.
    Constant(Constant),
    /// Products of computed matrices.
    MatMul(MatMul),
    /// Joining along an axis.
    Concat(Concat),
    /// Nearest, bilinear or bicubic re-sampling.
    Resize(Resize),
    /// Reshape, transpose, slice and other moves of elements.
    Rearrange(Rearrange),
    /// Padding by fixed amounts or up to a multiple.
    Pad(Pad),
    /// Cutting down to another value's size.
    Crop(Crop),
    /// Softmax along an axis.
    Softmax(Softmax),
    /// The channel that holds the largest value.
    ArgMax(ArgMax),
}

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

    /// The extent, and the elements from one place along the axis to the next, NCHW.
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

/// Names one value of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

impl ValueId {
    /// The value's place in per-value tables such as [`Graph::shapes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One operator at its place in the graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// The layer's name, unique in the graph.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Values read, in the operator's order.
    pub inputs: Vec<ValueId>,
    /// Values made, in the operator's order.
    pub outputs: Vec<ValueId>,
}

/// A network: nodes in an order in which they can run, one input, one output.
#[derive(Debug, Clone)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) names: Vec<String>,
    pub(crate) channels: usize,
    pub(crate) output: ValueId,
}

impl Graph {
    /// The id of the network's input.
    pub const INPUT: ValueId = ValueId(0);

    /// A graph with nothing but an input of `channels` channels, which is also its output.
    pub fn new(channels: usize) -> Graph {
        Graph { nodes: Vec::new(), names: vec!["input".into()], channels, output: Graph::INPUT }
    }

    /// Appends a node and returns its first output, which becomes the graph's output.
    ///
    /// # Errors
    /// When the name is taken or an input is not a value of this graph.
    pub fn push(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        if self.nodes.iter().any(|node| node.name == name) || name == "input" {
            return Err(Error::Model(format!("two layers are named {name}; names must differ")));
        }
        if let Some(id) = inputs.iter().find(|id| id.0 >= self.names.len()) {
            return Err(Error::Model(format!("{name} reads value {}, which does not exist yet", id.0)));
        }
        let output = self.add_value(name);
        self.nodes.push(Node {
            name: name.into(),
            op: op.into(),
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        self.output = output;
        Ok(output)
    }

    pub(crate) fn add_value(&mut self, name: &str) -> ValueId {
        self.names.push(name.into());
        ValueId(self.names.len() - 1)
    }

    /// Nodes in running order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The name of a value: that of the node that first made it.
    pub fn value_name(&self, id: ValueId) -> &str {
        &self.names[id.0]
    }

    /// Channels that the input must have.
    pub fn input_channels(&self) -> usize {
        self.channels
    }

    /// The network's result.
    pub fn output(&self) -> ValueId {
        self.output
    }

    /// Declares another value to be the result.
    pub fn set_output(&mut self, id: ValueId) {
        self.output = id;
    }

    /// The shape of every value for one input shape; `None` for values that no node makes any more.
    pub fn shapes(&self, input: Shape) -> Result<Vec<Option<Shape>>> {
        input.check("input")?;
        if input.c != self.channels {
            return Err(Error::shape("input", format!("{} channels", self.channels), format!("{}", input.c)));
        }
        let mut shapes = vec![None; self.names.len()];
        shapes[Graph::INPUT.0] = Some(input);
        for node in &self.nodes {
            let made = node.op.rules().infer(&node.input_shapes(&shapes)?).map_err(|e| e.at(&node.name))?;
            if made.len() != node.outputs.len() {
                return Err(Error::shape(&node.name, format!("{} outputs", made.len()), node.outputs.len()));
            }
            for (&id, shape) in node.outputs.iter().zip(made) {
                shapes[id.0] = Some(shape.check(&node.name)?);
            }
        }
        Ok(shapes)
    }

    /// The shape of the result for one input shape.
    pub fn output_shape(&self, input: Shape) -> Result<Shape> {
        self.shapes(input)?[self.output.0].ok_or_else(|| Error::Model("no node makes the output".into()))
    }

    /// Trained numbers in the whole network.
    pub fn parameters(&self) -> usize {
        self.nodes.iter().map(|node| node.op.rules().parameters()).sum()
    }

    /// Drops the nodes on which the result does not depend.
    pub(crate) fn prune(&mut self) {
        let mut wanted = vec![false; self.names.len()];
        wanted[self.output.0] = true;
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

    /// How many nodes read a value; the network's output counts as one more.
    pub fn uses(&self, id: ValueId) -> usize {
        self.nodes.iter().flat_map(|n| &n.inputs).filter(|&&i| i == id).count()
            + usize::from(self.output == id)
    }

    /// The node that makes a value.
    pub fn producer(&self, id: ValueId) -> Option<usize> {
        self.nodes.iter().position(|node| node.outputs.contains(&id))
    }

    /// Whether the last operator is one that makes probabilities: sigmoid, hard sigmoid or softmax. What only moves or
    /// re-samples them may follow. For graphs that were not optimised.
    pub fn ends_in_probabilities(&self) -> bool {
        let mut value = self.output;
        for node in self.nodes.iter().rev() {
            match (&node.op, node.inputs.first()) {
                _ if !node.outputs.contains(&value) => {}
                (Op::Crop(_) | Op::Rearrange(_) | Op::Resize(_), Some(&input)) => value = input,
                (op, _) => {
                    return matches!(
                        op,
                        Op::Softmax(_) | Op::Activation(Activation::Sigmoid | Activation::HardSigmoid { .. })
                    );
                }
            }
        }
        false
    }

    /// For each value, the input pixels that one of its pixels sees and the input pixels from one to the next; `None`
    /// when a pixel sees all of the input.
    ///
    /// Follows the widest path: each operator adds `(extent - 1)` times the distance between its input pixels.
    fn fields(&self) -> Option<Vec<(f64, f64)>> {
        let mut fields = vec![(1.0_f64, 1.0_f64); self.names.len()];
        for node in &self.nodes {
            let reach = node.op.rules().reach()?;
            let widest = node
                .inputs
                .iter()
                .map(|id| fields[id.0])
                .fold((1.0_f64, 0.0_f64), |a, b| (a.0.max(b.0), a.1.max(b.1)));
            let seen = widest.0 + (reach.extent - 1) as f64 * widest.1;
            let step = widest.1 * reach.step;
            fields[node.outputs[0].0] = (seen, step);
            if let Some(pooled) = node.outputs.get(1) {
                fields[pooled.0] = (seen + step, 2.0 * step);
            }
        }
        Some(fields)
    }

    /// Input pixels, per axis, that can change one output pixel; `None` when all can.
    pub fn receptive_field(&self) -> Option<usize> {
        Some(self.fields()?[self.output.0].0.ceil() as usize)
    }

    /// The largest distance, in input pixels, between neighbours of any value, and that of the result: sides that are
    /// multiples of the first survive all halvings, and a result with 1 has the input's size.
    pub fn stride(&self) -> Option<(usize, f64)> {
        let fields = self.fields()?;
        let largest = fields.iter().fold(1.0_f64, |largest, field| largest.max(field.1));
        (largest.fract() == 0.0).then_some((largest as usize, fields[self.output.0].1))
    }
}

impl Node {
    /// This node's input shapes out of a graph's table ([`Graph::shapes`]).
    ///
    /// # Errors
    /// [`Error::Model`] where the node reads a value that no earlier node makes.
    pub fn input_shapes(&self, shapes: &[Option<Shape>]) -> Result<Vec<Shape>> {
        let known = |id: &ValueId| {
            shapes.get(id.0).copied().flatten().ok_or_else(|| {
                Error::Model(format!("{} reads value {}, which no earlier node makes", self.name, id.0))
            })
        };
        self.inputs.iter().map(known).collect()
    }

    /// This node's output shapes out of a graph's table ([`Graph::shapes`]).
    pub fn output_shapes(&self, shapes: &[Option<Shape>]) -> Vec<Shape> {
        self.outputs.iter().filter_map(|id| shapes[id.0]).collect()
    }
}

/// The single input of an operator that takes one.
pub(crate) fn one(inputs: &[Shape]) -> Result<Shape> {
    match inputs {
        [x] => Ok(*x),
        _ => Err(Error::shape("inputs", 1, inputs.len())),
    }
}

/// The two inputs of an operator that takes two.
pub(crate) fn two(inputs: &[Shape]) -> Result<(Shape, Shape)> {
    match inputs {
        [a, b] => Ok((*a, *b)),
        _ => Err(Error::shape("inputs", 2, inputs.len())),
    }
}

/// Kernels, strides, dilations and paddings are at most this, so that no kernel's index wraps.
const MAX_ATTRIBUTE: usize = 1 << 16;

/// Output extent of a sliding window: `floor((size + pad - effective) / stride) + 1`, or `ceil`.
pub(crate) fn windows(
    size: usize,
    padding: usize,
    effective: usize,
    stride: usize,
    ceil: bool,
) -> Result<usize> {
    let padded = size.saturating_add(padding);
    if stride > MAX_ATTRIBUTE || padding > MAX_ATTRIBUTE || effective > MAX_ATTRIBUTE {
        return Err(Error::shape(
            "window",
            format!("extents of at most {MAX_ATTRIBUTE}"),
            effective.max(stride),
        ));
    }
    if stride == 0 || effective == 0 || padded < effective {
        return Err(Error::shape("window", format!("at least {effective} pixels"), padded));
    }
    let room = padded - effective;
    Ok(if ceil { room.div_ceil(stride) } else { room / stride } + 1)
}
