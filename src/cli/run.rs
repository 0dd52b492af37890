//! `unet run`: a picture in, a picture out.

use super::{Common, device, open};
use crate::error::{Error, Result};
use crate::image::{
    Decoded, Depth, Format, Mask, Picture, Prepared, check_target, encode_npy, read_npy, side_by_side,
    write_atomic,
};
use crate::model::Model;
use crate::recipe::{Decode, Recipe};
use crate::session::Device;
use crate::tensor::{Shape, Tensor};
use crate::tiles::{Blend, TileOptions, TiledSession};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Run a model on a picture
///
/// Pictures are PNG, JPEG, WebP, BMP or TIFF. Masks become PNG files with a palette. A result named .npy gets the
/// numbers after the recipe's output steps, before thresholds and rounding.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Picture, or .npy array (numbers; NCHW, CHW or HW) of values from 0 to 255
    input: PathBuf,
    /// Model file, or the bioimageio.yaml that names it
    #[arg(short, long)]
    model: PathBuf,
    /// How pictures go in and come out, instead of MODEL.toml
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Result; its extension decides the format: .png .jpg .tiff .bmp .webp .npy, .txt for scores
    #[arg(short, long)]
    out: PathBuf,
    /// For masks: also write the input with the classes' colours laid over it
    #[arg(long, value_name = "FILE")]
    overlay: Option<PathBuf>,
    /// Also write input and result (for masks, the overlay) side by side
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// For masks of one channel: class 1 above this, instead of the model's own threshold
    #[arg(long, value_name = "T")]
    threshold: Option<f32>,
    /// Cut pictures into tiles of this many pixels a side [default: only those that do not fit the device's limits or
    /// --max-memory, into the largest that do]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    tile: Option<u32>,
    /// Pixels by which tiles overlap [default: what the network sees beyond a tile, so that the result is exact; else half]
    #[arg(long, value_name = "PIXELS")]
    overlap: Option<u32>,
    /// How tiles become one
    #[arg(long, value_enum, default_value = "auto")]
    blend: BlendChoice,
    /// Feed an .npy array to the network as it is, without the model's normalisation
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BlendChoice {
    /// `crop` where that gives the result of the whole picture, else `gaussian`
    Auto,
    /// Each pixel from one tile
    Crop,
    /// Each pixel from all tiles that have it, the nearer their middles the more
    Gaussian,
}

impl RunArgs {
    fn tiles(&self) -> TileOptions {
        TileOptions {
            size: self.tile.map(|pixels| pixels as usize),
            overlap: self.overlap.map(|pixels| pixels as usize),
            blend: match self.blend {
                BlendChoice::Auto => Blend::Auto,
                BlendChoice::Crop => Blend::Crop,
                BlendChoice::Gaussian => Blend::Gaussian,
            },
            ..TileOptions::default()
        }
    }
}

/// That and how the picture is cut, if it is.
fn tiles_note(session: &TiledSession) -> Option<String> {
    let tile = session.session().input_shape();
    let effect = match session.is_exact() {
        true => "with the same result",
        false => "which changes the result: the network sees all of what it gets at once",
    };
    (session.tiles() > 1)
        .then(|| format!("{} tiles of {}x{} pixels, {effect}", session.tiles(), tile.w, tile.h))
}

pub(super) fn run(args: &RunArgs, common: &Common) -> Result<ExitCode> {
    let format = check_targets(args)?;
    let mut model = open(&args.model, args.recipe.as_deref())?;
    let input = Input::read(args, &model)?;
    for note in input.picture.iter().flat_map(Picture::notes).cloned().chain(input.prepared.note()) {
        common.say(&format!("{}: {note}", args.input.display()));
    }
    let shape = input.prepared.tensor().shape();
    check_request(args, format, &model, &input)?;
    model.recipe.output.threshold = args.threshold.unwrap_or(model.recipe.output.threshold);

    let device = device::open(common)?;
    let start = Instant::now();
    let session = device::session(&model, shape, &device, common, &args.tiles())?;
    let built = start.elapsed();
    if let Some(note) = tiles_note(&session) {
        common.say(&note);
    }
    let bar = if common.quiet { ProgressBar::hidden() } else { ProgressBar::new(session.tiles() as u64) };
    bar.set_message(format!("running on {}", device::name(&device)));
    bar.enable_steady_tick(Duration::from_millis(100));
    let result = session.run(input.prepared.tensor(), &|| bar.inc(1))?;
    let ran = start.elapsed() - built;
    bar.finish_and_clear();

    let result = input.prepared.finish(result, &model.recipe)?;
    let shares = write_all(args, format, &model.recipe, &input, &result)?;
    common.say(&summary(&model, shape, &device, common, [built, ran]));
    if let Some(shares) = shares {
        common.say(&shares);
    }
    Ok(ExitCode::SUCCESS)
}

/// The picture, where there is one, and what the network gets of it.
struct Input {
    picture: Option<Picture>,
    prepared: Prepared,
}

impl Input {
    fn read(args: &RunArgs, model: &Model) -> Result<Input> {
        if !args.input.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
            if args.raw {
                return Err(Error::Usage("--raw is for .npy inputs; drop it for pictures".into()));
            }
            let picture = Picture::open(&args.input)?;
            let prepared = Prepared::picture(&picture, model)?;
            return Ok(Input { picture: Some(picture), prepared });
        }
        let tensor = read_npy(&args.input)?;
        tensor.check_finite()?;
        let (got, wanted) = (tensor.shape().c, model.input_channels());
        if got != wanted {
            let what = format!("{}", args.input.display());
            return Err(Error::shape(
                what,
                format!("{wanted} channels, as the network takes"),
                format!("{got}"),
            ));
        }
        if args.raw {
            return Ok(Input { picture: None, prepared: Prepared::raw(tensor) });
        }
        let picture = Picture::new(tensor.clone(), Depth::Sixteen).ok();
        Ok(Input { picture, prepared: Prepared::new(tensor, model)? })
    }

    fn picture(&self) -> Result<&Picture> {
        let needed =
            "--overlay and --compare need a picture as input (no --raw, one picture, 1 or 3 channels)";
        self.picture.as_ref().ok_or_else(|| Error::Usage(needed.into()))
    }
}

/// Refuses names that could not be written, before any work is done.
fn check_targets(args: &RunArgs) -> Result<Format> {
    let format = check_target(&args.out)?;
    let extra: Vec<&Path> =
        [&args.overlay, &args.compare].into_iter().flatten().map(PathBuf::as_path).collect();
    for path in &extra {
        if !check_target(path)?.is_picture() {
            return Err(Error::Usage(format!(
                "{}: --overlay and --compare write pictures; end it in .png",
                path.display()
            )));
        }
    }
    // The result may replace the input, since it is written aside first; nothing else may.
    let full = |path: &Path| std::path::absolute(path).unwrap_or(path.into());
    let mut taken = vec![full(&args.out)];
    for path in extra {
        if taken.contains(&full(path)) || full(path) == full(&args.input) {
            return Err(Error::Usage("--out, --overlay and --compare must name different files".into()));
        }
        taken.push(full(path));
    }
    Ok(format)
}

/// Refuses what does not go together, before any work is done.
fn check_request(args: &RunArgs, format: Format, model: &Model, input: &Input) -> Result<()> {
    let refuse = |message: &str| Err(Error::Usage(message.into()));
    let shape = input.prepared.tensor().shape();
    let output = model.graph(shape)?.output_shape(shape)?;
    let decode = model.recipe.decode(output.c, output.pixels());
    let extra = args.overlay.is_some() || args.compare.is_some();
    if extra {
        input.picture()?;
    }
    if output.n != 1 && format != Format::Npy {
        return refuse("more than one picture in the input: end --out in .npy");
    }
    if args.threshold.is_some_and(|t| !t.is_finite() || decode != Decode::Mask || output.c != 1) {
        return refuse("--threshold takes a finite number and is for masks of one channel; drop it");
    }
    match decode {
        Decode::Scores if extra || format.is_picture() => {
            refuse("the model gives class scores: end --out in .txt or .npy, without --overlay or --compare")
        }
        Decode::Image | Decode::Mask if format == Format::Text => {
            refuse("the model gives a picture: end --out in .png, .jpg, .tiff, .bmp, .webp or .npy")
        }
        Decode::Image if args.overlay.is_some() => refuse("--overlay is for masks; use --compare"),
        Decode::Image if !matches!(output.c, 1 | 3) && (extra || format != Format::Npy) => {
            refuse("the model's result has neither 1 nor 3 channels: end --out in .npy")
        }
        _ => Ok(()),
    }
}

/// Makes every file's bytes first and writes then, so that a result that cannot be encoded leaves nothing behind.
/// Returns a line with the mask's shares.
fn write_all(
    args: &RunArgs,
    format: Format,
    recipe: &Recipe,
    input: &Input,
    result: &Tensor,
) -> Result<Option<String>> {
    let mut files = Vec::new();
    let mut shares = None;
    if format == Format::Npy {
        files.push((&args.out, encode_npy(result)));
    }
    if format != Format::Npy || args.overlay.is_some() || args.compare.is_some() {
        let depth = input.picture.as_ref().map_or(Depth::Eight, Picture::depth);
        let decoded = Decoded::new(result, recipe, depth)?;
        if format != Format::Npy {
            files.push((&args.out, decoded.encode(&args.out)?));
        }
        if let Decoded::Mask(mask) = &decoded {
            shares = Some(share_line(mask));
        }
        if let (Some(path), Decoded::Mask(mask)) = (&args.overlay, &decoded) {
            files.push((path, mask.overlay(input.picture()?)?.encode(path)?));
        }
        if let Some(path) = &args.compare {
            let picture = input.picture()?;
            let right = match &decoded {
                Decoded::Image(result) => result.clone(),
                Decoded::Mask(mask) => mask.overlay(picture)?,
                Decoded::Scores(_) => {
                    return Err(Error::Usage("scores cannot be compared with a picture".into()));
                }
            };
            files.push((path, side_by_side(&[picture, &right])?.encode(path)?));
        }
    }
    for (path, bytes) in files {
        write_atomic(path, &bytes)?;
    }
    Ok(shares)
}

fn share_line(mask: &Mask) -> String {
    let shares: Vec<String> =
        mask.shares().iter().map(|(name, share)| format!("{name} {share:.1} %")).collect();
    shares.join(", ")
}

/// Device, size, padding, precision, time.
fn summary(
    model: &Model,
    shape: Shape,
    device: &Device,
    common: &Common,
    [built, ran]: [Duration; 2],
) -> String {
    let stride = model.config.as_ref().map_or(1, |config| config.stride());
    let padded = [shape.h, shape.w].map(|side| side.next_multiple_of(stride));
    let padding = match padded == [shape.h, shape.w] {
        true => String::new(),
        false => format!(" padded to {}x{}", padded[1], padded[0]),
    };
    format!(
        "{}, {}, {}x{} pixels{padding}, {:.0} ms to build and {:.0} ms to run",
        device::name(device),
        common.options().precision,
        shape.w,
        shape.h,
        built.as_secs_f64() * 1e3,
        ran.as_secs_f64() * 1e3,
    )
}
