//! A whole model in one safetensors file: its graph, its weights and its recipe. What `unet convert` writes, and
//! reading it back.
//!
//! One entry of the metadata, `unet.model`, is JSON with the recipe and the graph, or what an ONNX file's nodes need
//! besides their bytes. Weights are tensors named by their place, f32 or f16; vectors are f32. Equal models are equal
//! files.

use super::tensors::StateDict;
use crate::error::{Error, Result};
use crate::graph::stored;
use crate::model::Model;
use crate::network::{Choice, StoredForm, StoredNetwork};
use crate::recipe::Recipe;
use crate::tensor::{Shape, Tensor};
use crate::unet::UnetConfig;
use ::safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Largest f16.
const HALF_MAX: f32 = 65_504.0;

/// The metadata entry.
const ENTRY: &str = "unet.model";

/// The tensor that holds an ONNX file's nodes.
const NODES: &str = "onnx";

#[derive(Serialize, Deserialize)]
struct Header {
    recipe: Recipe,
    config: Option<UnetConfig>,
    network: StoredForm,
}

/// Bytes of a tensor on their way to a file.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(name: String, tensor: &Tensor, half: bool) -> Stored {
        let Shape { n, c, h, w } = tensor.shape();
        // Vectors are few numbers and say how all others are scaled; and f16 ends early.
        let half = half && c * h * w > 1 && tensor.data().iter().all(|v| v.abs() <= HALF_MAX);
        let (dtype, bytes) = match half {
            true => (
                Dtype::F16,
                tensor.data().iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            ),
            false => (Dtype::F32, tensor.data().iter().flat_map(|v| v.to_le_bytes()).collect()),
        };
        Stored { name, dtype, shape: vec![n, c, h, w], bytes }
    }
}

impl Model {
    /// The model as the bytes of a safetensors file with its graph, weights (`half`: in f16) and recipe inside, which
    /// [`open`](Self::open) reads back.
    ///
    /// # Errors
    /// When the graph is one that was optimised.
    pub fn to_safetensors(&self, half: bool) -> Result<Vec<u8>> {
        write(self, half)
    }
}

fn write(model: &Model, half: bool) -> Result<Vec<u8>> {
    let StoredNetwork { form, nodes, weights } = model.network.stored()?;
    let bytes =
        |bytes: Vec<u8>| Stored { name: NODES.into(), dtype: Dtype::U8, shape: vec![bytes.len()], bytes };
    let mut files: Vec<Stored> = nodes.map(bytes).into_iter().collect();
    let header = Header { recipe: model.recipe.clone(), config: model.config.clone(), network: form };
    let header = serde_json::to_string(&header)
        .map_err(|e| Error::Model(format!("the model cannot be written: {e}")))?;
    files.extend(weights.iter().enumerate().map(|(i, tensor)| Stored::new(i.to_string(), tensor, half)));
    let broken =
        |e: ::safetensors::SafeTensorError| Error::Model(format!("the model cannot be written: {e}"));
    let mut views = Vec::with_capacity(files.len());
    for Stored { name, dtype, shape, bytes } in &files {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?));
    }
    serialize(views, Some(HashMap::from([(ENTRY.to_string(), header)]))).map_err(broken)
}

/// The model in a file with such metadata; `None` where it is another kind of file.
pub(super) fn read(dict: &mut StateDict<'_>, metadata: &HashMap<String, String>) -> Result<Option<Model>> {
    let Some(text) = metadata.get(ENTRY) else { return Ok(None) };
    let broken = |e| Error::Model(format!("the metadata entry {ENTRY} is not valid: {e}"));
    let header: Header = serde_json::from_str(text).map_err(broken)?;
    let mut model = match header.network {
        StoredForm::Graph(text) => Model::new(stored::read(&text, weights(dict)?)?, header.recipe),
        #[cfg(feature = "onnx")]
        StoredForm::Onnx(text) => {
            let nodes = dict.take_bytes(NODES)?;
            let network = super::onnx::stored(&text, nodes, weights(dict)?)?;
            Model::of_network(network, header.recipe)
        }
        #[cfg(not(feature = "onnx"))]
        StoredForm::Onnx(_) => {
            return Err(Error::Model("the file holds an ONNX network; build with the feature onnx".into()));
        }
    };
    model.config = header.config;
    dict.check_all_taken()?;
    let (carry, result) = (model.recipe.carry.clone(), model.recipe.output.name.clone());
    let choice = Choice {
        carry: carry.as_deref(),
        result: result.as_deref(),
        inputs: &[],
        border: model.recipe.input.border,
        outside: model.recipe.input.outside(),
    };
    let model = model.configured(&choice)?;
    Ok(Some(model.with_recipe_source("unet.model in the file")))
}

/// The tensors named by their places, in order.
fn weights(dict: &mut StateDict<'_>) -> Result<Vec<Arc<Tensor>>> {
    let count = dict.names().filter(|name| name.parse::<usize>().is_ok()).count();
    (0..count).map(|i| dict.take_kernel(&i.to_string())).collect()
}
