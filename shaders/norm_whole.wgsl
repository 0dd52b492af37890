// Instance norm of a small map in one step: statistics, then (x - mean) * factor + shift, with ADD plus another map, then
// the activation. With SPLIT the map is the sum of a convolution's parts and its bias. A workgroup takes a vec4 of
// channels of a picture.
//
// Grid: x = vec4s per pixel; y = pictures.
// Loops: 2 * (PARTS + 1) * ((pixels + LANES - 1) / LANES) + 9
// Workgroup bytes: LANES * 36

import package::shared::index::{Group, masked};
import package::shared::statistics::{begin_statistics, deviations, means, merge_lanes};
import constants::{LANES, PARTS};

struct Params {
    pixels: u32,   // of one plane
    vectors: u32,  // vec4s per pixel
    channels: u32,
    total: u32,    // vec4s of the map, of the batch
    eps: u32,      // f32 bits
}

@group(0) @binding(0) var<uniform> p: Params;
@if(!SPLIT) @group(0) @binding(1) var<storage, read> src: array<elem4>;
@if(SPLIT) @group(0) @binding(1) var<storage, read> sums: array<vec4<f32>>; // [part][pixel][vec4]
@if(SPLIT) @group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dst: array<elem4>;
@if(ADD) @group(0) @binding(6) var<storage, read> summand: array<elem4>;

@if(SPLIT) fn load(i: u32, c: u32) -> vec4<f32> {
    var sum = bias[c];
    for (var part = 0u; part < PARTS; part++) {
        sum += sums[part * p.total + i];
    }
    return sum;
}
@else fn load(i: u32, c: u32) -> vec4<f32> {
    return vec4<f32>(src[i]);
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let c = group.id.x;
    let base = group.id.y * p.pixels * p.vectors + c;
    var mean = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    var count = 0.0;
    for (var pixel = lane; pixel < p.pixels; pixel += LANES) {
        let x = load(base + pixel * p.vectors, c);
        let off = x - mean;
        count += 1.0;
        mean += off / count;
        squares += off * (x - mean);
    }
    begin_statistics(lane, count, mean, squares);
    merge_lanes(lane, 1u);
    mean = means[0];
    let variance = deviations[0] / f32(p.pixels);
    let factor = scale[c] / sqrt(variance + vec4<f32>(bitcast<f32>(p.eps)));
    for (var pixel = lane; pixel < p.pixels; pixel += LANES) {
        let i = base + pixel * p.vectors;
        var y = (load(i, c) - mean) * factor + shift[c];
        @if(ADD) y += vec4<f32>(summand[i]);
        dst[i] = elem4(activate(masked(y, c, p.channels)));
    }
}
