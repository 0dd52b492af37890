// Mean over each plane: a workgroup owns four channels of one picture.
//
// Grid: x, y = (picture, vec4) pairs.
// Bindings: 0 params; 1 src; 2 dst.
// Constants: LANES (a power of two).
// Workgroup memory: LANES vec4<f32>.
// Loop budget: pixels / LANES + log2(LANES).

struct Params {
    pixels: u32,   // of one plane
    channels: u32, // vec4s a pixel
    total: u32,    // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

var<workgroup> parts: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = workgroup.y * grid.x + workgroup.x;
    if i >= p.total {
        return;
    }
    let n = i / p.channels;
    let c = i - n * p.channels;
    var sum = vec4<f32>(0.0);
    for (var pixel = lane; pixel < p.pixels; pixel += LANES) {
        sum += vec4<f32>(src[(n * p.pixels + pixel) * p.channels + c]);
    }
    parts[lane] = sum;
    for (var half_ = LANES / 2u; half_ > 0u; half_ /= 2u) {
        workgroupBarrier();
        if lane < half_ {
            parts[lane] += parts[lane + half_];
        }
    }
    if lane == 0u {
        dst[i] = elem4(parts[0] / f32(p.pixels));
    }
}
