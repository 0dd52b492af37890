//! Options of a pipeline.

use crate::error::Result;
use crate::image::{Backdrop, Mask, Palette, Picture};
use crate::tiles::TileOptions;

/// Options of a [`Pipeline`](super::Pipeline).
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
    /// For cut-outs: pixels that are partly transparent get the [colour of the foreground alone](crate::image::foreground). A
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
