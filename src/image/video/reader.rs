//! Reads frames from a stream.

use super::y4m::{FRAME, MAGIC, MAX_LINE, Y4m};
use super::{Kind, MAX_FRAME, MAX_SIDE, Stream, StreamFormat, io_error, refuse};
use crate::error::{Error, Result};
use crate::image::Picture;
use std::io::{BufRead, BufReader, Read};

/// Reads the frames of a stream, one after the other. It ends after an error.
///
/// ```
/// use unet_wgpu::image::{FrameReader, FrameWriter};
///
/// # fn main() -> unet_wgpu::Result<()> {
/// # let (input, mut output) = (&b"YUV4MPEG2 W1 H1 C444\nFRAME\n\x51\x5a\xf0"[..], Vec::new());
/// let frames = FrameReader::new(input, None, None)?;
/// let mut writer = FrameWriter::new(&mut output, frames.stream().clone());
/// for frame in frames {
///     writer.write(&frame?)?;
/// }
/// writer.flush()
/// # }
/// ```
#[derive(Debug)]
pub struct FrameReader<R: Read> {
    reader: BufReader<R>,
    stream: Stream,
    /// Height and width.
    size: [usize; 2],
    /// Number of frames read.
    count: usize,
    done: bool,
    /// The bytes of a frame, reused for the next one.
    bytes: Vec<u8>,
}

impl<R: Read> FrameReader<R> {
    /// Starts to read a stream of that kind. Without a kind, the stream must be y4m. Raw streams need their width and
    /// height.
    ///
    /// # Errors
    /// When the stream is empty or not a video, when its header or size cannot be used, or when reading fails.
    pub fn new(
        reader: R,
        format: Option<StreamFormat>,
        size: Option<(usize, usize)>,
    ) -> Result<FrameReader<R>> {
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        if reader.fill_buf().map_err(io_error)?.is_empty() {
            return Err(refuse("it is empty; check that the program that writes it runs"));
        }
        let (stream, size) = match (format, size) {
            (None | Some(StreamFormat::Y4m), None) => header(&mut reader)?,
            (Some(StreamFormat::Y4m), Some(_)) => {
                return Err(Error::Usage("a y4m stream states its size; drop the size".into()));
            }
            (None, Some(_)) => {
                return Err(Error::Usage("a size needs the kind of stream: rgb24, gray8 or gray16le".into()));
            }
            (Some(format), None) => {
                return Err(Error::Usage(format!("{format} frames have no header; give width and height")));
            }
            (Some(format), Some((w, h))) => (Stream::from(format), [h, w]),
        };
        let [h, w] = size;
        let sides = 1..=MAX_SIDE;
        if !sides.contains(&h) || !sides.contains(&w) || stream.frame_bytes(size) > MAX_FRAME {
            let most = format!("1 to {MAX_SIDE} a side and {} MiB a frame can be read", MAX_FRAME >> 20);
            return Err(refuse(format!("frames of {w}x{h} pixels; {most}, so scale them")));
        }
        Ok(FrameReader { reader, stream, size, count: 0, done: false, bytes: Vec::new() })
    }

    /// The properties of the stream, to write a similar one.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.size[1]
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.size[0]
    }

    /// Reads the next frame; `None` at the end.
    fn frame(&mut self) -> Result<Option<Picture>> {
        let number = self.count + 1;
        if matches!(self.stream.0, Kind::Y4m(_)) {
            match line(&mut self.reader)? {
                None if self.count == 0 => return Err(refuse("it has a header and no frames")),
                None => return Ok(None),
                Some(line) if line.starts_with(FRAME) => {}
                Some(_) => {
                    let what = "does not begin with FRAME; the stream is damaged or not what its header says";
                    return Err(refuse(format!("frame {number} {what}")));
                }
            }
        }
        let length = self.stream.frame_bytes(self.size);
        self.bytes.clear();
        // Memory grows with the bytes that arrive, not with what the header states.
        let came = (&mut self.reader).take(length as u64).read_to_end(&mut self.bytes).map_err(io_error)?;
        if came == 0 && matches!(self.stream.0, Kind::Raw(_)) {
            return Ok(None);
        }
        if came < length {
            let what = "is cut off (check the size, and whether the writing program stopped)";
            return Err(refuse(format!("frame {number} {what}: {came} of {length} bytes came")));
        }
        self.count = number;
        self.stream.decode(&self.bytes, self.size).map(Some)
    }
}

impl<R: Read> Iterator for FrameReader<R> {
    type Item = Result<Picture>;

    fn next(&mut self) -> Option<Result<Picture>> {
        if self.done {
            return None;
        }
        let frame = self.frame().transpose();
        self.done = !matches!(frame, Some(Ok(_)));
        frame
    }
}

/// Reads a y4m header: the stream, and its height and width.
fn header(reader: &mut impl BufRead) -> Result<(Stream, [usize; 2])> {
    let mut magic = Vec::new();
    reader.take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(io_error)?;
    if magic != MAGIC {
        return Err(refuse(
            "it is not y4m; give the format (rgb24, gray8 or gray16le), the width and the height",
        ));
    }
    let fields = line(reader)?.unwrap_or_default();
    let (y4m, size) = Y4m::parse(&fields).map_err(refuse)?;
    Ok((Stream(Kind::Y4m(y4m)), size))
}

/// The next line without its end; `None` at the end of the stream.
fn line(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut line).map_err(io_error)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(refuse("a y4m header does not end; the stream is cut off or not y4m")),
    }
}
