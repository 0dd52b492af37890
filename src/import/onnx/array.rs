//! Constants: weights, and the small numbers that shapes are computed from.

use super::proto;
use super::view::{View, product};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use std::borrow::Cow;
use std::collections::hash_map::{Entry, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most elements of a constant that is computed from others, so that a few bytes cannot ask for gigabytes.
const MOST: usize = 1 << 21;

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
    /// Weights; a tensor of four extents has its own, all others are flat.
    Weights(Arc<Tensor>),
    Numbers(Arc<[f64]>),
}

impl Array {
    /// A computed constant. Errors when it would be huge.
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

    fn of_floats(dims: Vec<usize>, values: Vec<f32>) -> Result<Array> {
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

    /// Whole numbers; those past an `i64` (as exporters write for "to the end") saturate.
    pub(super) fn ints(&self) -> Vec<i64> {
        self.numbers().iter().map(|&v| v as i64).collect()
    }

    /// The numbers, when they are more than a few.
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

    /// As ONNX keeps it; [`read`] gives the same back.
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

    /// The same numbers as another type.
    pub(super) fn cast(&self, kind: Kind) -> Result<Array> {
        let convert: fn(f64) -> f64 = match (self.kind, kind) {
            (Kind::Float, Kind::Integer) => f64::trunc,
            (Kind::Float | Kind::Integer, Kind::Bool) => |v| f64::from(v != 0.0),
            _ => return Ok(Array { kind, ..self.clone() }),
        };
        self.mapped(kind, convert)
    }

    /// Four extents, which weights of that rank share with every graph made of them.
    pub(super) fn tensor(&self, shape: Shape) -> Result<Arc<Tensor>> {
        match &self.data {
            Data::Weights(tensor) if tensor.shape() == shape => Ok(tensor.clone()),
            _ => Ok(Arc::new(Tensor::new(shape, self.floats().into_owned())?)),
        }
    }

    /// The elements that a view of this one shows.
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

    /// The elements at these places.
    pub(super) fn picked(&self, dims: Vec<usize>, places: impl Iterator<Item = usize>) -> Result<Array> {
        match &self.data {
            Data::Weights(tensor) => Array::of_floats(dims, places.map(|i| tensor.data()[i]).collect()),
            Data::Numbers(n) => Array::new(dims, self.kind, places.map(|i| n[i]).collect()),
        }
    }

    /// A function of every element.
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

/// The elements of a tensor of these extents. Errors when there are too many axes, or empty ones hide extents that no
/// product of which fits.
pub(super) fn extents(dims: &[usize]) -> Result<usize> {
    if dims.len() > RANK || dims.iter().fold(1, |n: usize, &d| n.saturating_mul(d.max(1))) > 1 << 48 {
        let got = format!("{} axes, {:?}", dims.len(), &dims[..dims.len().min(RANK)]);
        return Err(Error::shape("extents", format!("at most {RANK} axes of fewer than 2^48 elements"), got));
    }
    Ok(dims.iter().product())
}

/// Errors when a computed constant of these extents would be larger than any of its operands and huge.
pub(super) fn room(dims: &[usize], operands: usize) -> Result<()> {
    match extents(dims)? > MOST.max(operands) {
        true => {
            Err(Error::shape("computed constant", format!("at most {MOST} numbers"), format!("{dims:?}")))
        }
        false => Ok(()),
    }
}

/// Files beside the model that hold its large tensors.
#[derive(Debug, Default)]
pub(super) struct External {
    folder: Option<PathBuf>,
    open: HashMap<String, Beside>,
}

/// An open file beside the model.
#[derive(Debug)]
struct Beside {
    file: File,
    size: u64,
    /// Bytes that may still be read: tensors may share some, but not let a small model take any amount of memory.
    left: u64,
}

impl External {
    pub(super) fn beside(model: &Path) -> External {
        External {
            folder: Some(model.parent().unwrap_or(Path::new("")).to_path_buf()),
            ..External::default()
        }
    }

    /// The bytes of a tensor: `expected` of them, from the file and the place that it names.
    fn read(&mut self, tensor: &proto::Tensor, expected: usize) -> Result<Vec<u8>> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let location = entry("location").unwrap_or_default();
        let plain = |part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
        if location.is_empty() || !Path::new(location).components().all(plain) {
            return Err(Error::Model(format!(
                "its data is in {location:?}; expected a file beside the model"
            )));
        }
        let folder = self.folder.as_ref().ok_or_else(|| {
            Error::Model(format!("its data is in the file {location}; open the model by its path"))
        })?;
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => {
                text.parse::<u64>().map(Some).map_err(|_| Error::shape(key, "a number", format!("{text:?}")))
            }
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|length| length != expected as u64) {
            return Err(Error::shape("length", format!("{expected} bytes"), length.unwrap_or(0)));
        }
        let path = folder.join(location);
        let beside = match self.open.entry(location.to_string()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // Asked before opening: opening a pipe would wait for its writer.
                if !std::fs::metadata(&path).map_err(Error::io(&path))?.is_file() {
                    return Err(Error::Model(format!(
                        "its data is in {location}, which is not a regular file"
                    )));
                }
                let file = File::open(&path).map_err(Error::io(&path))?;
                let size = file.metadata().map_err(Error::io(&path))?.len();
                entry.insert(Beside { file, size, left: size.saturating_mul(2) })
            }
        };
        if offset.saturating_add(expected as u64) > beside.size {
            let expected = format!("{expected} bytes at {offset}");
            let got = format!("a file of {} bytes (is it complete?)", beside.size);
            return Err(Error::shape(location, expected, got));
        }
        let too_often =
            || Error::Model(format!("tensors take the bytes of {location} more often than twice"));
        beside.left = beside.left.checked_sub(expected as u64).ok_or_else(too_often)?;
        let mut bytes = vec![0; expected];
        let file = &mut beside.file;
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(Error::io(&path))?;
        Ok(bytes)
    }
}

/// A tensor of the file. Errors name it when its numbers are of an unknown type or not all there.
pub(super) fn read(tensor: &proto::Tensor, external: &mut External) -> Result<Array> {
    values(tensor, external).map_err(|e| e.at(&format!("tensor {}", tensor.name)))
}

fn values(tensor: &proto::Tensor, external: &mut External) -> Result<Array> {
    let dims = tensor.dims.iter().map(|&d| super::node::extent(d)).collect::<Result<Vec<_>>>()?;
    let elements = extents(&dims)?;
    let (size, kind) = match tensor.data_type {
        1 => (4, Kind::Float),
        2 | 3 => (1, Kind::Integer),
        6 => (4, Kind::Integer),
        7 => (8, Kind::Integer),
        9 => (1, Kind::Bool),
        10 | 16 => (2, Kind::Float),
        11 => (8, Kind::Float),
        other => {
            let expected = "f16, bf16, f32, f64, i8, u8, i32, i64 or bool";
            return Err(Error::shape("data type", expected, format!("number {other} of ONNX's list")));
        }
    };
    // They take 8 bytes each in memory; no arithmetic on shapes needs millions.
    if kind != Kind::Float && elements > MOST {
        return Err(Error::shape("data", format!("at most {MOST} whole numbers"), elements));
    }
    let outside;
    let raw: &[u8] = match tensor.data_location {
        0 => &tensor.raw_data,
        _ => {
            outside = external.read(tensor, elements.saturating_mul(size))?;
            &outside
        }
    };
    if !raw.is_empty() && raw.len() != elements.saturating_mul(size) {
        return Err(Error::shape(
            "data",
            format!("{elements} numbers of {size} bytes"),
            format!("{} bytes", raw.len()),
        ));
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
        // Infinities stand for absent bounds; nothing stands for NaN.
        if values.iter().any(|v| v.is_nan()) {
            return Err(Error::shape("data", "numbers", "NaN"));
        }
        return Array::of_floats(dims, values);
    }
    let numbers: Vec<f64> = match (tensor.data_type, raw.is_empty()) {
        (2 | 9, false) => raw.iter().map(|&b| f64::from(b)).collect(),
        (3, false) => raw.iter().map(|&b| f64::from(b as i8)).collect(),
        (6, false) => raw.chunks_exact(4).map(|b| f64::from(word(b) as i32)).collect(),
        (7, false) => raw.chunks_exact(8).map(|b| long(b) as i64 as f64).collect(),
        (7, true) => tensor.int64_data.iter().map(|&v| v as f64).collect(),
        _ => fields.iter().map(|&v| f64::from(v)).collect(),
    };
    Array::new(dims, kind, numbers)
}
