// A 1x1 convolution to at most four channels over what a kernel has in its registers. Goes before kernels with HEAD.
//
// Bindings: 7 head [in vec4][in lane]; 8 head_bias.
// Constants: HEAD_SIGMOID.

@group(0) @binding(7) var<storage, read> head: array<elem4>;
@group(0) @binding(8) var<storage, read> head_bias: array<vec4<f32>>;

// The head's sums with the share of vec4 `c` of its inputs.
fn add_head(sum: vec4<f32>, x: vec4<f32>, c: u32) -> vec4<f32> {
    let w = array(head[4u * c], head[4u * c + 1u], head[4u * c + 2u], head[4u * c + 3u]);
    return sum + x.x * vec4<f32>(w[0]) + x.y * vec4<f32>(w[1]) + x.z * vec4<f32>(w[2]) + x.w * vec4<f32>(w[3]);
}

fn end_head(x: vec4<f32>) -> vec4<f32> {
    if HEAD_SIGMOID {
        return f_sigmoid(x);
    }
    return x;
}
