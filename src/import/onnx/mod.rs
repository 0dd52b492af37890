//! ONNX: the operators that plain convolutional U-Nets are made of, with constant attributes.
//!
//! What is not understood is an error that names the operator, the node and the opset; nothing is skipped over. A
//! network whose result has its input's size is padded to its stride and cropped again, so that any size runs.

mod proto;

use crate::error::{Error, Result};
use crate::graph::{
    Activation, BatchNorm, Binary, Concat, Conv, ConvTranspose, Crop, Graph, Op, Pad, PadAmount, PadMode,
    Pool, PoolKind, Reduce, Resize, ResizeTo, Softmax, ValueId,
};
use crate::model::Model;
use crate::recipe::Recipe;
use crate::tensor::{Shape, Tensor};
use prost::Message;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Whether a file begins as ONNX does, with the field `ir_version`. A safetensors header of a length with the same low
/// byte has its brace in the ninth place.
pub(super) fn is_onnx(first: &[u8]) -> bool {
    first.len() > 8 && first[0] == 8 && first[8] != b'{'
}

/// Reads an ONNX file.
pub(super) fn open(path: &Path) -> Result<Model> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    read(&bytes).map_err(|e| e.at(&path.display().to_string()))
}

/// Reads a model from the bytes of an ONNX file.
pub(crate) fn read(bytes: &[u8]) -> Result<Model> {
    parse(bytes).map_err(super::one_line)
}

fn parse(bytes: &[u8]) -> Result<Model> {
    let file = proto::Model::decode(bytes)
        .map_err(|e| Error::Model(format!("not a readable ONNX file: {e} (is it complete?)")))?;
    let opset = file.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx");
    let opset = opset.map_or(1, |o| o.version);
    let graph = file.graph.ok_or_else(|| Error::Model("the ONNX file holds no graph".into()))?;
    let plain = Importer::new(&graph, opset)?.build(None)?;
    // The same network again, behind a pad up to its stride, where its result has the input's size.
    let graph = match plain.stride() {
        Some((stride, 1.0)) if stride > 1 => Importer::new(&graph, opset)?.build(Some(stride))?,
        _ => plain,
    };
    Ok(Model { graph, config: None, recipe: Recipe::default(), family: None })
}

/// A constant operand.
#[derive(Debug, Clone)]
struct Constant {
    dims: Vec<usize>,
    values: Vec<f32>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
enum Value {
    Tensor(ValueId),
    Constant(Arc<Constant>),
}

struct Importer<'a> {
    file: &'a proto::Graph,
    opset: i64,
    values: HashMap<&'a str, Value>,
    graph: Graph,
}

/// A node with its attributes by name.
struct Reader<'a> {
    node: &'a proto::Node,
    opset: i64,
}

impl<'a> Importer<'a> {
    fn new(file: &'a proto::Graph, opset: i64) -> Result<Importer<'a>> {
        let mut values = HashMap::new();
        for tensor in &file.initializer {
            values.insert(tensor.name.as_str(), Value::Constant(Arc::new(constant(tensor)?)));
        }
        // Old files list initializers among the inputs.
        let inputs: Vec<_> = file.input.iter().filter(|i| !values.contains_key(i.name.as_str())).collect();
        let [input] = inputs[..] else {
            return Err(Error::shape("the network", "one input", inputs.len()));
        };
        let dims = input.kind.as_ref().and_then(|k| k.tensor.as_ref()).and_then(|t| t.shape.as_ref());
        let dims: Vec<i64> = dims.map_or(Vec::new(), |shape| shape.dim.iter().map(|d| d.value).collect());
        let channels = match dims[..] {
            [_, channels, _, _] if channels > 0 => extent(channels)?,
            _ => {
                return Err(Error::shape(
                    &input.name,
                    "4 extents with a known number of channels",
                    format!("{dims:?}"),
                ));
            }
        };
        values.insert(&input.name, Value::Tensor(Graph::INPUT));
        Ok(Importer { file, opset, values, graph: Graph::new(channels) })
    }

    fn build(mut self, multiple: Option<usize>) -> Result<Graph> {
        if let Some(multiple) = multiple {
            let pad = Pad { amount: PadAmount::Multiple(multiple), mode: PadMode::Reflect };
            let padded = self.graph.push("pad to stride", pad, &[Graph::INPUT])?;
            for value in self.values.values_mut() {
                if matches!(value, Value::Tensor(_)) {
                    *value = Value::Tensor(padded);
                }
            }
        }
        for node in &self.file.node {
            let reader = Reader { node, opset: self.opset };
            let value = self.node(&reader).map_err(|e| e.at(&reader.place()))?;
            let Some(output) = node.output.first() else { continue };
            self.values.insert(output, value);
        }
        // Networks with several heads give their first.
        let output = self.file.output.first().and_then(|o| self.values.get(o.name.as_str()));
        let Some(Value::Tensor(output)) = output else {
            return Err(Error::Model("no node makes the network's output".into()));
        };
        let mut output = *output;
        if multiple.is_some() {
            output = self.graph.push("crop to input", Crop, &[output, Graph::INPUT])?;
        }
        self.graph.set_output(output);
        Ok(self.graph)
    }

    fn node(&mut self, reader: &Reader<'a>) -> Result<Value> {
        if !reader.node.domain.is_empty() && reader.node.domain != "ai.onnx" {
            return Err(reader.unsupported());
        }
        let op: Op = match reader.node.op_type.as_str() {
            "Identity" | "Dropout" => return self.operand(reader, 0),
            "Constant" => return reader.constant(),
            "Conv" => self.conv(reader)?.into(),
            "ConvTranspose" => self.conv_transpose(reader)?.into(),
            "Gemm" => self.gemm(reader)?.into(),
            "BatchNormalization" => {
                let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|i| self.constant(reader, i));
                let eps = f64::from(reader.float("epsilon", 1e-5));
                reader.only("training_mode", 0)?;
                BatchNorm::new(&gamma?.values, &beta?.values, &mean?.values, &var?.values, eps)?.into()
            }
            "Relu" => Activation::Relu.into(),
            "LeakyRelu" => Activation::LeakyRelu(reader.float("alpha", 0.01)).into(),
            "Sigmoid" => Activation::Sigmoid.into(),
            "Softmax" => {
                let default = if self.opset < 13 { 1 } else { -1 };
                match reader.int("axis", default) {
                    1 | -3 => Softmax::default().into(),
                    axis => return Err(Error::shape("attribute axis", "1, the channels", axis)),
                }
            }
            "MaxPool" => reader.pool(PoolKind::Max)?.into(),
            "AveragePool" => match reader.int("count_include_pad", 0) {
                0 => reader.pool(PoolKind::Average)?.into(),
                _ => reader.pool(PoolKind::AverageWithPadding)?.into(),
            },
            "GlobalAveragePool" => Reduce::GLOBAL_AVERAGE.into(),
            // Behind a global average only channels are left, and flattening changes nothing.
            "Flatten" => match self.operand(reader, 0)? {
                Value::Tensor(id) if self.is_averaged(id) => return Ok(Value::Tensor(id)),
                _ => return Err(reader.unsupported()),
            },
            "Concat" => {
                if ![1, -3].contains(&reader.int("axis", 1)) {
                    return Err(Error::shape("attribute axis", "1, the channels", reader.int("axis", 1)));
                }
                return self.push(reader, Concat::default().into(), reader.node.input.len());
            }
            "Add" | "Sub" | "Mul" | "Div" => return self.arithmetic(reader),
            "Pad" => self.pad(reader)?.into(),
            "Resize" | "Upsample" => self.resize(reader)?.into(),
            _ => return Err(reader.unsupported()),
        };
        self.push(reader, op, 1)
    }

    /// Appends a node that reads the first `operands` operands.
    fn push(&mut self, reader: &Reader<'a>, op: Op, operands: usize) -> Result<Value> {
        let inputs = (0..operands).map(|i| self.tensor(reader, i)).collect::<Result<Vec<_>>>()?;
        let wanted = if reader.node.name.is_empty() { &reader.node.output[0] } else { &reader.node.name };
        let taken = |name: &str| name == "input" || self.graph.nodes().iter().any(|n| n.name == name);
        let mut name = wanted.clone();
        let mut count = 1;
        while taken(&name) {
            count += 1;
            name = format!("{wanted} {count}");
        }
        Ok(Value::Tensor(self.graph.push(&name, op, &inputs)?))
    }

    fn operand(&self, reader: &Reader<'a>, i: usize) -> Result<Value> {
        let name = reader.node.input.get(i).map_or("", String::as_str);
        let missing = || Error::Model(format!("operand {i} ({name}) is not made by any earlier node"));
        self.values.get(name).cloned().ok_or_else(missing)
    }

    fn tensor(&self, reader: &Reader<'a>, i: usize) -> Result<ValueId> {
        match self.operand(reader, i)? {
            Value::Tensor(id) => Ok(id),
            Value::Constant(_) => {
                Err(Error::Model(format!("operand {i} is constant; expected a computed tensor")))
            }
        }
    }

    fn constant(&self, reader: &Reader<'a>, i: usize) -> Result<Arc<Constant>> {
        match self.operand(reader, i)? {
            Value::Constant(constant) => Ok(constant),
            Value::Tensor(_) => Err(Error::Model(format!("operand {i} is computed; expected a constant"))),
        }
    }

    /// A constant operand that may be left out, by its absence or by an empty name.
    fn optional(&self, reader: &Reader<'a>, i: usize) -> Result<Option<Arc<Constant>>> {
        match reader.node.input.get(i).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(_) => self.constant(reader, i).map(Some),
        }
    }

    fn is_averaged(&self, id: ValueId) -> bool {
        let producer = self.graph.producer(id).map(|i| &self.graph.nodes()[i].op);
        matches!(producer, Some(Op::Reduce(Reduce::GLOBAL_AVERAGE)))
    }

    fn weight(&self, reader: &Reader<'a>) -> Result<Arc<Tensor>> {
        let constant = self.constant(reader, 1)?;
        match constant.dims[..] {
            [n, c, h, w] => Ok(Arc::new(Tensor::new(Shape::new(n, c, h, w), constant.values.clone())?)),
            _ => Err(Error::shape("weight", "4 extents (2-D convolutions)", format!("{:?}", constant.dims))),
        }
    }

    fn bias(&self, reader: &Reader<'a>) -> Result<Option<Arc<[f32]>>> {
        Ok(self.optional(reader, 2)?.map(|bias| bias.values.clone().into()))
    }

    fn conv(&self, reader: &Reader<'a>) -> Result<Conv> {
        let weight = self.weight(reader)?;
        let kernel = [weight.shape().h, weight.shape().w];
        let [stride, dilation] = [reader.pair("strides")?, reader.pair("dilations")?];
        Ok(Conv {
            stride,
            dilation,
            padding: reader.padding(kernel, stride, dilation)?,
            groups: extent(reader.int("group", 1))?,
            ..Conv::new(weight, self.bias(reader)?)
        })
    }

    fn conv_transpose(&self, reader: &Reader<'a>) -> Result<ConvTranspose> {
        let weight = self.weight(reader)?;
        if reader.pair("dilations")? != [1, 1] || reader.find("output_shape").is_some() {
            return Err(Error::Model("dilations and output_shape are not supported".into()));
        }
        let kernel = [weight.shape().h, weight.shape().w];
        let stride = reader.pair("strides")?;
        let extra = reader.ints("output_padding", &[0, 0])?;
        Ok(ConvTranspose {
            stride,
            padding: reader.padding(kernel, stride, [1, 1])?,
            output_padding: [extra[0], extra[1]],
            groups: extent(reader.int("group", 1))?,
            ..ConvTranspose::new(weight, self.bias(reader)?, 1)
        })
    }

    /// A linear layer on a pooled picture: a 1x1 convolution.
    fn gemm(&self, reader: &Reader<'a>) -> Result<Conv> {
        let weight = self.constant(reader, 1)?;
        let scaled = reader.float("alpha", 1.0) != 1.0 || reader.float("beta", 1.0) != 1.0;
        let [outs, ins] = match (&weight.dims[..], reader.int("transB", 0)) {
            (&[outs, ins], 1) => [outs, ins],
            _ => return Err(Error::Model("expected a weight of (out, in) with transB = 1".into())),
        };
        if scaled || reader.int("transA", 0) != 0 {
            return Err(Error::Model("alpha, beta and transA are not supported".into()));
        }
        let weight = Tensor::new(Shape::new(outs, ins, 1, 1), weight.values.clone())?;
        Ok(Conv::new(Arc::new(weight), self.bias(reader)?))
    }

    /// Sum of two tensors, or a tensor with a number or a number a channel.
    fn arithmetic(&mut self, reader: &Reader<'a>) -> Result<Value> {
        let kind = reader.node.op_type.as_str();
        let (tensor, constant, swapped) = match (self.operand(reader, 0)?, self.operand(reader, 1)?) {
            (Value::Tensor(_), Value::Tensor(_)) if kind == "Add" => {
                return self.push(reader, Binary::ADD.into(), 2);
            }
            (Value::Tensor(id), Value::Constant(c)) => (id, c, false),
            (Value::Constant(c), Value::Tensor(id)) => (id, c, true),
            _ => return Err(reader.unsupported()),
        };
        let one_each = constant.dims.iter().rev().skip(2).product::<usize>() == constant.values.len();
        let channels = match constant.values.len() {
            1 => None,
            n if one_each && matches!(constant.dims[..], [_, 1, 1] | [1, _, 1, 1]) => Some(n),
            _ => {
                return Err(Error::shape(
                    "constant operand",
                    "a number, or one a channel",
                    format!("{:?}", constant.dims),
                ));
            }
        };
        // How many channels a lone number stands for is only known from the tensor's own operator.
        let n = match channels {
            Some(n) => n,
            None => self.channels(tensor).ok_or_else(|| reader.unsupported())?,
        };
        let c = |i: usize| f64::from(constant.values[if channels.is_some() { i } else { 0 }]);
        let affine = |scale: f64, shift: f64| (scale as f32, shift as f32);
        let pairs = (0..n).map(|i| match (kind, swapped) {
            ("Add", _) => affine(1.0, c(i)),
            ("Sub", false) => affine(1.0, -c(i)),
            ("Sub", true) => affine(-1.0, c(i)),
            ("Mul", _) => affine(c(i), 0.0),
            _ => affine(1.0 / c(i), 0.0),
        });
        let (scale, shift): (Vec<f32>, Vec<f32>) = pairs.unzip();
        if (kind == "Div" && swapped) || scale.iter().any(|s| !s.is_finite()) {
            return Err(reader.unsupported());
        }
        let op = BatchNorm { scale: scale.into(), shift: shift.into(), activation: Activation::None };
        let position = usize::from(swapped);
        let id = self.tensor(reader, position)?;
        let name = format!("{} {}", reader.place(), self.graph.nodes().len());
        Ok(Value::Tensor(self.graph.push(&name, op, &[id])?))
    }

    /// Channels of a value, which do not depend on the picture's size.
    fn channels(&self, id: ValueId) -> Option<usize> {
        if id == Graph::INPUT {
            return Some(self.graph.input_channels());
        }
        let node = &self.graph.nodes()[self.graph.producer(id)?];
        match &node.op {
            Op::Conv(conv) => Some(conv.out_channels()),
            Op::ConvTranspose(conv) => Some(conv.out_channels()),
            Op::Concat(_) => node.inputs.iter().map(|&part| self.channels(part)).sum(),
            _ => self.channels(*node.inputs.first()?),
        }
    }

    fn pad(&self, reader: &Reader<'a>) -> Result<Pad> {
        let amounts: Vec<isize> = if self.opset < 11 {
            reader.attribute_ints("pads").iter().map(|&v| v as isize).collect()
        } else {
            self.constant(reader, 1)?.values.iter().map(|&v| v as isize).collect()
        };
        let mode = match reader.text("mode", "constant").as_str() {
            "constant" => PadMode::Zero,
            "edge" => PadMode::Edge,
            "reflect" => PadMode::Reflect,
            other => return Err(Error::shape("attribute mode", "constant, edge or reflect", other)),
        };
        let value = self.optional(reader, 2)?.and_then(|v| v.values.first().copied()).unwrap_or(0.0);
        match amounts[..] {
            [0, 0, top, left, 0, 0, bottom, right] if value == 0.0 => {
                Ok(Pad { amount: PadAmount::Fixed([top, left, bottom, right]), mode })
            }
            _ => Err(Error::shape(
                "pads",
                "rows and columns alone, with zeros",
                format!("{amounts:?}, value {value}"),
            )),
        }
    }

    fn resize(&self, reader: &Reader<'a>) -> Result<Resize> {
        let scales = match (reader.node.op_type.as_str(), self.opset) {
            ("Upsample", ..9) => reader.attribute_floats("scales"),
            ("Upsample", _) | ("Resize", ..11) => self.constant(reader, 1)?.values.clone(),
            _ => self.optional(reader, 2)?.map_or(Vec::new(), |c| c.values.clone()),
        };
        let [1.0, 1.0, h, w] = scales[..] else {
            return Err(Error::shape(
                "scales",
                "constant factors (1, 1, height, width)",
                format!("{scales:?}"),
            ));
        };
        let default = if self.opset < 11 { "asymmetric" } else { "half_pixel" };
        let rule = reader.text("coordinate_transformation_mode", default);
        let nearest =
            reader.text("nearest_mode", if self.opset < 11 { "floor" } else { "round_prefer_floor" });
        let whole = [h, w].iter().all(|s| *s >= 1.0 && s.fract() == 0.0);
        let by = ResizeTo::Scale([h, w]);
        Ok(match (reader.text("mode", "nearest").as_str(), rule.as_str(), nearest.as_str()) {
            ("nearest", "asymmetric", "floor") => Resize::nearest(by),
            // Up by whole factors, half-pixel centres round to the same pixels.
            ("nearest", "half_pixel", "round_prefer_floor" | "round_prefer_ceil") if whole => {
                Resize::nearest(by)
            }
            ("linear" | "bilinear", "half_pixel" | "pytorch_half_pixel", _) => Resize::bilinear(by, false),
            ("linear" | "bilinear", "align_corners", _) => Resize::bilinear(by, true),
            (mode, rule, nearest) => {
                let expected = "nearest asymmetric floor, linear half_pixel or linear align_corners";
                return Err(Error::shape("resizing", expected, format!("{mode} {rule} {nearest}")));
            }
        })
    }
}

impl<'a> Reader<'a> {
    /// The node's name and operator, for errors.
    fn place(&self) -> String {
        let output = self.node.output.first().map_or("", String::as_str);
        let name = if self.node.name.is_empty() { output } else { &self.node.name };
        format!("{} ({})", name, self.node.op_type)
    }

    fn unsupported(&self) -> Error {
        Error::Model(format!(
            "operator {} of opset {} is not supported in this form",
            self.node.op_type, self.opset
        ))
    }

    fn find(&self, name: &str) -> Option<&'a proto::Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    fn int(&self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, |a| a.i)
    }

    fn float(&self, name: &str, default: f32) -> f32 {
        self.find(name).map_or(default, |a| a.f)
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.find(name).map_or(default.into(), |a| String::from_utf8_lossy(&a.s).into_owned())
    }

    fn attribute_ints(&self, name: &str) -> Vec<i64> {
        self.find(name).map_or(Vec::new(), |a| a.ints.clone())
    }

    fn attribute_floats(&self, name: &str) -> Vec<f32> {
        self.find(name).map_or(Vec::new(), |a| a.floats.clone())
    }

    /// Whole numbers that are not negative, as many as the default has.
    fn ints(&self, name: &str, default: &[usize]) -> Result<Vec<usize>> {
        let ints = self.attribute_ints(name);
        if ints.is_empty() {
            return Ok(default.to_vec());
        }
        if ints.len() != default.len() {
            return Err(Error::shape(
                format!("attribute {name}"),
                format!("{} numbers", default.len()),
                ints.len(),
            ));
        }
        ints.into_iter().map(extent).collect()
    }

    fn pair(&self, name: &str) -> Result<[usize; 2]> {
        let pair = self.ints(name, &[1, 1])?;
        Ok([pair[0], pair[1]])
    }

    /// Errors when an attribute has another value than the one that is supported.
    fn only(&self, name: &str, value: i64) -> Result<()> {
        match self.int(name, value) {
            v if v == value => Ok(()),
            other => Err(Error::shape(format!("attribute {name}"), value, other)),
        }
    }

    /// Rows above, columns left, rows below, columns right, from `pads` or `auto_pad`.
    fn padding(&self, kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2]) -> Result<[usize; 4]> {
        let total = [0, 1].map(|axis| dilation[axis] * kernel[axis].saturating_sub(1));
        match self.text("auto_pad", "NOTSET").as_str() {
            "NOTSET" | "" => {
                let pads = self.ints("pads", &[0; 4])?;
                Ok([pads[0], pads[1], pads[2], pads[3]])
            }
            "VALID" => Ok([0; 4]),
            // With a larger stride the padding depends on the picture's size.
            "SAME_UPPER" if stride == [1, 1] => {
                Ok([total[0] / 2, total[1] / 2, total[0].div_ceil(2), total[1].div_ceil(2)])
            }
            "SAME_LOWER" if stride == [1, 1] => {
                Ok([total[0].div_ceil(2), total[1].div_ceil(2), total[0] / 2, total[1] / 2])
            }
            other => Err(Error::shape("attribute auto_pad", "NOTSET, VALID, or SAME_* at stride 1", other)),
        }
    }

    fn pool(&self, kind: PoolKind) -> Result<Pool> {
        if self.node.output.iter().skip(1).any(|o| !o.is_empty()) {
            return Err(Error::Model("pooling with indices is not supported".into()));
        }
        let [kernel, stride, dilation] =
            [self.pair("kernel_shape")?, self.pair("strides")?, self.pair("dilations")?];
        Ok(Pool {
            kind,
            kernel,
            stride,
            dilation,
            padding: self.padding(kernel, stride, dilation)?,
            ceil: self.int("ceil_mode", 0) != 0,
        })
    }

    fn constant(&self) -> Result<Value> {
        let constant = match (self.find("value"), self.find("value_float"), self.find("value_floats")) {
            (Some(proto::Attribute { t: Some(tensor), .. }), ..) => constant(tensor)?,
            (_, Some(number), _) => Constant { dims: Vec::new(), values: vec![number.f] },
            (.., Some(list)) => Constant { dims: vec![list.floats.len()], values: list.floats.clone() },
            _ => return Err(self.unsupported()),
        };
        Ok(Value::Constant(Arc::new(constant)))
    }
}

fn extent(value: i64) -> Result<usize> {
    usize::try_from(value).map_err(|_| Error::shape("extent", "a number that is not negative", value))
}

/// A tensor's numbers as f32. Errors name the tensor when they are of another kind or not all there.
fn constant(tensor: &proto::Tensor) -> Result<Constant> {
    let named = |message: String| Error::Model(format!("tensor {}: {message}", tensor.name));
    if tensor.data_location != 0 {
        return Err(named("its data is in another file; save the model with its data inside".into()));
    }
    let dims = tensor.dims.iter().map(|&d| extent(d)).collect::<Result<Vec<_>>>()?;
    let raw = &tensor.raw_data;
    let values: Vec<f32> = match tensor.data_type {
        1 if !raw.is_empty() => {
            raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        1 => tensor.float_data.clone(),
        7 if !raw.is_empty() => raw.chunks_exact(8).map(|b| little_endian(b) as f32).collect(),
        7 => tensor.int64_data.iter().map(|&v| v as f32).collect(),
        10 => raw.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        11 => raw.chunks_exact(8).map(|b| f64::from_bits(little_endian(b) as u64) as f32).collect(),
        16 => raw.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        other => {
            return Err(named(format!(
                "data type {other} is not supported; expected f16, bf16, f32, f64 or i64"
            )));
        }
    };
    let expected = dims.iter().copied().fold(1usize, usize::saturating_mul);
    if values.len() != expected {
        return Err(named(format!("expected {expected} numbers, got {}", values.len())));
    }
    match values.iter().find(|v| !v.is_finite()) {
        Some(v) => Err(named(format!("holds {v}; weights must be finite"))),
        None => Ok(Constant { dims, values }),
    }
}

fn little_endian(bytes: &[u8]) -> i64 {
    bytes.iter().rev().fold(0u64, |value, &b| value << 8 | u64::from(b)) as i64
}
