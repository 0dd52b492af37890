// Measures the bytes per second of a device: copies one buffer to another. A lane copies VECTORS vec4s; neighbouring
// lanes copy neighbouring vec4s.
//
// Grid: x, y = LANES lanes per workgroup.
// Loops: VECTORS

import package::shared::index::{Group, item};
import constants::{LANES, VECTORS};

struct Params {
    lanes: u32, // of the grid that copy; src and dst hold VECTORS vec4s for each
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i < p.lanes {
        @unroll for (var k = 0u; k < VECTORS; k++) {
            dst[i + k * p.lanes] = src[i + k * p.lanes];
        }
    }
}
