//! `unet completions`: shell completion scripts.

use super::{Cli, text};
use crate::error::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print the script that completes subcommands and options in a shell
///
/// For bash: unet completions bash > ~/.local/share/bash-completion/completions/unet
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "unet", &mut script);
    text::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
