//! Measures the time of dispatches and of recording.

use super::{Executor, transfer::read_back};
use crate::error::{Error, Result};
use crate::lock::lock;
use std::time::{Duration, Instant};

/// The time of one dispatch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LayerTime {
    /// Name of the layer.
    pub label: String,
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Device time in seconds.
    pub seconds: f64,
    /// Multiplications and additions.
    pub flops: u64,
    /// Bytes of everything that the dispatch binds.
    pub bytes: u64,
}

impl Executor {
    /// Times each dispatch in a pass of its own, with the inputs that were uploaded last. States do not change.
    pub(crate) fn layer_times(&self, limit: Duration) -> Result<Vec<LayerTime>> {
        if !self.gpu.report().timestamps
            || !self.gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY)
        {
            let adapter = self.gpu.report().name.clone();
            return Err(Error::MissingFeature { adapter, feature: "timestamp queries" });
        }
        // A query set holds at most 4096 timestamps.
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
        let bytes = read_back(&self.gpu, encoder, &read, limit)?;
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

    /// Seconds that the host takes to record and submit one run. Waits for the run. States do not change.
    pub(crate) fn host_seconds(&self, limit: Duration) -> Result<f64> {
        let _turn = lock(&self.submitting);
        let start = Instant::now();
        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.record(&mut encoder, 0..self.groups.len(), &[]);
        let submission = self.gpu.queue().submit([encoder.finish()]);
        let seconds = start.elapsed().as_secs_f64();
        self.gpu.wait(Some(submission), limit)?;
        Ok(seconds)
    }
}
