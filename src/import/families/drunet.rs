//! DRUNet (Zhang et al. 2021, "Plug-and-Play Image Restoration with Deep Denoiser Prior"), github.com/cszn/KAIR:
//! residual blocks without norms, 2x2 convolutions with stride 2 down, 2x2 transposed convolutions up, skips that are
//! added.
//!
//! The last input channel is a map of the noise level, sigma / 255.

use super::Net;
use crate::error::Result;
use crate::graph::{Binary, PadMode, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::{Decode, Recipe};

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    if !["m_head", "m_down1.0.res.0", "m_tail"].iter().all(|name| dict.has(&format!("{name}.weight"))) {
        return Ok(None);
    }
    let mut net = Net::new(dict, "m_head")?;
    let channels = net.graph.input_channels();
    let depth = (1..).take_while(|i| net.has(&format!("m_down{i}.0.res.0.weight"))).count();
    let x = net.padded_input(1 << depth.min(16), PadMode::Edge)?;

    let mut y = net.conv("m_head", x)?;
    let mut skips = vec![y];
    for i in 1..=depth {
        let level = format!("m_down{i}");
        let blocks = residual_blocks(&mut net, &level, 0, &mut y)?;
        let name = format!("{level}.{blocks}");
        let mut down = net.take_conv(&name)?;
        down.stride = down.kernel();
        y = net.push(&name, down, &[y])?;
        skips.push(y);
    }
    residual_blocks(&mut net, "m_body", 0, &mut y)?;
    for i in (0..=depth).rev() {
        y = net.push(&format!("add{i}"), Binary::ADD, &[y, skips[i]])?;
        if i > 0 {
            y = net.up(&format!("m_up{i}.0"), y)?;
            residual_blocks(&mut net, &format!("m_up{i}"), 1, &mut y)?;
        }
    }
    y = net.conv("m_tail", y)?;
    net.crop_to_input(y)?;

    let description = format!("denoises {} channels; the last input channel is sigma / 255", channels - 1);
    let mut recipe = Recipe { task: "denoise".into(), description, ..Recipe::default() };
    recipe.output.decode = Some(Decode::Image);
    Ok(net.finish("KAIR DRUNet", recipe))
}

/// Adds `x + conv(relu(conv(x)))` for each block of a sequence, from index `from` on. Returns the number of blocks.
fn residual_blocks(net: &mut Net<'_, '_>, level: &str, from: usize, x: &mut ValueId) -> Result<usize> {
    let mut place = from;
    while net.has(&format!("{level}.{place}.res.0.weight")) {
        let name = format!("{level}.{place}");
        let y = net.conv(&format!("{name}.res.0"), *x)?;
        let y = net.relu(&format!("{name}.res.1"), y)?;
        let y = net.conv(&format!("{name}.res.2"), y)?;
        *x = net.push(&format!("{name}.add"), Binary::ADD, &[*x, y])?;
        place += 1;
    }
    Ok(place - from)
}
