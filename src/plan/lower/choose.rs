//! Chooses the kernel of a dense convolution: a function of the layer, the device, and the kernel that was requested or
//! measured.

use super::step::LANES;
use crate::graph::Conv;
use crate::plan::kernel::{Kernel, ShaderFile, shader};
use crate::plan::{ConvKernel, DeviceProfile, Precision};

const DIRECT: ShaderFile = shader!("conv_direct");
const TILED: ShaderFile = shader!("conv_tiled");
const COOPERATIVE: ShaderFile = shader!("conv_cooperative");

/// The properties of a convolution that decide how it is computed. Channels are in vec4s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    pub(super) in_c: u32,
    pub(super) out_c: u32,
    /// Pictures, height and width of the sums.
    pub(super) out: [usize; 3],
    pub(super) kernel: [u32; 2],
    pub(super) stride: [u32; 2],
    pub(super) dilation: [u32; 2],
    /// As the kernels see them: 1 where the weights of groups are spread into one matrix.
    pub(super) groups: u32,
    pub(super) spread: bool,
    pub(super) head: bool,
    pub(super) pool: bool,
}

/// Pixels and vec4s of channels that one lane (direct) or one workgroup (tiled, cooperative) makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) h: u32,
    pub(super) w: u32,
    pub(super) c: u32,
}

/// How a dense convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Direct(Tile),
    /// With its depth: input vec4s in each round.
    Tiled(Tile, u32),
    Cooperative(Tile),
    /// With the outputs along a tile's side.
    Winograd(u32),
}

/// Pixels and vec4s of channels that one lane of `conv_tiled` keeps in registers.
const REGISTERS: Tile = Tile { h: 2, w: 4, c: 2 };

/// Input vec4s in each round of `conv_cooperative`.
const COOPERATIVE_DEPTH: u32 = 8;

/// Chooses between all kernels.
pub(super) fn method(
    layer: &Layer,
    device: &DeviceProfile,
    precision: Precision,
    asked: ConvKernel,
) -> Method {
    let square = (layer.kernel, layer.stride, layer.dilation) == ([3, 3], [1, 1], [1, 1]);
    // Winograd's transforms lose bits that 16-bit storage does not have.
    let applies = square && layer.groups == 1 && !layer.spread && precision == Precision::F32;
    let wide = layer.in_c >= 4 && layer.out_c >= 4;
    match asked {
        ConvKernel::Winograd2 if applies => Method::Winograd(2),
        ConvKernel::Winograd4 if applies => Method::Winograd(4),
        ConvKernel::Auto if applies && wide && device.software => Method::Winograd(4),
        _ => product_method(layer, device, precision, asked),
    }
}

/// Chooses between the kernels that compute plain products.
pub(super) fn product_method(
    layer: &Layer,
    device: &DeviceProfile,
    precision: Precision,
    asked: ConvKernel,
) -> Method {
    if asked == ConvKernel::Cooperative
        && precision == Precision::F16
        && let Some(method) = cooperative(layer, device)
    {
        return method;
    }
    // Small maps and thin layers leave most of a workgroup's tile idle.
    let pixels: usize = layer.out.iter().product();
    let worthwhile = !device.software && layer.in_c >= 2 && layer.out_c >= 8 && pixels >= 64;
    let wanted = match asked {
        ConvKernel::Tiled => true,
        ConvKernel::Direct => false,
        _ => worthwhile,
    };
    let tile = Tile { h: 8, w: 16, c: if layer.out_c >= 12 { 16 } else { 8 } };
    let tiled = [2, 1].map(|depth| Method::Tiled(tile, depth));
    let fits = |method: &Method| wanted && layer.groups == 1 && method.fits(layer, device, precision);
    let direct = || Method::Direct(direct_tile(layer.out, layer.out_c, layer.groups, layer.pool, device));
    tiled.into_iter().find(fits).unwrap_or_else(direct)
}

fn cooperative(layer: &Layer, device: &DeviceProfile) -> Option<Method> {
    let side = device.cooperative?;
    let plain = (layer.stride, layer.dilation, layer.groups) == ([1, 1], [1, 1], 1);
    // Fragments are `side` channels deep.
    let whole = layer.in_c.is_multiple_of(side / 4) && layer.out_c >= side / 4;
    let columns = if layer.out_c > side { [2 * side, side] } else { [side, side] };
    let mut methods = columns.map(|c| Method::Cooperative(Tile { h: 8, w: side, c })).into_iter();
    methods.find(|method| plain && whole && method.fits(layer, device, Precision::F16))
}

/// A lane's tile in the direct kernels. On a software adapter it is the tile with the least estimated work. If the map
/// is pooled, its sides are even.
pub(super) fn direct_tile(
    [n, h, w]: [usize; 3],
    out_c: u32,
    groups: u32,
    even: bool,
    device: &DeviceProfile,
) -> Tile {
    let fits = |c: &u32| *c == 1 || (out_c >= *c && (out_c / groups).is_multiple_of(*c));
    if !device.software {
        let c = if fits(&2) { 2 } else { 1 };
        return Tile { h: 2, w: if n * h * w > 1024 { 4 } else { 2 }, c };
    }
    let sides = [1, 2, 4, 8, 16].into_iter().flat_map(|h| [1, 2, 4, 8, 16].map(|w| (h, w)));
    let tiles = sides.flat_map(|(h, w)| [1, 2, 4, 8].map(|c| Tile { h, w, c }));
    let allowed = |t: &Tile| {
        let odd = t.h % 2 + t.w % 2 > 0;
        fits(&t.c) && t.h * t.w <= 16 && t.h * t.w * t.c <= 128 && !(even && odd)
    };
    let work = |t: &Tile| {
        let tiles = n * h.div_ceil(t.h as usize) * w.div_ceil(t.w as usize);
        let pixels = u64::from(t.h * t.w);
        // lavapipe runs 8 lanes together. A multiply-add of four channels takes about 8 instructions a subgroup. A vec4
        // load takes about 240, whatever its width, because it fetches each lane by itself.
        let inner = 32 * pixels * u64::from(t.c) + 240 * (pixels + 4 * u64::from(t.c));
        (tiles as u64).next_multiple_of(8) * u64::from(out_c.div_ceil(t.c)) * inner
    };
    tiles.filter(allowed).min_by_key(work).unwrap_or(Tile { h: 2, w: 2, c: 1 })
}

impl Method {
    /// The kernel of a method that computes plain products.
    pub(super) fn file(self) -> ShaderFile {
        match self {
            Method::Tiled(..) => TILED,
            Method::Cooperative(_) => COOPERATIVE,
            Method::Direct(_) | Method::Winograd(_) => DIRECT,
        }
    }

    /// The tile of a method that computes plain products.
    pub(super) fn tile(self) -> Tile {
        match self {
            Method::Direct(tile) | Method::Tiled(tile, _) | Method::Cooperative(tile) => tile,
            Method::Winograd(side) => Tile { h: side, w: side, c: 1 },
        }
    }

    /// Input vec4s in each round of a kernel that uses workgroup memory.
    pub(super) fn depth(self) -> Option<u32> {
        match self {
            Method::Tiled(_, depth) => Some(depth),
            Method::Cooperative(_) => Some(COOPERATIVE_DEPTH),
            Method::Direct(_) | Method::Winograd(_) => None,
        }
    }

    /// Whether a lane or workgroup has all channels of its pixels, so that it can compute the head.
    pub(super) fn computes_head(self, out_c: u32) -> bool {
        match self {
            Method::Tiled(tile, _) => out_c <= tile.c,
            Method::Winograd(_) => true,
            Method::Direct(_) | Method::Cooperative(_) => false,
        }
    }

    fn lanes(self) -> u32 {
        match self {
            Method::Direct(_) | Method::Winograd(_) => LANES,
            Method::Tiled(t, _) => t.h / REGISTERS.h * (t.w / REGISTERS.w) * (t.c / REGISTERS.c),
            // A subgroup of 32 for each two rows and as many vec4s of channels as the tile is wide.
            Method::Cooperative(t) => 32 * (t.h / 2) * (t.c / t.w),
        }
    }

    /// The kernel's constants for a layer.
    pub(super) fn constants(self, layer: &Layer) -> Vec<(&'static str, u32)> {
        let ([kernel_h, kernel_w], tile) = (layer.kernel, self.tile());
        let mut constants = vec![("LANES", self.lanes()), ("KERNEL_H", kernel_h), ("KERNEL_W", kernel_w)];
        constants.extend([("TILE_H", tile.h), ("TILE_W", tile.w), ("TILE_C", tile.c)]);
        if let Method::Cooperative(_) = self {
            constants.push(("SIDE", tile.w));
        } else {
            let ([stride_h, stride_w], [dilation_h, dilation_w]) = (layer.stride, layer.dilation);
            constants.extend([("STRIDE_H", stride_h), ("STRIDE_W", stride_w)]);
            constants.extend([("DILATION_H", dilation_h), ("DILATION_W", dilation_w)]);
        }
        if let Method::Tiled(_, depth) = self {
            constants.push(("DEPTH", depth));
            constants.extend([("REG_H", REGISTERS.h), ("REG_W", REGISTERS.w), ("REG_C", REGISTERS.c)]);
        }
        if self.depth().is_some() {
            constants.extend([("PARTS", 1), ("OUT_H", 1), ("OUT_W", 1)]);
        }
        constants
    }

    fn fits(self, layer: &Layer, device: &DeviceProfile, precision: Precision) -> bool {
        let flags: &[_] = if layer.head { &["HEAD"] } else { &[] };
        let kernel = Kernel::new(self.file(), precision, &self.constants(layer), flags);
        let bytes = kernel.map_or(u64::MAX, |kernel| kernel.workgroup_bytes());
        bytes <= u64::from(device.max_workgroup_memory) && self.lanes() <= device.max_lanes
    }
}

impl Layer {
    /// A convolution with sums of this extent.
    pub(super) fn new(conv: &Conv, in_c: u32, out_c: u32, out: [usize; 3], spread: bool) -> Layer {
        let pair = |[a, b]: [usize; 2]| [a as u32, b as u32];
        Layer {
            in_c,
            out_c,
            out,
            kernel: pair(conv.kernel()),
            stride: pair(conv.stride),
            dilation: pair(conv.dilation),
            groups: if spread { 1 } else { conv.groups as u32 },
            spread,
            head: conv.head().is_some(),
            pool: conv.pools(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: DeviceProfile = DeviceProfile {
        max_binding: 1 << 30,
        max_buffer: 1 << 30,
        max_workgroups: 65_535,
        max_workgroup_memory: 32 << 10,
        max_lanes: 1024,
        alignment: 256,
        software: false,
        cooperative: None,
    };
    const SMALL: DeviceProfile = DeviceProfile { max_workgroup_memory: 16 << 10, max_lanes: 256, ..HARDWARE };
    const MATRICES: DeviceProfile = DeviceProfile { cooperative: Some(16), ..HARDWARE };
    const SOFTWARE: DeviceProfile = DeviceProfile { software: true, ..HARDWARE };

    /// 64 to 64 channels, 3x3, at 128x128.
    const LAYER: Layer = Layer {
        in_c: 16,
        out_c: 16,
        out: [1, 128, 128],
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        groups: 1,
        spread: false,
        head: false,
        pool: false,
    };

    #[test]
    fn kernels_are_chosen_by_layer_device_precision_and_wish() {
        use ConvKernel::{Auto, Cooperative, Direct, Tiled, Winograd2, Winograd4};
        use Precision::{F16, F32};
        let thin = Layer { out_c: 4, ..LAYER };
        let small = Layer { out: [1, 7, 7], ..LAYER };
        let grouped = Layer { groups: 4, ..LAYER };
        let strided = Layer { stride: [2, 2], ..LAYER };
        let large = Layer { kernel: [7, 7], ..LAYER };
        let tile = |c| Tile { h: 8, w: 16, c };
        let direct = |c| Method::Direct(Tile { h: 2, w: 4, c });
        let table = [
            (LAYER, HARDWARE, F32, Auto, Method::Tiled(tile(16), 2)),
            (LAYER, HARDWARE, F16, Auto, Method::Tiled(tile(16), 2)),
            (Layer { out_c: 8, ..LAYER }, HARDWARE, F32, Auto, Method::Tiled(tile(8), 2)),
            // Workgroup memory halves the depth, then rules the tile out.
            (LAYER, SMALL, F32, Auto, Method::Tiled(tile(16), 1)),
            (large, SMALL, F32, Auto, direct(2)),
            (thin, HARDWARE, F32, Auto, direct(2)),
            (thin, HARDWARE, F32, Tiled, Method::Tiled(tile(8), 2)),
            (small, HARDWARE, F32, Auto, Method::Direct(Tile { h: 2, w: 2, c: 2 })),
            (grouped, HARDWARE, F32, Tiled, direct(2)),
            (
                Layer { spread: true, ..LAYER },
                SOFTWARE,
                F32,
                Winograd4,
                Method::Direct(Tile { h: 1, w: 16, c: 8 }),
            ),
            (strided, HARDWARE, F32, Winograd4, Method::Tiled(tile(16), 1)),
            (LAYER, HARDWARE, F32, Direct, direct(2)),
            (LAYER, HARDWARE, F32, Winograd2, Method::Winograd(2)),
            (LAYER, HARDWARE, F32, Winograd4, Method::Winograd(4)),
            (LAYER, HARDWARE, F16, Winograd4, Method::Tiled(tile(16), 2)),
            // Matrices only if the device has them, in f16, and on request.
            (LAYER, HARDWARE, F16, Cooperative, Method::Tiled(tile(16), 2)),
            (LAYER, MATRICES, F32, Cooperative, Method::Tiled(tile(16), 2)),
            (LAYER, MATRICES, F16, Auto, Method::Tiled(tile(16), 2)),
            (LAYER, MATRICES, F16, Cooperative, Method::Cooperative(tile(16))),
            (Layer { out_c: 32, ..LAYER }, MATRICES, F16, Cooperative, Method::Cooperative(tile(32))),
            (Layer { in_c: 3, ..LAYER }, MATRICES, F16, Cooperative, Method::Tiled(tile(16), 2)),
            // Software adapters: Winograd for wide layers, no workgroup memory unless requested.
            (LAYER, SOFTWARE, F32, Auto, Method::Winograd(4)),
            (LAYER, SOFTWARE, F32, Tiled, Method::Tiled(tile(16), 2)),
            (LAYER, SOFTWARE, F16, Auto, Method::Direct(Tile { h: 1, w: 16, c: 8 })),
        ];
        for (i, (layer, device, precision, asked, expected)) in table.into_iter().enumerate() {
            assert_eq!(method(&layer, &device, precision, asked), expected, "row {i}");
        }
    }

    #[test]
    fn tiles_of_pooled_layers_are_even() {
        for h in 1..20 {
            let tile = direct_tile([1, h, 3], 5, 1, true, &SOFTWARE);
            assert!(tile.h % 2 + tile.w % 2 == 0, "{tile:?}");
        }
    }
}
