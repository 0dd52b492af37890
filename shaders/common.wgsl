// Shared by all kernels: what is applied to a sum before it is stored, and how a lane finds its place.
//
// Constants: ACTIVATION (0 none, 1 ReLU, 2 leaky ReLU, 3 sigmoid), SLOPE (leaky ReLU).
// Types: elem4, four stored channels, vec4<f32> or vec4<f16>. Sums are always f32.

fn activate(x: vec4<f32>) -> vec4<f32> {
    if ACTIVATION == 1u {
        // Not max(x, 0): that would turn NaN into 0.
        return select(x, vec4<f32>(0.0), x < vec4<f32>(0.0));
    }
    if ACTIVATION == 2u {
        return select(x, SLOPE * x, x < vec4<f32>(0.0));
    }
    if ACTIVATION == 3u {
        return 1.0 / (1.0 + exp(-x));
    }
    return x;
}

// The larger of two, or the NaN among them. NaN by its bits: compilers take `x != x` to be false.
fn larger(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let a_is_nan = (bitcast<vec4<u32>>(a) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(b, a, (b < a) | a_is_nan);
}

// Flat index of a lane in a grid whose x is folded into y past 65,535 workgroups.
fn flat(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> u32 {
    return (workgroup.y * grid.x + workgroup.x) * LANES + lane;
}
