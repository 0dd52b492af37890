//! Pictures, recipes and model files that the tests of the library and of the command share.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use unet_wgpu::image::{Depth, Picture};
use unet_wgpu::recipe::{Decode, OutputRecipe, Recipe};
use unet_wgpu::{Random, Shape, Tensor};

/// Noise of that height and width, in whole steps of its depth.
pub(crate) fn noise(channels: usize, [h, w]: [usize; 2], depth: Depth, seed: u64) -> Picture {
    let mut random = Random::new(seed);
    let planes = Tensor::from_fn(Shape::new(1, channels, h, w), |_| match depth {
        Depth::Eight => random.below(256) as f32,
        Depth::Sixteen => random.below(65_536) as f32 / 257.0,
        Depth::Float => random.uniform(0.0, 1.0),
    });
    Picture::new(planes, depth).unwrap()
}

pub(crate) fn decoding(decode: Decode) -> Recipe {
    Recipe::default().with_output(OutputRecipe::default().with_decode(Some(decode)))
}

/// A length-delimited field of a protocol buffer.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let (low, high) = (bytes.len() as u8 & 127 | 128, (bytes.len() >> 7) as u8);
    [&[number << 3 | 2, low, high], bytes].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// An ONNX file that takes only pictures of 8x8. It replaces each square of four pixels by their maximum.
pub(crate) fn blocks(notes: &[(&str, &str)]) -> Vec<u8> {
    let node = |op: &str, inputs: &[&str], output: &str, attribute: Vec<u8>| {
        let inputs = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
        field(1, &[inputs, field(2, output.as_bytes()), field(4, op.as_bytes()), attribute].concat())
    };
    let ints =
        |name: &str| [field(1, name.as_bytes()), number(8, 2), number(8, 2), vec![0xa0, 1, 7]].concat();
    let pool = [field(5, &ints("kernel_shape")), field(5, &ints("strides"))].concat();
    let side = [1i64, 1, 8, 8];
    let raw: Vec<u8> = side.iter().flat_map(|v| v.to_le_bytes()).collect();
    let sizes = [number(1, 4), number(2, 7), field(8, b"sizes"), field(9, &raw)].concat();
    let dims: Vec<u8> = side.iter().flat_map(|&d| field(1, &number(1, d as u8))).collect();
    let tensor = field(1, &[number(1, 1), field(2, &dims)].concat());
    let input = [field(1, b"x"), field(2, &tensor)].concat();
    let graph = [
        node("MaxPool", &["x"], "p", pool),
        node("Resize", &["p", "", "", "sizes"], "y", Vec::new()),
        field(5, &sizes),
        field(11, &input),
        field(12, &[field(1, b"y"), field(2, &tensor)].concat()),
    ];
    let mut file = [number(1, 8), field(8, &number(2, 17)), field(7, &graph.concat())].concat();
    for (key, value) in notes {
        file.extend(field(14, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
    }
    file
}
