//! Pictures that are too large for a device: they are cut into overlapping tiles, and the results are merged.
//!
//! If every output pixel depends on a bounded neighbourhood, tiles give exactly the result of the whole picture. Each
//! tile is larger by the pixels that can affect its own ones. It begins at a multiple of the network's stride, and its
//! size has the same remainder as the picture's, so pooling windows and borders fall where the picture's do. If an
//! operator sees its whole input (instance norm, global pooling, attention), no tiling can be exact, nor if tiles of a
//! requested size are smaller than the neighbourhood. Such tiles are weighted by a Gaussian and blended.

mod layout;
mod merge;

pub use layout::{Blend, TileOptions};

use crate::augment::Augment;
use crate::error::{Error, Result, Setting};
use crate::model::Model;
use crate::plan::FRAMES;
use crate::session::{Device, Session, SessionOptions};
use crate::tensor::{Shape, Tensor};
use layout::{Layout, Reach, Span};
use merge::{add, in_order, paste, shifted};
use std::ops::Range;

/// Most numbers that are written at once, in whole rows: 16 MiB.
const WRITTEN: usize = 4 << 20;

/// Factor between the sizes of consecutive attempts.
const SHRINK: f64 = 0.8;

/// A model prepared for pictures of one shape, in as few tiles as fit.
#[derive(Debug)]
pub struct TiledSession {
    session: Session,
    /// For transposed tiles, if their shape differs.
    turned: Option<Session>,
    augment: Augment,
    input: Shape,
    output: Shape,
    rows: Vec<Span>,
    columns: Vec<Span>,
    exact: bool,
}

impl TiledSession {
    /// Builds a session for the whole picture if it fits the device and `options.max_memory`, else for the largest
    /// tiles that fit.
    ///
    /// # Errors
    /// Those of [`Session::with_options`] except for limits; [`Error::Setting`] when tiles of the requested size cannot
    /// have the overlap that they need, when the size of the network's result is not proportional to that of its
    /// input, or when a network with states would need tiles.
    pub fn new(
        model: &Model,
        input: Shape,
        device: &Device,
        options: &SessionOptions,
        tiles: &TileOptions,
    ) -> Result<TiledSession> {
        // A network that takes only the size of its file runs in tiles of that size.
        let whole = model.graph_with(input, &options.outputs);
        let fixed = match (&whole, model.exported_size()) {
            (Err(_), Some([h, w])) if h <= input.h && w <= input.w => Some([h, w]),
            _ => None,
        };
        let (graph, output, reach) = match fixed {
            Some([h, w]) => {
                let tile = Shape { h, w, ..input };
                let graph = model.graph_with(tile, &options.outputs)?;
                let (reach, output) = Reach::fixed(&graph, tile, input)?;
                (graph, output, reach)
            }
            None => {
                let graph = whole?;
                let (output, reach) = (graph.output_shape(input)?, Reach::of(&graph, input)?);
                (graph, output, reach)
            }
        };
        let has_states = graph.carries().next().is_some();
        let turns = tiles.augment == Augment::All;
        let options = &SessionOptions {
            max_memory: options.max_memory.map(|bytes| if turns { bytes / 2 } else { bytes }),
            ..options.clone()
        };
        let mut side = tiles.size.unwrap_or(input.h.max(input.w));
        loop {
            let (layout, fitting) = Layout::new(reach, tiles, [input.h, input.w], side);
            let [h, w] = fixed.unwrap_or(fitting);
            let tile = Shape { h, w, ..input };
            if has_states && (tile != input || tiles.augment != Augment::None) {
                let reason = "a network with states runs on whole pictures, without augmentation".into();
                return Err(Error::Setting { setting: Setting::Tiles, path: None, reason });
            }
            let build = |shape| Session::with_options(model, shape, device.clone(), options);
            let turned = || (turns && h != w).then(|| build(Shape { h: w, w: h, ..tile })).transpose();
            match build(tile).and_then(|session| Ok((turned()?, session))) {
                Ok((turned, session)) => {
                    let made = session.output_shape();
                    let rows = layout.axis(input.h, h, output.h, made.h)?;
                    let columns = layout.axis(input.w, w, output.w, made.w)?;
                    let augment = tiles.augment;
                    return Ok(TiledSession {
                        session,
                        turned,
                        augment,
                        input,
                        output,
                        rows,
                        columns,
                        exact: layout.exact,
                    });
                }
                Err(Error::LimitExceeded { .. } | Error::OutOfMemory { .. })
                    if tiles.size.is_none()
                        && fixed.is_none()
                        && !has_states
                        && h.max(w) > 2 * reach.align =>
                {
                    side = (h.max(w) as f64 * SHRINK) as usize;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes all states of the network zeros, for the first picture of the next stream.
    ///
    /// # Errors
    /// Those of [`Session::reset`].
    pub fn reset(&self) -> Result<()> {
        self.session.reset()
    }

    /// The shape of the whole picture.
    pub fn input_shape(&self) -> Shape {
        self.input
    }

    /// The shape of the whole result.
    pub fn output_shape(&self) -> Shape {
        self.output
    }

    /// The session that runs each tile.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Bytes that its sessions hold.
    pub fn memory_bytes(&self) -> u64 {
        self.session.memory_bytes() + self.turned.as_ref().map_or(0, Session::memory_bytes)
    }

    /// Number of tiles; 1 if the picture fits as it is.
    pub fn tiles(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Rows and columns from one tile to the next; those of the picture if it fits as it is.
    pub fn core(&self) -> [usize; 2] {
        let step = |spans: &[Span], len: usize| spans.get(1).map_or(len, |span| span.input);
        [step(&self.rows, self.input.h), step(&self.columns, self.input.w)]
    }

    /// Whether the result is that of the whole picture, up to rounding.
    pub fn is_exact(&self) -> bool {
        self.exact || self.tiles() == 1
    }

    /// Runs the network on a picture. Calls `done` after each tile.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub fn run(&self, input: &Tensor, done: &(dyn Fn() + Sync)) -> Result<Tensor> {
        if input.shape() != self.input {
            return Err(Error::shape("input", self.input, input.shape()));
        }
        if self.tiles() == 1 {
            let result = self.run_tile(input)?;
            done();
            return Ok(result);
        }
        let mut result = Tensor::zeros(self.output);
        let mut read = |rows: Range<usize>| Ok(input.part(rows, 0..self.input.w));
        let mut write = |first: usize, rows: Tensor| {
            paste(&mut result, &rows, first);
            Ok(())
        };
        self.stream(&mut read, &mut write, done)?;
        Ok(result)
    }

    /// Runs the network on a picture that is never in memory as a whole. `read` returns rows of the input; the ends of
    /// the requested ranges only increase. `write` takes rows of the result and the index of the first one, in order,
    /// each row once.
    ///
    /// # Errors
    /// Those of [`Session::run`], and those of `read` and `write`.
    pub fn stream(
        &self,
        read: &mut dyn FnMut(Range<usize>) -> Result<Tensor>,
        write: &mut dyn FnMut(usize, Tensor) -> Result<()>,
        done: &(dyn Fn() + Sync),
    ) -> Result<()> {
        let tile = self.session.input_shape();
        let Shape { c, h, w, .. } = self.output;
        let mut open = Tensor::zeros(Shape { h: self.session.output_shape().h, ..self.output });
        let mut first = 0;
        for (i, row) in self.rows.iter().enumerate() {
            let band = read(row.input..row.input + tile.h)?;
            // The open rows begin with the first row that is not yet written.
            open = shifted(open, row.output - first);
            first = row.output;
            self.band(&band, row, &mut open, done)?;
            let next = self.rows.get(i + 1).map_or(h, |next| next.output);
            for start in (first..next).step_by((WRITTEN / (c * w)).max(1)) {
                let end = next.min(start + (WRITTEN / (c * w)).max(1));
                write(start, open.part(start - first..end - first, 0..w))?;
            }
        }
        Ok(())
    }

    /// The mean result of a tile's copies.
    fn run_tile(&self, tile: &Tensor) -> Result<Tensor> {
        let mut sum = self.session.run(tile)?;
        for turn in self.augment.turns().skip(1) {
            let session = self.turned.as_ref().filter(|_| turn.transpose).unwrap_or(&self.session);
            let result = turn.undo(&session.run(&turn.apply(tile))?);
            sum.data_mut().iter_mut().zip(result.data()).for_each(|(sum, v)| *sum += v);
        }
        if self.augment != Augment::None {
            let count = self.augment.turns().count() as f32;
            sum.data_mut().iter_mut().for_each(|sum| *sum /= count);
        }
        Ok(sum)
    }

    /// Adds the results of a row of tiles to the open rows, from left to right, so that sums are always the same.
    fn band(&self, band: &Tensor, row: &Span, open: &mut Tensor, done: &(dyn Fn() + Sync)) -> Result<()> {
        let [height, width] = [band.shape().h, self.session.input_shape().w];
        // On a GPU several runs overlap; on the CPU they take turns.
        let threads = if self.session.gpu().is_some() { FRAMES as usize } else { 1 };
        let run = |at: usize| {
            let first = self.columns[at].input;
            self.run_tile(&band.part(0..height, first..first + width))
        };
        in_order(self.columns.len(), threads, run, |at, tile| {
            add(open, &tile, row, &self.columns[at]);
            done();
        })
    }
}
