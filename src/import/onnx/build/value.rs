//! Constants and computed tensors: what the names of a file stand for.

use crate::graph::ValueId;
use crate::import::onnx::array::{Array, Kind};
use crate::import::onnx::view::View;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Constant(Array),
    Live(Live),
}

/// A computed tensor: a view, of any rank, of a value of the graph in its order NCHW.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Live {
    pub(crate) id: ValueId,
    pub(crate) view: View,
    /// The type of its elements, which are stored as floats: on whole numbers ONNX's arithmetic rounds, and truths are
    /// 0 and 1.
    pub(crate) kind: Kind,
}

impl Live {
    /// A tensor of floats.
    pub(crate) fn new(id: ValueId, view: View) -> Live {
        Live { id, view, kind: Kind::Float }
    }

    pub(crate) fn dims(&self) -> Vec<usize> {
        self.view.dims()
    }
}

impl Value {
    pub(crate) fn live(&self) -> Option<&Live> {
        match self {
            Value::Constant(_) => None,
            Value::Live(live) => Some(live),
        }
    }

    pub(crate) fn dims(&self) -> Vec<usize> {
        match self {
            Value::Constant(array) => array.dims.clone(),
            Value::Live(live) => live.dims(),
        }
    }

    pub(crate) fn view(&self) -> View {
        match self {
            Value::Constant(array) => View::whole(&array.dims),
            Value::Live(live) => live.view.clone(),
        }
    }
}
