//! Ways of writing a network in ONNX, one in each file of `tests/vectors/spellings`: all give ONNX Runtime's results.

use crate::support::{Tolerance, Vectors, backends, closeness};
use std::path::{Path, PathBuf};
use unet_wgpu::{Model, Tensor};

fn file(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/spellings").join(format!("{case}.onnx"))
}

/// Of quantised results, at most this part may be a step off: where a number lies on the border between two.
const ON_BORDERS: f64 = 0.02;

/// Runs the cases whose names begin so.
fn check(prefix: &str) {
    let vectors = Vectors::read("spellings");
    let cases: Vec<_> = vectors.cases.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
    assert!(!cases.is_empty(), "no case begins with {prefix}");
    let mut faults = Vec::new();
    for (case, about) in cases {
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        let step = about["step"].as_f64().expect("a width");
        let graph = Model::open(file(case)).and_then(|model| Ok(model.graph(input.shape())?.into_owned()));
        let graph = match graph {
            Ok(graph) => graph,
            Err(error) => {
                faults.push(format!("{case}: {error}"));
                continue;
            }
        };
        for backend in backends().iter().filter(|backend| !backend.is_forced()) {
            let got = backend.run(&graph, input);
            let fault = match step {
                // In f16 a number beside a threshold may be on its other side.
                0.0 if backend.is_half() && case.contains("choice") => None,
                0.0 => closeness(&got, want, backend.tolerance(Tolerance::Network)).err(),
                // Sums of whole numbers are larger than anything that f16 holds.
                _ if backend.is_half() => None,
                step => steps(&got, want, step).err(),
            };
            faults.extend(fault.map(|fault| format!("{case} on {backend}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether the numbers are the same but for a few that are a step off.
fn steps(got: &Tensor, want: &Tensor, step: f64) -> Result<(), String> {
    if got.shape() != want.shape() {
        return Err(format!("shape {}, want {}", got.shape(), want.shape()));
    }
    let off: Vec<f64> =
        got.data().iter().zip(want.data()).map(|(g, w)| (f64::from(*g) - f64::from(*w)).abs()).collect();
    let worst = off.iter().copied().fold(0.0, f64::max);
    let differ = off.iter().filter(|&&d| d.is_nan() || d > 0.05 * step).count();
    match worst <= 1.05 * step && differ as f64 <= ON_BORDERS * off.len() as f64 {
        true => Ok(()),
        false => Err(format!("{:.2} steps off, {differ} of {} differ", worst / step, off.len())),
    }
}

#[test]
fn order_spellings() {
    check("order_");
}

#[test]
fn functions_spellings() {
    check("functions_");
}

#[test]
fn fold_spellings() {
    check("fold_");
}

#[test]
fn empty_spellings() {
    check("empty_");
}

#[test]
fn rank_spellings() {
    check("rank_");
}

#[test]
fn line_spellings() {
    check("line_");
}

#[test]
fn pick_spellings() {
    check("pick_");
}

#[test]
fn control_spellings() {
    check("control_");
}

#[test]
fn microsoft_spellings() {
    check("microsoft_");
}

#[test]
fn quantised_spellings() {
    check("quantised_");
}

#[test]
fn function_spellings() {
    ["function_", "log_softmax", "einsum_"].into_iter().for_each(check);
}

#[test]
fn every_case_is_checked() {
    let prefixes = [
        "order_",
        "function",
        "fold_",
        "empty_",
        "rank_",
        "line_",
        "pick_",
        "control_",
        "microsoft_",
        "quantised_",
    ];
    let more = ["log_softmax", "einsum_"];
    let vectors = Vectors::read("spellings");
    let known = |name: &str| prefixes.iter().chain(&more).any(|prefix| name.starts_with(prefix));
    assert_eq!(vectors.cases.keys().find(|name| !known(name)), None);
}
