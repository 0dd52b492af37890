//! Convolutions: which kernel, and with what tile.

use super::{LANES, Lowering, Step, What, params, read, window_constants, write};
use crate::error::Result;
use crate::graph::{Activation, Conv, ConvTranspose, Ending, Node, Operator, Pool, ValueId};
use crate::plan::kernel;
use crate::plan::pack::{Constant, vec4s};
use crate::plan::{ConvKernel, Precision, Tuning};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// Bytes that a Winograd band may take in each of its two scratch values.
const WINOGRAD_BAND: u64 = 8 << 20;

/// A dense convolution as the kernels see it.
struct Dense<'a> {
    node: &'a Node,
    conv: &'a Conv,
    x: Shape,
    y: Shape,
    /// Channels of each source.
    parts: Vec<usize>,
    /// Whether groups that do not fill vec4s were spread into one.
    spread: bool,
    flops: u64,
}

/// Pixels and channel vec4s that one lane (direct) or one workgroup (tiled) makes.
#[derive(Debug, Clone, Copy)]
struct Tile {
    h: u32,
    w: u32,
    c: u32,
}

/// A run of Winograd tile rows, counted over the batch, and the shapes of its two scratch values.
struct Band {
    first: usize,
    rows: usize,
    transformed: Shape,
    products: Shape,
}

/// How a dense convolution is computed.
#[derive(Debug, Clone, Copy)]
enum Method {
    Direct(Tile),
    /// With its depth: input vec4s a round.
    Tiled(Tile, u32),
    Cooperative(Tile),
    /// With the outputs along a tile's side.
    Winograd(u32),
}

impl Dense<'_> {
    fn sources(&self) -> Vec<u32> {
        self.parts.iter().map(|&c| vec4s(c) as u32).collect()
    }

    fn in_c(&self) -> u32 {
        self.sources().iter().sum()
    }

    fn out_c(&self) -> u32 {
        vec4s(self.y.c) as u32
    }

    fn groups(&self) -> u32 {
        if self.spread { 1 } else { self.conv.groups as u32 }
    }
}

impl Lowering {
    pub(super) fn conv(&mut self, node: &Node, conv: &Conv, flops: u64) -> Result<()> {
        let sources = conv.operands(&node.inputs).0;
        let inputs: Vec<Shape> = sources.iter().map(|&id| self.shape(id)).collect();
        let (x, y) = (inputs[0], conv.map(self.shape(node.outputs[0])));
        let parts: Vec<usize> = inputs.iter().map(|s| s.c).collect();
        let channels: usize = parts.iter().sum();
        if conv.groups > 1 && conv.groups == channels && y.c == channels {
            self.depthwise(node, conv, x, y, flops)?;
            return match node.outputs[..] {
                [full, pooled] => self.pool(&format!("{}.pool", node.name), &Pool::MAX_2X2, full, pooled),
                _ => Ok(()),
            };
        }
        let spread = spread(conv.groups, channels, y.c);
        let flops = if spread { flops * conv.groups as u64 } else { flops };
        let dense = Dense { node, conv, x, y, parts, spread, flops };
        match self.method(&dense) {
            Method::Winograd(size) => self.winograd(&dense, size),
            method => {
                let (mut step, tile) = self.dense_step(&dense, method)?;
                if let Some(head) = conv.head().filter(|_| !computes_head(&dense, method)) {
                    return self.headless(&dense, head);
                }
                let columns = dense.out_c().next_multiple_of(tile.c) as usize * 4;
                let weights = self.constant(Constant::conv(conv, dense.parts.clone(), spread, columns));
                let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: columns });
                let slots = sources.iter().zip(1..).map(|(&id, slot)| self.read(slot, id));
                step.arguments = slots.chain([read(3, weights)]).collect();
                match self.parts(&dense, &step, method) {
                    1 => {
                        step.arguments.push(read(4, bias));
                        self.conv_outputs(&dense, &mut step, 5);
                        self.push(step)
                    }
                    parts => self.split(&dense, step, method, parts, bias),
                }
            }
        }
    }

    /// A convolution and then its head, for kernels whose workgroups do not see all channels of a pixel.
    fn headless(&mut self, dense: &Dense<'_>, head: &Conv) -> Result<()> {
        let Dense { node, conv, .. } = *dense;
        let map = self.scratch(dense.y);
        let body = Conv { ending: Ending::Plain, ..conv.clone() };
        let (body_flops, head_flops) =
            (body.flops(&[], &[dense.y]), head.flops(&[], &[self.shape(node.outputs[0])]));
        let part = |op: &Conv, inputs: &[ValueId], outputs: &[ValueId]| Node {
            name: node.name.clone(),
            op: op.clone().into(),
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
        };
        // What was asked for or measured is the kernel of the whole.
        let kernel = self.asked(dense);
        let asked = std::mem::replace(&mut self.conv, kernel);
        self.conv(&part(&body, &node.inputs, &[map]), &body, body_flops)?;
        self.conv(&part(head, &[map], &node.outputs), head, head_flops)?;
        self.conv = asked;
        Ok(())
    }

    /// Into how many parts the sum over input channels is split, so that a small map still fills the device.
    fn parts(&self, dense: &Dense<'_>, step: &Step, method: Method) -> u32 {
        let workgroups: u32 = step.grid.iter().product();
        // Two for each of a large GPU's processors; a CPU has few.
        let wanted = if self.device.software { 8 } else { 256 };
        // A part of few rounds would not be worth its share of the adding up, and a head needs whole sums.
        match depth(method) {
            Some(depth) if dense.conv.head().is_none() => {
                (wanted / workgroups).min(dense.in_c() / (4 * depth)).clamp(1, 16)
            }
            _ => 1,
        }
    }

    /// A step whose workgroups each sum a part of the input channels, and the step that adds the parts up.
    fn split(
        &mut self,
        dense: &Dense<'_>,
        mut step: Step,
        method: Method,
        parts: u32,
        bias: What,
    ) -> Result<()> {
        let y = dense.y;
        let depth = depth(method).expect("only kernels with a depth are split");
        let part_c = dense.in_c().div_ceil(parts).next_multiple_of(depth);
        let parts = dense.in_c().div_ceil(part_c);
        // Parts are f32 whatever the precision, so that a split sum is as exact as a whole one.
        let lanes = vec4s(y.c) * 16 / self.precision.bytes();
        let sums = self.scratch(Shape { n: y.n * parts as usize, c: lanes, ..y });
        set(&mut step.kernel.constants, "PARTS", parts);
        set(&mut step.params, "part_c", part_c);
        step.kernel.activation = kernel::call(Activation::None, "x");
        step.kernel.flags.extend([("TWO", dense.parts.len() == 2), ("SPLIT", true)]);
        step.grid[2] *= parts;
        step.arguments.push(write(5, sums));
        self.push(step)?;

        let mut step = self.step(dense.node, kernel::CONV_REDUCE, dense.conv.activation);
        step.kernel.constants.push(("PARTS", parts));
        let (quads_y, quads_x) = (y.h.div_ceil(2), y.w.div_ceil(2));
        let total = y.n * quads_y * quads_x * vec4s(y.c);
        step.params = params(&[
            ("out_h", y.h),
            ("out_w", y.w),
            ("quads_y", quads_y),
            ("quads_x", quads_x),
            ("total", total),
            ("out_c", vec4s(y.c)),
            ("pixels", y.n * y.pixels()),
        ])?;
        step.arguments = vec![read(1, What::Value(sums)), read(2, bias)];
        self.conv_outputs(dense, &mut step, 5);
        step.grid = self.fold(total as u64, LANES)?;
        step.loops = 4 * u64::from(parts);
        self.push(step)
    }

    /// The kernel that was asked for or, under `Auto`, measured; `Auto` where what was measured cannot run here.
    fn asked(&self, dense: &Dense<'_>) -> ConvKernel {
        let measured = || {
            let inputs: Vec<Shape> = dense.node.inputs.iter().map(|&id| self.shape(id)).collect();
            let kernel = self.tuning.as_ref()?.get(&Tuning::key(&dense.node.op, &inputs, self.precision)?)?;
            let matrices = self.device.cooperative.is_some() && self.precision == Precision::F16;
            Some(if kernel == ConvKernel::Cooperative && !matrices { ConvKernel::Auto } else { kernel })
        };
        match self.conv {
            ConvKernel::Auto => measured().unwrap_or_default(),
            forced => forced,
        }
    }

    /// The choice between the kernels for dense convolutions.
    fn method(&self, dense: &Dense<'_>) -> Method {
        let conv = dense.conv;
        let square = (conv.kernel(), conv.stride, conv.dilation) == ([3, 3], [1, 1], [1, 1]);
        // Winograd's transforms lose bits that 16-bit storage does not have.
        let winograd = square && conv.groups == 1 && self.precision == Precision::F32;
        let (in_c, out_c) = (dense.in_c(), dense.out_c());
        let size = match self.asked(dense) {
            ConvKernel::Winograd2 => Some(2),
            ConvKernel::Winograd4 => Some(4),
            ConvKernel::Auto => (self.device.software && in_c >= 4 && out_c >= 4).then_some(4),
            ConvKernel::Direct | ConvKernel::Tiled | ConvKernel::Cooperative => None,
        };
        match size.filter(|_| winograd) {
            Some(size) => Method::Winograd(size),
            None => self.product_method(dense),
        }
    }

    /// The choice between the kernels that compute products as they stand.
    fn product_method(&self, dense: &Dense<'_>) -> Method {
        // Small maps and thin layers leave most of a workgroup's tile idle.
        let worthwhile = !self.device.software
            && (dense.in_c() >= 2 && dense.out_c() >= 8 && dense.y.n * dense.y.pixels() >= 64);
        let wanted = match self.asked(dense) {
            ConvKernel::Tiled => true,
            ConvKernel::Direct => false,
            _ => worthwhile,
        };
        if let Some(tile) = self.cooperative_tile(dense) {
            return Method::Cooperative(tile);
        }
        let tile = Tile { h: 8, w: 16, c: if dense.out_c() >= 12 { 16 } else { 8 } };
        let possible = |&depth: &u32| {
            let bytes = tiled_memory(dense.conv, tile, depth, self.precision);
            bytes <= self.device.max_workgroup_memory && tiled_lanes(tile) <= self.device.max_lanes
        };
        match [2, 1].into_iter().find(possible) {
            Some(depth) if wanted && dense.groups() == 1 => Method::Tiled(tile, depth),
            _ => Method::Direct(self.direct_tile(
                dense.y,
                dense.out_c(),
                dense.groups(),
                matches!(dense.conv.ending, Ending::Pool),
            )),
        }
    }

    /// The tile of `conv_cooperative`, where it was asked for and applies.
    fn cooperative_tile(&self, dense: &Dense<'_>) -> Option<Tile> {
        let (conv, device) = (dense.conv, &self.device);
        let side = device.cooperative?;
        let asked = self.asked(dense) == ConvKernel::Cooperative && self.precision == Precision::F16;
        let plain = conv.stride == [1, 1] && conv.dilation == [1, 1] && dense.groups() == 1;
        let fits = |tile: &Tile| {
            cooperative_memory(conv, *tile) <= device.max_workgroup_memory
                && cooperative_lanes(*tile) <= device.max_lanes
        };
        // Fragments are `side` channels deep.
        let whole = dense.in_c().is_multiple_of(side / 4) && dense.out_c() >= side / 4;
        let columns = if dense.out_c() > side { [2 * side, side] } else { [side, side] };
        let mut tiles = columns.map(|c| Tile { h: 8, w: side, c }).into_iter();
        if asked && plain && whole { tiles.find(fits) } else { None }
    }

    /// A step of one of the product kernels without its arguments, and its tile.
    fn dense_step(&self, dense: &Dense<'_>, method: Method) -> Result<(Step, Tile)> {
        let (conv, sources) = (dense.conv, dense.sources());
        let (in_c, groups) = (dense.in_c(), dense.groups());
        let (mut step, tile) = match method {
            Method::Tiled(tile, depth) => {
                let mut step = self.step(dense.node, kernel::CONV_TILED, conv.activation);
                let constants = &mut step.kernel.constants;
                constants[0] = ("LANES", tiled_lanes(tile));
                constants.push(("DEPTH", depth));
                constants.extend([("REG_H", REGISTERS.h), ("REG_W", REGISTERS.w), ("REG_C", REGISTERS.c)]);
                step.workgroup_memory = tiled_memory(conv, tile, depth, self.precision);
                let loads = tiled_memory(conv, tile, depth, Precision::F32) / 16 / tiled_lanes(tile) + 2;
                let round = u64::from(depth) * (conv.kernel()[0] as u64 + 1) + u64::from(loads);
                step.loops = u64::from(in_c.div_ceil(depth)) * round;
                (step, tile)
            }
            Method::Cooperative(tile) => {
                let mut step = self.step(dense.node, kernel::CONV_COOPERATIVE, conv.activation);
                step.kernel.constants[0] = ("LANES", cooperative_lanes(tile));
                step.workgroup_memory = cooperative_memory(conv, tile);
                let loads = u64::from(step.workgroup_memory / 8 / cooperative_lanes(tile)) + 1;
                let taps = conv.weight.shape().pixels() as u64;
                step.kernel.constants.push(("SIDE", tile.w));
                step.loops = u64::from(in_c.div_ceil(8)) * (u64::from(32 / tile.w + 1) * taps + loads);
                (step, tile)
            }
            Method::Direct(tile) => {
                let mut step = self.step(dense.node, kernel::CONV_DIRECT, conv.activation);
                step.kernel.constants.push(("SOURCES", sources.len() as u32));
                step.kernel.flags.push(("PADDED", conv.padding != [0; 4]));
                step.loops = conv.weight.shape().pixels() as u64 * u64::from(in_c / groups + 2);
                (step, tile)
            }
            Method::Winograd(_) => unreachable!("Winograd computes its products by another method"),
        };
        step.kernel.constants.extend(conv_constants(conv));
        step.kernel.constants.extend([("TILE_H", tile.h), ("TILE_W", tile.w), ("TILE_C", tile.c)]);
        let tiles = tiles(&mut step, dense.x, dense.y, dense.y, tile)?;
        if let Method::Tiled(..) | Method::Cooperative(_) = method {
            step.params.extend([("src0_c", sources[0]), ("in_c", in_c)]);
            step.kernel.constants.push(("PARTS", 1));
            step.grid = self.fold(tiles, 1)?;
        } else {
            step.params.extend([
                ("src0_c", sources[0]),
                ("src1_c", sources.get(1).copied().unwrap_or(0)),
                ("group_in", sources[0] / groups),
                ("group_out", dense.out_c() / groups),
            ]);
            step.grid = self.fold(tiles, LANES)?;
        }
        step.grid[2] = dense.out_c().div_ceil(tile.c);
        step.params.extend([
            ("out_c", dense.out_c()),
            ("weight_c", dense.out_c().next_multiple_of(tile.c)),
            ("weight_n", 0),
        ]);
        if depth(method).is_some() {
            step.params
                .extend(params(&[("part_c", in_c as usize), ("pixels", dense.y.n * dense.y.pixels())])?);
        }
        step.params.extend([("pad_y", conv.padding[0] as u32), ("pad_x", conv.padding[1] as u32)]);
        step.flops = dense.flops;
        Ok((step, tile))
    }

    /// Binds the map and its pooled half or what is added to it, or the head and its result, from binding `slot` on.
    fn conv_outputs(&mut self, dense: &Dense<'_>, step: &mut Step, slot: u32) {
        let outputs = &dense.node.outputs;
        let two = ("TWO", dense.parts.len() == 2);
        if let Some(head) = dense.conv.head() {
            let weights = self.constant(Constant::conv(head, vec![dense.y.c], false, 4));
            let bias = self.constant(Constant::Vector { values: head.bias.clone(), len: 4 });
            step.arguments.extend([write(slot, outputs[0]), read(7, weights), read(8, bias)]);
            let sigmoid = ("HEAD_SIGMOID", head.activation == Activation::Sigmoid);
            step.kernel.flags.extend([two, ("FULL", false), ("POOL", false), ("HEAD", true), sigmoid]);
            return;
        }
        // A map of which only the pooled half is read need not be stored.
        let pool = matches!(dense.conv.ending, Ending::Pool);
        let wanted = !pool || self.readers[outputs[0].0] > 0 || self.keep_values;
        if wanted {
            step.arguments.push(write(slot, outputs[0]));
        }
        if pool {
            step.arguments.push(write(slot + 1, outputs[1]));
        }
        step.kernel.flags.extend([two, ("FULL", wanted), ("POOL", pool)]);
        if let (_, Some(&summand)) = dense.conv.operands(&dense.node.inputs) {
            step.arguments.push(self.read(slot + 1, summand));
            step.kernel.flags.push(("ADD", true));
        }
    }

    /// Input transform, a batch of matrix products, output transform: a band of tile rows at a time, so that scratch
    /// stays small. The products are a 1x1 convolution whose pictures are the places in a tile, each with its weights.
    fn winograd(&mut self, dense: &Dense<'_>, size: u32) -> Result<()> {
        let Dense { node, conv, x, y, .. } = *dense;
        let (in_c, out_c) = (dense.in_c() as usize, dense.out_c() as usize);
        let (places, side) = ((size + 2).pow(2) as usize, size as usize);
        let (tiles_y, tiles_x) = (y.h.div_ceil(side), y.w.div_ceil(side));
        let rows = y.n * tiles_y;
        let row_bytes = (places * tiles_x * in_c.max(out_c) * 16) as u64;
        let band_rows = rows.min((WINOGRAD_BAND / row_bytes).max(1) as usize);
        // A workgroup's tile needs two dimensions; where lanes work alone, one long row wastes least.
        let software = self.device.software;
        let map = |c: usize, rows: usize| match software {
            true => Shape::new(places, c * 4, 1, rows * tiles_x),
            false => Shape::new(places, c * 4, rows, tiles_x),
        };
        let band = |first: usize| {
            let rows = band_rows.min(rows - first);
            Band { first, rows, transformed: map(in_c, rows), products: map(out_c, rows) }
        };

        let pointwise = pointwise();
        let product = |band: &Band| Dense {
            node,
            conv: &pointwise,
            x: band.transformed,
            y: band.products,
            parts: vec![in_c * 4],
            spread: false,
            flops: dense.flops * band.rows as u64 / rows as u64,
        };
        // One method for all bands, so that they share one packing of the weights.
        let first = product(&band(0));
        let method = self.product_method(&first);
        let (_, tile) = self.dense_step(&first, method)?;
        let columns = out_c.next_multiple_of(tile.c as usize) * 4;
        let weights = self.constant(Constant::winograd(conv, dense.parts.clone(), side, columns));
        let zero = self.constant(Constant::Vector { values: None, len: columns });
        let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: columns });
        for band in (0..rows).step_by(band_rows).map(band) {
            let (transformed, products) = (self.scratch(band.transformed), self.scratch(band.products));
            let tiles = band.rows * tiles_x;
            let first = band.first * tiles_x;
            let place = [("tiles_y", tiles_y), ("tiles_x", tiles_x), ("first", first), ("tiles", tiles)];

            let mut step = self.step(node, kernel::WINOGRAD_INPUT, Activation::None);
            step.kernel.constants.push(("SIZE", size));
            step.kernel.flags = vec![("F4", size == 4), ("TWO", dense.parts.len() == 2)];
            step.params = params(&[("in_h", x.h), ("in_w", x.w)])?;
            step.params.extend(params(&place)?);
            step.params.extend([("src0_c", dense.sources()[0]), ("in_c", in_c as u32)]);
            step.params.extend([("pad_y", conv.padding[0] as u32), ("pad_x", conv.padding[1] as u32)]);
            let slots = conv.operands(&node.inputs).0.iter().zip(1..);
            let slots = slots.map(|(&id, slot)| self.read(slot, id));
            step.arguments = slots.chain([write(3, transformed)]).collect();
            step.grid = self.fold((tiles * in_c) as u64, LANES)?;
            self.push(step)?;

            let (mut step, _) = self.dense_step(&product(&band), method)?;
            set(&mut step.params, "weight_n", (in_c * columns) as u32);
            step.kernel.flags.extend([("TWO", false), ("FULL", true), ("POOL", false)]);
            step.arguments =
                vec![read(1, What::Value(transformed)), read(3, weights), read(4, zero), write(5, products)];
            self.push(step)?;

            let mut step = self.step(node, kernel::WINOGRAD_OUTPUT, conv.activation);
            step.kernel.constants.push(("SIZE", size));
            step.kernel.flags.push(("F4", size == 4));
            step.params = params(&[("out_h", y.h), ("out_w", y.w)])?;
            step.params.extend(params(&place)?);
            step.params.push(("out_c", dense.out_c()));
            step.arguments = vec![read(1, What::Value(products)), read(2, bias)];
            self.conv_outputs(dense, &mut step, 3);
            // A lane makes one vec4 of a tile's map, or all of them and the head of their pixels.
            let items = if conv.head().is_some() { tiles } else { tiles * out_c };
            step.loops = if conv.head().is_some() { out_c as u64 } else { 0 };
            step.grid = self.fold(items as u64, LANES)?;
            self.push(step)?;
        }
        Ok(())
    }

    /// A lane's tile in the direct kernels. Where a CPU plays the GPU, the one of least estimated work; with `even`
    /// sides where the tile is pooled.
    fn direct_tile(&self, y: Shape, out_c: u32, groups: u32, even: bool) -> Tile {
        let fits = |c: &u32| *c == 1 || (out_c >= *c && (out_c / groups).is_multiple_of(*c));
        if !self.device.software {
            let c = if fits(&2) { 2 } else { 1 };
            return Tile { h: 2, w: if y.n * y.pixels() > 1024 { 4 } else { 2 }, c };
        }
        let sides = [1, 2, 4, 8, 16].into_iter().flat_map(|h| [1, 2, 4, 8, 16].map(|w| (h, w)));
        let tiles = sides.flat_map(|(h, w)| [1, 2, 4, 8].map(|c| Tile { h, w, c }));
        let allowed = |t: &Tile| {
            let odd = t.h % 2 + t.w % 2 > 0;
            fits(&t.c) && t.h * t.w <= 16 && t.h * t.w * t.c <= 128 && !(even && odd)
        };
        let work = |t: &Tile| {
            let tiles = y.n * y.h.div_ceil(t.h as usize) * y.w.div_ceil(t.w as usize);
            let pixels = u64::from(t.h * t.w);
            // lavapipe runs 8 lanes together. A multiply-add of four channels takes about 8 instructions a
            // subgroup, a vec4 load about 240, whatever its width, because each lane is fetched by itself.
            let inner = 32 * pixels * u64::from(t.c) + 240 * (pixels + 4 * u64::from(t.c));
            (tiles as u64).next_multiple_of(8) * u64::from(out_c.div_ceil(t.c)) * inner
        };
        tiles.filter(allowed).min_by_key(work).unwrap_or(Tile { h: 2, w: 2, c: 1 })
    }

    fn depthwise(&mut self, node: &Node, conv: &Conv, x: Shape, y: Shape, flops: u64) -> Result<()> {
        let weights = self.constant(Constant::Depthwise { weight: conv.weight.clone(), channels: y.c });
        let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: vec4s(y.c) * 4 });
        let mut step = self.windowed(node, kernel::CONV_DEPTHWISE, conv.activation, x, y)?;
        step.kernel.constants.extend(conv_constants(conv));
        step.params.extend([("pad_y", conv.padding[0] as u32), ("pad_x", conv.padding[1] as u32)]);
        let src = self.read(1, node.inputs[0]);
        step.arguments = vec![src, read(2, weights), read(3, bias), write(4, node.outputs[0])];
        if let (_, Some(&summand)) = conv.operands(&node.inputs) {
            step.arguments.push(self.read(5, summand));
            step.kernel.flags.push(("ADD", true));
        }
        let [kh, kw] = conv.kernel();
        step.loops = (kh * (kw + 1)) as u64;
        step.flops = flops;
        self.push(step)
    }

    /// A transposed convolution whose kernel is as large as its stride: one product from each input pixel to the
    /// channels of all the output pixels that it alone makes, each written to its place.
    fn scattered(&mut self, dense: &Dense<'_>, conv: &ConvTranspose, method: Method) -> Result<()> {
        let (mut step, tile) = self.dense_step(dense, method)?;
        let columns = dense.out_c().next_multiple_of(tile.c) as usize * 4;
        let weights = self.constant(Constant::Scatter { weight: conv.weight.clone(), columns });
        let lanes = vec4s(conv.out_channels()) * 4;
        let bias = conv.bias.as_ref().map(|bias| {
            let phase = bias.iter().copied().chain(std::iter::repeat_n(0.0, lanes - bias.len()));
            phase.cycle().take(dense.y.c).collect()
        });
        let bias = self.constant(Constant::Vector { values: bias, len: columns });
        let [out_h, out_w] = conv.stride.map(|s| s as u32);
        step.kernel.constants.extend([("OUT_H", out_h), ("OUT_W", out_w)]);
        step.kernel.flags.extend([("SCATTER", true), ("FULL", true)]);
        let src = self.read(1, dense.node.inputs[0]);
        step.arguments = vec![src, read(3, weights), read(4, bias), write(5, dense.node.outputs[0])];
        self.push(step)
    }

    pub(super) fn conv_transpose(&mut self, node: &Node, conv: &ConvTranspose, flops: u64) -> Result<()> {
        let (x, y) = (self.shape(node.inputs[0]), self.shape(node.outputs[0]));
        let phases = conv.stride[0] * conv.stride[1];
        let whole = conv.kernel() == conv.stride && conv.padding == [0; 4] && conv.output_padding == [0; 2];
        if whole && conv.groups == 1 {
            let pointwise = Conv { activation: conv.activation, ..pointwise() };
            let y = Shape { c: phases * vec4s(y.c) * 4, ..x };
            let dense = Dense { node, conv: &pointwise, x, y, parts: vec![x.c], spread: false, flops };
            if let method @ (Method::Tiled(..) | Method::Cooperative(_)) = self.product_method(&dense) {
                return self.scattered(&dense, conv, method);
            }
        }
        let spread = spread(conv.groups, x.c, y.c);
        let groups = if spread { 1 } else { conv.groups as u32 };
        let (in_c, out_c) = (vec4s(x.c) as u32, vec4s(y.c) as u32);
        // Output pixels of one phase.
        let phase = Shape { h: y.h.div_ceil(conv.stride[0]), w: y.w.div_ceil(conv.stride[1]), ..y };
        let tile = self.direct_tile(phase, out_c, groups, false);
        let columns = out_c.next_multiple_of(tile.c);

        let mut step = self.step(node, kernel::CONV_TRANSPOSE, conv.activation);
        step.kernel.constants.extend(window_constants(conv.kernel(), conv.stride));
        step.kernel.constants.extend([("TILE_H", tile.h), ("TILE_W", tile.w), ("TILE_C", tile.c)]);
        let tiles = tiles(&mut step, x, y, phase, tile)?;
        step.params.extend([
            ("in_c", in_c),
            ("group_in", in_c / groups),
            ("group_out", out_c / groups),
            ("out_c", out_c),
            ("weight_c", columns),
            ("pad_y", conv.padding[0] as u32),
            ("pad_x", conv.padding[1] as u32),
        ]);
        let weights = self.constant(Constant::conv_transpose(conv, spread, columns as usize * 4));
        let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: columns as usize * 4 });
        let src = self.read(1, node.inputs[0]);
        step.arguments = vec![src, read(2, weights), read(3, bias), write(4, node.outputs[0])];
        let taps: usize = [0, 1].map(|a| conv.kernel()[a].div_ceil(conv.stride[a])).iter().product();
        step.loops = taps as u64 * u64::from(in_c / groups + 2);
        step.grid = self.fold(tiles, LANES)?;
        step.grid[2] = out_c.div_ceil(tile.c) * phases as u32;
        step.flops = flops;
        self.push(step)
    }
}

/// Changes the constant or param of that name.
fn set(values: &mut [(&'static str, u32)], name: &str, value: u32) {
    values.iter_mut().find(|v| v.0 == name).expect("set by dense_step").1 = value;
}

/// Input vec4s that a kernel through workgroup memory takes at a time.
fn depth(method: Method) -> Option<u32> {
    match method {
        Method::Tiled(_, depth) => Some(depth),
        Method::Cooperative(_) => Some(8),
        Method::Direct(_) | Method::Winograd(_) => None,
    }
}

/// Whether a workgroup of this kernel has all channels of its pixels, so that it can go on to compute the head.
fn computes_head(dense: &Dense<'_>, method: Method) -> bool {
    match method {
        Method::Tiled(tile, _) => dense.out_c() <= tile.c,
        Method::Winograd(_) => true,
        Method::Direct(_) | Method::Cooperative(_) => false,
    }
}

/// A 1x1 convolution whose weights do not matter, to describe a product by.
fn pointwise() -> Conv {
    Conv::new(Arc::new(Tensor::zeros(Shape::new(1, 1, 1, 1))), None)
}

/// Pixels and channel vec4s that one lane of `conv_tiled` keeps in registers.
const REGISTERS: Tile = Tile { h: 2, w: 4, c: 2 };

fn tiled_lanes(tile: Tile) -> u32 {
    tile.h / REGISTERS.h * (tile.w / REGISTERS.w) * (tile.c / REGISTERS.c)
}

/// Workgroup bytes of `conv_tiled`: its input patch and weights for `depth` vec4s, and the lanes' shares of a head.
fn tiled_memory(conv: &Conv, tile: Tile, depth: u32, precision: Precision) -> u32 {
    let effective = conv.effective_kernel();
    let patch = |tile: u32, axis: usize| (tile as usize - 1) * conv.stride[axis] + effective[axis];
    let taps = conv.weight.shape().pixels() * 4 * tile.c as usize;
    let vectors = (patch(tile.h, 0) * patch(tile.w, 1) + taps) * depth as usize;
    let head = if conv.head().is_some() { tiled_lanes(tile) as usize * 16 } else { 0 };
    u32::try_from(vectors * 4 * precision.bytes() + head).unwrap_or(u32::MAX)
}

/// A subgroup of 32 for each two rows and as many vec4s of channels as `conv_cooperative`'s tile is wide.
fn cooperative_lanes(tile: Tile) -> u32 {
    32 * (tile.h / 2) * (tile.c / tile.w)
}

/// Workgroup bytes of `conv_cooperative`: its input patch, and what subgroups hand to their epilogues.
fn cooperative_memory(conv: &Conv, tile: Tile) -> u32 {
    let [kh, kw] = conv.kernel().map(|k| k as u32);
    (tile.h + kh - 1) * (tile.w + kw - 1) * 10 * 8 + cooperative_lanes(tile) / 32 * (tile.w * tile.w / 2) * 16
}

/// Whether groups cut through vec4s, so that their weights are spread into one dense matrix.
fn spread(groups: usize, ins: usize, outs: usize) -> bool {
    groups > 1 && !((ins / groups).is_multiple_of(4) && (outs / groups).is_multiple_of(4))
}

/// Sets the params that all convolution kernels begin with. Returns the tiles that cover `covered` over the batch.
fn tiles(step: &mut Step, x: Shape, y: Shape, covered: Shape, tile: Tile) -> Result<u64> {
    let (tiles_y, tiles_x) = (covered.h.div_ceil(tile.h as usize), covered.w.div_ceil(tile.w as usize));
    let tiles = covered.n * tiles_y * tiles_x;
    step.params = params(&[
        ("in_h", x.h),
        ("in_w", x.w),
        ("out_h", y.h),
        ("out_w", y.w),
        ("tiles_y", tiles_y),
        ("tiles_x", tiles_x),
        ("tiles", tiles),
    ])?;
    Ok(tiles as u64)
}

fn conv_constants(conv: &Conv) -> impl Iterator<Item = (&'static str, u32)> {
    let dilation = [("DILATION_H", conv.dilation[0] as u32), ("DILATION_W", conv.dilation[1] as u32)];
    window_constants(conv.kernel(), conv.stride).into_iter().chain(dilation)
}
