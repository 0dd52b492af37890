//! Pictures as bytes on both ends of a session: the device converts like the host.

use crate::device::gpu;
use unet_wgpu::plan::{Bits, InputFormat, OutputFormat, Precision};
use unet_wgpu::unet::{Output, RandomWeights, UnetConfig};
use unet_wgpu::{Device, Error, Model, Random, Session, SessionOptions, Shape};

fn devices() -> Vec<Device> {
    let gpu = gpu().map(Device::Gpu);
    [Device::Cpu].into_iter().chain(gpu).collect()
}

fn picture(shape: Shape, bits: Bits) -> (InputFormat, Vec<u8>) {
    let scale = (0..shape.c).map(|c| (1.0 + c as f32) / ((1u64 << bits.count()) as f32)).collect();
    let shift = (0..shape.c).map(|c| 0.1 - c as f32).collect();
    let format = InputFormat::Picture { bits, scale, shift };
    let mut random = Random::new(5);
    let bytes = (0..format.bytes(shape)).map(|_| random.bits() as u8).collect();
    (format, bytes)
}

#[test]
fn pictures_in_and_out_agree_with_the_host() {
    // Sizes whose bytes do not fill 32-bit words.
    for (n, c, h, w) in [(1, 3, 5, 7), (2, 1, 9, 3), (1, 5, 4, 4)] {
        let shape = Shape::new(n, c, h, w);
        let config = UnetConfig::new(c, 3, &[4], 6, &[4]).with_output(Output::Sigmoid);
        let model = Model::from_config(&config, &mut RandomWeights::new(2)).expect("it builds");
        for bits in [Bits::Eight, Bits::Sixteen] {
            let (input, bytes) = picture(shape, bits);
            let tensor = input.decode(shape, &bytes).expect("as many bytes");
            for device in devices() {
                let plain = Session::new(&model, shape, device.clone())
                    .expect("it fits")
                    .run(&tensor)
                    .expect("it runs");
                let scale = ((1u32 << bits.count()) - 1) as f32;
                let output = OutputFormat::Picture { bits, scale };
                let options = SessionOptions::default().with_input(input.clone()).with_output(output);
                let session = Session::with_options(&model, shape, device, &options).expect("it fits");
                let got = session.run_bytes(&bytes).expect("it runs");
                let want = output.encode(&plain);
                assert_eq!(got.len(), want.len());
                let numbers = |b: &[u8]| match bits {
                    Bits::Eight => b.iter().map(|&b| i32::from(b)).collect::<Vec<_>>(),
                    Bits::Sixteen => {
                        b.chunks(2).map(|b| i32::from(u16::from_le_bytes([b[0], b[1]]))).collect()
                    }
                };
                let off = numbers(&got).iter().zip(numbers(&want)).map(|(g, w)| (g - w).abs()).max();
                assert!(off <= Some(1), "{shape} {bits:?}: off by {off:?}");
            }
        }
    }
}

#[test]
fn classes_agree_with_the_host() {
    for classes in [1, 2, 5] {
        let shape = Shape::new(2, 3, 7, 5);
        let config = UnetConfig::new(3, classes, &[4], 6, &[4]).with_output(Output::Sigmoid);
        let model = Model::from_config(&config, &mut RandomWeights::new(4)).expect("it builds");
        let (input, bytes) = picture(shape, Bits::Eight);
        let tensor = input.decode(shape, &bytes).expect("as many bytes");
        for device in devices() {
            let plain =
                Session::new(&model, shape, device.clone()).expect("it fits").run(&tensor).expect("it runs");
            let output = OutputFormat::Classes { threshold: 0.45 };
            let options = SessionOptions::default().with_input(input.clone()).with_output(output);
            let session = Session::with_options(&model, shape, device, &options).expect("it fits");
            let got = session.run_bytes(&bytes).expect("it runs");
            let wrong = got.iter().zip(output.encode(&plain)).filter(|(g, w)| **g != *w).count();
            assert_eq!((got.len(), wrong), (2 * 7 * 5, 0), "{classes} channels");
        }
    }
}

#[test]
fn half_precision_takes_pictures_too() {
    let Some(gpu) = gpu().filter(|gpu| gpu.report().f16) else { return };
    let shape = Shape::new(1, 3, 8, 8);
    let config = UnetConfig::new(3, 3, &[4], 6, &[4]).with_output(Output::Sigmoid);
    let model = Model::from_config(&config, &mut RandomWeights::new(2)).expect("it builds");
    let (input, bytes) = picture(shape, Bits::Eight);
    let output = OutputFormat::Picture { bits: Bits::Eight, scale: 255.0 };
    let run = |device, precision| {
        let options =
            SessionOptions::default().with_input(input.clone()).with_output(output).with_precision(precision);
        let session = Session::with_options(&model, shape, device, &options).expect("it fits");
        session.run_bytes(&bytes).expect("it runs")
    };
    let (half, full) = (run(Device::Gpu(gpu), Precision::F16), run(Device::Cpu, Precision::F32));
    assert!(half.iter().zip(&full).all(|(h, f)| h.abs_diff(*f) <= 2));
}

#[test]
fn what_does_not_fit_a_format_is_refused() {
    let shape = Shape::new(1, 3, 8, 8);
    let model = Model::from_config(&UnetConfig::new(3, 3, &[4], 6, &[4]), &mut RandomWeights::new(2))
        .expect("it builds");
    for device in devices() {
        let short = InputFormat::Picture { bits: Bits::Eight, scale: vec![1.0; 2], shift: vec![0.0; 3] };
        let options = SessionOptions::default().with_input(short);
        assert!(matches!(
            Session::with_options(&model, shape, device.clone(), &options),
            Err(Error::Shape { .. })
        ));
        let (input, bytes) = picture(shape, Bits::Eight);
        let options = SessionOptions::default().with_input(input);
        let session = Session::with_options(&model, shape, device, &options).expect("it fits");
        assert!(matches!(session.run_bytes(&bytes[1..]), Err(Error::Shape { .. })));
        let tensor = unet_wgpu::Tensor::zeros(shape);
        assert!(matches!(session.run(&tensor), Err(Error::Usage(_))));
    }
}
