//! `labelmap.txt` beside label maps: names and colours of the classes.

use super::RunArgs;
use crate::Common;
use crate::error::{Error, Result, option};
use std::fs;
use std::path::PathBuf;
use unet_wgpu::Setting;
use unet_wgpu::image::{Pipeline, write_atomic};

/// The name under which annotation tools look for it.
const NAME: &str = "labelmap.txt";

/// A list to be written after the label maps.
pub(super) struct LabelList {
    path: PathBuf,
    text: String,
    is_there: bool,
}

impl LabelList {
    /// The list for the label maps that are asked for; `None` for none, or for standard output.
    ///
    /// # Errors
    /// When another list is there, which may be that of other label maps.
    pub(super) fn new(args: &RunArgs, pipeline: &Pipeline, is_folder: bool) -> Result<Option<LabelList>> {
        let Some(labels) = args.labels.as_ref().filter(|labels| labels.as_os_str() != "-") else {
            return Ok(None);
        };
        let path = if is_folder { labels.join(NAME) } else { labels.with_file_name(NAME) };
        let text = pipeline.classes()?.label_list();
        let there = fs::read_to_string(&path).ok();
        if !args.overwrite && there.as_ref().is_some_and(|there| *there != text) {
            let option = option(Setting::LabelMap);
            return Err(Error::Usage(format!(
                "{}: {option}: it lists other classes; choose another folder, or --overwrite",
                path.display()
            )));
        }
        Ok(Some(LabelList { path, is_there: there.is_some_and(|there| there == text), text }))
    }

    pub(super) fn write(self, common: &Common) -> Result<()> {
        if !self.is_there {
            write_atomic(&self.path, self.text.as_bytes())?;
        }
        common.say(&format!("{}: the names and colours of the classes", self.path.display()));
        Ok(())
    }
}
