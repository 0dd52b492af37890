//! The result of a run: the values, what they mean, and details of the run.

use crate::error::Result;
use crate::image::{Georeference, Picture};
use crate::model::Model;
use crate::recipe::Decode;
use crate::tensor::{Shape, Tensor};
use crate::tiles::TiledSession;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

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
    pub(super) fn georeference(&self) -> Option<Arc<Georeference>> {
        let picture = self.picture.as_ref()?;
        let (tags, result) = (picture.georeference()?, self.result.shape());
        let factor = |to: usize, from: usize| to as f64 / from as f64;
        Some(Arc::new(tags.resized([factor(result.h, picture.height()), factor(result.w, picture.width())])))
    }
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
    /// Whether the network keeps states from picture to picture. In a [sequence](super::Pipeline::run_sequence) each picture
    /// begins with the states of the one before it; a single picture begins with zeros.
    pub has_states: bool,
}

impl OutputInfo {
    pub(super) fn of(model: &Model) -> Result<OutputInfo> {
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

impl Report {
    /// A report for a session that took `build` to make and has not run yet.
    pub(super) fn new(device: usize, session: &TiledSession, build: Duration) -> Report {
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
    pub(super) fn tiles_note(&self) -> Option<String> {
        let effect = match self.exact {
            true => "with the same result",
            false => "which changes the result: the network sees all of what it gets at once",
        };
        let Shape { w, h, .. } = self.tile;
        (self.tiles > 1).then(|| format!("{} tiles of {w}x{h} pixels, {effect}", self.tiles))
    }
}
