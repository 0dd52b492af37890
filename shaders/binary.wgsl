// Two tensors element by element, then the activation.
//
// Grid: x, y = LANES (pixel, vec4) pairs of dst a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1, 2 sources; 3 dst.
// Constants: KIND (0 add, 1 sub, 2 mul, 3 div, 4 min, 5 max, 6 pow), BROADCAST (whether shapes differ), SPLAT0 and SPLAT1
// (whether a source's one channel stands for all), INDEX (whether lanes past the last
// channel are cleared; with BROADCAST always), LANES.
// Loop budget: 0.

struct Params {
//#if BROADCAST
    out_h: u32,
    out_w: u32,
    n0: u32, // vec4s from picture to picture of the first source, 0 where one stands for all; and so on
    y0: u32,
    x0: u32,
    c0: u32,
    n1: u32,
    y1: u32,
    x1: u32,
    c1: u32,
//#end
//#if INDEX
    vectors: u32,  // vec4s a pixel of dst
    channels: u32, // channels of dst
//#end
    total: u32, // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src0: array<elem4>;
@group(0) @binding(2) var<storage, read> src1: array<elem4>;
@group(0) @binding(3) var<storage, read_write> dst: array<elem4>;

fn combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if KIND == 0u {
        return a + b;
    }
    if KIND == 1u {
        return a - b;
    }
    if KIND == 2u {
        return a * b;
    }
    if KIND == 3u {
        return a / b;
    }
    if KIND == 4u {
        return -larger(-a, -b);
    }
    if KIND == 5u {
        return larger(a, b);
    }
    return power(a, b);
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
//#if INDEX
    let pixel = i / p.vectors;
    let c = i - pixel * p.vectors;
//#end
//#if BROADCAST
    let row = pixel / p.out_w;
    let n = row / p.out_h;
    let y = row - n * p.out_h;
    let x = pixel - row * p.out_w;
    var a = vec4<f32>(src0[n * p.n0 + y * p.y0 + x * p.x0 + c * p.c0]);
    var b = vec4<f32>(src1[n * p.n1 + y * p.y1 + x * p.x1 + c * p.c1]);
    if SPLAT0 {
        a = a.xxxx;
    }
    if SPLAT1 {
        b = b.xxxx;
    }
//#else
    let a = vec4<f32>(src0[i]);
    let b = vec4<f32>(src1[i]);
//#end
    var result = combine(a, b);
//#if INDEX
    result = masked(result, c, p.channels);
//#end
    dst[i] = elem4(activate(result));
}
