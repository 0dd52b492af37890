// Winograd convolution, last step (Lavin and Gray 2015): each tile of products m becomes At m A, with bias,
// activation, and the max-pooled half or what is added to the sum. A lane owns one tile by four channels.
// With HEAD a lane owns a tile with all its channels, of which a 1x1 convolution to four makes the output.
//
// Grid: x, y = LANES (tile, vec4) pairs a workgroup, vec4 fastest; with HEAD, LANES tiles.
// Bindings: 0 params; 1 products [place in tile][tile][out vec4]; 2 bias; 3 dst (if FULL or HEAD); 4 pooled (if POOL)
//           or summand (if ADD), a map like dst; with HEAD those of head.wgsl.
// Constants: SIZE (outputs along a tile's side), F4 (SIZE is 4, else 2), LANES.
// Loop budget: 0; with HEAD the vec4s a pixel.

struct Params {
    out_h: u32,
    out_w: u32,
    tiles_y: u32,
    tiles_x: u32,
    first: u32, // the first tile of this band, counted over the batch
    tiles: u32, // tiles of this band
    out_c: u32, // vec4s a pixel
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
//#if FULL
@group(0) @binding(3) var<storage, read_write> dst: array<elem4>;
//#end
//#if POOL
@group(0) @binding(4) var<storage, read_write> pooled: array<elem4>;
//#end
//#if ADD
@group(0) @binding(4) var<storage, read> summand: array<elem4>;
//#end
//#if HEAD
@group(0) @binding(3) var<storage, read_write> dst: array<elem4>;
//#end

const T = SIZE + 2u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(workgroup, grid, lane);
//#if HEAD
    let local = i;
//#else
    let local = i / p.out_c;
//#end
    if local >= p.tiles {
        return;
    }
    let tile = p.first + local;
    let tile_row = tile / p.tiles_x;
    let n = tile_row / p.tiles_y;
    let y0 = (tile_row - n * p.tiles_y) * SIZE;
    let x0 = (tile - tile_row * p.tiles_x) * SIZE;

    var m: array<vec4<f32>, T * T>;
//#if HEAD
    var ends: array<vec4<f32>, SIZE * SIZE>;
    for (var at = 0u; at < SIZE * SIZE; at++) { // unroll
        ends[at] = head_bias[0];
    }
    for (var c = 0u; c < p.out_c; c++) {
//#else
    let c = i % p.out_c;
    {
//#end
    for (var at = 0u; at < T * T; at++) { // unroll
        m[at] = vec4<f32>(src[(at * p.tiles + local) * p.out_c + c]);
    }
    // Columns to SIZE rows, then rows to SIZE columns; results stay at the front of each line.
    for (var line = 0u; line < T + SIZE; line++) { // unroll
        const step = T - line / T * (T - 1u);
        const start = line / T * (line % T) * T + (1u - line / T) * (line % T);
        let m0 = m[start];
        let m1 = m[start + step];
        let m2 = m[start + 2u * step];
        let m3 = m[start + 3u * step];
//#if F4
        let m4 = m[start + 4u * step];
        let m5 = m[start + 5u * step];
        m[start] = m0 + (m1 + m2) + (m3 + m4);
        m[start + step] = (m1 - m2) + 2.0 * (m3 - m4);
        m[start + 2u * step] = (m1 + m2) + 4.0 * (m3 + m4);
        m[start + 3u * step] = (m1 - m2) + 8.0 * (m3 - m4) + m5;
//#else
        m[start] = m0 + m1 + m2;
        m[start + step] = m1 - m2 - m3;
//#end
    }
    let b = bias[c];
    for (var at = 0u; at < SIZE * SIZE; at++) { // unroll
        const place = at / SIZE * T + at % SIZE;
        let y = y0 + at / SIZE;
        let x = x0 + at % SIZE;
        let fits = (y < p.out_h) & (x < p.out_w);
        let to = ((n * p.out_h + y) * p.out_w + x) * p.out_c + c;
        m[place] += b;
//#if ADD
        if fits {
            m[place] += vec4<f32>(summand[to]);
        }
//#end
        m[place] = activate(m[place]);
//#if HEAD
        ends[at] = add_head(ends[at], m[place], c);
//#end
//#if FULL
        if fits {
            dst[to] = elem4(m[place]);
        }
//#end
    }
//#if POOL
    for (var at = 0u; at < SIZE * SIZE / 4u; at++) { // unroll
        const corner = at / (SIZE / 2u) * 2u * T + at % (SIZE / 2u) * 2u;
        let y = y0 / 2u + at / (SIZE / 2u);
        let x = x0 / 2u + at % (SIZE / 2u);
        let upper = larger(m[corner], m[corner + 1u]);
        let lower = larger(m[corner + T], m[corner + T + 1u]);
        if (y < p.out_h / 2u) & (x < p.out_w / 2u) {
            pooled[((n * (p.out_h / 2u) + y) * (p.out_w / 2u) + x) * p.out_c + c] = elem4(larger(upper, lower));
        }
    }
//#end
    }
//#if HEAD
    for (var at = 0u; at < SIZE * SIZE; at++) { // unroll
        let y = y0 + at / SIZE;
        let x = x0 + at % SIZE;
        if (y < p.out_h) & (x < p.out_w) {
            dst[(n * p.out_h + y) * p.out_w + x] = elem4(end_head(ends[at]));
        }
    }
//#end
}
