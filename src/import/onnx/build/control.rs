//! Branches and loops whose conditions are known, and sequences whose parts are known.

use super::moves::parts_of;
use super::{Builder, Value};
use crate::error::{Error, Result};
use crate::import::onnx::array::{Array, Kind};
use crate::import::onnx::constants;
use crate::import::onnx::external::External;
use crate::import::onnx::fold;
use crate::import::onnx::node::{Reader, axis, extent};
use crate::import::onnx::proto;

/// Deepest nesting of graphs.
const DEPTH: usize = 16;

/// Most parts of a sequence.
const PARTS: usize = 1 << 10;

/// Most rounds of a loop.
const ROUNDS: usize = 1 << 10;

impl<'a> Builder<'a> {
    /// `If`, where the condition is known.
    pub(crate) fn branch(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        let Value::Constant(condition) = self.operand(reader, 0)? else {
            return Err(reader.unsupported("its condition depends on the picture"));
        };
        let chosen = if condition.numbers().first() != Some(&0.0) { "then_branch" } else { "else_branch" };
        let graph = reader.graph(chosen).ok_or_else(|| Error::Model(format!("has no {chosen}")))?;
        self.within(graph)
    }

    /// `Loop`, where the number of rounds is known.
    pub(crate) fn rounds(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        let number = |array: &Array| array.numbers().first().copied();
        let most = self.optional_constant(reader, 0)?.as_ref().and_then(number).unwrap_or(f64::INFINITY);
        let mut goes_on = self.optional_constant(reader, 1)?.as_ref().and_then(number) != Some(0.0);
        let body = reader.graph("body").ok_or_else(|| Error::Model("has no body".into()))?;
        let carried = reader.node.input.len().saturating_sub(2);
        let mut state = (0..carried).map(|i| self.operand(reader, i + 2)).collect::<Result<Vec<_>>>()?;
        let gathered = body.output.len().checked_sub(carried + 1);
        let Some(gathered) = gathered.filter(|_| body.input.len() == carried + 2) else {
            return Err(Error::shape("its body", format!("{carried} values from round to round"), "others"));
        };
        let mut lists = vec![Vec::new(); gathered];
        let mut round = 0;
        while goes_on && (round as f64) < most {
            if round == ROUNDS {
                return Err(reader.unsupported(&format!("it runs more than {ROUNDS} rounds")));
            }
            let counters = [Array::scalar(Kind::Integer, round as f64), Array::scalar(Kind::Bool, 1.0)];
            let given = counters.into_iter().map(Value::Constant).chain(state);
            self.values.extend(body.input.iter().map(|input| input.name.as_str()).zip(given));
            let mut made = self.within(body)?.into_iter();
            let Some(Value::Constant(condition)) = made.next() else {
                return Err(reader.unsupported("its condition depends on the picture"));
            };
            goes_on = number(&condition) != Some(0.0);
            state = made.by_ref().take(carried).collect();
            lists.iter_mut().zip(made).for_each(|(list, value)| list.push(value));
            round += 1;
        }
        let stacks = lists.into_iter().map(|list| match list.is_empty() {
            true => Err(reader.unsupported("it gathers the results of no rounds")),
            false => self.stacked(reader, &list, 0),
        });
        let stacks = stacks.collect::<Result<Vec<_>>>()?;
        Ok(state.into_iter().chain(stacks).collect())
    }

    /// The results of a graph within a node.
    fn within(&mut self, graph: &'a proto::Graph) -> Result<Vec<Value>> {
        if self.depth == DEPTH {
            return Err(Error::Model(format!("its graphs are nested more than {DEPTH} deep")));
        }
        for tensor in &graph.initializer {
            let array = constants::read(tensor, &mut External::default())?;
            self.values.insert(&tensor.name, Value::Constant(array));
        }
        self.depth += 1;
        let done = self.nodes(graph);
        self.depth -= 1;
        done?;
        let result = |o: &'a proto::ValueInfo| {
            let known = || self.file.constants.get(&o.name).cloned().map(Value::Constant);
            let value = self.values.get(o.name.as_str()).cloned().or_else(known);
            value.ok_or_else(|| Error::Model(format!("no node makes {}", o.name)))
        };
        graph.output.iter().map(result).collect()
    }

    /// `SequenceConstruct`, `SequenceEmpty` and `SequenceInsert`: a sequence of known values.
    pub(crate) fn listed(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        let all = |from: usize| (from..reader.node.input.len()).map(|i| self.operand(reader, i));
        let parts = match reader.op() {
            "SequenceInsert" => {
                let mut parts = self.parts(reader)?.clone();
                let place = match self.optional_constant(reader, 2)? {
                    Some(place) => place.ints().first().copied().unwrap_or(0),
                    None => parts.len() as i64,
                };
                parts.insert(axis(place, parts.len() + 1)?, self.operand(reader, 1)?);
                parts
            }
            _ => all(0).collect::<Result<Vec<_>>>()?,
        };
        if parts.len() > PARTS {
            return Err(reader.unsupported(&format!("it makes more than {PARTS} parts")));
        }
        let name = reader.node.output.first().map_or("", String::as_str);
        self.sequences.insert(name, parts);
        Ok(Vec::new())
    }

    /// `ConcatFromSequence`.
    pub(crate) fn concat_sequence(&mut self, reader: &Reader<'a>) -> Result<Value> {
        let parts = self.parts(reader)?.clone();
        let rank = parts.first().map_or(0, |part| part.dims().len());
        match reader.int("new_axis", 0) {
            0 => self.chained(reader, &parts, axis(reader.int("axis", 0), rank)?),
            _ => self.stacked(reader, &parts, axis(reader.int("axis", 0), rank + 1)?),
        }
    }

    /// Values joined along a new axis.
    fn stacked(&mut self, reader: &Reader<'a>, parts: &[Value], along: usize) -> Result<Value> {
        let with_axis = |part: &Value| {
            let mut dims = part.dims();
            dims.insert(along.min(dims.len()), 1);
            self.reshaped(part, &dims)
        };
        let parts = parts.iter().map(with_axis).collect::<Result<Vec<_>>>()?;
        self.chained(reader, &parts, along)
    }

    /// Values joined along an axis, which is a constant where all of them are.
    fn chained(&mut self, reader: &Reader<'a>, parts: &[Value], along: usize) -> Result<Value> {
        let constants = parts.iter().map(|part| match part {
            Value::Constant(array) => Some(array),
            Value::Live(_) => None,
        });
        match constants.collect::<Option<Vec<_>>>() {
            Some(arrays) => fold::concat(&arrays, along).map(Value::Constant),
            None => self.concat_of(reader, parts, along).map(Value::Live),
        }
    }

    /// A split whose parts are later taken by number.
    pub(crate) fn sequence(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
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

    /// The parts of a node's sequence.
    pub(crate) fn parts(&self, reader: &Reader<'a>) -> Result<&Vec<Value>> {
        let name = reader.node.input.first().map_or("", String::as_str);
        self.sequences.get(name).ok_or_else(|| reader.unsupported("its sequence is not made by the network"))
    }

    pub(crate) fn at(&self, reader: &Reader<'a>) -> Result<Value> {
        let parts = self.parts(reader)?;
        let place = self.constant(reader, 1)?.ints().first().copied().unwrap_or(0);
        Ok(parts[axis(place, parts.len())?].clone())
    }
}
