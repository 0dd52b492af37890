//! A whole model in one safetensors file: its graph, its weights and its recipe. What `unet convert` writes, and reading
//! it back.
//!
//! The metadata holds the graph as JSON (`unet.graph`), or what an ONNX file's nodes need besides their bytes
//! (`unet.onnx`), and the recipe (`unet.recipe`). Weights are tensors named by their place, f32 or f16; vectors are f32.

use super::tensors::StateDict;
use crate::error::{Error, Result};
use crate::graph::stored;
use crate::model::{Model, Network};
use crate::recipe::Recipe;
use crate::tensor::{Shape, Tensor};
use ::safetensors::tensor::{Dtype, TensorView, serialize};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Largest f16.
const HALF_MAX: f32 = 65_504.0;

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

/// The model as the bytes of a file, its weights in f16 if `half`.
pub(crate) fn write(model: &Model, half: bool) -> Result<Vec<u8>> {
    let mut metadata = HashMap::from([("unet.recipe".to_string(), json(&model.recipe)?)]);
    if let Some(config) = &model.config {
        metadata.insert("unet.config".into(), json(config)?);
    }
    let (tensors, mut files) = match &model.network {
        Network::Graph(graph) => {
            let (text, weights) = stored::write(graph)?;
            metadata.insert("unet.graph".into(), text);
            (weights, Vec::new())
        }
        #[cfg(feature = "onnx")]
        Network::Onnx(file) => {
            let (text, nodes, weights) = file.parts()?;
            metadata.insert("unet.onnx".into(), text);
            let shape = vec![nodes.len()];
            (weights, vec![Stored { name: "onnx".into(), dtype: Dtype::U8, shape, bytes: nodes }])
        }
    };
    files.extend(tensors.iter().enumerate().map(|(i, tensor)| Stored::new(i.to_string(), tensor, half)));
    let broken =
        |e: ::safetensors::SafeTensorError| Error::Model(format!("the model cannot be written: {e}"));
    let mut views = Vec::with_capacity(files.len());
    for Stored { name, dtype, shape, bytes } in &files {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?));
    }
    serialize(views, Some(metadata)).map_err(broken)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Model(format!("the model cannot be written: {e}")))
}

/// The model in a file with such metadata; `None` where it is another kind of file.
pub(super) fn read(dict: &mut StateDict<'_>, metadata: &HashMap<String, String>) -> Result<Option<Model>> {
    if let Some(text) = metadata.get("unet.graph") {
        let graph = stored::read(text, weights(dict)?)?;
        return Ok(Some(Model::new(graph, Recipe::default())));
    }
    let Some(text) = metadata.get("unet.onnx") else { return Ok(None) };
    #[cfg(feature = "onnx")]
    {
        let nodes = dict.take_bytes("onnx")?;
        let file = super::onnx::File::from_parts(text, nodes, weights(dict)?)?;
        Ok(Some(Model::from_file(Arc::new(file), Recipe::default())))
    }
    #[cfg(not(feature = "onnx"))]
    Err(Error::Model(format!(
        "the file holds an ONNX network ({} bytes); build with the feature onnx",
        text.len()
    )))
}

/// The tensors named by their places, in order.
fn weights(dict: &mut StateDict<'_>) -> Result<Vec<Arc<Tensor>>> {
    let count = dict.names().filter(|name| name.parse::<usize>().is_ok()).count();
    (0..count).map(|i| dict.take_kernel(&i.to_string())).collect()
}
