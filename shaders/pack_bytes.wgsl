// A network's input from an interleaved picture of 8- or 16-bit numbers: value * scale + shift, channels last in vec4s,
// zero beyond the last channel.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: 0

import package::shared::index::{Group, item};
import constants::{BITS, LANES};

struct Params {
    channels: u32,
    vectors: u32, // vec4s per pixel
    total: u32,   // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>; // NHWC, little-endian
@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> shifts: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;

const PER_WORD = 32u / BITS;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let pixel = i / p.vectors;
    let c = i - pixel * p.vectors;
    var value = vec4<f32>(0.0);
    @unroll for (var l = 0u; l < 4u; l++) {
        if c * 4u + l < p.channels {
            let at = pixel * p.channels + c * 4u + l;
            let number = (src[at / PER_WORD] >> (at % PER_WORD * BITS)) & ((1u << BITS) - 1u);
            value[l] = f32(number) * scales[c][l] + shifts[c][l];
        }
    }
    dst[i] = elem4(value);
}
