//! FPN, PSPNet, UPerNet and Segformer: features of several sizes are brought to one size and joined.

use super::conv_relu;
use crate::error::Result;
use crate::graph::{AdaptivePool, Axis, Binary, Concat, Norm, NormOver, Reduce, Resize, ResizeTo, ValueId};
use crate::import::families::Net;

/// Groups of the FPN's norms.
const GROUPS: usize = 32;

/// Windows along each side in the pyramid of pools.
const WINDOWS: [usize; 4] = [1, 2, 3, 6];

/// Kirillov et al. 2017: sums from coarse to fine, each brought to a quarter of the picture's size.
pub(super) fn fpn(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
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

/// Zhao et al. 2017: the last features beside their means over large windows.
pub(super) fn psp(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
    let x = features[features.len() - 1];
    let mut parts = pools(net, "decoder.psp.blocks", ".pool.1", x, true)?;
    parts.push(x);
    let y = net.push("decoder.psp.concat", Concat::default(), &parts)?;
    conv_relu(net, "decoder.conv", y)
}

/// The means over windows, behind a convolution, at the map's own size. The convolution's name has that ending.
fn pools(
    net: &mut Net<'_, '_>,
    blocks: &str,
    ending: &str,
    x: ValueId,
    align_corners: bool,
) -> Result<Vec<ValueId>> {
    let part = |(i, &windows): (usize, &usize)| {
        let name = format!("{blocks}.{i}");
        let mut y = x;
        if windows == 1 {
            y = net.push(&format!("{name}.mean"), Reduce::GLOBAL_AVERAGE, &[y])?;
        } else {
            for axis in [Axis::H, Axis::W] {
                y = net.push(&format!("{name}.mean.{axis}"), AdaptivePool { axis, to: windows }, &[y])?;
            }
        }
        y = conv_relu(net, &format!("{name}{ending}"), y)?;
        net.push(&format!("{name}.up"), Resize::bilinear(ResizeTo::Like, align_corners), &[y, x])
    };
    WINDOWS.iter().enumerate().map(part).collect()
}

/// Xiao et al. 2018: a pyramid of pools below a pyramid of features.
pub(super) fn upernet(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
    let like = |net: &mut Net<'_, '_>, name: &str, x, like| {
        net.push(&format!("{name}.up"), Resize::bilinear(ResizeTo::Like, false), &[x, like])
    };
    let mut normed = Vec::new();
    for (i, &x) in features[2..].iter().enumerate() {
        let name = format!("decoder.feature_norms.{i}");
        let mut norm = Norm::new(NormOver::Channels, 1e-6);
        norm.scale = Some(net.dict.take_vector(&format!("{name}.weight"))?);
        norm.shift = Some(net.dict.take_vector(&format!("{name}.bias"))?);
        normed.push(net.push(&name, norm, &[x])?);
    }
    let smallest = normed[normed.len() - 1];
    let mut parts = vec![smallest];
    parts.extend(pools(net, "decoder.psp.blocks", ".1", smallest, false)?);
    let mut y = net.push("decoder.psp.concat", Concat::default(), &parts)?;
    y = conv_relu(net, "decoder.psp.out_conv", y)?;
    let mut sums = vec![y];
    for (i, &x) in normed.iter().rev().skip(1).enumerate() {
        let name = format!("decoder.fpn_lateral_blocks.{i}");
        let lateral = conv_relu(net, &format!("{name}.conv_norm_relu"), x)?;
        y = like(net, &name, y, lateral)?;
        y = net.push(&format!("{name}.add"), Binary::ADD, &[y, lateral])?;
        sums.push(y);
    }
    for (i, sum) in sums[1..].iter_mut().enumerate() {
        *sum = conv_relu(net, &format!("decoder.fpn_conv_blocks.{i}"), *sum)?;
    }
    let largest = sums[sums.len() - 1];
    let mut joined = Vec::new();
    for (i, &sum) in sums.iter().enumerate().rev() {
        let is_largest = sum == largest;
        joined.push(if is_largest { sum } else { like(net, &format!("decoder.fused.{i}"), sum, largest)? });
    }
    let y = net.push("decoder.fused", Concat::default(), &joined)?;
    conv_relu(net, "decoder.fusion_block", y)
}

/// Xie et al. 2021: a linear layer for the features of each size, all brought to a quarter of the picture's.
pub(super) fn segformer(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
    let quarter = features[2];
    let mut parts = Vec::new();
    for (i, &x) in features[1..].iter().rev().enumerate() {
        let name = format!("decoder.mlp_stage.{i}");
        let y = net.conv(&format!("{name}.linear"), x)?;
        parts.push(net.push(
            &format!("{name}.size"),
            Resize::bilinear(ResizeTo::Like, false),
            &[y, quarter],
        )?);
    }
    let y = net.push("decoder.concat", Concat::default(), &parts)?;
    conv_relu(net, "decoder.fuse_stage", y)
}
