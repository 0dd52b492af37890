//! The GPU that tests run on: any adapter, a software one too.

use std::sync::OnceLock;
use unet_wgpu::{AdapterChoice, Gpu};

/// The shared device. `None` where there is no adapter, which is a failure when `UNET_REQUIRE_GPU=1`.
pub(crate) fn gpu() -> Option<Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    GPU.get_or_init(|| match Gpu::open(&AdapterChoice::Any) {
        Ok(gpu) => {
            eprintln!("GPU tests run on {} ({})", gpu.report().name, gpu.report().driver);
            Some(gpu)
        }
        Err(error) if std::env::var_os("UNET_REQUIRE_GPU").is_some_and(|v| v == "1") => panic!("{error}"),
        Err(error) => {
            eprintln!("GPU TESTS DID NOT RUN: {error}");
            None
        }
    })
    .clone()
}
