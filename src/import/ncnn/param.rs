//! The text of a network: one layer a line, with the names of its blobs and numbered parameters.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashSet};

/// Most layers.
const MAX_LAYERS: usize = 1 << 14;

/// Most numbers in an array.
const MAX_ARRAY: usize = 1 << 10;

/// Keys of arrays count down from here.
const ARRAYS: i64 = -23300;

/// A layer.
#[derive(Debug)]
pub(super) struct Layer<'a> {
    pub(super) op: &'a str,
    pub(super) name: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    values: BTreeMap<i64, Vec<f64>>,
}

impl Layer<'_> {
    pub(super) fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::Model(format!("layer {} ({}): {what}", self.name, self.op))
    }

    /// A parameter, if it is set.
    pub(super) fn get(&self, key: i64) -> Option<f64> {
        self.values.get(&key).and_then(|values| values.first()).copied()
    }

    /// A parameter or its default.
    pub(super) fn float(&self, key: i64, default: f64) -> f64 {
        self.get(key).unwrap_or(default)
    }

    pub(super) fn int(&self, key: i64, default: i64) -> i64 {
        self.get(key).map_or(default, |value| value as i64)
    }

    /// A whole number from 0 that bounds a length.
    pub(super) fn size(&self, key: i64, default: usize) -> Result<usize> {
        match self.get(key) {
            None => Ok(default),
            Some(value) if (0.0..=f64::from(i32::MAX)).contains(&value) => Ok(value as usize),
            Some(value) => {
                Err(self.error(format!("parameter {key} is {value}, expected a whole number from 0")))
            }
        }
    }

    /// An array; empty if it is not set.
    pub(super) fn array(&self, key: i64) -> &[f64] {
        self.values.get(&(ARRAYS - key)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn flag(&self, key: i64) -> bool {
        self.int(key, 0) != 0
    }
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::Model(format!("not a readable .param file of ncnn: {what}"))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Layer<'_>>> {
    let text = std::str::from_utf8(bytes).map_err(|_| broken("it is not text"))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines.next() != Some("7767517") {
        return Err(broken(
            "its first line is not 7767517; older files have to be converted with ncnnoptimize",
        ));
    }
    let counts = lines.next().ok_or_else(|| broken("it ends after the first line"))?;
    let count: usize = counts
        .split_whitespace()
        .next()
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| broken("no layer count"))?;
    let layers: Vec<Layer<'_>> = lines.take(MAX_LAYERS + 1).map(layer).collect::<Result<_>>()?;
    if layers.len() > MAX_LAYERS || layers.len() != count {
        return Err(broken(format!("expected {count} layers, at most {MAX_LAYERS}, got {}", layers.len())));
    }
    let mut made: HashSet<&str> = HashSet::new();
    for layer in &layers {
        if let Some(blob) = layer.inputs.iter().find(|blob| !made.contains(*blob)) {
            return Err(layer.error(format!("no layer before makes its input {blob}")));
        }
        made.extend(layer.outputs.iter().copied());
    }
    Ok(layers)
}

fn layer(line: &str) -> Result<Layer<'_>> {
    let cut_off = || broken(format!("the line of a layer ends early: {line}"));
    let mut words = line.split_whitespace();
    let mut next = || words.next().ok_or_else(cut_off);
    let (op, name) = (next()?, next()?);
    let mut number = || next()?.parse::<usize>().map_err(|_| broken(format!("expected two counts: {line}")));
    let [ins, outs] = [number()?, number()?];
    let mut blobs =
        |count: usize| (0..count).map(|_| words.next().ok_or_else(cut_off)).collect::<Result<Vec<_>>>();
    let (inputs, outputs) = (blobs(ins)?, blobs(outs)?);
    let mut values = BTreeMap::new();
    for word in words {
        let (key, value) =
            word.split_once('=').ok_or_else(|| broken(format!("{word} is no parameter: {line}")))?;
        let key: i64 = key.parse().map_err(|_| broken(format!("{word} has no number: {line}")))?;
        let numbers: Vec<f64> = value
            .split(',')
            .map(|part| part.parse().map_err(|_| broken(format!("{word} is no number: {line}"))))
            .collect::<Result<_>>()?;
        // An array begins with its length.
        let numbers = if key <= ARRAYS { numbers[1..].to_vec() } else { numbers };
        if numbers.len() > MAX_ARRAY {
            return Err(broken(format!("an array of more than {MAX_ARRAY} numbers")));
        }
        values.insert(key, numbers);
    }
    Ok(Layer { op, name, inputs, outputs, values })
}
