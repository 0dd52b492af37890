//! The contents of a file, which decide how it is processed.

use super::bands::NeedsWhole;
use super::{Input, Pipeline, Targets};
use crate::error::{Error, Result, Setting};
use crate::image::{Format, Pages, read_npy};
use std::path::Path;

/// The contents of a file, which decide how it is processed.
pub enum Source {
    /// A picture or an array, ready to [run](Pipeline::run_input).
    One(Box<Input>),
    /// Several pictures, for [`run_sequence`](Pipeline::run_sequence).
    Stack(Pages),
    /// A picture to be processed in bands: [`run_bands`](Pipeline::run_bands).
    Large,
}

impl Pipeline {
    /// Reads a picture file or an `.npy` array (with `raw`, of the network's own values). Stacks, and pictures that are
    /// better processed in bands for these targets, are not read here.
    ///
    /// # Errors
    /// Errors of reading and of [`Input`].
    pub fn open(&self, path: &Path, targets: &Targets, raw: bool) -> Result<Source> {
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
            let named = |error: Error| match error {
                Error::NonFinite { .. } => Error::Picture { path: path.into(), message: error.to_string() },
                error => error.at(&path.display().to_string()),
            };
            let input = Input::array(read_npy(path)?, raw, &self.model).map_err(named)?;
            let many = input.prepared.tensor().shape().n > 1;
            let is_array = |path: &Path| Format::of(path).is_ok_and(|format| format == Format::Npy);
            if let Some(target) = targets.paths().find(|path| many && !is_array(path)) {
                let message = "more than one picture in the input; end it in .npy";
                return Err(Error::Usage(format!("{}: {message}", target.display())));
            }
            return Ok(Source::One(Box::new(input)));
        }
        if raw {
            let reason = "only .npy arrays go to the network as they are; leave it out for pictures";
            return Err(Error::setting(Setting::RawInput, path, reason));
        }
        let mut pages = Pages::open(path)?;
        if pages.total() > 1 {
            return Ok(Source::Stack(pages));
        }
        let why_whole = match self.is_large(pages.rows()) {
            true => self.needs_whole(pages.rows(), targets),
            false => Some(NeedsWhole { setting: None, reason: String::new() }),
        };
        let Some(NeedsWhole { reason, .. }) = why_whole else { return Ok(Source::Large) };
        let picture =
            pages.next().expect("a file has a picture, or does not open").map_err(|error| match error {
                Error::Picture { path, message } if !reason.is_empty() => Error::Picture {
                    path,
                    message: format!("{message}; the picture is needed whole because of {reason}"),
                },
                error => error,
            })?;
        Ok(Source::One(Box::new(Input::picture(picture, &self.model)?)))
    }
}
