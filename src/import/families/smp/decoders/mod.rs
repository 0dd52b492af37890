//! The decoders: features of all sizes to one map.

mod context;
mod pyramid;
mod unet;

use super::Config;
use super::encoders::{Encoder, Extent};
use crate::error::{Error, Result};
use crate::graph::ValueId;
use crate::import::families::Net;
use crate::import::tensors::StateDict;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    Unet,
    UnetPlusPlus,
    Linknet,
    Fpn,
    Psp,
    DeepLab,
    DeepLabPlus,
    Pan,
    UperNet,
    Segformer,
    /// Not built: its attention reads a map of positions as one of channels, which is made for one size.
    Manet,
}

/// Each decoder, weights that tell it, and its family.
const DECODERS: [(Decoder, &[&str], &str); 11] = [
    (Decoder::Manet, &["center.top_conv", "blocks.0.hl_conv.0.0"], "segmentation_models.pytorch MAnet"),
    (Decoder::Unet, &["blocks.0.conv1.0"], "segmentation_models.pytorch Unet"),
    (Decoder::UnetPlusPlus, &["blocks.x_0_0.conv1.0"], "segmentation_models.pytorch UnetPlusPlus"),
    (Decoder::Linknet, &["blocks.0.block.0.0", "blocks.0.block.1.0"], "segmentation_models.pytorch Linknet"),
    (
        Decoder::Fpn,
        &["p5", "p4.skip_conv", "seg_blocks.0.block.0.block.0"],
        "segmentation_models.pytorch FPN",
    ),
    (Decoder::Psp, &["psp.blocks.0.pool.1.0", "conv.0"], "segmentation_models.pytorch PSPNet"),
    (Decoder::DeepLab, &["aspp.convs.0.0", "conv"], "segmentation_models.pytorch DeepLabV3"),
    (Decoder::DeepLabPlus, &["aspp.0.convs.0.0", "block1.0"], "segmentation_models.pytorch DeepLabV3Plus"),
    (Decoder::Pan, &["fpa.mid.0.conv", "gau1.conv2.conv"], "segmentation_models.pytorch PAN"),
    (Decoder::UperNet, &["feature_norms.0", "fusion_block.0"], "segmentation_models.pytorch UPerNet"),
    (Decoder::Segformer, &["mlp_stage.0.linear", "fuse_stage.0"], "segmentation_models.pytorch Segformer"),
];

impl Decoder {
    /// The decoder, and its family's name.
    pub(super) fn of(dict: &StateDict<'_>) -> Option<(Decoder, &'static str)> {
        let has = |name: &&str| dict.has(&format!("decoder.{name}.weight"));
        let (decoder, _, family) = DECODERS.into_iter().find(|(_, names, _)| names.iter().all(has))?;
        Some((decoder, family))
    }

    /// What it takes of its encoder.
    pub(super) fn extent(self, dict: &StateDict<'_>, encoder: Encoder, config: &Config) -> Extent {
        let has = |name: String| dict.has(&format!("decoder.{name}.weight"));
        let count = |name: fn(usize) -> String| (0..5).take_while(|&i| has(name(i))).count();
        let told = |name: &str| {
            let channels = dict.shape(&format!("decoder.{name}.weight")).and_then(|shape| shape.get(1));
            config.depth.or_else(|| encoder.depth_of(dict, *channels?))
        };
        let depth = match self {
            Decoder::Unet => count(|i| format!("blocks.{i}.conv1.0")),
            Decoder::UnetPlusPlus => count(|i| format!("blocks.x_0_{i}.conv1.0")),
            Decoder::Linknet => count(|i| format!("blocks.{i}.block.0.0")),
            Decoder::Fpn | Decoder::Manet => 5,
            Decoder::Psp => told("psp.blocks.0.pool.1.0").unwrap_or(3),
            Decoder::DeepLab => told("aspp.convs.0.0").unwrap_or(5),
            Decoder::DeepLabPlus => told("aspp.0.convs.0.0").unwrap_or(5),
            Decoder::Pan => 2 + (1..4).take_while(|i| has(format!("gau{i}.conv2.conv"))).count(),
            Decoder::UperNet => 1 + count(|i| format!("feature_norms.{i}")),
            Decoder::Segformer => count(|i| format!("mlp_stage.{i}.linear")),
        };
        let widest = match self {
            Decoder::DeepLab => config.stride.unwrap_or(8),
            Decoder::DeepLabPlus | Decoder::Pan => config.stride.unwrap_or(16),
            _ => usize::MAX,
        };
        Extent { depth, stride: widest.min(1 << depth) }
    }

    /// By how much the head enlarges its map.
    pub(super) fn enlarges(self, extent: Extent) -> usize {
        match self {
            Decoder::Unet | Decoder::UnetPlusPlus | Decoder::Linknet | Decoder::Manet => 1,
            Decoder::Psp | Decoder::DeepLab => extent.stride,
            Decoder::Fpn | Decoder::DeepLabPlus | Decoder::Pan | Decoder::UperNet | Decoder::Segformer => 4,
        }
    }

    /// How it brings maps to another size, where its configuration chooses.
    pub(super) fn interpolation(self) -> &'static str {
        if self == Decoder::Pan { "bilinear" } else { "nearest" }
    }

    /// What the weights do not tell and only `config.json` does.
    pub(super) fn assumption(self, extent: Extent, config: &Config) -> Option<String> {
        let stride = (config.stride.is_none() && extent.stride > 4)
            .then(|| format!("encoder_output_stride {}", extent.stride));
        let [a, b, c] = config.rates();
        let rates = config.rates.is_none().then(|| format!("decoder_atrous_rates {a}, {b}, {c}"));
        let parts: Vec<String> = match self {
            Decoder::DeepLab | Decoder::DeepLabPlus => stride.into_iter().chain(rates).collect(),
            Decoder::Pan => stride.into_iter().collect(),
            _ => Vec::new(),
        };
        (!parts.is_empty()).then(|| {
            let parts = parts.join(" and ");
            format!("taken: {parts}, the library's own, which weights do not tell; config.json changes it")
        })
    }

    /// Joins the picture and its features, the smallest last.
    pub(super) fn join(
        self,
        net: &mut Net<'_, '_>,
        features: &[ValueId],
        config: &Config,
    ) -> Result<ValueId> {
        match self {
            Decoder::Unet => unet::unet(net, features),
            Decoder::UnetPlusPlus => unet::unet_plus_plus(net, features),
            Decoder::Linknet => unet::linknet(net, features),
            Decoder::Fpn => pyramid::fpn(net, features),
            Decoder::Psp => pyramid::psp(net, features),
            Decoder::DeepLab => context::deeplab(net, features, config.rates()),
            Decoder::DeepLabPlus => context::deeplab_plus(net, features, config.rates()),
            Decoder::Pan => context::pan(net, features),
            Decoder::UperNet => pyramid::upernet(net, features),
            Decoder::Segformer => pyramid::segformer(net, features),
            Decoder::Manet => Err(Error::UnknownNetwork(
                "segmentation_models.pytorch's MAnet: its attention reads a map of positions as one of channels, which \
                 only an export to ONNX tells for each size"
                    .into(),
            )),
        }
    }
}

/// Convolution, batch norm if there is one, ReLU.
fn conv_relu(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let y = net.conv(&format!("{name}.0"), x)?;
    norm_relu(net, name, y)
}

fn norm_relu(net: &mut Net<'_, '_>, name: &str, mut y: ValueId) -> Result<ValueId> {
    let norm = format!("{name}.1");
    if net.has(&format!("{norm}.weight")) {
        y = net.batch_norm(&norm, y)?;
    }
    net.relu(&format!("{name}.2"), y)
}
