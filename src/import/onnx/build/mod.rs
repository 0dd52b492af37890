//! From an ONNX graph to this project's, for one shape of the input: constants are computed, moves become views, and
//! what is left becomes operators.

mod append;
mod control;
mod moves;
mod operands;
mod views;

use super::array::{Array, Kind};
use super::constants;
use super::file::File;
use super::fold;
use super::input::Layout;
use super::node::Reader;
use super::proto;
use super::view::View;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::network::Fate;
use crate::tensor::Shape;
use std::collections::{HashMap, HashSet};

pub(in crate::import::onnx) use operands::{Live, Value};

/// Bytes that computed constants may take beyond those of the file, so that a few bytes cannot ask for gigabytes.
const COMPUTED: usize = 24 << 20;

/// Numbers that may be looked at to compute constants, beyond eight times those of the file.
const WORK: usize = 1 << 26;

/// Makes a graph of a file's nodes, one after another.
pub(in crate::import::onnx) struct Builder<'a> {
    file: &'a File,
    pub(in crate::import::onnx) opset: i64,
    values: HashMap<&'a str, Value>,
    /// The parts of splits that are taken by number.
    sequences: HashMap<&'a str, Vec<Value>>,
    pub(in crate::import::onnx) graph: Graph,
    shapes: Vec<Shape>,
    /// Names of the graph's nodes, and under how many of that name each is known.
    taken: HashMap<String, usize>,
    /// What constants may still be computed: bytes that they take, and numbers that are looked at for them.
    memory: usize,
    work: usize,
    /// Nodes without weights by what they compute, because exporters write the same thing more than once.
    computed: HashMap<(String, Vec<ValueId>), ValueId>,
    /// What became of each node.
    pub(in crate::import::onnx) fates: Vec<Fate>,
    /// Whether to go on behind a node that cannot run.
    pub(in crate::import::onnx) survey: bool,
    /// What such nodes should have made.
    unknown: HashSet<&'a str>,
    depth: usize,
}

impl<'a> Builder<'a> {
    /// A builder whose network input has this shape, behind a pad to `multiple` if there is one.
    pub(in crate::import::onnx) fn new(file: &'a File, input: Shape) -> Builder<'a> {
        Builder {
            file,
            opset: file.opset,
            values: HashMap::new(),
            sequences: HashMap::new(),
            graph: Graph::new(input.c),
            shapes: vec![input],
            taken: HashMap::from([("input".into(), 1)]),
            memory: COMPUTED
                .saturating_add(file.constants.values().map(|c| c.len()).sum::<usize>().saturating_mul(4)),
            work: WORK
                .saturating_add(file.constants.values().map(|c| c.len()).sum::<usize>().saturating_mul(8)),
            computed: HashMap::new(),
            fates: Vec::new(),
            survey: false,
            unknown: HashSet::new(),
            depth: 0,
        }
    }

    /// Builds the network behind `input`, a value of the graph. Returns the network's first result.
    pub(in crate::import::onnx) fn network(&mut self, input: ValueId) -> Result<Live> {
        let file = self.file;
        let Shape { n, c, h, w } = self.shape(input);
        let mut view = View::whole(&[n, c, h, w]);
        match file.input.layout {
            Layout::Nchw => {}
            Layout::Flat if view.elements() == View::whole(&file.input.dims).elements() => {
                view = View::whole(&file.input.dims);
            }
            Layout::Flat => {
                let got = format!("{}", self.shape(input));
                return Err(Error::shape("input", format!("{:?}", file.input.dims), got));
            }
            Layout::Nhwc => view = view.permuted(&[0, 2, 3, 1])?,
            Layout::Chw => {
                view = view.reshaped(&[c, h, w]).ok_or_else(|| Error::shape("input", "one picture", n))?
            }
        }
        self.values.insert(&file.input.name, Value::Live(Live { id: input, view }));
        self.nodes(&file.graph)?;
        let output = file.graph.output.first().map_or("", |o| o.name.as_str());
        match self.values.get(output) {
            Some(Value::Live(live)) => Ok(live.clone()),
            Some(Value::Constant(_)) => {
                Err(Error::Model("the network's result does not depend on its input".into()))
            }
            None => Err(Error::Model("no node makes the network's output".into())),
        }
    }

    fn nodes(&mut self, graph: &'a proto::Graph) -> Result<()> {
        for node in &graph.node {
            let reader = Reader { node, opset: self.opset };
            if node.input.iter().any(|name| self.unknown.contains(name.as_str())) {
                self.unknown.extend(node.output.iter().map(String::as_str));
                self.fates.push(Fate::Waiting);
                continue;
            }
            let before = self.graph.nodes().len();
            let made = match self.node(&reader) {
                Ok(made) => made,
                Err(error) if self.survey => {
                    self.unknown.extend(node.output.iter().map(String::as_str));
                    self.fates.push(Fate::Unsupported(error.to_string()));
                    continue;
                }
                Err(error) => return Err(error.at(&reader.place())),
            };
            let operators = self.graph.nodes()[before..].iter().map(|n| n.name.clone()).collect::<Vec<_>>();
            let constant = made.iter().all(|value| matches!(value, Value::Constant(_)));
            self.charge(node, &made).map_err(|e| e.at(&reader.place()))?;
            self.fates.push(match operators.is_empty() {
                _ if constant && !made.is_empty() => Fate::Folded,
                true => Fate::Moved,
                false => Fate::Computed(operators),
            });
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
        if !reader.node.domain.is_empty() && reader.node.domain != "ai.onnx" {
            return Err(reader.unsupported("only ONNX's own operators are"));
        }
        match reader.op() {
            "Constant" => return Ok(vec![Value::Constant(constants::of_node(reader)?)]),
            "If" => return self.branch(reader),
            "Shape" => return Ok(vec![Value::Constant(self.shape_of(reader)?)]),
            "Size" => {
                let elements = self.operand(reader, 0)?.dims().into_iter().product::<usize>();
                return Ok(vec![Value::Constant(Array::scalar(Kind::Integer, elements as f64))]);
            }
            "SplitToSequence" => return self.sequence(reader),
            "SequenceAt" => return self.at(reader).map(|value| vec![value]),
            _ => {}
        }
        let count = reader.node.input.len();
        let operands = (0..count).map(|i| self.optional(reader, i)).collect::<Result<Vec<_>>>()?;
        if let Some(views) = self.moved(reader, &operands)? {
            return Ok(views);
        }
        let all = || {
            operands.iter().map(|value| match value {
                None => Some(None),
                Some(Value::Constant(array)) => Some(Some(array.clone())),
                Some(Value::Live(_)) => None,
            })
        };
        if let Some(constants) = all().collect::<Option<Vec<_>>>()
            && let Some(results) = fold::evaluate(reader, &constants)?
        {
            return Ok(results.into_iter().map(Value::Constant).collect());
        }
        Ok(vec![Value::Live(self.operator(reader)?)])
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
