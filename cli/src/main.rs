//! The command `unet`: one file for each subcommand, and shared parts here.

mod bench;
mod chart;
mod completions;
mod convert;
mod demo;
mod device;
mod devices;
mod error;
mod import;
mod inputs;
mod inspect;
mod legend;
mod lettering;
mod man;
mod nodes;
mod roofline;
mod run;
mod start;
mod text;
mod tune;
mod values;
mod verify;

use crate::error::{Error, Result};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use inputs::InputArgs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unet_wgpu::gpu::{AdapterChoice, Gpu};
use unet_wgpu::optimize::Optimizations;
use unet_wgpu::plan::{ConvKernel, Precision};
use unet_wgpu::unet::{RandomWeights, UnetConfig};
use unet_wgpu::{Model, OpenOptions, Role, SessionOptions};
use values::Bytes;

/// Run trained U-Nets on any GPU.
#[derive(Debug, Parser)]
#[command(name = "unet", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::RunArgs>),
    Inspect(inspect::InspectArgs),
    Convert(convert::ConvertArgs),
    Import(import::ImportArgs),
    Verify(verify::VerifyArgs),
    Devices(devices::DevicesArgs),
    Bench(bench::BenchArgs),
    Tune(tune::TuneArgs),
    Start(start::StartArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Options of every subcommand.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
struct Common {
    /// Where to run: `auto` (the best hardware GPU, else the CPU), `cpu`, `gpu` (a software adapter if there is no
    /// other), or an adapter's number or part of its name from `unet devices`; `run` also takes several, such as 0,1
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto")]
    device: device::Choices,
    /// Fail instead of running on the CPU
    #[arg(long, global = true)]
    require_gpu: bool,
    /// How numbers are stored on the GPU; `auto` is f32, the exact one; f16 halves memory and traffic
    #[arg(long, global = true, value_enum, default_value = "auto")]
    precision: PrecisionChoice,
    /// Most memory that the network may take, such as 500M or 2G; `run` cuts pictures into tiles that fit; other
    /// subcommands refuse what does not fit
    #[arg(long, global = true, value_name = "SIZE")]
    max_memory: Option<Bytes>,
    /// Which kernel computes dense convolutions on the GPU
    #[arg(long, global = true, value_parser = kernel_parser(), default_value = "auto")]
    kernel: ConvKernel,
    /// Run every layer by itself, without folding or fusing
    #[arg(long, global = true)]
    no_optimize: bool,
    /// Neither read nor write the cache folder with kernel choices of `unet tune` and compiled pipelines
    #[arg(long, global = true)]
    no_cache: bool,
    /// Print nothing but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Log more: -v information, -vv everything (RUST_LOG overrides this)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrecisionChoice {
    Auto,
    F32,
    F16,
    /// Only for `bench`: f32, then f16 if the device has it
    Both,
}

/// Reads a kernel's name.
fn kernel_parser() -> impl TypedValueParser<Value = ConvKernel> {
    let values = ConvKernel::ALL.iter().map(|kernel| PossibleValue::new(kernel.name()).help(kernel.help()));
    PossibleValuesParser::new(values).map(|name| {
        let named = ConvKernel::ALL.iter().find(|kernel| kernel.name() == name);
        *named.expect("the parser accepts no other names")
    })
}

impl Common {
    /// Opens a device with the features that the chosen kernel needs.
    fn open_gpu(&self, choice: &AdapterChoice) -> Result<Gpu> {
        let gpu = match self.kernel {
            ConvKernel::Cooperative => Gpu::open_cooperative(choice)?,
            _ => Gpu::open(choice)?,
        };
        Ok(if self.no_cache { gpu } else { device::with_caches(gpu, self) })
    }

    fn options(&self) -> SessionOptions {
        SessionOptions::default()
            .with_precision(match self.precision {
                PrecisionChoice::Auto | PrecisionChoice::F32 | PrecisionChoice::Both => Precision::F32,
                PrecisionChoice::F16 => Precision::F16,
            })
            .with_optimizations(if self.no_optimize {
                Optimizations::none()
            } else {
                Optimizations::default()
            })
            .with_conv(self.kernel)
            .with_max_memory(self.max_memory.map(|bytes| bytes.0))
    }

    /// One line on stderr, unless quiet.
    fn say(&self, line: &str) {
        if !self.quiet {
            text::say(line);
        }
    }
}

/// A model file, or a known network with random weights.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ModelArgs {
    /// Model file, or the bioimageio.yaml that names it
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Instead of a file: a known network with random weights; `seed` has 14.8 M parameters
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
}

/// The recipe file, for subcommands that use the recipe.
#[derive(Debug, Args)]
struct RecipeArg {
    /// TOML file with the recipe (pre- and post-processing), instead of MODEL.toml
    #[arg(long, value_name = "FILE", requires = "model")]
    recipe: Option<PathBuf>,
}

impl ModelArgs {
    /// Opens the model with a recipe and with values for some of its inputs.
    fn open(&self, recipe: Option<&Path>, inputs: &InputArgs) -> Result<Model> {
        let mut options = OpenOptions::default();
        options.recipe = recipe.map(Path::to_owned);
        options.inputs = inputs.read()?;
        match (&self.model, &self.preset) {
            (Some(path), _) => Ok(Model::open_with(path, &options)?),
            (None, _) if !options.inputs.is_empty() => Err(Error::Usage(
                "--input is for model files; known networks take a picture alone, so drop it".into(),
            )),
            (None, name) => {
                let config = UnetConfig::preset(name.as_deref().unwrap_or("seed"))?;
                Ok(Model::from_config(&config, &mut RandomWeights::new(1))?)
            }
        }
    }
}

/// Refuses a network that takes more than a picture.
fn check_one_input(model: &Model, subcommand: &str) -> Result<()> {
    let inputs = model.signature().inputs;
    match inputs.iter().find(|input| input.role == Role::Value) {
        Some(input) => Err(Error::Usage(format!(
            "the network also takes the input {name}; unet {subcommand} gives it only a picture, so add --input {name}=NUMBER or --input {name}=FILE.npy",
            name = input.name
        ))),
        None => Ok(()),
    }
}

/// Switches off Mesa's layer that orders devices: it writes errors of its own to stderr, and the command chooses devices
/// itself.
#[allow(unsafe_code, reason = "the standard library has no safe way to set a variable")]
fn silence_mesa() {
    if std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: this is the first thing that `main` does, so no other thread reads the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Runs the command. Errors are one line on stderr and exit code 1; a wrong command line is clap's exit code 2.
fn main() -> ExitCode {
    silence_mesa();
    let Cli { command, common } = Cli::parse();
    let level = match (common.quiet, common.verbose) {
        (true, _) => "off",
        (_, 0) => "error",
        (_, 1) => "info",
        _ => "debug",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).init();
    let result = match command {
        _ if common.precision == PrecisionChoice::Both && !matches!(command, Command::Bench(_)) => {
            Err(Error::Usage("--precision both is for bench; choose f32 or f16".into()))
        }
        Command::Run(args) => run::run(&args, &common),
        Command::Inspect(args) => inspect::run(&args, &common),
        Command::Convert(args) => convert::run(&args, &common),
        Command::Import(args) => import::run(&args, &common),
        Command::Verify(args) => verify::run(&args, &common),
        Command::Devices(args) => devices::run(&args),
        Command::Bench(args) => bench::run(&args, &common),
        Command::Tune(args) => tune::run(&args, &common),
        Command::Start(args) => start::run(&args, &common),
        Command::Demo(args) => demo::run(&args, &common),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    result.unwrap_or_else(|error| {
        text::say(&error.to_string());
        error.hint().iter().for_each(|line| text::say(line));
        ExitCode::FAILURE
    })
}
