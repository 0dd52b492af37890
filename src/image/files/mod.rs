//! Files of pictures, masks and arrays: reading, and writing that leaves no half file.

mod npy;
mod read;
mod write;

pub use npy::{encode_npy, read_npy, write_npy};
pub(super) use read::read_file;
pub use read::{Pages, Rows};
pub use write::{Format, check_place, check_target, write_atomic};
