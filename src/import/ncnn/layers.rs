//! ONNX nodes for the layers of a network. What each layer computes is in ncnn's `src/layer`, how its parameters are
//! numbered in ncnn's `docs/developer-guide/operators.md`.

mod activations;
mod norms;
mod shapes;
mod windows;

use super::param::Layer;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::import::onnx::emit::{Attribute, Emit};
use std::collections::{BTreeSet, HashMap};

use Attribute::{Int, Text};
use windows::kernel;

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
            "MemoryData" => self.memory(layer, all)?,
            "Convolution" | "ConvolutionDepthWise" => self.conv(layer)?,
            "Deconvolution" | "DeconvolutionDepthWise" => self.deconv(layer)?,
            "InnerProduct" => self.inner_product(layer)?,
            "BatchNorm" | "Scale" => self.scale_and_shift(layer)?,
            "InstanceNorm" | "GroupNorm" => self.norm(layer)?,
            "LayerNorm" => self.layer_norm(layer)?,
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
            "ShuffleChannel" => self.shuffle_channels(layer)?,
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

    /// A constant: one axis is channels, two are channels and rows, as arithmetic with a map takes them.
    fn memory(&mut self, layer: &Layer<'a>, all: &[Layer<'a>]) -> Result<String> {
        let [w, h, c] = [layer.size(0, 0)?, layer.size(1, 0)?, layer.size(2, 0)?];
        let dims = match [c, h, w] {
            [0, 0, w] if w > 0 => [1, w, 1, 1],
            [0, h, w] if h > 0 && w > 0 => {
                let reads = |other: &&Layer<'a>| other.inputs.iter().any(|x| layer.outputs.contains(x));
                if let Some(other) = all.iter().filter(reads).find(|other| other.op != "BinaryOp") {
                    let what = format!("its two axes are read by {}, expected BinaryOp", other.op);
                    return Err(layer.error(what));
                }
                [1, h, w, 1]
            }
            [c, h, w] if c > 0 && h > 0 && w > 0 => [1, c, h, w],
            _ => return Err(layer.error("expected one to three axes")),
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
}

/// A number of channels.
fn channels(layer: &Layer<'_>, key: i64) -> Result<usize> {
    match layer.size(key, 0)? {
        count if (1..=MAX_CHANNELS).contains(&count) => Ok(count),
        count => Err(layer.error(format!("expected 1 to {MAX_CHANNELS} channels, got {count}"))),
    }
}

/// A quotient without rest.
fn whole(layer: &Layer<'_>, total: usize, part: usize) -> Result<usize> {
    match part > 0 && total.is_multiple_of(part) {
        true => Ok(total / part),
        false => Err(layer.error(format!("{total} is not divisible by {part}"))),
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
