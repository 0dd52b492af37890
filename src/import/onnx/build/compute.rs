//! Operators on constants that [`fold`](crate::import::onnx::fold) does not know, such as convolutions of weights.
//!
//! The operator becomes a graph of its own, by the same rules as any other, and the CPU runs it. What would take too
//! long stays in the network's graph, as does everything without the feature `cpu`. There, the device computes it at
//! each run, and only an operator that needs the numbers beforehand cannot do without them.

use super::{Builder, Value};
use crate::error::Result;
use crate::import::onnx::node::Reader;

#[cfg(not(feature = "cpu"))]
impl<'a> Builder<'a> {
    pub(super) fn now(&mut self, _: &Reader<'a>, _: &[Option<Value>]) -> Result<Option<Vec<Value>>> {
        Ok(None)
    }
}

#[cfg(feature = "cpu")]
impl<'a> Builder<'a> {
    /// The results of an operator on these constants; `None` if they take too long.
    pub(super) fn now(
        &mut self,
        reader: &Reader<'a>,
        operands: &[Option<Value>],
    ) -> Result<Option<Vec<Value>>> {
        use crate::import::onnx::array::{Array, Kind};
        use crate::tensor::{Shape, Tensor};

        let none = Shape::new(1, 1, 1, 1);
        let mut inner = Builder::limited(self.file, "no input", none, self.memory, self.work);
        let named = reader.node.input.iter().map(String::as_str).zip(operands);
        inner.values.extend(named.filter_map(|(name, value)| Some((name, value.clone()?))));
        let mut made = inner.results(reader)?;

        let names: Vec<String> = (0..made.len()).map(|i| i.to_string()).collect();
        let lives =
            names.iter().zip(&made).filter_map(|(name, value)| Some((name.as_str(), value.live()?.id)));
        let lives: Vec<_> = lives.collect();
        if lives.is_empty() {
            return Ok(Some(made));
        }
        inner.graph.set_outputs(&lives)?;
        inner.graph.prune();
        let shapes =
            |ids: &[crate::graph::ValueId]| ids.iter().map(|&id| inner.shape(id)).collect::<Vec<_>>();
        let flops =
            inner.graph.nodes().iter().map(|n| n.op.rules().flops(&shapes(&n.inputs), &shapes(&n.outputs)));
        let work = usize::try_from(flops.fold(0, u64::saturating_add)).ok();
        let memory = usize::try_from(crate::cpu::bytes(&inner.graph, &[none])?).ok();
        match (work.and_then(|work| self.work.checked_sub(work)), memory) {
            (Some(left), Some(memory)) if memory <= self.memory => self.work = left,
            _ => return Ok(None),
        }
        let mut tensors = crate::cpu::run_with(&inner.graph, &[&Tensor::zeros(none)])?.into_iter();
        for value in &mut made {
            if let Value::Live(live) = value {
                let tensor = tensors.next().expect("each computed value is an output");
                let array =
                    Array::of_floats(vec![tensor.data().len()], tensor.into_data())?.viewed(&live.view)?;
                *value =
                    Value::Constant(if live.kind == Kind::Float { array } else { array.cast(live.kind)? });
            }
        }
        Ok(Some(made))
    }
}
