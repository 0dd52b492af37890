// Pads or crops rows and columns. A lane makes one vec4 of one pixel. MODE: 0 constant, 1 edge, 2 reflect, 3 wrap.
// Flags:
// - VALUE: the constant is `value`; otherwise it is zero.
// - MASK: numbers beyond the last channel are cleared.
//
// Grid: x, y = LANES vec4s of dst per workgroup.
// Loops: 0

import package::shared::index::{Group, Map, Place, at, item, masked, place};
import constants::{LANES, MODE};

struct Params {
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    vectors: u32, // vec4s per pixel
    total: u32,   // vec4s in dst
    top: u32,     // i32 bits: rows before the source, negative when cropping
    left: u32,
    value: u32,   // f32 bits, because WGSL cannot spell infinities
    channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dst: array<elem4>;

// The row or column of the source at `i`; `size` where there is none.
fn origin(i: i32, size: i32) -> i32 {
    if MODE == 0u {
        return select(size, i, (i >= 0) & (i < size));
    }
    if (MODE == 1u) | (size == 1) {
        return clamp(i, 0, size - 1);
    }
    if MODE == 3u {
        return ((i % size) + size) % size;
    }
    let period = 2 * (size - 1);
    let folded = ((i % period) + period) % period;
    return min(folded, period - folded);
}

@compute @workgroup_size(LANES)
fn main(group: Group, @builtin(local_invocation_index) lane: u32) {
    let i = item(group, lane);
    if i >= p.total {
        return;
    }
    let to = place(i, Map(p.out_h, p.out_w, p.vectors));
    let y = origin(i32(to.y) - i32(p.top), i32(p.in_h));
    let x = origin(i32(to.x) - i32(p.left), i32(p.in_w));
    @if(VALUE && MASK) var value = elem4(masked(vec4<f32>(bitcast<f32>(p.value)), to.c, p.channels));
    @else @if(VALUE) var value = elem4(vec4<f32>(bitcast<f32>(p.value)));
    @else var value = elem4();
    if (y < i32(p.in_h)) & (x < i32(p.in_w)) {
        value = src[at(Place(to.n, u32(y), u32(x), to.c), Map(p.in_h, p.in_w, p.vectors))];
    }
    dst[i] = value;
}
