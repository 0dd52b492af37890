// Measures the multiply-adds per second of a device: chains of them in registers, nothing else. A lane runs CHAINS
// independent chains, so no chain waits for its last step, and STEPS steps in a round. Each chain turns a point (x, y)
// on an ellipse: x -= angle * y; y += angle * x. The point stays bounded, and no step can be computed ahead.
//
// Grid: x, y = LANES lanes per workgroup.
// Loops: rounds

import package::shared::index::{Group, item};
import constants::{CHAINS, LANES, STEPS};

struct Params {
    rounds: u32,
    angle: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dst: array<elem4>; // one per lane

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    let forward = elem4(vec4<f32>(p.angle));
    let back = elem4(vec4<f32>(-p.angle));
    var x: array<elem4, CHAINS>;
    var y: array<elem4, CHAINS>;
    @unroll for (var k = 0u; k < CHAINS; k++) {
        x[k] = elem4(vec4<f32>(vec4<u32>(0u, 1u, 2u, 3u) + (i + k) % 61u) / 64.0);
        y[k] = elem4(vec4<f32>(0.5));
    }
    for (var round = 0u; round < p.rounds; round++) {
        @unroll for (var step = 0u; step < STEPS; step++) {
            @unroll for (var k = 0u; k < CHAINS; k++) {
                x[k] = fma(back, y[k], x[k]);
                y[k] = fma(forward, x[k], y[k]);
            }
        }
    }
    // The stored value depends on every chain, so the compiler can drop none.
    var sum = elem4(vec4<f32>(0.0));
    @unroll for (var k = 0u; k < CHAINS; k++) {
        sum += x[k] + y[k];
    }
    dst[i] = sum;
}
