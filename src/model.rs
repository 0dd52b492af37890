//! A network with its weights and its recipe.

use crate::error::Result;
use crate::graph::Graph;
use crate::import;
#[cfg(feature = "onnx")]
use crate::import::onnx::{self, Bound, NodeReport};
use crate::recipe::{Recipe, Step};
use crate::tensor::Shape;
use crate::unet::{UnetConfig, Weights};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
#[cfg(feature = "onnx")]
use std::sync::Arc;

/// A network with its weights and its recipe.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) network: Network,
    /// The member of the U-Net family it is, when it is one.
    pub config: Option<UnetConfig>,
    /// How pictures go in and come out.
    pub recipe: Recipe,
    /// The code base whose network it is, where the tensors' names and shapes told.
    pub family: Option<&'static str>,
    /// Where the recipe's fields come from, by their paths, such as `input.steps`; defaults and guesses are left out.
    pub origins: BTreeMap<String, String>,
    /// An input and its result that came with the model.
    pub test: Option<TestPair>,
    /// What told the recipe, where the file or one of its own code base did; `None` where names and shapes did.
    pub told: Option<&'static str>,
}

/// An input and the result that a model must give for it, before and after the recipe's steps.
#[derive(Debug, Clone, PartialEq)]
pub struct TestPair {
    /// What goes in.
    pub input: TestArray,
    /// What must come out.
    pub output: TestArray,
    /// Largest absolute difference.
    pub tolerance: f64,
}

/// A `.npy` file.
#[derive(Debug, Clone, PartialEq)]
pub struct TestArray {
    /// The file.
    pub path: PathBuf,
    /// Its axes in order: `b` (batch), `c` (channel), `y`, `x`.
    pub axes: String,
}

#[derive(Debug, Clone)]
pub(crate) enum Network {
    /// One graph for all sizes.
    Graph(Graph),
    /// A file from which a graph is built for each size.
    #[cfg(feature = "onnx")]
    Onnx(Arc<onnx::File>),
}

impl Model {
    /// A model of one graph.
    pub fn new(graph: Graph, recipe: Recipe) -> Model {
        Model::of(Network::Graph(graph), recipe)
    }

    fn of(network: Network, recipe: Recipe) -> Model {
        Model {
            network,
            config: None,
            recipe,
            family: None,
            origins: BTreeMap::new(),
            test: None,
            told: None,
        }
    }

    /// The same model, its recipe told by a file rather than guessed from names.
    pub(crate) fn told_by(self, source: &'static str) -> Model {
        Model { told: Some(source), ..self }
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
    /// With the feature `recipes`, `MODEL.toml` and a bioimage.io description beside the file complete its recipe, and
    /// the description may be named instead of the file.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the file cannot be read, [`Error::Model`](crate::Error::Model) naming what
    /// in it is wrong. A file that is no model, or not whole, is refused before all of it is read.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        import::open(path.as_ref(), None)
    }

    /// The same with a recipe's file, TOML, instead of `MODEL.toml`. Its fields come before all others.
    #[cfg(feature = "recipes")]
    pub fn open_with_recipe(path: impl AsRef<Path>, recipe: impl AsRef<Path>) -> Result<Model> {
        import::open(path.as_ref(), Some(recipe.as_ref()))
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
        import::from_onnx(bytes, &[])
    }

    /// Reads the bytes of an ONNX file of several inputs, all but one of which get fixed values.
    #[cfg(feature = "onnx")]
    pub fn from_onnx_bound(bytes: &[u8], bound: &[Bound]) -> Result<Model> {
        import::from_onnx(bytes, bound)
    }

    /// Reads an ONNX file of several inputs, all but one of which get fixed values.
    #[cfg(feature = "onnx")]
    pub fn open_onnx_bound(path: impl AsRef<Path>, bound: &[Bound]) -> Result<Model> {
        import::open_onnx(path.as_ref(), bound)
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
        Model::of(Network::Onnx(file), recipe)
    }

    /// The model as the bytes of a safetensors file with its graph, weights (`half`: in f16) and recipe inside, which
    /// [`open`](Self::open) reads back.
    ///
    /// # Errors
    /// When the graph is one that was optimised.
    pub fn to_safetensors(&self, half: bool) -> Result<Vec<u8>> {
        import::bundle::write(self, half)
    }

    /// The network for an input of this shape.
    ///
    /// # Errors
    /// When the network does not take that shape.
    pub fn graph(&self, input: Shape) -> Result<Cow<'_, Graph>> {
        input.check("input")?;
        match &self.network {
            Network::Graph(graph) => Ok(Cow::Borrowed(graph)),
            #[cfg(feature = "onnx")]
            Network::Onnx(file) => file.graph(input).map(Cow::Owned),
        }
    }

    /// Whether the result for an input of this shape, after the recipe's output steps, holds probabilities and not logits:
    /// the network ends in a sigmoid or softmax, the recipe's steps have one, or its threshold for a result of one
    /// channel lies between 0 and 1. Values are not looked at, so that all pictures of a model are treated alike.
    ///
    /// # Errors
    /// When the network does not take that shape.
    pub fn gives_probabilities(&self, input: Shape) -> Result<bool> {
        let graph = self.graph(input)?;
        let output = &self.recipe.output;
        let has_step = output.steps.iter().any(|step| matches!(step, Step::Sigmoid | Step::Softmax));
        let by_threshold =
            graph.output_shape(input)?.c == 1 && output.threshold > 0.0 && output.threshold < 1.0;
        Ok(has_step || by_threshold || graph.ends_in_probabilities())
    }

    /// What becomes of each node of the ONNX file that the model comes from, for an input of this shape.
    #[cfg(feature = "onnx")]
    pub fn nodes(&self, input: Shape) -> Option<Vec<NodeReport>> {
        match &self.network {
            Network::Graph(_) => None,
            Network::Onnx(file) => Some(file.survey(input)),
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

    /// Height and width that the file fixes. The network may take others all the same.
    pub fn exported_size(&self) -> Option<[usize; 2]> {
        match &self.network {
            Network::Graph(_) => None,
            #[cfg(feature = "onnx")]
            Network::Onnx(file) => file.fixed_size(),
        }
    }

    /// The file's own notes, key and value: ONNX's `metadata_props`.
    pub fn metadata(&self) -> &[(String, String)] {
        match &self.network {
            Network::Graph(_) => &[],
            #[cfg(feature = "onnx")]
            Network::Onnx(file) => file.metadata(),
        }
    }

    /// A shape that the network takes: the one it was exported for, where that is fixed.
    pub fn example_input(&self) -> Shape {
        match &self.network {
            Network::Graph(graph) => Shape::new(1, graph.input_channels(), 128, 128),
            #[cfg(feature = "onnx")]
            Network::Onnx(file) => file.example(),
        }
    }
}
