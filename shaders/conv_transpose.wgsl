// Transposed convolution. Output pixels of one phase (row and column modulo the stride) meet the same taps, so each
// phase is a small convolution of stride 1 over the input. A lane makes TILE_H x TILE_W pixels of a phase by TILE_C
// vec4s of channels. STEP_H and STEP_W are the stride; with DILATED, where the taps of a phase may be any, they are 1.
//
// Grid: x, y = LANES tiles per workgroup; z = phases x blocks of TILE_C vec4s of channels.
// Loops: (KERNEL_H + STEP_H - 1) / STEP_H * ((KERNEL_W + STEP_W - 1) / STEP_W) * (group_in + 2)

import package::shared::epilogue::finish;
import package::shared::index::{Group, Map, Place, at, corner, item};
import package::shared::product::{PIXELS, SUMS, begin, multiply};
import constants::{DILATION_H, DILATION_W, KERNEL_H, KERNEL_W, LANES, STEP_H, STEP_W, STRIDE_H, STRIDE_W};
import constants::{TILE_C, TILE_H, TILE_W};

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

// What a tap of a dilated kernel meets along an axis: the input row or column of the first output pixel, relative to
// the tile's first one; none if the output lies between two of them.
struct Source {
    at: u32, // i32 bits
    met: bool,
}

fn source(place: u32, tap: u32, stride: u32) -> Source {
    let apart = i32(place) - i32(tap);
    let at = apart / i32(stride);
    return Source(u32(at), at * i32(stride) == apart);
}

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

    // Output row y meets input row (y + pad - ky * DILATION) / STRIDE where that is whole. Without dilation these are
    // taps ky0, ky0 + STRIDE, ...
    let ky0 = (phase_y + p.pad_y) % STEP_H;
    let kx0 = (phase_x + p.pad_x) % STEP_W;
    @if(!DILATED) let from_y = first.y + (phase_y + p.pad_y) / STRIDE_H;
    @if(!DILATED) let from_x = first.x + (phase_x + p.pad_x) / STRIDE_W;
    var inside: array<bool, PIXELS>;
    var base: array<u32, PIXELS>;
    var value: array<vec4<f32>, PIXELS>;
    for (var ky = ky0; ky < KERNEL_H; ky += STEP_H) {
        for (var kx = kx0; kx < KERNEL_W; kx += STEP_W) {
            @if(DILATED) let met_y = source(phase_y + p.pad_y, ky * DILATION_H, STRIDE_H);
            @if(DILATED) let met_x = source(phase_x + p.pad_x, kx * DILATION_W, STRIDE_W);
            @if(DILATED) if !(met_y.met & met_x.met) {
                continue;
            }
            @unroll for (var i = 0u; i < PIXELS; i++) {
                @if(DILATED) let y = first.y + i / TILE_W + met_y.at;
                @else let y = from_y + i / TILE_W - ky / STRIDE_H;
                @if(DILATED) let x = first.x + i % TILE_W + met_x.at;
                @else let x = from_x + i % TILE_W - kx / STRIDE_W;
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
