// Products of the planes of two tensors, (n, c, h, k) by (n, c, k, w). A lane makes TILE x TILE positions of four
// planes, the four channels of a vec4. SPLAT0, SPLAT1: the source has one channel, which is used for all.
//
// Grid: x, y = LANES (tile, vec4) places per workgroup, vec4 fastest.
// Loops: depth

import package::shared::index::{Group, Map, Place, at, item, masked, place};
import constants::{LANES, TILE};

struct Params {
    out_h: u32,
    out_w: u32,
    depth: u32,    // columns of the first source, rows of the second
    tiles_y: u32,
    tiles_x: u32,
    n0: u32,       // vec4s from picture to picture of the first source; 0 when one stands for all
    n1: u32,
    vectors0: u32, // vec4s per pixel of the first source
    vectors1: u32,
    vectors: u32,  // vec4s per pixel of dst
    channels: u32, // of dst
    total: u32,    // (tile, vec4) places
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src0: array<elem4>;
@group(0) @binding(2) var<storage, read> src1: array<elem4>;
@group(0) @binding(3) var<storage, read_write> dst: array<elem4>;

fn load0(i: u32, c: u32) -> vec4<f32> {
    @if(SPLAT0) return vec4<f32>(src0[i]).xxxx;
    @else return vec4<f32>(src0[i + c]);
}

fn load1(i: u32, c: u32) -> vec4<f32> {
    @if(SPLAT1) return vec4<f32>(src1[i]).xxxx;
    @else return vec4<f32>(src1[i + c]);
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let tile = place(i, Map(p.tiles_y, p.tiles_x, p.vectors));
    let first = Place(tile.n, tile.y * TILE, tile.x * TILE, tile.c);
    var rows: array<u32, TILE>;
    var columns: array<u32, TILE>;
    var sums: array<vec4<f32>, TILE * TILE>;
    @unroll for (var t = 0u; t < TILE; t++) {
        // Positions past the edge repeat the last one and are not stored.
        rows[t] = first.n * p.n0 + min(first.y + t, p.out_h - 1u) * p.depth * p.vectors0;
        columns[t] = first.n * p.n1 + min(first.x + t, p.out_w - 1u) * p.vectors1;
    }
    let step = p.out_w * p.vectors1;
    for (var k = 0u; k < p.depth; k++) {
        var a: array<vec4<f32>, TILE>;
        @unroll for (var t = 0u; t < TILE; t++) {
            a[t] = load0(rows[t] + k * p.vectors0, first.c);
        }
        @unroll for (var s = 0u; s < TILE; s++) {
            let b = load1(columns[s] + k * step, first.c);
            @unroll for (var t = 0u; t < TILE; t++) {
                sums[t * TILE + s] += a[t] * b;
            }
        }
    }
    @unroll for (var t = 0u; t < TILE; t++) {
        @unroll for (var s = 0u; s < TILE; s++) {
            let to = Place(first.n, first.y + t, first.x + s, first.c);
            if (to.y < p.out_h) & (to.x < p.out_w) {
                let sum = masked(sums[t * TILE + s], to.c, p.channels);
                dst[at(to, Map(p.out_h, p.out_w, p.vectors))] = elem4(sum);
            }
        }
    }
}
