//! The options of `unet run`.

use crate::error::{Error, Result};
use crate::inputs::InputArgs;
use crate::values::RunSize;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use unet_wgpu::image::{Batch, FurtherFile, Shard, StreamFormat, Target, TargetKind, Targets, Threads};
use unet_wgpu::tiles::{Blend, TileOptions};
use unet_wgpu::{Augment, OpenOptions};

/// Run a model on pictures
///
/// INPUT is a picture (PNG, JPEG, WebP, BMP, TIFF, OpenEXR, PFM, PPM), a stack (multi-page TIFF, NIfTI), an .npy
/// array, several of them, a folder, a pattern such as 'scans/*.png', or - for standard input. Masks become PNG files
/// with a palette. A result named .npy holds the numbers after the recipe's output steps, before thresholds and
/// rounding.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// Pictures, folders, patterns; .npy arrays (NCHW, CHW or HW) with values from 0 to 255; - is standard input
    #[arg(required = true)]
    pub(super) input: Vec<PathBuf>,
    /// Model file, or the bioimageio.yaml that names it
    #[arg(short, long)]
    pub(super) model: PathBuf,
    /// TOML file with the recipe (pre- and post-processing), instead of MODEL.toml
    #[arg(long, value_name = "FILE")]
    pub(super) recipe: Option<PathBuf>,

    #[command(flatten)]
    inputs: InputArgs,
    /// Bands of the picture, numbered from 1, that are the network's channels, such as 4,1,2 [default: the recipe's bands,
    /// else all, or red, green and blue]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..), help_heading = NETWORK)]
    pub(super) bands: Vec<u16>,
    /// Further picture whose bands follow, such as albedo=albedo.exr; with several pictures, a folder of files with the
    /// same names. Give the option once for each
    #[arg(long, value_name = "NAME=FILE", value_parser = further_file, help_heading = NETWORK)]
    pub(super) also: Vec<FurtherFile>,
    /// For networks that fill holes: the mask, whose white pixels are the hole; with several pictures, a folder of masks
    /// with the same names, or one mask for all [default: the pixels that are not opaque]
    #[arg(long, value_name = "FILE", help_heading = NETWORK)]
    pub(super) mask: Option<PathBuf>,
    /// Size at which the network runs; native is the picture's own [default: the recipe's, else for masks the size that
    /// the file was exported for, else native]
    #[arg(long, value_name = "HEIGHTxWIDTH|native", help_heading = NETWORK)]
    pub(super) size: Option<RunSize>,
    /// Output of the network that is the result, by its name or its place from 0 [default: the recipe's output.name, else
    /// the largest]
    #[arg(long = "output", value_name = "NAME|NUMBER", help_heading = NETWORK)]
    output_name: Option<String>,

    /// The result; its extension decides the format: .png .jpg .tiff .bmp .webp .exr .pfm .npy, .txt for scores. With
    /// several pictures, all results are folders; - is standard output
    #[arg(short, long, help_heading = RESULTS, required_unless_present_any = OTHERS)]
    pub(super) out: Option<PathBuf>,
    /// Let the result replace its input
    #[arg(long, help_heading = RESULTS)]
    pub(super) overwrite: bool,
    /// For masks: the input with the colours of the classes over it
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    overlay: Option<PathBuf>,
    /// For masks: the input with a line around each region
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    contours: Option<PathBuf>,
    /// For masks: the input, transparent where it is background, with the colours of its edges cleaned
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    cutout: Option<PathBuf>,
    /// Classes that the cut-out shows, by name or number, such as car,person [default: all but the background]
    #[arg(long, value_name = "CLASS,...", value_delimiter = ',', requires = "cutout", help_heading = RESULTS)]
    pub(super) keep: Vec<String>,
    /// What lies behind the cut-out: a colour (white, #fff, #ffffff) or a picture, which is scaled to cover it and cropped
    /// [default: nothing]
    #[arg(long, value_name = "COLOUR|FILE", requires = "cutout", help_heading = RESULTS)]
    pub(super) background: Option<String>,
    /// For masks: the class number of each pixel, .png with a palette or .tiff; beside it labelmap.txt with the names
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    pub(super) labels: Option<PathBuf>,
    /// Input and result (for masks, the overlay) side by side
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    compare: Option<PathBuf>,
    /// For masks: the probability of each class at each pixel, .npy or 32-bit float .tiff
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    probabilities: Option<PathBuf>,
    /// For masks: pixels, share and connected components of each class, .csv or .json
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    stats: Option<PathBuf>,
    /// No legend of the classes below --overlay, --contours and --compare
    #[arg(long, help_heading = RESULTS)]
    pub(super) no_legend: bool,
    /// For masks: colours of the classes: voc, cityscapes, tab20, or a file with one colour on each line (#rrggbb
    /// NAME, or R G B NAME)
    #[arg(long, value_name = "NAME|FILE", help_heading = RESULTS)]
    pub(super) palette: Option<String>,
    /// Compare the result with this picture (PSNR, SSIM) or mask (IoU and Dice of each class); with several pictures,
    /// a folder
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    pub(super) reference: Option<PathBuf>,

    /// For networks that fill holes: mix the result with what is known within this many pixels around the hole
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=256), help_heading = QUALITY)]
    pub(super) feather: Option<u32>,
    /// For masks of one channel and labels: what is above this value, instead of the model's threshold
    #[arg(long, value_name = "T", help_heading = QUALITY)]
    pub(super) threshold: Option<f32>,
    /// For masks: keep only the largest connected component of each class
    #[arg(long, help_heading = QUALITY)]
    pub(super) keep_largest: bool,
    /// For masks: remove connected components with fewer pixels
    #[arg(long, value_name = "PIXELS", help_heading = QUALITY)]
    pub(super) min_area: Option<usize>,
    /// For pictures of the input's size: the share of the network in the result, from 0 (the input) to 1 (the network's
    /// picture) [default: the recipe's, else 1]
    #[arg(long, value_name = "SHARE", help_heading = QUALITY)]
    pub(super) strength: Option<f64>,
    /// Average over mirrored copies of the input (4 runs), or mirrored and transposed ones (8 runs)
    #[arg(long, value_enum, value_name = "COPIES", help_heading = QUALITY)]
    tta: Option<Copies>,

    /// Also pictures in subfolders
    #[arg(short, long, help_heading = FOLDERS)]
    pub(super) recursive: bool,
    /// Skip pictures whose results all exist
    #[arg(long, help_heading = FOLDERS)]
    pub(super) resume: bool,
    /// Extension of the results, such as png or npy [default: png; tiff for TIFF inputs; a float format for floats]
    #[arg(long, value_name = "EXT", help_heading = FOLDERS)]
    pub(super) format: Option<String>,
    /// Only part K of N equal parts, for N processes or machines
    #[arg(long, value_name = "K/N", help_heading = FOLDERS)]
    pub(super) shard: Option<Shard>,
    /// Threads that load, runs that overlap on each device, threads that save, such as 2:3:2
    #[arg(long, value_name = "LOAD:RUN:SAVE", value_parser = threads, help_heading = FOLDERS)]
    jobs: Option<Threads>,
    /// Pictures of one size that run at once [default: auto, on a GPU as many as make 512x512 pixels]
    #[arg(long, value_name = "N|auto", value_parser = batch, help_heading = FOLDERS)]
    pub(super) batch: Option<Batch>,
    /// Print one line of JSON for each picture on standard output
    #[arg(long, help_heading = FOLDERS)]
    pub(super) json: bool,

    /// Cut pictures into tiles with sides of this many pixels [default: only pictures that do not fit the device's
    /// limits or --max-memory, into the largest tiles that do]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..), help_heading = LARGE)]
    tile: Option<u32>,
    /// Overlap of tiles in pixels [default: what the network sees beyond a tile, so the result is exact; else half]
    #[arg(long, value_name = "PIXELS", help_heading = LARGE)]
    overlap: Option<u32>,
    /// How the results of tiles are merged
    #[arg(long, value_enum, default_value = "auto", help_heading = LARGE)]
    blend: BlendChoice,

    /// Format of standard input and standard output: y4m, rgb24, gray8 or gray16le [default: y4m video or a picture
    /// file, by its content]
    #[arg(long, value_name = "FORMAT", help_heading = STREAMS)]
    pub(super) pixel_format: Option<StreamFormat>,
    /// Size of the frames of a raw stream
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = frame_size, requires = "pixel_format", help_heading = STREAMS)]
    pub(super) frame_size: Option<(usize, usize)>,
    /// Feed an .npy array to the network unchanged, and take its result unchanged, without the recipe
    #[arg(long, help_heading = STREAMS)]
    pub(super) raw: bool,
}

const RESULTS: &str = "Results";
const NETWORK: &str = "Inputs and outputs of the network";
const QUALITY: &str = "Quality";
const FOLDERS: &str = "Several pictures";
const LARGE: &str = "Large pictures";
const STREAMS: &str = "Streams and arrays";

/// Options for results other than `--out`.
const OTHERS: [&str; 7] = ["overlay", "contours", "cutout", "labels", "compare", "probabilities", "stats"];

const EXAMPLES: &str = "\
Examples:
  unet run cells.png -m cells.safetensors -o mask.png --overlay overlay.png --stats cells.csv
  unet run photo.jpg -m u2net.onnx --cutout person.png
  unet run photo.jpg -m u2net.onnx --cutout person.jpg --background beach.jpg
  unet run street.png -m camvid.onnx --cutout cars.png --keep car --overlay street-classes.png
  unet run scans/ -m unet.onnx -o masks/ --recursive --resume
  unet run 'scans/*.tif' -m unet.onnx -o masks/ --shard 1/2 --device 0,1
  unet run photo.jpg -m inpaint.onnx --mask hole.png -o filled.png
  unet run noisy.exr -m rt_hdr.tza -o clean.exr --reference truth.exr
  unet run slide.tiff -m unet.onnx -o mask.tiff --max-memory 2G
  ffmpeg -i in.mp4 -f yuv4mpegpipe - | unet run - -m denoise.safetensors -o - | ffmpeg -i - out.mp4";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BlendChoice {
    /// `crop` if that gives the result of the whole picture, else `gaussian`
    Auto,
    /// Each pixel from one tile
    Crop,
    /// Each pixel from all tiles that contain it; tiles count more near their centre
    Gaussian,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Copies {
    /// The input and its three mirror images
    Flips,
    /// The same, and all of them transposed
    All,
}

impl RunArgs {
    /// The options with which the model is opened.
    pub(super) fn open_options(&self) -> Result<OpenOptions> {
        let mut options = OpenOptions::default();
        options.recipe = self.recipe.clone();
        options.result = self.output_name.clone();
        options.inputs = self.inputs.read()?;
        Ok(options)
    }

    /// The first picture and its mask.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.input.first().into_iter().chain(&self.mask).map(PathBuf::as_path)
    }

    /// Whether the result was chosen by name.
    pub(super) fn names_output(&self) -> bool {
        self.output_name.is_some()
    }

    /// The requested results and their files.
    pub(super) fn targets(&self) -> Result<Targets> {
        let path = |kind| match kind {
            TargetKind::Result => &self.out,
            TargetKind::Probabilities => &self.probabilities,
            TargetKind::Overlay => &self.overlay,
            TargetKind::Contours => &self.contours,
            TargetKind::Cutout => &self.cutout,
            TargetKind::LabelMap => &self.labels,
            TargetKind::Compare => &self.compare,
            TargetKind::Statistics => &self.stats,
        };
        let target = |kind| path(kind).clone().map(|path| Target { kind, path });
        Ok(Targets(TargetKind::ALL.into_iter().filter_map(target).collect()))
    }

    /// Refuses options for files.
    pub(super) fn check_stream(&self) -> Result<()> {
        let for_files =
            self.recursive || self.resume || self.format.is_some() || self.shard.is_some() || self.json;
        if for_files || self.raw || self.reference.is_some() || !self.also.is_empty() {
            let options = "--recursive, --resume, --format, --shard, --json, --reference, --also and --raw";
            return Err(Error::Usage(format!(
                "{options} are for files, not for standard input or output; drop them"
            )));
        }
        Ok(())
    }

    /// Refuses options for streams.
    pub(super) fn check_no_stream(&self) -> Result<()> {
        match self.pixel_format.is_some() || self.frame_size.is_some() {
            true => {
                Err(Error::Usage("--pixel-format and --frame-size are for standard input; drop them".into()))
            }
            false => Ok(()),
        }
    }

    pub(super) fn threads(&self) -> Threads {
        self.jobs.unwrap_or_default()
    }

    pub(super) fn tiles(&self) -> TileOptions {
        let blend = match self.blend {
            BlendChoice::Auto => Blend::Auto,
            BlendChoice::Crop => Blend::Crop,
            BlendChoice::Gaussian => Blend::Gaussian,
        };
        let augment = match self.tta {
            None => Augment::None,
            Some(Copies::Flips) => Augment::Flips,
            Some(Copies::All) => Augment::All,
        };
        TileOptions::default()
            .with_size(self.tile.map(|pixels| pixels as usize))
            .with_overlap(self.overlap.map(|pixels| pixels as usize))
            .with_blend(blend)
            .with_augment(augment)
    }
}

/// `NAME=FILE`.
fn further_file(text: &str) -> Result<FurtherFile, String> {
    let parts = text.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty());
    let (name, path) = parts.ok_or("expected NAME=FILE, such as albedo=albedo.exr")?;
    Ok(FurtherFile { name: name.into(), path: path.into() })
}

/// `LOAD:RUN:SAVE`.
fn threads(text: &str) -> Result<Threads, String> {
    let numbers: Option<Vec<usize>> =
        text.split(':').map(|n| n.parse().ok().filter(|n| (1..=64).contains(n))).collect();
    match numbers.as_deref() {
        Some(&[load, run, save]) => Ok(Threads::new(load, run, save)),
        _ => Err("expected three numbers from 1 to 64, such as 2:3:2".into()),
    }
}

fn batch(text: &str) -> Result<Batch, String> {
    match (text, usize::from_str(text)) {
        ("auto", _) => Ok(Batch::Auto),
        (_, Ok(pictures @ 1..=256)) => Ok(Batch::Of(pictures)),
        _ => Err("expected auto or a number from 1 to 256".into()),
    }
}

/// Width and height, in ffmpeg's order.
fn frame_size(text: &str) -> Result<(usize, usize), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=32_768).contains(side));
    let sides = text.split_once('x').and_then(|(w, h)| Some((side(w)?, side(h)?)));
    sides.ok_or_else(|| "expected WIDTHxHEIGHT, each from 1 to 32768".into())
}
