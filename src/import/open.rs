//! Opening a model file of any format, with the files beside it that describe its use.

use super::tensors::Source;
#[cfg(feature = "onnx")]
use super::tensors::StateDict;
use super::{foreign, safetensors, tza};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::network::{Choice, FixedInput};
use crate::recipe::Recipe;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

impl Model {
    /// Reads a model file: safetensors; Open Image Denoise's weights (`.tza`); with the feature `onnx`, ONNX and ncnn
    /// (`.param` with its `.bin` beside it); with the feature `pickle`, what PyTorch saves (`.pth`, `.pt`, `.ckpt`: zip archives, the format before them,
    /// TorchScript's tensors), without running any of it.
    ///
    /// With the feature `recipes`, `MODEL.toml` and a bioimage.io description beside the file complete its recipe, and
    /// the description may be named instead of the file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Model`] naming what in it is wrong. A file that is no
    /// model, or not whole, is refused before all of it is read.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        Model::open_with(path, &OpenOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Error::UnknownName`] when the options name an input or output that there is not.
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Model> {
        let path = path.as_ref();
        #[cfg(feature = "recipes")]
        let model = super::sidecar::open(path, options.recipe.as_deref(), |path, recipe| {
            file(path, options, recipe)
        })?;
        #[cfg(not(feature = "recipes"))]
        let model = match &options.recipe {
            Some(_) => {
                return Err(Error::Usage("recipes are read with the feature recipes; build with it".into()));
            }
            None => file(path, options, &Recipe::default())?,
        };
        model.with_scale().map_err(|e| e.at(&path.display().to_string()))
    }
}

/// How a model is opened.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// A recipe's file, TOML, instead of `MODEL.toml`. Its fields come before all others.
    pub recipe: Option<PathBuf>,
    /// Inputs that get fixed values. What depends on them alone is computed once, while the model is read.
    pub inputs: Vec<FixedInput>,
    /// The output that is the result: its name, or its place in the file, from 0. Absent, sizes and names decide.
    pub result: Option<String>,
    /// The part of a checkpoint that is the network, by the beginning of its tensors' names. For a file that holds
    /// several networks.
    pub part: Option<String>,
    /// An ONNX export of the code that a state dict belongs to. Its graph gets the numbers of the state dict.
    #[cfg(feature = "onnx")]
    pub like: Option<PathBuf>,
}

impl OpenOptions {
    /// The same with a recipe's file.
    pub fn with_recipe(self, file: impl Into<PathBuf>) -> OpenOptions {
        OpenOptions { recipe: Some(file.into()), ..self }
    }

    /// The same with one more input that gets a fixed value.
    pub fn with_input(mut self, input: FixedInput) -> OpenOptions {
        self.inputs.push(input);
        self
    }

    /// The same with the part of a checkpoint that is the network.
    pub fn with_part(self, name: impl Into<String>) -> OpenOptions {
        OpenOptions { part: Some(name.into()), ..self }
    }

    /// The same with an ONNX export whose graph gets the numbers of the state dict.
    #[cfg(feature = "onnx")]
    pub fn with_like(self, export: impl Into<PathBuf>) -> OpenOptions {
        OpenOptions { like: Some(export.into()), ..self }
    }

    /// The same with an output that is the result.
    pub fn with_result(self, name: impl Into<String>) -> OpenOptions {
        OpenOptions { result: Some(name.into()), ..self }
    }
}

/// Reads a model file, whose first bytes tell its format. Of the hand-written recipe, what it says of the network's
/// inputs and outputs is used.
fn file(path: &Path, options: &OpenOptions, recipe: &Recipe) -> Result<Model> {
    let choice = Choice {
        carry: recipe.carry.as_deref(),
        result: options.result.as_deref().or(recipe.output.name.as_deref()),
        inputs: &options.inputs,
        border: recipe.input.border,
        outside: recipe.input.outside(),
    };
    // Asked before opening: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    let at_path = |e: Error| e.one_line().at(&path.display().to_string());
    if metadata.is_dir() {
        return Err(at_path(foreign::folder(path)));
    }
    if !metadata.is_file() {
        return Err(at_path(Error::Model("is not a regular file; expected a model file".into())));
    }
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut first = Vec::new();
    (&mut file).take(foreign::FIRST as u64).read_to_end(&mut first).map_err(Error::io(path))?;
    if let Some(error) = foreign::file(path, &first) {
        return Err(at_path(error));
    }
    #[cfg(feature = "onnx")]
    if super::ncnn::is_param(&first) {
        return super::ncnn::open(path, &choice).map_err(at_path);
    }
    #[cfg(feature = "onnx")]
    if super::onnx::is_onnx(&first) {
        return super::onnx::open(path, &choice);
    }
    file.rewind().map_err(Error::io(path))?;
    #[cfg(feature = "onnx")]
    if let Some(export) = &options.like {
        let mut dict = dict(Box::new(file), &first, metadata.len(), path).map_err(at_path)?;
        dict.part = options.part.clone();
        return super::onnx::like::model(&mut dict, export, &choice).map_err(at_path);
    }
    read(Box::new(file), &first, metadata.len(), path, options.part.as_deref())
        .and_then(|model| model.configured(&choice))
        .map_err(at_path)
}

/// The tensors of a file of `len` bytes that begins with `first` and lies at `path`.
#[cfg(feature = "onnx")]
fn dict(source: Box<dyn Source>, first: &[u8], len: u64, path: &Path) -> Result<StateDict<'static>> {
    let folder = path.parent();
    #[cfg(feature = "pickle")]
    if super::pickle::is_pytorch(first) {
        return super::pickle::dict(source, len, folder).map(|(dict, _)| dict);
    }
    if safetensors::is_safetensors(first) || path.extension().is_some_and(|e| e == "safetensors") {
        return safetensors::dict(source, len, folder).map(|(dict, _)| dict);
    }
    Err(Error::Model("expected a state dict, a file of PyTorch or safetensors".into()))
}

/// Reads a file of `len` bytes that begins with `first` and lies at `path`.
fn read(source: Box<dyn Source>, first: &[u8], len: u64, path: &Path, part: Option<&str>) -> Result<Model> {
    let folder = path.parent();
    #[cfg(feature = "pickle")]
    if super::pickle::is_pytorch(first) {
        return super::pickle::read(source, len, folder, part);
    }
    if tza::is_tza(first) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return tza::read(source, len, &name);
    }
    if safetensors::is_safetensors(first) || path.extension().is_some_and(|e| e == "safetensors") {
        return safetensors::read(source, len, folder, part);
    }
    Err(foreign::unknown(first))
}
