//! Constants picked, placed, sorted and summed by position.

use super::around;
use crate::error::{Error, Result};
use crate::import::onnx::array::{Array, Kind, extents, room};
use crate::import::onnx::node::{Reader, axes, axis, extent};
use crate::import::onnx::view::product;
use std::cmp::Ordering;

/// Elements at these places along an axis, which becomes the axes of `indices`.
pub(super) fn gather(x: &Array, indices: &Array, axis: usize) -> Result<Array> {
    let [before, along, behind] = around(&x.dims, axis);
    let dims = [&x.dims[..axis], &indices.dims, &x.dims[axis + 1..]].concat();
    room(&dims, x.len())?;
    let places = along_axis(indices, along)?;
    let starts = (0..before).flat_map(|i| places.iter().map(move |&place| (i * along + place) * behind));
    x.picked(dims, starts.flat_map(|start| start..start + behind))
}

/// Indices into an axis. Negative ones count from the end.
pub(in crate::import::onnx) fn along_axis(indices: &Array, extent: usize) -> Result<Vec<usize>> {
    indices.ints().into_iter().map(|i| axis(i, extent)).collect()
}

/// What `GatherND` and `ScatterND` address: of the first axes, `joined` of them as one, these places.
pub(in crate::import::onnx) struct Tuples {
    pub(in crate::import::onnx) joined: usize,
    pub(in crate::import::onnx) places: Vec<usize>,
}

/// The places for tuples of indices in the last axis of `indices`, after as many axes of pictures as `batch` says.
pub(in crate::import::onnx) fn tuples(dims: &[usize], indices: &Array, batch: usize) -> Result<Tuples> {
    let wrong = || {
        let expected = format!("tuples of indices into {dims:?} after {batch} axes of its own");
        Error::shape("indices", expected, format!("{:?}", indices.dims))
    };
    let (&each, own) = indices.dims.split_last().ok_or_else(wrong)?;
    let joined = batch.saturating_add(each);
    if each == 0 || joined > dims.len() || own.len() < batch || own[..batch] != dims[..batch] {
        return Err(wrong());
    }
    let addressed = &dims[batch..joined];
    let of_one = indices.len() / each / product(&own[..batch]).max(1);
    let numbers = indices.ints();
    let place = |(i, tuple): (usize, &[i64])| {
        let start = i / of_one.max(1);
        tuple.iter().zip(addressed).try_fold(start, |at, (&index, &d)| Ok(at * d + axis(index, d)?))
    };
    Ok(Tuples { joined, places: numbers.chunks(each).enumerate().map(place).collect::<Result<_>>()? })
}

pub(super) fn gather_nd(x: &Array, indices: &Array, batch: usize) -> Result<Array> {
    let Tuples { joined, places } = tuples(&x.dims, indices, batch)?;
    let behind = product(&x.dims[joined..]);
    let dims = [&indices.dims[..indices.dims.len() - 1], &x.dims[joined..]].concat();
    room(&dims, x.len())?;
    x.picked(dims, places.into_iter().flat_map(|place| place * behind..(place + 1) * behind))
}

/// For each of `indices`, the element of a tensor of extents `dims` at its own place, but for one axis at the index.
pub(in crate::import::onnx) fn elements(dims: &[usize], indices: &Array, along: usize) -> Result<Vec<usize>> {
    let own = &indices.dims;
    if own.len() != dims.len() || (0..dims.len()).any(|a| a != along && own[a] > dims[a]) {
        return Err(Error::shape("indices", format!("extents within {dims:?}"), format!("{own:?}")));
    }
    let places = along_axis(indices, dims[along])?;
    let flat = |(mut i, place): (usize, usize)| {
        let (mut at, mut stride) = (0, 1);
        for a in (0..dims.len()).rev() {
            at += stride * if a == along { place } else { i % own[a] };
            i /= own[a].max(1);
            stride *= dims[a];
        }
        at
    };
    Ok(places.into_iter().enumerate().map(flat).collect())
}

pub(super) fn gather_elements(x: &Array, indices: &Array, along: usize) -> Result<Array> {
    x.picked(indices.dims.clone(), elements(&x.dims, indices, along)?.into_iter())
}

/// `ScatterND` and `ScatterElements`: `x` with other numbers at some places.
pub(super) fn scatter(reader: &Reader<'_>, x: &Array, indices: &Array, updates: &Array) -> Result<Array> {
    let (places, behind) = match reader.op() {
        "ScatterND" => {
            let Tuples { joined, places } = tuples(&x.dims, indices, 0)?;
            (places, product(&x.dims[joined..]))
        }
        _ => (elements(&x.dims, indices, axis(reader.int("axis", 0), x.dims.len())?)?, 1),
    };
    let new = updates.numbers();
    if new.len() != places.len().saturating_mul(behind) {
        let expected = format!("{} numbers", places.len().saturating_mul(behind));
        return Err(Error::shape("updates", expected, new.len()));
    }
    let f: fn(f64, f64) -> f64 = match reader.text("reduction", "none").as_str() {
        "none" => |_, new| new,
        "add" => |old, new| old + new,
        "mul" => |old, new| old * new,
        "max" => f64::max,
        "min" => f64::min,
        other => return Err(Error::shape("attribute reduction", "none, add, mul, max or min", other)),
    };
    let mut numbers = x.numbers().into_owned();
    for (i, &new) in new.iter().enumerate() {
        let at = places[i / behind] * behind + i % behind;
        numbers[at] = f(numbers[at], new);
    }
    Array::new(x.dims.clone(), x.kind, numbers)
}

pub(super) fn one_hot(reader: &Reader<'_>, indices: &Array, depth: &Array, values: &Array) -> Result<Array> {
    let depth = extent(depth.ints().first().copied().unwrap_or(0))?;
    let at = axis(reader.int("axis", -1), indices.dims.len() + 1)?;
    let &[off, on] = &values.numbers()[..] else {
        return Err(Error::shape("values", "2 numbers", values.len()));
    };
    let mut dims = indices.dims.clone();
    dims.insert(at, depth);
    room(&dims, 0)?;
    let behind = product(&indices.dims[at..]).max(1);
    let numbers = indices.ints();
    let wanted = |i: usize| {
        let index = numbers[i / (depth * behind) * behind + i % behind];
        if index < 0 { index.saturating_add(depth as i64) } else { index }
    };
    let hot = |i: usize| if wanted(i) == (i / behind % depth) as i64 { on } else { off };
    Array::new(dims, values.kind, (0..numbers.len() * depth).map(hot).collect())
}

/// The indices of all elements other than 0, those of each axis in a row.
pub(super) fn non_zero(x: &Array) -> Result<Array> {
    let places: Vec<usize> =
        x.numbers().iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect();
    let rank = x.dims.len();
    room(&[rank, places.len()], x.len())?;
    let row = |a: usize| {
        let behind = product(&x.dims[a + 1..]);
        places.iter().map(move |&i| (i / behind % x.dims[a]) as f64)
    };
    Array::new(vec![rank, places.len()], Kind::Integer, (0..rank).flat_map(row).collect())
}

/// Applies a function to each line along an axis; it may return another number of elements.
fn lines(
    x: &Array,
    along: usize,
    kind: Kind,
    extent: usize,
    f: impl Fn(&[f64]) -> Vec<f64>,
) -> Result<Array> {
    let [before, own, behind] = around(&x.dims, along);
    let mut dims = x.dims.clone();
    dims[along] = extent;
    room(&dims, x.len())?;
    let numbers = x.numbers();
    let mut out = vec![0.0; extents(&dims)?];
    for (i, j) in (0..before).flat_map(|i| (0..behind).map(move |j| (i, j))) {
        let line: Vec<f64> = (0..own).map(|k| numbers[(i * own + k) * behind + j]).collect();
        for (k, v) in f(&line).into_iter().take(extent).enumerate() {
            out[(i * extent + k) * behind + j] = v;
        }
    }
    Array::new(dims, kind, out)
}

/// The indices of a line from the largest element to the smallest, or the other way round; of equal ones, the first
/// comes first.
fn ranked(line: &[f64], largest: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..line.len()).collect();
    let by = |&a: &usize, &b: &usize| line[a].partial_cmp(&line[b]).unwrap_or(Ordering::Equal);
    order.sort_by(|a, b| if largest { by(b, a) } else { by(a, b) });
    order
}

pub(super) fn top_k(reader: &Reader<'_>, x: &Array, count: Option<&Array>) -> Result<Vec<Array>> {
    let along = axis(reader.int("axis", -1), x.dims.len())?;
    let count = count.and_then(|k| k.ints().first().copied()).unwrap_or_else(|| reader.int("k", 1));
    let count = extent(count)?;
    if count > x.dims[along] {
        return Err(Error::shape("k", format!("at most {}", x.dims[along]), count));
    }
    let largest = reader.int("largest", 1) != 0;
    let values =
        lines(x, along, x.kind, count, |line| ranked(line, largest).iter().map(|&i| line[i]).collect())?;
    let places = |line: &[f64]| ranked(line, largest).iter().map(|&i| i as f64).collect();
    Ok(vec![values, lines(x, along, Kind::Integer, count, places)?])
}

/// `ArgMax` and `ArgMin`.
pub(super) fn extreme(reader: &Reader<'_>, x: &Array) -> Result<Array> {
    let along = axis(reader.int("axis", 0), x.dims.len())?;
    let (largest, last) = (reader.op() == "ArgMax", reader.int("select_last_index", 0) != 0);
    if x.dims[along] == 0 {
        return Err(Error::shape("operand 0", "at least one element", "none"));
    }
    let place = |line: &[f64]| {
        let best = ranked(line, largest)[0];
        let equal = || (0..line.len()).rfind(|&i| line[i] == line[best]);
        vec![if last { equal().unwrap_or(best) } else { best } as f64]
    };
    let mut places = lines(x, along, Kind::Integer, 1, place)?;
    if reader.int("keepdims", 1) == 0 {
        places.dims.remove(along);
    }
    Ok(places)
}

pub(super) fn cum_sum(reader: &Reader<'_>, x: &Array, along: &Array) -> Result<Array> {
    let along = axis(along.ints().first().copied().unwrap_or(0), x.dims.len())?;
    let (exclusive, reverse) = (reader.int("exclusive", 0) != 0, reader.int("reverse", 0) != 0);
    lines(x, along, x.kind, x.dims[along], |line| {
        let mut line = line.to_vec();
        if reverse {
            line.reverse();
        }
        let mut sum = 0.0;
        for v in &mut line {
            let with = sum + *v;
            *v = if exclusive { sum } else { with };
            sum = with;
        }
        if reverse {
            line.reverse();
        }
        line
    })
}

/// The upper or lower triangle of the last two axes, the rest 0.
pub(super) fn triangle(reader: &Reader<'_>, x: &Array, shift: Option<&Array>) -> Result<Array> {
    let &[.., rows, columns] = &x.dims[..] else {
        return Err(Error::shape("operand 0", "at least 2 axes", format!("{:?}", x.dims)));
    };
    let shift = shift.and_then(|k| k.ints().first().copied()).unwrap_or(0);
    let upper = reader.int("upper", 1) != 0;
    let kept = |i: usize| {
        let beyond = (i % columns) as i64 - (i / columns % rows) as i64;
        if upper { beyond >= shift } else { beyond <= shift }
    };
    let numbers = x.numbers();
    let numbers = numbers.iter().enumerate().map(|(i, &v)| if kept(i) { v } else { 0.0 });
    Array::new(x.dims.clone(), x.kind, numbers.collect())
}

pub(super) fn pad(reader: &Reader<'_>, operands: &[Option<Array>]) -> Result<Array> {
    let operand = |i: usize| operands.get(i).and_then(Option::as_ref);
    let x = operand(0).ok_or_else(|| Error::Model("operand 0 is missing".into()))?;
    let rank = x.dims.len();
    let attribute = || reader.ints("pads").or_else(|| reader.ints("paddings")).unwrap_or_default();
    let amounts = operand(1).map_or_else(attribute, Array::ints);
    let axes = match operand(3) {
        Some(list) => axes(list.ints(), rank)?,
        None => (0..rank).collect(),
    };
    if amounts.len() != 2 * axes.len() {
        return Err(Error::shape("pads", format!("{} numbers", 2 * axes.len()), amounts.len()));
    }
    let value = operand(2).and_then(|v| v.numbers().first().copied());
    let value = value.unwrap_or_else(|| f64::from(reader.float("value", 0.0)));
    let mode = reader.text("mode", "constant");
    let (mut first, mut dims) = (vec![0; rank], x.dims.clone());
    for (i, &a) in axes.iter().enumerate() {
        first[a] = amounts[i];
        let long = (x.dims[a] as i64).saturating_add(amounts[i]).saturating_add(amounts[axes.len() + i]);
        dims[a] = extent(long)?;
    }
    room(&dims, x.len())?;
    // The element of an axis that stands at a place of the padded one; `None` for the value.
    let source = |a: usize, place: usize| -> Result<Option<usize>> {
        let (at, own) = (place as i64 - first[a], x.dims[a] as i64);
        let at = match mode.as_str() {
            _ if (0..own).contains(&at) => at,
            "constant" => return Ok(None),
            _ if own == 0 => return Err(Error::shape("operand 0", "at least one element", "none")),
            "edge" => at.clamp(0, own - 1),
            "wrap" => at.rem_euclid(own),
            "reflect" if own == 1 => 0,
            "reflect" => {
                let folded = at.rem_euclid(2 * (own - 1));
                folded.min(2 * (own - 1) - folded)
            }
            other => return Err(Error::shape("attribute mode", "constant, edge, reflect or wrap", other)),
        };
        Ok(Some(at as usize))
    };
    let sources = (0..rank).map(|a| (0..dims[a]).map(|place| source(a, place)).collect::<Result<Vec<_>>>());
    let sources = sources.collect::<Result<Vec<_>>>()?;
    let numbers = x.numbers();
    let at = |mut i: usize| {
        let (mut at, mut stride) = (0, 1);
        for a in (0..rank).rev() {
            at += sources[a][i % dims[a]]? * stride;
            i /= dims[a];
            stride *= x.dims[a];
        }
        Some(numbers[at])
    };
    let count = extents(&dims)?;
    Array::new(dims.clone(), x.kind, (0..count).map(|i| at(i).unwrap_or(value)).collect())
}
