//! Schedulers, noise and tokens of diffusion models, against diffusers 0.42.1, PyTorch 2.9 and transformers.

use crate::support::npz_values;
use std::path::{Path, PathBuf};
use unet_wgpu::Error;
use unet_wgpu::diffusion::{Evaluation, Kept, Noise, Schedule, Scheduler, Tokenizer};

/// The folder of goldens, or a line that says that their test did not run.
fn assets() -> Option<PathBuf> {
    let folder =
        std::env::var_os("UNET_TEST_ASSETS").map(|folder| Path::new(&folder).join("tasks/diffusion"));
    if folder.is_none() {
        eprintln!("DID NOT RUN: UNET_TEST_ASSETS does not name the folder of third-party models (diffusion)");
    }
    folder
}

fn scheduler(text: &str) -> Scheduler {
    Scheduler::from_json(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a schedule with a network in closed form and gives the latents before and after each step.
fn trajectory(
    schedule: &Schedule,
    seed: u64,
    length: usize,
    time: impl Fn(&Evaluation) -> f64,
) -> Vec<Vec<f32>> {
    let mut noise = Noise::new(seed);
    let start = schedule.start as f32;
    let mut all = vec![noise.normal(length).into_iter().map(|x| x * start).collect::<Vec<f32>>()];
    let mut kept = Kept::default();
    for evaluation in &schedule.evaluations {
        let mut latents = all[all.len() - 1].clone();
        let network = |x: &f32| {
            let x = x * evaluation.scale as f32;
            0.9 * x * (0.5 + 0.4 * time(evaluation) as f32) + 0.1 * (3.0 * x).sin()
        };
        let output: Vec<f32> = latents.iter().map(network).collect();
        let fresh = if evaluation.draws { noise.normal(length) } else { Vec::new() };
        kept.step(evaluation, &mut latents, &output, &fresh).expect("slices of one length");
        all.push(latents);
    }
    all
}

/// The largest difference, relative to the largest value or 1.
fn off(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1f32, |a, b| a.max(b.abs()));
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn schedules_follow_diffusers_at_every_step() {
    let Some(folder) = assets() else { return };
    let text = std::fs::read_to_string(folder.join("schedulers_golden.json")).expect("the set-ups");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let cases = golden["cases"].as_object().expect("cases");
    assert_eq!(cases.len(), 17);
    let mut bad = Vec::new();
    for (name, case) in cases {
        let class = case["cls"].as_str().expect("a class");
        let steps = case["steps"].as_u64().expect("a count") as usize;
        let scheduler = Scheduler::from_json_as(class, &case["config"].to_string()).expect("it is known");
        let schedule = scheduler.schedule(steps, 0).expect("a schedule");
        let start = case["init_noise_sigma"].as_f64().expect("a number");
        assert!((schedule.start / start - 1.0).abs() < 1e-6, "{name}: {} {start}", schedule.start);
        let times = npz_values(&folder.join("schedulers_golden.npz"), &format!("{name}_t"));
        let got: Vec<f32> = schedule.evaluations.iter().map(|e| e.timestep as f32).collect();
        assert!(off(&got, &times) <= 1e-6, "{name}: {got:?} {times:?}");
        let want = npz_values(&folder.join("schedulers_golden.npz"), &format!("{name}_x"));
        let time = |e: &Evaluation| match class {
            "EDMEulerScheduler" => (e.timestep + 0.5).min(1.0),
            _ => e.timestep / 1000.0,
        };
        let all = trajectory(&schedule, 123, 256, time);
        assert_eq!(all.len() * 256, want.len(), "{name}");
        let differences: Vec<f32> =
            all.iter().zip(want.chunks(256)).map(|(got, want)| off(got, want)).collect();
        let worst = differences.iter().copied().fold(0.0, f32::max);
        eprintln!("{name}: {worst:.1e}");
        if worst > 1e-5 {
            bad.push(format!("{name}: {differences:?}"));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn every_setting_follows_diffusers() {
    let mut bad = Vec::new();
    for (text, [steps, begin, evaluations], first, want) in GOLDENS.iter().copied() {
        let schedule = match scheduler(text).schedule(steps, begin) {
            Ok(schedule) => schedule,
            Err(error) => {
                bad.push(format!("{text}: {error}"));
                continue;
            }
        };
        let all = trajectory(&schedule, 5, 32, |e| (e.timestep / 1000.0).clamp(0.0, 1.0));
        let last = &all[all.len() - 1];
        let difference = off(&[last[0], last[13]], &want);
        let begins = (schedule.evaluations[0].timestep - first).abs() <= 1e-3;
        if difference > 2e-5 || schedule.evaluations.len() != evaluations || !begins {
            let begin = schedule.evaluations[0].timestep;
            bad.push(format!("{text}: off by {difference:e}, {} from {begin}", schedule.evaluations.len()));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn noise_is_that_of_pytorch() {
    // torch.randn(n, generator=torch.Generator().manual_seed(seed))
    assert_eq!(Noise::new(0).normal(3), [1.540_996_1, -0.293_428_9, -2.178_789_4]);
    let of_17 = Noise::new(42).normal(17);
    assert!(
        off(&[of_17[0], of_17[1], of_17[16]], &[1.926_915_3, -0.159_597_47, -0.309_726_77]) <= 5e-7,
        "{of_17:?}"
    );
    let Some(folder) = assets() else { return };
    let golden = folder.join("randn_golden.npz");
    for seed in [0, 42] {
        for count in [1, 7, 16, 17, 100, 1024] {
            let want = npz_values(&golden, &format!("seed{seed}_n{count}"));
            let got = Noise::new(seed).normal(count);
            let most = if count < 16 { 0.0 } else { 5e-7 };
            let difference = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(got.len() == want.len() && difference <= most, "{seed} {count}: {difference:e}");
        }
    }
    let mut noise = Noise::new(7);
    for call in ["seed7_call1", "seed7_call2"] {
        let difference = off(&noise.normal(256), &npz_values(&golden, call));
        assert!(difference <= 5e-7, "{call}: {difference:e}");
    }
}

#[test]
fn what_no_scheduler_can_do_is_one_line() {
    for (text, names) in [
        ("[1]", "no JSON object"),
        ("{}", "_class_name"),
        (r#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#, "FlowMatchEulerDiscreteScheduler"),
        (r#"{"_class_name": "DDIMScheduler", "beta_schedule": "exp"}"#, "beta_schedule"),
        (r#"{"_class_name": "DDIMScheduler", "clip_sample": 1}"#, "clip_sample"),
        (
            r#"{"_class_name": "DDIMScheduler", "timestep_spacing": null, "num_train_timesteps": 0}"#,
            "num_train",
        ),
        (r#"{"_class_name": "DDPMScheduler", "variance_type": "learned_range"}"#, "variance_type"),
        (r#"{"_class_name": "DDPMScheduler", "trained_betas": [0.1]}"#, "trained_betas"),
        (r#"{"_class_name": "DDPMScheduler", "beta_end": 3.0}"#, "beta"),
        (r#"{"_class_name": "PNDMScheduler", "prediction_type": "sample"}"#, "prediction_type"),
        (
            r#"{"_class_name": "LMSDiscreteScheduler", "use_karras_sigmas": true, "use_exponential_sigmas": true}"#,
            "use_karras_sigmas",
        ),
        (
            r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}"#,
            "final_sigmas_type",
        ),
        (r#"{"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": true}"#, "use_flow_sigmas"),
        (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 4}"#, "solver_order"),
    ] {
        let error = Scheduler::from_json(text).expect_err(text);
        assert!(matches!(error, Error::Model(_)), "{error:?}");
        let line = error.to_string();
        assert!(line.contains(names) && !line.contains('\n'), "{text}: {line}");
    }
    for (text, steps, begin, names) in [
        (r#"{"_class_name": "DDIMScheduler"}"#, 1001, 0, "1 to 1000 steps, not 1001"),
        (r#"{"_class_name": "DDIMScheduler"}"#, 0, 0, "not 0"),
        (r#"{"_class_name": "DDIMScheduler"}"#, 10, 10, "cannot begin"),
        (r#"{"_class_name": "DDIMScheduler", "steps_offset": 1}"#, 1000, 0, "timestep 1000"),
        (r#"{"_class_name": "PNDMScheduler"}"#, 3, 0, "4 to 1000"),
        (r#"{"_class_name": "LCMScheduler"}"#, 51, 0, "1 to 50"),
        (
            r#"{"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true, "timestep_spacing": "trailing"}"#,
            10,
            0,
            "v_prediction",
        ),
    ] {
        let line = scheduler(text).schedule(steps, begin).expect_err(text).to_string();
        assert!(line.contains(names), "{text}: {line}");
    }
    let schedule = scheduler(r#"{"_class_name": "DDPMScheduler"}"#).schedule(2, 0).expect("a schedule");
    let mut latents = [0.0; 4];
    let error = Kept::default().step(&schedule.evaluations[0], &mut latents, &[0.0; 3], &[0.0; 4]);
    assert!(matches!(error, Err(Error::Shape { .. })), "{error:?}");
}

#[test]
fn keys_that_diffusers_ignores_are_ignored() {
    let text = r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "skip_prk_steps": 3,
                   "trained_betas": null, "_diffusers_version": "0.42.1", "future": {"a": []}}"#;
    let plain = r#"{"_class_name": "DPMSolverMultistepScheduler"}"#;
    let [a, b] = [text, plain].map(|text| scheduler(text).schedule(20, 0).expect("a schedule"));
    assert_eq!(a, b);
}

/// A vocabulary of all bytes and a few joined pairs.
fn small() -> Tokenizer {
    let letters: Vec<char> = ('!'..='~').chain('\u{a1}'..='\u{ac}').chain('\u{ae}'..='\u{143}').collect();
    assert_eq!(letters.len(), 256);
    let mut tokens: Vec<String> = letters.iter().map(|c| c.to_string()).collect();
    tokens.extend(letters.iter().map(|c| format!("{c}</w>")));
    let merges = "#version: 0.2\nc a\nca t</w>\na t</w>\n\nl l</w>\n' ll</w>\n";
    tokens.extend(
        ["ca", "cat</w>", "at</w>", "ll</w>", "'ll</w>", "<|startoftext|>", "<|endoftext|>"]
            .map(String::from),
    );
    let vocab: serde_json::Map<String, serde_json::Value> =
        tokens.into_iter().enumerate().map(|(i, token)| (token, i.into())).collect();
    Tokenizer::new(&serde_json::Value::Object(vocab).to_string(), merges).expect("a vocabulary")
}

#[test]
fn words_are_joined_from_pairs() {
    let tokenizer = small();
    let (start, end, bang) = (517, 518, 256); // ! at the end of a piece
    for (prompt, want) in [
        ("", vec![]),
        ("Cat  CAT\tat!", vec![513, 513, 514, bang]),
        ("we'll", vec![86, 256 + 68, 516]),
        ("12", vec![256 + 16, 256 + 17]),
        ("e\u{301}", vec![127, 256 + 102]), // composed to é, bytes c3 a9
        ("at<|endoftext|>at", vec![514, end, 514]),
    ] {
        let tokens = tokenizer.encode(prompt).expect("a short prompt");
        assert_eq!((tokens.ids.len(), tokens.dropped), (77, 0), "{prompt}");
        assert_eq!(tokens.ids[0], start);
        assert_eq!(tokens.ids[1..=want.len()], want, "{prompt}");
        assert!(tokens.ids[want.len() + 1..].iter().all(|id| *id == end), "{prompt}");
    }
    let long = tokenizer.encode(&"at ".repeat(80)).expect("a prompt");
    assert_eq!((long.dropped, long.ids[75], long.ids[76]), (5, 514, end));
    let padded = small().with_padding("!").expect("it is there").encode("at").expect("a prompt");
    assert_eq!(padded.ids[..4], [start, 514, end, 0]);
    let error = tokenizer.encode(&"a".repeat(20_000)).expect_err("too long").to_string();
    assert!(error.contains("20000 bytes"), "{error}");
    for (vocab, merges, names) in [
        ("[]", "", "vocab.json"),
        ("{}", "", "<|startoftext|>"),
        (r#"{"a": 0}"#, "a b", "\"b\""),
        (r#"{"a": 0}"#, "ab", "line 1 of merges.txt"),
    ] {
        let line = Tokenizer::new(vocab, merges).expect_err(vocab).to_string();
        assert!(line.contains(names) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn tokens_are_those_of_clip() {
    let Some(folder) = assets() else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    let tokenizer = Tokenizer::new(&read("vocab.json"), &read("merges.txt")).expect("CLIP's vocabulary");
    let cases: Vec<serde_json::Value> = serde_json::from_str(&read("clip_tokens_golden.json")).expect("JSON");
    assert_eq!(cases.len(), 18);
    for case in cases {
        let prompt = case["text"].as_str().expect("a prompt");
        let want: Vec<u32> = serde_json::from_value(case["ids"].clone()).expect("tokens");
        assert_eq!(tokenizer.encode(prompt).expect("a short prompt").ids, want, "{prompt}");
    }
    // By tokenizers 0.23, which transformers uses: marks that are no letters, composed forms, digits of all scripts.
    let further: [(&str, &[u32]); 5] = [
        ("हिन्दी भाषा", &[29446, 26721, 26090, 19389, 29552, 25751, 3124, 511, 13343, 3124, 371, 13343]),
        (
            "e\u{301}te\u{301} İstanbul ΟΔΟΣ",
            &[3459, 39694, 328, 16384, 11231, 138, 123, 138, 112, 138, 123, 139, 481],
        ),
        ("Ⅳ ½ ٣", &[158, 227, 367, 33613, 149, 352]),
        ("!!'s it's''t", &[1443, 262, 338, 585, 568, 8445, 339]),
        ("한국어 각", &[15197, 250, 31871, 255, 31625, 368, 21122, 479]),
    ];
    for (prompt, want) in further {
        let ids = tokenizer.encode(prompt).expect("a short prompt").ids;
        assert_eq!((&ids[1..=want.len()], ids[want.len() + 1]), (want, 49407), "{prompt}");
    }
}

/// A configuration; steps, steps left out at the beginning, evaluations; the first timestep; the last latents 0 and 13
/// of 32 from seed 5, by diffusers 0.42.1.
#[rustfmt::skip]
const GOLDENS: &[(&str, [usize; 3], f64, [f32; 2])] = &[
    (r#"{"_class_name": "DDPMScheduler", "timestep_spacing": "trailing", "variance_type": "fixed_large", "clip_sample_range": 2.0}"#, [7, 0, 7], 999.0, [-0.10199639, -0.14595155]),
    (r#"{"_class_name": "DDPMScheduler", "timestep_spacing": "linspace", "prediction_type": "v_prediction", "thresholding": true, "sample_max_value": 3.0, "dynamic_thresholding_ratio": 0.9, "beta_schedule": "sigmoid"}"#, [6, 0, 6], 999.0, [-0.030495271, -0.010704964]),
    (r#"{"_class_name": "DDPMScheduler", "beta_schedule": "laplace", "prediction_type": "sample", "clip_sample": false}"#, [6, 0, 6], 830.0, [0.39474013, -0.20514765]),
    (r#"{"_class_name": "DDPMScheduler", "trained_betas": [0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.3], "num_train_timesteps": 8}"#, [4, 2, 2], 2.0, [1.0, -0.36068895]),
    (r#"{"_class_name": "DDIMScheduler", "timestep_spacing": "linspace", "prediction_type": "sample", "thresholding": true, "sample_max_value": 2.0}"#, [7, 0, 7], 999.0, [0.4136095, -0.1941908]),
    (r#"{"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": false, "steps_offset": 1, "clip_sample_range": 3.0}"#, [9, 4, 5], 445.0, [1.7621543, -0.29246756]),
    (r#"{"_class_name": "PNDMScheduler"}"#, [9, 0, 18], 888.0, [4.6740627, -0.43849546]),
    (r#"{"_class_name": "PNDMScheduler", "prediction_type": "v_prediction", "timestep_spacing": "trailing"}"#, [8, 0, 17], 999.0, [0.59103274, -0.08914709]),
    (r#"{"_class_name": "PNDMScheduler", "skip_prk_steps": true, "prediction_type": "v_prediction", "steps_offset": 1, "set_alpha_to_one": true, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 3, 6], 626.0, [1.0102792, -0.16820519]),
    (r#"{"_class_name": "PNDMScheduler", "skip_prk_steps": true, "timestep_spacing": "linspace", "beta_schedule": "squaredcos_cap_v2"}"#, [6, 0, 7], 999.0, [-3422.8445, -125.77952]),
    (r#"{"_class_name": "LMSDiscreteScheduler", "use_karras_sigmas": true, "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [0.6330106, -0.09432155]),
    (r#"{"_class_name": "LMSDiscreteScheduler", "timestep_spacing": "trailing", "prediction_type": "sample", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 3, 5], 624.0, [2.001205, -0.35199177]),
    (r#"{"_class_name": "LMSDiscreteScheduler", "use_exponential_sigmas": true, "timestep_spacing": "leading", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [6, 0, 6], 830.0, [2.4018948, -0.2772762]),
    (r#"{"_class_name": "EulerDiscreteScheduler", "use_exponential_sigmas": true, "timestep_spacing": "leading", "steps_offset": 1, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [6, 0, 6], 831.0, [2.437684, -0.26544675]),
    (r#"{"_class_name": "EulerDiscreteScheduler", "interpolation_type": "log_linear", "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [6, 2, 4], 599.4000244140625, [4.714197, -1.10161]),
    (r#"{"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing", "rescale_betas_zero_snr": true, "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [6, 0, 6], 999.0, [0.45403504, -0.058905564]),
    (r#"{"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous", "prediction_type": "v_prediction", "use_karras_sigmas": true, "sigma_min": 0.002, "sigma_max": 700.0, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [5, 0, 5], 1.6377700567245483, [0.25089186, -0.012317864]),
    (r#"{"_class_name": "EulerDiscreteScheduler", "prediction_type": "sample", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [5, 0, 5], 999.0, [0.50837684, -0.2892935]),
    (r#"{"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing", "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [6, 1, 5], 832.0, [-0.028346064, -0.057019386]),
    (r#"{"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "leading", "rescale_betas_zero_snr": true, "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [6, 0, 6], 830.0, [-0.052632235, -0.03098838]),
    (r#"{"_class_name": "HeunDiscreteScheduler", "use_karras_sigmas": true, "clip_sample": true, "clip_sample_range": 1.5, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [5, 2, 5], 427.4897766113281, [1.5, -1.5]),
    (r#"{"_class_name": "HeunDiscreteScheduler", "beta_schedule": "exp", "timestep_spacing": "leading", "prediction_type": "v_prediction"}"#, [5, 0, 9], 800.0, [2.7879212, -0.6598121]),
    (r#"{"_class_name": "HeunDiscreteScheduler", "prediction_type": "sample", "timestep_spacing": "trailing"}"#, [4, 0, 7], 999.0, [1.1629529, -0.41306144]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "solver_order": 1, "solver_type": "midpoint", "prediction_type": "epsilon", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [3.0318484, -0.2617262]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint", "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [0.7094574, -0.101107284]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "heun", "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [0.72215754, -0.103116624]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "solver_order": 3, "solver_type": "midpoint", "prediction_type": "epsilon", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [2.9142067, -0.28602022]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "solver_order": 1, "solver_type": "midpoint", "prediction_type": "epsilon", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [0.21369201, -0.10228374]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "solver_order": 2, "solver_type": "midpoint", "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [0.021903008, -0.088322446]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "solver_order": 2, "solver_type": "heun", "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [0.029486172, -0.08792415]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "solver_order": 3, "solver_type": "midpoint", "prediction_type": "epsilon", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [0.003998567, -0.11634026]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver", "solver_order": 1, "solver_type": "midpoint", "prediction_type": "epsilon", "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [3.0777173, -0.2689346]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver", "solver_order": 2, "solver_type": "midpoint", "prediction_type": "v_prediction", "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [0.7077226, -0.10180451]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver", "solver_order": 2, "solver_type": "heun", "prediction_type": "v_prediction", "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [0.698791, -0.10035767]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver", "solver_order": 3, "solver_type": "midpoint", "prediction_type": "epsilon", "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [2.920085, -0.29234537]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver", "solver_order": 1, "solver_type": "midpoint", "prediction_type": "epsilon", "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [-0.05175732, -0.4482152]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver", "solver_order": 2, "solver_type": "midpoint", "prediction_type": "v_prediction", "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [-0.08433679, -0.3729345]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver", "solver_order": 2, "solver_type": "heun", "prediction_type": "v_prediction", "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 0, 8], 999.0, [-0.06604245, -0.38218743]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3, "final_sigmas_type": "sigma_min", "timestep_spacing": "leading", "steps_offset": 1, "lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2"}"#, [16, 4, 12], 697.0, [1.7382984, -0.26615918]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": true, "thresholding": true, "sample_max_value": 2.0, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"}"#, [9, 0, 9], 998.0, [0.34145066, -0.19329335]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "use_lu_lambdas": true, "timestep_spacing": "trailing", "euler_at_final": true, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [9, 0, 9], 999.0, [2.5899296, -0.3198332]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "use_exponential_sigmas": true, "algorithm_type": "dpmsolver", "thresholding": true, "sample_max_value": 2.0, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [9, 0, 9], 998.0, [0.8453548, -0.13054517]),
    (r#"{"_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "trailing", "rescale_betas_zero_snr": true, "prediction_type": "v_prediction", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [9, 0, 9], 999.0, [0.67156935, -0.095512055]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 1, "solver_type": "bh1", "predict_x0": true, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.754329, -0.29271457]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 1, "solver_type": "bh1", "predict_x0": false, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.6838145, -0.30691665]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 1, "solver_type": "bh2", "predict_x0": true, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.8258135, -0.27610916]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 1, "solver_type": "bh2", "predict_x0": false, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.5642514, -0.32124037]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 2, "solver_type": "bh1", "predict_x0": true, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.709467, -0.30602136]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 2, "solver_type": "bh1", "predict_x0": false, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.7386022, -0.30431625]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 2, "solver_type": "bh2", "predict_x0": true, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.7501981, -0.29001087]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 2, "solver_type": "bh2", "predict_x0": false, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.6291742, -0.3118359]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "solver_type": "bh1", "predict_x0": true, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.7899969, -0.30364028]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "solver_type": "bh1", "predict_x0": false, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.7361588, -0.30383822]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "solver_type": "bh2", "predict_x0": true, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.828105, -0.28862402]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "solver_type": "bh2", "predict_x0": false, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [7, 0, 7], 999.0, [2.6453583, -0.31111938]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "use_karras_sigmas": true, "prediction_type": "v_prediction", "disable_corrector": [4], "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [8, 3, 5], 549.0, [1.1373444, -0.18759473]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "solver_order": 2, "use_exponential_sigmas": true, "prediction_type": "sample", "thresholding": true, "sample_max_value": 2.0, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [6, 0, 6], 998.0, [0.43451646, -0.208642]),
    (r#"{"_class_name": "UniPCMultistepScheduler", "timestep_spacing": "trailing", "lower_order_final": false, "final_sigmas_type": "sigma_min", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}"#, [6, 0, 6], 999.0, [3.08653, -0.35654712]),
    (r#"{"_class_name": "LCMScheduler", "prediction_type": "v_prediction", "clip_sample": true, "timestep_scaling": 7.0}"#, [6, 0, 6], 999.0, [0.13919753, 0.120422624]),
    (r#"{"_class_name": "LCMScheduler", "prediction_type": "sample", "thresholding": true, "sample_max_value": 2.0}"#, [5, 2, 3], 599.0, [-0.10367805, -0.19166169]),
    (r#"{"_class_name": "EDMEulerScheduler", "sigma_schedule": "exponential", "prediction_type": "v_prediction", "final_sigmas_type": "sigma_min", "sigma_data": 1.0}"#, [6, 0, 6], 1.0955066680908203, [0.42682454, -0.039739076]),
    (r#"{"_class_name": "EDMEulerScheduler", "sigma_min": 0.01, "sigma_max": 50.0, "rho": 5.0}"#, [6, 2, 4], 0.48266372084617615, [7.9217443, -1.7944326]),
];
