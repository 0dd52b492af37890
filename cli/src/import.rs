//! `unet import`: the network in a checkpoint as one safetensors file.

use super::{Common, text};
use crate::error::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unet_wgpu::image::{check_writable, write_atomic};
use unet_wgpu::{Model, OpenOptions, Tensor, cpu};

/// Take the network out of a checkpoint and write it as one safetensors file
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  unet import gan.pth --part generator -o generator.safetensors")]
pub(super) struct ImportArgs {
    /// Checkpoint: a file of PyTorch or safetensors
    weights: PathBuf,
    /// File to write, ending in .safetensors
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Which network, where the file holds several: the beginning of its tensors' names
    #[arg(long, value_name = "NAME")]
    part: Option<String>,
    /// An ONNX export of the code that the weights belong to: its graph gets these weights
    #[arg(long, value_name = "NET.ONNX")]
    like: Option<PathBuf>,
}

pub(super) fn run(args: &ImportArgs, common: &Common) -> Result<ExitCode> {
    if args.out.extension().is_none_or(|e| e != "safetensors") {
        return Err(Error::Usage(format!("{}: end the name in .safetensors", args.out.display())));
    }
    check_writable(&args.out)?;
    let mut options = OpenOptions::default();
    (options.part, options.like) = (args.part.clone(), args.like.clone());
    let model = Model::open_with(&args.weights, &options)?;
    model.notes.iter().for_each(|note| common.say(note));
    if let Some(export) = &args.like {
        common.say(&compare(&model, export)?);
    }
    let bytes = model.to_safetensors(false)?;
    write_atomic(&args.out, &bytes)?;
    common.say(&format!("{}, {}", args.out.display(), text::mib(bytes.len() as u64)));
    Ok(ExitCode::SUCCESS)
}

/// Runs a network and the export that it was made like, and says how their results differ.
fn compare(model: &Model, export: &Path) -> Result<String> {
    let like = Model::open(export)?;
    let shapes = model.input_shapes(model.example_input())?;
    let inputs: Vec<Tensor> =
        shapes.iter().zip(1..).map(|(&shape, seed)| Tensor::random(shape, seed)).collect();
    let run = |model: &Model| -> Result<Tensor> {
        let graph = model.graph(&shapes)?;
        let mut results = cpu::run_with(&graph, &inputs.iter().collect::<Vec<_>>())?;
        Ok(results.swap_remove(0))
    };
    let (got, old) = (run(model)?, run(&like)?);
    if let Some(value) = got.data().iter().find(|v| !v.is_finite()) {
        return Err(Error::Usage(format!(
            "with these weights, the network gives {value} for random numbers"
        )));
    }
    let size = old.data().iter().fold(0f32, |most, v| most.max(v.abs())).max(f32::MIN_POSITIVE);
    let most = got.data().iter().zip(old.data()).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / size;
    Ok(match most {
        ..=1e-4 => {
            format!("these are the export's own weights: results differ by {most:.0e} of the largest value")
        }
        _ => format!(
            "these are other weights than the export's: results differ by {most:.2} of the largest value"
        ),
    })
}
