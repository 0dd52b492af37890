//! `unet verify`: runs a model's own test tensors, or compares every layer on the device with the CPU reference.

use super::inputs::InputArgs;
use super::values::Size;
use super::{Common, ModelArgs, RecipeArg, device, text};
use crate::error::Result;
use clap::Args;
use std::process::ExitCode;
use unet_wgpu::Device;
use unet_wgpu::plan::Precision;
use unet_wgpu::verify::{LayerCheck, verify};
use unet_wgpu::{Model, TestPair};

/// Check a model's own test tensors, or compare every layer on the device with the CPU reference
///
/// A model with test tensors beside it (bioimage.io) is run on them, through its recipe, on the chosen device. Without
/// test tensors, or with --layers, a random picture goes through the recipe and every layer.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  unet verify bioimageio.yaml\n  unet verify model.onnx --layers --device gpu --precision f16"
)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    recipe: RecipeArg,
    /// Check layers even if the model has test tensors
    #[arg(long)]
    layers: bool,
    /// Input size, HEIGHTxWIDTH or one number [default: the size that the file was made for, else 128]
    #[arg(long)]
    size: Option<Size>,
    /// Seed of the random input
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(args: &VerifyArgs, common: &Common) -> Result<ExitCode> {
    let model = args.model.open(args.recipe.recipe.as_deref(), &args.inputs)?;
    if let Some(test) = model.test.as_ref().filter(|_| !args.layers) {
        return run_test(test, &model, common);
    }
    let gpu = device::open_gpu(common, "verify")?;
    let input = Size::or_example(args.size, &model);
    let device = Device::Gpu(gpu);
    let inputs = model.input_shapes(input)?;
    let checks = verify(&model, &inputs, &device, &device::options(&device, common), args.seed)?;
    let mut rows = vec![text::row([&"layer", &"op", &"shape", &"max abs", &"NRMSE", &"verdict"])];
    rows.extend(checks.iter().map(row));
    let failed = checks.iter().filter(|check| !check.pass).count();
    let verdict = match failed {
        0 => "all agree with the CPU reference".to_string(),
        _ => format!("{failed} DIFFER from the CPU reference"),
    };
    let overflow = checks.iter().any(|check| !check.max_abs.is_finite());
    let advice = match common.options().precision {
        Precision::F16 if failed > 0 && overflow => {
            "Numbers exceed 65504, the largest of f16: use --precision f32 for this network.\n"
        }
        Precision::F16 if failed > 0 => "f16 is too coarse for this network: use --precision f32.\n",
        Precision::F16 | Precision::F32 => "",
    };
    let name = device::name(&device);
    let precision = common.options().precision;
    text::print(&format!(
        "{}\n{} values, {name}, {precision}: {verdict}\n{advice}",
        text::table(&rows, 3),
        checks.len()
    ))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the model's own test tensors.
fn run_test(test: &TestPair, model: &Model, common: &Common) -> Result<ExitCode> {
    let device = device::open(common)?;
    let options = device::options(&device, common);
    let difference = test.run(model, device.clone(), &options)?;
    // f16 cannot meet a tolerance that was made for f32.
    let (pass, allowed) = match options.precision {
        Precision::F32 => (test.passes(&difference), format!("{:.0e} allowed", test.tolerance)),
        Precision::F16 => (difference.passes(Precision::F16), "NRMSE of 5e-3 allowed".into()),
    };
    let verdict = if pass { "pass" } else { "FAIL" };
    text::print(&format!(
        "{} through recipe and network, {}, {}\nagainst {}: max abs difference {:.2e}, NRMSE {:.2e} ({allowed}): {verdict}\n",
        test.input.path.display(),
        device::name(&device),
        options.precision,
        test.output.path.display(),
        difference.max_abs,
        difference.nrmse,
    ))?;
    Ok(if pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(check: &LayerCheck) -> Vec<String> {
    let verdict = if check.pass { "ok" } else { "DIFFERS" };
    let (max_abs, nrmse) = (format!("{:.2e}", check.max_abs), format!("{:.2e}", check.nrmse));
    text::row([&check.name, &check.op, &check.shape, &max_abs, &nrmse, &verdict])
}
