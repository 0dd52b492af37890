//! What PyTorch saves: any bytes load or are refused, and a model that loads answers for its graph.

#![no_main]

use libfuzzer_sys::fuzz_target;
use unet_wgpu::Model;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_pytorch(bytes) {
        let _ = model.graph(model.example_input()).and_then(|graph| graph.output_shape(model.example_input()));
    }
});
