//! `unet run` on folders, stacks, streams and large pictures, and the pipeline below it: what many pictures give together is
//! what each gives alone, whatever is damaged, killed or shared.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::cli::{Desk, Parts, decoding, small, stderr};
use crate::device::gpu;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use unet_wgpu::image::{
    Batch, Depth, FrameReader, Input, Load, Outcome, PageWriter, Pages, Picture, Pipeline, PipelineOptions,
    Prepared, Target, Targets, Threads, What, read_npy, write_npy,
};
use unet_wgpu::recipe::{Decode, Fit, InputRecipe, OutputRecipe, Over, Recipe, Step};
use unet_wgpu::tiles::TileOptions;
use unet_wgpu::unet::{RandomWeights, UnetConfig};
use unet_wgpu::{Augment, Device, Model, Random, SessionOptions, Shape, Tensor};

/// Noise of that height and width, of whole steps of its depth.
fn noise(channels: usize, [h, w]: [usize; 2], depth: Depth, seed: u64) -> Picture {
    let mut random = Random::new(seed);
    let planes = Tensor::from_fn(Shape::new(1, channels, h, w), |_| match depth {
        Depth::Eight => random.below(256) as f32,
        Depth::Sixteen => random.below(65_536) as f32 / 257.0,
        Depth::Float => random.uniform(0.0, 1.0),
    });
    Picture::new(planes, depth).unwrap()
}

/// Networks of random weights: `paint.safetensors` makes RGB pictures of RGB, `classes.safetensors` masks of three classes.
fn desk() -> Desk {
    let desk = Desk::new();
    let paint = Parts::new(&small(3), &decoding(Decode::Image), Some(3));
    desk.put("paint.safetensors", &paint.bytes());
    let classes = Parts::new(&UnetConfig::new(3, 3, &[4], 4, &[4]), &decoding(Decode::Mask), Some(9));
    desk.put("classes.safetensors", &classes.bytes());
    // Grey, gives its input back: class 1 above 127.
    desk.put("bright.safetensors", &Parts::new(&small(1), &decoding(Decode::Mask), None).bytes());
    desk.put("gray.safetensors", &Parts::new(&small(1), &decoding(Decode::Image), None).bytes());
    desk
}

/// Puts a picture below the desk, in folders that are made.
fn put(desk: &Desk, name: &str, picture: &Picture) {
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

/// Every file below a folder, hidden ones too, with its bytes.
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

/// A line of JSON for each picture, by the picture's name.
fn lines(output: &Output) -> BTreeMap<String, Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let parsed = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed.map(|line| (line["input"].as_str().unwrap().to_owned(), line)).collect()
}

/// What the command gives for bytes on standard input.
fn piped(desk: &Desk, line: &str, input: &[u8]) -> Output {
    let mut command = desk.command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // Whoever refuses the input need not read it.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

/// The same, which must succeed; gives standard output.
#[track_caller]
fn through(desk: &Desk, line: &str, input: &[u8]) -> Vec<u8> {
    let output = piped(desk, line, input);
    assert!(output.status.success(), "unet {line}: {}", stderr(&output));
    output.stdout
}

/// Fails after a minute instead of waiting for ever.
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (done, finished) = channel::<()>();
    let worker = thread::spawn(move || {
        work();
        drop(done);
    });
    let waited = finished.recv_timeout(Duration::from_secs(60));
    assert_eq!(waited, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "it hangs");
    worker.join().unwrap();
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

    // As a run leaves them that was killed while it wrote over results.
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

    // Both results make a picture done.
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

    // Results below the pictures are not taken for pictures the next time.
    for line in ["pics -o pics/out -r", "pics -o pics/out -r", "pics/**/*.* -o pics/out"] {
        run(line);
        assert_eq!(names(&desk, "pics/out"), ["a.png", "b/c.png", "b/d/e.tiff"], "{line}");
    }
    // A file and a folder for its result.
    run("picture.png -o one/");
    assert_eq!(names(&desk, "one"), ["picture.png"]);

    // Of pictures that differ in the extension alone, the results keep it.
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
        ("two -o new --compare new", ["--out", "--compare"]),
        ("two -o new --compare ./new", ["--out", "--compare"]),
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
    // Where two classes are nearly equal, rounding may decide.
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

/// A model of random weights, of one level.
fn model(input: usize, output: usize, recipe: Recipe, seed: u64) -> Model {
    let config = UnetConfig::new(input, output, &[4], 4, &[4]);
    let mut model = Model::from_config(&config, &mut RandomWeights::new(seed)).unwrap();
    model.recipe = recipe;
    model
}

fn pipeline(model: &Model, options: PipelineOptions, device: Device) -> Pipeline {
    Pipeline::new(model.clone(), options).unwrap().with_device(device, SessionOptions::default())
}

fn devices() -> impl Iterator<Item = Device> {
    [Some(Device::Cpu), gpu().map(Device::Gpu)].into_iter().flatten()
}

/// The results of all inputs, in their order, however the pipeline runs them.
fn run_all(pipeline: &Pipeline, inputs: &[Input], threads: Threads) -> Vec<unet_wgpu::Result<Outcome>> {
    let results = Mutex::new(Vec::new());
    let load = |(i, input): (usize, &Input)| (i, Ok(Load::Run(Box::new(input.clone()))));
    let save = |i, outcome: unet_wgpu::Result<Option<Outcome>>| {
        results.lock().unwrap().push((i, outcome.map(Option::unwrap)));
        ControlFlow::Continue(())
    };
    pipeline.run_all(inputs.iter().enumerate(), threads, false, load, save);
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn batches_give_what_single_pictures_give() {
    let model = model(3, 2, decoding(Decode::Mask), 4);
    let sizes = [[20, 16], [12, 30]];
    let picture = |i: usize| noise(3, sizes[i / 3 % 2], Depth::Eight, i as u64);
    let mut inputs: Vec<Input> = (0..40).map(|i| Input::picture(picture(i), &model).unwrap()).collect();
    // One that fails, alone.
    let nan = Tensor::from_fn(Shape::new(1, 3, 20, 16), |i| if i == 7 { f32::NAN } else { 0.5 });
    inputs.insert(11, Input { picture: None, prepared: Prepared::raw(nan) });
    for device in devices() {
        for batch in [Batch::Auto, Batch::Of(4), Batch::Of(1)] {
            let pipeline = pipeline(&model, PipelineOptions { batch, ..Default::default() }, device.clone());
            let results = run_all(&pipeline, &inputs, Threads { load: 4, run: 1, save: 1 });
            assert_eq!(results.len(), 41);
            let together = results.iter().flatten().map(|outcome| outcome.report.tile.n).max();
            let expected = match (batch, &device) {
                (Batch::Of(pictures), _) => pictures,
                (Batch::Auto, Device::Gpu(_)) => 16,
                (Batch::Auto, Device::Cpu) => 1,
            };
            assert_eq!(together, Some(expected), "{batch:?}");
            for (i, (result, input)) in results.into_iter().zip(&inputs).enumerate() {
                if i == 11 {
                    assert!(result.unwrap_err().to_string().contains("not finite"));
                    continue;
                }
                let want = pipeline.run_input(input.clone(), &|_| {}).unwrap().result;
                let got = result.unwrap().result;
                let off = got.data().iter().zip(want.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off <= 1e-6, "{batch:?}, picture {i}: off by {off:e}");
            }
        }
    }
}

#[test]
fn a_network_of_one_picture_a_time_runs_without_batches() {
    let desk = desk();
    desk.put("net.onnx", &crate::recipes::blocks(&[]));
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

#[test]
fn work_without_a_device_or_without_an_end_is_refused_and_nothing_hangs() {
    in_time(|| {
        let model = model(3, 2, decoding(Decode::Mask), 4);
        let inputs: Vec<Input> =
            (0..100).map(|i| Input::picture(noise(3, [8, 6], Depth::Eight, i), &model).unwrap()).collect();
        let none = Pipeline::new(model.clone(), PipelineOptions::default()).unwrap();
        for result in run_all(&none, &inputs, Threads::default()) {
            assert!(result.unwrap_err().to_string().contains("no device"));
        }
        assert!(none.run_input(inputs[0].clone(), &|_| {}).is_err());

        let pipeline = pipeline(&model, PipelineOptions::default(), Device::Cpu);
        for threads in
            [Threads::default(), Threads { load: 1, run: 1, save: 1 }, Threads { load: 9, run: 9, save: 9 }]
        {
            assert!(run_all(&pipeline, &[], threads).is_empty());
            assert_eq!(run_all(&pipeline, &inputs[..2], threads).len(), 2);
            // Whoever saves may end it all: jobs without an end do end.
            for in_order in [false, true] {
                let saved = Mutex::new(Vec::new());
                let load = |i: usize| (i, Ok(Load::Run(Box::new(inputs[i % 100].clone()))));
                let save = |i, _| {
                    let mut saved = saved.lock().unwrap();
                    saved.push(i);
                    if saved.len() == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                pipeline.run_all(0.., threads, in_order, load, save);
                let saved = saved.into_inner().unwrap();
                assert!(saved.len() >= 20 && saved.len() <= 20 + threads.save, "{}", saved.len());
                assert!(!in_order || saved == (0..20).collect::<Vec<_>>(), "{saved:?}");
            }
        }
        // A fault in one thread becomes the caller's panic.
        for in_order in [false, true] {
            let work = || {
                let load = |i: usize| (i, Ok(Load::Run(Box::new(inputs[i].clone()))));
                let save = |i, _| if i == 3 { panic!("of a test") } else { ControlFlow::Continue(()) };
                pipeline.run_all(0..100, Threads::default(), in_order, load, save);
            };
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
        }
    });
}

/// A TIFF file of those pages.
fn put_pages(path: &Path, pages: &[Picture]) {
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

    // Masks, drawings and numbers of each page; damage in the middle names the file and leaves nothing.
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
fn raw(frames: usize, bytes: usize) -> Vec<u8> {
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
    // Grey y4m keeps every luma; the header's frame rate goes through.
    let mut video = b"YUV4MPEG2 W12 H10 F30000:1001 Ip A1:1 Cmono\n".to_vec();
    for frame in raw(40, 120).chunks(120) {
        video.extend(b"FRAME\n");
        video.extend(frame.iter().map(|v| v % 220 + 16));
    }
    let line = format!("-m gray.safetensors --device {device} --jobs 2:3:2");
    let out = through(&desk, &format!("run - -o - {line}"), &video);
    assert!(String::from_utf8_lossy(&out[..60]).contains("F30000:1001"));
    assert!(frames(&out) == frames(&video) && frames(&out).len() == 40);
    // By files, and from one to standard output.
    desk.put("in.y4m", &video);
    desk.unet(&format!("run in.y4m -o out.y4m {line}"));
    assert!(fs::read(desk.path("out.y4m")).unwrap() == out);
    assert!(through(&desk, &format!("run in.y4m -o - {line}"), b"") == out);
    desk.unet(&format!("run in.y4m -o pages.tiff {line}"));
    assert_eq!(pages(&desk.path("pages.tiff")).len(), 40);
    desk.refuses(&format!("run in.y4m -o new.png {line}"), &["new.png", ".tiff"]);
    // Masks become levels of grey, and drawings go another way at the same time.
    let line = "run in.y4m -o - --overlay over.y4m -m bright.safetensors --device cpu";
    let masks = frames(&through(&desk, line, b""));
    for (mask, frame) in masks.iter().zip(frames(&video)) {
        let white = |v: &f32| f32::from(u8::from(*v > 127.5)) * 255.0;
        assert_eq!(mask.planes().data(), frame.planes().data().iter().map(white).collect::<Vec<_>>());
    }
    assert_eq!(frames(&fs::read(desk.path("over.y4m")).unwrap()).len(), 40);
}

fn frames(video: &[u8]) -> Vec<Picture> {
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
    // Into a file: all or nothing.
    let output = piped(&desk, &line.replace("-o -", "-o out.y4m"), &whole[..400]);
    assert!(output.status.code() == Some(1) && !desk.path("out.y4m").exists());

    // A reader that has seen enough, while more frames come than any pipe holds.
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

/// A picture in bands against the picture as a whole.
#[track_caller]
fn assert_bands(what: &str, model: &Model, options: &PipelineOptions, picture: &Picture, extension: &str) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.tiff");
    fs::write(&input, picture.encode(&input).unwrap()).unwrap();
    let targets = |prefix: &str| {
        let mut kinds = vec![What::Result, What::Compare];
        if model.recipe.output.decode == Some(Decode::Mask) {
            kinds.extend([What::Overlay, What::Cutout]);
        }
        let path = |what: What| folder.path().join(format!("{prefix}{}.{extension}", what.option()));
        Targets(kinds.into_iter().map(|what| Target { what, path: path(what) }).collect())
    };
    let whole = pipeline(
        model,
        PipelineOptions { tiles: TileOptions { size: None, ..options.tiles }, ..options.clone() },
        Device::Cpu,
    );
    whole.write(&whole.run(&Picture::open(&input).unwrap()).unwrap(), &targets("whole")).unwrap();
    let pipeline = pipeline(model, options.clone(), Device::Cpu);
    let report =
        pipeline.run_bands(&input, &targets("bands"), &|_| {}).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(report.tiles > 2 && report.exact, "{what}: {} tiles", report.tiles);
    for (whole, bands) in targets("whole").paths().zip(targets("bands").paths()) {
        let [want, got] = [whole, bands].map(|path| Picture::open(path).unwrap());
        let name = bands.file_name().unwrap().to_string_lossy();
        assert_eq!((want.depth(), want.channels()), (got.depth(), got.channels()), "{what}, {name}");
        assert_eq!(want.planes().shape(), got.planes().shape(), "{what}, {name}");
        assert_eq!(want.alpha().is_some(), got.alpha().is_some(), "{what}, {name}");
        let step = match want.depth() {
            Depth::Eight => 1.0,
            Depth::Sixteen => 2.0 / 257.0,
            Depth::Float => 2e-6,
        };
        let is_mask = name.contains("--out")
            && options.palette.is_none()
            && model.recipe.output.decode == Some(Decode::Mask);
        let alphas = want
            .alpha()
            .into_iter()
            .flat_map(Tensor::data)
            .zip(got.alpha().into_iter().flat_map(Tensor::data));
        let pairs = want.planes().data().iter().zip(got.planes().data());
        let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let off_alpha = alphas.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= if is_mask { 0.0 } else { step }, "{what}, {name}: off by {off}");
        assert!(off_alpha <= 1.0 / 255.0 + 1e-6, "{what}, {name}: opacity off by {off_alpha}");
    }
}

#[test]
fn bands_give_what_the_whole_picture_gives() {
    let tiled = |size: usize| PipelineOptions {
        tiles: TileOptions { size: Some(size), ..TileOptions::default() },
        ..PipelineOptions::default()
    };
    let size = [151, 138];
    let alpha = |picture: Picture| {
        let shape = Shape { c: 1, ..picture.planes().shape() };
        picture.with_alpha(Some(Tensor::from_fn(shape, |i| (i % 256) as f32 / 255.0))).unwrap()
    };
    let rgb = noise(3, size, Depth::Eight, 1);
    let pictures = [
        ("RGB", rgb.clone()),
        ("grey", noise(1, size, Depth::Eight, 2)),
        ("16 bits", noise(3, size, Depth::Sixteen, 3)),
        ("floats", noise(1, size, Depth::Float, 4)),
        ("opacity", alpha(noise(3, size, Depth::Eight, 5))),
    ];
    for (name, picture) in &pictures {
        for (decode, channels) in [(Decode::Image, 3), (Decode::Mask, 3), (Decode::Mask, 1)] {
            let recipe = Recipe {
                output: OutputRecipe { decode: Some(decode), threshold: 0.1, ..OutputRecipe::default() },
                ..Recipe::default()
            };
            let extension = if *name == "floats" { "tiff" } else { "png" };
            assert_bands(name, &model(3, channels, recipe, 7), &tiled(64), picture, extension);
        }
    }
    let over = Over::Channel;
    let steps = [
        vec![],
        vec![Step::Standardize { over, eps: 1e-6 }],
        vec![
            Step::Rescale { low: 1.0, high: 99.0, over: Over::Sample, eps: 0.0 },
            Step::DivideByMax { over },
        ],
    ];
    for fit in [Fit::Zero, Fit::Edge, Fit::Reflect] {
        // A few rows of padding, and more than a tile has.
        for multiple in [32, 128] {
            for steps in &steps {
                let input = InputRecipe {
                    fit,
                    multiple: Some(multiple),
                    steps: steps.clone(),
                    ..InputRecipe::default()
                };
                let recipe = Recipe { input, ..decoding(Decode::Image) };
                let what = format!("{fit:?} to {multiple}, {} steps", steps.len());
                assert_bands(&what, &model(3, 3, recipe, 8), &tiled(48), &rgb, "png");
            }
        }
    }
    let turned = PipelineOptions {
        tiles: TileOptions { augment: Augment::All, ..tiled(64).tiles },
        ..PipelineOptions::default()
    };
    assert_bands("turned", &model(3, 2, decoding(Decode::Mask), 9), &turned, &rgb, "tiff");
}

#[test]
fn what_needs_the_whole_picture_is_not_done_in_bands() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.png");
    fs::write(&input, noise(3, [20, 30], Depth::Eight, 1).encode(&input).unwrap()).unwrap();
    let out = |name: &str, what| Targets(vec![Target { what, path: folder.path().join(name) }]);
    let masks = decoding(Decode::Mask);
    let matched = Recipe {
        output: OutputRecipe {
            steps: vec![Step::MatchInput { over: Over::Sample, eps: 1e-6 }],
            ..OutputRecipe::default()
        },
        ..masks.clone()
    };
    let resized =
        Recipe { input: InputRecipe { size: Some([16, 16]), ..InputRecipe::default() }, ..masks.clone() };
    let plain = PipelineOptions::default();
    let cleaned = PipelineOptions { keep_largest: true, ..plain.clone() };
    for (recipe, options, targets, part) in [
        (&masks, &plain, out("a.webp", What::Result), "a.webp, since only .png"),
        (&masks, &plain, out("a.png", What::Contours), "--contours"),
        (&masks, &plain, out("a.csv", What::Statistics), "--stats"),
        (&masks, &cleaned, out("a.png", What::Result), "--keep-largest"),
        (&matched, &plain, out("a.png", What::Result), "last steps"),
        (&resized, &plain, out("a.png", What::Result), "one size"),
    ] {
        let pipeline = pipeline(&model(3, 2, recipe.clone(), 1), options.clone(), Device::Cpu);
        let line = pipeline.run_bands(&input, &targets, &|_| {}).unwrap_err().to_string();
        assert!(line.contains(part) && line.contains("in.png") && !line.contains('\n'), "{line}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{part}");
    }
    // A picture that is cut off leaves nothing either.
    let bytes = fs::read(&input).unwrap();
    fs::write(&input, &bytes[..bytes.len() / 2]).unwrap();
    let pipeline = pipeline(&model(3, 2, masks, 1), plain, Device::Cpu);
    assert!(pipeline.run_bands(&input, &out("a.png", What::Result), &|_| {}).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn masks_are_cleaned_coloured_and_compared() {
    let desk = desk();
    // Two bright parts, of 6 and of 1 pixels; and a grey one.
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

    // Pictures, and folders of them.
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
