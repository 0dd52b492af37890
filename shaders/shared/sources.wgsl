// The input of a convolution: one tensor, or with TWO the channels of a second one behind those of the first.

@group(0) @binding(1) var<storage, read> src0: array<elem4>;
@if(TWO) @group(0) @binding(2) var<storage, read> src1: array<elem4>;

// Vec4 `k` of a pixel. `src0_c` vec4s of `in_c` are the first source's.
fn source(pixel: u32, k: u32, src0_c: u32, in_c: u32) -> elem4 {
    @if(TWO) if k >= src0_c {
        return src1[pixel * (in_c - src0_c) + k - src0_c];
    }
    return src0[pixel * src0_c + k];
}
