//! What a model computes, whatever kind of file it comes from.

use crate::error::{Error, Result};
use crate::graph::{Ends, Extent, Graph, Input, Output, PadMode, scales, stored};
use crate::tensor::{Shape, Tensor};
use std::borrow::Cow;
use std::sync::Arc;

/// A network that makes a graph for each input shape.
pub(crate) trait Network: std::fmt::Debug + Send + Sync {
    /// The graph for inputs of these shapes, in order. Errors when the network does not take them.
    fn graph(&self, inputs: &[Shape]) -> Result<Cow<'_, Graph>>;

    /// A shape that the network takes: the one it was exported for, where that is fixed.
    fn example_input(&self) -> Shape;

    /// Channels that an input must have.
    fn input_channels(&self) -> usize {
        self.example_input().c
    }

    /// Height and width that the file fixes.
    fn exported_size(&self) -> Option<[usize; 2]> {
        None
    }

    /// The file's own notes, key and value.
    fn metadata(&self) -> &[(String, String)] {
        &[]
    }

    /// What its operators tell of it.
    fn traits(&self) -> Result<Traits> {
        let input = self.example_input();
        Traits::of(&*self.graph(&[input])?, input)
    }

    /// What it takes and gives, by name.
    fn signature(&self) -> Signature;

    /// The shapes of all inputs that a caller gives beside a picture of that shape; extents that nothing tells are 1.
    fn input_shapes(&self, picture: Shape) -> Result<Vec<Shape>>;

    /// The same network with states and a result that a recipe or a caller names.
    fn configured(&self, choice: &Choice<'_>) -> Result<Arc<dyn Network>>;

    /// What becomes of each node of the file for an input of this shape; `None` where the file has no nodes.
    fn nodes(&self, _input: Shape) -> Option<Vec<NodeReport>> {
        None
    }

    /// The network as a converted file holds it.
    fn stored(&self) -> Result<StoredNetwork>;
}

/// What the operators of a network tell of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Traits {
    pub(crate) ends: Ends,
    /// Shapes of an example: of the picture and of the result.
    pub(crate) shapes: [Shape; 2],
    /// By how much the result is larger than the picture, where the operators tell.
    pub(crate) growth: Option<f64>,
    /// [`Graph::encoder`].
    pub(crate) encoder: Option<&'static str>,
    /// [`Graph::fingerprint`].
    pub(crate) fingerprint: u64,
}

impl Traits {
    /// The traits of a graph for a picture of that shape.
    pub(crate) fn of(graph: &Graph, picture: Shape) -> Result<Traits> {
        let shapes = graph.shapes([picture])?;
        let result = graph.output_shapes(&shapes)?[0];
        Ok(Traits {
            ends: graph.ends(&shapes),
            shapes: [picture, result],
            growth: graph.growths(&shapes)[graph.output().index()],
            encoder: graph.encoder(),
            fingerprint: graph.fingerprint(),
        })
    }
}

/// What is to be changed about a network's inputs and outputs; `None` leaves things as they are.
#[derive(Debug, Default)]
pub(crate) struct Choice<'a> {
    /// Pairs of an output and the input that it becomes in the next run.
    pub(crate) carry: Option<&'a [[String; 2]]>,
    /// The output that is the result: its name, or its place in the file, from 0.
    pub(crate) result: Option<&'a str>,
    /// Inputs that get fixed values.
    pub(crate) inputs: &'a [FixedInput],
    /// Pixels of the input that the result does not cover on each side.
    pub(crate) border: usize,
    /// What continues the picture there.
    #[cfg_attr(
        not(feature = "onnx"),
        expect(dead_code, reason = "only a graph that is built for each size grows")
    )]
    pub(crate) outside: PadMode,
}

impl Choice<'_> {
    /// Whether it leaves everything as it is.
    pub(crate) fn is_empty(&self) -> bool {
        self.carry.is_none() && self.result.is_none() && self.inputs.is_empty() && self.border == 0
    }
}

/// The name that a text stands for: itself, or that of the output at its place.
pub(crate) fn by_name_or_place<'a>(text: &'a str, names: &[&'a str]) -> &'a str {
    match text.parse::<usize>() {
        Ok(place) if !names.contains(&text) => names.get(place).copied().unwrap_or(text),
        _ => text,
    }
}

/// A fixed value for one of a network's inputs: a time step, a noise level, a ratio.
#[derive(Debug, Clone, PartialEq)]
pub struct FixedInput {
    /// The input's name in the file.
    pub name: String,
    /// Its extents; none for a single number.
    pub dims: Vec<usize>,
    /// Its numbers.
    pub values: Vec<f64>,
}

impl FixedInput {
    /// As a tensor of four extents; missing ones are 1 in front.
    fn tensor(&self) -> Result<Tensor> {
        let [n, c, h, w] = match self.dims[..] {
            [] => [1; 4],
            [w] => [1, 1, 1, w],
            [h, w] => [1, 1, h, w],
            [c, h, w] => [1, c, h, w],
            [n, c, h, w] => [n, c, h, w],
            _ => {
                let what = format!("input {}", self.name);
                return Err(Error::shape(what, "at most 4 axes", format!("{:?}", self.dims)));
            }
        };
        Tensor::new(Shape::new(n, c, h, w), self.values.iter().map(|&v| v as f32).collect())
    }
}

/// What a network takes and gives, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// In the order in which [`Session::with_options`](crate::Session::with_options) takes their shapes, states last. A
    /// mask has no shape of its own.
    pub inputs: Vec<PortInfo>,
    /// The result first.
    pub outputs: Vec<PortInfo>,
    /// Why the result is the first output.
    pub reason: String,
}

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// Its name.
    pub name: String,
    /// The type of its elements in the file, such as `float32`. Tensors of all types are handed over as f32.
    pub element: &'static str,
    /// Its extents as the file has them, such as `(1,3,height,width)`.
    pub extents: String,
    /// What it is for.
    pub role: Role,
}

/// What an input or output is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The input that takes the picture.
    Picture,
    /// An input that takes the mask of an inpainting network. Callers give it as the last channel of the picture.
    Mask,
    /// An input that a caller gives beside the picture.
    Value,
    /// The output that is the network's result.
    Result,
    /// An output that is computed where it is asked for.
    Output,
    /// A state. Of an input, the name is that of the output it comes from; of an output, that of the input it becomes.
    State(String),
}

/// Largest factor between the sizes of a picture and a result.
const FACTOR: usize = 64;

/// By how much a result is larger than a picture, along rows and columns: the factor that the network's operators tell;
/// else one factor for both, a whole number or one over it, rounded up or down; or a factor for each, where they divide
/// exactly. `None` for other sizes.
pub(crate) fn proportion(result: [usize; 2], picture: [usize; 2], growth: Option<f64>) -> Option<[f64; 2]> {
    let [(h, own_h), (w, own_w)] = [(result[0], picture[0]), (result[1], picture[1])];
    if [h, w, own_h, own_w].contains(&0) {
        return None;
    }
    let whole = |y: usize, x: usize| (y.is_multiple_of(x) && y / x <= FACTOR).then(|| (y / x) as f64);
    let exact = |y: usize, x: usize| whole(y, x).or_else(|| whole(x, y).map(f64::recip));
    let both = |factor: &f64| scales(h, own_h, *factor) && scales(w, own_w, *factor);
    let parts = (1..=FACTOR).map(|k| 1.0 / k as f64);
    let told = growth.into_iter().chain(exact(h, own_h)).chain(exact(w, own_w));
    let one = told.chain(parts).find(both);
    one.map(|factor| [factor; 2]).or_else(|| Some([exact(h, own_h)?, exact(w, own_w)?]))
}

/// Whether elements of a type are whole numbers.
pub(crate) fn is_whole(element: &str) -> bool {
    element.starts_with("uint") || element.starts_with("int")
}

/// A network as a converted file holds it.
pub(crate) struct StoredNetwork {
    pub(crate) form: StoredForm,
    /// Nodes in the encoding of the file that they come from.
    pub(crate) nodes: Option<Vec<u8>>,
    pub(crate) weights: Vec<Arc<Tensor>>,
}

/// JSON that describes a network, by the reader that takes it.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum StoredForm {
    Graph(String),
    Onnx(String),
}

/// A node of an ONNX file, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeReport {
    /// Its name, or that of its first result.
    pub name: String,
    /// ONNX's name of the operator.
    pub op: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a node of an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Operators of the graph, by their names, compute it.
    Computed(Vec<String>),
    /// Its result is known for this size of the input.
    Folded,
    /// It only moves elements, which the operators that read them take into account.
    Moved,
    /// It cannot run, for this reason.
    Unsupported(String),
    /// It reads the result of a node that cannot run.
    Waiting,
}

/// One graph for all shapes.
impl Network for Graph {
    fn graph(&self, _inputs: &[Shape]) -> Result<Cow<'_, Graph>> {
        Ok(Cow::Borrowed(self))
    }

    fn example_input(&self) -> Shape {
        Shape::new(1, Graph::input_channels(self), 128, 128)
    }

    fn signature(&self) -> Signature {
        let word = |extent: &Extent| match extent {
            Extent::Any => "?".into(),
            Extent::Fixed(extent) => extent.to_string(),
            Extent::Part(1) => "=".into(),
            Extent::Part(divisor) => format!("1/{divisor}"),
        };
        let carries: Vec<(&str, &str)> =
            self.carries().map(|(from, to)| (from.name.as_str(), to.name.as_str())).collect();
        let port = |name: &str, extents: String, role: Role| PortInfo {
            name: name.into(),
            element: "float32",
            extents,
            role,
        };
        let input = |(place, input): (usize, &Input)| {
            let state = carries.iter().find(|(_, to)| *to == input.name);
            let role = match state {
                Some((from, _)) => Role::State(from.to_string()),
                None if place == 0 => Role::Picture,
                None => Role::Value,
            };
            port(
                &input.name,
                format!("({})", input.extents.iter().map(word).collect::<Vec<_>>().join(",")),
                role,
            )
        };
        let output = |(place, output): (usize, &Output)| {
            let state = carries.iter().find(|(from, _)| *from == output.name);
            let role = match state {
                _ if place == 0 => Role::Result,
                Some((_, to)) => Role::State(to.to_string()),
                None => Role::Output,
            };
            port(&output.name, "?".into(), role)
        };
        let mut inputs: Vec<PortInfo> = self.inputs().iter().enumerate().map(input).collect();
        inputs.sort_by_key(|port| matches!(port.role, Role::State(_)));
        let outputs = self.outputs().iter().enumerate().map(output).collect();
        Signature { inputs, outputs, reason: "it is the graph's first output".into() }
    }

    fn input_shapes(&self, picture: Shape) -> Result<Vec<Shape>> {
        let first = [picture.n, picture.c, picture.h, picture.w];
        let shape = |input: &Input| {
            let extent = |axis: usize| match input.extents[axis] {
                Extent::Part(divisor) => first[axis].div_ceil(divisor.max(1)),
                Extent::Fixed(extent) => extent,
                Extent::Any => 1,
            };
            Shape::new(extent(0), extent(1), extent(2), extent(3))
        };
        let others = self.caller_inputs().skip(1).map(shape);
        Ok(std::iter::once(picture).chain(others).collect())
    }

    fn configured(&self, choice: &Choice<'_>) -> Result<Arc<dyn Network>> {
        if choice.border > 0 {
            let message =
                "the recipe's input.border is for ONNX files; networks of this file keep the picture's size";
            return Err(Error::Model(message.into()));
        }
        let mut graph = self.clone();
        for input in choice.inputs {
            graph.fix_input(&input.name, input.tensor()?)?;
        }
        if let Some(name) = choice.result {
            let names: Vec<&str> = self.outputs().iter().map(|output| output.name.as_str()).collect();
            graph.set_result(by_name_or_place(name, &names))?;
        }
        for [output, input] in choice.carry.unwrap_or_default() {
            if !graph.carries().any(|(from, to)| (&from.name, &to.name) == (output, input)) {
                graph.carry(output, input)?;
            }
        }
        Ok(Arc::new(graph))
    }

    fn stored(&self) -> Result<StoredNetwork> {
        let (text, weights) = stored::write(self)?;
        Ok(StoredNetwork { form: StoredForm::Graph(text), nodes: None, weights })
    }
}

#[cfg(all(test, any(feature = "image", feature = "onnx")))]
mod tests {
    use super::*;

    #[test]
    fn proportions_are_whole_or_one_over_whole_or_told() {
        let picture = [33, 47];
        for (size, growth, factors) in [
            ([33, 47], None, Some([1.0; 2])),
            ([66, 94], None, Some([2.0; 2])),
            ([17, 24], None, Some([0.5; 2])),
            ([16, 23], None, Some([0.5; 2])),
            ([9, 12], None, Some([0.25; 2])),
            ([33, 94], None, Some([1.0, 2.0])),
            ([29, 43], None, None),
            ([32, 48], None, None),
            ([24, 20], None, None),
            ([0, 47], None, None),
            ([49, 70], None, None),
            ([49, 70], Some(1.5), Some([1.5; 2])),
            ([49, 71], Some(1.5), Some([1.5; 2])),
            ([49, 72], Some(1.5), None),
            ([52, 75], Some(1.6), Some([1.6; 2])),
            ([29, 43], Some(1.0), None),
        ] {
            assert_eq!(proportion(size, picture, growth), factors, "{size:?}");
        }
        assert_eq!(proportion([24, 20], [256, 256], None), None);
    }
}
