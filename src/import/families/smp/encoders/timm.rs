//! EfficientNet and EfficientNet-Lite (Tan and Le 2019), as timm runs them: padding alike on both sides.

use super::{Encoder, Extent};
use crate::error::Result;
use crate::graph::{Activation, Binary, BinaryKind, Conv, Reduce, ValueId};
use crate::import::families::Net;
use crate::import::tensors::StateDict;

/// Distances of neighbours behind each stage.
const STAGES: [usize; 7] = [2, 4, 8, 16, 16, 32, 32];

/// The stages whose results are the features after one to five halvings. The library takes the first features before
/// all stages, timm itself behind the first.
const ENDS: [usize; 5] = [0, 1, 2, 4, 6];

/// The convolution that makes the features after so many halvings.
pub(super) fn last(dict: &StateDict<'_>, encoder: Encoder, depth: usize) -> Option<String> {
    let base = encoder.base();
    let stage = match (depth, encoder) {
        (1, Encoder::TimmEfficientNet) => return Some(format!("{base}conv_stem")),
        _ => ENDS.get(depth.checked_sub(1)?)?,
    };
    let names = ["conv_pwl", "conv_pw"].map(|conv| format!("{base}blocks.{stage}.0.{conv}"));
    names.into_iter().find(|name| dict.has(&format!("{name}.weight")))
}

pub(super) fn features(
    net: &mut Net<'_, '_>,
    encoder: Encoder,
    x: ValueId,
    extent: Extent,
) -> Result<Vec<ValueId>> {
    let base = encoder.base();
    // EfficientNet-Lite has no gates.
    let is_lite = !net.has(&format!("{base}blocks.0.0.se.conv_reduce.weight"));
    let activation = if is_lite { Activation::Clip { min: 0.0, max: 6.0 } } else { Activation::Silu };
    let stem = format!("{base}conv_stem");
    let conv = Conv { stride: [2, 2], ..net.take_conv(&stem)?.same() };
    let mut y = net.push(&stem, conv, &[x])?;
    y = net.batch_norm(&format!("{base}bn1"), y)?;
    y = net.push(&format!("{base}act1"), activation, &[y])?;
    let mut features = vec![x];
    if encoder == Encoder::TimmEfficientNet {
        features.push(y);
    }
    for (stage, &distance) in STAGES.iter().enumerate() {
        if features.len() > extent.depth {
            break;
        }
        for place in 0.. {
            let name = format!("{base}blocks.{stage}.{place}");
            if !net.has(&format!("{name}.conv_dw.weight")) {
                break;
            }
            let halves = place == 0 && [1, 2, 3, 5].contains(&stage);
            // In timm, the convolution that would halve still has the width of the stage before.
            let is_late = encoder == Encoder::TimmFeatures && halves && distance > extent.stride;
            let (stride, distance) = match (halves, is_late) {
                (_, true) => (1, distance / 2),
                (true, false) => (2, distance),
                (false, false) => (1, distance),
            };
            let fit = |conv: Conv| extent.fitted(Conv { stride: [stride; 2], ..conv }, distance);
            y = block(net, &name, y, !halves, activation, fit)?;
        }
        if ENDS.contains(&stage) && !(stage == 0 && encoder == Encoder::TimmEfficientNet) {
            features.push(y);
        }
    }
    Ok(features)
}

/// Expansion, depthwise convolution, squeeze and excitation, projection.
fn block(
    net: &mut Net<'_, '_>,
    name: &str,
    x: ValueId,
    keeps: bool,
    activation: Activation,
    fit: impl Fn(Conv) -> Conv,
) -> Result<ValueId> {
    let part = |part: &str| format!("{name}.{part}");
    let (mut y, mut norm) = (x, 1);
    let expands = net.has(&part("conv_pwl.weight"));
    let mut normed = |net: &mut Net<'_, '_>, y| {
        let name = part(&format!("bn{norm}"));
        norm += 1;
        net.batch_norm(&name, y)
    };
    if expands {
        y = net.conv(&part("conv_pw"), y)?;
        y = normed(net, y)?;
        y = net.push(&part("act1"), activation, &[y])?;
    }
    let mut conv = fit(net.take_conv(&part("conv_dw"))?);
    conv.groups = net.channels(y);
    y = net.push(&part("conv_dw"), conv, &[y])?;
    y = normed(net, y)?;
    y = net.push(&part("act2"), activation, &[y])?;
    if net.has(&part("se.conv_reduce.weight")) {
        let mut gate = net.push(&part("se.pool"), Reduce::GLOBAL_AVERAGE, &[y])?;
        gate = net.conv(&part("se.conv_reduce"), gate)?;
        gate = net.push(&part("se.act1"), activation, &[gate])?;
        gate = net.conv(&part("se.conv_expand"), gate)?;
        gate = net.push(&part("se.gate"), Activation::Sigmoid, &[gate])?;
        y = net.push(&part("se"), Binary::new(BinaryKind::Mul), &[y, gate])?;
    }
    y = net.conv(&part(if expands { "conv_pwl" } else { "conv_pw" }), y)?;
    y = normed(net, y)?;
    let keeps = keeps && net.channels(x) == net.channels(y);
    if keeps { net.push(&part("add"), Binary::ADD, &[y, x]) } else { Ok(y) }
}
