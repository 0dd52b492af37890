//! The numbers of the `.bin` file, in the order of the layers (ncnn's `modelbin.cpp`).

use crate::error::{Error, Result};

/// Marks of how an array is stored.
const HALF: [u8; 4] = [0x47, 0x6b, 0x30, 0x01];
const INT8: [u8; 4] = [0x38, 0x4b, 0x0d, 0x00];
const FLOAT: [u8; 4] = [0x56, 0xc0, 0x02, 0x00];

/// The numbers that are not yet read.
pub(super) struct Weights<'a> {
    rest: &'a [u8],
}

impl<'a> Weights<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Weights<'a> {
        Weights { rest: bytes }
    }

    fn bytes(&mut self, count: usize, size: usize) -> Result<&'a [u8]> {
        let whole = count.checked_mul(size).and_then(|len| self.rest.split_at_checked(len));
        let (first, rest) = whole.ok_or_else(|| {
            Error::Model(format!(
                "the .bin file ends early: {count} numbers are missing (is it complete, and of this .param file?)"
            ))
        })?;
        self.rest = rest;
        Ok(first)
    }

    /// An array without a mark.
    pub(super) fn plain(&mut self, count: usize) -> Result<Vec<f32>> {
        let bytes = self.bytes(count, 4)?;
        finite(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
    }

    /// An array behind a mark: f32, f16, or bytes that stand for one of 256 numbers.
    pub(super) fn marked(&mut self, count: usize) -> Result<Vec<f32>> {
        let mark = self.bytes(4, 1)?;
        if mark == HALF {
            let bytes = self.bytes(count, 2)?;
            self.align(2 * count)?;
            return finite(
                bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect(),
            );
        }
        if mark == INT8 {
            return Err(Error::Model(
                "its weights are int8, which is not read; give the fp16 or f32 file".into(),
            ));
        }
        if mark == FLOAT || mark == [0; 4] {
            return self.plain(count);
        }
        let table = self.plain(256)?;
        let places = self.bytes(count, 1)?;
        self.align(count)?;
        Ok(places.iter().map(|&place| table[usize::from(place)]).collect())
    }

    /// Skips to a multiple of four bytes.
    fn align(&mut self, len: usize) -> Result<()> {
        self.bytes(len.next_multiple_of(4) - len, 1).map(|_| ())
    }

    /// Errors if numbers are left: then the file is another network's.
    pub(super) fn check_all_read(&self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Error::Model(format!(
                "{left} bytes of the .bin file belong to no layer of the .param file"
            ))),
        }
    }
}

fn finite(values: Vec<f32>) -> Result<Vec<f32>> {
    match values.iter().find(|v| !v.is_finite()) {
        None => Ok(values),
        Some(v) => Err(Error::Model(format!(
            "the .bin file holds {v}; weights must be finite (is it of this .param file?)"
        ))),
    }
}
