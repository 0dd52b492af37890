//! Files of pictures, masks and arrays: reading, and writing that leaves no half file.

mod aside;
mod netpbm;
mod npy;
mod pages;
mod read;
mod rows;
mod tiff;
mod write;

pub(super) use aside::Aside;
pub use aside::{check_place, remove_leftovers, write_atomic};
pub use npy::{encode_npy, read_npy, write_npy};
pub use pages::PageWriter;
pub(super) use read::read_file;
pub use read::{Pages, Rows};
pub use rows::RowWriter;
pub use write::{Format, check_target};
pub(super) use write::{interleave, samples};
