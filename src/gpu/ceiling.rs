//! Measures the ceilings of a device: multiply-adds and copied bytes per second. Layers are compared with these and
//! not with a data sheet, because clocks, drivers and power limits decide what can be reached.

use super::Gpu;
use crate::error::{Error, Result};
use crate::plan::{Kernel, LOOP_BUDGET, Precision, ShaderFile, shader};
use std::time::Duration;

const FMA: ShaderFile = shader!("ceiling_fma");
const COPY: ShaderFile = shader!("ceiling_copy");

const LANES: u32 = 256;
const CHAINS: u32 = 4;
const STEPS: u32 = 8;
/// Multiplications and additions of a lane in one round: two points with coordinates of four numbers, two operations
/// for each.
const ROUND_FLOPS: u64 = (STEPS * CHAINS * 2 * 4 * 2) as u64;
/// The angle of each step of a chain.
const ANGLE: f32 = 0.137;
/// Number of vec4s that a lane copies.
const VECTORS: u32 = 4;

/// Shortest measurement in seconds, so the cost of starting it does not matter.
const LONG_ENOUGH: f64 = 4e-3;
/// Number of measurements. The best one counts, because a ceiling is what the device can do.
const REPEATS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Rates that no kernel can exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Ceilings {
    /// Multiplications and additions per second in f32; a multiply-add counts as two.
    pub fma_f32: f64,
    /// The same in f16, if shaders can compute in it. Does not include matrix units.
    pub fma_f16: Option<f64>,
    /// Bytes per second of a large copy; read and written bytes both count.
    pub copy: f64,
}

impl Ceilings {
    /// Multiplications and additions per second for values of this precision. Kernels may sum 16-bit values in f32, so
    /// the faster of both counts for f16.
    pub fn fma(&self, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => self.fma_f32,
            Precision::F16 => self.fma_f16.unwrap_or(0.0).max(self.fma_f32),
        }
    }
}

/// Measures the device's ceilings. Takes a fraction of a second on hardware.
///
/// # Errors
/// [`Error::MissingFeature`] without timestamp queries, [`Error::Gpu`] if a kernel did not do its work, and errors of
/// running on a device.
pub fn measure(gpu: &Gpu) -> Result<Ceilings> {
    if !gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
        let adapter = gpu.report().name.clone();
        return Err(Error::MissingFeature { adapter, feature: "timestamp queries" });
    }
    let half = gpu.report().f16.then_some(Precision::F16);
    Ok(Ceilings {
        fma_f32: fma(gpu, Precision::F32)?,
        fma_f16: half.map(|precision| fma(gpu, precision)).transpose()?,
        copy: copy(gpu)?,
    })
}

fn fma_kernel(precision: Precision) -> Result<Kernel> {
    Kernel::new(FMA, precision, &[("LANES", LANES), ("CHAINS", CHAINS), ("STEPS", STEPS)], &[])
}

fn copy_kernel(precision: Precision) -> Result<Kernel> {
    Kernel::new(COPY, precision, &[("LANES", LANES), ("VECTORS", VECTORS)], &[])
}

/// Multiplications and additions per second.
fn fma(gpu: &Gpu, precision: Precision) -> Result<f64> {
    // Several workgroups for every core of the largest GPUs; few on a software adapter.
    let groups: u32 = if gpu.report().software { 256 } else { 4096 };
    let lanes = u64::from(groups * LANES);
    let bytes = lanes * 4 * precision.bytes() as u64;
    let dst = buffer(gpu, bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC, None)?;
    let kernel = fma_kernel(precision)?;
    let prepare = |rounds: u32| {
        Bench::new(
            gpu,
            &kernel,
            &[("rounds", rounds.into()), ("angle", ANGLE.to_bits().into())],
            &[("dst", &dst)],
            [groups, 1, 1],
        )
    };

    let few = 2;
    prepare(few)?.seconds()?;
    let head = numbers(precision, &read(gpu, &dst, 0, bytes.min(1 << 16))?);
    let tolerance = if precision == Precision::F32 { 1e-4 } else { 0.1 };
    check_fma(few, 0, &head, tolerance)?;

    let mut rounds = 16;
    while prepare(rounds)?.seconds()? < LONG_ENOUGH && u64::from(rounds) * 2 <= LOOP_BUDGET {
        rounds *= 2;
    }
    let seconds = prepare(rounds)?.best()?;
    if precision == Precision::F32 {
        // Checks that no round was left out. Rounding moves a chain by less than this; f16 moves too far to tell.
        let tail = numbers(precision, &read(gpu, &dst, bytes - 16, 16)?);
        check_fma(rounds, lanes as u32 - 1, &tail[..1], 0.3)?;
    }
    Ok((lanes * u64::from(rounds) * ROUND_FLOPS) as f64 / seconds)
}

/// Stored numbers as f32.
fn numbers(precision: Precision, bytes: &[u8]) -> Vec<f32> {
    match precision {
        Precision::F32 => bytemuck::pod_collect_to_vec(bytes),
        Precision::F16 => {
            bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
    }
}

/// Compares the sums of the lanes, from lane `first` on, with the same steps on the host.
fn check_fma(rounds: u32, first: u32, got: &[f32], tolerance: f32) -> Result<()> {
    for (at, &got) in got.iter().enumerate() {
        let (lane, part) = (first + at as u32 / 4, at as u32 % 4);
        let want: f32 = (0..CHAINS).map(|k| chain((part + (lane + k) % 61) as f32 / 64.0, rounds)).sum();
        let off = (got - want).abs();
        if off.is_nan() || off > tolerance {
            return Err(idle(FMA, format!("lane {lane} gave {got}, expected {want}")));
        }
    }
    Ok(())
}

/// The sum of both coordinates at the end of a chain.
fn chain(mut x: f32, rounds: u32) -> f32 {
    let mut y = 0.5_f32;
    for _ in 0..rounds * STEPS {
        x = (-ANGLE).mul_add(y, x);
        y = ANGLE.mul_add(x, y);
    }
    x + y
}

/// Bytes per second, read and written.
fn copy(gpu: &Gpu) -> Result<f64> {
    let profile = gpu.report().profile;
    // Much larger than any cache. A software adapter copies through the CPU's cache, and slowly.
    let wanted: u64 = if gpu.report().software { 64 << 20 } else { 512 << 20 };
    let mut bytes = wanted.min(profile.max_binding).min(profile.max_buffer);
    loop {
        let whole = bytes / u64::from(LANES * VECTORS * 16) * u64::from(LANES * VECTORS * 16);
        match copy_of(gpu, whole) {
            Err(Error::OutOfMemory { .. }) if bytes > 16 << 20 => bytes /= 2,
            result => return result,
        }
    }
}

fn copy_of(gpu: &Gpu, bytes: u64) -> Result<f64> {
    // Random, because some devices compress data that repeats within a few hundred bytes.
    let block = random_bytes(1 << 20);
    let src = buffer(gpu, bytes, wgpu::BufferUsages::STORAGE, Some(&block))?;
    let dst = buffer(gpu, bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC, None)?;
    let lanes = bytes / u64::from(VECTORS * 16);
    let groups = lanes.div_ceil(u64::from(LANES));
    let rows = groups.div_ceil(u64::from(gpu.report().profile.max_workgroups));
    let grid = [groups.div_ceil(rows) as u32, rows as u32, 1];
    let kernel = copy_kernel(Precision::F32)?;
    let bench = Bench::new(gpu, &kernel, &[("lanes", lanes)], &[("src", &src), ("dst", &dst)], grid)?;
    bench.seconds()?;
    let seconds = bench.best()?;
    let part = (block.len() as u64).min(1 << 16);
    let last = (bytes - part) as usize % block.len();
    for (at, want) in [(0, &block[..part as usize]), (bytes - part, &block[last..])] {
        let got = read(gpu, &dst, at, part)?;
        if !want.iter().chain(&block).zip(&got).all(|(want, got)| want == got) {
            return Err(idle(COPY, format!("the copy differs from its source near byte {at}")));
        }
    }
    Ok(2.0 * bytes as f64 / seconds)
}

fn random_bytes(count: usize) -> Vec<u8> {
    let mut random = crate::tensor::Random::new(1);
    (0..count / 8).flat_map(|_| random.bits().to_le_bytes()).collect()
}

/// A kernel that was optimised away or stopped early must not set a ceiling.
fn idle(file: ShaderFile, message: String) -> Error {
    Error::Gpu { what: file.name.into(), message }
}

/// A prepared dispatch with timestamps before and after.
struct Bench<'a> {
    gpu: &'a Gpu,
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
}

impl Bench<'_> {
    fn new<'a>(
        gpu: &'a Gpu,
        kernel: &Kernel,
        sizes: &[(&'static str, u64)],
        buffers: &[(&'static str, &wgpu::Buffer)],
        grid: [u32; 3],
    ) -> Result<Bench<'a>> {
        let pipeline = gpu.pipeline(kernel)?;
        let words: Vec<u32> = kernel.params(sizes)?.into_iter().map(|size| size.1).collect();
        let mut block = bytemuck::cast_slice::<u32, u8>(&words).to_vec();
        block.resize(16, 0);
        let uniform = buffer(gpu, 16, wgpu::BufferUsages::UNIFORM, Some(&block))?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = buffer(gpu, 256, usage, None)?;
        let bound = kernel.bind(buffers)?.into_iter().map(|(line, buffer)| (line.slot, buffer));
        let (group, queries) = gpu.guarded("a ceiling's bindings", 0, || {
            let all = [(0, &uniform)].into_iter().chain(bound);
            let entries: Vec<_> = all
                .map(|(slot, b)| wgpu::BindGroupEntry { binding: slot, resource: b.as_entire_binding() })
                .collect();
            let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(kernel.file.name),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            let (ty, count) = (wgpu::QueryType::Timestamp, 2);
            let queries = gpu.device().create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count });
            (gpu.count(group), gpu.count(queries))
        })?;
        Ok(Bench { gpu, pipeline, group, grid, queries, resolved })
    }

    /// Device time of one run.
    fn seconds(&self) -> Result<f64> {
        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        });
        let mut pass =
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
        drop(pass);
        encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
        self.gpu.queue().submit([encoder.finish()]);
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&read(self.gpu, &self.resolved, 0, 16)?);
        let period = f64::from(self.gpu.queue().get_timestamp_period()) * 1e-9;
        // A clock that stands still must not give an infinite rate.
        Ok((ticks[1].saturating_sub(ticks[0]) as f64 * period).max(1e-9))
    }

    /// The shortest of several runs.
    fn best(&self) -> Result<f64> {
        (0..REPEATS).try_fold(f64::INFINITY, |best, _| Ok(best.min(self.seconds()?)))
    }
}

/// A buffer. If there is a block, it is filled by repeating the block.
fn buffer(gpu: &Gpu, size: u64, usage: wgpu::BufferUsages, block: Option<&[u8]>) -> Result<wgpu::Buffer> {
    gpu.guarded("a ceiling's buffer", size, || {
        let buffer = gpu.buffer("ceiling", size, usage, block.is_some());
        if let Some(block) = block {
            // If the buffer could not be created, it has no mapping; the error scope around this call reports it.
            if let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() {
                for at in (0..size as usize).step_by(block.len()) {
                    let part = block.len().min(size as usize - at);
                    view.slice(at..at + part).copy_from_slice(&block[..part]);
                }
            }
            buffer.unmap();
        }
        buffer
    })
}

/// Bytes of a buffer, after the device has finished.
fn read(gpu: &Gpu, source: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
    let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
    let target = buffer(gpu, bytes, usage, None)?;
    let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(source, offset, &target, 0, bytes);
    let submission = gpu.queue().submit([encoder.finish()]);
    target.slice(..).map_async(wgpu::MapMode::Read, |_| {});
    let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(TIMEOUT) };
    // wgpu panics inside poll when the driver reports a lost device.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gpu.device().poll(wait))) {
        Ok(Ok(_)) => {}
        Ok(Err(wgpu::PollError::Timeout)) => return Err(Error::Timeout(TIMEOUT)),
        Ok(Err(error)) => return Err(Error::DeviceLost(error.to_string())),
        Err(_) => return Err(Error::DeviceLost("the driver failed while waiting".into())),
    }
    gpu.check_lost()?;
    let view = target.slice(..).get_mapped_range().map_err(|e| Error::DeviceLost(e.to_string()))?;
    Ok(view.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::AdapterChoice;

    #[test]
    fn shaders_are_valid() {
        use wgpu::naga;
        for precision in [Precision::F32, Precision::F16] {
            for kernel in [fma_kernel(precision), copy_kernel(precision)] {
                let module = naga::front::wgsl::parse_str(&kernel.unwrap().wgsl()).unwrap();
                let flags = naga::valid::ValidationFlags::all();
                let mut validator =
                    naga::valid::Validator::new(flags, naga::valid::Capabilities::SHADER_FLOAT16);
                validator.validate(&module).unwrap();
            }
        }
    }

    #[test]
    fn chains_stay_bounded() {
        for start in 0..64 {
            for rounds in [1, 7, 100, 20_000] {
                assert!(chain(start as f32 / 64.0, rounds).abs() < 4.0);
            }
        }
    }

    #[test]
    fn ceilings_are_measured_and_idle_kernels_are_found_out() {
        assert!(check_fma(2, 0, &[0.0; 4], 1e-4).is_err());
        let Ok(gpu) = Gpu::open(&AdapterChoice::Any) else {
            eprintln!("no adapter: ceilings were not measured");
            return;
        };
        let ceilings = measure(&gpu).expect("an adapter with timestamps");
        assert!(ceilings.fma_f32 > 1e8 && ceilings.copy > 1e8, "{ceilings:?}");
        assert_eq!(ceilings.fma_f16.is_some(), gpu.report().f16);
    }
}
