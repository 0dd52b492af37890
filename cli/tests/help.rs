//! Completions, manual pages and docs/command.md: complete, well-formed, with every subcommand and option.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

fn unet(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unet")).args(args).output().unwrap()
}

fn printed(args: &[&str]) -> String {
    let output = unet(args);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The subcommands that the help lists.
fn subcommands() -> Vec<String> {
    let help = printed(&["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_string)).collect()
}

#[test]
fn every_shell_gets_a_script_of_all_subcommands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for part in subcommands().iter().map(String::as_str).chain(["precision", "max-memory"]) {
            assert!(script.contains(part), "{shell} without {part}");
        }
        let path = folder.path().join(shell);
        fs::write(&path, script).unwrap();
        // If the shell is installed, it parses its script.
        if let ("bash" | "zsh" | "fish", Ok(checked)) =
            (shell, Command::new(shell).arg("-n").arg(&path).output())
        {
            assert!(checked.status.success() && checked.stderr.is_empty(), "{shell}: {checked:?}");
        }
    }
    let wrong = unet(&["completions", "tcsh"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn manual_pages_are_written_for_every_subcommand() {
    let is_page =
        |page: &str| page.starts_with(".ie") && page.contains(".TH unet") && page.contains(".SH OPTIONS");
    let main = printed(&["man"]);
    assert!(is_page(&main), "{main}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert!(printed(&["man", path]).is_empty());
    let mut expected: Vec<String> =
        subcommands().iter().filter(|name| *name != "help").map(|name| format!("unet-{name}.1")).collect();
    assert!(expected.len() > 5, "{expected:?}");
    expected.push("unet.1".into());
    expected.sort();
    let mut found: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, expected);
    for name in found {
        let page = fs::read_to_string(folder.path().join(&name)).unwrap();
        assert!(is_page(&page), "{name}");
    }

    let lost = unet(&["man", folder.path().join("nowhere").to_str().unwrap()]);
    let line = String::from_utf8(lost.stderr).unwrap();
    assert!(!lost.status.success() && line.contains("make it first") && line.lines().count() == 1, "{line}");
}

/// The long options in a text, such as `--max-memory`.
fn options(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let words = text.split(|c: char| !is_part(c));
    let is_option = |word: &&str| word.len() > 2 && word.starts_with("--") && !word.starts_with("---");
    words.filter(is_option).map(|word| word.trim_end_matches('-').to_string()).collect()
}

#[test]
fn documented_options_exist_and_existing_ones_are_documented() {
    let help = |command: String| options(&printed(&[&command, "--help"]));
    let mut known = options(&printed(&["--help"]));
    known.extend(subcommands().into_iter().filter(|name| name != "help").flat_map(help));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command.md");
    let documented = options(&fs::read_to_string(path).unwrap());
    // Options of Cargo, in lines that build or install the command.
    let cargo = ["--path", "--release"].map(String::from);

    let unknown: Vec<&String> = documented.difference(&known).filter(|name| !cargo.contains(name)).collect();
    assert!(unknown.is_empty(), "docs/command.md names options that unet does not have: {unknown:?}");
    let general = ["--help", "--version"].map(String::from);
    let missing: Vec<&String> =
        known.difference(&documented).filter(|name| !general.contains(name)).collect();
    assert!(missing.is_empty(), "docs/command.md does not describe {missing:?}");
}
