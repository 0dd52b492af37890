//! ResNet and ResNeXt (He et al. 2016), as torchvision and timm run them.

use super::{Encoder, Extent};
use crate::error::Result;
use crate::graph::{Binary, Conv, Pool, PoolKind, ValueId};
use crate::import::families::Net;
use crate::import::tensors::StateDict;

/// The convolution that makes the features after so many halvings.
pub(super) fn last(dict: &StateDict<'_>, base: &str, depth: usize) -> Option<String> {
    let Some(layer) = depth.checked_sub(1).filter(|&layer| layer > 0) else {
        return Some(format!("{base}conv1"));
    };
    let conv = |i: usize| format!("{base}layer{layer}.0.conv{i}");
    Some(if dict.has(&format!("{}.weight", conv(3))) { conv(3) } else { conv(2) })
}

pub(super) fn features(
    net: &mut Net<'_, '_>,
    encoder: Encoder,
    x: ValueId,
    extent: Extent,
) -> Result<Vec<ValueId>> {
    let base = encoder.base();
    let name = |part: &str| format!("{base}{part}");
    let first = Conv { stride: [2, 2], ..net.take_conv(&name("conv1"))?.same() };
    let mut y = net.push(&name("conv1"), first, &[x])?;
    y = net.batch_norm(&name("bn1"), y)?;
    y = net.relu(&name("relu"), y)?;
    let mut features = vec![x, y];
    if extent.depth < 2 {
        return Ok(features);
    }
    let pool = Pool { kernel: [3, 3], padding: [1; 4], kind: PoolKind::Max, ..Pool::MAX_2X2 };
    y = net.push(&name("maxpool"), pool, &[y])?;
    for layer in 1..extent.depth {
        let mut block = 0;
        while net.has(&format!("{base}layer{layer}.{block}.conv1.weight")) {
            let place = Place {
                stage: 2 << layer,
                stride: if layer > 1 && block == 0 { 2 } else { 1 },
                is_timm: encoder == Encoder::TimmResNet,
            };
            y = residual(net, &format!("{base}layer{layer}.{block}"), y, place, extent)?;
            block += 1;
        }
        features.push(y);
    }
    Ok(features)
}

/// Where a block stands.
#[derive(Clone, Copy)]
struct Place {
    /// Distance of neighbours behind its layer, if nothing is widened.
    stage: usize,
    stride: usize,
    is_timm: bool,
}

/// A basic block (3x3, 3x3) or a bottleneck (1x1, 3x3, 1x1). The first 3x3 convolution has the stride.
fn residual(net: &mut Net<'_, '_>, name: &str, x: ValueId, place: Place, extent: Extent) -> Result<ValueId> {
    let last = if net.has(&format!("{name}.conv3.weight")) { 3 } else { 2 };
    let (mut y, mut channels, mut stride_left) = (x, 0, place.stride);
    for i in 1..=last {
        let conv_name = format!("{name}.conv{i}");
        let mut conv = net.take_conv(&conv_name)?;
        let mut stage = place.stage;
        if conv.kernel() != [1, 1] {
            conv.stride = [stride_left; 2];
            // In timm, the convolution that would halve still has the width of the stage before.
            if place.is_timm && stride_left > 1 && stage > extent.stride {
                (conv.stride, stage) = ([1; 2], stage / 2);
            }
            stride_left = 1;
        }
        let mut conv = extent.fitted(conv, stage);
        // The number of groups of a ResNeXt follows from the shape of its weights.
        let own = conv.weight.shape().c;
        if i > 1 && own > 0 && channels % own == 0 {
            conv.groups = channels / own;
        }
        channels = conv.out_channels();
        y = net.push(&conv_name, conv, &[y])?;
        y = net.batch_norm(&format!("{name}.bn{i}"), y)?;
        if i < last {
            y = net.relu(&format!("{name}.relu{i}"), y)?;
        }
    }
    let mut shortcut = x;
    let projection = format!("{name}.downsample.0");
    if net.has(&format!("{projection}.weight")) {
        let conv = Conv { stride: [place.stride; 2], ..net.take_conv(&projection)? };
        shortcut = net.push(&projection, extent.fitted(conv, place.stage), &[x])?;
        shortcut = net.batch_norm(&format!("{name}.downsample.1"), shortcut)?;
    }
    y = net.push(&format!("{name}.add"), Binary::ADD, &[y, shortcut])?;
    net.relu(&format!("{name}.relu"), y)
}
