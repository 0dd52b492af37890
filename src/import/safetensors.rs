//! safetensors: this project's own format when `__metadata__` holds `unet.config` (and `unet.recipe`), else a plain
//! state dict whose architecture is inferred from its names and shapes.

use super::state_dict;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::Recipe;
use crate::tensor::{Shape, Tensor};
use crate::unet::{UnetConfig, Weights};
use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Longest header that is read, bytes. The format allows 100 MB; a U-Net's takes kilobytes, and parsing takes many
/// times the header's size.
const MAX_HEADER: u64 = 16 << 20;

/// Most characters of an error that tells of a file's contents.
const MAX_MESSAGE: usize = 400;

/// Reads a model file.
pub(crate) fn open(path: &Path) -> Result<Model> {
    let bytes = file_bytes(path)?;
    read(&bytes).map_err(|e| e.at(&path.display().to_string()))
}

/// The file's bytes. One that is no model, or not whole, is refused before all of it is read.
fn file_bytes(path: &Path) -> Result<Vec<u8>> {
    let at = |e: Error| one_line(e).at(&path.display().to_string());
    // Asked before opening: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "is a folder" } else { "is not a regular file" };
        return Err(Error::Model(format!("{}: {kind}; expected a safetensors file", path.display())));
    }
    let (mut file, len) = (File::open(path).map_err(Error::io(path))?, metadata.len());
    let mut bytes = Vec::new();
    let mut more = |bytes: &mut Vec<u8>, count: u64| {
        (&mut file).take(count).read_to_end(bytes).map(|_| ()).map_err(Error::io(path))
    };
    more(&mut bytes, 8)?;
    let header_bytes = header_len(&bytes, len).map_err(at)?;
    more(&mut bytes, header_bytes)?;
    header(&bytes[8..], len).map_err(at)?;
    more(&mut bytes, len - 8 - header_bytes)?;
    Ok(bytes)
}

/// Reads a model from the bytes of a file.
pub(crate) fn read(bytes: &[u8]) -> Result<Model> {
    parse(bytes).map_err(one_line)
}

fn parse(bytes: &[u8]) -> Result<Model> {
    let len = bytes.len() as u64;
    let data_start = 8 + header_len(bytes, len)? as usize;
    let header = header(&bytes[8..data_start], len)?;
    let data = &bytes[data_start..];
    let metadata = header.metadata().clone().unwrap_or_default();
    let infos = header.tensors();
    // PyTorch counts batches in every norm; nothing reads that at inference.
    let infos = infos.iter().filter(|(name, _)| !name.ends_with(".num_batches_tracked"));
    let tensors: BTreeMap<&str, &TensorInfo> = infos.map(|(name, &info)| (name.as_str(), info)).collect();

    let recipe: Recipe = json(&metadata, "unet.recipe")?.unwrap_or_default();
    let (config, names) = match json::<UnetConfig>(&metadata, "unet.config")? {
        Some(config) => (config, None),
        None => {
            let shapes = tensors.iter().map(|(&name, info)| (name, info.shape.as_slice())).collect();
            let (config, names) = state_dict::infer(&shapes)?;
            (config, Some(names))
        }
    };
    let mut weights = FileWeights { tensors, names, data };
    let graph = config.build(&mut weights)?;
    if let Some(extra) = weights.tensors.keys().next() {
        let count = weights.tensors.len();
        return Err(Error::Model(format!(
            "extra tensor {extra} ({count} in all) has no place in the architecture"
        )));
    }
    Ok(Model::new(graph, recipe).with_config(config))
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::Model(format!("not a readable safetensors file: {what} (is it complete?)"))
}

/// The header's length, which the first 8 bytes tell, in a file of `len` bytes.
fn header_len(bytes: &[u8], len: u64) -> Result<u64> {
    let first = bytes.first_chunk::<8>().ok_or_else(|| broken(format!("it has {} bytes", bytes.len())))?;
    match u64::from_le_bytes(*first) {
        claimed if claimed > MAX_HEADER => {
            Err(broken(format!("expected a header of at most {MAX_HEADER} bytes, got {claimed}")))
        }
        claimed if claimed + 8 > len => {
            Err(broken(format!("expected {claimed} bytes of header, got {}", len - 8)))
        }
        claimed => Ok(claimed),
    }
}

/// The header, whose tensors follow each other without gap or overlap to the end of a file of `len` bytes.
fn header(text: &[u8], len: u64) -> Result<Metadata> {
    serde_json::Deserializer::from_slice(text).deserialize_map(DistinctNames).map_err(broken)?;
    let metadata: Metadata = serde_json::from_slice(text).map_err(broken)?;
    let expected = (metadata.data_len() as u64).saturating_add(8 + text.len() as u64);
    if expected != len {
        return Err(broken(format!("expected {expected} bytes, got {len}")));
    }
    Ok(metadata)
}

/// Refuses a header that has a name twice: readers disagree on which of the two counts.
struct DistinctNames;

impl<'de> Visitor<'de> for DistinctNames {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format!("it has {name} twice")));
            }
        }
        Ok(())
    }
}

fn json<T: DeserializeOwned>(metadata: &HashMap<String, String>, key: &str) -> Result<Option<T>> {
    let parse = |text: &String| {
        serde_json::from_str(text)
            .map_err(|e| Error::Model(format!("the metadata entry {key} is not valid: {e}")))
    };
    metadata.get(key).map(parse).transpose()
}

/// The error as a line of bounded length, whatever names the file holds.
pub(super) fn one_line(error: Error) -> Error {
    let line = |text: String| {
        let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut line: String = characters.by_ref().take(MAX_MESSAGE).collect();
        if characters.next().is_some() {
            line.push('…');
        }
        line
    };
    match error {
        Error::Model(message) => Error::Model(line(message)),
        Error::Shape { what, expected, got } => {
            Error::Shape { what: line(what), expected: line(expected), got: line(got) }
        }
        other => other,
    }
}

/// Tensors of a file, each handed out once.
struct FileWeights<'a> {
    tensors: BTreeMap<&'a str, &'a TensorInfo>,
    /// The file's names for this project's, where they differ.
    names: Option<HashMap<String, String>>,
    /// The part of the file in which the tensors lie.
    data: &'a [u8],
}

impl Weights for FileWeights<'_> {
    fn tensor(&mut self, name: &str, shape: Shape) -> Result<Arc<Tensor>> {
        let ours = name;
        let name = self.names.as_ref().and_then(|names| names.get(ours)).map_or(ours, String::as_str);
        let Some(info) = self.tensors.remove(name) else {
            return Err(Error::Model(format!("missing tensor {name}, expected with shape {}", dims(shape))));
        };
        let full = [shape.n, shape.c, shape.h, shape.w];
        let rank = info.shape.len();
        // Trailing extents of 1 may be left out: a vector is (n), a linear layer (out, in).
        if rank > 4 || info.shape != full[..rank] || full[rank..].iter().any(|&e| e != 1) {
            let got = info.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            return Err(Error::shape(format!("tensor {name}"), dims(shape), format!("({got})")));
        }
        let (start, end) = info.data_offsets;
        let tensor = Tensor::new(shape, numbers(name, info.dtype, &self.data[start..end])?)?;
        if let Some(v) = tensor.data().iter().find(|v| !v.is_finite()) {
            return Err(Error::Model(format!("tensor {name} holds {v}; weights must be finite")));
        }
        if ours.ends_with("running_var")
            && let Some(v) = tensor.data().iter().find(|v| **v < 0.0)
        {
            return Err(Error::Model(format!("tensor {name} holds {v}; a variance is not negative")));
        }
        Ok(Arc::new(tensor))
    }
}

/// A shape without its trailing ones.
fn dims(shape: Shape) -> String {
    let mut extents = vec![shape.n, shape.c, shape.h, shape.w];
    while extents.len() > 1 && extents.last() == Some(&1) {
        extents.pop();
    }
    format!("({})", extents.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

fn numbers(name: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>> {
    Ok(match dtype {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => {
            bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        Dtype::BF16 => {
            bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        other => {
            return Err(Error::Model(format!(
                "tensor {name} has dtype {other:?}; expected F32, F16 or BF16"
            )));
        }
    })
}
