//! The sizes that an ONNX file takes, and its graph for each.
//!
//! If a file leaves extents of a state open, the state has the extents that the network itself gives it. The network is
//! built with a first guess, then with the extents of the output that the state comes from, until they stay the same.
//! The first guess is 1 for each open extent, which is how exporters begin. If that does not run, it is the extent of
//! the picture that has the same name.

use super::array::Kind;
use super::build::{Builder, Live};
use super::file::File;
use super::ports::{Declared, Layout, Ports};
use super::proto;
use super::view::{View, any_shape};
use crate::error::{Error, Result};
use crate::graph::{Crop, Graph, Pad, PadAmount, PadMode, Rearrange, Slice, ValueId};
use crate::network::{Choice, Fate, Network, NodeReport, PortInfo, Role, Signature, StoredNetwork};
use crate::tensor::Shape;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// The side at which nodes are looked at where the file fixes none.
const SURVEYED: usize = 256;

/// Most times that a network is built until the extents of its states stay as they are.
const ROUNDS: usize = 8;

/// A file that takes at least one size.
#[derive(Debug)]
pub(super) struct OnnxNetwork {
    file: Arc<File>,
    ports: Ports,
    /// The states and the result that a recipe or a caller named.
    carry: Option<Vec<[String; 2]>>,
    chosen: Option<String>,
    /// A shape of the picture that the network takes.
    example: Shape,
    /// The output that is the result.
    result: String,
    reason: String,
    /// The outputs that can be asked for.
    available: Vec<String>,
    /// By output, its pixels for one of the picture, when that is a whole number or one over it.
    ratios: HashMap<String, [f64; 2]>,
}

/// Shapes for which a network is built.
#[derive(Clone, Copy)]
struct Given<'a> {
    picture: Shape,
    /// Of the inputs beside the picture, as many as the caller knows.
    others: &'a [Shape],
    /// What stands for an extent that nothing tells.
    open: Option<usize>,
}

impl Network for OnnxNetwork {
    fn graph(&self, inputs: &[Shape]) -> Result<Cow<'_, Graph>> {
        let [picture, others @ ..] = inputs else {
            return Err(Error::shape("input shapes", "at least one", "none"));
        };
        if others.len() > self.ports.others.len() {
            return Err(Error::shape("input shapes", 1 + self.ports.others.len(), inputs.len()));
        }
        self.build(Given { picture: *picture, others, open: None }).map(Cow::Owned)
    }

    fn example_input(&self) -> Shape {
        self.example
    }

    fn exported_size(&self) -> Option<[usize; 2]> {
        let [h, w] = self.ports.picture.size;
        Some([h?, w?])
    }

    fn metadata(&self) -> &[(String, String)] {
        &self.file.metadata
    }

    fn signature(&self) -> Signature {
        let Ports { picture, others, states, outputs } = &self.ports;
        let port = |declared: &Declared, role: Role| PortInfo {
            name: declared.name.clone(),
            element: declared.element(),
            extents: declared.extents(),
            role,
        };
        let mut inputs = vec![port(&picture.declared, Role::Picture)];
        inputs.extend(others.iter().map(|other| port(other, Role::Value)));
        inputs.extend(states.iter().map(|state| port(&state.input, Role::State(state.output.clone()))));
        let role = |declared: &Declared| {
            let state = states.iter().find(|state| state.output == declared.name);
            match state {
                _ if declared.name == self.result => Role::Result,
                Some(state) => Role::State(state.input.name.clone()),
                None => Role::Output,
            }
        };
        let outputs = outputs.iter().filter(|output| self.available.contains(&output.name));
        let mut outputs: Vec<PortInfo> = outputs.map(|output| port(output, role(output))).collect();
        outputs.sort_by_key(|output| output.role != Role::Result);
        Signature { inputs, outputs, reason: self.reason.clone() }
    }

    fn input_shapes(&self, picture: Shape) -> Result<Vec<Shape>> {
        let known = self.ports.picture.known(picture)?;
        let others =
            self.ports.others.iter().map(|other| any_shape(&other.resolve(&known, None, Some(1))?));
        std::iter::once(Ok(picture)).chain(others).collect()
    }

    fn configured(&self, choice: &Choice<'_>) -> Result<Arc<dyn Network>> {
        let carry = choice.carry.or(self.carry.as_deref());
        let result = choice.result.or(self.chosen.as_deref());
        Ok(Arc::new(OnnxNetwork::new(self.file.clone(), &Choice { carry, result, ..*choice })?))
    }

    fn nodes(&self, input: Shape) -> Option<Vec<NodeReport>> {
        Some(survey(&self.file, &self.ports, input))
    }

    fn stored(&self) -> Result<StoredNetwork> {
        self.file.parts()
    }
}

impl OnnxNetwork {
    /// The file with a size that the network takes: its own where it has one.
    pub(super) fn new(file: Arc<File>, choice: &Choice<'_>) -> Result<OnnxNetwork> {
        let file = match choice.inputs {
            [] => file,
            inputs => Arc::new(file.with_fixed(inputs)?),
        };
        let ports = Ports::of(&file.graph, &file.constants, choice.carry)?;
        if let Some(name) = choice.result
            && !ports.outputs.iter().any(|output| output.name == name)
        {
            let known =
                ports.outputs.iter().map(|output| output.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownName { kind: "output", name: name.into(), known });
        }
        let mut network = OnnxNetwork {
            file,
            ports,
            carry: choice.carry.map(<[_]>::to_vec),
            chosen: choice.result.map(str::to_string),
            example: Shape::new(1, 1, 1, 1),
            result: choice.result.unwrap_or_default().into(),
            reason: "it was chosen by name".into(),
            available: Vec::new(),
            ratios: HashMap::new(),
        };
        let mut first = None;
        for side in [SURVEYED, 224, 512, 64] {
            let picture = network.ports.picture.sized(side).check("input")?;
            match network.padded(Given { picture, others: &[], open: Some(1) }, 1) {
                Ok(graph) => {
                    network.learn(&graph, picture)?;
                    return Ok(network);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        let first = first.unwrap_or_else(|| Error::Model("the network takes no size".into()));
        Err(network.with_others(first))
    }

    /// Takes from the graph for an example how the sizes of its outputs depend on the picture's, and which of them is
    /// the result.
    fn learn(&mut self, graph: &Graph, picture: Shape) -> Result<()> {
        let shapes = graph.shapes([picture])?;
        let is_state = |name: &str| self.ports.states.iter().any(|state| state.output == name);
        let made = graph.outputs().iter().filter_map(|o| Some((o.name.as_str(), shapes[o.value.index()]?)));
        let made: Vec<(&str, Shape)> = made.filter(|(name, _)| !is_state(name)).collect();
        let even = |r: f64| r.fract() == 0.0 || (1.0 / r).fract() == 0.0;
        let ratio = |&(name, y): &(&str, Shape)| {
            let ratio = [y.h as f64 / picture.h as f64, y.w as f64 / picture.w as f64];
            (y.pixels() > 1 && ratio.iter().all(|&r| even(r))).then(|| (name.to_string(), ratio))
        };
        let ratios = made.iter().filter_map(ratio).collect();
        if self.result.is_empty() {
            let (result, reason) = result(&made, picture, self.ports.picture.layout)?;
            (self.result, self.reason) = (result.into(), reason);
        }
        self.available = graph.outputs().iter().map(|output| output.name.clone()).collect();
        (self.example, self.ratios) = (picture, ratios);
        Ok(())
    }

    /// An error with how many nodes besides the first cannot run.
    fn with_others(&self, first: Error) -> Error {
        let nodes = survey(&self.file, &self.ports, self.ports.picture.sized(SURVEYED));
        let stuck = nodes.iter().filter(|n| matches!(n.fate, Fate::Unsupported(_))).count();
        match first {
            Error::Model(message) if stuck > 1 => Error::Model(format!(
                "{message} ({} more nodes cannot run; `unet inspect` lists them)",
                stuck - 1
            )),
            first => first,
        }
    }

    /// The network for inputs of these shapes, of as many pictures as the file allows.
    fn build(&self, given: Given<'_>) -> Result<Graph> {
        let (input, channels) = (given.picture, self.ports.picture.channels);
        if input.c != channels {
            return Err(Error::shape("input", format!("{channels} channels"), input.c));
        }
        let ratio = self.ratios.get(&self.result);
        let fits = |y: Shape| {
            ratio.is_none_or(|[h, w]| [input.h as f64 * h, input.w as f64 * w] == [y.h as f64, y.w as f64])
        };
        let mut tried = None;
        let mut first = None;
        for multiple in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
            let padded = padded_to(input, multiple);
            if tried == Some(padded) {
                continue;
            }
            tried = Some(padded);
            match self.padded(given, multiple) {
                Ok(graph) if fits(graph.output_shape(input)?) => return Ok(graph),
                Ok(_) => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        let [h, w] = [input.h, input.w];
        Err(match (self.ports.picture.size, first) {
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

    /// The network behind a pad up to a multiple, its outputs cropped again.
    fn padded(&self, given: Given<'_>, multiple: usize) -> Result<Graph> {
        if self.ports.states.is_empty() {
            return Ok(self.attempt(given, multiple, &[])?.0);
        }
        let named = self.ports.picture.known(padded_to(given.picture, multiple))?;
        let mut first = None;
        for known in [&HashMap::new(), &named] {
            let states = self.ports.states.iter();
            let guess = states.map(|state| state.input.resolve(known, None, Some(1)));
            let mut dims = guess.collect::<Result<Vec<_>>>()?;
            for _ in 0..ROUNDS {
                match self.attempt(given, multiple, &dims) {
                    Ok((graph, next)) if next == dims => return Ok(graph),
                    Ok((_, next)) => dims = next,
                    Err(error) => {
                        first = first.or(Some(error));
                        break;
                    }
                }
            }
        }
        Err(first.unwrap_or_else(|| Error::Model("its states become larger with each run".into())))
    }

    /// The network with states of these extents, and the extents of the outputs that they come from.
    fn attempt(
        &self,
        given: Given<'_>,
        multiple: usize,
        states: &[Vec<usize>],
    ) -> Result<(Graph, Vec<Vec<usize>>)> {
        let mut builder = Builder::new(&self.file, &self.ports.picture.declared.name, given.picture);
        set_inputs(&mut builder, &self.ports, given, multiple, states)?;
        builder.run()?;

        let mut next = Vec::with_capacity(states.len());
        for state in &self.ports.states {
            let dims = builder.output(&state.output)?.dims();
            if state.input.dims.as_ref().is_some_and(|declared| declared.len() != dims.len()) {
                let got = format!("{dims:?} from {}", state.output);
                return Err(Error::shape(format!("state {}", state.input.name), state.input.extents(), got));
            }
            state.input.resolve(&HashMap::new(), Some(any_shape(&dims)?), None)?;
            next.push(dims);
        }
        let shape = given.picture;
        let outputs = self.outputs(&mut builder, Some(shape).filter(|&s| s != padded_to(s, multiple)))?;
        builder.graph.set_outputs(&outputs)?;
        for state in &self.ports.states {
            builder.graph.carry(&state.output, &state.input.name)?;
        }
        builder.graph.prune();
        Ok((builder.graph, next))
    }

    /// The outputs, the result first; those of a padded picture cropped to its own shape.
    fn outputs(&self, builder: &mut Builder<'_>, crop_to: Option<Shape>) -> Result<Vec<(&str, ValueId)>> {
        let mut outputs = Vec::new();
        let mut first = None;
        for Declared { name, .. } in &self.ports.outputs {
            let is_state = self.ports.states.iter().any(|state| state.output == *name);
            let made = builder.output(name).and_then(|live| match is_state {
                true => builder.placed(&live, any_shape(&live.dims())?),
                false => {
                    let y = self.planar(builder, live)?;
                    match (crop_to, self.ratios.get(name)) {
                        (Some(shape), Some(&ratio)) => crop(builder, y, shape, ratio),
                        _ => Ok(y),
                    }
                }
            });
            match made {
                Ok(y) if *name == self.result => outputs.insert(0, (name.as_str(), y)),
                Ok(y) => outputs.push((name.as_str(), y)),
                Err(error) if is_state || *name == self.result => return Err(error),
                // One that is a constant or no tensor cannot be asked for.
                Err(error) => first = first.or(Some(error)),
            }
        }
        match (outputs.len() > self.ports.states.len(), first) {
            (true, _) => Ok(outputs),
            (false, Some(error)) => Err(error),
            (false, None) => Err(Error::Model("no node makes the network's output".into())),
        }
    }

    /// An output in the order NCHW. Class scores, `(n, classes)`, are pictures of one pixel.
    fn planar(&self, builder: &mut Builder<'_>, live: Live) -> Result<ValueId> {
        let dims = live.dims();
        let view = match (&dims[..], self.ports.picture.layout) {
            ([_, _, _, _], Layout::Nhwc) => live.view.permuted(&[0, 3, 1, 2])?,
            _ => live.view.clone(),
        };
        let shape = match view.dims()[..] {
            [n, c] => Shape::new(n, c, 1, 1).check("result")?,
            ref dims => any_shape(dims)?,
        };
        builder.placed(&Live { view, ..live }, shape)
    }
}

/// The shape with its sides brought up to a multiple.
fn padded_to(shape: Shape, multiple: usize) -> Shape {
    Shape { h: shape.h.next_multiple_of(multiple), w: shape.w.next_multiple_of(multiple), ..shape }
}

/// Which of the outputs for a picture is the result, and why: the largest, the first of equals.
fn result<'a>(made: &[(&'a str, Shape)], picture: Shape, layout: Layout) -> Result<(&'a str, String)> {
    let none = || Error::Model("no node makes the network's output".into());
    let &(first, _) = made.first().ok_or_else(none)?;
    if made.len() == 1 || layout == Layout::Flat {
        let only = if made.len() == 1 { "only" } else { "first" };
        return Ok((first, format!("it is the {only} output")));
    }
    let most = made.iter().map(|(_, shape)| shape.pixels()).max().unwrap_or(0);
    let largest: Vec<&str> =
        made.iter().filter(|(_, shape)| shape.pixels() == most).map(|(name, _)| *name).collect();
    let size = match most == picture.pixels() {
        true => "of the picture's size".to_string(),
        false => format!("of the largest size, {most} pixels"),
    };
    let reason = match largest.len() {
        1 => format!("it is the only output {size}"),
        count => format!("it is the first of {count} outputs {size}"),
    };
    Ok((largest[0], reason))
}

/// Gives all inputs their values. The picture, and each input with its rows and columns, is padded up to a multiple.
fn set_inputs<'a>(
    builder: &mut Builder<'a>,
    ports: &'a Ports,
    given: Given<'_>,
    multiple: usize,
    states: &[Vec<usize>],
) -> Result<()> {
    let picture = &ports.picture;
    let is_padded = padded_to(given.picture, multiple) != given.picture;
    let pad = |builder: &mut Builder<'a>, id: ValueId| match is_padded {
        true => {
            let op = Pad { amount: PadAmount::Multiple(multiple), mode: PadMode::Reflect };
            builder.push("pad to stride", op, &[id])
        }
        false => Ok(id),
    };
    let x = pad(builder, Graph::INPUT)?;
    let shape = builder.shape(x);
    let dims = picture.extents(shape)?;
    let view = match picture.layout {
        Layout::Nhwc => View::whole(&[shape.n, shape.c, shape.h, shape.w]).permuted(&[0, 2, 3, 1])?,
        _ => View::whole(&dims),
    };
    builder.set(&picture.declared.name, Live::new(x, view));

    let known = picture.known(given.picture)?;
    for (place, other) in ports.others.iter().enumerate() {
        let mut dims = other.resolve(&known, given.others.get(place).copied(), given.open)?;
        let mut id = builder.input(&other.name, &dims)?;
        if let (true, [.., h, w]) = (picture.is_followed_by(other), &mut dims[..]) {
            id = pad(builder, id)?;
            [*h, *w] = [builder.shape(id).h, builder.shape(id).w];
        }
        builder.set(
            &other.name,
            Live { kind: other.kind().unwrap_or(Kind::Integer), ..Live::new(id, View::whole(&dims)) },
        );
    }
    for (state, dims) in ports.states.iter().zip(states) {
        let id = builder.input(&state.input.name, dims)?;
        let live =
            Live { kind: state.input.kind().unwrap_or(Kind::Integer), ..Live::new(id, View::whole(dims)) };
        builder.set(&state.input.name, live);
    }
    Ok(())
}

/// What becomes of each node of a file, also of one that cannot run.
pub(super) fn nodes(file: &File) -> Result<Vec<NodeReport>> {
    let ports = Ports::of(&file.graph, &file.constants, None)?;
    Ok(survey(file, &ports, ports.picture.sized(SURVEYED)))
}

/// What becomes of each node for a picture of that shape, whether or not all can run.
fn survey(file: &File, ports: &Ports, picture: Shape) -> Vec<NodeReport> {
    let mut builder = Builder::new(file, &ports.picture.declared.name, picture);
    builder.survey = true;
    let given = Given { picture, others: &[], open: Some(1) };
    let states = ports.states.iter().map(|state| state.input.resolve(&HashMap::new(), None, Some(1)));
    // What cannot be built is among the nodes' fates.
    let _ = states
        .collect::<Result<Vec<_>>>()
        .and_then(|states| set_inputs(&mut builder, ports, given, 1, &states))
        .and_then(|()| builder.run());
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

/// The part of a padded output that belongs to the picture.
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
