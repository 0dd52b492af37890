//! The architecture of a plain state dict of this family, from its names and shapes.
//!
//! Names differ between code bases: a level may be `enc1`, `encoder1`, `down1` or `downs.0`, its convolutions `conv1`
//! or `block.0`. So tensors are grouped by level, and within a level convolutions and norms are taken in the natural
//! order of their names. What names and shapes cannot tell (order of the concatenation, output function) is left at
//! the family's default.

use crate::error::{Error, Result};
use crate::unet::{Norm, UnetConfig, Upsample};
use std::collections::{BTreeMap, HashMap};

/// Tensor shapes by name.
type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Encoder(usize),
    Bottleneck,
    Decoder(usize),
    Output,
    Classifier,
}

/// The modules of one level, each the part of a name before `.weight`.
#[derive(Debug, Default)]
struct Level<'a> {
    up: Option<&'a str>,
    convs: Vec<&'a str>,
    norms: Vec<&'a str>,
}

/// The configuration, and this project's tensor names mapped to the file's.
pub(super) fn infer(shapes: &Shapes<'_>) -> Result<(UnetConfig, HashMap<String, String>)> {
    let levels = group(shapes)?;
    let numbers = |pick: fn(&Stage) -> Option<usize>| levels.keys().filter_map(pick).collect::<Vec<_>>();
    let encoder = numbers(|s| if let Stage::Encoder(i) = s { Some(*i) } else { None });
    let mut decoder = numbers(|s| if let Stage::Decoder(i) = s { Some(*i) } else { None });
    if encoder.is_empty() || !levels.contains_key(&Stage::Bottleneck) {
        return Err(unknown("no encoder levels with a bottleneck"));
    }
    let width = |stage: Stage| -> Result<usize> {
        let last = levels[&stage].convs.last().ok_or_else(|| unknown("a level without convolutions"))?;
        Ok(shapes[format!("{last}.weight").as_str()][0])
    };
    let head = if levels.contains_key(&Stage::Output) { Stage::Output } else { Stage::Classifier };
    let head = levels.get(&head).and_then(|l| l.convs.first()).ok_or_else(|| unknown("no output layer"))?;
    let weight = |module: &str| shapes[format!("{module}.weight").as_str()];
    let first = levels[&Stage::Encoder(encoder[0])].convs.first().ok_or_else(|| unknown("an empty level"))?;

    // Decoder levels are numbered like the encoder's (deepest last) or in running order (deepest first): the right
    // one leads to the output layer's input channels, and for both doing so the encoder's way is the family's.
    let ends_at = |stage: usize| width(Stage::Decoder(stage)).ok() == weight(head).get(1).copied();
    if decoder.first().is_some_and(|&d| ends_at(d)) || !decoder.last().is_some_and(|&d| ends_at(d)) {
        decoder.reverse();
    }

    let mut config = UnetConfig::new(weight(first)[1], weight(head)[0], &[], width(Stage::Bottleneck)?, &[]);
    config.encoder = encoder.iter().map(|&i| width(Stage::Encoder(i))).collect::<Result<_>>()?;
    config.decoder = decoder.iter().map(|&i| width(Stage::Decoder(i))).collect::<Result<_>>()?;
    config.norm = if levels[&Stage::Bottleneck].norms.is_empty() { Norm::None } else { Norm::Batch };
    config.bias = shapes.contains_key(format!("{first}.bias").as_str());

    let mut names = HashMap::new();
    let mut rename = |ours: String, module: &str| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            names.insert(format!("{ours}.{part}"), format!("{module}.{part}"));
        }
    };
    rename(if decoder.is_empty() { "classifier".into() } else { "output".into() }, head);
    let encoders = encoder.iter().enumerate().map(|(i, &n)| (format!("enc{}", i + 1), Stage::Encoder(n)));
    let decoders =
        decoder.iter().enumerate().map(|(i, &n)| (format!("dec{}", decoder.len() - i), Stage::Decoder(n)));
    let stages = encoders.chain([("bottleneck".to_string(), Stage::Bottleneck)]).chain(decoders);
    let mut ups = Vec::new();
    for (ours, stage) in stages {
        let level = &levels[&stage];
        if level.convs.len() != 2 || (config.norm == Norm::Batch && level.norms.len() != 2) {
            return Err(unknown(&format!(
                "{stage:?} does not hold two convolutions, each with its norm or none"
            )));
        }
        for (i, conv) in level.convs.iter().enumerate() {
            rename(format!("{ours}.conv{}", i + 1), conv);
        }
        for (i, norm) in level.norms.iter().enumerate() {
            rename(format!("{ours}.norm{}", i + 1), norm);
        }
        if let Stage::Decoder(_) = stage {
            let up = level.up.ok_or_else(|| unknown(&format!("{stage:?} has no up-sampling layer")))?;
            rename(format!("{ours}.up"), up);
            let shape = weight(up);
            config.upsample = match shape[2] {
                1 => Upsample::BilinearConv1x1,
                2 => Upsample::ConvTranspose,
                _ => Upsample::NearestConv,
            };
            ups.push(if config.upsample == Upsample::ConvTranspose { shape[1] } else { shape[0] });
        }
    }
    config.up = (!ups.is_empty()).then_some(ups);
    Ok((config, names))
}

fn unknown(what: &str) -> Error {
    Error::Model(format!(
        "no unet.config in the metadata, and the tensors do not look like a U-Net of this family: {what} \
         (add unet.config, see the README)"
    ))
}

/// Sorts modules into levels.
fn group<'a>(shapes: &Shapes<'a>) -> Result<BTreeMap<Stage, Level<'a>>> {
    let mut modules: Vec<&'a str> = shapes.keys().filter_map(|name| name.strip_suffix(".weight")).collect();
    modules.sort_by_cached_key(|name| {
        natural(name).into_iter().map(|(w, n)| (w.to_string(), n)).collect::<Vec<_>>()
    });
    let mut levels: BTreeMap<Stage, Level<'a>> = BTreeMap::new();
    for module in modules {
        let shape = shapes[format!("{module}.weight").as_str()];
        let stage = stage(module).ok_or_else(|| unknown(&format!("what is {module}?")))?;
        let level = levels.entry(stage).or_default();
        let is_norm = shape.len() == 1;
        let is_up =
            matches!(stage, Stage::Decoder(_)) && shape.len() == 4 && (shape[2] == 2 || names_up(module));
        if is_norm {
            level.norms.push(module);
        } else if is_up && level.up.is_none() {
            level.up = Some(module);
        } else if shape.len() == 4 || (shape.len() == 2 && stage == Stage::Classifier) {
            level.convs.push(module);
        } else {
            return Err(unknown(&format!("{module}.weight has {} extents", shape.len())));
        }
    }
    Ok(levels)
}

/// Whether a module inside a decoder level calls itself the up-sampling.
fn names_up(module: &str) -> bool {
    module.split('.').skip(1).any(|part| part.starts_with("up")) || module.starts_with("upconv")
}

/// The level that a module's first words name.
fn stage(module: &str) -> Option<Stage> {
    let mut parts = module.split('.');
    let first = parts.next()?.to_lowercase();
    let digits: String = first.chars().filter(char::is_ascii_digit).collect();
    let number = digits.parse().ok().or_else(|| parts.next()?.parse().ok());
    match first.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_') {
        word if word.starts_with("enc") || word.starts_with("down") => Some(Stage::Encoder(number?)),
        word if word.starts_with("dec") || word.starts_with("up") => Some(Stage::Decoder(number?)),
        word if ["bott", "mid", "cent", "bridge"].iter().any(|w| word.starts_with(w)) => {
            Some(Stage::Bottleneck)
        }
        word if ["out", "final", "head", "last"].iter().any(|w| word.starts_with(w)) => Some(Stage::Output),
        word if ["class", "fc", "linear"].iter().any(|w| word.starts_with(w)) => Some(Stage::Classifier),
        _ => None,
    }
}

/// A key that sorts `conv10` behind `conv2`.
fn natural(name: &str) -> Vec<(&str, u64)> {
    name.split('.')
        .map(|part| {
            let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
            (word, part[word.len()..].parse().unwrap_or(0))
        })
        .collect()
}
