//! Reads files of `torch.save` and TorchScript without Python and without running any code in them.
//!
//! A pickle is a program for a stack machine. [`machine`] executes its instructions and leaves plain values on a
//! [`heap`]. [`calls`] lists the data constructors that it may call; any other call is an error that names it.
//! [`container`] finds the pickle and the tensors' bytes in a file, and [`checkpoint`] finds the state dict among the
//! values.

mod calls;
mod checkpoint;
mod container;
mod heap;
mod machine;
mod zip;

use super::families;
use super::tensors::{Source, StateDict};
use crate::error::{Error, Result};
use crate::model::Model;
use container::Contents;
use std::io::Cursor;
use std::path::Path;

/// Longest pickle that is read, bytes. Tensors are outside of it; the rest takes kilobytes.
const MAX_PICKLE: u64 = 16 << 20;

impl Model {
    /// Reads the bytes of a file that `torch.save` wrote, or of a TorchScript archive.
    ///
    /// # Errors
    /// [`Error::Model`] and [`Error::Shape`] name what in the file is wrong.
    pub fn from_pytorch(bytes: &[u8]) -> Result<Model> {
        read(Box::new(Cursor::new(bytes)), bytes.len() as u64, None, None).map_err(Error::one_line)
    }
}

/// Whether a file begins like a PyTorch file: a zip archive, or a pickle of an integer.
pub(super) fn is_pytorch(first: &[u8]) -> bool {
    first.starts_with(b"PK\x03\x04") || container::is_legacy(first)
}

/// Reads a file of `len` bytes.
pub(super) fn read(
    source: Box<dyn Source + '_>,
    len: u64,
    folder: Option<&Path>,
    part: Option<&str>,
) -> Result<Model> {
    let (mut dict, holds_code) = dict(source, len, folder)?;
    dict.part = part.map(str::to_owned);
    families::recognise(&mut dict).map_err(|error| match error {
        Error::UnknownNetwork(what) if holds_code => Error::UnknownNetwork(format!(
            "it is TorchScript, whose code is not run; its tensors can be read where the network is known, and {what}"
        )),
        other => other,
    })
}

/// The tensors of a file of `len` bytes, and whether it also holds code.
pub(super) fn dict<'a>(
    mut source: Box<dyn Source + 'a>,
    len: u64,
    folder: Option<&Path>,
) -> Result<(StateDict<'a>, bool)> {
    let Contents { tensors, values, holds_code } = container::open(&mut *source, len)?;
    let mut dict = StateDict::new(source, len, tensors);
    (dict.values, dict.folder) = (values, folder.map(Path::to_owned));
    Ok((dict, holds_code))
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::Model(format!("not a readable PyTorch file: {what}"))
}
