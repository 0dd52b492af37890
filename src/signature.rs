//! Kinds of files by their first bytes: those that come in place of models and of pictures alike.

/// Whether a file stands for one that Git keeps elsewhere.
pub(crate) fn is_lfs_pointer(first: &[u8]) -> bool {
    first.starts_with(b"version https://git-lfs")
}

/// Whether a file is HTML, after declarations and comments.
pub(crate) fn is_web_page(first: &[u8]) -> bool {
    let tags = ["<!doctype html", "<html", "<head", "<body"];
    text(first)
        .is_some_and(|text| text.starts_with('<') && tags.iter().any(|tag| text.to_lowercase().contains(tag)))
}

pub(crate) fn is_hdf5(first: &[u8]) -> bool {
    first.starts_with(b"\x89HDF\r\n")
}

pub(crate) fn is_numpy(first: &[u8]) -> bool {
    first.starts_with(b"\x93NUMPY")
}

pub(crate) fn is_matlab(first: &[u8]) -> bool {
    first.starts_with(b"MATLAB ")
}

pub(crate) fn is_pdf(first: &[u8]) -> bool {
    first.starts_with(b"%PDF")
}

/// Whether a file is DICOM with its preamble (part 10).
pub(crate) fn is_dicom(first: &[u8]) -> bool {
    first.get(128..132) == Some(b"DICM")
}

pub(crate) fn is_gzip(first: &[u8]) -> bool {
    first.starts_with(b"\x1f\x8b")
}

/// What an archive is, but for zip and gzip, which are also the containers of several formats.
pub(crate) fn archive(first: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 5] = [
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"BZh", "a bzip2 archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!", "a RAR archive"),
    ];
    if first.get(257..262) == Some(b"ustar") {
        return Some("a tar archive");
    }
    kinds.into_iter().find(|(magic, _)| first.starts_with(magic)).map(|(_, what)| what)
}

/// The first bytes as text without leading blanks, if they are characters as far as they go.
pub(crate) fn text(first: &[u8]) -> Option<&str> {
    let whole = match std::str::from_utf8(first) {
        Ok(text) => text,
        // A character may be cut at the end.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&first[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text = !whole.is_empty() && !whole.contains(|c: char| c.is_control() && !c.is_whitespace());
    is_text.then(|| whole.trim_start_matches('\u{feff}').trim_start())
}
