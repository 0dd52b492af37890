//! The engine's side of the protocol of driver.py. engines/protocol.py is the same in Python.

use serde_json::Value;
use std::io::{BufRead, Write};
use std::time::Instant;

/// The command line from the driver, in this order.
pub struct Args {
    pub weights: String,
    pub input: Vec<f32>,
    pub size: usize,
    pub precision: String,
    pub adapter: String,
}

impl Args {
    /// WEIGHTS INPUT SIZE PRECISION ADAPTER
    pub fn parse() -> Args {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let [weights, input, size, precision, adapter] = words.try_into().expect("five arguments");
        let bytes = std::fs::read(&input).expect("the input file");
        let input = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Args { weights, input, size: size.parse().expect("a size"), precision, adapter }
    }
}

/// Reports that this engine cannot run here, and why.
pub fn absent(reason: impl std::fmt::Display) -> ! {
    println!("absent {}", reason.to_string().replace('\n', " "));
    std::process::exit(0)
}

/// Answers `run` with the milliseconds from host input to host output, and `save PATH` by writing the last output to
/// PATH.
pub fn serve(info: &Value, mut run: impl FnMut() -> Vec<f32>) {
    println!("ready {info}");
    let mut output = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        if let Some(path) = line.strip_prefix("save ") {
            let bytes: Vec<u8> = output.iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
            std::fs::write(path, bytes).expect("the output file");
            println!("saved");
        } else {
            let start = Instant::now();
            output = run();
            println!("ms {}", start.elapsed().as_secs_f64() * 1e3);
        }
        std::io::stdout().flush().expect("a reader");
    }
}
