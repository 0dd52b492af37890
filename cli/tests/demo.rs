//! `unet demo`: every task of the README.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use unet_wgpu::image::Picture;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn demo(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unet")).current_dir(folder).arg("demo").args(args).output().unwrap()
}

#[test]
fn the_readme_shows_what_the_demonstration_runs() {
    let listed = demo(&root(), &["--list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<&str> = listed.lines().filter(|line| line.starts_with("unet ")).collect();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown: Vec<&str> = readme.lines().filter(|line| line.starts_with("unet run demo/")).collect();
    assert_eq!(lines, shown);
    // Every model that ships has a task.
    for entry in std::fs::read_dir(root().join("models")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".safetensors") || listed.contains(&format!("models/{name} ")), "{name}");
    }
}

#[test]
fn the_demonstration_makes_the_result_of_each_task_and_a_contact_sheet() {
    let folder = tempfile::tempdir().unwrap();
    let from = root().display().to_string();
    let done = demo(folder.path(), &["out", "--from", &from, "--device", "cpu"]);
    assert!(done.status.success(), "{done:?}");
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(told.contains("CPU") && told.contains("out/sheet.jpg"), "{told}");
    for name in ["denoised.png", "large.png", "mask.png", "contours.png"] {
        assert!(folder.path().join("out").join(name).exists(), "{name}");
    }
    let sheet = Picture::open(&folder.path().join("out/sheet.jpg")).unwrap();
    assert!(sheet.width() > 1000, "{}", sheet.width());
    // Between the white of the page and the ink of captions lie the pictures.
    let colours = sheet.planes().plane(0, 0).iter().filter(|&&red| red > 60.0 && red < 230.0).count();
    assert!(2 * colours > sheet.width() * sheet.height() / 2, "{colours} pixels of pictures");
}

#[test]
fn without_the_project_one_line_says_how_to_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let refused = demo(folder.path(), &["out"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && told.contains("--from DIR"), "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("unet: ")).count(), 1, "{told}");
}
