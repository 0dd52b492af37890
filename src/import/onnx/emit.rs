//! Networks of other formats as ONNX nodes, so that they take the same way to a graph.

use super::array::{Array, Kind};
use super::file::File;
use super::network::OnnxNetwork;
use super::proto;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::network::Choice;
use crate::recipe::Recipe;
use std::collections::HashMap;
use std::sync::Arc;

/// The version of the operators.
const OPSET: i64 = 17;

/// Means over a given number of windows, with the attribute `output_size`, where 0 leaves an axis as it is. ONNX has no
/// such operator; other formats have.
pub(in crate::import) const ADAPTIVE_POOL: &str = "AdaptiveAveragePool";

/// ONNX's number of the type f32.
const FLOAT: i32 = 1;

/// An attribute of a node.
pub(in crate::import) enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
    Text(&'a str),
}

/// A network in progress. Values are known by name.
#[derive(Default)]
pub(in crate::import) struct Emit {
    graph: proto::Graph,
    constants: HashMap<String, Array>,
}

impl Emit {
    /// An input or output of four axes. Extents that are 0 are open.
    fn port(name: &str, [channels, height, width]: [usize; 3]) -> proto::ValueInfo {
        let extent = |(value, name): (usize, &str)| match value {
            0 => proto::Dimension { value: 0, name: name.into() },
            _ => proto::Dimension { value: value as i64, name: String::new() },
        };
        let dim = [(1, ""), (channels, ""), (height, "height"), (width, "width")].map(extent).into();
        let tensor = proto::TensorType { elem_type: FLOAT, shape: Some(proto::TensorShape { dim }) };
        proto::ValueInfo { name: name.into(), kind: Some(proto::Type { tensor: Some(tensor) }) }
    }

    /// An input; a height and width of 0 are open.
    pub(in crate::import) fn input(&mut self, name: &str, channels: usize, [height, width]: [usize; 2]) {
        self.graph.input.push(Emit::port(name, [channels, height, width]));
    }

    pub(in crate::import) fn output(&mut self, name: &str) {
        self.graph.output.push(Emit::port(name, [0; 3]));
    }

    /// A constant of floats.
    pub(in crate::import) fn floats(
        &mut self,
        name: String,
        dims: &[usize],
        values: Vec<f32>,
    ) -> Result<String> {
        let array = Array::of_floats(dims.into(), values)?;
        self.constant(name, array)
    }

    /// A constant without axes.
    pub(in crate::import) fn scalar(&mut self, name: String, value: f32) -> Result<String> {
        self.constant(name, Array::scalar(Kind::Float, f64::from(value)))
    }

    /// A constant vector of integers.
    pub(in crate::import) fn ints(&mut self, name: String, values: &[i64]) -> Result<String> {
        self.constant(name, Array::integers(values.iter().copied()))
    }

    fn constant(&mut self, name: String, array: Array) -> Result<String> {
        match self.constants.insert(name.clone(), array) {
            None => Ok(name),
            Some(_) => Err(Error::Model(format!("{name} is made twice"))),
        }
    }

    /// A node with the names of its inputs (empty: absent) and outputs.
    pub(in crate::import) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute<'_>)],
    ) {
        let attribute = |(name, value): &(&str, Attribute<'_>)| {
            let mut made = proto::Attribute { name: (*name).into(), ..proto::Attribute::default() };
            match value {
                Attribute::Int(value) => made.i = *value,
                Attribute::Ints(values) => made.ints = values.to_vec(),
                Attribute::Float(value) => made.f = *value,
                Attribute::Text(text) => made.s = text.as_bytes().into(),
            }
            made
        };
        let strings = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        self.graph.node.push(proto::Node {
            input: strings(inputs),
            output: strings(outputs),
            name: outputs.first().copied().unwrap_or_default().into(),
            op_type: op.into(),
            attribute: attributes.iter().map(attribute).collect(),
            ..proto::Node::default()
        });
    }

    /// The network.
    pub(in crate::import) fn finish(self, choice: &Choice<'_>) -> Result<Model> {
        let file = File {
            graph: self.graph,
            constants: self.constants,
            opset: OPSET,
            weights: Arc::default(),
            metadata: Vec::new(),
        };
        let network = OnnxNetwork::new(Arc::new(file), choice).map_err(Error::one_line)?;
        Ok(Model::of_network(Arc::new(network), Recipe::default()))
    }
}
