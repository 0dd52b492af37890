//! The seed preset with burn's own modules on burn-wgpu through Vulkan, fusion and autotune on.

#[path = "../../protocol.rs"]
mod protocol;

use burn::module::{Param, RunningState};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{DType, Device, DeviceKind, Tensor, TensorData};
use safetensors::SafeTensors;
use serde_json::json;

struct Weights<'a> {
    file: SafeTensors<'a>,
    device: Device,
    dtype: DType,
}

impl Weights<'_> {
    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let view = self.file.tensor(name).expect(name);
        let floats: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Tensor::from_data(TensorData::new(floats, view.shape().to_vec()), (&self.device, self.dtype))
    }

    fn param<const D: usize>(&self, name: &str) -> Param<Tensor<D>> {
        Param::from_tensor(self.tensor(name))
    }

    fn conv(&self, name: &str, padding: usize) -> Conv2d {
        let weight = self.param(&format!("{name}.weight"));
        let [to, from, h, w] = weight.dims();
        let padding = PaddingConfig2d::Explicit(padding, padding, padding, padding);
        let mut conv = Conv2dConfig::new([from, to], [h, w]).with_padding(padding).init(&self.device);
        (conv.weight, conv.bias) = (weight, Some(self.param(&format!("{name}.bias"))));
        conv
    }

    fn up(&self, name: &str) -> ConvTranspose2d {
        let weight = self.param(&format!("{name}.weight"));
        let [from, to, _, _] = weight.dims();
        let mut up = ConvTranspose2dConfig::new([from, to], [2, 2]).with_stride([2, 2]).init(&self.device);
        (up.weight, up.bias) = (weight, Some(self.param(&format!("{name}.bias"))));
        up
    }

    fn norm(&self, name: &str) -> BatchNorm {
        let gamma = self.param(&format!("{name}.weight"));
        let [width] = gamma.dims();
        let mut norm = BatchNormConfig::new(width).with_epsilon(1e-5).init(&self.device);
        (norm.gamma, norm.beta) = (gamma, self.param(&format!("{name}.bias")));
        norm.running_mean = RunningState::new(self.tensor(&format!("{name}.running_mean")));
        norm.running_var = RunningState::new(self.tensor(&format!("{name}.running_var")));
        norm
    }

    fn block(&self, name: &str) -> Block {
        Block(
            [1, 2].map(|i| (self.conv(&format!("{name}.conv{i}"), 1), self.norm(&format!("{name}.norm{i}")))),
        )
    }
}

struct Block([(Conv2d, BatchNorm); 2]);

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.0.iter().fold(x, |x, (conv, norm)| relu(norm.forward(conv.forward(x))))
    }
}

struct Unet {
    encoder: Vec<Block>,
    pool: MaxPool2d,
    bottleneck: Block,
    decoder: Vec<(ConvTranspose2d, Block)>,
    output: Conv2d,
}

impl Unet {
    fn new(weights: &Weights<'_>) -> Unet {
        let decoder = |i| (weights.up(&format!("dec{i}.up")), weights.block(&format!("dec{i}")));
        Unet {
            encoder: (1..=4).map(|i| weights.block(&format!("enc{i}"))).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            bottleneck: weights.block("bottleneck"),
            decoder: (1..=4).rev().map(decoder).collect(),
            output: weights.conv("output", 0),
        }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        let mut skips = Vec::new();
        for block in &self.encoder {
            let skip = block.forward(x);
            x = self.pool.forward(skip.clone());
            skips.push(skip);
        }
        x = self.bottleneck.forward(x);
        for ((up, block), skip) in self.decoder.iter().zip(skips.into_iter().rev()) {
            x = block.forward(Tensor::cat(vec![up.forward(x), skip], 1));
        }
        self.output.forward(x)
    }
}

/// burn's name for the first Vulkan adapter whose name contains `text`.
fn kind(text: &str) -> Result<DeviceKind, String> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let listed = instance.enumerate_adapters(wgpu::Backends::VULKAN);
    let adapters: Vec<wgpu::AdapterInfo> = burn::tensor::try_read_sync(listed)
        .ok_or("adapters cannot be listed")?
        .iter()
        .map(wgpu::Adapter::get_info)
        .collect();
    let at =
        adapters.iter().position(|a| a.name.contains(text)).ok_or(format!("burn sees no adapter {text}"))?;
    let index = adapters[..at].iter().filter(|a| a.device_type == adapters[at].device_type).count();
    Ok(match adapters[at].device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(index),
        wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(index),
        wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu(index),
        _ => DeviceKind::Cpu,
    })
}

/// The version of a package in the lock file.
fn locked(package: &str) -> &'static str {
    let entry = include_str!("../Cargo.lock").split(&format!("name = \"{package}\"\nversion = \"")).nth(1);
    entry.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}

fn main() {
    let args = protocol::Args::parse();
    let kind = kind(&args.adapter).unwrap_or_else(|e| protocol::absent(e));
    let options = Device::wgpu_options().device_kind(kind).graphics_api(WgpuBackend::Vulkan);
    let (device, setup) = options.init_with_setup().unwrap_or_else(|e| protocol::absent(e));
    let adapter = setup.adapter.get_info();
    let dtype = if args.precision == "f16" { DType::F16 } else { DType::F32 };
    if !device.supports_dtype(dtype) {
        protocol::absent(format!("burn-wgpu has no {} on this adapter", args.precision));
    }
    let bytes = std::fs::read(&args.weights).expect("the weights");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let unet = Unet::new(&Weights { file, device: device.clone(), dtype });
    let shape = [1, 3, args.size, args.size];
    let info = json!({
        "version": format!("burn-wgpu {} {}", locked("burn-wgpu"), if cfg!(feature = "spirv") { "SPIR-V" } else { "WGSL" }),
        "adapter": adapter.name,
        "driver": format!("{} {}", adapter.driver, adapter.driver_info),
    });
    protocol::serve(&info, || {
        let x = Tensor::<4>::from_data(TensorData::new(args.input.clone(), shape), (&device, dtype));
        let y = unet.forward(x).into_data().convert::<f32>();
        y.try_into_vec().expect("floats")
    });
}
