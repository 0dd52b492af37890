//! Streams of frames, as they go from one program to the next: y4m, and raw samples.
//!
//! ```text
//! ffmpeg -i in.mp4 -f yuv4mpegpipe - | unet run … | ffmpeg -f yuv4mpegpipe -i - out.mp4
//! ```
//!
//! y4m says its size and frame rate itself. Its colours are read as ffmpeg reads them where nothing else is said: BT.601,
//! whatever the size, 16 to 235 for black to white unless the header has `XCOLORRANGE=FULL`. Frames that are written
//! in the same way keep their colours to a step even where the video is BT.709; what the network sees is then a little
//! off in hue, which `-vf scale=out_color_matrix=bt601` before, and the reverse after it, mends. High depths (`C420p10`
//! and the like, up to 16 bits) need `-strict -1` there.

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

/// The kinds of streams, by the names that ffmpeg has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// `y4m`: a line that says size, frame rate and colour space, then planes of luma and colour differences.
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

    /// How a y4m stream begins.
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
            Error::Usage(format!("{name} is not a kind of stream; say y4m, rgb24, gray8 or gray16le"))
        })
    }
}

/// What a stream is, but for the size of its frames: what a [`FrameWriter`] needs to make another one like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Y4m(Y4m),
    Raw(Raw),
}

impl Stream {
    /// Whether it is y4m, which says its size itself.
    pub fn is_y4m(&self) -> bool {
        matches!(self.0, Kind::Y4m(_))
    }

    /// Whether frames are grey: pictures of three channels cannot be written.
    pub fn is_grey(&self) -> bool {
        match &self.0 {
            Kind::Y4m(y4m) => y4m.coding.is_grey(),
            Kind::Raw(raw) => raw.channels == 1,
        }
    }

    /// Bytes of a frame's samples; `usize::MAX` where they do not fit.
    fn frame_bytes(&self, [h, w]: [usize; 2]) -> usize {
        match &self.0 {
            Kind::Y4m(y4m) => y4m.coding.frame_bytes([h, w]),
            Kind::Raw(raw) => raw.frame_bytes([h, w]),
        }
    }

    /// The frame in that many bytes.
    fn decode(&self, bytes: &[u8], size: [usize; 2]) -> Result<Picture> {
        match &self.0 {
            Kind::Y4m(y4m) => y4m.coding.decode(bytes, size),
            Kind::Raw(raw) => raw.decode(bytes, size),
        }
    }

    /// A frame's samples.
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

/// A stream of that kind where none is to be copied; y4m has 25 frames a second, 8 bits and colours for every pixel.
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

/// What streams are called in errors.
fn name() -> PathBuf {
    "video stream".into()
}

fn refuse(message: impl Into<String>) -> Error {
    Error::Picture { path: name(), message: message.into() }
}

fn io_error(source: std::io::Error) -> Error {
    Error::Io { path: name(), source }
}
