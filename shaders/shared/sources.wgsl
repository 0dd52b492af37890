// The input of a convolution: one tensor, or with TWO the channels of a second one behind those of the first.

@group(0) @binding(1) var<storage, read> src0: array<elem4>;
@if(TWO) @group(0) @binding(2) var<storage, read> src1: array<elem4>;

// Where row or column `i` of an input of `size` comes from; before the first one it is below zero, wrapped. With REFLECT
// it is mirrored at the edge, with EDGE the nearest; otherwise what is outside stays there.
@if(REFLECT) fn origin(i: u32, size: u32) -> u32 {
    let last = i32(size) - 1;
    let mirrored = abs(bitcast<i32>(i));
    // Lanes past the last output may be further away.
    return u32(clamp(min(mirrored, 2 * last - mirrored), 0, last));
}
@else @if(EDGE) fn origin(i: u32, size: u32) -> u32 {
    return u32(clamp(bitcast<i32>(i), 0, i32(size) - 1));
}
@else fn origin(i: u32, size: u32) -> u32 {
    return i;
}

// Vec4 `k` of a pixel. `src0_c` vec4s of `in_c` are the first source's.
fn source(pixel: u32, k: u32, src0_c: u32, in_c: u32) -> elem4 {
    @if(TWO) if k >= src0_c {
        return src1[pixel * (in_c - src0_c) + k - src0_c];
    }
    return src0[pixel * src0_c + k];
}
