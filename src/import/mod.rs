//! Reading model files, one file a format. Every reader takes hostile bytes: a typed error, never a panic.
//!
//! Formats that hold tensors alone give a [`StateDict`](tensors::StateDict), and [`families`] tells from names and
//! shapes what network they belong to.

pub(crate) mod bundle;
mod families;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;
#[cfg(feature = "pickle")]
mod pickle;
mod safetensors;
#[cfg(feature = "recipes")]
mod sidecar;
mod tensors;
mod tza;

use crate::error::{Error, Result};
use crate::model::Model;
use ::safetensors::Dtype;
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::Path;
use tensors::{Source, StateDict, Stored};

/// Most characters of an error that tells of a file's contents.
const MAX_MESSAGE: usize = 400;

/// Reads a model file, and what files beside it tell of its use.
pub(crate) fn open(path: &Path, recipe: Option<&Path>) -> Result<Model> {
    open_by(path, recipe, file)
}

/// The same with a reader of one format.
fn open_by(path: &Path, recipe: Option<&Path>, read: impl FnOnce(&Path) -> Result<Model>) -> Result<Model> {
    #[cfg(feature = "recipes")]
    return sidecar::open(path, recipe, read);
    #[cfg(not(feature = "recipes"))]
    {
        let _ = recipe;
        read(path)
    }
}

/// Reads an ONNX file, all but one of whose inputs get fixed values, and what files beside it tell.
#[cfg(feature = "onnx")]
pub(crate) fn open_onnx(path: &Path, bound: &[onnx::Bound]) -> Result<Model> {
    open_by(path, None, |path| onnx::open(path, bound))
}

/// Reads the bytes of an ONNX file, all but one of whose inputs get fixed values.
#[cfg(feature = "onnx")]
pub(crate) fn from_onnx(bytes: &[u8], bound: &[onnx::Bound]) -> Result<Model> {
    let model = onnx::read(bytes, bound)?;
    #[cfg(feature = "recipes")]
    let model = sidecar::noted(model)?;
    Ok(model)
}

/// Kinds of weights that can be read, by their names in bioimage.io descriptions.
#[cfg(feature = "recipes")]
fn file_kinds() -> &'static [&'static str] {
    match (cfg!(feature = "onnx"), cfg!(feature = "pickle")) {
        (true, true) => &["onnx", "pytorch_state_dict", "torchscript"],
        (true, false) => &["onnx"],
        (false, true) => &["pytorch_state_dict", "torchscript"],
        (false, false) => &[],
    }
}

/// Reads a model file of any known format, told apart by its first bytes.
fn file(path: &Path) -> Result<Model> {
    // Asked before opening: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "is a folder" } else { "is not a regular file" };
        return Err(Error::Model(format!("{}: {kind}; expected a model file", path.display())));
    }
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut first = Vec::new();
    (&mut file).take(16).read_to_end(&mut first).map_err(Error::io(path))?;
    #[cfg(feature = "onnx")]
    if onnx::is_onnx(&first) {
        return onnx::open(path, &[]);
    }
    file.rewind().map_err(Error::io(path))?;
    read(Box::new(file), &first, metadata.len(), path)
        .map_err(|e| one_line(e).at(&path.display().to_string()))
}

/// Reads a file of `len` bytes that begins with `first` and lies at `path`.
fn read(source: Box<dyn Source>, first: &[u8], len: u64, path: &Path) -> Result<Model> {
    let folder = path.parent();
    #[cfg(feature = "pickle")]
    if pickle::is_pytorch(first) {
        return pickle::read(source, len, folder);
    }
    if tza::is_tza(first) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return tza::read(source, len, &name);
    }
    safetensors::read(source, len, folder)
}

/// Reads the bytes of a safetensors file.
pub(crate) fn from_safetensors(bytes: &[u8]) -> Result<Model> {
    safetensors::read(Box::new(Cursor::new(bytes)), bytes.len() as u64, None).map_err(one_line)
}

/// Reads the bytes of a weight file of Open Image Denoise.
pub(crate) fn from_tza(bytes: &[u8]) -> Result<Model> {
    tza::read(Box::new(Cursor::new(bytes)), bytes.len() as u64, "").map_err(one_line)
}

/// Reads the bytes of a PyTorch file.
#[cfg(feature = "pickle")]
pub(crate) fn from_pytorch(bytes: &[u8]) -> Result<Model> {
    pickle::read(Box::new(Cursor::new(bytes)), bytes.len() as u64, None).map_err(one_line)
}

/// Builds the network that tensors in memory belong to.
pub(crate) fn from_state_dict<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
) -> Result<Model> {
    let (mut bytes, mut stored) = (Vec::new(), Vec::new());
    for (name, shape, values) in tensors {
        let tensor = Stored::contiguous(Dtype::F32, shape, bytes.len() as u64);
        if tensor.extent().is_none_or(|(count, _)| count != values.len()) {
            let expected = format!("as many values as {shape:?} has");
            return Err(one_line(Error::shape(format!("tensor {name}"), expected, values.len())));
        }
        bytes.extend_from_slice(bytemuck::cast_slice(values));
        stored.push((name.to_string(), tensor));
    }
    let len = bytes.len() as u64;
    families::recognise(&mut StateDict::new(Box::new(Cursor::new(bytes)), len, stored)).map_err(one_line)
}

/// The error as a line of bounded length, whatever names the file holds.
fn one_line(error: Error) -> Error {
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
