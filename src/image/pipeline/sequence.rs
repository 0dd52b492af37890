//! Sequences of pictures whose results go to the same place: pages of a stack, frames of a video.

use super::flow::Order;
use super::{Artifact, Input, Load, Outcome, Pipeline, Target, Threads};
use crate::error::{Error, Result};
use crate::image::files::Aside;
use crate::image::{Depth, Format, FrameWriter, PageWriter, Picture, Stream, encode_npy, write_atomic};
use crate::lock::{lock, unlocked};
use crate::recipe::Channels;
use crate::tensor::{Shape, Tensor};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The destination of results of one kind, one after the other.
pub trait Sink: Send {
    /// Takes the next result.
    ///
    /// # Errors
    /// When the result is not of the right kind, and [`Error::Io`].
    fn put(&mut self, made: Artifact) -> Result<()>;

    /// Finishes the sequence.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn finish(self: Box<Self>) -> Result<()>;
}

impl dyn Sink {
    /// A file with many pages: TIFF pictures and masks, or one NPY array of all numbers.
    ///
    /// # Errors
    /// When the extension is another, or the file cannot be created.
    pub fn pages(path: &Path) -> Result<Box<dyn Sink>> {
        match Format::of(path) {
            Ok(Format::Tiff) => Ok(Box::new(PageWriter::create(path)?)),
            Ok(Format::Npy) => Ok(Box::new(Numbers { path: path.into(), shape: None, data: Vec::new() })),
            _ => {
                let message = "there are several pages; end it in .tiff, or .npy for numbers".to_string();
                Err(Error::Picture { path: path.to_owned(), message })
            }
        }
    }

    /// A file of frames, in a stream like `stream`.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn frame_file(path: &Path, stream: Stream) -> Result<Box<dyn Sink>> {
        let aside = Aside::create(path)?;
        let writer = FrameWriter::new(BufWriter::new(aside.handle()?), stream);
        Ok(Box::new(Frames { writer, aside: Some(aside) }))
    }

    /// Frames for another program, in a stream like `stream`.
    pub fn frames(writer: impl Write + Send + 'static, stream: Stream) -> Box<dyn Sink> {
        Box::new(Frames { writer: FrameWriter::new(writer, stream), aside: None })
    }
}

/// A stream of frames. In a grey stream, colours become luma, and class numbers become levels from black to white.
struct Frames<W: Write> {
    // Declared before `aside`, so it is closed first.
    writer: FrameWriter<W>,
    aside: Option<Aside>,
}

impl<W: Write + Send> Sink for Frames<W> {
    fn put(&mut self, made: Artifact) -> Result<()> {
        let is_grey = self.writer.stream().is_grey();
        let picture = match made {
            Artifact::Mask(mask) if is_grey => {
                let step = 255.0 / (mask.colors().len() - 1).max(1) as f32;
                let shape = Shape::new(1, 1, mask.height(), mask.width());
                let data = mask.classes().iter().map(|&class| f32::from(class) * step).collect();
                Picture::new(Tensor::new(shape, data)?, Depth::Eight)?
            }
            Artifact::Mask(mask) => mask.to_picture()?,
            Artifact::Picture(picture) if is_grey => {
                Picture::new(picture.to_channels(Channels::Gray), picture.depth())?
            }
            Artifact::Picture(picture) => picture,
            Artifact::Labels(_) => {
                let message = "labels may overlap, so they are no single frame; write .tiff, a page for each label, or \
                               --overlay, which paints later labels over earlier ones";
                return Err(Error::Usage(message.into()));
            }
            Artifact::Scores(_) | Artifact::Numbers(_) | Artifact::Statistics(_) => return Err(not_a_page()),
        };
        self.writer.write(&picture)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.writer.flush()?;
        let Frames { writer, aside } = *self;
        drop(writer);
        aside.map_or(Ok(()), Aside::finish)
    }
}

impl Sink for PageWriter {
    fn put(&mut self, made: Artifact) -> Result<()> {
        match made {
            Artifact::Picture(picture) => self.push(&picture),
            Artifact::Mask(mask) => {
                self.set_georeference(mask.georeference().cloned());
                self.push_indices(mask.width(), mask.height(), mask.classes(), mask.colors())
            }
            // One page for each channel.
            Artifact::Numbers(tensor) => {
                let shape = Shape { n: 1, c: 1, ..tensor.shape() };
                tensor.data().chunks_exact(shape.pixels()).try_for_each(|plane| {
                    self.push(&Picture::new(Tensor::new(shape, plane.to_vec())?, Depth::Float)?)
                })
            }
            // One page for each label.
            Artifact::Labels(masks) => masks.into_iter().try_for_each(|mask| self.put(Artifact::Mask(mask))),
            Artifact::Scores(_) | Artifact::Statistics(_) => Err(not_a_page()),
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        PageWriter::finish(*self)
    }
}

/// The numbers of pages of one size, which become a batch.
struct Numbers {
    path: PathBuf,
    shape: Option<Shape>,
    data: Vec<f32>,
}

impl Sink for Numbers {
    fn put(&mut self, made: Artifact) -> Result<()> {
        let Artifact::Numbers(tensor) = made else { return Err(not_a_page()) };
        let next = tensor.shape();
        let shape = self.shape.get_or_insert(Shape { n: 0, ..next });
        if (shape.c, shape.h, shape.w) != (next.c, next.h, next.w) {
            let first = Shape { n: next.n, ..*shape };
            let what = format!("{}: the next page", self.path.display());
            return Err(Error::shape(what, format!("the first one's {first}"), next));
        }
        shape.n += next.n;
        self.data.extend_from_slice(tensor.data());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let shape = self.shape.unwrap_or(Shape::new(0, 0, 0, 0));
        write_atomic(&self.path, &encode_npy(&Tensor::new(shape, self.data)?))
    }
}

fn not_a_page() -> Error {
    Error::Usage("only pictures and masks go to pages and frames, numbers to .npy; choose other names".into())
}

impl Pipeline {
    /// Runs pictures in order and puts their results into sinks. Returns the number of pictures. `each` gets every
    /// outcome. The states of a network are zeros for the first picture and go from each to the next.
    ///
    /// # Errors
    /// The first error. Earlier results are in the sinks, which are then not finished.
    pub fn run_sequence(
        &self,
        pictures: impl Iterator<Item = Result<Picture>> + Send,
        threads: Threads,
        mut sinks: Vec<(Target, Box<dyn Sink>)>,
        each: &(dyn Fn(&Outcome) + Sync),
    ) -> Result<usize> {
        let state = Mutex::new((&mut sinks, 0, Ok(())));
        let load = |picture: Result<Picture>| {
            let input = picture.and_then(|picture| Input::picture(picture, &self.model));
            ((), input.map(|input| Load::Run(input.into())))
        };
        let save = |(), outcome: Result<Option<Outcome>>| {
            let mut state = lock(&state);
            let (sinks, count, ended) = &mut *state;
            *ended = outcome.and_then(|outcome| {
                outcome.iter().try_for_each(|outcome| {
                    each(outcome);
                    self.put(outcome, sinks, true)
                })
            });
            *count += 1;
            if ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let (order, _turn) = match self.output_info.has_states {
            true => (Order::Run, Some(lock(&self.states))),
            false => (Order::Saved, None),
        };
        if order == Order::Run {
            self.lane(0)?.reset()?;
        }
        self.run_in(order, pictures, threads, load, save);
        let (_, count, ended) = unlocked(state);
        ended?;
        sinks.into_iter().try_for_each(|(_, sink)| sink.finish())?;
        Ok(count)
    }

    /// Makes the result for each sink and puts it there. `is_whole` is false for a band of a picture.
    pub(super) fn put(
        &self,
        outcome: &Outcome,
        sinks: &mut [(Target, Box<dyn Sink>)],
        is_whole: bool,
    ) -> Result<()> {
        let decoded = self.decoded_for(outcome, sinks.iter().map(|(target, _)| target))?;
        let make = |target: &Target| self.make_plain(target, outcome, decoded.as_ref(), is_whole);
        sinks.iter_mut().try_for_each(|(target, sink)| sink.put(make(target)?))
    }
}
