// One or several functions of each element, with operands of the same place or spread to it. The plan writes for each
// kernel `expression`, a line a step, and the bindings that it reads: each source once.
//
// Grid: x, y = LANES (pixel, vec4) pairs of dst a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 dst; 2 and on sources, then the vectors of one number a channel, one behind the other.
// Constants: MASK (whether lanes past the last channel are cleared), LANES.
// Loop budget: 0.

struct Params {
    out_h: u32,
    out_w: u32,
    vectors: u32,  // vec4s a pixel of dst
    channels: u32, // channels of dst
    total: u32,    // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dst: array<elem4>;

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
    var result = expression(i, n, row - n * p.out_h, pixel - row * p.out_w, c);
//#if MASK
    result = masked(result, c, p.channels);
//#end
    dst[i] = elem4(result);
}
