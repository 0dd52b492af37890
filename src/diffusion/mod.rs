//! Sampling from diffusion models: the arithmetic around the network, on the host and in f64.
//!
//! A [`Scheduler`] is read from a `scheduler_config.json` of diffusers. It gives a [`Schedule`]: for each evaluation of
//! the network the timestep, the factor on the latents, and the next latents as a linear combination ([`Terms`]) of
//! what there is. [`Kept`] applies the combinations to slices; a kernel can do the same. [`Noise`] draws the numbers
//! that PyTorch draws from the same seed, and [`Tokenizer`] makes the tokens that CLIP's text encoders take.
//!
//! ```
//! use unet_wgpu::diffusion::{Kept, Noise, Scheduler};
//!
//! # fn main() -> unet_wgpu::Result<()> {
//! let scheduler = Scheduler::from_json(r#"{"_class_name": "DDIMScheduler", "clip_sample": false}"#)?;
//! let schedule = scheduler.schedule(10, 0)?;
//! let mut noise = Noise::new(42);
//! let mut latents: Vec<f32> = noise.normal(64).iter().map(|x| x * schedule.start as f32).collect();
//! let mut kept = Kept::default();
//! for evaluation in &schedule.evaluations {
//!     let input: Vec<f32> = latents.iter().map(|x| x * evaluation.scale as f32).collect();
//!     let output: Vec<f32> = input.iter().map(|x| 0.5 * x).collect(); // the network at `evaluation.timestep`
//!     let fresh = if evaluation.draws { noise.normal(64) } else { Vec::new() };
//!     kept.step(evaluation, &mut latents, &output, &fresh)?;
//! }
//! # Ok(())
//! # }
//! ```

mod betas;
mod config;
mod fields;
mod grid;
mod multistep;
mod noise;
mod schedule;
mod solvers;
mod tokens;

pub use config::Scheduler;
pub use noise::Noise;
pub use schedule::{Evaluation, Kept, Limit, SLOTS, Schedule, Terms};
pub use tokens::{Tokenizer, Tokens};
