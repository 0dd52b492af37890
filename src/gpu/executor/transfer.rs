//! Moves tensors between host and device: mappable buffers, and the order in which runs use them.

use super::Wait;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::plan::{FRAMES, Plan, Port};
use bytemuck::Pod;
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use futures_intrusive::sync::{Mutex, MutexGuard};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The transfer buffers of a session: one pair for each run in flight.
#[derive(Debug)]
pub(super) struct Transfers {
    pairs: Vec<Mutex<Transfer>>,
    next: AtomicUsize,
    /// If the order of runs matters, held from the beginning of a run to its submission.
    order: Mutex<()>,
}

/// A buffer for all inputs, written by the host, a buffer for all outputs, read by the host, and the mappings in
/// progress.
#[derive(Debug)]
pub(super) struct Transfer {
    upload: wgpu::Buffer,
    download: wgpu::Buffer,
    pending: Option<Pending>,
}

type Mapped = OneshotReceiver<Result<(), wgpu::BufferAsyncError>>;

/// A submission that the device may not have finished. A receiver is removed after it has received.
#[derive(Debug)]
struct Pending {
    upload: Option<Mapped>,
    download: Option<Mapped>,
    /// `None` if submitting failed; then only the upload buffer must be mapped again.
    submission: Option<wgpu::SubmissionIndex>,
}

/// The range of each input or output in a transfer buffer.
fn places(ports: &[Port]) -> impl Iterator<Item = Range<u64>> {
    ports.iter().scan(0, |end, port| {
        let start = *end;
        *end += port.bytes;
        Some(start..*end)
    })
}

impl Transfers {
    pub(super) fn new(gpu: &Gpu, plan: &Plan) -> Transfers {
        use wgpu::BufferUsages as Use;
        let buffer = |label: &str, ports: &[Port], usage, mapped| {
            let bytes = places(ports).last().map_or(0, |last| last.end);
            gpu.buffer(label, bytes.max(16), usage, mapped)
        };
        let pair = |_| {
            let transfer = Transfer {
                upload: buffer("upload", &plan.inputs, Use::MAP_WRITE | Use::COPY_SRC, true),
                download: buffer("download", &plan.outputs, Use::MAP_READ | Use::COPY_DST, false),
                pending: None,
            };
            Mutex::new(transfer, true)
        };
        Transfers {
            pairs: (0..FRAMES).map(pair).collect(),
            next: AtomicUsize::new(0),
            order: Mutex::new((), true),
        }
    }

    /// A pair that no run in flight holds.
    pub(super) async fn free(&self, wait: Wait) -> Result<MutexGuard<'_, Transfer>> {
        self.acquire(&self.pairs, wait).await
    }

    /// Waits for the turn to submit. Runs get it in the order in which they ask.
    pub(super) async fn turn(&self, wait: Wait) -> Result<MutexGuard<'_, ()>> {
        self.acquire(std::slice::from_ref(&self.order), wait).await
    }

    async fn acquire<'a, T>(&self, of: &'a [Mutex<T>], wait: Wait) -> Result<MutexGuard<'a, T>> {
        let free = || of.iter().find_map(|mutex| mutex.try_lock());
        if let Some(free) = free() {
            return Ok(free);
        }
        match wait {
            Wait::Host => Ok(of[self.next.fetch_add(1, Ordering::Relaxed) % of.len()].lock().await),
            // The holders may be futures of this thread, so waiting must end.
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
}

impl Transfer {
    /// Waits for a run that timed out or was dropped: the device uses its buffers until it has finished.
    pub(super) async fn reclaim(&mut self, gpu: &Gpu, wait: Wait) -> Result<()> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let downloads = pending.submission.is_some();
        self.settle(gpu, wait).await?;
        if downloads {
            self.download.unmap();
        }
        Ok(())
    }

    /// Writes the inputs, in order, for [`record_upload`](Self::record_upload).
    pub(super) fn fill(&self, plan: &Plan, inputs: &[&[u8]]) -> Result<()> {
        let mut view = self.upload.slice(..).get_mapped_range_mut().map_err(unmapped)?;
        for (place, input) in places(&plan.inputs).zip(inputs) {
            let at = place.start as usize;
            view.slice(at..at + input.len()).copy_from_slice(input);
        }
        drop(view);
        self.upload.unmap();
        Ok(())
    }

    pub(super) fn record_upload(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        plan: &Plan,
        inputs: &[wgpu::Buffer],
    ) {
        for (place, input) in places(&plan.inputs).zip(inputs) {
            encoder.copy_buffer_to_buffer(&self.upload, place.start, input, 0, place.end - place.start);
        }
    }

    pub(super) fn record_download(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        plan: &Plan,
        outputs: &[wgpu::Buffer],
    ) {
        for (place, output) in places(&plan.outputs).zip(outputs) {
            encoder.copy_buffer_to_buffer(output, 0, &self.download, place.start, place.end - place.start);
        }
    }

    /// Requests both buffers back from a submission; `None` if it failed.
    pub(super) fn pend(&mut self, submission: Option<wgpu::SubmissionIndex>) {
        self.pending = Some(Pending {
            upload: Some(map(&self.upload, wgpu::MapMode::Write)),
            download: submission.is_some().then(|| map(&self.download, wgpu::MapMode::Read)),
            submission,
        });
    }

    /// Waits until both buffers are mapped again.
    pub(super) async fn settle(&mut self, gpu: &Gpu, wait: Wait) -> Result<()> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        if let Wait::Block(limit) = wait {
            gpu.wait(pending.submission.clone(), limit)?;
        }
        for mapped in [&mut pending.upload, &mut pending.download] {
            if let Some(receiver) = mapped {
                match receiver.receive().await {
                    Some(Ok(())) => *mapped = None,
                    _ => {
                        gpu.check_lost()?;
                        return Err(Error::DeviceLost("a transfer buffer could not be mapped".into()));
                    }
                }
            }
        }
        self.pending = None;
        Ok(())
    }

    /// Reads the outputs, in order, in whole words.
    pub(super) fn take<T: Pod>(&self, plan: &Plan) -> Result<Vec<Vec<T>>> {
        let view = self.download.slice(..).get_mapped_range().map_err(unmapped)?;
        let output =
            |place: Range<u64>| bytemuck::pod_collect_to_vec(&view[place.start as usize..place.end as usize]);
        let outputs = places(&plan.outputs).map(output).collect();
        drop(view);
        self.download.unmap();
        Ok(outputs)
    }
}

fn unmapped(error: wgpu::MapRangeError) -> Error {
    Error::DeviceLost(format!("the transfer buffer is not mapped: {error}"))
}

fn map(buffer: &wgpu::Buffer, mode: wgpu::MapMode) -> Mapped {
    let (sender, receiver) = oneshot_channel();
    buffer.slice(..).map_async(mode, move |result| drop(sender.send(result)));
    receiver
}

/// Submits, waits, and reads a buffer that the commands fill.
pub(super) fn read_back(
    gpu: &Gpu,
    encoder: wgpu::CommandEncoder,
    read: &wgpu::Buffer,
    limit: Duration,
) -> Result<Vec<u8>> {
    let submission = gpu.queue().submit([encoder.finish()]);
    let mapped = map(read, wgpu::MapMode::Read);
    gpu.wait(Some(submission), limit)?;
    match pollster::block_on(mapped.receive()) {
        Some(Ok(())) => {}
        _ => return Err(Error::DeviceLost("a readback buffer could not be mapped".into())),
    }
    let view = read.slice(..).get_mapped_range().map_err(|e| Error::DeviceLost(e.to_string()))?;
    Ok(view.to_vec())
}

impl Gpu {
    /// Waits until the device has finished a submission, or all of them.
    pub(super) fn wait(
        &self,
        submission_index: Option<wgpu::SubmissionIndex>,
        limit: Duration,
    ) -> Result<()> {
        let poll = || self.device().poll(wgpu::PollType::Wait { submission_index, timeout: Some(limit) });
        // wgpu panics inside poll when the driver reports a lost device.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(wgpu::PollError::Timeout)) => Err(Error::Timeout(limit)),
            Ok(Err(error)) => Err(Error::DeviceLost(error.to_string())),
            Err(_) => Err(Error::DeviceLost("the driver failed while waiting".into())),
        }
    }
}
