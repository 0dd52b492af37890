//! DnCNN, FDnCNN, IRCNN and FFDNet (Zhang et al. 2017, 2018): chains of 3x3 convolutions.
//!
//! `dncnn.0, dncnn.2, ...` is DnCNN in PyTorch by its author and by SaoYan; `model.0, model.2, ...` is one of
//! github.com/cszn/KAIR. All give the noise, which is taken from the picture, except FDnCNN and FFDNet, which read a
//! map of the noise level too. IRCNN has seven dilated convolutions. Norms stand before the ReLU.

use super::Net;
use crate::error::Result;
use crate::graph::{Binary, BinaryKind, Conv, ConvTranspose, Graph, PadMode};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::{Decode, Recipe};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// Dilations of IRCNN.
const IRCNN: [usize; 7] = [1, 2, 3, 4, 3, 2, 1];

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let first =
        ["dncnn.", "model.", "net.", ""].into_iter().find(|prefix| dict.has(&format!("{prefix}0.weight")));
    let Some(prefix) = first else { return Ok(None) };
    let Some(places) = convs(dict, prefix) else { return Ok(None) };
    let shape = |place: usize| dict.shape(&format!("{prefix}{place}.weight")).map(<[usize]>::to_vec);
    let shapes: Vec<Vec<usize>> = places.iter().filter_map(|&place| shape(place)).collect();
    let (ins, outs) = (shapes[0][1], shapes[shapes.len() - 1][0]);
    let has_norm = dict.has(&format!("{prefix}{}.running_mean", places[1] + 1));
    let is_ircnn = !has_norm && shapes.len() == IRCNN.len() && prefix != "dncnn.";
    let kind = match (ins, outs) {
        _ if ins == outs && is_ircnn => Kind::Ircnn,
        _ if ins == outs => Kind::Dncnn,
        _ if Some(ins) == outs.checked_add(1) && outs.is_multiple_of(4) => Kind::Ffdnet,
        _ if Some(ins) == outs.checked_add(1) => Kind::Fdncnn,
        _ => return Ok(None),
    };
    // The author's own training code has a bias in the first convolution and another epsilon; so has KAIR.
    let eps = if prefix == "dncnn." && !dict.has(&format!("{prefix}0.bias")) { 1e-5 } else { 1e-4 };

    let mut net = Net::of_channels(dict, if kind == Kind::Ffdnet { outs / 4 + 1 } else { ins });
    let mut y = Graph::INPUT;
    if kind == Kind::Ffdnet {
        y = net.padded_input(2, PadMode::Edge)?;
        let unshuffle = Conv { stride: [2, 2], ..Conv::new(squares(outs / 4, true)?, None) };
        y = net.push("unshuffle", unshuffle, &[y])?;
    }
    let last = places.len() - 1;
    for (i, &place) in places.iter().enumerate() {
        let name = format!("{prefix}{place}");
        let mut conv = net.take_conv(&name)?;
        if kind == Kind::Ircnn {
            conv.dilation = [IRCNN[i]; 2];
        }
        y = net.push(&name, conv.same(), &[y])?;
        let norm = format!("{prefix}{}", place + 1);
        if net.has(&format!("{norm}.running_mean")) {
            y = net.batch_norm_with(&norm, y, eps)?;
        }
        if i < last {
            y = net.relu(&format!("{name}.relu"), y)?;
        }
    }
    match kind {
        Kind::Dncnn | Kind::Ircnn => {
            net.push("denoised", Binary::new(BinaryKind::Sub), &[Graph::INPUT, y])?;
        }
        Kind::Fdncnn => {}
        Kind::Ffdnet => {
            let shuffle = ConvTranspose::new(squares(outs / 4, false)?, None, 2);
            y = net.push("shuffle", shuffle, &[y])?;
            net.crop_to_input(y)?;
        }
    }
    let mut recipe = Recipe { task: "denoise".into(), ..Recipe::default() };
    recipe.output.decode = Some(Decode::Image);
    if matches!(kind, Kind::Fdncnn | Kind::Ffdnet) {
        recipe.description = "denoises; the last input channel is sigma / 255".into();
    }
    let mut model = net.finish(kind.family(), recipe);
    if let Some(model) = &mut model {
        let what = match kind {
            Kind::Dncnn | Kind::Ircnn => {
                "; its result is the input minus the noise that the convolutions give"
            }
            Kind::Fdncnn | Kind::Ffdnet => "; its last input channel is the noise level",
        };
        model.notes.push(format!("this chain of convolutions is taken as {}{what}", kind.family()));
    }
    Ok(model)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dncnn,
    Ircnn,
    Fdncnn,
    Ffdnet,
}

impl Kind {
    fn family(self) -> &'static str {
        match self {
            Kind::Dncnn => "DnCNN",
            Kind::Ircnn => "KAIR IRCNN",
            Kind::Fdncnn => "KAIR FDnCNN",
            Kind::Ffdnet => "KAIR FFDNet",
        }
    }
}

/// The numbers of the convolutions, if all tensors below the prefix are a chain: at least three 3x3 convolutions of one
/// width, a ReLU or a norm and a ReLU between two.
fn convs(dict: &StateDict<'_>, prefix: &str) -> Option<Vec<usize>> {
    let mut places: Vec<(usize, Vec<usize>)> = Vec::new();
    for (name, stored) in dict.tensors() {
        let (place, part) = name.strip_prefix(prefix)?.split_once('.')?;
        let place = place.parse().ok()?;
        match (part, &stored.shape[..]) {
            ("weight", [_, _, 3, 3]) => places.push((place, stored.shape.clone())),
            ("weight" | "bias" | "running_mean" | "running_var", [_]) => {}
            _ => return None,
        }
    }
    places.sort();
    let width = places.first()?.1[0];
    let last = places.len().checked_sub(1).filter(|&last| last >= 2)?;
    let fits = |(i, (_, shape)): (usize, &(usize, Vec<usize>))| {
        (i == 0 || shape[1] == width) && (i == last || shape[0] == width)
    };
    let steps = |pair: &[(usize, Vec<usize>)]| match pair[1].0 - pair[0].0 {
        2 => !dict.has(&format!("{prefix}{}.weight", pair[0].0 + 1)),
        3 => dict.has(&format!("{prefix}{}.running_mean", pair[0].0 + 1)),
        _ => false,
    };
    let is_chain = places.iter().enumerate().all(fits) && places.windows(2).all(steps);
    is_chain.then(|| places.into_iter().map(|(place, _)| place).collect())
}

/// Weights that move each square of 2x2 pixels of a channel to four channels, or back. On the way there, one more
/// channel keeps the upper left pixel of each square.
fn squares(channels: usize, has_map: bool) -> Result<Arc<Tensor>> {
    let (own, ins) = (4 * channels, channels + usize::from(has_map));
    let shape = if has_map { Shape::new(own + 1, ins, 2, 2) } else { Shape::new(own, channels, 2, 2) };
    let mut data = vec![0.0; shape.elements()];
    for place in 0..own {
        data[(place * ins + place / 4) * 4 + place % 4] = 1.0;
    }
    if has_map {
        data[(own * ins + channels) * 4] = 1.0;
    }
    Tensor::new(shape, data).map(Arc::new)
}
