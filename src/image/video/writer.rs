//! Frames into a stream.

use super::{Kind, Stream, io_error};
use crate::error::{Error, Result};
use crate::image::Picture;
use std::io::Write;

/// Writes frames, all of the first one's size. A header is written with the first.
#[derive(Debug)]
pub struct FrameWriter<W: Write> {
    writer: W,
    stream: Stream,
    /// Height and width, once a frame came.
    size: Option<[usize; 2]>,
}

impl<W: Write> FrameWriter<W> {
    /// Begins a stream like that one, or of a [`StreamFormat`](super::StreamFormat).
    pub fn new(writer: W, stream: impl Into<Stream>) -> FrameWriter<W> {
        FrameWriter { writer, stream: stream.into(), size: None }
    }

    /// What the stream is.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Writes a frame in the stream's depth and colours; opacity is left away.
    ///
    /// # Errors
    /// When it is of another size than the first, in colour where the stream is grey, or cannot be written.
    pub fn write(&mut self, picture: &Picture) -> Result<()> {
        let size @ [h, w] = [picture.height(), picture.width()];
        let samples = self.stream.encode(picture)?;
        let mut head = String::new();
        if let Kind::Y4m(y4m) = &self.stream.0 {
            if self.size.is_none() {
                head = y4m.line(size);
            }
            head.push_str("FRAME\n");
        }
        let [first_h, first_w] = *self.size.get_or_insert(size);
        if [first_h, first_w] != size {
            let expected = format!("{first_w}x{first_h} pixels, as the first");
            return Err(Error::shape("a frame", expected, format!("{w}x{h}")));
        }
        self.writer
            .write_all(head.as_bytes())
            .and_then(|()| self.writer.write_all(&samples))
            .map_err(io_error)
    }

    /// Hands on what a buffered writer holds back.
    pub fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(io_error)
    }
}
