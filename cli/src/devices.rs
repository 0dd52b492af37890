//! `unet devices`: the adapters of this machine.

use super::{device, text};
use crate::error::Result;
use clap::Args;
use std::process::ExitCode;
use unet_wgpu::gpu::{self, AdapterReport};

/// List the adapters that networks can run on, with their limits
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  unet devices\n  unet devices --json")]
pub(super) struct DevicesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DevicesArgs) -> Result<ExitCode> {
    let adapters = gpu::adapters();
    if args.json {
        let cpu = serde_json::json!({ "threads": device::threads() });
        text::print(&format!("{:#}\n", serde_json::json!({ "adapters": adapters, "cpu": cpu })))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report: String = adapters.iter().map(describe).collect();
    if adapters.is_empty() {
        report.push_str("no GPU adapter (install a Vulkan, Metal or DX12 driver)\n");
    }
    report.push_str(&format!("cpu: CPU path, f32, {} threads\n", device::threads()));
    text::print(&report)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(adapter: &AdapterReport) -> String {
    let AdapterReport { index, name, backend, driver, subgroup_size: [low, high], profile, .. } = adapter;
    let kind = match adapter.software {
        true => "software; used only when asked for".to_string(),
        false => adapter.device_type.clone(),
    };
    let yes = |has: bool| if has { "yes" } else { "no" };
    let matrices = match adapter.cooperative_matrix.is_empty() {
        true => "none".to_string(),
        false => adapter.cooperative_matrix.join(", "),
    };
    format!(
        "{index}: {name} ({backend}, {kind})\n   driver {driver}\n   f16 {}, timestamps {}, subgroups {low} to {high} lanes\n   \
         cooperative matrices: {matrices}\n   binding {}, buffer {}, workgroup memory {} KiB, {} lanes, {} workgroups an axis\n",
        yes(adapter.f16),
        yes(adapter.timestamps),
        text::mib(profile.max_binding),
        text::mib(profile.max_buffer),
        profile.max_workgroup_memory >> 10,
        profile.max_lanes,
        profile.max_workgroups,
    )
}
