//! What becomes of each node of a file, also of a file that cannot run.

use super::build::Builder;
use super::file::File;
use super::grid::Grid;
use super::inputs::{Given, set_inputs};
use super::ports::Ports;
use super::proto;
use crate::error::Result;
use crate::graph::PadMode;
use crate::network::{Fate, NodeReport};
use crate::tensor::Shape;
use std::collections::HashMap;

/// The side of the picture for which nodes are looked at where the file fixes none.
pub(super) const SURVEYED: usize = 256;

/// What becomes of each node of a file, also of one that cannot run.
pub(super) fn nodes(file: &File) -> Result<Vec<NodeReport>> {
    let ports = Ports::of(&file.graph, &file.constants, None)?;
    Ok(survey(file, &ports, ports.picture.sized(SURVEYED)))
}

/// What becomes of each node for a picture of that shape, whether or not all can run.
pub(super) fn survey(file: &File, ports: &Ports, picture: Shape) -> Vec<NodeReport> {
    let mut builder = Builder::new(file, &ports.picture.declared.name, picture);
    builder.survey = true;
    let grid = Grid::bordered(0, PadMode::Reflect);
    let states = ports.states.iter().map(|state| state.input.resolve(&HashMap::new(), None, Some(1)));
    // What cannot be built is among the nodes' fates.
    let _ = states
        .collect::<Result<Vec<_>>>()
        .and_then(|states| set_inputs(&mut builder, ports, Given::picture(picture), grid, &states))
        .and_then(|()| builder.run());
    let report = |(node, fate): (&proto::Node, Fate)| NodeReport {
        name: match node.name.is_empty() {
            true => node.output.first().cloned().unwrap_or_default(),
            false => node.name.clone(),
        },
        op: node.op_type.clone(),
        fate,
    };
    file.graph.node.iter().zip(builder.fates).map(report).collect()
}
