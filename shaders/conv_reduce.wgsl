// Adds up the parts of a split sum, then ends the convolution. A lane makes 2x2 pixels by one vec4 of channels.
//
// Grid: x, y = LANES (2x2 pixels, vec4) places per workgroup, vec4 fastest.
// Loops: 4 * PARTS

import package::shared::epilogue::{finish, pool};
import package::shared::index::{Group, Map, Place, at, item, place};
import constants::{LANES, PARTS};

struct Params {
    out_h: u32,
    out_w: u32,
    out_c: u32,  // vec4s
    quads_y: u32,
    quads_x: u32,
    total: u32,  // 2x2 pixels by one vec4, of the batch
    pixels: u32, // of the map, of the batch
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<vec4<f32>>; // [part][pixel][out vec4]
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let map = Map(p.out_h, p.out_w, p.out_c);
    let quad = place(i, Map(p.quads_y, p.quads_x, p.out_c));
    let first = Place(quad.n, quad.y * 2u, quad.x * 2u, quad.c);
    var sum: array<vec4<f32>, 4>;
    @unroll for (var q = 0u; q < 4u; q++) {
        let to = Place(first.n, first.y + q / 2u, first.x + q % 2u, first.c);
        if (to.y < map.h) & (to.x < map.w) {
            var value = bias[to.c];
            for (var part = 0u; part < PARTS; part++) {
                value += sums[part * p.pixels * p.out_c + at(to, map)];
            }
            sum[q] = finish(value, at(to, map), true);
        }
    }
    @if(POOL) pool(first, map, sum[0], sum[1], sum[2], sum[3]);
}
