//! Constants: weights, and the numbers that shapes are computed from.

use super::proto;
use super::view::{View, product};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use std::borrow::Cow;
use std::sync::Arc;

/// Most elements of a computed constant, so a few bytes cannot ask for gigabytes.
pub(super) const MOST: usize = 1 << 21;

/// Most axes.
const RANK: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Integer,
    Bool,
    /// Whole numbers of a type to which quantised numbers are limited.
    Narrow(Narrow),
}

/// A type of whole numbers of at most 16 bits. All of them are exact in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Narrow {
    pub(super) bits: u32,
    pub(super) signed: bool,
}

impl Narrow {
    pub(super) const U8: Narrow = Narrow { bits: 8, signed: false };

    /// The least and the largest number.
    pub(super) fn range(self) -> [f32; 2] {
        let count = (1u32 << self.bits) as f32;
        if self.signed { [-count / 2.0, count / 2.0 - 1.0] } else { [0.0, count - 1.0] }
    }

    /// Bytes of so many numbers in a file. Two numbers of 4 bits, or four of 2, share a byte.
    pub(super) fn bytes(self, elements: usize) -> usize {
        if self.bits < 8 {
            elements.div_ceil(8 / self.bits as usize)
        } else {
            elements.saturating_mul(self.bits as usize / 8)
        }
    }

    /// Numbers from their bytes, the first from the lowest bits.
    pub(super) fn unpacked(self, raw: &[u8], elements: usize) -> Vec<f32> {
        let sign = |v: u32| {
            if self.signed && v >> (self.bits - 1) == 1 {
                v as f32 - (1u32 << self.bits) as f32
            } else {
                v as f32
            }
        };
        match self.bits {
            16 => raw.chunks_exact(2).map(|b| sign(u32::from(u16::from_le_bytes([b[0], b[1]])))).collect(),
            bits => {
                let parts = raw.iter().flat_map(|&b| (0..8 / bits).map(move |i| u32::from(b) >> (i * bits)));
                parts.map(|v| sign(v & ((1 << bits) - 1))).take(elements).collect()
            }
        }
    }

    /// The inverse of [`unpacked`](Self::unpacked).
    fn packed(self, numbers: &[f64]) -> Vec<u8> {
        let mask = (1i64 << self.bits) - 1;
        match self.bits {
            16 => numbers.iter().flat_map(|&v| (v as i64 as u16).to_le_bytes()).collect(),
            bits => {
                let byte = |part: &[f64]| {
                    let each =
                        part.iter().enumerate().map(|(i, &v)| ((v as i64 & mask) as u8) << (i as u32 * bits));
                    each.fold(0, |all, part| all | part)
                };
                numbers.chunks(8 / bits as usize).map(byte).collect()
            }
        }
    }
}

impl Kind {
    /// The kind for a number in ONNX's list of types; `None` for other things than numbers.
    pub(super) fn of(number: i64) -> Option<Kind> {
        let narrow = |bits, signed| Some(Kind::Narrow(Narrow { bits, signed }));
        match number {
            1 | 10 | 11 | 16 => Some(Kind::Float),
            2 => narrow(8, false),
            3 => narrow(8, true),
            4 => narrow(16, false),
            5 => narrow(16, true),
            21 => narrow(4, false),
            22 => narrow(4, true),
            25 => narrow(2, false),
            26 => narrow(2, true),
            6 | 7 | 12 | 13 => Some(Kind::Integer),
            9 => Some(Kind::Bool),
            _ => None,
        }
    }

    /// Whether its numbers are whole and no truth values.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Kind::Integer | Kind::Narrow(_))
    }
}

/// A constant of any rank.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) dims: Vec<usize>,
    pub(super) kind: Kind,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    /// Weights. A tensor of four extents in a file keeps its shape, so that graphs can share it.
    Weights(Arc<Tensor>),
    Numbers(Arc<[f64]>),
}

impl Array {
    /// A computed constant. Errors if it would be huge.
    pub(super) fn new(dims: Vec<usize>, kind: Kind, numbers: Vec<f64>) -> Result<Array> {
        if numbers.len() != extents(&dims)? {
            return Err(Error::shape("constant", format!("{dims:?}"), format!("{} numbers", numbers.len())));
        }
        Ok(Array { dims, kind, data: Data::Numbers(numbers.into()) })
    }

    pub(super) fn integers(values: impl IntoIterator<Item = i64>) -> Array {
        let numbers: Arc<[f64]> = values.into_iter().map(|v| v as f64).collect();
        Array { dims: vec![numbers.len()], kind: Kind::Integer, data: Data::Numbers(numbers) }
    }

    pub(super) fn scalar(kind: Kind, value: f64) -> Array {
        Array { dims: Vec::new(), kind, data: Data::Numbers([value].into()) }
    }

    pub(super) fn of_floats(dims: Vec<usize>, values: Vec<f32>) -> Result<Array> {
        extents(&dims)?;
        if values.is_empty() {
            return Ok(Array { dims, kind: Kind::Float, data: Data::Numbers([].into()) });
        }
        let shape = match dims[..] {
            [n, c, h, w] => Shape::new(n, c, h, w),
            _ => Shape::new(1, 1, 1, values.len()),
        };
        Ok(Array { dims, kind: Kind::Float, data: Data::Weights(Arc::new(Tensor::new(shape, values)?)) })
    }

    /// Numbers of a narrow type.
    pub(super) fn of_narrow(dims: Vec<usize>, narrow: Narrow, values: Vec<f32>) -> Result<Array> {
        Ok(Array { kind: Kind::Narrow(narrow), ..Array::of_floats(dims, values)? })
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Weights(tensor) => tensor.data().len(),
            Data::Numbers(numbers) => numbers.len(),
        }
    }

    /// Whether its numbers are those of f32.
    pub(super) fn is_single(&self) -> bool {
        matches!(self.data, Data::Weights(_))
    }

    /// Bytes of the numbers that no other array shares.
    pub(super) fn own_bytes(&self) -> usize {
        match &self.data {
            Data::Weights(tensor) if Arc::strong_count(tensor) == 1 => 4 * tensor.data().len(),
            Data::Numbers(numbers) if Arc::strong_count(numbers) == 1 => 8 * numbers.len(),
            _ => 0,
        }
    }

    pub(super) fn numbers(&self) -> Cow<'_, [f64]> {
        match &self.data {
            Data::Weights(tensor) => tensor.data().iter().map(|&v| f64::from(v)).collect(),
            Data::Numbers(numbers) => Cow::Borrowed(numbers),
        }
    }

    pub(super) fn floats(&self) -> Cow<'_, [f32]> {
        match &self.data {
            Data::Weights(tensor) => Cow::Borrowed(tensor.data()),
            Data::Numbers(numbers) => numbers.iter().map(|&v| v as f32).collect(),
        }
    }

    /// One number for each channel, from one number or one for each channel.
    pub(super) fn per_channel(&self, channels: usize) -> Result<Arc<[f32]>> {
        let values = self.floats();
        match values.len() {
            1 => Ok(std::iter::repeat_n(values[0], channels).collect()),
            n if n == channels => Ok(values.iter().copied().collect()),
            n => Err(Error::shape("constant", format!("1 or {channels} numbers"), n)),
        }
    }

    /// Integers. Numbers beyond `i64` (which exporters write for "to the end") saturate.
    pub(super) fn ints(&self) -> Vec<i64> {
        self.numbers().iter().map(|&v| v as i64).collect()
    }

    /// The numbers, if there are more than a few.
    pub(super) fn weights(&self) -> Option<Arc<Tensor>> {
        match &self.data {
            Data::Weights(tensor) if self.kind == Kind::Float && tensor.data().len() > 16 => {
                Some(tensor.clone())
            }
            _ => None,
        }
    }

    pub(super) fn of_tensor(dims: Vec<usize>, tensor: Arc<Tensor>) -> Result<Array> {
        let elements = product(&dims);
        if elements != tensor.data().len() {
            return Err(Error::shape("weights", format!("{dims:?}"), tensor.shape()));
        }
        Ok(Array { dims, kind: Kind::Float, data: Data::Weights(tensor) })
    }

    /// The constant in ONNX's encoding; [`super::constants::read`] reads it back.
    pub(super) fn proto(&self, name: &str) -> proto::Tensor {
        let numbers = self.numbers();
        let (data_type, raw): (i32, Vec<u8>) = match self.kind {
            Kind::Float => (1, numbers.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()),
            Kind::Integer => (7, numbers.iter().flat_map(|&v| (v as i64).to_le_bytes()).collect()),
            Kind::Bool => (9, numbers.iter().map(|&v| u8::from(v != 0.0)).collect()),
            Kind::Narrow(narrow) => {
                let number = (1..32)
                    .find(|&i| Kind::of(i) == Some(self.kind))
                    .expect("every narrow type has a number");
                (number as i32, narrow.packed(&numbers))
            }
        };
        proto::Tensor {
            dims: self.dims.iter().map(|&d| d as i64).collect(),
            data_type,
            name: name.into(),
            raw_data: raw.into(),
            ..proto::Tensor::default()
        }
    }

    /// The same numbers with another type.
    pub(super) fn cast(&self, kind: Kind) -> Result<Array> {
        let convert: fn(f64) -> f64 = match (self.kind, kind) {
            (Kind::Float, Kind::Integer | Kind::Narrow(_)) => f64::trunc,
            (_, Kind::Bool) => |v| f64::from(v != 0.0),
            _ => return Ok(Array { kind, ..self.clone() }),
        };
        self.mapped(kind, convert)
    }

    /// A tensor of four extents. Weights of that rank are shared with every graph made of them.
    pub(super) fn tensor(&self, shape: Shape) -> Result<Arc<Tensor>> {
        match &self.data {
            Data::Weights(tensor) if tensor.shape() == shape => Ok(tensor.clone()),
            _ => Ok(Arc::new(Tensor::new(shape, self.floats().into_owned())?)),
        }
    }

    /// The elements of a view of this array.
    pub(super) fn viewed(&self, view: &View) -> Result<Array> {
        let dims = view.dims();
        if view.is_whole(self.len()) {
            return Ok(Array { dims, ..self.clone() });
        }
        room(&dims, self.len())?;
        self.picked(dims, view.indices())
    }

    /// The elements at these indices.
    pub(super) fn picked(&self, dims: Vec<usize>, places: impl Iterator<Item = usize>) -> Result<Array> {
        match &self.data {
            Data::Weights(tensor) => {
                let values = places.map(|i| tensor.data()[i]).collect();
                Ok(Array { kind: self.kind, ..Array::of_floats(dims, values)? })
            }
            Data::Numbers(n) => Array::new(dims, self.kind, places.map(|i| n[i]).collect()),
        }
    }

    /// Applies a function to every element.
    pub(super) fn mapped(&self, kind: Kind, f: impl Fn(f64) -> f64) -> Result<Array> {
        match (&self.data, kind) {
            (Data::Weights(tensor), Kind::Float) => Array::of_floats(
                self.dims.clone(),
                tensor.data().iter().map(|&v| f(f64::from(v)) as f32).collect(),
            ),
            (Data::Weights(tensor), _) => {
                Array::new(self.dims.clone(), kind, tensor.data().iter().map(|&v| f(f64::from(v))).collect())
            }
            (Data::Numbers(n), _) => Array::new(self.dims.clone(), kind, n.iter().map(|&v| f(v)).collect()),
        }
    }
}

/// The number of elements for these extents. Errors if there are too many axes, or if the product of the non-zero
/// extents overflows.
pub(super) fn extents(dims: &[usize]) -> Result<usize> {
    if dims.len() > RANK || dims.iter().fold(1, |n: usize, &d| n.saturating_mul(d.max(1))) > 1 << 48 {
        let got = format!("{} axes, {:?}", dims.len(), &dims[..dims.len().min(RANK)]);
        return Err(Error::shape("extents", format!("at most {RANK} axes of fewer than 2^48 elements"), got));
    }
    Ok(dims.iter().product())
}

/// Errors if a computed constant of these extents would be huge and larger than any of its operands.
pub(super) fn room(dims: &[usize], operands: usize) -> Result<()> {
    match extents(dims)? > MOST.max(operands) {
        true => {
            Err(Error::shape("computed constant", format!("at most {MOST} numbers"), format!("{dims:?}")))
        }
        false => Ok(()),
    }
}
