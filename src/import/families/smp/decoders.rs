//! The decoders: features of all sizes to one map.

use super::super::Net;
use crate::error::Result;
use crate::graph::{
    Activation, Binary, BinaryKind, Concat, Crop, Norm, NormOver, Reduce, Resize, ResizeTo, ValueId,
};
use crate::import::tensors::StateDict;

/// Groups of the FPN's norms.
const GROUPS: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    Unet,
    UnetPlusPlus,
    Linknet,
    Fpn,
}

impl Decoder {
    pub(super) fn of(dict: &StateDict<'_>) -> Option<Decoder> {
        let has = |name: &str| dict.has(&format!("decoder.{name}.weight"));
        if has("blocks.0.conv1.0") {
            Some(Decoder::Unet)
        } else if has("blocks.x_0_0.conv1.0") {
            Some(Decoder::UnetPlusPlus)
        } else if has("blocks.0.block.0.0") && has("blocks.0.block.1.0") {
            Some(Decoder::Linknet)
        } else if has("p5") && has("p4.skip_conv") && has("seg_blocks.0.block.0.block.0") {
            Some(Decoder::Fpn)
        } else {
            None
        }
    }

    pub(super) fn family(self) -> &'static str {
        match self {
            Decoder::Unet => "segmentation_models.pytorch Unet",
            Decoder::UnetPlusPlus => "segmentation_models.pytorch UnetPlusPlus",
            Decoder::Linknet => "segmentation_models.pytorch Linknet",
            Decoder::Fpn => "segmentation_models.pytorch FPN",
        }
    }

    /// Halvings whose features it reads.
    pub(super) fn depth(self, net: &Net<'_, '_>) -> usize {
        let levels = |name: fn(usize) -> String| {
            (0..5).take_while(|&i| net.has(&format!("decoder.{}.weight", name(i)))).count()
        };
        match self {
            Decoder::Unet => levels(|i| format!("blocks.{i}.conv1.0")),
            Decoder::UnetPlusPlus => levels(|i| format!("blocks.x_0_{i}.conv1.0")),
            Decoder::Linknet => levels(|i| format!("blocks.{i}.block.0.0")),
            Decoder::Fpn => 5,
        }
    }

    /// Joins the picture and its features, the smallest last.
    pub(super) fn join(self, net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
        match self {
            Decoder::Unet => unet(net, features),
            Decoder::UnetPlusPlus => unet_plus_plus(net, features),
            Decoder::Linknet => linknet(net, features),
            Decoder::Fpn => fpn(net, features),
        }
    }
}

fn unet(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
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
fn unet_plus_plus(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
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
fn linknet(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
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

/// Kirillov et al. 2017: sums from coarse to fine, each brought to a quarter of the picture's size.
fn fpn(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
    let depth = features.len() - 1;
    let mut level = net.conv("decoder.p5", features[depth])?;
    let mut levels = vec![level];
    for i in 1..4 {
        let name = format!("decoder.p{}", 5 - i);
        let up = net.push(&format!("{name}.up"), Resize::nearest(ResizeTo::Scale([2.0; 2])), &[level])?;
        let skip = net.conv(&format!("{name}.skip_conv"), features[depth - i])?;
        level = net.push(&format!("{name}.add"), Binary::ADD, &[up, skip])?;
        levels.push(level);
    }
    let mut parts = Vec::new();
    for (i, mut y) in levels.into_iter().enumerate() {
        let count = (0..4)
            .take_while(|at| net.has(&format!("decoder.seg_blocks.{i}.block.{at}.block.0.weight")))
            .count();
        for at in 0..count {
            let name = format!("decoder.seg_blocks.{i}.block.{at}");
            y = net.conv(&format!("{name}.block.0"), y)?;
            let mut norm = Norm::new(NormOver::Groups(GROUPS), 1e-5);
            norm.scale = Some(net.dict.take_vector(&format!("{name}.block.1.weight"))?);
            norm.shift = Some(net.dict.take_vector(&format!("{name}.block.1.bias"))?);
            y = net.push(&format!("{name}.block.1"), norm, &[y])?;
            y = net.relu(&format!("{name}.block.2"), y)?;
            if i < 3 {
                y =
                    net.push(&format!("{name}.up"), Resize::bilinear(ResizeTo::Scale([2.0; 2]), true), &[y])?;
            }
        }
        parts.push(y);
    }
    // Whether the parts are summed or joined follows from what the head reads.
    let head = net.dict.shape("segmentation_head.0.weight").and_then(|shape| shape.get(1)).copied();
    if head != Some(net.channels(parts[0])) {
        return net.push("decoder.merge", Concat::default(), &parts);
    }
    let mut sum = parts[0];
    for (i, &part) in parts.iter().enumerate().skip(1) {
        sum = net.push(&format!("decoder.merge{i}"), Binary::ADD, &[sum, part])?;
    }
    Ok(sum)
}

/// Convolution, batch norm if there is one, ReLU.
fn conv_relu(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let y = net.conv(&format!("{name}.0"), x)?;
    norm_relu(net, name, y)
}

fn norm_relu(net: &mut Net<'_, '_>, name: &str, mut y: ValueId) -> Result<ValueId> {
    let norm = format!("{name}.1");
    if net.has(&format!("{norm}.weight")) {
        y = net.batch_norm(&norm, y)?;
    }
    net.relu(&format!("{name}.2"), y)
}
