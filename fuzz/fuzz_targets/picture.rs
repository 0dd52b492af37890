//! Pictures: any bytes are read or give an error, and a picture that is read can be written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use unet_wgpu::image::Picture;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = Picture::from_bytes(bytes, "picture".as_ref()) {
        for name in ["a.png", "a.tiff", "a.pfm"] {
            picture.encode(name.as_ref()).expect("such files hold every picture");
        }
    }
});
