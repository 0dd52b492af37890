//! Quantised constants and their values. All arithmetic is that of f32, as in ONNX Runtime.

use super::around;
use crate::error::{Error, Result};
use crate::import::onnx::array::{Array, Kind, Narrow};
use crate::import::onnx::node::{Reader, axis, extent};

/// `(x - zero) * scale`.
pub(in crate::import::onnx) fn dequantised(
    reader: &Reader<'_>,
    operands: [Option<&Array>; 3],
) -> Result<Array> {
    let [Some(x), Some(scale), zero] = operands else { return Err(missing()) };
    let (scales, zeros) = (scale.floats(), zero.map(Array::floats));
    let place = places(reader, &x.dims, scale, zero)?;
    let value = |(i, &q): (usize, &f32)| {
        let at = place(i);
        (q - zeros.as_ref().map_or(0.0, |zeros| zeros[at])) * scales[at]
    };
    Array::of_floats(x.dims.clone(), x.floats().iter().enumerate().map(value).collect())
}

/// `round(x / scale) + zero`, limited to the type.
pub(super) fn quantised(reader: &Reader<'_>, operands: [Option<&Array>; 3]) -> Result<Array> {
    let [Some(x), Some(scale), zero] = operands else { return Err(missing()) };
    let (scales, zeros) = (scale.floats(), zero.map(Array::floats));
    let place = places(reader, &x.dims, scale, zero)?;
    let narrow = result(reader, zero)?;
    let [least, most] = narrow.range();
    let value = |(i, &v): (usize, &f32)| {
        let at = place(i);
        ((v / scales[at]).round_ties_even() + zeros.as_ref().map_or(0.0, |zeros| zeros[at]))
            .clamp(least, most)
    };
    Array::of_narrow(x.dims.clone(), narrow, x.floats().iter().enumerate().map(value).collect())
}

fn missing() -> Error {
    Error::Model("an operand or its scale is missing".into())
}

/// The type that quantised numbers have: that of the zero point, or the named one, or unsigned bytes.
pub(in crate::import::onnx) fn result(reader: &Reader<'_>, zero: Option<&Array>) -> Result<Narrow> {
    let named = match reader.int("output_dtype", 0) {
        0 => Some(Kind::Narrow(Narrow::U8)),
        number => Kind::of(number),
    };
    match (zero.map(|zero| zero.kind), named) {
        (Some(Kind::Narrow(narrow)), _) | (_, Some(Kind::Narrow(narrow))) => Ok(narrow),
        _ => Err(reader.unsupported("it quantises to something other than 2 to 16 bits")),
    }
}

/// For each element, the place of its scale: one for all, one for each place of an axis, or one for each block of it.
fn places(
    reader: &Reader<'_>,
    dims: &[usize],
    scale: &Array,
    zero: Option<&Array>,
) -> Result<impl Fn(usize) -> usize + use<>> {
    if zero.is_some_and(|zero| zero.len() != scale.len()) {
        return Err(Error::shape(
            "zero point",
            format!("{} numbers", scale.len()),
            zero.map_or(0, Array::len),
        ));
    }
    let block = extent(reader.int("block_size", 0))?;
    let ([_, along, behind], blocks) = match scale.len() {
        1 => ([1, 1, usize::MAX], 0),
        count => {
            let parts = around(dims, axis(reader.int("axis", 1), dims.len())?);
            let blocks = if block == 0 { 0 } else { parts[1].div_ceil(block) };
            let expected = if block == 0 { parts[1] } else { parts[0] * blocks * parts[2] };
            if count != expected {
                return Err(Error::shape("scale", format!("{expected} numbers"), count));
            }
            (parts, blocks)
        }
    };
    Ok(move |i: usize| match (i / behind % along, blocks) {
        (place, 0) => place,
        (place, _) => (i / behind / along * blocks + place / block) * behind + i % behind,
    })
}
