//! Networks of several inputs and outputs, and states that go from run to run, against the oracle.

use crate::oracle;
use crate::support::{Tolerance, assert_close};
use std::collections::BTreeMap;
use std::sync::Arc;
use unet_wgpu::graph::{
    Activation, Binary, BinaryKind, Concat, Conv, Extent, Graph, Pool, Rearrange, Resize, ResizeTo, Slice,
    ValueId,
};
use unet_wgpu::optimize::Optimizations;
use unet_wgpu::recipe::Recipe;
use unet_wgpu::{Device, Error, Model, Result, Session, SessionOptions, Shape, Tensor};

/// The picture of all networks here.
const SHAPE: Shape = Shape::new(1, 3, 16, 24);

fn conv(seed: u64, from: usize, to: usize, side: usize) -> Conv {
    let weight = Tensor::random(Shape::new(to, from, side, side), seed);
    let scale = 1.0 / ((from * side * side) as f32).sqrt();
    let weight = Tensor::from_fn(weight.shape(), |i| weight.data()[i] * scale);
    let bias = Tensor::random(Shape::new(to, 1, 1, 1), seed + 1000);
    Conv::new(Arc::new(weight), Some(bias.data().into())).same()
}

/// A block of a diffusion network: a time step beside the picture shifts and scales its channels.
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

/// A network that gives a colour picture, an opacity and a map of half the size.
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

/// One convolutional gated recurrent unit, as in Robust Video Matting; returns what the state becomes.
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

/// A session on each device, with rewrites and without.
fn sessions(graph: &Graph, inputs: &[Shape], outputs: &[&str]) -> Vec<(String, Session)> {
    let model = Model::new(graph.clone(), Recipe::default());
    let mut sessions = Vec::new();
    for device in [Device::Cpu] {
        for optimizations in [Optimizations::default(), Optimizations::none()] {
            let outputs = outputs.iter().map(|name| name.to_string()).collect();
            let options = SessionOptions { optimizations, outputs, ..Default::default() };
            let session =
                Session::with_options(&model, inputs, device.clone(), &options).expect("it is built");
            session.poison();
            sessions.push((format!("{device:?}, {optimizations:?}"), session));
        }
    }
    sessions
}

/// What the oracle gives, by name.
fn wanted(graph: &Graph, inputs: &[&Tensor]) -> BTreeMap<String, Tensor> {
    let names = graph.outputs().iter().map(|output| output.name.clone());
    names.zip(oracle::run_with(graph, inputs)).collect()
}

#[test]
fn a_time_step_beside_a_picture() {
    let graph = timed().unwrap();
    let (sample, time) = (Tensor::random(SHAPE, 1), Tensor::random(Shape::new(1, 8, 1, 1), 2));
    let want = wanted(&graph, &[&sample, &time]);
    for (what, session) in sessions(&graph, &[SHAPE], &[]) {
        // Names, not the order, say which is which.
        let got = session.run_with(&[("time", &time), ("sample", &sample)]).expect(&what);
        assert_eq!(got.keys().collect::<Vec<_>>(), ["noise"]);
        assert_close(&what, &got["noise"], &want["noise"], Tolerance::Network);
    }
}

#[test]
fn three_outputs_and_any_of_them() {
    let graph = three().unwrap();
    let input = Tensor::random(SHAPE, 3);
    let want = wanted(&graph, &[&input]);
    for asked in [&[][..], &["fgr", "pha", "half"], &["half", "fgr"], &["pha"]] {
        for (what, session) in sessions(&graph, &[SHAPE], asked) {
            let got = session.run_with(&[("input", &input)]).expect(&what);
            let mut names = if asked.is_empty() { vec!["fgr"] } else { asked.to_vec() };
            assert_close(&what, &session.run(&input).expect(&what), &want[names[0]], Tolerance::Network);
            names.sort_unstable();
            assert_eq!(got.keys().collect::<Vec<_>>(), names);
            for name in names {
                assert_close(&format!("{name} on {what}"), &got[name], &want[name], Tolerance::Network);
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
        for (what, session) in &plain {
            let what = format!("frame {frame} on {what}");
            assert_close(&what, &session.run(&picture).expect(&what), &want["pha"], Tolerance::Network);
        }
        for (what, session) in &told {
            let what = format!("frame {frame} on {what}");
            let got = session.run_with(&[("src", &picture)]).expect(&what);
            assert_eq!(got.len(), 2);
            assert_close(&what, &got["pha"], &want["pha"], Tolerance::Network);
            assert_close(&what, &got["r3o"], &want["r3o"], Tolerance::Network);
        }
        states = (1..=4).map(|level| want[&format!("r{level}o")].clone()).collect();
        results.push(want["pha"].clone());
    }
    for (what, session) in plain.iter().chain(&told) {
        let later = session.run(&first).expect(what);
        assert!(later != results[0], "the states of ten frames change the result");
        session.reset().expect(what);
        assert!(session.has_states());
        assert_close(what, &session.run(&first).expect(what), &results[0], Tolerance::Network);
    }
}

#[test]
fn bad_requests_name_the_input_or_output() {
    let (graph, time) = (timed().unwrap(), Tensor::zeros(Shape::new(1, 8, 1, 1)));
    let sample = Tensor::zeros(SHAPE);
    for (what, session) in sessions(&graph, &[SHAPE], &[]) {
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
        let outputs = outputs.iter().map(|name| name.to_string()).collect();
        let options = SessionOptions { outputs, ..Default::default() };
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
    // A state must come back as it went in.
    let half = graph.push("half", Pool::MAX_2X2, &[sum]).unwrap();
    let odd = graph.add_input("odd", SHAPE).unwrap();
    graph.push("use", Binary::ADD, &[sum, odd]).unwrap();
    graph.add_output("smaller", half).unwrap();
    graph.carry("smaller", "odd").unwrap();
    let error = graph.shapes([SHAPE, SHAPE]).unwrap_err().to_string();
    assert!(error.contains("output smaller: expected (1,3,16,24), which it is in the next run"), "{error}");
}
