//! Standard input and output: pictures, and videos frame by frame.

use super::label_list::LabelList;
use super::{RunArgs, names, progress, rate, save_caches, summary};
use crate::error::{Error, Result, option};
use crate::{Common, device};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use unet_wgpu::Model;
use unet_wgpu::image::{
    FrameReader, Hole, Picture, Pipeline, Sink, Stream, StreamFormat, Target, TargetKind, Targets,
};
use unet_wgpu::recipe::Decode;

/// Whether standard input, standard output or a video is involved.
pub(super) fn is_stream(args: &RunArgs, targets: &Targets) -> bool {
    args.input
        .iter()
        .map(|path| path.as_path())
        .chain(targets.paths())
        .any(|path| is_dash(path) || is_video(path))
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn is_video(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("y4m"))
}

pub(super) fn run(args: &RunArgs, targets: &Targets, model: Model, common: &Common) -> Result<ExitCode> {
    args.check_stream()?;
    let [input] = &args.input[..] else {
        return Err(Error::Usage(
            "standard input, standard output and videos go one at a time; name one input".into(),
        ));
    };
    if targets.paths().filter(|path| is_dash(path)).count() > 1 {
        return Err(Error::Usage(
            "only one result can go to standard output; name files for the others".into(),
        ));
    }
    let pipeline = super::pipeline(args, model)?;
    targets.check_kinds(pipeline.output_info())?;
    let reader: Box<dyn Read + Send> = match is_dash(input) {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(input).map_err(Error::io(input))?),
    };
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let is_frames = args.pixel_format.is_some()
        || reader.fill_buf().map_err(Error::io(input))?.starts_with(StreamFormat::Y4M_MAGIC);
    let done = match is_frames {
        true => frames(args, targets, reader, pipeline, common),
        false => picture(args, targets, reader, pipeline, common),
    };
    match done {
        // The reader has closed the pipe.
        Err(Error::Library(unet_wgpu::Error::Io { source, .. }))
            if source.kind() == io::ErrorKind::BrokenPipe =>
        {
            Ok(ExitCode::SUCCESS)
        }
        done => done.map(|()| ExitCode::SUCCESS),
    }
}

/// Runs a video frame by frame.
fn frames(
    args: &RunArgs,
    targets: &Targets,
    reader: impl Read + Send,
    pipeline: Pipeline,
    common: &Common,
) -> Result<()> {
    let frames = FrameReader::new(reader, args.pixel_format, args.frame_size)?;
    let stream = frames.stream().clone();
    let hole = args.mask.as_deref().map(Hole::open).transpose()?;
    let frames = frames.map(|frame| frame?.with_hole(hole.clone()));
    check_frames(targets, &pipeline)?;
    let label_list = LabelList::new(args, &pipeline, false)?;
    let sink = |target: &Target| Ok((target.clone(), sink(&target.path, stream.clone())?));
    let sinks = targets.0.iter().map(sink).collect::<Result<Vec<_>>>()?;
    let pipeline = device::add_all(pipeline, common)?;
    let start = Instant::now();
    let bar = progress(None, "frames", names(&pipeline), common);
    let count = pipeline.run_sequence(frames, args.threads(), sinks, &|_| bar.inc(1));
    bar.finish_and_clear();
    save_caches(&pipeline);
    common.say(&rate(count?, "frame", start.elapsed(), &pipeline));
    label_list.map_or(Ok(()), |list| list.write(common))
}

/// Refuses what frames cannot hold, before any of them runs.
fn check_frames(targets: &Targets, pipeline: &Pipeline) -> Result<()> {
    let info = pipeline.output_info();
    for Target { kind, path } in
        targets.0.iter().filter(|target| is_dash(&target.path) || is_video(&target.path))
    {
        let reason = match kind {
            TargetKind::Result if info.decode == Decode::Labels => {
                "labels may overlap, so they are no single frame; write .tiff, a page for each label, or --overlay"
            }
            TargetKind::Cutout if !info.has_backdrop => {
                "frames have no transparency; give what lies behind with --background, or write .tiff"
            }
            TargetKind::LabelMap => "frames hold colours, not class numbers; write .tiff",
            _ => continue,
        };
        return Err(Error::Usage(format!("{}: {}: {reason}", path.display(), option(kind.setting()))));
    }
    Ok(())
}

/// The sink for frames.
fn sink(path: &Path, stream: Stream) -> unet_wgpu::Result<Box<dyn Sink>> {
    match path {
        path if is_dash(path) => Ok(<dyn Sink>::frames(BufWriter::new(io::stdout()), stream)),
        path if is_video(path) => {
            <dyn Sink>::frame_file(path, if stream.is_y4m() { stream } else { StreamFormat::Y4m.into() })
        }
        path => <dyn Sink>::pages(path),
    }
}

/// Runs a picture from standard input, or to standard output as PNG.
fn picture(
    args: &RunArgs,
    targets: &Targets,
    reader: impl Read,
    pipeline: Pipeline,
    common: &Common,
) -> Result<()> {
    let name = if is_dash(&args.input[0]) { Path::new("standard input") } else { &args.input[0] };
    let (out, files): (Vec<Target>, Vec<Target>) =
        targets.0.iter().cloned().partition(|target| is_dash(&target.path));
    let files = Targets(files);
    files.check(args.files(), pipeline.output_info(), args.overwrite)?;
    let hole = args.mask.as_deref().map(Hole::open).transpose()?;
    let picture = Picture::from_reader(reader, name)?.with_hole(hole)?;
    let input = pipeline.picture(picture, name)?;
    let label_list = LabelList::new(args, &pipeline, false)?;
    let pipeline = device::add_all(pipeline, common)?;
    let outcome = pipeline.run_input(input, &|_| {})?;
    let decoded = pipeline.decode(&outcome)?;
    let mut bytes = Vec::new();
    for target in &out {
        let extension = match (target.kind, pipeline.output_info().decode) {
            (TargetKind::Statistics, _) => "csv",
            (TargetKind::Probabilities, _) => "npy",
            (_, Decode::Scores) => "txt",
            _ => "png",
        };
        let made = pipeline.make(target, &outcome, Some(&decoded))?;
        bytes = made.encode(&Path::new("standard output").with_extension(extension))?;
    }
    pipeline.write(&outcome, &files)?;
    let mut stdout = io::stdout();
    stdout.write_all(&bytes).and_then(|()| stdout.flush()).map_err(Error::io("standard output".as_ref()))?;
    save_caches(&pipeline);
    label_list.map_or(Ok(()), |list| list.write(common))?;
    outcome.report.notes.iter().for_each(|note| common.say(note));
    common.say(&summary(&pipeline, &outcome.report, common));
    Ok(())
}
