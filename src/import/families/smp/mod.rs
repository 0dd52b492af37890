//! github.com/qubvel-org/segmentation_models.pytorch: its decoders on encoders of torchvision's ResNet family (also
//! timm's), MobileNetV2 and EfficientNet (also timm's).
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
use crate::recipe::IMAGENET;
use decoders::Decoder;
use encoders::Encoder;
use serde_json::Value;

/// What `config.json` says.
struct Config {
    encoder: Option<String>,
    depth: Option<usize>,
    stride: Option<usize>,
    rates: Option<[usize; 3]>,
    interpolation: Option<String>,
    activation: Option<String>,
    /// Whether the encoder was trained with ImageNet. Without a statement it most likely was.
    is_pretrained: bool,
    is_there: bool,
}

impl Config {
    fn of(json: &Value) -> Config {
        let text = |key: &str| json[key].as_str().map(String::from);
        let number = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok());
        let within = |key: &str, range: std::ops::RangeInclusive<usize>| {
            number(&json[key]).filter(|value| range.contains(value))
        };
        let rates = json["decoder_atrous_rates"].as_array().map(|rates| {
            rates.iter().filter_map(number).filter(|rate| (1..=1024).contains(rate)).collect::<Vec<_>>()
        });
        Config {
            encoder: text("encoder_name"),
            depth: within("encoder_depth", 1..=5),
            stride: within("encoder_output_stride", 8..=32).filter(|stride| stride.is_power_of_two()),
            rates: rates.and_then(|rates| rates.try_into().ok()),
            interpolation: text("decoder_interpolation").or_else(|| text("upscale_mode")),
            activation: text("activation"),
            is_pretrained: json.is_null() || json["encoder_weights"] == "imagenet",
            is_there: !json.is_null(),
        }
    }

    /// Dilations of DeepLab's kernels.
    fn rates(&self) -> [usize; 3] {
        self.rates.unwrap_or([12, 24, 36])
    }
}

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let Some((decoder, family)) = Decoder::of(dict) else { return Ok(None) };
    if !dict.has("segmentation_head.0.weight") {
        return Ok(None);
    }
    let config = Config::of(&dict.sidecar("config.json")?.unwrap_or_default());
    let Some(encoder) = Encoder::of(dict, &config) else { return Ok(None) };
    if let Some(other) = config.interpolation.as_deref().filter(|mode| *mode != decoder.interpolation()) {
        let expected = decoder.interpolation();
        return Err(Error::Model(format!(
            "decoder_interpolation {other} is not supported; expected {expected}"
        )));
    }
    let extent = decoder.extent(dict, encoder, &config);
    let mut net = Net::new(dict, &encoder.first())?;
    // Only the plain U-Net on encoders that round sizes up takes all sizes; the others need multiples.
    let takes_all = decoder == Decoder::Unet && encoder.rounds_up();
    let x = if takes_all { Graph::INPUT } else { net.padded_input(extent.stride, PadMode::Reflect)? };

    let features = encoder.features(&mut net, x, extent)?;
    // Layers that a shallow decoder does not use, and the head of a second task.
    net.dict
        .discard(|name| encoder.is_unused(name, extent.depth) || name.starts_with("classification_head."));
    let mut y = decoder.join(&mut net, &features, &config)?;
    y = net.conv("segmentation_head.0", y)?;
    let factor = decoder.enlarges(extent);
    if factor > 1 {
        let resize = Resize::bilinear(ResizeTo::Scale([factor as f32; 2]), true);
        y = net.push("segmentation_head.1", resize, &[y])?;
    }

    let mut threshold = 0.0;
    match config.activation.as_deref() {
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
    if config.is_pretrained && net.graph.input_channels() == 3 {
        (recipe.input.mean, recipe.input.std) = (IMAGENET[0].into(), IMAGENET[1].into());
    }
    let Some(mut model) = net.finish(family, recipe) else { return Ok(None) };
    model.notes.extend(decoder.assumption(extent, &config));
    Ok(Some(if config.is_there { model.with_recipe_source("config.json") } else { model }))
}
