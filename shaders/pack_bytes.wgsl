// The network's input from an interleaved picture of 8- or 16-bit numbers, normalised on the way: channels last in
// vec4s, value * scale + shift, lanes past the channels zero.
//
// Grid: x, y = LANES (pixel, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 src, NHWC, little-endian; 2 scales; 3 shifts; 4 dst.
// Constants: BITS (8 or 16), LANES.
// Loop budget: 0.

struct Params {
    channels: u32,
    vectors: u32, // vec4s a pixel
    total: u32,   // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> shifts: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;

const PER_WORD = 32u / BITS;

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
    var value = vec4<f32>(0.0);
    for (var l = 0u; l < 4u; l++) { // unroll
        if c * 4u + l < p.channels {
            let at = pixel * p.channels + c * 4u + l;
            let number = (src[at / PER_WORD] >> (at % PER_WORD * BITS)) & ((1u << BITS) - 1u);
            value[l] = f32(number) * scales[c][l] + shifts[c][l];
        }
    }
    dst[i] = elem4(value);
}
