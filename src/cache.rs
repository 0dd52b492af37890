//! The folder with data about this machine that is kept between runs: measured kernel choices and compiled pipelines.
//! It may be deleted at any time. Files are checked when they are read.

use crate::error::{Error, Result};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Longest readable part of a file name. File systems allow 255 bytes.
const NAME: usize = 120;

/// The cache folder of this user: `$XDG_CACHE_HOME/unet-wgpu` if that variable holds an absolute path, else the
/// system's folder (`~/.cache`, macOS `~/Library/Caches`, Windows `%LOCALAPPDATA%`). `None` if the environment names
/// none.
pub fn folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let system = || {
        if cfg!(windows) {
            absolute("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            absolute("HOME").map(|home| home.join("Library/Caches"))
        } else {
            absolute("HOME").map(|home| home.join(".cache"))
        }
    };
    absolute("XDG_CACHE_HOME").or_else(system).map(|base| base.join("unet-wgpu"))
}

/// A file name made of these parts and the version of this crate. Only harmless characters are kept; a hash keeps
/// names apart that differ in other characters.
pub(crate) fn file_name(parts: &[&str], ending: &str) -> String {
    let whole = [parts, &[env!("CARGO_PKG_VERSION")]].concat().join("-");
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
    let readable: String = whole.chars().map(kept).take(NAME).collect();
    format!("{readable}-{:016x}.{ending}", hash(whole.as_bytes()))
}

/// FNV-1a. Detects damage by a disk or a crash. Does not protect against an attacker.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The bytes of a file. `None` if it does not exist or, with a warning, if it cannot be read.
pub(crate) fn read(path: &Path) -> Option<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => {
            log::warn!("{}: {e}; going on without it", path.display());
            None
        }
    }
}

/// Writes a file under a temporary name and renames it, so readers see the old bytes or the new ones. Creates the
/// folder first, for this user alone, because drivers trust the contents of a pipeline cache.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    static WRITES: AtomicUsize = AtomicUsize::new(0);
    if let Some(folder) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder).map_err(Error::io(folder))?;
    }
    let unique = format!("{}.{}.tmp", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
    let temporary = path.with_extension(unique);
    let written = std::fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        // Best effort: the first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
        Error::io(path)(e)
    })
}
