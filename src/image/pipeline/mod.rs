//! Runs pictures through a model: sessions for every size, loading and saving while the network runs, tiles and bands
//! for large pictures, stacks and videos. The command uses it for everything that it does with pictures.

mod artifact;
mod bands;
mod flow;
mod folder;
mod holes;
mod lane;
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
pub use reference::Quality;
pub use sequence::Sink;
pub use source::Source;
pub use targets::{Target, TargetKind, Targets};

use super::resample::{Filter, resize};
use super::{Backdrop, Decoded, Depth, Georeference, Hole, Mask, Palette, Picture, Prepared};
use crate::augment::Augment;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::model::Model;
use crate::recipe::Decode;
use crate::session::{Device, SessionOptions};
use crate::tensor::{Shape, Tensor};
use crate::tiles::{Blend, TileOptions, TiledSession};
use lane::Lane;
use std::borrow::Cow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

/// Options of a [`Pipeline`].
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct PipelineOptions {
    /// How pictures that do not fit are cut into tiles.
    pub tiles: TileOptions,
    /// How many pictures of one size run at once.
    pub batch: Batch,
    /// For networks that fill holes: pixels around a hole in which the result and what is known are mixed. Known pixels
    /// stay as they are with 0.
    pub feather: usize,
    /// For masks: keeps only the largest connected component of each class but the background.
    pub keep_largest: bool,
    /// For masks: removes connected components with fewer pixels.
    pub min_area: usize,
    /// For masks: the colours, and names for classes that have none in the recipe.
    pub palette: Option<Palette>,
    /// For drawings of masks: what is below them. By default nothing.
    pub legend: Option<Legend>,
    /// For cut-outs: pixels that are partly transparent get the [colour of the foreground alone](super::foreground). A
    /// picture in bands keeps its colours.
    pub clean_edges: bool,
    /// For cut-outs: names or numbers of the classes that they show. If empty, all but the background.
    pub keep: Vec<String>,
    /// For cut-outs: what lies behind them. By default they are transparent.
    pub backdrop: Option<Backdrop>,
}

setters!(PipelineOptions {
    with_tiles(tiles: TileOptions),
    with_batch(batch: Batch),
    with_feather(feather: usize),
    with_keep_largest(keep_largest: bool),
    with_min_area(min_area: usize),
    with_palette(palette: Option<Palette>),
    with_legend(legend: Option<Legend>),
    with_clean_edges(clean_edges: bool),
    with_keep(keep: impl Into<Vec<String>>),
    with_backdrop(backdrop: Option<Backdrop>),
});

/// Draws the legend of a mask for a drawing of that width, or nothing if it needs none. The library has no letters, so
/// the host draws them.
#[derive(Debug, Clone, Copy)]
pub struct Legend(pub fn(&Mask, usize) -> Result<Option<Picture>>);

impl PartialEq for Legend {
    fn eq(&self, other: &Legend) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

/// How many pictures of one size run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Batch {
    /// One on the CPU. On a GPU, as many small pictures as make 512x512 pixels together, at most 16.
    #[default]
    Auto,
    /// This number, if as many are waiting.
    Of(usize),
}

/// A picture or an array, and the network's input made of it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The picture; `None` for arrays that are not pictures.
    pub picture: Option<Picture>,
    /// The network's input.
    pub prepared: Prepared,
}

/// The result of a network for a picture.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The picture; `None` for arrays that are not pictures.
    pub picture: Option<Picture>,
    /// The network's result after the recipe's output steps, at the picture's own size.
    pub result: Tensor,
    /// Details of the run.
    pub report: Report,
}

/// Properties of a network's result.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OutputInfo {
    /// What the result means.
    pub decode: Decode,
    /// Number of channels.
    pub channels: usize,
    /// Rows of a result for each row of its input.
    pub scale: f64,
    /// Whether the values are probabilities and not logits.
    pub probabilities: bool,
    /// Pixels of the input, along each side, that can affect one pixel of the result. If they are bounded, tiles can be
    /// exact.
    pub receptive_field: Option<usize>,
    /// Whether cut-outs lie over a backdrop and are not transparent.
    pub has_backdrop: bool,
    /// Whether there are cut-outs: one of the classes is the background, or classes to keep are named.
    pub has_background: bool,
    /// Whether the network keeps states from picture to picture. In a [sequence](Pipeline::run_sequence) each picture
    /// begins with the states of the one before it; a single picture begins with zeros.
    pub has_states: bool,
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
            receptive_field: graph.receptive_field(),
            has_backdrop: false,
            has_background: true,
            has_states: graph.carries().next().is_some(),
        })
    }
}

/// Details of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Index of the device that ran.
    pub device: usize,
    /// Shape of the network's input.
    pub input: Shape,
    /// Number of tiles; 1 if the picture was not cut.
    pub tiles: usize,
    /// Shape of a tile.
    pub tile: Shape,
    /// Rows and columns from one tile to the next; those of the picture if it was not cut.
    pub core: [usize; 2],
    /// Whether the result is that of the whole picture.
    pub exact: bool,
    /// Time to build a session, if there was none for this size.
    pub build: Duration,
    /// Time to run the network, from host to host.
    pub run: Duration,
    /// Notes for the user, one line each.
    pub notes: Vec<String>,
}

impl Outcome {
    /// The picture, enlarged to the size of a larger result; `None` for arrays that are not pictures.
    ///
    /// # Errors
    /// Errors of [`Picture::resized`].
    pub fn shown(&self) -> Result<Option<Cow<'_, Picture>>> {
        let size = [self.result.shape().h, self.result.shape().w];
        let enlarged = |picture: &'_ Picture| size[0] > picture.height() && size[1] > picture.width();
        match &self.picture {
            Some(picture) if enlarged(picture) => picture.resized(size).map(Cow::Owned).map(Some),
            picture => Ok(picture.as_ref().map(Cow::Borrowed)),
        }
    }

    /// Where the result lies on the earth, if the picture says where it lies.
    fn georeference(&self) -> Option<Arc<Georeference>> {
        let picture = self.picture.as_ref()?;
        let (tags, result) = (picture.georeference()?, self.result.shape());
        let factor = |to: usize, from: usize| to as f64 / from as f64;
        Some(Arc::new(tags.resized([factor(result.h, picture.height()), factor(result.w, picture.width())])))
    }
}

impl Input {
    /// Prepares a picture according to the model's recipe.
    ///
    /// # Errors
    /// Errors of [`Prepared::picture`].
    pub fn picture(picture: Picture, model: &Model) -> Result<Input> {
        let picture = if model.recipe.input.mask.is_some() { picture.with_missing()? } else { picture };
        let prepared = Prepared::picture(&picture, model)?;
        let mut notes = picture.input_notes(&model.recipe.input, model.picture_channels());
        notes.extend(picture.hole().into_iter().flat_map(Hole::notes));
        let picture = notes.iter().fold(picture, |picture, note| picture.with_note(Some(note)));
        Ok(Input { picture: Some(picture), prepared })
    }

    /// Prepares an array NCHW. Its values count from 0 to 255 or, with `raw`, are those of the network.
    ///
    /// # Errors
    /// Errors of [`Prepared::new`]; [`Error::NonFinite`]; [`Error::Shape`] if the channels differ from the network's.
    pub fn array(tensor: Tensor, raw: bool, model: &Model) -> Result<Input> {
        Input::array_with(tensor, None, raw, model)
    }

    /// The same for an array with missing pixels.
    fn array_with(mut tensor: Tensor, hole: Option<Hole>, raw: bool, model: &Model) -> Result<Input> {
        if let Some(value) = model.recipe.input.nodata.filter(|_| !raw) {
            tensor.data_mut().iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = value as f32);
        }
        tensor.check_finite()?;
        let wanted = if raw { model.input_channels() } else { model.picture_channels() };
        let got = tensor.shape().c;
        if got != wanted {
            return Err(Error::shape("array", format!("{wanted} channels, as the network takes"), got));
        }
        if raw {
            return Ok(Input { picture: None, prepared: Prepared::raw(tensor) });
        }
        hole.as_ref().map_or(Ok(()), Hole::check_share)?;
        let prepared = Prepared::with_hole(tensor.clone(), hole.as_ref(), model)?;
        let picture = Picture::new(tensor, Depth::Sixteen).ok().map(|picture| picture.with_hole(hole));
        Ok(Input { picture: picture.transpose()?, prepared })
    }
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

impl Report {
    /// A report for a session that took `build` to make and has not run yet.
    fn new(device: usize, session: &TiledSession, build: Duration) -> Report {
        Report {
            device,
            input: session.input_shape(),
            tiles: session.tiles(),
            tile: session.session().input_shape(),
            core: session.core(),
            exact: session.is_exact(),
            build,
            run: Duration::ZERO,
            notes: Vec::new(),
        }
    }

    /// How the picture was cut, if it was.
    fn tiles_note(&self) -> Option<String> {
        let effect = match self.exact {
            true => "with the same result",
            false => "which changes the result: the network sees all of what it gets at once",
        };
        let Shape { w, h, .. } = self.tile;
        (self.tiles > 1).then(|| format!("{} tiles of {w}x{h} pixels, {effect}", self.tiles))
    }
}
