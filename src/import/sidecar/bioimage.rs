//! bioimage.io model descriptions, `bioimageio.yaml` or `rdf.yaml`, format versions 0.4 and 0.5.
//!
//! Specification: <https://github.com/bioimage-io/spec-bioimage-io>. An unknown step is an error that names it, unless
//! a hand-written recipe has steps of its own.

use super::{name, named, text, yaml};
use crate::error::{Error, Result};
use crate::model::{TestArray, TestPair};
use crate::recipe::{Over, Step};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// File names of descriptions.
const NAMES: [&str; 2] = ["bioimageio.yaml", "rdf.yaml"];
/// Kinds of weights that can be read, in order of preference.
const WEIGHTS: [&str; 3] = ["onnx", "pytorch_state_dict", "torchscript"];
/// Largest absolute difference from a test output if the description has no tolerance: rounding of f32.
const TOLERANCE: f64 = 1e-5;

/// Kinds of weights that this build reads.
fn file_kinds() -> &'static [&'static str] {
    match (cfg!(feature = "onnx"), cfg!(feature = "pickle")) {
        (true, true) => &WEIGHTS,
        (true, false) => &WEIGHTS[..1],
        (false, true) => &WEIGHTS[1..],
        (false, false) => &[],
    }
}

/// A description and its path.
pub(super) struct Description {
    path: PathBuf,
    value: Value,
}

impl Description {
    pub(super) fn read(path: &Path) -> Result<Description> {
        let broken = |what: String| {
            let message = format!("{}: not a bioimage.io model description: {what}", path.display());
            Error::Model(message).one_line()
        };
        let value = yaml::parse(&text(path)?).map_err(broken)?;
        let version = value["format_version"].as_str().unwrap_or("none");
        if !["0.4.", "0.5."].iter().any(|known| version.starts_with(known)) {
            return Err(broken(format!(
                "format_version: expected 0.4 or 0.5, got {version} (move the file away to go without it)"
            )));
        }
        for part in ["inputs", "outputs", "weights"] {
            if value[part].as_array().map_or_else(|| value[part].is_object(), |list| !list.is_empty()) {
                continue;
            }
            return Err(broken(format!("it has no {part}")));
        }
        Ok(Description { path: path.into(), value })
    }

    /// The description in a model file's folder, if it describes that file.
    pub(super) fn beside(model: &Path) -> Result<Option<Description>> {
        let folder = folder(model);
        let Some(path) = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
            return Ok(None);
        };
        // A description of another file is ignored, even if it cannot be read.
        if !text(&path).is_ok_and(|text| text.contains(&name(model))) {
            return Ok(None);
        }
        let description = Description::read(&path)?;
        let is_named =
            description.sources().any(|(_, source)| source.rsplit('/').next() == Some(&name(model)));
        Ok(is_named.then_some(description))
    }

    /// The description's file name.
    pub(super) fn name(&self) -> String {
        name(&self.path)
    }

    /// Kinds of weights and their files.
    fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        let source = |kind: &'static str| self.value["weights"][kind]["source"].as_str().map(|s| (kind, s));
        WEIGHTS.into_iter().filter_map(source)
    }

    /// The file with the preferred kind of weights that exists.
    pub(super) fn weights(&self) -> Result<PathBuf> {
        let folder = folder(&self.path);
        let found = self.sources().filter(|(kind, _)| file_kinds().contains(kind));
        found.filter_map(|(_, source)| named(folder, source)).next().ok_or_else(|| {
            let listed: Vec<String> =
                self.sources().map(|(kind, source)| format!("{kind} {source}")).collect();
            let listed = if listed.is_empty() { "none of these".into() } else { listed.join(", ") };
            let expected = file_kinds().join(" or ");
            let path = self.path.display();
            let message = format!(
                "{path}: no weights beside it; expected {expected} as a file in its folder, it lists {listed}"
            );
            Error::Model(message).one_line()
        })
    }

    /// The description as a partial recipe. Steps that `written` replaces are not read.
    pub(super) fn part(&self, written: Option<&Value>) -> Result<Value> {
        let value = &self.value;
        let replaced = |section: &str| written.is_some_and(|w| w[section].get("steps").is_some());
        let mut recipe = json!({ "input": {}, "output": {} });
        for (field, words) in [
            ("description", words(&value["description"]).or(words(&value["name"]))),
            ("license", words(&value["license"])),
            ("training", words(&value["training_data"]["id"]).map(|id| format!("on {id}"))),
            ("authors", joined(&value["authors"], |author| words(&author["name"]), ", ")),
            ("citation", joined(&value["cite"], citation, "; ")),
        ] {
            if let Some(words) = words {
                recipe[field] = words.into();
            }
        }
        let [input, output] = ["inputs", "outputs"].map(|part| &value[part]);
        if let Some(more @ 2..) = input.as_array().map(Vec::len) {
            return Err(Error::shape("inputs", "one", more));
        }
        let (input, output) = (&input[0], &output[0]);
        let (input_axes, output_axes) = (Axes::of(input)?, Axes::of(output)?);

        if !replaced("input") {
            let what = "preprocessing";
            let steps = steps(&input[what], what, &input_axes)?;
            // The description's values are those of the file; pictures arrive in 8-bit units.
            let scale = if data_type(input) == Some("uint16") { 257.0 } else { 1.0 };
            (recipe["input"]["scale"], recipe["input"]["steps"]) = (scale.into(), json!(steps));
        }
        let blue_first = |name: &String| name.to_lowercase().starts_with('b');
        if input_axes.channels.len() == 3 && input_axes.channels.first().is_some_and(blue_first) {
            recipe["input"]["channels"] = "bgr".into();
        }
        // The description knows how large things are in pixels: the picture keeps its size.
        recipe["input"]["size"] = "native".into();
        if let Some(side) = input_axes.fixed {
            let overlap = (2 * output_axes.halo).max(side / 4);
            (recipe["input"]["tile"], recipe["input"]["overlap"]) = (side.into(), overlap.into());
        }
        if let Some(multiple) = input_axes.multiple {
            (recipe["input"]["multiple"], recipe["input"]["fit"]) = (multiple.into(), "reflect".into());
        }

        if !replaced("output") {
            let what = "postprocessing";
            let steps = steps(&output[what], what, &output_axes)?;
            let decides = |step: &Step| matches!(step, Step::Sigmoid | Step::Softmax | Step::Binarize { .. });
            let tags: Vec<&str> = list(&value["tags"]).filter_map(Value::as_str).collect();
            let has = |words: &[&str]| tags.iter().any(|tag| words.iter().any(|word| tag.contains(word)));
            if steps.iter().any(decides) || has(&["segment"]) {
                recipe["output"]["decode"] = "mask".into();
                recipe["output"]["threshold"] = 0.5.into();
                recipe["task"] = "segment".into();
            } else if has(&["denois", "restor", "super-resolution", "deconvol", "reconstruct"]) {
                // In the units of the input.
                let scale = if data_type(input) == Some("uint16") { 1.0 / 257.0 } else { 1.0 };
                (recipe["output"]["decode"], recipe["output"]["scale"]) = ("image".into(), scale.into());
                recipe["task"] = if has(&["denois"]) { "denoise" } else { "restore" }.into();
            }
            recipe["output"]["steps"] = json!(steps);
        }
        let class = |name: &str| json!({ "name": name });
        match &output_axes.channels[..] {
            [] => {}
            [one] => recipe["output"]["classes"] = json!([class("background"), class(one)]),
            many => recipe["output"]["classes"] = many.iter().map(|name| class(name)).collect(),
        }
        if output_axes.halo > 0 {
            recipe["output"]["halo"] = output_axes.halo.into();
        }
        Ok(recipe)
    }

    /// The test tensors, if they are stored beside the description.
    pub(super) fn test(&self) -> Option<TestPair> {
        let array = |part: &str, old: &str| {
            let tensor = &self.value[part][0];
            let source =
                [&tensor["test_tensor"]["source"], &self.value[old][0], &self.value[old][0]["source"]];
            let path = named(folder(&self.path), source.into_iter().find_map(Value::as_str)?)?;
            Some(TestArray { path, axes: Axes::of(tensor).ok()?.order })
        };
        let config = &self.value["config"]["bioimageio"];
        let tolerances = [
            &config["reproducibility_tolerance"][0]["absolute_tolerance"],
            &config["test_kwargs"]["onnx"]["absolute_tolerance"],
        ];
        Some(TestPair {
            input: array("inputs", "test_inputs")?,
            output: array("outputs", "test_outputs")?,
            tolerance: tolerances
                .into_iter()
                .find_map(Value::as_f64)
                .filter(|t| (0.0..1.0).contains(t))
                .unwrap_or(TOLERANCE),
        })
    }
}

/// The axes of a tensor.
struct Axes {
    /// `b`, `c`, `y` and `x`, in the tensor's order.
    order: String,
    channels: Vec<String>,
    /// Both sides are a multiple of this.
    multiple: Option<usize>,
    /// Both sides are this, and no other.
    fixed: Option<usize>,
    halo: usize,
}

impl Axes {
    fn of(tensor: &Value) -> Result<Axes> {
        let (order, channels) = (String::new(), Vec::new());
        let mut axes = Axes { order, channels, multiple: None, fixed: None, halo: 0 };
        match &tensor["axes"] {
            // Version 0.4: one string, with shape and halo beside it, one number for each axis.
            Value::String(word) => {
                axes.order = word.clone();
                let at = |list: &Value, axis: usize| list[axis].as_u64();
                for (i, axis) in word.chars().enumerate().filter(|(_, axis)| "yx".contains(*axis)) {
                    let shape = &tensor["shape"];
                    axes.sides(axis, at(&shape["min"], i), at(&shape["step"], i), at(&tensor["halo"], i));
                    axes.fix(axis, at(shape, i));
                }
            }
            Value::Array(list) => {
                for axis in list {
                    let kind = axis["type"].as_str().unwrap_or_default();
                    let letter = match (kind, axis["id"].as_str()) {
                        ("batch", _) => 'b',
                        ("channel", _) => 'c',
                        ("space", Some("y")) => 'y',
                        ("space", Some("x") | None) => 'x',
                        (kind, id) => {
                            let got = format!("{kind} {}", id.unwrap_or_default());
                            return Err(Error::shape("axes", "batch, channel, y and x", got.trim()));
                        }
                    };
                    axes.order.push(letter);
                    if letter == 'c' {
                        axes.channels = self::list(&axis["channel_names"])
                            .filter_map(|name| name.as_str().map(str::to_string))
                            .collect();
                    }
                    if "yx".contains(letter) {
                        let number = |value: &Value| value.as_u64();
                        let size = &axis["size"];
                        axes.sides(
                            letter,
                            number(&size["min"]),
                            number(&size["step"]),
                            number(&axis["halo"]),
                        );
                        axes.fix(letter, number(size));
                    }
                }
            }
            _ => {}
        }
        let is_picture = axes.order.chars().all(|axis| "bcyx".contains(axis));
        let once = "bcyx".chars().all(|axis| axes.order.matches(axis).count() <= 1);
        if !is_picture || !once || !axes.order.contains("y") || !axes.order.contains("x") {
            return Err(Error::shape("axes", "some of b and c, and y and x (two dimensions)", &axes.order));
        }
        Ok(axes)
    }

    /// Merges the fixed size of one side.
    fn fix(&mut self, axis: char, side: Option<u64>) {
        let side = side.and_then(|side| usize::try_from(side).ok()).filter(|side| (32..=4096).contains(side));
        self.fixed = if axis == 'y' || self.fixed == side { side } else { None };
    }

    /// Merges the sizes of one side.
    fn sides(&mut self, axis: char, min: Option<u64>, step: Option<u64>, halo: Option<u64>) {
        let halo = halo.and_then(|halo| usize::try_from(halo).ok()).unwrap_or(0);
        self.halo = self.halo.max(halo.min(1 << 15));
        // The network itself decides which sizes it takes. A rule must hold for both sides.
        let rule = match (min, step) {
            (Some(min), Some(step @ 2..=4096)) if min % step == 0 => usize::try_from(step).ok(),
            _ => None,
        };
        if axis == 'y' || self.multiple == rule || self.order.find('y').is_none() {
            self.multiple = rule;
        } else {
            self.multiple = None;
        }
    }
}

/// Preprocessing or postprocessing as steps.
fn steps(listed: &Value, what: &str, axes: &Axes) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for item in list(listed) {
        // Version 0.4 uses `name`, 0.5 uses `id`.
        let id = item["id"].as_str().or(item["name"].as_str()).unwrap_or("(no id)");
        let kwargs = &item["kwargs"];
        let step = step(id, kwargs, axes, steps.last()).map_err(|e| e.at(&format!("{what} {id}")))?;
        steps.extend(step);
    }
    Ok(steps)
}

/// One step; `None` for a step that changes nothing here.
fn step(id: &str, kwargs: &Value, axes: &Axes, last: Option<&Step>) -> Result<Option<Step>> {
    let allow = |names: &[&str]| {
        let extra = kwargs
            .as_object()
            .into_iter()
            .flatten()
            .find(|(key, value)| !names.contains(&key.as_str()) && !value.is_null());
        match extra {
            None => Ok(()),
            Some((key, _)) => Err(Error::Model(format!(
                "kwargs {key} is not supported; write the steps into MODEL.toml instead"
            ))),
        }
    };
    let number = |name: &str, default: f64| match &kwargs[name] {
        Value::Null => Ok(default),
        value => value.as_f64().ok_or_else(|| Error::shape(name, "a number", value)),
    };
    let bound = |name: &str| match &kwargs[name] {
        Value::Null => Ok(None),
        value => value.as_f64().map(Some).ok_or_else(|| Error::shape(name, "a number", value)),
    };
    let numbers = |name: &str| match &kwargs[name] {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list
            .iter()
            .map(|v| v.as_f64().ok_or_else(|| Error::shape(name, "numbers", v)))
            .collect::<Result<Vec<f64>>>(),
        value => Ok(vec![value.as_f64().ok_or_else(|| Error::shape(name, "a number", value))?]),
    };
    let fixed = |mean: Vec<f64>, std: Vec<f64>| {
        if std.is_empty() || std.contains(&0.0) || ![1, mean.len()].contains(&std.len()) {
            return Err(Error::shape("std", "numbers other than 0, as many as means", format!("{std:?}")));
        }
        let std_of = |i: usize| std.get(i).or(std.first()).copied().unwrap_or(1.0);
        Ok(Step::Linear {
            gain: std.iter().map(|std| 1.0 / std).collect(),
            offset: mean.iter().enumerate().map(|(i, mean)| -mean / std_of(i)).collect(),
        })
    };
    let step = match id {
        "ensure_dtype" => {
            allow(&["dtype"])?;
            let dtype = kwargs["dtype"].as_str().unwrap_or("float32");
            // 0 and 1 are the same in every type.
            if !dtype.starts_with("float") && !matches!(last, Some(Step::Binarize { .. })) {
                return Err(Error::shape("dtype", "float32, or any type after binarize", dtype));
            }
            return Ok(None);
        }
        "binarize" => {
            allow(&["threshold"])?;
            Step::Binarize { threshold: bound("threshold")?.ok_or_else(|| missing("threshold"))? }
        }
        "clip" => {
            allow(&["min", "max"])?;
            Step::Clip { min: bound("min")?, max: bound("max")? }
        }
        "scale_linear" => {
            allow(&["gain", "offset", "axes", "axis"])?;
            Step::Linear { gain: numbers("gain")?, offset: numbers("offset")? }
        }
        "sigmoid" => Step::Sigmoid,
        "softmax" => {
            if !matches!(kwargs["axis"].as_str(), None | Some("channel" | "c")) {
                return Err(Error::shape("axis", "channel", &kwargs["axis"]));
            }
            Step::Softmax
        }
        "zero_mean_unit_variance" if kwargs["mode"] == "fixed" => {
            allow(&["mode", "axes", "mean", "std", "eps"])?;
            fixed(numbers("mean")?, numbers("std")?)?
        }
        "zero_mean_unit_variance" => {
            allow(&["mode", "axes", "eps"])?;
            Step::Standardize { over: over(kwargs, axes)?, eps: number("eps", 1e-6)? }
        }
        "fixed_zero_mean_unit_variance" => {
            allow(&["mean", "std", "axis"])?;
            fixed(numbers("mean")?, numbers("std")?)?
        }
        "scale_range" => {
            allow(&["mode", "axes", "eps", "min_percentile", "max_percentile"])?;
            let (low, high) = (number("min_percentile", 0.0)?, number("max_percentile", 100.0)?);
            Step::Rescale { low, high, over: over(kwargs, axes)?, eps: number("eps", 1e-6)? }
        }
        "scale_mean_variance" => {
            allow(&["mode", "reference_tensor", "axes", "eps"])?;
            Step::MatchInput { over: over(kwargs, axes)?, eps: number("eps", 1e-6)? }
        }
        _ => {
            let known = "ensure_dtype, binarize, clip, scale_linear, sigmoid, softmax, zero_mean_unit_variance, \
                         fixed_zero_mean_unit_variance, scale_range, scale_mean_variance";
            return Err(Error::Model(format!("not supported (known: {known}); write steps into MODEL.toml")));
        }
    };
    Ok(Some(step))
}

/// What statistics are taken over: each channel if the axes leave the channel out, else the whole picture.
fn over(kwargs: &Value, axes: &Axes) -> Result<Over> {
    let listed: Vec<String> = match &kwargs["axes"] {
        Value::Null => return Ok(Over::Sample),
        Value::String(word) => word.chars().map(String::from).collect(),
        value => list(value).filter_map(|axis| axis.as_str().map(str::to_string)).collect(),
    };
    let has = |names: &[&str]| listed.iter().any(|axis| names.contains(&axis.as_str()));
    if !has(&["y"]) || !has(&["x"]) {
        return Err(Error::shape("axes", "x and y among them", listed.join(", ")));
    }
    let alone = !axes.order.contains('c');
    Ok(if has(&["c", "channel"]) || alone { Over::Sample } else { Over::Channel })
}

fn missing(name: &str) -> Error {
    Error::Model(format!("kwargs {name} is missing"))
}

/// The element type of a tensor in files.
fn data_type(tensor: &Value) -> Option<&str> {
    tensor["data"]["type"].as_str().or(tensor["data_type"].as_str())
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text that is not empty.
fn words(value: &Value) -> Option<String> {
    value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_string)
}

fn joined(items: &Value, word: impl Fn(&Value) -> Option<String>, between: &str) -> Option<String> {
    let all: Vec<String> = list(items).filter_map(word).collect();
    (!all.is_empty()).then(|| all.join(between))
}

/// A publication with its DOI or address.
fn citation(cite: &Value) -> Option<String> {
    let place = words(&cite["doi"]).or(words(&cite["url"]));
    let parts: Vec<String> = words(&cite["text"]).into_iter().chain(place).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}
