//! `unet tune` and `unet start`: the data that the command keeps between runs.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::desk::Desk;
use crate::device::gpu;
use serde_json::Value;
use std::path::PathBuf;

/// The files that the command keeps on this desk, without those of the driver.
fn kept(desk: &Desk, ending: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(desk.path("cache/unet-wgpu")).into_iter().flatten();
    let files = files.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == ending)).collect()
}

/// The kernels that the command uses.
fn kernels(desk: &Desk, options: &str) -> Vec<String> {
    let line = "bench same.safetensors --size 12x16 --runs 1 --layers --device gpu --json bench.json";
    let output = desk.unet(&format!("{line} {options}"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "caches are not talked about");
    let report: Value = serde_json::from_slice(&std::fs::read(desk.path("bench.json")).unwrap()).unwrap();
    let layers = report["runs"][0]["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["kernel"].as_str().unwrap().to_string()).collect()
}

#[test]
fn the_binary_keeps_what_it_measured_and_takes_it_later() {
    let Some(gpu) = gpu() else { return };
    if !gpu.report().timestamps {
        eprintln!("no timestamps: `unet tune` was not tested");
        return;
    }
    let desk = Desk::new();
    let tune = "tune same.safetensors --size 12x16 --device gpu";
    desk.unet(&format!("{tune} -q --no-cache"));
    assert!(kernels(&desk, "--no-cache").iter().all(|kernel| kernel != "conv_tiled"), "it is too thin");
    assert!(!desk.path("cache/unet-wgpu").exists(), "--no-cache writes nothing");

    let output = desk.unet(&format!("{tune} --json tune.json"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("enc1.conv2") && text.contains("total") && text.contains("whole run"), "{text}");
    let report: Value = serde_json::from_slice(&std::fs::read(desk.path("tune.json")).unwrap()).unwrap();
    assert!(report["runs"][0]["layers"].as_array().unwrap().len() > 2, "{report}");
    assert!(report["runs"][0]["tuned_ms"].as_f64() > Some(0.0));
    let [path] = &kept(&desk, "json")[..] else { panic!("one file") };
    assert!(String::from_utf8_lossy(&output.stderr).contains(path.file_name().unwrap().to_str().unwrap()));

    // A choice other than the default, so it is visible.
    let mut file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    file["layers"].as_object_mut().unwrap().values_mut().for_each(|kernel| *kernel = "tiled".into());
    std::fs::write(path, file.to_string()).unwrap();
    assert!(kernels(&desk, "").iter().any(|kernel| kernel == "conv_tiled"), "the file is read");
    for options in ["--no-cache", "--kernel direct"] {
        assert!(kernels(&desk, options).iter().all(|kernel| kernel != "conv_tiled"), "{options}");
    }
    for line in ["run picture.png -m same.safetensors -o out.png", "verify same.safetensors --size 12x16"] {
        desk.unet(&format!("{line} --device gpu"));
    }
    assert_eq!(kept(&desk, "pipelines").len(), usize::from(gpu.report().backend == "Vulkan"));
    assert!(kernels(&desk, "").iter().any(|kernel| kernel == "conv_tiled"), "with compiled pipelines");
    for file in kept(&desk, "json").iter().chain(&kept(&desk, "pipelines")) {
        std::fs::write(file, "garbage").unwrap();
    }
    assert!(kernels(&desk, "").iter().all(|kernel| kernel != "conv_tiled"), "a broken file is none");
    desk.refuses(&format!("{tune} --kernel tiled"), &["--kernel"]);
    desk.refuses("tune same.safetensors --device cpu", &["tune", "GPU"]);
}

#[test]
fn start_tells_a_cold_start_from_a_warm_one() {
    let desk = Desk::new();
    let device = if gpu().is_some() { "gpu" } else { "cpu" };
    desk.unet(&format!("start same.safetensors --size 8 --device {device} --json start.json"));
    let report: Value = serde_json::from_slice(&std::fs::read(desk.path("start.json")).unwrap()).unwrap();
    for (start, part) in
        ["cold", "warm"].iter().flat_map(|s| ["device_ms", "build_ms", "run_ms"].map(|p| (s, p)))
    {
        let (part, total) = (report[start][part].as_f64(), report[start]["total_ms"].as_f64());
        assert!(part.is_some() && part < total, "{report}");
    }
    assert!(kept(&desk, "pipelines").is_empty(), "the user's own cache is not touched");
    desk.refuses("start missing.safetensors", &["missing.safetensors", "os error 2"]);
}
