//! From the host's layout of an input to the device's, and back for an output.

use super::{Lowering, Operand, vectors};
use crate::error::Result;
use crate::graph::ValueId;
use crate::plan::kernel::{ShaderFile, shader};
use crate::plan::layout::vec4s;
use crate::plan::pack::Constant;
use crate::plan::{InputFormat, OutputFormat, Port, format};

const PACK: ShaderFile = shader!("pack");
const PACK_BYTES: ShaderFile = shader!("pack_bytes");
const UNPACK: ShaderFile = shader!("unpack");
const UNPACK_BYTES: ShaderFile = shader!("unpack_bytes");
const UNPACK_CLASSES: ShaderFile = shader!("unpack_classes");

impl Lowering<'_> {
    pub(super) fn take_input(&mut self, place: usize, port: &Port, value: ValueId) -> Result<()> {
        let (shape, label) = (port.shape, port.label("input"));
        let step = match format::at(&self.options.input, place) {
            InputFormat::Planar => self.step(&label, PACK).sizes([("pixels", shape.pixels())]),
            InputFormat::Picture { bits, scale, shift } => {
                let [scales, shifts] = [scale, shift].map(|values| {
                    let len = vec4s(shape.c) * 4;
                    self.constant(Constant::Vector { values: Some(values.into()), len })
                });
                let step = self.step(&label, PACK_BYTES).constants([("BITS", bits.count())]);
                step.bind("scales", scales).bind("shifts", shifts)
            }
        };
        let step = step.sizes([("channels", shape.c), ("vectors", vec4s(shape.c))]).total(vectors(shape));
        self.push(step.bind("src", Operand::Input(place, port.bytes)).bind("dst", Operand::Value(value)))
    }

    pub(super) fn give_output(&mut self, place: usize, port: &Port, value: ValueId) -> Result<()> {
        let (shape, label) = (port.shape, port.label("output"));
        let format = format::at(&self.options.output, place);
        let words = format.bytes(shape).div_ceil(4);
        let step = match format {
            OutputFormat::Planar => {
                self.step(&label, UNPACK).sizes([("pixels", shape.pixels())]).total(vectors(shape))
            }
            OutputFormat::Picture { bits, scale } => {
                let step = self.step(&label, UNPACK_BYTES).constants([("BITS", bits.count())]);
                step.sizes([("numbers", shape.elements())]).bits([("scale", scale.to_bits())]).total(words)
            }
            OutputFormat::Classes { threshold } => {
                let step = self.step(&label, UNPACK_CLASSES).sizes([("pixels", shape.n * shape.pixels())]);
                step.bits([("threshold", threshold.to_bits())]).total(words)
            }
        };
        let step = step.sizes([("channels", shape.c), ("vectors", vec4s(shape.c))]);
        self.push(step.bind("src", self.source(value)).bind("dst", Operand::Output(place, port.bytes)))
    }
}
