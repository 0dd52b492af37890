//! Named inputs and outputs of a graph, and states: outputs of one run that are inputs of the next.

use super::{Constant, Graph, Node, ValueId};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

/// One extent of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum Extent {
    /// Any. The caller that builds a session chooses it.
    #[default]
    Any,
    /// Always this.
    Fixed(usize),
    /// The same extent of the first input, divided by this and rounded up. Recurrent states of half a picture's size
    /// are `Part(2)` along both sides.
    Part(usize),
}

/// A named input of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The name under which a caller passes a tensor.
    pub name: String,
    /// Batch, channels, height, width.
    pub extents: [Extent; 4],
    /// The value that holds it.
    pub value: ValueId,
}

/// A named output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The name under which a caller requests it.
    pub name: String,
    /// The value that is returned.
    pub value: ValueId,
    /// Whether the caller gets it. A state that was not requested only goes into the next run.
    pub(crate) given: bool,
}

impl Extent {
    /// A batch of pictures with that many channels, of any size.
    pub const fn picture(channels: usize) -> [Extent; 4] {
        [Extent::Any, Extent::Fixed(channels), Extent::Any, Extent::Any]
    }
}

impl From<Shape> for [Extent; 4] {
    fn from(shape: Shape) -> [Extent; 4] {
        [shape.n, shape.c, shape.h, shape.w].map(Extent::Fixed)
    }
}

impl Input {
    /// Its name in messages.
    pub(crate) fn what(&self) -> String {
        match &*self.name {
            "input" => "input".into(),
            name => format!("input {name}"),
        }
    }

    /// Its extents beside a first input of that shape.
    fn wanted(&self, first: Option<Shape>) -> [Option<usize>; 4] {
        let first = first.map(|s| [s.n, s.c, s.h, s.w]);
        [0, 1, 2, 3].map(|axis| match self.extents[axis] {
            Extent::Any => None,
            Extent::Fixed(extent) => Some(extent),
            Extent::Part(divisor) => first.map(|first| first[axis].div_ceil(divisor.max(1))),
        })
    }

    fn check(&self, shape: Shape, first: Shape) -> Result<Shape> {
        shape.check(&self.what())?;
        let names = ["pictures", "channels", "rows", "columns"];
        let got = [shape.n, shape.c, shape.h, shape.w];
        for ((wanted, got), name) in self.wanted(Some(first)).into_iter().zip(got).zip(names) {
            if let Some(wanted) = wanted.filter(|&wanted| wanted != got) {
                return Err(Error::shape(self.what(), format!("{wanted} {name}"), got));
            }
        }
        Ok(shape)
    }
}

/// The index of a name in a list.
pub(crate) fn named<'a>(
    kind: &'static str,
    mut names: impl Iterator<Item = &'a str> + Clone,
    name: &str,
) -> Result<usize> {
    let all = names.clone();
    names.position(|own| own == name).ok_or_else(|| {
        let known = all.collect::<Vec<_>>().join(", ");
        Error::UnknownName { kind, name: name.into(), known }
    })
}

impl Graph {
    /// Adds an input and returns its value. A [`Shape`] for the extents fixes all of them.
    ///
    /// # Errors
    /// [`Error::Model`] when an input or a layer has that name.
    pub fn add_input(&mut self, name: &str, extents: impl Into<[Extent; 4]>) -> Result<ValueId> {
        self.take_name(name)?;
        let value = self.add_value(name);
        self.inputs.push(Input { name: name.into(), extents: extents.into(), value });
        Ok(value)
    }

    /// The inputs. [`Graph::INPUT`] is the first of them.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The input that holds a value, by its place.
    pub(crate) fn input(&self, id: ValueId) -> Option<usize> {
        self.inputs.iter().position(|input| input.value == id)
    }

    /// Whether a value is an output.
    pub(crate) fn is_output(&self, id: ValueId) -> bool {
        self.outputs.iter().any(|output| output.value == id)
    }

    /// The outputs. The first is the network's result.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The value of the network's result, which is its first output.
    pub fn output(&self) -> ValueId {
        self.outputs[0].value
    }

    /// Declares another value to be the result.
    pub fn set_output(&mut self, id: ValueId) {
        self.outputs[0].value = id;
    }

    /// Declares a value to be an output besides the result.
    ///
    /// # Errors
    /// [`Error::Model`] when an output has that name, or the value is not one of this graph.
    pub fn add_output(&mut self, name: &str, id: ValueId) -> Result<()> {
        if self.outputs.iter().any(|output| output.name == name) {
            return Err(Error::Model(format!("two outputs are named {name}; names must differ")));
        }
        if id.0 >= self.names.len() {
            return Err(Error::Model(format!("the output {name} is value {}, which does not exist", id.0)));
        }
        self.outputs.push(Output { name: name.into(), value: id, given: true });
        Ok(())
    }

    /// Declares all outputs, the result first, in place of those declared so far.
    ///
    /// # Errors
    /// [`Error::Model`] when there are none, names do not differ, a value is not one of this graph, or states are
    /// already declared.
    pub fn set_outputs(&mut self, outputs: &[(&str, ValueId)]) -> Result<()> {
        if outputs.is_empty() {
            return Err(Error::Model("a graph needs at least one output".into()));
        }
        if !self.carries.is_empty() {
            return Err(Error::Model("declare a graph's outputs before its states".into()));
        }
        let before = std::mem::take(&mut self.outputs);
        let declared = outputs.iter().try_for_each(|&(name, id)| self.add_output(name, id));
        if declared.is_err() {
            self.outputs = before;
        }
        declared
    }

    /// Declares a state: the output of one run is the input of the next, and zeros in the first. A caller never passes
    /// the input, and gets the output only on request. The input's extents are fixed or parts of the first input's.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Model`] when the input is the first, a state already, or of any
    /// extent.
    pub fn carry(&mut self, output: &str, input: &str) -> Result<()> {
        let from = self.output_named(output)?;
        let to = named("input", self.inputs.iter().map(|input| &*input.name), input)?;
        let refuse = |why| Err(Error::Model(format!("{output} cannot become {input}, which {why}")));
        match &self.inputs[to] {
            _ if to == 0 => return refuse("is the first input"),
            _ if self.is_state(to) => return refuse("is a state already"),
            taken if taken.extents.contains(&Extent::Any) => return refuse("does not tell all its extents"),
            _ => {}
        }
        self.carries.push((from, to));
        Ok(())
    }

    /// Makes an output the result: the first of them.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub(crate) fn set_result(&mut self, name: &str) -> Result<()> {
        let place = self.output_named(name)?;
        self.outputs[..=place].rotate_right(1);
        for (from, _) in &mut self.carries {
            *from = match *from {
                from if from == place => 0,
                from if from < place => from + 1,
                from => from,
            };
        }
        Ok(())
    }

    /// Makes an input a constant of the graph.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Shape`] when its extents are others; [`Error::Model`] for the first input and
    /// for a state.
    pub(crate) fn fix_input(&mut self, name: &str, value: Tensor) -> Result<()> {
        let place = named("input", self.inputs.iter().map(|input| &*input.name), name)?;
        if place == 0 || self.is_state(place) {
            let kind = if place == 0 { "the first input" } else { "a state" };
            return Err(Error::Model(format!("{name} is {kind}; no value can be fixed for it")));
        }
        let input = &self.inputs[place];
        if input.extents.iter().any(|extent| matches!(extent, Extent::Part(_))) {
            return Err(Error::Model(format!(
                "{name} has a part of the picture's size; no value can be fixed for it"
            )));
        }
        input.check(value.shape(), value.shape())?;
        let input = self.inputs.remove(place);
        self.carries.iter_mut().filter(|(_, to)| *to > place).for_each(|(_, to)| *to -= 1);
        let node = Node {
            name: input.name,
            op: Constant(value.into()).into(),
            inputs: Vec::new(),
            outputs: vec![input.value],
        };
        self.nodes.insert(0, node);
        Ok(())
    }

    fn output_named(&self, name: &str) -> Result<usize> {
        named("output", self.outputs.iter().map(|output| &*output.name), name)
    }

    /// The states: the output that each comes from and the input that it becomes.
    pub fn carries(&self) -> impl Iterator<Item = (&Output, &Input)> {
        self.carries.iter().map(|&(from, to)| (&self.outputs[from], &self.inputs[to]))
    }

    /// Whether an input, by its place, is a state.
    pub(crate) fn is_state(&self, input: usize) -> bool {
        self.carries.iter().any(|&(_, to)| to == input)
    }

    /// The inputs that a caller passes: all but the states.
    pub(crate) fn caller_inputs(&self) -> impl Iterator<Item = &Input> {
        self.inputs.iter().enumerate().filter(|(place, _)| !self.is_state(*place)).map(|(_, input)| input)
    }

    /// The outputs that a caller gets.
    pub(crate) fn caller_outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(|output| output.given)
    }

    /// Keeps the outputs of these names, in this order, and those that states come from. No name means the result alone.
    /// Drops the nodes that only other outputs need.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Usage`] for a name that is given twice.
    pub(crate) fn select(&mut self, names: &[String]) -> Result<()> {
        let mut kept = match names {
            [] => vec![0],
            _ => names.iter().map(|name| self.output_named(name)).collect::<Result<_>>()?,
        };
        let asked = kept.len();
        if let Some(twice) = (1..asked).find(|&i| kept[..i].contains(&kept[i])) {
            return Err(Error::Usage(format!("the output {} is asked for twice", names[twice])));
        }
        for (from, _) in &mut self.carries {
            let place = kept.iter().position(|kept| kept == from).unwrap_or_else(|| {
                kept.push(*from);
                kept.len() - 1
            });
            *from = place;
        }
        let output =
            |(place, &old): (usize, &usize)| Output { given: place < asked, ..self.outputs[old].clone() };
        self.outputs = kept.iter().enumerate().map(output).collect();
        self.prune();
        Ok(())
    }

    /// Replaces a value in all outputs.
    pub(crate) fn replace_output(&mut self, old: ValueId, new: ValueId) {
        self.outputs.iter_mut().filter(|output| output.value == old).for_each(|output| output.value = new);
    }

    /// The shapes of all inputs, from the shapes of the inputs that are no states, in order. Shapes at the end may be left
    /// out if they are fixed or parts of the first.
    ///
    /// # Errors
    /// [`Error::Shape`] names the input whose shape is missing or does not fit.
    pub fn input_shapes(&self, given: impl AsRef<[Shape]>) -> Result<Vec<Shape>> {
        let mut given = given.as_ref().iter().copied();
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.inputs.len());
        for (place, input) in self.inputs.iter().enumerate() {
            let first = shapes.first().copied();
            let follows = || match input.wanted(first) {
                [Some(n), Some(c), Some(h), Some(w)] => Some(Shape::new(n, c, h, w)),
                _ => None,
            };
            let shape = if self.is_state(place) { None } else { given.next() }.or_else(follows);
            let shape = shape.ok_or_else(|| Error::shape(input.what(), "its shape", "none"))?;
            shapes.push(input.check(shape, first.unwrap_or(shape))?);
        }
        match given.next() {
            Some(_) => Err(Error::shape("input shapes", self.caller_inputs().count(), "more")),
            None => Ok(shapes),
        }
    }
}
