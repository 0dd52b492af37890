//! Transposed convolutions.

use super::choose::{Method, direct_tile, product_method};
use super::conv::{Dense, one_by_one, spread, tiles};
use super::{Lower, Lowering, Operand, dilation, padding, window};
use crate::error::Result;
use crate::graph::{Conv, ConvTranspose, Node};
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::plan::pack::Constant;
use crate::tensor::Shape;

const TRANSPOSE: ShaderFile = shader!("conv_transpose");

impl Lower for ConvTranspose {
    fn lower(&self, to: &mut Lowering<'_>, node: &Node) -> Result<()> {
        let ((x, y), flops) = (to.ends(node), to.flops(node));
        let phases = self.stride[0] * self.stride[1];
        let dilated = self.dilation != [1, 1];
        let whole = self.kernel() == self.stride && self.padding == [0; 4] && self.output_padding == [0; 2];
        if whole && !dilated && self.groups == 1 {
            let product = Conv { activation: self.activation, ..one_by_one() };
            let y = Shape { c: phases * vec4s(y.c) * 4, ..x };
            let asked = to.asked(node);
            let dense = Dense { node, conv: &product, x, y, parts: vec![x.c], spread: false, asked, flops };
            let method = product_method(&dense.layer(), &to.device, to.precision(), asked);
            if let Method::Tiled(..) | Method::Cooperative(_) = method {
                return to.scattered(&dense, self, method);
            }
        }
        let steps = if dilated { [1; 2] } else { self.stride };
        let spread = spread(self.groups, x.c, y.c);
        let groups = if spread { 1 } else { self.groups };
        let (in_c, out_c) = (vec4s(x.c), vec4s(y.c));
        // Output pixels of one phase.
        let phase = Shape { h: y.h.div_ceil(self.stride[0]), w: y.w.div_ceil(self.stride[1]), ..y };
        let tile = direct_tile([phase.n, phase.h, phase.w], out_c as u32, groups as u32, false, &to.device);
        let weight_c = out_c.next_multiple_of(tile.c as usize);
        let weights = to.constant(Constant::conv_transpose(self, spread, weight_c * 4));
        let bias = to.constant(Constant::Vector { values: self.bias.clone(), len: weight_c * 4 });
        let tiles = tiles(phase, Method::Direct(tile));
        let step = to
            .step(&node.name, TRANSPOSE)
            .constants(window(self.kernel(), self.stride))
            .constants(dilation(self.dilation))
            .constants(["STEP_H", "STEP_W"].into_iter().zip(steps.map(|step| step as u32)))
            .flag("DILATED", dilated)
            .constants([("TILE_H", tile.h), ("TILE_W", tile.w), ("TILE_C", tile.c)])
            .activation(self.activation)
            .extents(x, y)
            .sizes(padding(self.padding))
            .sizes([("in_c", in_c), ("out_c", out_c), ("weight_c", weight_c)])
            .sizes([("tiles_y", tiles[1]), ("tiles_x", tiles[2]), ("tiles", tiles.iter().product())])
            .sizes([("group_in", in_c / groups), ("group_out", out_c / groups)])
            .bind("src", to.source(node.inputs[0]))
            .bind("weights", weights)
            .bind("bias", bias)
            .flag("STORE", true)
            .bind("dst", Operand::Value(node.outputs[0]))
            .lanes(tiles.iter().product())
            .layers((out_c as u32).div_ceil(tile.c) * phases as u32)
            .flops(flops);
        to.push(step)
    }
}

impl Lowering<'_> {
    /// A transposed convolution whose kernel is as large as its stride. Each output pixel comes from one input pixel, so
    /// one product makes the channels of all output pixels of an input pixel.
    fn scattered(&mut self, dense: &Dense<'_>, conv: &ConvTranspose, method: Method) -> Result<()> {
        let columns = dense.columns(method);
        let weights = self.constant(Constant::Scatter { weight: conv.weight.clone(), columns });
        let lanes = vec4s(conv.out_channels()) * 4;
        let bias = conv.bias.as_ref().map(|bias| {
            let phase = bias.iter().copied().chain(std::iter::repeat_n(0.0, lanes - bias.len()));
            phase.cycle().take(dense.y.c).collect()
        });
        let bias = self.constant(Constant::Vector { values: bias, len: columns });
        let [out_h, out_w] = conv.stride.map(|s| s as u32);
        let step = self.product_step(dense, method);
        let step = step.constants([("OUT_H", out_h), ("OUT_W", out_w)]).flag("SCATTER", true);
        let step = self.sources(dense, step).bind("weights", weights).bind("bias", bias);
        let step = self.ending(dense.node, dense.conv, step);
        self.push(step)
    }
}
