//! Pictures through a model, the whole way: sessions for the sizes that come, loading and saving beside running, tiles and
//! bands for what is large, stacks and videos. What the command does with pictures is done here.

mod bands;
mod flow;
mod folder;
mod lane;
mod reference;
mod sequence;
mod source;
mod targets;

pub use flow::{Load, Threads};
pub use folder::{Job, PictureFile, Shard, find_pictures, is_many, jobs};
pub use reference::Quality;
pub use sequence::Sink;
pub use source::Source;
pub use targets::{Artifact, Target, TargetKind, Targets};

use super::resample::{Filter, resize};
use super::{Decoded, Depth, Mask, Palette, Picture, Prepared};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::recipe::Decode;
use crate::session::{Device, SessionOptions};
use crate::tensor::{Shape, Tensor};
use crate::tiles::{TileOptions, TiledSession};
use lane::Lane;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// A model made ready for pictures of any size on one or more devices.
///
/// ```no_run
/// use unet_wgpu::image::{Decoded, Picture, Pipeline, PipelineOptions, write_atomic};
/// use unet_wgpu::{AdapterChoice, Device, Gpu, Model, SessionOptions};
///
/// # fn main() -> unet_wgpu::Result<()> {
/// let model = Model::open("models/cells.safetensors")?;
/// let device = Device::Gpu(Gpu::open(&AdapterChoice::Hardware)?);
/// let pipeline = Pipeline::new(model, PipelineOptions::default())?.with_device(device, SessionOptions::default());
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
    /// Cleared by a network that takes no batches.
    batches: AtomicBool,
    /// Held by who runs a picture in bands.
    bands: Mutex<()>,
}

/// How a [`Pipeline`] works.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PipelineOptions {
    /// How pictures are cut that do not fit.
    pub tiles: TileOptions,
    /// How many pictures of one size run at once.
    pub batch: Batch,
    /// Of masks: keep of each class but 0 only the largest connected component.
    pub keep_largest: bool,
    /// Of masks: connected components of fewer pixels become class 0.
    pub min_area: usize,
    /// Of masks: colours, and names where the recipe has none.
    pub palette: Option<Palette>,
}

/// How many pictures of one size run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Batch {
    /// One on the CPU; on a GPU as many small pictures as make one of 512x512 pixels, at most 16.
    #[default]
    Auto,
    /// So many, where as many wait.
    Of(usize),
}

/// A picture, or an array, and what the network gets of it.
#[derive(Debug, Clone)]
pub struct Input {
    /// What came; `None` for arrays that are no picture.
    pub picture: Option<Picture>,
    /// What the network gets.
    pub prepared: Prepared,
}

/// What a network made of a picture.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What came.
    pub picture: Option<Picture>,
    /// The network's numbers after the recipe's steps, at the picture's own size.
    pub result: Tensor,
    /// How it went.
    pub report: Report,
}

/// What a network gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputInfo {
    /// What the numbers mean.
    pub decode: Decode,
    /// How many there are a pixel.
    pub channels: usize,
    /// Rows of a result for each of its input.
    pub scale: f64,
    /// Whether they are probabilities, and not logits.
    pub probabilities: bool,
    /// Whether each depends on pixels near it alone, so that tiles can be exact.
    pub local: bool,
}

impl OutputInfo {
    fn of(model: &Model) -> Result<OutputInfo> {
        let input = model.example_input();
        let graph = model.graph(input)?;
        let output = graph.output_shape(input)?;
        Ok(OutputInfo {
            decode: model.recipe.decode(output.c, output.pixels()),
            channels: output.c,
            scale: output.h as f64 / input.h as f64,
            probabilities: model.gives_probabilities(input)?,
            local: graph.receptive_field().is_some(),
        })
    }
}

/// How a run went.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which of the pipeline's devices ran.
    pub device: usize,
    /// What the network got.
    pub input: Shape,
    /// How many tiles it was cut into; 1 when none.
    pub tiles: usize,
    /// What one run takes.
    pub tile: Shape,
    /// Whether the result is that of the whole picture.
    pub exact: bool,
    /// Making a session, where none of this size was at hand.
    pub build: Duration,
    /// Running the network, from host to host.
    pub run: Duration,
    /// What its user should know, a line each.
    pub notes: Vec<String>,
}

impl Input {
    /// Prepares a picture as the model's recipe says.
    ///
    /// # Errors
    /// Those of [`Prepared::picture`].
    pub fn picture(picture: Picture, model: &Model) -> Result<Input> {
        let prepared = Prepared::picture(&picture, model)?;
        Ok(Input { picture: Some(picture), prepared })
    }

    /// Prepares an array of values from 0 to 255, NCHW; `raw`: of the network's own numbers.
    ///
    /// # Errors
    /// Those of [`Prepared::new`]; [`Error::NonFinite`]; [`Error::Shape`] for other channels than the network's.
    pub fn array(tensor: Tensor, raw: bool, model: &Model) -> Result<Input> {
        tensor.check_finite()?;
        let (got, wanted) = (tensor.shape().c, model.input_channels());
        if got != wanted {
            return Err(Error::shape("array", format!("{wanted} channels, as the network takes"), got));
        }
        if raw {
            return Ok(Input { picture: None, prepared: Prepared::raw(tensor) });
        }
        let picture = Picture::new(tensor.clone(), Depth::Sixteen).ok();
        Ok(Input { picture, prepared: Prepared::new(tensor, model)? })
    }
}

impl Pipeline {
    /// A pipeline without a device yet: it reads and prepares pictures, and runs them once it has one.
    ///
    /// # Errors
    /// When the recipe has numbers that nothing can be computed with, or the network does not run at the size that suits
    /// it best.
    pub fn new(model: Model, options: PipelineOptions) -> Result<Pipeline> {
        model.recipe.check()?;
        let output_info = OutputInfo::of(&model)?;
        Ok(Pipeline {
            model,
            output_info,
            lanes: Vec::new(),
            options,
            batches: true.into(),
            bands: Mutex::new(()),
        })
    }

    /// The same with one more device, and the options of its sessions. Nothing is built before a picture's size is known.
    pub fn with_device(mut self, device: Device, options: SessionOptions) -> Pipeline {
        self.lanes.push(Lane::new(device, options));
        self
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the network gives.
    pub fn output_info(&self) -> &OutputInfo {
        &self.output_info
    }

    /// The devices, in the order in which they were given.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.lanes.iter().map(Lane::device)
    }

    fn lane(&self, device: usize) -> Result<&Lane> {
        self.lanes.get(device).ok_or_else(|| Error::Usage("the pipeline has no device; give it one".into()))
    }

    /// Runs one picture.
    ///
    /// # Errors
    /// Those of [`Input::picture`] and of [`run_input`](Self::run_input).
    pub fn run(&self, picture: &Picture) -> Result<Outcome> {
        self.run_input(Input::picture(picture.clone(), &self.model)?, &|_| {})
    }

    /// Runs what was prepared, on the first device. `done` hears of each finished tile, and how many there are.
    ///
    /// # Errors
    /// Those of [`TiledSession::new`](crate::tiles::TiledSession::new) and its runs, and of the recipe's output steps.
    pub fn run_input(&self, input: Input, done: &(dyn Fn(usize) + Sync)) -> Result<Outcome> {
        self.run_on(0, input, done)
    }

    fn run_on(&self, device: usize, input: Input, done: &(dyn Fn(usize) + Sync)) -> Result<Outcome> {
        let (result, report) = self.network(device, input.prepared.tensor(), done)?;
        self.outcome(input, result, report)
    }

    /// The network's own numbers, for one picture or a batch.
    fn network(
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

    /// The recipe's last steps.
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
        Ok(Outcome { picture: input.picture, result, report })
    }

    /// What the numbers mean: a picture of its input's depth and opacity, a mask without what the options take away, or
    /// scores.
    ///
    /// # Errors
    /// Those of [`Decoded::new`].
    pub fn decode(&self, outcome: &Outcome) -> Result<Decoded> {
        let depth = outcome.picture.as_ref().map(Picture::depth).unwrap_or_default();
        Ok(match Decoded::new(&outcome.result, &self.model.recipe, depth)? {
            Decoded::Image(picture) => {
                let size = [picture.height(), picture.width()];
                let alpha = outcome.picture.as_ref().and_then(Picture::alpha);
                Decoded::Image(picture.with_alpha(alpha.map(|a| resize(a, size, Filter::Bilinear)))?)
            }
            Decoded::Mask(mask) => Decoded::Mask(self.cleaned(mask)),
            scores => scores,
        })
    }

    fn cleaned(&self, mut mask: Mask) -> Mask {
        if self.options.keep_largest {
            mask.keep_largest();
        }
        if self.options.min_area > 1 {
            mask.remove_small(self.options.min_area);
        }
        match &self.options.palette {
            Some(palette) => mask.with_palette(palette),
            None => mask,
        }
    }
}

impl Report {
    /// Of a session that took so long to be made and has not run.
    fn new(device: usize, session: &TiledSession, build: Duration) -> Report {
        Report {
            device,
            input: session.input_shape(),
            tiles: session.tiles(),
            tile: session.session().input_shape(),
            exact: session.is_exact(),
            build,
            run: Duration::ZERO,
            notes: Vec::new(),
        }
    }

    /// That and how the picture was cut, if it was.
    fn tiles_note(&self) -> Option<String> {
        let effect = match self.exact {
            true => "with the same result",
            false => "which changes the result: the network sees all of what it gets at once",
        };
        let Shape { w, h, .. } = self.tile;
        (self.tiles > 1).then(|| format!("{} tiles of {w}x{h} pixels, {effect}", self.tiles))
    }
}
