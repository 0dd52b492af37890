//! Files that are written under a temporary name and then renamed, so they are never incomplete.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file in progress: `.{name}.{process}.tmp` in the same folder until [`finish`](Aside::finish) renames it. If it is
/// dropped before, it leaves nothing.
#[derive(Debug)]
pub(in crate::image) struct Aside {
    /// The final path. A link there is replaced, not followed.
    path: PathBuf,
    temporary: PathBuf,
    /// Closed before the file is renamed or deleted, as some systems require.
    file: Option<File>,
}

impl Aside {
    /// Creates an empty temporary file for that path.
    pub(in crate::image) fn create(path: &Path) -> Result<Aside> {
        check_writable(path)?;
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary);
        let file = opened.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                let message = "another run is writing it, or a killed run left it; in that case delete it";
                Error::Picture { path: temporary.clone(), message: message.into() }
            }
            _ => Error::io(path)(e),
        })?;
        Ok(Aside { path: path.to_owned(), temporary, file: Some(file) })
    }

    /// The final path.
    pub(in crate::image) fn path(&self) -> &Path {
        &self.path
    }

    /// A handle for writing. All handles share one position.
    pub(in crate::image) fn handle(&self) -> Result<File> {
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the file is closed"));
        file.and_then(File::try_clone).map_err(Error::io(&self.path))
    }

    /// Renames the file, after its bytes are on the disk. All other handles must be closed.
    pub(in crate::image) fn finish(mut self) -> Result<()> {
        let synced = self.file.take().map_or(Ok(()), |file| file.sync_all());
        synced.and_then(|()| fs::rename(&self.temporary, &self.path)).map_err(Error::io(&self.path))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        drop(self.file.take());
        // Best effort. After `finish` there is no file of that name.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Writes a file under a temporary name in the same folder and renames it. Readers see the old bytes or the new ones.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = Aside::create(path)?;
    aside.handle()?.write_all(bytes).map_err(Error::io(path))?;
    aside.finish()
}

/// Deletes temporary files that killed runs left beside those paths. Those of running processes stay, where the system
/// tells which these are.
pub fn remove_temporary_files<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let mut names: BTreeMap<PathBuf, HashSet<&[u8]>> = BTreeMap::new();
    for path in paths {
        names.entry(folder(path)).or_default().extend(path.file_name().map(OsStr::as_encoded_bytes));
    }
    for (folder, names) in names {
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::io(&folder))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io(&folder))?;
            let temporary = entry.file_name();
            let left = |(name, process)| names.contains(name) && !is_running(process);
            if begun(temporary.as_encoded_bytes()).is_some_and(left) {
                fs::remove_file(entry.path()).map_err(Error::io(&entry.path()))?;
            }
        }
    }
    Ok(())
}

/// The final name that belongs to a temporary name, and the process.
fn begun(temporary: &[u8]) -> Option<(&[u8], u32)> {
    let named = temporary.strip_prefix(b".")?.strip_suffix(b".tmp")?;
    let (name, process) = named.split_at(named.iter().rposition(|&b| b == b'.')?);
    Some((name, std::str::from_utf8(&process[1..]).ok()?.parse().ok()?))
}

/// Whether another process of that number runs. Only Linux says it.
fn is_running(process: u32) -> bool {
    process != std::process::id() && Path::new("/proc").join(process.to_string()).exists()
}

/// Errors if a file cannot be written there. Call it before long work.
pub fn check_writable(path: &Path) -> Result<()> {
    let refuse = |message: String| Error::Picture { path: path.to_owned(), message };
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(refuse(format!("the folder {} does not exist; make it first", folder.display())));
    }
    if path.exists() && !path.is_file() {
        return Err(refuse("it exists and is not a file; choose another name".into()));
    }
    Ok(())
}

fn folder(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}
