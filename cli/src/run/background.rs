//! `--background`: what lies behind a cut-out.

use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use unet_wgpu::image::{Backdrop, Picture};

/// A colour as in CSS (`white`, `#fff`, `#ffffff`), or else a picture file.
pub(super) fn open(text: &str) -> Result<Backdrop> {
    let path = Path::new(text);
    // Only what begins with # or is a name: digits alone are a file.
    let is_color = text.starts_with('#') || text.bytes().all(|b| b.is_ascii_alphabetic());
    if !path.is_file() && is_color {
        let color = csscolorparser::parse(text).ok().map(|color| color.to_rgba8());
        match color {
            Some([red, green, blue, 255]) => return Ok(Backdrop::Color([red, green, blue])),
            Some(_) => {
                let message =
                    "leave --background out for a transparent cut-out, or give a colour that is opaque";
                return Err(Error::Usage(format!("--background {text}: {message}")));
            }
            None => {}
        }
    }
    if !path.exists() {
        let message = "expected a colour (white, #fff, #ffffff) or a picture, and no file has this name";
        return Err(Error::Usage(format!("--background {text}: {message}")));
    }
    Ok(Backdrop::Picture(Arc::new(Picture::open(path)?)))
}
