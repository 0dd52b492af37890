//! The encoders: the picture and its features at each halving.

mod efficientnet;
mod mobilenet;
mod resnet;
mod timm;

use super::Config;
use crate::error::Result;
use crate::graph::{Conv, ValueId};
use crate::import::families::Net;
use crate::import::tensors::StateDict;

/// What a decoder takes of its encoder.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// Halvings whose features it reads.
    pub(super) depth: usize,
    /// The largest distance between neighbours in pixels of the picture. Stages beyond it do not halve but widen their
    /// kernels.
    pub(super) stride: usize,
}

impl Extent {
    /// A convolution of a stage whose features would be that far apart. It keeps its size but for its stride.
    fn fitted(self, conv: Conv, stage: usize) -> Conv {
        let widened = stage.min(1 << self.depth) / self.stride;
        let conv = if widened > 1 { Conv { stride: [1; 2], dilation: [widened; 2], ..conv } } else { conv };
        conv.same()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoder {
    /// Torchvision's.
    ResNet,
    /// timm's, below another prefix.
    TimmResNet,
    MobileNetV2,
    EfficientNet,
    /// timm's EfficientNet and EfficientNet-Lite.
    TimmEfficientNet,
    /// The same, as timm gives its features.
    TimmFeatures,
}

impl Encoder {
    pub(super) fn of(dict: &StateDict<'_>, config: &Config) -> Option<Encoder> {
        let has = |name: &str| dict.has(&format!("encoder.{name}.weight"));
        let resnet = |base: &str| has(&format!("{base}conv1")) && has(&format!("{base}layer1.0.conv1"));
        let timm = |base: &str| has(&format!("{base}conv_stem")) && has(&format!("{base}blocks.0.0.conv_dw"));
        // The weights do not tell timm's own networks from those of TensorFlow, which pad in another way.
        let is_named = |prefix: &str| config.encoder.as_deref().is_some_and(|name| name.starts_with(prefix));
        if resnet("") {
            Some(Encoder::ResNet)
        } else if resnet("model.") {
            Some(Encoder::TimmResNet)
        } else if has("features.0.0") && has("features.1.conv.0.0") && has("features.18.0") {
            Some(Encoder::MobileNetV2)
        } else if has("_conv_stem") && has("_blocks.0._depthwise_conv") {
            Some(Encoder::EfficientNet)
        } else if timm("") {
            Some(Encoder::TimmEfficientNet)
        } else if timm("model.") && is_named("tu-efficientnet_") {
            Some(Encoder::TimmFeatures)
        } else {
            None
        }
    }

    /// The beginning of its names.
    fn base(self) -> &'static str {
        match self {
            Encoder::TimmResNet | Encoder::TimmFeatures => "encoder.model.",
            Encoder::ResNet | Encoder::MobileNetV2 | Encoder::EfficientNet | Encoder::TimmEfficientNet => {
                "encoder."
            }
        }
    }

    /// The first convolution.
    pub(super) fn first(self) -> String {
        let first = match self {
            Encoder::ResNet | Encoder::TimmResNet => "conv1",
            Encoder::MobileNetV2 => "features.0.0",
            Encoder::EfficientNet => "_conv_stem",
            Encoder::TimmEfficientNet | Encoder::TimmFeatures => "conv_stem",
        };
        format!("{}{first}", self.base())
    }

    /// Whether sizes are rounded up when they are halved.
    pub(super) fn rounds_up(self) -> bool {
        self != Encoder::EfficientNet
    }

    /// Whether a tensor is not needed for features of that depth.
    pub(super) fn is_unused(self, name: &str, depth: usize) -> bool {
        let base = self.base();
        match self {
            Encoder::ResNet | Encoder::TimmResNet => {
                let deeper = (depth..=4).any(|layer| name.starts_with(&format!("{base}layer{layer}.")));
                deeper || name.starts_with(&format!("{base}fc."))
            }
            Encoder::MobileNetV2 => name.starts_with("encoder.features."),
            Encoder::EfficientNet => name.starts_with("encoder._"),
            Encoder::TimmEfficientNet | Encoder::TimmFeatures => ["blocks.", "conv_head.", "bn2."]
                .iter()
                .any(|part| name.starts_with(&format!("{base}{part}"))),
        }
    }

    /// The largest number of halvings after which the features have that many channels.
    pub(super) fn depth_of(self, dict: &StateDict<'_>, channels: usize) -> Option<usize> {
        let last = |depth: usize| match self {
            Encoder::ResNet | Encoder::TimmResNet => resnet::last(dict, self.base(), depth),
            Encoder::MobileNetV2 => mobilenet::last(depth),
            Encoder::EfficientNet => efficientnet::last(dict, depth),
            Encoder::TimmEfficientNet | Encoder::TimmFeatures => timm::last(dict, self, depth),
        };
        let made = |depth: usize| Some(*dict.shape(&format!("{}.weight", last(depth)?))?.first()?);
        (1..=5).rev().find(|&depth| made(depth) == Some(channels))
    }

    /// The picture and its features.
    pub(super) fn features(self, net: &mut Net<'_, '_>, x: ValueId, extent: Extent) -> Result<Vec<ValueId>> {
        match self {
            Encoder::ResNet | Encoder::TimmResNet => resnet::features(net, self, x, extent),
            Encoder::MobileNetV2 => mobilenet::features(net, x, extent),
            Encoder::EfficientNet => efficientnet::features(net, x, extent),
            Encoder::TimmEfficientNet | Encoder::TimmFeatures => timm::features(net, self, x, extent),
        }
    }
}
