//! Videos: any bytes are frames or give an error, and a frame that is read can be written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use unet_wgpu::image::{FrameReader, FrameWriter};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frames) = FrameReader::new(bytes, None, None) {
        let mut again = FrameWriter::new(Vec::new(), frames.stream().clone());
        for frame in frames.map_while(Result::ok).take(4) {
            again.write(&frame).expect("frames of a stream fit one like it");
        }
    }
});
