//! PyTorch's own files, and state dicts of other code bases: PyTorch's results, and nothing that a file asks for is run.

use crate::support::{Tolerance, Vectors, assert_close, check};
use std::path::{Path, PathBuf};
use unet_wgpu::image::Picture;
use unet_wgpu::recipe::Decode;
use unet_wgpu::{Device, Error, Model, Random, Session, Tensor, cpu};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/state_dicts").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a file")
}

fn message(file: &[u8]) -> String {
    match Model::from_pytorch(file) {
        Err(error @ (Error::Model(_) | Error::Shape { .. })) => error.to_string(),
        other => panic!("expected an error that tells of the file, got {:?}", other.err()),
    }
}

/// Files, the results they must give, and the family that they must be taken for.
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
    // One file a case; the narrow 16-bit ones are the same kernels again.
    for (file, case, _) in
        FILES.iter().filter(|(file, case, _)| file.starts_with(case) && !file.contains('_'))
    {
        let model = Model::open(path(file)).expect("it is read");
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        check(case, &model.graph(input.shape()).expect("it takes the size"), input, want, Tolerance::Network);
    }
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
        assert_eq!((recipe.input.scale, recipe.input.standardize), (scale, standardize), "{file}");
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
    // The top-left corner, where their figures were taken.
    let corner = |name: &str| {
        let picture = Picture::open(&folder.join(name)).expect("a picture");
        let x = picture.to_tensor(&model.recipe.input, 3).expect("a tensor");
        Tensor::from_fn(unet_wgpu::Shape::new(1, 3, 256, 256), |i| {
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
    // A list of lists of lists, each twice: 2^40 values for who follows them all.
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
        (tuples, "no state dict"),
        (lists, "more than"),
        (laughs, "no state dict"),
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

#[test]
fn every_cut_of_a_file_is_refused() {
    for file in ["milesial.pth", "milesial_legacy.pth", "small_script.pt"] {
        let bytes = bytes(file);
        for place in (0..100).map(|i| i * bytes.len() / 100).chain([bytes.len() - 1]) {
            let text = message(&bytes[..place]);
            assert!(text.lines().count() == 1 && text.chars().count() < 1000, "cut at {place}: {text}");
        }
    }
}

#[test]
fn a_hundred_thousand_damaged_files_load_or_are_refused() {
    let mut random = Random::new(3);
    let mut refused = 0;
    for file in ["small.pth", "small_legacy.pth"] {
        let whole = bytes(file);
        Model::from_pytorch(&whole).unwrap_or_else(|error| panic!("{error}"));
        // Most of the damage goes where most can break: into the pickle, and an archive's directory behind all.
        let pickle = whole.windows(8).position(|w| w == b"_rebuild").expect("a tensor");
        for i in 0..50_000 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random.below(4) {
                let (from, to) = random.pick(&[
                    (0, bytes.len()),
                    (0, pickle),
                    (pickle.saturating_sub(64), (pickle + 2048).min(bytes.len())),
                    (bytes.len().saturating_sub(2048), bytes.len()),
                ]);
                let place = from + random.below(to - from);
                match random.below(4) {
                    0 => bytes[place] = random.bits() as u8,
                    1 => bytes[place] ^= 1 << random.below(8),
                    2 => bytes[place] = random.pick(b"(.0123QR\x81abcehjq}])tus\x85\x86\x87\x88NKMJ\xff\0"),
                    _ => {
                        let source = random.below(bytes.len() - 9);
                        let len = random.below(9).min(bytes.len() - place);
                        bytes.copy_within(source..source + len, place);
                    }
                }
            }
            match Model::from_pytorch(&bytes) {
                Ok(_) => {}
                Err(Error::Model(_) | Error::Shape { .. }) => refused += 1,
                Err(other) => panic!("{file}, mutation {i}: {other:?}"),
            }
        }
    }
    assert!(refused > 50_000, "{refused} refused");
}
