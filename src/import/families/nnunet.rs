//! nnU-Net v2 in two dimensions (github.com/MIC-DKFZ/nnUNet, dynamic-network-architectures; Isensee et al. 2021):
//! `PlainConvUNet` and `ResidualEncoderUNet` from `checkpoint_final.pth`.
//!
//! Shapes determine the architecture: the kernel of a transposed convolution is as large as the stride that it
//! reverses. Plans and labels are in the checkpoint, or in `plans.json` and `dataset.json` beside it or in the parent
//! folder.

use super::Net;
use super::net::segment;
use crate::error::{Error, Result};
use crate::graph::{Activation, Binary, Conv, PadMode, Pool, PoolKind, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::{Class, Decode, InputRecipe, Over, Recipe, Step};
use serde_json::Value;

const LEAKY: Activation = Activation::LeakyRelu(0.01);

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let is_residual = dict.has("encoder.stem.convs.0.conv.weight");
    let first = if is_residual { "encoder.stem.convs.0.conv" } else { "encoder.stages.0.0.convs.0.conv" };
    if ![first, "decoder.transpconvs.0", "decoder.seg_layers.0"]
        .iter()
        .all(|n| dict.has(&format!("{n}.weight")))
    {
        return Ok(None);
    }
    let stages = (0..).take_while(|i| dict.has(&format!("decoder.transpconvs.{i}.weight"))).count();
    // Modules are registered twice. Every stage has a head; only the last one is used.
    let last = format!("decoder.seg_layers.{}.", stages - 1);
    dict.discard(|name| {
        let is_twice = name.contains(".all_modules.") || name.starts_with("decoder.encoder.");
        is_twice || name.starts_with("decoder.seg_layers.") && !name.starts_with(&last)
    });
    let mut net = Net::new(dict, first)?;
    // From full resolution down; the first stage does not change it.
    let mut strides = vec![[1, 1]];
    for i in (0..stages).rev() {
        let name = format!("decoder.transpconvs.{i}.weight");
        match net.dict.shape(&name) {
            Some(&[_, _, h, w]) if (1..=8).contains(&h) && (1..=8).contains(&w) => strides.push([h, w]),
            other => {
                return Err(Error::shape(
                    format!("tensor {name}"),
                    "4 extents, kernel 1 to 8",
                    format!("{other:?}"),
                ));
            }
        }
    }
    let total =
        |axis: usize| strides.iter().fold(1usize, |product, stride| product.saturating_mul(stride[axis]));
    let multiple = total(0).max(total(1));
    if multiple > 1 << 12 || multiple % total(0).min(total(1)) != 0 {
        return Err(Error::shape("strides", "powers of 2, at most 4096 together", format!("{strides:?}")));
    }

    let mut y = net.padded_input(multiple, PadMode::Zero)?;
    if is_residual {
        y = stack(&mut net, "encoder.stem", y, [1, 1])?;
    }
    let mut skips = Vec::new();
    for (i, &stride) in strides.iter().enumerate() {
        let stage = format!("encoder.stages.{i}");
        y = if is_residual {
            residual_stack(&mut net, &stage, y, stride)?
        } else {
            stack(&mut net, &format!("{stage}.0"), y, stride)?
        };
        skips.push(y);
    }
    skips.pop();
    for (i, skip) in skips.into_iter().rev().enumerate() {
        y = net.up(&format!("decoder.transpconvs.{i}"), y)?;
        y = net.concat(&format!("decoder.concat{i}"), [y, skip])?;
        y = stack(&mut net, &format!("decoder.stages.{i}"), y, [1, 1])?;
    }
    y = net.conv(last.trim_end_matches('.'), y)?;
    net.crop_to_input(y)?;

    let (recipe, told) = recipe(net.dict)?;
    let model = net.finish("nnU-Net", recipe);
    Ok(if told { model.map(|model| model.with_recipe_source("nnU-Net's plans")) } else { model })
}

/// Convolutions with norm and leaky ReLU; the first has the stride.
fn stack(net: &mut Net<'_, '_>, name: &str, mut x: ValueId, stride: [usize; 2]) -> Result<ValueId> {
    for i in 0.. {
        let conv = format!("{name}.convs.{i}");
        if i > 0 && !net.has(&format!("{conv}.conv.weight")) {
            break;
        }
        x = conv_norm(net, &conv, x, if i == 0 { stride } else { [1, 1] })?;
        x = net.push(&format!("{conv}.nonlin"), LEAKY, &[x])?;
    }
    Ok(x)
}

fn conv_norm(net: &mut Net<'_, '_>, name: &str, x: ValueId, stride: [usize; 2]) -> Result<ValueId> {
    let conv = Conv { stride, ..net.take_conv(&format!("{name}.conv"))?.same() };
    let channels = conv.out_channels();
    let y = net.push(&format!("{name}.conv"), conv, &[x])?;
    net.norm(&format!("{name}.norm"), y, channels)
}

/// Residual blocks with the shortcut of ResNet-D (He et al. 2019): an average pool, then a 1x1 convolution.
fn residual_stack(net: &mut Net<'_, '_>, name: &str, mut x: ValueId, stride: [usize; 2]) -> Result<ValueId> {
    for i in 0.. {
        let block = format!("{name}.blocks.{i}");
        if i > 0 && !net.has(&format!("{block}.conv1.conv.weight")) {
            break;
        }
        let stride = if i == 0 { stride } else { [1, 1] };
        let mut shortcut = x;
        if stride != [1, 1] {
            let pool = Pool { kind: PoolKind::Average, kernel: stride, stride, ..Pool::MAX_2X2 };
            shortcut = net.push(&format!("{block}.skip.pool"), pool, &[x])?;
        }
        for place in 0..2 {
            let projection = format!("{block}.skip.{place}");
            if net.has(&format!("{projection}.conv.weight")) {
                shortcut = conv_norm(net, &projection, shortcut, [1, 1])?;
            }
        }
        // With three convolutions, the middle one has the stride.
        let (last, strided) = if net.has(&format!("{block}.conv3.conv.weight")) { (3, 2) } else { (2, 1) };
        let mut y = x;
        for conv in 1..=last {
            y = conv_norm(
                net,
                &format!("{block}.conv{conv}"),
                y,
                if conv == strided { stride } else { [1, 1] },
            )?;
            if conv < last {
                y = net.push(&format!("{block}.conv{conv}.nonlin"), LEAKY, &[y])?;
            }
        }
        y = net.push(&format!("{block}.add"), Binary::ADD, &[y, shortcut])?;
        x = net.push(&format!("{block}.nonlin"), LEAKY, &[y])?;
    }
    Ok(x)
}

/// Normalisation and classes from plans and labels, and whether any of them were found.
fn recipe(dict: &StateDict<'_>) -> Result<(Recipe, bool)> {
    let init = dict.value("init_args").cloned().unwrap_or_default();
    let beside = |name: &str| -> Result<Value> {
        Ok(dict.sidecar(name)?.or(dict.sidecar(&format!("../{name}"))?).unwrap_or_default())
    };
    let plans = if init["plans"].is_object() { init["plans"].clone() } else { beside("plans.json")? };
    let labels =
        if init["dataset_json"].is_object() { init["dataset_json"].clone() } else { beside("dataset.json")? };

    let configuration = &plans["configurations"][init["configuration"].as_str().unwrap_or("2d")];
    let layers = &configuration["architecture"]["arch_kwargs"];
    for (layer, known) in [("nonlin", "LeakyReLU"), ("norm_op", "Norm2d")] {
        if let Some(other) = layers[layer].as_str().filter(|class| !class.ends_with(known)) {
            return Err(Error::Model(format!("the plans' {layer} {other} is not supported")));
        }
    }

    let mut recipe = segment(0.0);
    let schemes = configuration["normalization_schemes"].as_array();
    let names: Vec<&str> = schemes.into_iter().flatten().filter_map(Value::as_str).collect();
    let name = names.first().copied().unwrap_or("ZScoreNormalization");
    let foreground = &plans["foreground_intensity_properties_per_channel"]["0"];
    if let Err(what) = normalization(&mut recipe.input, name, foreground) {
        recipe.description = format!("normalise the input as nnU-Net's {what}; this is not done here");
    }
    if names.iter().any(|other| *other != name) {
        recipe.description = format!(
            "channels are normalised differently ({}); here all are normalised like the first",
            names.join(", ")
        );
    }
    labelling(&mut recipe, &labels)?;
    // As nnU-Net predicts larger pictures: patches that overlap by half, weighted by a Gaussian.
    if let [Some(h), Some(w)] = [0, 1].map(|axis| configuration["patch_size"][axis].as_u64())
        && h == w
        && (64..=4096).contains(&h)
    {
        recipe.input.tile = usize::try_from(h).ok();
    }
    Ok((recipe, plans.is_object() || labels.is_object()))
}

/// Classes or regions from `dataset.json`, as in nnunetv2/utilities/label_handling. The label `ignore` has no channel, and
/// in references it does not count.
fn labelling(recipe: &mut Recipe, dataset: &Value) -> Result<()> {
    recipe.output.void = dataset["labels"]["ignore"].as_u64().iter().map(u64::to_string).collect();
    let labels = dataset["labels"].as_object().into_iter().flatten().filter(|(name, _)| *name != "ignore");
    let labels: Vec<(&String, &Value)> = labels.collect();
    let class = |name: &str| Class { name: name.into(), color: None };
    let has_regions = labels.iter().any(|(_, value)| value.as_array().is_some_and(|list| list.len() > 1));
    if !has_regions {
        let number = |value: &Value| value.as_u64().or(value[0].as_u64());
        let mut classes: Vec<(u64, Class)> =
            labels.iter().filter_map(|(name, value)| Some((number(value)?, class(name)))).collect();
        classes.sort_by_key(|class| class.0);
        if classes.iter().enumerate().all(|(i, class)| class.0 == i as u64) {
            recipe.output.classes = classes.into_iter().map(|class| class.1).collect();
        }
        return Ok(());
    }
    // A channel for each region that is not the background, in the file's order.
    let is_background = |value: &Value| match value.as_array() {
        Some(list) => list.iter().all(|number| number == 0),
        None => value == 0,
    };
    let regions: Vec<&String> =
        labels.iter().filter(|(_, value)| !is_background(value)).map(|(name, _)| *name).collect();
    let Some(order) = dataset["regions_class_order"].as_array() else {
        // Without the order that paints them over each other, regions are labels.
        recipe.output.decode = Some(Decode::Labels);
        recipe.output.classes = regions.iter().map(|name| class(name)).collect();
        return Ok(());
    };
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let order: Option<Vec<u16>> = order.iter().map(number).collect();
    let order = order.filter(|order| order.len() == regions.len()).ok_or_else(|| {
        let expected = format!("a class number for each of {} regions", regions.len());
        Error::shape("dataset.json's regions_class_order", expected, &dataset["regions_class_order"])
    })?;
    let last = order.iter().copied().max().unwrap_or(0);
    let name = |number: u16| match order.iter().position(|&of| of == number) {
        _ if number == 0 => class("background"),
        Some(place) => class(regions[place]),
        None => class(&format!("class {number}")),
    };
    if usize::from(last) <= 4 * order.len() {
        recipe.output.classes = (0..=last).map(name).collect();
    }
    recipe.output.regions = order;
    Ok(())
}

/// The effect of one of nnU-Net's normalisation schemes on a channel (nnunetv2/preprocessing/normalization). Errors
/// with what the plans lack.
fn normalization(input: &mut InputRecipe, scheme: &str, foreground: &Value) -> Result<(), String> {
    let over = Over::Channel;
    match scheme {
        "RGBTo01Normalization" => {}
        "NoNormalization" => input.scale = 1.0,
        "ZScoreNormalization" => {
            (input.scale, input.steps) = (1.0, vec![Step::Standardize { over, eps: 1e-8 }]);
        }
        "RescaleTo01Normalization" => {
            (input.scale, input.steps) =
                (1.0, vec![Step::Rescale { low: 0.0, high: 100.0, over, eps: 1e-8 }]);
        }
        "CTNormalization" => {
            let number = |name: &str| {
                foreground[name].as_f64().ok_or_else(|| format!("{scheme} (the plans have no {name})"))
            };
            let (min, max) = (Some(number("percentile_00_5")?), Some(number("percentile_99_5")?));
            (input.mean, input.std) = (vec![number("mean")?], vec![number("std")?.max(1e-8)]);
            (input.scale, input.steps) = (1.0, vec![Step::Clip { min, max }]);
        }
        other => return Err(other.into()),
    }
    Ok(())
}
