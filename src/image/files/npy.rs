//! NumPy's `.npy` files: numbers of up to 64 bits in C order to tensors, and tensors to float32.
//!
//! Specification: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use super::read::read_file;
use super::write_atomic;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads an array of 2 (height, width), 3 (channels, height, width) or 4 (NCHW) axes.
///
/// # Errors
/// When the file cannot be read, or holds anything except little-endian numbers in C order of such a shape: float32,
/// float16, float64, bool, or integers of 8, 16 or 32 bits or signed ones of 64, which become f32.
pub fn read_npy(path: &Path) -> Result<Tensor> {
    let bytes = read_file(path)?;
    parse(&bytes).map_err(|message| Error::Picture { path: path.to_owned(), message })
}

/// Reads an array of any number of axes: its extents and its numbers.
///
/// # Errors
/// As [`read_npy`].
pub fn read_npy_array(path: &Path) -> Result<(Vec<usize>, Vec<f64>)> {
    let bytes = read_file(path)?;
    let read = || {
        let (axes, numbers, data) = array(&bytes)?;
        check_length(&axes, &numbers, data)?;
        Ok((axes, (numbers.f64)(data)))
    };
    read().map_err(|message| Error::Picture { path: path.to_owned(), message })
}

/// Writes a tensor as a float32 array of 4 axes, NCHW.
pub fn write_npy(path: &Path, tensor: &Tensor) -> Result<()> {
    write_atomic(path, &encode_npy(tensor))
}

/// The bytes of a `.npy` file, format version 1.0.
pub fn encode_npy(tensor: &Tensor) -> Vec<u8> {
    let Shape { n, c, h, w } = tensor.shape();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {c}, {h}, {w}), }}");
    // The data must start at a multiple of 64. The header ends with a line break.
    let used = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(used.next_multiple_of(64) - used));
    header.push('\n');
    let mut bytes = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    bytes.extend(tensor.data().iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// Parses the bytes of a `.npy` file of a tensor. Allocates no more than the bytes hold.
fn parse(bytes: &[u8]) -> Result<Tensor, String> {
    let (axes, numbers, data) = array(bytes)?;
    let shape = match axes[..] {
        [h, w] => Shape::new(1, 1, h, w),
        [c, h, w] => Shape::new(1, c, h, w),
        [n, c, h, w] => Shape::new(n, c, h, w),
        _ => return Err(format!("the array has {} axes, expected (n,c,h,w), (c,h,w) or (h,w)", axes.len())),
    };
    shape.check("the array").map_err(|e| e.to_string())?;
    check_length(&axes, &numbers, data)?;
    Tensor::new(shape, (numbers.f32)(data)).map_err(|e| e.to_string())
}

/// The extents, the type and the data of a `.npy` file. The length of the data is not checked.
fn array(bytes: &[u8]) -> Result<(Vec<usize>, Numbers, &[u8]), String> {
    let cut = || "the .npy file is cut off (copy it again)".to_string();
    let rest = bytes.strip_prefix(MAGIC).ok_or("not a .npy file; write one with numpy.save")?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(n, rest)| (u32::from(u16::from_le_bytes(*n)), rest)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(n, rest)| (u32::from_le_bytes(*n), rest)),
        other => return Err(format!("a .npy file of version {other}; versions 1 to 3 can be read")),
    }
    .ok_or_else(cut)?;
    let (header, data) = rest.split_at_checked(length as usize).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| "the .npy header is not text".to_string())?;

    let field = |name: &str| {
        let after = header.split_once(&format!("'{name}'")).map(|(_, after)| after.trim_start());
        let value = after.and_then(|after| after.strip_prefix(':')).map(str::trim_start);
        value.ok_or_else(|| format!("the .npy header has no {name}"))
    };
    let descr = field("descr")?.split('\'').nth(1).unwrap_or("something else");
    let numbers = numbers(descr).ok_or_else(|| {
        format!("the array's numbers are {descr}, expected <f4 or another plain type; convert with a.astype('<f4')")
    })?;
    if !field("fortran_order")?.starts_with("False") {
        return Err("the array is in Fortran order; convert with numpy.ascontiguousarray".into());
    }
    let inside = field("shape")?.strip_prefix('(').and_then(|s| s.split_once(')')).map(|(inside, _)| inside);
    let axes = inside.ok_or("the .npy header's shape is not a tuple")?.split(',').map(str::trim);
    let axes: Result<Vec<usize>, _> = axes.filter(|axis| !axis.is_empty()).map(str::parse).collect();
    let axes = axes.map_err(|_| "the .npy header's shape is not made of numbers".to_string())?;
    Ok((axes, numbers, data))
}

/// Checks that the data is as long as the extents say.
fn check_length(axes: &[usize], numbers: &Numbers, data: &[u8]) -> Result<(), String> {
    let expected = axes.iter().copied().fold(numbers.bytes, usize::saturating_mul);
    if data.len() == expected {
        return Ok(());
    }
    let shape = axes.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    Err(format!("an array of {shape} numbers takes {expected} bytes, the file has {}", data.len()))
}

/// A type of numbers.
struct Numbers {
    /// Bytes of one.
    bytes: usize,
    /// Conversions from bytes.
    f32: fn(&[u8]) -> Vec<f32>,
    f64: fn(&[u8]) -> Vec<f64>,
}

/// How numbers of a type are read.
fn numbers(descr: &str) -> Option<Numbers> {
    macro_rules! read {
        ($kind:ty) => {
            read!($kind, f32::from)
        };
        ($kind:ty, $to_f32:expr) => {
            read!($kind, $to_f32, f64::from)
        };
        ($kind:ty, $to_f32:expr, $to_f64:expr) => {{
            const BYTES: usize = size_of::<$kind>();
            Numbers {
                bytes: BYTES,
                f32: |data| {
                    data.as_chunks::<BYTES>().0.iter().map(|&b| $to_f32(<$kind>::from_le_bytes(b))).collect()
                },
                f64: |data| {
                    data.as_chunks::<BYTES>().0.iter().map(|&b| $to_f64(<$kind>::from_le_bytes(b))).collect()
                },
            }
        }};
    }
    Some(match descr {
        "<f4" => read!(f32),
        "<f8" => read!(f64, |v| v as f32),
        "<f2" => read!(half::f16),
        "|u1" | "|b1" => read!(u8),
        "|i1" => read!(i8),
        "<u2" => read!(u16),
        "<i2" => read!(i16),
        "<u4" => read!(u32, |v| v as f32),
        "<i4" => read!(i32, |v| v as f32),
        "<i8" => read!(i64, |v| v as f32, |v| v as f64),
        _ => return None,
    })
}
