//! Writes a grey picture of any size from the top, band by band, as a scanning microscope does: `big_picture SIZE
//! FILE.png|FILE.tiff`. The whole picture is never in memory. `benches/big_picture.sh` runs a network on it.

use unet_wgpu::image::{Depth, Picture, RowWriter};
use unet_wgpu::{Random, Shape, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [size, path] = &arguments[..] else {
        return Err("usage: big_picture SIZE FILE.png|FILE.tiff".into());
    };
    let size: usize = size.parse()?;

    let mut file = RowWriter::picture(path.as_ref(), size, size, 1, Depth::Eight)?;
    let mut random = Random::new(1);
    for first in (0..size).step_by(256) {
        let shape = Shape::new(1, 1, 256.min(size - first), size);
        // A net of cells with dark walls, and noise.
        let band = Tensor::from_fn(shape, |i| {
            let (y, x) = ((first + i / size) as f32, (i % size) as f32);
            let wall = ((x / 23.0).sin() * (y / 31.0).cos()).abs() < 0.08;
            let light = if wall { 60.0 } else { 150.0 };
            (light + random.uniform(-30.0, 30.0)).round()
        });
        file.write_picture(&Picture::new(band, Depth::Eight)?)?;
    }
    file.finish()?;
    Ok(())
}
