// Resamples to another size. A lane makes one vec4 of one pixel. The host lists for each row and column of the result
// the TAPS rows and columns of src that make it (1 nearest, 2 linear, 4 cubic): two vec4s, first their numbers, then
// their weights.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: 0

import package::shared::index::{Group, Map, item, place};
import constants::{LANES, TAPS};

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    vectors: u32, // vec4s per pixel
    total: u32,   // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> columns: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dst: array<elem4>;

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let to = place(i, Map(p.out_h, p.out_w, p.vectors));
    let in_y = to.n * p.in_h + vec4<u32>(rows[2u * to.y]);
    let in_x = vec4<u32>(columns[2u * to.x]);
    if TAPS == 1u {
        dst[i] = src[(in_y.x * p.in_w + in_x.x) * p.vectors + to.c];
        return;
    }
    let weights_y = rows[2u * to.y + 1u];
    let weights_x = columns[2u * to.x + 1u];
    var sum = vec4<f32>(0.0);
    @unroll for (var ky = 0u; ky < TAPS; ky++) {
        var line = vec4<f32>(0.0);
        @unroll for (var kx = 0u; kx < TAPS; kx++) {
            line += weights_x[kx] * vec4<f32>(src[(in_y[ky] * p.in_w + in_x[kx]) * p.vectors + to.c]);
        }
        sum += weights_y[ky] * line;
    }
    dst[i] = elem4(sum);
}
