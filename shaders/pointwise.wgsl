// One or several functions of each element. Operands have the same shape or are broadcast. For each kernel, the plan
// writes `expression`, one line for each step, and the buffers that it reads.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: 0

import package::shared::index::{Group, Map, item, masked, place};
import constants::LANES;

struct Params {
    out_h: u32,
    out_w: u32,
    vectors: u32,  // vec4s per pixel of dst
    channels: u32, // of dst; with MASK, numbers beyond them are cleared
    total: u32,    // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dst: array<elem4>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let to = place(i, Map(p.out_h, p.out_w, p.vectors));
    var result = expression(i, to.n, to.y, to.x, to.c);
    @if(MASK) result = masked(result, to.c, p.channels);
    dst[i] = elem4(result);
}
