//! How a picture is cut: the options, the sizes and positions of tiles, and the weights with which they are merged.

use crate::augment::Augment;
use crate::error::{Error, Result, Setting};
use crate::graph::{Graph, fraction};
use crate::tensor::Shape;
use std::ops::Range;

/// Share of a tile's side that its neighbour also covers when tiles are blended.
const OVERLAP: f64 = 0.5;

/// Standard deviation of the Gaussian as a share of a tile's side, as in nnU-Net.
const DEVIATION: f64 = 1.0 / 8.0;

/// Outputs along the side of a Winograd tile. If tiles begin at multiples of it on every level, sums are rounded as in
/// the whole picture.
const WINOGRAD: usize = 4;

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

/// Properties of a network that decide how pictures are cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reach {
    /// The largest distance, in input pixels, between neighbours of any value.
    stride: usize,
    /// Tiles begin at multiples of this.
    pub(super) align: usize,
    /// Input pixels beyond a tile that can affect its results; `None` if all can.
    halo: Option<usize>,
    /// Output pixels for `ratio[1]` input pixels; tiles begin at multiples of these.
    ratio: [usize; 2],
}

impl Reach {
    /// That of a network for pictures of this shape.
    pub(super) fn of(graph: &Graph, input: Shape) -> Result<Reach> {
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

    /// That of a network that takes only the shape `tile`, and the shape of its result for the whole of `input`.
    pub(super) fn fixed(graph: &Graph, tile: Shape, input: Shape) -> Result<(Reach, Shape)> {
        let made = graph.output_shape(tile)?;
        let ratio @ [p, q] = fraction(made.h as f64 / tile.h as f64).unwrap_or([1, 1]);
        // The last tile ends with the picture, so it begins anywhere, unless results must begin at whole pixels.
        let rest = [input.h - tile.h, input.w - tile.w];
        let is_exact = |own: &Reach| own.stride == q && rest.iter().all(|rest| rest.is_multiple_of(q));
        let halo = Some(Reach::of(graph, tile)?).filter(is_exact).and_then(|own| own.halo);
        let [h, w] = [input.h, input.w].map(|side| side * p / q);
        Ok((Reach { stride: q, align: q, halo, ratio }, Shape { h, w, ..made }))
    }
}

/// The position of a tile along one axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    /// Its first input pixel.
    pub(super) input: usize,
    /// Its first output pixel.
    pub(super) output: usize,
    /// The weight of each output pixel. The weights of all tiles sum to 1 at every pixel.
    pub(super) weights: Vec<f32>,
    /// The output pixels with a weight, relative to the first.
    pub(super) wanted: Range<usize>,
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
pub(super) struct Layout {
    reach: Reach,
    /// Whether the result is that of the whole picture, up to rounding.
    pub(super) exact: bool,
    overlap: Option<usize>,
    blend: Blend,
}

impl Layout {
    /// The layout of tiles with sides of at most `side`, and their height and width. Tiles that are too small to be
    /// exact are blended. They need not begin where the tiles of Winograd do.
    pub(super) fn new(
        reach: Reach,
        tiles: &TileOptions,
        extents: [usize; 2],
        side: usize,
    ) -> (Layout, [usize; 2]) {
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
    pub(super) fn axis(&self, len: usize, side: usize, total: usize, made: usize) -> Result<Vec<Span>> {
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
