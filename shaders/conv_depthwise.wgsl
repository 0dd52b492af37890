// Depthwise convolution (as many groups as channels). A lane makes one vec4 of one pixel.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: KERNEL_H * (KERNEL_W + 1)

import package::shared::epilogue::finish;
import package::shared::index::{Group, Map, Place, at, item, place};
import constants::{DILATION_H, DILATION_W, KERNEL_H, KERNEL_W, LANES, STRIDE_H, STRIDE_W};

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    vectors: u32, // vec4s per pixel
    total: u32,   // vec4s in dst
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> weights: array<elem4>; // [tap][vec4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let to = place(i, Map(p.out_h, p.out_w, p.vectors));
    var sum = bias[to.c];
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            let y = to.y * STRIDE_H + ky * DILATION_H - p.pad_y;
            let x = to.x * STRIDE_W + kx * DILATION_W - p.pad_x;
            if (y < p.in_h) & (x < p.in_w) {
                let value = src[at(Place(to.n, y, x, to.c), Map(p.in_h, p.in_w, p.vectors))];
                sum += vec4<f32>(value) * vec4<f32>(weights[(ky * KERNEL_W + kx) * p.vectors + to.c]);
            }
        }
    }
    finish(sum, i, true);
}
