//! The values of a pickle.
//!
//! Values refer to each other by their index in the heap, so shared, cyclic and deeply nested values need no special
//! care.

use super::broken;
use crate::error::Result;
use ::safetensors::Dtype;

/// Most values. The pickle of a network has some thousands.
pub(super) const MAX_VALUES: usize = 1 << 19;

/// Most tensors. Each needs more memory than other values.
const MAX_TENSORS: usize = 1 << 16;

/// Index of a value in the heap.
pub(super) type Id = u32;

/// A value, as far as a state dict needs it.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits: two's complement, little-endian.
    Long(&'a [u8]),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Lists and sets.
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// The name of a class or function, nothing more.
    Global {
        module: &'a str,
        name: &'a str,
    },
    Storage(Box<Storage<'a>>),
    Tensor(Box<View<'a>>),
    /// Anything else: its class and arguments. The class never runs.
    Object(Box<Object<'a>>),
}

/// A sequence of numbers stored elsewhere in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    /// Offset in elements, if it is a view of another storage.
    pub(super) offset: u64,
}

/// A tensor: a strided view of a storage.
#[derive(Debug, Clone)]
pub(super) struct View<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) dtype: Dtype,
    /// Offset of the first element.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// An instance of an unknown class.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
    /// Arguments, a tuple.
    pub(super) args: Id,
    /// Attributes, mostly a dict.
    pub(super) state: Option<Id>,
}

impl Value<'_> {
    /// The kind of a value, for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) | Value::Long(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Global { .. } => "a class",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
            Value::Object(_) => "an object",
        }
    }
}

/// All values, by their [`Id`].
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    values: Vec<Value<'a>>,
    tensors: usize,
    /// Number of items that calls copied from one value to another.
    copied: usize,
}

impl<'a> Heap<'a> {
    pub(super) fn add(&mut self, value: Value<'a>) -> Result<Id> {
        if self.values.len() >= MAX_VALUES {
            return Err(broken(format!("its pickle holds more than {MAX_VALUES} values")));
        }
        self.tensors += usize::from(matches!(value, Value::Tensor(_)));
        if self.tensors > MAX_TENSORS {
            return Err(broken(format!("its pickle holds more than {MAX_TENSORS} tensors")));
        }
        self.values.push(value);
        Ok((self.values.len() - 1) as Id)
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value<'a> {
        &mut self.values[id as usize]
    }

    /// All storages that the values name.
    pub(super) fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.values.iter().filter_map(|value| if let Value::Storage(s) = value { Some(**s) } else { None })
    }

    /// Adds a dict made of pairs that are stored in another value.
    pub(super) fn add_copy(&mut self, pairs: Vec<(Id, Id)>) -> Result<Id> {
        // A file that copies a long list again and again would grow without bound.
        self.copied += pairs.len();
        if self.copied > MAX_VALUES {
            return Err(broken(format!("its pickle copies more than {MAX_VALUES} values")));
        }
        self.add(Value::Dict(pairs))
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Result<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Ok(items),
            other => Err(broken(format!("expected a tuple, got {}", other.kind()))),
        }
    }
}
