//! Values of options: picture sizes and numbers of bytes.

use std::str::FromStr;
use unet_wgpu::Model;
use unet_wgpu::Shape;

/// Longest side of `--size`.
const MAX_SIDE: usize = 32_768;

/// `HxW`, or `N` for a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Size {
    pub(super) fn shape(self, batch: usize, channels: usize) -> Shape {
        Shape::new(batch, channels, self.height, self.width)
    }

    /// The shape of one picture of that size, or one that suits the model.
    pub(super) fn or_example(size: Option<Size>, model: &Model) -> Shape {
        size.map_or_else(|| model.example_input(), |size| size.shape(1, model.input_channels()))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let (height, width) = text.split_once('x').unwrap_or((text, text));
        let side = |text: &str| match text.parse() {
            Ok(side) if (1..=MAX_SIDE).contains(&side) => Ok(side),
            _ => Err(format!("expected HEIGHTxWIDTH or one number, each from 1 to {MAX_SIDE}")),
        };
        Ok(Size { height: side(height)?, width: side(width)? })
    }
}

/// `HxW`, `N` for a square, or `native`: what a network gets of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunSize(pub(super) unet_wgpu::recipe::Size);

impl FromStr for RunSize {
    type Err = String;

    fn from_str(text: &str) -> Result<RunSize, String> {
        use unet_wgpu::recipe;
        match text {
            "native" => Ok(RunSize(recipe::Size::Native)),
            _ => {
                let Size { height, width } = text.parse().map_err(|error| format!("{error}, or native"))?;
                Ok(RunSize(recipe::Size::Fixed([height, width])))
            }
        }
    }
}

/// A number of bytes, with K, M, G or T for powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let upper = text.to_ascii_uppercase();
        let plain = upper.trim_end_matches('B').trim_end_matches('I');
        let power =
            plain.chars().last().and_then(|last| "KMGT".find(last)).map_or(0, |place| place as u32 + 1);
        let digits = if power > 0 { &plain[..plain.len() - 1] } else { plain };
        let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1024_u64.pow(power)));
        bytes
            .map(Bytes)
            .ok_or_else(|| "expected a whole number of bytes with K, M, G or T, such as 500M".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_bytes_are_read() {
        assert_eq!("256x384".parse(), Ok(Size { height: 256, width: 384 }));
        assert_eq!("128".parse(), Ok(Size { height: 128, width: 128 }));
        for bad in ["", "0", "0x4", "4x", "x", "-1", "4x4x4", "32769", "99999999999999999999"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        let bytes = |text: &str| text.parse::<Bytes>().map(|b| b.0);
        assert_eq!(bytes("500M"), Ok(500 << 20));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("2gb"), Ok(2 << 30));
        assert_eq!(bytes("77"), Ok(77));
        for bad in ["", "M", "-1", "1.5G", "1P", "99999999999T"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
