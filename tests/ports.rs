//! Networks with several inputs and outputs, and states that pass from run to run, against the oracle.

use crate::device::gpu;
use crate::oracle;
use crate::support::{Tolerance, assert_close};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use unet_wgpu::graph::{
    Activation, Binary, BinaryKind, Concat, Constant, Conv, Extent, Graph, Pool, Rearrange, Resize, ResizeTo,
    Slice, ValueId,
};
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::plan::{DeviceProfile, Plan, PlanOptions, Precision};
use unet_wgpu::recipe::Recipe;
use unet_wgpu::tiles::{TileOptions, TiledSession};
use unet_wgpu::verify::verify;
use unet_wgpu::{Device, Error, Gpu, Model, Result, Session, SessionOptions, Setting, Shape, Tensor, cpu};

/// The shape of the picture in all networks here.
const SHAPE: Shape = Shape::new(1, 3, 16, 24);

fn conv(seed: u64, from: usize, to: usize, side: usize) -> Conv {
    let weight = Tensor::random(Shape::new(to, from, side, side), seed);
    let scale = 1.0 / ((from * side * side) as f32).sqrt();
    let weight = Tensor::from_fn(weight.shape(), |i| weight.data()[i] * scale);
    let bias = Tensor::random(Shape::new(to, 1, 1, 1), seed + 1000);
    Conv::new(Arc::new(weight), Some(bias.data().into())).same()
}

/// A block of a diffusion network: a time step scales and shifts the channels of a picture.
fn timed() -> Result<Graph> {
    let mut graph = Graph::with_input("sample", Extent::picture(3));
    let time = graph.add_input("time", Shape::new(1, 8, 1, 1))?;
    let x = graph.push("in", conv(1, 3, 6, 3), &[Graph::INPUT])?;
    let embedded = graph.push("embed", conv(2, 8, 6, 1), &[time])?;
    let embedded = graph.push("silu", Activation::Silu, &[embedded])?;
    let x = graph.push("scale", Binary::new(BinaryKind::Mul), &[x, embedded])?;
    let x = graph.push("relu", Activation::Relu, &[x])?;
    let x = graph.push("out", conv(3, 6, 3, 3), &[x])?;
    graph.set_outputs(&[("noise", x)])?;
    Ok(graph)
}

/// A network with three outputs: a colour picture, an opacity and a map of half the size.
fn three() -> Result<Graph> {
    let mut graph = Graph::new(3);
    let full = graph.push("full", conv(4, 3, 8, 3), &[Graph::INPUT])?;
    let full = graph.push("full.relu", Activation::Relu, &[full])?;
    let half = graph.push("pool", Pool::MAX_2X2, &[full])?;
    let half = graph.push("half", conv(5, 8, 5, 3), &[half])?;
    let colour = graph.push("colour", conv(6, 8, 3, 1), &[full])?;
    let opacity = graph.push("opacity", conv(7, 8, 1, 1), &[full])?;
    let opacity = graph.push("opacity.sigmoid", Activation::Sigmoid, &[opacity])?;
    graph.set_outputs(&[("fgr", colour), ("pha", opacity), ("half", half)])?;
    Ok(graph)
}

/// One convolutional gated recurrent unit, as in Robust Video Matting. Returns the new state.
fn unit(
    graph: &mut Graph,
    at: &str,
    [x, state]: [ValueId; 2],
    channels: usize,
    size: Shape,
) -> Result<ValueId> {
    let seed = size.h as u64 * 10;
    let joined = graph.push(&format!("{at}.joined"), Concat::default(), &[x, state])?;
    let gates = graph.push(&format!("{at}.gates"), conv(seed, 2 * channels, 2 * channels, 3), &[joined])?;
    let gates = graph.push(&format!("{at}.sigmoid"), Activation::Sigmoid, &[gates])?;
    let gate = |first: usize| {
        let part = |start, len| Slice { start, len, step: 1 };
        let whole = Shape { c: 2 * channels, ..size };
        Rearrange::slice(whole, [part(0, 1), part(first, channels), part(0, size.h), part(0, size.w)])
    };
    let reset = graph.push(&format!("{at}.reset"), gate(0)?, &[gates])?;
    let update = graph.push(&format!("{at}.update"), gate(channels)?, &[gates])?;
    let kept = graph.push(&format!("{at}.kept"), Binary::new(BinaryKind::Mul), &[reset, state])?;
    let joined = graph.push(&format!("{at}.again"), Concat::default(), &[x, kept])?;
    let new = graph.push(&format!("{at}.candidate"), conv(seed + 1, 2 * channels, channels, 3), &[joined])?;
    let new = graph.push(&format!("{at}.tanh"), Activation::Tanh, &[new])?;
    // (1 - z) * h + z * c, as h + z * (c - h).
    let change = graph.push(&format!("{at}.change"), Binary::new(BinaryKind::Sub), &[new, state])?;
    let change = graph.push(&format!("{at}.gated"), Binary::new(BinaryKind::Mul), &[update, change])?;
    graph.push(&format!("{at}.next"), Binary::ADD, &[state, change])
}

/// A recurrent U-Net with a state on each of four levels.
fn recurrent() -> Result<Graph> {
    let channels = [4, 5, 6, 7];
    let mut graph = Graph::with_input("src", Extent::picture(3));
    let mut states = Vec::new();
    for (level, &channels) in channels.iter().enumerate() {
        let side = Extent::Part(1 << level);
        let extents = [Extent::Part(1), Extent::Fixed(channels), side, side];
        states.push(graph.add_input(&format!("r{}i", level + 1), extents)?);
    }
    let mut x = Graph::INPUT;
    let mut maps = Vec::new();
    for (level, &to) in channels.iter().enumerate() {
        let from = if level == 0 { 3 } else { channels[level - 1] };
        x = graph.push(&format!("down{level}"), conv(20 + level as u64, from, to, 3), &[x])?;
        x = graph.push(&format!("down{level}.relu"), Activation::Relu, &[x])?;
        maps.push(x);
        if level < 3 {
            x = graph.push(&format!("pool{level}"), Pool::MAX_2X2, &[x])?;
        }
    }
    let mut outputs = Vec::new();
    for level in (0..4).rev() {
        let size = Shape::new(1, channels[level], SHAPE.h >> level, SHAPE.w >> level);
        if level < 3 {
            let up = Resize::nearest(ResizeTo::Scale([2.0, 2.0]));
            x = graph.push(&format!("up{level}"), up, &[x])?;
            x = graph.push(&format!("skip{level}"), Concat::default(), &[x, maps[level]])?;
            let layer = conv(30 + level as u64, channels[level] + channels[level + 1], channels[level], 3);
            x = graph.push(&format!("join{level}"), layer, &[x])?;
        }
        x = unit(&mut graph, &format!("r{}", level + 1), [x, states[level]], channels[level], size)?;
        outputs.push((format!("r{}o", level + 1), x));
    }
    let result = graph.push("pha", conv(40, channels[0], 1, 1), &[x])?;
    let result = graph.push("pha.sigmoid", Activation::Sigmoid, &[result])?;
    let mut all = vec![("pha", result)];
    all.extend(outputs.iter().map(|(name, id)| (&**name, *id)));
    graph.set_outputs(&all)?;
    for level in 1..=4 {
        graph.carry(&format!("r{level}o"), &format!("r{level}i"))?;
    }
    Ok(graph)
}

/// A session on each device, with rewrites and without, its tolerance, and what to call it.
fn sessions(graph: &Graph, inputs: &[Shape], outputs: &[&str]) -> Vec<(String, Session, Tolerance)> {
    let model = Model::new(graph.clone(), Recipe::default());
    let mut devices = vec![(Device::Cpu, Precision::F32)];
    if let Some(gpu) = gpu() {
        devices.push((Device::Gpu(gpu.clone()), Precision::F32));
        devices.extend(gpu.report().f16.then(|| (Device::Gpu(gpu), Precision::F16)));
    }
    let mut sessions = Vec::new();
    for (device, precision) in devices {
        for (rewrites, optimizations) in [("on", Optimizations::default()), ("off", Optimizations::none())] {
            let options = SessionOptions::default()
                .with_precision(precision)
                .with_optimizations(optimizations)
                .with_outputs(outputs.iter().copied());
            let session =
                Session::with_options(&model, inputs, device.clone(), &options).expect("it is built");
            session.poison();
            let tolerance = match precision {
                Precision::F32 => Tolerance::Network,
                Precision::F16 => Tolerance::Half,
            };
            let device = session.gpu().map_or("the CPU", |gpu| &gpu.report().name);
            sessions.push((format!("{device} {precision}, rewrites {rewrites}"), session, tolerance));
        }
    }
    sessions
}

/// The oracle's outputs by name.
fn wanted(graph: &Graph, inputs: &[&Tensor]) -> BTreeMap<String, Tensor> {
    let names = graph.outputs().iter().map(|output| output.name.clone());
    names.zip(oracle::run_with(graph, inputs)).collect()
}

#[test]
fn a_time_step_beside_a_picture() {
    let graph = timed().unwrap();
    let (sample, time) = (Tensor::random(SHAPE, 1), Tensor::random(Shape::new(1, 8, 1, 1), 2));
    let want = wanted(&graph, &[&sample, &time]);
    for (what, session, tolerance) in sessions(&graph, &[SHAPE], &[]) {
        // Names, not the order, say which is which.
        let got = session.run_with(&[("time", &time), ("sample", &sample)]).expect(&what);
        assert_eq!(got.keys().collect::<Vec<_>>(), ["noise"]);
        assert_close(&what, &got["noise"], &want["noise"], tolerance);
    }
}

#[test]
fn three_outputs_and_any_of_them() {
    let graph = three().unwrap();
    let input = Tensor::random(SHAPE, 3);
    let want = wanted(&graph, &[&input]);
    for asked in [&[][..], &["fgr", "pha", "half"], &["half", "fgr"], &["pha"]] {
        for (what, session, tolerance) in sessions(&graph, &[SHAPE], asked) {
            let got = session.run_with(&[("input", &input)]).expect(&what);
            let mut names = if asked.is_empty() { vec!["fgr"] } else { asked.to_vec() };
            assert_close(&what, &session.run(&input).expect(&what), &want[names[0]], tolerance);
            names.sort_unstable();
            assert_eq!(got.keys().collect::<Vec<_>>(), names);
            for name in names {
                assert_close(&format!("{name} on {what}"), &got[name], &want[name], tolerance);
            }
        }
    }
}

#[test]
fn four_states_over_ten_frames() {
    let graph = recurrent().unwrap();
    let mut states: Vec<Tensor> =
        graph.input_shapes(SHAPE).unwrap()[1..].iter().map(|&shape| Tensor::zeros(shape)).collect();
    let plain = sessions(&graph, &[SHAPE], &[]);
    let told = sessions(&graph, &[SHAPE], &["pha", "r3o"]);
    let first = Tensor::random(SHAPE, 100);
    let mut results = Vec::new();
    for frame in 0..10 {
        let picture = Tensor::random(SHAPE, 100 + frame);
        let inputs: Vec<&Tensor> = std::iter::once(&picture).chain(&states).collect();
        let want = wanted(&graph, &inputs);
        for (what, session, tolerance) in &plain {
            let (what, tolerance) = (format!("frame {frame} on {what}"), *tolerance);
            assert_close(&what, &session.run(&picture).expect(&what), &want["pha"], tolerance);
        }
        for (what, session, tolerance) in &told {
            let (what, tolerance) = (format!("frame {frame} on {what}"), *tolerance);
            let got = session.run_with(&[("src", &picture)]).expect(&what);
            assert_eq!(got.len(), 2);
            assert_close(&what, &got["pha"], &want["pha"], tolerance);
            assert_close(&what, &got["r3o"], &want["r3o"], tolerance);
        }
        states = (1..=4).map(|level| want[&format!("r{level}o")].clone()).collect();
        results.push(want["pha"].clone());
    }
    for (what, session, tolerance) in plain.iter().chain(&told) {
        let later = session.run(&first).expect(what);
        assert!(later != results[0], "the states of ten frames change the result");
        session.reset().expect(what);
        assert!(session.has_states());
        assert_close(what, &session.run(&first).expect(what), &results[0], *tolerance);
    }
}

/// A session on the GPU, which counts its own objects; `None` where there is none.
fn on_gpu(graph: Graph, inputs: &[Shape], outputs: &[&str]) -> Option<Session> {
    let options = SessionOptions::default().with_outputs(outputs.iter().copied());
    let model = Model::new(graph, Recipe::default());
    let gpu = gpu()?;
    let device = Device::Gpu(Gpu::from_wgpu(gpu.device().clone(), gpu.queue().clone()));
    Some(Session::with_options(&model, inputs, device, &options).expect("it is built"))
}

#[test]
fn outputs_that_nobody_asked_for_are_not_in_the_plan() {
    let labels = |outputs: &[&str]| {
        let Some(session) = on_gpu(three().unwrap(), &[SHAPE], outputs) else { return Vec::new() };
        let plan = session.plan().expect("on a GPU");
        assert_eq!(plan.outputs.len(), outputs.len());
        plan.dispatches.iter().map(|dispatch| dispatch.label.clone()).collect()
    };
    let all = labels(&["fgr", "pha", "half"]);
    let (result, opacity) = (labels(&["fgr"]), labels(&["pha"]));
    if !all.is_empty() {
        assert!(all.iter().any(|label| label == "output half") && all.iter().any(|label| label == "half"));
        assert!(!result.iter().any(|label| label.contains("half") || label.contains("pacity")));
        assert!(!opacity.iter().any(|label| label.contains("half") || label.contains("colour")));
        assert!(result.len() < all.len() && opacity.len() < all.len());
    }
}

#[test]
fn runs_that_overlap_take_the_states_in_the_order_they_were_submitted() {
    // Each frame adds its number: a frame out of turn, or a state that comes late, changes every later sum.
    let mut graph = Graph::new(1);
    let state = graph.add_input("sum", Shape::new(1, 1, 4, 4)).unwrap();
    let twice = graph.push("twice", Binary::ADD, &[state, state]).unwrap();
    let sum = graph.push("next", Binary::ADD, &[twice, Graph::INPUT]).unwrap();
    graph.add_output("next", sum).unwrap();
    graph.carry("next", "sum").unwrap();
    let Some(session) = on_gpu(graph, &[Shape::new(1, 1, 4, 4)], &[]) else { return };
    let frames: Vec<Tensor> =
        (1..=12).map(|i| Tensor::from_fn(session.input_shape(), |_| i as f32)).collect();
    let objects = session.gpu().expect("on a GPU").objects_created();
    for _ in 0..3 {
        // Twelve runs begun before the first is waited for, three of which fit the transfer buffers.
        let mut runs: Vec<_> = frames.iter().map(|frame| Box::pin(session.run_async(frame))).collect();
        let mut results = vec![None; runs.len()];
        while results.contains(&None) {
            for (run, result) in runs.iter_mut().zip(&mut results) {
                if result.is_none() {
                    let mut context = Context::from_waker(Waker::noop());
                    if let Poll::Ready(done) = run.as_mut().poll(&mut context) {
                        *result = Some(done.unwrap().data()[0]);
                    }
                }
            }
            session.gpu().expect("on a GPU").device().poll(wgpu::PollType::Poll).unwrap();
        }
        let want: Vec<Option<f32>> = (1..=12)
            .scan(0.0, |sum, i| {
                *sum = 2.0 * *sum + i as f32;
                Some(Some(*sum))
            })
            .collect();
        assert_eq!(results, want);
        session.reset().unwrap();
    }
    assert_eq!(session.gpu().expect("on a GPU").objects_created(), objects, "a run makes no objects");
}

#[test]
fn states_that_are_inputs_constants_or_each_other() {
    // A delay of two frames, a state that is never read, and one that becomes a constant.
    let shape = Shape::new(1, 3, 4, 5);
    let mut graph = Graph::new(3);
    let names = ["one", "two", "unread", "fixed"];
    let [one, two, _, fixed] = names.map(|name| graph.add_input(name, shape).unwrap());
    let constant = graph.push("constant", Constant(Arc::new(Tensor::random(shape, 7))), &[]).unwrap();
    let sum = graph.push("sum", Binary::ADD, &[two, fixed]).unwrap();
    let outputs = [("sum", sum), ("o1", Graph::INPUT), ("o2", one), ("o3", sum), ("o4", constant)];
    graph.set_outputs(&outputs).unwrap();
    for (output, input) in ["o1", "o2", "o3", "o4"].into_iter().zip(names) {
        graph.carry(output, input).unwrap();
    }
    let frames: Vec<Tensor> = (0..5).map(|i| Tensor::random(shape, 20 + i)).collect();
    for (what, session, tolerance) in sessions(&graph, &[shape], &[]) {
        for (i, frame) in frames.iter().enumerate() {
            let constant = Tensor::random(shape, 7);
            let want = Tensor::from_fn(shape, |at| {
                let delayed = if i < 2 { 0.0 } else { frames[i - 2].data()[at] };
                delayed + if i == 0 { 0.0 } else { constant.data()[at] }
            });
            let what = format!("frame {i} on {what}");
            assert_close(&what, &session.run(frame).expect(&what), &want, tolerance);
        }
    }
}

#[test]
fn a_host_records_all_inputs_and_outputs() {
    let (sample, time) = (Tensor::random(SHAPE, 1), Tensor::random(Shape::new(1, 8, 1, 1), 2));
    let Some(session) = on_gpu(timed().unwrap(), &[SHAPE], &[]) else { return };
    let want = session.run_with(&[("sample", &sample), ("time", &time)]).unwrap().remove("noise").unwrap();
    let gpu = session.gpu().expect("on a GPU");
    let (device, queue) = (gpu.device(), gpu.queue());
    let buffer = |size: usize, usage| {
        let (label, size, mapped_at_creation) = (None, size as u64 * 4, false);
        device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation })
    };
    use wgpu::BufferUsages as Use;
    let from = [&sample, &time].map(|tensor| {
        let buffer = buffer(tensor.data().len(), Use::STORAGE | Use::COPY_DST);
        queue.write_buffer(&buffer, 0, bytemuck::cast_slice(tensor.data()));
        buffer
    });
    let to = buffer(want.data().len(), Use::STORAGE | Use::COPY_SRC);
    let read = buffer(want.data().len(), Use::MAP_READ | Use::COPY_DST);
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let error = session.encode(&mut encoder, &[&from[0]], &[&to]).unwrap_err().to_string();
    assert!(error.contains("input buffers: expected 2 (sample, time), got 1"), "{error}");
    let error = session.encode(&mut encoder, &[&from[1], &from[1]], &[&to]).unwrap_err().to_string();
    assert!(error.contains("input sample buffer: expected at least 4608 bytes"), "{error}");
    session.encode(&mut encoder, &[&from[0], &from[1]], &[&to]).unwrap();
    encoder.copy_buffer_to_buffer(&to, 0, &read, 0, read.size());
    queue.submit([encoder.finish()]);
    read.slice(..).map_async(wgpu::MapMode::Read, |mapped| mapped.expect("it can be read"));
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let view = read.slice(..).get_mapped_range().unwrap();
    assert_eq!(bytemuck::cast_slice::<u8, f32>(&view), want.data());
}

#[test]
fn verify_compares_every_output() {
    for (graph, outputs) in
        [(timed().unwrap(), vec![]), (three().unwrap(), vec!["half", "pha"]), (recurrent().unwrap(), vec![])]
    {
        let model = Model::new(graph, Recipe::default());
        let outputs: Vec<String> = outputs.iter().map(|name| name.to_string()).collect();
        let Some(gpu) = gpu() else { return };
        let options = SessionOptions::default().with_outputs(outputs.clone());
        let checks = verify(&model, SHAPE, &Device::Gpu(gpu), &options, 1).unwrap();
        assert!(checks.iter().all(|check| check.pass), "{checks:?}");
        let results = checks.iter().filter(|check| check.op == "output").count();
        assert_eq!(results, outputs.len().max(1));
    }
}

#[test]
fn a_converted_model_keeps_its_names_and_states() {
    let model = Model::new(recurrent().unwrap(), Recipe::default());
    let bytes = model.to_safetensors(false).unwrap();
    let again = Model::from_safetensors(&bytes).unwrap();
    let (before, after) = (model.graph(SHAPE).unwrap(), again.graph(SHAPE).unwrap());
    let names = |graph: &Graph| -> Vec<(String, String)> {
        graph.carries().map(|(from, to)| (from.name.clone(), to.name.clone())).collect()
    };
    assert_eq!(names(&after), names(&before));
    assert_eq!(after.inputs().len(), 5);
    let input = Tensor::random(SHAPE, 5);
    let [a, b] = [&model, &again].map(|model| Session::new(model, SHAPE, Device::Cpu).unwrap());
    for _ in 0..2 {
        assert_eq!(a.run(&input).unwrap(), b.run(&input).unwrap());
    }
}

#[test]
fn tiles_take_the_output_that_is_asked_for_and_no_states() {
    let input = Shape::new(1, 3, 96, 96);
    let tiles = TileOptions::default().with_size(Some(64));
    let tiled = |graph: Graph, outputs: Vec<String>| {
        let options = SessionOptions::default().with_outputs(outputs);
        TiledSession::new(&Model::new(graph, Recipe::default()), input, &Device::Cpu, &options, &tiles)
    };
    let half = tiled(three().unwrap(), vec!["half".into()]).unwrap();
    assert!(half.tiles() > 1 && half.output_shape() == Shape::new(1, 5, 48, 48));
    let picture = Tensor::random(input, 9);
    let want = &wanted(&three().unwrap(), &[&picture])["half"];
    assert_close("half in tiles", &half.run(&picture, &|| {}).unwrap(), want, Tolerance::Network);
    let mut graph = Graph::new(3);
    let last = graph.add_input("last", [Extent::Part(1); 4]).unwrap();
    graph.push("sum", Binary::ADD, &[Graph::INPUT, last]).unwrap();
    graph.carry("output", "last").unwrap();
    let error = tiled(graph, Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Setting { setting: Setting::Tiles, .. }), "{error}");
}

#[test]
fn long_graphs_are_built_and_rewritten_in_linear_time() {
    // Quadratic scans of 60,000 layers would take minutes.
    let mut graph = Graph::new(1);
    let mut x = Graph::INPUT;
    for i in 0..20_000 {
        let y = graph.push(&format!("conv{i}"), conv(1, 1, 1, 1), &[x]).unwrap();
        let y = graph.push(&format!("relu{i}"), Activation::Relu, &[y]).unwrap();
        x = graph.push(&format!("sum{i}"), Binary::ADD, &[y, x]).unwrap();
    }
    let shape = Shape::new(1, 1, 2, 2);
    let optimized = optimize(&graph, shape, &Optimizations::default()).unwrap();
    assert_eq!(optimized.nodes().len(), 40_000, "each activation moved into its convolution");
    assert_eq!(cpu::run(&optimized, &Tensor::zeros(shape)).unwrap().shape(), shape);
}

#[test]
fn plans_refuse_ports_beyond_the_limits() {
    let device = DeviceProfile::default().with_max_buffer(6000);
    let plan = |graph: Graph| Plan::new(&graph, SHAPE, &device, &PlanOptions::default()).map(|_| ());
    let error = plan(three().unwrap()).unwrap_err().to_string();
    assert!(error.contains("bytes"), "{error}");
}

#[test]
fn bad_requests_name_the_input_or_output() {
    let (graph, time) = (timed().unwrap(), Tensor::zeros(Shape::new(1, 8, 1, 1)));
    let sample = Tensor::zeros(SHAPE);
    for (what, session, _) in sessions(&graph, &[SHAPE], &[]) {
        let refused = |inputs: &[(&str, &Tensor)], wanted: &str| {
            let error = session.run_with(inputs).unwrap_err();
            assert!(error.to_string().contains(wanted), "{what}: {error}");
            error
        };
        let missing = refused(&[("sample", &sample)], "the input time is missing");
        assert!(
            matches!(missing, Error::MissingInput { name, shape } if name == "time" && shape == time.shape())
        );
        let unknown = refused(&[("sample", &sample), ("tim", &time)], "no input is called tim");
        assert!(
            matches!(unknown, Error::UnknownName { kind: "input", known, .. } if known == "sample, time")
        );
        refused(&[("sample", &time), ("time", &time)], "input sample: expected (1,3,16,24), got (1,8,1,1)");
        refused(&[("sample", &sample), ("time", &time), ("time", &time)], "the input time is given twice");
        let nan = Tensor::from_fn(time.shape(), |i| if i == 3 { f32::NAN } else { 0.0 });
        refused(&[("sample", &sample), ("time", &nan)], "the input time is not finite at element 3");
        let error = session.run(&sample).unwrap_err().to_string();
        assert!(error.contains("has the inputs sample, time; run it with run_with"), "{error}");
    }
    let refused = |inputs: &[Shape], outputs: &[&str], wanted: &str| {
        let model = Model::new(graph.clone(), Recipe::default());
        let options = SessionOptions::default().with_outputs(outputs.iter().copied());
        let error = Session::with_options(&model, inputs, Device::Cpu, &options).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    refused(&[], &[], "input sample: expected its shape, got none");
    refused(&[SHAPE, SHAPE], &[], "input time: expected 8 channels, got 3");
    refused(&[Shape::new(1, 4, 8, 8)], &[], "input sample: expected 3 channels, got 4");
    refused(&[SHAPE, time.shape(), SHAPE], &[], "input shapes: expected 2, got more");
    refused(&[SHAPE], &["nose"], "no output is called nose (there is noise)");
    refused(&[SHAPE], &["noise", "noise"], "the output noise is asked for twice");
}

#[test]
fn a_graph_refuses_ports_that_contradict_each_other() {
    let mut graph = Graph::new(3);
    let refused = |result: Result<()>, wanted: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    refused(graph.add_input("input", SHAPE).map(|_| ()), "two layers or inputs are named input");
    let state = graph.add_input("state", SHAPE).unwrap();
    graph.add_input("free", Extent::picture(3)).unwrap();
    refused(
        graph.push("state", Activation::Relu, &[state]).map(|_| ()),
        "two layers or inputs are named state",
    );
    let sum = graph.push("sum", Binary::ADD, &[Graph::INPUT, state]).unwrap();
    refused(graph.set_outputs(&[]), "at least one output");
    refused(graph.set_outputs(&[("a", sum), ("a", sum)]), "two outputs are named a");
    assert_eq!(graph.output(), sum);
    graph.add_output("next", sum).unwrap();
    refused(graph.carry("nxt", "state"), "no output is called nxt (there is output, next)");
    refused(graph.carry("next", "stat"), "no input is called stat (there is input, state, free)");
    refused(graph.carry("next", "input"), "is the first input");
    refused(graph.carry("next", "free"), "does not tell all its extents");
    graph.carry("next", "state").unwrap();
    refused(graph.carry("next", "state"), "is a state already");
    refused(graph.set_outputs(&[("a", sum)]), "before its states");
    // A state must have the same shape when it comes out as when it goes in.
    let half = graph.push("half", Pool::MAX_2X2, &[sum]).unwrap();
    let odd = graph.add_input("odd", SHAPE).unwrap();
    graph.push("use", Binary::ADD, &[sum, odd]).unwrap();
    graph.add_output("smaller", half).unwrap();
    graph.carry("smaller", "odd").unwrap();
    let error = graph.shapes([SHAPE, SHAPE]).unwrap_err().to_string();
    assert!(error.contains("output smaller: expected (1,3,16,24), which it is in the next run"), "{error}");
}
