// The device's bytes a second: one buffer copied to another.
//
// Grid: x, y = LANES lanes a workgroup, each of which copies VECTORS vec4s, neighbours side by side.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: LANES, VECTORS.
// Loop budget: VECTORS.

struct Params {
    lanes: u32, // of the whole grid that copy; src and dst hold VECTORS vec4s for each
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
    if i < p.lanes {
        for (var k = 0u; k < VECTORS; k++) { // unroll
            dst[i + k * p.lanes] = src[i + k * p.lanes];
        }
    }
}
