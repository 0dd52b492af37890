// Pads or crops rows and columns: a lane owns one output pixel by four channels.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: MODE (0 zero, 1 edge, 2 reflect), LANES.
// Loop budget: 0.

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    channels: u32, // vec4s a pixel
    total: u32,    // vec4s in dst
    top: u32,      // i32 bits: rows before the source, negative when cropping
    left: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

// The source place that stands at `i`; `size` where there is none.
fn place(i: i32, size: i32) -> i32 {
    if MODE == 0u {
        return select(size, i, (i >= 0) & (i < size));
    }
    if (MODE == 1u) | (size == 1) {
        return clamp(i, 0, size - 1);
    }
    let period = 2 * (size - 1);
    let folded = ((i % period) + period) % period;
    return min(folded, period - folded);
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
    let y = place(i32(row - n * p.out_h) - i32(p.top), i32(p.in_h));
    let x = place(i32(pixel - row * p.out_w) - i32(p.left), i32(p.in_w));
    var value = elem4();
    if (y < i32(p.in_h)) & (x < i32(p.in_w)) {
        value = src[((n * p.in_h + u32(y)) * p.in_w + u32(x)) * p.channels + c];
    }
    dst[i] = value;
}
