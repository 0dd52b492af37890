//! github.com/milesial/Pytorch-UNet, with its present names and those before 2019.
//!
//! Five scales of two 3x3 convolutions; max pool; up-sampling by a transposed convolution or, if there are no weights
//! for one, bilinear with aligned corners. At odd sizes the up-sampled map lacks a row or a column, which is padded
//! with zeros.

use super::Net;
use super::net::segment;
use crate::error::Result;
use crate::graph::{Graph, PadMode, Pool, Resize, ResizeTo, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::Class;
use serde_json::Value;

/// Positions of the convolutions in the first block, a down block and an up block.
const SPELLINGS: [[&str; 3]; 2] = [
    ["double_conv", "maxpool_conv.1.double_conv", "conv.double_conv"],
    ["conv.conv", "mpconv.1.conv", "conv.conv"],
];

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let is_spelled = |[first, down, _]: &&[&str; 3]| {
        dict.has(&format!("inc.{first}.0.weight")) && dict.has(&format!("down1.{down}.0.weight"))
    };
    let Some([first, down, up]) = SPELLINGS.iter().find(is_spelled) else { return Ok(None) };
    let first = format!("inc.{first}");
    let mut net = Net::new(dict, &format!("{first}.0"))?;

    let mut y = double_conv(&mut net, &first, Graph::INPUT)?;
    let mut skips = Vec::new();
    for i in 1.. {
        let block = format!("down{i}.{down}");
        if !net.has(&format!("{block}.0.weight")) {
            break;
        }
        skips.push(y);
        y = net.push(&format!("down{i}.pool"), Pool::MAX_2X2, &[y])?;
        y = double_conv(&mut net, &block, y)?;
    }
    for (i, skip) in skips.into_iter().rev().enumerate() {
        let level = format!("up{}", i + 1);
        let name = format!("{level}.up");
        y = if net.has(&format!("{name}.weight")) {
            net.up(&name, y)?
        } else {
            net.push(&name, Resize::bilinear(ResizeTo::Scale([2.0; 2]), true), &[y])?
        };
        y = net.fit(&level, y, skip, PadMode::Zero)?;
        y = net.concat(&format!("{level}.concat"), [skip, y])?;
        y = double_conv(&mut net, &format!("{level}.{up}"), y)?;
    }
    net.conv("outc.conv", y)?;

    let mut recipe = segment(0.0);
    recipe.output.classes = classes(net.dict.value("mask_values"));
    Ok(net.finish("milesial Pytorch-UNet", recipe))
}

/// Two times convolution, batch norm, ReLU, numbered in execution order.
fn double_conv(net: &mut Net<'_, '_>, name: &str, mut x: ValueId) -> Result<ValueId> {
    for i in [0, 3] {
        x = net.conv(&format!("{name}.{i}"), x)?;
        x = net.batch_norm(&format!("{name}.{}", i + 1), x)?;
        x = net.relu(&format!("{name}.{}", i + 2), x)?;
    }
    Ok(x)
}

/// Classes by the numbers or colours of the training masks.
fn classes(values: Option<&Value>) -> Vec<Class> {
    let values = values.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let class = |value: &Value| {
        let parts = value.as_array().map(|parts| parts.iter().map(|p| u8::try_from(p.as_u64()?).ok()));
        let color = parts.and_then(|parts| parts.collect::<Option<Vec<_>>>()?.try_into().ok());
        Class { name: value.to_string(), color }
    };
    values.iter().take(256).map(class).collect()
}
