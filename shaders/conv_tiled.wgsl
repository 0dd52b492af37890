// Convolution as a matrix product through workgroup memory: one group, any kernel, stride and dilation. A workgroup
// makes TILE_H x TILE_W pixels by TILE_C vec4s of channels. For each DEPTH input vec4s it loads the input patch once
// for all taps, and the taps' weights. A lane keeps REG_H x REG_W pixels by REG_C vec4s in registers.
//
// With HEAD, a workgroup makes all channels of its pixels.
//
// Grid: x, y = tiles; z = blocks of TILE_C vec4s of channels x PARTS.
// Loops: (in_c + DEPTH - 1) / DEPTH * (DEPTH * (KERNEL_H + 1) + LOADS / LANES + 2) + HEAD * PIXELS * LANES_C
// Workgroup bytes: LOADS * ELEM4 + HEAD * LANES * 16

import package::shared::blocks::{Params, input, inside, p, result_at};
import package::shared::epilogue::{add_head, end_head, finish, head_bias, pool};
import package::shared::index::{Group, Map, Place, corner, number};
import package::shared::product::{bias, weights};
import constants::{DEPTH, DILATION_H, DILATION_W, KERNEL_H, KERNEL_W, LANES, STRIDE_H, STRIDE_W};
import constants::{PARTS, REG_C, REG_H, REG_W, TILE_C, TILE_H, TILE_W};

const TAPS = KERNEL_H * KERNEL_W;
const PATCH_H = (TILE_H - 1u) * STRIDE_H + (KERNEL_H - 1u) * DILATION_H + 1u;
const PATCH_W = (TILE_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const PATCH = PATCH_H * PATCH_W;
const LOADS = DEPTH * (PATCH + TAPS * 4u * TILE_C);
// The part of a patch row that a lane reads for all taps of one kernel row.
const ROW = (REG_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const LANES_C = TILE_C / REG_C;
const LANES_X = TILE_W / REG_W;
const PIXELS = REG_H * REG_W;

var<workgroup> patch_: array<elem4, DEPTH * PATCH>;
var<workgroup> taps: array<elem4, DEPTH * TAPS * 4u * TILE_C>;
@if(HEAD) var<workgroup> shares: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    if number(group) >= p.tiles {
        return;
    }
    let tile = corner(number(group), p.tiles_y, p.tiles_x, TILE_H, TILE_W);
    let part = group.id.z % PARTS;
    let k_begin = part * p.part_c;
    let k_end = min(k_begin + p.part_c, p.in_c);
    let block = group.id.z / PARTS * TILE_C;
    let lane_c = lane % LANES_C;
    let lane_y = lane / LANES_C / LANES_X * REG_H;
    let lane_x = lane / LANES_C % LANES_X * REG_W;

    var sum: array<vec4<f32>, PIXELS * REG_C>;
    @if(!SPLIT) @unroll for (var c = 0u; c < REG_C; c++) {
        let b = bias[block + c * LANES_C + lane_c];
        @unroll for (var i = 0u; i < PIXELS; i++) {
            sum[i * REG_C + c] = b;
        }
    }

    var row: array<vec4<f32>, REG_H * ROW>;
    for (var k0 = k_begin; k0 < k_end; k0 += DEPTH) {
        workgroupBarrier();
        for (var i = lane; i < DEPTH * PATCH; i += LANES) {
            let y = tile.y * STRIDE_H + i / DEPTH / PATCH_W - p.pad_y;
            let x = tile.x * STRIDE_W + i / DEPTH % PATCH_W - p.pad_x;
            patch_[i % DEPTH * PATCH + i / DEPTH] = input(tile.n, y, x, k0 + i % DEPTH, k_end);
        }
        for (var i = lane; i < DEPTH * TAPS * 4u * TILE_C; i += LANES) {
            // i = ((k * TAPS + tap) * 4 + input lane) * TILE_C + c
            let in_lane = i / TILE_C % 4u;
            let tap = i / (TILE_C * 4u) % TAPS;
            let k = k0 + i / (TILE_C * 4u * TAPS);
            var value = elem4();
            if k < k_end {
                let w = ((tap * p.in_c + k) * 4u + in_lane) * p.weight_c;
                value = weights[tile.n * p.weight_n + w + block + i % TILE_C];
            }
            taps[i] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            for (var ky = 0u; ky < KERNEL_H; ky++) {
                let first = k * PATCH + (lane_y * STRIDE_H + ky * DILATION_H) * PATCH_W + lane_x * STRIDE_W;
                @unroll for (var i = 0u; i < REG_H * ROW; i++) {
                    row[i] = vec4<f32>(patch_[first + i / ROW * STRIDE_H * PATCH_W + i % ROW]);
                }
                @unroll for (var kx = 0u; kx < KERNEL_W; kx++) {
                    let tap = ((k * KERNEL_H + ky) * KERNEL_W + kx) * (4u * TILE_C) + lane_c;
                    @unroll for (var c = 0u; c < REG_C; c++) {
                        let w0 = vec4<f32>(taps[tap + c * LANES_C]);
                        let w1 = vec4<f32>(taps[tap + TILE_C + c * LANES_C]);
                        let w2 = vec4<f32>(taps[tap + 2u * TILE_C + c * LANES_C]);
                        let w3 = vec4<f32>(taps[tap + 3u * TILE_C + c * LANES_C]);
                        @unroll for (var i = 0u; i < PIXELS; i++) {
                            const at = i / REG_W * ROW + i % REG_W * STRIDE_W + kx * DILATION_W;
                            sum[i * REG_C + c] += row[at].x * w0 + row[at].y * w1 + row[at].z * w2 + row[at].w * w3;
                        }
                    }
                }
            }
        }
    }

    let first = Place(tile.n, tile.y + lane_y, tile.x + lane_x, block + lane_c);
    @if(HEAD) @unroll for (var i = 0u; i < PIXELS; i++) {
        // Lanes that share a pixel add up their channels' parts of its head.
        let to = Place(first.n, first.y + i / REG_W, first.x + i % REG_W, 0u);
        var mine = vec4<f32>(0.0);
        @unroll for (var c = 0u; c < REG_C; c++) {
            let channel = first.c + c * LANES_C;
            if channel < p.out_c {
                mine = add_head(mine, finish(sum[i * REG_C + c], 0u, false), channel);
            }
        }
        workgroupBarrier();
        shares[lane] = mine;
        workgroupBarrier();
        if (lane_c == 0u) & inside(to) {
            var end = head_bias[0];
            for (var other = 0u; other < LANES_C; other++) {
                end += shares[lane + other];
            }
            end_head(end, (to.n * p.out_h + to.y) * p.out_w + to.x);
        }
    }
    @else @unroll for (var c = 0u; c < REG_C; c++) {
        let channel = first.c + c * LANES_C;
        if channel < p.out_c {
            @unroll for (var i = 0u; i < PIXELS; i++) {
                let to = Place(first.n, first.y + i / REG_W, first.x + i % REG_W, channel);
                sum[i * REG_C + c] = finish(sum[i * REG_C + c], result_at(part, to), inside(to));
            }
            @if(POOL) @unroll for (var i = 0u; i < PIXELS / 4u; i++) {
                const y = i / (REG_W / 2u) * 2u;
                const x = i % (REG_W / 2u) * 2u;
                const a = (y * REG_W + x) * REG_C;
                const b = a + REG_W * REG_C;
                let to = Place(first.n, first.y + y, first.x + x, channel);
                let map = Map(p.out_h, p.out_w, p.out_c);
                pool(to, map, sum[a + c], sum[a + REG_C + c], sum[b + c], sum[b + REG_C + c]);
            }
        }
    }
}
