//! The directory of a zip archive. PyTorch stores entries without compression, so tensors can be read in place.
//! Layout: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.

use super::broken;
use crate::error::Result;
use crate::import::tensors::Source;
use std::collections::BTreeMap;
use std::io::SeekFrom;

/// Longest end of an archive: the record of 22 bytes and a comment.
const MAX_END: u64 = 22 + 65535;

/// Longest directory that is read, bytes. An entry takes about a hundred.
const MAX_DIRECTORY: u64 = 16 << 20;

/// Location of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Offset of its header in the archive.
    header: u64,
    pub(super) len: u64,
    /// Whether it is stored without compression.
    is_stored: bool,
}

/// Entries by name.
pub(super) type Directory = BTreeMap<String, Entry>;

/// Reads the directory of an archive of `len` bytes.
pub(super) fn directory(source: &mut dyn Source, len: u64) -> Result<Directory> {
    let end_start = len - len.min(MAX_END);
    let end = read(source, end_start, len - end_start, len)?;
    let at = (0..end.len().saturating_sub(21)).rev().find(|&at| end[at..].starts_with(b"PK\x05\x06"));
    let at = at.ok_or_else(|| broken("the archive's directory is missing (is it complete?)"))?;
    let record = &end[at..];
    let (mut size, mut start) = (u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
    // Archives beyond 4 GiB have a second record. The 20 bytes before the first record locate it.
    if let Some(locator) = at.checked_sub(20).map(|at| &end[at..])
        && locator.starts_with(b"PK\x06\x07")
    {
        let record = read(source, u64_at(locator, 8), 56, len)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Err(broken("the archive's directory is damaged"));
        }
        (size, start) = (u64_at(&record, 40), u64_at(&record, 48));
    }
    if size > MAX_DIRECTORY {
        return Err(broken(format!(
            "the archive's directory has {size} bytes, expected at most {MAX_DIRECTORY}"
        )));
    }
    let bytes = read(source, start, size, len)?;
    let (mut rest, mut directory) = (&bytes[..], Directory::new());
    while rest.starts_with(b"PK\x01\x02") {
        let (name, entry, after) = entry(rest).ok_or_else(|| broken("the archive's directory is cut off"))?;
        if directory.insert(name.clone(), entry).is_some() {
            return Err(broken(format!("the archive has {name} twice")));
        }
        rest = after;
    }
    Ok(directory)
}

/// The first entry of the rest of a directory, and the remaining bytes.
fn entry(record: &[u8]) -> Option<(String, Entry, &[u8])> {
    let (fixed, rest) = record.split_at_checked(46)?;
    let lengths = [28, 30, 32].map(|at| usize::from(u16_at(fixed, at)));
    let (name, rest) = rest.split_at_checked(lengths[0])?;
    let (mut extra, rest) = rest.split_at_checked(lengths[1])?;
    let (_, rest) = rest.split_at_checked(lengths[2])?;
    let [packed, len, header] = [20, 24, 42].map(|at| u32_at(fixed, at));
    let mut wide = [len, packed, header].map(u64::from);
    // The extra field 1 holds numbers that do not fit 32 bits, in this order.
    while let Some((head, after)) = extra.split_at_checked(4) {
        let (field, after) = after.split_at_checked(usize::from(u16_at(head, 2)))?;
        if u16_at(head, 0) == 1 {
            let mut numbers = field.as_chunks::<8>().0.iter();
            for number in wide.iter_mut().filter(|number| **number == u64::from(u32::MAX)) {
                *number = u64::from_le_bytes(*numbers.next()?);
            }
        }
        extra = after;
    }
    let is_encrypted = u16_at(fixed, 8) & 1 == 1;
    let is_stored = u16_at(fixed, 10) == 0 && wide[0] == wide[1] && !is_encrypted;
    Some((
        String::from_utf8_lossy(name).into_owned(),
        Entry { header: wide[2], len: wide[0], is_stored },
        rest,
    ))
}

impl Entry {
    /// The offset of the entry's bytes in the archive of `len` bytes.
    pub(super) fn place(&self, name: &str, source: &mut dyn Source, len: u64) -> Result<u64> {
        if !self.is_stored {
            return Err(broken(format!(
                "{name} in the archive is compressed; torch.save stores entries as they are"
            )));
        }
        let header = read(source, self.header, 30, len)?;
        if !header.starts_with(b"PK\x03\x04") {
            return Err(broken(format!("{name} in the archive has no header")));
        }
        let place = self.header + 30 + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        match place.checked_add(self.len) {
            Some(end) if end <= len => Ok(place),
            _ => Err(broken(format!("{name} in the archive is cut off (is it complete?)"))),
        }
    }
}

/// Reads `count` bytes at `start` from a source of `len` bytes.
pub(super) fn read(source: &mut dyn Source, start: u64, count: u64, len: u64) -> Result<Vec<u8>> {
    if start.checked_add(count).is_none_or(|end| end > len) {
        return Err(broken("it refers to bytes beyond its end (is it complete?)"));
    }
    let mut bytes = vec![0; count as usize];
    source.seek(SeekFrom::Start(start)).and_then(|_| source.read_exact(&mut bytes)).map_err(broken)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
