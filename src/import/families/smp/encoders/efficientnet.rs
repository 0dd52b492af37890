//! EfficientNet (Tan and Le 2019), as the library's own copy runs it: padding as TensorFlow's "same" for the model's
//! picture size.

use super::Extent;
use crate::error::{Error, Result};
use crate::graph::{Activation, Binary, BinaryKind, Graph, Reduce, ValueId};
use crate::import::families::Net;
use crate::import::tensors::StateDict;

/// Batch norm's epsilon.
const EFFICIENT_EPS: f64 = 1e-3;

/// EfficientNet's models (Tan and Le 2019): the picture size that fixes the padding, the number of blocks of each stage,
/// and the block whose result is the feature at a sixteenth of the size. The number of all blocks tells the model; b1
/// and b2 differ in the last convolution's width.
const EFFICIENT: [(usize, [usize; 7], usize); 8] = [
    (224, [1, 2, 2, 3, 3, 4, 1], 8),
    (240, [2, 3, 3, 4, 4, 5, 2], 15),
    (260, [2, 3, 3, 4, 4, 5, 2], 15),
    (300, [2, 3, 3, 5, 5, 6, 2], 17),
    (380, [2, 4, 4, 6, 6, 8, 2], 21),
    (456, [3, 5, 5, 7, 7, 9, 3], 26),
    (528, [3, 6, 6, 8, 8, 11, 3], 30),
    (600, [4, 7, 7, 10, 10, 13, 4], 37),
];

/// The convolution that makes the features after so many halvings.
pub(super) fn last(dict: &StateDict<'_>, depth: usize) -> Option<String> {
    let (_, stages, sixteenth) = model(dict).ok()?;
    let end = match depth {
        1 => return Some("encoder._conv_stem".into()),
        2 => stages[..2].iter().sum::<usize>() - 1,
        3 => stages[..3].iter().sum::<usize>() - 1,
        4 => sixteenth,
        _ => stages.iter().sum::<usize>() - 1,
    };
    Some(format!("encoder._blocks.{end}._project_conv"))
}

/// The row of the table.
fn model(dict: &StateDict<'_>) -> Result<(usize, [usize; 7], usize)> {
    let blocks =
        (0..).take_while(|i| dict.has(&format!("encoder._blocks.{i}._depthwise_conv.weight"))).count();
    let head = dict.shape("encoder._conv_head.weight").and_then(|shape| shape.first()).copied();
    let mut models = EFFICIENT.iter().filter(|(_, stages, _)| stages.iter().sum::<usize>() == blocks);
    let first = models.next();
    let found = if head == Some(1408) { models.next().or(first) } else { first };
    let expected = "as many blocks as one of b0 to b7 has";
    found.copied().ok_or_else(|| Error::shape("EfficientNet", expected, blocks))
}

pub(super) fn features(net: &mut Net<'_, '_>, x: ValueId, extent: Extent) -> Result<Vec<ValueId>> {
    let (mut size, stages, sixteenth) = model(net.dict)?;
    let third: usize = stages[..3].iter().sum();
    let mut y = same(net, "encoder._conv_stem", x, 2, &mut size, None)?;
    y = net.batch_norm_with("encoder._bn0", y, EFFICIENT_EPS)?;
    y = net.push("encoder._swish", Activation::Silu, &[y])?;
    let mut features = vec![x, y];
    let mut block = 0;
    for (stage, &count) in stages.iter().enumerate() {
        for place in 0..count {
            if features.len() > extent.depth {
                return Ok(features);
            }
            let stride = if place == 0 && [1, 2, 3, 5].contains(&stage) { 2 } else { 1 };
            // Where the library widens kernels, it pads evenly.
            let widened = match block {
                _ if block < third => None,
                _ if block <= sixteenth => Some(16),
                _ => Some(32),
            };
            let widened = widened.filter(|&stage| stage > extent.stride).map(|stage| (extent, stage));
            y = mobile_block(net, &format!("encoder._blocks.{block}"), y, stride, &mut size, widened)?;
            if block == sixteenth || [1, 2, 6].contains(&stage) && place + 1 == count {
                features.push(y);
            }
            block += 1;
        }
    }
    Ok(features)
}

/// Expansion, depthwise convolution, squeeze and excitation, projection.
fn mobile_block(
    net: &mut Net<'_, '_>,
    name: &str,
    x: ValueId,
    stride: usize,
    size: &mut usize,
    widened: Option<(Extent, usize)>,
) -> Result<ValueId> {
    let part = |part: &str| format!("{name}.{part}");
    let swish =
        |net: &mut Net<'_, '_>, at: usize, y| net.push(&part(&format!("_swish{at}")), Activation::Silu, &[y]);
    let mut y = x;
    if net.has(&part("_expand_conv.weight")) {
        y = net.conv(&part("_expand_conv"), y)?;
        y = net.batch_norm_with(&part("_bn0"), y, EFFICIENT_EPS)?;
        y = swish(net, 0, y)?;
    }
    y = same(net, &part("_depthwise_conv"), y, stride, size, widened)?;
    y = net.batch_norm_with(&part("_bn1"), y, EFFICIENT_EPS)?;
    y = swish(net, 1, y)?;
    if net.has(&part("_se_reduce.weight")) {
        let mut gate = net.push(&part("pool"), Reduce::GLOBAL_AVERAGE, &[y])?;
        gate = net.conv(&part("_se_reduce"), gate)?;
        gate = swish(net, 2, gate)?;
        gate = net.conv(&part("_se_expand"), gate)?;
        gate = net.push(&part("gate"), Activation::Sigmoid, &[gate])?;
        y = net.push(&part("scale"), Binary::new(BinaryKind::Mul), &[y, gate])?;
    }
    y = net.conv(&part("_project_conv"), y)?;
    y = net.batch_norm_with(&part("_bn2"), y, EFFICIENT_EPS)?;
    if stride == 1 && net.channels(x) == net.channels(y) {
        y = net.push(&part("add"), Binary::ADD, &[y, x])?;
    }
    Ok(y)
}

/// A convolution padded as TensorFlow's "same" for a map of that size, which becomes the result's.
fn same(
    net: &mut Net<'_, '_>,
    name: &str,
    x: ValueId,
    stride: usize,
    size: &mut usize,
    widened: Option<(Extent, usize)>,
) -> Result<ValueId> {
    let mut conv = net.take_conv(name)?;
    match widened {
        Some((extent, stage)) => conv = extent.fitted(conv, stage),
        None => {
            let out = size.div_ceil(stride);
            let pad = |kernel: usize| ((out - 1) * stride + kernel).saturating_sub(*size);
            let [h, w] = conv.kernel().map(pad);
            conv.padding = [h / 2, w / 2, h - h / 2, w - w / 2];
            conv.stride = [stride; 2];
            *size = out;
        }
    }
    if conv.weight.shape().c == 1 && x != Graph::INPUT {
        conv.groups = net.channels(x);
    }
    net.push(name, conv, &[x])
}
