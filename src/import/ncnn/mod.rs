//! ncnn (github.com/Tencent/ncnn): a text file of layers (`.param`) and their weights beside it (`.bin`).
//!
//! [`param`] reads the text, [`weights`] the numbers, and [`layers`] makes ONNX nodes of the layers, so that ncnn files
//! take the same way to a graph as ONNX files. A blob of one axis is a map of one pixel.

mod layers;
mod param;
mod weights;

use crate::error::{Error, Result};
use crate::known;
use crate::model::Model;
use crate::network::Choice;
use std::path::Path;

/// Longest text that is read, bytes. A layer takes about a hundred.
const MAX_PARAM: u64 = 4 << 20;

impl Model {
    /// Reads the bytes of an ncnn network: the text of its `.param` file, and its `.bin` file.
    ///
    /// # Errors
    /// [`Error::Model`] and [`Error::Shape`] name the layer and what of it is not supported.
    pub fn from_ncnn(param: &[u8], bin: &[u8]) -> Result<Model> {
        read(param, bin, &Choice::default()).map_err(Error::one_line)
    }
}

/// Whether a file begins as a `.param` file does.
pub(super) fn is_param(first: &[u8]) -> bool {
    first.trim_ascii_start().starts_with(b"7767517")
}

/// Reads a `.param` file and the `.bin` file of the same name.
pub(super) fn open(path: &Path, choice: &Choice<'_>) -> Result<Model> {
    let bin = path.with_extension("bin");
    if !bin.is_file() {
        return Err(Error::Model(format!(
            "the weights of this ncnn network are missing: expected {} beside it",
            bin.file_name().unwrap_or_default().to_string_lossy()
        )));
    }
    if std::fs::metadata(path).map_err(Error::io(path))?.len() > MAX_PARAM {
        return Err(Error::Model(format!("expected a text file of at most {MAX_PARAM} bytes")));
    }
    let param = std::fs::read(path).map_err(Error::io(path))?;
    let bin = std::fs::read(&bin).map_err(Error::io(&bin))?;
    read(&param, &bin, choice)
}

fn read(param: &[u8], bin: &[u8], choice: &Choice<'_>) -> Result<Model> {
    let layers = param::parse(param)?;
    known::complete(layers::network(&layers, weights::Weights::new(bin))?.finish(choice)?, choice)
}
