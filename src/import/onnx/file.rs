//! An ONNX file as it was decoded: nodes and constants.

use super::array::Array;
use super::constants::{self, Constants};
use super::external::External;
use super::functions;
use super::ports::fixed;
use super::proto;
use super::sort;
use super::weigh;
use crate::error::{Error, Result};
use crate::network::{FixedInput, StoredForm, StoredNetwork};
use crate::tensor::Tensor;
use prost::Message;
use prost::bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// A file as it was decoded.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) graph: proto::Graph,
    pub(super) constants: Constants,
    pub(super) opset: i64,
    /// Weights that quantised constants stand for, by the names of the nodes' results. They are the same for all sizes.
    pub(super) weights: Arc<Mutex<HashMap<String, Array>>>,
    pub(super) metadata: Vec<(String, String)>,
}

/// What a converted file holds besides the nodes' bytes and the weights' numbers.
#[derive(serde::Serialize, serde::Deserialize)]
struct StoredFile {
    opset: i64,
    /// Name and extents of each of the weights.
    weights: Vec<(String, Vec<usize>)>,
}

impl File {
    /// The file as it stands, not yet known to run.
    pub(super) fn decode(bytes: Bytes, external: &mut External) -> Result<File> {
        weigh::check(&bytes)?;
        let size = bytes.len();
        let model = proto::Model::decode(bytes)
            .map_err(|e| Error::Model(format!("not a readable ONNX file: {e} (is it complete?)")))?;
        let opset = model.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx");
        let mut graph = model.graph.ok_or_else(|| Error::Model("the ONNX file holds no graph".into()))?;
        functions::inline(&mut graph, &model.functions, size)?;
        check_names(&graph)?;
        sort::sort(&mut graph)?;
        let constants = constants::take(&mut graph, external)?;
        let metadata = model.metadata_props.into_iter().map(|e| (e.key, e.value)).collect();
        Ok(File {
            graph,
            constants,
            opset: opset.map_or(1, |o| o.version),
            weights: Arc::default(),
            metadata,
        })
    }

    /// The same file with fixed values for some of its inputs.
    pub(super) fn with_fixed(&self, inputs: &[FixedInput]) -> Result<File> {
        let mut file = File { weights: Arc::default(), ..self.clone() };
        for input in inputs {
            file.constants.insert(input.name.clone(), fixed(input, &file.graph)?);
        }
        Ok(file)
    }

    /// What [`from_parts`](Self::from_parts) takes.
    pub(super) fn parts(&self) -> Result<StoredNetwork> {
        let mut graph = self.graph.clone();
        let mut weights = Vec::new();
        let mut stored = StoredFile { opset: self.opset, weights: Vec::new() };
        let mut names: Vec<&String> = self.constants.keys().collect();
        names.sort();
        for name in names {
            let array = &self.constants[name];
            match array.weights() {
                Some(tensor) => {
                    stored.weights.push((name.clone(), array.dims.clone()));
                    weights.push(tensor);
                }
                None => graph.initializer.push(array.proto(name)),
            }
        }
        let text = serde_json::to_string(&stored).map_err(|e| Error::Model(e.to_string()))?;
        let (form, nodes) = (StoredForm::Onnx(text), Some(graph.encode_to_vec()));
        Ok(StoredNetwork { form, nodes, weights })
    }

    /// A file from what [`parts`](Self::parts) gave.
    pub(super) fn from_parts(text: &str, nodes: Vec<u8>, weights: Vec<Arc<Tensor>>) -> Result<File> {
        let broken =
            |e: &dyn std::fmt::Display| Error::Model(format!("the stored ONNX network is not valid: {e}"));
        let stored: StoredFile = serde_json::from_str(text).map_err(|e| broken(&e))?;
        let mut graph = proto::Graph::decode(Bytes::from(nodes)).map_err(|e| broken(&e))?;
        let mut constants = constants::take(&mut graph, &mut External::default())?;
        if stored.weights.len() != weights.len() {
            return Err(Error::shape("weights", stored.weights.len(), weights.len()));
        }
        for ((name, dims), tensor) in stored.weights.into_iter().zip(weights) {
            constants.insert(name, Array::of_tensor(dims, tensor)?);
        }
        Ok(File { graph, constants, opset: stored.opset, weights: Arc::default(), metadata: Vec::new() })
    }
}

/// Refuses a graph that makes something twice: readers disagree on which of the two counts.
fn check_names(graph: &proto::Graph) -> Result<()> {
    // Old files list constants among the inputs too.
    let inputs: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let constants = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), false));
    let made = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let made = made.map(|name| (name.as_str(), inputs.contains(name.as_str())));
    let mut names = HashSet::new();
    match constants.chain(made).find(|(name, is_input)| *is_input || !names.insert(*name)) {
        Some((name, _)) => Err(Error::Model(format!("{name} is made twice"))),
        None => Ok(()),
    }
}
