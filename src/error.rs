//! The error type of the library. The text of an error is one line that says what to do.

use std::path::PathBuf;

/// Everything that can go wrong. No public function panics on bad input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor does not have the shape that an operation or a model needs.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The node, value or argument at fault.
        what: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// A model file, or a graph built by hand, does not describe a network that can run.
    #[error("{0}")]
    Model(String),
    /// The tensors of a file belong to no network that is known by names and shapes. An ONNX export of the network runs.
    #[error("{0}")]
    UnknownNetwork(String),
    /// A size exceeds a limit of the device or of the caller. Nothing was allocated.
    #[error("{what} needs {needed} bytes, {available} are allowed ({hint})")]
    LimitExceeded {
        /// The buffer, or the whole plan.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        available: u64,
        /// What to do about it.
        hint: &'static str,
    },
    /// No adapter matches the request.
    #[error("no GPU adapter: {0} (install a Vulkan, Metal or DX12 driver, or use the CPU)")]
    NoAdapter(String),
    /// The adapter lacks a feature that was requested.
    #[error("{adapter} has no {feature} (choose another device or precision)")]
    MissingFeature {
        /// Adapter name.
        adapter: String,
        /// The missing feature.
        feature: &'static str,
    },
    /// The device ran out of memory while a session was built. The device stays usable.
    #[error("the device is out of memory while allocating {bytes} bytes (use a smaller picture or f16)")]
    OutOfMemory {
        /// Bytes that the session needs.
        bytes: u64,
    },
    /// The device was lost. Its sessions cannot be used any more; a new session on a new device works.
    #[error("the GPU device was lost: {0} (open the device again and build a new session)")]
    DeviceLost(String),
    /// The device did not finish in time.
    #[error("the GPU did not finish within {0:?} (raise the time limit, or use a smaller picture)")]
    Timeout(std::time::Duration),
    /// The driver or wgpu refused a shader, a binding or a command. This is a bug in this library.
    #[error("wgpu refused {what}: {message} (please report this)")]
    Gpu {
        /// The object that was being created.
        what: String,
        /// The message of wgpu.
        message: String,
    },
    /// A network has no input, output or class of that name.
    #[error("no {kind} is called {name} (there is {known})")]
    UnknownName {
        /// `input`, `output` or `class`.
        kind: &'static str,
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A run was given no tensor for an input.
    #[error("the input {name} is missing (give a tensor of shape {shape} for it)")]
    MissingInput {
        /// The input's name.
        name: String,
        /// The shape it has in this session.
        shape: crate::tensor::Shape,
    },
    /// An input element is NaN or infinite.
    #[error("{what} is not finite at element {index} ({value}); clean the data first")]
    NonFinite {
        /// The input.
        what: String,
        /// Flat NCHW index.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A request contradicts itself or cannot be met on this machine.
    #[error("{0}")]
    Usage(String),
    /// One setting of the caller's does not fit the model, the input or a file. The request works without it.
    #[error("{}{setting}: {reason}", prefix(path.as_deref()))]
    Setting {
        /// The setting.
        setting: Setting,
        /// The file at fault, if there is one.
        path: Option<PathBuf>,
        /// Why it does not fit, and what to do.
        reason: String,
    },
    /// A file is not a picture (or array) that can be read.
    #[error("{}: {message}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What was found and what to do.
        message: String,
    },
}

/// Most characters of an error that repeats a file's contents.
const MAX_MESSAGE: usize = 400;

/// A setting that [`Error::Setting`] refuses. A program with its own names for these, such as the options of a command,
/// can use them in its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// The file of the result.
    Result,
    /// The file of probabilities.
    Probabilities,
    /// The file of the input with the colours of the classes over it.
    Overlay,
    /// The file of the input with outlines.
    Contours,
    /// The file of the input without its background.
    Cutout,
    /// What lies behind a cut-out.
    Backdrop,
    /// The file of class numbers.
    LabelMap,
    /// The file of input and result side by side.
    Comparison,
    /// The file of statistics.
    Statistics,
    /// The picture or mask that a result is compared with.
    Reference,
    /// The mask of the pixels that are missing.
    Mask,
    /// Arrays that the network takes as they are, without the recipe.
    RawInput,
    /// Keeping only the largest component of each class of a mask.
    KeepLargest,
    /// Dropping the small components of a mask.
    MinArea,
    /// Size and overlap of tiles.
    Tiles,
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Setting::Result => "result",
            Setting::Probabilities => "probabilities",
            Setting::Overlay => "overlay",
            Setting::Contours => "contours",
            Setting::Cutout => "cutout",
            Setting::Backdrop => "backdrop",
            Setting::LabelMap => "label map",
            Setting::Comparison => "comparison",
            Setting::Statistics => "statistics",
            Setting::Reference => "reference",
            Setting::Mask => "mask",
            Setting::RawInput => "raw input",
            Setting::KeepLargest => "keep_largest",
            Setting::MinArea => "min_area",
            Setting::Tiles => "tiles",
        })
    }
}

/// The file name in front of a message.
fn prefix(path: Option<&std::path::Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}

/// `Result` with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn shape(
        what: impl Into<String>,
        expected: impl std::fmt::Display,
        got: impl std::fmt::Display,
    ) -> Error {
        Error::Shape { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }

    /// The error of a setting that does not fit a file.
    #[cfg(feature = "image")]
    pub(crate) fn setting(setting: Setting, path: &std::path::Path, reason: impl Into<String>) -> Error {
        Error::Setting { setting, path: Some(path.into()), reason: reason.into() }
    }

    /// Prefixes the error with the name of a node.
    pub(crate) fn at(self, node: &str) -> Error {
        match self {
            Error::Shape { what, expected, got } => {
                Error::Shape { what: format!("{node}: {what}"), expected, got }
            }
            Error::Model(message) => Error::Model(format!("{node}: {message}")),
            Error::UnknownNetwork(message) => Error::UnknownNetwork(format!("{node}: {message}")),
            other => other,
        }
    }

    /// The same error as one line of bounded length, whatever names the file holds.
    pub(crate) fn one_line(self) -> Error {
        let line = |text: String| {
            let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            let mut line: String = characters.by_ref().take(MAX_MESSAGE).collect();
            if characters.next().is_some() {
                line.push('…');
            }
            line
        };
        match self {
            Error::Model(message) => Error::Model(line(message)),
            Error::UnknownNetwork(message) => Error::UnknownNetwork(line(message)),
            Error::Shape { what, expected, got } => {
                Error::Shape { what: line(what), expected: line(expected), got: line(got) }
            }
            other => other,
        }
    }

    /// Names the file that an operation failed on: `File::open(path).map_err(Error::io(path))`.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }
}
