// The ending of a convolution. Flags:
// - ADD: another map of the same extents is added before the activation.
// - STORE: the activated sums are stored.
// - POOL: their 2x2 maxima are stored.
// - HEAD: a 1x1 convolution to at most four channels takes them; its result is stored. HEAD_SIGMOID: with a sigmoid.
// - SPLIT: nothing of that; the sums are parts, which conv_reduce adds up.

import package::shared::activations::{f_sigmoid, larger};
import package::shared::index::{Map, Place};

@if(STORE || HEAD) @group(0) @binding(5) var<storage, read_write> dst: array<elem4>;
@if(POOL) @group(0) @binding(6) var<storage, read_write> pooled: array<elem4>;
@if(ADD) @group(0) @binding(6) var<storage, read> summand: array<elem4>;
@if(SPLIT) @group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>;
@if(HEAD) @group(0) @binding(7) var<storage, read> head: array<elem4>; // [in vec4][in lane]
@if(HEAD) @group(0) @binding(8) var<storage, read> head_bias: array<vec4<f32>>;

// Finishes the sum of vec4 `i` of the map, or of all parts. `inside` tells whether it exists. Returns the input of a
// pool or a head.
@if(SPLIT) fn finish(sum: vec4<f32>, i: u32, inside: bool) -> vec4<f32> {
    if inside {
        parts[i] = sum;
    }
    return sum;
}
@else fn finish(sum: vec4<f32>, i: u32, inside: bool) -> vec4<f32> {
    var y = sum;
    @if(ADD) if inside {
        y += vec4<f32>(summand[i]);
    }
    y = activate(y);
    @if(STORE) if inside {
        dst[i] = elem4(y);
    }
    return y;
}

// Stores the maximum of four finished sums; the first is at `place`, whose row and column are even.
@if(POOL) fn pool(place: Place, map: Map, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) {
    let h = map.h / 2u;
    let w = map.w / 2u;
    let y = place.y / 2u;
    let x = place.x / 2u;
    if (y < h) & (x < w) {
        pooled[((place.n * h + y) * w + x) * map.c + place.c] = elem4(larger(larger(a, b), larger(c, d)));
    }
}

// The head's sums plus the products of vec4 `c` of its input.
@if(HEAD) fn add_head(sum: vec4<f32>, x: vec4<f32>, c: u32) -> vec4<f32> {
    let w = array(head[4u * c], head[4u * c + 1u], head[4u * c + 2u], head[4u * c + 3u]);
    return sum + x.x * vec4<f32>(w[0]) + x.y * vec4<f32>(w[1]) + x.z * vec4<f32>(w[2]) + x.w * vec4<f32>(w[3]);
}

// Stores the head's result for a pixel.
@if(HEAD) fn end_head(sum: vec4<f32>, pixel: u32) {
    @if(HEAD_SIGMOID) dst[pixel] = elem4(f_sigmoid(sum));
    @else dst[pixel] = elem4(sum);
}
