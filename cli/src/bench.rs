//! `unet bench`: how long runs take, and how close each layer comes to the ceilings of the device.
//!
//! Every timed run gets a new random input. The last output must agree with the CPU reference before any figure is
//! printed.

mod measure;
mod report;

use super::chart::Format;
use super::inputs::InputArgs;
use super::values::Size;
use super::{Common, ModelArgs, PrecisionChoice, device, text};
use crate::error::{Error, Result};
use clap::Args;
use measure::{Job, times_layers};
use report::Report;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use unet_wgpu::Device;
use unet_wgpu::gpu::ceiling;
use unet_wgpu::image::{check_writable, write_atomic};
use unet_wgpu::plan::Precision;

/// Time a model: upload, run and read back, after a warm-up, on checked outputs
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  unet bench model.onnx --size 512 --device gpu\n  unet bench --preset seed --size 128 --layers --chart layers.svg"
)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
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
    let model = args.model.open(None, &args.inputs)?;
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
