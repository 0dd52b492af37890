// Max or average pooling: a lane owns one output pixel by four channels.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: KERNEL_*, STRIDE_*, DILATION_*, KIND (0 max, 1 average, 2 average with padding counted), LANES.
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
    padded_h: u32, // rows with the padding on both sides
    padded_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

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
    var result = vec4<f32>(select(0.0, -3.4028235e38, KIND == 0u));
    var count = 0.0;
    var empty = true;
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            let y = y0 + ky * DILATION_H - p.pad_y;
            let x = x0 + kx * DILATION_W - p.pad_x;
            if (y < p.in_h) & (x < p.in_w) {
                let value = vec4<f32>(src[((n * p.in_h + y) * p.in_w + x) * p.channels + c]);
                if KIND == 0u {
                    result = larger(result, value);
                    // The first value always counts, so that minus infinity is kept.
                    result = select(result, value, vec4<bool>(empty));
                    empty = false;
                } else {
                    result += value;
                    count += 1.0;
                }
            }
        }
    }
    if KIND == 2u {
        // Pixels that begin before the end of the padding.
        let h = min((p.padded_h - y0 + DILATION_H - 1u) / DILATION_H, KERNEL_H);
        let w = min((p.padded_w - x0 + DILATION_W - 1u) / DILATION_W, KERNEL_W);
        count = f32(h * w);
    }
    if KIND != 0u {
        result /= count;
    }
    dst[i] = elem4(result);
}
