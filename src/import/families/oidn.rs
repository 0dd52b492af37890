//! Intel Open Image Denoise (github.com/RenderKit/oidn, `core/unet_filter.cpp`): U-Nets that denoise path-traced
//! pictures.
//!
//! 3x3 convolutions, each followed by a ReLU, including the last; max pool; nearest-neighbour up-sampling. Skips start
//! after the pools, and the last skip is the input. The small network is the base one with other widths, the very
//! large one the large one with other widths. Sizes that are not multiples of 16 are padded with zeros below and
//! right.

use super::Net;
use crate::error::Result;
use crate::graph::{PadMode, Pool, Resize, ResizeTo, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::{Curve, Decode, Recipe, Step, Transfer};

/// Names of convolutions in execution order: those before each pool, those at the lowest scale, and those after each
/// concatenation.
struct Layout {
    encoder: [&'static [&'static str]; 4],
    decoder: [&'static [&'static str]; 4],
}

const BOTTLENECK: [&str; 2] = ["enc_conv5a", "enc_conv5b"];

const BASE: Layout = Layout {
    encoder: [&["enc_conv0", "enc_conv1"], &["enc_conv2"], &["enc_conv3"], &["enc_conv4"]],
    decoder: [
        &["dec_conv4a", "dec_conv4b"],
        &["dec_conv3a", "dec_conv3b"],
        &["dec_conv2a", "dec_conv2b"],
        &["dec_conv1a", "dec_conv1b", "dec_conv0"],
    ],
};

const LARGE: Layout = Layout {
    encoder: [
        &["enc_conv1a", "enc_conv1b"],
        &["enc_conv2a", "enc_conv2b"],
        &["enc_conv3a", "enc_conv3b"],
        &["enc_conv4a", "enc_conv4b"],
    ],
    decoder: [
        &["dec_conv4a", "dec_conv4b"],
        &["dec_conv3a", "dec_conv3b"],
        &["dec_conv2a", "dec_conv2b"],
        &["dec_conv1a", "dec_conv1b", "dec_conv1c"],
    ],
};

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let starts = |layout: &Layout| {
        let names = layout.encoder[0].iter().chain(&BOTTLENECK);
        names.into_iter().all(|name| dict.has(&format!("{name}.weight")))
    };
    let Some(Layout { encoder, decoder }) = [BASE, LARGE].into_iter().find(starts) else { return Ok(None) };
    let mut net = Net::new(dict, encoder[0][0])?;
    let channels = net.graph.input_channels();

    let mut y = net.padded_input(16, PadMode::Zero)?;
    let mut skips = Vec::new();
    for (i, names) in encoder.into_iter().enumerate() {
        skips.push(y);
        y = convs(&mut net, names, y)?;
        y = net.push(&format!("pool{}", i + 1), Pool::MAX_2X2, &[y])?;
    }
    y = convs(&mut net, &BOTTLENECK, y)?;
    for ((i, skip), names) in skips.into_iter().enumerate().rev().zip(decoder) {
        let level = i + 1;
        y = net.push(&format!("upsample{level}"), Resize::nearest(ResizeTo::Scale([2.0; 2])), &[y])?;
        y = net.concat(&format!("concat{level}"), [y, skip])?;
        y = convs(&mut net, names, y)?;
    }
    net.crop_to_input(y)?;

    // 8-bit pictures already have the sRGB curve.
    let description = denoises("from 0 to 1 with the sRGB curve", channels)
        + "; weights for other input (hdr, alb, nrm, lightmaps) want it, and give it, with their own curve";
    let mut recipe = Recipe { task: "denoise".into(), description, ..Recipe::default() };
    recipe.output.decode = Some(Decode::Image);
    let further: &[&str] = match channels {
        6 => &["albedo"],
        9 => &["albedo", "normal"],
        _ => &[],
    };
    recipe.input.also = further.iter().map(|name| name.to_string()).collect();
    Ok(net.finish("Open Image Denoise", recipe))
}

/// Sets the recipe for the kind of input that the name of the weight file states, as `core/rt_filter.cpp` and
/// `core/rtlightmap_filter.cpp` do. The weights do not tell it.
pub(in crate::import) fn named(mut model: Model, file: &str) -> Model {
    let starts = |name: &str| file.starts_with(name);
    let (light, transfer, before, after) = if starts("rt_hdr") {
        hdr(Curve::Pu)
    } else if starts("rtlightmap_hdr") {
        hdr(Curve::Log)
    } else if starts("rt_ldr") || starts("rt_alb") {
        let clip = vec![Step::Clip { min: Some(0.0), max: Some(1.0) }];
        ("from 0 to 1 with the sRGB curve", Transfer::Srgb, clip.clone(), clip)
    } else {
        return model;
    };
    model.recipe.description = denoises(light, model.input_channels());
    model.recipe.input.transfer = Some(transfer);
    model.recipe.input.steps = before;
    model.recipe.output.steps = after;
    model.with_recipe_source("the file's name")
}

/// Linear light of any range: exposure, a curve, and back.
fn hdr(curve: Curve) -> (&'static str, Transfer, Vec<Step>, Vec<Step>) {
    let before = vec![Step::AutoExposure, Step::Curve(curve)];
    let after = vec![Step::Inverse(curve), Step::UndoExposure];
    ("of linear light without bound", Transfer::Linear, before, after)
}

/// A description: the light and the auxiliary channels that the network takes.
fn denoises(light: &str, channels: usize) -> String {
    let beside = match channels {
        6 => ", then albedo",
        9 => ", then albedo, then normals as 0.5 + 0.5 n",
        _ => "",
    };
    format!("denoises rendered pictures: red, green, blue {light}{beside}")
}

/// Convolutions, each followed by a ReLU.
fn convs(net: &mut Net<'_, '_>, names: &[&str], mut x: ValueId) -> Result<ValueId> {
    for name in names {
        x = net.conv(name, x)?;
        x = net.relu(&format!("{name}.relu"), x)?;
    }
    Ok(x)
}
