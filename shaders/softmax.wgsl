// Softmax over the channels of each pixel: a lane owns one pixel.
//
// Grid: x, y = LANES pixels a workgroup over the batch.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: LANES.
// Loop budget: 3 * channels / 4.

struct Params {
    pixels: u32,   // over the whole batch
    vectors: u32,  // vec4s a pixel
    channels: u32, // channels; lanes past them count for nothing
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

fn load(pixel: u32, c: u32) -> vec4<f32> {
    let channel = vec4<u32>(c * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(-3.4028235e38), vec4<f32>(src[pixel * p.vectors + c]), channel < vec4<u32>(p.channels));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let pixel = flat(workgroup, grid, lane);
    if pixel >= p.pixels {
        return;
    }
    var peaks = vec4<f32>(-3.4028235e38);
    for (var c = 0u; c < p.vectors; c++) {
        peaks = max(peaks, load(pixel, c));
    }
    let peak = max(max(peaks.x, peaks.y), max(peaks.z, peaks.w));
    var sums = vec4<f32>(0.0);
    for (var c = 0u; c < p.vectors; c++) {
        sums += exp(load(pixel, c) - peak);
    }
    let sum = sums.x + sums.y + sums.z + sums.w;
    for (var c = 0u; c < p.vectors; c++) {
        dst[pixel * p.vectors + c] = elem4(exp(load(pixel, c) - peak) / sum);
    }
}
