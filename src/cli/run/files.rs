//! Files and folders through the pipeline.

use super::{RunArgs, names, progress, save_caches, summary};
use crate::cli::{Common, device, text};
use crate::error::{Error, Result};
use crate::image::{
    Decoded, Format, Job, Load, Mask, Outcome, Pipeline, Quality, Report, Shard, Sink, Source, Target,
    Targets, find, jobs, remove_leftovers,
};
use crate::model::Model;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// What became of a file.
struct Done {
    report: Report,
    /// More than 1 for stacks.
    pages: usize,
    result: Option<Decoded>,
    quality: Option<Quality>,
}

/// One file; its results are files.
pub(super) fn run_one(args: &RunArgs, targets: &Targets, model: Model, common: &Common) -> Result<ExitCode> {
    let input = &args.input[0];
    if args.recursive || args.resume || args.format.is_some() || args.shard.is_some() {
        let message = "--recursive, --resume, --format and --shard are for several pictures; drop them";
        return Err(Error::Usage(message.into()));
    }
    let pipeline = super::pipeline(args, model)?;
    targets.check(Some(input), pipeline.gives())?;
    let source = pipeline.open(input, targets, args.raw)?;
    let pipeline = device::add_all(pipeline, common)?;
    let job = Job { input: input.clone(), targets: targets.clone() };

    let bar = progress(Some(1), "tiles", format!("running on {}", names(&pipeline)), common);
    let done = |tiles: usize| {
        bar.set_length(tiles as u64);
        bar.inc(1);
    };
    let result = match source {
        Source::One(input) => pipeline
            .run_input(*input, &done)
            .and_then(|outcome| finish(&pipeline, outcome, targets, args.reference.as_deref())),
        source => apart(&pipeline, args, &job, source, &done),
    };
    bar.finish_and_clear();
    save_caches(&pipeline);
    if args.json {
        text::print(&format!("{}\n", line(&job, &result, &pipeline)))?;
    }
    let done = result?;
    for note in &done.report.notes {
        common.say(&format!("{}: {note}", input.display()));
    }
    common.say(&summary(&pipeline, &done.report, common));
    if let Some(Decoded::Mask(mask)) = &done.result {
        common.say(&share_line(mask));
    }
    if let Some(quality) = &done.quality {
        tell(&quality.to_string(), args, common)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Folders, patterns, lists of files; results go into folders.
pub(super) fn run_many(args: &RunArgs, targets: &Targets, model: Model, common: &Common) -> Result<ExitCode> {
    let start = Instant::now();
    let outputs: Vec<&Path> = targets.paths().collect();
    let is_file = |path: &&&Path| path.is_file() || !path.is_dir() && Format::of(path).is_ok();
    if let Some(file) = outputs.iter().find(is_file) {
        let message = "several pictures need a folder for their results; this names a file";
        return Err(Error::Usage(format!("{}: {message}", file.display())));
    }
    let mut without = outputs.clone();
    without.extend(args.reference.as_deref());
    let found = find(&args.input, args.recursive, &without)?;
    let pipeline = super::pipeline(args, model)?;
    let shard = args.shard.unwrap_or(Shard::ALL);
    let jobs = jobs(&found, targets, args.format.as_deref(), pipeline.gives(), shard)?;
    let references = references(args)?;
    let pipeline = device::add_all(pipeline, common)?;
    remove_leftovers(jobs.iter().flat_map(|job| job.targets.paths()))?;
    let (ready, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| args.resume && job.is_done());
    for folder in jobs.iter().flat_map(|job| job.targets.paths()).filter_map(Path::parent) {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }

    let count = jobs.len();
    let bar = progress(Some(count as u64), "pictures", names(&pipeline), common);
    let state = Mutex::new((Vec::new(), Vec::new()));
    let load = |job: Job| match pipeline.open(&job.input, &job.targets, args.raw) {
        Ok(Source::One(input)) => ((job, None), Ok(Load::Run(input))),
        Ok(source) => ((job, Some(source)), Ok(Load::Apart)),
        Err(error) => ((job, None), Err(error)),
    };
    let save = |(job, source): (Job, Option<Source>), outcome: Result<Option<_>>| {
        let reference = || match &references {
            Some(all) => reference_of(all, &job).map(Some),
            None => Ok(None),
        };
        let done = outcome.and_then(|outcome| match (outcome, source) {
            (Some(outcome), _) => finish(&pipeline, outcome, &job.targets, reference()?),
            (None, Some(source)) => apart(&pipeline, args, &job, source, &|_| {}),
            (None, None) => Err(Error::Usage("nothing was loaded".into())),
        });
        if args.json {
            bar.suspend(|| drop(text::print(&format!("{}\n", line(&job, &done, &pipeline)))));
        }
        let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match done {
            Ok(done) => {
                let notes = done.report.notes.iter();
                notes
                    .for_each(|note| bar.suspend(|| common.say(&format!("{}: {note}", job.input.display()))));
                state.1.extend(done.quality);
            }
            Err(error) => state.0.push((job.input, error)),
        }
        bar.inc(1);
        ControlFlow::Continue(())
    };
    pipeline.run_all(jobs.into_iter(), args.threads(), false, load, save);
    bar.finish_and_clear();
    save_caches(&pipeline);
    let (mut failed, qualities) = state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seconds = start.elapsed().as_secs_f64();
    let well = count - failed.len();
    let skipped =
        if ready.is_empty() { String::new() } else { format!(", {} were there already", ready.len()) };
    let rate = well as f64 / seconds;
    let pictures = text::count(well, "picture");
    common.say(&format!("{pictures} in {seconds:.1} s ({rate:.1}/s) on {}{skipped}", names(&pipeline)));
    for (name, mean) in means(&qualities) {
        tell(&format!("mean {name} {mean:.4}"), args, common)?;
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    failed.sort_by(|a, b| a.0.cmp(&b.0));
    text::say(&format!("{} of {} failed:", failed.len(), text::count(count, "picture")));
    for (path, error) in &failed {
        text::say(&named(path, error));
    }
    Ok(ExitCode::FAILURE)
}

/// A figure on standard output, unless that is for scripts.
fn tell(figure: &str, args: &RunArgs, common: &Common) -> Result<()> {
    if args.json {
        common.say(figure);
        return Ok(());
    }
    text::print(&format!("{figure}\n"))
}

/// An error with its file in front, once.
fn named(path: &Path, error: &Error) -> String {
    let (path, message) = (path.display().to_string(), error.to_string());
    if message.starts_with(&path) { message } else { format!("{path}: {message}") }
}

/// Writes what was made of a picture that went through whole, and compares it.
fn finish(
    pipeline: &Pipeline,
    outcome: Outcome,
    targets: &Targets,
    reference: Option<&Path>,
) -> Result<Done> {
    let (mut result, notes) = pipeline.write(&outcome, targets)?;
    if reference.is_some() && result.is_none() {
        result = Some(pipeline.decode(&outcome)?);
    }
    let quality =
        reference.zip(result.as_ref()).map(|(path, result)| Quality::of(result, path)).transpose()?;
    let mut report = outcome.report;
    report.notes.extend(notes);
    Ok(Done { report, pages: 1, result, quality })
}

/// A stack, page after page, or a large picture, row after row.
fn apart(
    pipeline: &Pipeline,
    args: &RunArgs,
    job: &Job,
    source: Source,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Done> {
    if args.reference.is_some() {
        let message = "--reference is for single pictures of moderate size; drop it";
        return Err(Error::Usage(format!("{}: {message}", job.input.display())));
    }
    let Source::Stack(pages) = source else {
        let report = pipeline.run_bands(&job.input, &job.targets, done)?;
        return Ok(Done { report, pages: 1, result: None, quality: None });
    };
    let sink = |target: &Target| Ok((target.clone(), <dyn Sink>::pages(&target.path)?));
    let sinks = job.targets.0.iter().map(sink).collect::<Result<Vec<_>>>()?;
    let count = pages.total();
    let report = Mutex::new(None::<Report>);
    let each = |outcome: &Outcome| {
        done(count);
        let mut report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &mut *report {
            Some(report) => {
                report.build += outcome.report.build;
                report.run += outcome.report.run;
            }
            none => *none = Some(outcome.report.clone()),
        }
    };
    let pages = pipeline.run_sequence(pages, args.threads(), sinks, &each)?;
    let report = report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut report = report.ok_or_else(|| Error::Usage(format!("{}: no page came", job.input.display())))?;
    report.notes.push(format!("{pages} pages"));
    Ok(Done { report, pages, result: None, quality: None })
}

/// The references' files by their names without extension.
fn references(args: &RunArgs) -> Result<Option<BTreeMap<PathBuf, PathBuf>>> {
    let Some(folder) = &args.reference else { return Ok(None) };
    let found = find(std::slice::from_ref(folder), args.recursive, &[])?;
    Ok(Some(found.into_iter().map(|found| (found.name.with_extension(""), found.path)).collect()))
}

fn reference_of<'a>(all: &'a BTreeMap<PathBuf, PathBuf>, job: &Job) -> Result<&'a Path> {
    let name = job.input.with_extension("");
    let fitting =
        all.iter().filter(|(key, _)| name.ends_with(key)).max_by_key(|(key, _)| key.components().count());
    let missing = || Error::Usage(format!("{}: no reference has its name", job.input.display()));
    fitting.map(|(_, path)| path.as_path()).ok_or_else(missing)
}

/// Means of each figure, in its order.
fn means(qualities: &[Quality]) -> Vec<(&'static str, f64)> {
    let mut sums: Vec<(&'static str, f64, usize)> = Vec::new();
    for (name, value) in qualities.iter().flat_map(Quality::figures).filter(|(_, value)| value.is_finite()) {
        match sums.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, sum, count)) => (*sum, *count) = (*sum + value, *count + 1),
            None => sums.push((name, value, 1)),
        }
    }
    sums.into_iter().map(|(name, sum, count)| (name, sum / count as f64)).collect()
}

/// What scripts are told of a file.
fn line(job: &Job, done: &Result<Done>, pipeline: &Pipeline) -> Value {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let done = match done {
        Ok(done) => done,
        Err(error) => return json!({ "input": text(&job.input), "error": error.to_string() }),
    };
    let report = &done.report;
    let milliseconds = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let mut line = json!({
        "input": text(&job.input),
        "outputs": job.targets.0.iter().map(|t| (&t.what.option()[2..], text(&t.path))).collect::<BTreeMap<_, _>>(),
        "device": pipeline.devices().nth(report.device).map(device::name),
        "height": report.input.h,
        "width": report.input.w,
        "pages": done.pages,
        "tiles": report.tiles,
        "exact": report.exact,
        "build_ms": milliseconds(report.build),
        "run_ms": milliseconds(report.run),
        "notes": report.notes,
    });
    if let Some(Decoded::Mask(mask)) = &done.result {
        let shares = mask.shares().into_iter();
        line["classes"] = shares.map(|(name, percent)| json!({ "name": name, "percent": percent })).collect();
    }
    if let Some(Decoded::Scores(scores)) = &done.result {
        line["scores"] = scores.iter().map(|s| json!({ "class": s.class, "score": s.score })).collect();
    }
    for (name, value) in done.quality.iter().flat_map(Quality::figures) {
        line[name] = json!(value);
    }
    line
}

fn share_line(mask: &Mask) -> String {
    let shares: Vec<String> =
        mask.shares().iter().map(|(name, share)| format!("{name} {share:.1} %")).collect();
    shares.join(", ")
}
