//! Open Image Denoise's weight files: they give PyTorch's results, and contradictions are errors.

use crate::support::{Tolerance, Vectors, check};
use std::path::{Path, PathBuf};
use unet_wgpu::recipe::{Curve, Decode, Step, Transfer};
use unet_wgpu::{Error, Model, Shape};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/state_dicts").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a file")
}

#[test]
fn weights_give_pytorchs_results() {
    let vectors = Vectors::read("state_dicts/oidn");
    for case in ["oidn", "oidn_large"] {
        let model = Model::open(path(&format!("{case}.tza"))).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(model.family, Some("Open Image Denoise"));
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        check(case, &model.graph(input.shape()).expect("it takes the size"), input, want, Tolerance::Network);
    }
}

#[test]
fn the_recipe_takes_pictures_as_they_are() {
    let recipe = Model::from_tza(&bytes("oidn.tza")).expect("it is read").recipe;
    assert_eq!((recipe.task.as_str(), recipe.output.decode), ("denoise", Some(Decode::Image)));
    assert_eq!((recipe.input.scale, recipe.output.scale), (1.0 / 255.0, 255.0));
    let large = Model::from_tza(&bytes("oidn_large.tza")).expect("it is read").recipe;
    assert!(large.description.contains("albedo, then normals"), "{}", large.description);
}

#[test]
fn the_files_name_tells_what_light_it_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |name: &str, from: &str| {
        let place = folder.path().join(name);
        std::fs::write(&place, bytes(from)).expect("it is written");
        Model::open(&place).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    for (name, curve) in [
        ("rt_hdr.tza", Curve::Pu),
        ("rt_hdr_small.tza", Curve::Pu),
        ("rt_hdr_calb_cnrm_large.tza", Curve::Pu),
        ("rtlightmap_hdr.tza", Curve::Log),
    ] {
        let model = open(name, "oidn.tza");
        assert_eq!(model.recipe.input.transfer, Some(Transfer::Linear), "{name}");
        assert_eq!(model.recipe.input.steps, [Step::AutoExposure, Step::Curve(curve)], "{name}");
        assert_eq!(model.recipe.output.steps, [Step::Inverse(curve), Step::UndoExposure], "{name}");
        assert_eq!(model.recipe.output.decode, Some(Decode::Image));
        assert_eq!(model.origins["input.steps"], "the file's name", "{name}");
        assert!(model.recipe.description.ends_with("linear light without bound"), "{name}");
    }
    for name in ["rt_ldr.tza", "rt_ldr_alb_nrm_small.tza", "rt_alb_large.tza"] {
        let recipe = open(name, "oidn_large.tza").recipe;
        let clip = [Step::Clip { min: Some(0.0), max: Some(1.0) }];
        assert_eq!(recipe.input.transfer, Some(Transfer::Srgb), "{name}");
        assert_eq!((&recipe.input.steps[..], &recipe.output.steps[..]), (&clip[..], &clip[..]), "{name}");
        assert!(recipe.description.ends_with("curve, then albedo, then normals as 0.5 + 0.5 n"), "{name}");
    }
    // An unknown name changes nothing, and a person's recipe wins.
    let plain = Model::from_tza(&bytes("oidn.tza")).expect("it is read").recipe;
    for name in ["rt_nrm.tza", "rtlightmap_dir.tza", "denoiser.tza"] {
        assert_eq!(open(name, "oidn.tza").recipe, plain, "{name}");
    }
    std::fs::write(folder.path().join("rt_hdr.toml"), "[input]\nsteps = [{ curve = \"log\" }]")
        .expect("it is written");
    let model = open("rt_hdr.tza", "oidn.tza");
    assert_eq!(model.recipe.input.steps, [Step::Curve(Curve::Log)]);
    assert_eq!(model.recipe.input.transfer, Some(Transfer::Linear));
    assert_eq!(model.origins["input.steps"], "rt_hdr.toml");
}

// ---- what does not add up ----

/// A tensor archive with one tensor of four numbers. Its entry in the table ends as given: rank, extents, layout, type
/// and position.
fn archive(entry: &[u8]) -> Vec<u8> {
    let head = b"\xd7\x41\x02\x00\x1c\0\0\0\0\0\0\0";
    [&head[..], &[0; 16], b"\x01\0\0\0\x01\0a", entry].concat()
}

fn message(file: &[u8]) -> String {
    match Model::from_tza(file) {
        Err(error @ (Error::Model(_) | Error::UnknownNetwork(_) | Error::Shape { .. })) => error.to_string(),
        other => panic!("expected an error that tells of the file, got {:?}", other.err()),
    }
}

#[test]
fn archives_that_do_not_add_up_are_refused() {
    let whole = bytes("oidn.tza");
    let changed = |at: usize, to: &[u8]| {
        let mut file = whole.clone();
        file[at..at + to.len()].copy_from_slice(to);
        message(&file)
    };
    let at = |text: &[u8]| whole.windows(text.len()).position(|w| w == text).expect("it is there");
    let first = at(b"enc_conv0.weight") + 16;
    for (text, part) in [
        (message(b""), "magic number"),
        (message(b"PK"), "magic number"),
        (message(&whole[..3]), "cut off"),
        (changed(2, &[3, 1]), "expected version 2, got 3.1"),
        (changed(4, &[255; 8]), "cut off"),
        (changed(4, &(whole.len() as u64).to_le_bytes()), "cut off"),
        (changed(4, &0u64.to_le_bytes()), "has layout "),
        // Rank, extents of 4 bytes, layout, type, place.
        (changed(first, &[3]), "layout"),
        (changed(first, &[255]), "it is cut off"),
        (changed(first + 1, &[255; 4]), "enc_conv0"),
        (changed(first + 1, &[255; 16]), "enc_conv0"),
        (changed(first + 17, b"hwio"), "tensor enc_conv0.weight has layout hwio, expected x or oihw"),
        (changed(first + 21, b"\n"), "tensor enc_conv0.weight has type \\n, expected f or h"),
        (changed(first + 22, &(whole.len() as u64 - 8).to_le_bytes()), "enc_conv0.weight is cut off"),
        (changed(first + 22, &[255; 8]), "enc_conv0.weight"),
        (changed(at(b"enc_conv1.weight"), b"enc_conv0"), "enc_conv0.weight twice"),
        (changed(at(b"dec_conv0.bias"), b"dec_conv9"), "extra tensor dec_conv9.bias"),
        (changed(at(b"dec_conv4a.weight"), b"dec_conv9a"), "missing tensor dec_conv4a.weight"),
        (message(&archive(b"\x01\x04\0\0\0xf\x0c\0\0\0\0\0\0\0")), "belong to no known network"),
        (message(&archive(b"\0f\x0c\0\0\0\0\0\0\0")), "layout"),
    ] {
        assert!(text.contains(part) && text.lines().count() == 1, "{part}: {text}");
    }
}

#[test]
fn what_an_archive_claims_takes_no_memory() {
    // As many tensors as 32 bits can count, and one with 2^128 numbers.
    let mut file = bytes("oidn.tza");
    let table = u64::from_le_bytes(file[4..12].try_into().expect("8 bytes")) as usize;
    file[table..table + 4].fill(255);
    assert!(message(&file).contains("cut off"));
    let wide = [&b"\x04"[..], &[255; 16], b"oihwh", &[0; 8]].concat();
    message(&archive(&wide));
    // A length of 1 TiB: bytes after the table are not read.
    let folder = tempfile::tempdir().expect("a folder");
    let huge = folder.path().join("huge.tza");
    std::fs::write(&huge, bytes("oidn.tza")).expect("it is written");
    if std::fs::OpenOptions::new().write(true).open(&huge).is_ok_and(|file| file.set_len(1 << 40).is_ok()) {
        let model = Model::open(&huge).expect("it is read");
        assert_eq!(model.graph(Shape::new(1, 3, 16, 16)).expect("any size").input_channels(), 3);
    }
}
