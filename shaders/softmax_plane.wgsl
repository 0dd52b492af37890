// Softmax along the middle axis of (outer, count, inner) vec4s: rows or columns. A lane takes one (outer, inner) place.
//
// Grid: x, y = LANES places per workgroup, inner fastest.
// Loops: 3 * count

import package::shared::index::{Group, item};
import constants::LANES;

struct Params {
    inner: u32,
    count: u32,
    total: u32, // outer x inner
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
    let outer = i / p.inner;
    let first = outer * p.count * p.inner + i - outer * p.inner;
    let end = first + p.count * p.inner;
    var peak = vec4<f32>(-3.4028235e38);
    for (var at = first; at < end; at += p.inner) {
        peak = max(peak, vec4<f32>(src[at]));
    }
    var sum = vec4<f32>(0.0);
    for (var at = first; at < end; at += p.inner) {
        sum += exp(vec4<f32>(src[at]) - peak);
    }
    for (var at = first; at < end; at += p.inner) {
        dst[at] = elem4(exp(vec4<f32>(src[at]) - peak) / sum);
    }
}
