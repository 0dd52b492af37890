//! `unet tune`: measures the fastest kernel for each layer and keeps the choice for later runs.

use super::inputs::InputArgs;
use super::values::Size;
use super::{Common, ModelArgs, device, text};
use crate::error::{Error, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use unet_wgpu::gpu::{AdapterChoice, Gpu};
use unet_wgpu::image::{check_writable, write_atomic};
use unet_wgpu::plan::{ConvKernel, Precision};
use unet_wgpu::tune::{Candidate, Layer, Report, tune};

/// Measure the fastest kernel for each layer on this GPU; later runs at this size use it
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  unet tune model.onnx --size 512 --device gpu")]
pub(super) struct TuneArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// Input sizes, HEIGHTxWIDTH or one number, separated by commas
    #[arg(long, default_value = "128", value_delimiter = ',')]
    size: Vec<Size>,
    /// Pictures in one run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: &TuneArgs, common: &Common) -> Result<ExitCode> {
    args.json.as_deref().map_or(Ok(()), check_writable)?;
    if common.kernel != ConvKernel::Auto {
        return Err(Error::Usage("tune measures every kernel; drop --kernel".into()));
    }
    let model = args.model.open(None, &args.inputs)?;
    let gpu = open(common)?;
    let options = common.options();
    let bar = if common.quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    bar.set_style(ProgressStyle::with_template("{bar:20} {msg}").unwrap_or(ProgressStyle::default_bar()));
    let mut runs = Vec::new();
    for &size in &args.size {
        let shape = size.shape(usize::from(args.batch), model.input_channels());
        let report = tune(&model, shape, &gpu, &options, &mut |kernel, done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            bar.set_message(format!("{}x{}: {}", size.height, size.width, name(kernel)));
        })?;
        // Saved at once, because a larger size may fail later.
        let kept = if common.no_cache { None } else { Some(report.tuning.save(gpu.report())?) };
        bar.suspend(|| text::print(&describe(&report, size, args.batch, &gpu, options.precision)))?;
        runs.push((size, report, kept));
    }
    bar.finish_and_clear();
    if let Some(path) = runs.iter().find_map(|(.., kept)| kept.as_ref()) {
        common.say(&format!("kept in {}", path.display()));
    }
    if let Some(path) = &args.json {
        let runs: Vec<Value> = runs
            .iter()
            .map(|(size, report, _)| figures(report, *size, args.batch, options.precision))
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        let all = json!({ "adapter": gpu.report(), "version": version, "runs": runs });
        write_atomic(path, format!("{all:#}\n").as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The device, with matrix units if it has them and they may be used.
fn open(common: &Common) -> Result<Gpu> {
    let gpu = device::open_gpu(common, "tune")?;
    if common.options().precision != Precision::F16 || gpu.report().profile.cooperative.is_some() {
        return Ok(gpu);
    }
    Ok(Gpu::open_cooperative(&AdapterChoice::Index(gpu.report().index)).unwrap_or(gpu))
}

fn name(kernel: ConvKernel) -> String {
    match kernel {
        ConvKernel::Auto => "default".into(),
        kernel => format!("{kernel:?}").to_lowercase(),
    }
}

fn describe(report: &Report, size: Size, batch: u16, gpu: &Gpu, precision: Precision) -> String {
    let gain = |from: f64, to: f64| format!("{:.2}x", from / to.max(1e-9));
    let us = |seconds: f64| format!("{:.1}", seconds * 1e6);
    let mut rows = vec![text::row([&"layer", &"default", &"best", &"us", &"us", &"gain"])];
    rows.extend(report.layers.iter().map(|Layer { name: layer, default, best, .. }| {
        let gain = gain(default.seconds, best.seconds);
        let kernels = [name(default.kernel), name(best.kernel)];
        text::row([layer, &kernels[0], &kernels[1], &us(default.seconds), &us(best.seconds), &gain])
    }));
    let sum = |of: fn(&Layer) -> Candidate| report.layers.iter().map(|layer| of(layer).seconds).sum::<f64>();
    let (default, best) = (sum(|layer| layer.default), sum(|layer| layer.best));
    rows.push(text::row([&"total", &"", &"", &us(default), &us(best), &gain(default, best)]));
    let [before, after] = report.seconds;
    let mut text = format!(
        "{}, {precision}, {batch}x{}x{}\n{}whole run {:.3} ms by the default rule, {:.3} ms tuned, {}\n",
        gpu.report().name,
        size.height,
        size.width,
        text::table(&rows, 3),
        before * 1e3,
        after * 1e3,
        gain(before, after),
    );
    if !report.pays {
        text.push_str("the whole run is not faster; the default rule stays\n");
    }
    for (kernel, why) in &report.left_out {
        text.push_str(&format!("{} left out: {why}\n", name(*kernel)));
    }
    text
}

fn figures(report: &Report, size: Size, batch: u16, precision: Precision) -> Value {
    let side = |c: &Candidate| json!({ "kernel": c.kernel, "ms": c.seconds * 1e3 });
    let layer = |l: &Layer| json!({ "name": l.name, "key": l.key, "default": side(&l.default), "best": side(&l.best) });
    let left_out = |(kernel, why): &(ConvKernel, String)| json!({ "kernel": kernel, "why": why });
    json!({
        "height": size.height,
        "width": size.width,
        "batch": batch,
        "precision": precision.to_string(),
        "default_ms": report.seconds[0] * 1e3,
        "tuned_ms": report.seconds[1] * 1e3,
        "pays": report.pays,
        "layers": report.layers.iter().map(layer).collect::<Vec<_>>(),
        "left_out": report.left_out.iter().map(left_out).collect::<Vec<_>>(),
    })
}
