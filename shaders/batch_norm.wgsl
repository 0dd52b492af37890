// Batch normalisation where it could not be folded: scale and shift a channel, then the activation.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src; 2 scale; 3 shift; 4 dst.
// Constants: LANES.
// Loop budget: 0.

struct Params {
    channels: u32, // vec4s a pixel
    total: u32,    // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(workgroup, grid, lane);
    if i < p.total {
        let c = i % p.channels;
        dst[i] = elem4(activate(vec4<f32>(src[i]) * scale[c] + shift[c]));
    }
}
