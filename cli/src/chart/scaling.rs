//! How time grows with picture size and batch.

use super::axes::{Area, span, ticks};
use super::canvas::{Anchor, Canvas, Color, Size};
use super::{COLORS, GRID, INK, MARGIN, Point};

/// A series of points: a name, and x and seconds of each point.
pub(super) type Series = (String, Vec<[f64; 2]>);

/// Points by name, sorted by x. Only names with more than one x.
pub(super) fn series(
    points: &[Point],
    name: impl Fn(&Point) -> String,
    x: impl Fn(&Point) -> f64,
) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for point in points {
        let (name, at) = (name(point), [x(point), point.seconds * 1e3]);
        match all.iter_mut().find(|series| series.0 == name) {
            Some(series) => series.1.push(at),
            None => all.push((name, vec![at])),
        }
    }
    all.iter_mut().for_each(|series| series.1.sort_by(|a, b| a[0].total_cmp(&b[0])));
    all.retain(|(_, points)| points.iter().any(|p| p[0] != points[0][0]));
    all
}

pub(super) fn scaling_panel(canvas: &mut Canvas, title: &str, across: &str, series: &[Series], area: Area) {
    let all = || series.iter().flat_map(|s| &s.1);
    let legend = series.iter().map(|s| s.0.len()).max().unwrap_or(0).max(12) as f64 * Size::Small.advance();
    let plot = area.plot(span(all().map(|p| p[0])), span(all().map(|p| p[1])), legend + 2.0 * MARGIN);
    // With few positions, their own numbers are more useful than round ones.
    let mut places: Vec<f64> = all().map(|p| p[0]).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let own: Vec<(f64, bool)> = places.iter().map(|&x| (x, true)).collect();
    let few = places.len() <= 8 && places.iter().all(|&x| x < 1e3);
    let marks = if few { own } else { ticks(plot.across) };
    plot.frame(canvas, title, [across, "ms per run (median)"], &marks);
    // A line of this slope means that time is proportional.
    let [x, y] = all().copied().max_by(|a, b| a[1].total_cmp(&b[1])).unwrap_or([1.0; 2]);
    let low = plot.across[0].max(x * plot.up[0] / y);
    canvas.line(plot.at(low, y * low / x), plot.at(x, y), 3.0, GRID);
    for (i, (name, points)) in series.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let places: Vec<[f64; 2]> = points.iter().map(|p| plot.at(p[0], p[1])).collect();
        places.windows(2).for_each(|pair| canvas.line(pair[0], pair[1], 1.5, color));
        places.iter().for_each(|&at| canvas.dot(at, 3.0, color));
        legend_entry(canvas, plot.area, i, name, color);
    }
    legend_entry(canvas, plot.area, series.len(), "proportional", GRID);
}

fn legend_entry(canvas: &mut Canvas, plot: Area, line: usize, name: &str, color: Color) {
    let y = plot.y + (line as f64 + 0.5) * (Size::Small.line() + 2.0);
    let x = plot.x + plot.w + 8.0;
    canvas.line([x, y], [x + 10.0, y], 3.0, color);
    canvas.text([x + 16.0, y], name, Size::Small, Anchor::Start, INK);
}
