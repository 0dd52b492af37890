// Max or average pooling. A lane makes one vec4 of one pixel. KIND: 0 maximum, 1 average of the pixels inside, 2
// average including the padding.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: KERNEL_H * (KERNEL_W + 1)

import package::shared::activations::larger;
import package::shared::index::{Group, Map, Place, at, item, place};
import constants::{DILATION_H, DILATION_W, KERNEL_H, KERNEL_W, KIND, LANES, STRIDE_H, STRIDE_W};

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    vectors: u32,  // vec4s per pixel
    total: u32,    // vec4s in dst
    pad_y: u32,
    pad_x: u32,
    padded_h: u32, // rows with the padding on both sides
    padded_w: u32,
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
    let to = place(i, Map(p.out_h, p.out_w, p.vectors));
    let y0 = to.y * STRIDE_H;
    let x0 = to.x * STRIDE_W;
    var result = vec4<f32>(select(0.0, -3.4028235e38, KIND == 0u));
    var count = 0.0;
    var empty = true;
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            let y = y0 + ky * DILATION_H - p.pad_y;
            let x = x0 + kx * DILATION_W - p.pad_x;
            if (y < p.in_h) & (x < p.in_w) {
                let origin = at(Place(to.n, y, x, to.c), Map(p.in_h, p.in_w, p.vectors));
                let value = vec4<f32>(src[origin]);
                if KIND == 0u {
                    result = larger(result, value);
                    // The first value always counts, so minus infinity is kept.
                    result = select(result, value, vec4<bool>(empty));
                    empty = false;
                } else {
                    result += value;
                    count += 1.0;
                }
            }
        }
    }
    if KIND == 2u {
        // Pixels that begin before the end of the padding.
        let h = min((p.padded_h - y0 + DILATION_H - 1u) / DILATION_H, KERNEL_H);
        let w = min((p.padded_w - x0 + DILATION_W - 1u) / DILATION_W, KERNEL_W);
        count = f32(h * w);
    }
    if KIND != 0u {
        result /= count;
    }
    dst[i] = elem4(result);
}
