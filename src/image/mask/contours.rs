//! Draws the outlines of a mask's regions on a picture.

use super::Mask;
use super::paint::blend;
use crate::error::Result;
use crate::image::picture::LUMA;
use crate::image::{Depth, Picture};
use crate::recipe::Channels;

/// Pixels of the longer side for one pixel of line width.
const SIDE_A_PIXEL: usize = 400;
/// Narrowest and widest line, pixels.
const WIDTHS: [usize; 2] = [2, 12];
/// Opacity of the edge that separates a line from the picture.
const EDGE_OPACITY: f32 = 0.8;
/// Lines with at least this luma (of 255) get a black edge, darker ones a white edge.
const BRIGHT: f32 = 110.0;

/// The nearest pixel of an outline.
#[derive(Debug, Clone, Copy)]
struct Nearest {
    /// Squared distance in pixels.
    squared: u16,
    class: u16,
}

impl Mask {
    /// The picture with an outline around every region in the colour of its class. The line is inside the region and
    /// at least 2 pixels wide, depending on the size of the picture. Its edge is white or black, whichever has more
    /// contrast. Black classes, such as VOC's background, have no outline; neither have regions at the border of the
    /// picture, along that border.
    ///
    /// A mask of another size is stretched to the picture's size.
    pub fn contours(&self, picture: &Picture) -> Result<Picture> {
        let line = (picture.width().max(picture.height()) / SIDE_A_PIXEL).clamp(WIDTHS[0], WIDTHS[1]);
        let edge = line / 2;
        let classes = self.stretched(picture);
        let mut planes = picture.in_steps(Channels::Rgb);
        for (i, nearest) in self.nearest(&classes, picture.width(), line + edge).iter().enumerate() {
            let distance = f32::from(nearest.squared).sqrt();
            let color = self.colors[usize::from(nearest.class)];
            // Lines have soft ends: coverage of the last pixel decreases with its distance.
            let covers = |width: usize| (width as f32 - distance).clamp(0.0, 1.0);
            let (line, edge) = match classes[i] == nearest.class {
                true => (covers(line), covers(line + edge)),
                false => (0.0, covers(edge + 1)),
            };
            if edge > 0.0 {
                blend(&mut planes, i, [edge_color(color); 3], edge * EDGE_OPACITY);
                blend(&mut planes, i, color, line);
            }
        }
        Picture::new(planes, Depth::Eight)
    }

    /// For each pixel the nearest pixel of an outline within `reach`.
    fn nearest(&self, classes: &[u16], w: usize, reach: usize) -> Vec<Nearest> {
        let h = classes.len() / w;
        let disc = disc(reach as isize);
        let mut nearest = vec![Nearest { squared: u16::MAX, class: 0 }; classes.len()];
        for (i, &class) in classes.iter().enumerate() {
            let (x, y) = (i % w, i / w);
            let differs = |place: usize| classes[place] != class;
            let is_border = (x > 0 && differs(i - 1))
                || (x + 1 < w && differs(i + 1))
                || (y > 0 && differs(i - w))
                || (y + 1 < h && differs(i + w));
            if !is_border || self.colors[usize::from(class)] == [0; 3] {
                continue;
            }
            for &(dx, dy, squared) in &disc {
                let place = x.checked_add_signed(dx).zip(y.checked_add_signed(dy));
                if let Some((x, y)) = place.filter(|&(x, y)| x < w && y < h)
                    && squared < nearest[y * w + x].squared
                {
                    nearest[y * w + x] = Nearest { squared, class };
                }
            }
        }
        nearest
    }
}

/// Offsets of all pixels within a radius, with their squared lengths.
fn disc(radius: isize) -> Vec<(isize, isize, u16)> {
    let side = -radius..=radius;
    let steps = side.clone().flat_map(|dy| side.clone().map(move |dx| (dx, dy, dx * dx + dy * dy)));
    let within = steps.filter(|&(_, _, squared)| squared <= radius * radius);
    within.map(|(dx, dy, squared)| (dx, dy, squared as u16)).collect()
}

/// White or black, whichever contrasts with a colour.
fn edge_color(color: [u8; 3]) -> u8 {
    let luma: f32 = color.iter().zip(LUMA).map(|(&part, weight)| f32::from(part) * weight).sum();
    if luma < BRIGHT { 255 } else { 0 }
}
