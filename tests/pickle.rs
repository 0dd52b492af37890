//! PyTorch's files and state dicts of other code bases: they give PyTorch's results, and no code in a file runs.

use crate::support::{Tolerance, Vectors, assert_close, check};
use std::path::{Path, PathBuf};
use unet_wgpu::graph::Op;
use unet_wgpu::image::Picture;
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::recipe::Decode;
use unet_wgpu::{Device, Error, Model, Session, Shape, Tensor, cpu};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/state_dicts").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a file")
}

fn message(file: &[u8]) -> String {
    match Model::from_pytorch(file) {
        Err(error @ (Error::Model(_) | Error::UnknownNetwork(_) | Error::Shape { .. })) => error.to_string(),
        other => panic!("expected an error that tells of the file, got {:?}", other.err()),
    }
}

fn parameters(model: &Model) -> usize {
    model.graph(model.example_input()).expect("it takes the size").parameters()
}

/// Files, their result vectors, and the family that they must be recognised as.
const FILES: [(&str, &str, &str); 19] = [
    ("milesial.pth", "milesial", "milesial Pytorch-UNet"),
    ("milesial_legacy.pth", "milesial", "milesial Pytorch-UNet"),
    ("milesial_bilinear.ckpt", "milesial_bilinear", "milesial Pytorch-UNet"),
    ("mateuszbuda_f16.pt", "mateuszbuda", "mateuszbuda brain-segmentation"),
    ("noise2noise_bf16.pt", "noise2noise", "noise2noise-pytorch"),
    ("drunet.pth", "drunet", "KAIR DRUNet"),
    ("smp/model.safetensors", "smp", "segmentation_models.pytorch Unet"),
    ("smp_resnet50.safetensors", "smp_resnet50", "segmentation_models.pytorch Unet"),
    ("smp_resnext50_32x4d.safetensors", "smp_resnext50_32x4d", "segmentation_models.pytorch Unet"),
    ("monai_basic.pt", "monai_basic", "MONAI BasicUNet"),
    ("monai_unet.pth", "monai_unet", "MONAI UNet"),
    ("monai_unet_residual.pth", "monai_unet_residual", "MONAI UNet"),
    ("nnunet.pth", "nnunet", "nnU-Net"),
    ("nnunet/fold_0/checkpoint_final.pth", "nnunet_residual", "nnU-Net"),
    ("views.pth", "views", "milesial Pytorch-UNet"),
    ("small.pth", "small", "U-Net by names and shapes"),
    ("small_legacy.pth", "small", "U-Net by names and shapes"),
    ("small_module.pt", "small", "U-Net by names and shapes"),
    ("small_script.pt", "small", "U-Net by names and shapes"),
];

#[test]
fn state_dicts_give_pytorchs_results() {
    let vectors = Vectors::read("state_dicts/results");
    for (file, case, family) in FILES {
        let model = Model::open(path(file)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(model.family, Some(family), "{file}");
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        let got = cpu::run(&model.graph(input.shape()).expect("it takes the size"), input).expect("it runs");
        assert_close(file, &got, want, Tolerance::Network);
    }
}

#[test]
fn state_dicts_run_on_every_backend() {
    let vectors = Vectors::read("state_dicts/results");
    // One file for each case. The narrow 16-bit files use the same kernels again.
    for (file, case, _) in
        FILES.iter().filter(|(file, case, _)| file.starts_with(case) && !file.contains('_'))
    {
        let model = Model::open(path(file)).expect("it is read");
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        check(case, &model.graph(input.shape()).expect("it takes the size"), input, want, Tolerance::Network);
    }
}

#[test]
fn converted_state_dicts_read_back_the_same() {
    for (file, case, _) in FILES {
        let model = Model::open(path(file)).expect("it is read");
        let bytes = model.to_safetensors(false).expect("it is written");
        let back = Model::from_safetensors(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(back.to_safetensors(false).expect("it is written again"), bytes, "{file}");
        let vectors = Vectors::read("state_dicts/results");
        let input = vectors.get(&format!("{case}/input"));
        let run =
            |model: &Model| cpu::run(&model.graph(input.shape()).expect("its size"), input).expect("it runs");
        assert_eq!(run(&back), run(&model), "{file}");
        assert_eq!(back.recipe, model.recipe, "{file}");
    }
}

#[test]
fn a_state_dict_and_the_onnx_file_of_the_same_network_give_the_same_result() {
    let vectors = Vectors::read("state_dicts/results");
    for (file, case) in
        [("milesial.pth", "milesial"), ("mateuszbuda_f16.pt", "mateuszbuda"), ("nnunet.pth", "nnunet")]
    {
        let input = vectors.get(&format!("{case}/input"));
        let [want, got] = [file.to_string(), format!("{case}.onnx")].map(|file| {
            let model = Model::open(path(&file)).expect("it is read");
            cpu::run(&model.graph(input.shape()).expect("it takes the size"), input).expect("it runs")
        });
        assert_close(case, &got, &want, Tolerance::Network);
    }
}

#[test]
fn padding_for_odd_sizes_costs_nothing_at_even_ones() {
    let model = Model::open(path("milesial.pth")).expect("it is read");
    let pads = |size: usize| {
        let shape = Shape::new(1, 3, size, size);
        let graph = &*model.graph(shape).expect("it takes the size");
        let optimized = optimize(graph, shape, &Optimizations::default()).expect("it is optimised");
        let input = Tensor::random(shape, 1);
        let [want, got] = [graph, &optimized].map(|graph| cpu::run(graph, &input).expect("it runs"));
        assert_close("optimised", &got, &want, Tolerance::Network);
        optimized.nodes().iter().filter(|node| matches!(node.op, Op::Pad(_) | Op::Crop(_))).count()
    };
    assert_eq!((pads(32), pads(33), pads(47)), (0, 1, 4));
}

#[test]
fn recipes_come_along() {
    let open = |name| Model::open(path(name)).expect("it is read").recipe.output;
    let output = open("milesial.pth");
    assert_eq!((output.decode, output.threshold), (Some(Decode::Mask), 0.0));
    let classes: Vec<_> = output.classes.iter().map(|class| (class.name.as_str(), class.color)).collect();
    assert_eq!(classes, [("0", None), ("[255,0,7]", Some([255, 0, 7]))]);
    assert_eq!(open("mateuszbuda_f16.pt").threshold, 0.5);
    let smp = Model::open(path("smp/model.safetensors")).expect("it is read").recipe;
    assert_eq!((smp.input.mean[0], smp.input.std[2], smp.output.threshold), (0.485, 0.225, 0.5));
    for (file, scale, standardize) in
        [("nnunet.pth", 1.0, true), ("nnunet/fold_0/checkpoint_final.pth", 1.0 / 255.0, false)]
    {
        let recipe = Model::open(path(file)).expect("it is read").recipe;
        assert_eq!((recipe.input.scale, !recipe.input.steps.is_empty()), (scale, standardize), "{file}");
        let classes: Vec<&str> = recipe.output.classes.iter().map(|class| class.name.as_str()).collect();
        assert_eq!(classes, ["background", "nucleus", "edge"], "{file}");
    }
    assert_eq!(open("noise2noise_bf16.pt").decode, Some(Decode::Image));
}

#[test]
fn noise2noise_denoises_as_its_authors_show() {
    let Some(folder) = std::env::var_os("UNET_TEST_ASSETS") else {
        eprintln!("DID NOT RUN: UNET_TEST_ASSETS does not name the folder of third-party models");
        return;
    };
    let folder = Path::new(&folder).join("models/noise2noise");
    let model = Model::open(folder.join("gaussian.pt")).expect("it is read");
    // The top-left corner, where the expected figures were taken.
    let corner = |name: &str| {
        let picture = Picture::open(&folder.join(name)).expect("a picture");
        let x = picture.to_tensor(&model.recipe.input, 3).expect("a tensor");
        Tensor::from_fn(Shape::new(1, 3, 256, 256), |i| {
            x.plane(0, i >> 16)[(i >> 8 & 255) * x.shape().w + (i & 255)]
        })
    };
    let [noisy, clean, theirs] =
        ["-gaussian-noisy", "", "-gaussian-denoised"].map(|part| corner(&format!("monarch{part}.png")));
    let session = Session::new(&model, noisy.shape(), Device::Cpu).expect("it fits");
    let got = session.run(&noisy).expect("it runs");
    let psnr = |want: &Tensor| {
        let pairs = got.data().iter().zip(want.data());
        let square = pairs
            .map(|(a, b)| f64::from((a.clamp(0.0, 1.0) * 255.0).round() / 255.0 - b).powi(2))
            .sum::<f64>();
        10.0 * (got.data().len() as f64 / square).log10()
    };
    let (gain, same) = (psnr(&clean), psnr(&theirs));
    eprintln!("noise2noise: {gain:.2} dB against the clean picture, {same:.2} dB against theirs");
    assert!(gain >= 32.0 && same >= 45.0, "{gain:.2} dB, {same:.2} dB");
}

// ---- hostile bytes ----

/// A pickle of protocol 2 that calls a function with a tuple of one string.
fn calling(module: &str, name: &str) -> Vec<u8> {
    let mut pickle = b"\x80\x02c".to_vec();
    pickle.extend(format!("{module}\n{name}\n(X\x04\0\0\0boom").bytes());
    pickle.extend(b"tR.");
    pickle
}

/// A file of the format before 1.6 around a pickle, without storages.
fn legacy(pickle: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".as_slice();
    [magic, b"\x80\x02M\xe9\x03.", b"\x80\x02}.", pickle, b"\x80\x02]."].concat()
}

#[test]
fn what_a_file_asks_to_call_is_refused_by_name() {
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("subprocess", "Popen"),
        ("__main__", "Net"),
    ] {
        let text = message(&legacy(&calling(module, name)));
        assert!(text.contains(&format!("{module}.{name}")) && text.contains("nothing was run"), "{text}");
    }
    // Inside a state dict too, and through an instruction of protocol 4.
    let text = message(&legacy(b"\x80\x04}X\x01\0\0\0a\x8c\x02nt\x8c\x06system\x93X\x01\0\0\0x\x85Rs."));
    assert!(text.contains("nt.system"), "{text}");
}

#[test]
fn pickles_that_do_not_add_up_are_refused() {
    let deep = [b"\x80\x02".as_slice(), &b"(".repeat(1 << 20), b"."].concat();
    let tuples = [b"\x80\x02)".as_slice(), &b"\x85".repeat(1 << 18), b"."].concat();
    let lists = [b"\x80\x02".as_slice(), &b"]".repeat(1 << 20), b"."].concat();
    // A list of lists of lists, each twice: 2^40 values for a reader that follows them all.
    let laughs = [b"\x80\x02]q\0".as_slice(), &b"](h\0h\0eq\0".repeat(40), b"}X\x01\0\0\0ah\0s."].concat();
    let cyclic = b"\x80\x02}q\0X\x05\0\0\0modelh\0s.".to_vec();
    let copies = [
        b"\x80\x02ccollections\nOrderedDict\nq\0](]KaKbe\x85q\x01".as_slice(),
        &b"h\0h\x01R0".repeat(9),
        b".",
    ]
    .concat();
    for (pickle, part) in [
        (deep, "empty stack"),
        (tuples, "nested too deep"),
        (lists, "more than"),
        (laughs, "shared too often"),
        (cyclic, "nested too deep"),
        (copies, ""),
        (b"\x80\x02}.".to_vec(), "no state dict"),
        (b"\x80\x02.".to_vec(), "empty stack"),
        (b"\x80\x02t.".to_vec(), "a mark it never set"),
        (b"\x80\x02h\x07.".to_vec(), "never remembered"),
        (b"\x80\x02r\xff\xff\xff\xff.".to_vec(), "empty stack"),
        (b"\x80\x02Nr\xff\xff\xff\xff.".to_vec(), "remembers more than"),
        (b"\x80\x02X\xff\xff\xff\xffa.".to_vec(), "cut off"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.".to_vec(), "cut off"),
        (b"\x80\x02\x82\x01.".to_vec(), "instruction 0x82"),
        (b"\x80\x02I1\n.".to_vec(), "instruction 0x49 (I)"),
        (b"\x80\x07N.".to_vec(), "protocol 7"),
    ] {
        let text = message(&legacy(&pickle));
        assert!(text.contains(part), "{part}: {text}");
    }
    for file in [&b"PK\x03\x04"[..], b"PK\x05\x06", b"\x80\x02N.", b"", b"\x80"] {
        message(file);
    }
}

/// The archive with all its numbers in 64-bit fields.
fn zip64(archive: &[u8]) -> Vec<u8> {
    let number =
        |at: usize, len: usize| archive[at..at + len].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
    let end = archive.len() - 22;
    let start = number(end + 16, 4) as usize;
    let (mut wide, mut at) = (archive[..start].to_vec(), start);
    while archive[at..].starts_with(b"PK\x01\x02") {
        let [name, extra, comment] = [28, 30, 32].map(|i| number(at + i, 2) as usize);
        let mut fixed = archive[at..at + 46].to_vec();
        let numbers = [24, 20, 42].map(|i| number(at + i, 4));
        [24, 20, 42].iter().for_each(|&i| fixed[i..i + 4].fill(255));
        fixed[30..32].copy_from_slice(&(extra as u16 + 28).to_le_bytes());
        wide.extend(fixed);
        wide.extend(&archive[at + 46..at + 46 + name]);
        wide.extend([1, 0, 24, 0]);
        numbers.iter().for_each(|n| wide.extend(n.to_le_bytes()));
        at += 46 + name;
        wide.extend(&archive[at..at + extra + comment]);
        at += extra + comment;
    }
    let place = wide.len() as u64;
    wide.extend(b"PK\x06\x06");
    wide.extend([0; 36]);
    [place - start as u64, start as u64].iter().for_each(|n| wide.extend(n.to_le_bytes()));
    wide.extend(b"PK\x06\x07\0\0\0\0");
    wide.extend(place.to_le_bytes());
    wide.extend([1, 0, 0, 0]);
    wide.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
    wide.extend([255; 8]);
    wide.extend([0, 0]);
    wide
}

#[test]
fn archives_of_any_size_are_read_and_other_archives_refused() {
    let small = bytes("small.pth");
    let input = Tensor::random(Shape::new(1, 1, 6, 8), 1);
    let run = |file: &[u8]| {
        let model = Model::from_pytorch(file).expect("it is read");
        cpu::run(&model.graph(input.shape()).expect("it takes the size"), &input).expect("it runs")
    };
    assert_eq!(run(&zip64(&small)), run(&small));

    let changed = |from: &[u8], to: &[u8]| {
        let mut file = small.clone();
        let places: Vec<usize> =
            (0..file.len() - from.len()).filter(|&at| file[at..].starts_with(from)).collect();
        places.iter().for_each(|&at| file[at..at + to.len()].copy_from_slice(to));
        message(&file)
    };
    assert!(changed(b"data.pkl", b"file.txt").contains("holds no data.pkl"));
    assert!(changed(b"data/1", b"data/x").contains("lacks"));
    assert!(changed(b"little", b"bigbig").contains("big-endian"));
    assert!(changed(b"FloatStorage", b"QInt8Storage").contains("torch.QInt8Storage"));
    // The method is 10 bytes into an entry of the directory; 8 is deflate.
    let mut packed = small.clone();
    let entries = (0..small.len() - 4).filter(|&at| small[at..].starts_with(b"PK\x01\x02"));
    entries.for_each(|at| packed[at + 10] = 8);
    assert!(message(&packed).contains("is compressed"));
}

#[test]
fn tensors_in_memory_make_the_same_network() {
    let file = bytes("smp/model.safetensors");
    let file = safetensors::SafeTensors::deserialize(&file).expect("a safetensors file");
    let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = file
        .iter()
        .filter(|(_, view)| view.dtype() == safetensors::Dtype::F32)
        .map(|(name, view)| {
            (name.into(), view.shape().into(), view.data().chunks_exact(4).map(float).collect())
        })
        .collect();
    let parts = || tensors.iter().map(|(name, shape, values)| (&name[..], &shape[..], &values[..]));
    let model = Model::from_state_dict(parts()).expect("it is known");
    let opened = Model::open(path("smp/model.safetensors")).expect("it is read");
    assert_eq!((model.family, parameters(&model)), (opened.family, parameters(&opened)));
    let without = parts().filter(|part| part.0 != "encoder.bn1.weight");
    let error = Model::from_state_dict(without).expect_err("a tensor is missing").to_string();
    assert_eq!(error, "missing tensor encoder.bn1.weight");
    assert!(Model::from_state_dict([("a.weight", &[2, 2][..], &[1.0][..])]).is_err());
}

#[test]
fn huge_files_are_not_read_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["small.pth", "small_legacy.pth"] {
        // A length of 1 TiB.
        let huge = folder.path().join(name);
        std::fs::write(&huge, bytes(name)).expect("it is written");
        let file = std::fs::OpenOptions::new().write(true).open(&huge).expect("it is there");
        if file.set_len(1 << 40).is_ok() {
            match Model::open(&huge) {
                // Bytes after the last storage are ignored.
                Ok(model) => {
                    assert_eq!(parameters(&model), parameters(&Model::open(path(name)).expect("it is read")));
                }
                Err(error) => assert!(error.to_string().contains("directory is missing"), "{error}"),
            }
        }
    }
}
