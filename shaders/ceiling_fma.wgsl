// The device's multiply-adds a second: chains of them in registers and nothing else. Each chain turns a point (x, y) on
// an ellipse, x -= angle * y; y += angle * x, which stays bounded and never settles, so that no step can be foreseen.
//
// Grid: x, y = LANES lanes a workgroup.
// Bindings: 0 params; 1 dst, a vec4 a lane.
// Constants: LANES; CHAINS that a lane turns side by side, so that none waits for its last step; STEPS a round.
// Loop budget: rounds.

struct Params {
    rounds: u32,
    angle: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dst: array<elem4>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat(workgroup, grid, lane);
    let forward = elem4(vec4<f32>(p.angle));
    let back = elem4(vec4<f32>(-p.angle));
    var x: array<elem4, CHAINS>;
    var y: array<elem4, CHAINS>;
    for (var k = 0u; k < CHAINS; k++) { // unroll
        x[k] = elem4(vec4<f32>(vec4<u32>(0u, 1u, 2u, 3u) + (i + k) % 61u) / 64.0);
        y[k] = elem4(vec4<f32>(0.5));
    }
    for (var round = 0u; round < p.rounds; round++) {
        for (var step = 0u; step < STEPS; step++) { // unroll
            for (var k = 0u; k < CHAINS; k++) { // unroll
                x[k] = fma(back, y[k], x[k]);
                y[k] = fma(forward, x[k], y[k]);
            }
        }
    }
    // Every chain ends in what is stored, so that the compiler can drop none.
    var sum = elem4(vec4<f32>(0.0));
    for (var k = 0u; k < CHAINS; k++) { // unroll
        sum += x[k] + y[k];
    }
    dst[i] = sum;
}
