// Last step of a group norm: less its mean, times its factor, plus its shift, each channel of each picture, then the
// activation.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 statistics, from norm_merge; 3 shift; 4 dst.
// Constants: LANES.
// Loop budget: 0.

struct Params {
    pixels: u32,   // of one plane
    vectors: u32,  // vec4s a pixel
    channels: u32, // channels; there are no statistics of the lanes past them
    total: u32,    // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> statistics: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> shift: array<vec4<f32>>;
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
    let pixel = i / p.vectors;
    let c = i - pixel * p.vectors;
    let at = pixel / p.pixels * p.vectors * 2u + c;
    let y = (vec4<f32>(src[i]) - statistics[at]) * statistics[at + p.vectors] + shift[c];
    dst[i] = elem4(activate(masked(y, c, p.channels)));
}
