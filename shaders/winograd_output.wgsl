// Winograd convolution, last step (Lavin and Gray 2015): each tile of products m becomes At m A, which ends the
// convolution. A lane makes one tile of one vec4 of channels; with HEAD, of all channels.
//
// Grid: x, y = LANES (tile, vec4) places per workgroup, vec4 fastest; with HEAD, LANES tiles.
// Loops: HEAD * out_c

import package::shared::epilogue::{add_head, end_head, finish, head_bias, pool};
import package::shared::index::{Group, Map, Place, at, corner, item};
import constants::{LANES, SIZE}; // SIZE: outputs along a tile's side; F4: SIZE is 4, else 2

struct Params {
    out_h: u32,
    out_w: u32,
    out_c: u32, // vec4s
    tiles_y: u32,
    tiles_x: u32,
    first: u32, // the first tile of this band, counted over the batch
    tiles: u32, // of this band
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>; // [place in tile][tile][out vec4]
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

const T = SIZE + 2u;
const OUTPUTS = SIZE * SIZE;

var<private> m: array<vec4<f32>, T * T>;

// The products of a tile for vec4 `c` of the channels become its outputs, at the front of the first lines of `m`.
fn transform(tile: u32, c: u32) {
    @unroll for (var i = 0u; i < T * T; i++) {
        m[i] = vec4<f32>(src[(i * p.tiles + tile) * p.out_c + c]);
    }
    // Columns to SIZE rows, then rows to SIZE columns. Results stay at the front of each line.
    @unroll for (var line = 0u; line < T + SIZE; line++) {
        const step = T - line / T * (T - 1u);
        const start = line / T * (line % T) * T + (1u - line / T) * (line % T);
        let m0 = m[start];
        let m1 = m[start + step];
        let m2 = m[start + 2u * step];
        let m3 = m[start + 3u * step];
        @if(F4) {
            let m4 = m[start + 4u * step];
            let m5 = m[start + 5u * step];
            m[start] = m0 + (m1 + m2) + (m3 + m4);
            m[start + step] = (m1 - m2) + 2.0 * (m3 - m4);
            m[start + 2u * step] = (m1 + m2) + 4.0 * (m3 + m4);
            m[start + 3u * step] = (m1 - m2) + 8.0 * (m3 - m4) + m5;
        }
        @else {
            m[start] = m0 + m1 + m2;
            m[start + step] = m1 - m2 - m3;
        }
    }
}

// Finishes output `i` of a tile whose first output is at `first`.
fn output(sum: vec4<f32>, i: u32, first: Place, map: Map) -> vec4<f32> {
    let to = Place(first.n, first.y + i / SIZE, first.x + i % SIZE, first.c);
    return finish(sum, at(to, map), (to.y < map.h) & (to.x < map.w));
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let map = Map(p.out_h, p.out_w, p.out_c);
    @if(HEAD) let tile = item(group, lane);
    @else let tile = item(group, lane) / p.out_c;
    if tile >= p.tiles {
        return;
    }
    var first = corner(p.first + tile, p.tiles_y, p.tiles_x, SIZE, SIZE);
    @if(HEAD) {
        var ends: array<vec4<f32>, OUTPUTS>;
        @unroll for (var i = 0u; i < OUTPUTS; i++) {
            ends[i] = head_bias[0];
        }
        for (var c = 0u; c < p.out_c; c++) {
            first.c = c;
            transform(tile, c);
            let b = bias[c];
            @unroll for (var i = 0u; i < OUTPUTS; i++) {
                ends[i] = add_head(ends[i], output(m[i / SIZE * T + i % SIZE] + b, i, first, map), c);
            }
        }
        @unroll for (var i = 0u; i < OUTPUTS; i++) {
            let y = first.y + i / SIZE;
            let x = first.x + i % SIZE;
            if (y < map.h) & (x < map.w) {
                end_head(ends[i], (first.n * map.h + y) * map.w + x);
            }
        }
    }
    @else {
        first.c = item(group, lane) % p.out_c;
        transform(tile, first.c);
        let b = bias[first.c];
        @unroll for (var i = 0u; i < OUTPUTS; i++) {
            m[i / SIZE * T + i % SIZE] = output(m[i / SIZE * T + i % SIZE] + b, i, first, map);
        }
        @if(POOL) @unroll for (var i = 0u; i < OUTPUTS / 4u; i++) {
            const row = i / (SIZE / 2u) * 2u;
            const column = i % (SIZE / 2u) * 2u;
            const a = row * T + column;
            let to = Place(first.n, first.y + row, first.x + column, first.c);
            pool(to, map, m[a], m[a + 1u], m[a + T], m[a + T + 1u]);
        }
    }
}
