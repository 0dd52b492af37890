//! A graph as JSON with its numbers stored separately: the contents of a converted model file.
//!
//! Operators use serde. Instead of weights they write an index into a list, which a thread keeps while it writes or
//! reads a graph.

use super::{Extent, Graph, Op, ValueId};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    static NUMBERS: RefCell<Vec<Arc<Tensor>>> = const { RefCell::new(Vec::new()) };
}

/// Values are numbered: first the inputs, then the results of the nodes.
#[derive(Serialize, Deserialize)]
struct StoredGraph {
    #[serde(default)]
    inputs: Vec<(String, [Extent; 4])>,
    nodes: Vec<StoredNode>,
    #[serde(default)]
    outputs: Vec<(String, usize)>,
    /// Names of an output, and of the input that it becomes in the next run.
    #[serde(default)]
    carries: Vec<(String, String)>,
    /// Older files have one input, described by its channels, and one output, both without names.
    #[serde(default, skip_serializing)]
    channels: Option<usize>,
    #[serde(default, skip_serializing)]
    output: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct StoredNode {
    name: String,
    op: Op,
    inputs: Vec<usize>,
}

/// The graph without its weights, and the weights in order.
pub(crate) fn write(graph: &Graph) -> Result<(String, Vec<Arc<Tensor>>)> {
    let inputs = graph.inputs();
    let mut places: HashMap<ValueId, usize> =
        inputs.iter().enumerate().map(|(i, input)| (input.value, i)).collect();
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for (i, node) in graph.nodes.iter().enumerate() {
        let [output] = node.outputs[..] else {
            return Err(Error::Model(format!(
                "{} is fused; only graphs that are not optimised can be stored",
                node.name
            )));
        };
        let reads = node.inputs.iter().map(|id| places[id]).collect();
        nodes.push(StoredNode { name: node.name.clone(), op: node.op.clone(), inputs: reads });
        places.insert(output, inputs.len() + i);
    }
    let stored = StoredGraph {
        inputs: inputs.iter().map(|input| (input.name.clone(), input.extents)).collect(),
        nodes,
        outputs: graph.outputs().iter().map(|output| (output.name.clone(), places[&output.value])).collect(),
        carries: graph.carries().map(|(from, to)| (from.name.clone(), to.name.clone())).collect(),
        channels: None,
        output: None,
    };
    NUMBERS.take();
    let text = serde_json::to_string(&stored).map_err(|e| Error::Model(format!("the graph: {e}")))?;
    Ok((text, NUMBERS.take()))
}

/// Reads a graph with its weights.
///
/// # Errors
/// If a node reads a value that no earlier node makes, if a weight does not exist, or if names are not distinct.
pub(crate) fn read(text: &str, numbers: Vec<Arc<Tensor>>) -> Result<Graph> {
    NUMBERS.set(numbers);
    let stored = serde_json::from_str::<StoredGraph>(text);
    NUMBERS.take();
    let mut stored = stored.map_err(|e| Error::Model(format!("the stored graph is not valid: {e}")))?;
    if let (Some(channels), Some(output)) = (stored.channels, stored.output) {
        stored.inputs = vec![("input".into(), Extent::picture(channels))];
        stored.outputs = vec![("output".into(), output)];
    }
    let missing = |what| Error::Model(format!("the stored graph has no {what}"));
    let mut inputs = stored.inputs.into_iter();
    let (name, extents) = inputs.next().ok_or_else(|| missing("input"))?;
    let mut graph = Graph::with_input(&name, extents);
    for (name, extents) in inputs {
        graph.add_input(&name, extents)?;
    }
    for node in stored.nodes {
        let inputs: Vec<ValueId> = node.inputs.into_iter().map(ValueId).collect();
        graph.push(&node.name, node.op, &inputs)?;
    }
    let outputs: Vec<(&str, ValueId)> =
        stored.outputs.iter().map(|(name, value)| (&**name, ValueId(*value))).collect();
    graph.set_outputs(&outputs)?;
    for (output, input) in &stored.carries {
        graph.carry(output, input)?;
    }
    Ok(graph)
}

fn keep(tensor: Arc<Tensor>) -> usize {
    NUMBERS.with_borrow_mut(|numbers| {
        numbers.push(tensor);
        numbers.len() - 1
    })
}

fn find<E: serde::de::Error>(place: usize) -> Result<Arc<Tensor>, E> {
    NUMBERS
        .with_borrow(|numbers| numbers.get(place).cloned())
        .ok_or_else(|| E::custom(format!("no weight {place}")))
}

fn column(values: &[f32]) -> Arc<Tensor> {
    let shape = Shape::new(values.len(), 1, 1, 1);
    Arc::new(Tensor::new(shape, values.to_vec()).expect("as many numbers as the shape says"))
}

pub(super) mod tensor {
    use super::*;

    pub(in crate::graph) fn serialize<S: Serializer>(tensor: &Arc<Tensor>, to: S) -> Result<S::Ok, S::Error> {
        keep(tensor.clone()).serialize(to)
    }

    pub(in crate::graph) fn deserialize<'de, D: Deserializer<'de>>(of: D) -> Result<Arc<Tensor>, D::Error> {
        find(usize::deserialize(of)?)
    }
}

pub(super) mod vector {
    use super::*;

    pub(in crate::graph) fn serialize<S: Serializer>(values: &Arc<[f32]>, to: S) -> Result<S::Ok, S::Error> {
        keep(column(values)).serialize(to)
    }

    pub(in crate::graph) fn deserialize<'de, D: Deserializer<'de>>(of: D) -> Result<Arc<[f32]>, D::Error> {
        Ok(find::<D::Error>(usize::deserialize(of)?)?.data().into())
    }
}

pub(super) mod optional_vector {
    use super::*;

    pub(in crate::graph) fn serialize<S: Serializer>(
        values: &Option<Arc<[f32]>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        values.as_ref().map(|values| keep(column(values))).serialize(to)
    }

    pub(in crate::graph) fn deserialize<'de, D: Deserializer<'de>>(
        of: D,
    ) -> Result<Option<Arc<[f32]>>, D::Error> {
        let place = Option::<usize>::deserialize(of)?;
        place.map(|place| Ok(find::<D::Error>(place)?.data().into())).transpose()
    }
}

/// Numbers that may be infinite, which JSON cannot express, as their bits.
pub(super) mod number {
    use super::*;

    pub(in crate::graph) fn serialize<S: Serializer>(value: &f32, to: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(to)
    }

    pub(in crate::graph) fn deserialize<'de, D: Deserializer<'de>>(of: D) -> Result<f32, D::Error> {
        u32::deserialize(of).map(f32::from_bits)
    }
}
