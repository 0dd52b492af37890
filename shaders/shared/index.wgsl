// Finds the data that a lane works on.

import constants::LANES;

// A workgroup. The index of a lane in it is a separate input of entry points, because compilers decide by whole inputs
// whether a branch is the same for all lanes.
struct Group {
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
}

// Picture, row, column and vec4 of channels.
struct Place {
    n: u32,
    y: u32,
    x: u32,
    c: u32,
}

// Extents of a map: rows, columns and vec4s of channels.
struct Map {
    h: u32,
    w: u32,
    c: u32,
}

// The index of a workgroup. The grid's x continues in its y beyond the device's limit.
fn number(group: Group) -> u32 {
    return group.id.y * group.grid.x + group.id.x;
}

// The index of a lane in the whole grid.
fn item(group: Group, lane: u32) -> u32 {
    return number(group) * LANES + lane;
}

// The place of vec4 `i`, channels fastest.
fn place(i: u32, map: Map) -> Place {
    let pixel = i / map.c;
    let row = pixel / map.w;
    let n = row / map.h;
    return Place(n, row - n * map.h, pixel - row * map.w, i - pixel * map.c);
}

// The vec4 at a place.
fn at(place: Place, map: Map) -> u32 {
    return ((place.n * map.h + place.y) * map.w + place.x) * map.c + place.c;
}

// The first place of tile `i`. `tiles_y` and `tiles_x` tiles of h x w pixels cover a map.
fn corner(i: u32, tiles_y: u32, tiles_x: u32, h: u32, w: u32) -> Place {
    let row = i / tiles_x;
    let n = row / tiles_y;
    return Place(n, (row - n * tiles_y) * h, (i - row * tiles_x) * w, 0u);
}

// Clears the channels past the last one. Vec4 `c` of a pixel holds channels 4 c to 4 c + 3.
fn masked(x: vec4<f32>, c: u32, channels: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), x, four(c) < vec4<u32>(channels));
}

// The channels of vec4 `c`.
fn four(c: u32) -> vec4<u32> {
    return vec4<u32>(c * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
}
