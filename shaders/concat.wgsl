// Puts one tensor into its channels of a joined one; a concatenation is one dispatch a part, in order.
// Parts may begin inside a vec4, so the first and last vec4 keep the lanes that are not this part's.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: LANES.
// Loop budget: 0.

struct Params {
    src_c: u32,   // vec4s a pixel in src
    dst_c: u32,   // vec4s a pixel in dst
    offset: u32,  // first channel of this part
    channels: u32,// channels of this part
    touched: u32, // vec4s a pixel that this part touches
    total: u32,   // pixels x touched
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
    let pixel = i / p.touched;
    let at = p.offset / 4u + i - pixel * p.touched;
    // Lanes before this part belong to an earlier one; lanes behind it are cleared.
    let old = vec4<f32>(dst[pixel * p.dst_c + at]);
    var joined = vec4<f32>(0.0);
    for (var l = 0u; l < 4u; l++) { // unroll
        let channel = at * 4u + l;
        let within = channel - p.offset;
        if channel < p.offset {
            joined[l] = old[l];
        } else if within < p.channels {
            joined[l] = vec4<f32>(src[pixel * p.src_c + within / 4u])[within % 4u];
        }
    }
    dst[pixel * p.dst_c + at] = elem4(joined);
}
