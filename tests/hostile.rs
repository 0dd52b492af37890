//! Damaged and malicious files: each loads or gives a one-line error in bounded time, and nothing panics.

mod onnx; // ONNX files that ask for the impossible
mod pictures; // picture files of every format: cut, damaged, greedy

use crate::{import, ncnn, zoo};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use unet_wgpu::{Error, Model, Random, Result, Shape, Tensor, cpu};

/// Damaged files for each format.
const MUTATIONS: usize = 100_000;

/// Most time for one file, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Only graphs with at most this many numbers, in values and in weights, are run.
const TINY: usize = 1 << 13;

type Read = fn(&[u8]) -> Result<Model>;

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).expect("a file")
}

fn state_dict(name: &str) -> Vec<u8> {
    vector(&format!("state_dicts/{name}"))
}

/// Reads a file. If it loads, builds the graph, and runs it if it is tiny. Returns whether it loads.
#[track_caller]
fn survives(what: &str, read: impl Fn() -> Result<Model>) -> bool {
    let start = Instant::now();
    let told = |error: Error| {
        let text = error.to_string();
        assert!(
            matches!(error, Error::Model(_) | Error::UnknownNetwork(_) | Error::Shape { .. }),
            "{what}: {error:?}"
        );
        assert!(text.lines().count() == 1 && text.chars().count() < 2000, "{what}: {text}");
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let model = match read() {
            Ok(model) => model,
            Err(error) => {
                told(error);
                return false;
            }
        };
        let example = model.example_input();
        for input in [example, Shape { h: 16, w: 24, ..example }] {
            if let Err(error) = model.graph(input).and_then(|graph| run_if_tiny(&graph, input)) {
                told(error);
            }
        }
        true
    }));
    let took = start.elapsed();
    assert!(took < PATIENCE, "{what}: took {took:?}");
    outcome.unwrap_or_else(|_| panic!("{what}: panicked"))
}

fn run_if_tiny(graph: &unet_wgpu::graph::Graph, input: Shape) -> Result<()> {
    let values =
        graph.shapes(input)?.into_iter().flatten().fold(0usize, |n, s| n.saturating_add(s.elements()));
    if values <= TINY && graph.parameters() <= TINY {
        cpu::run(graph, &Tensor::random(input, 1))?;
    }
    Ok(())
}

/// A file with one to eight changes, or the beginning of one file and the end of another.
fn damaged(files: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut file = files[random.below(files.len())].clone();
    if random.below(10) == 0 {
        let other = &files[random.below(files.len())];
        file.truncate(random.below(file.len()));
        file.extend(&other[random.below(other.len())..]);
        return file;
    }
    // Names, shapes and programs are at either end. Damage there breaks more than damage to numbers.
    let len = file.len();
    let (from, to) =
        random.pick(&[(0, len), (0, len.min(2048)), (0, len.min(256)), (len.saturating_sub(2048), len)]);
    for _ in 0..1 + random.below(8) {
        let place = from + random.below(to - from);
        let rest = len - place;
        match random.below(6) {
            0 => file[place] = random.bits() as u8,
            1 => file[place] ^= 1 << random.below(8),
            2 => {
                file[place] =
                    random.pick(b"\0\x01\x02\x7f\x80\xff(.0123456789QR\x81]}){[\",:-eEtus\x85\x86NKMJ")
            }
            3 => {
                let source = random.below(len);
                let run = random.below(9).min(rest).min(len - source);
                file.copy_within(source..source + run, place);
            }
            4 => {
                let number: u64 =
                    random.pick(&[0, 1, 1 << 20, u64::from(u32::MAX), 1 << 31, 1 << 62, 1 << 63, u64::MAX]);
                let run = random.pick(&[2, 4, 8]).min(rest);
                file[place..place + run].copy_from_slice(&number.to_le_bytes()[..run]);
            }
            // A protobuf varint that is as large as ten bytes allow.
            _ => file[place..place + rest.min(10)].fill(0xff),
        }
    }
    file
}

/// A text and the bytes behind its first zero, as one file.
fn read_ncnn(bytes: &[u8]) -> Result<Model> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    Model::from_ncnn(&bytes[..end], bytes.get(end + 1..).unwrap_or(&[]))
}

#[test]
fn damaged_ncnn() {
    let joined = |case: &str| {
        let [param, bin] = ncnn::files(case);
        [&param[..], &[0], &bin].concat()
    };
    let files = ["esrgan", "branches", "norms", "cunet_half"].map(joined);
    torment("ncnn", &files, MUTATIONS / 10, read_ncnn);
}

/// Truncates and damages files of a format, on all cores.
fn torment(format: &str, files: &[Vec<u8>], mutations: usize, read: Read) {
    let start = Instant::now();
    for (i, file) in files.iter().enumerate() {
        assert!(survives(format, || read(file)), "{format} {i} loads as it is");
        for place in (0..100).map(|cut| cut * file.len() / 100).chain([file.len() - 1]) {
            assert!(
                !survives(&format!("{format} {i} cut at {place}"), || read(&file[..place])),
                "{format} {i} cut at {place} loads"
            );
        }
    }
    let loaded = AtomicUsize::new(0);
    (0..mutations).into_par_iter().for_each(|i| {
        let bytes = damaged(files, &mut Random::new(i as u64));
        loaded.fetch_add(survives(&format!("{format}, mutation {i}"), || read(&bytes)).into(), Relaxed);
    });
    let (loaded, took) = (loaded.into_inner(), start.elapsed());
    eprintln!("{format}: {mutations} damaged files, {loaded} of which load, in {took:.1?}");
    assert!(loaded < mutations * 9 / 10, "{format}: {loaded} load; the damage is done in the wrong places");
}

#[test]
fn damaged_safetensors() {
    torment("safetensors", &import::small_files(), MUTATIONS, Model::from_safetensors);
}

#[test]
fn damaged_pickles() {
    let files = ["small.pth", "small_legacy.pth"].map(state_dict);
    torment("pickle", &files, MUTATIONS, Model::from_pytorch);
    torment(
        "pickle",
        &["small_script.pt", "milesial.pth", "milesial_legacy.pth"].map(state_dict),
        1000,
        Model::from_pytorch,
    );
}

#[test]
fn damaged_tza() {
    torment("tza", &["oidn.tza", "oidn_large.tza"].map(state_dict), MUTATIONS, Model::from_tza);
}

#[test]
fn damaged_onnx() {
    let files = ["onnx_classes.onnx", "onnx_resized.onnx", "onnx_transposed.onnx"].map(vector);
    torment("onnx", &files, MUTATIONS, Model::from_onnx);
}

/// Functions, branches, loops, sequences, quantised numbers and fused operators.
#[test]
fn damaged_onnx_spellings() {
    let files = [
        "control_loop",
        "control_split_sequence",
        "einsum_attention",
        "empty_part_of_a_split",
        "fold_arg_max_one_hot",
        "fold_scatter_elements",
        "fold_top_k",
        "functions_in_a_branch",
        "functions_nested",
        "line_dilated",
        "microsoft_fused_conv_sum",
        "microsoft_matmul_4_bits_zeros",
        "microsoft_skip_layer_norm",
        "pick_flip_by_elements",
        "pick_points",
        "quantised_dynamic",
        "quantised_qoperator_u8s8_channels",
        "quantised_weights_of_4_bits_in_blocks",
        "rank_6_both_broadcast",
    ];
    let files = files.map(|name| vector(&format!("spellings/{name}.onnx")));
    torment("spellings of onnx", &files, MUTATIONS / 2, Model::from_onnx);
}

#[test]
fn damaged_onnx_beside_its_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = std::fs::read(zoo::unpack("cunet.ts", folder.path())).expect("a model");
    (0..4000).into_par_iter().for_each(|i| {
        let file = folder.path().join(format!("{i}.onnx"));
        let bytes = damaged(std::slice::from_ref(&whole), &mut Random::new(i));
        std::fs::write(&file, bytes).expect("it is written");
        survives(&format!("cunet, mutation {i}"), || match Model::open(&file) {
            // A file other than weights.bin, which does not exist.
            Err(Error::Io { .. }) => Err(Error::Model("missing".into())),
            other => other,
        });
        std::fs::remove_file(&file).expect("it is there");
    });
}
