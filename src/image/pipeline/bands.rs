//! Pictures that are never in memory as a whole: rows are read from a file, go through the network in tiles, and are
//! written to files.

use super::source::in_file;
use super::whole::{LARGE, NeedsWhole};
use super::{Job, Outcome, Pipeline, Report, Sink, Target, TargetKind};
use crate::error::{Error, Result};
use crate::image::decode::check_result;
use crate::image::prepare::{check_proportion, padded_rows, result_size};
use crate::image::{Artifact, Depth, Georeference, Hole, Picture, RowWriter, Rows};
use crate::lock::lock;
use crate::recipe::{Fit, InputRecipe};
use crate::session::SessionOptions;
use crate::tensor::{Shape, Tensor};
use crate::tiles::TiledSession;
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Most bytes for a tile if there is no other limit.
const TILE_MEMORY: u64 = 512 << 20;

/// Rows beyond those of a tile that enlarging the picture needs.
const MARGIN: usize = 2;

/// Rows that are read at once for measuring.
pub(super) const MEASURE_ROWS: usize = 64;

impl Pipeline {
    /// Runs a picture file that is never in memory as a whole. `done` gets the number of tiles, once for each finished
    /// tile.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::Usage`] name what needs the whole picture; errors of reading, running and
    /// writing.
    pub fn run_bands(&self, job: &Job, done: &(dyn Fn(usize) + Sync)) -> Result<Report> {
        let Job { input: path, targets, .. } = job;
        let rows = Rows::open(path)?;
        if let Some(NeedsWhole { setting, reason }) = self.needs_whole(&rows, targets) {
            let size = format!("{}x{} pixels go through row by row", rows.width(), rows.height());
            return Err(match setting {
                Some(setting) => {
                    let reason = format!(
                        "{size}, but this needs the whole picture; leave it out, or scale the picture down"
                    );
                    Error::setting(setting, path, reason)
                }
                None => Error::Usage(format!(
                    "{}: {size}, but {reason} needs the whole picture; scale it down",
                    path.display()
                )),
            });
        }
        // One at a time, because each takes much memory and the whole device.
        let _turn = lock(&self.bands);
        let own = [rows.height(), rows.width()];
        let size @ [h, w] = self.model.recipe.input.fitted(own)?;
        let hole = self.hole_of(job, [own[1], own[0]])?;
        let (recipe, exposure) = self.measured(path, size)?;
        let mask = self.filled(path, hole.as_ref(), &recipe)?;
        let output_recipe = self.model.recipe.output.with_exposure(exposure);
        let input = Shape::new(1, self.model.input_channels(), h, w);
        let start = Instant::now();
        let lane = self.lane(0)?;
        let max_memory = lane.options().max_memory.unwrap_or(u64::MAX).min(TILE_MEMORY);
        let options = SessionOptions { max_memory: Some(max_memory), ..lane.options().clone() };
        let session = TiledSession::new(&self.model, input, lane.device(), &options, &self.options.tiles)?;
        let built = start.elapsed();

        let output = session.output_shape();
        check_proportion(input, output, self.model.growth())?;
        let is_whole = self.model.takes_whole_numbers();
        let [height, width] = result_size(own, input, output);
        let shows_input = |target: &&Target| target.kind != TargetKind::Result;
        let shrinks = height < own[0] || width < own[1];
        if let Some(target) = targets.0.iter().find(shows_input).filter(|_| shrinks) {
            let reason = format!(
                "the network gives {width}x{height} pixels for {}x{}, which only the result of such large pictures can \
                 have; leave it out",
                own[1], own[0]
            );
            return Err(Error::setting(target.kind.setting(), &target.path, reason));
        }
        let factors = [height as f64 / own[0] as f64, width as f64 / own[1] as f64];
        let georeference = rows.georeference().map(|tags| Arc::new(tags.resized(factors)));
        let mut report = Report::new(0, &session, built);
        let mut sinks: Vec<(Target, Box<dyn Sink>)> = Vec::new();
        for target in &targets.0 {
            let file = BandFile {
                path: target.path.clone(),
                height,
                georeference: georeference.clone(),
                writer: None,
            };
            sinks.push((target.clone(), Box::new(file)));
        }

        let window = RefCell::new(Window {
            hole,
            is_opaque: mask.is_some() && job.mask.is_none(),
            ..Window::new(rows)
        });
        let mut read = |range: Range<usize>| {
            let mut tensor =
                window.borrow_mut().padded(range.clone(), size, &recipe, self.model.picture_channels())?;
            recipe.normalize(&mut tensor)?;
            let window = window.borrow();
            let named = |error| in_file(error, path, window.held.as_ref(), window.first);
            tensor.check_finite().map_err(named)?;
            if is_whole {
                tensor.data_mut().iter_mut().for_each(|v| *v = v.round().max(0.0));
            }
            match &mask {
                Some(mask) => mask.join(&tensor, &window.hole(range, size, recipe.fit)?),
                None => Ok(tensor),
            }
        };
        let mut write = |first: usize, result: Tensor| {
            check_result(&result)?;
            let rows = result.shape().h.min(height.saturating_sub(first));
            if rows == 0 {
                return Ok(());
            }
            let mut result = result.part(0..rows, 0..width);
            output_recipe.apply(&mut result, None)?;
            let picture = match shrinks {
                true => None,
                false => Some(window.borrow().shown([height, width], first..first + rows)?),
            };
            if output_recipe.strength < 1.0 {
                let own =
                    picture.as_ref().expect("a network that is mixed with its input does not shrink it");
                let values = own.values(&recipe, self.model.picture_channels())?;
                output_recipe.mix(&mut result, &values, own.depth() != Depth::Float);
            }
            self.put(&Outcome { picture, result, report: report.clone() }, &mut sinks, false)
        };
        let tiles = session.tiles();
        session.stream(&mut read, &mut write, &|| done(tiles))?;
        report.run = start.elapsed() - built;
        let mut window = window.into_inner();
        report.notes.append(&mut window.notes);
        report.notes.extend(window.hole.iter().flat_map(Hole::notes));
        report.notes.extend(report.tiles_note());
        report.notes.extend(window.hole.as_ref().and_then(|hole| report.hole_note(hole, &self.output_info)));
        if self.cleans(targets) {
            let note =
                "the cut-out keeps the colours of its edges, which only a smaller picture gets cleaned";
            report.notes.push(note.into());
        }
        sinks.into_iter().try_for_each(|(_, sink)| sink.finish())?;
        Ok(report)
    }

    /// The input recipe with the statistics of this picture, padded to that height and width, and the exposure.
    fn measured(&self, path: &Path, size: [usize; 2]) -> Result<(InputRecipe, f64)> {
        let (recipe, channels) = (&self.model.recipe.input, self.model.picture_channels());
        recipe.measured(size[0], &mut |each| {
            let mut window = Window::new(Rows::open(path)?);
            (0..size[0]).step_by(MEASURE_ROWS).try_for_each(|first| {
                let range = first..size[0].min(first + MEASURE_ROWS);
                each(&window.padded(range, size, recipe, channels)?)
            })
        })
    }
}

/// The rows of a file that are still needed.
struct Window {
    rows: Rows,
    hole: Option<Hole>,
    /// Whether opacity is left out.
    is_opaque: bool,
    /// The first row in memory.
    first: usize,
    held: Option<Picture>,
    notes: Vec<String>,
}

impl Window {
    fn new(rows: Rows) -> Window {
        Window { rows, hole: None, is_opaque: false, first: 0, held: None, notes: Vec::new() }
    }

    /// Rows of the picture's values, padded to that height and width. Ranges must not go backwards.
    fn padded(
        &mut self,
        range: Range<usize>,
        [h, w]: [usize; 2],
        recipe: &InputRecipe,
        channels: usize,
    ) -> Result<Tensor> {
        let height = self.rows.height();
        // Padded rows at the bottom mirror the last ones.
        let mirrored = (2 * height).saturating_sub(h + 1);
        let first = range.start.min(mirrored).saturating_sub(MARGIN);
        self.advance(first, (range.end + MARGIN).min(height), recipe, channels)?;
        let held = self.held()?.values(recipe, channels)?;
        Ok(padded_rows(&held, self.first, height, range, w, recipe.fit))
    }

    /// Rows of the hole, padded to that height and width. The same rows of the picture were read last.
    fn hole(&self, range: Range<usize>, [_, w]: [usize; 2], fit: Fit) -> Result<Tensor> {
        let hole = self.held()?.hole().ok_or_else(|| Error::Usage("the picture has no hole".into()))?;
        Ok(padded_rows(&hole.tensor(), self.first, self.rows.height(), range, w, fit))
    }

    /// Drops rows before `first` and reads rows up to `end`.
    fn advance(&mut self, first: usize, end: usize, recipe: &InputRecipe, channels: usize) -> Result<()> {
        let first = first.max(self.first);
        let mut held_to = self.first + self.held.as_ref().map_or(0, Picture::height);
        let mut parts = Vec::new();
        if first < held_to {
            parts.push(self.part(first, held_to - first)?.with_hole(None)?);
        }
        self.first = first.min(held_to);
        // The number of rows read at once is limited.
        let most = (LARGE as usize / (4 * self.rows.width())).max(1);
        while held_to < end {
            let next = self.rows.next(most.min(end - held_to))?;
            if held_to == 0 {
                self.notes.extend(next.notes().iter().cloned().chain(next.input_notes(recipe, channels)));
            }
            held_to += next.height();
            parts.push(if self.is_opaque { next.with_alpha(None)? } else { next });
        }
        let hole = self.hole.as_ref().map(|hole| hole.rows(self.first..held_to));
        self.held = Some(Picture::stacked(&parts)?.with_hole(hole)?);
        Ok(())
    }

    fn held(&self) -> Result<&Picture> {
        self.held.as_ref().ok_or_else(|| Error::Usage("no rows were read yet".into()))
    }

    /// Rows of the picture, enlarged to that height and width.
    fn shown(&self, size: [usize; 2], rows: Range<usize>) -> Result<Picture> {
        match size == [self.rows.height(), self.rows.width()] {
            true => self.part(rows.start, rows.len()),
            false => self.held()?.resized_rows(self.first, self.rows.height(), size, rows),
        }
    }

    /// Rows of the picture.
    fn part(&self, first: usize, rows: usize) -> Result<Picture> {
        self.held()?.rows(first - self.first..first - self.first + rows)
    }
}

/// A file that grows with each band. The first band decides its kind.
struct BandFile {
    path: PathBuf,
    height: usize,
    georeference: Option<Arc<Georeference>>,
    writer: Option<RowWriter>,
}

impl Sink for BandFile {
    fn put(&mut self, made: Artifact) -> Result<()> {
        let (path, height) = (&self.path, self.height);
        match made {
            Artifact::Picture(picture) => {
                let channels = picture.channels() + usize::from(picture.alpha().is_some());
                let begin = || RowWriter::picture(path, picture.width(), height, channels, picture.depth());
                begun(&mut self.writer, begin)?.write_picture(&picture)
            }
            Artifact::Mask(mask) => {
                let begin = || RowWriter::indexed(path, mask.width(), height, mask.colors());
                begun(&mut self.writer, begin)?.write_indices(mask.classes())
            }
            Artifact::Labels(_) | Artifact::Scores(_) | Artifact::Numbers(_) | Artifact::Statistics(_) => {
                Err(Error::Usage(format!("{}: only pictures and masks go row by row", path.display())))
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Some(mut writer) = self.writer else { return Ok(()) };
        writer.set_georeference(self.georeference);
        writer.finish()
    }
}

fn begun(
    writer: &mut Option<RowWriter>,
    begin: impl FnOnce() -> Result<RowWriter>,
) -> Result<&mut RowWriter> {
    match writer {
        Some(writer) => Ok(writer),
        None => Ok(writer.insert(begin()?)),
    }
}
