//! A network with its weights and its recipe.

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::network::{Choice, Network, NodeReport, Role, Signature, Traits, is_whole, proportion};
use crate::recipe::{Decode, Recipe, Step};
use crate::tensor::Shape;
use crate::unet::{UnetConfig, Weights};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A network with its weights and its recipe.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) network: Arc<dyn Network>,
    /// Its configuration, when it is a member of the U-Net family.
    pub config: Option<UnetConfig>,
    /// How pictures go in and come out.
    pub recipe: Recipe,
    /// The code base that the network comes from, where the names and shapes of its tensors identify it.
    pub family: Option<&'static str>,
    /// Where the recipe's fields come from, by their paths, such as `input.steps`; defaults and guesses are left out.
    pub origins: BTreeMap<String, String>,
    /// An input and its result that came with the model.
    pub test: Option<TestPair>,
    /// Where the recipe comes from: an entry of the file, or a file of the model's code base. `None` where it is
    /// guessed from names and shapes.
    pub recipe_source: Option<&'static str>,
    /// What was taken from the file and what was left, a line each; empty if all of it was taken.
    pub notes: Vec<String>,
    /// The source of the recipe of a network that is known by its structure.
    pub(crate) known: Option<&'static str>,
    /// What the recipe takes from the network itself, where nothing describes its use.
    pub(crate) guesses: Vec<Guess>,
}

/// A field of the recipe that is taken from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guess {
    /// Its path, such as `output.decode`.
    pub(crate) field: &'static str,
    /// What the network tells.
    pub(crate) reason: String,
    /// If other readings are as likely, a line that says what was taken, and how to change it.
    pub(crate) doubt: Option<String>,
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

impl Model {
    /// A model of one graph.
    pub fn new(graph: Graph, recipe: Recipe) -> Model {
        Model::of_network(Arc::new(graph), recipe)
    }

    /// A model of any network.
    pub(crate) fn of_network(network: Arc<dyn Network>, recipe: Recipe) -> Model {
        Model {
            network,
            config: None,
            recipe,
            family: None,
            origins: BTreeMap::new(),
            test: None,
            recipe_source: None,
            known: None,
            guesses: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Builds a member of the U-Net family, with an empty recipe.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) when the configuration is not one of a U-Net, or a weight is missing.
    pub fn from_config(config: &UnetConfig, weights: &mut dyn Weights) -> Result<Model> {
        Ok(Model::new(config.build(weights)?, Recipe::default()).with_config(config.clone()))
    }

    /// The same model, whose recipe comes from there.
    pub(crate) fn with_recipe_source(self, source: &'static str) -> Model {
        Model { recipe_source: Some(source), ..self }
    }

    /// The same model, known as a member of the U-Net family.
    pub(crate) fn with_config(self, config: UnetConfig) -> Model {
        Model { config: Some(config), ..self }
    }

    /// The same model, known as a network of a code base.
    pub(crate) fn of_family(self, family: &'static str) -> Model {
        Model { family: Some(family), ..self }
    }

    /// The same model with other states, result and fixed inputs.
    pub(crate) fn configured(mut self, choice: &Choice<'_>) -> Result<Model> {
        if !choice.is_empty() {
            self.network = self.network.configured(choice)?;
        }
        Ok(self)
    }

    /// The same model, whose recipe says how much larger results are than pictures, if they are.
    ///
    /// # Errors
    /// When the recipe says otherwise than the network.
    pub(crate) fn with_scale(mut self) -> Result<Model> {
        let Ok(Traits { shapes: [x, y], growth, .. }) = self.network.traits() else { return Ok(self) };
        // Sizes out of proportion have an error of their own, which a border may mend.
        let Some([down, across]) = proportion([y.h, y.w], [x.h, x.w], growth) else { return Ok(self) };
        match self.recipe.scale {
            Some(scale) if [down, across] != [scale as f64; 2] => {
                let expected = format!("the network's, which makes {}x{} of {}x{}", y.h, y.w, x.h, x.w);
                return Err(Error::shape("the recipe's scale", expected, scale));
            }
            None if down == across && down > 1.0 && down.fract() == 0.0 && x.pixels() > 1 => {
                self.recipe.scale = Some(down as usize);
            }
            _ => {}
        }
        Ok(self)
    }

    /// The network whose recipe this is, where the shapes of its kernels are those of a network that many people have.
    pub fn known_as(&self) -> Option<&'static str> {
        self.known
    }

    /// A number for the shapes of the network's kernels, by which known networks are found.
    ///
    /// # Errors
    /// When the network does not take its example input.
    pub fn fingerprint(&self) -> Result<u64> {
        Ok(self.network.traits()?.fingerprint)
    }

    /// What was assumed about the use of the network for want of a description, one line each, with the line of
    /// `MODEL.toml` that changes it.
    pub fn assumptions(&self) -> impl Iterator<Item = &str> {
        self.guesses.iter().filter_map(|guess| guess.doubt.as_deref())
    }

    /// What the result means: the recipe's answer, or else that of the result's channels.
    ///
    /// # Errors
    /// When the network does not take its example input.
    pub fn decode(&self) -> Result<Decode> {
        match self.recipe.output.decode {
            Some(decode) => Ok(decode),
            None => {
                let [_, result] = self.network.traits()?.shapes;
                Ok(self.recipe.decode(result.c, result.pixels()))
            }
        }
    }

    /// By how much the result is larger than the picture along each side, where the network's operators tell.
    #[cfg(feature = "image")]
    pub(crate) fn growth(&self) -> Option<f64> {
        self.network.traits().ok()?.growth
    }

    /// What the network takes and gives, by name, and which of its outputs is the result.
    pub fn signature(&self) -> Signature {
        self.network.signature()
    }

    /// The shapes of all inputs that a caller gives beside a picture of that shape, in the order in which
    /// [`graph`](Self::graph) takes them; extents that nothing tells are 1.
    ///
    /// # Errors
    /// When the network does not take that shape.
    pub fn input_shapes(&self, picture: Shape) -> Result<Vec<Shape>> {
        self.network.input_shapes(picture)
    }

    /// The network for inputs of these shapes, in order, as [`Graph::input_shapes`] takes them. It computes the result
    /// and the states.
    ///
    /// # Errors
    /// When the network does not take those shapes.
    pub fn graph(&self, inputs: impl AsRef<[Shape]>) -> Result<Cow<'_, Graph>> {
        self.graph_with(inputs, &[])
    }

    /// As [`graph`](Self::graph), but it computes the outputs of these names, in this order.
    ///
    /// # Errors
    /// As [`graph`](Self::graph), and [`Error::UnknownName`](crate::Error::UnknownName).
    pub fn graph_with(&self, inputs: impl AsRef<[Shape]>, outputs: &[String]) -> Result<Cow<'_, Graph>> {
        let inputs = inputs.as_ref();
        inputs.iter().try_for_each(|input| input.check("input").map(|_| ()))?;
        let mut graph = self.network.graph(inputs)?;
        if !outputs.is_empty() || graph.outputs().len() > 1 {
            graph.to_mut().select(outputs)?;
        }
        Ok(graph)
    }

    /// Whether the result for an input of this shape, after the recipe's output steps, holds probabilities and not
    /// logits: the network ends in a sigmoid or softmax, the recipe's steps have one, or its threshold for a result of
    /// one channel lies between 0 and 1. Values are not looked at, so that all pictures of a model are treated alike.
    ///
    /// # Errors
    /// When the network does not take that shape.
    pub fn gives_probabilities(&self, input: Shape) -> Result<bool> {
        let graph = self.graph(input)?;
        let output = &self.recipe.output;
        if matches!(output.decode, Some(Decode::Classes | Decode::Values)) {
            return Ok(false);
        }
        let has_step = output.steps.iter().any(|step| matches!(step, Step::Sigmoid | Step::Softmax));
        let by_threshold =
            graph.output_shape(input)?.c == 1 && output.threshold > 0.0 && output.threshold < 1.0;
        Ok(has_step || by_threshold || graph.ends_in_probabilities())
    }

    /// What becomes of each node of the ONNX file that the model comes from, for an input of this shape; `None` where
    /// it comes from another file.
    pub fn nodes(&self, input: Shape) -> Option<Vec<NodeReport>> {
        self.network.nodes(input)
    }

    /// Channels that an input must have.
    pub fn input_channels(&self) -> usize {
        self.network.input_channels()
    }

    /// Channels that a picture must give: all of the network's but that of the mask.
    pub fn picture_channels(&self) -> usize {
        self.input_channels().saturating_sub(usize::from(self.recipe.input.mask.is_some()))
    }

    /// Whether the file declares the picture's values as whole numbers.
    pub fn takes_whole_numbers(&self) -> bool {
        let inputs = self.signature().inputs;
        inputs.iter().any(|port| port.role == Role::Picture && is_whole(port.element))
    }

    /// Height and width that the file fixes. The network may take others all the same.
    pub fn exported_size(&self) -> Option<[usize; 2]> {
        self.network.exported_size()
    }

    /// The file's own notes, key and value: ONNX's `metadata_props`.
    pub fn metadata(&self) -> &[(String, String)] {
        self.network.metadata()
    }

    /// A shape that the network takes: the one it was exported for, where that is fixed.
    pub fn example_input(&self) -> Shape {
        self.network.example_input()
    }
}
