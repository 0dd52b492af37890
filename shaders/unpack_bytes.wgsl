// A network's result as an interleaved picture of 8- or 16-bit numbers: value * scale, rounded to even, clamped.
//
// Grid: x, y = LANES words of dst per workgroup.
// Loops: 0

import package::shared::index::{Group, item};
import constants::{BITS, LANES};

struct Params {
    channels: u32,
    vectors: u32, // vec4s per pixel
    numbers: u32, // in dst
    total: u32,   // 32-bit words in dst
    scale: u32,   // f32 bits
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<u32>; // NHWC, little-endian

const PER_WORD = 32u / BITS;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    var word = 0u;
    @unroll for (var n = 0u; n < PER_WORD; n++) {
        let at = i * PER_WORD + n;
        if at < p.numbers {
            let pixel = at / p.channels;
            let c = at - pixel * p.channels;
            let value = vec4<f32>(src[pixel * p.vectors + c / 4u])[c % 4u] * bitcast<f32>(p.scale);
            word |= u32(round(clamp(value, 0.0, f32((1u << BITS) - 1u)))) << (n * BITS);
        }
    }
    dst[i] = word;
}
