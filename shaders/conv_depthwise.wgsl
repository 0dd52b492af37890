// Depthwise convolution (as many groups as channels): a lane owns one pixel by four channels.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 weights [tap][vec4]; 3 bias; 4 dst; 5 summand (if ADD).
// Constants: KERNEL_*, STRIDE_*, DILATION_*, LANES.
// Loop budget: KERNEL_H * KERNEL_W + KERNEL_H.

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    channels: u32, // vec4s a pixel
    total: u32,    // vec4s in dst
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> weights: array<elem4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;
//#if ADD
@group(0) @binding(5) var<storage, read> summand: array<elem4>;
//#end

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
    let pixel = i / p.channels;
    let c = i - pixel * p.channels;
    let row = pixel / p.out_w;
    let n = row / p.out_h;
    let y0 = (row - n * p.out_h) * STRIDE_H;
    let x0 = (pixel - row * p.out_w) * STRIDE_W;
    var sum = bias[c];
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            let y = y0 + ky * DILATION_H - p.pad_y;
            let x = x0 + kx * DILATION_W - p.pad_x;
            if (y < p.in_h) & (x < p.in_w) {
                let value = vec4<f32>(src[((n * p.in_h + y) * p.in_w + x) * p.channels + c]);
                sum += value * vec4<f32>(weights[(ky * KERNEL_W + kx) * p.channels + c]);
            }
        }
    }
//#if ADD
    sum += vec4<f32>(summand[i]);
//#end
    dst[i] = elem4(activate(sum));
}
