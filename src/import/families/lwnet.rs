//! github.com/agaldran/lwnet (Galdran et al. 2022): small U-Nets for vessels of the retina, one or two in a row.
//!
//! A block is convolution, ReLU, batch norm, twice, with a shortcut; another block stands on each skip. The second
//! network of a `wnet` reads the picture and the first one's result, and its result counts.

use super::Net;
use super::net::segment;
use crate::error::Result;
use crate::graph::{Binary, Graph, PadMode, Pool, Resize, ResizeTo, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let is_unet = |prefix: &str| {
        ["first.block.0", "down_path.0.block.0", "up_path.0.up_layer.block.", "final"].iter().all(|part| {
            let name = format!("{prefix}{part}");
            dict.has(&format!("{name}.weight"))
                || dict.names().any(|n| part.ends_with('.') && n.starts_with(&name))
        })
    };
    let two = ["unet1.", "unet2."];
    let (prefixes, family): (&[&str], _) = match () {
        () if is_unet("") => (&[""], "lwnet UNet"),
        () if two.iter().all(|prefix| is_unet(prefix)) => (&two, "lwnet WNet"),
        () => return Ok(None),
    };
    let mut net = Net::new(dict, &format!("{}first.block.0", prefixes[0]))?;
    let depth =
        (0..).take_while(|i| net.has(&format!("{}down_path.{i}.block.0.weight", prefixes[0]))).count();
    let x = if depth == 0 { Graph::INPUT } else { net.padded_input(1 << depth.min(16), PadMode::Reflect)? };
    let mut y = unet(&mut net, prefixes[0], x)?;
    if let [_, second] = prefixes {
        y = net.concat("concat", [x, y])?;
        y = unet(&mut net, second, y)?;
    }
    net.crop_to_input(y)?;
    Ok(net.finish(family, segment(0.0)))
}

fn unet(net: &mut Net<'_, '_>, prefix: &str, x: ValueId) -> Result<ValueId> {
    let mut y = block(net, &format!("{prefix}first"), x)?;
    let mut skips = Vec::new();
    for i in 0.. {
        let name = format!("{prefix}down_path.{i}");
        if !net.has(&format!("{name}.block.0.weight")) {
            break;
        }
        skips.push(y);
        y = net.push(&format!("{name}.pool"), Pool::MAX_2X2, &[y])?;
        y = block(net, &name, y)?;
    }
    for (i, mut skip) in skips.into_iter().rev().enumerate() {
        let name = format!("{prefix}up_path.{i}");
        let up = format!("{name}.up_layer.block");
        y = if net.has(&format!("{up}.0.weight")) {
            net.up(&format!("{up}.0"), y)?
        } else {
            y = net.push(&format!("{up}.0"), Resize::bilinear(ResizeTo::Scale([2.0; 2]), false), &[y])?;
            net.conv(&format!("{up}.1"), y)?
        };
        let bridge = format!("{name}.conv_bridge_layer.block");
        if net.has(&format!("{bridge}.0.weight")) {
            skip = conv_relu_norm(net, &bridge, 0, skip)?;
        }
        y = net.concat(&format!("{name}.concat"), [y, skip])?;
        y = block(net, &format!("{name}.conv_layer"), y)?;
    }
    net.conv(&format!("{prefix}final"), y)
}

fn block(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let mut y = conv_relu_norm(net, &format!("{name}.block"), 0, x)?;
    y = conv_relu_norm(net, &format!("{name}.block"), 3, y)?;
    let shortcut = format!("{name}.shortcut");
    if !net.has(&format!("{shortcut}.0.weight")) {
        return Ok(y);
    }
    let x = net.conv(&format!("{shortcut}.0"), x)?;
    let x = net.batch_norm(&format!("{shortcut}.1"), x)?;
    net.push(&format!("{name}.add"), Binary::ADD, &[y, x])
}

fn conv_relu_norm(net: &mut Net<'_, '_>, name: &str, place: usize, x: ValueId) -> Result<ValueId> {
    let y = net.conv(&format!("{name}.{place}"), x)?;
    let y = net.relu(&format!("{name}.{}", place + 1), y)?;
    net.batch_norm(&format!("{name}.{}", place + 2), y)
}
