//! One recipe from all files beside a model that describe its use.
//!
//! In order of precedence: `MODEL.toml`, field by field; what the model's own code base stores with it (`unet.recipe`,
//! nnU-Net's plans, `config.json`); a bioimage.io description; ONNX metadata; the code base of a network that is known by
//! its structure; what the network itself tells ([`meaning`]).

mod bioimage;
mod layers;
mod properties;
mod yaml;

use crate::error::{Error, Result};
use crate::meaning;
use crate::model::Model;
use crate::recipe::Recipe;
use bioimage::Description;
use layers::Layers;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads a model with `read` and completes its recipe. `path` may be a description that names the model's file.
pub(super) fn open(
    path: &Path,
    recipe: Option<&Path>,
    read: impl FnOnce(&Path, &Recipe) -> Result<Model>,
) -> Result<Model> {
    let is_description = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let description = match is_description {
        true => Some(Description::read(path)?),
        false => Description::beside(path)?,
    };
    let weights = match (&description, is_description) {
        (Some(description), true) => description.weights()?,
        _ => path.to_owned(),
    };
    let beside = weights.with_extension("toml");
    let toml = recipe.map(Path::to_owned).or_else(|| beside.is_file().then_some(beside));
    let written = toml.map(|path| written(&path).map(|value| (value, name(&path)))).transpose()?;
    let recipe =
        written.as_ref().map(|(value, _)| layers::parse(value.clone())).transpose()?.unwrap_or_default();
    let model = read(&weights, &recipe)?;
    complete(model, description.as_ref(), written)
}

/// Completes the recipe with the file's own metadata. Only ONNX files have any.
#[cfg(feature = "onnx")]
pub(super) fn noted(model: Model) -> Result<Model> {
    complete(model, None, None)
}

/// Merges all sources into the model's recipe.
fn complete(
    mut model: Model,
    description: Option<&Description>,
    written: Option<(Value, String)>,
) -> Result<Model> {
    let mut layers = Layers::default();
    let metadata = model.metadata().to_vec();
    let notes = properties::Notes::read(&metadata)?;
    if model.recipe_source.is_none() && !model.guesses.is_empty() && notes.classes() > 0 {
        model = meaning::read(model, notes.classes())?;
    }
    let own = layers::said(&model.recipe)?;
    if model.recipe_source.is_none() {
        layers.lay(own.clone(), model.known.unwrap_or_default());
    }
    let (part, doubts) = notes.part(&model)?;
    layers.lay(part, "the file's metadata");
    model.guesses.extend(doubts);
    if let Some(description) = description {
        let by_hand = written.as_ref().map(|(value, _)| value);
        let part = description.part(by_hand).map_err(|e| e.at(&description.name()).one_line())?;
        layers.lay(part, &description.name());
        model.test = description.test();
    }
    if let Some(source) = model.recipe_source {
        layers.lay(own, source);
    }
    if let Some((value, name)) = written {
        layers.overlay(value, &name);
    }
    model.guesses.retain(|guess| !layers.is_set(guess.field));
    (model.recipe, model.origins) = layers.finish().map_err(Error::one_line)?;
    if let Some((mask, guess)) = meaning::mask(&model) {
        model.recipe.input.mask = Some(mask);
        model.guesses.push(guess);
    }
    for guess in model.guesses.iter().filter(|guess| guess.field.contains('.')) {
        model.origins.entry(guess.field.into()).or_insert_with(|| guess.reason.clone());
    }
    Ok(model)
}

/// The hand-written recipe.
fn written(path: &Path) -> Result<Value> {
    let broken = |what: String| Error::Model(format!("{}: {what}", path.display())).one_line();
    let text = text(path)?;
    let value: Value = toml::from_str(&text).map_err(|e| {
        let before =
            e.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count());
        let place = before.map(|lines| format!(" in line {}", lines + 1)).unwrap_or_default();
        broken(format!("not valid TOML{place}: {}", e.message()))
    })?;
    layers::check_written(&value).map_err(|e| broken(e.to_string()))?;
    Ok(value)
}

/// Reads a text file of bounded length.
fn text(path: &Path) -> Result<String> {
    let broken = |what: &str| Error::Model(format!("{}: {what}", path.display()));
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(broken("expected a text file of at most 1 MiB"));
    }
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(Error::io(path))?;
    file.take(MAX_FILE).read_to_end(&mut text).map_err(Error::io(path))?;
    String::from_utf8(text).map_err(|_| broken("expected a text file in UTF-8"))
}

/// A file's name without its folder.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file that a description names, if it exists in the description's folder: by its path, or the last part of its
/// URL.
fn named(folder: &Path, source: &str) -> Option<PathBuf> {
    let last = source.rsplit('/').next()?;
    let is_inside = |path: &Path| path.components().all(|c| matches!(c, std::path::Component::Normal(_)));
    [source, last]
        .into_iter()
        .filter(|part| !part.is_empty() && is_inside(Path::new(part)))
        .map(|part| folder.join(part))
        .find(|path| path.is_file())
}
