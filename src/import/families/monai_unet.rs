//! MONAI's `UNet` in two dimensions (github.com/Project-MONAI/MONAI; Kerfoot et al. 2019): nested levels.
//!
//! The first convolution of a level halves the size, a transposed convolution doubles it, and the skip comes before
//! the inner level's result. Convolutions have an instance or batch norm and a PReLU; some networks have residual
//! units. Without residual units, the weights do not tell the strides, which are then assumed to be 2.

use super::Net;
use super::net::segment;
use crate::error::{Error, Result};
use crate::graph::{Binary, Conv, PadMode, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;

/// Most levels.
const MAX_DEPTH: usize = 12;

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let is_residual = dict.has("0.conv.unit0.conv.weight") && dict.has("2.0.conv.weight");
    let is_plain = dict.has("0.conv.weight") && dict.has("2.conv.weight");
    if !(is_residual || is_plain) || !dict.names().any(|name| name.starts_with("1.submodule.")) {
        return Ok(None);
    }
    let depth = (0..).take_while(|&depth| is_level(dict, &"1.submodule.".repeat(depth))).count();
    if depth > MAX_DEPTH {
        return Err(Error::shape("the network", format!("at most {MAX_DEPTH} levels"), depth));
    }
    let first = if is_residual { "0.conv.unit0.conv" } else { "0.conv" };
    let mut net = Net::new(dict, first)?;
    let x = net.padded_input(1 << depth, PadMode::Reflect)?;
    let y = level(&mut net, "", x)?;
    net.crop_to_input(y)?;
    Ok(net.finish("MONAI UNet", segment(0.0)))
}

/// Whether the modules below a prefix are a level: down, inner level, up.
fn is_level(dict: &StateDict<'_>, prefix: &str) -> bool {
    dict.has(&format!("{prefix}2.conv.weight")) || dict.has(&format!("{prefix}2.0.conv.weight"))
}

fn level(net: &mut Net<'_, '_>, prefix: &str, x: ValueId) -> Result<ValueId> {
    let (skip, stride) = unit(net, &format!("{prefix}0"), x, 2, false)?;
    let below = format!("{prefix}1.submodule");
    let inner = format!("{below}.");
    let y = if is_level(net.dict, &inner) {
        level(net, &inner, skip)?
    } else {
        unit(net, &below, skip, 1, false)?.0
    };
    let y = net.concat(&format!("{prefix}concat"), [skip, y])?;

    let is_top = prefix.is_empty();
    let is_residual = net.has(&format!("{prefix}2.0.conv.weight"));
    let up = if is_residual { format!("{prefix}2.0") } else { format!("{prefix}2") };
    let mut conv = net.take_transposed(&format!("{up}.conv"), stride)?;
    let [h, w] = conv.kernel().map(|k| k / 2);
    (conv.padding, conv.output_padding) = ([h, w, h, w], [stride - 1; 2]);
    let channels = conv.out_channels();
    let mut y = net.push(&format!("{up}.conv"), conv, &[y])?;
    if !is_top || is_residual {
        y = norm_and_activation(net, &up, y, channels)?;
    }
    if is_residual {
        y = unit(net, &format!("{prefix}2.1"), y, 1, is_top)?.0;
    }
    Ok(y)
}

/// One convolution, or a residual unit of several, the first with the stride. Returns the value and the stride.
///
/// With `bare`, the last convolution has no norm and activation.
fn unit(
    net: &mut Net<'_, '_>,
    name: &str,
    x: ValueId,
    stride: usize,
    bare: bool,
) -> Result<(ValueId, usize)> {
    if net.has(&format!("{name}.conv.weight")) {
        return Ok((convolution(net, name, x, stride, bare)?, stride));
    }
    // A unit with a stride has a shortcut as large as its convolutions; without a stride it is 1x1 or absent.
    let shortcut = format!("{name}.residual");
    let kernel = net.dict.shape(&format!("{shortcut}.weight")).and_then(|shape| shape.get(2)).copied();
    let stride = if kernel.is_some_and(|kernel| kernel > 1) { stride } else { 1 };
    let mut residual = x;
    if kernel.is_some() {
        let conv = Conv { stride: [stride; 2], ..net.take_conv(&shortcut)?.same() };
        residual = net.push(&shortcut, conv, &[x])?;
    }
    let count = (0..).take_while(|i| net.has(&format!("{name}.conv.unit{i}.conv.weight"))).count();
    let mut y = x;
    for i in 0..count {
        let (stride, bare) = (if i == 0 { stride } else { 1 }, bare && i + 1 == count);
        y = convolution(net, &format!("{name}.conv.unit{i}"), y, stride, bare)?;
    }
    Ok((net.push(&format!("{name}.add"), Binary::ADD, &[y, residual])?, stride))
}

fn convolution(net: &mut Net<'_, '_>, name: &str, x: ValueId, stride: usize, bare: bool) -> Result<ValueId> {
    let conv = Conv { stride: [stride; 2], ..net.take_conv(&format!("{name}.conv"))?.same() };
    let channels = conv.out_channels();
    let y = net.push(&format!("{name}.conv"), conv, &[x])?;
    if bare { Ok(y) } else { norm_and_activation(net, name, y, channels) }
}

fn norm_and_activation(net: &mut Net<'_, '_>, name: &str, x: ValueId, channels: usize) -> Result<ValueId> {
    let y = net.norm(&format!("{name}.adn.N"), x, channels)?;
    net.prelu(&format!("{name}.adn.A"), y, channels)
}
