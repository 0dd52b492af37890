//! The sizes that an ONNX file takes, and its graph for each.

use super::build::{Builder, Live};
use super::file::File;
use super::input::Layout;
use super::proto;
use super::view::any_shape;
use crate::error::{Error, Result};
use crate::graph::{Crop, Graph, Pad, PadAmount, PadMode, Rearrange, Slice, ValueId};
use crate::network::{Fate, Network, NodeReport, StoredNetwork};
use crate::tensor::Shape;
use std::borrow::Cow;

/// The side at which nodes are looked at where the file fixes none.
pub(super) const SURVEYED: usize = 256;

/// A file that takes at least one size.
#[derive(Debug)]
pub(super) struct OnnxNetwork {
    file: File,
    /// A shape that the network takes.
    example: Shape,
    /// Result pixels for an input pixel, when that is a whole number or one over it.
    ratio: Option<[f64; 2]>,
}

impl Network for OnnxNetwork {
    fn graph(&self, inputs: &[Shape]) -> Result<Cow<'_, Graph>> {
        match *inputs {
            [input] => self.build(input).map(Cow::Owned),
            _ => Err(Error::shape("inputs", 1, inputs.len())),
        }
    }

    fn example_input(&self) -> Shape {
        self.example
    }

    fn exported_size(&self) -> Option<[usize; 2]> {
        let [h, w] = self.file.input.size;
        Some([h?, w?])
    }

    fn metadata(&self) -> &[(String, String)] {
        &self.file.metadata
    }

    fn nodes(&self, input: Shape) -> Option<Vec<NodeReport>> {
        Some(survey(&self.file, input))
    }

    fn stored(&self) -> Result<StoredNetwork> {
        self.file.parts()
    }
}

impl OnnxNetwork {
    /// The file with a size that the network takes: its own where it has one.
    pub(super) fn new(mut file: File) -> Result<OnnxNetwork> {
        let mut first = None;
        for side in [SURVEYED, 224, 512, 64] {
            let example = file.sized(side).check("input")?;
            let mut network = OnnxNetwork { file, example, ratio: None };
            match network.build_padded(example, 1) {
                Ok(graph) => {
                    let y = graph.output_shape(example)?;
                    let ratio = [y.h as f64 / example.h as f64, y.w as f64 / example.w as f64];
                    let even = |r: f64| r.fract() == 0.0 || (1.0 / r).fract() == 0.0;
                    network.ratio = Some(ratio).filter(|r| y.pixels() > 1 && r.iter().all(|&r| even(r)));
                    return Ok(network);
                }
                Err(error) => first = first.or(Some(error)),
            }
            file = network.file;
        }
        let first = first.unwrap_or_else(|| Error::Model("the network takes no size".into()));
        Err(with_others(&file, first))
    }

    /// The network for an input of this shape, which has as many pictures as the file allows.
    fn build(&self, input: Shape) -> Result<Graph> {
        let channels = self.file.input.channels;
        if input.c != channels {
            return Err(Error::shape("input", format!("{channels} channels"), input.c));
        }
        let mut tried = None;
        let mut first = None;
        for multiple in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
            let padded = [input.h, input.w].map(|side| side.next_multiple_of(multiple));
            if tried == Some(padded) {
                continue;
            }
            tried = Some(padded);
            match self.build_padded(input, multiple) {
                Ok(graph) if self.fits(input, graph.output_shape(input)?) => return Ok(graph),
                Ok(_) => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        let [h, w] = [input.h, input.w];
        Err(match (self.file.input.size, first) {
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

    /// The network behind a pad up to a multiple, its result cropped again.
    fn build_padded(&self, input: Shape, multiple: usize) -> Result<Graph> {
        let mut builder = Builder::new(&self.file, input);
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
        let view = match (&dims[..], self.file.input.layout) {
            ([_, _, _, _], Layout::Nhwc) => live.view.permuted(&[0, 3, 1, 2])?,
            _ => live.view.clone(),
        };
        let shape = match view.dims()[..] {
            [n, c] => Shape::new(n, c, 1, 1).check("result")?,
            ref dims => any_shape(dims)?,
        };
        builder.placed(&Live { id: live.id, view }, shape)
    }
}

/// What becomes of each node for an input of that shape, whether or not all can run.
pub(super) fn survey(file: &File, input: Shape) -> Vec<NodeReport> {
    let mut builder = Builder::new(file, input);
    builder.survey = true;
    // Without a result the nodes are of interest all the same.
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
    file.graph.node.iter().zip(builder.fates).map(report).collect()
}

/// An error with how many nodes besides the first cannot run.
fn with_others(file: &File, first: Error) -> Error {
    let nodes = survey(file, file.sized(SURVEYED));
    let stuck = nodes.iter().filter(|n| matches!(n.fate, Fate::Unsupported(_))).count();
    match first {
        Error::Model(message) if stuck > 1 => Error::Model(format!(
            "{message} ({} more nodes cannot run; `unet inspect` lists them)",
            stuck - 1
        )),
        first => first,
    }
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
