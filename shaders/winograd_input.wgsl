// Winograd convolution, first step (Lavin and Gray 2015): each overlapping input tile d becomes Bt d B.
// A lane owns one tile by four channels. The result is a batch of matrices [place in tile][tile][in vec4].
//
// Grid: x, y = LANES (tile, vec4) pairs a workgroup, vec4 fastest.
// Bindings: 0 params; 1, 2 sources (2 if TWO); 3 dst.
// Constants: SIZE (outputs along a tile's side), F4 (SIZE is 4, else 2), LANES.
// Loop budget: 0.

struct Params {
    in_h: u32,
    in_w: u32,
    tiles_y: u32,
    tiles_x: u32,
    first: u32, // the first tile of this band, counted over the batch
    tiles: u32, // tiles of this band
    src0_c: u32,// vec4s a pixel in the first source
    in_c: u32,  // vec4s a pixel in both
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src0: array<elem4>;
//#if TWO
@group(0) @binding(2) var<storage, read> src1: array<elem4>;
//#end
@group(0) @binding(3) var<storage, read_write> dst: array<elem4>;

const T = SIZE + 2u;

fn load(n: u32, y: u32, x: u32, k: u32) -> vec4<f32> {
    // Places before the picture wrapped past zero, so that one comparison tests both edges.
    let inside = (y < p.in_h) & (x < p.in_w);
    let pixel = select(0u, (n * p.in_h + y) * p.in_w + x, inside);
    var value: elem4;
//#if TWO
    if k >= p.src0_c {
        value = src1[pixel * (p.in_c - p.src0_c) + k - p.src0_c];
    } else {
        value = src0[pixel * p.src0_c + k];
    }
//#else
    value = src0[pixel * p.in_c + k];
//#end
    return select(vec4<f32>(0.0), vec4<f32>(value), inside);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(workgroup, grid, lane);
    if i >= p.tiles * p.in_c {
        return;
    }
    let tile = p.first + i / p.in_c;
    let k = i % p.in_c;
    let tile_row = tile / p.tiles_x;
    let n = tile_row / p.tiles_y;
    let y0 = (tile_row - n * p.tiles_y) * SIZE - p.pad_y;
    let x0 = (tile - tile_row * p.tiles_x) * SIZE - p.pad_x;

    var d: array<vec4<f32>, T * T>;
    for (var at = 0u; at < T * T; at++) { // unroll
        d[at] = load(n, y0 + at / T, x0 + at % T, k);
    }
    // Columns, then rows: step is the distance between the elements of one, start its first.
    for (var line = 0u; line < 2u * T; line++) { // unroll
        const step = T - line / T * (T - 1u);
        const start = line / T * (line % T) * T + (1u - line / T) * (line % T);
        let d0 = d[start];
        let d1 = d[start + step];
        let d2 = d[start + 2u * step];
        let d3 = d[start + 3u * step];
//#if F4
        let d4 = d[start + 4u * step];
        let d5 = d[start + 5u * step];
        d[start] = 4.0 * d0 - 5.0 * d2 + d4;
        d[start + step] = (d4 - 4.0 * d2) + (d3 - 4.0 * d1);
        d[start + 2u * step] = (d4 - 4.0 * d2) - (d3 - 4.0 * d1);
        d[start + 3u * step] = (d4 - d2) + 2.0 * (d3 - d1);
        d[start + 4u * step] = (d4 - d2) - 2.0 * (d3 - d1);
        d[start + 5u * step] = 4.0 * d1 - 5.0 * d3 + d5;
//#else
        d[start] = d0 - d2;
        d[start + step] = d1 + d2;
        d[start + 2u * step] = d2 - d1;
        d[start + 3u * step] = d1 - d3;
//#end
    }
    for (var at = 0u; at < T * T; at++) { // unroll
        dst[at * p.tiles * p.in_c + i] = elem4(d[at]);
    }
}
