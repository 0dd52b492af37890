//! U-Net, U-Net++ and Linknet: the smallest features are doubled step by step and joined with those of their size.

use super::{conv_relu, norm_relu};
use crate::error::Result;
use crate::graph::{Activation, Binary, BinaryKind, Concat, Crop, Reduce, Resize, ResizeTo, ValueId};
use crate::import::families::Net;

pub(super) fn unet(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
    let depth = features.len() - 1;
    let mut y = center(net, features[depth])?;
    for (i, &skip) in features[..depth].iter().rev().enumerate() {
        let name = format!("decoder.blocks.{i}");
        y = net.push(&format!("{name}.up"), Resize::nearest(ResizeTo::Scale([2.0; 2])), &[y])?;
        // Sizes were rounded up on the way down. Nearest neighbour to one pixel less differs only in the last pixel.
        y = net.push(&format!("{name}.crop"), Crop, &[y, skip])?;
        if i + 1 < depth {
            y = net.concat(&format!("{name}.concat"), [y, skip])?;
        }
        y = block(net, &name, y, i + 1 < depth)?;
    }
    Ok(y)
}

/// Two convolutions before the first level, which networks on VGG have.
fn center(net: &mut Net<'_, '_>, mut y: ValueId) -> Result<ValueId> {
    for i in 0..2 {
        let name = format!("decoder.center.{i}");
        if net.has(&format!("{name}.0.weight")) {
            y = conv_relu(net, &name, y)?;
        }
    }
    Ok(y)
}

/// Attention, two convolutions, attention.
fn block(net: &mut Net<'_, '_>, name: &str, mut y: ValueId, has_skip: bool) -> Result<ValueId> {
    let first = format!("{name}.attention1.attention");
    if has_skip {
        y = scse(net, &first, y)?;
    } else {
        // Without a skip, the module is there but does not run.
        net.dict.discard(|tensor| tensor.starts_with(&first));
    }
    for conv in ["conv1", "conv2"] {
        y = conv_relu(net, &format!("{name}.{conv}"), y)?;
    }
    scse(net, &format!("{name}.attention2.attention"), y)
}

/// Gates of channels and of pixels, summed (Roy et al. 2018); nothing if there are no weights.
fn scse(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    if !net.has(&format!("{name}.cSE.1.weight")) {
        return Ok(x);
    }
    let part = |part: &str| format!("{name}.{part}");
    let mut channels = net.push(&part("cSE.0"), Reduce::GLOBAL_AVERAGE, &[x])?;
    channels = net.conv(&part("cSE.1"), channels)?;
    channels = net.relu(&part("cSE.2"), channels)?;
    channels = net.conv(&part("cSE.3"), channels)?;
    channels = net.push(&part("cSE.4"), Activation::Sigmoid, &[channels])?;
    let mut pixels = net.conv(&part("sSE.0"), x)?;
    pixels = net.push(&part("sSE.1"), Activation::Sigmoid, &[pixels])?;
    let channels = net.push(&part("cSE"), Binary::new(BinaryKind::Mul), &[x, channels])?;
    let pixels = net.push(&part("sSE"), Binary::new(BinaryKind::Mul), &[x, pixels])?;
    net.push(&part("add"), Binary::ADD, &[channels, pixels])
}

/// Zhou et al. 2018: every level is refined with all earlier results of its size.
pub(super) fn unet_plus_plus(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
    let mut features: Vec<ValueId> = features[1..].iter().rev().copied().collect();
    features[0] = center(net, features[0])?;
    let depth = features.len() - 1;
    // By column and row of the library's triangle of blocks.
    let mut dense = vec![vec![features[0]; depth]; depth];
    for step in 0..depth {
        for from in 0..depth - step {
            let at = from + step;
            let name = format!("decoder.blocks.x_{from}_{at}");
            let below = if step == 0 { features[from] } else { dense[from][at - 1] };
            let up = net.push(&format!("{name}.up"), Resize::nearest(ResizeTo::Scale([2.0; 2])), &[below])?;
            let mut parts = vec![up];
            parts.extend((from + 1..=at).map(|other| dense[other][at]));
            parts.push(features[at + 1]);
            let y = net.push(&format!("{name}.concat"), Concat::default(), &parts)?;
            dense[from][at] = block(net, &name, y, true)?;
        }
    }
    let name = format!("decoder.blocks.x_0_{depth}");
    let last = if depth == 0 { features[0] } else { dense[0][depth - 1] };
    let y = net.push(&format!("{name}.up"), Resize::nearest(ResizeTo::Scale([2.0; 2])), &[last])?;
    block(net, &name, y, false)
}

/// Chaurasia and Culurciello 2017: skips are added.
pub(super) fn linknet(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
    let depth = features.len() - 1;
    let mut y = features[depth];
    for i in 0..depth {
        let name = format!("decoder.blocks.{i}");
        y = conv_relu(net, &format!("{name}.block.0"), y)?;
        let up = format!("{name}.block.1");
        let mut conv = net.take_transposed(&format!("{up}.0"), 2)?;
        conv.padding = [1; 4];
        y = net.push(&format!("{up}.0"), conv, &[y])?;
        y = norm_relu(net, &up, y)?;
        y = conv_relu(net, &format!("{name}.block.2"), y)?;
        if i + 1 < depth {
            y = net.push(&format!("{name}.add"), Binary::ADD, &[y, features[depth - 1 - i]])?;
        }
    }
    Ok(y)
}
