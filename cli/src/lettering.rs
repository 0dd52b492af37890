//! Text in pictures, in one monospaced font without files.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use unet_wgpu::Tensor;

/// The font's sizes, pixels.
const SIZES: [(usize, RasterHeight); 4] = [
    (16, RasterHeight::Size16),
    (20, RasterHeight::Size20),
    (24, RasterHeight::Size24),
    (32, RasterHeight::Size32),
];

/// Letters of one height.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lettering {
    raster: RasterHeight,
    /// Pixels for one pixel of the font.
    scale: f64,
}

impl Lettering {
    /// Letters whose lines are about so many pixels high, at least 16.
    pub(crate) fn of_height(height: usize) -> Lettering {
        let fitting = SIZES.iter().rev().find(|(size, _)| *size <= height).unwrap_or(&SIZES[0]);
        let beyond = height as f64 / SIZES[SIZES.len() - 1].0 as f64;
        // Beyond the largest size, letters are enlarged.
        Lettering { raster: fitting.1, scale: beyond.max(1.0) }
    }

    /// Height of a line, pixels.
    pub(crate) fn height(self) -> usize {
        (self.raster.val() as f64 * self.scale).round() as usize
    }

    /// Width of a text, pixels.
    pub(crate) fn width(self, text: &str) -> usize {
        (self.advance() * text.chars().count() as f64).ceil() as usize
    }

    /// The number of letters that fit into so many pixels.
    pub(crate) fn fitting(self, width: usize) -> usize {
        (width as f64 / self.advance()) as usize
    }

    fn advance(self) -> f64 {
        get_raster_width(FontWeight::Regular, self.raster) as f64 * self.scale
    }

    /// Writes a text into three planes of values from 0 to 255. `at` is the left end of the top of the line; what
    /// does not fit is cut off. Characters that the font lacks become question marks.
    pub(crate) fn write(self, planes: &mut Tensor, [left, top]: [usize; 2], text: &str, color: [u8; 3]) {
        let shape = planes.shape();
        for (i, letter) in text.chars().enumerate() {
            let glyph =
                [letter, '?'].into_iter().find_map(|c| get_raster(c, FontWeight::Regular, self.raster));
            let Some(glyph) = glyph else { continue };
            let rows: Vec<&[u8]> = glyph.rows().collect();
            let start = left + (i as f64 * self.advance()).round() as usize;
            let [w, h] = [self.advance().ceil() as usize, self.height()];
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                let share = self.coverage(&rows, x, y);
                if share > 0.0 && start + x < shape.w && top + y < shape.h {
                    for (c, part) in color.into_iter().enumerate() {
                        let value = &mut planes.data_mut()[(c * shape.h + top + y) * shape.w + start + x];
                        *value += (f32::from(part) - *value) * share;
                    }
                }
            }
        }
    }

    /// How much of a pixel the letter covers, between the pixels of the font.
    fn coverage(self, rows: &[&[u8]], x: usize, y: usize) -> f32 {
        let place = |v: usize| (v as f64 + 0.5) / self.scale - 0.5;
        let (x, y) = (place(x), place(y));
        let at = |x: f64, y: f64| {
            let inside = x >= 0.0 && y >= 0.0;
            let row = rows.get(y as usize).filter(|_| inside);
            row.and_then(|row| row.get(x as usize)).map_or(0.0, |&v| f64::from(v) / 255.0)
        };
        let (left, top) = (x.floor(), y.floor());
        let (right, below) = (x - left, y - top);
        let row = |y: f64| at(left, y) * (1.0 - right) + at(left + 1.0, y) * right;
        (row(top) * (1.0 - below) + row(top + 1.0) * below) as f32
    }
}
