//! From an ONNX graph to this project's, for one shape of the input: constants are computed, moves become views, and
//! what is left becomes operators.

use super::array::{self, Array, External, Kind};
use super::node::{Reader, axes, axis, extent};
use super::view::{View, product};
use super::{File, fold, proto};
use crate::error::{Error, Result};
use crate::graph::{Constant, Graph, Op, Rearrange, ValueId};
use crate::tensor::Shape;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Most nodes inside nodes inside nodes.
const DEPTH: usize = 16;

/// Most nodes of the graph that is built.
const NODES: usize = 1 << 14;

/// Bytes that computed constants may take beyond those of the file, so that a few bytes cannot ask for gigabytes.
const COMPUTED: usize = 24 << 20;

/// Numbers that may be looked at to compute constants, beyond eight times those of the file.
const WORK: usize = 1 << 26;

/// Most parts of a sequence.
const PARTS: usize = 1 << 10;

/// Most unevenly spaced places that are picked out of a computed tensor, one by one.
const GATHERED: usize = 64;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Constant(Array),
    Live(Live),
}

/// A computed tensor: a view, of any rank, of a value of the graph in its order NCHW.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Live {
    pub(super) id: ValueId,
    pub(super) view: View,
}

impl Live {
    pub(super) fn dims(&self) -> Vec<usize> {
        self.view.dims()
    }
}

/// What became of a node of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Operators of the graph, by their names, compute it.
    Computed(Vec<String>),
    /// Its result is known for this size of the input.
    Folded,
    /// It only moves elements, which the operators that read them take into account.
    Moved,
    /// It cannot run, for this reason.
    Unsupported(String),
    /// It reads what a node that cannot run should have made.
    Waiting,
}

pub(super) struct Builder<'a> {
    file: &'a File,
    pub(super) opset: i64,
    values: HashMap<&'a str, Value>,
    /// The parts of splits that are taken by number.
    sequences: HashMap<&'a str, Vec<Value>>,
    pub(super) graph: Graph,
    shapes: Vec<Shape>,
    /// Names of the graph's nodes, and under how many of that name each is known.
    taken: HashMap<String, usize>,
    /// What constants may still be computed: bytes that they take, and numbers that are looked at for them.
    memory: usize,
    work: usize,
    /// Nodes without weights by what they compute, because exporters write the same thing more than once.
    computed: HashMap<(String, Vec<ValueId>), ValueId>,
    /// What became of each node.
    pub(super) fates: Vec<Fate>,
    /// Whether to go on behind a node that cannot run.
    pub(super) survey: bool,
    /// What such nodes should have made.
    unknown: HashSet<&'a str>,
    depth: usize,
}

impl<'a> Builder<'a> {
    /// A builder whose network input has this shape, behind a pad to `multiple` if there is one.
    pub(super) fn new(file: &'a File, input: Shape) -> Builder<'a> {
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
    pub(super) fn network(&mut self, input: ValueId) -> Result<Live> {
        let file = self.file;
        let Shape { n, c, h, w } = self.shape(input);
        let mut view = View::whole(&[n, c, h, w]);
        match file.input.layout {
            super::Layout::Nchw => {}
            super::Layout::Flat if view.elements() == View::whole(&file.input.dims).elements() => {
                view = View::whole(&file.input.dims);
            }
            super::Layout::Flat => {
                let got = format!("{}", self.shape(input));
                return Err(Error::shape("input", format!("{:?}", file.input.dims), got));
            }
            super::Layout::Nhwc => view = view.permuted(&[0, 2, 3, 1])?,
            super::Layout::Chw => {
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
            "Constant" => return Ok(vec![Value::Constant(constant(reader)?)]),
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

    /// A subgraph whose condition is known.
    fn branch(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        let Value::Constant(condition) = self.operand(reader, 0)? else {
            return Err(reader.unsupported("its condition depends on the picture"));
        };
        let chosen = if condition.numbers().first() != Some(&0.0) { "then_branch" } else { "else_branch" };
        let graph = reader.graph(chosen).ok_or_else(|| Error::Model(format!("has no {chosen}")))?;
        if self.depth == DEPTH {
            return Err(Error::Model(format!("graphs inside graphs more than {DEPTH} deep")));
        }
        for tensor in &graph.initializer {
            let array = array::read(tensor, &mut External::default())?;
            self.values.insert(&tensor.name, Value::Constant(array));
        }
        self.depth += 1;
        self.nodes(graph)?;
        self.depth -= 1;
        let missing = |name: &str| Error::Model(format!("no node makes {name}"));
        let result = |o: &'a proto::ValueInfo| {
            self.values.get(o.name.as_str()).cloned().ok_or_else(|| missing(&o.name))
        };
        graph.output.iter().map(result).collect()
    }

    /// Extents of an operand, all or some.
    fn shape_of(&self, reader: &Reader<'a>) -> Result<Array> {
        let dims = self.operand(reader, 0)?.dims();
        let rank = dims.len() as i64;
        let within = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
        let (start, end) = (within(reader.int("start", 0)), within(reader.int("end", rank)));
        Ok(Array::integers(dims[start.min(end)..end].iter().map(|&d| d as i64)))
    }

    /// Operators that only move elements.
    fn moved(&mut self, reader: &Reader<'a>, operands: &[Option<Value>]) -> Result<Option<Vec<Value>>> {
        let Some(Some(value)) = operands.first() else { return Ok(None) };
        let constant = |i: usize| match operands.get(i) {
            None | Some(None) => Ok(None),
            Some(Some(Value::Constant(array))) => Ok(Some(array.ints())),
            Some(Some(Value::Live(_))) => {
                Err(reader.unsupported(&format!("operand {i} depends on the picture's content")))
            }
        };
        // A list that newer opsets take as an operand and older ones as an attribute.
        let list =
            |i: usize, attribute: &str| Ok::<_, Error>(constant(i)?.or_else(|| reader.ints(attribute)));
        let dims = value.dims();
        let rank = dims.len();
        let needed =
            |list: Option<Vec<i64>>, name: &str| list.ok_or_else(|| Error::Model(format!("has no {name}")));
        let view = match reader.op() {
            "Identity" => value.view(),
            // In training a dropout drops; a network that is run does not train.
            "Dropout" => value.view(),
            "Cast" | "CastLike" => {
                let like = operands.get(1).and_then(Option::as_ref);
                let to = match (reader.op(), like) {
                    ("CastLike", Some(Value::Live(_))) => Some(Kind::Float),
                    ("CastLike", Some(Value::Constant(array))) => Some(array.kind),
                    _ => fold::kind(reader.int("to", 1)),
                };
                match (value, to) {
                    (_, None) => return Err(reader.unsupported("it casts to something other than numbers")),
                    (Value::Constant(array), Some(kind)) => {
                        return Ok(Some(vec![Value::Constant(array.cast(kind)?)]));
                    }
                    (Value::Live(_), Some(Kind::Float)) => value.view(),
                    _ => return Err(reader.unsupported("a computed tensor becomes whole numbers")),
                }
            }
            "Reshape" => {
                let wanted = needed(list(1, "shape")?, "shape")?;
                let dims = reshape(&dims, &wanted, reader.int("allowzero", 0) != 0)?;
                return self.reshaped(value, &dims).map(|v| Some(vec![v]));
            }
            "Flatten" => {
                let at = reader.int("axis", 1);
                let at = if at == rank as i64 { rank } else { axis(at, rank.max(1))?.min(rank) };
                let flat = [dims[..at].iter().product(), dims[at..].iter().product()];
                return self.reshaped(value, &flat).map(|v| Some(vec![v]));
            }
            "Squeeze" => {
                let dropped = match list(1, "axes")? {
                    Some(list) => axes(list, rank)?,
                    None => (0..rank).filter(|&a| dims[a] == 1).collect(),
                };
                if let Some(&a) = dropped.iter().find(|&&a| dims[a] != 1) {
                    return Err(Error::shape(
                        "squeeze",
                        format!("an extent of 1 at axis {a}"),
                        format!("{dims:?}"),
                    ));
                }
                let left: Vec<usize> = (0..rank).filter(|a| !dropped.contains(a)).map(|a| dims[a]).collect();
                return self.reshaped(value, &left).map(|v| Some(vec![v]));
            }
            "Unsqueeze" => {
                let list = needed(list(1, "axes")?, "axes")?;
                let total = rank + list.len();
                let mut added = axes(list, total)?;
                added.sort_unstable();
                let mut dims = dims;
                added.into_iter().for_each(|a| dims.insert(a, 1));
                return self.reshaped(value, &dims).map(|v| Some(vec![v]));
            }
            "Transpose" => {
                let order = match reader.ints("perm") {
                    Some(order) => axes(order, rank)?,
                    None => (0..rank).rev().collect(),
                };
                value.view().permuted(&order)?
            }
            "Expand" => {
                let wanted =
                    needed(constant(1)?, "shape")?.into_iter().map(extent).collect::<Result<Vec<_>>>()?;
                value.view().expanded(&super::view::broadcast(&[&dims, &wanted])?)?
            }
            "Tile" => {
                let repeats =
                    needed(constant(1)?, "repeats")?.into_iter().map(extent).collect::<Result<Vec<_>>>()?;
                if repeats.len() != rank {
                    return Err(Error::shape("repeats", format!("{rank} numbers"), repeats.len()));
                }
                let pairs = |one: bool| {
                    (0..rank).flat_map(|a| [if one { 1 } else { repeats[a] }, dims[a]]).collect::<Vec<_>>()
                };
                let Some(split) = value.view().reshaped(&pairs(true)) else { return Ok(None) };
                let tiled: Vec<usize> = (0..rank).map(|a| dims[a].saturating_mul(repeats[a])).collect();
                let view = split.expanded(&pairs(false))?;
                let value = self.seen(value, view)?;
                return self.reshaped(&value, &tiled).map(|v| Some(vec![v]));
            }
            "Slice" => {
                let (starts, ends) =
                    (needed(list(1, "starts")?, "starts")?, needed(list(2, "ends")?, "ends")?);
                let along = match list(3, "axes")? {
                    Some(list) => axes(list, rank)?,
                    None => (0..rank.min(starts.len())).collect(),
                };
                let steps = constant(4)?.unwrap_or_else(|| vec![1; along.len()]);
                if [starts.len(), ends.len(), steps.len()] != [along.len(); 3] {
                    return Err(Error::shape(
                        "slice",
                        "as many starts, ends, axes and steps",
                        format!("{along:?}"),
                    ));
                }
                let mut value = value.clone();
                for (i, &axis) in along.iter().enumerate() {
                    let (start, len) = part(dims[axis], starts[i], ends[i], steps[i])?;
                    value = self.sliced(&value, axis, start, len, steps[i] as isize)?;
                }
                return Ok(Some(vec![value]));
            }
            "Split" => {
                let along = axis(reader.int("axis", 0), rank)?;
                let outputs = reader.node.output.len().max(1);
                if reader.int("num_outputs", outputs as i64) != outputs as i64 {
                    return Err(Error::shape("attribute num_outputs", outputs, reader.int("num_outputs", 0)));
                }
                let sizes = match list(1, "split")? {
                    Some(sizes) => sizes.into_iter().map(extent).collect::<Result<Vec<_>>>()?,
                    None => parts_of(dims[along], dims[along].div_ceil(outputs)),
                };
                return self.split(value, along, &sizes).map(Some);
            }
            "Gather" if matches!(value, Value::Live(_)) => {
                let along = axis(reader.int("axis", 0), rank)?;
                let Some(Some(Value::Constant(indices))) = operands.get(1) else {
                    return Err(reader.unsupported("its indices depend on the picture"));
                };
                let places =
                    indices.ints().into_iter().map(|i| axis(i, dims[along])).collect::<Result<Vec<_>>>()?;
                let step = if places.len() > 1 { places[1] as isize - places[0] as isize } else { 1 };
                let even = places.windows(2).all(|p| p[1] as isize - p[0] as isize == step) && step != 0;
                let value = match places[..] {
                    [first, ..] if even => self.sliced(value, along, first, places.len(), step)?,
                    [] => return Err(reader.unsupported("it takes nothing")),
                    _ if places.len() > GATHERED => {
                        return Err(
                            reader.unsupported(&format!("it picks more than {GATHERED} scattered places"))
                        );
                    }
                    _ => {
                        let mut parts = Vec::with_capacity(places.len());
                        for &place in &places {
                            if let Value::Live(part) = self.sliced(value, along, place, 1, 1)? {
                                parts.push(part);
                            }
                        }
                        Value::Live(self.joined(reader, &parts, along)?)
                    }
                };
                let dims = [&dims[..along], &indices.dims, &dims[along + 1..]].concat();
                return self.reshaped(&value, &dims).map(|v| Some(vec![v]));
            }
            "DepthToSpace" | "SpaceToDepth" => return self.blocks(reader, value).map(|v| Some(vec![v])),
            _ => return Ok(None),
        };
        self.seen(value, view).map(|v| Some(vec![v]))
    }

    fn blocks(&mut self, reader: &Reader<'a>, value: &Value) -> Result<Value> {
        let (dims, block) = (value.dims(), extent(reader.int("blocksize", 0))?);
        let &[n, c, h, w] = &dims[..] else {
            return Err(Error::shape("operand 0", "4 axes", format!("{dims:?}")));
        };
        let area = block.saturating_mul(block);
        if block == 0 {
            return Err(Error::shape("attribute blocksize", "at least 1", block));
        }
        let (split, order, end) = match (reader.op(), reader.text("mode", "DCR").as_str()) {
            ("SpaceToDepth", mode) if h.is_multiple_of(block) && w.is_multiple_of(block) => (
                [n, c, h / block, block, w / block, block],
                if mode == "CRD" { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] },
                [n, c.saturating_mul(area), h / block, w / block],
            ),
            ("DepthToSpace", mode) if c.is_multiple_of(area) => {
                let end = [n, c / area, h.saturating_mul(block), w.saturating_mul(block)];
                match mode {
                    "CRD" => ([n, c / area, block, block, h, w], [0, 1, 4, 2, 5, 3], end),
                    _ => ([n, block, block, c / area, h, w], [0, 3, 4, 1, 5, 2], end),
                }
            }
            _ => {
                return Err(Error::shape(
                    reader.op(),
                    format!("extents that blocks of {block} fill"),
                    format!("{dims:?}"),
                ));
            }
        };
        let value = self.reshaped(value, &split)?;
        let view = value.view().permuted(&order)?;
        let value = self.seen(&value, view)?;
        self.reshaped(&value, &end)
    }

    fn split(&mut self, value: &Value, along: usize, sizes: &[usize]) -> Result<Vec<Value>> {
        let extent = value.dims()[along];
        if sizes.iter().fold(0, |n: usize, &s| n.saturating_add(s)) != extent {
            return Err(Error::shape("split", format!("a sum of {extent}"), format!("{sizes:?}")));
        }
        let mut start = 0;
        let mut parts = Vec::new();
        for &size in sizes {
            parts.push(self.sliced(value, along, start, size, 1)?);
            start += size;
        }
        Ok(parts)
    }

    /// A split whose parts are taken by number later.
    fn sequence(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        let value = self.operand(reader, 0)?;
        let dims = value.dims();
        let along = axis(reader.int("axis", 0), dims.len())?;
        let each = self.optional_constant(reader, 1)?;
        let sizes = match &each {
            Some(array) if array.dims.is_empty() => {
                let each = extent(array.ints().first().copied().unwrap_or(1))?;
                if each == 0 {
                    return Err(Error::shape("split", "parts of at least 1", 0));
                }
                parts_of(dims[along], each)
            }
            Some(array) => array.ints().into_iter().map(extent).collect::<Result<Vec<_>>>()?,
            None => vec![1; dims[along]],
        };
        if sizes.len() > PARTS {
            return Err(reader.unsupported(&format!("it makes more than {PARTS} parts")));
        }
        let mut parts = self.split(&value, along, &sizes)?;
        if each.is_none() && reader.int("keepdims", 1) == 0 {
            let mut left = dims;
            left.remove(along);
            parts = parts.iter().map(|part| self.reshaped(part, &left)).collect::<Result<Vec<_>>>()?;
        }
        let name = reader.node.output.first().map_or("", String::as_str);
        self.sequences.insert(name, parts);
        Ok(Vec::new())
    }

    fn at(&self, reader: &Reader<'a>) -> Result<Value> {
        let name = reader.node.input.first().map_or("", String::as_str);
        let parts =
            self.sequences.get(name).ok_or_else(|| reader.unsupported("its sequence is not a split"))?;
        let place = self.constant(reader, 1)?.ints().first().copied().unwrap_or(0);
        Ok(parts[axis(place, parts.len())?].clone())
    }

    // ---- views ----

    /// A value seen through another view of the same elements.
    fn seen(&mut self, value: &Value, view: View) -> Result<Value> {
        array::extents(&view.dims())?;
        Ok(match value {
            Value::Constant(array) => Value::Constant(array.viewed(&view)?),
            Value::Live(live) => {
                // An expanded view can be larger than anything that could be made of it.
                any_shape(&view.dims())?;
                Value::Live(Live { id: live.id, view })
            }
        })
    }

    pub(super) fn reshaped(&mut self, value: &Value, dims: &[usize]) -> Result<Value> {
        if let Some(view) = value.view().reshaped(dims) {
            return self.seen(value, view);
        }
        let own = value.dims();
        if product(&own) != product(dims) {
            return Err(Error::shape("reshape", format!("as many elements as {own:?}"), format!("{dims:?}")));
        }
        let value = self.settled(value)?;
        let view = value.view().reshaped(dims).expect("elements in their own order take any extents");
        self.seen(&value, view)
    }

    fn sliced(&mut self, value: &Value, axis: usize, start: usize, len: usize, step: isize) -> Result<Value> {
        if len == 0 {
            return match value {
                Value::Constant(array) => {
                    let mut dims = array.dims.clone();
                    dims[axis] = 0;
                    Ok(Value::Constant(Array::new(dims, array.kind, Vec::new())?))
                }
                Value::Live(_) => Err(Error::shape("slice", "at least one element", "none")),
            };
        }
        if let Some(view) = value.view().sliced(axis, start, len, step) {
            return self.seen(value, view);
        }
        let value = self.settled(value)?;
        let view = value.view().sliced(axis, start, len, step);
        let view = view.ok_or_else(|| Error::shape("slice", "fewer than 2^63 elements", "more"))?;
        self.seen(&value, view)
    }

    /// The same value with its elements moved to their own order.
    fn settled(&mut self, value: &Value) -> Result<Value> {
        let Value::Live(live) = value else { return Ok(value.clone()) };
        let dims = live.dims();
        let shape = any_shape(&dims)?;
        let id = self.placed(live, shape)?;
        Ok(Value::Live(Live { id, view: View::whole(&dims) }))
    }

    /// The elements of a view in order, as a value of this shape.
    pub(super) fn placed(&mut self, live: &Live, shape: Shape) -> Result<ValueId> {
        let input = self.shape(live.id);
        if input == shape && live.view.is_whole(input.elements()) {
            return Ok(live.id);
        }
        let mut digits = live.view.digits();
        if digits.is_empty() {
            digits.push((1, 0));
        }
        let op = Rearrange { input, output: shape, digits, offset: live.view.offset() };
        self.push("rearrange", op, &[live.id])
    }

    /// The value as an NCHW tensor of four extents; of fewer, ones in front.
    pub(super) fn nchw(&mut self, live: &Live) -> Result<(ValueId, Shape)> {
        if live.view.rank() > 4 {
            return Err(Error::shape("operand", "at most 4 axes", format!("{:?}", live.dims())));
        }
        let shape = any_shape(&live.dims())?;
        Ok((self.placed(live, shape)?, shape))
    }

    // ---- operands ----

    pub(super) fn optional(&self, reader: &Reader<'a>, i: usize) -> Result<Option<Value>> {
        match reader.node.input.get(i).map_or("", String::as_str) {
            "" => Ok(None),
            name => {
                let known = || self.file.constants.get(name).cloned().map(Value::Constant);
                let value = self.values.get(name).cloned().or_else(known);
                let missing =
                    || Error::Model(format!("operand {i} ({name}) is not made by any earlier node"));
                value.map(Some).ok_or_else(missing)
            }
        }
    }

    pub(super) fn operand(&self, reader: &Reader<'a>, i: usize) -> Result<Value> {
        self.optional(reader, i)?.ok_or_else(|| Error::Model(format!("operand {i} is missing")))
    }

    pub(super) fn live(&mut self, reader: &Reader<'a>, i: usize) -> Result<Live> {
        match self.operand(reader, i)? {
            Value::Live(live) => Ok(live),
            Value::Constant(array) => self.constant_node(&array),
        }
    }

    pub(super) fn constant(&self, reader: &Reader<'a>, i: usize) -> Result<Array> {
        self.optional_constant(reader, i)?.ok_or_else(|| Error::Model(format!("operand {i} is missing")))
    }

    pub(super) fn optional_constant(&self, reader: &Reader<'a>, i: usize) -> Result<Option<Array>> {
        match self.optional(reader, i)? {
            None => Ok(None),
            Some(Value::Constant(array)) => Ok(Some(array)),
            Some(Value::Live(_)) => {
                let name = &reader.node.input[i];
                Err(reader.unsupported(&format!(
                    "operand {i} ({name}) depends on the picture, expected a constant"
                )))
            }
        }
    }

    /// A constant as a value of the graph.
    pub(super) fn constant_node(&mut self, array: &Array) -> Result<Live> {
        let shape = any_shape(&array.dims)?;
        if !array.floats().iter().all(|v| v.is_finite()) {
            return Err(Error::shape("constant", "finite numbers", "an infinity"));
        }
        let id = self.push("constant", Constant(array.tensor(shape)?), &[])?;
        Ok(Live { id, view: View::whole(&array.dims) })
    }

    // ---- nodes of the graph ----

    pub(super) fn shape(&self, id: ValueId) -> Shape {
        self.shapes[id.index()]
    }

    /// Appends a node of that name, or the next free one, unless an earlier one computes the same.
    pub(super) fn push(&mut self, wanted: &str, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        let op = op.into();
        let key = (op.rules().parameters() == 0).then(|| (format!("{op:?}"), inputs.to_vec()));
        if let Some(&known) = key.as_ref().and_then(|key| self.computed.get(key)) {
            return Ok(known);
        }
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.shape(id)).collect();
        let made = op.rules().infer(&shapes)?[0].check(wanted)?;
        if self.graph.nodes().len() == NODES {
            return Err(Error::Model(format!("the network has more than {NODES} layers")));
        }
        let mut count = self.taken.get(wanted).map_or(1, |count| count + 1);
        let mut name = if count == 1 { wanted.to_string() } else { format!("{wanted} {count}") };
        while self.taken.contains_key(&name) {
            count += 1;
            name = format!("{wanted} {count}");
        }
        self.taken.insert(wanted.to_string(), count);
        self.taken.entry(name.clone()).or_insert(1);
        let id = self.graph.push(&name, op, inputs)?;
        self.shapes.push(made);
        self.computed.extend(key.map(|key| (key, id)));
        Ok(id)
    }
}

impl Value {
    pub(super) fn dims(&self) -> Vec<usize> {
        match self {
            Value::Constant(array) => array.dims.clone(),
            Value::Live(live) => live.dims(),
        }
    }

    fn view(&self) -> View {
        match self {
            Value::Constant(array) => View::whole(&array.dims),
            Value::Live(live) => live.view.clone(),
        }
    }
}

/// Four extents for any number of them: missing ones are 1 in front, as in broadcasting; of more than four, the first
/// join.
pub(super) fn any_shape(dims: &[usize]) -> Result<Shape> {
    let split = dims.len().saturating_sub(3);
    let mut last = vec![1; 3_usize.saturating_sub(dims.len())];
    last.extend(&dims[split..]);
    let first = product(&dims[..split]);
    Shape::new(first, last[0], last[1], last[2]).check("tensor")
}

/// Sizes of the parts of an axis cut every so many places.
fn parts_of(extent: usize, each: usize) -> Vec<usize> {
    (0..extent).step_by(each.max(1)).map(|start| each.min(extent - start)).collect()
}

/// Extents that a reshape asks for: 0 keeps one, -1 stands for what is left.
fn reshape(dims: &[usize], wanted: &[i64], zeros: bool) -> Result<Vec<usize>> {
    let impossible = || Error::shape("reshape", format!("extents for {dims:?}"), format!("{wanted:?}"));
    let mut out = Vec::with_capacity(wanted.len());
    for (i, &extent) in wanted.iter().enumerate() {
        out.push(match extent {
            0 if !zeros => *dims.get(i).ok_or_else(impossible)?,
            -1 => 1,
            n => usize::try_from(n).map_err(|_| impossible())?,
        });
    }
    if let Some(rest) = wanted.iter().position(|&d| d == -1) {
        let others = product(&out);
        let elements: usize = dims.iter().product();
        if others == 0 || !elements.is_multiple_of(others) || wanted[rest + 1..].contains(&-1) {
            return Err(impossible());
        }
        out[rest] = elements / others;
    }
    Ok(out)
}

/// First place and number of places of a slice, as NumPy clamps them.
fn part(extent: usize, start: i64, end: i64, step: i64) -> Result<(usize, usize)> {
    let extent = extent as i64;
    let from_front = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
    let (low, high) = if step < 0 { (-1, extent - 1) } else { (0, extent) };
    let (start, end) = (from_front(start).clamp(low, high), from_front(end).clamp(low, high));
    match step {
        0 => Err(Error::shape("slice", "a step other than 0", 0)),
        _ => {
            let span = if step > 0 { end - start } else { start - end };
            let len = if span > 0 { (span - 1) / step.saturating_abs() + 1 } else { 0 };
            Ok((start.max(0) as usize, len as usize))
        }
    }
}

/// The value of a `Constant` node.
fn constant(reader: &Reader<'_>) -> Result<Array> {
    if let Some(tensor) = reader.tensor("value") {
        return array::read(tensor, &mut External::default());
    }
    let floats = |values: Vec<f32>| {
        let numbers: Vec<f64> = values.into_iter().map(f64::from).collect();
        Array::new(vec![numbers.len()], Kind::Float, numbers)
    };
    match (reader.floats("value_floats"), reader.ints("value_ints")) {
        (Some(values), _) => floats(values),
        (_, Some(values)) => Ok(Array::integers(values)),
        _ if reader.has("value_float") => {
            Ok(Array::scalar(Kind::Float, f64::from(reader.float("value_float", 0.0))))
        }
        _ if reader.has("value_int") => Ok(Array::scalar(Kind::Integer, reader.int("value_int", 0) as f64)),
        _ => Err(reader.unsupported("it holds no numbers")),
    }
}

/// Refuses a graph that makes something twice: readers disagree on which of the two counts.
pub(super) fn check_names(graph: &proto::Graph) -> Result<()> {
    // Old files list constants among the inputs too.
    let inputs: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let constants = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), false));
    let made = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let made = made.map(|name| (name.as_str(), inputs.contains(name.as_str())));
    let mut names = HashSet::new();
    match constants.chain(made).find(|(name, is_input)| *is_input || !names.insert(*name)) {
        Some((name, _)) => Err(Error::Model(format!("{name} is made twice"))),
        None => Ok(()),
    }
}

/// Weights shared by every graph that is built of the file.
pub(super) type Constants = HashMap<String, Array>;

pub(super) fn constants(graph: &mut proto::Graph, external: &mut External) -> Result<Constants> {
    let tensors = std::mem::take(&mut graph.initializer);
    tensors.into_iter().map(|tensor| Ok((tensor.name.clone(), array::read(&tensor, external)?))).collect()
}

/// A vector of as many numbers as there are channels, from one number or one a channel.
pub(super) fn per_channel(array: &Array, channels: usize) -> Result<Arc<[f32]>> {
    let values = array.floats();
    match values.len() {
        1 => Ok(std::iter::repeat_n(values[0], channels).collect()),
        n if n == channels => Ok(values.iter().copied().collect()),
        n => Err(Error::shape("constant", format!("1 or {channels} numbers"), n)),
    }
}
