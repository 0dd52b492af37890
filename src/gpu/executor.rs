//! Runs a plan: all buffers, pipelines and bind groups are made once; a run writes the input, records one compute
//! pass, submits, and reads the result.

use super::Gpu;
use crate::error::{Error, Result};
use crate::graph::ValueId;
use crate::lock::lock;
use crate::plan::{Dispatch, FRAMES, Plan, Store};
use crate::tensor::Tensor;
use bytemuck::Pod;
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use futures_intrusive::sync::{Mutex as AsyncMutex, MutexGuard};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Uniform ranges begin at multiples of this on every device.
const PARAMS_STRIDE: u64 = 256;

/// Pairs of a host's buffers whose bind groups are kept.
const BOUND_PAIRS: usize = 8;

/// Who makes the device finish.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// This call, for at most so long.
    Block(Duration),
    /// The host's own polling.
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
    /// Bytes of all that the dispatch binds.
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
    /// One a frame in flight: while one is computed, another comes in and a third goes out.
    transfers: Vec<AsyncMutex<Transfer>>,
    next: AtomicUsize,
    /// Dispatches of each submission of a run.
    submissions: Vec<Range<usize>>,
    submitting: Mutex<()>,
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

/// A submission that the device may not be done with; receivers are gone once they have received.
#[derive(Debug)]
struct Pending {
    upload: Option<Mapped>,
    download: Option<Mapped>,
    /// `None` when submitting failed, so that only the upload is to be mapped again.
    submission: Option<wgpu::SubmissionIndex>,
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
            gpu.buffer(label, size.max(16), usage, mapped)
        };
        let [input_bytes, output_bytes] = plan.ends;
        let all = |sizes: &[u64], label: &str, usage, mapped| {
            sizes.iter().map(|&size| buffer(label, size, usage, mapped)).collect::<Vec<_>>()
        };
        let activations =
            all(&plan.activations, "activations", Use::STORAGE | Use::COPY_SRC | Use::COPY_DST, false);
        let weights = all(&plan.weights, "weights", Use::STORAGE, true);
        for (i, weights) in weights.iter().enumerate() {
            // A buffer that could not be made has no mapping; the error scope around this call reports it.
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
        let input = buffer("input", input_bytes, Use::STORAGE | Use::COPY_DST, false);
        let output = buffer("output", output_bytes, Use::STORAGE | Use::COPY_SRC, false);
        let transfers = (0..FRAMES).map(|_| {
            let transfer = Transfer {
                upload: buffer("upload", input_bytes, Use::MAP_WRITE | Use::COPY_SRC, true),
                download: buffer("download", output_bytes, Use::MAP_READ | Use::COPY_DST, false),
                pending: None,
            };
            AsyncMutex::new(transfer, true)
        });
        let transfers = transfers.collect();
        let submissions = submissions(&plan, gpu.report().software);
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
            transfers,
            next: AtomicUsize::new(0),
            submissions,
            submitting: Mutex::default(),
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

    /// Submits upload, network and download; more than one submission only for work that a watchdog might end.
    fn submit(&self, transfer: &Transfer) -> wgpu::SubmissionIndex {
        let device = self.gpu.device();
        let last = self.submissions.len() - 1;
        // The activations are shared: one run's submissions may not mix with another's.
        let _turn = lock(&self.submitting);
        let submit = |(i, dispatches): (usize, &Range<usize>)| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            if i == 0 {
                encoder.copy_buffer_to_buffer(&transfer.upload, 0, &self.input, 0, self.input.size());
            }
            self.record(&mut encoder, dispatches.clone(), &[]);
            if i == last {
                encoder.copy_buffer_to_buffer(&self.output, 0, &transfer.download, 0, self.output.size());
            }
            self.gpu.queue().submit([encoder.finish()])
        };
        self.submissions.iter().enumerate().map(submit).last().expect("a plan has dispatches")
    }

    /// Records the network into a host's encoder, from and to the host's buffers (storage usage).
    pub(crate) fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &wgpu::Buffer,
        output: &wgpu::Buffer,
    ) -> Result<()> {
        for (buffer, bytes, name) in
            [(input, self.plan.ends[0], "input"), (output, self.plan.ends[1], "output")]
        {
            if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
                return Err(Error::shape(format!("{name} buffer"), "STORAGE among its usages", "others"));
            }
            if buffer.size() < bytes {
                let expected = format!("at least {bytes} bytes");
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
            // The pair used last goes last, so that the one unused for longest makes room.
            Some(at) => {
                let pair = bound.remove(at);
                bound.push(pair);
                bound.len() - 1
            }
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
        self.record(encoder, 0..self.groups.len(), &bound[at].groups);
        Ok(())
    }

    /// Runs once: upload, network, download, in the plan's formats; the result in whole words. Up to [`FRAMES`] runs overlap; the device takes them in turn.
    pub(crate) async fn run<T: Pod>(&self, inputs: &[&[u8]], wait: Wait) -> Result<Vec<Vec<T>>> {
        let input = inputs[0];
        let mut transfer = self.free_transfer(wait).await?;
        self.gpu.check_lost()?;
        // A run that timed out or was dropped still owns the buffers until the device is done with it.
        if let Some(Pending { submission, .. }) = &transfer.pending {
            let downloads = submission.is_some();
            self.settle(&mut transfer, wait).await?;
            if downloads {
                transfer.download.unmap();
            }
        }
        let mapped =
            |e: wgpu::MapRangeError| Error::DeviceLost(format!("the transfer buffer is not mapped: {e}"));
        transfer
            .upload
            .slice(..)
            .get_mapped_range_mut()
            .map_err(mapped)?
            .slice(..input.len())
            .copy_from_slice(input);
        transfer.upload.unmap();
        let submission = self.gpu.guarded("a run", 0, || self.submit(&transfer));
        transfer.pending = Some(Pending {
            upload: Some(map(&transfer.upload, wgpu::MapMode::Write)),
            download: submission.is_ok().then(|| map(&transfer.download, wgpu::MapMode::Read)),
            submission: submission.as_ref().ok().cloned(),
        });
        submission?;
        self.settle(&mut transfer, wait).await?;
        let view = transfer.download.slice(..).get_mapped_range().map_err(mapped)?;
        let data = bytemuck::pod_collect_to_vec(&view[..self.plan.ends[1] as usize]);
        drop(view);
        transfer.download.unmap();
        Ok(vec![data])
    }

    /// A pair of transfer buffers that no run in progress holds.
    async fn free_transfer(&self, wait: Wait) -> Result<MutexGuard<'_, Transfer>> {
        let free = || self.transfers.iter().find_map(|transfer| transfer.try_lock());
        if let Some(free) = free() {
            return Ok(free);
        }
        match wait {
            Wait::Host => {
                let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.transfers.len();
                Ok(self.transfers[turn].lock().await)
            }
            // The holders may be futures that this very thread would have to drive, so waiting has an end.
            Wait::Block(limit) => {
                let start = Instant::now();
                while start.elapsed() < limit {
                    if let Some(free) = free() {
                        return Ok(free);
                    }
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err(Error::Timeout(limit))
            }
        }
    }

    /// Waits until both transfer buffers are mapped again.
    async fn settle(&self, transfer: &mut Transfer, wait: Wait) -> Result<()> {
        let Some(pending) = &mut transfer.pending else { return Ok(()) };
        if let Wait::Block(limit) = wait {
            self.poll(pending.submission.clone(), limit)?;
        }
        for mapped in [&mut pending.upload, &mut pending.download] {
            if let Some(receiver) = mapped {
                match receiver.receive().await {
                    Some(Ok(())) => *mapped = None,
                    _ => {
                        self.gpu.check_lost()?;
                        return Err(Error::DeviceLost("a transfer buffer could not be mapped".into()));
                    }
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
        // A query set holds 4096 times at most.
        if self.groups.len() > 2048 {
            return Err(Error::shape("timed dispatches", "at most 2048", self.groups.len()));
        }
        let _turn = lock(&self.submitting);
        let device = self.gpu.device();
        let (count, bytes) = (2 * self.groups.len() as u32, 16 * self.groups.len() as u64);
        let buffer = |usage| self.gpu.buffer("timestamps", bytes, usage, false);
        let descriptor = wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count };
        let (resolved, read, queries) = self.gpu.guarded("timestamp queries", 2 * bytes, || {
            (
                buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
                self.gpu.count(device.create_query_set(&descriptor)),
            )
        })?;
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

    /// Seconds that the host takes to record and submit one run, which is then waited for.
    pub(crate) fn host_seconds(&self, limit: Duration) -> Result<f64> {
        let _turn = lock(&self.submitting);
        let start = Instant::now();
        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.record(&mut encoder, 0..self.groups.len(), &[]);
        let submission = self.gpu.queue().submit([encoder.finish()]);
        let seconds = start.elapsed().as_secs_f64();
        self.poll(Some(submission), limit)?;
        Ok(seconds)
    }

    /// A value as the last run left it.
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

    /// Makes all states zeros.
    pub(crate) fn reset(&self) -> Result<()> {
        Ok(())
    }

    /// Fills every activation with NaN bits, so that a kernel that reads what nothing wrote is found out.
    pub(crate) fn poison(&self) {
        let _turn = lock(&self.submitting);
        for buffer in &self.activations {
            self.gpu.queue().write_buffer(buffer, 0, &vec![0xff; buffer.size() as usize]);
        }
    }
}

/// Cuts a run where its work would keep a GPU of 1 TFLOP/s for more than half a second: operating systems end what holds
/// the display for two. A CPU that plays the GPU has no such watchdog.
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

fn map(buffer: &wgpu::Buffer, mode: wgpu::MapMode) -> Mapped {
    let (sender, receiver) = oneshot_channel();
    buffer.slice(..).map_async(mode, move |result| drop(sender.send(result)));
    receiver
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
