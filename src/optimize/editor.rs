//! A graph that a rewrite is changing.

use crate::graph::{Graph, Node, Op, ValueId};
use crate::tensor::Shape;

/// A rewrite at one node. Returns whether it changed the graph. It may change the node, those before it, and the
/// readers of what it makes.
pub(super) type Rewrite = fn(&mut Editor<'_>, &[Option<Shape>], usize) -> bool;

/// A graph while a rewrite changes it. Nodes keep their positions until the end, so tables can tell which nodes make
/// and read a value; a removed node stays as one that makes nothing.
pub(super) struct Editor<'g> {
    graph: &'g mut Graph,
    /// For each value, the node that makes it.
    makers: Vec<Option<usize>>,
    /// For each value, all nodes that read it, and some that no longer do.
    readers: Vec<Vec<usize>>,
    /// For each value, the number of reads, and of outputs that it is.
    uses: Vec<usize>,
}

impl<'g> Editor<'g> {
    /// Applies a rewrite to each node in order, as often as it changes something, and drops what nothing needs any
    /// more.
    pub(super) fn run(graph: &'g mut Graph, shapes: &[Option<Shape>], rewrite: Rewrite) {
        let (makers, uses) = (graph.producers(), graph.all_uses());
        let mut readers = vec![Vec::new(); uses.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|id| readers[id.index()].push(i));
        }
        let mut editor = Editor { graph, makers, readers, uses };
        for i in 0..editor.graph.nodes.len() {
            while !editor.node(i).outputs.is_empty() && rewrite(&mut editor, shapes, i) {}
        }
        editor.graph.prune();
    }

    pub(super) fn graph(&self) -> &Graph {
        self.graph
    }

    pub(super) fn node(&self, i: usize) -> &Node {
        &self.graph.nodes[i]
    }

    pub(super) fn op_mut(&mut self, i: usize) -> &mut Op {
        &mut self.graph.nodes[i].op
    }

    /// The node that makes a value; `None` for an input.
    pub(super) fn maker(&self, id: ValueId) -> Option<usize> {
        self.makers[id.index()]
    }

    /// How many nodes read a value; an output counts as one more.
    pub(super) fn uses(&self, id: ValueId) -> usize {
        self.uses[id.index()]
    }

    /// The nodes that read a value; one that reads it twice may come twice.
    pub(super) fn readers(&self, id: ValueId) -> impl Iterator<Item = &Node> {
        self.readers[id.index()].iter().map(|&i| self.node(i)).filter(move |node| node.inputs.contains(&id))
    }

    /// The node that makes the only input of a node, if nothing else reads that value.
    pub(super) fn sole_maker(&self, i: usize) -> Option<usize> {
        let [input] = self.node(i).inputs[..] else { return None };
        let maker = self.maker(input)?;
        (self.uses(input) == 1 && self.node(maker).outputs.len() == 1).then_some(maker)
    }

    pub(super) fn set_inputs(&mut self, i: usize, inputs: Vec<ValueId>) {
        for &id in &inputs {
            self.uses[id.index()] += 1;
            self.readers[id.index()].push(i);
        }
        for id in std::mem::replace(&mut self.graph.nodes[i].inputs, inputs) {
            self.uses[id.index()] -= 1;
        }
    }

    /// Lets a node compute something else, of other inputs and under another name, for the same outputs.
    pub(super) fn set_node(&mut self, i: usize, name: &str, op: Op, inputs: Vec<ValueId>) {
        self.set_inputs(i, inputs);
        let node = &mut self.graph.nodes[i];
        (node.name, node.op) = (name.into(), op);
    }

    /// Lets a node make these values, which no other node makes.
    pub(super) fn set_outputs(&mut self, i: usize, outputs: Vec<ValueId>) {
        outputs.iter().for_each(|id| self.makers[id.index()] = Some(i));
        self.graph.nodes[i].outputs = outputs;
    }

    /// Removes a node and returns what it made.
    pub(super) fn remove(&mut self, i: usize) -> Vec<ValueId> {
        self.set_inputs(i, Vec::new());
        let outputs = std::mem::take(&mut self.graph.nodes[i].outputs);
        outputs.iter().for_each(|id| self.makers[id.index()] = None);
        outputs
    }

    /// Merges node `second` into `first`, the only one that makes what it reads: `first` then makes its output.
    pub(super) fn absorb(&mut self, first: usize, second: usize) {
        let made = self.remove(second);
        self.set_outputs(first, made);
    }

    /// Lets all readers of a value take others in its place, and outputs the first of these.
    pub(super) fn replace(&mut self, old: ValueId, new: &[ValueId]) {
        for i in std::mem::take(&mut self.readers[old.index()]) {
            let inputs = self
                .node(i)
                .inputs
                .iter()
                .flat_map(|id| if *id == old { new } else { std::slice::from_ref(id) });
            let inputs = inputs.copied().collect();
            self.set_inputs(i, inputs);
        }
        self.graph.replace_output(old, new[0]);
        self.uses[new[0].index()] += std::mem::take(&mut self.uses[old.index()]);
    }
}
