//! A network with its weights and its recipe.

use crate::error::Result;
use crate::graph::Graph;
use crate::import;
#[cfg(feature = "onnx")]
use crate::import::onnx::{self, Bound};
use crate::recipe::Recipe;
use crate::tensor::Shape;
use crate::unet::{UnetConfig, Weights};
use std::borrow::Cow;
use std::path::Path;
#[cfg(feature = "onnx")]
use std::sync::Arc;

/// A network with its weights and its recipe.
#[derive(Debug, Clone)]
pub struct Model {
    network: Network,
    /// The member of the U-Net family it is, when it is one.
    pub config: Option<UnetConfig>,
    /// How pictures go in and come out.
    pub recipe: Recipe,
    /// The code base whose network it is, where the tensors' names and shapes told.
    pub family: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Network {
    /// One graph for all sizes.
    Graph(Graph),
    /// A file from which a graph is built for each size.
    #[cfg(feature = "onnx")]
    Onnx(Arc<onnx::File>),
}

impl Model {
    /// A model of one graph.
    pub fn new(graph: Graph, recipe: Recipe) -> Model {
        Model { network: Network::Graph(graph), config: None, recipe, family: None }
    }

    /// The same model, known as a member of the U-Net family.
    pub(crate) fn with_config(self, config: UnetConfig) -> Model {
        Model { config: Some(config), ..self }
    }

    /// The same model, known as a network of a code base.
    pub(crate) fn of_family(self, family: &'static str) -> Model {
        Model { family: Some(family), ..self }
    }

    /// Reads a model file: safetensors; Open Image Denoise's weights (`.tza`); with the feature `onnx`, ONNX; with the feature `pickle`, what PyTorch saves
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

    /// Reads the bytes of a weight file of Intel Open Image Denoise (`.tza`).
    pub fn from_tza(bytes: &[u8]) -> Result<Model> {
        import::from_tza(bytes)
    }

    /// Reads the bytes of a file that `torch.save` wrote, or of a TorchScript archive.
    #[cfg(feature = "pickle")]
    pub fn from_pytorch(bytes: &[u8]) -> Result<Model> {
        import::from_pytorch(bytes)
    }

    /// Reads the bytes of an ONNX file that has its tensors inside.
    #[cfg(feature = "onnx")]
    pub fn from_onnx(bytes: &[u8]) -> Result<Model> {
        onnx::read(bytes, &[])
    }

    /// Reads the bytes of an ONNX file of several inputs, all but one of which get fixed values.
    #[cfg(feature = "onnx")]
    pub fn from_onnx_bound(bytes: &[u8], bound: &[Bound]) -> Result<Model> {
        onnx::read(bytes, bound)
    }

    /// Reads an ONNX file of several inputs, all but one of which get fixed values.
    #[cfg(feature = "onnx")]
    pub fn open_onnx_bound(path: impl AsRef<Path>, bound: &[Bound]) -> Result<Model> {
        onnx::open(path.as_ref(), bound)
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
        Ok(Model::new(config.build(weights)?, Recipe::default()).with_config(config.clone()))
    }

    #[cfg(feature = "onnx")]
    pub(crate) fn from_file(file: Arc<onnx::File>, recipe: Recipe) -> Model {
        Model { network: Network::Onnx(file), config: None, recipe, family: None }
    }

    /// The network for an input of this shape.
    ///
    /// # Errors
    /// When the network does not take that shape.
    #[cfg_attr(not(feature = "onnx"), expect(unused_variables, reason = "one graph for all sizes"))]
    pub fn graph(&self, input: Shape) -> Result<Cow<'_, Graph>> {
        match &self.network {
            Network::Graph(graph) => Ok(Cow::Borrowed(graph)),
            #[cfg(feature = "onnx")]
            Network::Onnx(file) => file.graph(input).map(Cow::Owned),
        }
    }

    /// Channels that an input must have.
    pub fn input_channels(&self) -> usize {
        match &self.network {
            Network::Graph(graph) => graph.input_channels(),
            #[cfg(feature = "onnx")]
            Network::Onnx(file) => file.example().c,
        }
    }

    /// A shape that the network takes: the one it was exported for, where that is fixed.
    pub fn example_input(&self) -> Shape {
        match &self.network {
            Network::Graph(graph) => Shape::new(1, graph.input_channels(), 256, 256),
            #[cfg(feature = "onnx")]
            Network::Onnx(file) => file.example(),
        }
    }
}
