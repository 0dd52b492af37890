// Convolution as an implicit matrix product through workgroup memory: one group, any kernel, stride, dilation.
// A workgroup makes TILE_H x TILE_W pixels by 4 * TILE_C channels. For each run of DEPTH input vec4s it loads the
// input patch once for all taps, and the taps' weights; a lane keeps REG_H x REG_W pixels by REG_C vec4s in registers.
//
// With SCATTER the output channels are those of OUT_H x OUT_W pixels, one after another, and go to their
// place in a map that much larger: a transposed convolution whose kernel is as large as its stride.
// With HEAD a workgroup has all channels of its pixels, of which a 1x1 convolution to four makes the output.
// With SPLIT each of PARTS workgroups sums over its own input channels, and conv_reduce adds them up.
//
// Grid: x, y = tiles over the batch; z = blocks of TILE_C vec4s of output channels x PARTS.
// Bindings: 0 params; 1, 2 sources (2 if TWO); 3 weights [tap][in vec4][in lane][out vec4]; 4 bias;
//           5 dst (if FULL or HEAD); 6 pooled (if POOL) or summand (if ADD), a map like dst; with HEAD those of head.wgsl. With SPLIT no 4, and 5 is parts, f32 [part][pixel][out vec4].
// Constants: KERNEL_*, STRIDE_*, DILATION_*, TILE_*, REG_*, DEPTH, PARTS, LANES; with SCATTER also OUT_H, OUT_W.
// Workgroup memory: (PATCH_H * PATCH_W + KERNEL_H * KERNEL_W * 4 * TILE_C) * DEPTH elem4s, with HEAD LANES vec4<f32>s.
// Loop budget: (input vec4s / DEPTH) * (DEPTH * KERNEL_H + patch and weight loads a lane).

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    tiles_y: u32,
    tiles_x: u32,
    tiles: u32,    // over the whole batch
    src0_c: u32,   // vec4s a pixel in the first source
    in_c: u32,     // vec4s a pixel in both
    out_c: u32,    // vec4s a pixel in dst
    weight_c: u32, // out_c rounded up to whole blocks
    weight_n: u32, // vec4s between the weights of two pictures; 0 when all share them
    part_c: u32,   // input vec4s of one part of a split sum
    pixels: u32,   // of the map, over the batch
    pad_y: u32,
    pad_x: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src0: array<elem4>;
//#if TWO
@group(0) @binding(2) var<storage, read> src1: array<elem4>;
//#end
@group(0) @binding(3) var<storage, read> weights: array<elem4>;
//#if SPLIT
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>;
//#else
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
//#end
//#if FULL
@group(0) @binding(5) var<storage, read_write> dst: array<elem4>;
//#end
//#if POOL
@group(0) @binding(6) var<storage, read_write> pooled: array<elem4>;
//#end
//#if ADD
@group(0) @binding(6) var<storage, read> summand: array<elem4>;
//#end
//#if HEAD
@group(0) @binding(5) var<storage, read_write> dst: array<elem4>;
var<workgroup> shares: array<vec4<f32>, LANES>;
//#end

//#if SCATTER
fn place(n: u32, y: u32, x: u32, channel: u32) -> u32 {
    let phase_c = p.out_c / (OUT_H * OUT_W);
    let phase = channel / phase_c;
    let row = (n * p.out_h + y) * OUT_H + phase / OUT_W;
    return (row * p.out_w * OUT_W + x * OUT_W + phase % OUT_W) * phase_c + channel - phase * phase_c;
}
//#else
fn place(n: u32, y: u32, x: u32, channel: u32) -> u32 {
    return ((n * p.out_h + y) * p.out_w + x) * p.out_c + channel;
}
//#end

const TAPS = KERNEL_H * KERNEL_W;
const PATCH_H = (TILE_H - 1u) * STRIDE_H + (KERNEL_H - 1u) * DILATION_H + 1u;
const PATCH_W = (TILE_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
// What a lane reads of a patch row for all taps of one kernel row.
const ROW = (REG_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const LANES_C = TILE_C / REG_C;
const LANES_X = TILE_W / REG_W;
const PIXELS = REG_H * REG_W;

var<workgroup> patch_: array<elem4, DEPTH * PATCH_H * PATCH_W>;
var<workgroup> taps: array<elem4, DEPTH * TAPS * 4u * TILE_C>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = workgroup.y * grid.x + workgroup.x;
    if tile >= p.tiles {
        return;
    }
    let tile_row = tile / p.tiles_x;
    let n = tile_row / p.tiles_y;
    let tile_y = (tile_row - n * p.tiles_y) * TILE_H;
    let tile_x = (tile - tile_row * p.tiles_x) * TILE_W;
    let lane_c = lane % LANES_C;
    let lane_y = lane / LANES_C / LANES_X * REG_H;
    let lane_x = lane / LANES_C % LANES_X * REG_W;
    let block = workgroup.z / PARTS * TILE_C;
    let part = workgroup.z % PARTS;
    let k_begin = part * p.part_c;
    let k_end = min(k_begin + p.part_c, p.in_c);

    var sum: array<vec4<f32>, PIXELS * REG_C>;
//#if SPLIT
    // Begins at zero.
//#else
    for (var c = 0u; c < REG_C; c++) { // unroll
        let b = bias[block + c * LANES_C + lane_c];
        for (var i = 0u; i < PIXELS; i++) { // unroll
            sum[i * REG_C + c] = b;
        }
    }
//#end

    var row: array<vec4<f32>, REG_H * ROW>;
    for (var k0 = k_begin; k0 < k_end; k0 += DEPTH) {
        workgroupBarrier();
        for (var i = lane; i < DEPTH * PATCH_H * PATCH_W; i += LANES) {
            let k = k0 + i % DEPTH;
            // Wraps past zero on the padding, so that one comparison tests both edges.
            let y = tile_y * STRIDE_H + i / DEPTH / PATCH_W - p.pad_y;
            let x = tile_x * STRIDE_W + i / DEPTH % PATCH_W - p.pad_x;
            var value = elem4();
            if (y < p.in_h) & (x < p.in_w) & (k < k_end) {
                let pixel = (n * p.in_h + y) * p.in_w + x;
//#if TWO
                if k >= p.src0_c {
                    value = src1[pixel * (p.in_c - p.src0_c) + k - p.src0_c];
                } else {
                    value = src0[pixel * p.src0_c + k];
                }
//#else
                value = src0[pixel * p.src0_c + k];
//#end
            }
            patch_[(i % DEPTH) * (PATCH_H * PATCH_W) + i / DEPTH] = value;
        }
        for (var i = lane; i < DEPTH * TAPS * 4u * TILE_C; i += LANES) {
            // i = ((k * TAPS + tap) * 4 + input lane) * TILE_C + c
            let in_lane = i / TILE_C % 4u;
            let tap = i / (TILE_C * 4u) % TAPS;
            let k = k0 + i / (TILE_C * 4u * TAPS);
            var value = elem4();
            if k < k_end {
                value = weights[n * p.weight_n + ((tap * p.in_c + k) * 4u + in_lane) * p.weight_c + block + i % TILE_C];
            }
            taps[i] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            for (var ky = 0u; ky < KERNEL_H; ky++) {
                let corner = k * (PATCH_H * PATCH_W) + (lane_y * STRIDE_H + ky * DILATION_H) * PATCH_W + lane_x * STRIDE_W;
                for (var i = 0u; i < REG_H * ROW; i++) { // unroll
                    row[i] = vec4<f32>(patch_[corner + i / ROW * STRIDE_H * PATCH_W + i % ROW]);
                }
                for (var kx = 0u; kx < KERNEL_W; kx++) { // unroll
                    let tap = ((k * KERNEL_H + ky) * KERNEL_W + kx) * (4u * TILE_C) + lane_c;
                    for (var c = 0u; c < REG_C; c++) { // unroll
                        let w0 = vec4<f32>(taps[tap + c * LANES_C]);
                        let w1 = vec4<f32>(taps[tap + TILE_C + c * LANES_C]);
                        let w2 = vec4<f32>(taps[tap + 2u * TILE_C + c * LANES_C]);
                        let w3 = vec4<f32>(taps[tap + 3u * TILE_C + c * LANES_C]);
                        for (var i = 0u; i < PIXELS; i++) { // unroll
                            const at = i / REG_W * ROW + i % REG_W * STRIDE_W + kx * DILATION_W;
                            sum[i * REG_C + c] += row[at].x * w0 + row[at].y * w1 + row[at].z * w2 + row[at].w * w3;
                        }
                    }
                }
            }
        }
    }

    let y0 = tile_y + lane_y;
    let x0 = tile_x + lane_x;
//#if HEAD
    // Lanes that share a pixel add up their channels' shares of its head.
    for (var i = 0u; i < PIXELS; i++) { // unroll
        var share = vec4<f32>(0.0);
        for (var c = 0u; c < REG_C; c++) { // unroll
            let channel = block + c * LANES_C + lane_c;
            if channel < p.out_c {
                share = add_head(share, activate(sum[i * REG_C + c]), channel);
            }
        }
        workgroupBarrier();
        shares[lane] = share;
        workgroupBarrier();
        let y = y0 + i / REG_W;
        let x = x0 + i % REG_W;
        if (lane_c == 0u) & (y < p.out_h) & (x < p.out_w) {
            var end = head_bias[0];
            for (var other = 0u; other < LANES_C; other++) {
                end += shares[lane + other];
            }
            dst[(n * p.out_h + y) * p.out_w + x] = elem4(end_head(end));
        }
    }
//#else
    for (var c = 0u; c < REG_C; c++) { // unroll
        let channel = block + c * LANES_C + lane_c;
        if channel < p.out_c {
//#if SPLIT
            for (var i = 0u; i < PIXELS; i++) { // unroll
                let y = y0 + i / REG_W;
                let x = x0 + i % REG_W;
                if (y < p.out_h) & (x < p.out_w) {
                    parts[part * p.pixels * p.out_c + place(n, y, x, channel)] = sum[i * REG_C + c];
                }
            }
//#else
            for (var i = 0u; i < PIXELS; i++) { // unroll
                let y = y0 + i / REG_W;
                let x = x0 + i % REG_W;
                let fits = (y < p.out_h) & (x < p.out_w);
                let at = place(n, y, x, channel);
//#if ADD
                if fits {
                    sum[i * REG_C + c] += vec4<f32>(summand[at]);
                }
//#end
                sum[i * REG_C + c] = activate(sum[i * REG_C + c]);
//#if FULL
                if fits {
                    dst[at] = elem4(sum[i * REG_C + c]);
                }
//#end
            }
//#end
//#if POOL
            for (var i = 0u; i < PIXELS / 4u; i++) { // unroll
                const corner = (i / (REG_W / 2u) * 2u * REG_W + i % (REG_W / 2u) * 2u) * REG_C;
                let y = y0 / 2u + i / (REG_W / 2u);
                let x = x0 / 2u + i % (REG_W / 2u);
                let upper = larger(sum[corner + c], sum[corner + REG_C + c]);
                let lower = larger(sum[corner + REG_W * REG_C + c], sum[corner + (REG_W + 1u) * REG_C + c]);
                if (y < p.out_h / 2u) & (x < p.out_w / 2u) {
                    pooled[((n * (p.out_h / 2u) + y) * (p.out_w / 2u) + x) * p.out_c + channel] =
                        elem4(larger(upper, lower));
                }
            }
//#end
        }
    }
//#end
}
