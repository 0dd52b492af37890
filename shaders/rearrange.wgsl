// A strided view, element by element. A lane makes one vec4 of one pixel. The index of each element in NCHW order is
// written in mixed radix; its digits times their strides lead to the element of src.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: 0

import package::shared::index::{Group, item};
import constants::{DIGITS, LANES};

struct Params {
    out_c: u32,       // channels
    out_pixels: u32,
    out_vectors: u32, // vec4s per pixel
    in_c: u32,
    in_pixels: u32,
    in_vectors: u32,
    offset: u32,      // the first element of src
    size0: u32,       // the least significant digit
    stride0: u32,     // i32 bits; sums wrap around to the right place
    size1: u32,
    stride1: u32,
    size2: u32,
    stride2: u32,
    size3: u32,
    stride3: u32,
    size4: u32,
    stride4: u32,
    size5: u32,
    stride5: u32,
    size6: u32,
    stride6: u32,
    size7: u32,
    stride7: u32,
    total: u32,       // vec4s in dst
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

struct Digits {
    rest: u32, // of the index
    at: u32,   // in src
}

fn digit(digits: Digits, size: u32, stride: u32) -> Digits {
    let rest = digits.rest / size;
    return Digits(rest, digits.at + (digits.rest - rest * size) * stride);
}

fn element(index: u32) -> f32 {
    var digits = Digits(index, p.offset);
    if DIGITS > 0u {
        digits = digit(digits, p.size0, p.stride0);
    }
    if DIGITS > 1u {
        digits = digit(digits, p.size1, p.stride1);
    }
    if DIGITS > 2u {
        digits = digit(digits, p.size2, p.stride2);
    }
    if DIGITS > 3u {
        digits = digit(digits, p.size3, p.stride3);
    }
    if DIGITS > 4u {
        digits = digit(digits, p.size4, p.stride4);
    }
    if DIGITS > 5u {
        digits = digit(digits, p.size5, p.stride5);
    }
    if DIGITS > 6u {
        digits = digit(digits, p.size6, p.stride6);
    }
    if DIGITS > 7u {
        digits = digit(digits, p.size7, p.stride7);
    }
    let plane = digits.at / p.in_pixels;
    let pixel = digits.at - plane * p.in_pixels;
    let n = plane / p.in_c;
    let c = plane - n * p.in_c;
    return f32(src[(n * p.in_pixels + pixel) * p.in_vectors + c / 4u][c % 4u]);
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let place = i / p.out_vectors;
    let c = (i - place * p.out_vectors) * 4u;
    let n = place / p.out_pixels;
    let pixel = place - n * p.out_pixels;
    var result = vec4<f32>(0.0);
    @unroll for (var l = 0u; l < 4u; l++) {
        if c + l < p.out_c {
            result[l] = element((n * p.out_c + c + l) * p.out_pixels + pixel);
        }
    }
    dst[i] = elem4(result);
}
