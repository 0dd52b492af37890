//! Log-log axes: ranges, grid lines and their numbers.

use super::canvas::{Anchor, Canvas, Size};
use super::{AXIS, FAINT, GRID, INK, MARGIN};

/// A rectangle of the chart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

impl Area {
    /// Log-log axes in this area, with free space on the right.
    pub(super) fn plot(self, across: [f64; 2], up: [f64; 2], right: f64) -> Plot {
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
pub(super) struct Plot {
    pub(super) area: Area,
    pub(super) across: [f64; 2],
    pub(super) up: [f64; 2],
}

impl Plot {
    pub(super) fn at(&self, x: f64, y: f64) -> [f64; 2] {
        let share = |v: f64, [low, high]: [f64; 2]| (v / low).ln() / (high / low).ln();
        let Area { x: left, y: top, w, h } = self.area;
        [left + w * share(x, self.across), top + h * (1.0 - share(y, self.up))]
    }

    /// Grid, numbers, and axis names.
    pub(super) fn frame(
        &self,
        canvas: &mut Canvas,
        title: &str,
        [across, up]: [&str; 2],
        across_ticks: &[(f64, bool)],
    ) {
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
pub(super) fn span(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = values
        .filter(|v| v.is_finite() && *v > 0.0)
        .fold([f64::INFINITY, 0.0_f64], |[low, high], v| [low.min(v), high.max(v)]);
    let [low, high] = if low > high { [1.0, 10.0] } else { [low, high] };
    [low / 1.4, high * 1.4]
}

/// Positions of grid lines, and whether each has a number: 1, 2 and 5 of a decade, or over many decades only 1.
pub(super) fn ticks([low, high]: [f64; 2]) -> Vec<(f64, bool)> {
    let wide = high / low > 2e3;
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = decades.flat_map(|d| (1..10).map(move |m| (f64::from(m) * 10_f64.powi(d), m)));
    all.filter(|(v, m)| (low..=high).contains(v) && (!wide || *m == 1))
        .map(|(v, m)| (v, matches!(m, 1 | 2 | 5)))
        .collect()
}

/// A round number in a few characters.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 0.999e6 => (v / 1e6, "M"),
        v if v >= 0.999e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.4}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}
