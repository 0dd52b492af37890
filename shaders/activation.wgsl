// A pointwise function of its own.
//
// Grid: x, y = LANES vec4s a workgroup.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: MASK (whether lanes past the last channel are cleared), LANES.
// Loop budget: 0.

struct Params {
//#if MASK
    vectors: u32,  // vec4s a pixel
    channels: u32, // channels
//#end
    total: u32, // vec4s in dst
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
    if i < p.total {
        var y = activate(vec4<f32>(src[i]));
//#if MASK
        y = masked(y, i % p.vectors, p.channels);
//#end
        dst[i] = elem4(y);
    }
}
