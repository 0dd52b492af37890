//! Values by their names, and what nodes read of them.

use super::Builder;
use crate::error::{Error, Result};
use crate::graph::ValueId;
use crate::import::onnx::array::Array;
use crate::import::onnx::node::Reader;
use crate::import::onnx::view::View;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(in crate::import::onnx) enum Value {
    Constant(Array),
    Live(Live),
}

/// A computed tensor: a view, of any rank, of a value of the graph in its order NCHW.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::import::onnx) struct Live {
    pub(in crate::import::onnx) id: ValueId,
    pub(in crate::import::onnx) view: View,
    /// Whether its elements have a type of whole numbers, on which ONNX's arithmetic rounds.
    pub(in crate::import::onnx) whole: bool,
}

impl Live {
    /// A tensor of floats.
    pub(in crate::import::onnx) fn new(id: ValueId, view: View) -> Live {
        Live { id, view, whole: false }
    }

    pub(in crate::import::onnx) fn dims(&self) -> Vec<usize> {
        self.view.dims()
    }
}

impl Value {
    pub(in crate::import::onnx) fn live(&self) -> Option<&Live> {
        match self {
            Value::Constant(_) => None,
            Value::Live(live) => Some(live),
        }
    }

    pub(in crate::import::onnx) fn dims(&self) -> Vec<usize> {
        match self {
            Value::Constant(array) => array.dims.clone(),
            Value::Live(live) => live.dims(),
        }
    }

    pub(in crate::import::onnx) fn view(&self) -> View {
        match self {
            Value::Constant(array) => View::whole(&array.dims),
            Value::Live(live) => live.view.clone(),
        }
    }
}

impl<'a> Builder<'a> {
    pub(in crate::import::onnx) fn optional(&self, reader: &Reader<'a>, i: usize) -> Result<Option<Value>> {
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

    pub(in crate::import::onnx) fn operand(&self, reader: &Reader<'a>, i: usize) -> Result<Value> {
        self.optional(reader, i)?.ok_or_else(|| Error::Model(format!("operand {i} is missing")))
    }

    pub(in crate::import::onnx) fn live(&mut self, reader: &Reader<'a>, i: usize) -> Result<Live> {
        match self.operand(reader, i)? {
            Value::Live(live) => Ok(live),
            Value::Constant(array) => self.constant_node(&array),
        }
    }

    pub(in crate::import::onnx) fn constant(&self, reader: &Reader<'a>, i: usize) -> Result<Array> {
        self.optional_constant(reader, i)?.ok_or_else(|| Error::Model(format!("operand {i} is missing")))
    }

    pub(in crate::import::onnx) fn optional_constant(
        &self,
        reader: &Reader<'a>,
        i: usize,
    ) -> Result<Option<Array>> {
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
}
