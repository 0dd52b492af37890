// Sums of one lane: TILE_H x TILE_W pixels by TILE_C vec4s of channels, in registers.

import constants::{TILE_C, TILE_H, TILE_W};

@group(0) @binding(3) var<storage, read> weights: array<elem4>; // [tap][in vec4][in lane][out vec4]
@if(!SPLIT) @group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

const PIXELS = TILE_H * TILE_W;
const SUMS = PIXELS * TILE_C;

// Starts the sums of channels from vec4 `c0` on.
fn begin(sum: ptr<function, array<vec4<f32>, SUMS>>, c0: u32) {
    @unroll for (var c = 0u; c < TILE_C; c++) {
        let b = bias[c0 + c];
        @unroll for (var i = 0u; i < PIXELS; i++) {
            (*sum)[i * TILE_C + c] = b;
        }
    }
}

// Adds the products of a vec4 of each pixel with four rows of weights; the first row begins at vec4 `w`.
fn multiply(
    sum: ptr<function, array<vec4<f32>, SUMS>>,
    value: ptr<function, array<vec4<f32>, PIXELS>>,
    w: u32,
    weight_c: u32,
) {
    @unroll for (var c = 0u; c < TILE_C; c++) {
        let w0 = vec4<f32>(weights[w + c]);
        let w1 = vec4<f32>(weights[w + weight_c + c]);
        let w2 = vec4<f32>(weights[w + 2u * weight_c + c]);
        let w3 = vec4<f32>(weights[w + 3u * weight_c + c]);
        @unroll for (var i = 0u; i < PIXELS; i++) {
            let x = (*value)[i];
            (*sum)[i * TILE_C + c] += x.x * w0 + x.y * w1 + x.z * w2 + x.w * w3;
        }
    }
}
