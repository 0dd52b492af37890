// A pointwise non-linearity of its own.
//
// Grid: x, y = LANES vec4s a workgroup.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: LANES.
// Loop budget: 0.

struct Params {
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
        dst[i] = elem4(activate(vec4<f32>(src[i])));
    }
}
