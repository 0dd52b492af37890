//! The encoders: the picture and its features at each halving.

use super::super::Net;
use crate::error::{Error, Result};
use crate::graph::{Activation, Binary, BinaryKind, Conv, Graph, Pool, PoolKind, Reduce, ValueId};
use crate::import::tensors::StateDict;

/// Batch norm's epsilon in EfficientNet.
const EFFICIENT_EPS: f64 = 1e-3;

/// ReLU6.
const RELU6: Activation = Activation::Clip { min: 0.0, max: 6.0 };

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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoder {
    /// With the prefix of its names.
    ResNet(&'static str),
    MobileNetV2,
    EfficientNet,
}

impl Encoder {
    pub(super) fn of(dict: &StateDict<'_>) -> Option<Encoder> {
        let has = |name: &str| dict.has(&format!("encoder.{name}.weight"));
        let resnet = |base: &str| has(&format!("{base}conv1")) && has(&format!("{base}layer1.0.conv1"));
        if resnet("") {
            Some(Encoder::ResNet("encoder."))
        } else if resnet("model.") {
            Some(Encoder::ResNet("encoder.model."))
        } else if has("features.0.0") && has("features.1.conv.0.0") && has("features.18.0") {
            Some(Encoder::MobileNetV2)
        } else if has("_conv_stem") && has("_blocks.0._depthwise_conv") {
            Some(Encoder::EfficientNet)
        } else {
            None
        }
    }

    /// The first convolution.
    pub(super) fn first(self) -> &'static str {
        match self {
            Encoder::ResNet("encoder.") => "encoder.conv1",
            Encoder::ResNet(_) => "encoder.model.conv1",
            Encoder::MobileNetV2 => "encoder.features.0.0",
            Encoder::EfficientNet => "encoder._conv_stem",
        }
    }

    /// Whether sizes are rounded up when they are halved.
    pub(super) fn rounds_up(self) -> bool {
        self != Encoder::EfficientNet
    }

    /// Whether a tensor is not needed for features of that depth.
    pub(super) fn is_unused(self, name: &str, depth: usize) -> bool {
        match self {
            Encoder::ResNet(base) => {
                let deeper = (depth..=4).any(|layer| name.starts_with(&format!("{base}layer{layer}.")));
                deeper || name.starts_with(&format!("{base}fc."))
            }
            Encoder::MobileNetV2 => name.starts_with("encoder.features."),
            Encoder::EfficientNet => name.starts_with("encoder._"),
        }
    }

    /// The picture and its features at `depth` halvings.
    pub(super) fn features(self, net: &mut Net<'_, '_>, x: ValueId, depth: usize) -> Result<Vec<ValueId>> {
        match self {
            Encoder::ResNet(base) => resnet(net, base, x, depth),
            Encoder::MobileNetV2 => mobilenet(net, x, depth),
            Encoder::EfficientNet => efficientnet(net, x, depth),
        }
    }
}

fn resnet(net: &mut Net<'_, '_>, base: &str, x: ValueId, depth: usize) -> Result<Vec<ValueId>> {
    let name = |part: &str| format!("{base}{part}");
    let first = Conv { stride: [2, 2], ..net.take_conv(&name("conv1"))?.same() };
    let mut y = net.push(&name("conv1"), first, &[x])?;
    y = net.batch_norm(&name("bn1"), y)?;
    y = net.relu(&name("relu"), y)?;
    let mut features = vec![x, y];
    let pool = Pool { kernel: [3, 3], padding: [1; 4], kind: PoolKind::Max, ..Pool::MAX_2X2 };
    y = net.push(&name("maxpool"), pool, &[y])?;
    for layer in 1..depth {
        let mut block = 0;
        while net.has(&format!("{base}layer{layer}.{block}.conv1.weight")) {
            let stride = if layer > 1 && block == 0 { 2 } else { 1 };
            y = residual(net, &format!("{base}layer{layer}.{block}"), y, stride)?;
            block += 1;
        }
        features.push(y);
    }
    Ok(features)
}

/// A basic block (3x3, 3x3) or a bottleneck (1x1, 3x3, 1x1), He et al. 2016. The first 3x3 convolution has the stride.
fn residual(net: &mut Net<'_, '_>, name: &str, x: ValueId, stride: usize) -> Result<ValueId> {
    let last = if net.has(&format!("{name}.conv3.weight")) { 3 } else { 2 };
    let (mut y, mut channels, mut stride_left) = (x, 0, stride);
    for i in 1..=last {
        let conv_name = format!("{name}.conv{i}");
        let mut conv = net.take_conv(&conv_name)?.same();
        if conv.kernel() != [1, 1] {
            conv.stride = [stride_left; 2];
            stride_left = 1;
        }
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
        let conv = Conv { stride: [stride; 2], ..net.take_conv(&projection)? };
        shortcut = net.push(&projection, conv, &[x])?;
        shortcut = net.batch_norm(&format!("{name}.downsample.1"), shortcut)?;
    }
    y = net.push(&format!("{name}.add"), Binary::ADD, &[y, shortcut])?;
    net.relu(&format!("{name}.relu"), y)
}

/// Sandler et al. 2018, as torchvision runs it.
fn mobilenet(net: &mut Net<'_, '_>, x: ValueId, depth: usize) -> Result<Vec<ValueId>> {
    let (mut y, mut features) = (x, vec![x]);
    for i in 0..=18 {
        if features.len() > depth {
            break;
        }
        let name = format!("encoder.features.{i}");
        let stride = if [0, 2, 4, 7, 14].contains(&i) { 2 } else { 1 };
        y = match i {
            0 | 18 => conv_clip(net, &name, y, stride)?,
            _ => inverted(net, &format!("{name}.conv"), y, stride)?,
        };
        if [1, 3, 6, 13, 18].contains(&i) {
            features.push(y);
        }
    }
    Ok(features)
}

/// Expansion, depthwise convolution, projection; the input is added where it has the same shape.
fn inverted(net: &mut Net<'_, '_>, name: &str, x: ValueId, stride: usize) -> Result<ValueId> {
    let expands = net.has(&format!("{name}.3.weight"));
    let (mut y, mut depthwise, mut projection) = (x, 0, 1);
    if expands {
        y = conv_clip(net, &format!("{name}.0"), y, 1)?;
        (depthwise, projection) = (1, 2);
    }
    let first = net.dict.shape(&format!("{name}.0.0.weight")).and_then(|shape| shape.get(1)).copied();
    y = conv_clip(net, &format!("{name}.{depthwise}"), y, stride)?;
    let conv = format!("{name}.{projection}");
    let outs = net.dict.shape(&format!("{conv}.weight")).and_then(|shape| shape.first()).copied();
    y = net.conv(&conv, y)?;
    y = net.batch_norm(&format!("{name}.{}", projection + 1), y)?;
    let keeps = stride == 1 && net.channels(x) == outs.unwrap_or(0) && (expands || first.is_some());
    if keeps { net.push(&format!("{name}.add"), Binary::ADD, &[x, y]) } else { Ok(y) }
}

/// Convolution, batch norm, ReLU6; depthwise if the weights have one input channel.
fn conv_clip(net: &mut Net<'_, '_>, name: &str, x: ValueId, stride: usize) -> Result<ValueId> {
    let conv_name = format!("{name}.0");
    let mut conv = Conv { stride: [stride; 2], ..net.take_conv(&conv_name)?.same() };
    if conv.weight.shape().c == 1 {
        conv.groups = net.channels(x);
    }
    let mut y = net.push(&conv_name, conv, &[x])?;
    y = net.batch_norm(&format!("{name}.1"), y)?;
    net.push(&format!("{name}.2"), RELU6, &[y])
}

/// Tan and Le 2019, as the library's own copy runs it: padding as TensorFlow's "same" for the model's picture size.
fn efficientnet(net: &mut Net<'_, '_>, x: ValueId, depth: usize) -> Result<Vec<ValueId>> {
    let blocks =
        (0..).take_while(|i| net.has(&format!("encoder._blocks.{i}._depthwise_conv.weight"))).count();
    let head = net.dict.shape("encoder._conv_head.weight").and_then(|shape| shape.first()).copied();
    let mut models = EFFICIENT.iter().filter(|(_, stages, _)| stages.iter().sum::<usize>() == blocks);
    let first = models.next();
    let Some(&(mut size, stages, sixteenth)) =
        (if head == Some(1408) { models.next().or(first) } else { first })
    else {
        let expected = "as many blocks as one of b0 to b7 has";
        return Err(Error::shape("EfficientNet", expected, blocks));
    };
    let mut y = same(net, "encoder._conv_stem", x, 2, &mut size)?;
    y = net.batch_norm_with("encoder._bn0", y, EFFICIENT_EPS)?;
    y = net.push("encoder._swish", Activation::Silu, &[y])?;
    let mut features = vec![x, y];
    let mut block = 0;
    for (stage, &count) in stages.iter().enumerate() {
        for place in 0..count {
            if features.len() > depth {
                return Ok(features);
            }
            let stride = if place == 0 && [1, 2, 3, 5].contains(&stage) { 2 } else { 1 };
            y = mobile_block(net, &format!("encoder._blocks.{block}"), y, stride, &mut size)?;
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
    y = same(net, &part("_depthwise_conv"), y, stride, size)?;
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
fn same(net: &mut Net<'_, '_>, name: &str, x: ValueId, stride: usize, size: &mut usize) -> Result<ValueId> {
    let mut conv = net.take_conv(name)?;
    let out = size.div_ceil(stride);
    let pad = |kernel: usize| ((out - 1) * stride + kernel).saturating_sub(*size);
    let [h, w] = conv.kernel().map(pad);
    conv.padding = [h / 2, w / 2, h - h / 2, w - w / 2];
    conv.stride = [stride; 2];
    if conv.weight.shape().c == 1 && x != Graph::INPUT {
        conv.groups = net.channels(x);
    }
    *size = out;
    net.push(name, conv, &[x])
}
