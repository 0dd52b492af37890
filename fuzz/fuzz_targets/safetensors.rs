//! safetensors: any bytes load or give an error, and a model that loads builds its graph.

#![no_main]

use libfuzzer_sys::fuzz_target;
use unet_wgpu::Model;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_safetensors(bytes) {
        let _ = model.graph(model.example_input()).and_then(|graph| graph.output_shape(model.example_input()));
    }
});
