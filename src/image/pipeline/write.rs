//! Writes the files of one outcome, and says what they do not hold.

use super::artifact::range;
use super::{Artifact, Outcome, Pipeline, Sink, Target, TargetKind, Targets};
use crate::error::Result;
use crate::image::{Decoded, Depth, Format, PageWriter, write_atomic};
use crate::recipe::Decode;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Share of a picture's values above which a line says that they were clipped.
const CLIPPED: f64 = 0.01;

impl Pipeline {
    /// Makes all files of an outcome or, if one cannot be made, none. Returns the decoded result, if there is one, and
    /// notes.
    ///
    /// # Errors
    /// Errors of [`make`](Self::make) and of encoding, and [`Error::Io`](crate::Error::Io).
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
                notes.extend(self.range_note(&made, outcome, target));
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

    /// A line about values that the file of a result does not hold as they are.
    fn range_note(&self, made: &Artifact, outcome: &Outcome, target: &Target) -> Option<String> {
        let Artifact::Picture(picture) = made else { return None };
        if target.holds_floats() {
            return None;
        }
        if self.output_info.decode == Decode::Values {
            let [low, high] = range(&outcome.result);
            return Some(format!(
                "the values, {low} to {high}, are drawn from black to white; .npy, .tiff, .exr and .pfm hold them as they are"
            ));
        }
        if Format::of(&target.path).is_ok_and(|format| format.depth(picture.depth()) == Depth::Float) {
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
}

/// The file of a label: `mask.png` and `hand` make `mask-hand.png`.
fn label_path(path: &Path, label: &str) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let label: String = label.chars().map(plain).collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{label}.{extension}"))
}
