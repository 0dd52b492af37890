//! Choices of a plan that are not the device's.

use crate::plan::{ConvKernel, InputFormat, OutputFormat, Precision, Tuning};
use std::sync::Arc;

/// Choices of a plan that are not the device's.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PlanOptions {
    /// How numbers are stored.
    pub precision: Precision,
    /// Largest device memory in bytes. Plans that need more are refused.
    pub max_memory: Option<u64>,
    /// Keeps every value to the end, so each can be read back.
    pub keep_values: bool,
    /// Which kernel computes dense convolutions.
    pub conv: ConvKernel,
    /// Format of the input.
    pub input: InputFormat,
    /// Format of the result.
    pub output: OutputFormat,
    /// Measured choices for [`ConvKernel::Auto`].
    pub tuning: Option<Arc<Tuning>>,
}

setters!(PlanOptions {
    with_precision(precision: Precision),
    with_max_memory(max_memory: Option<u64>),
    with_keep_values(keep_values: bool),
    with_conv(conv: ConvKernel),
    with_input(input: InputFormat),
    with_output(output: OutputFormat),
    with_tuning(tuning: Option<Arc<Tuning>>),
});
