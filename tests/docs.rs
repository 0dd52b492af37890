//! README and docs: relative links resolve, and lines of prose are short.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest line of prose, characters. Tables and code may be longer.
const WIDTH: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Markdown files in `folder`, but not in its subfolders.
fn markdown_in(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no Markdown files");
    files
}

/// All Markdown files of the project.
fn documents() -> Vec<PathBuf> {
    let folders = [
        "",
        "benches/peers",
        "demo",
        "docs",
        "fuzz",
        "models",
        "tests/vectors",
        "tests/vectors/zoo",
        "training",
    ];
    // A packaged crate has only some of them.
    folders.into_iter().filter(|folder| root().join(folder).is_dir()).flat_map(markdown_in).collect()
}

/// The lines outside fenced code blocks, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let is_prose = |(_, line): &(usize, &str)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    };
    text.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(is_prose).collect()
}

/// The targets of Markdown links and pictures, `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    let ends = prose(text).into_iter().flat_map(|(_, line)| line.split("](").skip(1));
    ends.filter_map(|rest| rest.split_once(')').map(|(target, _)| target)).collect()
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn relative_links_resolve() {
    let mut checked = 0;
    for path in documents() {
        let text = read(&path);
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} does not exist", path.display());
            if !fragment.is_empty() {
                let found = anchors(&read(&target)).contains(fragment);
                assert!(found, "{}: {link} names no heading", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} links were found");
}

#[test]
fn readme_is_short_and_lines_fit() {
    assert!(read(&root().join("README.md")).lines().count() <= 120, "README.md has more than 120 lines");
    let is_free = |line: &str| line.starts_with('|') || line.starts_with("    ");
    for path in documents() {
        let text = read(&path);
        for (number, line) in prose(&text).into_iter().filter(|(_, line)| !is_free(line)) {
            let length = line.chars().count();
            assert!(length <= WIDTH, "{}:{number} has {length} characters", path.display());
        }
    }
}
