//! The tensors of a file by name, for every format. Numbers are read when a network asks for them.

use super::reparam::{self, Reparam};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use ::safetensors::Dtype;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

/// Longest JSON file beside a model that is read, bytes.
const MAX_SIDECAR: u64 = 16 << 20;

/// The bytes of a file or a buffer.
pub(crate) trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// The location of a tensor's numbers.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Distance in elements between neighbours along each axis.
    pub(crate) strides: Vec<usize>,
    /// Offset of the first element in the file, bytes.
    pub(crate) place: u64,
    /// What makes these numbers a weight, if they are only a part of one.
    pub(super) reparam: Option<Box<Reparam>>,
    /// The tensor's position among those of the file.
    pub(crate) order: usize,
}

impl Stored {
    /// A contiguous tensor; the last axis is the fastest.
    pub(crate) fn contiguous(dtype: Dtype, shape: &[usize], place: u64) -> Stored {
        Stored { dtype, shape: shape.into(), strides: contiguous(shape), place, reparam: None, order: 0 }
    }

    /// Number of elements, and the distance from the first to the last of them plus one. `None` if either overflows.
    pub(crate) fn extent(&self) -> Option<(usize, usize)> {
        let count = self.shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
        let span = self.shape.iter().zip(&self.strides).try_fold(1usize, |span, (&size, &stride)| {
            size.saturating_sub(1).checked_mul(stride)?.checked_add(span)
        })?;
        Some((count, if count == 0 { 0 } else { span }))
    }
}

/// The strides of a tensor whose last axis is the fastest.
fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = shape[axis].saturating_mul(strides[axis]);
    }
    strides
}

/// Names of wrappers that PyTorch puts around modules, anywhere in a name.
const WRAPPERS: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];

/// Tensors by name, and other values of the file.
pub(crate) struct StateDict<'a> {
    source: Box<dyn Source + 'a>,
    tensors: BTreeMap<String, Stored>,
    /// Elements that may still be read. Views would let a small file describe tensors without end.
    budget: u64,
    /// Plain values by name: epochs, class values, hyper-parameters.
    pub(crate) values: Map<String, Value>,
    /// The prefix of the tensors that are being read.
    scope: String,
    /// The folder of the file, if it is a file.
    pub(crate) folder: Option<PathBuf>,
    /// The part of the file that a caller chose, if the file holds several networks.
    pub(crate) part: Option<String>,
}

impl<'a> StateDict<'a> {
    /// The tensors of a file of `len` bytes.
    pub(crate) fn new(
        source: Box<dyn Source + 'a>,
        len: u64,
        tensors: impl IntoIterator<Item = (String, Stored)>,
    ) -> StateDict<'a> {
        // PyTorch counts batches in every norm; inference does not use the count.
        let tensors = tensors.into_iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
        let bare = |(order, (name, stored)): (usize, (String, Stored))| {
            let name = WRAPPERS.iter().fold(name, |name, wrapper| name.replace(wrapper, ""));
            (name, Stored { order, ..stored })
        };
        let mut tensors = tensors.enumerate().map(bare).collect();
        reparam::join(&mut tensors);
        // 16-bit numbers become 32-bit ones, which doubles the size.
        let budget = len.saturating_mul(2).saturating_add(16 << 20) / 4;
        StateDict {
            source,
            tensors,
            budget,
            values: Map::new(),
            scope: String::new(),
            folder: None,
            part: None,
        }
    }

    /// A plain value of the file; the one nearest to the tensors counts.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        let (mut values, mut found) = (&self.values, self.values.get(key));
        for word in self.scope.split_terminator('.') {
            let Some(Value::Object(inner)) = values.get(word) else { break };
            (values, found) = (inner, inner.get(key).or(found));
        }
        found
    }

    /// Puts a tensor in the place of another.
    pub(crate) fn replace(&mut self, name: String, stored: Stored) {
        self.tensors.insert(name, stored);
    }

    /// Removes a tensor.
    pub(crate) fn remove(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// The tensors that are not yet taken.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), stored))
    }

    /// The tensors below a prefix, under the rest of their names.
    pub(crate) fn below(&self, prefix: &str) -> BTreeMap<String, Stored> {
        let all = self.tensors.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        all.map_while(|(name, stored)| Some((name.strip_prefix(prefix)?.to_string(), stored.clone())))
            .collect()
    }

    /// What `read` makes of the tensors below a prefix, which it sees under the rest of their names, and the names of
    /// those that it took. If it makes nothing, all tensors stay.
    pub(crate) fn within<T>(
        &mut self,
        prefix: &str,
        read: impl FnOnce(&mut Self) -> Result<Option<T>>,
    ) -> Result<Option<(T, BTreeMap<String, Stored>)>> {
        let mut part = self.below(prefix);
        let others = std::mem::replace(&mut self.tensors, part.clone());
        self.scope = prefix.into();
        let made = read(self);
        self.scope.clear();
        let left = std::mem::replace(&mut self.tensors, others);
        if matches!(made, Ok(Some(_))) {
            part.retain(|name, _| !left.contains_key(name));
            part.keys().for_each(|name| self.remove(&format!("{prefix}{name}")));
        }
        Ok(made?.map(|made| (made, part)))
    }

    /// All prefixes of names, each with its dot, and the empty one.
    pub(crate) fn prefixes(&self) -> BTreeSet<String> {
        let of = |name: &'_ String| -> Vec<String> {
            name.match_indices('.').map(|(dot, _)| name[..=dot].to_string()).collect()
        };
        self.tensors.keys().flat_map(of).chain([String::new()]).collect()
    }

    /// The longest prefix of all names.
    pub(crate) fn common_prefix(&self) -> String {
        let Some((first, last)) = self.tensors.keys().next().zip(self.tensors.keys().next_back()) else {
            return String::new();
        };
        // Names are sorted: what the first and the last share, all share.
        let shared = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        first.as_bytes()[..shared]
            .iter()
            .rposition(|&b| b == b'.')
            .map_or("", |dot| &first[..=dot])
            .to_string()
    }

    /// Names of the tensors that are not yet taken.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shapes of the tensors that are not yet taken.
    pub(crate) fn shapes(&self) -> BTreeMap<&str, &[usize]> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), stored.shape.as_slice())).collect()
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Removes tensors that the network does not need.
    pub(crate) fn discard(&mut self, is_unneeded: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !is_unneeded(name));
    }

    /// Takes the tensor of that name and shape. The file may omit trailing extents of 1: a vector is (n), a linear
    /// layer (out, in).
    pub(crate) fn take(&mut self, name: &str, shape: Shape) -> Result<Arc<Tensor>> {
        let missing = || Error::Model(format!("missing tensor {name}, expected with shape {}", dims(shape)));
        let stored = self.tensors.remove(name).ok_or_else(missing)?;
        let (full, rank) = ([shape.n, shape.c, shape.h, shape.w], stored.shape.len());
        if rank > 4 || stored.shape != full[..rank] || full[rank..].iter().any(|&e| e != 1) {
            return Err(Error::shape(format!("tensor {name}"), dims(shape), list(&stored.shape)));
        }
        self.read(name, shape, &stored)
    }

    /// Takes the weights of a convolution, with the 4 extents of the file, or of a linear layer (out, in).
    pub(crate) fn take_kernel(&mut self, name: &str) -> Result<Arc<Tensor>> {
        match self.shape(name) {
            None => Err(Error::Model(format!("missing tensor {name}"))),
            Some(&[n, c, h, w]) => self.take(name, Shape::new(n, c, h, w)),
            Some(&[n, c]) => self.take(name, Shape::new(n, c, 1, 1)),
            Some(&[_, _, _, _, _]) => {
                Err(Error::Model(format!("tensor {name} has 5 extents: 3-D networks are not supported")))
            }
            Some(other) => Err(Error::shape(format!("tensor {name}"), "4 extents", list(other))),
        }
    }

    /// Takes a tensor of bytes.
    #[cfg(feature = "onnx")]
    pub(crate) fn take_bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        let stored =
            self.tensors.remove(name).filter(|stored| stored.dtype == Dtype::U8 && stored.shape.len() == 1);
        let stored =
            stored.ok_or_else(|| Error::Model(format!("missing tensor {name}, expected with bytes")))?;
        let broken = |e| Error::Model(format!("tensor {name} cannot be read: {e} (is the file complete?)"));
        let mut bytes = Vec::new();
        self.source.seek(SeekFrom::Start(stored.place)).map_err(broken)?;
        (&mut self.source).take(stored.shape[0] as u64).read_to_end(&mut bytes).map_err(broken)?;
        Ok(bytes)
    }

    /// The numbers of a tensor of any shape, in index order. It stays.
    #[cfg(feature = "onnx")]
    pub(crate) fn floats(&mut self, name: &str) -> Result<Vec<f32>> {
        let stored = self.tensors.get(name).cloned();
        let stored = stored.ok_or_else(|| Error::Model(format!("missing tensor {name}")))?;
        self.weight(name, &stored)
    }

    /// Takes a vector of any length.
    pub(crate) fn take_vector(&mut self, name: &str) -> Result<Arc<[f32]>> {
        match self.shape(name) {
            None => Err(Error::Model(format!("missing tensor {name}"))),
            Some(&[len]) => Ok(self.take(name, Shape::new(len, 1, 1, 1))?.data().into()),
            Some(other) => Err(Error::shape(format!("tensor {name}"), "1 extent", list(other))),
        }
    }

    /// Errors with the first tensor that the architecture does not use.
    pub(crate) fn check_all_taken(&self) -> Result<()> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(extra) => Err(Error::Model(format!(
                "extra tensor {extra} ({} in all) has no place in the architecture",
                self.tensors.len()
            ))),
        }
    }

    /// Reads a JSON file near the model, by its path from the model's folder; `None` if it does not exist.
    pub(crate) fn sidecar(&self, path: &str) -> Result<Option<Value>> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(path)) else { return Ok(None) };
        if !std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= MAX_SIDECAR) {
            return Ok(None);
        }
        let text = std::fs::read(&path).map_err(Error::io(&path))?;
        let broken = |e| Error::Model(format!("{} beside the model is not valid: {e}", path.display()));
        serde_json::from_slice(&text).map(Some).map_err(broken)
    }

    fn read(&mut self, name: &str, shape: Shape, stored: &Stored) -> Result<Arc<Tensor>> {
        shape.check(&format!("tensor {name}"))?;
        let tensor = Tensor::new(shape, self.weight(name, stored)?)?;
        if name.ends_with("running_var")
            && let Some(v) = tensor.data().iter().find(|v| **v < 0.0)
        {
            return Err(Error::Model(format!("tensor {name} holds {v}; a variance is not negative")));
        }
        Ok(Arc::new(tensor))
    }

    /// The numbers of a weight in index order, joined from its parts.
    fn weight(&mut self, name: &str, stored: &Stored) -> Result<Vec<f32>> {
        let mut data = self.numbers(name, stored)?;
        if let Some(reparam) = &stored.reparam {
            let joined = match &**reparam {
                Reparam::WeightNorm { g } => {
                    let numbers = self.numbers(name, g)?;
                    reparam::weight_norm(&data, &stored.shape, &numbers, &g.shape)
                }
                Reparam::SpectralNorm { u, v } => {
                    let [u, v] = [self.numbers(name, u)?, self.numbers(name, v)?];
                    reparam::spectral_norm(&data, &stored.shape, &u, &v)
                }
            };
            data = joined.ok_or_else(|| {
                Error::Model(format!("the parts of tensor {name} (weight norm or spectral norm) do not fit"))
            })?;
        }
        if let Some(v) = data.iter().find(|v| !v.is_finite()) {
            return Err(Error::Model(format!("tensor {name} holds {v}; weights must be finite")));
        }
        Ok(data)
    }

    /// The numbers of a tensor in index order.
    fn numbers(&mut self, name: &str, stored: &Stored) -> Result<Vec<f32>> {
        let broken = |what: &str| Error::Model(format!("tensor {name} {what} (is the file complete?)"));
        let (count, span) = stored.extent().ok_or_else(|| broken("is too large"))?;
        self.budget = self
            .budget
            .checked_sub(count as u64)
            .ok_or_else(|| broken("repeats the file's numbers too often"))?;
        let bytes = span.checked_mul(stored.dtype.bitsize() / 8).ok_or_else(|| broken("is too large"))?;
        let mut raw = Vec::new();
        let read = self.source.seek(SeekFrom::Start(stored.place));
        read.and_then(|_| (&mut self.source).take(bytes as u64).read_to_end(&mut raw))
            .map_err(|e| broken(&format!("cannot be read: {e}")))?;
        if raw.len() != bytes {
            return Err(broken("is cut off"));
        }
        let dense = numbers(name, stored.dtype, &raw)?;
        drop(raw);
        let is_contiguous = stored.strides == contiguous(&stored.shape);
        Ok(if is_contiguous { dense } else { gather(&dense, stored, count) })
    }
}

/// The elements of a strided view in index order.
fn gather(dense: &[f32], stored: &Stored, count: usize) -> Vec<f32> {
    let mut index = vec![0; stored.shape.len()];
    let mut place = 0;
    let mut data = Vec::with_capacity(count);
    for _ in 0..count {
        data.push(dense[place]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            place += stored.strides[axis];
            if index[axis] < stored.shape[axis] {
                break;
            }
            place -= index[axis] * stored.strides[axis];
            index[axis] = 0;
        }
    }
    data
}

/// A shape without trailing ones.
fn dims(shape: Shape) -> String {
    let mut extents = vec![shape.n, shape.c, shape.h, shape.w];
    while extents.len() > 1 && extents.last() == Some(&1) {
        extents.pop();
    }
    list(&extents)
}

fn list(extents: &[usize]) -> String {
    format!("({})", extents.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

fn numbers(name: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>> {
    let (pairs, quads) = (bytes.as_chunks::<2>().0.iter(), bytes.as_chunks::<4>().0.iter());
    Ok(match dtype {
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F32 => quads.map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F16 => pairs.map(|&b| half::f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => pairs.map(|&b| half::bf16::from_le_bytes(b).to_f32()).collect(),
        other => {
            return Err(Error::Model(format!(
                "tensor {name} has dtype {other:?}; expected F64, F32, F16 or BF16"
            )));
        }
    })
}
