//! The inputs of a graph: the values that a builder begins with, for shapes that are given.

use super::array::Kind;
use super::build::{Builder, Live};
use super::grid::Grid;
use super::layout::Layout;
use super::ports::{Declared, Picture, Ports};
use super::view::View;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::tensor::Shape;

/// Shapes for which a network is built.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) picture: Shape,
    /// Of the inputs beside the picture, as many as the caller knows.
    pub(super) others: &'a [Shape],
    /// What stands for an extent that nothing tells.
    pub(super) open: Option<usize>,
}

impl Given<'_> {
    /// The picture alone. What nothing tells is 1.
    pub(super) fn picture(picture: Shape) -> Self {
        Given { picture, others: &[], open: Some(1) }
    }
}

/// Gives all inputs their values. The picture, and each input with its rows and columns, is padded.
pub(super) fn set_inputs<'a>(
    builder: &mut Builder<'a>,
    ports: &'a Ports,
    given: Given<'_>,
    grid: Grid,
    states: &[Vec<usize>],
) -> Result<()> {
    let picture: &Picture = &ports.picture;
    let pad = |builder: &mut Builder<'a>, id: ValueId| match grid.is_empty(given.picture) {
        true => Ok(id),
        false => builder.push("pad to stride", grid.pad(given.picture), &[id]),
    };
    let x = pad(builder, Graph::INPUT)?;
    let shape = builder.shape(x);
    let dims = picture.extents(shape)?;
    let channels = |first: usize, count: usize, dims: &[usize]| {
        let all = View::whole(&[shape.n, shape.c, shape.h, shape.w]);
        let part = all.sliced(1, first, count, 1).and_then(|part| part.reshaped(dims));
        part.ok_or_else(|| Error::shape("input", "channels that can be told apart", shape))
    };
    let c = picture.channels - usize::from(picture.mask.is_some());
    let view = match picture.layout {
        Layout::Nhwc => channels(0, c, &[shape.n, c, shape.h, shape.w])?.permuted(&[0, 2, 3, 1])?,
        Layout::Hwc => channels(0, c, &[c, shape.h, shape.w])?.permuted(&[1, 2, 0])?,
        Layout::Flat => View::whole(&dims),
        _ => channels(0, c, &dims)?,
    };
    builder.set(&picture.declared.name, Live::new(x, view));
    if let Some(mask) = &picture.mask {
        let view = channels(c, 1, &mask.mask_extents(shape))?;
        builder.set(&mask.name, live(mask, x, view));
    }

    let known = picture.known(given.picture)?;
    for (place, other) in ports.others.iter().enumerate() {
        let mut dims = other.resolve(&known, given.others.get(place).copied(), given.open)?;
        let mut id = builder.input(&other.name, &dims)?;
        if let (true, [.., h, w]) = (picture.is_followed_by(other), &mut dims[..]) {
            id = pad(builder, id)?;
            [*h, *w] = [builder.shape(id).h, builder.shape(id).w];
        }
        builder.set(&other.name, live(other, id, View::whole(&dims)));
    }
    for (state, dims) in ports.states.iter().zip(states) {
        let id = builder.input(&state.input.name, dims)?;
        builder.set(&state.input.name, live(&state.input, id, View::whole(dims)));
    }
    Ok(())
}

/// A value with the declared kind of numbers.
fn live(declared: &Declared, id: ValueId, view: View) -> Live {
    Live { kind: declared.kind().unwrap_or(Kind::Integer), ..Live::new(id, view) }
}
