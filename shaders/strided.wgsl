// A strided view whose channels stay together: slices, and turns of the axes beside the channels. A lane moves one vec4.
//
// Grid: x, y = LANES (pixel, vec4) pairs of dst a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: LANES.
// Loop budget: 0.

struct Params {
    out_h: u32,
    out_w: u32,
    vectors: u32, // vec4s a pixel of dst
    first: u32,   // the vec4 of src that comes first
    step_n: u32,  // i32 bits: vec4s of src from one picture of dst to the next; sums wrap around to the right place
    step_y: u32,
    step_x: u32,
    total: u32,   // vec4s in dst
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
    let pixel = i / p.vectors;
    let c = i - pixel * p.vectors;
    let row = pixel / p.out_w;
    let n = row / p.out_h;
    let y = row - n * p.out_h;
    let x = pixel - row * p.out_w;
    dst[i] = src[p.first + n * p.step_n + y * p.step_y + x * p.step_x + c];
}
