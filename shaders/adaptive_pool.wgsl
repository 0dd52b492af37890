// Means of windows along the middle axis of (outer, count, inner) vec4s. A lane makes one vec4 of one window.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: longest

import package::shared::index::{Group, item};
import constants::LANES;

struct Params {
    inner: u32,   // vec4s from one element of a line to the next
    count: u32,   // elements of a line
    windows: u32, // windows of a line
    longest: u32, // most elements of a window
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
    let window = i / p.inner % p.windows;
    let outer = i / p.inner / p.windows;
    let first = window * p.count / p.windows;
    let end = ((window + 1u) * p.count + p.windows - 1u) / p.windows;
    let line = outer * p.count * p.inner + i % p.inner;
    var sum = vec4<f32>(0.0);
    for (var k = first; k < end; k++) {
        sum += vec4<f32>(src[line + k * p.inner]);
    }
    dst[i] = elem4(sum / f32(end - first));
}
