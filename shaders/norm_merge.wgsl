// Second step of a group norm: the chunks and channels of a group become one mean and one deviation (Chan et al. 1979),
// and these the mean and the factor of each of its channels. A workgroup takes a group. LANES is a power of two.
//
// Grid: x, y = (picture, group) pairs.
// Loops: chunks * size / LANES + size / LANES + 9
// Workgroup bytes: LANES * 12

import package::shared::index::{Group, number};
import constants::LANES;

struct Params {
    groups: u32,  // of one picture
    size: u32,    // channels of a group
    vectors: u32, // vec4s per pixel
    chunks: u32,
    chunk: u32,   // pixels of a chunk
    pixels: u32,  // of one plane
    total: u32,   // groups of the batch
    eps: u32,     // f32 bits
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<f32>; // from norm_statistics
@group(0) @binding(2) var<storage, read> scale: array<f32>;
// For each picture the channels' means, then their factors scale / sqrt(variance + eps).
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

var<workgroup> means: array<f32, LANES>;
var<workgroup> deviations: array<f32, LANES>;
var<workgroup> counts: array<f32, LANES>;

// Merges the statistics of `count` more numbers into those of a lane.
fn merge(lane: u32, count: f32, mean: f32, squares: f32) {
    let sum = max(counts[lane] + count, 1.0);
    let off = mean - means[lane];
    deviations[lane] += squares + off * off * (counts[lane] * count / sum);
    means[lane] += off * (count / sum);
    counts[lane] += count;
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = number(group);
    if i >= p.total {
        return;
    }
    let n = i / p.groups;
    let first = (i - n * p.groups) * p.size;
    means[lane] = 0.0;
    deviations[lane] = 0.0;
    counts[lane] = 0.0;
    for (var part = lane; part < p.chunks * p.size; part += LANES) {
        let chunk = part / p.size;
        let channel = first + part - chunk * p.size;
        let at = ((n * p.chunks + chunk) * p.vectors + channel / 4u) * 8u + channel % 4u;
        let count = min(p.chunk, p.pixels - chunk * p.chunk);
        merge(lane, f32(count), src[at], src[at + 4u]);
    }
    for (var half_ = LANES / 2u; half_ > 0u; half_ /= 2u) {
        workgroupBarrier();
        if lane < half_ {
            let other = lane + half_;
            merge(lane, counts[other], means[other], deviations[other]);
        }
    }
    workgroupBarrier();
    let factor = 1.0 / sqrt(deviations[0] / counts[0] + bitcast<f32>(p.eps));
    let start = n * p.vectors * 8u;
    for (var channel = first + lane; channel < first + p.size; channel += LANES) {
        dst[start + channel] = means[0];
        dst[start + p.vectors * 4u + channel] = factor * scale[channel];
    }
}
