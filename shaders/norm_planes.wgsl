// Last step of an instance norm: a workgroup merges the statistics of all chunks for COLUMNS vec4s, then normalises a
// chunk of their pixels: (x - mean) * factor + shift, with ADD plus another map, then the activation. COLUMNS and LANES
// are powers of two.
//
// Grid: x = chunks; y = vec4s per pixel / COLUMNS, rounded up; z = pictures.
// Loops: (chunks + chunk) * COLUMNS / LANES + 10
// Workgroup bytes: LANES * 36

import package::shared::index::{Group, masked};
import package::shared::statistics::{begin_statistics, deviations, means, merge, merge_lanes};
import constants::{COLUMNS, LANES};

struct Params {
    pixels: u32,   // of one plane
    vectors: u32,  // vec4s per pixel
    channels: u32,
    chunks: u32,
    chunk: u32,    // pixels of a workgroup
    eps: u32,      // f32 bits
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> statistics: array<vec4<f32>>; // from norm_statistics
@group(0) @binding(3) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dst: array<elem4>;
@if(ADD) @group(0) @binding(6) var<storage, read> summand: array<elem4>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let c = group.id.y * COLUMNS + lane % COLUMNS;
    // Lanes past the last vec4 repeat it and store nothing.
    let column = min(c, p.vectors - 1u);
    begin_statistics(lane, 0.0, vec4<f32>(0.0), vec4<f32>(0.0));
    for (var chunk = lane / COLUMNS; chunk < p.chunks; chunk += LANES / COLUMNS) {
        let at = 2u * ((group.id.z * p.chunks + chunk) * p.vectors + column);
        let count = min(p.chunk, p.pixels - chunk * p.chunk);
        merge(lane, f32(count), statistics[at], statistics[at + 1u]);
    }
    merge_lanes(lane, COLUMNS);
    let mean = means[lane % COLUMNS];
    let variance = deviations[lane % COLUMNS] / f32(p.pixels);
    let factor = scale[column] / sqrt(variance + vec4<f32>(bitcast<f32>(p.eps)));
    if c >= p.vectors {
        return;
    }
    let base = group.id.z * p.pixels * p.vectors + c;
    let end = min((group.id.x + 1u) * p.chunk, p.pixels);
    for (var pixel = group.id.x * p.chunk + lane / COLUMNS; pixel < end; pixel += LANES / COLUMNS) {
        let i = base + pixel * p.vectors;
        var y = (vec4<f32>(src[i]) - mean) * factor + shift[c];
        @if(ADD) y += vec4<f32>(summand[i]);
        dst[i] = elem4(activate(masked(y, c, p.channels)));
    }
}
