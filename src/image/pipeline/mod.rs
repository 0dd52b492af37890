//! Runs pictures through a model: sessions for every size, loading and saving while the network runs, tiles and bands
//! for large pictures, stacks and videos. The command uses it for everything that it does with pictures.

mod artifact;
mod bands;
mod flow;
mod folder;
mod holes;
mod input;
mod lane;
mod options;
mod outcome;
mod reference;
mod sequence;
mod source;
mod targets;
mod whole;
mod write;

pub use artifact::Artifact;
pub use flow::{Load, Threads};
pub use folder::{
    FurtherFile, Job, PictureFile, Shard, find_pictures, jobs, join_cases, left_out, names_several,
};
pub use input::Input;
pub use options::{Batch, Legend, PipelineOptions};
pub use outcome::{Outcome, OutputInfo, Report};
pub use reference::Quality;
pub use sequence::Sink;
pub use source::Source;
pub use targets::{Target, TargetKind, Targets};

use super::resample::{Filter, resize};
use super::{Decoded, Mask, Picture};
use crate::augment::Augment;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::model::Model;
use crate::recipe::Decode;
use crate::session::{Device, SessionOptions};
use crate::tensor::{Shape, Tensor};
use crate::tiles::Blend;
use lane::Lane;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// A model prepared for pictures of any size, on one or more devices.
///
/// ```no_run
/// use unet_wgpu::image::{Decoded, Picture, Pipeline, PipelineOptions, write_atomic};
/// use unet_wgpu::{AdapterChoice, Gpu, Model, SessionOptions};
///
/// # fn main() -> unet_wgpu::Result<()> {
/// let model = Model::open("models/cells.safetensors")?;
/// let gpu = Gpu::open(&AdapterChoice::Hardware)?;
/// let pipeline = Pipeline::new(model, PipelineOptions::default())?.with_device(gpu, SessionOptions::default());
///
/// let picture = Picture::open("demo/cells.png".as_ref())?;
/// let outcome = pipeline.run(&picture)?;
/// if let Decoded::Mask(mask) = pipeline.decode(&outcome)? {
///     println!("{}", mask.statistics().to_csv());
///     write_atomic("overlay.png".as_ref(), &mask.overlay(&picture)?.encode("overlay.png".as_ref())?)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipeline {
    model: Model,
    output_info: OutputInfo,
    lanes: Vec<Lane>,
    options: PipelineOptions,
    /// Cleared if the network takes no batches.
    batches: AtomicBool,
    /// Held while a picture is processed in bands.
    bands: Mutex<()>,
    /// Held while a sequence, or a single picture, runs through a network with states.
    states: Mutex<()>,
    /// Whether it was said that class 0 is the background.
    has_told: AtomicBool,
    /// The classes that cut-outs show; if empty, all but the background.
    kept: Vec<u16>,
}

impl Pipeline {
    /// A pipeline without a device. It can already read and prepare pictures.
    ///
    /// # Errors
    /// When the recipe has invalid numbers, when the network does not run at its example size, and [`Error::Usage`] when
    /// copies of the input are to be averaged but the network gives class numbers.
    pub fn new(mut model: Model, mut options: PipelineOptions) -> Result<Pipeline> {
        model.recipe.check()?;
        model = model.with_scale()?;
        let has_backdrop = options.backdrop.is_some();
        let output_info = OutputInfo { has_backdrop, ..OutputInfo::of(&model)? };
        // Of a picture of one pixel, the result is still a picture.
        model.recipe.output.decode.get_or_insert(output_info.decode);
        let input = &model.recipe.input;
        holes::check_mask(&model, &output_info)?;
        let tiles = &mut options.tiles;
        (tiles.size, tiles.overlap) = match tiles.size {
            None => (input.tile, tiles.overlap.or(input.tile.and(input.overlap))),
            size => (size, tiles.overlap),
        };
        let is_alike = output_info.decode == Decode::Image
            && output_info.scale == 1.0
            && output_info.channels == model.picture_channels();
        if model.recipe.output.strength < 1.0 && !is_alike {
            let reason = "a strength below 1 mixes a picture with its input, but the network's result is no picture of \
                          its input's size and channels; leave it out";
            return Err(Error::Usage(reason.into()));
        }
        if output_info.decode == Decode::Classes {
            // Class numbers have no mean.
            if tiles.augment != Augment::None {
                let reason =
                    "the network gives class numbers, of which there is no average; leave --tta out".into();
                return Err(Error::Usage(reason));
            }
            tiles.blend = Blend::Crop;
        }
        let mut pipeline = Pipeline {
            model,
            output_info,
            lanes: Vec::new(),
            options,
            batches: true.into(),
            bands: Mutex::new(()),
            states: Mutex::new(()),
            has_told: false.into(),
            kept: Vec::new(),
        };
        if output_info.decode.is_mask() {
            // Also refuses a recipe that does not fit the network's channels.
            let classes = pipeline.classes()?;
            pipeline.kept = classes.numbers_of(&pipeline.options.keep)?;
            let has_background = classes.background().is_some() || !pipeline.kept.is_empty();
            pipeline.output_info.has_background = has_background;
        }
        Ok(pipeline)
    }

    /// Adds a device and the options of its sessions. Sessions are built when the size of a picture is known.
    pub fn with_device(mut self, device: impl Into<Device>, options: SessionOptions) -> Pipeline {
        self.lanes.push(Lane::new(device.into(), options));
        self
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Properties of the network's result.
    pub fn output_info(&self) -> &OutputInfo {
        &self.output_info
    }

    /// The devices, in the order in which they were added.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.lanes.iter().map(Lane::device)
    }

    fn lane(&self, device: usize) -> Result<&Lane> {
        self.lanes.get(device).ok_or_else(|| Error::Usage("the pipeline has no device; give it one".into()))
    }

    /// Runs one picture.
    ///
    /// # Errors
    /// Errors of [`Input::picture`] and [`run_input`](Self::run_input).
    pub fn run(&self, picture: &Picture) -> Result<Outcome> {
        self.run_input(Input::picture(picture.clone(), &self.model)?, &|_| {})
    }

    /// Runs a prepared input on the first device. `done` gets the number of tiles, once for each finished tile.
    ///
    /// # Errors
    /// Errors of [`TiledSession::new`](crate::tiles::TiledSession::new) and of its runs, and of the recipe's output
    /// steps.
    pub fn run_input(&self, input: Input, done: &(dyn Fn(usize) + Sync)) -> Result<Outcome> {
        self.run_on(0, input, done)
    }

    fn run_on(&self, device: usize, input: Input, done: &(dyn Fn(usize) + Sync)) -> Result<Outcome> {
        let (result, report) = self.network(device, input.prepared.tensor(), done)?;
        self.outcome(input, result, report)
    }

    /// Runs the next picture of a sequence, on the first device.
    fn run_next(&self, input: Input) -> Result<Outcome> {
        let (result, report) = self.network_next(0, input.prepared.tensor(), &|_| {})?;
        self.outcome(input, result, report)
    }

    /// The network's result for one picture or a batch, before the output steps.
    fn network(
        &self,
        device: usize,
        input: &Tensor,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<(Tensor, Report)> {
        let _turn = match self.output_info.has_states {
            true => {
                let turn = lock(&self.states);
                self.lane(device)?.reset()?;
                Some(turn)
            }
            false => None,
        };
        self.network_next(device, input, done)
    }

    /// The same, beginning with the states that the device's last run left.
    fn network_next(
        &self,
        device: usize,
        input: &Tensor,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<(Tensor, Report)> {
        let start = Instant::now();
        let session = self.lane(device)?.session(&self.model, input.shape(), &self.options.tiles)?;
        let build = start.elapsed();
        let tiles = session.tiles();
        let result = session.run(input, &|| done(tiles))?;
        let report = Report { run: start.elapsed() - build, ..Report::new(device, &session, build) };
        Ok((result, report))
    }

    /// Applies the recipe's output steps.
    fn outcome(&self, input: Input, result: Tensor, mut report: Report) -> Result<Outcome> {
        let result = input.prepared.finish(result, &self.model.recipe)?;
        report.notes.extend(input.picture.iter().flat_map(Picture::notes).cloned());
        let transparent = input.picture.as_ref().is_some_and(|picture| picture.alpha().is_some());
        if transparent && self.output_info.decode != Decode::Image {
            report
                .notes
                .push("the network does not see transparency: colours are used as they are stored".into());
        }
        report.notes.extend(input.prepared.note());
        report.notes.extend(report.tiles_note());
        report.notes.extend(
            input.picture.as_ref().and_then(|picture| report.hole_note(picture.hole()?, &self.output_info)),
        );
        Ok(Outcome { picture: input.picture, result, report })
    }

    /// Decodes the result: a picture with its input's depth and opacity, a mask after the options' clean-up, or scores.
    ///
    /// # Errors
    /// Errors of [`Decoded::new`].
    pub fn decode(&self, outcome: &Outcome) -> Result<Decoded> {
        let depth = outcome.picture.as_ref().map(Picture::depth).unwrap_or_default();
        Ok(match Decoded::new(&outcome.result, &self.model.recipe, depth)? {
            Decoded::Image(picture) => {
                let size = [picture.height(), picture.width()];
                // Measurements have no opacity.
                let is_picture = self.output_info.decode != Decode::Values;
                let alpha = outcome.picture.as_ref().filter(|_| is_picture).and_then(Picture::alpha);
                let picture = picture.with_alpha(alpha.map(|a| resize(a, size, Filter::Bilinear)))?;
                let picture = match &outcome.picture {
                    Some(input) => input.completed(picture, self.options.feather)?,
                    None => picture,
                };
                let picture = picture.with_georeference(outcome.georeference());
                Decoded::Image(match &outcome.picture {
                    Some(input) => picture.without_data_of(input)?,
                    None => picture,
                })
            }
            Decoded::Mask(mask) => {
                Decoded::Mask(self.cleaned(mask).with_georeference(outcome.georeference()))
            }
            scores => scores,
        })
    }

    /// The classes as a mask of one pixel has them: numbers, names, colours and roles.
    ///
    /// # Errors
    /// When the recipe does not fit the network's channels.
    pub fn classes(&self) -> Result<Mask> {
        let one = Tensor::zeros(Shape::new(1, self.output_info.channels, 1, 1));
        let mask = Mask::new(&one, &self.model.recipe.output)?;
        Ok(self.cleaned(mask))
    }

    fn cleaned(&self, mut mask: Mask) -> Mask {
        if let Some(palette) = &self.options.palette {
            mask = mask.with_palette(palette);
        }
        if self.options.keep_largest {
            mask.keep_largest();
        }
        if self.options.min_area > 1 {
            mask.remove_small(self.options.min_area);
        }
        mask
    }
}
