//! The header of a y4m stream, one line: <https://wiki.multimedia.cx/index.php/YUV4MPEG2>.

use super::yuv::{Axis, Coding};

/// The first bytes of a stream.
pub(super) const MAGIC: &[u8] = b"YUV4MPEG2";
/// The first bytes of a frame.
pub(super) const FRAME: &[u8] = b"FRAME";
/// Longest line, bytes.
pub(super) const MAX_LINE: u64 = 4096;

/// A header without the size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Y4m {
    /// Frame rate, aspect and all other fields, unchanged.
    fields: String,
    pub(super) coding: Coding,
}

impl Default for Y4m {
    fn default() -> Y4m {
        let coding = Coding { bits: 8, full: false, chroma: Some([Axis::Full; 2]) };
        Y4m { fields: "F25:1 Ip A1:1 C444".into(), coding }
    }
}

impl Y4m {
    /// Parses a header after the magic word; height and width are returned separately.
    pub(super) fn parse(line: &[u8]) -> Result<(Y4m, [usize; 2]), String> {
        let line = std::str::from_utf8(line).map_err(|_| "the y4m header is not text".to_string())?;
        let (mut size, mut fields) = ([None; 2], Vec::new());
        let (mut space, mut range) = ("420", None);
        for field in line.split_ascii_whitespace() {
            let (key, value) = field.split_at(field.chars().next().map_or(0, char::len_utf8));
            match key {
                "H" => size[0] = Some(value),
                "W" => size[1] = Some(value),
                _ => fields.push(field),
            }
            match key {
                "C" => space = value,
                "I" if !matches!(value, "p" | "?") => {
                    return Err("the video is interlaced; de-interlace it first (ffmpeg -vf yadif)".into());
                }
                "X" => range = value.strip_prefix("COLORRANGE=").or(range),
                _ => {}
            }
        }
        let [Some(h), Some(w)] = size.map(|side| side.and_then(|text| text.parse().ok())) else {
            return Err("the y4m header has no usable width and height (as W640 H480)".into());
        };
        Ok((Y4m { fields: fields.join(" "), coding: coding(space, range == Some("FULL"))? }, [h, w]))
    }

    /// The header line of a similar stream with frames of that height and width.
    pub(super) fn line(&self, [h, w]: [usize; 2]) -> String {
        let line = format!("YUV4MPEG2 W{w} H{h} {}", self.fields);
        format!("{}\n", line.trim_end())
    }
}

/// The coding of a named colour space. The positions of colour differences are those that ffmpeg assumes.
fn coding(space: &str, full: bool) -> Result<Coding, String> {
    let (kind, depth) = match space.split_at_checked(if space.starts_with("mono") { 4 } else { 3 }) {
        Some(("mono", "")) => ("mono", "p8"),
        Some(("mono", "9")) => ("mono", "p9"),
        Some(("mono", "10")) => ("mono", "p10"),
        Some(("mono", "12")) => ("mono", "p12"),
        Some(("mono", "16")) => ("mono", "p16"),
        Some((kind, "")) => (kind, "p8"),
        Some(("420", "jpeg" | "mpeg2" | "paldv")) => (space, "p8"),
        Some(parts) => parts,
        None => (space, ""),
    };
    let bits = match depth {
        "p8" => Some(8),
        "p9" => Some(9),
        "p10" => Some(10),
        "p12" => Some(12),
        "p14" => Some(14),
        "p16" => Some(16),
        _ => None,
    };
    let chroma = match (kind, bits) {
        ("mono", _) => Some(None),
        ("444", _) => Some(Some([Axis::Full; 2])),
        ("422", _) => Some(Some([Axis::Full, Axis::HalfFirst])),
        ("420", Some(8)) | ("420jpeg", _) => Some(Some([Axis::HalfBetween; 2])),
        ("420", _) | ("420mpeg2", _) => Some(Some([Axis::HalfBetween, Axis::HalfFirst])),
        ("420paldv", _) => Some(Some([Axis::HalfFirst; 2])),
        _ => None,
    };
    match (bits, chroma) {
        (Some(bits), Some(chroma)) => Ok(Coding { bits, full, chroma }),
        _ => Err(format!(
            "the colour space C{space} cannot be read; convert it (ffmpeg -pix_fmt yuv420p, yuv422p, yuv444p or gray)"
        )),
    }
}
