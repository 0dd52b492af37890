//! GIF: each frame as it is shown, drawn over the frames before it, is a page.

use super::{Decode, Layout, MAX_DECODED, Source, damaged, fill, too_large, unreadable};
use crate::image::Depth;
use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, MemoryLimit};
use image::metadata::Orientation;
use std::io::Cursor;

/// Bytes before the global palette: signature and screen.
const HEADER: usize = 13;
/// Bytes of a pixel: red, green, blue, opacity.
const PIXEL: usize = 4;

/// A GIF file. A frame is decoded when it is needed.
pub(super) struct Gif {
    decoder: Decoder<Cursor<Vec<u8>>>,
    layout: Layout,
    pages: usize,
    /// The current frame as it is shown, and whether it has been drawn.
    canvas: Vec<u8>,
    drawn: bool,
    /// What the canvas becomes before the next frame.
    below: Vec<u8>,
    row: usize,
}

impl Gif {
    pub(super) fn new(mut source: Box<dyn Source>) -> Result<Gif, String> {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(unreadable)?;
        let pages = count(&bytes).max(1);
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        options.set_memory_limit(MemoryLimit::Bytes((MAX_DECODED as u64).try_into().expect("not zero")));
        let decoder = options.read_info(Cursor::new(bytes)).map_err(explain)?;
        let layout = Layout {
            width: decoder.width().into(),
            height: decoder.height().into(),
            channels: 3,
            alpha: true,
            depth: Depth::Eight,
            extra: 0,
            nodata: None,
            orientation: Orientation::NoTransforms,
        };
        layout.check(0, 1, 0)?;
        if layout.row() * layout.height > MAX_DECODED {
            return Err(too_large(&format!("{}x{} pixels are", layout.width, layout.height)));
        }
        let (canvas, below) = (Vec::new(), Vec::new());
        Ok(Gif { decoder, layout, pages, canvas, drawn: false, below, row: 0 })
    }

    /// Draws the next frame.
    fn draw(&mut self) -> Result<(), String> {
        let Layout { width, height, .. } = self.layout;
        let mut canvas = std::mem::take(&mut self.below);
        canvas.resize(width * height * PIXEL, 0);
        let frame = self.decoder.read_next_frame().map_err(explain)?;
        let frame = frame.ok_or("the GIF file has no further frame; it is cut off")?;
        let [left, top] = [usize::from(frame.left).min(width), frame.top.into()];
        let columns = usize::from(frame.width).min(width.saturating_sub(left));
        let before = (frame.dispose == DisposalMethod::Previous).then(|| canvas.clone());
        let place =
            |y: usize| ((top + y) * width + left) * PIXEL..((top + y) * width + left + columns) * PIXEL;
        let rows = usize::from(frame.height).min(height.saturating_sub(top));
        for (y, pixels) in
            frame.buffer.chunks_exact((usize::from(frame.width) * PIXEL).max(1)).take(rows).enumerate()
        {
            let pairs = canvas[place(y)].chunks_exact_mut(PIXEL).zip(pixels.chunks_exact(PIXEL));
            pairs.filter(|(_, pixel)| pixel[3] != 0).for_each(|(to, pixel)| to.copy_from_slice(pixel));
        }
        self.below = before.unwrap_or_else(|| canvas.clone());
        if frame.dispose == DisposalMethod::Background {
            (0..rows).for_each(|y| self.below[place(y)].fill(0));
        }
        (self.canvas, self.drawn) = (canvas, true);
        Ok(())
    }
}

impl Decode for Gif {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn read(&mut self, rows: &mut [f32]) -> Result<(), String> {
        if !self.drawn {
            self.draw()?;
        }
        let row = self.layout.row();
        fill(rows, &self.canvas[self.row * row..], |[v]| f32::from(v));
        self.row += rows.len() / row;
        Ok(())
    }

    fn pages(&mut self) -> Result<usize, String> {
        Ok(self.pages)
    }

    fn is_animation(&self) -> bool {
        true
    }

    fn turn_page(&mut self) -> Result<(), String> {
        if !self.drawn {
            self.draw()?;
        }
        (self.drawn, self.row) = (false, 0);
        Ok(())
    }
}

/// The number of frames, by the headers of the blocks: GIF89a, appendix A. The file may be cut off.
fn count(bytes: &[u8]) -> usize {
    let palette = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << (flags % 8 + 1) };
    let (mut at, mut frames) = (HEADER + bytes.get(10).map_or(0, |&flags| palette(flags)), 0);
    loop {
        at += match (bytes.get(at), bytes.get(at + 9)) {
            (Some(0x21), _) => 2,
            (Some(0x2c), Some(&flags)) => {
                frames += 1;
                11 + palette(flags)
            }
            _ => return frames,
        };
        // Data follow in parts of up to 255 bytes. An empty one ends them.
        while let Some(&length) = bytes.get(at) {
            at += usize::from(length) + 1;
            if length == 0 {
                break;
            }
        }
    }
}

fn explain(error: DecodingError) -> String {
    match error {
        DecodingError::Io(e) => unreadable(e),
        other => damaged(other),
    }
}
