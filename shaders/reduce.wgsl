// Sums or extremes along the middle axis of (outer, count, inner) vec4s, for each lane a chunk of it. Long axes are
// reduced in several steps, whose partial results are f32. KIND: 0 sum, 1 maximum, 2 minimum. Flags:
// - SQUARE: squares are summed. ROOT: the root of the result is taken.
// - PARTIAL_IN, PARTIAL_OUT: src or dst holds partial results.
// - CHANNELS: the axis is the channels of a pixel, whose four lanes become one.
//
// Grid: x, y = LANES (outer, chunk, inner) places per workgroup, inner fastest.
// Loops: span

import package::shared::activations::larger;
import package::shared::index::{Group, four, item};
import constants::{KIND, LANES};

struct Params {
    inner: u32,
    count: u32,
    chunks: u32,
    span: u32,     // of the axis, for a lane
    channels: u32, // with CHANNELS, numbers beyond them count for nothing
    factor: u32,   // f32 bits: the result is multiplied by it
    total: u32,    // vec4s in dst
}

@if(PARTIAL_IN) alias source4 = vec4<f32>;
@else alias source4 = elem4;
@if(PARTIAL_OUT) alias result4 = vec4<f32>;
@else alias result4 = elem4;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<source4>;
@group(0) @binding(2) var<storage, read_write> dst: array<result4>;

fn together(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if KIND == 0u {
        return a + b;
    }
    if KIND == 1u {
        return larger(a, b);
    }
    return -larger(-a, -b);
}

fn load(outer: u32, i: u32, inner: u32) -> vec4<f32> {
    var x = vec4<f32>(src[(outer * p.count + i) * p.inner + inner]);
    // Lanes beyond the last channel repeat the vec4's first channel, or add nothing.
    @if(CHANNELS) {
        let other = select(vec4<f32>(0.0), x.xxxx, vec4<bool>(KIND != 0u));
        x = select(other, x, four(i) < vec4<u32>(p.channels));
    }
    @if(SQUARE) return x * x;
    @else return x;
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let run = i / p.inner;
    let inner = i - run * p.inner;
    let outer = run / p.chunks;
    let first = (run - outer * p.chunks) * p.span;
    let end = min(first + p.span, p.count);
    var all = load(outer, first, inner);
    for (var k = first + 1u; k < end; k++) {
        all = together(all, load(outer, k, inner));
    }
    @if(CHANNELS) {
        let pair = together(all, all.zwxy);
        all = vec4<f32>(together(pair, pair.yxwz).x, 0.0, 0.0, 0.0);
    }
    all *= bitcast<f32>(p.factor);
    @if(ROOT) all = sqrt(all);
    dst[i] = result4(all);
}
