//! The contents of a file, which decide how it is processed.

use super::whole::NeedsWhole;
use super::{FurtherFile, Input, Job, Pipeline, Targets};
use crate::error::{Error, Result, Setting};
use crate::image::{Depth, Format, Pages, Picture, read_npy};
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
        self.open_job(&Job::new(path, targets.clone()), raw)
    }

    /// The same for a picture with its mask and further files. The bands of further files follow those of the picture in
    /// the order in which the recipe names them, or as they are given if it names none. Further files of a case are not
    /// read if the picture itself has as many bands as the network takes.
    ///
    /// # Errors
    /// Errors of reading and of [`Input`], and when names are unknown or missing, or sizes differ.
    pub fn open_job(&self, job: &Job, raw: bool) -> Result<Source> {
        let Job { input: path, also, targets, .. } = job;
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
            let named = |error: Error| match error {
                Error::NonFinite { .. } => Error::Picture { path: path.into(), message: error.to_string() },
                error => of_file(error, path),
            };
            let array = read_npy(path)?;
            let hole = self.mask_of(job, [array.shape().w, array.shape().h])?;
            let input = Input::array_with(array, hole, raw, &self.model).map_err(named)?;
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
        let pages = Pages::open(path)?;
        let hole = self.mask_of(job, [pages.rows().width(), pages.rows().height()])?;
        let mut pages = pages.with_hole(hole);
        if !also.is_empty() {
            return Ok(Source::One(Box::new(self.joined(pages, path, also)?)));
        }
        let holds_pages = |path: &Path| matches!(Format::of(path), Ok(Format::Tiff | Format::Npy));
        if pages.total() > 1 {
            // The first frame of an animation stands for it where a single picture is asked for.
            if pages.is_animation() && !targets.paths().all(holds_pages) {
                let first = pages.first().map_err(|error| of_file(error, path))?;
                return Ok(Source::One(Box::new(self.picture(first, path)?)));
            }
            return Ok(Source::Stack(pages));
        }
        let why_whole = match self.is_large(pages.rows(), targets) {
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
                error => of_file(error, path),
            })?;
        Ok(Source::One(Box::new(self.picture(picture, path)?)))
    }

    /// Prepares a picture of several files.
    fn joined(&self, mut pages: Pages, path: &Path, also: &[FurtherFile]) -> Result<Input> {
        let refuse = |message: String| Err(Error::Usage(format!("{}: {message}", path.display())));
        if pages.total() > 1 && !pages.is_animation() {
            return refuse("further files belong to a single picture, not to a stack".into());
        }
        let picture = pages.next().expect("a file has a picture, or does not open");
        let picture = picture.map_err(|error| of_file(error, path))?;
        let names = &self.model.recipe.input.also;
        let mut ordered: Vec<&FurtherFile> = also.iter().collect();
        if !names.is_empty() {
            let place = |name: &str| names.iter().position(|known| known == name);
            if let Some(other) = also.iter().find(|file| place(&file.name).is_none()) {
                return refuse(format!(
                    "no further picture is called {}; the network takes {}",
                    other.name,
                    names.join(", ")
                ));
            }
            if let Some(missing) = names.iter().find(|name| !also.iter().any(|file| file.name == **name)) {
                return refuse(format!("the network also takes {missing}; give it as --also {missing}=FILE"));
            }
            ordered.sort_by_key(|file| place(&file.name));
        } else if picture.colors_and_extra() == self.model.picture_channels() {
            return self.picture(picture, path);
        }
        let mut others = Vec::new();
        for FurtherFile { name, path } in ordered {
            let other = Picture::open(path)?;
            let others_size = [other.width(), other.height()];
            if others_size != [picture.width(), picture.height()] {
                let [w, h] = others_size;
                return refuse(format!(
                    "{}x{} pixels, but {} has {w}x{h}; all files of a picture need one size",
                    picture.width(),
                    picture.height(),
                    path.display()
                ));
            }
            // Open Image Denoise's normals are stored as 0.5 + 0.5 n in integers, and as they are in floats.
            others.push(if name == "normal" && other.depth() == Depth::Float {
                other.halved()?
            } else {
                other
            });
        }
        self.picture(picture.joined(&others)?, path)
    }

    /// Prepares a picture that comes from that file, which errors name.
    ///
    /// # Errors
    /// Errors of [`Input::picture`], and when the network's input is not finite.
    pub fn picture(&self, picture: Picture, path: &Path) -> Result<Input> {
        let input = Input::picture(picture, &self.model).map_err(|error| of_file(error, path))?;
        let finite = input.prepared.tensor().check_finite();
        finite.map_err(|error| in_file(error, path, input.picture.as_ref(), 0))?;
        Ok(input)
    }
}

/// An error about the picture of that file.
pub(super) fn of_file(error: Error, path: &Path) -> Error {
    match error {
        Error::Setting { setting, path: None, reason } => Error::setting(setting, path, reason),
        error => error.at(&path.display().to_string()),
    }
}

/// An error about a network's input that is not finite: the value in the picture of that file, of which row `top` and the
/// following are at hand, and what to do.
pub(super) fn in_file(error: Error, path: &Path, picture: Option<&Picture>, top: usize) -> Error {
    let found = picture.and_then(Picture::not_finite);
    let Some((value, [column, row])) = found.filter(|_| matches!(error, Error::NonFinite { .. })) else {
        return error;
    };
    let row = top + row;
    let remedy = "write nodata = 0 under [input] in MODEL.toml to put 0 there";
    let message = format!("the picture has the value {value} at column {column}, row {row}; {remedy}");
    Error::Picture { path: path.into(), message }
}
