//! `unet verify`: every layer on the device against the CPU reference.

use super::values::Size;
use super::{Common, ModelArgs, device, text};
use crate::error::Result;
use crate::session::Device;
use crate::verify::{LayerCheck, verify};
use clap::Args;
use std::process::ExitCode;

/// Check every layer that the GPU computes against the CPU reference
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Input size, HEIGHTxWIDTH or one number
    #[arg(long, default_value = "128")]
    size: Size,
    /// Seed of the random input
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(args: &VerifyArgs, common: &Common) -> Result<ExitCode> {
    let model = args.model.open()?;
    let gpu = device::open_gpu(common, "verify")?;
    let input = args.size.shape(1, model.input_channels());
    let device = Device::Gpu(gpu);
    let checks = verify(&model, input, &device, &device::options(&device, common), args.seed)?;
    let mut rows = vec![text::row([&"layer", &"op", &"shape", &"max abs", &"NRMSE", &"verdict"])];
    rows.extend(checks.iter().map(row));
    let failed = checks.iter().filter(|check| !check.pass).count();
    let verdict = match failed {
        0 => "all agree with the CPU reference".to_string(),
        _ => format!("{failed} DIFFER from the CPU reference"),
    };
    let name = device::name(&device);
    let precision = common.options().precision;
    text::print(&format!(
        "{}\n{} values, {name}, {precision}: {verdict}\n",
        text::table(&rows, 3),
        checks.len()
    ))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(check: &LayerCheck) -> Vec<String> {
    let verdict = if check.pass { "ok" } else { "DIFFERS" };
    let (max_abs, nrmse) = (format!("{:.2e}", check.max_abs), format!("{:.2e}", check.nrmse));
    text::row([&check.name, &check.op, &check.shape, &max_abs, &nrmse, &verdict])
}
