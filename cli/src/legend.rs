//! The legend below a drawing of a mask: the classes that occur, largest first, with colour, name and share.

use crate::lettering::Lettering;
use unet_wgpu::image::{Depth, Mask, Picture};
use unet_wgpu::{Result, Shape, Tensor};

/// Narrower drawings have no legend: names would not fit.
const LEAST_WIDTH: usize = 120;
/// Width of the drawing for one pixel of a letter's height.
const WIDTH_A_PIXEL: usize = 48;
/// The legend is at most this part of the drawing's width high.
const MOST_HEIGHT: usize = 2;
const INK: [u8; 3] = [30, 30, 30];
const FAINT: [u8; 3] = [110, 110, 110];

/// A class of a legend, or a line about those that have no room.
struct Entry {
    color: Option<[u8; 3]>,
    name: String,
    share: String,
}

impl Entry {
    fn text(&self) -> String {
        if self.share.is_empty() { self.name.clone() } else { format!("{} {}", self.name, self.share) }
    }
}

/// The legend of a mask, as wide as the drawing. A mask that tells only one thing from the rest needs none; neither do
/// classes that are not drawn, such as the background.
pub(crate) fn legend(mask: &Mask, width: usize) -> Result<Option<Picture>> {
    let background = mask.background().map(usize::from);
    let is_object = |class: usize| Some(class) != background;
    let mut entries = entries(mask);
    if width < LEAST_WIDTH
        || entries.is_empty()
        || (0..mask.names().len()).filter(|i| is_object(*i)).count() < 2
    {
        return Ok(None);
    }
    let letters = Lettering::of_height(width / WIDTH_A_PIXEL);
    let line = letters.height();
    let (patch, margin, gap) = (line * 7 / 8, line / 2, line);
    let start = patch + line / 3;
    let room = width - 2 * margin;

    // Columns of one width, as many as fit.
    let cut = |entry: &mut Entry, most: usize| {
        let most = letters.fitting(room - start).saturating_sub(entry.share.len() + 1).min(most);
        if entry.name.chars().count() > most {
            entry.name = entry.name.chars().take(most.saturating_sub(2)).chain("..".chars()).collect();
        }
    };
    entries.iter_mut().for_each(|entry| cut(entry, usize::MAX));
    let widest = entries.iter().map(|entry| start + letters.width(&entry.text())).max().unwrap_or(0);
    let columns = ((room + gap) / (widest + gap)).clamp(1, entries.len());
    let step = line * 5 / 4;
    let rows = (width / MOST_HEIGHT / step).max(3);
    if entries.len() > rows * columns {
        let left = entries.len() + 1 - rows * columns;
        entries.truncate(rows * columns - 1);
        entries.push(Entry { color: None, name: format!("and {left} more"), share: String::new() });
    }
    let height = entries.len().div_ceil(columns) * step + 2 * margin - (step - line);

    let mut planes = Tensor::from_fn(Shape::new(1, 3, height, width), |_| 255.0);
    for (i, entry) in entries.iter().enumerate() {
        let [x, y] = [margin + i % columns * (widest + gap), margin + i / columns * step];
        if let Some(color) = entry.color {
            // A thin line around it shows white patches.
            let (place, edge) = ([x, y + (line - patch) / 2], (line / 16).max(1));
            fill(&mut planes, place, patch, FAINT);
            fill(&mut planes, place.map(|v| v + edge), patch - 2 * edge, color);
        }
        let x = if entry.color.is_some() { x + start } else { x };
        letters.write(&mut planes, [x, y], &entry.name, INK);
        letters.write(&mut planes, [x + letters.width(&format!("{} ", entry.name)), y], &entry.share, FAINT);
    }
    Picture::new(planes, Depth::Eight).map(Some)
}

/// The classes that occur and are drawn, largest first.
fn entries(mask: &Mask) -> Vec<Entry> {
    let shares = mask.shares();
    let mut classes: Vec<usize> = (0..shares.len()).collect();
    classes.retain(|&class| shares[class].1 > 0.0 && mask.colors()[class] != [0; 3]);
    classes.sort_by(|&a, &b| shares[b].1.total_cmp(&shares[a].1));
    let entry = |class: usize| Entry {
        color: Some(mask.colors()[class]),
        name: shares[class].0.to_string(),
        share: percent(shares[class].1),
    };
    classes.into_iter().map(entry).collect()
}

/// A share of a few letters.
fn percent(share: f64) -> String {
    match share {
        share if share >= 9.95 => format!("{share:.0} %"),
        share if share >= 0.05 => format!("{share:.1} %"),
        _ => "<0.1 %".into(),
    }
}

fn fill(planes: &mut Tensor, [left, top]: [usize; 2], side: usize, color: [u8; 3]) {
    let shape = planes.shape();
    for (c, part) in color.into_iter().enumerate() {
        for y in top..top + side {
            let row = (c * shape.h + y) * shape.w + left;
            planes.data_mut()[row..row + side].fill(f32::from(part));
        }
    }
}
