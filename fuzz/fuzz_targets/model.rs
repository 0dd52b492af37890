//! Graphs in safetensors: the bytes are the metadata entry `unet.model`, beside a few weights. What loads is planned.

#![no_main]

use libfuzzer_sys::fuzz_target;
use safetensors::tensor::{Dtype, TensorView, serialize};
use unet_wgpu::Model;
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::plan::{DeviceProfile, Plan, PlanOptions};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let zeros = vec![0; 4 * 4096];
    let shapes = [[4, 3, 3, 3], [4, 1, 1, 1], [2, 4, 1, 1], [2, 1, 1, 1], [8, 4, 2, 2], [8, 1, 1, 1]];
    let views = shapes.iter().enumerate().filter_map(|(i, shape)| {
        let len = 4 * shape.iter().product::<usize>();
        Some((i.to_string(), TensorView::new(Dtype::F32, shape.to_vec(), &zeros[..len]).ok()?))
    });
    let metadata = [("unet.model".to_string(), text.to_string())].into();
    let Ok(file) = serialize(views, Some(metadata)) else { return };
    let Ok(model) = Model::from_safetensors(&file) else { return };
    let input = model.example_input();
    let Ok(graph) = model.graph(input) else { return };
    let Ok(graph) = optimize(&graph, input, &Optimizations::default()) else { return };
    let _ = Plan::new(&graph, input, &DeviceProfile::default(), &PlanOptions::default());
});
