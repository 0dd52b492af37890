//! Finds the state dict in a checkpoint, and the plain values around it.
//!
//! Training programs wrap state dicts in dicts of their own, next to optimisers and settings. Whole modules and
//! TorchScript store tensors as attributes of nested objects.

use super::broken;
use super::machine::{Id, Object, Pickle, Value, View};
use crate::error::Result;
use ::safetensors::Dtype;
use serde_json::{Map, Value as Json};
use std::cell::Cell;

/// Keys under which a checkpoint stores its network; the first that exists is used. Averages of weights come before
/// the weights of the last step, because authors evaluate the averages.
const NETWORKS: [&str; 17] = [
    "params_ema",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema",
    "network_weights",
    "state_dict",
    "model_state_dict",
    "model_state",
    "net_state_dict",
    "model",
    "net",
    "network",
    "generator",
    "params",
    "weights",
];

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

/// The tensors of the pickle's state dict, and the plain values around and inside it.
pub(super) fn read<'p, 'a>(pickle: &'p Pickle<'a>) -> Result<(Views<'p, 'a>, Map<String, Json>)> {
    let reader = Reader { pickle, visits: Cell::new(0) };
    let Some(dict) = reader.find(pickle.root, 0)? else {
        return Err(broken("it holds no state dict: nothing in it is a dict of tensors"));
    };
    let mut tensors = Vec::new();
    reader.flatten(dict, "", 0, &mut tensors)?;
    let mut values = plain(pickle);
    if dict != pickle.root
        && let Some(Json::Object(within)) = reader.json(dict, 0)
    {
        values.extend(within);
    }
    Ok((tensors, values))
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

    /// Finds the value that holds the network's tensors.
    fn find(&self, id: Id, depth: usize) -> Result<Option<Id>> {
        let dict = match self.pickle.get(id) {
            Value::Dict(dict) => dict,
            Value::Object(_) => {
                let mut tensors = Vec::new();
                self.flatten(id, "", depth, &mut tensors)?;
                return Ok((!tensors.is_empty()).then_some(id));
            }
            _ => return Ok(None),
        };
        self.visit(depth, dict.len())?;
        for network in NETWORKS {
            if let Some((_, value)) = self.entries(dict).find(|(key, _)| *key == network)
                && let Some(found) = self.find(value, depth + 1)?
            {
                return Ok(Some(found));
            }
        }
        // Scalars are losses and scores; bytes are states of random number generators.
        let is_weight = |(_, value)| match self.pickle.get(value) {
            Value::Tensor(view) => !view.shape.is_empty() && view.dtype != Dtype::U8,
            _ => false,
        };
        if self.entries(dict).any(is_weight) {
            return Ok(Some(id));
        }
        let mut found = Vec::new();
        for (key, value) in self.entries(dict) {
            if !TRAINING.iter().any(|word| key.to_lowercase().starts_with(word))
                && let Some(inner) = self.find(value, depth + 1)?
            {
                found.push((key, inner));
            }
        }
        found.dedup_by_key(|(_, inner)| *inner);
        match found[..] {
            [] => Ok(None),
            [(_, one)] => Ok(Some(one)),
            _ => {
                let keys: Vec<&str> = found.iter().map(|(key, _)| *key).collect();
                Err(broken(format!("it holds several networks ({}); save one alone", keys.join(", "))))
            }
        }
    }

    /// Collects tensors under dotted names.
    fn flatten(&self, id: Id, prefix: &str, depth: usize, tensors: &mut Views<'p, 'a>) -> Result<()> {
        let entries = match self.pickle.get(id) {
            Value::Dict(entries) => entries,
            Value::Object(object) => self.attributes(object),
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
                Value::Tensor(view) => {
                    self.visit(depth, (prefix.len() + key.len()) / 16)?;
                    tensors.push((format!("{prefix}{key}"), view));
                }
                Value::Dict(_) | Value::Object(_) => {
                    self.flatten(value, &format!("{prefix}{key}."), depth + 1, tensors)?;
                }
                _ => {}
            }
        }
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
