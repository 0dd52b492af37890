//! Simple picture files: PGM and PPM with 8 or 16 bits, PFM with floats.
//!
//! Specifications: <https://netpbm.sourceforge.net/doc/pnm.html>, <https://www.pauldebevec.com/Research/HDR/PFM/>.

use super::layout::{interleave, samples};
use crate::image::files::Format;
use crate::image::{Depth, Picture};

/// PGM for grey, PPM for colours; rows from the top, big-endian.
pub(super) fn pnm(picture: &Picture) -> Vec<u8> {
    let depth = Format::Pnm.depth(picture.depth());
    let (magic, most) =
        (["P5", "P6"][usize::from(picture.channels() == 3)], if depth == Depth::Eight { 255 } else { 65535 });
    let header = format!("{magic}\n{} {}\n{most}\n", picture.width(), picture.height());
    [header.into_bytes(), samples(picture, depth)].concat()
}

/// PFM: rows from the bottom, little-endian, which a negative scale states.
pub(super) fn pfm(picture: &Picture) -> Vec<u8> {
    let magic = if picture.channels() == 3 { "PF" } else { "Pf" };
    let mut file = format!("{magic}\n{} {}\n-1.0\n", picture.width(), picture.height()).into_bytes();
    let rows = interleave(picture, 1.0, f32::to_le_bytes);
    for row in rows.rchunks_exact(picture.width() * picture.channels() * 4) {
        file.extend_from_slice(row);
    }
    file
}
