//! DeepLabV3, DeepLabV3+ and PAN: the last features are seen with kernels of several widths.

use super::norm_relu;
use crate::error::Result;
use crate::graph::{Activation, Binary, BinaryKind, Concat, Conv, Pool, Reduce, Resize, ResizeTo, ValueId};
use crate::import::families::Net;

/// Chen et al. 2017.
pub(super) fn deeplab(net: &mut Net<'_, '_>, features: &[ValueId], rates: [usize; 3]) -> Result<ValueId> {
    let y = aspp(net, "decoder.aspp", features[features.len() - 1], rates)?;
    let y = net.conv("decoder.conv", y)?;
    let y = net.batch_norm("decoder.bn", y)?;
    net.relu("decoder.relu", y)
}

/// Chen et al. 2018: DeepLabV3 beside the features at a quarter of the picture's size.
pub(super) fn deeplab_plus(
    net: &mut Net<'_, '_>,
    features: &[ValueId],
    rates: [usize; 3],
) -> Result<ValueId> {
    let mut y = aspp(net, "decoder.aspp.0", features[features.len() - 1], rates)?;
    y = separable(net, "decoder.aspp.1", y, 1)?;
    y = net.batch_norm("decoder.aspp.2", y)?;
    y = net.relu("decoder.aspp.3", y)?;
    let mut skip = net.conv("decoder.block1.0", features[2])?;
    skip = norm_relu(net, "decoder.block1", skip)?;
    // At sizes that the library takes, the factor is whole.
    y = net.push("decoder.up", Resize::bilinear(ResizeTo::Like, true), &[y, skip])?;
    y = net.concat("decoder.concat", [y, skip])?;
    y = separable(net, "decoder.block2.0", y, 1)?;
    norm_relu(net, "decoder.block2", y)
}

/// A 1x1 convolution, three dilated ones and the mean, side by side.
fn aspp(net: &mut Net<'_, '_>, name: &str, x: ValueId, rates: [usize; 3]) -> Result<ValueId> {
    let branch = |i: usize| format!("{name}.convs.{i}");
    let y = net.conv(&format!("{}.0", branch(0)), x)?;
    let mut parts = vec![norm_relu(net, &branch(0), y)?];
    for (i, rate) in rates.into_iter().enumerate() {
        let own = branch(i + 1);
        let y = separable(net, &format!("{own}.0"), x, rate)?;
        parts.push(norm_relu(net, &own, y)?);
    }
    let own = branch(4);
    let mut mean = net.push(&format!("{own}.0"), Reduce::GLOBAL_AVERAGE, &[x])?;
    mean = net.conv(&format!("{own}.1"), mean)?;
    mean = net.batch_norm(&format!("{own}.2"), mean)?;
    mean = net.relu(&format!("{own}.3"), mean)?;
    parts.push(net.push(&format!("{own}.up"), Resize::bilinear(ResizeTo::Like, false), &[mean, x])?);
    let y = net.push(&format!("{name}.concat"), Concat::default(), &parts)?;
    let y = net.conv(&format!("{name}.project.0"), y)?;
    norm_relu(net, &format!("{name}.project"), y)
}

/// A dilated convolution: depthwise and 1x1 if there are two.
fn separable(net: &mut Net<'_, '_>, name: &str, x: ValueId, rate: usize) -> Result<ValueId> {
    let (depthwise, pointwise) = (format!("{name}.0"), format!("{name}.1"));
    let is_separable = net.has(&format!("{depthwise}.weight"));
    let own = if is_separable { &depthwise } else { name };
    let mut conv = Conv { dilation: [rate; 2], ..net.take_conv(own)? }.same();
    if is_separable {
        conv.groups = net.channels(x);
    }
    let y = net.push(own, conv, &[x])?;
    if is_separable { net.conv(&pointwise, y) } else { Ok(y) }
}

/// Li et al. 2018: attention to windows of three sizes, then to the channels of each level.
pub(super) fn pan(net: &mut Net<'_, '_>, features: &[ValueId]) -> Result<ValueId> {
    let features = &features[2..];
    let mut y = attention(net, features[features.len() - 1])?;
    for (i, &x) in features[..features.len() - 1].iter().enumerate().rev() {
        let name = format!("decoder.gau{}", i + 1);
        let part = |part: &str| format!("{name}.{part}");
        let mut gate = net.push(&part("conv1.0"), Reduce::GLOBAL_AVERAGE, &[y])?;
        gate = net.conv(&part("conv1.1.conv"), gate)?;
        gate = net.batch_norm(&part("conv1.1.bn"), gate)?;
        gate = net.push(&part("conv1.2"), Activation::Sigmoid, &[gate])?;
        let mut z = conv_bn_relu(net, &part("conv2"), x)?;
        z = net.push(&part("scale"), Binary::new(BinaryKind::Mul), &[z, gate])?;
        y = net.push(&part("up"), Resize::bilinear(ResizeTo::Like, true), &[y, x])?;
        y = net.push(&part("add"), Binary::ADD, &[y, z])?;
    }
    Ok(y)
}

/// Feature pyramid attention.
fn attention(net: &mut Net<'_, '_>, x: ValueId) -> Result<ValueId> {
    let part = |part: &str| format!("decoder.fpa.{part}");
    let up = |net: &mut Net<'_, '_>, name: &str, y, like| {
        net.push(&part(name), Resize::bilinear(ResizeTo::Like, true), &[y, like])
    };
    let mut mean = net.push(&part("branch1.0"), Reduce::GLOBAL_AVERAGE, &[x])?;
    mean = conv_bn_relu(net, &part("branch1.1"), mean)?;
    let middle = conv_bn_relu(net, &part("mid.0"), x)?;
    let mut levels = vec![x];
    for i in 1..=3 {
        let mut y = net.push(&part(&format!("down{i}.0")), Pool::MAX_2X2, &[levels[i - 1]])?;
        for at in 1..=if i == 3 { 2 } else { 1 } {
            y = conv_bn_relu(net, &part(&format!("down{i}.{at}")), y)?;
        }
        levels.push(y);
    }
    let mut y = levels[3];
    for i in [2, 1] {
        y = up(net, &format!("up{i}"), y, levels[i])?;
        let own = conv_bn_relu(net, &part(&format!("conv{i}")), levels[i])?;
        y = net.push(&part(&format!("add{i}")), Binary::ADD, &[own, y])?;
    }
    y = up(net, "up0", y, x)?;
    y = net.push(&part("mul"), Binary::new(BinaryKind::Mul), &[y, middle])?;
    net.push(&part("add"), Binary::ADD, &[y, mean])
}

/// Convolution, batch norm, ReLU, by the names of PAN.
fn conv_bn_relu(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let y = net.conv(&format!("{name}.conv"), x)?;
    let y = net.batch_norm(&format!("{name}.bn"), y)?;
    net.relu(&format!("{name}.activation"), y)
}
