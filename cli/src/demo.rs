//! `unet demo`: each task on one of the project's pictures, as the README shows it, and a contact sheet of all.

use super::{Cli, Command, Common, text};
use crate::error::{Error, Result};
use crate::lettering::Lettering;
use clap::{Args, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use unet_wgpu::image::{Depth, Picture, write_atomic};
use unet_wgpu::{Shape, Tensor};

/// Show every task on one picture: run the commands of the README, and draw a contact sheet
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  unet demo out\n  unet demo --list")]
pub(super) struct DemoArgs {
    /// The folder that the pictures go to
    #[arg(value_name = "FOLDER", required_unless_present = "list")]
    folder: Option<PathBuf>,
    /// The project's folder, which holds demo/ and models/
    #[arg(long, value_name = "DIR", default_value = ".")]
    from: PathBuf,
    /// Only print the commands
    #[arg(long)]
    list: bool,
}

/// A task, and the command that does it.
struct Task {
    name: &'static str,
    /// The command after `unet`. Words that begin with demo/ or models/ lie in the project's folder. Other file names are
    /// those of results. The comparison goes to the contact sheet.
    line: &'static str,
}

const TASKS: [Task; 4] = [
    Task {
        name: "denoising",
        line: "run demo/noisy.png -m models/denoise.safetensors -o denoised.png --compare denoise.png",
    },
    Task {
        name: "super-resolution",
        line: "run demo/small.png -m models/upscale2x.safetensors -o large.png --compare upscale.png",
    },
    Task {
        name: "inpainting",
        line: "run demo/clean.png -m models/inpaint.safetensors --mask demo/hole.png -o filled.png --compare inpaint.png",
    },
    Task {
        name: "medical segmentation",
        line: "run demo/cells.png -m models/cells.safetensors -o mask.png --contours contours.png --compare cells.png",
    },
];

/// Options whose value is a file that the command writes.
const WRITES: [&str; 3] = ["-o", "--compare", "--contours"];

impl Task {
    /// The words of the command line, with the files where they are.
    fn words(&self, from: &Path, folder: &Path) -> Vec<PathBuf> {
        let mut last = "";
        let words = self.line.split(' ').map(|word| {
            let place = match word.split_once('/') {
                _ if WRITES.contains(&last) => folder.join(word),
                Some(("demo" | "models", _)) => from.join(word),
                _ => word.into(),
            };
            last = word;
            place
        });
        [PathBuf::from("unet")].into_iter().chain(words).collect()
    }

    /// The result that goes to the contact sheet.
    fn shown(&self, folder: &Path) -> PathBuf {
        let name = self.line.split(' ').skip_while(|word| *word != "--compare").nth(1);
        folder.join(name.expect("every task compares"))
    }

    fn run(&self, args: &DemoArgs, folder: &Path, common: &Common) -> Result<()> {
        let words = self.words(&args.from, folder);
        let mut inputs =
            self.line.split(' ').filter(|word| word.contains('/')).map(|word| args.from.join(word));
        if let Some(missing) = inputs.find(|path| !path.exists()) {
            return Err(Error::Usage(format!(
                "{} does not exist; name the folder of the project, which holds demo/ and models/, as --from DIR",
                missing.display()
            )));
        }
        let cli = Cli::try_parse_from(&words).expect("the tasks are command lines");
        let Command::Run(run) = cli.command else { unreachable!("all tasks run a model") };
        super::run::run(&run, common).map(drop)
    }
}

pub(super) fn run(args: &DemoArgs, common: &Common) -> Result<ExitCode> {
    let Some(folder) = args.folder.as_deref().filter(|_| !args.list) else {
        let lines = TASKS.iter().map(|task| format!("# {}\nunet {}\n", task.name, task.line));
        text::print(&lines.collect::<Vec<_>>().join("\n"))?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let began = Instant::now();
    let bar = if common.quiet { ProgressBar::hidden() } else { ProgressBar::new(TASKS.len() as u64) };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}");
    bar.set_style(style.expect("the template is valid"));
    bar.enable_steady_tick(Duration::from_millis(200));
    // Only the first run tells about the device.
    let (quiet, mut common) = (common.quiet, common.clone());
    for task in &TASKS {
        bar.set_message(task.name);
        bar.suspend(|| task.run(args, folder, &common))?;
        common.quiet = true;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let sheet = folder.join("sheet.jpg");
    write_atomic(&sheet, &contact_sheet(folder)?.encode(&sheet)?)?;
    if !quiet {
        let seconds = began.elapsed().as_secs_f64();
        let tasks = text::count(TASKS.len(), "task");
        text::say(&format!("{tasks} in {seconds:.0} s; see {}", sheet.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns of the contact sheet.
const COLUMNS: usize = 2;
/// Width and height of a picture on it.
const CELL: [usize; 2] = [560, 220];
/// Space around pictures.
const GAP: usize = 14;
/// Height of a caption.
const CAPTION: usize = 20;
const INK: [u8; 3] = [40, 40, 40];

/// All comparisons with their tasks' names in one picture.
fn contact_sheet(folder: &Path) -> Result<Picture> {
    let step = [CELL[0] + GAP, CELL[1] + CAPTION + 2 * GAP];
    let [width, height] = [COLUMNS * step[0] + GAP, TASKS.len().div_ceil(COLUMNS) * step[1] + GAP];
    let mut sheet = Tensor::from_fn(Shape::new(1, 3, height, width), |_| 255.0);
    let letters = Lettering::of_height(CAPTION);
    for (i, task) in TASKS.iter().enumerate() {
        let [left, top] = [GAP + i % COLUMNS * step[0], GAP + i / COLUMNS * step[1]];
        let picture = Picture::open(&task.shown(folder))?;
        let [w, h] = [picture.width(), picture.height()].map(|n| n as f64);
        let scale = (CELL[0] as f64 / w).min(CELL[1] as f64 / h);
        let picture = picture.resized([h, w].map(|n| (n * scale).round() as usize))?;
        let corner = [(CELL[0] - picture.width()) / 2 + left, CELL[1] - picture.height() + top];
        for (y, x) in (0..picture.height()).flat_map(|y| (0..picture.width()).map(move |x| (y, x))) {
            for (c, part) in picture.rgb(x, y).into_iter().enumerate() {
                sheet.data_mut()[(c * height + corner[1] + y) * width + corner[0] + x] = part.into();
            }
        }
        let caption = [left + (CELL[0] - letters.width(task.name).min(CELL[0])) / 2, top + CELL[1] + GAP / 2];
        letters.write(&mut sheet, caption, task.name, INK);
    }
    Ok(Picture::new(sheet, Depth::Eight)?)
}
