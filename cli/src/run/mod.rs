//! `unet run`: runs a model on pictures.

mod args;
mod background;
mod files;
mod label_list;
mod many;
mod names;
mod stream;

pub(super) use args::RunArgs;

use super::{Common, device, text};
use crate::error::{Error, Result};
use crate::values::RunSize;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use unet_wgpu::image::{
    FurtherFile, Legend, Palette, PictureFile, Pipeline, PipelineOptions, Report, join_cases, names_several,
};
use unet_wgpu::recipe::{Decode, Fit};
use unet_wgpu::{Model, Role, Signature};

pub(super) fn run(args: &RunArgs, common: &Common) -> Result<ExitCode> {
    let targets = args.targets()?;
    let model = model(args)?;
    model.notes.iter().for_each(|note| common.say(note));
    let assumed = if args.raw { Vec::new() } else { assumed(args, &model) };
    let tell = || assumed.iter().for_each(|line| common.say(line));
    if stream::is_stream(args, &targets) {
        tell();
        return stream::run(args, &targets, model, common);
    }
    args.check_no_stream()?;
    let many = args.input.len() > 1
        || args.input.iter().any(|path| names_several(path))
        || targets.paths().any(names_folder);
    match many {
        true => {
            tell();
            many::run_many(args, &targets, model, common)
        }
        // An error is the only line.
        false => files::run_one(args, &targets, model, common).inspect(|_| tell()),
    }
}

/// Whether the name of a result is that of a folder.
fn names_folder(path: &Path) -> bool {
    path.is_dir() || path.to_string_lossy().ends_with(std::path::is_separator)
}

/// The model, changed according to the options.
fn model(args: &RunArgs) -> Result<Model> {
    let mut model = Model::open_with(&args.model, &args.open_options()?)?;
    let inputs = model.signature().inputs;
    if let Some(missing) = inputs.iter().find(|input| input.role == Role::Value) {
        let name = &missing.name;
        return Err(Error::Usage(format!(
            "the network also takes the input {name} ({}, {}): give it as --input {name}=NUMBER or --input {name}=FILE.npy",
            missing.element, missing.extents
        )));
    }
    if !args.bands.is_empty() {
        model.recipe.input.bands = args.bands.iter().copied().map(usize::from).collect();
    }
    // Bands and further files may be all of the network's channels, the mask among them.
    if args.bands.len() == model.input_channels() || !args.also.is_empty() {
        model.recipe.input.mask = None;
    }
    let recipe = &mut model.recipe;
    recipe.output.threshold = args.threshold.unwrap_or(recipe.output.threshold);
    recipe.output.strength = args.strength.unwrap_or(recipe.output.strength);
    if let Some(RunSize(size)) = args.size {
        (recipe.input.size, recipe.input.multiple, recipe.input.fit) = (Some(size), None, Fit::Resize);
    }
    Ok(model)
}

/// What was assumed about the network, one line each: which of several outputs is the result, and what its numbers mean.
fn assumed(args: &RunArgs, model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(known) = model.known_as() {
        lines.push(format!("known as {known}; its recipe is used (MODEL.toml replaces parts of it)"));
    }
    let Signature { outputs, reason, .. } = model.signature();
    let others =
        outputs.iter().filter(|output| output.role == Role::Output).map(|output| output.name.as_str());
    let others: Vec<&str> = others.collect();
    if let Some(result) = outputs.iter().find(|output| output.role == Role::Result)
        && !others.is_empty()
        && !args.names_output()
        && model.recipe.output.name.is_none()
    {
        let others = others.join(", ");
        lines.push(format!("the result is {}: {reason}; --output chooses another of: {others}", result.name));
    }
    lines.extend(model.assumptions().map(str::to_string));
    lines
}

/// The pipeline that the options describe. It has no device yet, so bad input is reported first.
fn pipeline(args: &RunArgs, model: Model) -> Result<Pipeline> {
    let options = PipelineOptions::default()
        .with_tiles(args.tiles())
        .with_batch(args.batch.unwrap_or_default())
        .with_feather(args.feather.map_or(0, |pixels| pixels as usize))
        .with_keep_largest(args.keep_largest)
        .with_min_area(args.min_area.unwrap_or(0))
        .with_palette(args.palette.as_deref().map(Palette::open).transpose()?)
        .with_legend((!args.no_legend).then_some(Legend(crate::legend::legend)))
        .with_clean_edges(true)
        .with_keep(args.keep.clone())
        .with_backdrop(args.background.as_deref().map(background::open).transpose()?);
    let pipeline = Pipeline::new(model, options)?;
    let gives = pipeline.output_info();
    let is_mask = gives.decode.is_mask();
    let has_threshold = match gives.decode {
        Decode::Labels => true,
        Decode::Mask => gives.channels == 1 || !pipeline.model().recipe.output.regions.is_empty(),
        _ => false,
    };
    let refuse = |message: &str| Err(Error::Usage(message.into()));
    if args.threshold.is_some_and(|t| !t.is_finite() || !has_threshold) {
        return refuse(
            "--threshold takes a finite number and is for masks of one channel and labels; drop it",
        );
    }
    if (args.keep_largest || args.min_area.is_some() || args.palette.is_some()) && !is_mask {
        return refuse("--keep-largest, --min-area and --palette are for masks; drop them");
    }
    if (args.mask.is_some() || args.feather.is_some()) && pipeline.model().recipe.input.mask.is_none() {
        return refuse(
            "--mask and --feather are for networks that fill holes, and this one takes no mask; drop them, or describe the \
             mask as [input.mask] in MODEL.toml",
        );
    }
    if args.raw && args.mask.is_some() {
        return refuse("--raw gives the network its input as it is, mask and all; drop --mask");
    }
    if let Some(path) = &args.reference {
        if matches!(gives.decode, Decode::Labels | Decode::Values) {
            return refuse("--reference is for pictures and masks of one class a pixel; drop it");
        }
        if gives.decode == Decode::Scores {
            return refuse("--reference is for pictures and masks; the model gives scores");
        }
        std::fs::metadata(path).map_err(Error::io(path))?;
    }
    Ok(pipeline)
}

/// Joins the files of nnU-Net's cases, and adds the files of `--also`.
fn with_further_files(found: Vec<PictureFile>, args: &RunArgs, model: &Model) -> Vec<PictureFile> {
    let is_nnunet = model.family.is_some_and(|family| family.starts_with("nnU-Net"));
    let mut found = join_cases(found, model.input_channels(), is_nnunet);
    for PictureFile { name, also, .. } in &mut found {
        also.extend(args.also.iter().map(|file| match file.path.is_dir() {
            true => FurtherFile { path: file.path.join(&*name), ..file.clone() },
            false => file.clone(),
        }));
    }
    found
}

/// The names of the pipeline's devices.
fn names(pipeline: &Pipeline) -> String {
    pipeline.devices().map(device::name).collect::<Vec<_>>().join(" and ")
}

/// Saves compiled pipelines for the next run.
fn save_caches(pipeline: &Pipeline) {
    pipeline.devices().for_each(device::save_cache);
}

/// A progress bar on stderr; nothing if stderr is not a terminal.
fn progress(length: Option<u64>, unit: &str, message: String, common: &Common) -> ProgressBar {
    if common.quiet {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = match length {
        Some(_) => format!("{{msg}} {{bar:30}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left"),
        None => format!("{{msg}} {{spinner}} {{pos}} {unit}, {{per_sec}}"),
    };
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.with_key(
            "per_sec",
            |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{:.1}/s", state.per_sec());
            },
        ));
    }
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The number of items, the time and the rate.
fn rate(count: usize, one: &str, time: Duration, pipeline: &Pipeline) -> String {
    let seconds = time.as_secs_f64();
    let per_second = count as f64 / seconds;
    format!("{} in {seconds:.1} s ({per_second:.1}/s) on {}", text::count(count, one), names(pipeline))
}

/// Device, precision, size, padding and time.
fn summary(pipeline: &Pipeline, report: &Report, common: &Common) -> String {
    let shape = report.input;
    let stride = pipeline.model().config.as_ref().map_or(1, |config| config.stride());
    let padded = [shape.h, shape.w].map(|side| side.next_multiple_of(stride));
    let padding = match padded == [shape.h, shape.w] {
        true => String::new(),
        false => format!(" padded to {}x{}", padded[1], padded[0]),
    };
    format!(
        "{}, {}, {}x{} pixels{padding}, {:.0} ms to build and {:.0} ms to run",
        pipeline.devices().nth(report.device).map(device::name).unwrap_or_default(),
        common.options().precision,
        shape.w,
        shape.h,
        report.build.as_secs_f64() * 1e3,
        report.run.as_secs_f64() * 1e3,
    )
}
