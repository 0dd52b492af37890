// Convolution from storage alone, without workgroup memory: any kernel, stride, padding and dilation, and groups that
// are whole vec4s. A lane makes TILE_H x TILE_W pixels by TILE_C vec4s of channels.
//
// Grid: x, y = LANES tiles per workgroup; z = blocks of TILE_C vec4s of channels.
// Loops: KERNEL_H * KERNEL_W * (group_in + src1_c + 2)

import package::shared::epilogue::{finish, pool};
import package::shared::index::{Group, Map, Place, at, corner, item};
import package::shared::product::{PIXELS, SUMS, begin, multiply};
import package::shared::sources::{origin, src0, src1};
import constants::{DILATION_H, DILATION_W, KERNEL_H, KERNEL_W, LANES, STRIDE_H, STRIDE_W, TILE_C, TILE_H, TILE_W};

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    out_c: u32,     // vec4s
    tiles_y: u32,
    tiles_x: u32,
    tiles: u32,     // of the batch
    src0_c: u32,    // vec4s
    src1_c: u32,    // vec4s, 0 without a second source
    group_in: u32,  // vec4s of the first source that one group reads
    group_out: u32, // vec4s that one group makes
    weight_c: u32,  // out_c rounded up to whole blocks
    weight_n: u32,  // vec4s between the weights of two pictures; 0 when all share them
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

fn load(source: u32, i: u32) -> vec4<f32> {
    @if(TWO) if source == 1u {
        return vec4<f32>(src1[i]);
    }
    return vec4<f32>(src0[i]);
}

@if(TWO) const SOURCES = 2u;
@else const SOURCES = 1u;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let tile = item(group, lane);
    if tile >= p.tiles {
        return;
    }
    let map = Map(p.out_h, p.out_w, p.out_c);
    let first = corner(tile, p.tiles_y, p.tiles_x, TILE_H, TILE_W);
    let c0 = group.id.z * TILE_C;

    var sum: array<vec4<f32>, SUMS>;
    begin(&sum, c0);

    var inside: array<bool, PIXELS>;
    var base: array<u32, PIXELS>;
    var value: array<vec4<f32>, PIXELS>;
    var w = c0 + first.n * p.weight_n;
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        for (var kx = 0u; kx < KERNEL_W; kx++) {
            @unroll for (var s = 0u; s < SOURCES; s++) {
                let pixel_c = select(p.src1_c, p.src0_c, s == 0u);
                let group_c = c0 / p.group_out * p.group_in;
                @unroll for (var i = 0u; i < PIXELS; i++) {
                    // Wraps past zero in the padding, so that one comparison tests both edges.
                    let y = origin((first.y + i / TILE_W) * STRIDE_H + ky * DILATION_H - p.pad_y, p.in_h);
                    let x = origin((first.x + i % TILE_W) * STRIDE_W + kx * DILATION_W - p.pad_x, p.in_w);
                    inside[i] = (y < p.in_h) & (x < p.in_w);
                    base[i] = select(0u, (first.n * p.in_h + y) * p.in_w + x, inside[i]) * pixel_c + group_c;
                }
                let count = select(p.src1_c, p.group_in, s == 0u);
                for (var k = 0u; k < count; k++) {
                    @unroll for (var i = 0u; i < PIXELS; i++) {
                        value[i] = load(s, base[i] + k);
                        @if(PADDED) value[i] = select(vec4<f32>(0.0), value[i], inside[i]);
                    }
                    multiply(&sum, &value, w, p.weight_c);
                    w += 4u * p.weight_c;
                }
            }
        }
    }

    @unroll for (var c = 0u; c < TILE_C; c++) {
        if c0 + c < p.out_c {
            @unroll for (var i = 0u; i < PIXELS; i++) {
                let to = Place(first.n, first.y + i / TILE_W, first.x + i % TILE_W, c0 + c);
                sum[i * TILE_C + c] = finish(sum[i * TILE_C + c], at(to, map), (to.y < map.h) & (to.x < map.w));
            }
            @if(POOL) @unroll for (var i = 0u; i < PIXELS / 4u; i++) {
                const row = i / (TILE_W / 2u) * 2u;
                const column = i % (TILE_W / 2u) * 2u;
                const a = (row * TILE_W + column) * TILE_C;
                const b = a + TILE_W * TILE_C;
                let to = Place(first.n, first.y + row, first.x + column, c0 + c);
                pool(to, map, sum[a + c], sum[a + TILE_C + c], sum[b + c], sum[b + TILE_C + c]);
            }
        }
    }
}
