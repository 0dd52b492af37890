//! The device of a session, and how the session is built.

#[cfg(doc)]
use super::Session;
use crate::gpu::Gpu;
use crate::optimize::Optimizations;
use crate::plan::{ConvKernel, InputFormat, OutputFormat, Precision, Tuning};
use std::sync::Arc;
use std::time::Duration;

/// Where a session runs.
#[derive(Debug, Clone)]
pub enum Device {
    /// All cores of the CPU, f32.
    #[cfg(feature = "cpu")]
    Cpu,
    /// A GPU.
    Gpu(Gpu),
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Device {
        Device::Gpu(gpu)
    }
}

/// How a session is built.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionOptions {
    /// How numbers are stored on a GPU.
    pub precision: Precision,
    /// Which graph rewrites run.
    pub optimizations: Optimizations,
    /// Which kernel computes dense convolutions on a GPU.
    pub conv: ConvKernel,
    /// Kernel choices measured on this GPU, as [`Tuning::load`] reads them. `None` means the default rule.
    pub tuning: Option<Arc<Tuning>>,
    /// Format of the input. [`Session::run`] takes planar tensors only, [`Session::run_bytes`] all formats.
    pub input: InputFormat,
    /// Format of the result.
    pub output: OutputFormat,
    /// Most bytes of device memory. A session that needs more is refused.
    pub max_memory: Option<u64>,
    /// Longest time that a blocking run may take.
    pub timeout: Duration,
    /// Keeps every value in memory of its own, so that [`Session::value`] can read it.
    pub keep_values: bool,
    /// Names of the outputs to compute. [`Session::run`] returns the first. Empty means the network's result alone. What
    /// only other outputs need is not computed.
    pub outputs: Vec<String>,
}

setters!(SessionOptions {
    with_precision(precision: Precision),
    with_optimizations(optimizations: Optimizations),
    with_conv(conv: ConvKernel),
    with_tuning(tuning: Option<Arc<Tuning>>),
    with_input(input: InputFormat),
    with_output(output: OutputFormat),
    with_max_memory(max_memory: Option<u64>),
    with_timeout(timeout: Duration),
    with_keep_values(keep_values: bool),
});

impl SessionOptions {
    /// The same with these [`outputs`](Self::outputs), such as `["mask", "edges"]`.
    #[must_use]
    pub fn with_outputs<S: Into<String>>(mut self, outputs: impl IntoIterator<Item = S>) -> Self {
        self.outputs = outputs.into_iter().map(S::into).collect();
        self
    }
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            precision: Precision::F32,
            optimizations: Optimizations::default(),
            conv: ConvKernel::Auto,
            tuning: None,
            input: InputFormat::Planar,
            output: OutputFormat::Planar,
            max_memory: None,
            timeout: Duration::from_secs(300),
            keep_values: false,
            outputs: Vec::new(),
        }
    }
}
