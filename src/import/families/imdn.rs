//! IMDN (Hui et al. 2019, "Lightweight Image Super-Resolution with Information Multi-distillation Network"),
//! github.com/Zheng222/IMDN: blocks that keep a quarter of their channels at each of four convolutions, a gate by
//! contrast, and a pixel shuffle.

use super::Net;
use crate::error::{Error, Result};
use crate::graph::{Activation, Binary, BinaryKind, Concat, Conv, ConvTranspose, Graph, Reduce, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::{Decode, Recipe};
use crate::tensor::{Shape, Tensor};
use std::ops::Range;

const LEAKY: Activation = Activation::LeakyRelu(0.05);

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let names = ["fea_conv", "IMDB1.c1", "IMDB1.cca.conv_du.0", "c.0", "LR_conv", "upsampler.0"];
    if !names.iter().all(|name| dict.has(&format!("{name}.weight"))) {
        return Ok(None);
    }
    let mut net = Net::new(dict, "fea_conv")?;
    let features = net.conv("fea_conv", Graph::INPUT)?;
    let (mut y, mut parts) = (features, Vec::new());
    for i in 1.. {
        let name = format!("IMDB{i}");
        if !net.has(&format!("{name}.c1.weight")) {
            break;
        }
        y = block(&mut net, &name, y)?;
        parts.push(y);
    }
    y = net.push("concat", Concat::default(), &parts)?;
    y = net.conv("c.0", y)?;
    y = net.push("c.1", LEAKY, &[y])?;
    y = net.conv("LR_conv", y)?;
    y = net.push("LR_conv.add", Binary::ADD, &[y, features])?;
    y = net.conv("upsampler.0", y)?;

    let (made, channels) = (net.channels(y), net.graph.input_channels());
    let factor = (1..=8).find(|factor| channels * factor * factor == made);
    let factor = factor.ok_or_else(|| {
        Error::shape("upsampler.0", format!("{channels} channels times 1, 4, 9 or 16"), made)
    })?;
    if factor > 1 {
        net.push("upsampler.1", shuffle(channels, factor)?, &[y])?;
    }
    let mut recipe = Recipe { task: "restore".into(), ..Recipe::default() };
    recipe.description = format!("enlarges pictures {factor} times");
    recipe.output.decode = Some(Decode::Image);
    Ok(net.finish("IMDN", recipe))
}

fn block(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let part = |part: &str| format!("{name}.{part}");
    let (mut y, mut kept) = (x, Vec::new());
    for i in 1..=3 {
        let conv = net.take_conv(&part(&format!("c{i}")))?.same();
        let outs = conv.out_channels();
        let mut half = |what: &str, range: Range<usize>| {
            let name = part(&format!("c{i}.{what}"));
            let made = net.push(&name, rows(&conv, range)?, &[y])?;
            net.push(&format!("{name}.act"), LEAKY, &[made])
        };
        kept.push(half("kept", 0..outs / 4)?);
        y = half("left", outs / 4..outs)?;
    }
    kept.push(net.conv(&part("c4"), y)?);
    let all = net.push(&part("concat"), Concat::default(), &kept)?;
    let gated = gate(net, &part("cca"), all)?;
    let y = net.conv(&part("c5"), gated)?;
    net.push(&part("add"), Binary::ADD, &[y, x])
}

/// The channels times a function of their mean and standard deviation.
fn gate(net: &mut Net<'_, '_>, name: &str, x: ValueId) -> Result<ValueId> {
    let part = |part: &str| format!("{name}.{part}");
    let mean = net.push(&part("mean"), Reduce::GLOBAL_AVERAGE, &[x])?;
    let mut y = net.push(&part("centred"), Binary::new(BinaryKind::Sub), &[x, mean])?;
    y = net.push(&part("square"), Activation::Square, &[y])?;
    y = net.push(&part("variance"), Reduce::GLOBAL_AVERAGE, &[y])?;
    y = net.push(&part("contrast"), Activation::Sqrt, &[y])?;
    y = net.push(&part("sum"), Binary::ADD, &[y, mean])?;
    y = net.conv(&part("conv_du.0"), y)?;
    y = net.relu(&part("conv_du.1"), y)?;
    y = net.conv(&part("conv_du.2"), y)?;
    y = net.push(&part("conv_du.3"), Activation::Sigmoid, &[y])?;
    net.push(&part("scale"), Binary::new(BinaryKind::Mul), &[x, y])
}

/// The part of a convolution that makes these of its channels.
fn rows(conv: &Conv, range: Range<usize>) -> Result<Conv> {
    let shape = conv.weight.shape();
    let each = shape.elements() / shape.n.max(1);
    let weight = conv.weight.data()[range.start * each..range.end * each].to_vec();
    let weight = Tensor::new(Shape { n: range.len(), ..shape }, weight)?.into();
    Ok(Conv { weight, bias: conv.bias.as_ref().map(|bias| bias[range].into()), ..conv.clone() })
}

/// Channels to squares of pixels, as PyTorch's `PixelShuffle`.
fn shuffle(channels: usize, factor: usize) -> Result<ConvTranspose> {
    let square = factor * factor;
    let shape = Shape::new(channels * square, channels, factor, factor);
    let place = |i: usize| i / (channels * square) == i / square % channels * square + i % square;
    let weight = Tensor::from_fn(shape, |i| f32::from(u8::from(place(i)))).into();
    Ok(ConvTranspose::new(weight, None, factor))
}
