//! YAML to plain values: one document, anchors resolved, all sizes bounded.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// Most values, including those that aliases repeat.
const MAX_VALUES: usize = 100_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// A list or mapping in progress.
struct Open {
    anchor: usize,
    /// Deepest nesting of its items so far.
    depth: usize,
    value: Collection,
}

enum Collection {
    List(Vec<Value>),
    /// With the key of the next value.
    Map(Map<String, Value>, Option<String>),
}

/// An anchored value, its nesting and its number of values.
type Anchor = (Value, usize, usize);

/// The first document of a text. Plain scalars have the types of YAML 1.2's core schema; infinities stay text.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Anchor> = HashMap::new();
    let mut values = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| format!("line {}: {}", e.marker().line(), e.info()))?;
        let at = |what: &str| format!("line {}: {what}", span.start.line());
        let collection = |anchor, value| Open { anchor, depth: 0, value };
        let (value, depth, count, anchor) = match event {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
            Event::DocumentEnd | Event::StreamEnd => break,
            Event::SequenceStart(anchor, _) => {
                open.push(collection(anchor, Collection::List(Vec::new())));
                if open.len() > MAX_DEPTH {
                    return Err(at(&format!("nested deeper than {MAX_DEPTH}")));
                }
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(collection(anchor, Collection::Map(Map::new(), None)));
                if open.len() > MAX_DEPTH {
                    return Err(at(&format!("nested deeper than {MAX_DEPTH}")));
                }
                continue;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                let value = if is_text { Value::String(text.into_owned()) } else { plain(&text) };
                (value, 0, 1, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let closed = open.pop().ok_or_else(|| at("a list or mapping ends that was not begun"))?;
                let value = match closed.value {
                    Collection::List(list) => Value::Array(list),
                    Collection::Map(map, None) => Value::Object(map),
                    Collection::Map(..) => return Err(at("a key without a value")),
                };
                (value, closed.depth + 1, 1, closed.anchor)
            }
            Event::Alias(anchor) => {
                let (value, depth, count) =
                    anchors.get(&anchor).ok_or_else(|| at("an alias inside its own anchor"))?;
                if values + count > MAX_VALUES || open.len() + depth > MAX_DEPTH {
                    return Err(at("its aliases repeat too much"));
                }
                (value.clone(), *depth, *count, 0)
            }
        };
        values += count;
        if values > MAX_VALUES {
            return Err(at(&format!("more than {MAX_VALUES} values")));
        }
        if anchor != 0 {
            anchors.insert(anchor, (value.clone(), depth, size(&value)));
            values += size(&value);
        }
        let Some(parent) = open.last_mut() else { return Ok(value) };
        parent.depth = parent.depth.max(depth);
        match &mut parent.value {
            Collection::List(list) => list.push(value),
            Collection::Map(map, key) => match key.take() {
                Some(key) => drop(map.insert(key, value)),
                None => {
                    let name = match value {
                        Value::String(name) => name,
                        Value::Array(_) | Value::Object(_) => return Err(at("a key that is not a scalar")),
                        other => other.to_string(),
                    };
                    if map.contains_key(&name) {
                        return Err(at(&format!("the key {name} occurs twice")));
                    }
                    *key = Some(name);
                }
            },
        }
    }
    Err("no document in it".into())
}

/// The number of values inside a value.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// A scalar without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    // Rust's parser would also accept `inf` and `nan`.
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.ends_with(|c: char| c.is_ascii_digit() || c == '.');
    let number = || match text.parse::<i64>() {
        Ok(whole) => Some(Number::from(whole)),
        Err(_) => text.parse::<f64>().ok().and_then(Number::from_f64),
    };
    match is_number.then(number).flatten() {
        Some(number) => Value::Number(number),
        None => Value::String(text.into()),
    }
}
