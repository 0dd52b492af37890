//! From an ONNX graph to this project's, for one shape of the input: constants are computed, moves become views, and
//! what is left becomes operators.

mod append;
mod compute;
mod control;
mod moves;
mod operands;
mod picks;
mod value;
mod views;

use super::array::{Array, Kind};
use super::constants;
use super::file::File;
use super::fold;
use super::node::Reader;
use super::operators;
use super::proto;
use super::traced::Traced;
use super::view::any_shape;
use crate::error::{Error, Result};
use crate::graph::{Extent, Graph, ValueId};
use crate::lock::lock;
use crate::network::Fate;
use crate::tensor::Shape;
use std::collections::{HashMap, HashSet};

pub(crate) use value::{Live, Value};

/// Bytes that computed constants may take beyond 12 for each number in the file, so that a few bytes cannot ask for
/// gigabytes. Standardised weights take three copies.
const COMPUTED: usize = 24 << 20;

/// Numbers that may be looked at to compute constants, beyond 32 times those of the file.
const WORK: usize = 1 << 26;

/// What a node within a node takes of [`WORK`].
const INNER: usize = 1 << 10;

/// Operators that compute exactly with whole numbers that are stored as floats, up to 2^24.
const EXACT: [&str; 31] = [
    "Abs",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Clip",
    "Concat",
    "Div",
    "Equal",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "MaxPool",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pad",
    "ReduceMax",
    "ReduceMin",
    "Relu",
    "Sign",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

/// Whether an operator gives the same numbers for whole numbers as for floats.
fn is_exact(reader: &Reader<'_>) -> bool {
    let resizes = matches!(reader.op(), "Resize" | "Upsample") && reader.text("mode", "nearest") != "cubic";
    EXACT.contains(&reader.op()) || resizes
}

/// Makes a graph of a file's nodes, one after another.
pub(crate) struct Builder<'a> {
    file: &'a File,
    pub(crate) opset: i64,
    values: HashMap<&'a str, Value>,
    /// The parts of splits that are taken by number.
    sequences: HashMap<&'a str, Vec<Value>>,
    pub(crate) graph: Graph,
    shapes: Vec<Shape>,
    /// Names of the graph's nodes, and under how many of that name each is known.
    taken: HashMap<String, usize>,
    /// What constants may still be computed: bytes that they take, and numbers that are looked at for them.
    memory: usize,
    work: usize,
    /// Nodes without weights by what they compute, because exporters write the same thing more than once.
    computed: HashMap<(String, Vec<ValueId>), ValueId>,
    /// Of quantised values, those without their zero point, and that zero point.
    pub(crate) centred: HashMap<ValueId, (ValueId, Value)>,
    /// What the file says of extents at the size for which it was exported; `None` where it is built for that size.
    pub(crate) exported: Option<&'a Traced>,
    /// The same of this build.
    pub(crate) traced: Traced,
    /// What became of each node.
    pub(crate) fates: Vec<Fate>,
    /// Whether to go on behind a node that cannot run.
    pub(crate) survey: bool,
    /// What such nodes should have made.
    unknown: HashSet<&'a str>,
    depth: usize,
}

impl<'a> Builder<'a> {
    /// A builder whose picture has this name and shape.
    pub(crate) fn new(file: &'a File, picture: &'a str, shape: Shape) -> Builder<'a> {
        let known = file.constants.values().map(Array::len).sum::<usize>();
        let memory = COMPUTED.saturating_add(known.saturating_mul(12));
        let work = WORK.saturating_add(known.saturating_mul(32));
        Builder::limited(file, picture, shape, memory, work)
    }

    /// A builder whose constants may take so many bytes, and so many numbers to be looked at.
    fn limited(file: &'a File, picture: &'a str, shape: Shape, memory: usize, work: usize) -> Builder<'a> {
        Builder {
            file,
            opset: file.opset,
            values: HashMap::new(),
            sequences: HashMap::new(),
            graph: Graph::with_input(picture, Extent::picture(shape.c)),
            shapes: vec![shape],
            taken: HashMap::from([(picture.into(), 1)]),
            memory,
            work,
            computed: HashMap::new(),
            centred: HashMap::new(),
            exported: None,
            traced: Traced::default(),
            fates: Vec::new(),
            survey: false,
            unknown: HashSet::new(),
            depth: 0,
        }
    }

    /// Adds an input of these extents besides the picture.
    pub(crate) fn input(&mut self, name: &str, dims: &[usize]) -> Result<ValueId> {
        let shape = any_shape(dims)?;
        self.taken.insert(name.into(), 1);
        self.shapes.push(shape);
        self.graph.add_input(name, shape)
    }

    /// Gives a name of the file its value.
    pub(crate) fn set(&mut self, name: &'a str, live: Live) {
        self.values.insert(name, Value::Live(live));
    }

    /// Appends all nodes of the file.
    pub(crate) fn run(&mut self) -> Result<()> {
        let file = self.file;
        self.nodes(&file.graph)
    }

    /// The value of an output.
    pub(crate) fn output(&self, name: &str) -> Result<Live> {
        match self.values.get(name) {
            Some(Value::Live(live)) => Ok(live.clone()),
            Some(Value::Constant(_)) => Err(Error::Model(match self.file.graph.output.len() {
                1 => "the network's result does not depend on its input".into(),
                _ => format!("the output {name} does not depend on the network's inputs"),
            })),
            None => Err(Error::Model(match self.file.graph.output.len() {
                0 | 1 => "no node makes the network's output".into(),
                _ => format!("no node makes the output {name}"),
            })),
        }
    }

    fn nodes(&mut self, graph: &'a proto::Graph) -> Result<()> {
        for node in &graph.node {
            // Loops visit their nodes again and again.
            if self.depth > 0 {
                let too_many = || Error::Model("its loops and branches have too many nodes".into());
                self.work = self.work.checked_sub(INNER).ok_or_else(too_many)?;
            }
            let opset = if node.opset > 0 { node.opset } else { self.opset };
            let reader = Reader { node, opset, is_line: false };
            if node.input.iter().any(|name| self.unknown.contains(name.as_str())) {
                self.unknown.extend(node.output.iter().map(String::as_str));
                if self.depth == 0 {
                    self.fates.push(Fate::Waiting);
                }
                continue;
            }
            let before = self.graph.nodes().len();
            let made = match self.node(&reader) {
                Ok(made) => made,
                Err(error) if self.survey && self.depth == 0 => {
                    self.unknown.extend(node.output.iter().map(String::as_str));
                    self.fates.push(Fate::Unsupported(error.to_string()));
                    continue;
                }
                Err(error) => return Err(error.at(&reader.place())),
            };
            let operators = self.graph.nodes()[before..].iter().map(|n| n.name.clone()).collect::<Vec<_>>();
            let constant = made.iter().all(|value| matches!(value, Value::Constant(_)));
            self.charge(node, &made).map_err(|e| e.at(&reader.place()))?;
            let fate = match operators.is_empty() {
                _ if constant && !made.is_empty() => Fate::Folded,
                true => Fate::Moved,
                false => Fate::Computed(operators),
            };
            if self.depth == 0 {
                self.fates.push(fate);
            }
            for (name, value) in node.output.iter().zip(made) {
                self.values.insert(name, value);
            }
        }
        Ok(())
    }

    /// Takes what a node's constants cost out of what is left.
    fn charge(&mut self, node: &proto::Node, made: &[Value]) -> Result<()> {
        let constants = |value: &Value| match value {
            Value::Constant(array) => Some((array.len(), array.own_bytes())),
            Value::Live(_) => None,
        };
        let costs: Vec<(usize, usize)> = made.iter().filter_map(constants).collect();
        if costs.is_empty() {
            return Ok(());
        }
        let known = |name: &String| match self.values.get(name.as_str()) {
            Some(Value::Constant(array)) => array.len(),
            Some(Value::Live(_)) => 0,
            None => self.file.constants.get(name).map_or(0, Array::len),
        };
        let work = node.input.iter().map(known).chain(costs.iter().map(|c| c.0));
        let work = work.fold(made.len(), usize::saturating_add);
        let memory = costs.iter().map(|c| c.1).fold(0, usize::saturating_add);
        let too_much = || Error::Model("computed constants take too much memory or time".into());
        self.memory = self.memory.checked_sub(memory).ok_or_else(too_much)?;
        self.work = self.work.checked_sub(work).ok_or_else(too_much)?;
        Ok(())
    }

    fn node(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        let is_onnx = match reader.node.domain.as_str() {
            "" | "ai.onnx" => true,
            "com.microsoft" => operators::SHARED.contains(&reader.op()),
            _ => return Err(operators::foreign(reader)),
        };
        if is_onnx && let Some(made) = self.structure(reader)? {
            return Ok(made);
        }
        let count = reader.node.input.len();
        let operands = (0..count).map(|i| self.optional(reader, i)).collect::<Result<Vec<_>>>()?;
        if is_onnx && let Some(views) = self.moved(reader, &operands)? {
            return Ok(views);
        }
        let all = operands.iter().map(|value| match value {
            None => Some(None),
            Some(Value::Constant(array)) => Some(Some(array.clone())),
            Some(Value::Live(_)) => None,
        });
        if let Some(constants) = all.collect::<Option<Vec<_>>>() {
            if reader.op() == "DequantizeLinear" && self.depth == 0 && self.are_of_file(reader) {
                return Ok(vec![Value::Constant(self.weights(reader, &constants)?)]);
            }
            if is_onnx && let Some(results) = fold::evaluate(reader, &constants)? {
                return Ok(results.into_iter().map(Value::Constant).collect());
            }
            if let Some(results) = self.now(reader, &operands)? {
                return Ok(results);
            }
        }
        let lives = || operands.iter().flatten().filter_map(Value::live);
        let exact = is_exact(reader);
        let quantised = !is_onnx || operators::QUANTISED.contains(&reader.op());
        // Places in a constant table.
        let looks_up = reader.op() == "Gather";
        if !exact && !quantised && !looks_up && lives().any(|live| live.kind.is_whole()) {
            return Err(reader.unsupported("it computes with whole numbers; cast them to floats"));
        }
        let whole = lives().next().is_some() && lives().all(|live| live.kind.is_whole());
        let mut made = self.results(reader)?;
        if let (true, [Value::Live(live)]) = (whole && exact, &mut made[..])
            && live.kind == Kind::Float
        {
            live.kind = Kind::Integer;
        }
        Ok(made)
    }

    /// The results of a node that decides what is built, or that works on sequences; `None` for other nodes.
    fn structure(&mut self, reader: &Reader<'a>) -> Result<Option<Vec<Value>>> {
        let constant = |array| Ok(Some(vec![Value::Constant(array)]));
        match reader.op() {
            "Constant" => constant(constants::of_node(reader)?),
            "Shape" => constant(self.shape_of(reader)?),
            "Size" => {
                let elements = self.operand(reader, 0)?.dims().into_iter().product::<usize>();
                constant(Array::scalar(Kind::Integer, elements as f64))
            }
            "If" => self.branch(reader).map(Some),
            "Loop" => self.rounds(reader).map(Some),
            "SplitToSequence" => self.sequence(reader).map(Some),
            "SequenceConstruct" | "SequenceEmpty" | "SequenceInsert" => self.listed(reader).map(Some),
            "SequenceAt" => Ok(Some(vec![self.at(reader)?])),
            "SequenceLength" => constant(Array::scalar(Kind::Integer, self.parts(reader)?.len() as f64)),
            "ConcatFromSequence" => Ok(Some(vec![self.concat_sequence(reader)?])),
            "Optional" | "OptionalGetElement" => Ok(Some(vec![self.operand(reader, 0)?])),
            "OptionalHasElement" => {
                let given = self.optional(reader, 0)?.is_some();
                constant(Array::scalar(Kind::Bool, f64::from(given)))
            }
            _ => Ok(None),
        }
    }

    /// Whether a node reads nothing but constants of the file.
    fn are_of_file(&self, reader: &Reader<'a>) -> bool {
        let mut names = reader.node.input.iter().filter(|name| !name.is_empty());
        names.all(|name| self.file.constants.contains_key(name) && !self.values.contains_key(name.as_str()))
    }

    /// The weights that quantised constants of the file stand for, computed once for all sizes.
    fn weights(&self, reader: &Reader<'a>, constants: &[Option<Array>]) -> Result<Array> {
        let name = reader.node.output.first().map_or("", String::as_str);
        if let Some(known) = lock(&self.file.weights).get(name) {
            return Ok(known.clone());
        }
        let operand = |i: usize| constants.get(i).and_then(Option::as_ref);
        let array = fold::quantised::dequantised(reader, [0, 1, 2].map(operand))?;
        lock(&self.file.weights).insert(name.into(), array.clone());
        Ok(array)
    }

    /// Extents of an operand, all or some.
    fn shape_of(&self, reader: &Reader<'a>) -> Result<Array> {
        let dims = self.operand(reader, 0)?.dims();
        let rank = dims.len() as i64;
        let within = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
        let (start, end) = (within(reader.int("start", 0)), within(reader.int("end", rank)));
        Ok(Array::integers(dims[start.min(end)..end].iter().map(|&d| d as i64)))
    }
}
