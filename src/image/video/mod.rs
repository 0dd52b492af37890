//! Streams of frames between programs: y4m and raw samples.
//!
//! ```text
//! ffmpeg -i in.mp4 -f yuv4mpegpipe - | unet run … | ffmpeg -f yuv4mpegpipe -i - out.mp4
//! ```
//!
//! A y4m header states size and frame rate. Colours are read as ffmpeg does by default: BT.601 for every size, 16 to
//! 235 for black to white unless the header has `XCOLORRANGE=FULL`. Frames written in the same way keep their colours
//! within one step, even if the video is BT.709. The network then sees slightly different hues; `-vf
//! scale=out_color_matrix=bt601` before, and the reverse after, avoids that. High depths (`C420p10` and similar, up to
//! 16 bits) need `-strict -1` in ffmpeg.

mod raw;
mod reader;
mod writer;
mod y4m;
mod yuv;

pub use reader::FrameReader;
pub use writer::FrameWriter;

use crate::error::{Error, Result};
use crate::image::Picture;
use raw::Raw;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use y4m::Y4m;

/// Longest side of a frame, pixels.
const MAX_SIDE: usize = 32_768;
/// Most bytes of a frame.
const MAX_FRAME: usize = 512 << 20;

/// Kinds of streams, with the names that ffmpeg uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// `y4m`: a line with size, frame rate and colour space, then planes of luma and colour differences.
    Y4m,
    /// `rgb24`: bytes of red, green and blue.
    Rgb24,
    /// `gray8` or `gray`: bytes.
    Gray8,
    /// `gray16le`: 16 bits, little-endian.
    Gray16le,
}

impl StreamFormat {
    const ALL: [StreamFormat; 4] =
        [StreamFormat::Y4m, StreamFormat::Rgb24, StreamFormat::Gray8, StreamFormat::Gray16le];

    /// The first bytes of a y4m stream.
    pub const Y4M_MAGIC: &[u8] = y4m::MAGIC;

    fn name(self) -> &'static str {
        match self {
            StreamFormat::Y4m => "y4m",
            StreamFormat::Rgb24 => "rgb24",
            StreamFormat::Gray8 => "gray8",
            StreamFormat::Gray16le => "gray16le",
        }
    }
}

impl fmt::Display for StreamFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StreamFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<StreamFormat> {
        let wanted = if name == "gray" { "gray8" } else { name };
        StreamFormat::ALL.into_iter().find(|format| format.name() == wanted).ok_or_else(|| {
            Error::Usage(format!("{name} is not a kind of stream; use y4m, rgb24, gray8 or gray16le"))
        })
    }
}

/// The properties of a stream except the size of its frames. A [`FrameWriter`] needs them to write a similar stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Y4m(Y4m),
    Raw(Raw),
}

impl Stream {
    /// Whether it is y4m, which states its size.
    pub fn is_y4m(&self) -> bool {
        matches!(self.0, Kind::Y4m(_))
    }

    /// Whether frames are grey. Pictures with three channels cannot be written then.
    pub fn is_grey(&self) -> bool {
        match &self.0 {
            Kind::Y4m(y4m) => y4m.coding.is_grey(),
            Kind::Raw(raw) => raw.channels == 1,
        }
    }

    /// Bytes of a frame; `usize::MAX` if the size overflows.
    fn frame_bytes(&self, [h, w]: [usize; 2]) -> usize {
        match &self.0 {
            Kind::Y4m(y4m) => y4m.coding.frame_bytes([h, w]),
            Kind::Raw(raw) => raw.frame_bytes([h, w]),
        }
    }

    /// Decodes the bytes of a frame.
    fn decode(&self, bytes: &[u8], size: [usize; 2]) -> Result<Picture> {
        match &self.0 {
            Kind::Y4m(y4m) => y4m.coding.decode(bytes, size),
            Kind::Raw(raw) => raw.decode(bytes, size),
        }
    }

    /// Encodes a frame.
    fn encode(&self, picture: &Picture) -> Result<Vec<u8>> {
        if self.is_grey() && picture.channels() != 1 {
            let expected = "1 channel, because the stream is grey (write another format)";
            return Err(Error::shape("a frame", expected, format!("{} channels", picture.channels())));
        }
        match &self.0 {
            Kind::Y4m(y4m) => Ok(y4m.coding.encode(picture)),
            Kind::Raw(raw) => raw.encode(picture),
        }
    }
}

/// A stream of that kind with default properties. y4m has 25 frames per second, 8 bits, and colours for every pixel.
impl From<StreamFormat> for Stream {
    fn from(format: StreamFormat) -> Stream {
        Stream(match format {
            StreamFormat::Y4m => Kind::Y4m(Y4m::default()),
            StreamFormat::Rgb24 => Kind::Raw(Raw { channels: 3, bytes: 1 }),
            StreamFormat::Gray8 => Kind::Raw(Raw { channels: 1, bytes: 1 }),
            StreamFormat::Gray16le => Kind::Raw(Raw { channels: 1, bytes: 2 }),
        })
    }
}

/// The name of streams in errors.
fn name() -> PathBuf {
    "video stream".into()
}

fn refuse(message: impl Into<String>) -> Error {
    Error::Picture { path: name(), message: message.into() }
}

fn io_error(source: std::io::Error) -> Error {
    Error::Io { path: name(), source }
}
