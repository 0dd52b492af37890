//! Reading model files, one file a format. Every reader takes hostile bytes: a typed error, never a panic.

#[cfg(feature = "onnx")]
pub(crate) mod onnx;
pub(crate) mod safetensors;
mod state_dict;

use crate::error::Result;
use crate::model::Model;
use std::path::Path;

/// Reads a model file of any known format, told apart by its first bytes.
pub(crate) fn open(path: &Path) -> Result<Model> {
    #[cfg(feature = "onnx")]
    if onnx::is_onnx_file(path) {
        return onnx::open(path, &[]);
    }
    safetensors::open(path)
}
