//! Appends nodes to the graph: with free names and known shapes, and without computing anything twice.

use super::{Builder, Live};
use crate::error::{Error, Result};
use crate::graph::{Constant, Op, ValueId};
use crate::import::onnx::array::Array;
use crate::import::onnx::view::{View, any_shape};
use crate::tensor::Shape;

/// Most nodes of the graph.
const NODES: usize = 1 << 14;

impl Builder<'_> {
    pub(crate) fn shape(&self, id: ValueId) -> Shape {
        self.shapes[id.index()]
    }

    /// Appends a node with that name, or the next free one, unless an earlier node computes the same.
    pub(crate) fn push(&mut self, wanted: &str, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
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

    /// A constant as a value of the graph.
    pub(crate) fn constant_node(&mut self, array: &Array) -> Result<Live> {
        let shape = any_shape(&array.dims)?;
        let id = self.push("constant", Constant(array.tensor(shape)?), &[])?;
        Ok(Live::new(id, View::whole(&array.dims)))
    }
}
