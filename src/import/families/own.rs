//! A plain U-Net of any code base with levels such as `enc1`, `down2` and `up1`: the family of this project, derived from
//! names and shapes.
//!
//! Names differ between code bases: a level may be `enc1`, `encoder1`, `down1` or `downs.0`, its convolutions `conv1`
//! or `block.0`. Tensors are therefore grouped by level. Within a level, convolutions and norms have the natural order
//! of their names. Activation, order of the concatenation, output function and residual cannot be derived; they keep
//! the family's defaults. Contradictions are errors.

use crate::error::{Error, Result};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::Recipe;
use crate::tensor::{Shape, Tensor};
use crate::unet::{Norm, UnetConfig, Upsample, Weights};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Tensor shapes by name.
type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Encoder(usize),
    Bottleneck,
    Decoder(usize),
    /// The output convolution, or the classifier of an encoder-only network.
    Head,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stage::Encoder(number) => write!(f, "encoder level {number}"),
            Stage::Bottleneck => f.write_str("the bottleneck"),
            Stage::Decoder(number) => write!(f, "decoder level {number}"),
            Stage::Head => f.write_str("the output layer"),
        }
    }
}

/// The modules of one level: the part of a name before `.weight`, and the shape of the weight.
#[derive(Debug, Default)]
struct Level<'a> {
    up: Option<Module<'a>>,
    convs: Vec<Module<'a>>,
    norms: Vec<Module<'a>>,
}

type Module<'a> = (&'a str, &'a [usize]);

impl Level<'_> {
    /// Output channels of the level.
    fn width(&self) -> usize {
        self.convs.last().map_or(0, |conv| conv.1[0])
    }
}

/// From this project's tensor names to the file's.
pub(super) type Names = HashMap<String, String>;

/// The network of a state dict that no other family recognises, if its tensors make one.
pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let Ok((config, names)) = infer(&dict.shapes()) else { return Ok(None) };
    model(dict, config, names).map(Some)
}

/// The same, with the reason why they make none.
pub(super) fn build(dict: &mut StateDict<'_>) -> Result<Model> {
    let (config, names) = infer(&dict.shapes())?;
    model(dict, config, names)
}

/// A network of the family with the file's tensors.
pub(super) fn model(dict: &mut StateDict<'_>, config: UnetConfig, names: Names) -> Result<Model> {
    let graph = config.build(&mut Renamed { dict, names })?;
    Ok(Model::new(graph, Recipe::default()).with_config(config).of_family("U-Net by names and shapes"))
}

/// The tensors of a file under this project's names.
pub(in crate::import) struct Renamed<'a, 'b> {
    dict: &'a mut StateDict<'b>,
    /// Only names that differ.
    names: Names,
}

impl<'a, 'b> Renamed<'a, 'b> {
    /// The tensors of a file that uses this project's names.
    pub(in crate::import) fn unchanged(dict: &'a mut StateDict<'b>) -> Renamed<'a, 'b> {
        Renamed { dict, names: Names::new() }
    }
}

impl Weights for Renamed<'_, '_> {
    fn tensor(&mut self, name: &str, shape: Shape) -> Result<Arc<Tensor>> {
        self.dict.take(self.names.get(name).map_or(name, String::as_str), shape)
    }
}

/// The configuration, and a map from this project's tensor names to the file's.
pub(super) fn infer(shapes: &Shapes<'_>) -> Result<(UnetConfig, Names)> {
    let levels = group(shapes)?;
    let numbers = |pick: fn(&Stage) -> Option<usize>| levels.keys().filter_map(pick).collect::<Vec<_>>();
    let encoder = numbers(|s| if let Stage::Encoder(i) = s { Some(*i) } else { None });
    let decoder = numbers(|s| if let Stage::Decoder(i) = s { Some(*i) } else { None });
    let (Some(bottleneck), false) = (levels.get(&Stage::Bottleneck), encoder.is_empty()) else {
        return Err(unknown("no encoder levels with a bottleneck"));
    };
    let head = levels.get(&Stage::Head).and_then(|level| level.convs.first());
    let head = head.ok_or_else(|| unknown("no output layer"))?;
    for (stage, level) in levels.iter().filter(|(stage, _)| **stage != Stage::Head) {
        check(*stage, level, matches!(stage, Stage::Decoder(_)), !bottleneck.norms.is_empty())?;
    }
    let decoder = running_order(&levels, &encoder, decoder, bottleneck.width(), head.1[1]);
    let first = levels[&Stage::Encoder(encoder[0])].convs[0];

    let width = |stage| levels[&stage].width();
    let mut config = UnetConfig::new(first.1[1], head.1[0], &[], bottleneck.width(), &[]);
    config.encoder = encoder.iter().map(|&i| width(Stage::Encoder(i))).collect();
    config.decoder = decoder.iter().map(|&i| width(Stage::Decoder(i))).collect();
    config.norm = if bottleneck.norms.is_empty() { Norm::None } else { Norm::Batch };
    config.bias = shapes.contains_key(format!("{}.bias", first.0).as_str());

    let mut names = Names::new();
    let mut rename = |ours: String, module: &str| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            names.insert(format!("{ours}.{part}"), format!("{module}.{part}"));
        }
    };
    rename(if decoder.is_empty() { "classifier".into() } else { "output".into() }, head.0);
    let encoders = encoder.iter().enumerate().map(|(i, &n)| (format!("enc{}", i + 1), Stage::Encoder(n)));
    let decoders =
        decoder.iter().enumerate().map(|(i, &n)| (format!("dec{}", decoder.len() - i), Stage::Decoder(n)));
    let stages = encoders.chain([("bottleneck".to_string(), Stage::Bottleneck)]).chain(decoders);
    let mut ups = Vec::new();
    for (ours, stage) in stages {
        let level = &levels[&stage];
        for (i, conv) in level.convs.iter().enumerate() {
            rename(format!("{ours}.conv{}", i + 1), conv.0);
        }
        for (i, norm) in level.norms.iter().enumerate() {
            rename(format!("{ours}.norm{}", i + 1), norm.0);
        }
        if let Some((up, shape)) = level.up {
            rename(format!("{ours}.up"), up);
            config.upsample = match shape[2] {
                1 => Upsample::BilinearConv1x1,
                2 => Upsample::ConvTranspose,
                _ => Upsample::NearestConv,
            };
            ups.push(up_channels(shape)[1]);
        }
    }
    config.up = (!ups.is_empty()).then_some(ups);
    Ok((config, names))
}

fn unknown(what: &str) -> Error {
    Error::UnknownNetwork(format!("its tensors belong to no known network: {what}"))
}

/// Checks that a level has two convolutions, each followed by a norm or none, and in the decoder an up-sampling.
fn check(stage: Stage, level: &Level<'_>, up: bool, norm: bool) -> Result<()> {
    let (convs, norms) = (level.convs.len(), level.norms.len());
    if convs != 2 || norms != if norm { 2 } else { 0 } {
        let expected = if norm { "2 of both" } else { "2 and none, as in the bottleneck" };
        return Err(unknown(&format!(
            "{stage} has {convs} convolutions and {norms} norms, expected {expected}"
        )));
    }
    if up != level.up.is_some() {
        return Err(unknown(&format!("{stage} has no up-sampling layer")));
    }
    // A skipped number in a sequence (`block.0`, `block.1`) is a layer without weights, the activation. In this family
    // it follows the norm.
    let place = |module: &Module<'_>| module.0.rsplit_once('.')?.1.parse::<u64>().ok();
    for (conv, norm) in level.convs.iter().zip(&level.norms) {
        if let (Some(at), Some(behind)) = (place(conv), place(norm))
            && behind != at.saturating_add(1)
        {
            return Err(unknown(&format!("{} does not directly follow {}", norm.0, conv.0)));
        }
    }
    Ok(())
}

/// Decoder levels, deepest first. Files number them like the encoder's levels, deepest last, or in execution order.
/// The shapes decide. If both are possible, a number that is a name part of its own (`ups.0`) is an index of a list,
/// in execution order.
fn running_order(
    levels: &BTreeMap<Stage, Level<'_>>,
    encoder: &[usize],
    numbers: Vec<usize>,
    bottleneck: usize,
    head: usize,
) -> Vec<usize> {
    let fits = |order: &[usize]| {
        let mut from = bottleneck;
        let fit = order.iter().zip(encoder.iter().rev()).all(|(&number, &skip)| {
            let (level, skip) = (&levels[&Stage::Decoder(number)], &levels[&Stage::Encoder(skip)]);
            let [into, out] = level.up.map_or([0, 0], |up| up_channels(up.1));
            let fit = into == from && level.convs[0].1[1] == out.saturating_add(skip.width());
            from = level.width();
            fit
        });
        fit && from == head
    };
    let reversed: Vec<usize> = numbers.iter().rev().copied().collect();
    let listed = |number: &usize| {
        let name = levels[&Stage::Decoder(*number)].convs[0].0;
        !name.split('.').next().is_some_and(|part| part.contains(|c: char| c.is_ascii_digit()))
    };
    match (fits(&numbers), fits(&reversed)) {
        (true, false) => numbers,
        (false, true) => reversed,
        _ if numbers.iter().all(listed) => numbers,
        _ => reversed,
    }
}

/// Input and output channels of an up-sampling layer. Transposed convolutions are 2x2 and stored the other way round.
fn up_channels(weight: &[usize]) -> [usize; 2] {
    if weight[2] == 2 { [weight[0], weight[1]] } else { [weight[1], weight[0]] }
}

/// Groups modules by level.
fn group<'a>(shapes: &Shapes<'a>) -> Result<BTreeMap<Stage, Level<'a>>> {
    let mut modules: Vec<Module<'a>> =
        shapes.iter().filter_map(|(name, &shape)| Some((name.strip_suffix(".weight")?, shape))).collect();
    modules.sort_by_cached_key(|module| {
        natural(module.0).into_iter().map(|(w, n)| (w.to_string(), n)).collect::<Vec<_>>()
    });
    // If a file has both `decoder1` and `up1`, then `up1` is the up-sampling of `decoder1`.
    let decoders = modules.iter().any(|module| module.0.to_lowercase().starts_with("dec"));
    let mut levels: BTreeMap<Stage, Level<'a>> = BTreeMap::new();
    for module @ (name, shape) in modules {
        let stage =
            stage(name).ok_or_else(|| unknown(&format!("{name} belongs to no level of the network")))?;
        let level = levels.entry(stage).or_default();
        let in_decoder = matches!(stage, Stage::Decoder(_));
        match shape.len() {
            1 => level.norms.push(module),
            4 if in_decoder && level.up.is_none() && (shape[2] == 2 || names_up(name, decoders)) => {
                level.up = Some(module);
            }
            2 if stage == Stage::Head => level.convs.push(module),
            4 => level.convs.push(module),
            rank => return Err(unknown(&format!("{name}.weight has {rank} extents"))),
        }
    }
    Ok(levels)
}

/// Whether the name of a module in a decoder level says that it is the up-sampling.
fn names_up(module: &str, decoders: bool) -> bool {
    let module = module.to_lowercase();
    let mut parts = module.split(['.', '_']).map(|part| part.starts_with("up"));
    parts.next() == Some(true) && decoders || parts.any(|up| up)
}

/// The level that the first words of a module's name state.
fn stage(module: &str) -> Option<Stage> {
    let mut parts = module.split('.');
    let first = parts.next()?.to_lowercase();
    let number = number(&first).or_else(|| number(parts.next()?));
    let word = first.split(|c: char| c.is_ascii_digit()).next()?;
    let starts = |with: &[&str]| with.iter().any(|start| word.starts_with(start));
    if starts(&["enc", "down"]) {
        Some(Stage::Encoder(number?))
    } else if starts(&["dec", "up"]) {
        Some(Stage::Decoder(number?))
    } else if starts(&["bott", "mid", "cent", "bridge"]) {
        Some(Stage::Bottleneck)
    } else if first == "conv" || starts(&["out", "final", "head", "last", "class", "fc", "linear"]) {
        Some(Stage::Head)
    } else {
        None
    }
}

/// The first number in a part of a name.
fn number(part: &str) -> Option<usize> {
    let digits = part.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A key that sorts `conv10` after `conv2`.
fn natural(name: &str) -> Vec<(&str, u64)> {
    name.split('.')
        .map(|part| {
            let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
            (word, part[word.len()..].parse().unwrap_or(0))
        })
        .collect()
}
