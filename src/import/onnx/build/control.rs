//! Branches whose condition is known, and sequences whose parts are known.

use super::moves::parts_of;
use super::{Builder, Value};
use crate::error::{Error, Result};
use crate::import::onnx::constants;
use crate::import::onnx::external::External;
use crate::import::onnx::node::{Reader, axis, extent};

/// Deepest nesting of graphs.
const DEPTH: usize = 16;

/// Most parts of a sequence.
const PARTS: usize = 1 << 10;

impl<'a> Builder<'a> {
    /// A subgraph whose condition is known.
    pub(crate) fn branch(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        let Value::Constant(condition) = self.operand(reader, 0)? else {
            return Err(reader.unsupported("its condition depends on the picture"));
        };
        let chosen = if condition.numbers().first() != Some(&0.0) { "then_branch" } else { "else_branch" };
        let graph = reader.graph(chosen).ok_or_else(|| Error::Model(format!("has no {chosen}")))?;
        if self.depth == DEPTH {
            return Err(Error::Model(format!("its graphs are nested more than {DEPTH} deep")));
        }
        for tensor in &graph.initializer {
            let array = constants::read(tensor, &mut External::default())?;
            self.values.insert(&tensor.name, Value::Constant(array));
        }
        self.depth += 1;
        self.nodes(graph)?;
        self.depth -= 1;
        let missing = |name: &str| Error::Model(format!("no node makes {name}"));
        let result = |o: &'a crate::import::onnx::proto::ValueInfo| {
            self.values.get(o.name.as_str()).cloned().ok_or_else(|| missing(&o.name))
        };
        graph.output.iter().map(result).collect()
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

    pub(crate) fn at(&self, reader: &Reader<'a>) -> Result<Value> {
        let name = reader.node.input.first().map_or("", String::as_str);
        let parts =
            self.sequences.get(name).ok_or_else(|| reader.unsupported("its sequence is not a split"))?;
        let place = self.constant(reader, 1)?.ints().first().copied().unwrap_or(0);
        Ok(parts[axis(place, parts.len())?].clone())
    }
}
