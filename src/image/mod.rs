//! Pictures to tensors and back: picture files, the recipe's arithmetic, masks with colours, and safe writing.
//!
//! Values are f32 for every file, so 16-bit and float pictures keep their precision in both directions. Networks get
//! values in units of 8-bit steps, 0 to 255.

mod backdrop;
mod bands;
mod decode;
mod files;
mod georeference;
mod hole;
mod mask;
mod picture;
mod pipeline;
mod prepare;
mod resample;
mod similarity;
#[cfg(feature = "cpu")]
mod test_pair;
mod video;

pub use backdrop::Backdrop;
pub use decode::{Decoded, Score};
#[cfg(test)]
pub(crate) use files::refused as refused_pictures;
pub use files::{
    Format, PageWriter, Pages, RowWriter, Rows, check_writable, encode_npy, read_npy, read_npy_array,
    remove_temporary_files, write_atomic, write_npy,
};
pub use georeference::Georeference;
pub use hole::Hole;
pub use mask::{
    ClassScore, ClassStatistics, Component, Components, Mask, Palette, Reference, Scores, Statistics, cutout,
    foreground, opacity, probabilities,
};
pub use picture::{Depth, Picture, side_by_side};
pub use pipeline::*;
pub use prepare::Prepared;
use similarity::psnr_within;
pub use similarity::{Similarity, similarity};
pub use video::{FrameReader, FrameWriter, Stream, StreamFormat};
