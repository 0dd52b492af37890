//! The numbers in a file: its tensors, and the values of its `Constant` nodes.

use super::array::{Array, Kind, MOST, extents};
use super::external::External;
use super::node::{Reader, extent};
use super::proto;
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Weights that are shared by every graph built from the file.
pub(super) type Constants = HashMap<String, Array>;

/// Takes the tensors out of a graph.
pub(super) fn take(graph: &mut proto::Graph, external: &mut External) -> Result<Constants> {
    let tensors = std::mem::take(&mut graph.initializer);
    tensors.into_iter().map(|tensor| Ok((tensor.name.clone(), read(&tensor, external)?))).collect()
}

/// The value of a `Constant` node.
pub(super) fn of_node(reader: &Reader<'_>) -> Result<Array> {
    if let Some(tensor) = reader.tensor("value") {
        return read(tensor, &mut External::default());
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

/// Reads a tensor of the file. Errors name it if its numbers are of an unknown type or incomplete.
pub(super) fn read(tensor: &proto::Tensor, external: &mut External) -> Result<Array> {
    values(tensor, external).map_err(|e| e.at(&format!("tensor {}", tensor.name)))
}

fn values(tensor: &proto::Tensor, external: &mut External) -> Result<Array> {
    let dims = tensor.dims.iter().map(|&d| extent(d)).collect::<Result<Vec<_>>>()?;
    let elements = extents(&dims)?;
    let kind = Kind::of(i64::from(tensor.data_type)).ok_or_else(|| {
        let expected = "floats of 16 to 64 bits, whole numbers of 2 to 64 bits or bool";
        Error::shape("data type", expected, format!("number {} of ONNX's list", tensor.data_type))
    })?;
    let bytes = match (tensor.data_type, kind) {
        (_, Kind::Narrow(narrow)) => narrow.bytes(elements),
        (9, _) => elements,
        (10 | 16, _) => elements.saturating_mul(2),
        (7 | 11 | 13, _) => elements.saturating_mul(8),
        _ => elements.saturating_mul(4),
    };
    // These take 8 bytes each in memory, and arithmetic on shapes never needs millions.
    if matches!(kind, Kind::Integer | Kind::Bool) && elements > MOST {
        return Err(Error::shape("data", format!("at most {MOST} whole numbers"), elements));
    }
    let outside;
    let raw: &[u8] = match tensor.data_location {
        0 => &tensor.raw_data,
        _ => {
            outside = external.read(tensor, bytes)?;
            &outside
        }
    };
    if !raw.is_empty() && raw.len() != bytes {
        let expected = format!("{elements} numbers in {bytes} bytes");
        return Err(Error::shape("data", expected, format!("{} bytes", raw.len())));
    }
    let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let long = |b: &[u8]| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    let half = |bits: u16| half::f16::from_bits(bits).to_f32();
    let brain = |bits: u16| half::bf16::from_bits(bits).to_f32();
    let short = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
    let fields = &tensor.int32_data;
    let floats: Option<Vec<f32>> = match (tensor.data_type, raw.is_empty()) {
        (1, false) => Some(raw.chunks_exact(4).map(|b| f32::from_bits(word(b))).collect()),
        (1, true) => Some(tensor.float_data.clone()),
        (10, false) => Some(raw.chunks_exact(2).map(|b| half(short(b))).collect()),
        (10, true) => Some(fields.iter().map(|&v| half(v as u16)).collect()),
        (16, false) => Some(raw.chunks_exact(2).map(|b| brain(short(b))).collect()),
        (16, true) => Some(fields.iter().map(|&v| brain(v as u16)).collect()),
        (11, false) => Some(raw.chunks_exact(8).map(|b| f64::from_bits(long(b)) as f32).collect()),
        (11, true) => Some(tensor.double_data.iter().map(|&v| v as f32).collect()),
        _ => None,
    };
    if let Some(values) = floats {
        if values.len() != elements {
            return Err(Error::shape("data", format!("{elements} numbers"), values.len()));
        }
        // Infinities stand for absent bounds; NaN has no meaning.
        if values.iter().any(|v| v.is_nan()) {
            return Err(Error::shape("data", "numbers", "NaN"));
        }
        return Array::of_floats(dims, values);
    }
    if let Kind::Narrow(narrow) = kind {
        let values: Vec<f32> = match raw.is_empty() {
            false => narrow.unpacked(raw, elements),
            true if narrow.bits < 8 => {
                let packed: Vec<u8> = fields.iter().map(|&v| v as u8).collect();
                narrow.unpacked(&packed, elements)
            }
            true => fields.iter().map(|&v| v as f32).collect(),
        };
        if values.len() != elements {
            return Err(Error::shape("data", format!("{elements} numbers"), values.len()));
        }
        return Array::of_narrow(dims, narrow, values);
    }
    let numbers: Vec<f64> = match (tensor.data_type, raw.is_empty()) {
        (9, false) => raw.iter().map(|&b| f64::from(b)).collect(),
        (6, false) => raw.chunks_exact(4).map(|b| f64::from(word(b) as i32)).collect(),
        (12, false) => raw.chunks_exact(4).map(|b| f64::from(word(b))).collect(),
        (7, false) => raw.chunks_exact(8).map(|b| long(b) as i64 as f64).collect(),
        (13, false) => raw.chunks_exact(8).map(|b| long(b) as f64).collect(),
        (7, true) => tensor.int64_data.iter().map(|&v| v as f64).collect(),
        _ => fields.iter().map(|&v| f64::from(v)).collect(),
    };
    Array::new(dims, kind, numbers)
}
