// Adds up the parts of a convolution whose sum over input channels was split, with bias, activation and the max-pooled
// half or what is added to the sum. A lane owns 2x2 pixels by four channels.
//
// Grid: x, y = LANES (2x2 pixels, vec4) pairs a workgroup over the batch, vec4 fastest.
// Bindings: 0 params; 1 parts, f32 [part][pixel][out vec4]; 2 bias; 5 dst (if FULL); 6 pooled (if POOL) or
//           summand (if ADD).
// Constants: PARTS, LANES.
// Loop budget: 4 * PARTS.

struct Params {
    out_h: u32,
    out_w: u32,
    quads_y: u32,
    quads_x: u32,
    total: u32,  // (2x2 pixels, vec4) pairs over the batch
    out_c: u32,  // vec4s a pixel
    pixels: u32, // of the map, over the batch
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
//#if FULL
@group(0) @binding(5) var<storage, read_write> dst: array<elem4>;
//#end
//#if POOL
@group(0) @binding(6) var<storage, read_write> pooled: array<elem4>;
//#end
//#if ADD
@group(0) @binding(6) var<storage, read> summand: array<elem4>;
//#end

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
    let quad = i / p.out_c;
    let c = i - quad * p.out_c;
    let quad_row = quad / p.quads_x;
    let n = quad_row / p.quads_y;
    let y0 = (quad_row - n * p.quads_y) * 2u;
    let x0 = (quad - quad_row * p.quads_x) * 2u;
    var sum: array<vec4<f32>, 4>;
    for (var q = 0u; q < 4u; q++) { // unroll
        let y = y0 + q / 2u;
        let x = x0 + q % 2u;
        if (y < p.out_h) & (x < p.out_w) {
            let at = ((n * p.out_h + y) * p.out_w + x) * p.out_c + c;
            var value = bias[c];
            for (var part = 0u; part < PARTS; part++) {
                value += parts[part * p.pixels * p.out_c + at];
            }
//#if ADD
            value += vec4<f32>(summand[at]);
//#end
            sum[q] = activate(value);
//#if FULL
            dst[at] = elem4(sum[q]);
//#end
        }
    }
//#if POOL
    if (y0 / 2u < p.out_h / 2u) & (x0 / 2u < p.out_w / 2u) {
        let at = ((n * (p.out_h / 2u) + y0 / 2u) * (p.out_w / 2u) + x0 / 2u) * p.out_c + c;
        pooled[at] = elem4(larger(larger(sum[0], sum[1]), larger(sum[2], sum[3])));
    }
//#end
}
