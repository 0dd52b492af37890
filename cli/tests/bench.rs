//! `unet bench` and `unet inspect --roofline`: figures for scripts, charts, and one-line errors for bad requests.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use unet_wgpu::image::Picture;

/// A folder in which the command runs, and its model.
struct Desk {
    folder: TempDir,
    model: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/denoise.safetensors");
        Desk { folder: tempfile::tempdir().unwrap(), model }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `unet WORD MODEL REST`.
    fn run(&self, word: &str, rest: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unet"));
        command.arg(word).arg(&self.model).args(rest.split_whitespace());
        // Mesa complains on stderr if this is missing, and the tests count lines.
        command.current_dir(self.folder.path()).env("XDG_RUNTIME_DIR", self.folder.path());
        command.output().unwrap()
    }

    #[track_caller]
    fn text(&self, word: &str, rest: &str) -> String {
        let output = self.run(word, rest);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "unet {word} {rest}: {message}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn bench(&self, rest: &str) -> Value {
        self.text("bench", &format!("{rest} --json bench.json"));
        serde_json::from_slice(&std::fs::read(self.path("bench.json")).unwrap()).unwrap()
    }

    #[track_caller]
    fn roofline(&self, rest: &str) -> Value {
        serde_json::from_str(&self.text("inspect", &format!("--roofline --json {rest}"))).unwrap()
    }

    /// Runs a command that must end with code 1, one line that contains all parts, and no file.
    #[track_caller]
    fn refuses(&self, word: &str, rest: &str, parts: &[&str]) {
        let output = self.run(word, rest);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "unet {word} {rest}: {message}");
        assert_eq!(message.lines().count(), 1, "unet {word} {rest}: {message}");
        for part in parts {
            assert!(message.contains(part), "unet {word} {rest}: no {part:?} in {message}");
        }
        assert_eq!(
            std::fs::read_dir(self.folder.path()).unwrap().count(),
            0,
            "unet {word} {rest} left a file"
        );
    }
}

#[track_caller]
fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {value}"))
}

fn sum(items: &Value, key: &str) -> f64 {
    items.as_array().unwrap().iter().map(|item| number(item, key)).sum()
}

/// Checks what every run contains on every device.
#[track_caller]
fn assert_sane(run: &Value) {
    let [least, median, p95] = ["min_ms", "median_ms", "p95_ms"].map(|key| number(run, key));
    assert!(0.0 < least && least <= median && median <= p95, "{run}");
    let per_second = number(run, "batch") / number(run, "overlapped_ms") * 1e3;
    assert!((number(run, "pictures_per_s") / per_second - 1.0).abs() < 1e-9);
    let pixels = number(run, "height") * number(run, "width");
    assert!((number(run, "megapixels_per_s") * 1e6 / (pixels * per_second) - 1.0).abs() < 1e-9);
    assert!((number(run, "gflops") * median * 1e6 / number(run, "flops") - 1.0).abs() < 1e-9);
}

#[test]
fn a_run_on_the_cpu_has_all_figures() {
    let desk = Desk::new();
    let report = desk.bench("--size 16,16x24 --batch 1,2 --runs 3 --device cpu");
    let runs = report["runs"].as_array().unwrap();
    let key = |run: &Value| ["height", "width", "batch"].map(|key| run[key].as_u64().unwrap());
    assert_eq!(
        runs.iter().map(key).collect::<Vec<_>>(),
        [[16, 16, 1], [16, 16, 2], [16, 24, 1], [16, 24, 2]]
    );
    runs.iter().for_each(assert_sane);
    assert!(runs.iter().all(|run| number(&run["check"], "nrmse") < 1e-4 && run["device_ms"].is_null()));
    assert_eq!((&report["checked"], &report["ceilings"]), (&true.into(), &Value::Null));
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let date = report["date"].as_str().unwrap();
    assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{date}");
    assert!(report["device"].as_str().unwrap().contains("CPU"));
}

#[test]
fn unchecked_figures_say_so() {
    let desk = Desk::new();
    let line = "--size 16 --runs 1 --device cpu --no-check";
    let report = desk.bench(line);
    assert_eq!((&report["checked"], &report["runs"][0]["check"]), (&false.into(), &Value::Null));
    assert!(desk.text("bench", line).contains("NOT checked"));
    assert!(desk.text("bench", "--size 16 --runs 1 --device cpu").contains("agree with the CPU reference"));
}

#[test]
fn layers_are_measured_against_ceilings() {
    if !crate::device::gpu().is_some_and(|gpu| gpu.report().timestamps) {
        eprintln!("no adapter with timestamps: layers were not timed");
        return;
    }
    let desk = Desk::new();
    let line = "--size 32 --batch 1,2 --runs 2 --layers --device gpu --precision both --chart chart.svg";
    let report = desk.bench(line);
    let ceilings = &report["ceilings"];
    assert!(number(ceilings, "fma_f32_gflops") > 0.1 && number(ceilings, "copy_gbs") > 0.1);
    let half = report["adapter"]["f16"].as_bool().unwrap();
    assert_eq!(ceilings["fma_f16_gflops"].is_number(), half);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), if half { 4 } else { 2 });
    for run in runs {
        assert_sane(run);
        let layers = &run["layers"];
        let names: Vec<&str> =
            layers.as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"enc1.conv1") && names.contains(&"unpack"), "{names:?}");
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "dispatches of one layer are one entry: {names:?}");
        assert_eq!(sum(layers, "flops"), number(run, "flops"), "no work is lost or counted twice");
        assert!((sum(layers, "ms") / number(run, "device_ms") - 1.0).abs() < 1e-6);
        for layer in layers.as_array().unwrap() {
            assert!(number(layer, "dispatches") >= 1.0 && number(layer, "bytes") > 0.0, "{layer}");
            assert!(number(layer, "share_of_fma") >= 0.0 && number(layer, "share_of_copy") >= 0.0, "{layer}");
        }
    }
    let text = std::fs::read_to_string(desk.path("chart.svg")).unwrap();
    for part in ["FMA f32", "copy, ", "enc1.conv1", "time by batch", "f32 "] {
        assert!(text.contains(part), "no {part:?} in the chart");
    }
    assert!(!text.contains("time by picture size"), "there was one size");
}

#[test]
fn charts_are_valid_files() {
    let desk = Desk::new();
    let line = "--size 16,32 --batch 1,2 --runs 1 --device cpu --no-check --chart";
    desk.text("bench", &format!("{line} chart.svg"));
    let text = std::fs::read_to_string(desk.path("chart.svg")).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
    let side = |name: &str| root.attribute(name).unwrap().parse::<f64>().unwrap();
    for element in document.descendants().filter(|node| node.is_element()) {
        for (horizontal, vertical) in [("x", "y"), ("x1", "y1"), ("x2", "y2"), ("cx", "cy")] {
            let inside = |name: &str, most: f64| match element.attribute(name) {
                Some(text) => (-1.0..=most + 1.0).contains(&text.parse::<f64>().unwrap()),
                None => true,
            };
            assert!(inside(horizontal, side("width")) && inside(vertical, side("height")), "{element:?}");
        }
    }
    let words = document.descendants().filter_map(|node| node.text()).collect::<Vec<_>>().join(" ");
    for part in ["time by picture size", "time by batch", "batch 2 f32", "32x32 f32", "CPU", "NOT checked"] {
        assert!(words.contains(part), "no {part:?} in {words}");
    }

    desk.text("bench", &format!("{line} chart.png"));
    let picture = Picture::open(&desk.path("chart.png")).unwrap();
    assert_eq!(picture.width() as f64, 2.0 * side("width"));
    assert_eq!(picture.height() as f64, (2.0 * side("height")).round());
    let dark = picture.planes().data().iter().filter(|v| **v < 128.0).count();
    let share = dark as f64 / picture.planes().shape().elements() as f64;
    assert!((0.001..0.2).contains(&share), "{share} of the picture is dark");
}

#[test]
fn rooflines_add_up_to_the_network() {
    let desk = Desk::new();
    for options in ["--size 64", "--size 61x37", "--size 64 --no-optimize", "--size 64 --precision f16"] {
        let report = desk.roofline(options);
        let roofline = &report["roofline"];
        for part in ["layers", "groups"] {
            let part = &roofline[part];
            assert_eq!(part["flops"], report["flops"], "{options}");
            assert_eq!(sum(&part["all"], "flops"), number(&report, "flops"), "{options}");
            assert!((sum(&part["all"], "floor_us") / number(part, "floor_us") - 1.0).abs() < 1e-9);
        }
        let count = report["layers"].as_array().unwrap().len() as f64;
        assert_eq!(sum(&roofline["groups"]["all"], "layers"), count, "{options}");
        assert!(number(&roofline["groups"], "bytes") <= number(&roofline["layers"], "bytes"));
        let fewer = roofline["groups"]["all"].as_array().unwrap().len() as f64 <= count;
        assert!(fewer, "{options}");
    }
    // Rates that are so far apart that only one of them matters.
    let one = |options: &str| {
        let report = desk.roofline(options);
        report["roofline"]["layers"]["all"]
            .as_array()
            .unwrap()
            .iter()
            .find(|l| l["name"] == "enc1.conv1")
            .cloned()
            .unwrap()
    };
    let (full, half) =
        (one("--size 64 --tflops 1 --gbs 1e9"), one("--size 64 --precision f16 --tflops 1 --gbs 1e-3"));
    assert_eq!(number(&full, "bytes"), 2.0 * number(&half, "bytes"));
    assert!((number(&full, "floor_us") - number(&full, "flops") / 1e6).abs() < 1e-9);
    assert!((number(&half, "floor_us") - number(&half, "bytes")).abs() < 1e-6 * number(&half, "bytes"));
    assert_eq!((&full["bound"], &half["bound"]), (&"compute".into(), &"memory".into()));
    let text = desk.text("inspect", "--roofline --size 64");
    assert!(
        text.contains("60.0 TFLOP/s") && text.contains("4800 GB/s") && text.contains("fused groups"),
        "{text}"
    );
}

#[test]
fn bad_requests_are_one_line() {
    let desk = Desk::new();
    let bench =
        |rest: &str, parts: &[&str]| desk.refuses("bench", &format!("--device cpu --size 16 {rest}"), parts);
    bench("--chart new.gif", &["new.gif", ".svg", ".png"]);
    bench("--chart new", &["--chart", ".svg"]);
    bench("--chart new.svg", &["--chart", "GPU", "several sizes"]);
    bench("--layers", &["--layers", "GPU"]);
    bench("--precision f16", &["f16", "CPU"]);
    bench("--json nowhere/new.json --runs 1", &["nowhere"]);
    desk.refuses("inspect", "--precision both", &["--precision both", "bench"]);
    for (word, rest) in [
        ("bench", "--batch 0"),
        ("bench", "--batch 1,x"),
        ("bench", "--size 16,"),
        ("bench", "--runs 0"),
        ("inspect", "--tflops 1"),
        ("inspect", "--roofline --tflops 0"),
        ("inspect", "--roofline --gbs nan"),
    ] {
        assert_eq!(desk.run(word, rest).status.code(), Some(2), "unet {word} {rest}");
    }
}
