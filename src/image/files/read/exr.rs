//! OpenEXR: the first layer with colours or, if no layer has any, the first with luminance. Light is linear and kept
//! as it is.

use super::{Decode, Layout, MAX_DECODED, Source, damaged, too_large, unreadable, unsupported};
use crate::image::Depth;
use exr::block::reader::Reader;
use exr::error::Error;
use exr::meta::header::Header;
use exr::prelude::{ReadChannels, ReadLayers, ReadSpecificChannel, Text, Vec2, read};
use image::metadata::Orientation;

/// An OpenEXR file. Only the headers are read at first.
pub(super) struct Exr {
    reader: Option<Reader<Box<dyn Source>>>,
    frame: Frame,
    /// All rows, interleaved, once they are needed.
    samples: Vec<f32>,
    row: usize,
}

/// The picture, and the position of the file's pixels in it.
#[derive(Clone, Copy)]
struct Frame {
    layout: Layout,
    /// Columns and rows from the picture's corner to the first pixel.
    offset: [isize; 2],
}

impl Exr {
    pub(super) fn new(source: Box<dyn Source>) -> Result<Exr, String> {
        let reader = exr::block::read(source, false).map_err(explain)?;
        let has = |header: &Header, name: &str| {
            !header.deep && header.channels.find_index_of_channel(&Text::from(name)).is_some()
        };
        let first = |names: &[&str]| {
            reader.headers().iter().find(|header| names.iter().all(|name| has(header, name)))
        };
        let (header, channels) = match (first(&["R", "G", "B"]), first(&["Y"])) {
            (Some(header), _) => (header, 3),
            (None, Some(header)) => (header, 1),
            (None, None) => return Err(unsupported("OpenEXR with no layer of R, G and B or of Y")),
        };
        let window = header.shared_attributes.display_window;
        let corner = header.own_attributes.layer_position - window.position;
        let layout = Layout {
            width: window.size.width(),
            height: window.size.height(),
            channels,
            alpha: has(header, "A"),
            depth: Depth::Float,
            extra: 0,
            nodata: None,
            orientation: Orientation::NoTransforms,
        };
        layout.check(0, 1, 0)?;
        if layout.row() * layout.height * size_of::<f32>() > MAX_DECODED {
            return Err(too_large(&format!("{}x{} pixels are", layout.width, layout.height)));
        }
        let offset = [corner.x() as isize, corner.y() as isize];
        Ok(Exr { reader: Some(reader), frame: Frame { layout, offset }, samples: Vec::new(), row: 0 })
    }
}

impl Frame {
    /// Copies a pixel of the file to its position in the picture, if it is inside.
    fn put(&self, samples: &mut [f32], at: Vec2<usize>, pixel: &[f32]) {
        let Layout { width, height, .. } = self.layout;
        let stride = self.layout.stride();
        let x = at.x().checked_add_signed(self.offset[0]).filter(|&x| x < width);
        let y = at.y().checked_add_signed(self.offset[1]).filter(|&y| y < height);
        if let (Some(x), Some(y)) = (x, y) {
            samples[(y * width + x) * stride..][..stride].copy_from_slice(&pixel[..stride]);
        }
    }

    /// All samples of the picture.
    fn decode(self, reader: Reader<Box<dyn Source>>) -> Result<Vec<f32>, Error> {
        let length = self.layout.row() * self.layout.height;
        let levels = read().no_deep_data().largest_resolution_level();
        if self.layout.channels == 3 {
            let set = move |samples: &mut Vec<f32>, at, (r, g, b, a): (f32, f32, f32, f32)| {
                self.put(samples, at, &[r, g, b, a]);
            };
            let layer = levels.rgba_channels(move |_, _| vec![0.0; length], set).first_valid_layer();
            return Ok(layer.all_attributes().from_chunks(reader)?.layer_data.channel_data.pixels);
        }
        let set = move |samples: &mut Vec<f32>, at, (y, a): (f32, f32)| self.put(samples, at, &[y, a]);
        let channels = levels.specific_channels().required("Y").optional("A", 1.0);
        let layer = channels.collect_pixels(move |_, _| vec![0.0; length], set).first_valid_layer();
        Ok(layer.all_attributes().from_chunks(reader)?.layer_data.channel_data.pixels)
    }
}

impl Decode for Exr {
    fn layout(&self) -> Layout {
        self.frame.layout
    }

    fn read(&mut self, rows: &mut [f32]) -> Result<(), String> {
        if let Some(reader) = self.reader.take() {
            self.samples = self.frame.decode(reader).map_err(explain)?;
        }
        let row = self.frame.layout.row();
        rows.copy_from_slice(&self.samples[self.row * row..][..rows.len()]);
        self.row += rows.len() / row;
        Ok(())
    }
}

fn explain(error: Error) -> String {
    match error {
        Error::Io(e) => unreadable(e),
        Error::NotSupported(reason) => unsupported(format!("OpenEXR, {reason}")),
        other => damaged(other),
    }
}
