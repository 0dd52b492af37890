//! Errors of the command: its own, and those of the library, worded with the names of the command's options.

use std::fmt;
use std::path::Path;
use unet_wgpu::Setting;

/// The reason why a command fails.
#[derive(Debug)]
pub(crate) enum Error {
    /// An error of the library.
    Library(unet_wgpu::Error),
    /// Options that contradict each other, or do not fit the model or the machine.
    Usage(String),
}

/// `Result` with the command's [`Error`].
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Names the file that an operation failed on.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Library(unet_wgpu::Error::Io { path: path.into(), source })
    }

    /// What else to do, a line each.
    pub(crate) fn hint(&self) -> &'static [&'static str] {
        match self {
            Error::Library(unet_wgpu::Error::UnknownNetwork(_)) => &EXPORT,
            _ => &[],
        }
    }
}

/// The way around a network that is not known.
const EXPORT: [&str; 3] = [
    "export it to ONNX where its code is: torch.onnx.export(net.eval(), torch.rand(1, 3, 256, 256), \"net.onnx\", \
     input_names=[\"x\"], output_names=[\"y\"], dynamic_axes={\"x\": {2: \"h\", 3: \"w\"}, \"y\": {2: \"h\", 3: \"w\"}})",
    "then run that file: unet run picture.png -m net.onnx -o result.png",
    "for other weights of the same code: unet import weights.pth --like net.onnx -o net.safetensors",
];

impl From<unet_wgpu::Error> for Error {
    fn from(error: unet_wgpu::Error) -> Error {
        Error::Library(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(message) => f.write_str(message),
            Error::Library(unet_wgpu::Error::Setting { setting, path, reason }) => {
                if let Some(path) = path {
                    write!(f, "{}: ", path.display())?;
                }
                write!(f, "{}: {reason}", option(*setting))
            }
            Error::Library(error) => error.fmt(f),
        }
    }
}

/// The option for a setting.
pub(crate) fn option(setting: Setting) -> &'static str {
    match setting {
        Setting::Result => "--out",
        Setting::Probabilities => "--probabilities",
        Setting::Overlay => "--overlay",
        Setting::Contours => "--contours",
        Setting::Cutout => "--cutout",
        Setting::Backdrop => "--background",
        Setting::LabelMap => "--labels",
        Setting::Comparison => "--compare",
        Setting::Statistics => "--stats",
        Setting::Reference => "--reference",
        Setting::Mask => "--mask",
        Setting::RawInput => "--raw",
        Setting::KeepLargest => "--keep-largest",
        Setting::MinArea => "--min-area",
        Setting::Tiles => "--tile and --overlap",
        _ => "an option",
    }
}
