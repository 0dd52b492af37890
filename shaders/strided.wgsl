// A strided view whose channels stay together: slices, and permutations of the other axes. A lane moves one vec4.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: 0

import package::shared::index::{Group, Map, item, place};
import constants::LANES;

struct Params {
    out_h: u32,
    out_w: u32,
    vectors: u32, // vec4s per pixel of dst
    first: u32,   // the first vec4 of src
    step_n: u32,  // i32 bits: vec4s of src from one picture of dst to the next; sums wrap around to the right place
    step_y: u32,
    step_x: u32,
    total: u32,   // vec4s in dst
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
    dst[i] = src[p.first + to.n * p.step_n + to.y * p.step_y + to.x * p.step_x + to.c];
}
