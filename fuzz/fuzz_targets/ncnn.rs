//! ncnn: any text and any weights load or give an error, and a network that loads builds its graph. The first zero byte
//! ends the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use unet_wgpu::Model;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    if let Ok(model) = Model::from_ncnn(&bytes[..end], bytes.get(end + 1..).unwrap_or(&[])) {
        let _ = model.graph(model.example_input()).and_then(|graph| graph.output_shape(model.example_input()));
    }
});
