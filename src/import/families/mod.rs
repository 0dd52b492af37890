//! Identifies the network of a state dict from the names and shapes of its tensors, one file for each code base.
//!
//! A family's `recognise` first looks at names and returns `None` if they are not its own. Otherwise it builds the
//! network as that code base runs it, for every picture size that runs there. Errors name the tensor that does not
//! fit.

mod chain;
mod drunet;
mod fast_style;
mod imdn;
mod lwnet;
mod mateuszbuda;
mod milesial;
mod monai_basic;
mod monai_unet;
mod net;
mod nnunet;
mod noise2noise;
pub(super) mod oidn;
mod own;
mod parts;
#[cfg(feature = "onnx")]
mod pyimagesearch;
mod smp;
mod torch_em;
mod unlike;

pub(super) use own::Renamed;
#[cfg(feature = "onnx")]
pub(super) use parts::set_aside;
#[cfg(feature = "onnx")]
pub(super) use unlike::named;

use super::tensors::{StateDict, Stored};
use crate::error::{Error, Result};
use crate::model::Model;
use ::safetensors::Dtype;
use net::Net;
use std::io::Cursor;

type Recognise = fn(&mut StateDict<'_>) -> Result<Option<Model>>;

/// Families that are known by the names of their own code, tried in this order.
const FAMILIES: &[Recognise] = &[
    milesial::recognise,
    mateuszbuda::recognise,
    noise2noise::recognise,
    smp::recognise,
    drunet::recognise,
    oidn::recognise,
    monai_basic::recognise,
    monai_unet::recognise,
    nnunet::recognise,
    torch_em::recognise,
    lwnet::recognise,
    fast_style::recognise,
    imdn::recognise,
    #[cfg(feature = "onnx")]
    pyimagesearch::recognise,
];

/// Families of any names, tried if no other fits.
const WHOLE: &[Recognise] = &[chain::recognise, own::recognise];

impl Model {
    /// Builds the network that tensors in memory belong to, found by their names and shapes as PyTorch's state dicts
    /// have them: `(name, shape, values)`, the last axis fastest.
    ///
    /// # Errors
    /// [`Error::Model`] and [`Error::Shape`] name the tensor that is missing, does not fit or has no place.
    pub fn from_state_dict<'a>(
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    ) -> Result<Model> {
        let (mut bytes, mut stored) = (Vec::new(), Vec::new());
        for (name, shape, values) in tensors {
            let tensor = Stored::contiguous(Dtype::F32, shape, bytes.len() as u64);
            if tensor.extent().is_none_or(|(count, _)| count != values.len()) {
                let expected = format!("as many values as {shape:?} has");
                return Err(Error::shape(format!("tensor {name}"), expected, values.len()).one_line());
            }
            bytes.extend_from_slice(bytemuck::cast_slice(values));
            stored.push((name.to_string(), tensor));
        }
        let len = bytes.len() as u64;
        let mut dict = StateDict::new(Box::new(Cursor::new(bytes)), len, stored);
        recognise(&mut dict).map_err(Error::one_line)
    }
}

/// The network that the tensors belong to.
pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Model> {
    parts::recognise(dict)
}
