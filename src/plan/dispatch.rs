//! One kernel run, and the buffers that it binds.

use crate::plan::Kernel;

/// Where a binding's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Store {
    /// An input that a caller gives, in its format: one of [`Plan::inputs`](crate::plan::Plan::inputs).
    Input(usize),
    /// An output that a caller gets, in its format: one of [`Plan::outputs`](crate::plan::Plan::outputs).
    Output(usize),
    /// One of [`Plan::activations`](crate::plan::Plan::activations).
    Activations(usize),
    /// One of [`Plan::weights`](crate::plan::Plan::weights).
    Weights(usize),
}

/// A buffer range bound by a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// `@binding` number.
    pub slot: u32,
    /// The buffer.
    pub store: Store,
    /// Offset in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Whether the kernel writes it.
    pub written: bool,
}

/// One kernel run.
#[derive(Debug, Clone)]
pub struct Dispatch<B = Binding> {
    /// The layer it belongs to.
    pub label: String,
    /// The kernel.
    pub kernel: Kernel,
    /// Number of workgroups along each axis.
    pub grid: [u32; 3],
    /// The kernel's `Params`, in order.
    pub params: Vec<(&'static str, u32)>,
    /// Buffers besides the params.
    pub bindings: Vec<B>,
    /// Multiplications and additions.
    pub flops: u64,
    /// Most loop iterations of one lane.
    pub loops: u64,
    /// Workgroup memory, bytes.
    pub workgroup_memory: u32,
}

impl<B> Dispatch<B> {
    /// The same with other bindings.
    pub(super) fn bind<C>(&self, binding: impl FnMut(&B) -> C) -> Dispatch<C> {
        Dispatch {
            label: self.label.clone(),
            kernel: self.kernel.clone(),
            grid: self.grid,
            params: self.params.clone(),
            bindings: self.bindings.iter().map(binding).collect(),
            flops: self.flops,
            loops: self.loops,
            workgroup_memory: self.workgroup_memory,
        }
    }
}

impl Dispatch {
    /// Bytes of all bound ranges.
    pub fn bytes(&self) -> u64 {
        self.bindings.iter().map(|b| b.bytes).sum()
    }
}
