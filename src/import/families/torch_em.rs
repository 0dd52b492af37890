//! `UNet2d` of github.com/constantinpape/torch-em, which many models of bioimage.io are.
//!
//! A block normalises before each of its two convolutions; instance norm has no weights and shows as a gap in the
//! numbers. Max pool; bilinear up-sampling with a 1x1 convolution. The trainer's checkpoints tell the last activation.

use super::Net;
use super::net::segment;
use crate::error::{Error, Result};
use crate::graph::{Activation, Norm, NormOver, PadMode, Pool, Resize, ResizeTo, Softmax, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let conv = |dict: &StateDict<'_>, name: &str| {
        [0, 1]
            .into_iter()
            .find(|i| dict.shape(&format!("{name}.block.{i}.weight")).is_some_and(|s| s.len() == 4))
    };
    let Some(first) = conv(dict, "encoder.blocks.0") else { return Ok(None) };
    if conv(dict, "base").is_none() || conv(dict, "decoder.blocks.0").is_none() {
        return Ok(None);
    }
    let activation = dict.value("init").map(|init| init["model_kwargs"]["final_activation"].clone());
    let mut net = Net::new(dict, &format!("encoder.blocks.0.block.{first}"))?;
    let depth = (0..).take_while(|i| net.has(&format!("encoder.blocks.{i}.block.{first}.weight"))).count();
    let mut y = net.padded_input(1 << depth.min(16), PadMode::Reflect)?;
    let mut skips = Vec::new();
    for i in 0..depth {
        y = block(&mut net, &format!("encoder.blocks.{i}"), y)?;
        skips.push(y);
        y = net.push(&format!("encoder.poolers.{i}"), Pool::MAX_2X2, &[y])?;
    }
    y = block(&mut net, "base", y)?;
    for (i, skip) in skips.into_iter().rev().enumerate() {
        let name = format!("decoder.samplers.{i}");
        y = net.push(&name, Resize::bilinear(ResizeTo::Scale([2.0; 2]), false), &[y])?;
        y = net.conv(&format!("{name}.conv"), y)?;
        y = net.concat(&format!("decoder.concat{i}"), [y, skip])?;
        y = block(&mut net, &format!("decoder.blocks.{i}"), y)?;
    }
    if net.has("out_conv.weight") {
        y = net.conv("out_conv", y)?;
    }
    let mut threshold = 0.0;
    let name = activation.as_ref().and_then(|name| name.as_str());
    match name {
        None => {}
        Some("Sigmoid") => {
            y = net.push("final_activation", Activation::Sigmoid, &[y])?;
            threshold = 0.5;
        }
        Some("Softmax" | "Softmax2d") => y = net.push("final_activation", Softmax::default(), &[y])?,
        Some("Tanh") => y = net.push("final_activation", Activation::Tanh, &[y])?,
        Some("ReLU") => y = net.relu("final_activation", y)?,
        Some(other) => return Err(Error::Model(format!("final_activation {other} is not supported"))),
    }
    net.crop_to_input(y)?;
    let mut model = net.finish("torch_em UNet2d", segment(threshold));
    if let Some(model) = &mut model
        && activation.is_none()
    {
        model.notes.push(
            "the file does not tell the network's final_activation; none is assumed, so that the result holds logits"
                .into(),
        );
    }
    Ok(model)
}

/// Norm, convolution, ReLU, twice.
fn block(net: &mut Net<'_, '_>, name: &str, mut x: ValueId) -> Result<ValueId> {
    let is_kernel = |net: &Net<'_, '_>, at: usize| {
        net.dict.shape(&format!("{name}.block.{at}.weight")).is_some_and(|shape| shape.len() == 4)
    };
    let has_norm = !is_kernel(net, 0);
    let places = if has_norm { [1, 4] } else { [0, 2] };
    for place in places {
        if has_norm {
            x = norm(net, &format!("{name}.block.{}", place - 1), x)?;
        }
        x = net.conv(&format!("{name}.block.{place}"), x)?;
        x = net.relu(&format!("{name}.block.{}", place + 1), x)?;
    }
    Ok(x)
}

/// Group norm has weights and no statistics, 32 groups or one for each channel.
fn norm(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let channels = net.channels(x);
    if !net.has(&format!("{name}.weight")) || net.has(&format!("{name}.running_mean")) {
        return net.norm(name, x, channels);
    }
    let mut norm = Norm::new(NormOver::Groups(channels.min(32)), 1e-5);
    norm.scale = Some(net.dict.take_vector(&format!("{name}.weight"))?);
    norm.shift = Some(net.dict.take_vector(&format!("{name}.bias"))?);
    net.push(name, norm, &[x])
}
