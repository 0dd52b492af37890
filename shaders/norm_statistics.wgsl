// First step of a group norm: mean and sum of squared deviations of each channel over a chunk of its pixels. A workgroup
// takes COLUMNS vec4s by a chunk of pixels. Neighbouring lanes read neighbouring vec4s. COLUMNS and LANES are powers of
// two.
//
// Grid: x = chunks; y = vec4s per pixel / COLUMNS, rounded up; z = pictures.
// Loops: chunk * COLUMNS / LANES + 8
// Workgroup bytes: LANES * 36

import package::shared::index::Group;
import package::shared::statistics::{begin_statistics, deviations, means, merge_lanes};
import constants::{COLUMNS, LANES};

struct Params {
    pixels: u32,  // of one plane
    vectors: u32, // vec4s per pixel
    chunk: u32,   // pixels of a workgroup
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<f32>>; // mean and deviations of (picture, chunk, vec4)

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let c = group.id.y * COLUMNS + lane % COLUMNS;
    // Lanes past the last vec4 repeat it and store nothing.
    let base = group.id.z * p.pixels * p.vectors + min(c, p.vectors - 1u);
    let end = min((group.id.x + 1u) * p.chunk, p.pixels);
    var mean = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    var count = 0.0;
    for (var pixel = group.id.x * p.chunk + lane / COLUMNS; pixel < end; pixel += LANES / COLUMNS) {
        let x = vec4<f32>(src[base + pixel * p.vectors]);
        let off = x - mean;
        count += 1.0;
        mean += off / count;
        squares += off * (x - mean);
    }
    begin_statistics(lane, count, mean, squares);
    merge_lanes(lane, COLUMNS);
    if lane < COLUMNS && c < p.vectors {
        let at = 2u * ((group.id.z * group.grid.x + group.id.x) * p.vectors + c);
        dst[at] = means[lane];
        dst[at + 1u] = deviations[lane];
    }
}
