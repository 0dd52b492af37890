//! Layers that look at windows: convolutions and pools.

use super::{Attribute, Network, UNSET, channels, whole};
use crate::error::Result;
use crate::import::ncnn::param::Layer;
use crate::import::onnx::emit::ADAPTIVE_POOL;

use Attribute::{Int, Ints, Text};

impl<'a> Network<'a> {
    pub(super) fn conv(&mut self, layer: &Layer<'a>) -> Result<String> {
        let (outs, [h, w]) = (channels(layer, 0)?, kernel(layer)?);
        let group = if layer.op == "Convolution" { 1 } else { layer.size(7, 1)?.max(1) };
        let (weight, each, bias) = self.taken(layer, outs)?;
        let ins = whole(layer, each, h * w)?;
        let weight = self.floats(layer, &[outs, ins, h, w], weight)?;
        let bias = self.floats(layer, &[outs], bias)?;
        let x = self.input(layer, 0)?;
        let fill = layer.float(18, 0.0);
        let mut attributes = windows(layer)?;
        let mut x = x;
        if fill != 0.0 {
            let pads = pads(layer, [14, 4, 16, 15])?;
            x = self.padded(layer, &x, pads, "constant", fill)?;
            attributes.pads = [0; 4];
        }
        let y = self.node(layer, "Conv", &[&x, &weight, &bias], &attributes.list(group));
        self.activated(layer, y, 9)
    }

    pub(super) fn deconv(&mut self, layer: &Layer<'a>) -> Result<String> {
        let (outs, [h, w]) = (channels(layer, 0)?, kernel(layer)?);
        let group = if layer.op == "Deconvolution" { 1 } else { layer.size(7, 1)?.max(1) };
        if layer.size(20, 0)? > 0 || layer.size(21, 0)? > 0 {
            return Err(layer.error("a fixed size of the result is not supported"));
        }
        let (weight, each, bias) = self.taken(layer, outs)?;
        let (ins, own) = (whole(layer, each, h * w)?, whole(layer, outs, group)?);
        // From group, output, input to group, input, output.
        let taps = h * w;
        let mut turned = Vec::with_capacity(weight.len());
        for g in 0..group {
            for i in 0..ins {
                for o in 0..own {
                    turned.extend_from_slice(&weight[((g * own + o) * ins + i) * taps..][..taps]);
                }
            }
        }
        let weight = self.floats(layer, &[group * ins, own, h, w], turned)?;
        let bias = self.floats(layer, &[outs], bias)?;
        let x = self.input(layer, 0)?;
        let windows = windows(layer)?;
        if windows.auto.is_some() {
            return Err(layer.error("padding by TensorFlow's rule is not supported"));
        }
        let more = [layer.int(19, layer.int(18, 0)), layer.int(18, 0)];
        let mut attributes = windows.list(group);
        attributes.push(("output_padding", Ints(&more)));
        let y = self.node(layer, "ConvTranspose", &[&x, &weight, &bias], &attributes);
        self.activated(layer, y, 9)
    }

    pub(super) fn pool(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let is_average = layer.flag(0);
        // Adaptive pools have the size of the result, where -233 keeps an axis.
        let width = layer.int(8, 0);
        let size = [layer.int(18, width), width].map(|side| if side == UNSET { 0 } else { side });
        if layer.flag(4) || layer.flag(7) && size == [1, 1] {
            let op = if is_average { "GlobalAveragePool" } else { "GlobalMaxPool" };
            return Ok(self.node(layer, op, &[&x], &[]));
        }
        if layer.flag(7) {
            if !is_average {
                return Err(layer.error("adaptive pooling by the maximum is not supported"));
            }
            return Ok(self.node(layer, ADAPTIVE_POOL, &[&x], &[("output_size", Ints(&size))]));
        }
        let (w, stride_w) = (layer.int(1, 0), layer.int(2, 1));
        let (kernel, strides) = ([layer.int(11, w), w], [layer.int(12, stride_w), stride_w]);
        let pads = pads(layer, [13, 3, 15, 14])?;
        let op = if is_average { "AveragePool" } else { "MaxPool" };
        let mut attributes = vec![("kernel_shape", Ints(&kernel)), ("strides", Ints(&strides))];
        match layer.int(5, 0) {
            2 => attributes.push(("auto_pad", Text("SAME_UPPER"))),
            3 => attributes.push(("auto_pad", Text("SAME_LOWER"))),
            mode => {
                attributes.push(("pads", Ints(&pads)));
                attributes.push(("ceil_mode", Int(i64::from(mode == 0))));
            }
        }
        if is_average {
            attributes.push(("count_include_pad", Int(i64::from(layer.flag(6)))));
        }
        Ok(self.node(layer, op, &[&x], &attributes))
    }
}

/// Height and width of a kernel.
pub(super) fn kernel(layer: &Layer<'_>) -> Result<[usize; 2]> {
    let w = layer.size(1, 0)?;
    match [layer.size(11, w)?, w] {
        [h, w] if (1..=256).contains(&h) && (1..=256).contains(&w) => Ok([h, w]),
        [h, w] => Err(layer.error(format!("expected a kernel of 1 to 256, got {h}x{w}"))),
    }
}

/// Padding above, left, below and right, from the parameters with these numbers.
fn pads(layer: &Layer<'_>, [top, left, bottom, right]: [i64; 4]) -> Result<[i64; 4]> {
    let l = layer.int(left, 0);
    let t = layer.int(top, l);
    let pads = [t, l, layer.int(bottom, t), layer.int(right, l)];
    match pads.iter().all(|pad| (0..=1 << 16).contains(pad)) {
        true => Ok(pads),
        false => Err(layer.error(format!("a padding of {pads:?}"))),
    }
}

/// How the windows of a convolution lie.
struct Windows {
    strides: [i64; 2],
    dilations: [i64; 2],
    pads: [i64; 4],
    auto: Option<&'static str>,
    kernel: [i64; 2],
}

fn windows(layer: &Layer<'_>) -> Result<Windows> {
    let (dilation, stride) = (layer.int(2, 1), layer.int(3, 1));
    let auto = match layer.int(4, 0) {
        UNSET => Some("SAME_UPPER"),
        -234 => Some("SAME_LOWER"),
        _ => None,
    };
    Ok(Windows {
        strides: [layer.int(13, stride), stride],
        dilations: [layer.int(12, dilation), dilation],
        pads: if auto.is_some() { [0; 4] } else { pads(layer, [14, 4, 16, 15])? },
        auto,
        kernel: kernel(layer)?.map(|k| k as i64),
    })
}

impl Windows {
    fn list(&self, group: usize) -> Vec<(&'static str, Attribute<'_>)> {
        let mut list = vec![
            ("kernel_shape", Ints(&self.kernel)),
            ("strides", Ints(&self.strides)),
            ("dilations", Ints(&self.dilations)),
            ("group", Int(group as i64)),
        ];
        list.push(match self.auto {
            Some(rule) => ("auto_pad", Text(rule)),
            None => ("pads", Ints(&self.pads)),
        });
        list
    }
}
