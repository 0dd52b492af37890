//! Files beside an ONNX file that hold its large tensors.

use super::proto;
use crate::error::{Error, Result};
use std::collections::hash_map::{Entry, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Files beside the model that hold its large tensors.
#[derive(Debug, Default)]
pub(super) struct External {
    folder: Option<PathBuf>,
    open: HashMap<String, Beside>,
}

/// An open file beside the model.
#[derive(Debug)]
struct Beside {
    file: File,
    size: u64,
    /// Bytes that may still be read. Tensors may share some, but a small model may not take unbounded memory.
    left: u64,
}

impl External {
    pub(super) fn beside(model: &Path) -> External {
        External {
            folder: Some(model.parent().unwrap_or(Path::new("")).to_path_buf()),
            ..External::default()
        }
    }

    /// The bytes of a tensor, `expected` of them, from the file and offset that it names.
    pub(super) fn read(&mut self, tensor: &proto::Tensor, expected: usize) -> Result<Vec<u8>> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let location = entry("location").unwrap_or_default();
        let plain = |part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
        if location.is_empty() || !Path::new(location).components().all(plain) {
            return Err(Error::Model(format!(
                "its data is in {location:?}; expected a file beside the model"
            )));
        }
        let folder = self.folder.as_ref().ok_or_else(|| {
            Error::Model(format!("its data is in the file {location}; open the model by its path"))
        })?;
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => {
                text.parse::<u64>().map(Some).map_err(|_| Error::shape(key, "a number", format!("{text:?}")))
            }
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|length| length != expected as u64) {
            return Err(Error::shape("length", format!("{expected} bytes"), length.unwrap_or(0)));
        }
        let path = folder.join(location);
        let beside = match self.open.entry(location.to_string()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // Checked before opening, because opening a pipe would wait for its writer.
                if !std::fs::metadata(&path).map_err(Error::io(&path))?.is_file() {
                    return Err(Error::Model(format!(
                        "its data is in {location}, which is not a regular file"
                    )));
                }
                let file = File::open(&path).map_err(Error::io(&path))?;
                let size = file.metadata().map_err(Error::io(&path))?.len();
                entry.insert(Beside { file, size, left: size.saturating_mul(2) })
            }
        };
        if offset.saturating_add(expected as u64) > beside.size {
            let expected = format!("{expected} bytes at {offset}");
            let got = format!("a file of {} bytes (is it complete?)", beside.size);
            return Err(Error::shape(location, expected, got));
        }
        let too_often = || Error::Model(format!("tensors use the bytes of {location} more often than twice"));
        beside.left = beside.left.checked_sub(expected as u64).ok_or_else(too_often)?;
        let mut bytes = vec![0; expected];
        let file = &mut beside.file;
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(Error::io(&path))?;
        Ok(bytes)
    }
}
