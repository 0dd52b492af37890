// Puts one tensor into its rows or columns of a joined one; a concatenation is one dispatch a part. Both are
// (outer, count, inner) vec4s that differ in count.
//
// Grid: x, y = LANES vec4s of src a workgroup.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: LANES.
// Loop budget: 0.

struct Params {
    src_run: u32, // vec4s of src for each outer place: count x inner
    dst_run: u32,
    first: u32,   // vec4s before this part in each run of dst
    total: u32,   // vec4s in src
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
    let outer = i / p.src_run;
    dst[outer * p.dst_run + p.first + i - outer * p.src_run] = src[i];
}
