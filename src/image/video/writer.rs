//! Writes frames to a stream.

use super::{Kind, Stream, io_error};
use crate::error::{Error, Result};
use crate::image::Picture;
use std::io::Write;

/// Writes frames, all of the size of the first one. The header is written with the first frame.
#[derive(Debug)]
pub struct FrameWriter<W: Write> {
    writer: W,
    stream: Stream,
    /// Height and width, after the first frame.
    size: Option<[usize; 2]>,
}

impl<W: Write> FrameWriter<W> {
    /// Starts a stream with these properties, or of a [`StreamFormat`](super::StreamFormat).
    pub fn new(writer: W, stream: impl Into<Stream>) -> FrameWriter<W> {
        FrameWriter { writer, stream: stream.into(), size: None }
    }

    /// The properties of the stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Writes a frame in the stream's depth and colours, without opacity.
    ///
    /// # Errors
    /// When its size differs from the first frame's, when it has colours and the stream is grey, or when writing
    /// fails.
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

    /// Flushes the writer.
    pub fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(io_error)
    }
}
