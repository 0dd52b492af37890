//! NIfTI-1 volumes in one file, also gzipped: <https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h>.
//!
//! A header of 348 bytes is followed by samples, columns fastest. The slices along the third axis are the pages; those
//! of further axes follow. Rows and columns keep their stored order; the position in the body is ignored.

use super::{Decode, Layout, MAX_DEFLATE, Source, fill, unreadable};
use crate::image::Depth;
use flate2::read::MultiGzDecoder;
use image::metadata::Orientation;
use std::io::{Read, copy, sink};

/// Bytes of the header.
const HEAD: u64 = 348;
/// Most bytes before the samples: the header and extensions.
const MAX_START: f32 = (64 << 20) as f32;

/// Sample types, as the header's `datatype` numbers them.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

impl Kind {
    fn of(datatype: i16) -> Result<Kind, String> {
        Ok(match datatype {
            2 => Kind::U8,
            4 => Kind::I16,
            8 => Kind::I32,
            16 => Kind::F32,
            64 => Kind::F64,
            256 => Kind::I8,
            512 => Kind::U16,
            768 => Kind::U32,
            other => {
                let known = "integers of 8, 16 or 32 bits and floats of 32 or 64 can be read, so convert it";
                return Err(format!("the NIfTI volume's datatype is {other}; {known}"));
            }
        })
    }

    fn bytes(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }
}

/// A NIfTI volume.
pub(super) struct Nifti {
    reader: Box<dyn Read + Send>,
    layout: Layout,
    slices: usize,
    kind: Kind,
    big_endian: bool,
    /// Factor and offset from stored numbers to the units of the planes.
    slope: f64,
    offset: f64,
    /// Rows of the whole volume that remain.
    left: usize,
}

impl Nifti {
    /// A gzipped volume.
    pub(super) fn unzip(source: Box<dyn Source>, length: u64) -> Result<Nifti, String> {
        Nifti::read_header(Box::new(MultiGzDecoder::new(source)), length.saturating_mul(MAX_DEFLATE))
    }

    /// An uncompressed volume.
    pub(super) fn new(source: Box<dyn Source>, length: u64) -> Result<Nifti, String> {
        Nifti::read_header(source, length)
    }

    /// Reads the header of a volume of at most `most` bytes.
    fn read_header(mut reader: Box<dyn Read + Send>, most: u64) -> Result<Nifti, String> {
        let mut header = Vec::new();
        reader.by_ref().take(HEAD).read_to_end(&mut header).map_err(unreadable)?;
        match &header[..] {
            [.., b'n', b'+', b'1', 0] if header.len() as u64 == HEAD => (),
            [.., b'n', b'i', b'1', 0] if header.len() as u64 == HEAD => {
                return Err("the header of a NIfTI pair (.hdr and .img); convert it to one .nii file".into());
            }
            _ => return Err("a gzip file with no NIfTI-1 volume in it; unzip it first".into()),
        }
        let big_endian = header[0] == 0;
        let field = |at: usize| {
            let mut bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            if big_endian {
                bytes.reverse();
                // A 2-byte field is the first half of the 4 bytes.
                return (f32::from_le_bytes(bytes), i16::from_le_bytes([bytes[2], bytes[3]]));
            }
            (f32::from_le_bytes(bytes), i16::from_le_bytes([bytes[0], bytes[1]]))
        };
        let extent = |axis: usize| usize::try_from(field(40 + 2 * axis).1).unwrap_or(0);
        let (axes, kind) = (extent(0), Kind::of(field(70).1)?);
        if !(2..=7).contains(&axes) {
            return Err(format!("the NIfTI volume has {} axes, expected 2 to 7", field(40).1));
        }
        let slices = (3..=axes).map(extent).fold(1, usize::saturating_mul);
        if slices == 0 {
            return Err("the NIfTI volume has an axis of no slices".into());
        }
        // A slope of 0 means that there is none.
        let (slope, offset) = match (field(112).0, field(116).0) {
            (0.0, _) => (1.0, 0.0),
            (slope, offset) if slope.is_finite() && offset.is_finite() => (slope.into(), offset.into()),
            other => return Err(format!("the NIfTI volume's slope and intercept are {other:?}")),
        };
        let plain = kind == Kind::U8 && (slope, offset) == (1.0, 0.0);
        let layout = Layout {
            width: extent(1),
            height: extent(2),
            channels: 1,
            alpha: false,
            depth: if plain { Depth::Eight } else { Depth::Float },
            extra: 0,
            nodata: None,
            orientation: Orientation::NoTransforms,
        };
        let start = field(108).0;
        if !(HEAD as f32..=MAX_START).contains(&start) {
            return Err(format!(
                "the NIfTI volume's samples begin at byte {start}, expected 352 or a little more"
            ));
        }
        let samples =
            [layout.width, layout.height, slices, kind.bytes()].into_iter().fold(1, usize::saturating_mul);
        layout.check((samples as u64).saturating_add(start as u64), 1, most)?;
        copy(&mut reader.by_ref().take(start as u64 - HEAD), &mut sink()).map_err(unreadable)?;
        let unit = if plain { 1.0 } else { 255.0 };
        let left = layout.height * slices;
        let (slope, offset) = (slope / unit, offset / unit);
        Ok(Nifti { reader, layout, slices, kind, big_endian, slope, offset, left })
    }

    /// Reads past the last sample, where a gzip stream has its checksum.
    fn finish(&mut self) -> Result<(), String> {
        self.reader.read(&mut [0]).map(|_| ()).map_err(unreadable)
    }
}

impl Decode for Nifti {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn read(&mut self, rows: &mut [f32]) -> Result<(), String> {
        let size = self.kind.bytes();
        let mut bytes = vec![0; rows.len() * size];
        self.reader.read_exact(&mut bytes).map_err(unreadable)?;
        if self.big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        let value = |v: f64| (v * self.slope + self.offset) as f32;
        match self.kind {
            Kind::U8 => fill(rows, &bytes, |[v]| value(v.into())),
            Kind::I8 => fill(rows, &bytes, |v| value(i8::from_le_bytes(v).into())),
            Kind::U16 => fill(rows, &bytes, |v| value(u16::from_le_bytes(v).into())),
            Kind::I16 => fill(rows, &bytes, |v| value(i16::from_le_bytes(v).into())),
            Kind::U32 => fill(rows, &bytes, |v| value(u32::from_le_bytes(v).into())),
            Kind::I32 => fill(rows, &bytes, |v| value(i32::from_le_bytes(v).into())),
            Kind::F32 => fill(rows, &bytes, |v| value(f32::from_le_bytes(v).into())),
            Kind::F64 => fill(rows, &bytes, |v| value(f64::from_le_bytes(v))),
        }
        self.left -= rows.len() / self.layout.width;
        if self.left == 0 { self.finish() } else { Ok(()) }
    }

    fn pages(&mut self) -> Result<usize, String> {
        Ok(self.slices)
    }

    fn turn_page(&mut self) -> Result<(), String> {
        Ok(())
    }
}
