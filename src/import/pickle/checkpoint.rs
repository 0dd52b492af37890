//! Collects the tensors of a checkpoint under dotted names, and the plain values around them.
//!
//! Training programs wrap state dicts in dicts, lists and tuples of their own, next to optimisers and settings. Whole
//! modules and TorchScript store tensors as attributes of nested objects. Which of the tensors are the network is
//! decided later, from their names.

use super::broken;
use super::heap::{Id, Object, Value, View};
use super::machine::Pickle;
use crate::error::Result;
use serde_json::{Map, Value as Json};
use std::cell::Cell;

/// Prefixes of keys whose tensors do not belong to a network.
const TRAINING: [&str; 5] = ["optim", "sched", "lr_", "scaler", "grad_scaler"];

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 64;

/// Most values that are visited. Each entry of a dict and every 16 bytes of text count as one more. Shared values
/// count every time, because a small file can share without end.
const MAX_VISITS: usize = 1 << 18;

/// Longest array of numbers that counts as a plain value.
const MAX_ARRAY: usize = 1024;

/// Tensors by name.
pub(super) type Views<'p, 'a> = Vec<(String, &'p View<'a>)>;

/// The tensors of the pickle except those of optimisers, and its plain values.
pub(super) fn read<'p, 'a>(pickle: &'p Pickle<'a>) -> Result<(Views<'p, 'a>, Map<String, Json>)> {
    let reader = Reader { pickle, visits: Cell::new(0) };
    let mut tensors = Vec::new();
    reader.flatten(pickle.root, "", 0, &mut tensors)?;
    if tensors.is_empty() {
        return Err(broken("it holds no state dict: nothing in it is a dict of tensors"));
    }
    Ok((tensors, plain(pickle)))
}

/// The plain values of a dict.
pub(super) fn plain(pickle: &Pickle<'_>) -> Map<String, Json> {
    match (Reader { pickle, visits: Cell::new(0) }).json(pickle.root, 0) {
        Some(Json::Object(values)) => values,
        _ => Map::new(),
    }
}

struct Reader<'p, 'a> {
    pickle: &'p Pickle<'a>,
    visits: Cell<usize>,
}

impl<'p, 'a> Reader<'p, 'a> {
    /// Counts a value with `entries` entries. Returns false if there are too many or the nesting is too deep.
    fn may_visit(&self, depth: usize, entries: usize) -> bool {
        self.visits.set(self.visits.get() + 1 + entries);
        self.visits.get() <= MAX_VISITS && depth <= MAX_DEPTH
    }

    fn visit(&self, depth: usize, entries: usize) -> Result<()> {
        let may = self.may_visit(depth, entries);
        if may { Ok(()) } else { Err(broken("its values are nested too deep or shared too often")) }
    }

    /// The entries of a dict whose keys are text.
    fn entries(&self, dict: &'p [(Id, Id)]) -> impl Iterator<Item = (&'a str, Id)> {
        dict.iter().filter_map(|&(key, value)| match self.pickle.get(key) {
            Value::Text(key) => Some((*key, value)),
            _ => None,
        })
    }

    /// An object's attributes.
    fn attributes(&self, object: &Object<'a>) -> &'p [(Id, Id)] {
        let mut state = object.state;
        if let Some(Value::Tuple(parts)) = state.map(|id| self.pickle.get(id)) {
            state = parts.first().copied(); // attributes and slots
        }
        match state.map(|id| self.pickle.get(id)) {
            Some(Value::Dict(entries)) => entries,
            _ => &[],
        }
    }

    /// Collects tensors under dotted names.
    fn flatten(&self, id: Id, prefix: &str, depth: usize, tensors: &mut Views<'p, 'a>) -> Result<()> {
        let entries = match self.pickle.get(id) {
            Value::Dict(entries) => entries,
            Value::Object(object) => self.attributes(object),
            Value::List(items) | Value::Tuple(items) => {
                return self.flatten_list(items, prefix, depth, tensors);
            }
            _ => return Ok(()),
        };
        self.visit(depth, entries.len() + prefix.len() / 16)?;
        let is_module = |entries: &'p [(Id, Id)]| self.entries(entries).any(|(key, _)| key == "_parameters");
        let is_module = matches!(self.pickle.get(id), Value::Object(_)) && is_module(entries);
        for (key, value) in self.entries(entries) {
            match self.pickle.get(value) {
                // A Python module stores its tensors and its parts in three dicts.
                Value::Dict(_) if is_module && ["_parameters", "_buffers", "_modules"].contains(&key) => {
                    self.flatten(value, prefix, depth + 1, tensors)?;
                }
                _ if is_module => {}
                Value::Tensor(view) => self.tensor(key, view, prefix, depth, tensors)?,
                Value::Dict(_) | Value::Object(_) | Value::List(_) | Value::Tuple(_)
                    if !TRAINING.iter().any(|word| key.to_lowercase().starts_with(word)) =>
                {
                    self.flatten(value, &format!("{prefix}{key}."), depth + 1, tensors)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The same for the items of a list, whose names are their numbers. Lists of numbers may be long.
    fn flatten_list(
        &self,
        items: &[Id],
        prefix: &str,
        depth: usize,
        tensors: &mut Views<'p, 'a>,
    ) -> Result<()> {
        self.visit(depth, items.len() / 64)?;
        for (i, &item) in items.iter().enumerate() {
            match self.pickle.get(item) {
                Value::Tensor(view) => self.tensor(&i.to_string(), view, prefix, depth, tensors)?,
                Value::Dict(_) | Value::Object(_) | Value::List(_) | Value::Tuple(_) => {
                    self.flatten(item, &format!("{prefix}{i}."), depth + 1, tensors)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn tensor(
        &self,
        key: &str,
        view: &'p View<'a>,
        prefix: &str,
        depth: usize,
        tensors: &mut Views<'p, 'a>,
    ) -> Result<()> {
        self.visit(depth, (prefix.len() + key.len()) / 16)?;
        tensors.push((format!("{prefix}{key}"), view));
        Ok(())
    }

    /// A plain value; `None` for values that JSON cannot hold.
    fn json(&self, id: Id, depth: usize) -> Option<Json> {
        let value = self.pickle.get(id);
        if !self.may_visit(depth, if let Value::Text(text) = value { text.len() / 16 } else { 0 }) {
            return None;
        }
        Some(match value {
            Value::None => Json::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => (*text).into(),
            Value::List(items) | Value::Tuple(items) => {
                items.iter().map(|&item| self.json(item, depth + 1)).collect::<Option<_>>()?
            }
            Value::Dict(entries) => {
                let entry = |&(key, value): &(Id, Id)| {
                    let key = match self.pickle.get(key) {
                        Value::Text(text) if self.may_visit(depth, text.len() / 16) => text.to_string(),
                        Value::Int(number) => number.to_string(),
                        _ => return None,
                    };
                    Some((key, self.json(value, depth + 1)?))
                };
                Json::Object(entries.iter().filter_map(entry).collect())
            }
            Value::Object(object) => self.numpy(object)?,
            _ => return None,
        })
    }

    /// A numpy scalar as a number, a short numpy array as a list.
    fn numpy(&self, object: &Object<'a>) -> Option<Json> {
        if !object.module.starts_with("numpy") {
            return None;
        }
        let items = |id: Id| match self.pickle.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(&items[..]),
            _ => None,
        };
        let (dtype, data, is_scalar) = match (object.name, items(object.args)?, object.state) {
            ("scalar", &[dtype, data], _) => (dtype, data, true),
            ("_frombuffer", &[data, dtype, ..], _) => (dtype, data, false),
            ("_reconstruct", _, Some(state)) => match *items(state)? {
                [_, _shape, dtype, _, data] => (dtype, data, false),
                _ => return None,
            },
            _ => return None,
        };
        let Value::Object(dtype) = self.pickle.get(dtype) else { return None };
        let Value::Text(kind) = self.pickle.get(*items(dtype.args)?.first()?) else { return None };
        let bytes: Vec<u8> = match self.pickle.get(data) {
            Value::Bytes(bytes) if bytes.len() <= 8 * MAX_ARRAY => bytes.to_vec(),
            // Bytes, as protocol 2 writes them: one Latin-1 character for each byte.
            Value::Text(text) if text.len() <= 16 * MAX_ARRAY => text.chars().map(|c| c as u8).collect(),
            _ => return None,
        };
        let mut numbers: Vec<Json> = match *kind {
            "f8" => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b).into()).collect(),
            "f4" => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            "i8" => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b).into()).collect(),
            "i4" => bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect(),
            "u1" => bytes.iter().map(|&b| b.into()).collect(),
            _ => return None,
        };
        if is_scalar { numbers.pop() } else { Some(Json::Array(numbers)) }
    }
}
