//! Weight files of Intel Open Image Denoise: tensor archives (`.tza`), as `training/tza.py` of
//! github.com/RenderKit/oidn writes them.
//!
//! All numbers are little-endian. The file begins with the magic number (u16), a major and a minor version (u8 each)
//! and the offset of the table (u64). The table is a count (u32) and, for each tensor, its name (u16 length, UTF-8),
//! rank (u8), extents (u32 each), layout (one letter for each axis: `x` or `oihw`), type (`f` for f32, `h` for f16) and
//! offset (u64).

use super::families;
use super::tensors::{Source, StateDict, Stored};
use crate::error::{Error, Result};
use crate::model::Model;
use ::safetensors::Dtype;
use std::collections::BTreeMap;
use std::io::{Cursor, SeekFrom};

/// 0x41D7.
const MAGIC: &[u8] = b"\xd7\x41";

/// Longest table that is read, bytes. The table of the largest network takes about a thousand.
const MAX_TABLE: u64 = 1 << 20;

impl Model {
    /// Reads the bytes of a weight file of Intel Open Image Denoise (`.tza`).
    ///
    /// # Errors
    /// [`Error::Model`] and [`Error::Shape`] name what in the file is wrong.
    pub fn from_tza(bytes: &[u8]) -> Result<Model> {
        read(Box::new(Cursor::new(bytes)), bytes.len() as u64, "").map_err(Error::one_line)
    }
}

pub(super) fn is_tza(first: &[u8]) -> bool {
    first.starts_with(MAGIC)
}

/// Reads a model from a file of `len` bytes with that name; the name is empty if there is no file.
pub(super) fn read(mut source: Box<dyn Source + '_>, len: u64, name: &str) -> Result<Model> {
    let tensors = table(&mut *source, len)?;
    let model = families::recognise(&mut StateDict::new(source, len, tensors))?;
    Ok(families::oidn::named(model, name))
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::Model(format!("not a readable .tza file: {what}"))
}

/// The locations of all tensors in a file of `len` bytes.
fn table(source: &mut dyn Source, len: u64) -> Result<BTreeMap<String, Stored>> {
    let cut_off = || broken("it is cut off (is it complete?)");
    let mut more = |start: u64, most: u64| {
        let count = most.min(len.checked_sub(start).ok_or_else(cut_off)?);
        let mut bytes = vec![0; count as usize];
        source.seek(SeekFrom::Start(start)).and_then(|_| source.read_exact(&mut bytes)).map_err(broken)?;
        Ok(bytes)
    };
    let header = more(0, 12)?;
    let mut header =
        Bytes(header.strip_prefix(MAGIC).ok_or_else(|| broken("its magic number is not 0x41d7"))?);
    let [major, minor] = header.next().ok_or_else(cut_off)?;
    if major != 2 {
        return Err(broken(format!("expected version 2, got {major}.{minor}")));
    }
    let start = u64::from_le_bytes(header.next().ok_or_else(cut_off)?);
    let bytes = more(start, MAX_TABLE)?;
    let mut rest = Bytes(&bytes);
    let count = u32::from_le_bytes(rest.next().ok_or_else(cut_off)?);
    let mut tensors = BTreeMap::new();
    for _ in 0..count {
        let (name, stored) = rest.entry().ok_or_else(cut_off)??;
        if tensors.insert(name.clone(), stored).is_some() {
            return Err(broken(format!("it has {name} twice")));
        }
    }
    Ok(tensors)
}

/// The bytes that are not yet read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }

    /// Reads an entry of the table; `None` if the table ends early.
    fn entry(&mut self) -> Option<Result<(String, Stored)>> {
        let len = u16::from_le_bytes(self.next()?);
        let name = String::from_utf8_lossy(self.slice(len.into())?).into_owned();
        let [rank] = self.next()?;
        let shape = self.slice(4 * usize::from(rank))?.as_chunks().0.iter();
        let shape: Vec<usize> = shape.map(|&extent| u32::from_le_bytes(extent) as usize).collect();
        let layout = self.slice(rank.into())?;
        let [letter] = self.next()?;
        let place = u64::from_le_bytes(self.next()?);
        let unknown = |what, expected, got: &[u8]| {
            let got = got.escape_ascii();
            Some(Err(broken(format!("tensor {name} has {what} {got}, expected {expected}"))))
        };
        if ![&b"x"[..], b"oihw"].contains(&layout) {
            return unknown("layout", "x or oihw", layout);
        }
        let dtype = match letter {
            b'f' => Dtype::F32,
            b'h' => Dtype::F16,
            _ => return unknown("type", "f or h", &[letter]),
        };
        Some(Ok((name, Stored::contiguous(dtype, &shape, place))))
    }
}
