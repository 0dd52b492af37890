//! Which of a file's tensors are the network.
//!
//! Training programs put a network below prefixes (`model.`, `module.`), beside averages of its weights, losses,
//! metrics and other networks. Each subtree of the names is tried by itself. The average of a network's weights comes
//! before the weights of its last step, because authors evaluate the average. The rest is named in a note.

use super::{FAMILIES, WHOLE, unlike};
use crate::error::{Error, Result};
use crate::import::tensors::{StateDict, Stored};
use crate::model::Model;
use crate::tensor::Shape;
use std::collections::{BTreeMap, BTreeSet};

/// Words at the beginning of a part of a name whose tensors serve training only.
const TRAINING: [&str; 11] = [
    "loss",
    "criterion",
    "metric",
    "n_averaged",
    "pos_weight",
    "class_weight",
    "optim",
    "lpips",
    "perceptual",
    "discriminator",
    "val_",
];

/// Whole parts of names, likewise.
const DISCRIMINATORS: [&str; 3] = ["netd", "net_d", "disc"];

/// Words anywhere in a part of a name, likewise.
const TRAINING_WITHIN: [&str; 6] = ["_loss", "metric", "confmat", "criterion", "accuracy", "num_updates"];

/// A subtree in which a family recognises a network.
struct Found {
    prefix: String,
    model: Model,
    /// What the network is made of, by name below the prefix.
    taken: BTreeMap<String, Stored>,
    averaged: bool,
    /// Prefixes of the same network with other numbers.
    twins: Vec<String>,
}

impl Found {
    /// Whether a subtree holds all tensors of this network.
    fn is_in(&self, subtree: &BTreeMap<String, Stored>) -> bool {
        self.taken.iter().all(|(name, own)| subtree.get(name).is_some_and(|other| other.shape == own.shape))
    }

    /// Whether the numbers are the very same, stored once.
    fn shares(&self, subtree: &BTreeMap<String, Stored>) -> bool {
        self.taken.iter().all(|(name, own)| subtree.get(name).is_some_and(|other| other.place == own.place))
    }
}

/// The network that the tensors belong to.
pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Model> {
    let aside = set_aside(dict);
    let mut first_error = None;
    let mut found = search(dict, FAMILIES, &mut first_error);
    if found.is_empty() {
        // These take chains and levels of any names: all tensors must be theirs.
        found = search(dict, WHOLE, &mut None);
        if let [one] = &found[..]
            && let Some(extra) = left(dict, one).first()
        {
            first_error.get_or_insert(Error::UnknownNetwork(format!(
                "extra tensor {extra} has no place in the architecture of {}",
                display(&one.prefix)
            )));
            found.clear();
        }
    }
    let one = match found.len() {
        0 => return Err(first_error.unwrap_or_else(|| nothing(dict))),
        1 => found.swap_remove(0),
        _ => return Err(several(found.iter().map(|found| &found.prefix))),
    };
    if !one.averaged && !one.twins.is_empty() {
        return Err(several(std::iter::once(&one.prefix).chain(&one.twins)));
    }
    let left = left(dict, &one);
    if let Some(extra) = left.iter().find(|name| name.starts_with(&one.prefix)) {
        let count = left.iter().filter(|name| name.starts_with(&one.prefix)).count();
        return Err(Error::UnknownNetwork(format!(
            "extra tensor {extra} ({count} in all) has no place in the architecture"
        )));
    }
    let mut model = one.model;
    // The dict that holds everything needs no mention.
    let around = one.prefix.split_inclusive('.').next().unwrap_or_default().to_string();
    let rest = groups(left.into_iter().chain(aside), &around);
    let others: Vec<String> = one.twins.into_iter().chain(rest).collect();
    if !others.is_empty() || one.averaged {
        let average = if one.averaged { ", an average of weights" } else { "" };
        let rest = match others.len() {
            0 => String::new(),
            1..=8 => format!("; not used: {}", others.join(", ")),
            count => format!("; not used: {} and {} more", others[..8].join(", "), count - 8),
        };
        model.notes.push(format!("weights: {}{average}{rest}", display(&one.prefix)));
    }
    Ok(model)
}

type Attempt = fn(&mut StateDict<'_>) -> Result<Option<Model>>;

/// Every network in the file that one of the families recognises, averages first, outer names before inner ones.
fn search(dict: &mut StateDict<'_>, families: &[Attempt], first_error: &mut Option<Error>) -> Vec<Found> {
    let part = dict.part.clone();
    let is_chosen = |prefix: &String| {
        let Some(part) = &part else { return true };
        prefix.trim_end_matches('.') == part.trim_end_matches('.') || prefix.starts_with(&format!("{part}."))
    };
    let mut prefixes: Vec<String> = dict.prefixes().into_iter().filter(is_chosen).collect();
    prefixes.sort_by_cached_key(|prefix| (!is_average(prefix), prefix.matches('.').count(), prefix.clone()));
    let mut found: Vec<Found> = Vec::new();
    for prefix in prefixes {
        let subtree = dict.below(&prefix);
        if subtree.is_empty() {
            continue;
        }
        if let Some(twin) = found.iter_mut().find(|found| found.is_in(&subtree)) {
            // The same numbers by another name are not another network.
            if !twin.shares(&subtree) {
                twin.twins.push(display(&prefix));
            }
            let names: Vec<String> = twin.taken.keys().map(|name| format!("{prefix}{name}")).collect();
            names.iter().for_each(|name| dict.remove(name));
            continue;
        }
        let attempt = |dict: &mut StateDict<'_>| {
            for recognise in families {
                if let Some(model) = recognise(dict)? {
                    // Finds channels that do not fit now, not at the first picture.
                    let input = Shape::new(1, model.input_channels(), 512, 512);
                    model.graph(input)?.shapes(input)?;
                    return Ok(Some(model));
                }
            }
            Ok(None)
        };
        let shadows = if is_average(&prefix) { None } else { shadows(dict, &prefix, &subtree) };
        if let Some(shadows) = &shadows {
            shadows.iter().for_each(|(name, shadow, stored)| {
                dict.replace(format!("{prefix}{name}"), stored.clone());
                dict.remove(shadow);
            });
        }
        match dict.within(&prefix, attempt) {
            Ok(None) => {
                for (name, shadow, stored) in shadows.into_iter().flatten() {
                    dict.replace(format!("{prefix}{name}"), subtree[&name].clone());
                    dict.replace(shadow, stored);
                }
            }
            Ok(Some((model, taken))) => {
                let averaged = is_average(&prefix) || shadows.is_some();
                found.push(Found { prefix, model, taken, averaged, twins: Vec::new() });
            }
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    found
}

/// Whether a prefix names an average of weights.
fn is_average(prefix: &str) -> bool {
    let prefix = prefix.to_lowercase();
    let mut words = prefix.split(['.', '_', '-']);
    let is_word = |word: &str| {
        ["swa", "avg", "averaged", "averages", "shadow", "polyak"].contains(&word) || word.ends_with("ema")
    };
    // The trained weights beside the average, in github.com/lucidrains/ema-pytorch.
    words.any(is_word) && !prefix.contains("online_model")
}

/// Averages of the parameters below a prefix that are stored without their names: as a list (torch_ema), or under
/// names without dots (the LitEma of CompVis). Name of the parameter, name of the average, and the average.
fn shadows(
    dict: &StateDict<'_>,
    prefix: &str,
    subtree: &BTreeMap<String, Stored>,
) -> Option<Vec<(String, String, Stored)>> {
    let below = |name: &str| name.rfind('.').map_or(0, |dot| dot + 1);
    let averages = dict.tensors().filter(|(name, _)| is_average(&name[..below(name)]));
    let folder = averages.map(|(name, _)| name[..below(name)].to_string()).find(|folder| folder != prefix)?;
    let is_parameter = |name: &str| {
        !name.ends_with("running_mean") && !name.ends_with("running_var") && !is_average(&name[..below(name)])
    };
    let mut parameters: Vec<(&String, &Stored)> =
        subtree.iter().filter(|(name, _)| is_parameter(name)).collect();
    parameters.sort_by_key(|(_, stored)| stored.order);
    let all: BTreeMap<&str, &Stored> = dict.tensors().collect();
    let pair = |(i, (name, own)): (usize, (&String, &Stored))| {
        let listed = format!("{folder}{i}");
        let shadow = if all.contains_key(listed.as_str()) {
            listed
        } else {
            format!("{folder}{}", name.replace('.', ""))
        };
        let stored = all.get(shadow.as_str()).filter(|stored| stored.shape == own.shape)?;
        Some((name.clone(), shadow, (*stored).clone()))
    };
    let is_whole = !all.contains_key(format!("{folder}{}", parameters.len()).as_str());
    (is_whole && !parameters.is_empty()).then_some(())?;
    parameters.into_iter().enumerate().map(pair).collect()
}

/// Removes tensors that serve training only, and returns their names.
pub(in crate::import) fn set_aside(dict: &mut StateDict<'_>) -> Vec<String> {
    let serves = |name: &str| {
        name.split('.').any(|part| {
            let part = part.to_lowercase();
            DISCRIMINATORS.contains(&part.as_str())
                || TRAINING.iter().any(|word| part.starts_with(word))
                || TRAINING_WITHIN.iter().any(|word| part.contains(word))
        })
    };
    let names: Vec<String> = dict.names().filter(|name| serves(name)).map(String::from).collect();
    // A network below such a name is a network after all.
    if names.len() == dict.names().count() {
        return Vec::new();
    }
    names.iter().for_each(|name| dict.remove(name));
    names
}

/// Weights that are neither the network's nor counters and states of generators.
fn left(dict: &StateDict<'_>, found: &Found) -> Vec<String> {
    let inside = |name: &str| name.starts_with(&found.prefix);
    let is_weight = |(name, stored): &(&str, &Stored)| {
        inside(name) || !stored.shape.is_empty() && stored.dtype.bitsize() >= 16
    };
    dict.tensors().filter(is_weight).map(|(name, _)| name.to_string()).collect()
}

/// Names, without a prefix, as the parts that they begin with: `criterion.*`.
fn groups(names: impl Iterator<Item = String>, prefix: &str) -> Vec<String> {
    let group = |name: String| {
        let name = name.strip_prefix(prefix).unwrap_or(&name);
        name.split_once('.').map_or(name.to_string(), |(first, _)| format!("{first}.*"))
    };
    names.map(group).collect::<BTreeSet<_>>().into_iter().collect()
}

/// A prefix as people write it.
fn display(prefix: &str) -> String {
    if prefix.is_empty() { "the names without a prefix".into() } else { format!("{prefix}*") }
}

fn several<'a>(prefixes: impl Iterator<Item = &'a String>) -> Error {
    let names: Vec<&str> = prefixes.map(|prefix| prefix.trim_end_matches(['*', '.'])).collect();
    let first = names.iter().find(|name| !name.is_empty()).unwrap_or(&"");
    Error::Model(format!(
        "the file holds several networks ({}); choose one: unet import FILE --part {first} -o OUT.safetensors",
        names.join(", ")
    ))
}

/// The error of a file in which no family recognises anything.
fn nothing(dict: &mut StateDict<'_>) -> Error {
    if let Some(part) = &dict.part
        && !dict.names().any(|name| name.starts_with(&format!("{part}.")))
    {
        return Error::UnknownName {
            kind: "part of the file",
            name: part.clone(),
            known: groups(dict.names().map(String::from), "").join(", "),
        };
    }
    let names: Vec<&str> = dict.names().collect();
    if names.is_empty() {
        return Error::Model("the file holds no weights".into());
    }
    if let Some(what) = unlike::named(&names) {
        return Error::UnknownNetwork(format!(
            "the weights of {what}; U-Nets and other convolutional networks run here"
        ));
    }
    let prefix = dict.common_prefix();
    match dict.within(&prefix, |dict| super::own::build(dict).map(Some)) {
        Err(error) => error,
        Ok(_) => Error::UnknownNetwork("its tensors belong to no known network".into()),
    }
}
