//! Pictures that are too large for a device: they are cut into overlapping tiles, and the results are merged.
//!
//! If every output pixel depends on a bounded neighbourhood, tiles give exactly the result of the whole picture. Each
//! tile is larger by the pixels that can affect its own ones. It begins at a multiple of the network's stride, and its
//! size has the same remainder as the picture's, so pooling windows and borders fall where the picture's do. If an
//! operator sees its whole input (instance norm, global pooling, attention), no tiling can be exact, nor if tiles of a
//! requested size are smaller than the neighbourhood. Such tiles are weighted by a Gaussian and blended.

use crate::augment::Augment;
use crate::error::{Error, Result, Setting};
use crate::graph::{Graph, fraction};
use crate::lock::{lock, unlocked};
use crate::model::Model;
use crate::plan::FRAMES;
use crate::session::{Device, Session, SessionOptions};
use crate::tensor::{Shape, Tensor};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Share of a tile's side that its neighbour also covers when tiles are blended.
const OVERLAP: f64 = 0.5;

/// Standard deviation of the Gaussian as a share of a tile's side, as in nnU-Net.
const DEVIATION: f64 = 1.0 / 8.0;

/// Outputs along the side of a Winograd tile. If tiles begin at multiples of it on every level, sums are rounded as in
/// the whole picture.
const WINOGRAD: usize = 4;

/// Most numbers of rows that are written at once: 16 MiB.
const WRITTEN: usize = 4 << 20;

/// Factor between the sizes of consecutive attempts.
const SHRINK: f64 = 0.8;

/// How the results of tiles are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blend {
    /// [`Crop`](Self::Crop) if that is exact and the tiles are large enough, else [`Gaussian`](Self::Gaussian).
    #[default]
    Auto,
    /// Each pixel from one tile.
    Crop,
    /// Each pixel from all tiles that contain it, weighted by a Gaussian around their centres.
    Gaussian,
}

/// How pictures are cut. By default the device and the network decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TileOptions {
    /// Side of a tile in pixels. If absent, the largest that fits.
    pub size: Option<usize>,
    /// Overlap of neighbours in pixels. If absent, what exactness or blending needs.
    pub overlap: Option<usize>,
    /// How the results of tiles are merged.
    pub blend: Blend,
    /// Copies of each tile that the network runs on.
    pub augment: Augment,
}

setters!(TileOptions {
    with_size(size: Option<usize>),
    with_overlap(overlap: Option<usize>),
    with_blend(blend: Blend),
    with_augment(augment: Augment),
});

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

/// The position of a tile along one axis.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    /// Its first input pixel.
    input: usize,
    /// Its first output pixel.
    output: usize,
    /// The weight of each output pixel. The weights of all tiles sum to 1 at every pixel.
    weights: Vec<f32>,
    /// The output pixels with a weight, relative to the first.
    wanted: Range<usize>,
}

/// Properties of a network that decide how pictures are cut.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reach {
    /// The largest distance, in input pixels, between neighbours of any value.
    stride: usize,
    /// Tiles begin at multiples of this.
    align: usize,
    /// Input pixels beyond a tile that can affect its results; `None` if all can.
    halo: Option<usize>,
    /// Output pixels for `ratio[1]` input pixels; tiles begin at multiples of these.
    ratio: [usize; 2],
}

impl Reach {
    fn of(graph: &Graph, input: Shape) -> Result<Reach> {
        // A network that sees everything has no defined stride. This one suits six halvings.
        const BLIND: usize = 64;
        // No extent of a tensor is larger, so that nothing below overflows.
        const MOST: usize = 1 << 30;
        let told = |((stride, step), field): &((usize, f64), usize)| {
            *stride <= MOST && *field <= MOST && (1.0 / MOST as f64..=MOST as f64).contains(step)
        };
        match graph.stride().zip(graph.receptive_field()).filter(told) {
            Some(((stride, step), field)) => {
                let ratio = fraction(1.0 / step).unwrap_or([1, 1]);
                let halo = (field.div_ceil(2) + stride).next_multiple_of(stride);
                Ok(Reach { stride, align: stride * WINOGRAD, halo: Some(halo), ratio })
            }
            None => {
                let growth = graph.growths(&graph.shapes(input)?)[graph.output().index()];
                let ratio = growth.and_then(fraction).unwrap_or([1, 1]);
                let stride = if BLIND.is_multiple_of(ratio[1]) { BLIND } else { BLIND * ratio[1] };
                Ok(Reach { stride, align: stride, halo: None, ratio })
            }
        }
    }
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
                let made = graph.output_shape(tile)?;
                let ratio @ [p, q] = fraction(made.h as f64 / h as f64).unwrap_or([1, 1]);
                // The last tile ends with the picture, so it begins anywhere, unless results must begin at whole pixels.
                let rest = [input.h - h, input.w - w];
                let is_exact =
                    |own: &Reach| own.stride == q && rest.iter().all(|rest| rest.is_multiple_of(q));
                let halo = Some(Reach::of(&graph, tile)?).filter(is_exact).and_then(|own| own.halo);
                let [h, w] = [input.h, input.w].map(|side| side * p / q);
                (graph, Shape { h, w, ..made }, Reach { stride: q, align: q, halo, ratio })
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
        let width = self.session.input_shape().w;
        let added: Added<'_> = Mutex::new((0, Ok(open)));
        let turn = Condvar::new();
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(column) = self.columns.get(at) else { break };
                let _let_go = LetGo(&added, &turn);
                let tile = band.part(0..band.shape().h, column.input..column.input + width);
                let result = self.run_tile(&tile);
                let waiting = turn.wait_while(lock(&added), |(count, _)| *count < at);
                let mut added = waiting.unwrap_or_else(PoisonError::into_inner);
                match (&mut added.1, result) {
                    (Ok(open), Ok(result)) => add(open, &result, row, column),
                    (open @ Ok(_), Err(error)) => {
                        *open = Err(error);
                        next.store(self.columns.len(), Ordering::Relaxed);
                    }
                    (Err(_), _) => {}
                }
                added.0 = added.0.max(at + 1);
                turn.notify_all();
                done();
            }
        };
        // On a GPU several runs overlap; on the CPU they take turns.
        let threads = if self.session.gpu().is_some() { FRAMES as usize } else { 1 };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(self.columns.len()) {
                scope.spawn(work);
            }
            work();
        });
        unlocked(added).1.map(|_| ())
    }
}

/// The number of tiles that are added to the open rows, and these.
type Added<'a> = Mutex<(usize, Result<&'a mut Tensor>)>;

/// After a panic, lets the threads go that wait for their turn.
struct LetGo<'a, 'b>(&'a Added<'b>, &'a Condvar);

impl Drop for LetGo<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(self.0).0 = usize::MAX;
            self.1.notify_all();
        }
    }
}

/// The side of a tile along an axis: at most `side`, with the same remainder by `align` as the axis.
fn tile_side(len: usize, side: usize, align: usize) -> usize {
    let rest = len % align;
    match side.saturating_sub(rest) / align * align + rest {
        tile if tile >= len => len,
        tile if tile < align => (align + rest).min(len),
        tile => tile,
    }
}

/// The rules for cutting an axis.
struct Layout {
    reach: Reach,
    exact: bool,
    overlap: Option<usize>,
    blend: Blend,
}

impl Layout {
    /// The layout of tiles with sides of at most `side`, and their height and width. Where they are too small to be exact
    /// they are blended, and need not begin where the tiles of Winograd do.
    fn new(reach: Reach, tiles: &TileOptions, extents: [usize; 2], side: usize) -> (Layout, [usize; 2]) {
        let cut = |align| extents.map(|len| tile_side(len, side, align));
        let large = |halo: usize| {
            let sides = extents.iter().zip(cut(reach.align));
            sides.into_iter().all(|(&len, side)| side == len || 2 * halo + reach.align <= side)
        };
        let sees_all = |halo: usize| {
            let enough = tiles.overlap.is_none_or(|pixels| pixels >= 2 * halo);
            enough && (tiles.blend == Blend::Crop || large(halo))
        };
        let exact = tiles.blend != Blend::Gaussian && reach.halo.is_some_and(sees_all);
        let align = if exact || tiles.blend == Blend::Crop { reach.align } else { reach.stride };
        let layout =
            Layout { reach: Reach { align, ..reach }, exact, overlap: tiles.overlap, blend: tiles.blend };
        (layout, cut(align))
    }

    /// Tiles of length `side` along an axis of `len` input pixels. Each makes `made` of `total` output pixels.
    fn axis(&self, len: usize, side: usize, total: usize, made: usize) -> Result<Vec<Span>> {
        if side == len {
            return Ok(vec![Span { input: 0, output: 0, weights: vec![1.0; made], wanted: 0..made }]);
        }
        let Reach { stride, align, halo, ratio: [up, down] } = self.reach;
        let out = |input: usize| input * up / down;
        if out(len) != total || out(side) != made {
            let got = format!("{total} of {len}, and {made} of {side}");
            return Err(Error::shape("the result", "sizes in proportion to the input's, as tiles need", got));
        }
        let wanted = match (self.exact, halo) {
            (true, Some(halo)) => 2 * halo,
            _ => ((side as f64 * OVERLAP) as usize).min(side.saturating_sub(align)) / stride * stride,
        };
        let overlap = self.overlap.unwrap_or(wanted).next_multiple_of(stride);
        if overlap + align > side || (overlap == 0 && self.overlap.is_none()) {
            let least = if overlap == 0 { 3 * align } else { overlap + align };
            let reason = format!("this network needs tiles of at least {least} pixels, and they have {side}");
            return Err(Error::Setting { setting: Setting::Tiles, path: None, reason });
        }
        let step = (side - overlap) / align * align;
        let last = len - side;
        let mut origins: Vec<usize> = (0..last).step_by(step).collect();
        origins.push(last);
        let crop = self.exact || self.blend == Blend::Crop;
        let mut spans: Vec<Span> = origins
            .iter()
            .enumerate()
            .map(|(i, &origin)| {
                let weights: Vec<f32> = match crop {
                    true => {
                        // The border between two tiles is the middle of their overlap.
                        let middle = |a: usize, b: usize| out((b + (a + side - b) / 2) / stride * stride);
                        let begin = if i == 0 { 0 } else { middle(origins[i - 1], origin) };
                        let end = origins.get(i + 1).map_or(total, |&next| middle(origin, next));
                        let owned = begin - out(origin)..end - out(origin);
                        (0..made).map(|at| f32::from(u8::from(owned.contains(&at)))).collect()
                    }
                    false => {
                        let deviation = made as f64 * DEVIATION;
                        let place = |at: usize| (at as f64 + 0.5 - made as f64 / 2.0) / deviation;
                        (0..made).map(|at| (-0.5 * place(at).powi(2)).exp() as f32).collect()
                    }
                };
                Span { input: origin, output: out(origin), weights, wanted: 0..made }
            })
            .collect();
        let mut sums = vec![0.0f32; total];
        for span in &spans {
            span.weights.iter().zip(&mut sums[span.output..]).for_each(|(w, sum)| *sum += w);
        }
        for span in &mut spans {
            let sums = &sums[span.output..];
            span.weights.iter_mut().zip(sums).for_each(|(w, sum)| *w /= sum);
            let begin = span.weights.iter().position(|&w| w > 0.0).unwrap_or(0);
            let end = span.weights.iter().rposition(|&w| w > 0.0).map_or(begin, |last| last + 1);
            span.wanted = begin..end;
        }
        Ok(spans)
    }
}

/// Writes whole rows to their place.
fn paste(to: &mut Tensor, rows: &Tensor, first: usize) {
    let (s, h) = (to.shape(), rows.shape().h);
    let planes = to.data_mut().chunks_exact_mut(s.pixels()).zip(rows.data().chunks_exact(h * s.w));
    planes.for_each(|(to, rows)| to[first * s.w..][..rows.len()].copy_from_slice(rows));
}

/// The tensor without its first rows, filled up with zeros at the end.
fn shifted(mut x: Tensor, rows: usize) -> Tensor {
    let s = x.shape();
    for plane in x.data_mut().chunks_exact_mut(s.pixels()) {
        let gone = (rows * s.w).min(plane.len());
        plane.copy_within(gone.., 0);
        let left = plane.len() - gone;
        plane[left..].fill(0.0);
    }
    x
}

/// Adds the weighted result of a tile to the open rows. The first open row is the first row of the tile.
fn add(open: &mut Tensor, tile: &Tensor, row: &Span, column: &Span) {
    let (to, s) = (open.shape(), tile.shape());
    let planes = open.data_mut().chunks_exact_mut(to.pixels()).zip(tile.data().chunks_exact(s.pixels()));
    for (open, tile) in planes {
        for y in row.wanted.clone() {
            let weight = row.weights[y];
            let open = &mut open[y * to.w + column.output..][..s.w];
            let tile = &tile[y * s.w..][..s.w];
            for x in column.wanted.clone() {
                open[x] += weight * column.weights[x] * tile[x];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(halo: Option<usize>, exact: bool) -> Layout {
        let reach = Reach { stride: 8, align: 8, halo, ratio: [1, 1] };
        Layout { reach, exact, overlap: None, blend: Blend::Auto }
    }

    #[test]
    fn weights_sum_to_one_and_exact_tiles_keep_their_halo() {
        for len in [100, 101, 257, 1000] {
            for side in [72, 96] {
                let side = tile_side(len, side, 8);
                assert_eq!(side % 8, len % 8);
                for (halo, exact) in [(Some(16), true), (None, false)] {
                    let spans = layout(halo, exact).axis(len, side, len, side).unwrap();
                    let mut sums = vec![0.0f32; len];
                    for span in &spans {
                        assert_eq!(span.input % 8, 0);
                        let places = span.weights.iter().enumerate().zip(&mut sums[span.output..]);
                        places.for_each(|((_, w), sum)| *sum += w);
                        if exact {
                            let is_first = span.input == 0;
                            let is_last = span.input + side == len;
                            assert!(is_first || span.wanted.start >= 16, "{span:?}");
                            assert!(is_last || side - span.wanted.end >= 16, "{span:?}");
                        }
                    }
                    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
                }
            }
        }
        assert!(layout(Some(40), true).axis(1000, 72, 1000, 72).is_err());
    }
}
