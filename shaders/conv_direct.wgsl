// Convolution from storage alone, no workgroup memory: any kernel, stride, padding and dilation; aligned groups.
// A lane owns TILE_H x TILE_W output pixels by 4 * TILE_C output channels.
//
// Grid: x, y = LANES tiles a workgroup; z = blocks of TILE_C vec4s of output channels.
// Bindings: 0 params; 1, 2 sources (2 if TWO); 3 weights [tap][in vec4][in lane][out vec4]; 4 bias;
//           5 dst (if FULL); 6 pooled (if POOL) or summand (if ADD), a map like dst.
// Constants: KERNEL_*, STRIDE_*, DILATION_*, PADDED, SOURCES, TILE_*, LANES.
// Loop budget: KERNEL_H * KERNEL_W * (input vec4s + 2).

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    tiles_y: u32,
    tiles_x: u32,
    tiles: u32,     // over the whole batch
    src0_c: u32,    // vec4s a pixel in the first source
    src1_c: u32,    // and in the second
    group_in: u32,  // vec4s of the first source that one group reads
    group_out: u32, // vec4s that one group makes
    out_c: u32,     // vec4s a pixel in dst
    weight_c: u32,  // out_c rounded up to whole blocks
    weight_n: u32,  // vec4s between the weights of two pictures; 0 when all share them
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src0: array<elem4>;
//#if TWO
@group(0) @binding(2) var<storage, read> src1: array<elem4>;
//#end
@group(0) @binding(3) var<storage, read> weights: array<elem4>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
//#if FULL
@group(0) @binding(5) var<storage, read_write> dst: array<elem4>;
//#end
//#if POOL
@group(0) @binding(6) var<storage, read_write> pooled: array<elem4>;
//#end
//#if ADD
@group(0) @binding(6) var<storage, read> summand: array<elem4>;
//#end

const PIXELS = TILE_H * TILE_W;

fn load(source: u32, i: u32) -> vec4<f32> {
//#if TWO
    if source == 1u {
        return vec4<f32>(src1[i]);
    }
//#end
    return vec4<f32>(src0[i]);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = flat(workgroup, grid, lane);
    if tile >= p.tiles {
        return;
    }
    let tile_row = tile / p.tiles_x;
    let n = tile_row / p.tiles_y;
    let y0 = (tile_row - n * p.tiles_y) * TILE_H;
    let x0 = (tile - tile_row * p.tiles_x) * TILE_W;
    let c0 = workgroup.z * TILE_C;

    var sum: array<vec4<f32>, PIXELS * TILE_C>;
    for (var c = 0u; c < TILE_C; c++) { // unroll
        let b = bias[c0 + c];
        for (var i = 0u; i < PIXELS; i++) { // unroll
            sum[i * TILE_C + c] = b;
        }
    }

    var inside: array<bool, PIXELS>;
    var base: array<u32, PIXELS>;
    var value: array<vec4<f32>, PIXELS>;
    var w = c0 + n * p.weight_n;
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            for (var s = 0u; s < SOURCES; s++) { // unroll
                let pixel_c = select(p.src1_c, p.src0_c, s == 0u);
                let first = c0 / p.group_out * p.group_in;
                for (var i = 0u; i < PIXELS; i++) { // unroll
                    // Wraps past zero on the padding, so that one comparison tests both edges.
                    let y = (y0 + i / TILE_W) * STRIDE_H + ky * DILATION_H - p.pad_y;
                    let x = (x0 + i % TILE_W) * STRIDE_W + kx * DILATION_W - p.pad_x;
                    inside[i] = (y < p.in_h) & (x < p.in_w);
                    base[i] = select(0u, (n * p.in_h + y) * p.in_w + x, inside[i]) * pixel_c + first;
                }
                let count = select(p.src1_c, p.group_in, s == 0u);
                for (var k = 0u; k < count; k++) {
                    for (var i = 0u; i < PIXELS; i++) { // unroll
                        value[i] = load(s, base[i] + k);
                        if PADDED {
                            value[i] = select(vec4<f32>(0.0), value[i], inside[i]);
                        }
                    }
                    for (var c = 0u; c < TILE_C; c++) { // unroll
                        let w0 = vec4<f32>(weights[w + c]);
                        let w1 = vec4<f32>(weights[w + p.weight_c + c]);
                        let w2 = vec4<f32>(weights[w + 2u * p.weight_c + c]);
                        let w3 = vec4<f32>(weights[w + 3u * p.weight_c + c]);
                        for (var i = 0u; i < PIXELS; i++) { // unroll
                            sum[i * TILE_C + c] += value[i].x * w0 + value[i].y * w1 + value[i].z * w2 + value[i].w * w3;
                        }
                    }
                    w += 4u * p.weight_c;
                }
            }
        }
    }

    for (var c = 0u; c < TILE_C; c++) { // unroll
        if c0 + c < p.out_c {
            for (var i = 0u; i < PIXELS; i++) { // unroll
                let y = y0 + i / TILE_W;
                let x = x0 + i % TILE_W;
                let fits = (y < p.out_h) & (x < p.out_w);
                let at = ((n * p.out_h + y) * p.out_w + x) * p.out_c + c0 + c;
//#if ADD
                if fits {
                    sum[i * TILE_C + c] += vec4<f32>(summand[at]);
                }
//#end
                sum[i * TILE_C + c] = activate(sum[i * TILE_C + c]);
//#if FULL
                if fits {
                    dst[at] = elem4(sum[i * TILE_C + c]);
                }
//#end
            }
//#if POOL
            for (var i = 0u; i < PIXELS / 4u; i++) { // unroll
                const corner = (i / (TILE_W / 2u) * 2u * TILE_W + i % (TILE_W / 2u) * 2u) * TILE_C;
                let y = y0 / 2u + i / (TILE_W / 2u);
                let x = x0 / 2u + i % (TILE_W / 2u);
                let upper = larger(sum[corner + c], sum[corner + TILE_C + c]);
                let lower = larger(sum[corner + TILE_W * TILE_C + c], sum[corner + (TILE_W + 1u) * TILE_C + c]);
                if (y < p.out_h / 2u) & (x < p.out_w / 2u) {
                    pooled[((n * (p.out_h / 2u) + y) * (p.out_w / 2u) + x) * p.out_c + c0 + c] =
                        elem4(larger(upper, lower));
                }
            }
//#end
        }
    }
}
