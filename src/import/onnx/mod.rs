//! ONNX. A file is read once; its network is built anew for each size of the input, because exporters write much of it
//! as arithmetic on sizes, all of which is known then.
//!
//! What is not understood is an error that names the operator, the node and the opset; nothing is skipped over. A size
//! that the network itself does not take is padded up to the next power of two that it takes, and the result cropped.

mod array;
mod build;
mod fold;
mod node;
mod operators;
mod proto;
mod view;
mod weigh;

use crate::error::{Error, Result};
use crate::graph::{Crop, Graph, Pad, PadAmount, PadMode, Rearrange, Slice, ValueId};
use crate::model::Model;
use crate::recipe::Recipe;
use crate::tensor::{Shape, Tensor};
use array::{Array, External, Kind};
use build::{Builder, Constants, Live};

pub use build::Fate;
use node::extent;
use prost::Message;
use prost::bytes::Bytes;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A fixed value for one of a network's inputs: a time step, a noise level, a ratio.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The input's name in the file.
    pub name: String,
    /// Its extents; none for a single number.
    pub dims: Vec<usize>,
    /// Its numbers.
    pub values: Vec<f64>,
}

impl Bound {
    /// As a constant of the type that the file declares.
    fn array(&self, graph: &proto::Graph) -> Result<Array> {
        let input = graph.input.iter().find(|i| i.name == self.name).ok_or_else(|| {
            let names: Vec<&str> = graph.input.iter().map(|i| i.name.as_str()).collect();
            Error::shape("bound input", format!("one of {}", names.join(", ")), &self.name)
        })?;
        let declared = input.kind.as_ref().and_then(|k| k.tensor.as_ref()).map_or(1, |t| t.elem_type);
        let kind = fold::kind(i64::from(declared)).unwrap_or(Kind::Float);
        Array::new(self.dims.clone(), kind, self.values.clone()).map_err(|e| e.at(&self.name))
    }
}

/// A file as it was read: nodes, constants, and what its input looks like.
#[derive(Debug)]
pub(crate) struct File {
    graph: proto::Graph,
    constants: Constants,
    opset: i64,
    input: Input,
    metadata: Vec<(String, String)>,
    /// A shape that the network takes.
    example: Shape,
    /// Result pixels for an input pixel, when that is a whole number or one over it.
    ratio: Option<[f64; 2]>,
}

/// What a converted file holds besides the nodes' bytes and the weights' numbers.
#[derive(serde::Serialize, serde::Deserialize)]
struct StoredFile {
    opset: i64,
    /// Name and extents of each of the weights.
    weights: Vec<(String, Vec<usize>)>,
}

#[derive(Debug)]
struct Input {
    name: String,
    layout: Layout,
    channels: usize,
    /// Pictures, where the file fixes them; else 1.
    pictures: usize,
    /// Height and width, where the file fixes them.
    size: [Option<usize>; 2],
    /// All extents, where the file fixes them and they are no picture's.
    dims: Vec<usize>,
}

/// The order of the input's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Nchw,
    Nhwc,
    Chw,
    /// Extents that are no picture's; missing ones are 1 in front.
    Flat,
}

/// Whether a file begins as ONNX does, with the field `ir_version`. A safetensors header of a length with the same low
/// byte has its brace in the ninth place.
pub(super) fn is_onnx(first: &[u8]) -> bool {
    first.len() > 8 && first[0] == 8 && first[8] != b'{'
}

/// Whether that is a regular file that begins as ONNX does.
pub fn is_onnx_file(path: &Path) -> bool {
    let mut first = [0; 9];
    fs::metadata(path).is_ok_and(|m| m.is_file())
        && fs::File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok()
        && is_onnx(&first)
}

/// Reads an ONNX file, and the files beside it that hold its tensors.
pub(crate) fn open(path: &Path, bound: &[Bound]) -> Result<Model> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    model(bytes.into(), External::beside(path), bound).map_err(|e| e.at(&path.display().to_string()))
}

/// Reads a model from the bytes of an ONNX file.
pub(crate) fn read(bytes: &[u8], bound: &[Bound]) -> Result<Model> {
    model(Bytes::copy_from_slice(bytes), External::default(), bound)
}

fn model(bytes: Bytes, mut external: External, bound: &[Bound]) -> Result<Model> {
    let file = File::parse(bytes, &mut external, bound).map_err(super::one_line)?;
    Ok(Model::from_file(Arc::new(file), Recipe::default()))
}

impl File {
    fn parse(bytes: Bytes, external: &mut External, bound: &[Bound]) -> Result<File> {
        File::decode(bytes, external, bound)?.ready()
    }

    /// The file as it stands, not yet known to run.
    fn decode(bytes: Bytes, external: &mut External, bound: &[Bound]) -> Result<File> {
        weigh::check(&bytes)?;
        let model = proto::Model::decode(bytes)
            .map_err(|e| Error::Model(format!("not a readable ONNX file: {e} (is it complete?)")))?;
        let opset = model.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx");
        let mut graph = model.graph.ok_or_else(|| Error::Model("the ONNX file holds no graph".into()))?;
        build::check_names(&graph)?;
        let mut constants = build::constants(&mut graph, external)?;
        for bound in bound {
            constants.insert(bound.name.clone(), bound.array(&graph)?);
        }
        let metadata = model.metadata_props.into_iter().map(|e| (e.key, e.value)).collect();
        File::new(graph, constants, opset.map_or(1, |o| o.version), metadata)
    }

    fn new(
        graph: proto::Graph,
        constants: Constants,
        opset: i64,
        metadata: Vec<(String, String)>,
    ) -> Result<File> {
        let input = Input::of(&graph, &constants)?;
        let example = Shape::new(input.pictures, input.channels, 1, 1);
        Ok(File { graph, constants, opset, input, metadata, example, ratio: None })
    }

    /// What [`from_parts`](Self::from_parts) takes: JSON, the nodes' bytes, and the weights.
    pub(crate) fn parts(&self) -> Result<(String, Vec<u8>, Vec<Arc<Tensor>>)> {
        let mut graph = self.graph.clone();
        let mut weights = Vec::new();
        let mut stored = StoredFile { opset: self.opset, weights: Vec::new() };
        let mut names: Vec<&String> = self.constants.keys().collect();
        names.sort();
        for name in names {
            let array = &self.constants[name];
            match array.weights() {
                Some(tensor) => {
                    stored.weights.push((name.clone(), array.dims.clone()));
                    weights.push(tensor);
                }
                None => graph.initializer.push(array.proto(name)),
            }
        }
        let text = serde_json::to_string(&stored).map_err(|e| Error::Model(e.to_string()))?;
        Ok((text, graph.encode_to_vec(), weights))
    }

    /// A file from what [`parts`](Self::parts) gave.
    pub(crate) fn from_parts(text: &str, nodes: Vec<u8>, weights: Vec<Arc<Tensor>>) -> Result<File> {
        let broken =
            |e: &dyn std::fmt::Display| Error::Model(format!("the stored ONNX network is not valid: {e}"));
        let stored: StoredFile = serde_json::from_str(text).map_err(|e| broken(&e))?;
        let mut graph = proto::Graph::decode(Bytes::from(nodes)).map_err(|e| broken(&e))?;
        let mut constants = build::constants(&mut graph, &mut External::default())?;
        if stored.weights.len() != weights.len() {
            return Err(Error::shape("weights", stored.weights.len(), weights.len()));
        }
        for ((name, dims), tensor) in stored.weights.into_iter().zip(weights) {
            constants.insert(name, Array::of_tensor(dims, tensor)?);
        }
        File::new(graph, constants, stored.opset, Vec::new())?.ready()
    }

    /// A shape of the input: the file's own height and width where it fixes them, elsewhere `side`.
    fn sized(&self, side: usize) -> Shape {
        let [h, w] = self.input.size.map(|own| own.unwrap_or(side));
        Shape { h, w, ..self.example }
    }

    /// The file with a size that the network takes: its own where it has one.
    fn ready(mut self) -> Result<File> {
        let mut first = None;
        for side in [256, 224, 512, 64] {
            let shape = self.sized(side).check("input")?;
            match self.build(shape, 1) {
                Ok(graph) => {
                    let y = graph.output_shape(shape)?;
                    let ratio = [y.h as f64 / shape.h as f64, y.w as f64 / shape.w as f64];
                    let even = |r: f64| r.fract() == 0.0 || (1.0 / r).fract() == 0.0;
                    (self.example, self.ratio) =
                        (shape, Some(ratio).filter(|r| y.pixels() > 1 && r.iter().all(|&r| even(r))));
                    return Ok(self);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        let first = first.unwrap_or_else(|| Error::Model("the network takes no size".into()));
        Err(self.others(first))
    }

    /// An error with how many nodes besides the first cannot run.
    fn others(&self, first: Error) -> Error {
        let nodes = self.survey(self.sized(256));
        let stuck = nodes.iter().filter(|n| matches!(n.fate, Fate::Unsupported(_))).count();
        match first {
            Error::Model(message) if stuck > 1 => Error::Model(format!(
                "{message} ({} more nodes cannot run; `unet inspect` lists them)",
                stuck - 1
            )),
            first => first,
        }
    }

    /// The network for an input of this shape, which has as many pictures as the file allows.
    pub(crate) fn graph(&self, input: Shape) -> Result<Graph> {
        input.check("input")?;
        if input.c != self.input.channels {
            return Err(Error::shape("input", format!("{} channels", self.input.channels), input.c));
        }
        let mut tried = None;
        let mut first = None;
        for multiple in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
            let padded = [input.h, input.w].map(|side| side.next_multiple_of(multiple));
            if tried == Some(padded) {
                continue;
            }
            tried = Some(padded);
            match self.build(input, multiple) {
                Ok(graph) if self.fits(input, graph.output_shape(input)?) => return Ok(graph),
                Ok(_) => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        let [h, w] = [input.h, input.w];
        Err(match (self.input.size, first) {
            ([Some(own_h), Some(own_w)], _) if [own_h, own_w] != [h, w] => {
                let got = format!(
                    "{h}x{w} (resize the picture, or export the model with dynamic height and width)"
                );
                Error::shape("input", format!("{own_h}x{own_w} pixels, for which the file was exported"), got)
            }
            (_, Some(error)) => error,
            _ => Error::shape("input", "a size that the network gives back", format!("{h}x{w}")),
        })
    }

    /// Whether a result has the size that it should have.
    fn fits(&self, x: Shape, y: Shape) -> bool {
        self.ratio.is_none_or(|[h, w]| [x.h as f64 * h, x.w as f64 * w] == [y.h as f64, y.w as f64])
    }

    /// Builds the network behind a pad up to a multiple, its result cropped again.
    fn build(&self, input: Shape, multiple: usize) -> Result<Graph> {
        let mut builder = Builder::new(self, input);
        let padded = [input.h, input.w].map(|side| side.next_multiple_of(multiple)) != [input.h, input.w];
        let x = match padded {
            true => {
                let pad = Pad { amount: PadAmount::Multiple(multiple), mode: PadMode::Reflect };
                builder.push("pad to stride", pad, &[Graph::INPUT])?
            }
            false => Graph::INPUT,
        };
        let result = builder.network(x)?;
        let mut y = self.result(&mut builder, result)?;
        if let (true, Some(ratio)) = (padded, self.ratio) {
            y = crop(&mut builder, y, input, ratio)?;
        }
        builder.graph.set_output(y);
        builder.graph.prune();
        Ok(builder.graph)
    }

    /// The result in the order NCHW. Class scores, `(n, classes)`, are pictures of one pixel.
    fn result(&self, builder: &mut Builder<'_>, live: Live) -> Result<ValueId> {
        let dims = live.dims();
        let view = match (&dims[..], self.input.layout) {
            ([_, _, _, _], Layout::Nhwc) => live.view.permuted(&[0, 3, 1, 2])?,
            _ => live.view.clone(),
        };
        let shape = match view.dims()[..] {
            [n, c] => Shape::new(n, c, 1, 1).check("result")?,
            ref dims => build::any_shape(dims)?,
        };
        builder.placed(&Live { id: live.id, view }, shape)
    }

    /// A shape that the network takes: its own size where the file fixes it.
    pub(crate) fn example(&self) -> Shape {
        self.example
    }

    /// Height and width, where the file fixes both.
    pub(crate) fn fixed_size(&self) -> Option<[usize; 2]> {
        let [h, w] = self.input.size;
        Some([h?, w?])
    }

    /// The file's own notes, key and value.
    pub(crate) fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// What becomes of each node for an input of that shape, whether or not all can run.
    pub(crate) fn survey(&self, input: Shape) -> Vec<NodeReport> {
        let mut builder = Builder::new(self, input);
        builder.survey = true;
        // An unknown result is no news to who asks what can run.
        let _ = builder.network(Graph::INPUT);
        let report = |(node, fate): (&proto::Node, Fate)| NodeReport {
            name: if node.name.is_empty() {
                node.output.first().cloned().unwrap_or_default()
            } else {
                node.name.clone()
            },
            op: node.op_type.clone(),
            fate,
        };
        self.graph.node.iter().zip(builder.fates).map(report).collect()
    }
}

/// A node of an ONNX file, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Its name, or that of what it makes.
    pub name: String,
    /// ONNX's name of the operator.
    pub op: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// Every node of a file, whether or not all can run.
pub fn survey(path: &Path) -> Result<Vec<NodeReport>> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let file = File::decode(bytes.into(), &mut External::beside(path), &[])?;
    Ok(file.survey(file.sized(256)))
}

/// The part of a padded result that belongs to the picture.
fn crop(builder: &mut Builder<'_>, y: ValueId, input: Shape, ratio: [f64; 2]) -> Result<ValueId> {
    if ratio == [1.0, 1.0] {
        return builder.push("crop to input", Crop, &[y, Graph::INPUT]);
    }
    let shape = builder.shape(y);
    let part = |len: usize| Slice { start: 0, len, step: 1 };
    let scaled = |side: usize, ratio: f64| (side as f64 * ratio).floor().max(1.0) as usize;
    let [h, w] = [scaled(input.h, ratio[0]).min(shape.h), scaled(input.w, ratio[1]).min(shape.w)];
    let slice = Rearrange::slice(shape, [part(shape.n), part(shape.c), part(h), part(w)])?;
    builder.push("crop to input", slice, &[y])
}

impl Input {
    /// The network's input: the first that is no constant, as old files list those too.
    fn of(graph: &proto::Graph, constants: &Constants) -> Result<Input> {
        let inputs: Vec<_> = graph.input.iter().filter(|i| !constants.contains_key(&i.name)).collect();
        let [input] = inputs[..] else {
            let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
            return Err(Error::shape(
                "the network",
                "one input",
                format!("{}: {}", names.len(), names.join(", ")),
            ));
        };
        let shape = input.kind.as_ref().and_then(|k| k.tensor.as_ref()).and_then(|t| t.shape.as_ref());
        let dims: Vec<i64> = shape.map_or(Vec::new(), |shape| shape.dim.iter().map(|d| d.value).collect());
        let reader = |name: &str| graph.node.iter().find(|n| n.input.iter().any(|i| i == name));
        let first = reader(&input.name);
        let nhwc = first.is_some_and(|n| {
            n.op_type == "Transpose" && n.attribute.iter().any(|a| a.name == "perm" && a.ints == [0, 3, 1, 2])
        });
        // Where the file does not tell, the first convolution does.
        let weights = || {
            let conv = first.filter(|n| n.op_type == "Conv")?;
            let weight = constants.get(conv.input.get(1)?)?;
            let groups = conv.attribute.iter().find(|a| a.name == "group").map_or(1, |a| a.i);
            Some(i64::try_from(*weight.dims.get(1)?).ok()?.saturating_mul(groups))
        };
        let (layout, [c, h, w]) = match dims[..] {
            [_, h, w, c] if nhwc => (Layout::Nhwc, [c, h, w]),
            [_, c, h, w] => (Layout::Nchw, [c, h, w]),
            [c, h, w] => (Layout::Chw, [c, h, w]),
            // No shape at all: torch's exporter leaves it out when everything is dynamic.
            [] => (Layout::Nchw, [0; 3]),
            _ => {
                let dims = dims.iter().map(|&d| extent(d)).collect::<Result<Vec<_>>>()?;
                let Shape { n, c, h, w } = build::any_shape(&dims)?;
                let (name, size) = (input.name.clone(), [Some(h), Some(w)]);
                return Ok(Input { name, layout: Layout::Flat, channels: c, pictures: n, size, dims });
            }
        };
        let known = |d: i64| extent(d).ok().filter(|&d| d > 0);
        let channels = known(c).or_else(|| weights().and_then(known)).ok_or_else(|| {
            Error::shape(&input.name, "4 extents with a known number of channels", format!("{dims:?}"))
        })?;
        let size = [known(h), known(w)];
        let pictures = if dims.len() == 4 { known(dims[0]).unwrap_or(1) } else { 1 };
        Ok(Input { name: input.name.clone(), layout, channels, pictures, size, dims: Vec::new() })
    }
}
