// Mean and squared deviations of numbers, lane by lane (Welford 1962) and merged in pairs (Chan et al. 1979).

import constants::LANES;

var<workgroup> means: array<vec4<f32>, LANES>;
var<workgroup> deviations: array<vec4<f32>, LANES>;
var<workgroup> counts: array<f32, LANES>;

// Merges the statistics of `count` more numbers into those of a lane.
fn merge(lane: u32, count: f32, mean: vec4<f32>, squares: vec4<f32>) {
    let sum = max(counts[lane] + count, 1.0);
    let off = mean - means[lane];
    deviations[lane] += squares + off * off * (counts[lane] * count / sum);
    means[lane] += off * (count / sum);
    counts[lane] += count;
}

// Sets the statistics of a lane.
fn begin_statistics(lane: u32, count: f32, mean: vec4<f32>, squares: vec4<f32>) {
    means[lane] = mean;
    deviations[lane] = squares;
    counts[lane] = count;
}

// Merges all lanes into the first `columns`, a power of two: lane i with lanes i + columns, i + 2 columns and so on.
fn merge_lanes(lane: u32, columns: u32) {
    for (var half_ = LANES / 2u; half_ >= columns; half_ /= 2u) {
        workgroupBarrier();
        if lane < half_ {
            let other = lane + half_;
            merge(lane, counts[other], means[other], deviations[other]);
        }
    }
    workgroupBarrier();
}
