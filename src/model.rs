//! A network with its weights and its recipe.

use crate::error::Result;
use crate::graph::Graph;
use crate::import::safetensors;
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
}

impl Model {
    /// Reads a model file: safetensors or, with the feature `onnx`, ONNX.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the file cannot be read, [`Error::Model`](crate::Error::Model) naming what
    /// in it is wrong. A file that is no model, or not whole, is refused before all of it is read.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        crate::import::open(path.as_ref())
    }

    /// Reads the bytes of a safetensors file.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Model> {
        safetensors::read(bytes)
    }

    /// Reads the bytes of an ONNX file.
    #[cfg(feature = "onnx")]
    pub fn from_onnx(bytes: &[u8]) -> Result<Model> {
        crate::import::onnx::read(bytes)
    }

    /// Builds a member of the U-Net family, with an empty recipe.
    pub fn from_config(config: &UnetConfig, weights: &mut dyn Weights) -> Result<Model> {
        Ok(Model { graph: config.build(weights)?, config: Some(config.clone()), recipe: Recipe::default() })
    }
}
