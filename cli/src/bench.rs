//! `unet bench`: how long runs take, and how close each layer comes to the ceilings of the device.
//!
//! Every timed run gets a new random input. The last output must agree with the CPU reference before any figure is
//! printed.

use super::chart::{Bar, Chart, Format, Layers, Point};
use super::roofline::{self, Cost, Rates};
use super::values::Size;
use super::{Common, ModelArgs, PrecisionChoice, device, inspect, text};
use crate::error::{Error, Result};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use unet_wgpu::Model;
use unet_wgpu::Tensor;
use unet_wgpu::cpu;
use unet_wgpu::gpu::LayerTime;
use unet_wgpu::gpu::ceiling::{self, Ceilings};
use unet_wgpu::image::{check_writable, write_atomic};
use unet_wgpu::optimize::optimize;
use unet_wgpu::plan::{FRAMES, Precision};
use unet_wgpu::verify::Difference;
use unet_wgpu::{Device, Session, SessionOptions};

/// Runs before the timed ones. The first runs compile and allocate.
const WARM_UP: usize = 3;

/// Number of recordings; their median is the host's share.
const HOST_RUNS: usize = 5;

/// Most runs in which layers are timed one by one. Each takes about twice as long as a plain run.
const LAYER_RUNS: usize = 10;

/// Time a model: upload, run and read back, after a warm-up, on checked outputs
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  unet bench model.onnx --size 512 --device gpu\n  unet bench --preset seed --size 128 --layers --chart layers.svg"
)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Input sizes, HEIGHTxWIDTH or one number, separated by commas
    #[arg(long, default_value = "128", value_delimiter = ',')]
    size: Vec<Size>,
    /// Pictures in one run, one or several numbers separated by commas
    #[arg(long, default_value = "1", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    batch: Vec<u16>,
    /// Timed runs of each size
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Also time every layer on the GPU and compare with the measured multiply-add and copy rates of the device
    #[arg(long)]
    layers: bool,
    /// Do not compare with the CPU reference, which is slow for huge pictures
    #[arg(long)]
    no_check: bool,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw the layers (on a GPU) and the scaling (with several sizes or batches), as .svg or .png
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

pub(super) fn run(args: &BenchArgs, common: &Common) -> Result<ExitCode> {
    args.json.as_deref().map_or(Ok(()), check_writable)?;
    let format = args.chart.as_deref().map(Format::of).transpose()?;
    let model = args.model.open()?;
    super::check_one_input(&model, "bench")?;
    let device = match args.layers {
        true => Device::Gpu(device::open_gpu(common, "--layers")?),
        false => device::open(common)?,
    };
    let timed = times_layers(&device);
    if args.chart.is_some() && !timed && args.size.len() * args.batch.len() == 1 {
        let what = "--chart draws layers, which need a GPU with timestamps, or several sizes or batches";
        return Err(Error::Usage(format!("{what}; give one of these")));
    }
    let wants_layers = args.layers || (args.chart.is_some() && timed);
    let report = Report {
        adapter: match &device {
            Device::Cpu => Value::Null,
            Device::Gpu(gpu) => json!(gpu.report()),
        },
        device: device::name(&device),
        since_1970: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        checked: !args.no_check,
        tables: args.layers,
        ceilings: match &device {
            Device::Gpu(gpu) if wants_layers => Some(ceiling::measure(gpu)?),
            _ => None,
        },
        runs: Vec::new(),
    };
    let mut job = Job { args, common, model: &model, device: &device, wants_layers, report };
    for precision in precisions(common, &device) {
        for &size in &args.size {
            for &batch in &args.batch {
                job.measure(precision, size, usize::from(batch))?;
            }
        }
    }
    let report = job.report;
    text::print(&report.text())?;
    if let Some(path) = &args.json {
        write_atomic(path, format!("{:#}\n", report.json()).as_bytes())?;
    }
    if let (Some(path), Some(format)) = (&args.chart, format) {
        let chart = report.chart();
        if chart.is_empty() {
            return Err(Error::Usage("--chart found nothing to draw; give several sizes or batches".into()));
        }
        write_atomic(path, &chart.encode(format)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether layers can be timed.
fn times_layers(device: &Device) -> bool {
    matches!(device, Device::Gpu(gpu) if gpu.report().timestamps)
}

/// The precisions to measure. `both` leaves out f16 if the device does not have it.
fn precisions(common: &Common, device: &Device) -> Vec<Precision> {
    if common.precision != PrecisionChoice::Both {
        return vec![common.options().precision];
    }
    if matches!(device, Device::Gpu(gpu) if gpu.report().f16) {
        return vec![Precision::F32, Precision::F16];
    }
    common.say(&format!("{} has no f16; only f32 is measured", device::name(device)));
    vec![Precision::F32]
}

/// The model and device to measure, and the figures so far.
struct Job<'a> {
    args: &'a BenchArgs,
    common: &'a Common,
    model: &'a Model,
    device: &'a Device,
    wants_layers: bool,
    report: Report,
}

impl Job<'_> {
    fn measure(&mut self, precision: Precision, size: Size, batch: usize) -> Result<()> {
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

/// One layer of the optimised network, with all its dispatches.
#[derive(Debug, Clone)]
struct Layer {
    name: String,
    /// Its kernels without repetition.
    kernels: Vec<&'static str>,
    dispatches: usize,
    seconds: f64,
    flops: u64,
    bytes: u64,
    /// Bytes of everything that its dispatches bind, including scratch and padding.
    bound_bytes: u64,
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

/// The median of sorted numbers; 0 for none.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        n => (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
    }
}

impl Layer {
    /// Multiplications and additions per second; 0 for a layer that is faster than the clock's resolution.
    fn flop_rate(&self) -> f64 {
        if self.seconds > 0.0 { self.flops as f64 / self.seconds } else { 0.0 }
    }

    fn byte_rate(&self) -> f64 {
        if self.seconds > 0.0 { self.bytes as f64 / self.seconds } else { 0.0 }
    }

    fn json(&self, rates: Option<Rates>) -> Value {
        json!({
            "name": self.name,
            "kernel": self.kernels.join(" + "),
            "dispatches": self.dispatches,
            "ms": self.seconds * 1e3,
            "flops": self.flops,
            "bytes": self.bytes,
            "bound_bytes": self.bound_bytes,
            "gflops": self.flop_rate() / 1e9,
            "gbs": self.byte_rate() / 1e9,
            "share_of_fma": rates.map(|r| self.flop_rate() / r.flops),
            "share_of_copy": rates.map(|r| self.byte_rate() / r.bytes),
        })
    }
}

/// The figures of one size, batch and precision.
struct Measured {
    batch: usize,
    size: Size,
    precision: Precision,
    flops: u64,
    /// Time from the call to the result in host memory for each run, sorted.
    seconds: Vec<f64>,
    /// Time between results when runs overlap.
    overlapped: f64,
    /// Sum over the layers, without the gaps between them.
    device_seconds: Option<f64>,
    /// Host time to record and submit a run.
    host_seconds: Option<f64>,
    /// Difference from the CPU reference.
    difference: Option<Difference>,
    layers: Vec<Layer>,
}

impl Measured {
    fn size(&self) -> String {
        format!("{}x{}x{}", self.batch, self.size.height, self.size.width)
    }

    fn median(&self) -> f64 {
        median(&self.seconds)
    }

    /// The smallest time that 95 % of the runs do not exceed.
    fn p95(&self) -> f64 {
        self.seconds[(self.seconds.len() * 95).div_ceil(100) - 1]
    }

    fn gflops(&self) -> f64 {
        self.flops as f64 / self.median() / 1e9
    }

    fn pictures_per_second(&self) -> f64 {
        self.batch as f64 / self.overlapped
    }

    fn megapixels_per_second(&self) -> f64 {
        (self.size.height * self.size.width) as f64 * self.pictures_per_second() / 1e6
    }

    fn row(&self) -> Vec<String> {
        let ms = |seconds: f64| format!("{:.3}", seconds * 1e3);
        let none = || "-".to_string();
        text::row([
            &self.size(),
            &self.precision,
            &ms(self.median()),
            &ms(self.p95()),
            &ms(self.seconds[0]),
            &self.device_seconds.map_or_else(none, ms),
            &format!("{:.1}", self.gflops()),
            &format!("{:.2}", self.pictures_per_second()),
            &format!("{:.2}", self.megapixels_per_second()),
            &self.difference.map_or_else(none, |d| format!("{:.1e}", d.nrmse)),
        ])
    }

    fn json(&self, rates: Option<Rates>) -> Value {
        json!({
            "height": self.size.height,
            "width": self.size.width,
            "batch": self.batch,
            "precision": self.precision.to_string(),
            "runs": self.seconds.len(),
            "median_ms": self.median() * 1e3,
            "host_ms": self.host_seconds.map(|s| s * 1e3),
            "p95_ms": self.p95() * 1e3,
            "min_ms": self.seconds[0] * 1e3,
            "overlapped_ms": self.overlapped * 1e3,
            "device_ms": self.device_seconds.map(|s| s * 1e3),
            "flops": self.flops,
            "gflops": self.gflops(),
            "pictures_per_s": self.pictures_per_second(),
            "megapixels_per_s": self.megapixels_per_second(),
            "check": self.difference.map(|d| json!({ "max_abs": d.max_abs, "nrmse": d.nrmse, "range": d.range })),
            "layers": self.layers.iter().map(|layer| layer.json(rates)).collect::<Vec<_>>(),
        })
    }
}

/// All figures, and the device, driver and date.
struct Report {
    device: String,
    adapter: Value,
    since_1970: std::time::Duration,
    checked: bool,
    /// Whether the text has a table of layers. The JSON and the chart always have it.
    tables: bool,
    ceilings: Option<Ceilings>,
    runs: Vec<Measured>,
}

impl Report {
    fn rates(&self, precision: Precision) -> Option<Rates> {
        self.ceilings.map(|c| Rates { flops: c.fma(precision), bytes: c.copy })
    }

    fn date(&self) -> String {
        text::date(self.since_1970.as_secs())
    }

    /// Device, driver and date.
    fn heading(&self) -> String {
        let driver = self.adapter["driver"].as_str().map(|driver| format!(" ({driver})"));
        format!("{}{}, {}", self.device, driver.unwrap_or_default(), self.date())
    }

    fn text(&self) -> String {
        let mut rows = vec![text::row([
            &"batch x height x width",
            &"stored",
            &"median ms",
            &"p95 ms",
            &"min ms",
            &"device ms",
            &"GFLOP/s",
            &"pictures/s",
            &"Mpixel/s",
            &"NRMSE",
        ])];
        rows.extend(self.runs.iter().map(Measured::row));
        let checked = match self.checked {
            true => "outputs agree with the CPU reference",
            false => "outputs were NOT checked (--no-check)",
        };
        let runs = self.runs.first().map_or(0, |run| run.seconds.len());
        let mut report = format!("{}\n{}", self.heading(), text::table(&rows, 2));
        report.push_str(&format!(
            "{checked}; {runs} runs after {WARM_UP} of warm-up, each on a fresh random input\n\
             median, p95, min: upload, run and read back; device: the layers' own time, without what lies between them\n\
             pictures/s: with overlapping runs\n"
        ));
        if let Some(Ceilings { fma_f32, fma_f16, copy, .. }) = self.ceilings {
            let f16 = fma_f16.map(|rate| format!(", f16 {}", text::rate(rate, "FLOP")));
            report.push_str(&format!(
                "\nmeasured ceilings: multiply-add f32 {}{}; copy {}\n",
                text::rate(fma_f32, "FLOP"),
                f16.unwrap_or_default(),
                text::rate(copy, "B")
            ));
        }
        for run in self.runs.iter().filter(|run| self.tables && !run.layers.is_empty()) {
            let table = layer_table(&run.layers, self.rates(run.precision));
            report.push_str(&format!("\nlayers at {}, {}\n{table}", run.size(), run.precision));
        }
        report
    }

    fn json(&self) -> Value {
        let ceilings = self.ceilings.map(|c| {
            json!({
                "fma_f32_gflops": c.fma_f32 / 1e9,
                "fma_f16_gflops": c.fma_f16.map(|rate| rate / 1e9),
                "copy_gbs": c.copy / 1e9,
            })
        });
        json!({
            "device": self.device,
            "adapter": self.adapter,
            "version": env!("CARGO_PKG_VERSION"),
            "date": self.date(),
            "seed": self.since_1970.as_nanos() as u64,
            "checked": self.checked,
            "warm_up": WARM_UP,
            "ceilings": ceilings,
            "runs": self.runs.iter().map(|run| run.json(self.rates(run.precision))).collect::<Vec<_>>(),
        })
    }

    /// Layers of the largest run of each precision, and all runs.
    fn chart(&self) -> Chart {
        let mut largest: Vec<&Measured> = Vec::new();
        for run in self.runs.iter().filter(|run| !run.layers.is_empty()) {
            match largest.iter_mut().find(|other| other.precision == run.precision) {
                Some(other) if other.flops < run.flops => *other = run,
                Some(_) => {}
                None => largest.push(run),
            }
        }
        let shown = largest.first().map(|run| format!("layers at {}; ", run.size())).unwrap_or_default();
        let checked = if self.checked { "outputs checked" } else { "outputs NOT checked" };
        let layers = largest.iter().map(|run| Layers {
            name: run.precision.to_string(),
            bars: run.layers.iter().map(Layer::bar).collect(),
            peak: self.rates(run.precision).map_or(1.0, |rates| rates.flops),
        });
        Chart {
            title: self.device.clone(),
            subtitle: format!("{shown}{checked}; unet-wgpu {}, {}", env!("CARGO_PKG_VERSION"), self.date()),
            layers: layers.collect(),
            copy: self.ceilings.map_or(1.0, |c| c.copy),
            points: self.runs.iter().map(Measured::point).collect(),
        }
    }
}

impl Layer {
    fn bar(&self) -> Bar {
        let Layer { seconds, flops, bytes, .. } = *self;
        Bar { name: self.name.clone(), seconds, flops, bytes }
    }
}

impl Measured {
    fn point(&self) -> Point {
        Point {
            size: format!("{}x{}", self.size.height, self.size.width),
            pixels: self.size.height * self.size.width,
            batch: self.batch,
            precision: self.precision.to_string(),
            seconds: self.median(),
        }
    }
}

fn layer_table(layers: &[Layer], rates: Option<Rates>) -> String {
    let total: f64 = layers.iter().map(|l| l.seconds).sum();
    let mut rows =
        vec![text::row([&"layer", &"kernels", &"us", &"% time", &"GFLOP/s", &"% FMA", &"GB/s", &"% copy"])];
    let percent = |part: f64, whole: Option<f64>| match whole {
        Some(whole) if whole > 0.0 => format!("{:.1}", 100.0 * part / whole),
        _ => "-".into(),
    };
    rows.extend(layers.iter().map(|l| {
        text::row([
            &l.name,
            &l.kernels.join(" + "),
            &format!("{:.1}", l.seconds * 1e6),
            &percent(l.seconds, Some(total)),
            &format!("{:.1}", l.flop_rate() / 1e9),
            &percent(l.flop_rate(), rates.map(|r| r.flops)),
            &format!("{:.1}", l.byte_rate() / 1e9),
            &percent(l.byte_rate(), rates.map(|r| r.bytes)),
        ])
    }));
    let mut table = text::table(&rows, 2);
    let has = |kind: &str| layers.iter().any(|l| l.kernels.iter().any(|k| k.contains(kind)));
    if has("winograd") {
        table.push_str(
            "Winograd layers count the work of a plain convolution, so they may pass 100 % of FMA\n",
        );
    }
    if has("cooperative") {
        table.push_str("cooperative layers run on matrix units, so they may pass 100 % of FMA\n");
    }
    table
}
