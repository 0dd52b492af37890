//! `unet convert`: any readable model as one safetensors file.

use super::Common;
use crate::error::{Error, Result};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use unet_wgpu::Model;
use unet_wgpu::image::{check_writable, write_atomic};

/// Write a model as one safetensors file with its graph, weights and recipe inside
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  unet convert checkpoint.pth model.safetensors\n  unet convert model.onnx model.safetensors --weights f16"
)]
pub(super) struct ConvertArgs {
    /// Model file of any format
    model: PathBuf,
    /// File to write, ending in .safetensors
    out: PathBuf,
    /// How weights are stored; f16 halves the file and rounds them
    #[arg(long, value_enum, default_value = "f32")]
    weights: Weights,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weights {
    F32,
    F16,
}

pub(super) fn run(args: &ConvertArgs, common: &Common) -> Result<ExitCode> {
    if args.out.extension().is_none_or(|e| e != "safetensors") {
        return Err(Error::Usage(format!("{}: end the name in .safetensors", args.out.display())));
    }
    check_writable(&args.out)?;
    let model = Model::open(&args.model)?;
    model.notes.iter().for_each(|note| common.say(note));
    let bytes = model.to_safetensors(args.weights == Weights::F16)?;
    write_atomic(&args.out, &bytes)?;
    common.say(&format!("{}, {}", args.out.display(), super::text::mib(bytes.len() as u64)));
    Ok(ExitCode::SUCCESS)
}
