//! The measurement of one size, batch and precision.

use crate::bench::BenchArgs;
use crate::bench::report::{Layer, Measured, Report, median};
use crate::error::{Error, Result};
use crate::roofline::{self, Cost};
use crate::values::Size;
use crate::{Common, device, inspect};
use indicatif::ProgressBar;
use std::time::Instant;
use unet_wgpu::cpu;
use unet_wgpu::gpu::LayerTime;
use unet_wgpu::optimize::optimize;
use unet_wgpu::plan::{FRAMES, Precision};
use unet_wgpu::verify::Difference;
use unet_wgpu::{Device, Model, Session, SessionOptions, Tensor};

/// Runs before the timed ones. The first runs compile and allocate.
pub(super) const WARM_UP: usize = 3;

/// Number of recordings; their median is the host's share.
const HOST_RUNS: usize = 5;

/// Most runs in which layers are timed one by one. Each takes about twice as long as a plain run.
const LAYER_RUNS: usize = 10;

/// The model and device to measure, and the figures so far.
pub(super) struct Job<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) common: &'a Common,
    pub(super) model: &'a Model,
    pub(super) device: &'a Device,
    pub(super) wants_layers: bool,
    pub(super) report: Report,
}

impl Job<'_> {
    pub(super) fn measure(&mut self, precision: Precision, size: Size, batch: usize) -> Result<()> {
        let shape = size.shape(batch, self.model.input_channels());
        let options = device::options(self.device, self.common).with_precision(precision);
        let session = Session::with_options(self.model, shape, self.device.clone(), &options)?;
        let total = WARM_UP + self.args.runs as usize;
        let bar = if self.common.quiet { ProgressBar::hidden() } else { ProgressBar::new(total as u64) };
        // No run sees an input again, of this or any other process, so no result can be reused.
        let seed = self.report.since_1970.as_nanos() as u64;
        let input = |run: usize| Tensor::random(shape, seed.wrapping_add(run as u64));
        session.poison();
        let mut seconds = Vec::with_capacity(total);
        let mut last = None;
        for run in 0..total {
            let input = input(run);
            let start = Instant::now();
            let output = session.run(&input)?;
            seconds.push(start.elapsed().as_secs_f64());
            last = Some((input, output));
            bar.inc(1);
        }
        bar.finish_and_clear();
        seconds.drain(..WARM_UP);
        let overlapped = self.overlapped(&session, |run| input(total + run))?;
        seconds.sort_by(f64::total_cmp);
        let difference = match last {
            Some((input, mut output)) if !self.args.no_check => {
                if session.has_states() {
                    session.reset()?;
                    output = session.run(&input)?;
                }
                Some(self.check(&input, &output, precision)?)
            }
            _ => None,
        };
        let layers = match self.wants_layers {
            true => self.layers(&session, &options, |run| input(2 * total + run))?,
            false => Vec::new(),
        };
        let flops = inspect::flops(&*self.model.graph(shape)?, shape)?;
        let device_seconds = match times_layers(self.device) {
            true if layers.is_empty() => Some(session.layer_times()?.iter().map(|l| l.seconds).sum()),
            true => Some(layers.iter().map(|l| l.seconds).sum()),
            false => None,
        };
        let host_seconds = match self.device {
            Device::Cpu => None,
            Device::Gpu(_) => {
                let mut seconds =
                    (0..HOST_RUNS).map(|_| session.host_seconds()).collect::<unet_wgpu::Result<Vec<_>>>()?;
                seconds.sort_by(f64::total_cmp);
                Some(median(&seconds))
            }
        };
        let run = Measured {
            batch,
            size,
            precision,
            flops,
            seconds,
            overlapped,
            device_seconds,
            host_seconds,
            difference,
            layers,
        };
        self.report.runs.push(run);
        Ok(())
    }

    /// Seconds between results while as many runs overlap as a session allows: the device computes one while the host
    /// uploads the next and downloads the last. On the CPU, runs do not overlap.
    fn overlapped(&self, session: &Session, input: impl Fn(usize) -> Tensor) -> Result<f64> {
        let threads = if matches!(self.device, Device::Cpu) { 1 } else { FRAMES as usize };
        let each = (self.args.runs as usize).div_ceil(threads);
        let inputs: Vec<Tensor> = (0..threads).map(input).collect();
        let start = Instant::now();
        std::thread::scope(|scope| {
            let runs = |input| move || (0..each).try_for_each(|_| session.run(input).map(drop));
            let threads: Vec<_> = inputs.iter().map(|input| scope.spawn(runs(input))).collect();
            let results = threads.into_iter().map(|thread| thread.join().expect("a run returns its errors"));
            results.collect::<unet_wgpu::Result<()>>()
        })?;
        Ok(start.elapsed().as_secs_f64() / (threads * each) as f64)
    }

    /// Compares an output with that of the unoptimised network on the CPU.
    fn check(&self, input: &Tensor, output: &Tensor, precision: Precision) -> Result<Difference> {
        let reference = cpu::run(&*self.model.graph(input.shape())?, input)?;
        let difference = Difference::of(output, &reference);
        if difference.passes(precision) {
            return Ok(difference);
        }
        let Difference { max_abs, nrmse, .. } = difference;
        let shape = input.shape();
        Err(Error::Usage(format!(
            "the output for {shape} in {precision} differs from the CPU reference (by {max_abs:.2e} at most, NRMSE {nrmse:.2e}), \
             so there are no figures; `unet verify` finds the layer"
        )))
    }

    /// Device time of each layer, the median of several runs.
    fn layers(
        &self,
        session: &Session,
        options: &SessionOptions,
        input: impl Fn(usize) -> Tensor,
    ) -> Result<Vec<Layer>> {
        let shape = session.input_shape();
        let graph = self.model.graph(shape)?;
        let optimized = optimize(&graph, shape, &options.optimizations)?;
        let costs = roofline::groups(&graph, &optimized, &[shape], options.precision)?;
        let runs = LAYER_RUNS.min(self.args.runs as usize);
        let timed = |run| {
            session.run(&input(run))?;
            session.layer_times()
        };
        let times = (0..runs).map(timed).collect::<unet_wgpu::Result<Vec<_>>>()?;
        Ok(group(&times, &costs))
    }
}

/// Whether layers can be timed.
pub(super) fn times_layers(device: &Device) -> bool {
    matches!(device, Device::Gpu(gpu) if gpu.report().timestamps)
}

/// Joins the dispatches of each layer. Its work comes from the cost model: what a kernel computes or moves in addition
/// is lost time, not work.
fn group(times: &[Vec<LayerTime>], costs: &[Cost]) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut seconds: Vec<Vec<f64>> = Vec::new();
    for (i, time) in times.first().into_iter().flatten().enumerate() {
        // The conversions between NCHW and the device's layout may share the name of a layer.
        let convert = matches!(time.kernel, "pack" | "unpack");
        let name = if convert { time.kernel } else { time.label.as_str() };
        let at = layers.iter().position(|layer| layer.name == name).unwrap_or_else(|| {
            let cost = costs.iter().find(|cost| !convert && cost.name == name);
            let (flops, bytes) = cost.map_or((time.flops, time.bytes), |c| (c.flops, c.bytes));
            let (name, kernels) = (name.to_string(), Vec::new());
            layers.push(Layer { name, kernels, dispatches: 0, seconds: 0.0, flops, bytes, bound_bytes: 0 });
            seconds.push(vec![0.0; times.len()]);
            layers.len() - 1
        });
        let layer = &mut layers[at];
        if !layer.kernels.contains(&time.kernel) {
            layer.kernels.push(time.kernel);
        }
        layer.dispatches += 1;
        layer.bound_bytes += time.bytes;
        for (sum, run) in seconds[at].iter_mut().zip(times) {
            *sum += run.get(i).map_or(0.0, |time| time.seconds);
        }
    }
    for (layer, mut seconds) in layers.iter_mut().zip(seconds) {
        seconds.sort_by(f64::total_cmp);
        layer.seconds = median(&seconds);
    }
    layers
}
