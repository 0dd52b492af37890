//! ONNX. A file is read once. Its network is built again for each size of the input, because exporters write much of it
//! as arithmetic on sizes, which can then be computed.
//!
//! What is not understood is an error that names the operator, the node and the opset. Nothing is skipped. If the network
//! does not take a size, the picture is padded to a multiple of a power of two, and the result is cropped.
//!
//! [`File`] is a decoded file, [`build`] makes a graph of it for one shape, [`network`] finds the shapes that it takes,
//! and [`survey`] says what becomes of each node.

mod array;
mod build;
mod constants;
pub(super) mod emit;
mod external;
mod file;
mod fold;
mod functions;
mod grid;
mod inputs;
mod layout;
pub(super) mod like;
mod mask;
mod network;
mod node;
mod operators;
mod ports;
mod proto;
mod result;
mod sort;
mod survey;
mod traced;
mod view;
mod weigh;

use crate::error::{Error, Result};
use crate::known;
use crate::model::{Guess, Model};
use crate::network::{Choice, FixedInput, Network, NodeReport};
use crate::recipe::Recipe;
use crate::tensor::Tensor;
use external::External;
use file::File;
use network::OnnxNetwork;
use prost::bytes::Bytes;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

impl Model {
    /// Reads the bytes of an ONNX file that has its tensors inside.
    ///
    /// # Errors
    /// [`Error::Model`] and [`Error::Shape`] name the node and what of it is not supported.
    pub fn from_onnx(bytes: &[u8]) -> Result<Model> {
        Model::from_onnx_fixed(bytes, &[])
    }

    /// Reads the bytes of an ONNX file of several inputs, some of which get fixed values.
    ///
    /// # Errors
    /// As [`from_onnx`](Self::from_onnx), and [`Error::UnknownName`] when the file has no input of such a name.
    pub fn from_onnx_fixed(bytes: &[u8], inputs: &[FixedInput]) -> Result<Model> {
        let choice = Choice { inputs, ..Choice::default() };
        let model = model(Bytes::copy_from_slice(bytes), External::default(), &choice)?;
        #[cfg(feature = "recipes")]
        let model = super::sidecar::noted(model)?;
        Ok(model)
    }

    /// What becomes of each node of an ONNX file, also of one that cannot run. `None` for a file of another format.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Model`] when it is damaged.
    pub fn onnx_nodes(path: impl AsRef<Path>) -> Result<Option<Vec<NodeReport>>> {
        let path = path.as_ref();
        // Asked before opening: opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(Error::io(path))?.is_file() {
            return Ok(None);
        }
        let mut opened = std::fs::File::open(path).map_err(Error::io(path))?;
        let mut bytes = Vec::new();
        (&mut opened).take(16).read_to_end(&mut bytes).map_err(Error::io(path))?;
        if !is_onnx(&bytes) {
            return Ok(None);
        }
        opened.read_to_end(&mut bytes).map_err(Error::io(path))?;
        survey::nodes(&File::decode(bytes.into(), &mut External::beside(path))?).map(Some)
    }
}

/// Whether a file begins as ONNX does, with the field `ir_version`. A safetensors header of a length with the same low
/// byte has its brace in the ninth place.
pub(super) fn is_onnx(first: &[u8]) -> bool {
    first.len() > 8 && first[0] == 8 && first[8] != b'{'
}

/// Reads an ONNX file, and the files beside it that hold its tensors.
pub(super) fn open(path: &Path, choice: &Choice<'_>) -> Result<Model> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    model(bytes.into(), External::beside(path), choice).map_err(|e| e.at(&path.display().to_string()))
}

fn model(bytes: Bytes, mut external: External, choice: &Choice<'_>) -> Result<Model> {
    let file = File::decode(bytes, &mut external).map_err(Error::one_line)?;
    let mut inputs = choice.inputs.to_vec();
    let mut guesses = Vec::new();
    for name in file.graph.input.iter().map(|input| &input.name) {
        let given = inputs.iter().any(|input| input.name == *name);
        if let Some((value, why)) = known::default_input(name).filter(|_| !given) {
            let line = format!("the input {name} is {value}: {why} (--input {name}=NUMBER)");
            guesses.push(Guess { field: "inputs", reason: line.clone(), doubt: Some(line) });
            inputs.push(FixedInput { name: name.clone(), dims: Vec::new(), values: vec![value] });
        }
    }
    let choice = Choice { inputs: &inputs, ..*choice };
    let file = Arc::new(file);
    let network = OnnxNetwork::new(file.clone(), &choice).map_err(|error| out_of_scope(&file, error))?;
    let mut model = known::complete(Model::of_network(Arc::new(network), Recipe::default()), &choice)?;
    model.guesses.extend(guesses);
    Ok(model)
}

/// The error of a network that cannot run, with what the names in the file tell of it.
fn out_of_scope(file: &File, error: Error) -> Error {
    let error = error.one_line();
    // Exporters name nodes by the path of their modules: /encoder/block.0/Conv.
    let nodes = file.graph.node.iter().map(|node| node.name.trim_start_matches('/').replace('/', "."));
    let names: Vec<String> = file.constants.keys().cloned().chain(nodes).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match super::families::named(&names) {
        Some(what) => Error::Model(format!("this is {what}, which does not run here: {error}")).one_line(),
        None => error,
    }
}

/// The network in a converted file.
pub(super) fn stored(text: &str, nodes: Vec<u8>, weights: Vec<Arc<Tensor>>) -> Result<Arc<dyn Network>> {
    let file = File::from_parts(text, nodes, weights)?;
    Ok(Arc::new(OnnxNetwork::new(file.into(), &Choice::default())?))
}
