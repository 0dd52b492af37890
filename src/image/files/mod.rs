//! Files of pictures, masks and arrays. Written files are complete or absent.

mod format;
mod npy;
mod read;
mod write;

pub use format::Format;
pub use npy::{encode_npy, read_npy, read_npy_array, write_npy};
#[cfg(test)]
pub(crate) use read::refused;
pub use read::{Pages, Rows};
pub(super) use read::{other_kind, read_file};
pub(super) use write::{Aside, encode_indices, interleave, samples};
pub use write::{PageWriter, RowWriter, check_writable, remove_temporary_files, write_atomic};
