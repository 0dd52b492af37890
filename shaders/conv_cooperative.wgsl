// Convolution on matrix units: cooperative matrices of SIDE x SIDE x SIDE, f16 inputs, f32 sums; stride 1, one group, input
// channels in multiples of SIDE. A workgroup makes TILE_H rows of SIDE pixels by 4 * TILE_C channels. The input patch of 32 channels is loaded
// once for all taps: a fragment of A is SIDE neighbouring pixels of a patch row, so that a tap is only another first pixel.
// Fragments of B come straight from the packed weights. A subgroup makes 2 rows of SIDE pixels by 4 * SIDE channels.
// With SCATTER, channels go to OUT_H x OUT_W pixels, as in conv_tiled.
// With SPLIT each of PARTS workgroups sums over its own input channels, and conv_reduce adds them up.
//
// Grid: x, y = tiles over the batch; z = blocks of TILE_C vec4s of output channels x PARTS.
// Bindings: 0 params; 1, 2 sources (2 if TWO); 3 weights [tap][in vec4][in lane][out vec4]; 4 bias;
//           5 dst (if FULL); 6 pooled (if POOL) or summand (if ADD), a map like dst. With SPLIT no 4, and 5 is parts, f32 [part][pixel][out vec4].
// Types: a_matrix, b_matrix, sums_matrix.
// Constants: KERNEL_*, SIDE (16 or 8), TILE_H (8), TILE_C (SIDE a subgroup column), PARTS, LANES (32 a subgroup); with SCATTER OUT_H, OUT_W.
// Workgroup memory: the patch, 10 vec4<f16> a pixel, and SIDE * SIDE / 2 vec4<f32> a subgroup.
// Loop budget: (input vec4s / 8 + 1) * ((32 / SIDE + 1) * KERNEL_H * KERNEL_W + patch loads a lane).

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    tiles_y: u32,
    tiles_x: u32,
    tiles: u32,    // over the whole batch
    src0_c: u32,   // vec4s a pixel in the first source
    in_c: u32,     // vec4s a pixel in both
    out_c: u32,    // vec4s a pixel in dst
    weight_c: u32, // out_c rounded up to whole blocks
    weight_n: u32, // vec4s between the weights of two pictures; 0 when all share them
    part_c: u32,   // input vec4s of one part of a split sum
    pixels: u32,   // of the map, over the batch
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src0: array<elem4>;
//#if TWO
@group(0) @binding(2) var<storage, read> src1: array<elem4>;
//#end
@group(0) @binding(3) var<storage, read> weights: array<elem4>;
//#if SPLIT
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>;
//#else
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
//#end
//#if FULL
@group(0) @binding(5) var<storage, read_write> dst: array<elem4>;
//#end
//#if POOL
@group(0) @binding(6) var<storage, read_write> pooled: array<elem4>;
//#end
//#if ADD
@group(0) @binding(6) var<storage, read> summand: array<elem4>;
//#end

//#if SCATTER
fn place(n: u32, y: u32, x: u32, channel: u32) -> u32 {
    let phase_c = p.out_c / (OUT_H * OUT_W);
    let phase = channel / phase_c;
    let row = (n * p.out_h + y) * OUT_H + phase / OUT_W;
    return (row * p.out_w * OUT_W + x * OUT_W + phase % OUT_W) * phase_c + channel - phase * phase_c;
}
//#else
fn place(n: u32, y: u32, x: u32, channel: u32) -> u32 {
    return ((n * p.out_h + y) * p.out_w + x) * p.out_c + channel;
}
//#end

// What is added to a sum.
fn added(n: u32, y: u32, x: u32, channel: u32) -> vec4<f32> {
//#if ADD
    if (y < p.out_h) & (x < p.out_w) {
        return vec4<f32>(summand[place(n, y, x, channel)]);
    }
//#end
    return vec4<f32>(0.0);
}

const PATCH_H = TILE_H + KERNEL_H - 1u;
const PATCH_W = SIDE + KERNEL_W - 1u;
// vec4s along a fragment's side.
const SIDE4 = SIDE / 4u;
const DEPTH = 8u;
// vec4s from one patch pixel to the next: two more than DEPTH, so that rows of a fragment fall into different banks.
const PIXEL = DEPTH + 2u;
const SUBGROUPS = LANES / 32u;
const SUBGROUP_ROWS = TILE_H / 2u;

var<workgroup> patch_: array<elem4, PATCH_H * PATCH_W * PIXEL>;
// A subgroup's 2 rows of SIDE pixels by SIDE channels, on their way to the epilogue.
const ROW = SIDE * SIDE4;
var<workgroup> sums: array<vec4<f32>, SUBGROUPS * 2u * ROW>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let tile = workgroup.y * grid.x + workgroup.x;
    if tile >= p.tiles {
        return;
    }
    let tile_row = tile / p.tiles_x;
    let n = tile_row / p.tiles_y;
    let tile_y = (tile_row - n * p.tiles_y) * TILE_H;
    let tile_x = (tile - tile_row * p.tiles_x) * SIDE;
    let row = subgroup % SUBGROUP_ROWS * 2u;
    let part = workgroup.z % PARTS;
    let k_begin = part * p.part_c;
    let k_end = min(k_begin + p.part_c, p.in_c);
    let block = workgroup.z / PARTS * TILE_C + subgroup / SUBGROUP_ROWS * SIDE;

    var c00 = sums_matrix();
    var c01 = sums_matrix();
    var c02 = sums_matrix();
    var c03 = sums_matrix();
    var c10 = sums_matrix();
    var c11 = sums_matrix();
    var c12 = sums_matrix();
    var c13 = sums_matrix();
    for (var k0 = k_begin; k0 < k_end; k0 += DEPTH) {
        workgroupBarrier();
        for (var i = lane; i < PATCH_H * PATCH_W * DEPTH; i += LANES) {
            let k = k0 + i % DEPTH;
            // Wraps past zero on the padding, so that one comparison tests both edges.
            let y = tile_y + i / DEPTH / PATCH_W - p.pad_y;
            let x = tile_x + i / DEPTH % PATCH_W - p.pad_x;
            var value = elem4();
            if (y < p.in_h) & (x < p.in_w) & (k < k_end) {
                let pixel = (n * p.in_h + y) * p.in_w + x;
//#if TWO
                if k >= p.src0_c {
                    value = src1[pixel * (p.in_c - p.src0_c) + k - p.src0_c];
                } else {
                    value = src0[pixel * p.src0_c + k];
                }
//#else
                value = src0[pixel * p.src0_c + k];
//#end
            }
            patch_[i / DEPTH * PIXEL + i % DEPTH] = value;
        }
        workgroupBarrier();
        for (var tap = 0u; tap < KERNEL_H * KERNEL_W; tap++) {
            let first = ((row + tap / KERNEL_W) * PATCH_W + tap % KERNEL_W) * PIXEL;
            // Not an `if` inside: matrices need control flow that is uniform to the compiler's eye.
            for (var k = k0; k < min(k0 + DEPTH, k_end); k += SIDE4) {
                let a0 = coopLoadT<a_matrix>(&patch_[first + k - k0], PIXEL);
                let a1 = coopLoadT<a_matrix>(&patch_[first + PATCH_W * PIXEL + k - k0], PIXEL);
                let w = n * p.weight_n + (tap * p.in_c + k) * 4u * p.weight_c + block;
                let b0 = coopLoadT<b_matrix>(&weights[w], p.weight_c);
                let b1 = coopLoadT<b_matrix>(&weights[w + SIDE4], p.weight_c);
                let b2 = coopLoadT<b_matrix>(&weights[w + 2u * SIDE4], p.weight_c);
                let b3 = coopLoadT<b_matrix>(&weights[w + 3u * SIDE4], p.weight_c);
                c00 = coopMultiplyAdd(a0, b0, c00);
                c01 = coopMultiplyAdd(a0, b1, c01);
                c02 = coopMultiplyAdd(a0, b2, c02);
                c03 = coopMultiplyAdd(a0, b3, c03);
                c10 = coopMultiplyAdd(a1, b0, c10);
                c11 = coopMultiplyAdd(a1, b1, c11);
                c12 = coopMultiplyAdd(a1, b2, c12);
                c13 = coopMultiplyAdd(a1, b3, c13);
            }
        }
    }

    // A fragment's channels at a time through workgroup memory: a matrix's elements cannot be touched otherwise.
    for (var f = 0u; f < 4u; f++) { // unroll
        workgroupBarrier();
        let first = subgroup * 2u * ROW;
        coopStoreT(c00, &sums[first], SIDE4);
        coopStoreT(c10, &sums[first + ROW], SIDE4);
        // The next ones move up.
        c00 = c01;
        c01 = c02;
        c02 = c03;
        c10 = c11;
        c11 = c12;
        c12 = c13;
        workgroupBarrier();
        // A lane owns 2x2 pixels by four channels; at 8 a side there is work for eight lanes of the subgroup.
        let channel = block + f * SIDE4 + subgroup_lane % SIDE4;
        let column = subgroup_lane / SIDE4 * 2u;
        let y = tile_y + row;
        let x = tile_x + column;
        if (channel < p.out_c) & (column < SIDE) {
            let at = first + column * SIDE4 + subgroup_lane % SIDE4;
//#if SPLIT
            for (var i = 0u; i < 4u; i++) { // unroll
                if (y + i / 2u < p.out_h) & (x + i % 2u < p.out_w) {
                    let sum = sums[at + i / 2u * ROW + i % 2u * SIDE4];
                    parts[part * p.pixels * p.out_c + place(n, y + i / 2u, x + i % 2u, channel)] = sum;
                }
            }
//#else
            let b = bias[channel];
            let v00 = activate(sums[at] + b + added(n, y, x, channel));
            let v01 = activate(sums[at + SIDE4] + b + added(n, y, x + 1u, channel));
            let v10 = activate(sums[at + ROW] + b + added(n, y + 1u, x, channel));
            let v11 = activate(sums[at + ROW + SIDE4] + b + added(n, y + 1u, x + 1u, channel));
//#end
//#if FULL
            if (y < p.out_h) & (x < p.out_w) {
                dst[place(n, y, x, channel)] = elem4(v00);
            }
            if (y < p.out_h) & (x + 1u < p.out_w) {
                dst[place(n, y, x + 1u, channel)] = elem4(v01);
            }
            if (y + 1u < p.out_h) & (x < p.out_w) {
                dst[place(n, y + 1u, x, channel)] = elem4(v10);
            }
            if (y + 1u < p.out_h) & (x + 1u < p.out_w) {
                dst[place(n, y + 1u, x + 1u, channel)] = elem4(v11);
            }
//#end
//#if POOL
            if (y / 2u < p.out_h / 2u) & (x / 2u < p.out_w / 2u) {
                let at = ((n * (p.out_h / 2u) + y / 2u) * (p.out_w / 2u) + x / 2u) * p.out_c + channel;
                pooled[at] = elem4(larger(larger(v00, v01), larger(v10, v11)));
            }
//#end
        }
    }
}
