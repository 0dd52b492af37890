//! Runs a plan. All buffers, pipelines and bind groups are created once. A run writes the inputs, records one compute
//! pass, submits it, and reads the outputs. `transfer.rs` moves tensors between host and device, `timing.rs` measures.

mod timing;
mod transfer;

pub use timing::LayerTime;

use super::Gpu;
use crate::error::{Error, Result};
use crate::graph::ValueId;
use crate::lock::lock;
use crate::plan::{Carry, Dispatch, Plan, Port, Store};
use crate::tensor::Tensor;
use bytemuck::Pod;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;
use transfer::{Transfer, Transfers, read_back};

/// Alignment of uniform ranges, valid on every device.
const PARAMS_STRIDE: u64 = 256;

/// Sets of host buffers whose bind groups are kept.
const BOUND_SETS: usize = 8;

/// Who polls the device until it finishes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// This call, for at most this long.
    Block(Duration),
    /// The host.
    Host,
}

#[derive(Debug)]
pub(crate) struct Executor {
    gpu: Gpu,
    plan: Plan,
    activations: Vec<wgpu::Buffer>,
    weights: Vec<wgpu::Buffer>,
    params: wgpu::Buffer,
    pipelines: Vec<wgpu::ComputePipeline>,
    ends: Ends,
    /// Bind groups with these inputs and outputs.
    groups: Vec<wgpu::BindGroup>,
    transfers: Transfers,
    /// Dispatches of each submission of a run.
    submissions: Vec<Range<usize>>,
    submitting: Mutex<()>,
    /// Bind groups of the dispatches that use a host's buffers.
    bound: Mutex<Vec<Bound>>,
}

/// One buffer for each input and output of the plan.
#[derive(Debug)]
struct Ends {
    inputs: Vec<wgpu::Buffer>,
    outputs: Vec<wgpu::Buffer>,
}

#[derive(Debug)]
struct Bound {
    ends: Ends,
    groups: Vec<(usize, wgpu::BindGroup)>,
}

impl Executor {
    /// Allocates everything that the plan needs, and uploads the weights.
    pub(crate) fn new(gpu: &Gpu, plan: Plan) -> Result<Executor> {
        gpu.check_precision(plan.precision)?;
        let pipelines =
            plan.dispatches.iter().map(|d| gpu.pipeline(&d.kernel)).collect::<Result<Vec<_>>>()?;
        gpu.guarded("the session's buffers", plan.memory_bytes(), || {
            Executor::build(gpu.clone(), plan, pipelines)
        })
    }

    fn build(gpu: Gpu, plan: Plan, pipelines: Vec<wgpu::ComputePipeline>) -> Executor {
        use wgpu::BufferUsages as Use;
        let buffer = |label: &str, size: u64, usage: wgpu::BufferUsages, mapped: bool| {
            gpu.buffer(label, size.max(16), usage, mapped)
        };
        let all = |sizes: &[u64], label: &str, usage, mapped| {
            sizes.iter().map(|&size| buffer(label, size, usage, mapped)).collect::<Vec<_>>()
        };
        let activations =
            all(&plan.activations, "activations", Use::STORAGE | Use::COPY_SRC | Use::COPY_DST, false);
        let weights = all(&plan.weights, "weights", Use::STORAGE, true);
        for (i, weights) in weights.iter().enumerate() {
            // If the buffer could not be created, it has no mapping; the error scope around this call reports it.
            if let Ok(mut view) = weights.slice(..).get_mapped_range_mut() {
                for (offset, bytes) in plan.packed_constants(i) {
                    let at = offset as usize;
                    view.slice(at..at + bytes.len()).copy_from_slice(&bytes);
                }
            }
            weights.unmap();
        }
        let params_bytes = plan.dispatches.len() as u64 * PARAMS_STRIDE;
        let params = buffer("params", params_bytes, Use::UNIFORM, true);
        if let Ok(mut view) = params.slice(..).get_mapped_range_mut() {
            for (i, dispatch) in plan.dispatches.iter().enumerate() {
                let words: Vec<u32> = dispatch.params.iter().map(|p| p.1).collect();
                let (at, bytes) = (i * PARAMS_STRIDE as usize, bytemuck::cast_slice::<u32, u8>(&words));
                view.slice(at..at + bytes.len()).copy_from_slice(bytes);
            }
        }
        params.unmap();
        let ends = |ports: &[Port], label: &str, usage| {
            ports.iter().map(|port| buffer(label, port.bytes, Use::STORAGE | usage, false)).collect()
        };
        let ends = Ends {
            inputs: ends(&plan.inputs, "input", Use::COPY_DST),
            outputs: ends(&plan.outputs, "output", Use::COPY_SRC),
        };
        let transfers = Transfers::new(&gpu, &plan);
        let submissions = submissions(&plan, gpu.report().software);
        let mut executor = Executor {
            gpu,
            plan,
            activations,
            weights,
            params,
            pipelines,
            ends,
            groups: Vec::new(),
            transfers,
            submissions,
            submitting: Mutex::default(),
            bound: Mutex::default(),
        };
        executor.groups =
            (0..executor.plan.dispatches.len()).map(|i| executor.bind_group(i, &executor.ends)).collect();
        executor
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn bind_group(&self, i: usize, ends: &Ends) -> wgpu::BindGroup {
        let dispatch = &self.plan.dispatches[i];
        let range = |buffer, offset, bytes| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: std::num::NonZero::new(bytes),
            })
        };
        let params_bytes = (dispatch.params.len() * 4).next_multiple_of(16) as u64;
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: range(&self.params, i as u64 * PARAMS_STRIDE, params_bytes),
        }];
        entries.extend(dispatch.bindings.iter().map(|b| {
            let buffer = match b.store {
                Store::Input(place) => &ends.inputs[place],
                Store::Output(place) => &ends.outputs[place],
                Store::Activations(a) => &self.activations[a],
                Store::Weights(w) => &self.weights[w],
            };
            wgpu::BindGroupEntry { binding: b.slot, resource: range(buffer, b.offset, b.bytes) }
        }));
        self.gpu.count(self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&dispatch.label),
            layout: &self.pipelines[i].get_bind_group_layout(0),
            entries: &entries,
        }))
    }

    fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, i: usize, group: &wgpu::BindGroup) {
        let [x, y, z] = self.plan.dispatches[i].grid;
        pass.set_pipeline(&self.pipelines[i]);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }

    /// Records dispatches as one compute pass.
    fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: Range<usize>,
        other: &[(usize, wgpu::BindGroup)],
    ) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for i in dispatches {
            let group = other.iter().find(|(at, _)| *at == i).map_or(&self.groups[i], |(_, group)| group);
            self.dispatch(&mut pass, i, group);
        }
    }

    /// Records the copies of the states for the next run.
    fn carry(&self, encoder: &mut wgpu::CommandEncoder) {
        for Carry { from, to, bytes } in &self.plan.carries {
            let [source, target] = [from, to].map(|place| &self.activations[place.buffer]);
            encoder.copy_buffer_to_buffer(source, from.offset, target, to.offset, *bytes);
        }
    }

    /// Submits upload, network and download. Uses several submissions only for work that a watchdog might end.
    fn submit(&self, transfer: &Transfer) -> wgpu::SubmissionIndex {
        let device = self.gpu.device();
        let last = self.submissions.len() - 1;
        // Runs share the activations, so their submissions must not mix.
        let _turn = lock(&self.submitting);
        let submit = |(i, dispatches): (usize, &Range<usize>)| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            if i == 0 {
                transfer.record_upload(&mut encoder, &self.plan, &self.ends.inputs);
            }
            self.record(&mut encoder, dispatches.clone(), &[]);
            if i == last {
                self.carry(&mut encoder);
                transfer.record_download(&mut encoder, &self.plan, &self.ends.outputs);
            }
            self.gpu.queue().submit([encoder.finish()])
        };
        self.submissions.iter().enumerate().map(submit).last().expect("a plan has dispatches")
    }

    /// Records the network into a host's encoder, with the host's buffers (storage usage) as input and output.
    pub(crate) fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[&wgpu::Buffer],
        outputs: &[&wgpu::Buffer],
    ) -> Result<()> {
        check_buffers("input", inputs, &self.plan.inputs)?;
        check_buffers("output", outputs, &self.plan.outputs)?;
        let mut bound = lock(&self.bound);
        let same = |own: &[wgpu::Buffer], given: &[&wgpu::Buffer]| own.iter().eq(given.iter().copied());
        let known = bound.iter().position(|b| same(&b.ends.inputs, inputs) && same(&b.ends.outputs, outputs));
        let at = match known {
            // The set used last goes to the end, so the least recently used one is dropped.
            Some(at) => {
                let set = bound.remove(at);
                bound.push(set);
                bound.len() - 1
            }
            None => {
                let [inputs, outputs] = [inputs, outputs].map(|all| all.iter().copied().cloned().collect());
                let ends = Ends { inputs, outputs };
                let is_end = |d: &Dispatch| {
                    d.bindings.iter().any(|b| matches!(b.store, Store::Input(_) | Store::Output(_)))
                };
                let touched = (0..self.groups.len()).filter(|&i| is_end(&self.plan.dispatches[i]));
                let groups = self.gpu.guarded("a bind group with the host's buffers", 0, || {
                    touched.map(|i| (i, self.bind_group(i, &ends))).collect()
                })?;
                if bound.len() == BOUND_SETS {
                    bound.remove(0);
                }
                bound.push(Bound { ends, groups });
                bound.len() - 1
            }
        };
        self.record(encoder, 0..self.groups.len(), &bound[at].groups);
        self.carry(encoder);
        Ok(())
    }

    /// Runs once: upload, network, download, in the plan's formats. The outputs consist of whole words. As many runs
    /// overlap as there are transfer buffers; the device takes them in turn.
    pub(crate) async fn run<T: Pod>(&self, inputs: &[&[u8]], wait: Wait) -> Result<Vec<Vec<T>>> {
        // A run begins with the states of the previous run, so runs are submitted in the order in which they arrive.
        let turn = match self.plan.carries[..] {
            [] => None,
            _ => Some(self.transfers.turn(wait).await?),
        };
        let mut transfer = self.transfers.free(wait).await?;
        self.gpu.check_lost()?;
        transfer.reclaim(&self.gpu, wait).await?;
        transfer.fill(&self.plan, inputs)?;
        let submission = self.gpu.guarded("a run", 0, || self.submit(&transfer));
        drop(turn);
        transfer.pend(submission.as_ref().ok().cloned());
        submission?;
        transfer.settle(&self.gpu, wait).await?;
        transfer.take(&self.plan)
    }

    /// A value of the last run.
    pub(crate) fn value(&self, id: ValueId, limit: Duration) -> Result<Option<Tensor>> {
        if !self.plan.keeps_values {
            return Err(Error::Usage(
                "this session does not keep its values; build it with keep_values".into(),
            ));
        }
        let Some((buffer, offset, bytes)) = self.plan.value(id) else { return Ok(None) };
        let device = self.gpu.device();
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        let read =
            self.gpu.guarded("a readback buffer", bytes, || self.gpu.buffer("value", bytes, usage, false))?;
        let _turn = lock(&self.submitting);
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.activations[buffer], offset, &read, 0, bytes);
        Ok(self.plan.decode(id, &read_back(&self.gpu, encoder, &read, limit)?))
    }

    /// Sets all states to zero, after the runs that are already submitted.
    pub(crate) fn reset(&self) -> Result<()> {
        let _turn = lock(&self.submitting);
        self.gpu.guarded("clearing the states", 0, || self.clear_states())
    }

    fn clear_states(&self) {
        if self.plan.carries.is_empty() {
            return;
        }
        let device = self.gpu.device();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for Carry { to, bytes, .. } in &self.plan.carries {
            encoder.clear_buffer(&self.activations[to.buffer], to.offset, Some(*bytes));
        }
        self.gpu.queue().submit([encoder.finish()]);
    }

    /// Fills every activation with NaN bits. The next run then shows whether a kernel reads memory that nothing wrote.
    pub(crate) fn poison(&self) {
        let _turn = lock(&self.submitting);
        for buffer in &self.activations {
            self.gpu.queue().write_buffer(buffer, 0, &vec![0xff; buffer.size() as usize]);
        }
        self.clear_states();
    }
}

/// Checks a host's buffers: their number, storage usage and size.
fn check_buffers(kind: &str, buffers: &[&wgpu::Buffer], ports: &[Port]) -> Result<()> {
    if buffers.len() != ports.len() {
        let names: Vec<&str> = ports.iter().map(|port| &*port.name).collect();
        let expected = format!("{} ({})", ports.len(), names.join(", "));
        return Err(Error::shape(format!("{kind} buffers"), expected, buffers.len()));
    }
    for (buffer, port) in buffers.iter().zip(ports) {
        let what = format!("{} buffer", port.label(kind));
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(Error::shape(what, "STORAGE among its usages", "others"));
        }
        if buffer.size() < port.bytes {
            let expected = format!("at least {} bytes", port.bytes);
            return Err(Error::shape(what, expected, format!("{} bytes", buffer.size())));
        }
    }
    Ok(())
}

/// Splits a run whose work would keep a GPU of 1 TFLOP/s busy for more than half a second, because operating systems
/// end work that blocks the display for two seconds. Software adapters have no such watchdog.
fn submissions(plan: &Plan, software: bool) -> Vec<Range<usize>> {
    let most = if software { u64::MAX } else { 500_000_000_000 };
    let mut cuts = vec![0];
    let mut flops = 0u64;
    for (i, dispatch) in plan.dispatches.iter().enumerate() {
        flops += dispatch.flops;
        if flops > most && i > 0 {
            cuts.push(i);
            flops = dispatch.flops;
        }
    }
    cuts.push(plan.dispatches.len());
    cuts.windows(2).map(|w| w[0]..w[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::AdapterChoice;
    use crate::plan::{DeviceProfile, PlanOptions};
    use crate::tensor::Shape;
    use crate::unet::{RandomWeights, UnetConfig};

    fn plan(config: &UnetConfig, size: usize, device: &DeviceProfile) -> Plan {
        let graph = config.build(&mut RandomWeights::new(1)).unwrap();
        Plan::new(&graph, Shape::new(1, 3, size, size), device, &PlanOptions::default()).unwrap()
    }

    #[test]
    fn long_work_is_cut_into_submissions_that_leave_nothing_out() {
        let device = DeviceProfile { max_binding: 1 << 31, max_buffer: 1 << 33, ..Default::default() };
        let plan = plan(&UnetConfig::seed(), 1024, &device);
        let cuts = submissions(&plan, false);
        assert!(cuts.len() > 1, "a teraflop is more than one submission");
        assert_eq!(
            cuts.iter().flat_map(|c| c.clone()).collect::<Vec<_>>(),
            (0..plan.dispatches.len()).collect::<Vec<_>>()
        );
        for cut in &cuts {
            let flops: u64 = plan.dispatches[cut.clone()].iter().map(|d| d.flops).sum();
            assert!(flops <= 500_000_000_000 || cut.len() == 1, "{cut:?}: {flops}");
        }
        assert_eq!(submissions(&plan, true).len(), 1);
    }

    #[test]
    fn a_submission_a_dispatch_gives_the_same_bits() {
        let Ok(gpu) = Gpu::open(&AdapterChoice::Any) else {
            assert!(std::env::var_os("UNET_REQUIRE_GPU").is_none_or(|v| v != "1"), "a GPU is required");
            eprintln!("GPU TEST DID NOT RUN: no adapter");
            return;
        };
        let plan = plan(&UnetConfig::new(3, 2, &[8, 12], 16, &[12, 8]), 24, &gpu.report().profile);
        let mut executor = Executor::new(&gpu, plan).unwrap();
        let input = Tensor::random(Shape::new(1, 3, 24, 24), 3);
        let run = |executor: &Executor| {
            executor.poison();
            let input = bytemuck::cast_slice(input.data());
            pollster::block_on(executor.run::<f32>(&[input], Wait::Block(Duration::from_secs(60)))).unwrap()
        };
        let whole = run(&executor);
        executor.submissions = (0..executor.groups.len()).map(|i| i..i + 1).collect();
        assert_eq!(run(&executor), whole);
    }
}
