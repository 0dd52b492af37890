//! Runs a plan: all buffers, pipelines and bind groups are made once; a run writes the input, records one compute
//! pass, submits, and reads the result.

use super::{Gpu, lock};
use crate::error::{Error, Result};
use crate::graph::ValueId;
use crate::plan::{Dispatch, Plan, Store, nchw_bytes};
use crate::tensor::Tensor;
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use futures_intrusive::sync::Mutex as AsyncMutex;
use std::sync::Mutex;
use std::time::Duration;

/// Uniform ranges begin at multiples of this on every device.
const PARAMS_STRIDE: u64 = 256;

/// Pairs of a host's buffers whose bind groups are kept.
const BOUND_PAIRS: usize = 8;

/// Who makes the device finish.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// This call, for at most so long.
    Block(Duration),
    /// The host's own polling, or the browser.
    Host,
}

/// How long one dispatch took.
#[derive(Debug, Clone)]
pub struct LayerTime {
    /// The layer.
    pub label: String,
    /// The kernel that computed it.
    pub kernel: &'static str,
    /// Device time.
    pub seconds: f64,
    /// Multiplications and additions.
    pub flops: u64,
    /// Bytes that must move at least once.
    pub bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Executor {
    gpu: Gpu,
    plan: Plan,
    activations: Vec<wgpu::Buffer>,
    weights: Vec<wgpu::Buffer>,
    params: wgpu::Buffer,
    pipelines: Vec<wgpu::ComputePipeline>,
    /// Bind groups with this executor's own input and output.
    groups: Vec<wgpu::BindGroup>,
    input: wgpu::Buffer,
    output: wgpu::Buffer,
    transfer: AsyncMutex<Transfer>,
    /// Bind groups of the dispatches that touch a host's input or output.
    bound: Mutex<Vec<Bound>>,
}

#[derive(Debug)]
struct Bound {
    input: wgpu::Buffer,
    output: wgpu::Buffer,
    groups: Vec<(usize, wgpu::BindGroup)>,
}

/// The two mappable buffers through which tensors come and go, and the mappings that are under way.
#[derive(Debug)]
struct Transfer {
    upload: wgpu::Buffer,
    download: wgpu::Buffer,
    pending: Option<Pending>,
}

type Mapped = OneshotReceiver<Result<(), wgpu::BufferAsyncError>>;

#[derive(Debug)]
struct Pending {
    upload: Mapped,
    download: Mapped,
    submission: wgpu::SubmissionIndex,
}

impl Executor {
    /// Allocates everything that the plan needs and uploads the weights.
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
            gpu.count(gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: size.max(16),
                usage,
                mapped_at_creation: mapped,
            }))
        };
        let (input_bytes, output_bytes) = (nchw_bytes(plan.input), nchw_bytes(plan.output));
        let all = |sizes: &[u64], label: &str, usage, mapped| {
            sizes.iter().map(|&size| buffer(label, size, usage, mapped)).collect::<Vec<_>>()
        };
        let activations =
            all(&plan.activations, "activations", Use::STORAGE | Use::COPY_SRC | Use::COPY_DST, false);
        let weights = all(&plan.weights, "weights", Use::STORAGE, true);
        for (i, weights) in weights.iter().enumerate() {
            // A buffer that could not be made has no mapping; the error scope around this call reports it.
            if let Ok(mut view) = weights.slice(..).get_mapped_range_mut() {
                for (_, offset, bytes) in plan.packed_constants().filter(|c| c.0 == i) {
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
        let input = buffer("input", input_bytes, Use::STORAGE | Use::COPY_DST, false);
        let output = buffer("output", output_bytes, Use::STORAGE | Use::COPY_SRC, false);
        let transfer = Transfer {
            upload: buffer("upload", input_bytes, Use::MAP_WRITE | Use::COPY_SRC, true),
            download: buffer("download", output_bytes, Use::MAP_READ | Use::COPY_DST, false),
            pending: None,
        };
        let mut executor = Executor {
            gpu,
            plan,
            activations,
            weights,
            params,
            pipelines,
            groups: Vec::new(),
            input,
            output,
            transfer: AsyncMutex::new(transfer, true),
            bound: Mutex::default(),
        };
        executor.groups = (0..executor.plan.dispatches.len())
            .map(|i| executor.bind_group(i, &executor.input, &executor.output))
            .collect();
        executor
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn bind_group(&self, i: usize, input: &wgpu::Buffer, output: &wgpu::Buffer) -> wgpu::BindGroup {
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
                Store::Input => input,
                Store::Output => output,
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

    /// Records the whole network as one compute pass.
    fn record(&self, encoder: &mut wgpu::CommandEncoder, other: &[(usize, wgpu::BindGroup)]) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for (i, own) in self.groups.iter().enumerate() {
            let group = other.iter().find(|(at, _)| *at == i).map_or(own, |(_, group)| group);
            self.dispatch(&mut pass, i, group);
        }
    }

    /// Records the network into a host's encoder, from and to the host's buffers (NCHW f32, storage usage).
    pub(crate) fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &wgpu::Buffer,
        output: &wgpu::Buffer,
    ) -> Result<()> {
        for (buffer, shape, name) in [(input, self.plan.input, "input"), (output, self.plan.output, "output")]
        {
            let storage = buffer.usage().contains(wgpu::BufferUsages::STORAGE);
            if !storage || buffer.size() < nchw_bytes(shape) {
                let expected = format!("a storage buffer of at least {} bytes", nchw_bytes(shape));
                return Err(Error::shape(
                    format!("{name} buffer"),
                    expected,
                    format!("{} bytes", buffer.size()),
                ));
            }
        }
        let mut bound = lock(&self.bound);
        let known = bound.iter().position(|b| b.input == *input && b.output == *output);
        let at = match known {
            Some(at) => at,
            None => {
                let ends =
                    |d: &Dispatch| d.bindings.iter().any(|b| matches!(b.store, Store::Input | Store::Output));
                let touched = (0..self.groups.len()).filter(|&i| ends(&self.plan.dispatches[i]));
                let groups = self.gpu.guarded("a bind group with the host's buffers", 0, || {
                    touched.map(|i| (i, self.bind_group(i, input, output))).collect()
                })?;
                if bound.len() == BOUND_PAIRS {
                    bound.remove(0);
                }
                bound.push(Bound { input: input.clone(), output: output.clone(), groups });
                bound.len() - 1
            }
        };
        self.record(encoder, &bound[at].groups);
        Ok(())
    }

    /// Runs once: upload, network, download.
    pub(crate) async fn run(&self, input: &Tensor, wait: Wait) -> Result<Tensor> {
        let mut transfer = self.transfer.lock().await;
        self.gpu.check_lost()?;
        // A run that timed out or was dropped still owns the buffers until the device is done with it.
        if transfer.pending.is_some() {
            self.settle(&mut transfer, wait).await?;
            transfer.download.unmap();
        }
        let mapped =
            |e: wgpu::MapRangeError| Error::DeviceLost(format!("the transfer buffer is not mapped: {e}"));
        transfer
            .upload
            .slice(..nchw_bytes(self.plan.input))
            .get_mapped_range_mut()
            .map_err(mapped)?
            .copy_from_slice(bytemuck::cast_slice(input.data()));
        transfer.upload.unmap();
        let device = self.gpu.device();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&transfer.upload, 0, &self.input, 0, self.input.size());
        self.record(&mut encoder, &[]);
        encoder.copy_buffer_to_buffer(&self.output, 0, &transfer.download, 0, self.output.size());
        let submission = self.gpu.queue().submit([encoder.finish()]);
        transfer.pending = Some(Pending {
            upload: map(&transfer.upload, wgpu::MapMode::Write),
            download: map(&transfer.download, wgpu::MapMode::Read),
            submission,
        });
        self.settle(&mut transfer, wait).await?;
        let view = transfer.download.slice(..).get_mapped_range().map_err(mapped)?;
        let data = bytemuck::pod_collect_to_vec(&view[..nchw_bytes(self.plan.output) as usize]);
        drop(view);
        transfer.download.unmap();
        Tensor::new(self.plan.output, data)
    }

    /// Waits until both transfer buffers are mapped again.
    async fn settle(&self, transfer: &mut Transfer, wait: Wait) -> Result<()> {
        let Some(pending) = &transfer.pending else { return Ok(()) };
        if let Wait::Block(limit) = wait {
            self.poll(Some(pending.submission.clone()), limit)?;
        }
        for mapped in [&pending.upload, &pending.download] {
            match mapped.receive().await {
                Some(Ok(())) => {}
                _ => {
                    self.gpu.check_lost()?;
                    return Err(Error::DeviceLost("a transfer buffer could not be mapped".into()));
                }
            }
        }
        transfer.pending = None;
        Ok(())
    }

    fn poll(&self, submission_index: Option<wgpu::SubmissionIndex>, limit: Duration) -> Result<()> {
        let device = self.gpu.device();
        let poll = || device.poll(wgpu::PollType::Wait { submission_index, timeout: Some(limit) });
        // wgpu panics inside poll when the driver reports a lost device.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(wgpu::PollError::Timeout)) => Err(Error::Timeout(limit)),
            Ok(Err(error)) => Err(Error::DeviceLost(error.to_string())),
            Err(_) => Err(Error::DeviceLost("the driver failed while waiting".into())),
        }
    }

    /// Times each dispatch in a pass of its own, on whatever input was last uploaded.
    pub(crate) fn layer_times(&self, limit: Duration) -> Result<Vec<LayerTime>> {
        if !self.gpu.report().timestamps
            || !self.gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY)
        {
            let adapter = self.gpu.report().name.clone();
            return Err(Error::MissingFeature { adapter, feature: "timestamp queries" });
        }
        let _run = pollster::block_on(self.transfer.lock());
        let device = self.gpu.device();
        let (count, bytes) = (2 * self.groups.len() as u32, 16 * self.groups.len() as u64);
        let buffer = |usage| {
            let label = Some("timestamps");
            self.gpu.count(device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size: bytes,
                usage,
                mapped_at_creation: false,
            }))
        };
        let (resolved, read) = (
            buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
        );
        let descriptor = wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count };
        let queries = self.gpu.count(device.create_query_set(&descriptor));
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (i, group) in self.groups.iter().enumerate() {
            let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
                query_set: &queries,
                beginning_of_pass_write_index: Some(2 * i as u32),
                end_of_pass_write_index: Some(2 * i as u32 + 1),
            });
            let mut pass =
                encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
            self.dispatch(&mut pass, i, group);
        }
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &read, 0, bytes);
        let bytes = self.submit_and_read(encoder, &read, limit)?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let period = f64::from(self.gpu.queue().get_timestamp_period()) * 1e-9;
        let times = self.plan.dispatches.iter().zip(ticks.chunks_exact(2)).map(|(d, t)| LayerTime {
            label: d.label.clone(),
            kernel: d.kernel.file.name,
            seconds: t[1].saturating_sub(t[0]) as f64 * period,
            flops: d.flops,
            bytes: d.bytes(),
        });
        Ok(times.collect())
    }

    /// A value as the last run left it. Only plans that keep their values have them all.
    pub(crate) fn value(&self, id: ValueId, limit: Duration) -> Result<Option<Tensor>> {
        let Some((buffer, offset, bytes)) = self.plan.value(id) else { return Ok(None) };
        let device = self.gpu.device();
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        let label = Some("value");
        let read = self.gpu.guarded("a readback buffer", bytes, || {
            self.gpu.count(device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size: bytes,
                usage,
                mapped_at_creation: false,
            }))
        })?;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.activations[buffer], offset, &read, 0, bytes);
        Ok(self.plan.decode(id, &self.submit_and_read(encoder, &read, limit)?))
    }

    fn submit_and_read(
        &self,
        encoder: wgpu::CommandEncoder,
        read: &wgpu::Buffer,
        limit: Duration,
    ) -> Result<Vec<u8>> {
        let submission = self.gpu.queue().submit([encoder.finish()]);
        let mapped = map(read, wgpu::MapMode::Read);
        self.poll(Some(submission), limit)?;
        match pollster::block_on(mapped.receive()) {
            Some(Ok(())) => {}
            _ => return Err(Error::DeviceLost("a readback buffer could not be mapped".into())),
        }
        let view = read.slice(..).get_mapped_range().map_err(|e| Error::DeviceLost(e.to_string()))?;
        Ok(view.to_vec())
    }

    /// Fills every activation with NaN bits, so that a kernel that reads what nothing wrote is found out.
    pub(crate) fn poison(&self) {
        for buffer in &self.activations {
            self.gpu.queue().write_buffer(buffer, 0, &vec![0xff; buffer.size() as usize]);
        }
    }
}

fn map(buffer: &wgpu::Buffer, mode: wgpu::MapMode) -> Mapped {
    let (sender, receiver) = oneshot_channel();
    buffer.slice(..).map_async(mode, move |result| drop(sender.send(result)));
    receiver
}
