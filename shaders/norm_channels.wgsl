// Layer norm over the channels of each pixel, then the activation. TEAM lanes, a power of two, take one pixel and read
// it three times.
//
// Grid: x, y = LANES / TEAM pixels per workgroup.
// Loops: 3 * ((vectors + TEAM - 1) / TEAM) + 2 * (TEAM / 2)
// Workgroup bytes: LANES * 4

import package::shared::index::{Group, item, masked};
import constants::{LANES, TEAM};

struct Params {
    pixels: u32,   // of the batch
    vectors: u32,  // vec4s per pixel
    channels: u32,
    eps: u32,      // f32 bits
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;

var<workgroup> parts: array<f32, LANES>;

// The sum over a team, for each of its lanes.
fn team_sum(lane: u32, part: vec4<f32>) -> f32 {
    let own = part.x + part.y + part.z + part.w;
    if TEAM == 1u {
        return own;
    }
    parts[lane] = own;
    for (var half_ = TEAM / 2u; half_ > 0u; half_ /= 2u) {
        workgroupBarrier();
        if lane % TEAM < half_ {
            parts[lane] += parts[lane + half_];
        }
    }
    workgroupBarrier();
    let sum = parts[lane - lane % TEAM];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let pixel = item(group, lane) / TEAM;
    // Every lane must reach every barrier: those past the last pixel repeat it and store nothing.
    let base = min(pixel, p.pixels - 1u) * p.vectors;
    let first = lane % TEAM;
    var sums = vec4<f32>(0.0);
    for (var c = first; c < p.vectors; c += TEAM) {
        sums += masked(vec4<f32>(src[base + c]), c, p.channels);
    }
    let mean = team_sum(lane, sums) / f32(p.channels);
    var squares = vec4<f32>(0.0);
    for (var c = first; c < p.vectors; c += TEAM) {
        let off = masked(vec4<f32>(src[base + c]) - mean, c, p.channels);
        squares += off * off;
    }
    let variance = team_sum(lane, squares) / f32(p.channels);
    let factor = 1.0 / sqrt(variance + bitcast<f32>(p.eps));
    if pixel >= p.pixels {
        return;
    }
    for (var c = first; c < p.vectors; c += TEAM) {
        let y = (vec4<f32>(src[base + c]) - mean) * (factor * scale[c]) + shift[c];
        dst[base + c] = elem4(activate(masked(y, c, p.channels)));
    }
}
