// Products of the planes of two tensors, (n,c,h,k) by (n,c,k,w): a lane owns TILE x TILE places of four planes, which
// are the four channels of a vec4.
//
// Grid: x, y = LANES (picture, tile row, tile column, vec4) places a workgroup, vec4 fastest.
// Bindings: 0 params; 1, 2 sources; 3 dst.
// Constants: TILE, SPLAT0 and SPLAT1 (whether a source's one channel stands for all), LANES.
// Loop budget: depth.

struct Params {
    out_h: u32,
    out_w: u32,
    depth: u32,
    tiles_y: u32,
    tiles_x: u32,
    n0: u32,       // vec4s from picture to picture, 0 where one stands for all
    n1: u32,
    vectors0: u32, // vec4s a pixel
    vectors1: u32,
    vectors: u32,  // vec4s a pixel of dst
    channels: u32, // channels of dst
    total: u32,    // places
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src0: array<elem4>;
@group(0) @binding(2) var<storage, read> src1: array<elem4>;
@group(0) @binding(3) var<storage, read_write> dst: array<elem4>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(workgroup, grid, lane);
    if i >= p.total {
        return;
    }
    let tile = i / p.vectors;
    let c = i - tile * p.vectors;
    let tile_row = tile / p.tiles_x;
    let n = tile_row / p.tiles_y;
    let y0 = (tile_row - n * p.tiles_y) * TILE;
    let x0 = (tile - tile_row * p.tiles_x) * TILE;
    var rows: array<u32, TILE>;
    var columns: array<u32, TILE>;
    var sums: array<vec4<f32>, TILE * TILE>;
    for (var t = 0u; t < TILE; t++) { // unroll
        // Places past the edge repeat the last one, and are not stored.
        rows[t] = n * p.n0 + min(y0 + t, p.out_h - 1u) * p.depth * p.vectors0 + select(c, 0u, SPLAT0);
        columns[t] = n * p.n1 + min(x0 + t, p.out_w - 1u) * p.vectors1 + select(c, 0u, SPLAT1);
    }
    let step = p.out_w * p.vectors1;
    for (var k = 0u; k < p.depth; k++) {
        var a: array<vec4<f32>, TILE>;
        for (var t = 0u; t < TILE; t++) { // unroll
            let v = vec4<f32>(src0[rows[t] + k * p.vectors0]);
            a[t] = select(v, v.xxxx, vec4<bool>(SPLAT0));
        }
        for (var s = 0u; s < TILE; s++) { // unroll
            let v = vec4<f32>(src1[columns[s] + k * step]);
            let b = select(v, v.xxxx, vec4<bool>(SPLAT1));
            for (var t = 0u; t < TILE; t++) { // unroll
                sums[t * TILE + s] += a[t] * b;
            }
        }
    }
    for (var t = 0u; t < TILE; t++) { // unroll
        for (var s = 0u; s < TILE; s++) { // unroll
            if (y0 + t < p.out_h) & (x0 + s < p.out_w) {
                let at = ((n * p.out_h + y0 + t) * p.out_w + x0 + s) * p.vectors + c;
                dst[at] = elem4(masked(sums[t * TILE + s], c, p.channels));
            }
        }
    }
}
