//! What network a state dict belongs to, from the names and shapes of its tensors: one file a code base.
//!
//! A family's `recognise` looks at names alone and answers `None` when they are not its own. When they are, it builds
//! the network as that code base runs it, at every picture size that runs there, and an error names the tensor that
//! does not fit.

mod drunet;
mod mateuszbuda;
mod milesial;
mod monai_basic;
mod monai_unet;
mod net;
mod nnunet;
mod noise2noise;
pub(super) mod oidn;
mod own;
mod smp;

pub(super) use own::Renamed;

use super::tensors::StateDict;
use crate::error::Result;
use crate::model::Model;
use crate::tensor::Shape;
use net::Net;

type Recognise = fn(&mut StateDict<'_>) -> Result<Option<Model>>;

/// In the order in which they are asked; [`own`] takes what is left.
const FAMILIES: [Recognise; 9] = [
    milesial::recognise,
    mateuszbuda::recognise,
    noise2noise::recognise,
    smp::recognise,
    drunet::recognise,
    oidn::recognise,
    monai_basic::recognise,
    monai_unet::recognise,
    nnunet::recognise,
];

/// The network that the tensors belong to.
pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Model> {
    dict.unwrap_names();
    for recognise in FAMILIES {
        if let Some(model) = recognise(dict)? {
            dict.check_all_taken()?;
            // Channels that do not fit are found now, not at the first picture.
            let input = Shape::new(1, model.input_channels(), 512, 512);
            model.graph(input)?.shapes(input)?;
            return Ok(model);
        }
    }
    let model = own::build(dict)?;
    dict.check_all_taken()?;
    Ok(model)
}
