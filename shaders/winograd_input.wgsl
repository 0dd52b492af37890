// Winograd convolution, first step (Lavin and Gray 2015): each overlapping input tile d becomes Bt d B. A lane
// transforms one tile of one vec4 of channels. The result is a batch of matrices [place in tile][tile][in vec4].
//
// Grid: x, y = LANES (tile, vec4) places per workgroup, vec4 fastest.
// Loops: 0

import package::shared::index::{Group, Place, corner, item};
import package::shared::sources::{origin, source};
import constants::{LANES, SIZE}; // SIZE: outputs along a tile's side; F4: SIZE is 4, else 2

struct Params {
    in_h: u32,
    in_w: u32,
    in_c: u32,   // vec4s of both sources
    src0_c: u32, // vec4s of the first source
    tiles_y: u32,
    tiles_x: u32,
    first: u32,  // the first tile of this band, counted over the batch
    tiles: u32,  // of this band
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read_write> dst: array<elem4>;

const T = SIZE + 2u;

fn load(n: u32, row: u32, column: u32, k: u32) -> vec4<f32> {
    let y = origin(row, p.in_h);
    let x = origin(column, p.in_w);
    // Rows and columns before the picture wrapped past zero, so that one comparison tests both edges.
    let inside = (y < p.in_h) & (x < p.in_w);
    let pixel = select(0u, (n * p.in_h + y) * p.in_w + x, inside);
    return select(vec4<f32>(0.0), vec4<f32>(source(pixel, k, p.src0_c, p.in_c)), inside);
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.tiles * p.in_c {
        return;
    }
    let tile = corner(p.first + i / p.in_c, p.tiles_y, p.tiles_x, SIZE, SIZE);
    let k = i % p.in_c;
    var d: array<vec4<f32>, T * T>;
    @unroll for (var at = 0u; at < T * T; at++) {
        d[at] = load(tile.n, tile.y - p.pad_y + at / T, tile.x - p.pad_x + at % T, k);
    }
    // Columns, then rows. `step` is the distance between the elements of a line, `start` its first element.
    @unroll for (var line = 0u; line < 2u * T; line++) {
        const step = T - line / T * (T - 1u);
        const start = line / T * (line % T) * T + (1u - line / T) * (line % T);
        let d0 = d[start];
        let d1 = d[start + step];
        let d2 = d[start + 2u * step];
        let d3 = d[start + 3u * step];
        @if(F4) {
            let d4 = d[start + 4u * step];
            let d5 = d[start + 5u * step];
            d[start] = 4.0 * d0 - 5.0 * d2 + d4;
            d[start + step] = (d4 - 4.0 * d2) + (d3 - 4.0 * d1);
            d[start + 2u * step] = (d4 - 4.0 * d2) - (d3 - 4.0 * d1);
            d[start + 3u * step] = (d4 - d2) + 2.0 * (d3 - d1);
            d[start + 4u * step] = (d4 - d2) - 2.0 * (d3 - d1);
            d[start + 5u * step] = 4.0 * d1 - 5.0 * d3 + d5;
        }
        @else {
            d[start] = d0 - d2;
            d[start + step] = d1 + d2;
            d[start + 2u * step] = d2 - d1;
            d[start + 3u * step] = d1 - d3;
        }
    }
    @unroll for (var at = 0u; at < T * T; at++) {
        dst[at * p.tiles * p.in_c + i] = elem4(d[at]);
    }
}
