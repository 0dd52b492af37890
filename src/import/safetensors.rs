//! safetensors: this project's own format if `__metadata__` holds `unet.config` (and `unet.recipe`), else a plain state
//! dict whose architecture is derived from names and shapes.

use super::bundle;
use super::families::{self, Renamed};
use super::tensors::{Source, StateDict, Stored};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::Recipe;
use crate::unet::UnetConfig;
use ::safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::{HashMap, HashSet};
use std::io::{Cursor, Read};
use std::path::Path;

/// Longest header that is read, bytes. The format allows 100 MB. A U-Net's header takes kilobytes, and parsing takes
/// many times the header's size.
const MAX_HEADER: u64 = 8 << 20;

impl Model {
    /// Reads the bytes of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Model`] and [`Error::Shape`] name what in the file is wrong.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Model> {
        read(Box::new(Cursor::new(bytes)), bytes.len() as u64, None, None).map_err(Error::one_line)
    }
}

/// Whether a file begins as safetensors does: 8 bytes of length, then JSON.
pub(super) fn is_safetensors(first: &[u8]) -> bool {
    first.get(8) == Some(&b'{')
}

/// Reads a model from a file of `len` bytes. A file that is not a model, or not complete, is refused before its tensors
/// are read.
pub(super) fn read(
    source: Box<dyn Source + '_>,
    len: u64,
    folder: Option<&Path>,
    part: Option<&str>,
) -> Result<Model> {
    let (mut tensors, metadata) = dict(source, len, folder)?;
    tensors.part = part.map(str::to_owned);
    if let Some(model) = bundle::read(&mut tensors, &metadata)? {
        return Ok(model);
    }
    let recipe = json::<Recipe>(&metadata, "unet.recipe")?;
    let Some(config) = json::<UnetConfig>(&metadata, "unet.config")? else {
        let model = families::recognise(&mut tensors)?;
        return Ok(with_recipe(model, recipe));
    };
    let graph = config.build(&mut Renamed::unchanged(&mut tensors))?;
    tensors.check_all_taken()?;
    Ok(with_recipe(Model::new(graph, Recipe::default()).with_config(config), recipe))
}

/// The tensors and the metadata of a file of `len` bytes.
pub(super) fn dict<'a>(
    mut source: Box<dyn Source + 'a>,
    len: u64,
    folder: Option<&Path>,
) -> Result<(StateDict<'a>, HashMap<String, String>)> {
    let mut more = |count: u64| {
        let mut bytes = Vec::new();
        (&mut source).take(count).read_to_end(&mut bytes).map(|_| bytes).map_err(broken)
    };
    let header_bytes = header_len(&more(8)?, len)?;
    let header = header(&more(header_bytes)?, len)?;
    let data = 8 + header_bytes;
    let stored = |(name, info): (String, &TensorInfo)| {
        (name, Stored::contiguous(info.dtype, &info.shape, data + info.data_offsets.0 as u64))
    };
    let mut tensors: Vec<(String, &TensorInfo)> = header.tensors().into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let mut tensors = StateDict::new(source, len, tensors.into_iter().map(stored));
    tensors.folder = folder.map(Path::to_owned);
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

/// A recipe that the file holds is instead of what its names told.
fn with_recipe(mut model: Model, recipe: Option<Recipe>) -> Model {
    let Some(recipe) = recipe else { return model };
    model.recipe = recipe;
    model.with_recipe_source("unet.recipe in the file")
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::Model(format!("not a readable safetensors file: {what} (is it complete?)"))
}

/// The length of the header, from the first 8 bytes, in a file of `len` bytes.
fn header_len(bytes: &[u8], len: u64) -> Result<u64> {
    let first = bytes.first_chunk::<8>().ok_or_else(|| broken(format!("it has {} bytes", bytes.len())))?;
    match u64::from_le_bytes(*first) {
        claimed if claimed > MAX_HEADER => {
            Err(broken(format!("expected a header of at most {MAX_HEADER} bytes, got {claimed}")))
        }
        claimed if claimed + 8 > len => {
            Err(broken(format!("expected {claimed} bytes of header, got {}", len - 8)))
        }
        claimed => Ok(claimed),
    }
}

/// Parses the header. Its tensors must follow each other without gap or overlap to the end of a file of `len` bytes.
fn header(text: &[u8], len: u64) -> Result<Metadata> {
    serde_json::Deserializer::from_slice(text).deserialize_map(DistinctNames).map_err(broken)?;
    let metadata: Metadata = serde_json::from_slice(text).map_err(broken)?;
    let expected = (metadata.data_len() as u64).saturating_add(8 + text.len() as u64);
    if expected != len {
        return Err(broken(format!("expected {expected} bytes, got {len}")));
    }
    Ok(metadata)
}

/// Refuses a header with a duplicate name, because readers disagree on which of the two counts.
struct DistinctNames;

impl<'de> Visitor<'de> for DistinctNames {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format!("it has {name} twice")));
            }
        }
        Ok(())
    }
}

fn json<T: DeserializeOwned>(metadata: &HashMap<String, String>, key: &str) -> Result<Option<T>> {
    let parse = |text: &String| {
        serde_json::from_str(text)
            .map_err(|e| Error::Model(format!("the metadata entry {key} is not valid: {e}")))
    };
    metadata.get(key).map(parse).transpose()
}
