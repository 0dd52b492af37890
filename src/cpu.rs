//! Runs a graph on the CPU: the reference for every GPU result, and the path where there is no GPU.

use crate::error::{Error, Result};
use crate::graph::{Graph, Node, Op, Prepared, ValueId};
use crate::tensor::{Shape, Tensor};

/// Runs the graph and returns its result.
pub fn run(graph: &Graph, input: &Tensor) -> Result<Tensor> {
    Runner::reference(graph, input.shape())?.run(graph, input, &mut |_, _| {})
}

/// Bytes that a run needs at least: the weights, those transformed for Winograd once more, and at the widest node all
/// values that are still to be read.
pub(crate) fn bytes(graph: &Graph, input: Shape) -> Result<u64> {
    let shapes = graph.shapes(input)?;
    let bytes = |id: ValueId| shapes[id.index()].map_or(0, |s| (s.elements() as u64).saturating_mul(4));
    let mut last_read = vec![0; shapes.len()];
    for (step, node) in graph.nodes().iter().enumerate() {
        node.inputs.iter().for_each(|id| last_read[id.index()] = step);
    }
    let (mut live, mut widest) = (bytes(Graph::INPUT), 0);
    for (step, node) in graph.nodes().iter().enumerate() {
        live += node.outputs.iter().map(|&id| bytes(id)).sum::<u64>();
        widest = widest.max(live);
        let mut dead: Vec<ValueId> = node.inputs.iter().chain(&node.outputs).copied().collect();
        dead.sort();
        dead.dedup();
        dead.retain(|id| last_read[id.index()] <= step && *id != Graph::INPUT && *id != graph.output());
        live -= dead.into_iter().map(bytes).sum::<u64>();
    }
    let transformed = |node: &Node| match &node.op {
        Op::Conv(conv) if conv.kernel() == [3, 3] && conv.stride == [1, 1] => 4 * conv.weight.data().len(),
        _ => 0,
    };
    let weights = graph.parameters() + graph.nodes().iter().map(transformed).sum::<usize>();
    Ok(widest.saturating_add(weights as u64 * 4))
}

/// Runs a graph at one input shape again and again, keeping its buffers.
pub(crate) struct Runner {
    shapes: Vec<Option<Shape>>,
    /// For each node, the values that nothing reads after it.
    last_used: Vec<Vec<ValueId>>,
    /// Elements of values that are dead, to be used again.
    spare: Vec<Vec<f32>>,
    /// Faster ways to compute some of the nodes; none in the reference.
    prepared: Vec<Option<Prepared>>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("shapes", &self.shapes).finish_non_exhaustive()
    }
}

impl Runner {
    /// A runner that computes each operator by its plainest exact way.
    pub(crate) fn reference(graph: &Graph, input: Shape) -> Result<Runner> {
        let shapes = graph.shapes(input)?;
        let last_used = (0..graph.nodes().len())
            .map(|i| {
                let node = &graph.nodes()[i];
                let later = |id: &&ValueId| {
                    **id != graph.output() && !graph.nodes()[i + 1..].iter().any(|n| n.inputs.contains(id))
                };
                let mut dead: Vec<_> =
                    node.inputs.iter().chain(&node.outputs).filter(later).copied().collect();
                dead.sort();
                dead.dedup();
                dead
            })
            .collect();
        let prepared = graph.nodes().iter().map(|_| None).collect();
        Ok(Runner { shapes, last_used, spare: Vec::new(), prepared })
    }

    /// A runner that computes each operator by its fastest way.
    pub(crate) fn fast(graph: &Graph, input: Shape) -> Result<Runner> {
        let mut runner = Runner::reference(graph, input)?;
        let prepare = |node: &Node| node.op.rules().prepare(&node.output_shapes(&runner.shapes));
        runner.prepared = graph.nodes().iter().map(prepare).collect();
        Ok(runner)
    }

    /// Runs once. `observe` sees every value as soon as it is made.
    pub(crate) fn run(
        &mut self,
        graph: &Graph,
        input: &Tensor,
        observe: &mut dyn FnMut(ValueId, &Tensor),
    ) -> Result<Tensor> {
        if Some(input.shape()) != self.shapes[Graph::INPUT.index()] {
            return Err(Error::shape("input", format!("{:?}", self.shapes[0]), input.shape()));
        }
        let mut values: Vec<Option<Tensor>> = vec![None; self.shapes.len()];
        observe(Graph::INPUT, input);
        let ways = self.last_used.iter().zip(&self.prepared);
        for (node, (dead, prepared)) in graph.nodes().iter().zip(ways) {
            let mut outputs: Vec<Tensor> =
                node.output_shapes(&self.shapes).into_iter().map(|s| tensor(&mut self.spare, s)).collect();
            let inputs: Vec<&Tensor> = node
                .inputs
                .iter()
                .map(|&id| {
                    if id == Graph::INPUT {
                        input
                    } else {
                        values[id.index()].as_ref().expect("made earlier")
                    }
                })
                .collect();
            match prepared {
                Some(compute) => compute(&inputs, &mut outputs),
                None => node.op.rules().cpu(&inputs, &mut outputs),
            }
            for (&id, value) in node.outputs.iter().zip(outputs) {
                observe(id, &value);
                values[id.index()] = Some(value);
            }
            let spare = dead.iter().filter_map(|id| values[id.index()].take()).map(Tensor::into_data);
            self.spare.extend(spare);
        }
        let result = values[graph.output().index()].take();
        Ok(result.unwrap_or_else(|| input.clone()))
    }
}

/// A tensor in the smallest spare buffer that holds it, else in a new one. Its elements are not cleared.
fn tensor(spare: &mut Vec<Vec<f32>>, shape: Shape) -> Tensor {
    let elements = shape.elements();
    let fitting =
        (0..spare.len()).filter(|&i| spare[i].capacity() >= elements).min_by_key(|&i| spare[i].capacity());
    let mut data = fitting.map(|i| spare.swap_remove(i)).unwrap_or_default();
    data.resize(elements, 0.0);
    Tensor::new(shape, data).expect("the length was just set")
}
