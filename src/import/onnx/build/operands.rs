//! What nodes read: values by their names.

use super::{Builder, Live, Value};
use crate::error::{Error, Result};
use crate::import::onnx::array::Array;
use crate::import::onnx::node::Reader;

impl<'a> Builder<'a> {
    pub(crate) fn optional(&self, reader: &Reader<'a>, i: usize) -> Result<Option<Value>> {
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

    pub(crate) fn operand(&self, reader: &Reader<'a>, i: usize) -> Result<Value> {
        self.optional(reader, i)?.ok_or_else(|| Error::Model(format!("operand {i} is missing")))
    }

    pub(crate) fn live(&mut self, reader: &Reader<'a>, i: usize) -> Result<Live> {
        let value = self.operand(reader, i)?;
        self.as_live(&value)
    }

    /// The value as a computed tensor.
    pub(crate) fn as_live(&mut self, value: &Value) -> Result<Live> {
        match value {
            Value::Live(live) => Ok(live.clone()),
            Value::Constant(array) => self.constant_node(array),
        }
    }

    pub(crate) fn constant(&self, reader: &Reader<'a>, i: usize) -> Result<Array> {
        self.optional_constant(reader, i)?.ok_or_else(|| Error::Model(format!("operand {i} is missing")))
    }

    pub(crate) fn optional_constant(&self, reader: &Reader<'a>, i: usize) -> Result<Option<Array>> {
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
