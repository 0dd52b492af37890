// Copies one tensor to its channels of a joined tensor. A concatenation is one dispatch for each part, in order. A part
// may begin inside a vec4, so the first vec4 keeps the channels of the parts before.
//
// Grid: x, y = LANES (pixel, touched vec4) places per workgroup, vec4 fastest.
// Loops: 0

import package::shared::index::{Group, item};
import constants::LANES;

struct Params {
    src_c: u32,    // vec4s per pixel of src
    dst_c: u32,    // vec4s per pixel of dst
    offset: u32,   // the first channel of this part
    channels: u32, // of this part
    touched: u32,  // vec4s per pixel that this part touches
    total: u32,    // pixels x touched
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
    let pixel = i / p.touched;
    let c = p.offset / 4u + i - pixel * p.touched;
    let old = vec4<f32>(dst[pixel * p.dst_c + c]);
    // Channels after this part are cleared.
    var joined = vec4<f32>(0.0);
    @unroll for (var l = 0u; l < 4u; l++) {
        let channel = c * 4u + l;
        let within = channel - p.offset;
        if channel < p.offset {
            joined[l] = old[l];
        } else if within < p.channels {
            joined[l] = vec4<f32>(src[pixel * p.src_c + within / 4u])[within % 4u];
        }
    }
    dst[pixel * p.dst_c + c] = elem4(joined);
}
