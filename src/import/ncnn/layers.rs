//! ONNX nodes for the layers of a network. What each layer computes is in ncnn's `src/layer`, how its parameters are
//! numbered in ncnn's `docs/developer-guide/operators.md`.

mod activations;
mod shapes;

use super::param::Layer;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::import::onnx::emit::{Attribute, Emit};
use std::collections::{BTreeSet, HashMap};

use Attribute::{Float, Int, Ints, Text};

/// "Until the end" in ONNX.
const END: i64 = i64::MAX;

/// "Not set" in ncnn.
const UNSET: i64 = -233;

/// Most channels of a layer.
const MAX_CHANNELS: usize = 1 << 16;

/// A network in progress.
struct Network<'a> {
    emit: Emit,
    weights: Weights<'a>,
    /// The values of blobs.
    blobs: HashMap<&'a str, String>,
    /// Numbers the values that a layer makes on the way to its result.
    count: usize,
}

/// The nodes of all layers.
pub(super) fn network<'a>(layers: &[Layer<'a>], weights: Weights<'a>) -> Result<Emit> {
    let mut network = Network { emit: Emit::default(), weights, blobs: HashMap::new(), count: 0 };
    for layer in layers {
        network.layer(layer, layers).map_err(|e| match e {
            Error::Model(text) if text.starts_with("layer ") => Error::Model(text),
            other => other.at(&format!("layer {} ({})", layer.name, layer.op)),
        })?;
    }
    network.weights.check_all_read()?;
    let read: BTreeSet<&str> = layers.iter().flat_map(|layer| layer.inputs.iter().copied()).collect();
    let ends = layers.iter().flat_map(|layer| &layer.outputs).filter(|blob| !read.contains(*blob));
    for blob in ends {
        // Names of results are those of the blobs.
        let value = network.blobs[blob].clone();
        network.emit.node("Identity", &[&value], &[blob], &[]);
        network.emit.output(blob);
    }
    Ok(network.emit)
}

impl<'a> Network<'a> {
    /// A new name for a value of a layer.
    fn name(&mut self, layer: &Layer<'_>) -> String {
        self.count += 1;
        format!("{}/{}", layer.name, self.count)
    }

    /// The value of one of a layer's inputs.
    fn input(&self, layer: &Layer<'a>, at: usize) -> Result<String> {
        let blob = layer.inputs.get(at).ok_or_else(|| layer.error(format!("it has no input {at}")))?;
        self.blobs
            .get(blob)
            .cloned()
            .ok_or_else(|| layer.error(format!("no layer before makes its input {blob}")))
    }

    /// A node of one result.
    fn node(
        &mut self,
        layer: &Layer<'_>,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
    ) -> String {
        let name = self.name(layer);
        self.emit.node(op, inputs, &[&name], attributes);
        name
    }

    fn floats(&mut self, layer: &Layer<'_>, dims: &[usize], values: Vec<f32>) -> Result<String> {
        let name = self.name(layer);
        self.emit.floats(name, dims, values)
    }

    fn ints(&mut self, layer: &Layer<'_>, values: &[i64]) -> Result<String> {
        let name = self.name(layer);
        self.emit.ints(name, values)
    }

    fn number(&mut self, layer: &Layer<'_>, value: f64) -> Result<String> {
        self.floats(layer, &[1], vec![value as f32])
    }

    fn layer(&mut self, layer: &Layer<'a>, all: &[Layer<'a>]) -> Result<()> {
        match layer.op {
            "Input" => return self.picture(layer, all),
            "Split" | "Noop" => {
                let x = self.input(layer, 0)?;
                layer.outputs.iter().for_each(|blob| drop(self.blobs.insert(blob, x.clone())));
                return Ok(());
            }
            "Slice" => {
                let parts = self.slice(layer)?;
                self.blobs.extend(layer.outputs.iter().copied().zip(parts));
                return Ok(());
            }
            _ => {}
        }
        let [output] = layer.outputs[..] else {
            return Err(layer.error(format!("expected one output, got {}", layer.outputs.len())));
        };
        let y = match layer.op {
            "MemoryData" => self.memory(layer)?,
            "Convolution" | "ConvolutionDepthWise" => self.conv(layer)?,
            "Deconvolution" | "DeconvolutionDepthWise" => self.deconv(layer)?,
            "InnerProduct" => self.inner_product(layer)?,
            "BatchNorm" | "Scale" => self.scale_and_shift(layer)?,
            "InstanceNorm" | "GroupNorm" => self.norm(layer)?,
            "PReLU" => {
                let count = channels(layer, 0)?;
                let slope = self.weights.plain(count)?;
                let slope = self.floats(layer, &[count, 1, 1], slope)?;
                let x = self.input(layer, 0)?;
                self.node(layer, "PRelu", &[&x, &slope], &[])
            }
            "Pooling" => self.pool(layer)?,
            "Concat" => {
                let axis = axis(layer, layer.int(0, 0))?;
                let parts: Vec<String> =
                    (0..layer.inputs.len()).map(|at| self.input(layer, at)).collect::<Result<_>>()?;
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                self.node(layer, "Concat", &parts, &[("axis", Int(axis))])
            }
            "Eltwise" => self.eltwise(layer)?,
            "BinaryOp" => self.binary(layer)?,
            "Crop" => self.crop(layer)?,
            "Padding" => self.padding(layer)?,
            "Interp" => self.interp(layer)?,
            "PixelShuffle" => {
                let mode = if layer.flag(1) { "DCR" } else { "CRD" };
                let x = self.input(layer, 0)?;
                self.node(
                    layer,
                    "DepthToSpace",
                    &[&x],
                    &[("blocksize", Int(layer.int(0, 1))), ("mode", Text(mode))],
                )
            }
            "Reorg" => self.reorg(layer)?,
            "Reshape" => self.reshape(layer)?,
            "Permute" => self.permute(layer)?,
            "Flatten" => self.one_axis(layer)?,
            "Softmax" => {
                let axis = axis(layer, layer.int(0, 0))?;
                let x = self.input(layer, 0)?;
                self.node(layer, "Softmax", &[&x], &[("axis", Int(axis))])
            }
            "Reduction" => self.reduction(layer)?,
            _ => self.pointwise(layer)?,
        };
        self.blobs.insert(output, y);
        Ok(())
    }

    /// The picture. Its channels are told by the layer itself or by the first convolution that reads it.
    fn picture(&mut self, layer: &Layer<'a>, all: &[Layer<'a>]) -> Result<()> {
        let [blob] = layer.outputs[..] else { return Err(layer.error("expected one output")) };
        // The picture goes through copies to its first reader.
        let mut same = vec![blob];
        let mut told = layer.size(2, 0)?;
        for other in all {
            if told > 0 {
                break;
            }
            let reads = other.inputs.first().is_some_and(|input| same.contains(input));
            match other.op {
                "Split" | "Noop" | "Padding" | "Crop" | "Interp" if reads => same.extend(&other.outputs),
                "Convolution" if reads => {
                    let (outs, [h, w]) = (channels(other, 0)?, kernel(other)?);
                    let one = outs.checked_mul(h * w).filter(|&one| one > 0);
                    told = one.map_or(0, |one| other.size(6, 0).unwrap_or(0) / one);
                }
                _ => {}
            }
        }
        if told == 0 || told > MAX_CHANNELS {
            return Err(layer.error("its number of channels is not told (parameter 2)"));
        }
        let size = match [layer.size(1, 0)?, layer.size(0, 0)?] {
            [h, w] if h > 0 && w > 0 => [h, w],
            _ => [0, 0],
        };
        self.emit.input(blob, told, size);
        self.blobs.insert(blob, blob.to_string());
        Ok(())
    }

    /// A constant: one axis is channels.
    fn memory(&mut self, layer: &Layer<'a>) -> Result<String> {
        let [w, h, c] = [layer.size(0, 0)?, layer.size(1, 0)?, layer.size(2, 0)?];
        let dims = match [c, h, w] {
            [0, 0, w] if w > 0 => [1, w, 1, 1],
            [c, h, w] if c > 0 && h > 0 && w > 0 => [1, c, h, w],
            _ => return Err(layer.error("expected one or three axes")),
        };
        let count = dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
        let count = count.ok_or_else(|| layer.error("it is too large"))?;
        let values =
            if layer.int(21, 1) == 0 { self.weights.marked(count)? } else { self.weights.plain(count)? };
        self.floats(layer, &dims, values)
    }

    /// The weights of a layer, their number for each output, and its bias.
    fn taken(&mut self, layer: &Layer<'a>, outs: usize) -> Result<(Vec<f32>, usize, Vec<f32>)> {
        let size = layer.size(if layer.op == "InnerProduct" { 2 } else { 6 }, 0)?;
        if layer.flag(8) {
            return Err(layer.error("its weights are int8, which is not read; give the fp16 or f32 file"));
        }
        if layer.op != "InnerProduct" && layer.flag(19) {
            return Err(layer.error("weights that are computed are not supported"));
        }
        if size == 0 || !size.is_multiple_of(outs) {
            return Err(layer.error(format!("it has {size} weights for {outs} outputs")));
        }
        let weight = self.weights.marked(size)?;
        let has_bias = layer.flag(if layer.op == "InnerProduct" { 1 } else { 5 });
        let bias = if has_bias { self.weights.plain(outs)? } else { vec![0.0; outs] };
        Ok((weight, size / outs, bias))
    }

    fn conv(&mut self, layer: &Layer<'a>) -> Result<String> {
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

    fn deconv(&mut self, layer: &Layer<'a>) -> Result<String> {
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

    /// All elements to a vector.
    fn inner_product(&mut self, layer: &Layer<'a>) -> Result<String> {
        let outs = channels(layer, 0)?;
        let (weight, ins, bias) = self.taken(layer, outs)?;
        let weight = self.floats(layer, &[outs, ins, 1, 1], weight)?;
        let bias = self.floats(layer, &[outs], bias)?;
        let x = self.one_axis(layer)?;
        let y = self.node(layer, "Conv", &[&x, &weight, &bias], &[]);
        self.activated(layer, y, 9)
    }

    fn scale_and_shift(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        if layer.op == "Scale" && layer.int(0, 0) == UNSET {
            let scale = self.input(layer, 1)?;
            return Ok(self.node(layer, "Mul", &[&x, &scale], &[]));
        }
        let count = channels(layer, 0)?;
        let (scale, shift) = if layer.op == "BatchNorm" {
            let [slope, mean, var, bias] = [(); 4].map(|()| self.weights.plain(count));
            let (slope, mean, var, bias) = (slope?, mean?, var?, bias?);
            let eps = layer.float(1, 0.0);
            let scale = |(s, v): (&f32, &f32)| (f64::from(*s) / (f64::from(*v) + eps).sqrt()) as f32;
            let scale: Vec<f32> = slope.iter().zip(&var).map(scale).collect();
            let shift = (0..count).map(|c| bias[c] - mean[c] * scale[c]).collect();
            (scale, shift)
        } else {
            let scale = self.weights.plain(count)?;
            let shift = if layer.flag(1) { self.weights.plain(count)? } else { vec![0.0; count] };
            (scale, shift)
        };
        let scale = self.floats(layer, &[1, count, 1, 1], scale)?;
        let shift = self.floats(layer, &[1, count, 1, 1], shift)?;
        let y = self.node(layer, "Mul", &[&x, &scale], &[]);
        Ok(self.node(layer, "Add", &[&y, &shift], &[]))
    }

    /// Statistics of each channel, or of each group of channels.
    fn norm(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let is_group = layer.op == "GroupNorm";
        let count = channels(layer, i64::from(is_group))?;
        let [eps_at, affine_at] = if is_group { [2, 3] } else { [1, 2] };
        let eps = layer.float(eps_at, 1e-3) as f32;
        let affine = layer.int(affine_at, 1) != 0;
        let (scale, shift) = match affine {
            true => (self.weights.plain(count)?, self.weights.plain(count)?),
            false => (vec![1.0; count], vec![0.0; count]),
        };
        if !is_group {
            let scale = self.floats(layer, &[count], scale)?;
            let shift = self.floats(layer, &[count], shift)?;
            return Ok(self.node(
                layer,
                "InstanceNormalization",
                &[&x, &scale, &shift],
                &[("epsilon", Float(eps))],
            ));
        }
        let groups = layer.size(0, 1)?.clamp(1, count);
        let [ones, zeros] = [1.0, 0.0].map(|value| self.floats(layer, &[groups], vec![value; groups]));
        let (ones, zeros) = (ones?, zeros?);
        let split = self.ints(layer, &[1, groups as i64, -1])?;
        let whole = self.node(layer, "Shape", &[&x], &[]);
        let y = self.node(layer, "Reshape", &[&x, &split], &[]);
        let y = self.node(layer, "InstanceNormalization", &[&y, &ones, &zeros], &[("epsilon", Float(eps))]);
        let y = self.node(layer, "Reshape", &[&y, &whole], &[]);
        let scale = self.floats(layer, &[1, count, 1, 1], scale)?;
        let shift = self.floats(layer, &[1, count, 1, 1], shift)?;
        let y = self.node(layer, "Mul", &[&y, &scale], &[]);
        Ok(self.node(layer, "Add", &[&y, &shift], &[]))
    }

    fn pool(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let is_average = layer.flag(0);
        if layer.flag(7) {
            return Err(layer.error("adaptive pooling is not supported"));
        }
        if layer.flag(4) {
            let op = if is_average { "GlobalAveragePool" } else { "GlobalMaxPool" };
            return Ok(self.node(layer, op, &[&x], &[]));
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

/// A number of channels.
fn channels(layer: &Layer<'_>, key: i64) -> Result<usize> {
    match layer.size(key, 0)? {
        count if (1..=MAX_CHANNELS).contains(&count) => Ok(count),
        count => Err(layer.error(format!("expected 1 to {MAX_CHANNELS} channels, got {count}"))),
    }
}

/// Height and width of a kernel.
fn kernel(layer: &Layer<'_>) -> Result<[usize; 2]> {
    let w = layer.size(1, 0)?;
    match [layer.size(11, w)?, w] {
        [h, w] if (1..=256).contains(&h) && (1..=256).contains(&w) => Ok([h, w]),
        [h, w] => Err(layer.error(format!("expected a kernel of 1 to 256, got {h}x{w}"))),
    }
}

/// A quotient without rest.
fn whole(layer: &Layer<'_>, total: usize, part: usize) -> Result<usize> {
    match part > 0 && total.is_multiple_of(part) {
        true => Ok(total / part),
        false => Err(layer.error(format!("{total} is not divisible by {part}"))),
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

/// The ONNX axis of one of channels, rows and columns.
fn axis(layer: &Layer<'_>, axis: i64) -> Result<i64> {
    match axis {
        0..=2 => Ok(axis + 1),
        -3..=-1 => Ok(axis + 4),
        _ => Err(layer.error(format!("an axis {axis}"))),
    }
}
