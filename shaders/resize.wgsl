// Re-samples to another size: a lane owns one output pixel by four channels.
//
// The host has worked out, for each output row and column, which input rows and columns make it: two vec4s a place,
// the first with their numbers, the second with their weights.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 rows; 3 columns; 4 dst.
// Constants: TAPS (input pixels an axis: 1 nearest, 2 linear, 4 cubic), LANES.
// Loop budget: 0.

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    channels: u32, // vec4s a pixel
    total: u32,    // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> columns: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;

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
    let y = row - n * p.out_h;
    let x = pixel - row * p.out_w;
    let in_y = n * p.in_h + vec4<u32>(rows[2u * y]);
    let in_x = vec4<u32>(columns[2u * x]);
    if TAPS == 1u {
        dst[i] = src[(in_y.x * p.in_w + in_x.x) * p.channels + c];
        return;
    }
    let weights_y = rows[2u * y + 1u];
    let weights_x = columns[2u * x + 1u];
    var sum = vec4<f32>(0.0);
    for (var ky = 0u; ky < TAPS; ky++) { // unroll
        var line = vec4<f32>(0.0);
        for (var kx = 0u; kx < TAPS; kx++) { // unroll
            line += weights_x[kx] * vec4<f32>(src[(in_y[ky] * p.in_w + in_x[kx]) * p.channels + c]);
        }
        sum += weights_y[ky] * line;
    }
    dst[i] = elem4(sum);
}
