// Transposed convolution of any kernel at least as large as its stride. Output pixels of one phase (row and column
// modulo the stride) meet the same taps, so each phase is a small convolution of stride 1 over the input. A lane makes
// TILE_H x TILE_W pixels of a phase by TILE_C vec4s of channels.
//
// Grid: x, y = LANES tiles per workgroup; z = phases x blocks of TILE_C vec4s of channels.
// Loops: (KERNEL_H + STRIDE_H - 1) / STRIDE_H * ((KERNEL_W + STRIDE_W - 1) / STRIDE_W) * (group_in + 2)

import package::shared::epilogue::finish;
import package::shared::index::{Group, Map, Place, at, corner, item};
import package::shared::product::{PIXELS, SUMS, begin, multiply};
import constants::{KERNEL_H, KERNEL_W, LANES, STRIDE_H, STRIDE_W, TILE_C, TILE_H, TILE_W};

struct Params {
    in_h: u32,
    in_w: u32,
    in_c: u32,      // vec4s
    out_h: u32,
    out_w: u32,
    out_c: u32,     // vec4s
    tiles_y: u32,
    tiles_x: u32,
    tiles: u32,     // of the batch, of one phase
    group_in: u32,  // vec4s that one group reads
    group_out: u32, // vec4s that one group makes
    weight_c: u32,  // out_c rounded up to whole blocks
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let tile = item(group, lane);
    if tile >= p.tiles {
        return;
    }
    let map = Map(p.out_h, p.out_w, p.out_c);
    let first = corner(tile, p.tiles_y, p.tiles_x, TILE_H, TILE_W);
    let phase = group.id.z % (STRIDE_H * STRIDE_W);
    let phase_y = phase / STRIDE_W;
    let phase_x = phase % STRIDE_W;
    let c0 = group.id.z / (STRIDE_H * STRIDE_W) * TILE_C;
    let group_c = c0 / p.group_out * p.group_in;

    var sum: array<vec4<f32>, SUMS>;
    begin(&sum, c0);

    // Output row y meets input row (y + pad - ky) / STRIDE where that is whole: taps ky0, ky0 + STRIDE, ...
    let ky0 = (phase_y + p.pad_y) % STRIDE_H;
    let kx0 = (phase_x + p.pad_x) % STRIDE_W;
    let from_y = first.y + (phase_y + p.pad_y) / STRIDE_H;
    let from_x = first.x + (phase_x + p.pad_x) / STRIDE_W;
    var inside: array<bool, PIXELS>;
    var base: array<u32, PIXELS>;
    var value: array<vec4<f32>, PIXELS>;
    for (var ky = ky0; ky < KERNEL_H; ky += STRIDE_H) {
        for (var kx = kx0; kx < KERNEL_W; kx += STRIDE_W) {
            @unroll for (var i = 0u; i < PIXELS; i++) {
                let y = from_y + i / TILE_W - ky / STRIDE_H;
                let x = from_x + i % TILE_W - kx / STRIDE_W;
                inside[i] = (y < p.in_h) & (x < p.in_w);
                base[i] = select(0u, (first.n * p.in_h + y) * p.in_w + x, inside[i]) * p.in_c + group_c;
            }
            var w = (ky * KERNEL_W + kx) * p.group_in * 4u * p.weight_c + c0;
            for (var k = 0u; k < p.group_in; k++) {
                @unroll for (var i = 0u; i < PIXELS; i++) {
                    value[i] = select(vec4<f32>(0.0), vec4<f32>(src[base[i] + k]), inside[i]);
                }
                multiply(&sum, &value, w, p.weight_c);
                w += 4u * p.weight_c;
            }
        }
    }

    @unroll for (var c = 0u; c < TILE_C; c++) {
        if c0 + c < p.out_c {
            @unroll for (var i = 0u; i < PIXELS; i++) {
                let y = (first.y + i / TILE_W) * STRIDE_H + phase_y;
                let x = (first.x + i % TILE_W) * STRIDE_W + phase_x;
                let to = Place(first.n, y, x, c0 + c);
                finish(sum[i * TILE_C + c], at(to, map), (y < map.h) & (x < map.w));
            }
        }
    }
}
