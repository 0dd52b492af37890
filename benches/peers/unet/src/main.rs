//! unet-wgpu as an engine, on the CPU (adapter `cpu`) or a GPU. `--list` prints this machine's adapters as JSON.

#[path = "../../protocol.rs"]
mod protocol;

use serde_json::json;
use unet_wgpu::{AdapterChoice, Device, Gpu, Model, Precision, Session, SessionOptions, Shape, Tensor, gpu};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--list") {
        println!("{}", json!(gpu::adapters()));
        return;
    }
    let args = protocol::Args::parse();
    let device = match args.adapter.as_str() {
        "cpu" => Device::Cpu,
        name => {
            Device::Gpu(Gpu::open(&AdapterChoice::Name(name.into())).unwrap_or_else(|e| protocol::absent(e)))
        }
    };
    let info = match &device {
        Device::Cpu => json!({ "adapter": "cpu" }),
        Device::Gpu(gpu) => json!({ "adapter": gpu.report().name, "driver": gpu.report().driver }),
    };
    let shape = Shape::new(1, 3, args.size, args.size);
    let precision = if args.precision == "f16" { Precision::F16 } else { Precision::F32 };
    let options = SessionOptions::default().with_precision(precision);
    let model = Model::open(&args.weights).unwrap_or_else(|e| protocol::absent(e));
    let session =
        Session::with_options(&model, shape, device, &options).unwrap_or_else(|e| protocol::absent(e));
    let input = Tensor::new(shape, args.input).expect("an input of that size");
    protocol::serve(&info, || session.run(&input).expect("a run").into_data());
}
