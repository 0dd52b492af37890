// Convolution on matrix units: cooperative matrices of SIDE x SIDE x SIDE, f16 in, f32 sums; stride 1, no dilation, one
// group, input channels in multiples of SIDE. A workgroup makes TILE_H rows of SIDE pixels by TILE_C vec4s of channels,
// a subgroup of 32 lanes 2 rows of SIDE pixels by SIDE vec4s. The input patch of DEPTH vec4s is loaded once for all
// taps. A fragment of A is SIDE neighbouring pixels of a patch row, so that a tap is only another first pixel.
// Fragments of B come straight from the packed weights.
//
// Grid: x, y = tiles; z = blocks of TILE_C vec4s of channels x PARTS.
// Loops: (in_c + DEPTH - 1) / DEPTH * ((32 / SIDE + 1) * KERNEL_H * KERNEL_W + PATCH * DEPTH / LANES + 2)
// Workgroup bytes: PATCH * PIXEL * ELEM4 + SUBGROUPS * 2 * ROW * 16

import package::shared::blocks::{Params, input, inside, p, result_at};
import package::shared::epilogue::{finish, pool};
import package::shared::index::{Map, Place, corner};
import package::shared::product::{bias, weights};
import constants::{KERNEL_H, KERNEL_W, LANES, PARTS, SIDE, TILE_C, TILE_H, TILE_W}; // SIDE16: SIDE is 16, else 8

enable wgpu_cooperative_matrix;

@if(SIDE16) alias a_matrix = coop_mat16x16<f16, A>;
@else alias a_matrix = coop_mat8x8<f16, A>;
@if(SIDE16) alias b_matrix = coop_mat16x16<f16, B>;
@else alias b_matrix = coop_mat8x8<f16, B>;
@if(SIDE16) alias sums_matrix = coop_mat16x16<f32, C>;
@else alias sums_matrix = coop_mat8x8<f32, C>;

// vec4s along a fragment's side, and of a round.
const SIDE4 = SIDE / 4u;
const DEPTH = 8u;
const PATCH_W = TILE_W + KERNEL_W - 1u;
const PATCH = (TILE_H + KERNEL_H - 1u) * PATCH_W;
// vec4s from one patch pixel to the next: two more than DEPTH, so that rows of a fragment fall into different banks.
const PIXEL = DEPTH + 2u;
const SUBGROUPS = LANES / 32u;
const SUBGROUP_ROWS = TILE_H / 2u;

var<workgroup> patch_: array<elem4, PATCH * PIXEL>;
// A subgroup's 2 rows of SIDE pixels by SIDE channels, on their way to the epilogue.
const ROW = SIDE * SIDE4;
var<workgroup> sums: array<vec4<f32>, SUBGROUPS * 2u * ROW>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Matrices need control flow that is the same for all lanes. naga does not see that through calls and structs.
    let number = id.y * grid.x + id.x;
    if number >= p.tiles {
        return;
    }
    let tile = corner(number, p.tiles_y, p.tiles_x, TILE_H, SIDE);
    let part = id.z % PARTS;
    let k_begin = part * p.part_c;
    let k_end = min(k_begin + p.part_c, p.in_c);
    let row = subgroup % SUBGROUP_ROWS * 2u;
    let block = id.z / PARTS * TILE_C + subgroup / SUBGROUP_ROWS * SIDE;

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
        for (var i = lane; i < PATCH * DEPTH; i += LANES) {
            let y = tile.y + i / DEPTH / PATCH_W - p.pad_y;
            let x = tile.x + i / DEPTH % PATCH_W - p.pad_x;
            patch_[i / DEPTH * PIXEL + i % DEPTH] = input(tile.n, y, x, k0 + i % DEPTH, k_end);
        }
        workgroupBarrier();
        for (var tap = 0u; tap < KERNEL_H * KERNEL_W; tap++) {
            let first = ((row + tap / KERNEL_W) * PATCH_W + tap % KERNEL_W) * PIXEL;
            for (var k = k0; k < min(k0 + DEPTH, k_end); k += SIDE4) {
                let a0 = coopLoadT<a_matrix>(&patch_[first + k - k0], PIXEL);
                let a1 = coopLoadT<a_matrix>(&patch_[first + PATCH_W * PIXEL + k - k0], PIXEL);
                let w = tile.n * p.weight_n + (tap * p.in_c + k) * 4u * p.weight_c + block;
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

    // The elements of a matrix can only be reached through workgroup memory: one fragment's channels at a time.
    @unroll for (var f = 0u; f < 4u; f++) {
        workgroupBarrier();
        let first = subgroup * 2u * ROW;
        coopStoreT(c00, &sums[first], SIDE4);
        coopStoreT(c10, &sums[first + ROW], SIDE4);
        // The next fragments move up.
        c00 = c01;
        c01 = c02;
        c02 = c03;
        c10 = c11;
        c11 = c12;
        c12 = c13;
        workgroupBarrier();
        // A lane ends 2x2 pixels of one vec4. With a side of 8, eight lanes of the subgroup have work.
        let column = subgroup_lane / SIDE4 * 2u;
        let to = Place(tile.n, tile.y + row, tile.x + column, block + f * SIDE4 + subgroup_lane % SIDE4);
        if (to.c < p.out_c) & (column < SIDE) {
            let start = first + column * SIDE4 + subgroup_lane % SIDE4;
            var sum: array<vec4<f32>, 4>;
            @unroll for (var i = 0u; i < 4u; i++) {
                let pixel = Place(to.n, to.y + i / 2u, to.x + i % 2u, to.c);
                sum[i] = sums[start + i / 2u * ROW + i % 2u * SIDE4];
                @if(!SPLIT) sum[i] += bias[to.c];
                sum[i] = finish(sum[i], result_at(part, pixel), inside(pixel));
            }
            @if(POOL) pool(to, Map(p.out_h, p.out_w, p.out_c), sum[0], sum[1], sum[2], sum[3]);
        }
    }
}
