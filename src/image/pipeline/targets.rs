//! The kinds of files that can be made of an outcome, their names, and what is refused before any work is done.

use super::OutputInfo;
use crate::error::{Error, Result, Setting};
use crate::image::mask::NO_BACKGROUND;
use crate::image::{Depth, Format, check_writable};
use crate::recipe::Decode;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A kind of file that can be made of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// The picture, the mask or the scores; in `.npy` the network's values after the recipe's output steps.
    Result,
    /// For masks: the probability of each class at each pixel, `.npy` or f32 TIFF.
    Probabilities,
    /// For masks: the input with the colours of the classes over it.
    Overlay,
    /// For masks: the input with a line around each region.
    Contours,
    /// For masks: the input, transparent where it is background, or over the pipeline's backdrop.
    Cutout,
    /// For masks: the class number of each pixel, `.png` with a palette or `.tiff`.
    LabelMap,
    /// Input and result (for masks, the overlay) side by side.
    Compare,
    /// For masks: pixels, share and connected components of each class, `.csv` or `.json`.
    Statistics,
}

/// A file to be made of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its kind.
    pub kind: TargetKind,
    /// Its path; for several pictures, the folder of the files.
    pub path: PathBuf,
}

/// All files to be made of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets(pub Vec<Target>);

impl TargetKind {
    /// All kinds.
    pub const ALL: [TargetKind; 8] = [
        TargetKind::Result,
        TargetKind::Probabilities,
        TargetKind::Overlay,
        TargetKind::Contours,
        TargetKind::Cutout,
        TargetKind::LabelMap,
        TargetKind::Compare,
        TargetKind::Statistics,
    ];

    /// The setting that errors name for this kind.
    pub fn setting(self) -> Setting {
        match self {
            TargetKind::Result => Setting::Result,
            TargetKind::Probabilities => Setting::Probabilities,
            TargetKind::Overlay => Setting::Overlay,
            TargetKind::Contours => Setting::Contours,
            TargetKind::Cutout => Setting::Cutout,
            TargetKind::LabelMap => Setting::LabelMap,
            TargetKind::Compare => Setting::Comparison,
            TargetKind::Statistics => Setting::Statistics,
        }
    }

    /// Whether it shows the input.
    pub(super) fn needs_picture(self) -> bool {
        matches!(self, TargetKind::Overlay | TargetKind::Contours | TargetKind::Cutout | TargetKind::Compare)
    }

    /// Whether each row can be made without the others.
    pub(super) fn in_bands(self) -> bool {
        !matches!(self, TargetKind::Contours | TargetKind::Statistics | TargetKind::Probabilities)
    }

    /// The extension of its files in a folder, if `result` is that of results and `drawing` that of drawings.
    fn extension<'a>(self, result: &'a str, drawing: &'a str) -> &'a str {
        match self {
            TargetKind::Result => result,
            TargetKind::Probabilities => "npy",
            TargetKind::Statistics => "csv",
            _ => drawing,
        }
    }

    /// Refuses a file whose format cannot hold it.
    fn check_name(self, path: &Path, info: &OutputInfo) -> Result<()> {
        let refuse = |reason: &str| Err(Error::setting(self.setting(), path, reason));
        let OutputInfo { decode, channels, .. } = *info;
        if self == TargetKind::Statistics {
            let extension = path.extension().map(|e| e.to_ascii_lowercase());
            let known = extension.is_some_and(|e| e == "csv" || e == "json");
            return if known { Ok(()) } else { refuse("these are tables; end the name in .csv or .json") };
        }
        let format = Format::of(path)?;
        match self {
            TargetKind::Probabilities if !matches!(format, Format::Npy | Format::Tiff) => {
                refuse("these are numbers; end the name in .npy or .tiff")
            }
            TargetKind::Result if decode == Decode::Scores && format.is_picture() => {
                refuse("the model gives class scores; end the name in .txt or .npy")
            }
            TargetKind::Result if decode != Decode::Scores && format == Format::Text => refuse(
                "the model gives a picture; end the name in .png, .jpg, .tiff, .bmp, .webp, .exr, .pfm or .npy",
            ),
            TargetKind::Result
                if matches!(decode, Decode::Image | Decode::Values)
                    && !matches!(channels, 1 | 3)
                    && format != Format::Npy =>
            {
                refuse("the model's result has neither 1 nor 3 channels; end the name in .npy")
            }
            _ if self.needs_picture() && !format.is_picture() => {
                refuse("this is a picture; end the name in .png")
            }
            TargetKind::Cutout if !format.holds_alpha() && !info.has_backdrop => {
                refuse("this is transparent in parts; end the name in .png, .webp, .tiff or .exr")
            }
            TargetKind::LabelMap if !matches!(format, Format::Png | Format::Tiff) => {
                refuse("these are class numbers; end the name in .png or .tiff")
            }
            _ => Ok(()),
        }
    }

    /// Refuses kinds that the network does not provide.
    fn check_kind(self, info: &OutputInfo) -> Result<()> {
        let reason = match (self, info.decode) {
            (TargetKind::LabelMap, Decode::Labels) => {
                "labels may overlap, so a pixel has no one number; use --out, a file or a page for each label"
            }
            (TargetKind::Cutout, decode) if decode.is_mask() && !info.has_background => NO_BACKGROUND,
            (TargetKind::Result, _) | (_, Decode::Mask | Decode::Labels) => return Ok(()),
            (TargetKind::Probabilities, Decode::Classes) => {
                "the network gives class numbers, and keeps their probabilities to itself; leave it out"
            }
            (_, Decode::Classes) => return Ok(()),
            (TargetKind::Compare, Decode::Image | Decode::Values) if matches!(info.channels, 1 | 3) => {
                return Ok(());
            }
            (TargetKind::Compare, Decode::Image | Decode::Values) => {
                "the model's result has neither 1 nor 3 channels; leave it out"
            }
            (_, Decode::Scores) => "the model gives class scores; leave it out",
            (_, Decode::Image | Decode::Values) => {
                "this is made of masks, the model gives pictures; leave it out"
            }
        };
        Err(Error::Setting { setting: self.setting(), path: None, reason: reason.into() })
    }
}

impl Target {
    /// Whether its file holds the network's values.
    pub(super) fn is_numbers(&self) -> bool {
        self.kind == TargetKind::Result && Format::of(&self.path).is_ok_and(|format| format == Format::Npy)
    }

    /// Whether its file holds floats.
    pub(super) fn holds_floats(&self) -> bool {
        Format::of(&self.path).is_ok_and(|format| format.depth(Depth::Float) == Depth::Float)
    }
}

impl Targets {
    /// The paths of the files or folders.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|target| target.path.as_path())
    }

    /// Refuses everything that could not be written, before any work is done: kinds that the model does not provide,
    /// extensions, missing folders, duplicate names, and files that are inputs, such as the picture and its mask. With
    /// `overwrite`, the result may replace one.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::Picture`], naming the file.
    pub fn check<'a>(
        &self,
        inputs: impl IntoIterator<Item = &'a Path>,
        info: &OutputInfo,
        overwrite: bool,
    ) -> Result<()> {
        self.check_names(info)?;
        self.paths().try_for_each(check_writable)?;
        let inputs: Vec<PathBuf> = inputs.into_iter().filter_map(|input| input.canonicalize().ok()).collect();
        self.check_apart(|path| inputs.iter().any(|input| input == path), overwrite)
    }

    /// Refuses duplicate names and names of inputs, which `is_input` knows by their canonical paths.
    pub(super) fn check_apart(&self, is_input: impl Fn(&Path) -> bool, overwrite: bool) -> Result<()> {
        let mut taken = HashSet::new();
        for Target { kind, path } in &self.0 {
            let input = path.canonicalize().is_ok_and(|path| is_input(&path));
            let reason = match kind {
                _ if !taken.insert(full(path)) => "another result has this name; choose one of its own",
                // The result is written under a temporary name first.
                TargetKind::Result if input && !overwrite => "this is an input; --overwrite replaces it",
                TargetKind::Result => continue,
                _ if input => "this is an input; choose another name",
                _ => continue,
            };
            return Err(Error::setting(kind.setting(), path, reason));
        }
        Ok(())
    }

    /// Refuses kinds that the model does not provide.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check_kinds(&self, info: &OutputInfo) -> Result<()> {
        self.0.iter().try_for_each(|target| target.kind.check_kind(info))
    }

    /// Refuses kinds that the model does not provide, and extensions that cannot hold them.
    pub(super) fn check_names(&self, info: &OutputInfo) -> Result<()> {
        self.check_kinds(info)?;
        self.0.iter().try_for_each(|Target { kind, path }| kind.check_name(path, info))
    }

    /// The files of one picture in these folders: `name` with the extension of each. The result has `extension`, or by
    /// default PNG; inputs that may have pages get TIFF, also for drawings, and floats stay floats.
    pub(super) fn of(&self, input: &Path, name: &Path, gives: Decode, extension: Option<&str>) -> Targets {
        let own = input.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        let drawing = if matches!(own.as_str(), "tif" | "tiff" | "nii" | "gz") { "tiff" } else { "png" };
        let result = extension.unwrap_or(match (gives, own.as_str()) {
            (Decode::Scores, _) => "txt",
            (Decode::Image, "exr") => "exr",
            (Decode::Image, "pfm" | "hdr") => "pfm",
            (Decode::Image | Decode::Values, "npy") => "npy",
            // A page for each label.
            (Decode::Labels, _) => "tiff",
            _ => drawing,
        });
        let file = |target: &Target| {
            let mut name = name.as_os_str().to_owned();
            name.push(".");
            name.push(target.kind.extension(result, drawing));
            Target { kind: target.kind, path: target.path.join(name) }
        };
        Targets(self.0.iter().map(file).collect())
    }
}

/// An absolute path.
fn full(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or(path.into())
}
