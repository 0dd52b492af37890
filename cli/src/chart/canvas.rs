//! A drawing of lines, boxes, dots and text, written as SVG or PNG. Both use one monospaced font, so a layout without
//! overlaps stays without overlaps.

use crate::error::{Error, Result};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use std::fmt::Write as _;

/// Pixels of a PNG along a unit of the drawing.
const SCALE: f64 = 2.0;

/// Red, green and blue.
pub(super) type Color = [u8; 3];

/// The side of a text on which its anchor point lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Letters of two sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

impl Size {
    fn raster(self) -> RasterHeight {
        match self {
            Size::Small => RasterHeight::Size24,
            Size::Large => RasterHeight::Size32,
        }
    }

    /// Distance between letters.
    pub(super) fn advance(self) -> f64 {
        get_raster_width(FontWeight::Regular, self.raster()) as f64 / SCALE
    }

    /// Distance between lines.
    pub(super) fn line(self) -> f64 {
        self.raster().val() as f64 / SCALE
    }
}

#[derive(Debug, Clone)]
enum Shape {
    /// With round ends. A dot is a line of length 0.
    Line {
        from: [f64; 2],
        to: [f64; 2],
        width: f64,
        color: Color,
    },
    Box {
        at: [f64; 2],
        size: [f64; 2],
        color: Color,
    },
    /// `at` is the vertical middle of the line, at the side of the anchor. `upright` text runs upwards.
    Text {
        at: [f64; 2],
        text: String,
        size: Size,
        anchor: Anchor,
        upright: bool,
        color: Color,
    },
}

/// A drawing. One unit is about one pixel on a screen; y points down.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    size: [f64; 2],
    shapes: Vec<Shape>,
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Canvas {
        Canvas { size: [width, height], shapes: Vec::new() }
    }

    pub(super) fn line(&mut self, from: [f64; 2], to: [f64; 2], width: f64, color: Color) {
        self.shapes.push(Shape::Line { from, to, width, color });
    }

    pub(super) fn dot(&mut self, at: [f64; 2], radius: f64, color: Color) {
        self.line(at, at, 2.0 * radius, color);
    }

    pub(super) fn rect(&mut self, at: [f64; 2], size: [f64; 2], color: Color) {
        self.shapes.push(Shape::Box { at, size, color });
    }

    pub(super) fn text(&mut self, at: [f64; 2], text: &str, size: Size, anchor: Anchor, color: Color) {
        self.shapes.push(Shape::Text { at, text: printable(text), size, anchor, upright: false, color });
    }

    /// Text that runs upwards, centred at a point.
    pub(super) fn upright(&mut self, at: [f64; 2], text: &str, size: Size, color: Color) {
        let text = printable(text);
        self.shapes.push(Shape::Text { at, text, size, anchor: Anchor::Middle, upright: true, color });
    }

    /// The drawing as SVG.
    pub(super) fn svg(&self) -> String {
        let [width, height] = self.size;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        for shape in &self.shapes {
            shape.svg(&mut svg);
        }
        svg + "</svg>\n"
    }

    /// The drawing as the bytes of a PNG file.
    pub(super) fn png(&self) -> Result<Vec<u8>> {
        let [width, height] = self.size.map(|side| (side * SCALE).ceil().max(1.0) as usize);
        let mut raster = Raster { width, height, pixels: vec![255; width * height * 3] };
        for shape in &self.shapes {
            raster.draw(shape);
        }
        let failed = |error: png::EncodingError| Error::Usage(format!("the chart cannot be a PNG: {error}"));
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&raster.pixels).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

/// Replaces characters that the font lacks: it only has ASCII.
fn printable(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect()
}

impl Shape {
    fn svg(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Shape::Line { from: [x, y], to, width, color } if [*x, *y] == *to => {
                let (r, color) = (width / 2.0, hex(*color));
                writeln!(out, "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{r:.2}\" fill=\"{color}\"/>")
            }
            Shape::Line { from, to, width, color } => writeln!(
                out,
                "<line x1=\"{:.2}\" y1=\"{:.2}\" x2=\"{:.2}\" y2=\"{:.2}\" stroke-width=\"{width:.2}\" stroke-linecap=\"round\" stroke=\"{}\"/>",
                from[0],
                from[1],
                to[0],
                to[1],
                hex(*color)
            ),
            Shape::Box { at, size, color } => writeln!(
                out,
                "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{}\"/>",
                at[0],
                at[1],
                size[0],
                size[1],
                hex(*color)
            ),
            Shape::Text { at: [x, y], text, size, anchor, upright, color } => {
                let turn = if *upright {
                    format!(" transform=\"rotate(-90 {x:.2} {y:.2})\"")
                } else {
                    String::new()
                };
                let anchor = match anchor {
                    Anchor::Start => "start",
                    Anchor::Middle => "middle",
                    Anchor::End => "end",
                };
                // Monospaced letters are 0.6 em wide. The baseline is a third of an em below the middle.
                let em = size.advance() / 0.6;
                let length = size.advance() * text.chars().count() as f64;
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                writeln!(
                    out,
                    "<text x=\"{x:.2}\" y=\"{:.2}\" font-family=\"Noto Sans Mono, DejaVu Sans Mono, Menlo, Consolas, monospace\" \
                     font-size=\"{em:.2}\" text-anchor=\"{anchor}\" textLength=\"{length:.2}\" xml:space=\"preserve\" fill=\"{}\"{turn}>{text}</text>",
                    y + em * 0.35,
                    hex(*color)
                )
            }
        };
    }
}

fn hex([r, g, b]: Color) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Pixels of a PNG, RGB.
struct Raster {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Raster {
    fn draw(&mut self, shape: &Shape) {
        let scaled = |p: &[f64; 2]| p.map(|v| v * SCALE);
        match shape {
            Shape::Line { from, to, width, color } => {
                self.stroke(scaled(from), scaled(to), width * SCALE / 2.0, *color);
            }
            Shape::Box { at, size, color } => self.fill(scaled(at), scaled(size), *color),
            Shape::Text { at, text, size, anchor, upright, color } => {
                self.write(scaled(at), text, *size, *anchor, *upright, *color);
            }
        }
    }

    /// Mixes a colour into a pixel, if it is inside the picture.
    fn mix(&mut self, x: i64, y: i64, share: f64, color: Color) {
        let inside = |v: i64, side: usize| usize::try_from(v).ok().filter(|&v| v < side);
        let (Some(x), Some(y)) = (inside(x, self.width), inside(y, self.height)) else { return };
        for (i, &part) in color.iter().enumerate() {
            let pixel = &mut self.pixels[(y * self.width + x) * 3 + i];
            *pixel = (f64::from(*pixel) * (1.0 - share) + f64::from(part) * share).round() as u8;
        }
    }

    /// A line with round ends. A pixel is covered to the extent that its centre lies within the radius.
    fn stroke(&mut self, from: [f64; 2], to: [f64; 2], radius: f64, color: Color) {
        let along = [to[0] - from[0], to[1] - from[1]];
        let squared = (along[0] * along[0] + along[1] * along[1]).max(1e-12);
        let low = |axis: usize| (from[axis].min(to[axis]) - radius - 1.0).floor() as i64;
        let high = |axis: usize| (from[axis].max(to[axis]) + radius + 1.0).ceil() as i64;
        for y in low(1)..=high(1) {
            for x in low(0)..=high(0) {
                let [dx, dy] = [x as f64 + 0.5 - from[0], y as f64 + 0.5 - from[1]];
                let t = ((dx * along[0] + dy * along[1]) / squared).clamp(0.0, 1.0);
                let distance = (dx - t * along[0]).hypot(dy - t * along[1]);
                let share = (radius + 0.5 - distance).clamp(0.0, 1.0).min(2.0 * radius);
                if share > 0.0 {
                    self.mix(x, y, share, color);
                }
            }
        }
    }

    fn fill(&mut self, at: [f64; 2], size: [f64; 2], color: Color) {
        let end = [at[0] + size[0], at[1] + size[1]];
        let covered =
            |v: i64, axis: usize| (end[axis].min(v as f64 + 1.0) - at[axis].max(v as f64)).clamp(0.0, 1.0);
        for y in at[1].floor() as i64..end[1].ceil() as i64 {
            for x in at[0].floor() as i64..end[0].ceil() as i64 {
                self.mix(x, y, covered(x, 0) * covered(y, 1), color);
            }
        }
    }

    fn write(
        &mut self,
        [x, y]: [f64; 2],
        text: &str,
        size: Size,
        anchor: Anchor,
        upright: bool,
        color: Color,
    ) {
        let advance = get_raster_width(FontWeight::Regular, size.raster()) as i64;
        let length = advance * text.len() as i64;
        let start = match anchor {
            Anchor::Start => 0,
            Anchor::Middle => -length / 2,
            Anchor::End => -length,
        };
        let (x, y) = (x.round() as i64, y.round() as i64);
        for (i, letter) in text.chars().enumerate() {
            let Some(glyph) = get_raster(letter, FontWeight::Regular, size.raster()) else { continue };
            let middle = size.raster().val() as i64 / 2;
            for (row, line) in (0..).zip(glyph.rows()) {
                for (column, &share) in (0..).zip(line) {
                    let (along, across) = (start + i as i64 * advance + column, row - middle);
                    let (px, py) = if upright { (x + across, y - along) } else { (x + along, y + across) };
                    self.mix(px, py, f64::from(share) / 255.0, color);
                }
            }
        }
    }
}
