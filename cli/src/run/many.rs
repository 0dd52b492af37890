//! Runs folders, patterns and lists of files through the pipeline.

use super::files::{apart, finish, line, tell};
use super::label_list::LabelList;
use super::names::{Beside, Names};
use super::{RunArgs, names, progress, rate, save_caches};
use crate::error::{Error, Result};
use crate::{Common, device, text};
use indicatif::ProgressBar;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use unet_wgpu::Model;
use unet_wgpu::image::{
    Format, Job, Load, Outcome, Pipeline, Quality, Scores, Shard, Source, Targets, find_pictures, jobs,
    left_out, remove_temporary_files,
};

/// Runs folders, patterns or lists of files. Results go into folders.
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
    without.extend(args.mask.as_deref());
    let mut found = find_pictures(&args.input, args.recursive, &without)?;
    found.retain(|found| Some(found.path.as_path()) != args.mask.as_deref());
    left_out(&args.input, args.recursive).iter().for_each(|line| common.say(line));
    let pipeline = super::pipeline(args, model)?;
    let shard = args.shard.unwrap_or(Shard::ALL);
    let found = super::with_further_files(found, args, pipeline.model());
    let info = pipeline.output_info();
    let jobs = jobs(&found, targets, args.format.as_deref(), info, shard, args.overwrite)?;
    let references =
        args.reference.as_deref().map(|folder| Names::find(folder, args.recursive)).transpose()?;
    let masks = args.mask.as_deref().map(|path| Beside::find(path, args.recursive)).transpose()?;
    let label_list = LabelList::new(args, &pipeline, true)?;
    let pipeline = device::add_all(pipeline, common)?;
    remove_temporary_files(jobs.iter().flat_map(|job| job.targets.paths()))?;
    let (ready, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| args.resume && job.is_done());
    for folder in jobs.iter().flat_map(|job| job.targets.paths()).filter_map(Path::parent) {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }

    let count = jobs.len();
    let run = Run {
        pipeline: &pipeline,
        args,
        common,
        references,
        masks,
        bar: progress(Some(count as u64), "pictures", names(&pipeline), common),
        tally: Mutex::default(),
    };
    pipeline.run_all(
        jobs.into_iter(),
        args.threads(),
        false,
        |job| run.load(job),
        |(job, source), outcome| run.save(&job, source, outcome),
    );
    run.bar.finish_and_clear();
    save_caches(&pipeline);

    let tally = run.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let well = rate(count - tally.failed.len(), "picture", start.elapsed(), &pipeline);
    let skipped =
        if ready.is_empty() { String::new() } else { format!(", {} were there already", ready.len()) };
    common.say(&format!("{well}{skipped}"));
    if let Some(list) = label_list.filter(|_| tally.failed.len() < count) {
        list.write(common)?;
    }
    if let Some((scores, pictures)) = together(&tally.qualities) {
        tell(&format!("{} together:\n{scores}", text::count(pictures, "picture")), args, common)?;
    }
    for (name, mean) in means(&tally.qualities) {
        tell(&format!("mean {name} {mean:.4}"), args, common)?;
    }
    Ok(tally.exit_code(count))
}

/// Data that the threads of a run share.
struct Run<'a> {
    pipeline: &'a Pipeline,
    args: &'a RunArgs,
    common: &'a Common,
    references: Option<Names>,
    masks: Option<Beside>,
    bar: ProgressBar,
    tally: Mutex<Tally>,
}

/// Data for the summary at the end.
#[derive(Default)]
struct Tally {
    failed: Vec<(PathBuf, Error)>,
    qualities: Vec<Quality>,
}

impl Run<'_> {
    fn load(&self, mut job: Job) -> ((Job, Option<Source>), unet_wgpu::Result<Load>) {
        match self.masks.as_ref().map(|masks| masks.of(&job, "mask").map(Path::to_owned)).transpose() {
            Ok(mask) => job.mask = mask,
            Err(error) => return ((job, None), Err(error)),
        }
        match self.pipeline.open_job(&job, self.args.raw) {
            Ok(Source::One(input)) => ((job, None), Ok(Load::Run(input))),
            Ok(source) => ((job, Some(source)), Ok(Load::Apart)),
            Err(error) => ((job, None), Err(error)),
        }
    }

    /// Saves the results of one picture. A bad picture does not stop the others.
    fn save(
        &self,
        job: &Job,
        source: Option<Source>,
        outcome: unet_wgpu::Result<Option<Outcome>>,
    ) -> ControlFlow<()> {
        let reference = || self.references.as_ref().map(|all| all.of(job, "reference")).transpose();
        let done = outcome.map_err(Error::from).and_then(|outcome| match (outcome, source) {
            (Some(outcome), _) => finish(self.pipeline, outcome, &job.targets, reference()?),
            (None, Some(source)) => apart(self.pipeline, self.args, job, source, &|_| {}),
            (None, None) => Err(Error::Usage("nothing was loaded".into())),
        });
        if self.args.json {
            self.bar.suspend(|| drop(text::print(&format!("{}\n", line(job, &done, self.pipeline)))));
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            Ok(done) => {
                for note in &done.report.notes {
                    self.bar.suspend(|| self.common.say(&format!("{}: {note}", job.input.display())));
                }
                tally.qualities.extend(done.quality);
            }
            Err(error) => tally.failed.push((job.input.clone(), error)),
        }
        self.bar.inc(1);
        ControlFlow::Continue(())
    }
}

impl Tally {
    /// Lists the failures and returns the exit code.
    fn exit_code(mut self, count: usize) -> ExitCode {
        if self.failed.is_empty() {
            return ExitCode::SUCCESS;
        }
        self.failed.sort_by(|a, b| a.0.cmp(&b.0));
        text::say(&format!("{} of {} failed:", self.failed.len(), text::count(count, "picture")));
        self.failed.iter().for_each(|(path, error)| text::say(&named(path, error)));
        ExitCode::FAILURE
    }
}

/// An error that begins with the name of its file.
fn named(path: &Path, error: &Error) -> String {
    let (path, message) = (path.display().to_string(), error.to_string());
    if message.starts_with(&path) { message } else { format!("{path}: {message}") }
}

/// The scores over all pixels of all masks, and the number of masks; `None` where there are none.
fn together(qualities: &[Quality]) -> Option<(Scores, usize)> {
    let mut sum = Scores::default();
    let masks = qualities.iter().filter_map(|quality| match quality {
        Quality::Mask(scores) => Some(scores),
        _ => None,
    });
    let count = masks.inspect(|scores| sum.add(scores)).count();
    (count > 0).then_some((sum, count))
}

/// Means of each figure over the pictures.
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
