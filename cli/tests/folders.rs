//! `unet run` on folders, stacks and streams: many pictures give the same results as each alone, also after damage,
//! interruption and sharing.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::desk::{Desk, Parts, small, stderr};
use crate::device::gpu;
use crate::fixtures::{blocks, decoding, noise};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;
use unet_wgpu::image::{Depth, FrameReader, PageWriter, Pages, Picture, read_npy, write_npy};
use unet_wgpu::recipe::Decode;
use unet_wgpu::unet::UnetConfig;
use unet_wgpu::{Random, Shape, Tensor};

/// Networks with random weights: `paint.safetensors` turns RGB pictures into RGB pictures, `classes.safetensors` makes
/// masks of three classes.
fn desk() -> Desk {
    let desk = Desk::new();
    let paint = Parts::new(&small(3), &decoding(Decode::Image), Some(3));
    desk.put("paint.safetensors", &paint.bytes());
    let classes = Parts::new(&UnetConfig::new(3, 3, &[4], 4, &[4]), &decoding(Decode::Mask), Some(9));
    desk.put("classes.safetensors", &classes.bytes());
    // Grey, returns its input: class 1 above 127.
    desk.put("bright.safetensors", &Parts::new(&small(1), &decoding(Decode::Mask), None).bytes());
    desk.put("gray.safetensors", &Parts::new(&small(1), &decoding(Decode::Image), None).bytes());
    desk
}

/// Writes a picture below the desk and creates its folders.
pub(crate) fn put(desk: &Desk, name: &str, picture: &Picture) {
    let path = desk.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, picture.encode(&path).unwrap()).unwrap();
}

/// `count` RGB pictures of five sizes and as many formats.
fn put_mixed(desk: &Desk, folder: &str, count: usize) {
    let sizes = [[10, 13], [16, 12], [9, 9], [24, 17], [5, 30]];
    for i in 0..count {
        let extension = ["png", "bmp", "tiff", "webp", "jpg", "ppm"][i % 6];
        put(desk, &format!("{folder}/p{i:03}.{extension}"), &noise(3, sizes[i % 5], Depth::Eight, i as u64));
    }
}

/// Every file below a folder, including hidden ones, with its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_owned();
                    drop(files.insert(name, fs::read(&path).unwrap()));
                }
            }
        }
    }
    files
}

/// The names below a folder.
fn names(desk: &Desk, folder: &str) -> Vec<String> {
    contents(&desk.path(folder)).keys().map(|path| path.to_string_lossy().into_owned()).collect()
}

/// The JSON line of each picture, by picture name.
fn lines(output: &Output) -> BTreeMap<String, Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let parsed = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed.map(|line| (line["input"].as_str().unwrap().to_owned(), line)).collect()
}

/// The output of the command for bytes on standard input.
fn piped(desk: &Desk, line: &str, input: &[u8]) -> Output {
    let mut command = desk.command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // A command that refuses its input need not read it.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

/// Runs a command that must succeed. Returns standard output.
#[track_caller]
pub(crate) fn through(desk: &Desk, line: &str, input: &[u8]) -> Vec<u8> {
    let output = piped(desk, line, input);
    assert!(output.status.success(), "unet {line}: {}", stderr(&output));
    output.stdout
}

#[test]
fn bad_pictures_of_a_folder_stop_no_others() {
    let desk = desk();
    put_mixed(&desk, "pics", 197);
    let whole = fs::read(desk.path("picture.png")).unwrap();
    desk.put("pics/cut.png", &whole[..whole.len() / 2]);
    desk.put("pics/text.jpg", b"this is a text file");
    desk.put("pics/void.tif", b"");
    let run = "-m paint.safetensors --device cpu";
    let output = desk.command(&format!("run pics -o out --json {run}")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));

    let text = stderr(&output);
    let last: Vec<&str> = text.lines().rev().take(4).collect();
    assert!(last[3].contains("3 of 200 pictures failed"), "{text}");
    for (line, name) in last.iter().rev().skip(1).zip(["cut.png", "text.jpg", "void.tif"]) {
        assert!(line.starts_with(&format!("unet: pics/{name}: ")), "{text}");
    }
    let lines = lines(&output);
    assert_eq!(lines.len(), 200);
    assert_eq!(lines.values().filter(|line| line["error"].is_string()).count(), 3);
    let one = &lines["pics/p003.webp"];
    assert_eq!((&one["height"], &one["width"]), (&24.into(), &17.into()), "{one}");
    assert_eq!(one["outputs"]["out"], "out/p003.png");

    let results = contents(&desk.path("out"));
    assert_eq!(results.len(), 197);
    for (name, line) in lines.iter().filter(|(_, line)| line["error"].is_null()).step_by(20) {
        let result = line["outputs"]["out"].as_str().unwrap();
        let extension = result.rsplit_once('.').unwrap().1;
        desk.unet(&format!("run {name} -o one.{extension} {run}"));
        let alone = fs::read(desk.path(&format!("one.{extension}"))).unwrap();
        assert_eq!(results[Path::new(result).strip_prefix("out").unwrap()], alone, "{name}");
    }
}

#[test]
fn a_killed_run_leaves_no_half_results_and_is_resumed() {
    let desk = desk();
    let count = 60;
    for i in 0..count {
        put(&desk, &format!("pics/{i:02}.png"), &noise(3, [150, 170], Depth::Eight, i));
    }
    let run = "run pics -m classes.safetensors --tta all --device cpu";
    desk.unet(&format!("{run} -o whole --overlay whole_over"));
    let line = format!("{run} -o out --overlay over --resume");
    let finished = |folder: &str| {
        let files = fs::read_dir(desk.path(folder)).into_iter().flatten().map(|e| e.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == "png")).collect::<Vec<_>>()
    };
    let mut child = desk.command(&line).stderr(Stdio::null()).spawn().unwrap();
    while finished("over").len() < 5 && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was killed");
    let results = [finished("out"), finished("over")].concat();
    assert!(results.len() > 5 && results.len() < 2 * count as usize, "{} results", results.len());
    results.iter().for_each(|path| drop(Picture::open(path).unwrap()));

    // As left by a run that was killed while it replaced results.
    desk.put("out/.00.png.4711.tmp", b"half");
    desk.put("out/.59.png.4711.tmp", b"half");
    desk.put("out/.other.png.4711.tmp", b"somebody else's");
    let text = stderr(&desk.unet(&line));
    assert!(text.contains("were there already"), "{text}");
    let other = PathBuf::from(".other.png.4711.tmp");
    let mut out = contents(&desk.path("out"));
    assert!(out.remove(&other).is_some());
    assert!(out == contents(&desk.path("whole")), "{:?}", out.keys());
    assert!(contents(&desk.path("over")) == contents(&desk.path("whole_over")));

    // A picture is done when both results exist.
    fs::remove_file(desk.path("over/07.png")).unwrap();
    let text = stderr(&desk.unet(&line));
    assert!(text.contains("1 picture in") && text.contains("59 were there already"), "{text}");
    assert!(contents(&desk.path("over")) == contents(&desk.path("whole_over")));
}

#[test]
fn folders_patterns_and_names() {
    let desk = desk();
    let picture = noise(3, [6, 7], Depth::Eight, 1);
    for name in ["a.png", "b/c.bmp", "b/d/e.tiff", ".hidden.png", ".cache/f.png"] {
        put(&desk, &format!("pics/{name}"), &picture);
    }
    desk.put("pics/notes.txt", b"no picture");
    #[cfg(unix)]
    for link in ["gone.txt", ".#a.png"] {
        std::os::unix::fs::symlink("nowhere", desk.path("pics").join(link)).unwrap();
    }
    let run = |line: &str| desk.unet(&format!("run -m paint.safetensors --device cpu {line}"));
    run("pics -o flat");
    assert_eq!(names(&desk, "flat"), ["a.png"]);
    run("pics -o deep --recursive --compare deep/both/");
    assert_eq!(
        names(&desk, "deep"),
        ["a.png", "b/c.png", "b/d/e.tiff", "both/a.png", "both/b/c.png", "both/b/d/e.tiff"]
    );
    run("pics/*/*.bmp pics/* -o pattern --format .jpg");
    assert_eq!(names(&desk, "pattern"), ["a.jpg", "b/c.jpg"]);
    run("pics/**/*.tiff -o starred");
    assert_eq!(names(&desk, "starred"), ["b/d/e.tiff"]);

    // The next run does not take results below the pictures for pictures.
    for line in ["pics -o pics/out -r", "pics -o pics/out -r", "pics/**/*.* -o pics/out"] {
        run(line);
        assert_eq!(names(&desk, "pics/out"), ["a.png", "b/c.png", "b/d/e.tiff"], "{line}");
    }
    // A file and a folder for its result.
    run("picture.png -o one/");
    assert_eq!(names(&desk, "one"), ["picture.png"]);

    // If names differ only in the extension, results keep the extension.
    put(&desk, "same/a.png", &picture);
    put(&desk, "same/a.jpg", &picture);
    put(&desk, "same/b.jpg", &picture);
    run("same -o clash");
    assert_eq!(names(&desk, "clash"), ["a.jpg.png", "a.png.png", "b.png"]);
}

#[test]
fn requests_for_folders_that_cannot_work_are_refused_before_any_work() {
    let desk = desk();
    let picture = noise(3, [6, 7], Depth::Eight, 1);
    for name in ["one/a.png", "two/a.png", "two/b.png"] {
        put(&desk, name, &picture);
    }
    fs::create_dir(desk.path("empty")).unwrap();
    let before = contents(&desk.path("."));
    desk.refuses("run two -o new -m paint.safetensors --device cpu,99", &["index 99"]);
    desk.refuses("verify paint.safetensors --device cpu,gpu", &["several devices", "unet run"]);
    for (line, parts) in [
        ("one/a.png two/a.png -o new", ["one/a.png and two/a.png", "one name"]),
        ("one two -o new", ["one/a.png and two/a.png", "one name"]),
        ("empty -o new", ["empty", "no pictures"]),
        ("empty/*.png -o new", ["empty/*.png", "no pictures"]),
        ("two/[.png -o new", ["two/[.png", "pattern"]),
        ("two -o new --format gif", ["gif", ".png"]),
        ("two -o new --format txt", ["picture", ".png"]),
        ("two -o new.png", ["new.png", "folder"]),
        ("two -o one/a.png", ["one/a.png", "folder"]),
        ("two -o new --overlay over", ["--overlay", "masks"]),
        ("two -o two", ["two/a.png", "input"]),
        ("two -o new --compare new", ["--compare", "another result"]),
        ("two -o new --compare ./new", ["--compare", "another result"]),
        ("two/a.png -o new.png --resume", ["--resume", "several"]),
        ("two/a.png -o new.png --shard 1/2", ["--shard", "several"]),
        ("two -o new --pixel-format y4m", ["--pixel-format", "standard input"]),
        ("two - -o new", ["one at a time", "name one"]),
        ("- -o - --resume", ["--resume", "files"]),
        ("two -o new --reference nowhere", ["nowhere", "os error 2"]),
        ("two/a.png -o new.png --reference nowhere.png", ["nowhere.png", "os error 2"]),
    ] {
        desk.refuses(&format!("run {line} -m paint.safetensors --device cpu"), &parts);
    }
    assert_eq!(contents(&desk.path(".")), before);
    for wrong in [
        "--jobs 1:2",
        "--jobs 0:1:1",
        "--jobs 1:1:65",
        "--jobs a:b:c",
        "--batch 0",
        "--batch many",
        "--shard 0/3",
        "--shard 4/3",
        "--shard 1",
        "--shard 1/0",
        "--frame-size 0x4",
        "--tile 0",
    ] {
        let output = desk.command(&format!("run two -o new -m paint.safetensors {wrong}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let text = stderr(&output);
        assert!(text.contains(wrong.split_once(' ').unwrap().0), "{text}");
    }
    assert_eq!(contents(&desk.path(".")), before);
}

#[test]
fn shards_share_a_folder() {
    let desk = desk();
    put_mixed(&desk, "pics", 20);
    let run = "run pics -m paint.safetensors --device cpu -q";
    desk.unet(&format!("{run} -o all"));
    let mut joined = BTreeMap::new();
    for part in 1..=3 {
        let [first, again] = ["first", "again"].map(|folder| {
            desk.unet(&format!("{run} -o {folder}{part} --shard {part}/3"));
            contents(&desk.path(&format!("{folder}{part}")))
        });
        assert!((6..=7).contains(&first.len()) && first == again);
        for (name, bytes) in first {
            assert!(joined.insert(name.clone(), bytes).is_none(), "{} came twice", name.display());
        }
    }
    assert!(joined == contents(&desk.path("all")));
    // More parts than pictures.
    desk.unet(&format!("{run} -o none --shard 30/30"));
    assert!(!desk.path("none").exists());
}

#[test]
fn devices_share_a_folder() {
    if gpu().is_none() {
        return;
    }
    let desk = desk();
    for i in 0..24 {
        put(&desk, &format!("pics/{i:02}.png"), &noise(3, [120, 100], Depth::Eight, i));
    }
    let run = "run pics -m classes.safetensors";
    let both = lines(&desk.unet(&format!("{run} -o both --device 0,cpu --json --jobs 1:1:1 --batch 1")));
    let devices: BTreeSet<&str> = both.values().map(|line| line["device"].as_str().unwrap()).collect();
    assert_eq!(devices.len(), 2, "{devices:?}");
    assert!(devices.iter().any(|name| name.starts_with("CPU (")), "{devices:?}");
    desk.unet(&format!("{run} -o cpu --device cpu"));
    assert!(names(&desk, "both") == names(&desk, "cpu") && both.len() == 24);
    // If two classes are nearly equal, rounding may decide.
    let differs = |name: &String| {
        let [a, b] = ["both", "cpu"].map(|folder| desk.picture(&format!("{folder}/{name}")));
        a.planes().plane(0, 0).iter().zip(b.planes().plane(0, 0)).filter(|(a, b)| a != b).count()
    };
    let different: usize = names(&desk, "cpu").iter().map(differs).sum();
    assert!(different <= 3, "{different} pixels differ");
}

#[test]
fn any_number_of_threads_gives_the_same() {
    let desk = desk();
    put_mixed(&desk, "pics", 24);
    let run = "run pics -m paint.safetensors --device cpu";
    desk.unet(&format!("{run} -o plain"));
    for jobs in ["1:1:1", "3:3:3", "64:1:1 --batch 5"] {
        let out = jobs.replace([':', ' '], "");
        desk.unet(&format!("{run} -o {out} --jobs {jobs}"));
        assert!(contents(&desk.path(&out)) == contents(&desk.path("plain")), "{jobs}");
    }
}

#[test]
fn a_network_of_one_picture_a_time_runs_without_batches() {
    let desk = desk();
    desk.put("net.onnx", &blocks(&[]));
    for i in 0..12 {
        put(&desk, &format!("pics/{i:02}.png"), &noise(1, [8, 8], Depth::Eight, i));
    }
    for device in if gpu().is_some() { &["cpu", "0"][..] } else { &["cpu"] } {
        for batch in ["1", "4", "auto"] {
            let run = format!("run pics -m net.onnx --device {device} -o {device}{batch} --batch {batch}");
            desk.unet(&format!("{run} --jobs 4:1:1"));
            assert!(contents(&desk.path(&format!("{device}{batch}"))) == contents(&desk.path("cpu1")));
        }
    }
}

/// A TIFF file of those pages.
pub(crate) fn put_pages(path: &Path, pages: &[Picture]) {
    let mut writer = PageWriter::create(path).unwrap();
    pages.iter().for_each(|page| writer.push(page).unwrap());
    writer.finish().unwrap();
}

fn pages(path: &Path) -> Vec<Picture> {
    Pages::open(path).unwrap().map(Result::unwrap).collect()
}

#[test]
fn stacks_go_through_page_by_page() {
    let desk = desk();
    let stack: Vec<Picture> =
        (0..7).map(|i| noise(3, [9, 8 + usize::from(i % 3 == 2)], Depth::Eight, i)).collect();
    fs::create_dir(desk.path("pics")).unwrap();
    put_pages(&desk.path("pics/stack.tif"), &stack);
    put(&desk, "pics/single.tif", &stack[2]);
    put(&desk, "pics/plain.png", &stack[3]);
    let run = "--device cpu -m same.safetensors";
    let output = desk.unet(&format!("run pics/stack.tif -o out.tiff --json --jobs 3:2:1 {run}"));
    assert!(pages(&desk.path("out.tiff")) == stack);
    assert_eq!(lines(&output)["pics/stack.tif"]["pages"], 7);
    desk.unet(&format!("run pics -o out --json {run}"));
    assert_eq!(names(&desk, "out"), ["plain.png", "single.tiff", "stack.tiff"]);
    assert!(pages(&desk.path("out/stack.tiff")) == stack);
    assert!(pages(&desk.path("out/single.tiff")) == stack[2..3]);
    desk.refuses(&format!("run pics/stack.tif -o new.png {run}"), &["new.png", "pages", ".tiff"]);
    desk.refuses(
        &format!("run pics/stack.tif -o new.npy {run}"),
        &["new.npy: the next page", "(1,3,9,8)", "(1,3,9,9)"],
    );
    let text = stderr(&desk.command(&format!("run pics -o png --format png {run}")).output().unwrap());
    assert!(text.contains("1 of 3") && text.contains("pics/stack.tif: png/stack.png: there are"), "{text}");
    assert_eq!(names(&desk, "png"), ["plain.png", "single.png"]);
    desk.unet("run pics -o masks --overlay over --device cpu -m classes.safetensors");
    assert_eq!(names(&desk, "over"), ["plain.png", "single.tiff", "stack.tiff"]);
    assert_eq!(pages(&desk.path("over/stack.tiff")).len(), 7);
    desk.refuses(
        "run pics/stack.tif --stats new.csv --device cpu -m classes.safetensors",
        &["new.csv", "pages"],
    );

    // Masks, drawings and numbers of each page. Damage in the middle names the file and leaves nothing.
    let even: Vec<Picture> = stack.iter().filter(|page| page.width() == 8).cloned().collect();
    put_pages(&desk.path("even.tif"), &even);
    desk.unet("run even.tif -o mask.tif --overlay over.tif --probabilities p.npy --device cpu -m classes.safetensors");
    let (masks, drawn) = (pages(&desk.path("mask.tif")), pages(&desk.path("over.tif")));
    assert_eq!((masks.len(), drawn.len()), (5, 5));
    let numbers = read_npy(&desk.path("p.npy")).unwrap();
    assert_eq!(numbers.shape(), Shape::new(5, 3, 9, 8));
    for (i, page) in even.iter().enumerate() {
        put(&desk, "page.png", page);
        desk.unet("run page.png -o one.tif --overlay one.png --probabilities one.npy --device cpu -m classes.safetensors");
        assert_eq!(desk.picture("one.tif").planes(), masks[i].planes());
        assert_eq!(desk.picture("one.png").planes(), drawn[i].planes());
        let one = read_npy(&desk.path("one.npy")).unwrap();
        assert_eq!(one.data(), &numbers.data()[i * 216..][..216]);
    }
    let mut bytes = fs::read(desk.path("even.tif")).unwrap();
    bytes.truncate(bytes.len() - 20);
    desk.put("cut.tif", &bytes);
    desk.refuses(&format!("run cut.tif -o new.tiff {run}"), &["cut.tif"]);

    write_npy(&desk.path("many.npy"), &Tensor::random(Shape::new(3, 3, 6, 6), 1)).unwrap();
    desk.refuses(&format!("run many.npy -o new.png {run}"), &["new.png", "more than one", ".npy"]);
}

/// A raw stream of noise.
pub(crate) fn raw(frames: usize, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(frames as u64);
    (0..frames * bytes).map(|_| random.below(256) as u8).collect()
}

#[test]
fn frames_keep_their_order() {
    let desk = desk();
    let device = if gpu().is_some() { "0,cpu" } else { "cpu" };
    for (format, net, bytes) in [("rgb24", "same", 3), ("gray8", "gray", 1), ("gray16le", "gray", 2)] {
        let frames = raw(50, 12 * 10 * bytes);
        let line = format!(
            "run - -o - -m {net}.safetensors --pixel-format {format} --frame-size 12x10 --jobs 3:2:3 --device {device}"
        );
        assert!(through(&desk, &line, &frames) == frames, "{format}");
    }
    // Grey y4m keeps every luma value. The header's frame rate is kept.
    let mut video = b"YUV4MPEG2 W12 H10 F30000:1001 Ip A1:1 Cmono\n".to_vec();
    for frame in raw(40, 120).chunks(120) {
        video.extend(b"FRAME\n");
        video.extend(frame.iter().map(|v| v % 220 + 16));
    }
    let line = format!("-m gray.safetensors --device {device} --jobs 2:3:2");
    let out = through(&desk, &format!("run - -o - {line}"), &video);
    assert!(String::from_utf8_lossy(&out[..60]).contains("F30000:1001"));
    assert!(frames(&out) == frames(&video) && frames(&out).len() == 40);
    // From files, and from a file to standard output.
    desk.put("in.y4m", &video);
    desk.unet(&format!("run in.y4m -o out.y4m {line}"));
    assert!(fs::read(desk.path("out.y4m")).unwrap() == out);
    assert!(through(&desk, &format!("run in.y4m -o - {line}"), b"") == out);
    desk.unet(&format!("run in.y4m -o pages.tiff {line}"));
    assert_eq!(pages(&desk.path("pages.tiff")).len(), 40);
    desk.refuses(&format!("run in.y4m -o new.png {line}"), &["new.png", ".tiff"]);
    // Masks become grey levels, and drawings go elsewhere at the same time.
    let line = "run in.y4m -o - --overlay over.y4m -m bright.safetensors --device cpu";
    let masks = frames(&through(&desk, line, b""));
    for (mask, frame) in masks.iter().zip(frames(&video)) {
        let white = |v: &f32| f32::from(u8::from(*v > 127.5)) * 255.0;
        assert_eq!(mask.planes().data(), frame.planes().data().iter().map(white).collect::<Vec<_>>());
    }
    assert_eq!(frames(&fs::read(desk.path("over.y4m")).unwrap()).len(), 40);
}

pub(crate) fn frames(video: &[u8]) -> Vec<Picture> {
    FrameReader::new(video, None, None).unwrap().map(Result::unwrap).collect()
}

#[test]
fn streams_that_end_early() {
    let desk = desk();
    let line = "run - -o - -m same.safetensors --pixel-format rgb24 --frame-size 12x10 --device cpu";
    let whole = raw(9, 360);
    let output = piped(&desk, line, &whole[..8 * 360 + 100]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout == whole[..8 * 360], "{} bytes", output.stdout.len());
    let text = stderr(&output);
    assert!(text.lines().count() == 1 && text.contains("frame 9 is cut off"), "{text}");
    let output = piped(&desk, line, b"");
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("it is empty"),
        "{}",
        stderr(&output)
    );
    // To a file: all or nothing.
    let output = piped(&desk, &line.replace("-o -", "-o out.y4m"), &whole[..400]);
    assert!(output.status.code() == Some(1) && !desk.path("out.y4m").exists());

    // A reader that closes early, while more frames come than a pipe holds.
    let mut command = desk.command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let feeder = thread::spawn(move || while stdin.write_all(&raw(9, 360)).is_ok() {});
    let mut head = vec![0; 1000];
    stdout.read_exact(&mut head).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success() && head == whole[..1000], "{}", stderr(&output));
    assert!(!stderr(&output).contains("roken"), "{}", stderr(&output));
}

#[test]
fn a_picture_comes_and_goes_by_pipe() {
    let desk = desk();
    let bytes = fs::read(desk.path("picture.png")).unwrap();
    let read = |bytes: &[u8]| Picture::from_bytes(bytes, Path::new("stdout")).unwrap();
    let out = through(&desk, "run - -o - -m same.safetensors --device cpu", &bytes);
    assert_eq!(read(&out).planes(), desk.picture("picture.png").planes());
    desk.unet("run picture.png -o mask.png --overlay over.png -m classes.safetensors --device cpu");
    let out = through(&desk, "run - --overlay - -o m.png -m classes.safetensors --device cpu", &bytes);
    assert_eq!(read(&out).planes(), desk.picture("over.png").planes());
    assert_eq!(fs::read(desk.path("m.png")).unwrap(), fs::read(desk.path("mask.png")).unwrap());
    let out = through(&desk, "run picture.png --stats - -m classes.safetensors --device cpu", b"");
    assert!(String::from_utf8(out).unwrap().starts_with("class,"));
    desk.refuses(
        "run picture.png -o - --overlay - -m classes.safetensors --device cpu",
        &["standard output"],
    );
    let output = piped(&desk, "run - -o - -m same.safetensors --device cpu", b"no picture");
    assert!(output.status.code() == Some(1) && output.stdout.is_empty());
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
}

#[test]
fn masks_are_cleaned_coloured_and_compared() {
    let desk = desk();
    // Two bright regions with 6 pixels and 1 pixel, and a grey one.
    let bright = [2, 3, 10, 11, 18, 19, 30];
    let planes = Tensor::from_fn(Shape::new(1, 1, 8, 8), |i| match i {
        i if bright.contains(&i) => 200.0,
        56 => 100.0,
        _ => 0.0,
    });
    put(&desk, "spots.png", &Picture::new(planes, Depth::Eight).unwrap());
    desk.put("colors.txt", b"#000000 ground\n#0a141e spot\n");
    let run = |options: &str| {
        let line = format!("run spots.png -o out.png -m bright.safetensors --device cpu --json {options}");
        let output = desk.unet(&line);
        let line = lines(&output).remove("spots.png").unwrap();
        let share = line["classes"][1]["percent"].as_f64().unwrap();
        ((share * 64.0 / 100.0).round() as usize, line)
    };
    assert_eq!(run("").0, 7);
    assert_eq!(run("--threshold 0.3").0, 8);
    assert_eq!(run("--keep-largest").0, 6);
    assert_eq!(run("--min-area 2").0, 6);
    assert_eq!(run("--min-area 7").0, 0);
    assert_eq!(run("--tta flips").0, 7);
    assert_eq!(run("--tta all --threshold 0.3").0, 8);
    let (_, line) = run("--palette colors.txt");
    assert_eq!(line["classes"][1]["name"], "spot");
    assert_eq!(desk.picture("out.png").rgb(2, 0), [10, 20, 30]);

    fs::copy(desk.path("out.png"), desk.path("truth.png")).unwrap();
    let (_, line) = run("--reference truth.png --palette colors.txt");
    assert_eq!((&line["iou"], &line["dice"]), (&1.0.into(), &1.0.into()));
    let (_, line) = run("--reference truth.png --palette colors.txt --keep-largest");
    assert!(line["iou"].as_f64().unwrap() < 1.0, "{line}");
    let text = |output: Output| String::from_utf8(output.stdout).unwrap();
    let told = text(desk.unet("run spots.png -o out.png -m bright.safetensors --device cpu --reference truth.png --palette colors.txt"));
    assert!(told.contains("spot") && told.contains("IoU"), "{told}");

    // Pictures, and folders with pictures.
    let noisy = |i: u64| noise(3, [20, 20], Depth::Eight, i);
    for i in 0..3 {
        put(&desk, &format!("in/{i}.png"), &noisy(i));
        put(&desk, &format!("true/{i}.tiff"), &noisy(i + 10));
    }
    let told =
        text(desk.unet("run in/0.png -o out.png -m same.safetensors --device cpu --reference true/0.tiff"));
    assert!(told.contains("PSNR") && told.contains("SSIM"), "{told}");
    let run = "run in -o out -m same.safetensors --device cpu --reference true";
    let told = text(desk.unet(run));
    assert!(told.contains("mean psnr") && told.contains("mean ssim"), "{told}");
    let output = desk.unet(&format!("{run} --json"));
    assert!(lines(&output).values().all(|line| line["psnr"].as_f64().unwrap() < 20.0));
    fs::remove_file(desk.path("true/1.tiff")).unwrap();
    let output = desk.command(run).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("in/1.png: no reference"), "{}", stderr(&output));
    assert_eq!(names(&desk, "out").len(), 3);
}
