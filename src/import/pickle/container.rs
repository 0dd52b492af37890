//! Finds the pickle and the tensors' bytes in a PyTorch file: a zip archive (since 1.6, and TorchScript), or one after
//! the other (before).
//!
//! An archive holds `<name>/data.pkl`, `<name>/data/<key>` for every storage, and `<name>/byteorder`. An older file
//! holds five pickles (magic number, version, machine, values, keys of the storages), then for each key the number of
//! elements as 64 bits and the elements.

use super::checkpoint::Views;
use super::heap::{Value, View};
use super::machine::Pickle;
use super::zip::{self, Directory};
use super::{MAX_PICKLE, broken, checkpoint};
use crate::error::Result;
use crate::import::foreign;
use crate::import::tensors::{Source, Stored};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

/// `0x1950a86a20f9469cfc6c`, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// What a file holds.
pub(super) struct Contents {
    /// By name.
    pub(super) tensors: Vec<(String, Stored)>,
    /// The plain values around the tensors.
    pub(super) values: Map<String, Json>,
    /// Whether it also holds code: TorchScript.
    pub(super) holds_code: bool,
}

/// Offset and length of a storage's bytes.
type Room = (u64, u64);

/// Whether a file begins with a pickle. A safetensors header whose length has the same low bytes has a brace as its
/// ninth byte.
pub(super) fn is_legacy(first: &[u8]) -> bool {
    first.len() > 8 && first[0] == 0x80 && (2..=5).contains(&first[1]) && first[8] != b'{'
}

/// Reads everything except the tensors' numbers from a file of `len` bytes.
pub(super) fn open(source: &mut dyn Source, len: u64) -> Result<Contents> {
    let first = zip::read(source, 0, len.min(2), len)?;
    if first == b"PK" { archive(source, len) } else { legacy(source, len) }
}

fn archive(source: &mut dyn Source, len: u64) -> Result<Contents> {
    let directory = zip::directory(source, len)?;
    let is_root = |root: &&str| root.is_empty() || root.find('/') == Some(root.len() - 1);
    let root = directory.keys().find_map(|name| name.strip_suffix("data.pkl").filter(is_root));
    let Some(root) = root else {
        return Err(foreign::archive(directory.keys().map(String::as_str)));
    };
    let mut file = |name: &str, most: u64| entry(source, len, &directory, &format!("{root}{name}"), most);
    if directory.contains_key(&format!("{root}byteorder")) && file("byteorder", 16)? != b"little" {
        return Err(broken("it was written on a big-endian machine; save it again on another"));
    }
    let bytes = file("data.pkl", MAX_PICKLE)?;
    let pickle = Pickle::load(&bytes)?;

    let mut rooms: HashMap<&str, Room> = HashMap::new();
    let (views, values) = checkpoint::read(&pickle)?;
    for (_, view) in &views {
        let key = view.storage.key;
        if !rooms.contains_key(key) {
            let name = format!("{root}data/{key}");
            let entry = directory.get(&name).ok_or_else(|| broken(format!("the archive lacks {name}")))?;
            rooms.insert(key, (entry.place(&name, source, len)?, entry.len));
        }
    }
    let holds_code = directory.keys().any(|name| name.starts_with(&format!("{root}code/")));
    Ok(Contents { tensors: resolve(views, &rooms)?, values, holds_code })
}

/// The bytes of an entry.
fn entry(source: &mut dyn Source, len: u64, directory: &Directory, name: &str, most: u64) -> Result<Vec<u8>> {
    let entry = directory.get(name).ok_or_else(|| broken(format!("the archive lacks {name}")))?;
    if entry.len > most {
        return Err(broken(format!("{name} has {} bytes, expected at most {most}", entry.len)));
    }
    let place = entry.place(name, source, len)?;
    zip::read(source, place, entry.len, len)
}

fn legacy(source: &mut dyn Source, len: u64) -> Result<Contents> {
    let bytes = zip::read(source, 0, len.min(MAX_PICKLE), len)?;
    let mut at = 0;
    let mut next = || {
        let pickle = Pickle::load(&bytes[at..])?;
        at += pickle.len;
        Ok(pickle)
    };
    let magic = next()?;
    if !matches!(magic.get(magic.root), Value::Long(number) if **number == MAGIC) {
        return Err(broken("it is a pickle, but torch.save did not write it"));
    }
    let (_version, machine, main, keys) = (next()?, next()?, next()?, next()?);
    if checkpoint::plain(&machine).get("little_endian") == Some(&Json::Bool(false)) {
        return Err(broken("it was written on a big-endian machine; save it again on another"));
    }

    // The elements follow the keys, storage after storage.
    let sizes: HashMap<&str, u64> =
        main.storages().map(|s| (s.key, (s.dtype.bitsize() / 8) as u64)).collect();
    let (mut place, mut rooms) = (at as u64, HashMap::new());
    let Value::List(list) = keys.get(keys.root) else {
        return Err(broken("the list of storages is missing"));
    };
    for &key in list {
        let &Value::Text(key) = keys.get(key) else { return Err(broken("a storage without a key")) };
        let size = sizes.get(key).ok_or_else(|| broken(format!("nothing names storage {key}")))?;
        let count = zip::read(source, place, 8, len)?;
        let count = u64::from_le_bytes(count.first_chunk().copied().unwrap_or_default());
        place += 8;
        let end =
            count.checked_mul(*size).and_then(|bytes| place.checked_add(bytes)).filter(|&end| end <= len);
        let end = end.ok_or_else(|| broken(format!("storage {key} is cut off (is it complete?)")))?;
        rooms.insert(key, (place, end - place));
        place = end;
    }
    let (views, values) = checkpoint::read(&main)?;
    Ok(Contents { tensors: resolve(views, &rooms)?, values, holds_code: false })
}

/// Finds the position of each tensor in the file.
fn resolve(views: Views<'_, '_>, rooms: &HashMap<&str, Room>) -> Result<Vec<(String, Stored)>> {
    let stored = |(name, view): (String, &View<'_>)| {
        let &(start, room) = rooms
            .get(view.storage.key)
            .ok_or_else(|| broken(format!("storage {} of tensor {name} is missing", view.storage.key)))?;
        let stored =
            Stored { strides: view.strides.clone(), ..Stored::contiguous(view.dtype, &view.shape, 0) };
        let size = (view.dtype.bitsize() / 8) as u64;
        let part = view.storage.offset.checked_mul((view.storage.dtype.bitsize() / 8) as u64);
        let begin = (view.offset as u64).checked_mul(size).and_then(|offset| offset.checked_add(part?));
        let span = stored.extent().and_then(|(_, span)| (span as u64).checked_mul(size));
        match begin.zip(span) {
            Some((begin, span)) if begin.checked_add(span).is_some_and(|end| end <= room) => {
                Ok((name, Stored { place: start + begin, ..stored }))
            }
            _ => Err(broken(format!("tensor {name} reaches beyond its storage"))),
        }
    };
    views.into_iter().map(stored).collect()
}
