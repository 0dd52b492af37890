//! Folders, patterns and lists of files: finds pictures and names their results.

use super::{OutputInfo, Targets};
use crate::error::{Error, Result};
use crate::image::files::other_kind;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Extensions of picture files. The content of a file decides its format.
const PICTURES: [&str; 19] = [
    "png", "jpg", "jpeg", "jpe", "webp", "gif", "bmp", "tif", "tiff", "exr", "pfm", "hdr", "ppm", "pgm",
    "pbm", "pnm", "npy", "nii", "gz",
];

/// Extensions of pictures that are not read. Such files of a folder are left out, and a line says so.
const NOT_READ: [&str; 22] = [
    "heic", "heif", "avif", "jxl", "jp2", "j2k", "jpf", "dcm", "dicom", "cr2", "cr3", "crw", "nef", "arw",
    "dng", "raf", "orf", "rw2", "pef", "srw", "psd", "svg",
];

/// A picture file, and its path relative to the folder or pattern that contains it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PictureFile {
    /// The file.
    pub path: PathBuf,
    /// Its name, with the folders in between.
    pub name: PathBuf,
    /// Further files whose bands follow.
    pub also: Vec<FurtherFile>,
}

/// A further file whose bands follow those of a picture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FurtherFile {
    /// Its name among the network's channels, such as `albedo`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// A picture file and the files to be made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The file.
    pub input: PathBuf,
    /// Further files whose bands follow.
    pub also: Vec<FurtherFile>,
    /// For networks that fill holes: the file of the mask. If absent, pixels that are not opaque are the hole.
    pub mask: Option<PathBuf>,
    /// The path of the results in their folders, without their extension.
    pub name: PathBuf,
    /// Its results.
    pub targets: Targets,
}

/// Part `part` of `of` equal parts of a list, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    part: usize,
    of: usize,
}

impl Shard {
    /// The whole list.
    pub const ALL: Shard = Shard { part: 1, of: 1 };
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers =
            text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Shard { part, of }),
            _ => Err("expected K/N with K from 1 to N, such as 2/4".into()),
        }
    }
}

/// Whether a path stands for several pictures: a folder, or a pattern that is not the name of a file.
pub fn names_several(input: &Path) -> bool {
    input.is_dir() || !input.exists() && input.to_string_lossy().contains(['*', '?', '['])
}

/// All pictures that the files, folders and patterns name, in the same order everywhere. `recursive` includes
/// subfolders. Hidden files, and files in one of the folders `without`, are left out.
///
/// # Errors
/// [`Error::Usage`] when one matches nothing, [`Error::Io`] when a folder cannot be read.
pub fn find_pictures(inputs: &[PathBuf], recursive: bool, without: &[&Path]) -> Result<Vec<PictureFile>> {
    let without: Vec<PathBuf> = without.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let is_wanted = |folder: &Path| !folder.canonicalize().is_ok_and(|path| without.contains(&path));
    let mut found = Vec::new();
    for input in inputs {
        let before = found.len();
        if input.is_dir() {
            in_folder(input, recursive, &is_wanted, &mut found)?;
        } else if names_several(input) {
            by_pattern(input, &is_wanted, &mut found)?;
        } else {
            let name = input.file_name().unwrap_or(input.as_os_str()).into();
            found.push(PictureFile { path: input.clone(), name, also: Vec::new() });
        }
        if found.len() == before {
            let other =
                first_foreign(input).map_or_else(String::new, |(name, what)| format!("; {name}: {what}"));
            return Err(Error::Usage(format!("{}: no pictures there that are read{other}", input.display())));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Joins the files of nnU-Net's cases: `CASE_0000.png`, `CASE_0001.png` and so on, one for each channel, become the
/// picture `CASE.png` with further files. `channels` are those of the network, and `is_nnunet` says whether it is
/// nnU-Net's. Numbers may mean something else for networks that take grey or colours, so their files stay apart.
pub fn join_cases(found: Vec<PictureFile>, channels: usize, is_nnunet: bool) -> Vec<PictureFile> {
    if !is_nnunet && matches!(channels, 1 | 3) {
        return found;
    }
    let further = |path: &Path| {
        let numbers = (1..channels).map(|number| format!("{number:04}"));
        numbers.filter_map(|name| Some(FurtherFile { path: renumbered(path, &name)?, name })).collect()
    };
    let firsts: HashSet<PathBuf> =
        found.iter().filter(|found| number(&found.path) == Some(0)).map(|found| found.path.clone()).collect();
    let is_further = |path: &Path| {
        let is_channel = number(path).is_some_and(|number| (1..channels).contains(&number));
        is_channel && renumbered(path, "0000").is_some_and(|first| firsts.contains(&first))
    };
    let alone = found.into_iter().filter(|found| !is_further(&found.path));
    let joined =
        |found: PictureFile| match renumbered(&found.name, "").filter(|_| firsts.contains(&found.path)) {
            Some(name) => PictureFile { name, also: further(&found.path), ..found },
            None => found,
        };
    alone.map(joined).collect()
}

/// The number at the end of a file's name, as nnU-Net writes it: `_0003`.
fn number(path: &Path) -> Option<usize> {
    let name = stem(path).file_name()?.to_str()?.to_owned();
    let (_, digits) = name.rsplit_once('_')?;
    (digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The path with another number; with an empty one, without.
fn renumbered(path: &Path, number: &str) -> Option<PathBuf> {
    let stem = stem(path);
    let (name, whole) = (stem.file_name()?.to_str()?, path.file_name()?.to_str()?);
    let (case, _) = name.rsplit_once('_')?;
    let extension = whole.strip_prefix(name)?;
    let case = if number.is_empty() { case.to_string() } else { format!("{case}_{number}") };
    Some(path.with_file_name(case + extension))
}

fn in_folder(
    folder: &Path,
    recursive: bool,
    is_wanted: &dyn Fn(&Path) -> bool,
    found: &mut Vec<PictureFile>,
) -> Result<()> {
    let goes_on = |entry: &walkdir::DirEntry| {
        let is_folder = entry.file_type().is_dir();
        entry.depth() == 0 || !is_hidden(entry.path()) && (!is_folder || is_wanted(entry.path()))
    };
    let depth = if recursive { usize::MAX } else { 1 };
    let entries = walkdir::WalkDir::new(folder).max_depth(depth).follow_links(true).into_iter();
    for entry in entries.filter_entry(goes_on) {
        let path = match entry {
            Ok(entry) if entry.file_type().is_file() => entry.into_path(),
            Ok(_) => continue,
            Err(error) => match error.path() {
                // A broken or cyclic link. If its name is that of a picture, it is a picture that cannot be read.
                Some(link) if link.is_symlink() => link.into(),
                path => return Err(Error::Io { path: path.unwrap_or(folder).into(), source: error.into() }),
            },
        };
        if is_picture_name(&path) && !is_hidden(&path) {
            let name = path.strip_prefix(folder).unwrap_or(&path).into();
            found.push(PictureFile { path, name, also: Vec::new() });
        }
    }
    Ok(())
}

/// A line about pictures in these folders that are not read, if there are some.
pub fn left_out(inputs: &[PathBuf], recursive: bool) -> Option<String> {
    let depth = if recursive { usize::MAX } else { 1 };
    let entries = inputs.iter().filter(|input| input.is_dir()).flat_map(|folder| {
        walkdir::WalkDir::new(folder).max_depth(depth).sort_by_file_name().into_iter().filter_map(Result::ok)
    });
    let is_other = |path: &Path| {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        extension.is_some_and(|e| NOT_READ.contains(&e.as_str())) && !is_hidden(path) && path.is_file()
    };
    let others: Vec<PathBuf> =
        entries.map(walkdir::DirEntry::into_path).filter(|path| is_other(path)).collect();
    let first = others.first()?;
    let what = other_kind(first).unwrap_or_else(|| "its format cannot be read; convert it".into());
    let count = match others.len() {
        1 => "it is".to_string(),
        count => format!("{count} such files are"),
    };
    Some(format!("{}: {what}; {count} left out", first.display()))
}

/// The first file of a folder that is of a known other kind, by its name, and a line about it.
fn first_foreign(folder: &Path) -> Option<(String, String)> {
    let mut files: Vec<PathBuf> =
        folder.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.retain(|path| path.is_file() && !is_hidden(path));
    files.iter().find_map(|path| Some((path.file_name()?.to_string_lossy().into_owned(), other_kind(path)?)))
}

fn by_pattern(pattern: &Path, is_wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<PictureFile>) -> Result<()> {
    let refuse = |error: String| Error::Usage(format!("{}: {error}", pattern.display()));
    let text = pattern.to_str().ok_or_else(|| refuse("a pattern must be UTF-8".into()))?;
    // Folders before the first wildcard are where the search begins; they are not part of the names.
    let fixed: PathBuf = pattern
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect();
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let entries =
        glob::glob_with(text, options).map_err(|error| refuse(format!("not a pattern: {error}")))?;
    for entry in entries {
        let path = entry.map_err(|error| Error::Io { path: error.path().into(), source: error.into() })?;
        let name = path.strip_prefix(&fixed).unwrap_or(&path).to_owned();
        let mut folders = name.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        if path.is_file() && is_picture_name(&path) && folders.all(|folder| is_wanted(&fixed.join(folder))) {
            found.push(PictureFile { path, name, also: Vec::new() });
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn is_picture_name(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let is_gzip = extension.as_deref() == Some("gz");
    extension.is_some_and(|e| PICTURES.contains(&e.as_str()))
        && (!is_gzip || path.with_extension("").extension().is_some_and(|e| e.eq_ignore_ascii_case("nii")))
}

/// A job for each picture of a shard. `targets` names folders. Results have the names of the pictures with the
/// extension of their format. `extension` is that of the result, if given.
///
/// # Errors
/// [`Error::Usage`] when two results would have the same name; [`Error::Setting`] when one would have the name of an
/// input (results may with `overwrite`), or when the model does not provide what a target needs.
pub fn jobs(
    found: &[PictureFile],
    targets: &Targets,
    extension: Option<&str>,
    info: &OutputInfo,
    shard: Shard,
    overwrite: bool,
) -> Result<Vec<Job>> {
    let extension = extension.map(|extension| extension.trim_start_matches('.'));
    let inputs: HashSet<PathBuf> = found.iter().filter_map(|found| found.path.canonicalize().ok()).collect();
    let plain = |found: &PictureFile| stem(&found.name);
    let mut uses: BTreeMap<PathBuf, usize> = BTreeMap::new();
    found.iter().for_each(|found| *uses.entry(plain(found)).or_default() += 1);
    let mut taken: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut jobs = Vec::new();
    for (i, found) in found.iter().enumerate() {
        // a.png and a.jpg in one folder: a.png.png and a.jpg.png.
        let name = if uses[&plain(found)] > 1 { found.name.clone() } else { plain(found) };
        if let Some(other) = taken.insert(name.clone(), &found.path) {
            let both = format!("{} and {}", other.display(), found.path.display());
            return Err(Error::Usage(format!("{both} would get results of one name; run them apart")));
        }
        if i % shard.of == shard.part - 1 {
            let targets = targets.of(&found.path, &name, info.decode, extension);
            targets.check_names(info)?;
            targets.check_apart(|path| inputs.contains(path), overwrite)?;
            let (input, also) = (found.path.clone(), found.also.clone());
            jobs.push(Job { input, also, mask: None, name, targets });
        }
    }
    Ok(jobs)
}

/// A name without its extension; `.nii.gz` is one extension.
fn stem(name: &Path) -> PathBuf {
    let stem = name.with_extension("");
    let is_gzip = name.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    if is_gzip { stem.with_extension("") } else { stem }
}

impl Job {
    /// A picture file alone, and the files to be made of it.
    pub fn new(input: impl Into<PathBuf>, targets: Targets) -> Job {
        let input = input.into();
        Job { name: stem(&input), input, also: Vec::new(), mask: None, targets }
    }

    /// Whether all of its results exist, and are thus complete.
    pub fn is_done(&self) -> bool {
        self.targets.paths().all(Path::is_file)
    }
}
