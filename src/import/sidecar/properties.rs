//! ONNX `metadata_props` as exporters write them: QGIS deepness (`model_type`, `class_names`, `standardization_mean`,
//! `tiles_size`, `seg_thresh`, `reg_output_scaling`, `resolution`), ultralytics (`names`, `task`, `license`), and plain
//! `mean`, `std`, `classes`, `class_colors`, `ignore_index`.
//!
//! There is no specification. Values are JSON or Python literals; unknown ones are ignored. deepness:
//! <https://qgis-plugin-deepness.readthedocs.io/en/latest/creators/creators_add_metadata_to_model.html>

use super::yaml;
use crate::error::{Error, Result};
use crate::model::{Guess, Model};
use crate::recipe::{Decode, hex_color};
use serde_json::{Map, Value, json};

/// Largest mean or standard deviation of values from 0 to 1.
const UNIT: f64 = 2.0;

/// A file's notes.
pub(super) struct Notes<'a>(&'a [(String, String)]);

impl<'a> Notes<'a> {
    /// Refuses files that their notes call networks of a kind that has no recipe.
    pub(super) fn read(notes: &'a [(String, String)]) -> Result<Notes<'a>> {
        let notes = Notes(notes);
        let refuse = |kind: &str, gives: &str| {
            let message = format!(
                "the file's metadata call it a {kind}, which gives {gives}; unet runs networks that give \
                                   pictures, masks, measurements or class scores"
            );
            Err(Error::Model(message))
        };
        match notes.word("model_type").as_deref() {
            Some("detector") => refuse("Detector", "boxes"),
            Some("recognition") => refuse("Recognition model", "vectors to compare"),
            _ => match notes.word("task").as_deref() {
                Some("detect") => refuse("detector", "boxes"),
                Some("pose") => refuse("pose network", "points"),
                Some("obb") => refuse("detector", "turned boxes"),
                _ => Ok(notes),
            },
        }
    }

    /// The first of these notes that the file has.
    fn find(&self, names: &[&str]) -> Option<&'a str> {
        let note = |name: &&str| self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        names.iter().find_map(note).map(|(_, text)| text.trim())
    }

    /// A note of one word, in small letters.
    fn word(&self, name: &str) -> Option<String> {
        Some(literal(self.find(&[name])?)?.as_str()?.to_lowercase())
    }

    fn number(&self, name: &str) -> Option<f64> {
        literal(self.find(&[name])?)?.as_f64().filter(|number| (*number as f32).is_finite())
    }

    fn names(&self) -> Vec<String> {
        self.find(&["class_names", "classes", "names", "labels", "id2label"])
            .and_then(names)
            .unwrap_or_default()
    }

    /// Number of classes that have names.
    pub(super) fn classes(&self) -> usize {
        self.names().len()
    }

    /// The notes as a partial recipe, and what of them it cannot hold.
    ///
    /// # Errors
    /// When the network does not take its example input.
    pub(super) fn part(&self, model: &Model) -> Result<(Value, Vec<Guess>)> {
        let mut recipe = json!({ "input": {}, "output": {} });
        let mut doubts = Vec::new();
        for (field, name) in [("task", "task"), ("description", "description"), ("license", "license")] {
            if let Some(text) = self.find(&[name]).filter(|text| !text.is_empty()) {
                recipe[field] = text.into();
            }
        }
        if let Some(text) = self.find(&["author", "authors"]) {
            recipe["authors"] = text.into();
        }
        if let Some(text) = self.find(&["resolution"]) {
            let pixels = format!("for pictures of {text} cm a pixel");
            recipe["training"] = pixels.into();
        }

        let mean = self.find(&["mean", "standardization_mean"]).and_then(numbers);
        let std = self.find(&["std", "standardization_std"]).and_then(numbers);
        if let (Some(mean), Some(std)) = (mean, std) {
            // The metadata does not say whether the numbers refer to 0 to 255 or to 0 to 1; their size decides.
            let is_unit = mean.iter().chain(&std).all(|v| v.abs() <= UNIT);
            let scale = if is_unit { 1.0 / 255.0 } else { 1.0 };
            recipe["input"] = json!({ "scale": scale, "mean": mean, "std": std });
        }
        // The scale of things is kept: pictures go through in tiles of this size.
        if let Some(tile) = self.number("tiles_size").filter(|tile| *tile >= 1.0) {
            (recipe["input"]["size"], recipe["input"]["tile"]) = ("native".into(), json!(tile as usize));
            if let Some(percent) =
                self.number("tiles_overlap").filter(|percent| (0.0..100.0).contains(percent))
            {
                recipe["input"]["overlap"] = json!((tile * percent / 100.0) as usize);
            }
        }
        let names = self.names();
        let colors = self.find(&["class_colors", "colors", "palette"]).and_then(colors).unwrap_or_default();
        if !names.is_empty() {
            let class = |(i, name): (usize, &String)| match colors.get(i) {
                Some(color) => json!({ "name": name, "color": color }),
                None => json!({ "name": name }),
            };
            recipe["output"]["classes"] = names.iter().enumerate().map(class).collect();
        }
        if let Some(number) = self.number("ignore_index").filter(|v| (0.0..=f64::from(u16::MAX)).contains(v))
        {
            recipe["output"]["void"] = json!([number as u16]);
        }
        match self.word("model_type").as_deref() {
            Some("regressor") => {
                recipe["output"]["decode"] = "values".into();
                if let Some(gain) = self.number("reg_output_scaling").filter(|gain| *gain != 1.0) {
                    recipe["output"]["steps"] = json!([{ "linear": { "gain": [gain] } }]);
                }
            }
            Some("superresolution") => recipe["output"]["decode"] = "image".into(),
            _ => {}
        }
        if let Some(threshold) = self.number("seg_thresh").or(self.number("threshold")) {
            let decode = model.decode()?;
            match (decode, result_channels(model)?) {
                (Decode::Mask, 1) | (Decode::Image | Decode::Values, 1) | (Decode::Labels, _) => {
                    let decode = if decode == Decode::Labels { "labels" } else { "mask" };
                    (recipe["output"]["decode"], recipe["output"]["threshold"]) =
                        (decode.into(), threshold.into());
                }
                _ => doubts.push(dropped(
                    "seg_thresh",
                    "each pixel gets its most likely class, however likely that is",
                )),
            }
        }
        if self.number("seg_small_segment").is_some_and(|pixels| pixels > 0.0) {
            doubts.push(dropped("seg_small_segment", "small regions stay; --min-area removes them"));
        }
        Ok((recipe, doubts))
    }
}

/// A note that the recipe cannot hold.
fn dropped(name: &str, effect: &str) -> Guess {
    let line = format!("the file's metadata have {name}, which is not done here: {effect}");
    Guess { field: "metadata", reason: line.clone(), doubt: Some(line) }
}

fn result_channels(model: &Model) -> Result<usize> {
    Ok(model.network.traits()?.shapes[1].c)
}

/// A JSON or Python literal. YAML reads brackets and braces in the same way; tuples become lists.
fn literal(text: &str) -> Option<Value> {
    let tuple = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    match tuple {
        Some(inside) => yaml::parse(&format!("[{inside}]")).ok(),
        None => yaml::parse(text).ok(),
    }
}

/// One to four finite numbers.
fn numbers(text: &str) -> Option<Vec<f64>> {
    let list = match literal(text)? {
        Value::Array(list) => list,
        Value::String(text) => text.split(',').filter_map(|part| literal(part.trim())).collect(),
        number => vec![number],
    };
    let numbers: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
    numbers.filter(|list| (1..=4).contains(&list.len()) && list.iter().all(|v| (*v as f32).is_finite()))
}

/// Class names: a list, a mapping from numbers, or a comma-separated text.
fn names(text: &str) -> Option<Vec<String>> {
    let word = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match literal(text)? {
        Value::Array(list) => list.iter().map(word).collect(),
        Value::Object(map) => by_number(&map)?.into_iter().map(word).collect(),
        Value::String(text) => Some(text.split(',').map(|name| name.trim().to_string()).collect()),
        _ => None,
    }
}

/// Colours of the classes: a list of, or a mapping from numbers to, `[red, green, blue]` and `#rrggbb`.
fn colors(text: &str) -> Option<Vec<[u8; 3]>> {
    let color = |value: &Value| match value {
        Value::String(text) => hex_color(text),
        list => serde_json::from_value(list.clone()).ok(),
    };
    match literal(text)? {
        Value::Array(list) => list.iter().map(color).collect(),
        Value::Object(map) => by_number(&map)?.into_iter().map(color).collect(),
        _ => None,
    }
}

/// The values of a mapping with the keys 0, 1, 2 and so on.
fn by_number(map: &Map<String, Value>) -> Option<Vec<&Value>> {
    (0..map.len()).map(|i| map.get(&i.to_string())).collect()
}
