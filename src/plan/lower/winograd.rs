//! Winograd convolutions: input transform, a batch of matrix products, output transform. One band of tile rows at a
//! time keeps the scratch memory small.

use super::choose::product_method;
use super::conv::{Dense, one_by_one};
use super::{Lowering, Operand, padding};
use crate::error::Result;
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::pack::Constant;
use crate::tensor::Shape;

const INPUT: ShaderFile = shader!("winograd_input");
const OUTPUT: ShaderFile = shader!("winograd_output");

/// Most bytes of a band for each of its two scratch values.
const BAND: u64 = 8 << 20;

/// Some rows of tiles, counted over the batch, and the shapes of the two scratch values.
struct Band {
    first: usize,
    rows: usize,
    transformed: Shape,
    products: Shape,
}

impl Lowering<'_> {
    /// `size` is the number of outputs along a tile's side. The products are a 1x1 convolution whose pictures are the
    /// positions in a tile, each with its own weights.
    pub(super) fn winograd(&mut self, dense: &Dense<'_>, size: usize) -> Result<()> {
        let Dense { node, conv, x, y, asked, .. } = *dense;
        let (in_c, out_c, places) = (dense.in_c(), dense.out_c(), (size + 2).pow(2));
        let (tiles_y, tiles_x) = (y.h.div_ceil(size), y.w.div_ceil(size));
        let rows = y.n * tiles_y;
        let row_bytes = (places * tiles_x * in_c.max(out_c) * 16) as u64;
        let band_rows = rows.min((BAND / row_bytes).max(1) as usize);
        // A workgroup's tile needs two dimensions. If lanes work alone, one long row wastes least.
        let software = self.device.software;
        let map = |c: usize, rows: usize| match software {
            true => Shape::new(places, c * 4, 1, rows * tiles_x),
            false => Shape::new(places, c * 4, rows, tiles_x),
        };
        let band = |first: usize| {
            let rows = band_rows.min(rows - first);
            Band { first, rows, transformed: map(in_c, rows), products: map(out_c, rows) }
        };

        let one_by_one = one_by_one();
        let product = |band: &Band| Dense {
            node,
            conv: &one_by_one,
            x: band.transformed,
            y: band.products,
            parts: vec![in_c * 4],
            spread: false,
            asked,
            flops: dense.flops * band.rows as u64 / rows as u64,
        };
        // One method for all bands, so they share one packing of the weights.
        let first = product(&band(0));
        let method = product_method(&first.layer(), &self.device, self.precision(), asked);
        let columns = first.columns(method);
        let weights = self.constant(Constant::winograd(conv, dense.parts.clone(), size, columns));
        let zero = self.constant(Constant::Vector { values: None, len: columns });
        let bias = self.constant(Constant::Vector { values: conv.bias.clone(), len: columns });
        for band in (0..rows).step_by(band_rows).map(band) {
            let transformed = Operand::Value(self.scratch(band.transformed));
            let products = Operand::Value(self.scratch(band.products));
            let tiles = band.rows * tiles_x;
            let place = [
                ("tiles_y", tiles_y),
                ("tiles_x", tiles_x),
                ("first", band.first * tiles_x),
                ("tiles", tiles),
            ];

            let step = self
                .step(&node.name, INPUT)
                .constants([("SIZE", size as u32)])
                .flag("F4", size == 4)
                .sizes([("in_h", x.h), ("in_w", x.w), ("in_c", in_c), ("src0_c", dense.src0_c())])
                .sizes(place)
                .sizes(padding(conv.padding))
                .bind("dst", transformed)
                .lanes(tiles * in_c);
            self.push(self.sources(dense, step))?;

            let step = self
                .product_step(&product(&band), method)
                .sizes([("weight_n", in_c * columns)])
                .bind("src0", transformed)
                .bind("weights", weights)
                .bind("bias", zero)
                .flag("STORE", true)
                .bind("dst", products);
            self.push(step)?;

            // A lane makes one vec4 of a tile, or all of them and the head of their pixels.
            let items = if conv.head().is_some() { tiles } else { tiles * out_c };
            let step = self
                .step(&node.name, OUTPUT)
                .constants([("SIZE", size as u32)])
                .flag("F4", size == 4)
                .sizes([("out_h", y.h), ("out_w", y.w), ("out_c", out_c)])
                .sizes(place)
                .bind("src", products)
                .bind("bias", bias)
                .lanes(items);
            let step = self.ending(node, conv, step);
            self.push(step)?;
        }
        Ok(())
    }
}
