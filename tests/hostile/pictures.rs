//! Damaged and malicious picture files: each is read or gives a one-line error, soon and in little memory.

use super::damaged;
use crate::picture_files::samples::{
    Sample, animated_webp, cmyk_jpeg, gzip, nifti, raw_tiff, samples, stack,
};
use rayon::prelude::*;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use unet_wgpu::image::{Depth, Pages, Picture, Rows};
use unet_wgpu::{Error, Random, Shape, Tensor};

/// Damaged files for each sample.
const MUTATIONS: u64 = 1_000;

/// Most time for one file, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// The tests below with these names run as child processes.
const CHILD: &str = "hostile::pictures::reads_one_file";
const CHILD_OF_BANDS: &str = "hostile::pictures::reads_one_file_in_bands";
const VARIABLE: &str = "UNET_HOSTILE_PICTURE";

/// Reads a file: the picture, or the text of the error.
#[track_caller]
fn outcome(what: &str, file: &[u8]) -> Result<Picture, String> {
    let start = Instant::now();
    let read = catch_unwind(AssertUnwindSafe(|| Picture::from_bytes(file, Path::new("test"))));
    let read = read.unwrap_or_else(|_| panic!("{what}: panicked"));
    assert!(start.elapsed() < PATIENCE, "{what}: took {:?}", start.elapsed());
    read.map_err(|error| {
        let text = error.to_string();
        assert!(matches!(error, Error::Picture { .. }), "{what}: {error:?}");
        assert!(text.lines().count() == 1 && text.chars().count() < 600, "{what}: {text}");
        text
    })
}

/// A JPEG file of noise. It is not among the samples, because JPEG is not exact.
fn jpeg() -> Vec<u8> {
    let noise =
        Tensor::random(Shape::new(1, 3, 40, 60), 1).into_data().iter().map(|v| v.abs() * 255.0).collect();
    let planes = Tensor::new(Shape::new(1, 3, 40, 60), noise).expect("as many numbers");
    let picture = Picture::new(planes, Depth::Eight).expect("three planes");
    picture.encode(Path::new("a.jpg")).expect("it is written")
}

#[test]
fn cut_files_are_refused_or_told_of() {
    let jpeg = ("jpeg".to_string(), jpeg());
    for (name, file) in samples().into_iter().map(|Sample { name, file, .. }| (name, file)).chain([jpeg]) {
        let whole = outcome(&name, &file).expect("it is whole");
        for end in (0..100).map(|cut| cut * file.len() / 100) {
            if let Ok(picture) = outcome(&format!("{name} cut at {end}"), &file[..end]) {
                // If pixels are missing, a note says so.
                let said = picture.notes().iter().any(|note| note.contains("ends early"));
                assert!(said || picture == whole, "{name} cut at {end} is read");
            }
        }
    }
}

#[test]
fn damaged_files_do_no_harm() {
    let jpeg = [("jpeg", jpeg()), ("cmyk", cmyk_jpeg()), ("animated", animated_webp())];
    let files: Vec<_> = samples().into_iter().map(|sample| (sample.name, sample.file)).collect();
    let files = files.into_iter().chain(jpeg.map(|(name, file)| (name.to_string(), file)));
    files.collect::<Vec<_>>().into_par_iter().for_each(|(name, file)| {
        for i in 0..MUTATIONS {
            let bytes = damaged(std::slice::from_ref(&file), &mut Random::new(i));
            let _ = outcome(&format!("{name}, mutation {i}"), &bytes);
        }
    });
}

#[test]
fn damaged_stacks_do_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let volume = nifti(4, 2, [3, 2, 4], (2.0, -24.0), false, &[7; 48]);
    for (name, file) in [("zipped", gzip(&volume)), ("volume", volume), ("stack", stack())] {
        (0..MUTATIONS).into_par_iter().for_each(|i| {
            let path = folder.path().join(format!("{name}, mutation {i}"));
            let bytes = damaged(std::slice::from_ref(&file), &mut Random::new(i));
            std::fs::write(&path, bytes).expect("it is written");
            let start = Instant::now();
            let read = Pages::open(&path).and_then(|mut pages| pages.try_for_each(|page| page.map(|_| ())));
            assert!(start.elapsed() < PATIENCE, "{name}, mutation {i}: took {:?}", start.elapsed());
            if let Err(error) = read {
                assert!(matches!(error, Error::Picture { .. }), "{name}, mutation {i}: {error:?}");
            }
            std::fs::remove_file(&path).expect("it is there");
        });
    }
}

/// Files that ask for much, and the error for each.
fn greedy() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let png = |width, height, color, bits: u8, data: &[u8]| {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::from_u8(bits).expect("a depth"));
        let mut writer = encoder.write_header().expect("a header");
        writer.write_chunk(png::chunk::IDAT, data).expect("a chunk");
        drop(writer);
        file
    };
    let gray = png::ColorType::Grayscale;
    let zlib = |zeros: usize| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; zeros]).expect("memory");
        encoder.finish().expect("memory")
    };
    let tags = |more: &[(u16, Vec<u32>)]| [&[(258, vec![8]), (262, vec![1])], more].concat();
    let bomb = zlib(136 << 20);
    // The next directory is the directory itself; and an empty directory that points back.
    let mut own = raw_tiff((1, 1), &tags(&[]), &[vec![0]], false);
    let (first, end) = (own[4..8].to_vec(), own.len());
    own[end - 4..].copy_from_slice(&first);
    let mut circle = own.clone();
    circle[end - 4..].copy_from_slice(&(end as u32).to_le_bytes());
    circle.extend([&[0; 2], &first[..]].concat());
    // Directories without entries, each pointing to the next.
    let mut chain = raw_tiff((1, 1), &tags(&[]), &[vec![0]], false);
    for _ in 0..70_000 {
        let end = chain.len();
        let next = (end as u32).to_le_bytes();
        chain[end - 4..].copy_from_slice(&next);
        chain.extend([0; 6]);
    }
    let mut exr =
        samples().into_iter().find(|sample| sample.name.starts_with("exr")).expect("there is one").file;
    let window = exr.windows(13).position(|w| w == b"displayWindow").expect("it has one") + 13 + 1 + 6 + 4;
    exr[window + 8..window + 16].copy_from_slice(&[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
    let mut jpeg = cmyk_jpeg();
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame") + 5;
    jpeg[frame..frame + 4].copy_from_slice(&[0x40; 4]);
    let bmp = [
        b"BM".as_slice(),
        &[0; 8],
        &[54, 0, 0, 0, 40, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 24, 0],
        &[0; 24],
    ];
    vec![
        ("png of 65535 a side", png(65535, 65535, gray, 8, b"\x78\x9c"), "cannot hold"),
        ("png of 2^31 a side", png(0x7fff_ffff, 0x7fff_ffff, png::ColorType::Rgba, 16, &[]), "large"),
        ("png with many rows", png(1, 0x7fff_ffff, gray, 8, &[]), "262144 a side"),
        ("png bomb", png(32_768, 32_768, gray, 1, &bomb), "too many"),
        ("bmp of 65536 a side", bmp.concat(), "65535"),
        ("pgm of 65536 a side", b"P5 65536 65536 255\n0".to_vec(), "MiB"),
        ("pgm of 20000 a side", b"P5 20000 20000 255\n0".to_vec(), "too many"),
        ("pfm of 20000 a side", b"PF 20000 20000 -1\n0".to_vec(), "cannot hold"),
        ("hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 65535 +X 65535\n0".to_vec(), "MiB"),
        ("exr of 65536 a side", exr, "MiB"),
        ("jpeg of 16448 a side", jpeg, "cannot hold"),
        ("tiff whose page follows itself", own, "circle"),
        ("tiff whose pages run in a circle", circle, "circle"),
        ("tiff of many pages", chain, "65536"),
        (
            "tiff of one strip",
            raw_tiff((60_000, 60_000), &tags(&[(259, vec![8])]), std::slice::from_ref(&bomb), false),
            "cannot hold",
        ),
        (
            "tiff of a large strip",
            raw_tiff((60_000, 10_000), &tags(&[(259, vec![8])]), &[vec![0; 150_000]], false),
            "strips",
        ),
        (
            "tiff of a plain strip",
            raw_tiff((60_000, 10_000), &tags(&[]), &[vec![0; 150_000]], false),
            "strip 1 of the TIFF file ends at byte 600000008",
        ),
        (
            "tiff of huge tiles",
            raw_tiff((1, 1), &tags(&[(322, vec![1 << 31]), (323, vec![1 << 31])]), &[vec![0; 9]], false),
            "tiles",
        ),
        (
            "tiff of a short strip",
            raw_tiff(
                (10_000, 10_000),
                &tags(&[(259, vec![8])]),
                &[zlib(1 << 16), vec![0; 30_000]][..1],
                false,
            ),
            "cannot hold",
        ),
        (
            "tiff of 2^32 columns",
            raw_tiff((u32::MAX as usize, 1), &tags(&[]), &[vec![0; 9]], false),
            "262144",
        ),
        ("nothing", Vec::new(), "empty"),
        ("text", b"hello, I am no picture".to_vec(), "text file"),
    ]
}

/// The work of the child process.
#[test]
#[ignore = "greedy_files_are_refused_soon_and_in_little_memory starts it"]
fn reads_one_file() {
    let path = std::env::var(VARIABLE).expect("a file");
    let start = Instant::now();
    let text = match Pages::open(Path::new(&path)).and_then(|mut pages| pages.next().transpose()) {
        Ok(_) => "it was read".to_string(),
        Err(error) => error.to_string(),
    };
    println!("told: {text}");
    println!("milliseconds: {}", start.elapsed().as_millis());
    tell_peak();
}

/// The work of the other child process.
#[test]
#[ignore = "strips_are_never_in_memory_whole starts it"]
fn reads_one_file_in_bands() {
    let path = std::env::var(VARIABLE).expect("a file");
    let mut rows = Rows::open(Path::new(&path)).expect("a header");
    for _ in (0..rows.height()).step_by(16) {
        rows.next(16).expect("rows");
    }
    tell_peak();
}

/// Prints the peak memory of this process, if the system tells it.
fn tell_peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
}

/// The output of a child process that reads a file.
fn output_of(child: &str, path: &Path) -> String {
    let output = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args([child, "--exact", "--ignored", "--nocapture"])
        .env(VARIABLE, path)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// The number after a word in the output of a child process.
fn number(output: &str, key: &str) -> Option<u64> {
    let line = output.lines().find_map(|line| line.split_once(key))?.1;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The peak memory of a child process in MiB; 0 if the system does not tell it.
fn peak(output: &str) -> u64 {
    number(output, "VmHWM:").unwrap_or(0) / 1024
}

#[test]
fn strips_are_never_in_memory_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("picture.tiff");
    let tags = [(258, vec![8]), (262, vec![1])];
    std::fs::write(&path, raw_tiff((8000, 8000), &tags, &[vec![7; 64_000_000]], false))
        .expect("it is written");
    let peak = peak(&output_of(CHILD_OF_BANDS, &path));
    assert!(peak < 40, "{peak} MiB");
}

#[test]
fn greedy_files_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("picture.jpg");
    let mut failed = Vec::new();
    for (name, file, part) in greedy() {
        let text = outcome(name, &file).err().unwrap_or_else(|| "it is read".to_string());
        if !text.contains(part) {
            failed.push(format!("{name}: {text}"));
        }
        std::fs::write(&path, file).expect("it is written");
        let output = output_of(CHILD, &path);
        assert!(output.contains("told: "), "{name}: {output}");
        let (took, peak) = (number(&output, "milliseconds: ").expect("a time"), peak(&output));
        if took >= 1000 || peak >= 600 {
            failed.push(format!("{name}: {took} ms, {peak} MiB"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
