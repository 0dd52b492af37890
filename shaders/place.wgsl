// Copies one tensor to its rows or columns of a joined tensor. A concatenation is one dispatch for each part. Both are
// (outer, count, inner) vec4s that differ in count.
//
// Grid: x, y = LANES vec4s of src per workgroup.
// Loops: 0

import package::shared::index::{Group, item};
import constants::LANES;

struct Params {
    src_run: u32, // vec4s of src for each outer place: count x inner
    dst_run: u32,
    first: u32,   // vec4s before this part in each run of dst
    total: u32,   // vec4s in src
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
    let outer = i / p.src_run;
    dst[outer * p.dst_run + p.first + i - outer * p.src_run] = src[i];
}
