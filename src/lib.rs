//! Run trained U-Nets on any GPU with hand-written WGSL.

pub mod graph;
pub mod optimize;
pub mod plan;
pub mod recipe;
pub mod unet;

#[cfg(feature = "cpu")]
pub mod cpu;

mod error;
mod tensor;

pub use error::{Error, Result};
pub use tensor::{Random, Shape, Tensor};
