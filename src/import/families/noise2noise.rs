//! github.com/joeylitalien/noise2noise-pytorch: the U-Net of Lehtinen et al. 2018, "Noise2Noise".
//!
//! Five scales. The blocks on the way down share their modules, and so do those on the way up. The last concatenation
//! is with the picture itself.

use super::Net;
use crate::error::Result;
use crate::graph::{Activation, Conv, ConvTranspose, PadMode, Pool, ValueId};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::recipe::{Decode, Recipe};

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    if !(1..=6).all(|i| dict.has(&format!("_block{i}.0.weight"))) {
        return Ok(None);
    }
    let mut net = Net::new(dict, "_block1.0")?;
    let x = net.padded_input(32, PadMode::Reflect)?;

    let first = Block::take(&mut net, "_block1", &[0, 2])?;
    let mut y = first.run(&mut net, 1, x)?;
    let mut skips = vec![x];
    y = net.push("_block1.4", Pool::MAX_2X2, &[y])?;
    let down = Block::take(&mut net, "_block2", &[0])?;
    for i in 1..=4 {
        skips.push(y);
        y = down.run(&mut net, i, y)?;
        y = net.push(&numbered("_block2.2", i), Pool::MAX_2X2, &[y])?;
    }

    let (turn, turn_up) = (Block::take(&mut net, "_block3", &[0])?, take_up(&mut net, "_block3.2")?);
    y = turn.run(&mut net, 1, y)?;
    y = net.push("_block3.2", turn_up, &[y])?;
    let deepest = (Block::take(&mut net, "_block4", &[0, 2])?, take_up(&mut net, "_block4.4")?);
    let up = (Block::take(&mut net, "_block5", &[0, 2])?, take_up(&mut net, "_block5.4")?);
    for (i, skip) in skips.into_iter().rev().enumerate() {
        let (block, conv_transpose, time) = match i {
            0 => (&deepest.0, &deepest.1, 1),
            _ => (&up.0, &up.1, i),
        };
        y = net.concat(&format!("concat{}", 5 - i), [y, skip])?;
        if i < 4 {
            y = block.run(&mut net, time, y)?;
            y = net.push(&numbered(&format!("{}.4", block.name), time), conv_transpose.clone(), &[y])?;
        }
    }
    y = Block::take(&mut net, "_block6", &[0, 2])?.run(&mut net, 1, y)?;
    y = net.conv("_block6.4", y)?;
    y = net.push("_block6.5", Activation::LeakyRelu(0.1), &[y])?;
    net.crop_to_input(y)?;

    let mut recipe = Recipe { task: "denoise".into(), ..Recipe::default() };
    recipe.output.decode = Some(Decode::Image);
    Ok(net.finish("noise2noise-pytorch", recipe))
}

/// 3x3 convolutions, each followed by a ReLU.
struct Block {
    name: &'static str,
    convs: Vec<(usize, Conv)>,
}

impl Block {
    fn take(net: &mut Net<'_, '_>, name: &'static str, places: &[usize]) -> Result<Block> {
        let conv = |&place| Ok((place, net.take_conv(&format!("{name}.{place}"))?.same()));
        Ok(Block { name, convs: places.iter().map(conv).collect::<Result<_>>()? })
    }

    /// Adds the block for the `time`th time.
    fn run(&self, net: &mut Net<'_, '_>, time: usize, mut x: ValueId) -> Result<ValueId> {
        for (place, conv) in &self.convs {
            x = net.push(&numbered(&format!("{}.{place}", self.name), time), conv.clone(), &[x])?;
            x = net.relu(&numbered(&format!("{}.{}", self.name, place + 1), time), x)?;
        }
        Ok(x)
    }
}

/// A 3x3 transposed convolution that doubles height and width.
fn take_up(net: &mut Net<'_, '_>, name: &str) -> Result<ConvTranspose> {
    let up = net.take_transposed(name, 2)?;
    Ok(ConvTranspose { padding: [1; 4], output_padding: [1, 1], ..up })
}

/// The name of a layer that is used for the `time`th time.
fn numbered(name: &str, time: usize) -> String {
    if time == 1 { name.into() } else { format!("{name} ({time})") }
}
