//! Views: values whose elements are looked at in another order, and moved only where no view can say it.

use super::{Builder, Live, Value};
use crate::error::{Error, Result};
use crate::graph::{Rearrange, ValueId};
use crate::import::onnx::array::{self, Array};
use crate::import::onnx::view::{View, any_shape, product};
use crate::tensor::Shape;

impl Builder<'_> {
    /// A value seen through another view of the same elements.
    pub(crate) fn seen(&mut self, value: &Value, view: View) -> Result<Value> {
        array::extents(&view.dims())?;
        Ok(match value {
            Value::Live(live) if view.dims().contains(&0) => Value::Constant(nothing(live, view.dims())?),
            Value::Constant(array) => Value::Constant(array.viewed(&view)?),
            Value::Live(live) => {
                // An expanded view can be larger than anything that could be made of it.
                any_shape(&view.dims())?;
                Value::Live(Live { id: live.id, view, kind: live.kind })
            }
        })
    }

    pub(crate) fn reshaped(&mut self, value: &Value, dims: &[usize]) -> Result<Value> {
        if let Some(view) = value.view().reshaped(dims) {
            return self.seen(value, view);
        }
        let own = value.dims();
        if product(&own) != product(dims) {
            return Err(Error::shape("reshape", format!("as many elements as {own:?}"), format!("{dims:?}")));
        }
        let value = self.settled(value)?;
        let view = value.view().reshaped(dims).expect("elements in their own order take any extents");
        self.seen(&value, view)
    }

    /// A computed tensor with other extents.
    pub(crate) fn reshaped_live(&mut self, live: &Live, dims: &[usize]) -> Result<Live> {
        match self.reshaped(&Value::Live(live.clone()), dims)? {
            Value::Live(live) => Ok(live),
            Value::Constant(_) => Err(Error::shape("reshape", "at least one element", "none")),
        }
    }

    pub(crate) fn sliced(
        &mut self,
        value: &Value,
        axis: usize,
        start: usize,
        len: usize,
        step: isize,
    ) -> Result<Value> {
        if len == 0 {
            return match value {
                Value::Constant(array) => {
                    let mut dims = array.dims.clone();
                    dims[axis] = 0;
                    Ok(Value::Constant(Array::new(dims, array.kind, Vec::new())?))
                }
                Value::Live(live) => {
                    let mut dims = live.dims();
                    dims[axis] = 0;
                    Ok(Value::Constant(nothing(live, dims)?))
                }
            };
        }
        if let Some(view) = value.view().sliced(axis, start, len, step) {
            return self.seen(value, view);
        }
        let value = self.settled(value)?;
        let view = value.view().sliced(axis, start, len, step);
        let view = view.ok_or_else(|| Error::shape("slice", "fewer than 2^63 elements", "more"))?;
        self.seen(&value, view)
    }

    /// The same value with its elements moved to their own order.
    fn settled(&mut self, value: &Value) -> Result<Value> {
        let Value::Live(live) = value else { return Ok(value.clone()) };
        let dims = live.dims();
        let shape = any_shape(&dims)?;
        let id = self.placed(live, shape)?;
        Ok(Value::Live(Live { id, view: View::whole(&dims), kind: live.kind }))
    }

    /// The elements of a view in order, as a value of this shape.
    pub(crate) fn placed(&mut self, live: &Live, shape: Shape) -> Result<ValueId> {
        let input = self.shape(live.id);
        if input == shape && live.view.is_whole(input.elements()) {
            return Ok(live.id);
        }
        let mut digits = live.view.digits();
        if digits.is_empty() {
            digits.push((1, 0));
        }
        let op = Rearrange { input, output: shape, digits, offset: live.view.offset() };
        self.push("rearrange", op, &[live.id])
    }

    /// The value as an NCHW tensor of four extents; of fewer, ones in front.
    pub(crate) fn nchw(&mut self, live: &Live) -> Result<(ValueId, Shape)> {
        if live.view.rank() > 4 {
            return Err(Error::shape("operand", "at most 4 axes", format!("{:?}", live.dims())));
        }
        let shape = any_shape(&live.dims())?;
        Ok((self.placed(live, shape)?, shape))
    }
}

/// A tensor without elements, which is a constant, of the type of a computed one.
fn nothing(live: &Live, dims: Vec<usize>) -> Result<Array> {
    Array::new(dims, live.kind, Vec::new())
}
