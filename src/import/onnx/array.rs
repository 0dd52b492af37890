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
    /// Weights. A tensor of four extents keeps its shape; all others are flat.
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

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Weights(tensor) => tensor.data().len(),
            Data::Numbers(numbers) => numbers.len(),
        }
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
            Data::Weights(tensor) if tensor.data().len() > 16 => Some(tensor.clone()),
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
            (Kind::Float, Kind::Integer) => f64::trunc,
            (Kind::Float | Kind::Integer, Kind::Bool) => |v| f64::from(v != 0.0),
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
            let mut same = self.clone();
            if let (Data::Weights(tensor), true) = (&self.data, dims != self.dims) {
                same = Array::of_floats(dims.clone(), tensor.data().to_vec())?;
            }
            return Ok(Array { dims, ..same });
        }
        room(&dims, self.len())?;
        self.picked(dims, view.indices())
    }

    /// The elements at these indices.
    pub(super) fn picked(&self, dims: Vec<usize>, places: impl Iterator<Item = usize>) -> Result<Array> {
        match &self.data {
            Data::Weights(tensor) => Array::of_floats(dims, places.map(|i| tensor.data()[i]).collect()),
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
