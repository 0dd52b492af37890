//! Runs one file through the pipeline, and reports on any file.

use super::label_list::LabelList;
use super::names::Beside;
use super::{RunArgs, names, progress, save_caches, summary};
use crate::error::{Error, Result, option};
use crate::{Common, device, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use unet_wgpu::Model;
use unet_wgpu::image::{
    Decoded, Job, Mask, Outcome, Picture, PictureFile, Pipeline, Quality, Report, Sink, Source, Target,
    Targets,
};

/// The outcome of a file.
pub(super) struct Done {
    pub(super) report: Report,
    /// More than 1 for stacks.
    pages: usize,
    result: Option<Decoded>,
    pub(super) quality: Option<Quality>,
}

/// Runs one file; its results are files.
pub(super) fn run_one(args: &RunArgs, targets: &Targets, model: Model, common: &Common) -> Result<ExitCode> {
    let input = &args.input[0];
    if args.recursive || args.resume || args.format.is_some() || args.shard.is_some() {
        let message = "--recursive, --resume, --format and --shard are for several pictures; drop them";
        return Err(Error::Usage(message.into()));
    }
    let pipeline = super::pipeline(args, model)?;
    targets.check(args.files(), pipeline.output_info(), args.overwrite)?;
    let file = PictureFile { path: input.clone(), name: input.clone(), also: Vec::new() };
    let PictureFile { path: input, name, also } =
        super::with_further_files(vec![file], args, pipeline.model()).remove(0);
    let mut job = Job { input: input.clone(), also, mask: None, name, targets: targets.clone() };
    if let Some(mask) = &args.mask {
        job.mask = Some(Beside::find(mask, false)?.of(&job, "mask")?.to_owned());
    }
    let source = pipeline.open_job(&job, args.raw)?;
    let label_list = LabelList::new(args, &pipeline, false)?;
    let pipeline = device::add_all(pipeline, common)?;

    let bar = progress(Some(1), "tiles", format!("running on {}", names(&pipeline)), common);
    let done = |tiles: usize| {
        bar.set_length(tiles as u64);
        bar.inc(1);
    };
    let result = match source {
        Source::One(prepared) => pipeline
            .run_input(*prepared, &done)
            .map_err(Error::from)
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
    label_list.map_or(Ok(()), |list| list.write(common))?;
    if let Some(quality) = &done.quality {
        tell(&quality.to_string(), args, common)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a figure on standard output, unless standard output is for scripts.
pub(super) fn tell(figure: &str, args: &RunArgs, common: &Common) -> Result<()> {
    if args.json {
        common.say(figure);
        return Ok(());
    }
    text::print(&format!("{figure}\n"))
}

/// Writes the results of a picture that was processed as a whole, and compares it with the reference.
pub(super) fn finish(
    pipeline: &Pipeline,
    outcome: Outcome,
    targets: &Targets,
    reference: Option<&Path>,
) -> Result<Done> {
    let (mut result, notes) = pipeline.write(&outcome, targets)?;
    if reference.is_some() && result.is_none() {
        result = Some(pipeline.decode(&outcome)?);
    }
    let hole = outcome.picture.as_ref().and_then(Picture::hole);
    let quality =
        reference.zip(result.as_ref()).map(|(path, result)| Quality::of(result, hole, path)).transpose()?;
    let mut report = outcome.report;
    report.notes.extend(notes);
    Ok(Done { report, pages: 1, result, quality })
}

/// Runs a stack page by page, or a large picture in bands of rows.
pub(super) fn apart(
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
        let report = pipeline.run_bands(job, done)?;
        return Ok(Done { report, pages: 1, result: None, quality: None });
    };
    let sink = |target: &Target| Ok((target.clone(), <dyn Sink>::pages(&target.path)?));
    let sinks = job.targets.0.iter().map(sink).collect::<Result<Vec<_>>>()?;
    let count = pages.total();
    let report = Mutex::new(None::<Report>);
    let each = |outcome: &Outcome| {
        done(count);
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *report {
            Some(report) => {
                report.build += outcome.report.build;
                report.run += outcome.report.run;
            }
            none => *none = Some(outcome.report.clone()),
        }
    };
    let pages =
        pipeline.run_sequence(pages, args.threads(), sinks, &each).map_err(|e| in_page(e, &job.input))?;
    let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut report = report.ok_or_else(|| Error::Usage(format!("{}: no page came", job.input.display())))?;
    report.notes.push(format!("{pages} pages"));
    Ok(Done { report, pages, result: None, quality: None })
}

/// An error about the values of a page, with the name of its file and what to do.
fn in_page(error: unet_wgpu::Error, path: &Path) -> Error {
    Error::Library(match error {
        unet_wgpu::Error::NonFinite { value, .. } => unet_wgpu::Error::Picture {
            path: path.into(),
            message: format!(
                "a page has the value {value}; write nodata = 0 under [input] in MODEL.toml to put 0 there"
            ),
        },
        error => error,
    })
}

/// The line of JSON for a file.
pub(super) fn line(job: &Job, done: &Result<Done>, pipeline: &Pipeline) -> Value {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let done = match done {
        Ok(done) => done,
        Err(error) => return json!({ "input": text(&job.input), "error": error.to_string() }),
    };
    let report = &done.report;
    let milliseconds = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let mut line = json!({
        "input": text(&job.input),
        "outputs": job.targets.0.iter().map(|t| (&option(t.kind.setting())[2..], text(&t.path))).collect::<BTreeMap<_, _>>(),
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
    if let Some(Quality::Mask(scores)) = &done.quality {
        let ious = scores.classes.iter().map(|class| (class.name.clone(), json!(class.iou)));
        line["class_iou"] = ious.collect::<serde_json::Map<_, _>>().into();
    }
    line
}

/// The classes that occur, largest first; of masks that tell one thing from the rest, both.
fn share_line(mask: &Mask) -> String {
    let mut shares = mask.shares();
    if shares.len() > 2 {
        shares.retain(|(_, share)| *share > 0.0);
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    }
    shares.iter().map(|(name, share)| format!("{name} {share:.1} %")).collect::<Vec<_>>().join(", ")
}
