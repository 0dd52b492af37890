//! What a file says of its inputs and outputs, and which of them are the picture and the states.

use super::array::{Array, Kind};
use super::constants::Constants;
use super::layout::{self, Layout};
use super::node::extent;
use super::proto;
use super::view::{any_shape, product};
use crate::error::{Error, Result};
use crate::network::FixedInput;
use crate::tensor::Shape;
use std::collections::HashMap;

/// Most axes of an input or output.
const AXES: usize = 4;

/// An input or output as the file declares it.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) name: String,
    /// ONNX's number of the type of its elements.
    element: i32,
    /// `None` where the file says nothing of its shape.
    pub(super) dims: Option<Vec<Dim>>,
}

/// An extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dim {
    Fixed(usize),
    /// Known when the network is built: those of one name are equal. Empty where the file gives no name.
    Named(String),
}

/// A file's inputs and outputs. Inputs that are constants are left out.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    /// The input that takes the picture.
    pub(super) picture: Picture,
    /// What else a caller gives, in the file's order.
    pub(super) others: Vec<Declared>,
    pub(super) states: Vec<State>,
    /// In the file's order, states among them.
    pub(super) outputs: Vec<Declared>,
}

/// An output of one run that is an input of the next.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) output: String,
    pub(super) input: Declared,
}

/// The input that takes the picture.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) declared: Declared,
    /// The input of a mask beside the picture. Callers give it as the last channel of the picture.
    pub(super) mask: Option<Declared>,
    pub(super) layout: Layout,
    /// With that of the mask.
    pub(super) channels: usize,
    /// Pictures, where the file fixes them; else 1.
    pub(super) pictures: usize,
    /// Height and width, where the file fixes them.
    pub(super) size: [Option<usize>; 2],
    /// All extents, where the file fixes them and they are no picture's.
    pub(super) dims: Vec<usize>,
}

/// An input's fixed value as a constant of the type that the file declares.
pub(super) fn fixed(input: &FixedInput, graph: &proto::Graph) -> Result<Array> {
    let declared = graph.input.iter().find(|i| i.name == input.name).ok_or_else(|| {
        let names: Vec<&str> = graph.input.iter().map(|i| i.name.as_str()).collect();
        Error::UnknownName { kind: "input", name: input.name.clone(), known: names.join(", ") }
    })?;
    let declared = Declared::of(declared);
    let what = || format!("input {}", input.name);
    if let Some(value) = input.values.iter().find(|value| !value.is_finite()) {
        return Err(Error::shape(what(), "finite numbers", value));
    }
    if let Some(value) = input.values.iter().find(|value| declared.is_whole() && value.fract() != 0.0) {
        return Err(Error::shape(what(), format!("whole numbers ({})", declared.element()), value));
    }
    // A number also stands for a vector or tensor of one.
    let mut dims = input.dims.clone();
    if let (true, Some(declared)) = (dims.is_empty(), &declared.dims) {
        dims = vec![1; declared.len()];
    }
    let fits = |declared: &Vec<Dim>| {
        let fits = |(own, dim): (&usize, &Dim)| matches!(dim, Dim::Named(_)) || *dim == Dim::Fixed(*own);
        declared.len() == dims.len() && dims.iter().zip(declared).all(fits)
    };
    if !declared.dims.as_ref().is_none_or(fits) {
        return Err(Error::shape(what(), declared.extents(), extents_of(&input.dims)));
    }
    let kind = declared.kind().unwrap_or(Kind::Float);
    Array::new(dims, kind, input.values.clone()).map_err(|e| e.at(&input.name))
}

/// Extents in words.
fn extents_of(dims: &[usize]) -> String {
    match dims {
        [] => "a number".into(),
        dims => format!("({})", dims.iter().map(usize::to_string).collect::<Vec<_>>().join(",")),
    }
}

impl Ports {
    /// The inputs and outputs of a graph. States are those of `carry`, pairs of an output and an input; where that is
    /// `None`, those that names and shapes pair.
    pub(super) fn of(
        graph: &proto::Graph,
        constants: &Constants,
        carry: Option<&[[String; 2]]>,
    ) -> Result<Ports> {
        // Old files list constants among the inputs.
        let inputs = graph.input.iter().filter(|input| !constants.contains_key(&input.name));
        let inputs: Vec<Declared> = inputs.map(Declared::of).collect();
        let outputs: Vec<Declared> = graph.output.iter().map(Declared::of).collect();
        let states = match carry {
            Some(pairs) => pairs.iter().map(|pair| state(pair, &inputs, &outputs)).collect::<Result<_>>()?,
            None => paired(&inputs, &outputs),
        };
        let is_state = |input: &&Declared| states.iter().any(|state| state.input.name == input.name);
        let mut others: Vec<Declared> = inputs.iter().filter(|input| !is_state(input)).cloned().collect();
        let place = (0..others.len()).rev().max_by_key(|&i| others[i].likeness());
        let place = place.ok_or_else(|| Error::shape("the network", "an input for a picture", "none"))?;
        let mut picture = Picture::of(others.remove(place), graph, constants).map_err(|e| match carry {
            None | Some([]) => e,
            Some(pairs) => {
                let names = pairs.iter().map(|[_, input]| input.as_str()).collect::<Vec<_>>().join(", ");
                Error::Model(format!("the recipe's carry of {names} leaves no input for a picture: {e}"))
            }
        })?;
        if let Some(place) = others.iter().position(|input| picture.has_mask(input)) {
            picture.mask = Some(others.remove(place));
            picture.channels += 1;
        }
        for input in others.iter().chain(states.iter().map(|state| &state.input)) {
            input.check()?;
        }
        Ok(Ports { picture, others, states, outputs })
    }
}

/// The state that a pair of names declares.
fn state([output, input]: &[String; 2], inputs: &[Declared], outputs: &[Declared]) -> Result<State> {
    let find = |kind, list: &[Declared], name: &str| {
        let known = || list.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = list.iter().find(|port| port.name == name).cloned();
        found.ok_or_else(|| {
            Error::UnknownName { kind, name: name.into(), known: known() }.at("the recipe's carry")
        })
    };
    let from = find("output", outputs, output)?;
    let input = find("input", inputs, input)?;
    if !from.may_become(&input) {
        let expected = format!("an output of {}'s shape {}", input.name, input.extents());
        let got = format!("{} of shape {}", from.name, from.extents());
        return Err(Error::shape("the recipe's carry", expected, got));
    }
    Ok(State { output: output.clone(), input })
}

/// The states that names and shapes pair, such as `r1o` and `r1i`; none where no input for a picture would be left.
fn paired(inputs: &[Declared], outputs: &[Declared]) -> Vec<State> {
    let mut states: Vec<State> = Vec::new();
    for input in inputs {
        let matches = |output: &&Declared| {
            is_pair(&output.name, &input.name)
                && output.may_become(input)
                && !states.iter().any(|state| state.output == output.name)
        };
        if let Some(output) = outputs.iter().find(matches) {
            states.push(State { output: output.name.clone(), input: input.clone() });
        }
    }
    if states.len() == inputs.len() { Vec::new() } else { states }
}

/// Whether exporters give such names to an output and the input that it becomes in the next run.
fn is_pair(output: &str, input: &str) -> bool {
    let ends = |out: &str, into: &str| {
        let stems = output.strip_suffix(out).zip(input.strip_suffix(into));
        stems.is_some_and(|(a, b)| a == b && !a.is_empty())
    };
    let begins = |out: &str, into: &str| {
        let rests = output.strip_prefix(out).zip(input.strip_prefix(into));
        rests.is_some_and(|(a, b)| a == b && !a.is_empty())
    };
    // r1o and r1i: a single letter counts only behind a number.
    let numbered = |name: &str| name.trim_end_matches(['i', 'o']).ends_with(|c: char| c.is_ascii_digit());
    let suffixes =
        [("_out", "_in"), (".out", ".in"), ("_output", "_input"), ("_out", ""), ("_new", ""), ("_next", "")];
    let prefixes = [("new_", ""), ("next_", ""), ("new_", "old_"), ("next_", "prev_"), ("present", "past")];
    let both = [("out_", "in_"), ("output_", "input_")];
    suffixes.iter().any(|(out, into)| ends(out, into))
        || prefixes.iter().chain(&both).any(|(out, into)| begins(out, into))
        || (ends("o", "i") && numbered(output) && numbered(input))
        || [("hn", "h0"), ("cn", "c0")].contains(&(output, input))
}

impl Declared {
    fn of(info: &proto::ValueInfo) -> Declared {
        let tensor = info.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
        let dim = |dim: &proto::Dimension| match extent(dim.value) {
            Ok(value) if value > 0 => Dim::Fixed(value),
            _ => Dim::Named(dim.name.clone()),
        };
        let dims = tensor.and_then(|t| t.shape.as_ref()).map(|shape| shape.dim.iter().map(dim).collect());
        Declared { name: info.name.clone(), element: tensor.map_or(1, |t| t.elem_type), dims }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::of(i64::from(self.element))
    }

    /// Whether its elements are whole numbers.
    pub(super) fn is_whole(&self) -> bool {
        self.kind() != Some(Kind::Float)
    }

    /// The type of its elements, as ONNX's documentation calls it.
    pub(super) fn element(&self) -> &'static str {
        match self.element {
            1 => "float32",
            2 => "uint8",
            3 => "int8",
            4 => "uint16",
            5 => "int16",
            6 => "int32",
            7 => "int64",
            9 => "bool",
            10 => "float16",
            11 => "float64",
            12 => "uint32",
            13 => "uint64",
            16 => "bfloat16",
            _ => "unknown",
        }
    }

    /// Its extents in words.
    pub(super) fn extents(&self) -> String {
        let word = |dim: &Dim| match dim {
            Dim::Fixed(extent) => extent.to_string(),
            Dim::Named(name) if name.is_empty() => "?".into(),
            Dim::Named(name) => name.clone(),
        };
        match &self.dims {
            None => "unknown".into(),
            Some(dims) if dims.is_empty() => "a number".into(),
            Some(dims) => format!("({})", dims.iter().map(word).collect::<Vec<_>>().join(",")),
        }
    }

    fn check(&self) -> Result<()> {
        let what = || format!("input {}", self.name);
        if self.kind().is_none() {
            return Err(Error::shape(what(), "numbers", format!("type {} of ONNX's list", self.element)));
        }
        match &self.dims {
            Some(dims) if dims.len() > AXES => {
                Err(Error::shape(what(), format!("at most {AXES} axes"), self.extents()))
            }
            _ => Ok(()),
        }
    }

    /// How much it is like a picture: its axes, whether it is no mask, and whether it has floats.
    fn likeness(&self) -> (usize, bool, bool) {
        let axes = match self.dims.as_deref() {
            Some([_, _, Dim::Fixed(1), Dim::Fixed(1)]) => 0,
            Some([_, _, _, _]) => 3,
            None => 2,
            Some([_, _, _]) => 1,
            _ => 0,
        };
        (axes, !self.is_mask(), self.kind() == Some(Kind::Float))
    }

    /// Whether nothing that the file says speaks against the output being this input of the next run.
    fn may_become(&self, input: &Declared) -> bool {
        let agree = |(a, b): (&Dim, &Dim)| match (a, b) {
            (Dim::Fixed(a), Dim::Fixed(b)) => a == b,
            _ => true,
        };
        let dims = match (&self.dims, &input.dims) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(agree),
            _ => true,
        };
        dims && self.element == input.element
    }

    /// Its extents beside a picture of known ones, and a shape that the caller gives; where nothing tells one it is
    /// `open`.
    pub(super) fn resolve(
        &self,
        known: &HashMap<&str, usize>,
        given: Option<Shape>,
        open: Option<usize>,
    ) -> Result<Vec<usize>> {
        let unknown = vec![Dim::Named(String::new()); AXES];
        let dims = self.dims.as_ref().unwrap_or(&unknown);
        let given = given.map(|s| [s.n, s.c, s.h, s.w]);
        let what = || format!("input {}", self.name);
        let missing = |name: &String| {
            let got = if name.is_empty() { "none".into() } else { format!("none for {name}") };
            Error::shape(what(), format!("a shape, as the file has {}", self.extents()), got)
        };
        let resolved = dims.iter().enumerate().map(|(axis, dim)| {
            let extent = given.map(|given| given[AXES - dims.len() + axis]);
            match dim {
                Dim::Fixed(extent) => Ok(*extent),
                Dim::Named(name) => {
                    let known = known.get(name.as_str()).copied();
                    known.or(extent).or(open).ok_or_else(|| missing(name))
                }
            }
        });
        let resolved = resolved.collect::<Result<Vec<_>>>()?;
        let shape = any_shape(&resolved)?;
        match given.filter(|&given| given != [shape.n, shape.c, shape.h, shape.w]) {
            Some([n, c, h, w]) => Err(Error::shape(what(), shape, Shape::new(n, c, h, w))),
            None => Ok(resolved),
        }
    }
}

impl Picture {
    fn of(declared: Declared, graph: &proto::Graph, constants: &Constants) -> Result<Picture> {
        let dims = declared.dims.clone().unwrap_or_default();
        let told = layout::input(graph, constants, &declared.name);
        let known = |dim: &Dim| match dim {
            Dim::Fixed(extent) => Some(*extent),
            Dim::Named(_) => None,
        };
        let layout = told.layout(&dims);
        let (c, size) = match (&dims[..], layout) {
            ([_, h, w, c], Layout::Nhwc) | ([h, w, c], Layout::Hwc) => (known(c), [known(h), known(w)]),
            ([_, c, h, w], _) | ([c, h, w], _) => (known(c), [known(h), known(w)]),
            ([], _) => (None, [None; 2]),
            _ => {
                let unknown = || Error::shape(&declared.name, "known extents", declared.extents());
                let dims =
                    dims.iter().map(|dim| known(dim).ok_or_else(unknown)).collect::<Result<Vec<_>>>()?;
                let Shape { n, c, h, w } = any_shape(&dims)?;
                let size = [Some(h), Some(w)];
                return Ok(Picture { declared, mask: None, layout, channels: c, pictures: n, size, dims });
            }
        };
        // Where the file does not say it, the first convolution does.
        let channels = c.or(told.channels).ok_or_else(|| {
            let got = declared.extents();
            Error::shape(&declared.name, "4 extents with a known number of channels", got)
        })?;
        let pictures = if dims.len() == AXES { known(&dims[0]).unwrap_or(1) } else { 1 };
        Ok(Picture { declared, mask: None, layout, channels, pictures, size, dims: Vec::new() })
    }

    /// A shape of the picture: the file's own height and width where it fixes them, elsewhere `side`.
    pub(super) fn sized(&self, side: usize) -> Shape {
        let [h, w] = self.size.map(|own| own.unwrap_or(side));
        Shape::new(self.pictures, self.channels, h, w)
    }

    /// Its extents in the file's order, without the mask.
    pub(super) fn extents(&self, shape: Shape) -> Result<Vec<usize>> {
        let Shape { n, c, h, w } = shape;
        let c = c - usize::from(self.mask.is_some());
        match self.layout {
            Layout::Nchw => Ok(vec![n, c, h, w]),
            Layout::Nhwc => Ok(vec![n, h, w, c]),
            Layout::Chw if n == 1 => Ok(vec![c, h, w]),
            Layout::Hwc if n == 1 => Ok(vec![h, w, c]),
            Layout::Chw | Layout::Hwc => Err(Error::shape("input", "one picture", n)),
            Layout::Nhw | Layout::Hw => Err(Error::shape("input", "an axis of channels", shape)),
            Layout::Flat if product(&self.dims) == shape.elements() => Ok(self.dims.clone()),
            Layout::Flat => Err(Error::shape("input", format!("{:?}", self.dims), shape)),
        }
    }

    /// The extents that have a name.
    pub(super) fn known(&self, shape: Shape) -> Result<HashMap<&str, usize>> {
        let mut known = HashMap::new();
        for (dim, extent) in self.declared.dims.iter().flatten().zip(self.extents(shape)?) {
            if let Dim::Named(name) = dim
                && !name.is_empty()
            {
                known.insert(name.as_str(), extent);
            }
        }
        Ok(known)
    }

    /// Whether the last two axes of an input are the picture's rows and columns by their names.
    pub(super) fn is_followed_by(&self, input: &Declared) -> bool {
        let own = self.declared.dims.as_deref().unwrap_or_default();
        let rows = match self.layout {
            Layout::Nchw | Layout::Chw => own.len().saturating_sub(2),
            Layout::Nhwc => 1,
            Layout::Hwc => 0,
            Layout::Nhw | Layout::Hw | Layout::Flat => return false,
        };
        let sides = own.get(rows..rows + 2);
        let named = |dim: &Dim| matches!(dim, Dim::Named(name) if !name.is_empty());
        let last = input.dims.as_deref().and_then(|dims| dims.get(dims.len().checked_sub(2)?..));
        sides.is_some_and(|sides| Some(sides) == last && sides.iter().all(named))
    }
}
