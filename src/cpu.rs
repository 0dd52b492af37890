//! Runs a graph on the CPU: the reference for every GPU result, and the path without a GPU.

use crate::error::{Error, Result};
use crate::graph::{Graph, Node, Op, Prepared, ValueId};
use crate::tensor::{Shape, Tensor};
use std::borrow::Cow;

/// Runs a graph with one input and returns its result.
///
/// # Errors
/// [`Error::Shape`] if the input does not match the graph, or if the graph has other inputs.
pub fn run(graph: &Graph, input: &Tensor) -> Result<Tensor> {
    Ok(run_with(graph, &[input])?.swap_remove(0))
}

/// Runs a graph with one tensor for each input except states, which are zero. Returns its outputs. Both are in order.
///
/// # Errors
/// [`Error::Shape`] names the input that is missing or does not match.
pub fn run_with(graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let shapes: Vec<Shape> = inputs.iter().map(|input| input.shape()).collect();
    Runner::reference(graph, &shapes)?.run(graph, inputs, &mut |_, _| {})
}

/// The least memory of a run in bytes: the weights, their transforms for Winograd, and at the widest node all values
/// that are still to be read.
pub(crate) fn bytes(graph: &Graph, inputs: &[Shape]) -> Result<u64> {
    let shapes = graph.shapes(inputs)?;
    let bytes = |id: ValueId| shapes[id.index()].map_or(0, |s| (s.elements() as u64).saturating_mul(4));
    let sum = |ids: &mut dyn Iterator<Item = ValueId>| ids.map(bytes).fold(0, u64::saturating_add);
    let mut live = sum(&mut graph.inputs().iter().map(|input| input.value));
    let mut widest = live;
    for (node, dead) in graph.nodes().iter().zip(last_used(graph)) {
        live = live.saturating_add(sum(&mut node.outputs.iter().copied()));
        widest = widest.max(live);
        live = live.saturating_sub(sum(&mut dead.into_iter().filter(|&id| graph.input(id).is_none())));
    }
    let transformed = |node: &Node| match &node.op {
        Op::Conv(conv) if conv.kernel() == [3, 3] && conv.stride == [1, 1] => 4 * conv.weight.data().len(),
        _ => 0,
    };
    let weights = graph.parameters() + graph.nodes().iter().map(transformed).sum::<usize>();
    Ok(widest.saturating_add((weights as u64).saturating_mul(4)))
}

/// For each node, the values that no later node reads.
fn last_used(graph: &Graph) -> Vec<Vec<ValueId>> {
    let mut seen: Vec<bool> =
        graph.outputs().iter().fold(vec![false; graph.names.len()], |mut kept, output| {
            kept[output.value.index()] = true;
            kept
        });
    let dead = |node: &Node| {
        let touched = node.inputs.iter().chain(&node.outputs);
        touched.copied().filter(|id| !std::mem::replace(&mut seen[id.index()], true)).collect()
    };
    let mut dead: Vec<Vec<ValueId>> = graph.nodes().iter().rev().map(dead).collect();
    dead.reverse();
    dead
}

/// Runs a graph at one size repeatedly. Keeps its buffers and states.
pub(crate) struct Runner {
    shapes: Vec<Option<Shape>>,
    last_used: Vec<Vec<ValueId>>,
    /// The states, in the order of [`Graph::carries`].
    states: Vec<Tensor>,
    /// Buffers of values that are no longer needed, for reuse.
    spare: Vec<Vec<f32>>,
    /// Faster implementations of some nodes; none in the reference.
    prepared: Vec<Option<Prepared>>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("shapes", &self.shapes).finish_non_exhaustive()
    }
}

impl Runner {
    /// A runner that computes each operator in the simplest exact way.
    pub(crate) fn reference(graph: &Graph, inputs: &[Shape]) -> Result<Runner> {
        let shapes = graph.shapes(inputs)?;
        let zeros = |id: ValueId| shapes[id.index()].map(Tensor::zeros);
        Ok(Runner {
            states: graph.carries().filter_map(|(_, input)| zeros(input.value)).collect(),
            last_used: last_used(graph),
            shapes,
            spare: Vec::new(),
            prepared: graph.nodes().iter().map(|_| None).collect(),
        })
    }

    /// A runner that computes each operator in the fastest way.
    pub(crate) fn fast(graph: &Graph, inputs: &[Shape]) -> Result<Runner> {
        let mut runner = Runner::reference(graph, inputs)?;
        let prepare = |node: &Node| node.op.rules().prepare(&node.output_shapes(&runner.shapes));
        runner.prepared = graph.nodes().iter().map(prepare).collect();
        Ok(runner)
    }

    /// Sets all states to zero.
    pub(crate) fn reset(&mut self) {
        self.states.iter_mut().for_each(|state| state.data_mut().fill(0.0));
    }

    /// Runs once with one tensor for each input except states. Returns the requested outputs. `observe` gets every
    /// value as soon as it is made.
    pub(crate) fn run(
        &mut self,
        graph: &Graph,
        inputs: &[&Tensor],
        observe: &mut dyn FnMut(ValueId, &Tensor),
    ) -> Result<Vec<Tensor>> {
        let mut values: Vec<Option<Cow<'_, Tensor>>> = vec![None; self.shapes.len()];
        let mut inputs = inputs.iter();
        for input in graph.caller_inputs() {
            let tensor = inputs.next().ok_or_else(|| Error::shape(input.what(), "a tensor", "none"))?;
            match self.shapes[input.value.index()] {
                Some(shape) if shape != tensor.shape() => {
                    return Err(Error::shape(input.what(), shape, tensor.shape()));
                }
                _ => values[input.value.index()] = Some(Cow::Borrowed(tensor)),
            }
        }
        if inputs.next().is_some() {
            let expected = format!("{} tensors", graph.caller_inputs().count());
            return Err(Error::shape("inputs", expected, "more"));
        }
        for ((_, input), state) in graph.carries().zip(&self.states) {
            values[input.value.index()] = Some(Cow::Borrowed(state));
        }
        for input in graph.inputs() {
            observe(input.value, values[input.value.index()].as_ref().expect("set above"));
        }
        let ways = self.last_used.iter().zip(&self.prepared);
        for (node, (dead, prepared)) in graph.nodes().iter().zip(ways) {
            let mut outputs: Vec<Tensor> =
                node.output_shapes(&self.shapes).into_iter().map(|s| tensor(&mut self.spare, s)).collect();
            let inputs: Vec<&Tensor> =
                node.inputs.iter().map(|&id| &**values[id.index()].as_ref().expect("made earlier")).collect();
            match prepared {
                Some(compute) => compute(&inputs, &mut outputs),
                None => node.op.rules().cpu(&inputs, &mut outputs),
            }
            for (&id, value) in node.outputs.iter().zip(outputs) {
                observe(id, &value);
                values[id.index()] = Some(Cow::Owned(value));
            }
            let spare = dead.iter().filter_map(|id| match values[id.index()].take() {
                Some(Cow::Owned(tensor)) => Some(tensor.into_data()),
                _ => None,
            });
            self.spare.extend(spare);
        }
        let mut left = vec![0; self.shapes.len()];
        let from = graph.carries().map(|(output, _)| output);
        from.chain(graph.caller_outputs()).for_each(|output| left[output.value.index()] += 1);
        let mut take = |id: ValueId| {
            left[id.index()] -= 1;
            let value = &mut values[id.index()];
            let value = if left[id.index()] == 0 { value.take() } else { value.clone() };
            value.expect("every output was made").into_owned()
        };
        let states: Vec<Tensor> = graph.carries().map(|(output, _)| take(output.value)).collect();
        let given = graph.caller_outputs().map(|output| take(output.value)).collect();
        drop(values);
        for (state, next) in self.states.iter_mut().zip(states) {
            self.spare.push(std::mem::replace(state, next).into_data());
        }
        Ok(given)
    }
}

/// A tensor in the smallest spare buffer that can hold it, or else in a new one. Its elements are not cleared.
fn tensor(spare: &mut Vec<Vec<f32>>, shape: Shape) -> Tensor {
    let elements = shape.elements();
    let fitting =
        (0..spare.len()).filter(|&i| spare[i].capacity() >= elements).min_by_key(|&i| spare[i].capacity());
    let mut data = fitting.map(|i| spare.swap_remove(i)).unwrap_or_default();
    data.resize(elements, 0.0);
    Tensor::new(shape, data).expect("the length was just set")
}
