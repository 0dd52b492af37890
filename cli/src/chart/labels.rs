//! Labels that cover neither dots nor each other.

use super::ROOF;
use super::axes::Area;
use super::canvas::{Anchor, Canvas, Size};

/// A rectangle that a label or a dot covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch {
    low: [f64; 2],
    high: [f64; 2],
}

impl Patch {
    pub(super) fn around([x, y]: [f64; 2], [w, h]: [f64; 2]) -> Patch {
        Patch { low: [x - w / 2.0, y - h / 2.0], high: [x + w / 2.0, y + h / 2.0] }
    }

    pub(super) fn meets(&self, other: &Patch) -> bool {
        (0..2).all(|axis| self.low[axis] < other.high[axis] && other.low[axis] < self.high[axis])
    }
}

/// Writes the name of a line and returns the area that it covers.
pub(super) fn label(canvas: &mut Canvas, at: [f64; 2], name: &str) -> Patch {
    canvas.text(at, name, Size::Small, Anchor::Start, ROOF);
    let width = Size::Small.advance() * name.len() as f64;
    Patch::around([at[0] + width / 2.0, at[1]], [width, Size::Small.line()])
}

/// The nearest free position for a label around a dot.
pub(super) fn free_place(at: [f64; 2], size: [f64; 2], taken: &[Patch], area: Area) -> [f64; 2] {
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
}
