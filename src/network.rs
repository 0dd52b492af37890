//! What a model computes, whatever kind of file it comes from.

use crate::error::Result;
use crate::graph::{Graph, stored};
use crate::tensor::{Shape, Tensor};
use std::borrow::Cow;
use std::sync::Arc;

/// A network that makes a graph for each input shape.
pub(crate) trait Network: std::fmt::Debug + Send + Sync {
    /// The graph for inputs of these shapes, in order. Errors when the network does not take them.
    fn graph(&self, inputs: &[Shape]) -> Result<Cow<'_, Graph>>;

    /// A shape that the network takes: the one it was exported for, where that is fixed.
    fn example_input(&self) -> Shape;

    /// Channels that an input must have.
    fn input_channels(&self) -> usize {
        self.example_input().c
    }

    /// Height and width that the file fixes.
    fn exported_size(&self) -> Option<[usize; 2]> {
        None
    }

    /// The file's own notes, key and value.
    fn metadata(&self) -> &[(String, String)] {
        &[]
    }

    /// What becomes of each node of the file for an input of this shape; `None` where the file has no nodes.
    fn nodes(&self, _input: Shape) -> Option<Vec<NodeReport>> {
        None
    }

    /// The network as a converted file holds it.
    fn stored(&self) -> Result<StoredNetwork>;
}

/// A network as a converted file holds it.
pub(crate) struct StoredNetwork {
    pub(crate) form: StoredForm,
    /// Nodes in the encoding of the file that they come from.
    pub(crate) nodes: Option<Vec<u8>>,
    pub(crate) weights: Vec<Arc<Tensor>>,
}

/// JSON that describes a network, by the reader that takes it.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum StoredForm {
    Graph(String),
    Onnx(String),
}

/// A node of an ONNX file, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeReport {
    /// Its name, or that of its first result.
    pub name: String,
    /// ONNX's name of the operator.
    pub op: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a node of an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Operators of the graph, by their names, compute it.
    Computed(Vec<String>),
    /// Its result is known for this size of the input.
    Folded,
    /// It only moves elements, which the operators that read them take into account.
    Moved,
    /// It cannot run, for this reason.
    Unsupported(String),
    /// It reads the result of a node that cannot run.
    Waiting,
}

/// One graph for all shapes.
impl Network for Graph {
    fn graph(&self, _inputs: &[Shape]) -> Result<Cow<'_, Graph>> {
        Ok(Cow::Borrowed(self))
    }

    fn example_input(&self) -> Shape {
        Shape::new(1, Graph::input_channels(self), 128, 128)
    }

    fn stored(&self) -> Result<StoredNetwork> {
        let (text, weights) = stored::write(self)?;
        Ok(StoredNetwork { form: StoredForm::Graph(text), nodes: None, weights })
    }
}
