// Softmax over the channels of each pixel. A lane takes one pixel.
//
// Grid: x, y = LANES pixels per workgroup.
// Loops: 3 * vectors

import package::shared::index::{Group, four, item};
import constants::LANES;

struct Params {
    pixels: u32,   // of the batch
    vectors: u32,  // vec4s per pixel
    channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

fn load(pixel: u32, c: u32) -> vec4<f32> {
    let x = vec4<f32>(src[pixel * p.vectors + c]);
    return select(vec4<f32>(-3.4028235e38), x, four(c) < vec4<u32>(p.channels));
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let pixel = item(group, lane);
    if pixel >= p.pixels {
        return;
    }
    var peaks = vec4<f32>(-3.4028235e38);
    for (var c = 0u; c < p.vectors; c++) {
        peaks = max(peaks, load(pixel, c));
    }
    let peak = max(max(peaks.x, peaks.y), max(peaks.z, peaks.w));
    var sums = vec4<f32>(0.0);
    for (var c = 0u; c < p.vectors; c++) {
        sums += exp(load(pixel, c) - peak);
    }
    let sum = sums.x + sums.y + sums.z + sums.w;
    for (var c = 0u; c < p.vectors; c++) {
        dst[pixel * p.vectors + c] = elem4(exp(load(pixel, c) - peak) / sum);
    }
}
