//! ncnn files: ncnn's own results, and files that do not add up.

use crate::support::{Tolerance, Vectors, assert_close, check};
use std::path::{Path, PathBuf};
use unet_wgpu::{Error, Model, cpu};

/// Networks in `tests/vectors/ncnn`.
pub(crate) const CASES: [&str; 9] =
    ["cunet", "cunet_half", "esrgan", "functions", "shapes", "branches", "norms", "convs", "further"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/ncnn").join(name)
}

/// The two files of a network.
pub(crate) fn files(case: &str) -> [Vec<u8>; 2] {
    ["param", "bin"].map(|end| std::fs::read(path(&format!("{case}.{end}"))).expect("a file"))
}

fn message(param: &str, bin: &[u8]) -> String {
    match Model::from_ncnn(param.as_bytes(), bin) {
        Err(error @ (Error::Model(_) | Error::Shape { .. })) => error.to_string(),
        other => panic!("expected an error that tells of the file, got {:?}", other.err()),
    }
}

#[test]
fn ncnn_files_give_ncnns_results_on_every_backend() {
    let vectors = Vectors::read("ncnn/results");
    for case in CASES {
        let model = Model::open(path(&format!("{case}.param"))).unwrap_or_else(|error| panic!("{error}"));
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        let graph = model.graph(input.shape()).unwrap_or_else(|error| panic!("{case}: {error}"));
        check(case, &graph, input, want, Tolerance::Network);
    }
}

#[test]
fn converted_ncnn_files_read_back_the_same() {
    let vectors = Vectors::read("ncnn/results");
    let input = vectors.get("cunet/input");
    let model = Model::open(path("cunet.param")).expect("it is read");
    let back =
        Model::from_safetensors(&model.to_safetensors(false).expect("it is written")).expect("it is read");
    let run =
        |model: &Model| cpu::run(&model.graph(input.shape()).expect("its size"), input).expect("it runs");
    assert_close("converted", &run(&back), &run(&model), Tolerance::Network);
}

#[test]
fn ncnn_files_that_do_not_add_up_are_refused_by_name() {
    let [param, bin] = files("esrgan");
    let param = String::from_utf8(param).expect("text");
    let changed = |from: &str, to: &str| message(&param.replacen(from, to, 1), &bin);
    for (text, part) in [
        (message("", &[]), "7767517"),
        (message("7767517\n", &[]), "ends after the first line"),
        (message("7767517\n2 2\nInput data 0 1 data\n", &[]), "expected 2 layers"),
        (message("7767517\n1 1\nInput data 0 1\n", &[]), "ends early"),
        (message("7767517\n1 1\nInput data 0 1 data 0=a\n", &[]), "is no number"),
        (message("7767517\n1 1\nInput data 0 1 data\n", &[]), "number of channels is not told"),
        (changed("PReLU", "LSTM"), "not supported"),
        (changed("0=8 1=3", "0=9 1=3"), "24 is not divisible by 9"),
        (changed(" b2_0 ", " b99 "), "no layer before makes its input b2_0"),
        (changed("6=216", "6=216 8=1"), "int8"),
        (message(&param, &bin[..bin.len() - 8]), "ends early"),
        (message(&param, &[&bin[..], &[0; 4]].concat()), "belong to no layer"),
        (message(&param, &[&[0x38, 0x4b, 0x0d, 0], &bin[4..]].concat()), "int8"),
    ] {
        assert!(text.contains(part) && text.lines().count() == 1, "{part}: {text}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let alone = folder.path().join("net.param");
    std::fs::write(&alone, &param).expect("it is written");
    let text = Model::open(&alone).expect_err("it is refused").to_string();
    assert!(text.contains("expected net.bin beside it"), "{text}");
}
