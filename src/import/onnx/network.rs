//! The sizes that an ONNX file takes, and its graph for each.
//!
//! If a file leaves extents of a state open, the state has the extents that the network itself gives it. The network is
//! built with a first guess, then with the extents of the output that the state comes from, until they stay the same.
//! The first guess is 1 for each open extent, which is how exporters begin. If that does not run, it is the extent of
//! the picture that has the same name.

use super::build::{Builder, Live};
use super::file::File;
use super::grid::{Grid, crop, grows};
use super::inputs::{Given, set_inputs};
use super::layout::{self, Layout};
use super::ports::{Declared, Ports};
use super::result;
use super::survey::{SURVEYED, survey};
use super::traced::Traced;
use super::view::any_shape;
use crate::error::{Error, Result};
use crate::graph::{Graph, Output, PadMode, ValueId};
use crate::network::{
    Choice, Fate, Network, NodeReport, PortInfo, Role, Signature, StoredNetwork, Traits, by_name_or_place,
    proportion,
};
use crate::tensor::Shape;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Sides that are tried first where the file fixes none; then all from the first one on, as many as [`SEARCHED`].
const SIDES: [usize; 4] = [SURVEYED, 224, 512, 64];

/// Sides that are tried in turn. Networks whose sides are, say, 16k + 8 take one of them.
const SEARCHED: usize = 64;

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
    /// Pixels by which the result is smaller than the network's input on each side.
    border: usize,
    /// What continues the picture there.
    outside: PadMode,
    /// A shape of the picture that the network takes.
    example: Shape,
    /// The output that is the result.
    result: String,
    reason: String,
    /// The outputs that can be asked for.
    available: Vec<String>,
    /// By output, the order of its axes.
    layouts: HashMap<String, Layout>,
    /// By output, its pixels for one of the picture, when it grows with the picture.
    ratios: HashMap<String, [f64; 2]>,
    traits: Option<Traits>,
    /// What the file says of extents at the size for which it was exported, if that is fixed.
    traced: Option<Traced>,
}

/// A graph for one shape of the picture.
struct Built {
    graph: Graph,
    /// Extents of the outputs that states come from.
    states: Vec<Vec<usize>>,
    /// By output, the order of its axes.
    layouts: HashMap<String, Layout>,
    traced: Traced,
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
        let inside = |side: usize| side.saturating_sub(2 * self.border).max(1);
        Some([inside(h?), inside(w?)])
    }

    fn traits(&self) -> Result<Traits> {
        self.traits.ok_or_else(|| Error::Model("the network takes no size".into()))
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
        inputs.extend(picture.mask.iter().map(|mask| port(mask, Role::Mask)));
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
        let (border, outside) = match choice.border {
            0 => (self.border, self.outside),
            border => (border, choice.outside),
        };
        let choice = Choice { carry, result, border, outside, inputs: choice.inputs };
        Ok(Arc::new(OnnxNetwork::new(self.file.clone(), &choice)?))
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
        let names: Vec<&str> = ports.outputs.iter().map(|output| output.name.as_str()).collect();
        let chosen = choice.result.map(|text| by_name_or_place(text, &names).to_string());
        if let Some(name) = chosen.as_ref().filter(|name| !names.contains(&name.as_str())) {
            let known = names.join(", ");
            return Err(Error::UnknownName { kind: "output", name: name.clone(), known });
        }
        let mut network = OnnxNetwork {
            file,
            ports,
            carry: choice.carry.map(<[_]>::to_vec),
            result: chosen.clone().unwrap_or_default(),
            chosen,
            border: choice.border,
            outside: choice.outside,
            example: Shape::new(1, 1, 1, 1),
            reason: "it was chosen by name".into(),
            available: Vec::new(),
            layouts: HashMap::new(),
            ratios: HashMap::new(),
            traits: None,
            traced: None,
        };
        let border = Grid::bordered(choice.border, choice.outside);
        let mut first = None;
        for side in SIDES.into_iter().chain(SURVEYED + 1..=SURVEYED + SEARCHED) {
            let padded = network.ports.picture.sized(side);
            let [h, w] = [padded.h, padded.w].map(|side| side.saturating_sub(2 * border.border));
            let picture = Shape { h, w, ..padded }.check("input")?;
            let made = network.padded(Given::picture(picture), border);
            match made.and_then(|built| network.learn(built, picture)) {
                Ok(()) => {
                    network.confirm(border)?;
                    return Ok(network);
                }
                Err(error) => first = first.or(Some(error)),
            }
            let is_fixed = network.ports.picture.size.iter().all(Option::is_some);
            if is_fixed
                || side >= SURVEYED && !matches!(first, Some(Error::Shape { .. })) && !SIDES.contains(&side)
            {
                break;
            }
        }
        let first = first.unwrap_or_else(|| Error::Model("the network takes no size".into()));
        Err(network.with_others(first))
    }

    /// Takes from the graph for an example how the sizes of its outputs depend on the picture's, and which of them is
    /// the result. Errors if the result is not smaller by the border.
    fn learn(&mut self, Built { mut graph, layouts, traced, .. }: Built, picture: Shape) -> Result<()> {
        let shapes = graph.shapes([picture])?;
        let growths = graph.growths(&shapes);
        let is_state = |name: &str| self.ports.states.iter().any(|state| state.output == name);
        let results = || graph.outputs().iter().filter(|output| !is_state(&output.name));
        let made = results().filter_map(|o| Some((o.name.as_str(), shapes[o.value.index()]?)));
        let made: Vec<(&str, Shape)> = made.collect();
        let ratio = |o: &Output| {
            let y = shapes[o.value.index()].filter(|y| y.pixels() > 1)?;
            let ratio = proportion([y.h, y.w], [picture.h, picture.w], growths[o.value.index()])?;
            Some((o.name.clone(), ratio))
        };
        let ratios: HashMap<_, _> = results().filter_map(ratio).collect();
        if self.chosen.is_none() {
            let (result, reason) = result::choose(&made, &graph, picture, self.ports.picture.layout)?;
            (self.result, self.reason) = (result.into(), reason);
        }
        let size = made.iter().find(|(name, _)| *name == self.result).map(|(_, shape)| shape);
        if let (true, Some(y)) = (self.border > 0 && !ratios.contains_key(&self.result), size) {
            let padded = Grid::bordered(self.border, self.outside).of(picture);
            let expected = format!(
                "a result of {}x{}, or a multiple, for {}x{} pixels",
                picture.h, picture.w, padded.h, padded.w
            );
            return Err(Error::shape("the recipe's input.border", expected, format!("{}x{}", y.h, y.w)));
        }
        let available = graph.outputs().iter().map(|output| output.name.clone()).collect();
        (self.example, self.ratios, self.layouts, self.available) = (picture, ratios, layouts, available);
        graph.set_result(&self.result.clone())?;
        self.traits = Some(Traits::of(&graph, picture)?);
        self.traced = self.ports.picture.size.iter().any(Option::is_some).then_some(traced);
        Ok(())
    }

    /// Forgets proportions that hold only at the example's size: those of results that do not grow with the picture.
    fn confirm(&mut self, grid: Grid) -> Result<()> {
        let [fixed_h, fixed_w] = self.ports.picture.size.map(|side| side.is_some());
        if fixed_h && fixed_w || self.ratios.values().all(|ratio| *ratio == [1.0; 2]) {
            return Ok(());
        }
        let larger = |side: usize, is_fixed: bool| if is_fixed { side } else { 2 * side };
        let Shape { h, w, .. } = self.example;
        let picture = Shape { h: larger(h, fixed_h), w: larger(w, fixed_w), ..self.example };
        let Ok(built) = self.padded(Given::picture(picture), grid) else {
            return Ok(());
        };
        let shapes = built.graph.shapes([picture])?;
        for output in built.graph.outputs() {
            if let (Some(&ratio), Some(y)) = (self.ratios.get(&output.name), shapes[output.value.index()])
                && !grows(y, picture, ratio)
            {
                self.ratios.remove(&output.name);
            }
        }
        Ok(())
    }

    /// An error, and how many nodes beside the first cannot run.
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
        let fits = |y: Shape| ratio.is_none_or(|&ratio| grows(y, input, ratio));
        // Sides with the same remainders as the example's.
        let [h, w] = [self.example.h, self.example.w].map(|side| side + 2 * self.border);
        let grid = |multiple: usize| Grid {
            border: self.border,
            outside: self.outside,
            multiple,
            rest: [h % multiple, w % multiple],
        };
        let mut tried = None;
        let mut first = None;
        for grid in [1, 2, 4, 8, 16, 32, 64, 128, 256].map(grid) {
            let padded = grid.of(input);
            if tried == Some(padded) {
                continue;
            }
            tried = Some(padded);
            match self.padded(given, grid).map(|built| built.graph) {
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

    /// The network behind a pad, its outputs cropped again.
    fn padded(&self, given: Given<'_>, grid: Grid) -> Result<Built> {
        if self.ports.states.is_empty() {
            return self.attempt(given, grid, &[]);
        }
        let named = self.ports.picture.known(grid.of(given.picture))?;
        let mut first = None;
        for known in [&HashMap::new(), &named] {
            let states = self.ports.states.iter();
            let guess = states.map(|state| state.input.resolve(known, None, Some(1)));
            let mut dims = guess.collect::<Result<Vec<_>>>()?;
            for _ in 0..ROUNDS {
                match self.attempt(given, grid, &dims) {
                    Ok(built) if built.states == dims => return Ok(built),
                    Ok(built) => dims = built.states,
                    Err(error) => {
                        first = first.or(Some(error));
                        break;
                    }
                }
            }
        }
        Err(first.unwrap_or_else(|| Error::Model("its states become larger with each run".into())))
    }

    /// The network with states of these extents.
    fn attempt(&self, given: Given<'_>, grid: Grid, states: &[Vec<usize>]) -> Result<Built> {
        let mut builder = Builder::new(&self.file, &self.ports.picture.declared.name, given.picture);
        builder.exported = self.traced.as_ref();
        set_inputs(&mut builder, &self.ports, given, grid, states)?;
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
        let mut layouts = HashMap::new();
        let outputs = self.outputs(&mut builder, given.picture, grid, &mut layouts)?;
        builder.graph.set_outputs(&outputs)?;
        for state in &self.ports.states {
            builder.graph.carry(&state.output, &state.input.name)?;
        }
        builder.graph.prune();
        Ok(Built { graph: builder.graph, states: next, layouts, traced: builder.traced })
    }

    /// The outputs, the result first; those of a padded picture cropped to its own shape.
    fn outputs(
        &self,
        builder: &mut Builder<'_>,
        picture: Shape,
        grid: Grid,
        layouts: &mut HashMap<String, Layout>,
    ) -> Result<Vec<(&str, ValueId)>> {
        let mut outputs = Vec::new();
        let mut first = None;
        for Declared { name, .. } in &self.ports.outputs {
            let is_state = self.ports.states.iter().any(|state| state.output == *name);
            let made = builder.output(name).and_then(|live| match is_state {
                true => builder.placed(&live, any_shape(&live.dims())?),
                false => {
                    let known = self.layouts.get(name).copied();
                    let layout = known.unwrap_or_else(|| self.layout(name, &live.dims(), grid.kept(picture)));
                    layouts.insert(name.clone(), layout);
                    let (view, shape) = layout.planar(&live.view)?;
                    let shape =
                        shape.map_or_else(|| any_shape(&view.dims()), |shape| shape.check("result"))?;
                    let y = builder.placed(&Live { view, ..live }, shape)?;
                    let kept = grid.kept(picture);
                    match self.ratios.get(name) {
                        Some(&ratio) if kept != picture => crop(builder, y, [kept, picture], ratio),
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

    /// The order of an output's axes.
    fn layout(&self, name: &str, dims: &[usize], picture: Shape) -> Layout {
        let input = self.ports.picture.layout;
        let last = matches!(input, Layout::Nhwc | Layout::Hwc);
        let told = layout::output(&self.file.graph, name, (&self.ports.picture.declared.name, last));
        match input {
            Layout::Flat => Layout::Flat,
            _ => layout::of_result(dims, picture, told, last),
        }
    }
}
