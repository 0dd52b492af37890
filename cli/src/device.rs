//! Chooses the device, says why, and checks that there is memory for it.

use super::Common;
use crate::error::{Error, Result};
use std::str::FromStr;
use std::sync::Arc;
use unet_wgpu::cache;
use unet_wgpu::gpu::{self, AdapterChoice, Gpu};
use unet_wgpu::image::Pipeline;
use unet_wgpu::plan::{ConvKernel, Precision, Tuning};
use unet_wgpu::{Device, SessionOptions};

/// The value of `--device`: one device, or several numbers and words separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choices(Vec<Choice>);

impl FromStr for Choices {
    type Err = String;

    fn from_str(text: &str) -> Result<Choices, String> {
        let parts: Vec<&str> = text.split(',').collect();
        // Names of adapters also contain commas.
        let is_plain = |part: &&str| part.parse::<usize>().is_ok() || matches!(*part, "auto" | "cpu" | "gpu");
        match parts.len() > 1 && parts.iter().all(is_plain) {
            true => parts.into_iter().map(Choice::from_str).collect::<Result<_, _>>().map(Choices),
            false => Ok(Choices(vec![text.parse()?])),
        }
    }
}

impl Choices {
    /// The only device.
    fn one(&self) -> Result<&Choice> {
        match &self.0[..] {
            [one] => Ok(one),
            _ => Err(Error::Usage("several devices are for `unet run`; name one".into())),
        }
    }
}

/// One device of `--device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// The best hardware GPU, else the CPU.
    Auto,
    /// The CPU path.
    Cpu,
    /// A requested adapter.
    Gpu(AdapterChoice),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        Ok(match text {
            "auto" => Choice::Auto,
            "cpu" => Choice::Cpu,
            "gpu" => Choice::Gpu(AdapterChoice::Any),
            "" => return Err("expected auto, cpu, gpu, or a number or name from `unet devices`".into()),
            name => Choice::Gpu(match name.parse() {
                Ok(index) => AdapterChoice::Index(index),
                Err(_) => AdapterChoice::Name(name.into()),
            }),
        })
    }
}

/// Opens the requested device. Says so if `auto` falls back to the CPU.
pub(super) fn open(common: &Common) -> Result<Device> {
    open_choice(common.device.one()?, common)
}

/// The pipeline with all requested devices.
pub(super) fn add_all(pipeline: Pipeline, common: &Common) -> Result<Pipeline> {
    common.device.0.iter().try_fold(pipeline, |pipeline, choice| {
        let device = open_choice(choice, common)?;
        let options = options(&device, common);
        Ok(pipeline.with_device(device, options))
    })
}

fn open_choice(choice: &Choice, common: &Common) -> Result<Device> {
    let choice = match choice {
        Choice::Cpu if common.require_gpu => {
            return Err(Error::Usage(
                "--require-gpu and --device cpu contradict each other; drop one".into(),
            ));
        }
        Choice::Cpu => return Ok(Device::Cpu),
        Choice::Gpu(choice) => return Ok(Device::Gpu(common.open_gpu(choice)?)),
        Choice::Auto => AdapterChoice::Hardware,
    };
    match common.open_gpu(&choice) {
        Ok(gpu) => Ok(Device::Gpu(gpu)),
        Err(error) if common.require_gpu => Err(error),
        Err(error) => {
            common.say(&format!("running on the CPU ({})", why_no_gpu(&error)));
            Ok(Device::Cpu)
        }
    }
}

/// Opens a GPU for work that needs one.
pub(super) fn open_gpu(common: &Common, what: &str) -> Result<Gpu> {
    let choice = match common.device.one()? {
        Choice::Cpu => return Err(Error::Usage(format!("{what} needs a GPU; drop --device cpu"))),
        Choice::Gpu(choice) => choice,
        Choice::Auto => &AdapterChoice::Hardware,
    };
    common.open_gpu(choice).map_err(|error| match common.device.one() {
        Ok(Choice::Auto) => Error::Usage(format!("{what} needs a GPU ({})", why_no_gpu(&error))),
        _ => error,
    })
}

/// The device with compiled pipelines from earlier runs, and with matrix units if `unet tune` chose them.
pub(super) fn with_caches(gpu: Gpu, common: &Common) -> Gpu {
    let options = common.options();
    let chosen = |tuning: Tuning| tuning.takes(ConvKernel::Cooperative);
    let matrices = options.precision == Precision::F16
        && options.conv == ConvKernel::Auto
        && Tuning::load(gpu.report()).is_some_and(chosen);
    let gpu = match matrices {
        true => Gpu::open_cooperative(&AdapterChoice::Index(gpu.report().index)).unwrap_or(gpu),
        false => gpu,
    };
    if let Some(folder) = cache::folder() {
        gpu.load_pipeline_cache(&folder);
    }
    gpu
}

/// The options of a session, with the kernel choices of `unet tune` for the device.
pub(super) fn options(device: &Device, common: &Common) -> SessionOptions {
    let tuning = match device {
        Device::Gpu(gpu) if !common.no_cache => Tuning::load(gpu.report()).map(Arc::new),
        _ => None,
    };
    let options = common.options().with_tuning(tuning);
    match device {
        // The limits of a GPU are in its plan.
        Device::Gpu(_) => options,
        Device::Cpu => {
            let max_memory = options.max_memory.or_else(free_memory);
            options.with_max_memory(max_memory)
        }
    }
}

/// Why no hardware GPU is used, and what is available instead.
fn why_no_gpu(error: &Error) -> String {
    let adapters = gpu::adapters();
    if adapters.iter().any(|adapter| !adapter.software) {
        return error.to_string();
    }
    let software =
        adapters.first().map(|a| format!("; --device gpu would use {}, a software adapter", a.name));
    format!("no hardware GPU adapter found{}", software.unwrap_or_default())
}

/// The device's name.
pub(super) fn name(device: &Device) -> String {
    match device {
        Device::Cpu => format!("CPU ({} threads)", threads()),
        Device::Gpu(gpu) => gpu.report().name.clone(),
    }
}

/// Number of threads on the CPU.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Saves a device's compiled pipelines for the next run.
pub(super) fn save_cache(device: &Device) {
    if let Device::Gpu(gpu) = device
        && let Err(error) = gpu.save_pipeline_cache()
    {
        log::warn!("compiled pipelines are not kept: {error}");
    }
}

/// Bytes of free memory, if the system tells (Linux).
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}
