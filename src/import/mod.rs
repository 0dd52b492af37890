//! Reading model files, one file a format. Every reader takes hostile bytes: a typed error, never a panic.
//!
//! Formats that hold tensors alone give a [`StateDict`](tensors::StateDict), and [`families`] finds the network from
//! names and shapes. The constructors of [`Model`](crate::Model) stand beside the readers that they call.

mod bundle;
mod families;
mod foreign;
#[cfg(feature = "onnx")]
mod ncnn;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;
pub(crate) mod open;
#[cfg(feature = "pickle")]
mod pickle;
mod reparam;
mod safetensors;
#[cfg(feature = "recipes")]
mod sidecar;
mod tensors;
mod tza;

#[cfg(test)]
pub(crate) use foreign::refused_models;
