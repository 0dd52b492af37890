use super::RunArgs;
use crate::cli::Common;
use crate::error::Result;
use crate::image::Targets;
use crate::model::Model;
use std::process::ExitCode;
pub(super) fn is_stream(_: &RunArgs, _: &Targets) -> bool {
    false
}
pub(super) fn run(_: &RunArgs, _: &Targets, _: Model, _: &Common) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
