//! `unet import`: the network in a checkpoint as one safetensors file.

use super::{Common, text};
use crate::error::{Error, Result};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use unet_wgpu::image::{check_writable, write_atomic};
use unet_wgpu::{Model, OpenOptions};

/// Take the network out of a checkpoint and write it as one safetensors file
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  unet import gan.pth --part generator -o generator.safetensors"
)]
pub(super) struct ImportArgs {
    /// Checkpoint: a file of PyTorch or safetensors
    weights: PathBuf,
    /// File to write, ending in .safetensors
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Which network, where the file holds several: the beginning of its tensors' names
    #[arg(long, value_name = "NAME")]
    part: Option<String>,
}

pub(super) fn run(args: &ImportArgs, common: &Common) -> Result<ExitCode> {
    if args.out.extension().is_none_or(|e| e != "safetensors") {
        return Err(Error::Usage(format!("{}: end the name in .safetensors", args.out.display())));
    }
    check_writable(&args.out)?;
    let mut options = OpenOptions::default();
    options.part = args.part.clone();
    let model = Model::open_with(&args.weights, &options)?;
    model.notes.iter().for_each(|note| common.say(note));
    let bytes = model.to_safetensors(false)?;
    write_atomic(&args.out, &bytes)?;
    common.say(&format!("{}, {}", args.out.display(), text::mib(bytes.len() as u64)));
    Ok(ExitCode::SUCCESS)
}
