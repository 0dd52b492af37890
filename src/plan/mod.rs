//! Plans: how to compute a graph for one input shape on one device, that is, kernels, dispatch sizes and memory.
//!
//! A plan is plain data. It can be made, printed and tested without a GPU. Everything that can be refused (limits,
//! memory) is refused here, before anything is allocated.
//!
//! Layout on the device: channels last, in vec4s. Element `(n, c, y, x)` is lane `c % 4` of the vec4
//! `((n * h + y) * w + x) * ceil(c / 4) + c / 4`. Lanes past the last channel hold finite numbers that only meet zero
//! weights.

mod arena;
mod conv_kernel;
mod device;
mod dispatch;
mod format;
mod kernel;
mod layout;
mod lower;
mod options;
mod pack;
mod tuning;

pub use conv_kernel::ConvKernel;
pub use device::{DeviceProfile, LOOP_BUDGET};
pub use dispatch::{Binding, Dispatch, Store};
pub(crate) use format::ports;
pub use format::{Bits, InputFormat, OutputFormat, Port};
pub(crate) use kernel::shader;
pub use kernel::{Kernel, ShaderFile};
pub use layout::Precision;
pub use options::PlanOptions;
pub use tuning::Tuning;

use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::tensor::{Shape, Tensor};
use arena::{Place, Tenant};
use layout::{value_bytes, vec4s};
use pack::Constant;

/// Runs of one session that may overlap. Each has its own pair of transfer buffers.
pub const FRAMES: u64 = 3;

/// A state: where a run leaves it and where the next one finds it, both in [`Plan::activations`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carry {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) bytes: u64,
}

/// A graph made ready for one size on one device.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Dispatches in order.
    pub dispatches: Vec<Dispatch>,
    /// Bytes of each activation buffer.
    pub activations: Vec<u64>,
    /// Bytes of each weight buffer.
    pub weights: Vec<u64>,
    /// Bytes that the activations would take if none shared memory.
    pub naive_activation_bytes: u64,
    /// What a caller gives.
    pub inputs: Vec<Port>,
    /// What a caller gets.
    pub outputs: Vec<Port>,
    /// What is copied behind the last dispatch, for the next run.
    pub(crate) carries: Vec<Carry>,
    /// How numbers are stored.
    pub precision: Precision,
    /// Whether every value is kept to the end.
    pub(crate) keeps_values: bool,
    constants: Vec<(Constant, Place)>,
    /// Place and shape of each surviving value.
    values: Vec<Option<(Place, Shape)>>,
}

impl Plan {
    /// Plans an already optimised graph.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when a buffer or the total passes a limit, [`Error::Shape`] when shapes do not fit.
    pub fn new(
        graph: &Graph,
        inputs: impl AsRef<[Shape]>,
        device: &DeviceProfile,
        options: &PlanOptions,
    ) -> Result<Plan> {
        let shapes = graph.shapes(inputs)?;
        let [inputs, outputs] = ports(graph, &shapes, &options.input, options.output)?;
        let precision = options.precision;
        let mut lowering = lower::Lowering::new(*device, options, shapes);
        lowering.graph(graph, &inputs, &outputs)?;

        let align = |bytes: u64| bytes.next_multiple_of(device.alignment.max(16));
        let shapes = &lowering.shapes;
        let mut ids = Vec::new();
        let mut tenants = Vec::new();
        let mut tenant_of = vec![None; shapes.len()];
        for (id, steps) in lowering.value_steps().into_iter().enumerate() {
            if let (Some((first, last)), Some(shape)) = (steps, shapes[id]) {
                let bytes = align(value_bytes(shape, precision));
                let name = graph.names.get(id).map_or("scratch", String::as_str);
                let what = || format!("the activation {name} {shape}");
                limit(
                    what,
                    bytes,
                    device.max_binding.min(device.max_buffer),
                    "use a smaller picture, or f16",
                )?;
                let kept = options.keep_values && id < graph.names.len();
                let (first, last) = if kept { (0, lowering.steps.len() - 1) } else { (first, last) };
                tenant_of[id] = Some(tenants.len());
                ids.push(id);
                tenants.push(Tenant { bytes, life: first..=last });
            }
        }
        let sides = lowering.tenant_sides(&tenant_of);
        let (places, activations) = arena::place(&tenants, &sides, device.max_buffer);
        let mut values = vec![None; shapes.len()];
        for (tenant, &id) in ids.iter().enumerate() {
            values[id] = shapes[id].map(|shape| (places[tenant], shape));
        }

        let mut weights: Vec<u64> = Vec::new();
        let mut weight_places = Vec::new();
        for constant in &lowering.constants {
            let bytes = align(constant.bytes(precision));
            let largest = device.max_binding.min(device.max_buffer);
            limit(
                || "one layer's weights".into(),
                bytes,
                largest,
                "use f16, or a device with larger bindings",
            )?;
            if weights.last().is_none_or(|used| used + bytes > device.max_buffer.min(256 << 20)) {
                weights.push(0);
            }
            let buffer = weights.len() - 1;
            weight_places.push(Place { buffer, offset: weights[buffer] });
            weights[buffer] += bytes;
        }

        for (ports, kind) in [(&inputs, "input"), (&outputs, "output")] {
            for Port { name, shape, bytes } in ports {
                let what = || format!("the {kind} {name} {shape}");
                limit(what, *bytes, device.max_binding, "use a smaller picture")?;
            }
            let all = ports.iter().fold(0u64, |sum, port| sum.saturating_add(port.bytes));
            limit(|| format!("all {kind}s together"), all, device.max_buffer, "use a smaller picture")?;
        }
        let dispatches = lowering.dispatches(&values, &weight_places)?;
        let mut carries = Vec::with_capacity(lowering.carries.len());
        for (from, to) in lowering.carries {
            let [from, (to, shape)] =
                [from, to].map(|id| values[id.index()].expect("every state was placed"));
            carries.push(Carry { from: from.0, to, bytes: value_bytes(shape, precision) });
        }
        // After a run a state's place holds what the next run begins with.
        graph.carries().for_each(|(_, state)| values[state.value.index()] = None);
        let plan = Plan {
            dispatches,
            naive_activation_bytes: tenants.iter().map(|t| t.bytes).sum(),
            activations,
            weights,
            inputs,
            outputs,
            carries,
            keeps_values: options.keep_values,
            precision,
            constants: lowering.constants.into_iter().zip(weight_places).collect(),
            values,
        };
        if let Some(max) = options.max_memory {
            limit(
                || "the plan".into(),
                plan.memory_bytes(),
                max,
                "raise the limit, use f16 or a smaller picture",
            )?;
        }
        Ok(plan)
    }

    /// Bytes of device memory for intermediate values.
    pub fn activation_bytes(&self) -> u64 {
        self.activations.iter().sum()
    }

    /// Bytes of device memory for weights.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.iter().sum()
    }

    /// Total bytes of device memory: values, weights, input and result with their transfer buffers.
    pub fn memory_bytes(&self) -> u64 {
        let ends = self.inputs.iter().chain(&self.outputs).map(|port| port.bytes);
        let ends = ends.fold(0, u64::saturating_add).saturating_mul(1 + FRAMES);
        self.activation_bytes().saturating_add(self.weight_bytes()).saturating_add(ends)
    }

    /// Multiplications and additions of one run.
    pub fn flops(&self) -> u64 {
        self.dispatches.iter().map(|d| d.flops).sum()
    }

    /// Offset and packed bytes of each constant in a weight buffer.
    pub(crate) fn packed_constants(&self, buffer: usize) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        let inside = self.constants.iter().filter(move |(_, place)| place.buffer == buffer);
        inside.map(|(c, place)| (place.offset, c.pack(self.precision)))
    }

    /// Buffer, offset and bytes of a value, if the device makes it.
    pub(crate) fn value(&self, id: ValueId) -> Option<(usize, u64, u64)> {
        let (place, shape) = self.values.get(id.index()).copied().flatten()?;
        Some((place.buffer, place.offset, value_bytes(shape, self.precision)))
    }

    /// Decodes the bytes of a value in the device's layout.
    pub(crate) fn decode(&self, id: ValueId, bytes: &[u8]) -> Option<Tensor> {
        let (_, shape) = self.values.get(id.index()).copied().flatten()?;
        let elements = self.precision.decode(bytes);
        let (lanes, pixels) = (vec4s(shape.c) * 4, shape.pixels());
        Some(Tensor::from_fn(shape, |i| {
            let (plane, pixel) = (i / pixels, i % pixels);
            elements[(plane / shape.c * pixels + pixel) * lanes + plane % shape.c]
        }))
    }
}

fn limit(what: impl FnOnce() -> String, needed: u64, available: u64, hint: &'static str) -> Result<()> {
    if needed > available {
        Err(Error::LimitExceeded { what: what(), needed, available, hint })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
