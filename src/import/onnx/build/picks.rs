//! Places picked out of computed tensors: gathers by constant indices.

use super::{Builder, Live, Value};
use crate::error::Result;
use crate::import::onnx::array::Array;
use crate::import::onnx::fold::places;
use crate::import::onnx::node::{Reader, axis, extent};
use crate::import::onnx::view::{digits, product};
use crate::tensor::{Shape, Tensor};

/// Most slices that are joined. More places than that are picked by a product of matrices.
const SLICES: usize = 64;

/// Most numbers of such a matrix.
const MATRIX: usize = 1 << 22;

impl<'a> Builder<'a> {
    /// `Gather`, `GatherND` and `GatherElements` from a computed tensor.
    pub(super) fn gather(
        &mut self,
        reader: &Reader<'a>,
        value: &Value,
        indices: Option<&Value>,
    ) -> Result<Value> {
        let Some(Value::Constant(indices)) = indices else {
            return Err(reader.unsupported("its indices depend on the picture"));
        };
        let dims = value.dims();
        match reader.op() {
            "GatherND" => {
                let found = places::tuples(&dims, indices, extent(reader.int("batch_dims", 0))?)?;
                let behind = &dims[found.joined..];
                let value = self.reshaped(value, &[&[product(&dims[..found.joined])], behind].concat())?;
                let value = self.picked(reader, &value, 0, &found.places)?;
                self.reshaped(&value, &[&indices.dims[..indices.dims.len() - 1], behind].concat())
            }
            "GatherElements" => {
                let along = axis(reader.int("axis", 0), dims.len())?;
                let places = places::elements(&dims, indices, along)?;
                if let Some(places) = common(&dims, indices, along)? {
                    return self.picked(reader, value, along, &places);
                }
                let value = self.reshaped(value, &[product(&dims)])?;
                let value = self.picked(reader, &value, 0, &places)?;
                self.reshaped(&value, &indices.dims)
            }
            _ => {
                let along = axis(reader.int("axis", 0), dims.len())?;
                let places = places::along_axis(indices, dims[along])?;
                let value = self.picked(reader, value, along, &places)?;
                self.reshaped(&value, &[&dims[..along], &indices.dims, &dims[along + 1..]].concat())
            }
        }
    }

    /// `ScatterND` and `ScatterElements` at constant places: the updates are put behind the tensor, and all places are
    /// picked from both.
    pub(crate) fn scattered(&mut self, reader: &Reader<'a>) -> Result<Live> {
        reader.only_text("reduction", "none")?;
        let (value, updates) = (self.live(reader, 0)?, self.live(reader, 2)?);
        let (dims, indices) = (value.dims(), self.constant(reader, 1)?);
        let (joined, places) = match reader.op() {
            "ScatterND" => {
                let found = places::tuples(&dims, &indices, 0)?;
                (found.joined, found.places)
            }
            _ => {
                let along = axis(reader.int("axis", 0), dims.len())?;
                (dims.len(), places::elements(&dims, &indices, along)?)
            }
        };
        let (before, behind) = dims.split_at(joined);
        let count = product(before);
        let value = self.reshaped_live(&value, &[&[count], behind].concat())?;
        let updates = self.reshaped_live(&updates, &[&[places.len()], behind].concat())?;
        let mut order: Vec<usize> = (0..count).collect();
        places.iter().enumerate().for_each(|(i, &place)| order[place] = count + i);
        let all = self.concat_of(reader, &[Value::Live(value), Value::Live(updates)], 0)?;
        let picked = self.picked(reader, &Value::Live(all), 0, &order)?;
        let picked = self.as_live(&picked)?;
        self.reshaped_live(&picked, &dims)
    }

    /// These places of an axis, in this order.
    fn picked(
        &mut self,
        reader: &Reader<'a>,
        value: &Value,
        along: usize,
        places: &[usize],
    ) -> Result<Value> {
        let (Value::Live(live), Some(&first)) = (value, places.first()) else {
            return self.sliced(value, along, 0, 0, 1);
        };
        let regular = digits(places);
        if let Some(view) = regular.as_ref().and_then(|digits| live.view.picked(along, first, digits)) {
            return self.seen(value, view);
        }
        let runs = runs(places);
        if runs.len() <= SLICES {
            let part = |run: &(usize, usize, isize)| self.sliced(value, along, run.0, run.1, run.2);
            let parts = runs.iter().map(part).collect::<Result<Vec<_>>>()?;
            return self.concat_of(reader, &parts, along).map(Value::Live);
        }
        // Each row of the matrix has a single 1: the products are exact for finite numbers.
        let extent = live.dims()[along];
        if places.len().saturating_mul(extent) > MATRIX {
            let why = format!("it picks {} scattered places of {extent}", places.len());
            return Err(reader.unsupported(&why));
        }
        let hot = |i: usize| if places[i / extent] == i % extent { 1.0 } else { 0.0 };
        let matrix = Tensor::from_fn(Shape::new(places.len(), extent, 1, 1), hot);
        self.linear(reader.name(), live, matrix, None, along).map(Value::Live)
    }
}

/// The places of an axis, where those are the same for all places of the other axes.
fn common(dims: &[usize], indices: &Array, along: usize) -> Result<Option<Vec<usize>>> {
    if (0..dims.len()).any(|a| a != along && dims[a] != indices.dims[a]) || indices.len() == 0 {
        return Ok(None);
    }
    let behind = product(&dims[along + 1..]);
    let count = indices.dims[along];
    let all = places::along_axis(indices, dims[along])?;
    let first: Vec<usize> = (0..count).map(|k| all[k * behind]).collect();
    let same = all.iter().enumerate().all(|(i, &place)| place == first[i / behind % count]);
    Ok(same.then_some(first))
}

/// Places as runs: the first of each, their number, and the step.
fn runs(places: &[usize]) -> Vec<(usize, usize, isize)> {
    let mut runs: Vec<(usize, usize, isize)> = Vec::new();
    for &place in places {
        match runs.last_mut() {
            Some((first, len @ 1, step)) if place != *first => {
                (*len, *step) = (2, place as isize - *first as isize);
            }
            Some((first, len, step))
                if place as isize == *first as isize + *len as isize * *step && *step != 0 =>
            {
                *len += 1;
            }
            _ => runs.push((place, 1, 0)),
        }
    }
    runs
}
