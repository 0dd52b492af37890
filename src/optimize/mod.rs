//! Graph rewrites, one file each. Every rewrite keeps the result within rounding, keeps the ids and shapes of the
//! values that survive, and can be switched off.
//!
//! To add one, write a file with `apply`, which tries to change the graph at one node, given the shapes of all values,
//! and add an entry to the list below. `editor.rs` calls it for each node and offers what it may do.

mod editor;
mod fold_batch_norm;
mod fold_pad;
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
use editor::Editor;

/// The devices on which a rewrite pays.
#[cfg(feature = "cpu")]
enum Pays {
    Everywhere,
    OnGpu,
}

macro_rules! rewrites {
    ($($(#[$doc:meta])* $name:ident: $pays:ident),* $(,)?) => {
        /// Which rewrites run; by default all. With [`none`](Self::none) every layer runs by itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Optimizations {
            $($(#[$doc])* pub $name: bool),*
        }

        impl Optimizations {
            /// The names of the rewrites, in execution order.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            const fn all(on: bool) -> Optimizations {
                Optimizations { $($name: on),* }
            }

            /// The same rewrites without those that pay only on a GPU.
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
                    Editor::run(graph, shapes, $name::apply);
                })*
            }
        }
    };
}

// Rewrites in execution order. Each works on the result of those before it.
rewrites! {
    /// Removes pads and crops that change nothing at this size, and other operators that do nothing.
    remove_identity: Everywhere,
    /// Moves pads into the convolution or max pool that reads them.
    fold_pad: Everywhere,
    /// Replaces functions and norms that were written as several nodes by one operator.
    fuse_composites: Everywhere,
    /// Folds a scale and shift for each channel into the convolution, norm or scale and shift before it.
    fold_batch_norm: Everywhere,
    /// Applies activations in the kernel that makes their input.
    fuse_activation: Everywhere,
    /// Lets convolutions read the parts of a concatenation, which is then not made.
    fuse_concat: Everywhere,
    /// Computes a 2x2 max pool in the convolution before it.
    fuse_pool: Everywhere,
    /// Computes a final 1x1 convolution to a few channels in the convolution before it. Sessions on the CPU leave it
    /// out, because the CPU would still store the map between the two.
    fuse_head: OnGpu,
    /// Adds another tensor in the convolution or norm that makes its input.
    fuse_sum: Everywhere,
    /// Merges consecutive pointwise operators into one.
    fuse_pointwise: Everywhere,
}

impl Default for Optimizations {
    fn default() -> Optimizations {
        Optimizations::all(true)
    }
}

impl Optimizations {
    /// No rewrites.
    pub const fn none() -> Optimizations {
        Optimizations::all(false)
    }

    /// Switches the rewrite with that name (one of [`NAMES`](Self::NAMES)) on or off.
    ///
    /// # Errors
    /// [`Error::Usage`] with all names, if no rewrite has that name.
    pub fn set(&mut self, name: &str, on: bool) -> Result<()> {
        let names = Self::NAMES.join(", ");
        let unknown = || Error::Usage(format!("there is no rewrite {name}; the rewrites are: {names}"));
        *self.switch(name).ok_or_else(unknown)? = on;
        Ok(())
    }
}

/// Applies the chosen rewrites to the graph, for inputs of these shapes, as [`Graph::input_shapes`] takes them.
///
/// # Errors
/// [`Error::Shape`] if the graph does not take those shapes.
pub fn optimize(graph: &Graph, inputs: impl AsRef<[Shape]>, which: &Optimizations) -> Result<Graph> {
    let shapes = graph.shapes(inputs)?;
    let mut graph = graph.clone();
    which.apply(&mut graph, &shapes);
    Ok(graph)
}
