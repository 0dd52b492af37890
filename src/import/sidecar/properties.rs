//! ONNX `metadata_props` as exporters write them: QGIS deepness (`class_names`, `standardization_mean`, `seg_thresh`,
//! `resolution`), ultralytics (`names`, `task`, `license`), and plain `mean`, `std`, `classes`.
//!
//! There is no specification. Values are JSON or Python literals; unknown ones are ignored.

use super::yaml;
use serde_json::{Map, Value, json};

/// Largest mean or standard deviation of values from 0 to 1.
const UNIT: f64 = 2.0;

/// The metadata as a partial recipe.
pub(super) fn part(notes: &[(String, String)]) -> Value {
    let find = |names: &[&str]| {
        let note = |name: &&str| notes.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        names.iter().find_map(note).map(|(_, text)| text.trim())
    };
    let mut recipe = json!({ "input": {}, "output": {} });
    for (field, name) in [("task", "task"), ("description", "description"), ("license", "license")] {
        if let Some(text) = find(&[name]).filter(|text| !text.is_empty()) {
            recipe[field] = text.into();
        }
    }
    if let Some(text) = find(&["author", "authors"]) {
        recipe["authors"] = text.into();
    }
    if let Some(text) = find(&["resolution"]) {
        let pixels = format!("for pictures of {text} cm a pixel");
        recipe["training"] = pixels.into();
    }

    let mean = find(&["mean", "standardization_mean"]).and_then(numbers);
    let std = find(&["std", "standardization_std"]).and_then(numbers);
    if let (Some(mean), Some(std)) = (mean, std) {
        // The metadata does not say whether the numbers refer to 0 to 255 or to 0 to 1; their size decides.
        let is_unit = mean.iter().chain(&std).all(|v| v.abs() <= UNIT);
        let scale = if is_unit { 1.0 / 255.0 } else { 1.0 };
        recipe["input"] = json!({ "scale": scale, "mean": mean, "std": std });
    }
    let names = find(&["class_names", "classes", "names", "labels"]).and_then(names).unwrap_or_default();
    if !names.is_empty() {
        recipe["output"]["classes"] = names.iter().map(|name| json!({ "name": name })).collect();
    }
    let threshold = find(&["seg_thresh", "threshold"]).and_then(|text| text.parse::<f32>().ok());
    if let Some(threshold) = threshold.filter(|t| t.is_finite()) {
        recipe["output"]["threshold"] = threshold.into();
    }
    recipe
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

/// The values of a mapping with the keys 0, 1, 2 and so on.
fn by_number(map: &Map<String, Value>) -> Option<Vec<&Value>> {
    (0..map.len()).map(|i| map.get(&i.to_string())).collect()
}
