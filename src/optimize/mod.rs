//! Graph to graph rewrites, one file each. Every rewrite keeps the result within rounding, keeps the ids of the
//! values that survive, and can be switched off.

mod fold_batch_norm;
mod fuse_activation;
mod fuse_composites;
mod fuse_concat;
mod fuse_head;
mod fuse_pointwise;
mod fuse_pool;
mod fuse_sum;
mod remove_identity;

use crate::error::Result;
use crate::graph::Graph;
use crate::tensor::Shape;

/// Which rewrites run. All of them by default; with [`none`](Self::none) every layer is its own pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Optimizations {
    /// Drop pads and crops that change nothing at this size.
    pub remove_identity: bool,
    /// Make one operator of functions and norms that were spelled out.
    pub fuse_composites: bool,
    /// Fold per-channel scale and shift into the convolution, norm or scale and shift before it.
    pub fold_batch_norm: bool,
    /// Apply activations in the kernel that makes their input.
    pub fuse_activation: bool,
    /// Let convolutions read the parts of a concatenation, which is then never made.
    pub fuse_concat: bool,
    /// Make a 2x2 max pool in the convolution before it.
    pub fuse_pool: bool,
    /// Compute a closing 1x1 convolution to a few channels in the convolution before it.
    pub fuse_head: bool,
    /// Add another tensor in the convolution that makes its input.
    pub fuse_sum: bool,
    /// Make one operator of pointwise operators that follow each other.
    pub fuse_pointwise: bool,
}

impl Default for Optimizations {
    fn default() -> Optimizations {
        Optimizations {
            remove_identity: true,
            fuse_composites: true,
            fold_batch_norm: true,
            fuse_activation: true,
            fuse_concat: true,
            fuse_pool: true,
            fuse_head: true,
            fuse_sum: true,
            fuse_pointwise: true,
        }
    }
}

impl Optimizations {
    /// No rewrite at all.
    pub const fn none() -> Optimizations {
        Optimizations {
            remove_identity: false,
            fuse_composites: false,
            fold_batch_norm: false,
            fuse_activation: false,
            fuse_concat: false,
            fuse_pool: false,
            fuse_head: false,
            fuse_sum: false,
            fuse_pointwise: false,
        }
    }
}

/// The graph with the chosen rewrites applied, for one input shape.
pub fn optimize(graph: &Graph, input: Shape, which: &Optimizations) -> Result<Graph> {
    let mut graph = graph.clone();
    if which.remove_identity {
        let shapes = graph.shapes(input)?;
        remove_identity::apply(&mut graph, &shapes);
    }
    if which.fuse_composites {
        let shapes = graph.shapes(input)?;
        fuse_composites::apply(&mut graph, &shapes);
    }
    if which.fold_batch_norm {
        fold_batch_norm::apply(&mut graph);
    }
    if which.fuse_activation {
        fuse_activation::apply(&mut graph);
    }
    if which.fuse_concat {
        fuse_concat::apply(&mut graph);
    }
    if which.fuse_pool {
        fuse_pool::apply(&mut graph);
    }
    if which.fuse_head {
        fuse_head::apply(&mut graph);
    }
    if which.fuse_sum {
        let shapes = graph.shapes(input)?;
        fuse_sum::apply(&mut graph, &shapes);
    }
    if which.fuse_pointwise {
        let shapes = graph.shapes(input)?;
        fuse_pointwise::apply(&mut graph, &shapes);
    }
    Ok(graph)
}

/// Merges node `second` into `first`, which feeds it alone: `first` now makes what `second` made.
fn absorb(graph: &mut Graph, first: usize, second: usize) {
    let made = graph.nodes.remove(second).outputs[0];
    graph.nodes[first].outputs[0] = made;
}

/// The node that makes the only input of `node`, when nothing else reads that value.
fn sole_producer(graph: &Graph, node: usize) -> Option<usize> {
    let [input] = graph.nodes[node].inputs[..] else { return None };
    let producer = graph.producer(input)?;
    (graph.uses(input) == 1 && graph.nodes[producer].outputs.len() == 1).then_some(producer)
}
