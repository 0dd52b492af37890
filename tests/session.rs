//! Sessions on a GPU: the same numbers as the CPU, no allocation while running, sharing, faults.

use crate::device::gpu;
use std::future::Future;
use std::time::Duration;
use unet_wgpu::graph::{ConvTranspose, Graph};
use unet_wgpu::optimize::Optimizations;
use unet_wgpu::plan::ConvKernel;
use unet_wgpu::recipe::Recipe;
use unet_wgpu::unet::{RandomWeights, UnetConfig, Upsample};
use unet_wgpu::verify::{Difference, verify};
use unet_wgpu::{Device, Error, Gpu, Model, Precision, Session, SessionOptions, Shape, Tensor};

fn small() -> Model {
    Model::from_config(&UnetConfig::new(3, 2, &[8, 12], 16, &[12, 8]), &mut RandomWeights::new(5))
        .expect("it builds")
}

const SHAPE: Shape = Shape::new(1, 3, 24, 20);

fn session(gpu: &Gpu) -> Session {
    Session::new(&small(), SHAPE, Device::Gpu(gpu.clone())).expect("it fits")
}

#[test]
fn verify_passes_for_the_seed_preset_in_both_precisions_optimised_or_not() {
    let Some(gpu) = gpu() else { return };
    let model = Model::from_config(&UnetConfig::seed(), &mut RandomWeights::new(1)).expect("it builds");
    for precision in [Precision::F32, Precision::F16] {
        for optimizations in [Optimizations::default(), Optimizations::none()] {
            let options =
                SessionOptions::default().with_precision(precision).with_optimizations(optimizations);
            let checks = verify(&model, Shape::new(1, 3, 32, 32), &Device::Gpu(gpu.clone()), &options, 3)
                .expect("it runs");
            let expected = if optimizations == Optimizations::none() {
                model.graph(Shape::new(1, 3, 32, 32)).unwrap().nodes().len() + 2
            } else {
                28
            };
            assert_eq!(checks.len(), expected, "every value that is made is compared");
            for check in checks {
                assert!(
                    check.pass,
                    "{precision} {}: max {:e}, NRMSE {:e}",
                    check.name, check.max_abs, check.nrmse
                );
            }
        }
    }
}

#[test]
fn verify_finds_a_wrong_layer() {
    let reference = Tensor::random(SHAPE, 1);
    let mut wrong = reference.clone();
    wrong.data_mut()[7] += 0.01;
    assert!(!Difference::of(&wrong, &reference).passes(Precision::F32));
    wrong.data_mut()[7] = f32::NAN;
    assert!(!Difference::of(&wrong, &reference).passes(Precision::F32));
    assert!(!Difference::of(&wrong, &reference).passes(Precision::F16));
    assert!(Difference::of(&reference, &reference).passes(Precision::F32));
}

#[test]
fn the_seed_network_agrees_with_the_cpu_at_all_kinds_of_sizes() {
    let Some(gpu) = gpu() else { return };
    let model = Model::from_config(&UnetConfig::seed(), &mut RandomWeights::new(2)).expect("it builds");
    for (h, w) in [(64, 64), (96, 160), (100, 75), (128, 128)] {
        let shape = Shape::new(1, 3, h, w);
        let input = Tensor::random(shape, 9);
        let run = |device| {
            let session = Session::new(&model, shape, device).expect("it fits");
            session.poison();
            session.run(&input).expect("it runs")
        };
        let difference = Difference::of(&run(Device::Gpu(gpu.clone())), &run(Device::Cpu));
        assert!(difference.passes(Precision::F32), "{shape}: {difference:?}");
    }
}

#[test]
fn a_second_run_makes_no_gpu_object_and_gives_the_same_bits() {
    let Some(_) = gpu() else { return };
    // A separate device, because other tests create objects on the shared one.
    let gpu = Gpu::open(&unet_wgpu::AdapterChoice::Any).expect("opened before");
    let session = session(&gpu);
    let input = Tensor::random(SHAPE, 1);
    let first = session.run(&input).expect("it runs");
    let objects = gpu.objects_created();
    assert!(objects > 20, "objects are counted");
    for _ in 0..5 {
        session.poison();
        assert_eq!(session.run(&input).expect("it runs"), first);
    }
    assert_eq!(gpu.objects_created(), objects);
    // A second session of the same shapes shares the pipelines.
    let before = gpu.objects_created();
    let again = Session::new(&small(), SHAPE, Device::Gpu(gpu.clone())).expect("it fits");
    assert_eq!(again.run(&input).expect("it runs"), first);
    let plan = again.plan().expect("on a GPU");
    // Params, input, output, and an upload and a download for each of three frames.
    let buffers = plan.activations.len() + plan.weights.len() + 3 + 2 * 3;
    assert_eq!(
        gpu.objects_created() - before,
        buffers + plan.dispatches.len(),
        "buffers and bind groups only"
    );
}

#[test]
fn a_host_encodes_into_its_own_buffers_on_its_own_device() {
    let Some(shared) = gpu() else { return };
    let host = Gpu::from_wgpu(shared.device().clone(), shared.queue().clone());
    let session = session(&host);
    let input = Tensor::random(SHAPE, 4);
    let want = session.run(&input).expect("it runs");
    let device = host.device();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
    let buffer = |bytes: usize, usage| {
        let size = bytes as u64;
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let (from, to) = (buffer(4 * SHAPE.elements(), usage), buffer(4 * want.data().len(), usage));
    let read = buffer(4 * want.data().len(), wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ);
    host.queue().write_buffer(&from, 0, bytemuck::cast_slice(input.data()));
    let mut objects = Vec::new();
    for _ in 0..3 {
        let mut encoder = device.create_command_encoder(&Default::default());
        session.encode(&mut encoder, &[&from], &[&to]).expect("the buffers fit");
        encoder.copy_buffer_to_buffer(&to, 0, &read, 0, read.size());
        host.queue().submit([encoder.finish()]);
        objects.push(host.objects_created());
    }
    assert_eq!(objects[1], objects[2], "bind groups of a known pair of buffers are kept");
    read.slice(..).map_async(wgpu::MapMode::Read, |result| result.expect("mapped"));
    device.poll(wgpu::PollType::wait_indefinitely()).expect("the device lives");
    let view = read.slice(..).get_mapped_range().expect("mapped");
    assert_eq!(bytemuck::cast_slice::<u8, f32>(&view), want.data());
    let mut encoder = device.create_command_encoder(&Default::default());
    let small = buffer(64, usage);
    assert!(matches!(session.encode(&mut encoder, &[&small], &[&to]), Err(Error::Shape { .. })));
}

#[test]
fn an_async_run_finishes_while_the_host_polls() {
    let Some(gpu) = gpu() else { return };
    let session = session(&gpu);
    let input = Tensor::random(SHAPE, 4);
    let want = session.run(&input).expect("it runs");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| pollster::block_on(session.run_async(&input)));
        while !run.is_finished() {
            gpu.device().poll(wgpu::PollType::Poll).expect("the device lives");
            std::thread::yield_now();
        }
        assert_eq!(run.join().expect("no panic").expect("it runs"), want);
    });
}

#[test]
fn eight_threads_share_one_session() {
    let Some(gpu) = gpu() else { return };
    let session = session(&gpu);
    let inputs: Vec<Tensor> = (0..8).map(|i| Tensor::random(SHAPE, i)).collect();
    let want: Vec<Tensor> = inputs.iter().map(|x| session.run(x).expect("it runs")).collect();
    std::thread::scope(|scope| {
        for (x, want) in inputs.iter().zip(&want) {
            let session = &session;
            scope.spawn(move || (0..5).for_each(|_| assert_eq!(&session.run(x).expect("it runs"), want)));
        }
    });
}

#[test]
fn a_lost_device_is_an_error_and_a_new_one_works() {
    let Some(_) = gpu() else { return };
    let gpu = Gpu::open(&unet_wgpu::AdapterChoice::Any).expect("opened before");
    let session = session(&gpu);
    let input = Tensor::random(SHAPE, 1);
    let want = session.run(&input).expect("it runs");
    gpu.device().destroy();
    assert!(matches!(session.run(&input), Err(Error::DeviceLost(_))));
    let lost = Session::new(&small(), SHAPE, Device::Gpu(gpu));
    assert!(matches!(lost, Err(Error::DeviceLost(_))), "{:?}", lost.err());
    let gpu = Gpu::open(&unet_wgpu::AdapterChoice::Any).expect("opened before");
    assert_eq!(self::session(&gpu).run(&input).expect("it runs"), want);
}

#[test]
fn a_run_that_takes_too_long_is_an_error_and_the_next_one_is_right() {
    let Some(gpu) = gpu() else { return };
    let model = Model::from_config(&UnetConfig::seed(), &mut RandomWeights::new(2)).expect("it builds");
    let shape = Shape::new(1, 3, 96, 96);
    let options = SessionOptions::default().with_timeout(Duration::from_millis(1));
    let session = Session::with_options(&model, shape, Device::Gpu(gpu.clone()), &options).expect("it fits");
    let input = Tensor::random(shape, 1);
    assert!(matches!(session.run(&input), Err(Error::Timeout(_))));
    // A session that is dropped during a run leaves nothing that disturbs the next one.
    drop(session);
    let run = |device| Session::new(&model, shape, device).expect("it fits").run(&input).expect("it runs");
    let difference = Difference::of(&run(Device::Gpu(gpu)), &run(Device::Cpu));
    assert!(difference.passes(Precision::F32), "{difference:?}");
}

#[test]
fn bad_input_is_named() {
    let Some(gpu) = gpu() else { return };
    for device in [Device::Cpu, Device::Gpu(gpu)] {
        let session = Session::new(&small(), SHAPE, device.clone()).expect("it fits");
        let wrong = session.run(&Tensor::zeros(Shape::new(1, 3, 24, 21)));
        assert!(matches!(wrong, Err(Error::Shape { .. })));
        let mut nan = Tensor::zeros(SHAPE);
        nan.data_mut()[11] = f32::NAN;
        assert!(matches!(session.run(&nan), Err(Error::NonFinite { index: 11, .. })));
        for bad in [Shape::new(1, 4, 24, 20), Shape::new(1, 3, 0, 20), Shape::new(0, 3, 8, 8)] {
            assert!(matches!(Session::new(&small(), bad, device.clone()), Err(Error::Shape { .. })), "{bad}");
        }
    }
}

#[test]
fn memory_limits_and_missing_f16_are_refused() {
    let Some(gpu) = gpu() else { return };
    let build =
        |options: SessionOptions, device| Session::with_options(&small(), SHAPE, device, &options).err();
    let tight = SessionOptions::default().with_max_memory(Some(1000));
    assert!(matches!(build(tight, Device::Gpu(gpu)), Some(Error::LimitExceeded { available: 1000, .. })));
    let half = SessionOptions::default().with_precision(Precision::F16);
    assert!(matches!(build(half, Device::Cpu), Some(Error::MissingFeature { .. })));
}

#[test]
fn layer_times_cover_every_dispatch() {
    let Some(gpu) = gpu() else { return };
    let session = session(&gpu);
    session.run(&Tensor::random(SHAPE, 1)).expect("it runs");
    if gpu.report().timestamps {
        let times = session.layer_times().expect("timestamps");
        assert_eq!(times.len(), session.plan().expect("on a GPU").dispatches.len());
        assert!(times.iter().map(|t| t.seconds).sum::<f64>() > 0.0);
    }
}

#[test]
fn a_residual_upsampling_network_of_odd_size_runs_in_batches() {
    let Some(gpu) = gpu() else { return };
    for upsample in [Upsample::ConvTranspose, Upsample::NearestConv, Upsample::BilinearConv1x1] {
        let config =
            UnetConfig::new(3, 3, &[6, 10], 14, &[10, 6]).with_upsample(upsample).with_residual(true);
        let model = Model::from_config(&config, &mut RandomWeights::new(8)).expect("it builds");
        let shape = Shape::new(3, 3, 19, 30);
        let input = Tensor::random(shape, 2);
        let run =
            |device| Session::new(&model, shape, device).expect("it fits").run(&input).expect("it runs");
        let difference = Difference::of(&run(Device::Gpu(gpu.clone())), &run(Device::Cpu));
        assert!(difference.passes(Precision::F32), "{upsample:?}: {difference:?}");
    }
}

#[test]
fn a_dropped_run_leaves_its_buffers_usable_and_waiting_has_an_end() {
    let Some(gpu) = gpu() else { return };
    let options = SessionOptions::default().with_timeout(Duration::from_secs(10));
    let session = Session::with_options(&small(), SHAPE, Device::Gpu(gpu), &options).expect("it fits");
    let input = Tensor::random(SHAPE, 6);
    let want = session.run(&input).expect("it runs");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // More runs are begun than there are transfer buffers, and none of them is polled further.
    let mut begun: Vec<_> = (0..4).map(|_| Box::pin(session.run_async(&input))).collect();
    for run in &mut begun {
        assert!(run.as_mut().poll(&mut context).is_pending());
    }
    assert!(matches!(session.run(&input), Err(Error::Timeout(_))), "this thread holds them all");
    drop(begun);
    for _ in 0..6 {
        assert_eq!(session.run(&input).expect("it runs"), want);
    }
}

#[test]
fn a_grid_past_the_limits_is_refused() {
    let Some(gpu) = gpu() else { return };
    let weight = std::sync::Arc::new(Tensor::random(Shape::new(1, 2056, 16, 16), 1));
    let mut graph = Graph::new(1);
    graph.push("up", ConvTranspose::new(weight, None, 16), &[Graph::INPUT]).expect("a new name");
    let model = Model::new(graph, Recipe::default());
    let options = SessionOptions::default().with_conv(ConvKernel::Direct);
    let built = Session::with_options(&model, Shape::new(1, 1, 2, 2), Device::Gpu(gpu), &options);
    match built {
        Err(Error::Shape { .. }) => {}
        Ok(session) => {
            let plan = session.plan().expect("on a GPU");
            assert!(plan.dispatches.iter().all(|d| d.grid.iter().all(|&g| g <= 65_535)), "or it fits");
        }
        Err(other) => panic!("{other}"),
    }
}
