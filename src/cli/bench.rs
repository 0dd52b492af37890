//! `unet bench`: how long runs take.

use super::values::Size;
use super::{Common, ModelArgs, device, inspect, text};
use crate::error::Result;
use crate::gpu::LayerTime;
use crate::image::write_atomic;
use crate::model::Model;
use crate::session::Device;
use crate::tensor::Tensor;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Runs before those that are timed: the first ones compile and allocate.
const WARM_UP: usize = 3;

/// Time a model: upload, run and read back, after a warm-up
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Input sizes, HEIGHTxWIDTH or one number, with commas between
    #[arg(long, default_value = "128", value_delimiter = ',')]
    size: Vec<Size>,
    /// Pictures in one run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Timed runs of each size
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Also time every layer on the GPU
    #[arg(long)]
    layers: bool,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: &BenchArgs, common: &Common) -> Result<ExitCode> {
    let model = args.model.open()?;
    let device = match args.layers {
        true => Device::Gpu(device::open_gpu(common, "--layers")?),
        false => device::open(common)?,
    };
    let runs = args.size.iter().map(|&size| measure(args, common, &model, &device, size));
    let runs = runs.collect::<Result<Vec<Measured>>>()?;
    let mut rows = vec![text::row([&"batch x height x width", &"median ms", &"p95 ms", &"GFLOP/s"])];
    rows.extend(runs.iter().map(Measured::row));
    let mut report =
        format!("{}, {}\n", device::name(&device), common.options().precision) + &text::table(&rows, 1);
    for run in runs.iter().filter(|run| !run.layers.is_empty()) {
        report.push_str(&format!("\nlayers at {}\n{}", run.size(), layer_table(&run.layers)));
    }
    text::print(&report)?;
    if let Some(path) = &args.json {
        let driver = match &device {
            Device::Cpu => Value::Null,
            Device::Gpu(gpu) => json!(gpu.report()),
        };
        let runs: Vec<Value> =
            runs.iter().map(|run| run.json(&common.options().precision.to_string())).collect();
        let name = device::name(&device);
        let all =
            json!({ "device": name, "adapter": driver, "version": env!("CARGO_PKG_VERSION"), "runs": runs });
        write_atomic(path, format!("{all:#}\n").as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The figures of one size.
struct Measured {
    batch: usize,
    size: Size,
    flops: u64,
    /// Seconds of each run, sorted.
    seconds: Vec<f64>,
    layers: Vec<LayerTime>,
}

fn measure(
    args: &BenchArgs,
    common: &Common,
    model: &Model,
    device: &Device,
    size: Size,
) -> Result<Measured> {
    let batch = usize::from(args.batch);
    let shape = size.shape(batch, model.graph.input_channels());
    let flops = inspect::flops(&model.graph, shape)?;
    let session = device::session(model, shape, device, common)?;
    let input = Tensor::random(shape, 1);
    let total = WARM_UP + args.runs as usize;
    let bar = if common.quiet { ProgressBar::hidden() } else { ProgressBar::new(total as u64) };
    let mut seconds = Vec::with_capacity(total);
    for _ in 0..total {
        let start = Instant::now();
        session.run(&input)?;
        seconds.push(start.elapsed().as_secs_f64());
        bar.inc(1);
    }
    bar.finish_and_clear();
    seconds.drain(..WARM_UP);
    seconds.sort_by(f64::total_cmp);
    let layers = if args.layers { session.layer_times()? } else { Vec::new() };
    Ok(Measured { batch, size, flops, seconds, layers })
}

impl Measured {
    fn size(&self) -> String {
        format!("{}x{}x{}", self.batch, self.size.height, self.size.width)
    }

    fn median(&self) -> f64 {
        let n = self.seconds.len();
        (self.seconds[(n - 1) / 2] + self.seconds[n / 2]) / 2.0
    }

    /// The smallest time that 95 % of the runs do not pass.
    fn p95(&self) -> f64 {
        self.seconds[(self.seconds.len() * 95).div_ceil(100) - 1]
    }

    fn gflops(&self) -> f64 {
        self.flops as f64 / self.median() / 1e9
    }

    fn row(&self) -> Vec<String> {
        let ms = |seconds: f64| format!("{:.3}", seconds * 1e3);
        text::row([&self.size(), &ms(self.median()), &ms(self.p95()), &format!("{:.1}", self.gflops())])
    }

    fn json(&self, precision: &str) -> Value {
        let layer = |l: &LayerTime| json!({ "name": l.label, "kernel": l.kernel, "ms": l.seconds * 1e3, "flops": l.flops, "bytes": l.bytes });
        json!({
            "height": self.size.height,
            "width": self.size.width,
            "batch": self.batch,
            "precision": precision,
            "runs": self.seconds.len(),
            "median_ms": self.median() * 1e3,
            "p95_ms": self.p95() * 1e3,
            "flops": self.flops,
            "gflops": self.gflops(),
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
        })
    }
}

fn layer_table(layers: &[LayerTime]) -> String {
    let mut rows = vec![text::row([&"layer", &"kernel", &"us", &"GFLOP/s", &"GB/s"])];
    rows.extend(layers.iter().map(|l| {
        let rate = |amount: u64| format!("{:.1}", amount as f64 / l.seconds.max(1e-9) / 1e9);
        text::row([&l.label, &l.kernel, &format!("{:.1}", l.seconds * 1e6), &rate(l.flops), &rate(l.bytes)])
    }));
    text::table(&rows, 2)
}
