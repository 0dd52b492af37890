// A network's result as one byte for each pixel, its class number. With one channel, class 1 is above the threshold.
// With several, the class has the largest value, the first of equal ones.
//
// Grid: x, y = LANES words of dst per workgroup, four pixels each.
// Loops: 4 * channels

import package::shared::index::{Group, item};
import constants::LANES;

struct Params {
    channels: u32,
    vectors: u32,   // vec4s per pixel
    pixels: u32,    // of the batch
    total: u32,     // 32-bit words in dst
    threshold: u32, // f32 bits
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    var word = 0u;
    for (var n = 0u; n < 4u; n++) {
        let pixel = i * 4u + n;
        if pixel < p.pixels {
            var best = vec4<f32>(src[pixel * p.vectors]).x;
            var class_ = select(0u, 1u, (p.channels == 1u) & (best > bitcast<f32>(p.threshold)));
            for (var c = 1u; c < p.channels; c++) {
                let value = vec4<f32>(src[pixel * p.vectors + c / 4u])[c % 4u];
                if value > best {
                    best = value;
                    class_ = c;
                }
            }
            word |= class_ << (n * 8u);
        }
    }
    dst[i] = word;
}
