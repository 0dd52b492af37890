// Re-samples to another size: a lane owns one output pixel by four channels.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: BILINEAR, LANES.
// Loop budget: 0.

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    channels: u32, // vec4s a pixel
    total: u32,    // vec4s in dst
    step_y: u32,   // f32 bits: input place = output place * step + offset
    step_x: u32,
    offset_y: u32,
    offset_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

fn load(n: u32, y: u32, x: u32, c: u32) -> vec4<f32> {
    return vec4<f32>(src[((n * p.in_h + y) * p.in_w + x) * p.channels + c]);
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
    let pixel = i / p.channels;
    let c = i - pixel * p.channels;
    let row = pixel / p.out_w;
    let n = row / p.out_h;
    let place_y = f32(row - n * p.out_h) * bitcast<f32>(p.step_y) + bitcast<f32>(p.offset_y);
    let place_x = f32(pixel - row * p.out_w) * bitcast<f32>(p.step_x) + bitcast<f32>(p.offset_x);
    let at_y = clamp(place_y, 0.0, f32(p.in_h - 1u));
    let at_x = clamp(place_x, 0.0, f32(p.in_w - 1u));
    let y = u32(at_y);
    let x = u32(at_x);
    if !BILINEAR {
        dst[i] = elem4(load(n, y, x, c));
        return;
    }
    let y1 = min(y + 1u, p.in_h - 1u);
    let x1 = min(x + 1u, p.in_w - 1u);
    let top_left = load(n, y, x, c);
    let bottom_left = load(n, y1, x, c);
    let top = top_left + (load(n, y, x1, c) - top_left) * (at_x - f32(x));
    let bottom = bottom_left + (load(n, y1, x1, c) - bottom_left) * (at_x - f32(x));
    dst[i] = elem4(top + (bottom - top) * (at_y - f32(y)));
}
