//! MONAI's `BasicUNet` in two dimensions (github.com/Project-MONAI/MONAI; Falk et al. 2019).
//!
//! Two 3x3 convolutions in each level, each with instance norm and leaky ReLU; max pool; 2x2 transposed convolutions.
//! At odd sizes the up-sampled map lacks a row or a column; the last one is repeated.

use super::Net;
use super::net::segment;
use crate::error::Result;
use crate::graph::{Activation, Graph, PadMode, Pool, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let names = ["conv_0.conv_0.conv", "down_1.convs.conv_0.conv", "upcat_1.convs.conv_0.conv", "final_conv"];
    if !names.iter().all(|name| dict.has(&format!("{name}.weight"))) {
        return Ok(None);
    }
    let mut net = Net::new(dict, "conv_0.conv_0.conv")?;
    let mut y = two_convs(&mut net, "conv_0", Graph::INPUT)?;
    let mut skips = Vec::new();
    for i in 1.. {
        let level = format!("down_{i}");
        if !net.has(&format!("{level}.convs.conv_0.conv.weight")) {
            break;
        }
        skips.push(y);
        y = net.push(&format!("{level}.max_pooling"), Pool::MAX_2X2, &[y])?;
        y = two_convs(&mut net, &format!("{level}.convs"), y)?;
    }
    for (i, &skip) in skips.iter().enumerate().rev() {
        let level = format!("upcat_{}", i + 1);
        y = net.up(&format!("{level}.upsample.deconv"), y)?;
        y = net.fit(&level, y, skip, PadMode::Edge)?;
        y = net.concat(&format!("{level}.concat"), [skip, y])?;
        y = two_convs(&mut net, &format!("{level}.convs"), y)?;
    }
    net.conv("final_conv", y)?;
    Ok(net.finish("MONAI BasicUNet", segment(0.0)))
}

fn two_convs(net: &mut Net<'_, '_>, name: &str, mut x: ValueId) -> Result<ValueId> {
    for i in 0..2 {
        let name = format!("{name}.conv_{i}");
        let conv = net.take_conv(&format!("{name}.conv"))?.same();
        let channels = conv.out_channels();
        x = net.push(&format!("{name}.conv"), conv, &[x])?;
        x = net.norm(&format!("{name}.adn.N"), x, channels)?;
        let activation = format!("{name}.adn.A");
        x = if net.has(&format!("{activation}.weight")) {
            net.prelu(&activation, x, channels)?
        } else {
            net.push(&activation, Activation::LeakyRelu(0.1), &[x])?
        };
    }
    Ok(x)
}
