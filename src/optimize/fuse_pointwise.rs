//! Moves a pointwise operator into the only pointwise operator that reads it. The value between them is not stored.

use super::Editor;
use crate::graph::{Pointwise, Source, ValueId};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Editor<'_>, shapes: &[Option<Shape>], i: usize) -> bool {
    let merged = graph.node(i).inputs.iter().find_map(|&id| merged(graph, shapes, i, id));
    let Some((maker, pointwise, inputs)) = merged else { return false };
    *graph.op_mut(i) = pointwise.into();
    graph.set_inputs(i, inputs);
    graph.remove(maker);
    true
}

/// The producer of one of a node's inputs, with both merged into one expression, and the inputs of that expression.
fn merged(
    graph: &Editor<'_>,
    shapes: &[Option<Shape>],
    reader: usize,
    via: ValueId,
) -> Option<(usize, Pointwise, Vec<ValueId>)> {
    let reader = graph.node(reader);
    let second = Pointwise::of(&reader.op)?;
    let maker = graph.maker(via)?;
    let first = Pointwise::of(&graph.node(maker).op)?;
    let reads = reader.inputs.iter().filter(|&&id| id == via).count();
    // A broadcast value would be computed again for each position.
    if graph.uses(via) != reads || shapes[via.index()] != shapes[reader.outputs[0].index()] {
        return None;
    }
    let made = first.steps.len();
    let mut inputs = Vec::new();
    let mut steps = Vec::new();
    for (part, node, offset) in [(first, graph.node(maker), 0), (second, reader, made)] {
        for mut step in part.steps {
            for source in step.sources() {
                *source = match *source {
                    Source::Input(i) if node.inputs[i] == via => Source::Step(made - 1),
                    Source::Input(i) => Source::Input(place(&mut inputs, node.inputs[i])),
                    Source::Step(i) => Source::Step(i + offset),
                };
            }
            steps.push(step);
        }
    }
    let fits = inputs.len() <= Pointwise::MAX_INPUTS && steps.len() <= Pointwise::MAX_STEPS;
    fits.then_some((maker, Pointwise { steps }, inputs))
}

/// The index of a value among the inputs, each of which occurs once.
fn place(inputs: &mut Vec<ValueId>, id: ValueId) -> usize {
    inputs.iter().position(|&input| input == id).unwrap_or_else(|| {
        inputs.push(id);
        inputs.len() - 1
    })
}
