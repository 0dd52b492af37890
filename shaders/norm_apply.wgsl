// Last step of a group norm: (x - mean) * factor + shift for each channel of each picture, with ADD plus another map, then
// the activation.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: 0

import package::shared::index::{Group, item, masked};
import constants::LANES;

struct Params {
    pixels: u32,   // of one plane
    vectors: u32,  // vec4s per pixel
    channels: u32, // beyond them there are no statistics
    total: u32,    // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> statistics: array<vec4<f32>>; // from norm_merge
@group(0) @binding(3) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;
@if(ADD) @group(0) @binding(5) var<storage, read> summand: array<elem4>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let pixel = i / p.vectors;
    let c = i - pixel * p.vectors;
    let at = pixel / p.pixels * p.vectors * 2u + c;
    var y = (vec4<f32>(src[i]) - statistics[at]) * statistics[at + p.vectors] + shift[c];
    @if(ADD) y += vec4<f32>(summand[i]);
    dst[i] = elem4(activate(masked(y, c, p.channels)));
}
