//! Connected components of a mask: regions of one class whose pixels touch at a side or a corner.
//!
//! Rows are split into runs of one class, and runs that touch in neighbouring rows are joined (union by the smaller
//! number with path halving; Rosenfeld and Pfaltz 1966, on runs). Memory grows with the number of runs, not of pixels.

use super::Mask;
use std::collections::VecDeque;
use std::ops::Range;

/// The components of every class but the background, in the order of their first pixels, row by row.
#[derive(Debug, Clone)]
pub struct Components {
    list: Vec<Component>,
    runs: Vec<Run>,
    /// The component of each run.
    numbers: Vec<u32>,
}

/// A connected region of one class.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Component {
    /// Class number, never that of the background.
    #[serde(skip)]
    pub class: u16,
    /// Number of pixels.
    pub area: usize,
    /// The leftmost column.
    pub x: usize,
    /// The first row.
    pub y: usize,
    /// Columns from the leftmost to the rightmost.
    pub width: usize,
    /// Rows from the first to the last.
    pub height: usize,
    /// Mean column and mean row of its pixels, counted from 0.
    pub center: [f64; 2],
}

/// Adjacent pixels of one class in a row.
#[derive(Debug, Clone, Copy)]
struct Run {
    row: u32,
    start: u32,
    /// One past the last column.
    end: u32,
    class: u16,
}

impl Components {
    /// The components.
    pub fn list(&self) -> &[Component] {
        &self.list
    }
}

impl Mask {
    /// The connected components of every class but the [background](Mask::background). Pixels that touch at a corner
    /// are connected.
    pub fn components(&self) -> Components {
        let background = self.background();
        let mut runs: Vec<Run> = Vec::new();
        let mut parents = Vec::new();
        let mut above = 0..0;
        for (row, classes) in self.classes.chunks_exact(self.width).enumerate() {
            let first = runs.len();
            push_runs(&mut runs, row as u32, classes, background);
            parents.extend(first as u32..runs.len() as u32);
            join_rows(&runs, &mut parents, above, first..runs.len());
            above = first..runs.len();
        }
        let mut list = Vec::new();
        // A parent never follows its child, so the components of roots exist when they are needed.
        for run in 0..runs.len() {
            let parent = parents[run] as usize;
            if parent == run {
                parents[run] = list.len() as u32;
                list.push(Component::new(&runs[run]));
            } else {
                parents[run] = parents[parent];
                list[parents[run] as usize].add(&runs[run]);
            }
        }
        list.iter_mut().for_each(Component::divide);
        Components { list, runs, numbers: parents }
    }

    /// Keeps only the largest component of each class but the background; the first one if several are equally large.
    /// The others become background or, where there is none, the class of the nearest pixel that stays.
    pub fn keep_largest(&mut self) {
        let components = self.components();
        let mut largest: Vec<Option<usize>> = vec![None; self.colors.len()];
        for (i, component) in components.list.iter().enumerate() {
            let best = &mut largest[usize::from(component.class)];
            if best.is_none_or(|best| component.area > components.list[best].area) {
                *best = Some(i);
            }
        }
        self.keep(&components, |i, component| largest[usize::from(component.class)] == Some(i));
    }

    /// Components with fewer than `min_area` pixels become background or, where there is none, the class of the nearest
    /// pixel that stays.
    pub fn remove_small(&mut self, min_area: usize) {
        let components = self.components();
        self.keep(&components, |_, component| component.area >= min_area);
    }

    /// Removes components that share no pixel with the objects of another mask of the same size.
    pub(super) fn keep_touching(&mut self, other: &Mask, is_object: impl Fn(u16) -> bool) {
        let components = self.components();
        let mut touches = vec![false; components.list.len()];
        for (run, &number) in components.runs.iter().zip(&components.numbers) {
            touches[number as usize] |= other.classes[self.pixels(run)].iter().any(|&class| is_object(class));
        }
        self.keep(&components, |i, _| touches[i]);
    }

    /// Removes components unless `stays` accepts them.
    fn keep(&mut self, components: &Components, stays: impl Fn(usize, &Component) -> bool) {
        let stays: Vec<bool> = components.list.iter().enumerate().map(|(i, c)| stays(i, c)).collect();
        let runs = components.runs.iter().zip(&components.numbers);
        let removed = runs.filter(|(_, number)| !stays[**number as usize]).map(|(run, _)| self.pixels(run));
        let removed: Vec<Range<usize>> = removed.collect();
        match self.background() {
            Some(background) => removed.into_iter().for_each(|run| self.classes[run].fill(background)),
            None => self.fill_from_around(removed),
        }
    }

    /// Gives pixels the class of the nearest other pixel, in steps to the side, up and down. If there is no other
    /// pixel, nothing changes.
    fn fill_from_around(&mut self, removed: Vec<Range<usize>>) {
        let mut is_open = vec![false; self.classes.len()];
        removed.iter().for_each(|run| is_open[run.clone()].fill(true));
        let (width, count) = (self.width, self.classes.len());
        let around = |i: usize| {
            let column = i % width;
            let [left, right] = [(column > 0).then(|| i - 1), (column + 1 < width).then_some(i + 1)];
            [i.checked_sub(width), left, right, Some(i + width).filter(|&i| i < count)].into_iter().flatten()
        };
        // The pixels whose neighbours are next, nearest first.
        let edge = removed.into_iter().flatten().flat_map(around).filter(|&i| !is_open[i]);
        let mut queue: VecDeque<usize> = edge.collect();
        while let Some(from) = queue.pop_front() {
            for to in around(from) {
                if std::mem::take(&mut is_open[to]) {
                    self.classes[to] = self.classes[from];
                    queue.push_back(to);
                }
            }
        }
    }

    /// The indices of a run's pixels.
    fn pixels(&self, run: &Run) -> Range<usize> {
        let row = run.row as usize * self.width;
        row + run.start as usize..row + run.end as usize
    }
}

impl Component {
    /// A component of one run. `center` holds sums until [`divide`](Component::divide).
    fn new(run: &Run) -> Component {
        let mut component = Component {
            class: run.class,
            area: 0,
            x: run.start as usize,
            y: run.row as usize,
            width: 0,
            height: 0,
            center: [0.0; 2],
        };
        component.add(run);
        component
    }

    fn add(&mut self, run: &Run) {
        let (start, end) = (run.start as usize, run.end as usize);
        let right = end.max(self.x + self.width);
        self.x = self.x.min(start);
        self.width = right - self.x;
        self.height = run.row as usize + 1 - self.y;
        self.area += end - start;
        self.center[0] += (start + end - 1) as f64 / 2.0 * (end - start) as f64;
        self.center[1] += (run.row as usize * (end - start)) as f64;
    }

    fn divide(&mut self) {
        self.center = self.center.map(|sum| sum / self.area as f64);
    }
}

/// Appends the runs of a row, without the background.
fn push_runs(runs: &mut Vec<Run>, row: u32, classes: &[u16], background: Option<u16>) {
    let mut start = 0;
    for run in classes.chunk_by(|a, b| a == b) {
        let end = start + run.len() as u32;
        if Some(run[0]) != background {
            runs.push(Run { row, start, end, class: run[0] });
        }
        start = end;
    }
}

/// Joins the runs of a row with the runs of the row above that they touch.
fn join_rows(runs: &[Run], parents: &mut [u32], above: Range<usize>, below: Range<usize>) {
    let mut first = above.start;
    for b in below {
        let lower = &runs[b];
        // At a corner, the end of one run is the start of the other.
        while first < above.end && runs[first].end < lower.start {
            first += 1;
        }
        for a in (first..above.end).take_while(|&a| runs[a].start <= lower.end) {
            if runs[a].class == lower.class {
                let [a, b] = [root(parents, a as u32), root(parents, b as u32)];
                parents[a.max(b) as usize] = a.min(b);
            }
        }
    }
}

/// The first run of a run's set.
fn root(parents: &mut [u32], mut run: u32) -> u32 {
    while parents[run as usize] != run {
        let parent = parents[run as usize];
        parents[run as usize] = parents[parent as usize];
        run = parents[run as usize];
    }
    run
}
