//! github.com/qubvel-org/segmentation_models.pytorch: `Unet` with an encoder of torchvision's ResNet family (ResNet,
//! ResNeXt, Wide ResNet).
//!
//! Features at every halving. The decoder up-samples by nearest neighbour to the skip's size, concatenates, and
//! convolves twice. `config.json` beside the file, as `save_pretrained` writes it, adds what names and shapes do not
//! tell.

use super::Net;
use super::net::segment;
use crate::error::{Error, Result};
use crate::graph::{
    Activation, Binary, Conv, Crop, Graph, Pool, PoolKind, Resize, ResizeTo, Softmax, ValueId,
};
use crate::import::tensors::StateDict;
use crate::model::Model;

/// Mean and standard deviation of ImageNet's pictures: red, green, blue.
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let names =
        ["encoder.conv1", "encoder.layer1.0.conv1", "decoder.blocks.0.conv1.0", "segmentation_head.0"];
    if !names.iter().all(|name| dict.has(&format!("{name}.weight"))) {
        return Ok(None);
    }
    let config = dict.sidecar("config.json")?.unwrap_or_default();
    if let Some(other) = config["decoder_interpolation"].as_str().filter(|mode| *mode != "nearest") {
        return Err(Error::Model(format!(
            "decoder_interpolation {other} is not supported; expected nearest"
        )));
    }
    let mut net = Net::new(dict, "encoder.conv1")?;
    let depth = (0..5).take_while(|i| net.has(&format!("decoder.blocks.{i}.conv1.0.weight"))).count();

    let features = encoder(&mut net, depth)?;
    // Layers that a shallow decoder does not use, and the head of a second task.
    net.dict.discard(|name| {
        let deeper = (depth..=4).any(|layer| name.starts_with(&format!("encoder.layer{layer}.")));
        deeper || name.starts_with("encoder.fc.") || name.starts_with("classification_head.")
    });
    let mut y = features[depth];
    for (i, &skip) in features[..depth].iter().rev().enumerate() {
        let name = format!("decoder.blocks.{i}");
        y = net.push(&format!("{name}.up"), Resize::nearest(ResizeTo::Scale([2.0; 2])), &[y])?;
        // Sizes were rounded up on the way down. Nearest neighbour to one pixel less differs only in the last pixel.
        y = net.push(&format!("{name}.crop"), Crop, &[y, skip])?;
        if i + 1 < depth {
            y = net.concat(&format!("{name}.concat"), [y, skip])?;
        }
        for conv in ["conv1", "conv2"] {
            y = conv_relu(&mut net, &format!("{name}.{conv}"), y)?;
        }
    }
    y = net.conv("segmentation_head.0", y)?;

    let mut threshold = 0.0;
    match config["activation"].as_str() {
        None | Some("identity") => {}
        Some("sigmoid") => {
            net.push("segmentation_head.2", Activation::Sigmoid, &[y])?;
            threshold = 0.5;
        }
        Some("softmax" | "softmax2d") => drop(net.push("segmentation_head.2", Softmax::default(), &[y])?),
        Some(other) => {
            return Err(Error::Model(format!("activation {other} in config.json is not supported")));
        }
    }
    let mut recipe = segment(threshold);
    // Without a statement, the encoder was most likely pretrained.
    let is_pretrained = config.is_null() || config["encoder_weights"] == "imagenet";
    if is_pretrained && net.graph.input_channels() == 3 {
        (recipe.input.mean, recipe.input.std) = (IMAGENET[0].into(), IMAGENET[1].into());
    }
    let model = net.finish("segmentation_models.pytorch Unet", recipe);
    Ok(if config.is_null() { model } else { model.map(|model| model.with_recipe_source("config.json")) })
}

/// The picture and its features at `depth` halvings.
fn encoder(net: &mut Net<'_, '_>, depth: usize) -> Result<Vec<ValueId>> {
    let first = Conv { stride: [2, 2], ..net.take_conv("encoder.conv1")?.same() };
    let mut y = net.push("encoder.conv1", first, &[Graph::INPUT])?;
    y = net.batch_norm("encoder.bn1", y)?;
    y = net.relu("encoder.relu", y)?;
    let mut features = vec![Graph::INPUT, y];
    let pool = Pool { kernel: [3, 3], padding: [1; 4], kind: PoolKind::Max, ..Pool::MAX_2X2 };
    y = net.push("encoder.maxpool", pool, &[y])?;
    for layer in 1..depth {
        let mut block = 0;
        while net.has(&format!("encoder.layer{layer}.{block}.conv1.weight")) {
            let stride = if layer > 1 && block == 0 { 2 } else { 1 };
            y = residual(net, &format!("encoder.layer{layer}.{block}"), y, stride)?;
            block += 1;
        }
        features.push(y);
    }
    Ok(features)
}

/// A basic block (3x3, 3x3) or a bottleneck (1x1, 3x3, 1x1), He et al. 2016. The first 3x3 convolution has the stride.
fn residual(net: &mut Net<'_, '_>, name: &str, x: ValueId, stride: usize) -> Result<ValueId> {
    let last = if net.has(&format!("{name}.conv3.weight")) { 3 } else { 2 };
    let (mut y, mut channels, mut stride_left) = (x, 0, stride);
    for i in 1..=last {
        let conv_name = format!("{name}.conv{i}");
        let mut conv = net.take_conv(&conv_name)?.same();
        if conv.kernel() != [1, 1] {
            conv.stride = [stride_left; 2];
            stride_left = 1;
        }
        // The number of groups of a ResNeXt follows from the shape of its weights.
        let own = conv.weight.shape().c;
        if i > 1 && own > 0 && channels % own == 0 {
            conv.groups = channels / own;
        }
        channels = conv.out_channels();
        y = net.push(&conv_name, conv, &[y])?;
        y = net.batch_norm(&format!("{name}.bn{i}"), y)?;
        if i < last {
            y = net.relu(&format!("{name}.relu{i}"), y)?;
        }
    }
    let mut shortcut = x;
    let projection = format!("{name}.downsample.0");
    if net.has(&format!("{projection}.weight")) {
        let conv = Conv { stride: [stride; 2], ..net.take_conv(&projection)? };
        shortcut = net.push(&projection, conv, &[x])?;
        shortcut = net.batch_norm(&format!("{name}.downsample.1"), shortcut)?;
    }
    y = net.push(&format!("{name}.add"), Binary::ADD, &[y, shortcut])?;
    net.relu(&format!("{name}.relu"), y)
}

/// Convolution, batch norm if there is one, ReLU.
fn conv_relu(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let mut y = net.conv(&format!("{name}.0"), x)?;
    let norm = format!("{name}.1");
    if net.has(&format!("{norm}.weight")) {
        y = net.batch_norm(&norm, y)?;
    }
    net.relu(&format!("{name}.2"), y)
}
