//! github.com/qubvel-org/segmentation_models.pytorch: `Unet`, `UnetPlusPlus`, `Linknet` and `FPN` on encoders of
//! torchvision's ResNet family (also timm's), MobileNetV2 and EfficientNet.
//!
//! An encoder gives features at every halving, a decoder joins them, a head makes the classes. `config.json` beside
//! the file, as `save_pretrained` writes it, adds what names and shapes do not tell.

mod decoders;
mod encoders;

use super::Net;
use super::net::segment;
use crate::error::{Error, Result};
use crate::graph::{Activation, Graph, PadMode, Resize, ResizeTo, Softmax};
use crate::import::tensors::StateDict;
use crate::model::Model;
use decoders::Decoder;
use encoders::Encoder;

/// Mean and standard deviation of ImageNet's pictures: red, green, blue.
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let Some((encoder, decoder)) = Encoder::of(dict).zip(Decoder::of(dict)) else { return Ok(None) };
    if !dict.has("segmentation_head.0.weight") {
        return Ok(None);
    }
    let config = dict.sidecar("config.json")?.unwrap_or_default();
    if let Some(other) = config["decoder_interpolation"].as_str().filter(|mode| *mode != "nearest") {
        return Err(Error::Model(format!(
            "decoder_interpolation {other} is not supported; expected nearest"
        )));
    }
    let mut net = Net::new(dict, encoder.first())?;
    let depth = decoder.depth(&net);
    // Only the plain U-Net on encoders that round sizes up takes all sizes; the others need multiples.
    let takes_all = decoder == Decoder::Unet && encoder.rounds_up();
    let x = if takes_all { Graph::INPUT } else { net.padded_input(1 << depth, PadMode::Reflect)? };

    let features = encoder.features(&mut net, x, depth)?;
    // Layers that a shallow decoder does not use, and the head of a second task.
    net.dict.discard(|name| encoder.is_unused(name, depth) || name.starts_with("classification_head."));
    let mut y = decoder.join(&mut net, &features)?;
    y = net.conv("segmentation_head.0", y)?;
    if decoder == Decoder::Fpn {
        y = net.push("segmentation_head.1", Resize::bilinear(ResizeTo::Scale([4.0; 2]), true), &[y])?;
    }

    let mut threshold = 0.0;
    match config["activation"].as_str() {
        None | Some("identity") => {}
        Some("sigmoid") => {
            y = net.push("segmentation_head.2", Activation::Sigmoid, &[y])?;
            threshold = 0.5;
        }
        Some("softmax" | "softmax2d") => {
            y = net.push("segmentation_head.2", Softmax::default(), &[y])?;
        }
        Some(other) => {
            return Err(Error::Model(format!("activation {other} in config.json is not supported")));
        }
    }
    if !takes_all {
        net.crop_to_input(y)?;
    }
    let mut recipe = segment(threshold);
    // Without a statement, the encoder was most likely pretrained.
    let is_pretrained = config.is_null() || config["encoder_weights"] == "imagenet";
    if is_pretrained && net.graph.input_channels() == 3 {
        (recipe.input.mean, recipe.input.std) = (IMAGENET[0].into(), IMAGENET[1].into());
    }
    let model = net.finish(decoder.family(), recipe);
    Ok(if config.is_null() { model } else { model.map(|model| model.with_recipe_source("config.json")) })
}
