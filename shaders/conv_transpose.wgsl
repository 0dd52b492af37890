// Transposed convolution, any kernel >= stride, written straight to its place. Output pixels of one phase (y and x
// modulo the stride) meet the same taps, so each phase is a small stride-1 convolution over the input; a kernel
// as wide as its stride has one tap a phase. A lane owns TILE_H x TILE_W pixels of a phase by 4 * TILE_C channels.
//
// Grid: x, y = LANES tiles a workgroup; z = phases x blocks of TILE_C vec4s of output channels.
// Bindings: 0 params; 1 src; 2 weights [tap][in vec4][in lane][out vec4]; 3 bias; 4 dst.
// Constants: KERNEL_*, STRIDE_*, TILE_*, LANES.
// Loop budget: taps a phase * (input vec4s + 1).

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    tiles_y: u32,
    tiles_x: u32,
    tiles: u32,    // over the whole batch, of one phase
    in_c: u32,     // vec4s a pixel in src
    group_in: u32, // vec4s that one group reads
    group_out: u32,
    out_c: u32,    // vec4s a pixel in dst
    weight_c: u32, // out_c rounded up to whole blocks
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> weights: array<elem4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;

const PIXELS = TILE_H * TILE_W;

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
    let phase = workgroup.z % (STRIDE_H * STRIDE_W);
    let c0 = workgroup.z / (STRIDE_H * STRIDE_W) * TILE_C;
    let phase_y = phase / STRIDE_W;
    let phase_x = phase % STRIDE_W;
    let first = c0 / p.group_out * p.group_in;

    var sum: array<vec4<f32>, PIXELS * TILE_C>;
    for (var c = 0u; c < TILE_C; c++) { // unroll
        let b = bias[c0 + c];
        for (var i = 0u; i < PIXELS; i++) { // unroll
            sum[i * TILE_C + c] = b;
        }
    }

    // Output y meets input (y + pad - ky) / STRIDE wherever that divides: taps ky0, ky0 + STRIDE, ...
    let ky0 = (phase_y + p.pad_y) % STRIDE_H;
    let kx0 = (phase_x + p.pad_x) % STRIDE_W;
    let from_y = y0 + (phase_y + p.pad_y) / STRIDE_H;
    let from_x = x0 + (phase_x + p.pad_x) / STRIDE_W;
    var inside: array<bool, PIXELS>;
    var base: array<u32, PIXELS>;
    var value: array<vec4<f32>, PIXELS>;
    for (var ky = ky0; ky < KERNEL_H; ky += STRIDE_H) {
        for (var kx = kx0; kx < KERNEL_W; kx += STRIDE_W) {
            for (var i = 0u; i < PIXELS; i++) { // unroll
                let y = from_y + i / TILE_W - ky / STRIDE_H;
                let x = from_x + i % TILE_W - kx / STRIDE_W;
                inside[i] = (y < p.in_h) & (x < p.in_w);
                base[i] = select(0u, (n * p.in_h + y) * p.in_w + x, inside[i]) * p.in_c + first;
            }
            var w = (ky * KERNEL_W + kx) * p.group_in * 4u * p.weight_c + c0;
            for (var k = 0u; k < p.group_in; k++) {
                for (var i = 0u; i < PIXELS; i++) { // unroll
                    value[i] = select(vec4<f32>(0.0), vec4<f32>(src[base[i] + k]), inside[i]);
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

    for (var c = 0u; c < TILE_C; c++) { // unroll
        if c0 + c < p.out_c {
            for (var i = 0u; i < PIXELS; i++) { // unroll
                let y = (y0 + i / TILE_W) * STRIDE_H + phase_y;
                let x = (x0 + i % TILE_W) * STRIDE_W + phase_x;
                if (y < p.out_h) & (x < p.out_w) {
                    dst[((n * p.out_h + y) * p.out_w + x) * p.out_c + c0 + c] = elem4(activate(sum[i * TILE_C + c]));
                }
            }
        }
    }
}
