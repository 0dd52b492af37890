//! Graph to graph rewrites, one file each. Every rewrite keeps the result within rounding, keeps the ids and shapes of
//! the values that survive, and can be switched off.
//!
//! To add one: a file with `apply`, which takes the graph and the shapes of its values, and an entry in the list below.

mod fold_batch_norm;
mod fuse_activation;
mod fuse_composites;
mod fuse_concat;
mod fuse_head;
mod fuse_pointwise;
mod fuse_pool;
mod fuse_sum;
mod remove_identity;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::tensor::Shape;

/// Where a rewrite pays.
#[cfg(feature = "cpu")]
enum Pays {
    Everywhere,
    OnGpu,
}

macro_rules! rewrites {
    ($($(#[$doc:meta])* $name:ident: $pays:ident),* $(,)?) => {
        /// Which rewrites run. All of them by default; with [`none`](Self::none) every layer is its own pipeline.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Optimizations {
            $($(#[$doc])* pub $name: bool),*
        }

        impl Optimizations {
            /// The names of the rewrites, in the order in which they run.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            const fn all(on: bool) -> Optimizations {
                Optimizations { $($name: on),* }
            }

            /// These, without the ones that pay only on a GPU.
            #[cfg(feature = "cpu")]
            pub(crate) fn on_cpu(self) -> Optimizations {
                Optimizations { $($name: self.$name && matches!(Pays::$pays, Pays::Everywhere)),* }
            }

            fn switch(&mut self, name: &str) -> Option<&mut bool> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }

            fn apply(&self, graph: &mut Graph, shapes: &[Option<Shape>]) {
                $(if self.$name {
                    $name::apply(graph, shapes);
                })*
            }
        }
    };
}

// Rewrites in the order in which they run: each finds what those before it left.
rewrites! {
    /// Drop pads and crops that change nothing at this size, and other operators that do nothing.
    remove_identity: Everywhere,
    /// Make one operator of functions and norms that were spelled out.
    fuse_composites: Everywhere,
    /// Fold per-channel scale and shift into the convolution, norm or scale and shift before it.
    fold_batch_norm: Everywhere,
    /// Apply activations in the kernel that makes their input.
    fuse_activation: Everywhere,
    /// Let convolutions read the parts of a concatenation, which is then never made.
    fuse_concat: Everywhere,
    /// Make a 2x2 max pool in the convolution before it.
    fuse_pool: Everywhere,
    /// Compute a closing 1x1 convolution to a few channels in the convolution before it. A session on the CPU leaves
    /// it out: the CPU would still store the map between the two.
    fuse_head: OnGpu,
    /// Add another tensor in the convolution that makes its input.
    fuse_sum: Everywhere,
    /// Make one operator of pointwise operators that follow each other.
    fuse_pointwise: Everywhere,
}

impl Default for Optimizations {
    fn default() -> Optimizations {
        Optimizations::all(true)
    }
}

impl Optimizations {
    /// No rewrite at all.
    pub const fn none() -> Optimizations {
        Optimizations::all(false)
    }

    /// Switches the rewrite of that name (one of [`NAMES`](Self::NAMES)) on or off.
    ///
    /// # Errors
    /// [`Error::Usage`], with all names, when no rewrite has that name.
    pub fn set(&mut self, name: &str, on: bool) -> Result<()> {
        let names = Self::NAMES.join(", ");
        let unknown = || Error::Usage(format!("there is no rewrite {name}; the rewrites are: {names}"));
        *self.switch(name).ok_or_else(unknown)? = on;
        Ok(())
    }
}

/// The graph with the chosen rewrites applied, for one input shape.
///
/// # Errors
/// [`Error::Shape`] when the graph does not take that shape.
pub fn optimize(graph: &Graph, input: Shape, which: &Optimizations) -> Result<Graph> {
    let shapes = graph.shapes(input)?;
    let mut graph = graph.clone();
    which.apply(&mut graph, &shapes);
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
