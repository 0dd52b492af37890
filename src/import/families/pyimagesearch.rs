//! pyimagesearch's U-Net (`encoder.encBlocks`): valid convolutions, skips cut to their middle, no ReLU
//! at the end of a block, and a result that is brought to the picture's size by the nearest pixels.
//!
//! Relatives with `encoder.enc_blocks` differ in padding and activations, which names do not tell, and are refused. How
//! much is cut follows from the picture's size, so the network is made of ONNX nodes, which compute it.

use crate::error::Result;
use crate::import::onnx::emit::{Attribute, Emit};
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::network::Choice;

use Attribute::{Int, Ints, Text};

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let has = |name: &str| dict.has(&format!("{name}.weight"));
    let list = ["encBlocks", "encblocks"].into_iter().find(|list| has(&format!("encoder.{list}.0.conv1")));
    let Some(list) = list else { return Ok(None) };
    if !["decoder.upconvs.0", "decoder.dec_blocks.0.conv1", "head"].iter().all(|name| has(name)) {
        return Ok(None);
    }
    let Some(&[_, channels, ..]) = dict.shape(&format!("encoder.{list}.0.conv1.weight")) else {
        return Ok(None);
    };
    let mut net = Net { dict, emit: Emit::default(), count: 0 };
    net.emit.input("input", channels, [0, 0]);
    let (mut y, mut skips) = ("input".to_string(), Vec::new());
    for i in 0.. {
        let name = format!("encoder.{list}.{i}");
        if !net.dict.has(&format!("{name}.conv1.weight")) {
            break;
        }
        if i > 0 {
            skips.push(y.clone());
            y = net.node("MaxPool", &[&y], &[("kernel_shape", Ints(&[2, 2])), ("strides", Ints(&[2, 2]))]);
        }
        y = net.block(&name, &y)?;
    }
    for (i, skip) in skips.iter().rev().enumerate() {
        y = net.conv(&format!("decoder.upconvs.{i}"), "ConvTranspose", &y, &[("strides", Ints(&[2, 2]))])?;
        let skip = net.middle(skip, &y)?;
        y = net.node("Concat", &[&y, &skip], &[("axis", Int(1))]);
        y = net.block(&format!("decoder.dec_blocks.{i}"), &y)?;
    }
    y = net.conv("head", "Conv", &y, &[])?;
    y = net.resized(&y)?;
    net.emit.node("Identity", &[&y], &["output"], &[]);
    net.emit.output("output");
    let mut model = net.emit.finish(&Choice::default())?;
    model.recipe = super::net::segment(0.0);
    model.notes.push(
        "taken as the U-Net of pyimagesearch's tutorial: no padding, and the result brought to the picture's size"
            .into(),
    );
    Ok(Some(model.of_family("pyimagesearch UNet")))
}

struct Net<'a, 'b> {
    dict: &'a mut StateDict<'b>,
    emit: Emit,
    count: usize,
}

impl Net<'_, '_> {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)]) -> String {
        let name = self.name();
        self.emit.node(op, inputs, &[&name], attributes);
        name
    }

    fn ints(&mut self, values: &[i64]) -> Result<String> {
        let name = self.name();
        self.emit.ints(name, values)
    }

    /// A convolution with its bias.
    fn conv(
        &mut self,
        name: &str,
        op: &str,
        x: &str,
        attributes: &[(&str, Attribute<'_>)],
    ) -> Result<String> {
        let mut parts = Vec::new();
        for part in ["weight", "bias"] {
            let tensor = format!("{name}.{part}");
            let values = self.dict.floats(&tensor)?;
            let shape = self.dict.shape(&tensor).unwrap_or_default().to_vec();
            self.dict.remove(&tensor);
            parts.push(self.emit.floats(tensor, &shape, values)?);
        }
        Ok(self.node(op, &[x, &parts[0], &parts[1]], attributes))
    }

    fn block(&mut self, name: &str, x: &str) -> Result<String> {
        let y = self.conv(&format!("{name}.conv1"), "Conv", x, &[])?;
        let y = self.node("Relu", &[&y], &[]);
        self.conv(&format!("{name}.conv2"), "Conv", &y, &[])
    }

    /// Height and width of a value.
    fn size(&mut self, x: &str) -> Result<String> {
        let shape = self.node("Shape", &[x], &[]);
        let [from, to] = [self.ints(&[2])?, self.ints(&[4])?];
        Ok(self.node("Slice", &[&shape, &from, &to], &[]))
    }

    /// The middle of a map, as large as another: torchvision's `CenterCrop`, which rounds halves to even numbers.
    fn middle(&mut self, x: &str, like: &str) -> Result<String> {
        let (two, axes) = (self.ints(&[2, 2])?, self.ints(&[2, 3])?);
        let [all, part] = [self.size(x)?, self.size(like)?];
        let rest = self.node("Sub", &[&all, &part], &[]);
        let (half, odd) = self.halved(&rest, &two);
        let (_, half_is_odd) = self.halved(&half, &two);
        let more = self.node("Mul", &[&odd, &half_is_odd], &[]);
        let start = self.node("Add", &[&half, &more], &[]);
        let end = self.node("Add", &[&start, &part], &[]);
        Ok(self.node("Slice", &[x, &start, &end, &axes], &[]))
    }

    /// Half of whole numbers, rounded down, and what is left.
    fn halved(&mut self, x: &str, two: &str) -> (String, String) {
        let half = self.node("Div", &[x, two], &[]);
        let double = self.node("Mul", &[&half, two], &[]);
        let left = self.node("Sub", &[x, &double], &[]);
        (half, left)
    }

    /// The nearest pixels at the size of the picture.
    fn resized(&mut self, x: &str) -> Result<String> {
        let shape = self.node("Shape", &[x], &[]);
        let [zero, two] = [self.ints(&[0])?, self.ints(&[2])?];
        let front = self.node("Slice", &[&shape, &zero, &two], &[]);
        let back = self.size("input")?;
        let sizes = self.node("Concat", &[&front, &back], &[("axis", Int(0))]);
        let attributes = [
            ("mode", Text("nearest")),
            ("coordinate_transformation_mode", Text("asymmetric")),
            ("nearest_mode", Text("floor")),
        ];
        Ok(self.node("Resize", &[x, "", "", &sizes], &attributes))
    }
}
