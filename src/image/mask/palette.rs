//! Palettes: a colour and, optionally, a name for each class.

use crate::error::{Error, Result};
use crate::recipe::hex_color;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest palette file, bytes.
const MAX_FILE: u64 = 4 << 20;

/// The training classes of Cityscapes (Cordts et al. 2016) in the colours of its scripts.
const CITYSCAPES: [([u8; 3], &str); 19] = [
    ([128, 64, 128], "road"),
    ([244, 35, 232], "sidewalk"),
    ([70, 70, 70], "building"),
    ([102, 102, 156], "wall"),
    ([190, 153, 153], "fence"),
    ([153, 153, 153], "pole"),
    ([250, 170, 30], "traffic light"),
    ([220, 220, 0], "traffic sign"),
    ([107, 142, 35], "vegetation"),
    ([152, 251, 152], "terrain"),
    ([70, 130, 180], "sky"),
    ([220, 20, 60], "person"),
    ([255, 0, 0], "rider"),
    ([0, 0, 142], "car"),
    ([0, 0, 70], "truck"),
    ([0, 60, 100], "bus"),
    ([0, 80, 100], "train"),
    ([0, 0, 230], "motorcycle"),
    ([119, 11, 32], "bicycle"),
];

/// The 20 colours of Tableau in matplotlib's order: a strong and a pale one for each hue.
const TAB20: [[u8; 3]; 20] = [
    [31, 119, 180],
    [174, 199, 232],
    [255, 127, 14],
    [255, 187, 120],
    [44, 160, 44],
    [152, 223, 138],
    [214, 39, 40],
    [255, 152, 150],
    [148, 103, 189],
    [197, 176, 213],
    [140, 86, 75],
    [196, 156, 148],
    [227, 119, 194],
    [247, 182, 210],
    [127, 127, 127],
    [199, 199, 199],
    [188, 189, 34],
    [219, 219, 141],
    [23, 190, 207],
    [158, 218, 229],
];

/// A colour for each class.
///
/// Classes beyond the last colour start again with the first one. Black, which stands for the background if it comes
/// first, is used only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    /// At least one entry.
    entries: Vec<([u8; 3], Option<String>)>,
}

impl Palette {
    /// The 256 colours of PASCAL VOC; class 0 is black.
    pub fn voc() -> Palette {
        Palette { entries: (0..=255).map(|class| (voc_color(class), None)).collect() }
    }

    /// The 19 training classes of Cityscapes, with their names.
    pub fn cityscapes() -> Palette {
        Palette { entries: CITYSCAPES.iter().map(|&(color, name)| (color, Some(name.into()))).collect() }
    }

    /// Black for class 0, then matplotlib's `tab20`.
    pub fn tab20() -> Palette {
        Palette { entries: [[0; 3]].iter().chain(&TAB20).map(|&color| (color, None)).collect() }
    }

    /// The palette `voc`, `cityscapes` or `tab20`, or a file with one class on each line: `#rrggbb [name]` or `r g b
    /// [name]`. Empty lines and lines that begin with `# ` are ignored. GIMP's palettes (`.gpl`) are such files with a
    /// header.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Picture`] with the first invalid line.
    pub fn open(name: &str) -> Result<Palette> {
        match name {
            "voc" => Ok(Palette::voc()),
            "cityscapes" => Ok(Palette::cityscapes()),
            "tab20" => Ok(Palette::tab20()),
            _ => Palette::read(Path::new(name)),
        }
    }

    fn read(path: &Path) -> Result<Palette> {
        let file = File::open(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                refuse(path, "no such palette: name a file, or one of voc, cityscapes and tab20".into())
            }
            _ => Error::io(path)(source),
        })?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(refuse(path, format!("a palette file has at most {} MiB", MAX_FILE >> 20)));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| refuse(path, "a palette file is UTF-8 text".into()))?;
        parse(&text).map_err(|message| refuse(path, message))
    }

    /// The colour of a class.
    pub fn color(&self, class: usize) -> [u8; 3] {
        let first = usize::from(self.entries.len() > 1 && self.entries[0].0 == [0; 3]);
        let place = match class.checked_sub(self.entries.len()) {
            Some(beyond) => first + beyond % (self.entries.len() - first),
            None => class,
        };
        self.entries[place].0
    }

    /// The name of a class.
    pub fn name(&self, class: usize) -> Option<&str> {
        self.entries.get(class)?.1.as_deref()
    }
}

/// Parses the text of a palette file.
fn parse(text: &str) -> Result<Palette, String> {
    let is_gimp = text.starts_with("GIMP Palette");
    let is_header = |line: &str| {
        is_gimp && ["GIMP Palette", "Name:", "Columns:", "#"].iter().any(|start| line.starts_with(start))
    };
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line == "#" || line.starts_with("# ") || is_header(line) {
            continue;
        }
        let (color, name) = parse_line(line).ok_or_else(|| {
            format!("line {}: expected \"#rrggbb name\" or \"r g b name\", got {line:.40?}", number + 1)
        })?;
        // GIMP writes "Untitled" for colours without a name.
        let is_named = !(name.is_empty() || is_gimp && name == "Untitled");
        entries.push((color, is_named.then(|| name.to_string())));
    }
    if entries.is_empty() {
        return Err("the palette has no colour; write a line \"#rrggbb name\" for each class".into());
    }
    Ok(Palette { entries })
}

/// The colour on a line, and the text after it.
fn parse_line(line: &str) -> Option<([u8; 3], &str)> {
    if line.starts_with('#') {
        let (color, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        return Some((hex_color(color)?, name.trim()));
    }
    let mut rest = line;
    let mut part = || {
        let (digits, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        digits.parse().ok()
    };
    let color = [part()?, part()?, part()?];
    Some((color, rest))
}

/// The PASCAL VOC colour of a class: groups of three bits fill the colours from the high bits down.
fn voc_color(class: u8) -> [u8; 3] {
    let bit = |place: u32| u32::from(class) >> place & 1;
    [0, 1, 2].map(|channel| (0..3).fold(0, |color, step| color | bit(3 * step + channel) << (7 - step)) as u8)
}

fn refuse(path: &Path, message: String) -> Error {
    Error::Picture { path: path.to_owned(), message }
}
