//! What can be made of an outcome, and the files that it goes to.

use super::{Gives, Outcome, Pipeline, Sink};
use crate::error::{Error, Result};
use crate::image::{
    Decoded, Format, Mask, Picture, Score, Statistics, check_place, cutout, encode_npy, probabilities,
    side_by_side, write_atomic,
};
use crate::recipe::Decode;
use crate::tensor::Tensor;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Something that can be made of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// The picture, the mask or the scores; in `.npy` the network's numbers after the recipe's steps.
    Result,
    /// Of masks: a probability a class and pixel, `.npy` or f32 TIFF.
    Probabilities,
    /// Of masks: the input with the classes' colours laid over it.
    Overlay,
    /// Of masks: the input with lines around what was found.
    Contours,
    /// Of masks: the input, transparent where it is background.
    Cutout,
    /// Input and result (of masks, the overlay) side by side.
    Compare,
    /// Of masks: pixels, share and connected components of each class, `.csv` or `.json`.
    Statistics,
}

/// Something to be made, and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What is made.
    pub what: What,
    /// Its file; for several pictures, the folder of their files.
    pub path: PathBuf,
}

/// All that is to be made of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets(pub Vec<Target>);

/// Something made of an outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// A picture.
    Picture(Picture),
    /// A class a pixel.
    Mask(Mask),
    /// Class scores, best first.
    Scores(Vec<Score>),
    /// Numbers, NCHW.
    Numbers(Tensor),
    /// A table.
    Statistics(Statistics),
}

impl What {
    /// All of them.
    pub const ALL: [What; 7] = [
        What::Result,
        What::Probabilities,
        What::Overlay,
        What::Contours,
        What::Cutout,
        What::Compare,
        What::Statistics,
    ];

    /// The command's option for it.
    pub fn option(self) -> &'static str {
        match self {
            What::Result => "--out",
            What::Probabilities => "--probabilities",
            What::Overlay => "--overlay",
            What::Contours => "--contours",
            What::Cutout => "--cutout",
            What::Compare => "--compare",
            What::Statistics => "--stats",
        }
    }

    /// Whether it shows the input.
    fn needs_picture(self) -> bool {
        matches!(self, What::Overlay | What::Contours | What::Cutout | What::Compare)
    }

    /// Whether each row can be made without the others.
    pub(super) fn in_bands(self) -> bool {
        !matches!(self, What::Contours | What::Statistics | What::Probabilities)
    }

    /// The extension of its files in a folder, where that of the result is `result` and drawings are `drawing`.
    fn extension<'a>(self, result: &'a str, drawing: &'a str) -> &'a str {
        match self {
            What::Result => result,
            What::Probabilities => "npy",
            What::Overlay | What::Contours | What::Cutout | What::Compare => drawing,
            What::Statistics => "csv",
        }
    }

    /// What its file names must end in; errors when a path does not.
    fn check_name(self, path: &Path, gives: &Gives) -> Result<()> {
        let refuse = |message: &str| Err(Error::Usage(format!("{}: {message}", path.display())));
        let Gives { decode, channels, .. } = *gives;
        if self == What::Statistics {
            let extension = path.extension().map(|e| e.to_ascii_lowercase());
            let known = extension.is_some_and(|e| e == "csv" || e == "json");
            return if known { Ok(()) } else { refuse("--stats writes tables; end it in .csv or .json") };
        }
        let format = Format::of(path)?;
        match self {
            What::Probabilities if !matches!(format, Format::Npy | Format::Tiff) => {
                refuse("--probabilities writes numbers; end it in .npy or .tiff")
            }
            What::Result if decode == Decode::Scores && format.is_picture() => {
                refuse("the model gives class scores; end it in .txt or .npy")
            }
            What::Result if decode != Decode::Scores && format == Format::Text => refuse(
                "the model gives a picture; end it in .png, .jpg, .tiff, .bmp, .webp, .exr, .pfm or .npy",
            ),
            What::Result
                if decode == Decode::Image && !matches!(channels, 1 | 3) && format != Format::Npy =>
            {
                refuse("the model's result has neither 1 nor 3 channels; end it in .npy")
            }
            what if what.needs_picture() && !format.is_picture() => {
                refuse(&format!("{} writes pictures; end it in .png", what.option()))
            }
            What::Cutout if !format.holds_alpha() => {
                refuse("--cutout writes transparency; end it in .png, .webp, .tiff or .exr")
            }
            _ => Ok(()),
        }
    }

    /// Errors when a network of that kind does not give it.
    fn check_kind(self, gives: &Gives) -> Result<()> {
        let Gives { decode, channels, .. } = *gives;
        let option = self.option();
        let needed = match (self, decode) {
            (What::Result, _) => return Ok(()),
            (_, Decode::Scores) => format!("the model gives class scores; drop {option}"),
            (What::Compare, Decode::Image) if matches!(channels, 1 | 3) => return Ok(()),
            (What::Compare, Decode::Mask) => return Ok(()),
            (What::Compare, Decode::Image) => format!("{option} needs a result of 1 or 3 channels; drop it"),
            (_, Decode::Image) => format!("{option} is for masks, the model gives pictures; use --compare"),
            (_, Decode::Mask) => return Ok(()),
        };
        Err(Error::Usage(needed))
    }
}

impl Targets {
    /// The files, or folders.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|target| target.path.as_path())
    }

    /// Refuses what could not be written later, before any work is done: kinds that the model does not give, extensions,
    /// missing folders, names used twice, an input that would be overwritten by anything but its result.
    ///
    /// # Errors
    /// [`Error::Usage`] and [`Error::Picture`], naming the file.
    pub fn check(&self, input: Option<&Path>, gives: &Gives) -> Result<()> {
        self.check_names(gives)?;
        self.paths().try_for_each(check_place)?;
        // The result may replace the input, since it is written aside first.
        self.check_apart(|Target { what, path }| {
            *what != What::Result && input.is_some_and(|input| full(input) == full(path))
        })
    }

    /// Refuses names that are used twice, and those of inputs.
    pub(super) fn check_apart(&self, is_input: impl Fn(&Target) -> bool) -> Result<()> {
        let mut taken = HashSet::new();
        let mut unfit = self.0.iter().filter(|target| is_input(target) || !taken.insert(full(&target.path)));
        let Some(target) = unfit.next() else { return Ok(()) };
        let options: Vec<&str> = self.0.iter().map(|target| target.what.option()).collect();
        let message = format!("{} must name different files, and no input", options.join(", "));
        Err(Error::Usage(format!("{}: {message}", target.path.display())))
    }

    /// Refuses kinds that the model does not give.
    ///
    /// # Errors
    /// [`Error::Usage`], naming the option.
    pub fn check_kinds(&self, gives: &Gives) -> Result<()> {
        self.0.iter().try_for_each(|target| target.what.check_kind(gives))
    }

    /// Refuses kinds that the model does not give and extensions that cannot hold them.
    pub(super) fn check_names(&self, gives: &Gives) -> Result<()> {
        self.check_kinds(gives)?;
        self.0.iter().try_for_each(|Target { what, path }| what.check_name(path, gives))
    }

    /// The files of one picture, where these are folders: `name` with each one's extension. The result's is `extension`, or
    /// else PNG, but for files that hold more than it can: what may have pages becomes TIFF, drawings too, and floats stay
    /// floats.
    pub(super) fn of(&self, input: &Path, name: &Path, gives: Decode, extension: Option<&str>) -> Targets {
        let own = input.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        let drawing = if matches!(own.as_str(), "tif" | "tiff" | "nii" | "gz") { "tiff" } else { "png" };
        let result = extension.unwrap_or(match (gives, own.as_str()) {
            (Decode::Scores, _) => "txt",
            (Decode::Image, "exr") => "exr",
            (Decode::Image, "pfm" | "hdr") => "pfm",
            (Decode::Image, "npy") => "npy",
            _ => drawing,
        });
        let file = |target: &Target| {
            let mut name = name.as_os_str().to_owned();
            name.push(".");
            name.push(target.what.extension(result, drawing));
            Target { what: target.what, path: target.path.join(name) }
        };
        Targets(self.0.iter().map(file).collect())
    }
}

impl Made {
    /// What a file of that name cannot hold of it.
    pub(super) fn loss(&self, path: &Path) -> Option<String> {
        let Made::Picture(picture) = self else { return None };
        let lost = picture.alpha().is_some() && !Format::of(path).is_ok_and(Format::holds_alpha);
        lost.then(|| format!("{}: such files hold no transparency; it was dropped", path.display()))
    }

    /// The bytes of a file with that name.
    ///
    /// # Errors
    /// When the file's format does not hold such a thing.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        match self {
            Made::Picture(picture) => picture.encode(path),
            Made::Mask(mask) => mask.encode(path),
            Made::Scores(scores) => Ok(Score::table(scores).into_bytes()),
            Made::Numbers(tensor) => Ok(encode_npy(tensor)),
            Made::Statistics(table) => match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"))
            {
                true => Ok(table.to_json().into_bytes()),
                false => Ok(table.to_csv().into_bytes()),
            },
        }
    }
}

impl Pipeline {
    /// Makes files of an outcome, all of them or, where one cannot be made, none; gives the result where one was decoded, and
    /// notes.
    ///
    /// # Errors
    /// Those of [`make`](Self::make), of encoding, and [`Error::Io`].
    pub fn write(&self, outcome: &Outcome, targets: &Targets) -> Result<(Option<Decoded>, Vec<String>)> {
        let decoded = self.decoded_for(outcome, targets.0.iter())?;
        let mut notes = Vec::new();
        let mut files = Vec::new();
        let mut pages = Vec::new();
        for target in &targets.0 {
            let path = &target.path;
            let made = self.make(target, outcome, decoded.as_ref())?;
            notes.extend(made.loss(path));
            match made {
                Made::Numbers(_) if Format::of(path)? == Format::Tiff => {
                    let mut file = <dyn Sink>::pages(path)?;
                    file.put(made)?;
                    pages.push(file);
                }
                _ => files.push((path, made.encode(path)?)),
            }
        }
        files.into_iter().try_for_each(|(path, bytes)| write_atomic(path, &bytes))?;
        pages.into_iter().try_for_each(Sink::finish)?;
        Ok((decoded, notes))
    }

    /// The result, where one of the targets is made of it.
    pub(super) fn decoded_for<'a>(
        &self,
        outcome: &Outcome,
        mut targets: impl Iterator<Item = &'a Target>,
    ) -> Result<Option<Decoded>> {
        let wanted = targets.any(|target| !target.is_numbers() && target.what != What::Probabilities);
        wanted.then(|| self.decode(outcome)).transpose()
    }

    /// Makes one thing of an outcome and its decoded result.
    ///
    /// # Errors
    /// [`Error::Usage`] when it is not for such results, or needs a picture and the input was none.
    pub fn make(&self, target: &Target, outcome: &Outcome, decoded: Option<&Decoded>) -> Result<Made> {
        let what = target.what;
        let picture = || outcome.picture.as_ref().ok_or_else(|| no_picture(what));
        let unfit = || Error::Usage(format!("{} is not for what this model gives; drop it", what.option()));
        Ok(match (what, decoded) {
            (What::Result, _) if target.is_numbers() => Made::Numbers(outcome.result.clone()),
            (What::Probabilities, _) => {
                Made::Numbers(probabilities(&outcome.result, self.gives.probabilities)?)
            }
            (What::Result, Some(Decoded::Image(result))) => Made::Picture(result.clone()),
            (What::Result, Some(Decoded::Mask(mask))) => Made::Mask(mask.clone()),
            (What::Result, Some(Decoded::Scores(scores))) => Made::Scores(scores.clone()),
            (What::Overlay, Some(Decoded::Mask(mask))) => Made::Picture(mask.overlay(picture()?)?),
            (What::Contours, Some(Decoded::Mask(mask))) => Made::Picture(mask.contours(picture()?)?),
            (What::Cutout, Some(Decoded::Mask(mask))) => {
                Made::Picture(cutout(picture()?, &outcome.result, mask, self.gives.probabilities)?)
            }
            (What::Compare, Some(Decoded::Mask(mask))) => {
                Made::Picture(side_by_side(&[picture()?, &mask.overlay(picture()?)?])?)
            }
            (What::Compare, Some(Decoded::Image(result))) => {
                Made::Picture(side_by_side(&[picture()?, result])?)
            }
            (What::Statistics, Some(Decoded::Mask(mask))) => Made::Statistics(mask.statistics()),
            _ => return Err(unfit()),
        })
    }
}

/// A path that does not depend on the current folder.
fn full(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or(path.into())
}

impl Target {
    /// Whether its file holds the network's numbers.
    fn is_numbers(&self) -> bool {
        self.what == What::Result && Format::of(&self.path).is_ok_and(|format| format == Format::Npy)
    }
}

fn no_picture(what: What) -> Error {
    let option = what.option();
    Error::Usage(format!(
        "{option} needs a picture as input (no --raw, one picture, 1 or 3 channels); drop it"
    ))
}
