//! `cargo bench`: runs `unet bench` with a set of sizes and batches, or with the arguments after `--`, such as `cargo
//! bench -- --preset seed --size 512 --layers --chart layers.svg`.

use std::process::{Command, ExitCode};

const DEFAULT: &str = "--preset seed --size 64,128,256 --batch 1,4 --precision both";

fn main() -> ExitCode {
    // Cargo itself adds `--bench`.
    let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_unet"));
    command.arg("bench");
    match given.is_empty() {
        true => command.args(DEFAULT.split_whitespace()),
        false => command.args(given),
    };
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}: {error}", env!("CARGO_BIN_EXE_unet"));
            ExitCode::FAILURE
        }
    }
}
