//! A network with its weights and its recipe.

use crate::error::Result;
use crate::graph::Graph;
use crate::import;
use crate::recipe::Recipe;
use crate::unet::{UnetConfig, Weights};
use std::path::Path;

/// A network with its weights and its recipe.
#[derive(Debug, Clone)]
pub struct Model {
    /// What to compute.
    pub graph: Graph,
    /// The member of the U-Net family it is, when it is one.
    pub config: Option<UnetConfig>,
    /// How pictures go in and come out.
    pub recipe: Recipe,
    /// The code base whose network it is, where the tensors' names and shapes told.
    pub family: Option<&'static str>,
}

impl Model {
    /// Reads a model file: safetensors; with the feature `onnx`, ONNX; with the feature `pickle`, what PyTorch saves
    /// (`.pth`, `.pt`, `.ckpt`: zip archives, the format before them, TorchScript's tensors), without running any of it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the file cannot be read, [`Error::Model`](crate::Error::Model) naming what
    /// in it is wrong. A file that is no model, or not whole, is refused before all of it is read.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        import::open(path.as_ref())
    }

    /// Reads the bytes of a safetensors file.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Model> {
        import::from_safetensors(bytes)
    }

    /// Reads the bytes of a file that `torch.save` wrote, or of a TorchScript archive.
    #[cfg(feature = "pickle")]
    pub fn from_pytorch(bytes: &[u8]) -> Result<Model> {
        import::from_pytorch(bytes)
    }

    /// Reads the bytes of an ONNX file.
    #[cfg(feature = "onnx")]
    pub fn from_onnx(bytes: &[u8]) -> Result<Model> {
        import::onnx::read(bytes)
    }

    /// Builds the network that tensors in memory belong to, told by their names and shapes as PyTorch's state dicts
    /// have them: `(name, shape, values)`, the last axis fastest.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) and [`Error::Shape`](crate::Error::Shape) name the tensor that is missing,
    /// does not fit or has no place.
    pub fn from_state_dict<'a>(
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    ) -> Result<Model> {
        import::from_state_dict(tensors)
    }

    /// Builds a member of the U-Net family, with an empty recipe.
    pub fn from_config(config: &UnetConfig, weights: &mut dyn Weights) -> Result<Model> {
        let (graph, config) = (config.build(weights)?, Some(config.clone()));
        Ok(Model { graph, config, recipe: Recipe::default(), family: None })
    }
}
