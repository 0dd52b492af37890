//! `unet man`: the help as manual pages.

use super::{Cli, text};
use crate::error::{Error, Result};
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use std::path::PathBuf;
use std::process::ExitCode;
use unet_wgpu::image::write_atomic;

/// Print the manual page, or write one for every subcommand
///
/// To read it: unet man | man -l -
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder for unet.1, unet-run.1 and so on; without it unet.1 is printed
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> Result<ExitCode> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.folder else {
        text::print(&String::from_utf8_lossy(&page(&Man::new(command))?))?;
        return Ok(ExitCode::SUCCESS);
    };
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();
    for man in subcommands.into_iter().chain([command]).map(Man::new) {
        write_atomic(&folder.join(man.get_filename()), &page(&man)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn page(man: &Man) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page).map_err(|e| Error::Usage(format!("the manual page cannot be written: {e}")))?;
    Ok(page)
}
