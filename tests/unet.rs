//! Whole networks: their configuration, their rewrites, and their results against PyTorch.

use crate::networks::choices;
use crate::oracle;
use crate::support::{Tolerance, Vectors, assert_close, assert_slices_close, backends, check};
use std::sync::Arc;
use unet_wgpu::graph::{Graph, Op, PadMode};
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::unet::{
    BlockActivation, ConcatOrder, Norm, Output, RandomWeights, UnetConfig, Upsample, Weights,
};
use unet_wgpu::{Random, Shape, Tensor, cpu};

fn built(config: &UnetConfig, seed: u64) -> Graph {
    config.build(&mut RandomWeights::new(seed)).unwrap_or_else(|error| panic!("{config:?}: {error}"))
}

// ---- the seed preset ----

#[test]
fn seed_preset_has_its_parameters_and_work() {
    let graph = built(&UnetConfig::preset("seed").unwrap(), 1);
    assert_eq!(graph.parameters(), 14_789_059);

    let shapes = graph.shapes(Shape::new(1, 3, 128, 128)).unwrap();
    let of = |ids: &[unet_wgpu::graph::ValueId]| {
        ids.iter().filter_map(|id| shapes[id.index()]).collect::<Vec<_>>()
    };
    let convolutions =
        graph.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_)));
    let flops: u64 =
        convolutions.map(|node| node.op.rules().flops(&of(&node.inputs), &of(&node.outputs))).sum();
    assert!((flops as f64 / 16.0e9 - 1.0).abs() < 0.01, "{flops} flops");
}

#[test]
fn seed_preset_has_its_trace() {
    let config = UnetConfig::seed();
    let trace = config.trace(&built(&config, 1), Shape::new(1, 3, 128, 128)).unwrap();
    let want = "\
input        (1,3,128,128)
enc1 skip    (1,64,128,128)  → pooled (1,64,64,64)
enc2 skip    (1,128,64,64)   → pooled (1,128,32,32)
enc3 skip    (1,256,32,32)   → pooled (1,256,16,16)
enc4 skip    (1,512,16,16)   → pooled (1,512,8,8)
bottleneck   (1,512,8,8)
dec4  up (1,512,16,16) + skip4 → concat (1,1024,16,16) → (1,256,16,16)
dec3  up (1,256,32,32) + skip3 → concat (1,512,32,32)  → (1,128,32,32)
dec2  up (1,128,64,64) + skip2 → concat (1,256,64,64)  → (1,64,64,64)
dec1  up (1,64,128,128)+ skip1 → concat (1,128,128,128)→ (1,64,128,128)
output 1x1   (1,3,128,128)";
    assert_eq!(trace, want);
}

#[test]
fn seed_preset_agrees_with_pytorch() {
    let vectors = Vectors::read("seed");
    let graph = built(&UnetConfig::seed(), 42);
    for (i, (h, w)) in [(64, 64), (96, 160), (100, 75), (128, 128)].into_iter().enumerate() {
        let input = Tensor::random(Shape::new(1, 3, h, w), 43 + i as u64);
        let index = vectors.get(&format!("{h}x{w}/index")).data();
        let want = vectors.get(&format!("{h}x{w}/value")).data();
        for backend in backends() {
            // Every kernel variant at two of the sizes; the others take long on a software adapter.
            if h * w > 10_000 && backend.is_forced() {
                continue;
            }
            let result = backend.run(&graph, &input);
            let got: Vec<f32> = index.iter().map(|&i| result.data()[i as usize]).collect();
            let what = format!("seed preset at {h}x{w} on {backend}");
            let tolerance = backend.tolerance(Tolerance::Network);
            assert_slices_close(&what, &got, want, tolerance, |i| format!("flat index {}", index[i]));
        }
    }
}

/// The vectors depend on it: both sides must draw the same weights and inputs.
#[test]
fn the_generator_is_the_one_of_the_vectors() {
    // The published first outputs of SplitMix64 with seed 0.
    let mut random = Random::new(0);
    assert_eq!(
        [(); 3].map(|()| random.bits()),
        [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]
    );
    let bits = |tensor: &Tensor| tensor.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let vectors = Vectors::read("seed");
    assert_eq!(bits(&Tensor::random(Shape::new(1, 1, 1, 64), 1)), bits(vectors.get("generator/uniform")));
    let drawn = |seed, name, shape| RandomWeights::new(seed).tensor(name, shape).unwrap();
    let weight = drawn(1, "a.weight", Shape::new(4, 3, 3, 3));
    assert_eq!(bits(&weight), bits(vectors.get("generator/weight")));
    let bias = drawn(2, "a.bias", Shape::new(16, 1, 1, 1));
    assert_eq!(bits(&bias), bits(vectors.get("generator/bias")));
}

// ---- small networks against PyTorch ----

#[test]
fn small_networks_agree_with_pytorch() {
    let vectors = Vectors::read("unets");
    assert!(vectors.cases.len() >= 25, "{} cases", vectors.cases.len());
    for (name, case) in &vectors.cases {
        let parse = |key: &str| case[key].as_u64().unwrap_or_else(|| panic!("{name}: {key}"));
        let config: UnetConfig = serde_json::from_value(case["config"].clone()).unwrap();
        let [n, c, h, w] = serde_json::from_value(case["input"].clone()).unwrap();
        let input = Tensor::random(Shape::new(n, c, h, w), parse("input_seed"));
        let graph = built(&config, parse("weight_seed"));
        check(name, &graph, &input, vectors.get(&format!("{name}/output")), Tolerance::Network);
    }
}

#[test]
fn a_network_takes_its_weights_by_name() {
    let vectors = Vectors::read("named");
    let config = UnetConfig::new(3, 3, &[4, 8], 16, &[8, 4]).with_up(Some(vec![8, 4]));
    let graph = config.build(&mut &vectors).unwrap();
    check("named weights", &graph, vectors.get("input"), vectors.get("output"), Tolerance::Network);

    let wider = config.with_out_channels(4);
    let error = wider.build(&mut &vectors).unwrap_err().to_string();
    assert_eq!(error, "output.weight: expected (4,4,1,1), got (3,4,1,1)");
}

#[test]
fn a_fill_keeps_known_pixels_and_continues_them_into_holes() {
    // All weights are 0, so the result is the filled picture: a slope with a hole of 12x12.
    let config = UnetConfig::new(2, 1, &[2, 2], 2, &[2, 2]).with_norm(Norm::None).with_residual(true);
    let graph = config.with_fill(4).build(&mut Zeros).unwrap();
    let hole = |y: usize, x: usize| (20..32).contains(&y) && (10..22).contains(&x);
    let slope = |y: usize, x: usize| (3 * x + y) as f32 / 256.0;
    let side = 48;
    let input = Tensor::from_fn(Shape::new(1, 2, side, side), |i| {
        let (c, y, x) = (i / (side * side), i / side % side, i % side);
        match (c, hole(y, x)) {
            (0, true) => 7.0,
            (0, false) => slope(y, x),
            (_, hole) => f32::from(hole),
        }
    });
    let result = cpu::run(&graph, &input).unwrap();
    for (i, &value) in result.data().iter().enumerate() {
        let (y, x) = (i / side, i % side);
        if hole(y, x) {
            assert!((value - slope(y, x)).abs() < 0.08, "{value} at row {y}, column {x}: {}", slope(y, x));
        } else {
            assert_eq!(value, slope(y, x), "row {y}, column {x}");
        }
    }
}

/// Weights that are all 0.
struct Zeros;

impl Weights for Zeros {
    fn tensor(&mut self, _: &str, shape: Shape) -> unet_wgpu::Result<Arc<Tensor>> {
        Ok(Arc::new(Tensor::from_fn(shape, |_| 0.0)))
    }
}

// ---- configuration ----

#[test]
fn bad_configurations_are_refused_with_what_was_expected() {
    let good = || UnetConfig::new(3, 3, &[4, 8], 8, &[8, 4]);
    let cases: [(UnetConfig, &str); 17] = [
        (good().with_encoder(vec![]).with_decoder(vec![]), "encoder: expected 1 to 6 levels, got 0"),
        (good().with_encoder(vec![1; 7]), "encoder: expected 1 to 6 levels, got 7"),
        (good().with_in_channels(0), "widths: expected 1 to 65536 channels, got 0"),
        (good().with_out_channels(0), "widths: expected 1 to 65536 channels, got 0"),
        (good().with_bottleneck(65537), "widths: expected 1 to 65536 channels, got 65537"),
        (good().with_encoder([4, 0]), "widths: expected 1 to 65536 channels, got 0"),
        (good().with_up(Some(vec![4, 0])), "widths: expected 1 to 65536 channels, got 0"),
        (good().with_decoder([8]), "decoder: expected 2 levels, as the encoder (or none), got 1"),
        (good().with_up(Some(vec![8])), "up: expected one width for each decoder level, got 1"),
        (
            good().with_residual(true).with_out_channels(4),
            "channels out with a residual: expected at most the 3 channels of the picture, got 4",
        ),
        (
            good().with_residual(true).with_decoder(vec![]),
            "residual and scale: expected a decoder, got an encoder-only network",
        ),
        (
            good().with_scale(2).with_decoder(vec![]),
            "residual and scale: expected a decoder, got an encoder-only network",
        ),
        (good().with_scale(5), "scale: expected 1 to 4, got 5"),
        (good().with_dilation(0), "dilation: expected 1 to 16, got 0"),
        (
            good().with_fill(3).with_residual(true),
            "channels out with a residual: expected at most the 2 channels of the picture, got 3",
        ),
        (good().with_fill(7), "fill: expected 0 to 6 levels, got 7"),
        (
            good().with_fill(2).with_scale(2),
            "fill: expected a picture and a mask in, a decoder, and scale 1, got another network",
        ),
    ];
    for (config, want) in cases {
        let error = config.build(&mut RandomWeights::new(1)).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
    let error = UnetConfig::preset("sed").unwrap_err();
    assert_eq!(error.to_string(), "there is no preset sed; the presets are: seed");
}

#[test]
fn configurations_survive_json_and_unknown_entries_are_refused() {
    let mut random = Random::new(3);
    for _ in 0..20 {
        let config = random_config(&mut random);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<UnetConfig>(&json).unwrap(), config, "{json}");
    }
    let short = r#"{"in_channels":3,"out_channels":3,"encoder":[64,128,256,512],"bottleneck":512,"decoder":[256,128,64,64]}"#;
    assert_eq!(serde_json::from_str::<UnetConfig>(short).unwrap(), UnetConfig::seed());
    let typo = short.replace("bottleneck", "bottelneck");
    assert!(
        serde_json::from_str::<UnetConfig>(&typo)
            .unwrap_err()
            .to_string()
            .contains("unknown field `bottelneck`")
    );
}

#[test]
fn a_picture_with_the_wrong_channels_is_refused() {
    let graph = built(&UnetConfig::new(3, 3, &[4], 4, &[4]), 1);
    let error = cpu::run(&graph, &Tensor::zeros(Shape::new(1, 4, 8, 8))).unwrap_err();
    assert_eq!(error.to_string(), "input: expected 3 channels, got 4");
}

// ---- shapes, batches ----

#[test]
fn encoder_only_networks_give_one_vector_a_picture() {
    for output in [Output::None, Output::Softmax] {
        let config = UnetConfig::new(3, 10, &[4, 8, 8], 16, &[]).with_output(output);
        let graph = built(&config, 5);
        for (n, h, w) in [(1, 32, 32), (2, 25, 19), (3, 1, 1)] {
            let shape = Shape::new(n, 3, h, w);
            assert_eq!(graph.output_shape(shape).unwrap(), Shape::new(n, 10, 1, 1));
            let scores = cpu::run(&graph, &Tensor::random(shape, 1)).unwrap();
            if output == Output::Softmax {
                let sums = scores.data().chunks(10).map(|s| s.iter().sum::<f32>());
                sums.for_each(|sum| assert!((sum - 1.0).abs() < 1e-5, "{sum}"));
            }
        }
    }
    let config = UnetConfig::new(3, 10, &[4, 8], 16, &[]);
    let trace = config.trace(&built(&config, 1), Shape::new(1, 3, 8, 7)).unwrap();
    let want = "\
input        (1,3,8,7)
padded       (1,3,8,8)  (cropped again at the end)
enc1 skip    (1,4,8,8)       → pooled (1,4,4,4)
enc2 skip    (1,8,4,4)       → pooled (1,8,2,2)
bottleneck   (1,16,2,2)
classifier   (1,10,1,1)";
    assert_eq!(trace, want);
}

#[test]
fn a_batch_of_two_is_two_batches_of_one() {
    let config = UnetConfig::new(3, 2, &[5, 8], 9, &[8, 5]);
    let graph = built(&config, 6);
    let both = Tensor::random(Shape::new(2, 3, 13, 18), 7);
    for backend in backends() {
        let result = backend.run(&graph, &both);
        let (mut pictures, mut results) =
            (both.data().chunks(3 * 13 * 18), result.data().chunks(2 * 13 * 18));
        for n in 0..2 {
            let [picture, got] = [&mut pictures, &mut results].map(|chunks| chunks.next().unwrap().to_vec());
            let alone = backend.run(&graph, &Tensor::new(Shape::new(1, 3, 13, 18), picture).unwrap());
            let got = Tensor::new(alone.shape(), got).unwrap();
            let tolerance = backend.tolerance(Tolerance::Network);
            assert_close(&format!("picture {n} of the batch on {backend}"), &got, &alone, tolerance);
        }
    }
}

// ---- rewrites ----

/// A small network with random options.
fn random_config(random: &mut Random) -> UnetConfig {
    let depth = 1 + random.below(4);
    let mut widths = |count: usize| (0..count).map(|_| 1 + random.below(8)).collect::<Vec<_>>();
    let (encoder, decoder, up, ends) = (widths(depth), widths(depth), widths(depth), widths(3));
    let mut config = UnetConfig::new(ends[0], ends[1], &encoder, ends[2], &decoder);
    config.upsample =
        random.pick(&[Upsample::ConvTranspose, Upsample::NearestConv, Upsample::BilinearConv1x1]);
    config.norm = random.pick(&[Norm::Batch, Norm::Instance, Norm::None]);
    config.dilation = 1 + random.below(3);
    config.scale = random.pick(&[1, 1, 1, 2, 3]);
    config.bias = random.below(4) > 0;
    config.activation = random.pick(&[BlockActivation::Relu, BlockActivation::LeakyRelu(0.1)]);
    config.concat = random.pick(&[ConcatOrder::UpSkip, ConcatOrder::SkipUp]);
    config.output = random.pick(&[Output::None, Output::Sigmoid, Output::Softmax]);
    config.pad = random.pick(&[PadMode::Zero, PadMode::Edge, PadMode::Reflect]);
    config.padding_mode = random.pick(&[PadMode::Zero, PadMode::Zero, PadMode::Edge, PadMode::Reflect]);
    config.up = (random.below(2) == 0).then_some(up);
    if config.in_channels > 1 && config.scale == 1 {
        config.fill = random.below(4);
    }
    let picture = config.in_channels - usize::from(config.fill > 0);
    match random.below(4) {
        0 => (config.residual, config.out_channels) = (true, 1 + random.below(picture)),
        1 => (config.decoder, config.up, config.scale, config.fill) = (Vec::new(), None, 1, 0),
        _ => {}
    }
    config
}

#[test]
fn a_rewrite_is_known_by_its_name() {
    let mut which = Optimizations::none();
    which.set("fuse_head", true).unwrap();
    let mut only_head = Optimizations::none();
    only_head.fuse_head = true;
    assert_eq!(which, only_head);
    let error = which.set("fuse_heads", true).unwrap_err().to_string();
    assert!(
        error.starts_with("there is no rewrite fuse_heads; the rewrites are: remove_identity, "),
        "{error}"
    );
}

#[test]
fn rewrites_keep_the_result_of_random_networks() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let config = random_config(&mut random);
        let graph = built(&config, seed);
        let extent = |random: &mut Random| 1 + random.below(40);
        let shape =
            Shape::new(1 + random.below(2), config.in_channels, extent(&mut random), extent(&mut random));
        let input = Tensor::random(shape, seed);
        let want = cpu::run(&graph, &input).unwrap();
        let what = format!("network {seed} at {shape}");
        for (which, optimizations) in choices() {
            let optimized = optimize(&graph, shape, &optimizations).unwrap();
            let got = cpu::run(&optimized, &input).unwrap();
            assert_close(&format!("{what}, rewrites: {which}"), &got, &want, Tolerance::Network);
        }
        if seed % 4 == 0 {
            assert_close(&what, &want, &oracle::run(&graph, &input), Tolerance::Network);
        }
        // Only a few on all backends, because each has many kernels of its own.
        if seed % 10 == 0 {
            check(&what, &graph, &input, &want, Tolerance::Network);
        }
    }
}

#[test]
fn rewrites_leave_a_seed_block_no_separate_norm_activation_pool_or_concat() {
    let graph = built(&UnetConfig::new(3, 3, &[4, 8], 8, &[8, 4]), 1);
    let optimized = optimize(&graph, Shape::new(1, 3, 16, 16), &Optimizations::default()).unwrap();
    let names: Vec<&str> = optimized.nodes().iter().map(|node| node.op.rules().name()).collect();
    let want = ["conv"; 6].into_iter().chain(["conv_transpose", "conv", "conv"].repeat(2));
    assert_eq!(names, want.collect::<Vec<_>>());
    assert_eq!(
        optimize(&graph, Shape::new(1, 3, 16, 16), &Optimizations::none()).unwrap().nodes().len(),
        graph.nodes().len()
    );
}
