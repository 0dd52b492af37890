//! Run trained U-Nets on any GPU with hand-written WGSL.

pub mod gpu;
pub mod graph;
pub mod optimize;
pub mod plan;
pub mod recipe;
pub mod unet;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "image")]
pub mod image;
#[cfg(feature = "cpu")]
pub mod verify;

mod error;
mod import;
mod model;
mod session;
mod tensor;

pub use error::{Error, Result};
pub use gpu::{AdapterChoice, Gpu};
pub use model::Model;
pub use plan::Precision;
pub use session::{Device, Session, SessionOptions};
pub use tensor::{Random, Shape, Tensor};
