//! The order of the axes of pictures and results: followed from each end through the graph to the first operator that
//! tells it, and checked against the sizes.

use super::constants::Constants;
use super::node::extent;
use super::ports::Dim;
use super::proto::{Graph, Node};
use super::view::View;
use crate::error::Result;
use crate::network::proportion;
use crate::tensor::Shape;
use std::collections::{HashMap, HashSet, VecDeque};

/// Most nodes that are looked at from one end.
const STEPS: usize = 256;

/// Largest number of channels of a picture.
const CHANNELS: usize = 4;

/// The order of axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Nchw,
    Nhwc,
    Chw,
    Hwc,
    /// Several pictures of one channel.
    Nhw,
    Hw,
    /// Extents that are no picture's; missing ones are 1 in front.
    Flat,
}

impl Layout {
    /// A view in the order of NCHW, and its shape.
    pub(super) fn planar(self, view: &View) -> Result<(View, Option<Shape>)> {
        let dims = view.dims();
        let shape = |n, c, h, w| Some(Shape::new(n, c, h, w));
        Ok(match (self, &dims[..]) {
            (Layout::Nhwc, &[n, h, w, c]) => (view.permuted(&[0, 3, 1, 2])?, shape(n, c, h, w)),
            (Layout::Hwc, &[h, w, c]) => (view.permuted(&[2, 0, 1])?, shape(1, c, h, w)),
            (Layout::Nhw, &[n, h, w]) => (view.clone(), shape(n, 1, h, w)),
            (Layout::Hw, &[h, w]) => (view.clone(), shape(1, 1, h, w)),
            // Class scores are pictures of one pixel.
            (_, &[n, c]) => (view.clone(), shape(n, c, 1, 1)),
            _ => (view.clone(), None),
        })
    }
}

/// What the operators behind an input tell.
#[derive(Default)]
pub(super) struct Told {
    /// Whether channels are last.
    last: Option<bool>,
    /// Channels that the first convolution takes.
    pub(super) channels: Option<usize>,
}

/// Whether an operator keeps the order of axes.
fn keeps_axes(op: &str) -> bool {
    const KEEP: [&str; 37] = [
        "Abs",
        "Add",
        "BatchNormalization",
        "Cast",
        "CastLike",
        "Clip",
        "DequantizeLinear",
        "Div",
        "Dropout",
        "Equal",
        "Erf",
        "Exp",
        "Floor",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Not",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "Reciprocal",
        "Relu",
        "Round",
        "Sigmoid",
        "Slice",
        "Sqrt",
        "Sub",
        "Tanh",
        "Where",
    ];
    KEEP.contains(&op)
}

/// Whether an operator's input and output have channels last. `None` for operators of any order.
fn is_last(node: &Node) -> Option<bool> {
    match node.op_type.as_str() {
        "NhwcConv" | "NhwcFusedConv" | "NhwcMaxPool" => Some(true),
        "Conv"
        | "ConvTranspose"
        | "FusedConv"
        | "QLinearConv"
        | "ConvInteger"
        | "MaxPool"
        | "AveragePool"
        | "QLinearAveragePool"
        | "GlobalAveragePool"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "DepthToSpace"
        | "SpaceToDepth"
        | "LRN" => Some(false),
        // The axis of classes.
        "Softmax" | "LogSoftmax" | "ArgMax" => {
            let axis = node.attribute.iter().find(|a| a.name == "axis").map(|a| a.i)?;
            match axis {
                1 => Some(false),
                3 => Some(true),
                _ => None,
            }
        }
        _ => None,
    }
}

fn permutation(node: &Node) -> Option<&[i64]> {
    let is_transpose = node.op_type == "Transpose";
    is_transpose.then(|| node.attribute.iter().find(|a| a.name == "perm").map(|a| &a.ints[..])).flatten()
}

/// Follows an input forwards.
pub(super) fn input(graph: &Graph, constants: &Constants, name: &str) -> Told {
    let mut readers: HashMap<&str, Vec<&Node>> = HashMap::new();
    for node in &graph.node {
        node.input.iter().for_each(|input| readers.entry(input).or_default().push(node));
    }
    let mut told = Told::default();
    let mut seen = HashSet::new();
    let mut next = VecDeque::from([name]);
    while let Some(name) = next.pop_front() {
        if seen.len() > STEPS || !seen.insert(name) {
            continue;
        }
        for node in readers.get(name).into_iter().flatten() {
            let is_first = node.input.first().is_some_and(|input| input == name);
            if is_first
                && matches!(node.op_type.as_str(), "Conv" | "FusedConv" | "QLinearConv" | "NhwcFusedConv")
            {
                told.last = told.last.or(is_last(node));
                told.channels = told.channels.or_else(|| taken(node, constants));
                continue;
            }
            match permutation(node) {
                Some([0, 3, 1, 2] | [2, 0, 1]) => told.last = told.last.or(Some(true)),
                Some([0, 2, 3, 1] | [1, 2, 0]) => told.last = told.last.or(Some(false)),
                Some(_) => continue,
                None if is_first && is_last(node).is_some() => {
                    told.last = told.last.or(is_last(node));
                    continue;
                }
                None if keeps_axes(&node.op_type) || node.op_type == "Unsqueeze" => {}
                None => continue,
            }
            next.extend(node.output.iter().map(String::as_str));
        }
    }
    told
}

/// Channels that a convolution takes.
fn taken(conv: &Node, constants: &Constants) -> Option<usize> {
    let place = if conv.op_type == "QLinearConv" { 3 } else { 1 };
    let weight = constants.get(conv.input.get(place)?)?;
    let groups = conv.attribute.iter().find(|a| a.name == "group").map_or(1, |a| a.i);
    let channels = *weight.dims.get(if conv.op_type == "NhwcFusedConv" { 3 } else { 1 })?;
    channels.checked_mul(extent(groups).ok()?).filter(|&channels| channels > 0)
}

impl Told {
    /// The layout of an input with these extents.
    pub(super) fn layout(&self, dims: &[Dim]) -> Layout {
        let few = |dim: Option<&Dim>| matches!(dim, Some(Dim::Fixed(extent)) if *extent <= CHANNELS);
        // Channels are few; rows and columns are not.
        let looks_last =
            few(dims.last()) && !few(dims.len().checked_sub(3).and_then(|place| dims.get(place)));
        let last = self.last.unwrap_or(looks_last);
        match (dims.len(), last) {
            (4, true) => Layout::Nhwc,
            (3, true) => Layout::Hwc,
            (3, false) => Layout::Chw,
            // torch's exporter leaves the shape out where all of it is dynamic.
            (0 | 4, _) => Layout::Nchw,
            _ => Layout::Flat,
        }
    }
}

/// Follows an output backwards: whether channels are last. `picture` is the name of the input, and whether its channels
/// are last.
pub(super) fn output(graph: &Graph, name: &str, picture: (&str, bool)) -> Option<bool> {
    let makers: HashMap<&str, &Node> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |o| (o.as_str(), node))).collect();
    let mut seen = HashSet::new();
    let mut next = VecDeque::from([name]);
    while let Some(name) = next.pop_front() {
        if seen.len() > STEPS || !seen.insert(name) {
            continue;
        }
        if name == picture.0 {
            return Some(picture.1);
        }
        let Some(node) = makers.get(name) else { continue };
        match permutation(node) {
            Some([0, 2, 3, 1] | [1, 2, 0]) => return Some(true),
            Some([0, 3, 1, 2] | [2, 0, 1]) => return Some(false),
            Some(_) => continue,
            None => {}
        }
        if let Some(last) = is_last(node) {
            return Some(last);
        }
        if keeps_axes(&node.op_type)
            || matches!(node.op_type.as_str(), "Softmax" | "Resize" | "Upsample" | "Concat")
        {
            next.extend(node.input.iter().map(String::as_str));
        }
    }
    None
}

/// The layout of a result with these extents, for a picture of that shape. `told` is whether channels are last, as the
/// graph tells it. If it does not, the layout is the one whose rows and columns are in proportion to the picture's; if
/// both or none are, that of the picture. A layout unlike the picture's needs an exact proportion, because small extents
/// are often in proportion by chance.
pub(super) fn of_result(dims: &[usize], picture: Shape, told: Option<bool>, picture_last: bool) -> Layout {
    let fits = |h: usize, w: usize| {
        proportion([h, w], [picture.h, picture.w], None).is_some_and(|[down, across]| down == across)
    };
    let exact = |h: usize, w: usize| {
        let same = h * picture.w == w * picture.h;
        let whole = h.is_multiple_of(picture.h) || picture.h.is_multiple_of(h.max(1));
        (h, w) == (1, 1) || (fits(h, w) && same && whole)
    };
    match *dims {
        [_, a, b, c] => {
            let last = told.unwrap_or_else(|| match (fits(b, c), exact(a, b)) {
                (true, false) => false,
                (false, true) => true,
                _ => picture_last,
            });
            if last { Layout::Nhwc } else { Layout::Nchw }
        }
        [a, b, c] => {
            let last = match told {
                Some(false) => false,
                // Of three axes, an ArgMax over the last has taken the channels away.
                Some(true) => fits(a, b) && (!fits(b, c) || a != picture.n),
                None => exact(a, b) && (!fits(b, c) || picture_last && a != picture.n),
            };
            match last {
                true => Layout::Hwc,
                false if a == picture.n && picture.n > 1 => Layout::Nhw,
                false => Layout::Chw,
            }
        }
        [h, w] if fits(h, w) && picture.n == 1 => Layout::Hw,
        _ => Layout::Flat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_tell_the_layout() {
        use Layout::*;
        let picture = Shape::new(1, 3, 32, 48);
        for (dims, last, layout) in [
            (&[1, 3, 32, 48][..], true, Nchw),
            (&[1, 32, 48, 3], false, Nhwc),
            (&[1, 16, 24, 3], false, Nhwc),
            (&[1, 21, 8, 12], true, Nchw),
            (&[1, 64, 96, 1], false, Nhwc),
            (&[1, 5, 1, 1], true, Nchw),
            (&[1, 1, 1, 5], false, Nhwc),
            (&[3, 32, 48], true, Chw),
            (&[32, 48, 3], false, Hwc),
            (&[1, 32, 48], false, Chw),
            (&[32, 48], false, Hw),
            (&[1, 10], false, Flat),
        ] {
            assert_eq!(of_result(dims, picture, None, last), layout, "{dims:?}");
        }
        assert_eq!(of_result(&[4, 32, 48], Shape { n: 4, ..picture }, None, false), Nhw);
        let square = Shape::new(1, 3, 32, 32);
        let of_square = |told, last| of_result(&[1, 32, 32, 32], square, told, last);
        assert_eq!([true, false].map(|last| of_square(None, last)), [Nhwc, Nchw]);
        assert_eq!([true, false].map(|told| of_square(Some(told), !told)), [Nhwc, Nchw]);
    }

    #[test]
    fn extents_in_proportion_by_chance_tell_nothing() {
        use Layout::*;
        for (dims, picture, told, layout) in [
            (&[1, 2, 3, 5][..], Shape::new(1, 2, 11, 17), Some(false), Nchw),
            (&[1, 2, 3, 5], Shape::new(1, 2, 11, 17), None, Nchw),
            (&[1, 3, 5], Shape::new(1, 3, 1, 5), None, Chw),
            (&[2, 2, 4], Shape::new(1, 2, 2, 2), Some(false), Chw),
        ] {
            assert_eq!(of_result(dims, picture, told, false), layout, "{dims:?}");
        }
    }
}
