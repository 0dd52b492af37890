//! Pictures to tensors and back: reading, the recipe's arithmetic, masks with colours, and safe writing.
//!
//! Values are f32 in units of 8-bit steps, 0 to 255, whatever the file held: 16-bit and float pictures keep
//! their finer steps on the way in, and 16-bit ones on the way out.

mod decode;
mod mask;
mod npy;
mod picture;
mod prepare;
mod read;
mod resample;
#[cfg(feature = "cpu")]
mod test_pair;
mod write;

pub use decode::{Decoded, Score};
pub use mask::Mask;
pub use npy::{encode_npy, read_npy, write_npy};
pub use picture::{Picture, side_by_side};
pub use prepare::Prepared;
pub use write::{Format, check_place, check_target, write_atomic};
