//! Charts of a measurement: layers under the measured ceilings of the device, the time of each layer, and how time
//! grows with picture size and batch.

mod axes;
mod canvas;
mod labels;
mod scaling;

use super::text;
use crate::error::{Error, Result};
use axes::{Area, span, ticks};
use canvas::{Anchor, Canvas, Color, Size};
use labels::{Patch, free_place, label};
use scaling::{Series, scaling_panel, series};
use std::path::Path;

const INK: Color = [34, 34, 34];
const FAINT: Color = [110, 110, 110];
const GRID: Color = [228, 228, 228];
const ROOF: Color = [90, 90, 90];
/// Colours that remain distinct for people with colour blindness: Okabe and Ito, "Color Universal Design", 2008.
const COLORS: [Color; 8] = [
    [0, 114, 178],
    [230, 120, 0],
    [0, 158, 115],
    [204, 121, 167],
    [86, 180, 233],
    [120, 94, 30],
    [190, 50, 30],
    [90, 90, 90],
];

/// Width of a picture.
const WIDTH: f64 = 1040.0;
/// Space around and between panels.
const MARGIN: f64 = 16.0;
/// Space for the numbers and the name of an axis.
const AXIS: f64 = 44.0;
/// Height of a panel with axes.
const PANEL: f64 = 400.0;

/// One layer as it was measured.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) seconds: f64,
    pub(super) flops: u64,
    pub(super) bytes: u64,
}

impl Bar {
    /// Multiplications and additions per byte and per second, if there are any.
    fn place(&self) -> Option<[f64; 2]> {
        let [flops, bytes] = [self.flops, self.bytes].map(|n| n as f64);
        (flops > 0.0 && bytes > 0.0 && self.seconds > 0.0).then(|| [flops / bytes, flops / self.seconds])
    }
}

/// All layers of one run.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    /// Such as `f16`.
    pub(super) name: String,
    pub(super) bars: Vec<Bar>,
    /// Largest rate, multiplications and additions per second.
    pub(super) peak: f64,
}

/// One measured run in the scaling plots.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) size: String,
    pub(super) pixels: usize,
    pub(super) batch: usize,
    pub(super) precision: String,
    pub(super) seconds: f64,
}

/// The contents of a chart.
#[derive(Debug, Clone, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) layers: Vec<Layers>,
    /// Largest copy rate, bytes per second.
    pub(super) copy: f64,
    pub(super) points: Vec<Point>,
}

/// The file format of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Svg,
    Png,
}

impl Format {
    /// The format of a path's extension.
    pub(super) fn of(path: &Path) -> Result<Format> {
        match path.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
            Some("svg") => Ok(Format::Svg),
            Some("png") => Ok(Format::Png),
            _ => Err(Error::Usage(format!("--chart {}: end it in .svg or .png", path.display()))),
        }
    }
}

impl Chart {
    /// Time by pixels, one line for each batch and precision.
    fn by_pixels(&self) -> Vec<Series> {
        let name = |p: &Point| format!("batch {} {}", p.batch, p.precision);
        series(&self.points, name, |p| p.pixels as f64)
    }

    /// Time by batch, one line for each size and precision.
    fn by_batch(&self) -> Vec<Series> {
        series(&self.points, |p| format!("{} {}", p.size, p.precision), |p| p.batch as f64)
    }

    /// Whether there is anything to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.by_pixels().is_empty() && self.by_batch().is_empty()
    }

    /// The chart as the bytes of a file.
    pub(super) fn encode(&self, format: Format) -> Result<Vec<u8>> {
        let canvas = self.draw();
        match format {
            Format::Svg => Ok(canvas.svg().into_bytes()),
            Format::Png => canvas.png(),
        }
    }

    fn draw(&self) -> Canvas {
        let names = self.rows();
        let row = self.row_height();
        let header = 2.0 * MARGIN + Size::Large.line() + Size::Small.line();
        let upper =
            if self.layers.is_empty() { 0.0 } else { PANEL.max(names.len() as f64 * row + 3.0 * MARGIN) };
        let scaling = [
            ("time by picture size", "pixels of a picture", self.by_pixels()),
            ("time by batch", "pictures in a run", self.by_batch()),
        ];
        let scaling: Vec<_> = scaling.into_iter().filter(|panel| !panel.2.is_empty()).collect();
        let lower = if scaling.is_empty() { 0.0 } else { PANEL };
        let mut canvas = Canvas::new(WIDTH, header + upper + lower + MARGIN);
        let line = MARGIN + Size::Large.line() / 2.0;
        canvas.text([MARGIN, line], &self.title, Size::Large, Anchor::Start, INK);
        canvas.text([MARGIN, line + Size::Large.line()], &self.subtitle, Size::Small, Anchor::Start, FAINT);
        if !self.layers.is_empty() {
            let half = WIDTH / 2.0 + 2.0 * MARGIN;
            self.roofline(
                &mut canvas,
                &names,
                Area { x: 0.0, y: header, w: half, h: upper.min(1.5 * PANEL) },
            );
            self.bars(&mut canvas, &names, Area { x: half, y: header, w: WIDTH - half, h: upper });
        }
        let width = WIDTH / scaling.len().max(1) as f64;
        for (i, (title, across, series)) in scaling.iter().enumerate() {
            let area = Area { x: i as f64 * width, y: header + upper, w: width, h: PANEL };
            scaling_panel(&mut canvas, title, across, series, area);
        }
        canvas
    }

    /// Names of all layers, in execution order.
    fn rows(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for bar in self.layers.iter().flat_map(|layers| &layers.bars) {
            if !names.contains(&bar.name.as_str()) {
                names.push(&bar.name);
            }
        }
        names
    }

    fn row_height(&self) -> f64 {
        self.layers.len() as f64 * Size::Small.line() + 2.0
    }

    fn roofline(&self, canvas: &mut Canvas, names: &[&str], area: Area) {
        let dots: Vec<(usize, usize, [f64; 2])> = (0..self.layers.len())
            .flat_map(|l| self.layers[l].bars.iter().map(move |bar| (l, bar)))
            .filter_map(|(l, bar)| Some((l, names.iter().position(|n| *n == bar.name)?, bar.place()?)))
            .collect();
        let peak = self.layers.iter().map(|l| l.peak).fold(0.0, f64::max);
        let ridge = peak / self.copy;
        let across = span(dots.iter().map(|d| d.2[0]).chain([ridge]));
        let up = span(dots.iter().map(|d| d.2[1]).chain([peak * 1.3]));
        let plot = area.plot(across, up.map(|v| v / 1e9), 0.0);
        let title = "layers under the measured ceilings";
        plot.frame(canvas, title, ["flop / byte", "GFLOP/s"], &ticks(across));

        let (low, high) = (across[0], across[1]);
        let mut taken = Vec::new();
        for (l, layers) in self.layers.iter().enumerate() {
            let corner = [plot.area.x + 10.0, plot.area.y + 9.0 + l as f64 * Size::Small.line()];
            canvas.dot(corner, 3.5, COLORS[l % COLORS.len()]);
            taken.push(label(canvas, [corner[0] + 8.0, corner[1]], &layers.name));
            let start = (layers.peak / self.copy).max(low);
            let [from, to] = [plot.at(start, layers.peak / 1e9), plot.at(high, layers.peak / 1e9)];
            canvas.line(from, to, 1.5, ROOF);
            // Precisions with the same peak share a line and its name.
            let same = |other: &&Layers| other.peak == layers.peak;
            if self.layers.iter().position(|other| same(&other)) == Some(l) {
                let names: Vec<&str> = self.layers.iter().filter(same).map(|l| l.name.as_str()).collect();
                let name = format!("FMA {}, {}", names.join(" and "), text::rate(layers.peak, "FLOP"));
                taken.push(label(canvas, [from[0] + 14.0, to[1] - 8.0], &name));
            }
        }
        let foot = (up[0] / self.copy).max(low);
        let [from, to] = [plot.at(foot, foot * self.copy / 1e9), plot.at(ridge, peak / 1e9)];
        canvas.line(from, to, 1.5, ROOF);
        // Above the roof, where no dot should be.
        let name = format!("copy, {}", text::rate(self.copy, "B"));
        let width = Size::Small.advance() * name.len() as f64;
        let share = |axis: usize| from[axis] * 0.3 + to[axis] * 0.7;
        let left = (share(0) - width - 8.0).max(plot.area.x + 4.0);
        taken.push(label(canvas, [left, share(1) - 6.0], &name));

        let places: Vec<[f64; 2]> = dots.iter().map(|d| plot.at(d.2[0], d.2[1] / 1e9)).collect();
        taken.extend(places.iter().map(|&at| Patch::around(at, [7.0, 7.0])));
        for (&(layers, row, _), &at) in dots.iter().zip(&places) {
            let name = (row + 1).to_string();
            let size = [Size::Small.advance() * name.len() as f64 + 4.0, Size::Small.line() - 2.0];
            let beside = free_place(at, size, &taken, plot.area);
            taken.push(Patch::around(beside, size));
            let color = COLORS[layers % COLORS.len()];
            if (beside[0] - at[0]).hypot(beside[1] - at[1]) > 14.0 {
                canvas.line(at, beside, 0.5, color);
            }
            canvas.text(beside, &name, Size::Small, Anchor::Middle, INK);
        }
        for (&(layers, ..), &at) in dots.iter().zip(&places) {
            canvas.dot(at, 3.5, COLORS[layers % COLORS.len()]);
        }
    }

    fn bars(&self, canvas: &mut Canvas, names: &[&str], area: Area) {
        let advance = Size::Small.advance();
        let shown = |i: usize| format!("{:>2} {}", i + 1, shorten(names[i], 22));
        let widest = (0..names.len()).map(|i| shown(i).len()).max().unwrap_or(0) as f64 * advance;
        let (left, right) = (area.x + widest + MARGIN, area.x + area.w - MARGIN - 15.0 * advance);
        let longest = self.layers.iter().flat_map(|l| &l.bars).map(|b| b.seconds).fold(1e-12, f64::max);
        let totals: Vec<f64> =
            self.layers.iter().map(|l| l.bars.iter().map(|b| b.seconds).sum::<f64>().max(1e-12)).collect();
        let sums = self.layers.iter().zip(&totals).map(|(l, &sum)| format!("{} {}", l.name, duration(sum)));
        let title = format!("device time of each layer ({})", sums.collect::<Vec<_>>().join(", "));
        canvas.text([area.x, area.y + MARGIN / 2.0], &title, Size::Small, Anchor::Start, INK);
        let (line, row) = (Size::Small.line(), self.row_height());
        for (i, name) in names.iter().enumerate() {
            let top = area.y + 1.5 * MARGIN + i as f64 * row;
            let middle = top + self.layers.len() as f64 * line / 2.0;
            canvas.text([area.x, middle], &shown(i), Size::Small, Anchor::Start, INK);
            for (l, layers) in self.layers.iter().enumerate() {
                let Some(bar) = layers.bars.iter().find(|bar| bar.name == *name) else { continue };
                let width = bar.seconds / longest * (right - left);
                let at = top + l as f64 * line;
                canvas.rect([left, at + 1.5], [width, line - 3.0], COLORS[l % COLORS.len()]);
                let share = 100.0 * bar.seconds / totals[l];
                let figures = format!("{:>7} {share:>3.0} %", duration(bar.seconds));
                canvas.text(
                    [left + width + 4.0, at + line / 2.0],
                    figures.trim_start(),
                    Size::Small,
                    Anchor::Start,
                    FAINT,
                );
            }
        }
    }
}

fn duration(seconds: f64) -> String {
    let (value, unit) = if seconds < 1e-3 { (seconds * 1e6, "us") } else { (seconds * 1e3, "ms") };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// The end of a name, which distinguishes layers better than the beginning.
fn shorten(name: &str, letters: usize) -> String {
    let count = name.chars().count();
    match count > letters {
        true => format!("..{}", name.chars().skip(count + 2 - letters).collect::<String>()),
        false => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::axes::short;
    use super::*;

    #[test]
    fn numbers_are_short_and_axes_have_some() {
        assert_eq!([0.1, 2.0, 1e3, 2e4, 5e6].map(short), ["0.1", "2", "1k", "20k", "5M"]);
        assert_eq!([12e-6, 1.5e-3, 0.25].map(duration), ["12.0 us", "1.50 ms", "250 ms"]);
        for span in [[0.01, 1e6], [3.0, 40.0], [900.0, 1100.0]] {
            assert!(ticks(span).iter().any(|tick| tick.1), "{span:?}");
        }
        assert_eq!(shorten("encoder.block.conv", 10), "..ock.conv");
    }

    #[test]
    fn nothing_measured_is_drawn_without_a_fault() {
        let bar = Bar { name: "<&>".into(), seconds: 0.0, flops: 0, bytes: 0 };
        let layers = vec![Layers { name: "f32".into(), bars: vec![bar], peak: 1e9 }];
        let chart = Chart { layers, copy: 1e9, ..Chart::default() };
        let svg = String::from_utf8(chart.encode(Format::Svg).expect("an SVG")).expect("UTF-8");
        assert!(svg.contains("&lt;&amp;&gt;") && !svg.contains("NaN") && !svg.contains("inf"));
        assert!(chart.encode(Format::Png).is_ok());
    }
}
