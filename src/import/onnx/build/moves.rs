//! Operators that only move elements: views of their operands.

use super::{Builder, Value};
use crate::error::{Error, Result};
use crate::import::onnx::array::Kind;
use crate::import::onnx::node::{Reader, axes, axis, extent};
use crate::import::onnx::view::{any_shape, broadcast, product};

/// What a node says of a move: lists that are operands in newer opsets and attributes in older ones.
struct Settings<'s, 'a> {
    reader: &'s Reader<'a>,
    operands: &'s [Option<Value>],
}

impl Settings<'_, '_> {
    fn constant(&self, i: usize) -> Result<Option<Vec<i64>>> {
        match self.operands.get(i) {
            None | Some(None) => Ok(None),
            Some(Some(Value::Constant(array))) => Ok(Some(array.ints())),
            Some(Some(Value::Live(_))) => {
                Err(self.reader.unsupported(&format!("operand {i} depends on the picture's content")))
            }
        }
    }

    fn list(&self, i: usize, attribute: &str) -> Result<Option<Vec<i64>>> {
        Ok(self.constant(i)?.or_else(|| self.reader.ints(attribute)))
    }

    fn needed(&self, i: usize, attribute: &str) -> Result<Vec<i64>> {
        self.list(i, attribute)?.ok_or_else(|| Error::Model(format!("has no {attribute}")))
    }

    /// A list of operand `i` alone, of numbers that are not negative.
    fn sizes(&self, i: usize, name: &str) -> Result<Vec<usize>> {
        let list = self.constant(i)?.ok_or_else(|| Error::Model(format!("has no {name}")))?;
        list.into_iter().map(extent).collect()
    }
}

impl<'a> Builder<'a> {
    /// The results of an operator that only moves elements; `None` for any other operator.
    pub(super) fn moved(
        &mut self,
        reader: &Reader<'a>,
        operands: &[Option<Value>],
    ) -> Result<Option<Vec<Value>>> {
        let Some(Some(value)) = operands.first() else { return Ok(None) };
        let settings = Settings { reader, operands };
        Ok(Some(vec![match reader.op() {
            // A network that runs is not in training, so nothing drops out.
            "Identity" | "Dropout" => value.clone(),
            "Cast" | "CastLike" => self.cast(&settings, value)?,
            "Reshape" => self.reshape(&settings, value)?,
            "Flatten" | "Squeeze" | "Unsqueeze" => {
                self.reshaped(value, &extents(&settings, value.dims())?)?
            }
            "Transpose" => {
                let rank = value.dims().len();
                let order = match reader.ints("perm") {
                    Some(order) => axes(order, rank)?,
                    None => (0..rank).rev().collect(),
                };
                self.seen(value, value.view().permuted(&order)?)?
            }
            "Expand" => {
                let dims = broadcast(&[&value.dims(), &settings.sizes(1, "shape")?])?;
                self.seen(value, value.view().expanded(&dims)?)?
            }
            "Tile" => self.tile(&settings, value)?,
            "Slice" => self.slice(&settings, value)?,
            "Split" => return self.split_operator(&settings, value).map(Some),
            "Gather" | "GatherND" | "GatherElements" if matches!(value, Value::Live(_)) => {
                self.gather(reader, value, operands.get(1).and_then(Option::as_ref))?
            }
            "DepthToSpace" | "SpaceToDepth" => self.blocks(reader, value)?,
            _ => return Ok(None),
        }]))
    }

    /// A value with the extents that a node asks for, or those for which its numbers stand at this size.
    fn reshape(&mut self, settings: &Settings<'_, 'a>, value: &Value) -> Result<Value> {
        let stated = extents(settings, value.dims());
        let (Value::Live(live), Some(name)) = (value, settings.reader.node.output.first()) else {
            return self.reshaped(value, &stated?);
        };
        let wanted = settings.needed(1, "shape")?;
        let elements = live.view.elements();
        let of = [self.shape(live.id), any_shape(&live.dims())?];
        let read = self.exported.and_then(|exported| exported.reshape(name, &wanted, of));
        let read = read.filter(|(dims, _)| product(dims) == elements);
        let fits = stated.as_ref().is_ok_and(|dims| product(dims) == elements);
        let dims = match read {
            Some((dims, sure)) if sure || !fits => dims,
            _ => stated?,
        };
        let made = self.reshaped(value, &dims)?;
        if let (None, Value::Live(made)) = (self.exported, &made) {
            let of = (self.shape(made.id), made.id != live.id);
            self.traced.note_reshape(name, &wanted, of, made.view.axes());
        }
        Ok(made)
    }

    /// A value as another type.
    fn cast(&mut self, settings: &Settings<'_, 'a>, value: &Value) -> Result<Value> {
        let reader = settings.reader;
        let like = settings.operands.get(1).and_then(Option::as_ref);
        let kind = match (reader.op(), like) {
            ("CastLike", Some(Value::Live(live))) => Some(live.kind),
            ("CastLike", Some(Value::Constant(array))) => Some(array.kind),
            _ => Kind::of(reader.int("to", 1)),
        };
        let kind = kind.ok_or_else(|| reader.unsupported("it casts to something other than numbers"))?;
        Ok(match value {
            Value::Constant(array) => Value::Constant(array.cast(kind)?),
            Value::Live(live) => Value::Live(self.converted(reader.name(), live, kind)?),
        })
    }

    fn tile(&mut self, settings: &Settings<'_, 'a>, value: &Value) -> Result<Value> {
        let (dims, repeats) = (value.dims(), settings.sizes(1, "repeats")?);
        let rank = dims.len();
        if repeats.len() != rank {
            return Err(Error::shape("repeats", format!("{rank} numbers"), repeats.len()));
        }
        let pairs = |one: bool| {
            (0..rank).flat_map(|a| [if one { 1 } else { repeats[a] }, dims[a]]).collect::<Vec<_>>()
        };
        let split = self.reshaped(value, &pairs(true))?;
        let tiled: Vec<usize> = (0..rank).map(|a| dims[a].saturating_mul(repeats[a])).collect();
        let value = self.seen(&split, split.view().expanded(&pairs(false))?)?;
        self.reshaped(&value, &tiled)
    }

    fn slice(&mut self, settings: &Settings<'_, 'a>, value: &Value) -> Result<Value> {
        let dims = value.dims();
        let starts = settings.needed(1, "starts")?;
        let ends = settings.needed(2, "ends")?;
        let along = match settings.list(3, "axes")? {
            Some(list) => axes(list, dims.len())?,
            None => (0..dims.len().min(starts.len())).collect(),
        };
        let steps = settings.constant(4)?.unwrap_or_else(|| vec![1; along.len()]);
        if [starts.len(), ends.len(), steps.len()] != [along.len(); 3] {
            let expected = "as many starts, ends, axes and steps";
            return Err(Error::shape("slice", expected, format!("{along:?}")));
        }
        let mut value = value.clone();
        for (i, &axis) in along.iter().enumerate() {
            let (start, len) = part(dims[axis], starts[i], ends[i], steps[i])?;
            value = self.sliced(&value, axis, start, len, steps[i] as isize)?;
        }
        Ok(value)
    }

    fn split_operator(&mut self, settings: &Settings<'_, 'a>, value: &Value) -> Result<Vec<Value>> {
        let (reader, dims) = (settings.reader, value.dims());
        let along = axis(reader.int("axis", 0), dims.len())?;
        let outputs = reader.node.output.len().max(1);
        if reader.int("num_outputs", outputs as i64) != outputs as i64 {
            return Err(Error::shape("attribute num_outputs", outputs, reader.int("num_outputs", 0)));
        }
        let sizes = match settings.list(1, "split")? {
            Some(sizes) => sizes.into_iter().map(extent).collect::<Result<Vec<_>>>()?,
            None => parts_of(dims[along], dims[along].div_ceil(outputs)),
        };
        self.split(value, along, &sizes)
    }

    fn blocks(&mut self, reader: &Reader<'a>, value: &Value) -> Result<Value> {
        let (dims, block) = (value.dims(), extent(reader.int("blocksize", 0))?);
        let &[n, c, h, w] = &dims[..] else {
            return Err(Error::shape("operand 0", "4 axes", format!("{dims:?}")));
        };
        let area = block.saturating_mul(block);
        if block == 0 {
            return Err(Error::shape("attribute blocksize", "at least 1", block));
        }
        let (split, order, end) = match (reader.op(), reader.text("mode", "DCR").as_str()) {
            ("SpaceToDepth", mode) if h.is_multiple_of(block) && w.is_multiple_of(block) => (
                [n, c, h / block, block, w / block, block],
                if mode == "CRD" { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] },
                [n, c.saturating_mul(area), h / block, w / block],
            ),
            ("DepthToSpace", mode) if c.is_multiple_of(area) => {
                let end = [n, c / area, h.saturating_mul(block), w.saturating_mul(block)];
                match mode {
                    "CRD" => ([n, c / area, block, block, h, w], [0, 1, 4, 2, 5, 3], end),
                    _ => ([n, block, block, c / area, h, w], [0, 3, 4, 1, 5, 2], end),
                }
            }
            _ => {
                return Err(Error::shape(
                    reader.op(),
                    format!("extents that blocks of {block} fill"),
                    format!("{dims:?}"),
                ));
            }
        };
        let value = self.reshaped(value, &split)?;
        let view = value.view().permuted(&order)?;
        let value = self.seen(&value, view)?;
        self.reshaped(&value, &end)
    }

    pub(crate) fn split(&mut self, value: &Value, along: usize, sizes: &[usize]) -> Result<Vec<Value>> {
        let extent = value.dims()[along];
        if sizes.iter().fold(0, |n: usize, &s| n.saturating_add(s)) != extent {
            return Err(Error::shape("split", format!("a sum of {extent}"), format!("{sizes:?}")));
        }
        let mut start = 0;
        let mut parts = Vec::new();
        for &size in sizes {
            parts.push(self.sliced(value, along, start, size, 1)?);
            start += size;
        }
        Ok(parts)
    }
}

/// The extents that a node gives to a value of these.
fn extents(settings: &Settings<'_, '_>, mut dims: Vec<usize>) -> Result<Vec<usize>> {
    let (reader, rank) = (settings.reader, dims.len());
    match reader.op() {
        "Reshape" => {
            let wanted = settings.needed(1, "shape")?;
            reshape(&dims, &wanted, reader.int("allowzero", 0) != 0)
        }
        "Flatten" => {
            let at = reader.int("axis", 1);
            let at = if at == rank as i64 { rank } else { axis(at, rank.max(1))?.min(rank) };
            Ok(vec![dims[..at].iter().product(), dims[at..].iter().product()])
        }
        "Squeeze" => {
            let dropped = match settings.list(1, "axes")? {
                Some(list) => axes(list, rank)?,
                None => (0..rank).filter(|&a| dims[a] == 1).collect(),
            };
            if let Some(&a) = dropped.iter().find(|&&a| dims[a] != 1) {
                let expected = format!("an extent of 1 at axis {a}");
                return Err(Error::shape("squeeze", expected, format!("{dims:?}")));
            }
            Ok((0..rank).filter(|a| !dropped.contains(a)).map(|a| dims[a]).collect())
        }
        _ => {
            let list = settings.needed(1, "axes")?;
            let total = rank + list.len();
            let mut added = axes(list, total)?;
            added.sort_unstable();
            added.into_iter().for_each(|a| dims.insert(a, 1));
            Ok(dims)
        }
    }
}

/// Sizes of the parts of an axis cut every so many places.
pub(crate) fn parts_of(extent: usize, each: usize) -> Vec<usize> {
    (0..extent).step_by(each.max(1)).map(|start| each.min(extent - start)).collect()
}

/// Extents that a reshape asks for: 0 keeps one, -1 stands for what is left.
fn reshape(dims: &[usize], wanted: &[i64], zeros: bool) -> Result<Vec<usize>> {
    let impossible = || Error::shape("reshape", format!("extents for {dims:?}"), format!("{wanted:?}"));
    let mut out = Vec::with_capacity(wanted.len());
    for (i, &extent) in wanted.iter().enumerate() {
        out.push(match extent {
            0 if !zeros => *dims.get(i).ok_or_else(impossible)?,
            -1 => 1,
            n => usize::try_from(n).map_err(|_| impossible())?,
        });
    }
    if let Some(rest) = wanted.iter().position(|&d| d == -1) {
        let others = product(&out);
        let elements: usize = dims.iter().product();
        if others == 0 || !elements.is_multiple_of(others) || wanted[rest + 1..].contains(&-1) {
            return Err(impossible());
        }
        out[rest] = elements / others;
    }
    Ok(out)
}

/// First place and number of places of a slice, as NumPy clamps them.
fn part(extent: usize, start: i64, end: i64, step: i64) -> Result<(usize, usize)> {
    let extent = extent as i64;
    let from_front = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
    let (low, high) = if step < 0 { (-1, extent - 1) } else { (0, extent) };
    let (start, end) = (from_front(start).clamp(low, high), from_front(end).clamp(low, high));
    match step {
        0 => Err(Error::shape("slice", "a step other than 0", 0)),
        _ => {
            let span = if step > 0 { end - start } else { start - end };
            let len = if span > 0 { (span - 1) / step.saturating_abs() + 1 } else { 0 };
            Ok((start.max(0) as usize, len as usize))
        }
    }
}
