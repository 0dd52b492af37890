//! Which pictures are processed in bands: those that are large, if nothing needs them as a whole.

use super::{Pipeline, Target, TargetKind, Targets};
use crate::error::Setting;
use crate::image::{Backdrop, Format, Rows};
use crate::recipe::{Decode, Fit, Size};

/// Most numbers of input and result together for a picture in memory: 256 MiB as f32, and several times that while it
/// is processed.
pub(super) const LARGE: f64 = (64 << 20) as f64;

/// The same if bands change the result: 2 GiB.
const HUGE: f64 = (512 << 20) as f64;

/// The reason why a picture is needed as a whole.
pub(super) struct NeedsWhole {
    /// The setting that the caller may leave out.
    pub(super) setting: Option<Setting>,
    /// The setting, or the part of the recipe, in words.
    pub(super) reason: String,
}

impl Pipeline {
    /// Whether a picture should be processed in bands because of its size. If the network sees everything or edges are
    /// cleaned, bands change the result. Then only pictures that could not be read as a whole are processed so.
    pub(super) fn is_large(&self, rows: &Rows, targets: &Targets) -> bool {
        let pixels = rows.width() as f64 * rows.height() as f64;
        let numbers = (rows.channels() + rows.extra_bands()) as f64
            + self.output_info.channels as f64 * self.output_info.scale.powi(2);
        let is_same = self.output_info.receptive_field.is_some() && !self.cleans(targets);
        pixels * numbers > if is_same { LARGE } else { HUGE }
    }

    /// Whether a cut-out with clean edges is asked for.
    pub(super) fn cleans(&self, targets: &Targets) -> bool {
        self.options.clean_edges && targets.0.iter().any(|target| target.kind == TargetKind::Cutout)
    }

    /// Why a picture cannot be processed in bands; `None` if it can.
    pub(super) fn needs_whole(&self, rows: &Rows, targets: &Targets) -> Option<NeedsWhole> {
        let of = |setting: Setting| Some(NeedsWhole { setting: Some(setting), reason: setting.to_string() });
        let because = |reason: String| Some(NeedsWhole { setting: None, reason });
        let recipe = &self.model.recipe;
        let own = [rows.height(), rows.width()];
        let target = targets
            .0
            .iter()
            .find(|t| !t.kind.in_bands() || !Format::of(&t.path).is_ok_and(Format::holds_bands));
        if let Some(Target { kind, path }) = target {
            return match kind.in_bands() {
                true => {
                    because(format!("{}, since only .png and .tiff are written row by row", path.display()))
                }
                false => of(kind.setting()),
            };
        }
        if self.options.keep_largest {
            return of(Setting::KeepLargest);
        }
        if self.options.min_area > 1 {
            return of(Setting::MinArea);
        }
        if self.output_info.has_states {
            return because("the network, which keeps states from picture to picture,".into());
        }
        let is_native = recipe.input.size == Some(Size::Native) || self.output_info.decode == Decode::Image;
        let is_fixed = self.model.exported_size().is_some() && !is_native;
        if is_fixed
            || recipe.input.fit == Fit::Resize && recipe.input.fitted(own).is_ok_and(|size| size != own)
        {
            return because("the one size that the network is run at".into());
        }
        if matches!(self.output_info.decode, Decode::Values | Decode::Classes) {
            return because("a result of classes or measurements".into());
        }
        let has = |kind: TargetKind| targets.0.iter().any(|target| target.kind == kind);
        if self.output_info.decode == Decode::Labels && has(TargetKind::Result) {
            return because("a result of labels, which have a file or a page each,".into());
        }
        if matches!(self.options.backdrop, Some(Backdrop::Picture(_))) && has(TargetKind::Cutout) {
            return because("the picture behind it, which is scaled to cover it,".into());
        }
        if self.output_info.decode == Decode::Mask && self.output_info.scale < 1.0 {
            return because("the result, which is enlarged to the picture,".into());
        }
        match recipe.finishes_in_bands() {
            true => None,
            false => because("the recipe's last steps, which look at the whole result".into()),
        }
    }
}
