//! safetensors: this project's own format when `__metadata__` holds `unet.config` (and `unet.recipe`), else a plain
//! state dict whose architecture is inferred from its names and shapes.

use super::state_dict;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::Recipe;
use crate::tensor::{Shape, Tensor};
use crate::unet::{UnetConfig, Weights};
use ::safetensors::Dtype;
use ::safetensors::tensor::{SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Reads a model from the bytes of a file.
pub(crate) fn read(bytes: &[u8]) -> Result<Model> {
    let broken = |e| Error::Model(format!("not a readable safetensors file: {e} (is it complete?)"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let tensors: BTreeMap<String, TensorView<'_>> =
        file.tensors().into_iter().filter(|(name, _)| !name.ends_with(".num_batches_tracked")).collect();
    let recipe: Recipe = json(&metadata, "unet.recipe")?.unwrap_or_default();
    let (config, names) = match json::<UnetConfig>(&metadata, "unet.config")? {
        Some(config) => (config, None),
        None => {
            let shapes = tensors.iter().map(|(name, view)| (name.as_str(), view.shape())).collect();
            let (config, names) = state_dict::infer(&shapes)?;
            (config, Some(names))
        }
    };
    let mut weights = FileWeights { tensors, names };
    let graph = config.build(&mut weights)?;
    if let Some(extra) = weights.tensors.keys().next() {
        let count = weights.tensors.len();
        return Err(Error::Model(format!(
            "extra tensor {extra} ({count} in all) has no place in the architecture"
        )));
    }
    Ok(Model { graph, config: Some(config), recipe })
}

fn json<T: DeserializeOwned>(metadata: &HashMap<String, String>, key: &str) -> Result<Option<T>> {
    let parse = |text: &String| {
        serde_json::from_str(text)
            .map_err(|e| Error::Model(format!("the metadata entry {key} is not valid: {e}")))
    };
    metadata.get(key).map(parse).transpose()
}

/// Tensors of a file, each handed out once.
struct FileWeights<'a> {
    tensors: BTreeMap<String, TensorView<'a>>,
    /// The file's names for this project's, where they differ.
    names: Option<HashMap<String, String>>,
}

impl Weights for FileWeights<'_> {
    fn tensor(&mut self, name: &str, shape: Shape) -> Result<Arc<Tensor>> {
        let name = self.names.as_ref().and_then(|names| names.get(name)).map_or(name, String::as_str);
        let Some(view) = self.tensors.remove(name) else {
            return Err(Error::Model(format!("missing tensor {name}, expected with shape {}", dims(shape))));
        };
        let full = [shape.n, shape.c, shape.h, shape.w];
        let rank = view.shape().len();
        // Trailing extents of 1 may be left out: a vector is (n), a linear layer (out, in).
        if rank > 4 || view.shape() != &full[..rank] || full[rank..].iter().any(|&e| e != 1) {
            let got = view.shape().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            return Err(Error::shape(format!("tensor {name}"), dims(shape), format!("({got})")));
        }
        let tensor = Tensor::new(shape, numbers(name, &view)?)?;
        match tensor.data().iter().find(|v| !v.is_finite()) {
            Some(v) => Err(Error::Model(format!("tensor {name} holds {v}; weights must be finite"))),
            None => Ok(Arc::new(tensor)),
        }
    }
}

/// A shape without its trailing ones.
fn dims(shape: Shape) -> String {
    let mut extents = vec![shape.n, shape.c, shape.h, shape.w];
    while extents.len() > 1 && extents.last() == Some(&1) {
        extents.pop();
    }
    format!("({})", extents.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

fn numbers(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>> {
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => {
            bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        Dtype::BF16 => {
            bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        other => {
            return Err(Error::Model(format!(
                "tensor {name} has dtype {other:?}; expected F32, F16 or BF16"
            )));
        }
    })
}
