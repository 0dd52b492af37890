// A network's result: channels last in vec4s to NCHW f32.
//
// Grid: x, y = LANES (picture, vec4, pixel) places per workgroup, pixel fastest.
// Loops: 0

import package::shared::index::{Group, item};
import constants::LANES;

struct Params {
    pixels: u32,   // of one plane
    channels: u32,
    vectors: u32,  // vec4s per pixel
    total: u32,    // vec4s in src
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let plane = i / p.pixels;
    let pixel = i - plane * p.pixels;
    let n = plane / p.vectors;
    let c = plane - n * p.vectors;
    let value = vec4<f32>(src[(n * p.pixels + pixel) * p.vectors + c]);
    @unroll for (var l = 0u; l < 4u; l++) {
        if c * 4u + l < p.channels {
            dst[(n * p.channels + c * 4u + l) * p.pixels + pixel] = value[l];
        }
    }
}
