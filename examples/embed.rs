//! A host program with its own device and no window. It draws a noisy frame with its own compute pass, denoises it with
//! the network in the same command encoder, and reads both back. `cargo run --release --example embed`

use unet_wgpu::{Gpu, Model, Session, Shape};

const SHAPE: Shape = Shape::new(1, 3, 96, 128);

/// The host's own shader: a disc on a gradient, with noise, as NCHW floats in 0..1.
const DRAW: &str = "
@group(0) @binding(0) var<storage, read_write> frame: array<f32>;

fn noise(seed: u32) -> f32 {
    var h = seed * 747796405u + 2891336453u;
    h = ((h >> ((h >> 28u) + 4u)) ^ h) * 277803737u;
    return f32((h >> 22u) ^ h) / 4294967295.0 - 0.5;
}

@compute @workgroup_size(64)
fn draw(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&frame) {
        let x = f32(id.x % 128u) / 128.0;
        let y = f32(id.x / 128u % 96u) / 96.0;
        let disc = select(0.0, 0.5, distance(vec2(x, y), vec2(0.5)) < 0.3);
        frame[id.x] = 0.25 + 0.25 * x + disc * 0.5 + 0.3 * noise(id.x);
    }
}";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The host opens its device. Without an adapter the example ends here.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;

    // The network uses this device and leaves the host's handlers alone.
    let model = Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/models/denoise.safetensors"))?;
    let gpu = Gpu::from_wgpu(device.clone(), queue.clone());
    let session = Session::new(&model, SHAPE, gpu)?;

    let bytes = 4 * SHAPE.elements() as u64;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let buffer = |label, usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label, size: bytes, usage, mapped_at_creation: false })
    };
    let (noisy, clean) = (buffer(Some("noisy"), usage), buffer(Some("clean"), usage));
    let read = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let (noisy_read, clean_read) = (buffer(None, read), buffer(None, read));

    let source = wgpu::ShaderSource::Wgsl(DRAW.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("draw"), source });
    let draw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("draw"),
        layout: None,
        module: &module,
        entry_point: Some("draw"),
        compilation_options: Default::default(),
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &draw.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: noisy.as_entire_binding() }],
    });

    // One encoder holds the host's pass, the network and the host's copies.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&draw);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups((SHAPE.elements() as u32).div_ceil(64), 1, 1);
    drop(pass);
    session.encode(&mut encoder, &[&noisy], &[&clean])?;
    encoder.copy_buffer_to_buffer(&noisy, 0, &noisy_read, 0, bytes);
    encoder.copy_buffer_to_buffer(&clean, 0, &clean_read, 0, bytes);
    queue.submit([encoder.finish()]);

    for buffer in [&noisy_read, &clean_read] {
        buffer.slice(..).map_async(wgpu::MapMode::Read, |result| result.expect("the device lives"));
    }
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let roughness = |buffer: &wgpu::Buffer| -> Result<f32, wgpu::MapRangeError> {
        let view = buffer.slice(..).get_mapped_range()?;
        let values: &[f32] = bytemuck::cast_slice(&view);
        let steps = values.windows(2).map(|v| (v[1] - v[0]).abs());
        Ok(steps.sum::<f32>() / values.len() as f32)
    };
    let (before, after) = (roughness(&noisy_read)?, roughness(&clean_read)?);
    println!(
        "mean step between neighbours: {before:.4} drawn, {after:.4} after the network, on {}",
        adapter.get_info().name
    );
    if after > 0.5 * before {
        return Err("the network did not clean the frame".into());
    }
    Ok(())
}
