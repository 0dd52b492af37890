//! Files that belong to pictures by their names: references and masks.

use crate::error::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use unet_wgpu::Error;
use unet_wgpu::image::{Job, find_pictures};

/// A file for all pictures, or a folder of files with the names of the pictures.
pub(super) enum Beside {
    /// One file for all.
    One(PathBuf),
    /// The files of a folder.
    Folder(Names),
}

impl Beside {
    pub(super) fn find(path: &Path, recursive: bool) -> Result<Beside> {
        match path.is_dir() {
            true => Names::find(path, recursive).map(Beside::Folder),
            false => Ok(Beside::One(path.into())),
        }
    }

    /// The file of a picture. `what` it is, for errors.
    pub(super) fn of(&self, job: &Job, what: &str) -> unet_wgpu::Result<&Path> {
        match self {
            Beside::One(path) => Ok(path),
            Beside::Folder(names) => names.of(job, what),
        }
    }
}

/// The files of a folder by their names without extension.
pub(super) struct Names(BTreeMap<PathBuf, PathBuf>);

impl Names {
    pub(super) fn find(folder: &Path, recursive: bool) -> Result<Names> {
        let found = find_pictures(&[folder.into()], recursive, &[])?;
        Ok(Names(found.into_iter().map(|found| (found.name.with_extension(""), found.path)).collect()))
    }

    /// The file whose name is closest to that of the input, or of the case that it belongs to.
    pub(super) fn of(&self, job: &Job, what: &str) -> unet_wgpu::Result<&Path> {
        let input = &job.input;
        let case = job.name.file_name().unwrap_or_default();
        let name = if job.also.is_empty() { input.with_extension("") } else { input.with_file_name(case) };
        let fitting = self.0.iter().filter(|(key, _)| name.ends_with(key));
        let missing = || Error::Usage(format!("{}: no {what} has its name", input.display()));
        fitting
            .max_by_key(|(key, _)| key.components().count())
            .map(|(_, path)| path.as_path())
            .ok_or_else(missing)
    }
}
