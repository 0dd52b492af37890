//! Run trained U-Nets on any GPU with hand-written WGSL, inside a program that may already own a `wgpu` device.
//!
//! A [`Model`] is a network with its weights and its recipe. A [`Session`] is a model prepared for one input shape on
//! one [`Device`]. A session allocates everything when it is built; a run only uploads, dispatches and downloads.
//!
//! ```no_run
//! use unet_wgpu::{AdapterChoice, Gpu, Model, Session, Shape, Tensor};
//!
//! # fn main() -> unet_wgpu::Result<()> {
//! let model = Model::open("models/denoise.safetensors")?;
//! let shape = Shape::new(1, 3, 256, 384); // batch, channels, height, width
//! let gpu = Gpu::open(&AdapterChoice::Hardware)?;
//! let session = Session::new(&model, shape, gpu)?;
//! let result: Tensor = session.run(&Tensor::zeros(shape))?;
//! # Ok(())
//! # }
//! ```
//!
//! A program with its own device passes it to [`Gpu::from_wgpu`] and records the network into its own command encoder
//! with [`Session::encode`]; see `examples/embed.rs`.
//!
//! # Overview
//! A file becomes a [`Model`] ([`graph`], [`unet`], [`recipe`]). The graph goes through [`optimize`] and [`plan`] to
//! [`gpu`], or runs on the [`cpu`]. [`image`] turns pictures into tensors and results into pictures. `ARCHITECTURE.md`
//! gives the reasons.
//!
//! # Promises
//! - Bad input is an error, never a panic: weights, pictures, shapes, a lost device.
//! - On a GPU, limits and memory are checked before anything is allocated, and a run allocates nothing on the device.
//! - A host's device keeps its own error handler and lost callback.
//!
//! # Features
//! All are on by default. `cpu`: the CPU executor, the reference and the path without a GPU. `diffusion`: sampling. `image`:
//! pictures. `onnx`, `pickle`: model files of these kinds. `recipes`: recipes from files beside a model. Without any of them the library
//! is the GPU path alone. The command `unet` is a separate package, in `cli/`.

#[macro_use]
mod setters;

pub mod cache;
pub mod gpu;
pub mod graph;
pub mod optimize;
pub mod plan;
pub mod recipe;
pub mod tiles;
pub mod tune;
pub mod unet;

#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "diffusion")]
pub mod diffusion;
#[cfg(feature = "image")]
pub mod image;
#[cfg(feature = "cpu")]
pub mod verify;

mod augment;
mod error;
mod import;
#[cfg(feature = "onnx")]
mod known;
mod lock;
#[cfg(any(feature = "onnx", feature = "recipes"))]
mod meaning;
mod model;
mod network;
mod session;
mod signature;
mod tensor;

pub use augment::Augment;
pub use error::{Error, Result, Setting};
pub use gpu::{AdapterChoice, Gpu};
pub use import::open::OpenOptions;
pub use model::{Model, TestArray, TestPair};
pub use network::{Fate, FixedInput, NodeReport, PortInfo, Role, Signature};
pub use plan::{Port, Precision};
pub use session::{Device, Session, SessionOptions};
pub use tensor::{Random, Shape, Tensor};
/// The version of wgpu whose types [`Gpu::from_wgpu`] and [`Session::encode`] take.
pub use wgpu;

#[cfg(all(
    test,
    feature = "cpu",
    feature = "image",
    feature = "onnx",
    feature = "pickle",
    feature = "recipes"
))]
mod documented;

/// Compiles and runs the examples of README and docs with the tests.
#[cfg(all(doctest, feature = "cpu", feature = "image"))]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
}
