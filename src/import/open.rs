//! Opening a model file of any format, with the files beside it that describe its use.

use super::tensors::Source;
use super::{safetensors, tza};
use crate::error::{Error, Result};
use crate::model::Model;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

impl Model {
    /// Reads a model file: safetensors; Open Image Denoise's weights (`.tza`); with the feature `onnx`, ONNX; with the
    /// feature `pickle`, what PyTorch saves (`.pth`, `.pt`, `.ckpt`: zip archives, the format before them, TorchScript's
    /// tensors), without running any of it.
    ///
    /// With the feature `recipes`, `MODEL.toml` and a bioimage.io description beside the file complete its recipe, and
    /// the description may be named instead of the file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Model`] naming what in it is wrong. A file that is no model,
    /// or not whole, is refused before all of it is read.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        with_sidecars(path.as_ref(), None, file)
    }

    /// The same with a recipe's file, TOML, instead of `MODEL.toml`. Its fields come before all others.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(feature = "recipes")]
    pub fn open_with_recipe(path: impl AsRef<Path>, recipe: impl AsRef<Path>) -> Result<Model> {
        with_sidecars(path.as_ref(), Some(recipe.as_ref()), file)
    }

    /// Reads an ONNX file of several inputs, some of which get fixed values.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Error::Shape`] when the file has no input of such a name.
    #[cfg(feature = "onnx")]
    pub fn open_onnx_bound(path: impl AsRef<Path>, bound: &[super::onnx::Bound]) -> Result<Model> {
        with_sidecars(path.as_ref(), None, |path| super::onnx::open(path, bound))
    }
}

/// Reads a model and completes its recipe from the files beside it.
fn with_sidecars(
    path: &Path,
    recipe: Option<&Path>,
    read: impl FnOnce(&Path) -> Result<Model>,
) -> Result<Model> {
    #[cfg(feature = "recipes")]
    return super::sidecar::open(path, recipe, read);
    #[cfg(not(feature = "recipes"))]
    {
        let _ = recipe;
        read(path)
    }
}

/// Reads a model file, whose first bytes tell its format.
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
    if super::onnx::is_onnx(&first) {
        return super::onnx::open(path, &[]);
    }
    file.rewind().map_err(Error::io(path))?;
    read(Box::new(file), &first, metadata.len(), path)
        .map_err(|e| e.one_line().at(&path.display().to_string()))
}

/// Reads a file of `len` bytes that begins with `first` and lies at `path`.
fn read(source: Box<dyn Source>, first: &[u8], len: u64, path: &Path) -> Result<Model> {
    let folder = path.parent();
    #[cfg(feature = "pickle")]
    if super::pickle::is_pytorch(first) {
        return super::pickle::read(source, len, folder);
    }
    if tza::is_tza(first) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return tza::read(source, len, &name);
    }
    safetensors::read(source, len, folder)
}
