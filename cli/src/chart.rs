//! Charts of a measurement: layers under the measured ceilings of the device, the time of each layer, and how time
//! grows with picture size and batch.

mod canvas;

use super::text;
use crate::error::{Error, Result};
use canvas::{Anchor, Canvas, Color, Size};
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

/// A series of points: a name, and x and seconds of each point.
type Series = (String, Vec<[f64; 2]>);

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

/// Points by name, sorted by x. Only names with more than one x.
fn series(points: &[Point], name: impl Fn(&Point) -> String, x: impl Fn(&Point) -> f64) -> Vec<Series> {
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

fn scaling_panel(canvas: &mut Canvas, title: &str, across: &str, series: &[Series], area: Area) {
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

/// A rectangle of the chart.
#[derive(Debug, Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
}

impl Area {
    /// Log-log axes in this area, with free space on the right.
    fn plot(self, across: [f64; 2], up: [f64; 2], right: f64) -> Plot {
        let area = Area {
            x: self.x + MARGIN + AXIS,
            y: self.y + 1.5 * MARGIN,
            w: self.w - AXIS - 2.5 * MARGIN - right,
            h: self.h - AXIS - 2.0 * MARGIN,
        };
        Plot { area, across, up }
    }
}

/// Log-log axes.
struct Plot {
    area: Area,
    across: [f64; 2],
    up: [f64; 2],
}

impl Plot {
    fn at(&self, x: f64, y: f64) -> [f64; 2] {
        let share = |v: f64, [low, high]: [f64; 2]| (v / low).ln() / (high / low).ln();
        let Area { x: left, y: top, w, h } = self.area;
        [left + w * share(x, self.across), top + h * (1.0 - share(y, self.up))]
    }

    /// Grid, numbers, and axis names.
    fn frame(&self, canvas: &mut Canvas, title: &str, [across, up]: [&str; 2], across_ticks: &[(f64, bool)]) {
        let Area { x: left, y: top, w, h } = self.area;
        let (right, bottom) = (left + w, top + h);
        for &(tick, named) in across_ticks {
            let [x, _] = self.at(tick, self.up[0]);
            canvas.line([x, top], [x, bottom], 1.0, GRID);
            if named {
                canvas.text([x, bottom + 10.0], &short(tick), Size::Small, Anchor::Middle, FAINT);
            }
        }
        for (tick, named) in ticks(self.up) {
            let [_, y] = self.at(self.across[0], tick);
            canvas.line([left, y], [right, y], 1.0, GRID);
            if named {
                canvas.text([left - 5.0, y], &short(tick), Size::Small, Anchor::End, FAINT);
            }
        }
        for (from, to) in [([left, top], [left, bottom]), ([left, bottom], [right, bottom])] {
            canvas.line(from, to, 1.0, FAINT);
        }
        canvas.text([left, top - MARGIN], title, Size::Small, Anchor::Start, INK);
        canvas.text([left + w / 2.0, bottom + 26.0], across, Size::Small, Anchor::Middle, INK);
        canvas.upright([left - AXIS + 4.0, top + h / 2.0], up, Size::Small, INK);
    }
}

/// A range slightly larger than that of the values, so no dot lies on an axis.
fn span(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = values
        .filter(|v| v.is_finite() && *v > 0.0)
        .fold([f64::INFINITY, 0.0_f64], |[low, high], v| [low.min(v), high.max(v)]);
    let [low, high] = if low > high { [1.0, 10.0] } else { [low, high] };
    [low / 1.4, high * 1.4]
}

/// Positions of grid lines, and whether each has a number: 1, 2 and 5 of a decade, or over many decades only 1.
fn ticks([low, high]: [f64; 2]) -> Vec<(f64, bool)> {
    let wide = high / low > 2e3;
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = decades.flat_map(|d| (1..10).map(move |m| (f64::from(m) * 10_f64.powi(d), m)));
    all.filter(|(v, m)| (low..=high).contains(v) && (!wide || *m == 1))
        .map(|(v, m)| (v, matches!(m, 1 | 2 | 5)))
        .collect()
}

/// A round number in a few characters.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 0.999e6 => (v / 1e6, "M"),
        v if v >= 0.999e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.4}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
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

/// A rectangle that a label or a dot covers.
#[derive(Debug, Clone, Copy)]
struct Patch {
    low: [f64; 2],
    high: [f64; 2],
}

impl Patch {
    fn around([x, y]: [f64; 2], [w, h]: [f64; 2]) -> Patch {
        Patch { low: [x - w / 2.0, y - h / 2.0], high: [x + w / 2.0, y + h / 2.0] }
    }

    fn meets(&self, other: &Patch) -> bool {
        (0..2).all(|axis| self.low[axis] < other.high[axis] && other.low[axis] < self.high[axis])
    }
}

/// Writes the name of a line and returns the area that it covers.
fn label(canvas: &mut Canvas, at: [f64; 2], name: &str) -> Patch {
    canvas.text(at, name, Size::Small, Anchor::Start, ROOF);
    let width = Size::Small.advance() * name.len() as f64;
    Patch::around([at[0] + width / 2.0, at[1]], [width, Size::Small.line()])
}

/// The nearest free position for a label around a dot.
fn free_place(at: [f64; 2], size: [f64; 2], taken: &[Patch], area: Area) -> [f64; 2] {
    let around = |radius: f64, step: i32| {
        let angle = f64::from(step) * std::f64::consts::TAU / 16.0;
        [at[0] + radius * 1.2 * angle.cos(), at[1] - radius * angle.sin()]
    };
    let radii = [10.0, 14.0, 19.0, 25.0, 32.0, 40.0, 50.0, 62.0];
    let places = radii.into_iter().flat_map(|radius| (0..16).map(move |step| around(radius, step)));
    let inside = |p: &Patch| {
        p.low[0] > area.x && p.low[1] > area.y && p.high[0] < area.x + area.w && p.high[1] < area.y + area.h
    };
    let free = |place: &[f64; 2]| {
        let patch = Patch::around(*place, size);
        inside(&patch) && !taken.iter().any(|other| other.meets(&patch))
    };
    places.into_iter().find(free).unwrap_or([at[0] + 12.0, at[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cover_neither_dots_nor_each_other() {
        let area = Area { x: 0.0, y: 0.0, w: 400.0, h: 400.0 };
        let dots: Vec<[f64; 2]> =
            (0..12).map(|i| [200.0 + f64::from(i % 4) * 9.0, 200.0 + f64::from(i / 4) * 9.0]).collect();
        let mut taken: Vec<Patch> = dots.iter().map(|&at| Patch::around(at, [7.0, 7.0])).collect();
        for &dot in &dots {
            let patch = Patch::around(free_place(dot, [12.0, 10.0], &taken, area), [12.0, 10.0]);
            assert!(!taken.iter().any(|other| other.meets(&patch)));
            taken.push(patch);
        }
    }

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
