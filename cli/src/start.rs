//! `unet start`: time from the start of a process to its first result, with empty caches and with filled ones.
//!
//! Each figure comes from a separate process. It is this program again; an environment variable tells it to run once
//! and report.

use super::inputs::InputArgs;
use super::values::Size;
use super::{Common, ModelArgs, device, text};
use crate::error::{Error, Result};
use clap::Args;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use unet_wgpu::Tensor;
use unet_wgpu::image::{check_writable, write_atomic};
use unet_wgpu::tiles::{TileOptions, TiledSession};

/// Set in the processes that are timed.
const TIMED: &str = "UNET_START_TIMED";

/// The phases of a process up to its first result, in order.
const PHASES: [&str; 4] = ["model", "device", "build", "run"];

/// Time a process from its start to its first result, first with empty caches, then with the caches that it filled
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  unet start model.onnx --size 512")]
pub(super) struct StartArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    /// Input size, HEIGHTxWIDTH or one number
    #[arg(long, default_value = "128")]
    size: Size,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: &StartArgs, common: &Common) -> Result<ExitCode> {
    args.json.as_deref().map_or(Ok(()), check_writable)?;
    if std::env::var_os(TIMED).is_some() {
        return timed(args, common);
    }
    let caches = Caches::new()?;
    let mut rows = vec![text::row([&"ms", &"process", &"model", &"device", &"build", &"run", &"total"])];
    let mut figures = serde_json::Map::new();
    for name in ["cold", "warm"] {
        let Some(start) = start(&caches.0)? else { return Ok(ExitCode::FAILURE) };
        rows.push(start.row(name));
        figures.insert(name.into(), start.json());
    }
    text::print(&text::table(&rows, 1))?;
    if let Some(path) = &args.json {
        let all = json!({
            "height": args.size.height,
            "width": args.size.width,
            "precision": common.options().precision.to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "cold": figures["cold"],
            "warm": figures["warm"],
        });
        write_atomic(path, format!("{all:#}\n").as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The timed process. Prints the time of each phase after the first result.
fn timed(args: &StartArgs, common: &Common) -> Result<ExitCode> {
    let mut last = Instant::now();
    let mut lap = || {
        let lap = last.elapsed().as_secs_f64() * 1e3;
        last = Instant::now();
        lap
    };
    let model = args.model.open(None, &args.inputs)?;
    super::check_one_input(&model, "start")?;
    let input = Tensor::random(args.size.shape(1, model.input_channels()), 1);
    let opened = lap();
    let device = device::open(common)?;
    let ready = lap();
    let options = device::options(&device, common);
    let session = TiledSession::new(&model, input.shape(), &device, &options, &TileOptions::default())?;
    device::save_cache(&device);
    let built = lap();
    session.run(&input, &|| {})?;
    text::print(&format!("{}\n", json!([opened, ready, built, lap()])))?;
    Ok(ExitCode::SUCCESS)
}

/// Milliseconds of one start.
struct Start {
    phases: [f64; PHASES.len()],
    total: f64,
}

impl Start {
    /// Time to create the process, link it and read its arguments.
    fn process(&self) -> f64 {
        self.total - self.phases.iter().sum::<f64>()
    }

    fn row(&self, name: &str) -> Vec<String> {
        let all = [&[self.process()], &self.phases[..], &[self.total]].concat();
        [name.to_string()].into_iter().chain(all.iter().map(|ms| format!("{ms:.1}"))).collect()
    }

    fn json(&self) -> Value {
        let phases = PHASES.iter().zip(self.phases).map(|(name, ms)| (format!("{name}_ms"), json!(ms)));
        let ends = [("process_ms".into(), json!(self.process())), ("total_ms".into(), json!(self.total))];
        phases.chain(ends).collect::<serde_json::Map<_, _>>().into()
    }
}

/// Runs this program again with the same arguments. `None` if it failed; it has then reported the error.
fn start(caches: &Path) -> Result<Option<Start>> {
    let program = std::env::current_exe().map_err(Error::io("this program".as_ref()))?;
    let mut command = Command::new(&program);
    command.args(std::env::args_os().skip(1)).env(TIMED, "1").stdout(Stdio::piped());
    // The caches of this program, of Mesa and of NVIDIA.
    for folder in ["XDG_CACHE_HOME", "MESA_SHADER_CACHE_DIR", "__GL_SHADER_DISK_CACHE_PATH"] {
        command.env(folder, caches);
    }
    let began = Instant::now();
    let mut child = command.spawn().map_err(Error::io(&program))?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(Error::io(&program))?;
    }
    let total = began.elapsed().as_secs_f64() * 1e3;
    let status = child.wait().map_err(Error::io(&program))?;
    let phases = serde_json::from_str(&line).ok().filter(|_| status.success());
    Ok(phases.map(|phases| Start { phases, total }))
}

/// A folder for caches. It is empty at first and removed at the end.
struct Caches(PathBuf);

impl Caches {
    fn new() -> Result<Caches> {
        let path = std::env::temp_dir().join(format!("unet-start-{}", std::process::id()));
        // An existing folder might be filled, or belong to somebody else.
        std::fs::create_dir(&path).map_err(Error::io(&path))?;
        Ok(Caches(path))
    }
}

impl Drop for Caches {
    fn drop(&mut self) {
        // Best effort: the system empties its temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
