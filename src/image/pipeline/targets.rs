//! The results that can be made of an outcome, and their files.

use super::{Outcome, OutputInfo, Pipeline, Sink};
use crate::error::{Error, Result, Setting};
use crate::image::decode::numbers_of;
use crate::image::mask::NO_BACKGROUND;
use crate::image::{
    Decoded, Depth, Format, Mask, PageWriter, Picture, Score, Statistics, check_writable, cutout, encode_npy,
    opacity, probabilities, side_by_side, write_atomic,
};
use crate::recipe::Decode;
use crate::tensor::Tensor;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Share of a picture's values above which a line says that they were clipped.
const CLIPPED: f64 = 0.01;

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

/// The contents of a file, made of an outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Artifact {
    /// A picture.
    Picture(Picture),
    /// A class for each pixel.
    Mask(Mask),
    /// A mask for each of several labels that may overlap.
    Labels(Vec<Mask>),
    /// Class scores, highest first.
    Scores(Vec<Score>),
    /// Numbers, NCHW.
    Numbers(Tensor),
    /// A table.
    Statistics(Statistics),
}

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
    fn needs_picture(self) -> bool {
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
            TargetKind::Overlay | TargetKind::Contours | TargetKind::Cutout | TargetKind::Compare => drawing,
            TargetKind::LabelMap => drawing,
            TargetKind::Statistics => "csv",
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

impl Artifact {
    /// What a file of that name cannot hold.
    pub(super) fn loss(&self, path: &Path) -> Option<String> {
        let Artifact::Picture(picture) = self else { return None };
        let lost = picture.alpha().is_some() && !Format::of(path).is_ok_and(Format::holds_alpha);
        lost.then(|| format!("{}: such files hold no transparency; it was dropped", path.display()))
    }

    /// The bytes of a file of that name.
    ///
    /// # Errors
    /// When the format cannot hold the contents.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        match self {
            Artifact::Picture(picture) => picture.encode(path),
            Artifact::Mask(mask) => mask.encode(path),
            Artifact::Labels(_) => {
                let message = "labels that overlap are several masks; end the name in .tiff or .npy";
                Err(Error::Usage(format!("{}: {message}", path.display())))
            }
            Artifact::Scores(scores) => Ok(Score::table(scores).into_bytes()),
            Artifact::Numbers(tensor) => Ok(encode_npy(tensor)),
            Artifact::Statistics(table) => {
                match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
                    true => Ok(table.to_json().into_bytes()),
                    false => Ok(table.to_csv().into_bytes()),
                }
            }
        }
    }
}

impl Pipeline {
    /// Makes all files of an outcome or, if one cannot be made, none. Returns the decoded result, if there is one, and
    /// notes.
    ///
    /// # Errors
    /// Errors of [`make`](Self::make) and of encoding, and [`Error::Io`].
    pub fn write(&self, outcome: &Outcome, targets: &Targets) -> Result<(Option<Decoded>, Vec<String>)> {
        let decoded = self.decoded_for(outcome, targets.0.iter())?;
        let mut notes: Vec<String> = self.background_note(&decoded, targets).into_iter().collect();
        let mut files = Vec::new();
        let mut pages = Vec::new();
        for target in &targets.0 {
            let path = &target.path;
            let made = self.make(target, outcome, decoded.as_ref())?;
            notes.extend(made.loss(path));
            if target.kind == TargetKind::Result {
                notes.extend(self.range_note(&made, outcome, path));
            }
            match made {
                Artifact::Labels(masks) if Format::of(path)? == Format::Tiff => {
                    let mut file = PageWriter::create(path)?;
                    file.set_georeference(outcome.georeference());
                    masks.into_iter().try_for_each(|mask| file.put(Artifact::Mask(mask)))?;
                    pages.push(file);
                }
                Artifact::Labels(masks) => {
                    let names: Vec<PathBuf> =
                        masks.iter().map(|mask| label_path(path, &mask.names()[1])).collect();
                    let list =
                        names.iter().map(|name| name.display().to_string()).collect::<Vec<_>>().join(", ");
                    notes.push(format!("labels may overlap, so each has a file: {list}"));
                    for (mask, name) in masks.iter().zip(names) {
                        files.push((name, mask.encode(path)?));
                    }
                }
                Artifact::Numbers(_) if Format::of(path)? == Format::Tiff => {
                    let mut file = PageWriter::create(path)?;
                    file.set_georeference(outcome.georeference());
                    file.put(made)?;
                    pages.push(file);
                }
                _ => files.push((path.clone(), made.encode(path)?)),
            }
        }
        files.into_iter().try_for_each(|(path, bytes)| write_atomic(&path, &bytes))?;
        pages.into_iter().try_for_each(PageWriter::finish)?;
        Ok((decoded, notes))
    }

    /// The decoded result, if one of the targets needs it.
    pub(super) fn decoded_for<'a>(
        &self,
        outcome: &Outcome,
        mut targets: impl Iterator<Item = &'a Target>,
    ) -> Result<Option<Decoded>> {
        let wanted = targets.any(|target| !target.is_numbers() && target.kind != TargetKind::Probabilities);
        wanted.then(|| self.decode(outcome)).transpose()
    }

    /// A mask for each label, after the options' clean-up.
    fn labels(&self, outcome: &Outcome) -> Result<Vec<Mask>> {
        let masks = Mask::of_labels(&outcome.result, &self.model.recipe.output)?;
        Ok(masks.into_iter().map(|mask| self.cleaned(mask)).collect())
    }

    /// A line about values that the file of a result does not hold as they are.
    fn range_note(&self, made: &Artifact, outcome: &Outcome, path: &Path) -> Option<String> {
        let Artifact::Picture(picture) = made else { return None };
        if holds_floats(path) {
            return None;
        }
        if self.output_info.decode == Decode::Values {
            let [low, high] = range(&outcome.result);
            return Some(format!(
                "the values, {low} to {high}, are drawn from black to white; .npy, .tiff, .exr and .pfm hold them as they are"
            ));
        }
        if Format::of(path).is_ok_and(|format| format.depth(picture.depth()) == Depth::Float) {
            return None;
        }
        // In 8-bit steps; half of one is rounding.
        let white = picture.depth().white();
        let (low, high) = (-0.5 / 255.0 * white, (1.0 + 0.5 / 255.0) * white);
        let values = picture.planes().data();
        let outside = values.iter().filter(|v| !(low..=high).contains(*v)).count();
        let share = outside as f64 / values.len() as f64;
        let [least, most] = range(picture.planes()).map(|v| v * 255.0 / white);
        (share > CLIPPED).then(|| {
            format!(
                "{:.0} % of the result's values lie outside 0 to 255 and were clipped (they go from {least:.0} to \
                 {most:.0}); if the network counts in other units, set scale under [output] in MODEL.toml, which is {}",
                share * 100.0,
                self.model.recipe.output.scale
            )
        })
    }

    /// The numbers of a result. Of a picture with a hole, known pixels are those of the picture here too.
    fn numbers(&self, outcome: &Outcome) -> Result<Tensor> {
        let has_hole = outcome.picture.as_ref().is_some_and(|picture| picture.hole().is_some());
        match if has_hole { Some(self.decode(outcome)?) } else { None } {
            Some(Decoded::Image(picture)) => Ok(numbers_of(&picture, &self.model.recipe)),
            _ => Ok(outcome.result.clone()),
        }
    }

    /// A line about class 0, if it is the background only for want of names and that matters. Only for the first
    /// picture.
    fn background_note(&self, decoded: &Option<Decoded>, targets: &Targets) -> Option<String> {
        let matters = |target: &Target| matches!(target.kind, TargetKind::Statistics | TargetKind::Cutout);
        let is_asked =
            self.options.keep_largest || self.options.min_area > 1 || targets.0.iter().any(matters);
        match decoded {
            Some(Decoded::Mask(mask)) if is_asked && mask.assumes_background() => {}
            _ => return None,
        }
        let is_first = !self.has_told.swap(true, Ordering::Relaxed);
        is_first.then(|| {
            "class 0 is taken for the background, since the classes have no names; background = \"none\", or a class \
             number, under [output] in MODEL.toml changes it"
                .into()
        })
    }

    /// Makes one target from an outcome and its decoded result. Drawings of several classes have the pipeline's legend
    /// below them, if they lie nowhere on the earth.
    ///
    /// # Errors
    /// [`Error::Setting`] when the result is of another kind, or when the target needs a picture and the input was
    /// none.
    pub fn make(&self, target: &Target, outcome: &Outcome, decoded: Option<&Decoded>) -> Result<Artifact> {
        let made = self.make_plain(target, outcome, decoded, true)?;
        let is_drawing =
            matches!(target.kind, TargetKind::Overlay | TargetKind::Contours | TargetKind::Compare);
        match (made, decoded, &self.options.legend) {
            (Artifact::Picture(drawing), Some(Decoded::Mask(mask)), Some(legend))
                if is_drawing && drawing.georeference().is_none() =>
            {
                Ok(Artifact::Picture(match (legend.0)(mask, drawing.width())? {
                    Some(legend) => Picture::stacked(&[drawing, legend])?,
                    None => drawing,
                }))
            }
            (made, ..) => Ok(made),
        }
    }

    /// The same without a legend. Of a picture in bands, `is_whole` is false: edges of cut-outs keep their colours.
    pub(super) fn make_plain(
        &self,
        target: &Target,
        outcome: &Outcome,
        decoded: Option<&Decoded>,
        is_whole: bool,
    ) -> Result<Artifact> {
        let refuse = |reason: &str| Error::setting(target.kind.setting(), &target.path, reason);
        let no_picture = "this shows the input, which is no picture of 1 or 3 channels; leave it out";
        let shown = if target.kind.needs_picture() { outcome.shown()? } else { None };
        let picture = || shown.as_deref().ok_or_else(|| refuse(no_picture));
        let place = outcome.picture.as_ref().and_then(Picture::georeference);
        let drawing = |drawing: Picture| Artifact::Picture(drawing.with_georeference(place.cloned()));
        Ok(match (target.kind, decoded) {
            (TargetKind::Result, _) if target.is_numbers() => Artifact::Numbers(self.numbers(outcome)?),
            (TargetKind::Probabilities, _) => Artifact::Numbers(probabilities(
                &outcome.result,
                self.output_info.probabilities,
                &self.model.recipe.output,
            )?),
            (TargetKind::Result, Some(Decoded::Mask(_))) if self.output_info.decode == Decode::Labels => {
                Artifact::Labels(self.labels(outcome)?)
            }
            (TargetKind::Result, Some(Decoded::Image(result)))
                if self.output_info.decode == Decode::Values && !holds_floats(&target.path) =>
            {
                Artifact::Picture(stretched(result)?)
            }
            (TargetKind::Compare, Some(Decoded::Image(result)))
                if self.output_info.decode == Decode::Values =>
            {
                Artifact::Picture(side_by_side(&[picture()?, &stretched(result)?])?)
            }
            (TargetKind::Statistics, Some(Decoded::Mask(mask)))
                if self.output_info.decode == Decode::Labels =>
            {
                Artifact::Statistics(mask.statistics_of(&self.labels(outcome)?))
            }
            (TargetKind::Result, Some(Decoded::Image(result))) => Artifact::Picture(result.clone()),
            (TargetKind::Result, Some(Decoded::Mask(mask))) => Artifact::Mask(mask.clone()),
            (TargetKind::Result, Some(Decoded::Scores(scores))) => Artifact::Scores(scores.clone()),
            (TargetKind::Overlay, Some(Decoded::Mask(mask))) => drawing(mask.overlay(picture()?)?),
            (TargetKind::Contours, Some(Decoded::Mask(mask))) => drawing(mask.contours(picture()?)?),
            (TargetKind::Cutout, Some(Decoded::Mask(mask))) => {
                let (result, recipe) = (&outcome.result, &self.model.recipe.output);
                let opacity = opacity(result, mask, &self.kept, self.output_info.probabilities, recipe)?;
                let cut = cutout(picture()?, opacity, self.options.clean_edges && is_whole)?;
                Artifact::Picture(match &self.options.backdrop {
                    Some(backdrop) => cut.over(backdrop)?,
                    None => cut,
                })
            }
            (TargetKind::LabelMap, Some(Decoded::Mask(mask))) => Artifact::Mask(mask.clone()),
            (TargetKind::Compare, Some(Decoded::Mask(mask))) => {
                Artifact::Picture(side_by_side(&[picture()?, &mask.overlay(picture()?)?])?)
            }
            (TargetKind::Compare, Some(Decoded::Image(result))) => {
                Artifact::Picture(side_by_side(&[&picture()?.with_hole_shown()?, result])?)
            }
            (TargetKind::Statistics, Some(Decoded::Mask(mask))) => Artifact::Statistics(mask.statistics()),
            _ => return Err(refuse("the model gives nothing that this is made of; leave it out")),
        })
    }
}

/// Whether a file of that name holds floats.
fn holds_floats(path: &Path) -> bool {
    Format::of(path).is_ok_and(|format| format.depth(Depth::Float) == Depth::Float)
}

/// The smallest and the largest value.
fn range(tensor: &Tensor) -> [f32; 2] {
    let fold = |start, f: fn(f32, f32) -> f32| tensor.data().iter().copied().fold(start, f);
    [fold(f32::INFINITY, f32::min), fold(f32::NEG_INFINITY, f32::max)]
}

/// Measurements as a picture of 16 bits, from black to white.
fn stretched(values: &Picture) -> Result<Picture> {
    let [low, high] = range(values.planes());
    let span = if high > low { high - low } else { 1.0 };
    let planes = values.planes();
    let stretch = |i: usize| (planes.data()[i] - low) / span * Depth::Sixteen.white();
    Picture::new(Tensor::from_fn(planes.shape(), stretch), Depth::Sixteen)
}

/// The file of a label: `mask.png` and `hand` make `mask-hand.png`.
fn label_path(path: &Path, label: &str) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let label: String = label.chars().map(plain).collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{label}.{extension}"))
}

/// An absolute path.
fn full(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or(path.into())
}

impl Target {
    /// Whether its file holds the network's values.
    fn is_numbers(&self) -> bool {
        self.kind == TargetKind::Result && Format::of(&self.path).is_ok_and(|format| format == Format::Npy)
    }
}
