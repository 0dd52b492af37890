//! MobileNetV2 (Sandler et al. 2018), as torchvision runs it.

use super::Extent;
use crate::error::Result;
use crate::graph::{Activation, Binary, Conv, ValueId};
use crate::import::families::Net;

/// ReLU6.
const RELU6: Activation = Activation::Clip { min: 0.0, max: 6.0 };

/// The blocks whose results are the features.
const ENDS: [usize; 5] = [1, 3, 6, 13, 18];

/// The convolution that makes the features after so many halvings.
pub(super) fn last(depth: usize) -> Option<String> {
    let end = ENDS.get(depth.checked_sub(1)?)?;
    Some(match end {
        1 => "encoder.features.1.conv.1".into(),
        18 => "encoder.features.18.0".into(),
        _ => format!("encoder.features.{end}.conv.2"),
    })
}

pub(super) fn features(net: &mut Net<'_, '_>, x: ValueId, extent: Extent) -> Result<Vec<ValueId>> {
    let (mut y, mut features) = (x, vec![x]);
    for i in 0..=18 {
        if features.len() > extent.depth {
            break;
        }
        let name = format!("encoder.features.{i}");
        let stride = if [0, 2, 4, 7, 14].contains(&i) { 2 } else { 1 };
        // The library widens the kernels of the last two stages only.
        let stage = match i {
            0..=6 => 1,
            7..=13 => 16,
            _ => 32,
        };
        let fit = |conv: Conv| extent.fitted(conv, stage);
        y = match i {
            0 | 18 => conv_clip(net, &name, y, stride, fit)?,
            _ => inverted(net, &format!("{name}.conv"), y, stride, fit)?,
        };
        if ENDS.contains(&i) {
            features.push(y);
        }
    }
    Ok(features)
}

/// Expansion, depthwise convolution, projection; the input is added where it has the same shape.
fn inverted(
    net: &mut Net<'_, '_>,
    name: &str,
    x: ValueId,
    stride: usize,
    fit: impl Fn(Conv) -> Conv,
) -> Result<ValueId> {
    let expands = net.has(&format!("{name}.3.weight"));
    let (mut y, mut depthwise, mut projection) = (x, 0, 1);
    if expands {
        y = conv_clip(net, &format!("{name}.0"), y, 1, &fit)?;
        (depthwise, projection) = (1, 2);
    }
    y = conv_clip(net, &format!("{name}.{depthwise}"), y, stride, &fit)?;
    y = net.conv(&format!("{name}.{projection}"), y)?;
    y = net.batch_norm(&format!("{name}.{}", projection + 1), y)?;
    let keeps = stride == 1 && net.channels(x) == net.channels(y);
    if keeps { net.push(&format!("{name}.add"), Binary::ADD, &[x, y]) } else { Ok(y) }
}

/// Convolution, batch norm, ReLU6; depthwise if the weights have one input channel.
fn conv_clip(
    net: &mut Net<'_, '_>,
    name: &str,
    x: ValueId,
    stride: usize,
    fit: impl Fn(Conv) -> Conv,
) -> Result<ValueId> {
    let conv_name = format!("{name}.0");
    let mut conv = fit(Conv { stride: [stride; 2], ..net.take_conv(&conv_name)? });
    if conv.weight.shape().c == 1 {
        conv.groups = net.channels(x);
    }
    let mut y = net.push(&conv_name, conv, &[x])?;
    y = net.batch_norm(&format!("{name}.1"), y)?;
    net.push(&format!("{name}.2"), RELU6, &[y])
}
