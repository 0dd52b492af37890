//! Partial recipes, as JSON, merged into one.

use crate::error::{Error, Result};
use crate::recipe::Recipe;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Fields that only make sense together. A source that sets one of them replaces all of them.
const UNITS: [(&str, &[&str]); 5] = [
    ("input", &["mask"]),
    ("input", &["transfer", "scale", "steps", "mean", "std"]),
    ("input", &["size", "multiple", "fit", "filter", "tile", "overlap"]),
    ("output", &["decode", "scale", "threshold", "regions", "steps"]),
    ("output", &["classes", "background", "void"]),
];

/// A recipe in progress, and the source of each field.
#[derive(Default)]
pub(super) struct Layers {
    recipe: Map<String, Value>,
    origins: BTreeMap<String, String>,
}

impl Layers {
    /// Merges a source, whole units at a time. With an empty name, no origin is recorded.
    pub(super) fn lay(&mut self, part: Value, from: &str) {
        for (section, fields) in UNITS {
            if fields.iter().any(|field| part[section].get(field).is_some()) {
                for field in fields {
                    if let Some(Value::Object(below)) = self.recipe.get_mut(section) {
                        below.remove(*field);
                    }
                    self.origins.remove(&format!("{section}.{field}"));
                }
            }
        }
        self.overlay(part, from);
    }

    /// Merges a source field by field.
    pub(super) fn overlay(&mut self, part: Value, from: &str) {
        let Value::Object(part) = part else { return };
        for (name, value) in part {
            let Value::Object(fields) = value else {
                self.set(&name, from);
                self.recipe.insert(name, value);
                continue;
            };
            for field in fields.keys() {
                self.set(&format!("{name}.{field}"), from);
            }
            match self.recipe.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(below) => {
                    fields.into_iter().for_each(|(field, value)| merge(below, field, value))
                }
                other => *other = Value::Object(fields),
            }
        }
    }

    /// Whether a source with a name set the field of that path, or one that belongs to it.
    pub(super) fn is_set(&self, path: &str) -> bool {
        let Some((section, field)) = path.split_once('.') else { return self.origins.contains_key(path) };
        let unit = UNITS.iter().find(|(of, fields)| *of == section && fields.contains(&field));
        let fields = unit.map_or(std::slice::from_ref(&field), |(_, fields)| fields);
        fields.iter().any(|field| self.origins.contains_key(&format!("{section}.{field}")))
    }

    fn set(&mut self, path: &str, from: &str) {
        self.origins.remove(path);
        if !from.is_empty() {
            self.origins.insert(path.into(), from.into());
        }
    }

    /// The recipe and the origins of its fields.
    pub(super) fn finish(self) -> Result<(Recipe, BTreeMap<String, String>)> {
        let recipe = parse(Value::Object(self.recipe))?;
        recipe.check()?;
        Ok((recipe, self.origins))
    }
}

/// Sets a field; of a table, the fields that it has.
fn merge(to: &mut Map<String, Value>, field: String, value: Value) {
    match (to.get_mut(&field), value) {
        (Some(Value::Object(below)), Value::Object(fields)) => below.extend(fields),
        (_, value) => drop(to.insert(field, value)),
    }
}

pub(super) fn parse(value: Value) -> Result<Recipe> {
    serde_json::from_value(value).map_err(|e| Error::Model(format!("the recipe is not valid: {e}")))
}

/// The fields of a recipe that are not empty.
pub(super) fn said(recipe: &Recipe) -> Result<Value> {
    let mut value = serde_json::to_value(recipe)
        .map_err(|e| Error::Model(format!("the recipe cannot be written as JSON: {e}")))?;
    strip(&mut value);
    Ok(value)
}

fn strip(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.values_mut().for_each(strip);
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
}

/// Errors with the first field of a hand-written recipe that is unknown or invalid.
pub(super) fn check_written(value: &Value) -> Result<()> {
    let known = serde_json::to_value(Recipe::default()).unwrap_or_default();
    for (name, value) in value.as_object().into_iter().flatten() {
        check_field(name, known.get(name), &known, "")?;
        let (Some(fields), Some(Value::Object(_))) = (value.as_object(), known.get(name)) else {
            alone(&[name], value)?;
            continue;
        };
        for (field, value) in fields {
            check_field(field, known[name].get(field), &known[name], &format!("{name}."))?;
            alone(&[name, field], value)?;
        }
    }
    parse(value.clone()).and_then(|recipe| recipe.check())
}

fn check_field(field: &str, found: Option<&Value>, known: &Value, path: &str) -> Result<()> {
    if found.is_some() {
        return Ok(());
    }
    let names: Vec<&str> = known.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    Err(Error::Model(format!("unknown field {path}{field}; expected one of {}", names.join(", "))))
}

/// Reads one field alone, so an error can name it.
fn alone(path: &[&str], value: &Value) -> Result<()> {
    let inside = |value: Value, name: &&str| Value::Object(Map::from_iter([(name.to_string(), value)]));
    let recipe: Result<Recipe, _> = serde_json::from_value(path.iter().rev().fold(value.clone(), inside));
    recipe.map(drop).map_err(|e| Error::Model(format!("{}: {e}", path.join("."))))
}
