//! fast neural style (Johnson et al. 2016) as github.com/pytorch/examples has it: `TransformerNet`.
//!
//! Reflected borders; instance norm with weights; five residual blocks; nearest neighbour before the convolutions on
//! the way up. Pictures go in and come out in 0..255.

use super::Net;
use crate::error::Result;
use crate::graph::{Binary, Conv, Pad, PadAmount, PadMode, Resize, ResizeTo, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::{Decode, Recipe};

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let names = ["conv1.conv2d", "in1", "res1.conv1.conv2d", "res1.in1", "deconv1.conv2d", "deconv3.conv2d"];
    if !names.iter().all(|name| dict.has(&format!("{name}.weight"))) {
        return Ok(None);
    }
    // Statistics that PyTorch before 0.4 saved with instance norm and does not use.
    dict.discard(|name| name.contains("running_"));
    let mut net = Net::new(dict, "conv1.conv2d")?;
    let mut y = net.padded_input(4, PadMode::Reflect)?;
    for (i, stride) in [(1, 1), (2, 2), (3, 2)] {
        y = conv(&mut net, &format!("conv{i}"), y, stride)?;
        y = norm(&mut net, &format!("in{i}"), y)?;
        y = net.relu(&format!("relu{i}"), y)?;
    }
    for i in 1.. {
        let name = format!("res{i}");
        if !net.has(&format!("{name}.conv1.conv2d.weight")) {
            break;
        }
        let mut z = conv(&mut net, &format!("{name}.conv1"), y, 1)?;
        z = norm(&mut net, &format!("{name}.in1"), z)?;
        z = net.relu(&format!("{name}.relu"), z)?;
        z = conv(&mut net, &format!("{name}.conv2"), z, 1)?;
        z = norm(&mut net, &format!("{name}.in2"), z)?;
        y = net.push(&format!("{name}.add"), Binary::ADD, &[z, y])?;
    }
    for i in [1, 2] {
        let name = format!("deconv{i}");
        y = net.push(&format!("{name}.up"), Resize::nearest(ResizeTo::Scale([2.0; 2])), &[y])?;
        y = conv(&mut net, &name, y, 1)?;
        y = norm(&mut net, &format!("in{}", i + 3), y)?;
        y = net.relu(&format!("{name}.relu"), y)?;
    }
    y = conv(&mut net, "deconv3", y, 1)?;
    net.crop_to_input(y)?;

    let mut recipe = Recipe { task: "style".into(), ..Recipe::default() };
    recipe.input.scale = 1.0;
    (recipe.output.scale, recipe.output.decode) = (1.0, Some(Decode::Image));
    Ok(net.finish("fast-neural-style TransformerNet", recipe))
}

/// A convolution on a picture with reflected borders.
fn conv(net: &mut Net<'_, '_>, name: &str, x: ValueId, stride: usize) -> Result<ValueId> {
    let name = format!("{name}.conv2d");
    let conv = Conv { stride: [stride; 2], ..net.take_conv(&name)? };
    let [h, w] = conv.kernel().map(|k| (k / 2) as isize);
    let pad = Pad { amount: PadAmount::Fixed([h, w, h, w]), mode: PadMode::Reflect };
    let padded = net.push(&format!("{name}.pad"), pad, &[x])?;
    net.push(&name, conv, &[padded])
}

fn norm(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let channels = net.channels(x);
    net.norm(name, x, channels)
}
