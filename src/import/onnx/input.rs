//! What a file says of its input, and values that fix an input when the model is opened.

use super::array::{Array, Kind};
use super::constants::Constants;
use super::node::extent;
use super::view::any_shape;
use super::{fold, proto};
use crate::error::{Error, Result};
use crate::tensor::Shape;

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
    pub(super) fn array(&self, graph: &proto::Graph) -> Result<Array> {
        let input = graph.input.iter().find(|i| i.name == self.name).ok_or_else(|| {
            let names: Vec<&str> = graph.input.iter().map(|i| i.name.as_str()).collect();
            Error::shape("bound input", format!("one of {}", names.join(", ")), &self.name)
        })?;
        let declared = input.kind.as_ref().and_then(|k| k.tensor.as_ref()).map_or(1, |t| t.elem_type);
        let kind = fold::kind(i64::from(declared)).unwrap_or(Kind::Float);
        Array::new(self.dims.clone(), kind, self.values.clone()).map_err(|e| e.at(&self.name))
    }
}

/// The input that takes the picture.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) layout: Layout,
    pub(super) channels: usize,
    /// Pictures, where the file fixes them; else 1.
    pub(super) pictures: usize,
    /// Height and width, where the file fixes them.
    pub(super) size: [Option<usize>; 2],
    /// All extents, where the file fixes them and they are no picture's.
    pub(super) dims: Vec<usize>,
}

/// The order of the input's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Nchw,
    Nhwc,
    Chw,
    /// Extents that are no picture's; missing ones are 1 in front.
    Flat,
}

impl Input {
    /// The network's input: the first that is no constant, as old files list those too.
    pub(super) fn of(graph: &proto::Graph, constants: &Constants) -> Result<Input> {
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
                let Shape { n, c, h, w } = any_shape(&dims)?;
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
