// Sums or extremes along the middle axis of (outer, count, inner) vec4s, a chunk of it for each lane. Long axes are
// reduced in several steps, whose partial results are f32.
//
// Grid: x, y = LANES (outer, chunk, inner) places a workgroup, inner fastest.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: KIND (0 sum, 1 max, 2 min), SQUARE (whether squares are summed), ROOT (whether the root is taken), PARTIAL_IN
// and PARTIAL_OUT (whether src and dst are partial results), CHANNELS (whether the axis is the channels of a pixel, whose
// lanes then become one), LANES.
// Loop budget: span.

struct Params {
    inner: u32,
    count: u32,
    chunks: u32,
    span: u32,     // of the axis, for a lane
    channels: u32, // channels; with CHANNELS, lanes past them count for nothing
    factor: u32,   // f32 bits: by what the result is multiplied
    total: u32,    // vec4s in dst
}

//#if PARTIAL_IN
alias source4 = vec4<f32>;
//#else
alias source4 = elem4;
//#end
//#if PARTIAL_OUT
alias result4 = vec4<f32>;
//#else
alias result4 = elem4;
//#end

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

fn load(outer: u32, place: u32, inner: u32) -> vec4<f32> {
    var x = vec4<f32>(src[(outer * p.count + place) * p.inner + inner]);
    if CHANNELS {
        // Lanes past the last channel repeat the first of their vec4, which is one, or add nothing.
        let channel = vec4<u32>(place * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
        x = select(select(vec4<f32>(0.0), x.xxxx, vec4<bool>(KIND != 0u)), x, channel < vec4<u32>(p.channels));
    }
    if SQUARE {
        return x * x;
    }
    return x;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(workgroup, grid, lane);
    if i >= p.total {
        return;
    }
    let run = i / p.inner;
    let inner = i - run * p.inner;
    let outer = run / p.chunks;
    let first = (run - outer * p.chunks) * p.span;
    let end = min(first + p.span, p.count);
    var all = load(outer, first, inner);
    for (var place = first + 1u; place < end; place++) {
        all = together(all, load(outer, place, inner));
    }
    if CHANNELS {
        let pair = together(all, all.zwxy);
        all = vec4<f32>(together(pair, pair.yxwz).x, 0.0, 0.0, 0.0);
    }
    all *= bitcast<f32>(p.factor);
    if ROOT {
        all = sqrt(all);
    }
    dst[i] = result4(all);
}
