// What the convolutions through workgroup memory share. A workgroup makes a tile of a map by TILE_C vec4s of channels;
// with SPLIT it sums over its own part of the input channels. With SCATTER the channels are those of OUT_H x OUT_W
// pixels, one after another, and go to their places in a map that much larger: a transposed convolution whose kernel is
// as large as its stride.

import package::shared::index::{Map, Place, at};
import package::shared::sources::{origin, source};
import constants::{OUT_H, OUT_W};

struct Params {
    in_h: u32,
    in_w: u32,
    in_c: u32,     // vec4s of both sources
    src0_c: u32,   // vec4s of the first source
    out_h: u32,
    out_w: u32,
    out_c: u32,    // vec4s
    tiles_y: u32,
    tiles_x: u32,
    tiles: u32,    // of the batch
    weight_c: u32, // out_c rounded up to whole blocks
    weight_n: u32, // vec4s between the weights of two pictures; 0 when all share them
    part_c: u32,   // input vec4s of one part of a split sum
    pixels: u32,   // of the map, of the batch
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

// Vec4 `k` of an input pixel; zero in a padding of zeros, where rows and columns wrapped past zero, and from `k_end` on.
fn input(n: u32, row: u32, column: u32, k: u32, k_end: u32) -> elem4 {
    let y = origin(row, p.in_h);
    let x = origin(column, p.in_w);
    var value = elem4();
    if (y < p.in_h) & (x < p.in_w) & (k < k_end) {
        value = source((n * p.in_h + y) * p.in_w + x, k, p.src0_c, p.in_c);
    }
    return value;
}

fn inside(to: Place) -> bool {
    return (to.y < p.out_h) & (to.x < p.out_w);
}

// The vec4 of the result, or of all parts, where a sum goes.
fn result_at(part: u32, to: Place) -> u32 {
    @if(SCATTER) {
        let phase_c = p.out_c / (OUT_H * OUT_W);
        let phase = to.c / phase_c;
        let row = (to.n * p.out_h + to.y) * OUT_H + phase / OUT_W;
        return (row * p.out_w * OUT_W + to.x * OUT_W + phase % OUT_W) * phase_c + to.c - phase * phase_c;
    }
    @else return part * p.pixels * p.out_c + at(to, Map(p.out_h, p.out_w, p.out_c));
}
