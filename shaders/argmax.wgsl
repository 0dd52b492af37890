// The index of the largest channel of each pixel, the first of equal ones. A lane takes one pixel.
//
// Grid: x, y = LANES pixels per workgroup.
// Loops: vectors

import package::shared::index::{Group, item};
import constants::LANES;

struct Params {
    vectors: u32,  // vec4s per pixel
    channels: u32,
    total: u32,    // pixels of the batch
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    var peak = f32(src[i * p.vectors].x);
    var best = 0u;
    for (var c = 0u; c < p.vectors; c++) {
        let x = vec4<f32>(src[i * p.vectors + c]);
        @unroll for (var l = 0u; l < 4u; l++) {
            if (x[l] > peak) & (c * 4u + l < p.channels) {
                peak = x[l];
                best = c * 4u + l;
            }
        }
    }
    dst[i] = elem4(vec4<f32>(f32(best), 0.0, 0.0, 0.0));
}
