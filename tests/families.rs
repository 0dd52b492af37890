//! Checkpoints as training programs write them, and networks of further code bases: PyTorch's results, and what is
//! said about the rest of a file.

use crate::device::gpu;
use crate::support::{Tolerance, Vectors, assert_close};
use std::path::{Path, PathBuf};
use unet_wgpu::{Device, Error, Model, OpenOptions, Session, Shape, Tensor, cpu};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/state_dicts/families").join(name)
}

fn run(model: &Model, input: &Tensor) -> Tensor {
    cpu::run(&model.graph(input.shape()).expect("it takes the size"), input).expect("it runs")
}

fn refusal(name: &str) -> Error {
    Model::open(path(name)).err().unwrap_or_else(|| panic!("{name} is read"))
}

/// Files, the case whose result they give, and parts of what is said about the rest.
const CHECKPOINTS: [(&str, &str, &[&str]); 15] = [
    ("lightning.ckpt", "net", &["model.*", "criterion.*", "val_iou.*"]),
    ("ema_timm.ckpt", "other", &["model_ema.module.*", "an average of weights", "model.*"]),
    ("ema_basicsr.pth", "other", &["params_ema.*", "an average of weights", "params.*"]),
    ("ema_lucidrains.pt", "other", &["ema.ema_model.*", "an average of weights", "model.*"]),
    ("ema_dotless.ckpt", "mixed", &["an average of weights"]),
    ("ema_shadow.pth", "mixed", &["an average of weights"]),
    ("swa.pth", "net", &["n_averaged"]),
    ("compiled.pth", "net", &[]),
    ("list.pth", "net", &[]),
    ("gan.pth", "net", &["discriminator.*"]),
    ("shared.pth", "net", &[]),
    ("outside.pth", "net", &["segment.*", "refine.*"]),
    ("weight_norm.pth", "weight_norm", &[]),
    ("weight_norm_new.pth", "weight_norm_new", &[]),
    ("spectral_norm.pth", "spectral_norm", &[]),
];

#[test]
fn the_network_is_found_in_a_checkpoint_and_the_rest_is_named() {
    let vectors = Vectors::read("state_dicts/families/results");
    for (file, case, said) in CHECKPOINTS {
        let model = Model::open(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        assert_close(file, &run(&model, input), want, Tolerance::Network);
        let notes = model.notes.join("; ");
        assert_eq!(notes.is_empty(), said.is_empty(), "{file}: {notes}");
        said.iter().for_each(|part| assert!(notes.contains(part), "{file}: {part}: {notes}"));
    }
}

#[test]
fn several_networks_are_named_and_one_is_chosen() {
    let vectors = Vectors::read("state_dicts/families/results");
    let text = refusal("twice.pth").to_string();
    assert!(text.contains("G_A") && text.contains("G_B") && text.contains("--part"), "{text}");
    for (part, case) in [("G_A", "net"), ("G_B", "other")] {
        let model =
            Model::open_with(path("twice.pth"), &OpenOptions::default().with_part(part)).expect("one");
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        assert_close(part, &run(&model, input), want, Tolerance::Network);
    }
    let missing = Model::open_with(path("twice.pth"), &OpenOptions::default().with_part("G_C"));
    assert!(matches!(missing, Err(Error::UnknownName { .. })), "{missing:?}");
}

#[test]
fn a_network_with_layers_of_its_own_is_refused() {
    let error = refusal("changed.pth");
    assert!(matches!(error, Error::UnknownNetwork(_)), "{error:?}");
    assert!(error.to_string().contains("extra tensor attention.0.weight"), "{error}");
}

/// Files, and the family that they must be recognised as. The name before the dot is the case.
const FAMILIES: [(&str, &str); 24] = [
    ("imdn.pth", "IMDN"),
    ("imdn_same.pth", "IMDN"),
    ("tutorial.pth", "pyimagesearch UNet"),
    ("smp_efficientnet.safetensors", "segmentation_models.pytorch Unet"),
    ("smp_timm.safetensors", "segmentation_models.pytorch Unet"),
    ("torch_em.pt", "torch_em UNet2d"),
    ("torch_em_batch.pt", "torch_em UNet2d"),
    ("torch_em_group.pt", "torch_em UNet2d"),
    ("torch_em_plain.pt", "torch_em UNet2d"),
    ("lwnet.pth", "lwnet UNet"),
    ("lwnet_plain.pth", "lwnet UNet"),
    ("lwnet_two.pth", "lwnet WNet"),
    ("style.pth", "fast-neural-style TransformerNet"),
    ("dncnn.pth", "DnCNN"),
    ("dncnn_norm.pth", "DnCNN"),
    ("dncnn_saoyan.pth", "DnCNN"),
    ("ircnn.pth", "KAIR IRCNN"),
    ("fdncnn.pth", "KAIR FDnCNN"),
    ("ffdnet.pth", "KAIR FFDNet"),
    ("ffdnet_color.pth", "KAIR FFDNet"),
    ("spectral_norm_new.pth", "milesial Pytorch-UNet"),
    ("smp_mobilenet.safetensors", "segmentation_models.pytorch Unet"),
    ("smp_plus.safetensors", "segmentation_models.pytorch UnetPlusPlus"),
    ("smp_linknet.safetensors", "segmentation_models.pytorch Linknet"),
];

#[test]
fn further_families_give_pytorchs_results() {
    let vectors = Vectors::read("state_dicts/families/results");
    for (file, family) in FAMILIES {
        let model = Model::open(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(model.family, Some(family), "{file}");
        let case = file.split('.').next().expect("a name");
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
        assert_close(file, &run(&model, input), want, Tolerance::Network);
    }
}

fn decoder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/state_dicts/decoders");
    let file = format!("{name}.safetensors");
    // Those with a description have a folder of their own.
    let own = folder.join(name).join(&file);
    if own.exists() { own } else { folder.join(file) }
}

#[test]
fn decoders_of_segmentation_models_pytorch_give_its_results() {
    let vectors = Vectors::read("state_dicts/decoders/results");
    for (name, family, said) in [
        ("fpn", "FPN", ""),
        ("fpn_joined", "FPN", ""),
        ("psp", "PSPNet", ""),
        ("psp_deeper", "PSPNet", ""),
        ("deeplab", "DeepLabV3", "encoder_output_stride 8 and decoder_atrous_rates 12, 24, 36"),
        ("deeplab_efficient", "DeepLabV3", "encoder_output_stride 8"),
        ("deeplab_plus", "DeepLabV3Plus", "encoder_output_stride 16 and"),
        ("deeplab_plus_50", "DeepLabV3Plus", "encoder_output_stride 16 and"),
        ("deeplab_plus_timm", "DeepLabV3Plus", "encoder_output_stride 16 and"),
        ("deeplab_rates", "DeepLabV3Plus", ""),
        ("pan", "PAN", "encoder_output_stride 16, the library's own"),
        ("pan_efficient", "PAN", "encoder_output_stride 16"),
        ("upernet", "UPerNet", ""),
        ("upernet_shallow", "UPerNet", ""),
        ("segformer", "Segformer", ""),
        ("lite", "Unet", ""),
        ("efficient", "Unet", ""),
        ("features", "Unet", ""),
    ] {
        let model = Model::open(decoder(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(model.family, Some(format!("segmentation_models.pytorch {family}").as_str()), "{name}");
        let notes = model.notes.join("; ");
        assert!(notes.contains(said) && notes.is_empty() == said.is_empty(), "{name}: {notes}");
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{name}/{part}")));
        assert_close(name, &run(&model, input), want, Tolerance::Network);
        if let Some(gpu) = gpu() {
            let session = Session::new(&model, input.shape(), Device::Gpu(gpu)).expect(name);
            assert_close(name, &session.run(input).expect(name), want, Tolerance::Network);
        }
        // Sizes that the library itself refuses.
        let odd = Tensor::zeros(Shape { h: 131, w: 139, ..input.shape() });
        assert_eq!(run(&model, &odd).shape(), Shape { h: 131, w: 139, ..want.shape() }, "{name}");
    }
}

#[test]
fn each_decoder_runs_in_the_graph_of_an_export_of_it() {
    let vectors = Vectors::read("state_dicts/decoders/results");
    let refusal = Model::open(decoder("manet")).expect_err("no weights tell its attention");
    assert!(
        matches!(refusal, Error::UnknownNetwork(_)) && refusal.to_string().contains("MAnet"),
        "{refusal}"
    );
    for name in [
        "unet",
        "unet_plus",
        "linknet",
        "fpn",
        "psp",
        "deeplab",
        "deeplab_plus",
        "pan",
        "manet",
        "upernet_shallow",
        "segformer",
    ] {
        let export = decoder(name).with_extension("onnx");
        let options = OpenOptions::default().with_like(export);
        let model =
            Model::open_with(decoder(name), &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{name}/like_{part}")));
        assert_close(name, &run(&model, input), want, Tolerance::Network);
    }
}

#[test]
fn a_state_dict_runs_in_the_graph_of_an_export_of_the_same_code() {
    let vectors = Vectors::read("state_dicts/families/results");
    let open = |case: &str, export: &str| {
        Model::open_with(path(&format!("{case}.pth")), &OpenOptions::default().with_like(path(export)))
    };
    for export in ["like.onnx", "like_dynamo.onnx"] {
        for case in ["like", "like_other"] {
            let model = open(case, export).unwrap_or_else(|error| panic!("{case} in {export}: {error}"));
            let [input, want] = ["input", "output"].map(|part| vectors.get(&format!("{case}/{part}")));
            // The export has the usual epsilon in one of the norms only; its own weights tell which.
            let what = format!("{case} in {export}");
            match case {
                "like" => assert_close(&what, &run(&model, input), want, Tolerance::Network),
                _ => {
                    let got = run(&model, input);
                    let most =
                        got.data().iter().zip(want.data()).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                    assert!(most < 1e-2, "{what}: {most}");
                }
            }
            assert!(model.notes[0].contains("are filled"), "{:?}", model.notes);
        }
    }
    for (case, export, part) in [
        ("like", "like_nameless.onnx", "it is unclear which convolution"),
        ("style", "like.onnx", "no tensor of the state dict fits"),
        ("like", "like.pth", "expected an ONNX file"),
    ] {
        let text = open(case, export).err().unwrap_or_else(|| panic!("{case} in {export}")).to_string();
        assert!(text.contains(part), "{case} in {export}: {text}");
    }
}

#[test]
fn files_that_are_no_model_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let mut dicom = vec![0; 200];
    dicom[128..132].copy_from_slice(b"DICM");
    let cases: [(&str, &[u8], &str); 43] = [
        ("empty.onnx", b"", "an empty file"),
        ("lfs.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        ("page.pth", b"<!DOCTYPE html><html></html>", "a web page"),
        ("page.onnx", b"\n <HTML><head></head></HTML>", "a web page"),
        ("page.pt", b"<script></script><body></body>", "a web page"),
        ("keras.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0", "Keras"),
        ("weights.keras", b"\x89HDF\r\n\x1a\n\0\0\0\0", "HDF5"),
        ("net.tflite", b"\x1c\0\0\0TFL3\0\0\0\0\0\0\0\0", "TensorFlow Lite"),
        ("renamed.onnx", b"\x20\0\0\0TFL3\0\0\0\0\0\0\0\0", "TensorFlow Lite"),
        ("net.pte", b"\x20\0\0\0ET12\0\0\0\0", "ExecuTorch"),
        ("net.gguf", b"GGUF\x03\0\0\0", "GGUF"),
        ("net.plan", b"ftrt\0\0\0\0", "TensorRT"),
        ("net.engine", b"\x10\0\0\0{\"a\":1}", "TensorRT"),
        ("net.mlmodel", b"\x08\x04\x12\x10\x0a\x06", "Core ML"),
        ("net.mnn", b"\x30\0\0\0\0\0\x1e\0", "MNN"),
        ("net.pdmodel", b"\x0a\x10\x08\0", "PaddlePaddle"),
        ("net.pdparams", b"\x80\x04\x95\0", "paddle.onnx.export"),
        ("net.caffemodel", b"\x0a\x04VGG_", "Caffe"),
        ("saved_model.pb", b"\x08\x01\x12\x80\x01\x0a\x05serve", "TensorFlow"),
        ("frozen.pb", b"\x0a\x10\x0a\x05input", "TensorFlow"),
        ("net.xml", b"<?xml version=\"1.0\"?><net name=\"m\" version=\"11\"></net>", "OpenVINO"),
        ("ncnn.param.bin", b"\xdd\x85\x76\0\0\0\0\0", ".param"),
        ("alone.bin", b"\x47\x6b\x30\x01\0\0\0\0", "ncnn"),
        ("int8.bin", b"\x38\x4b\x0d\0\0\0\0\0", "int8"),
        ("net.mat", b"MATLAB 5.0 MAT-file", "MATLAB"),
        ("x.npy", b"\x93NUMPY\x01\0", "NumPy"),
        ("net.tar", &tar, "tar archive"),
        ("net.gz", b"\x1f\x8b\x08\0", "gzip"),
        ("net.xz", b"\xfd7zXZ\0", "xz"),
        ("net.7z", b"7z\xbc\xaf\x27\x1c", "7z"),
        ("net.zst", b"\x28\xb5\x2f\xfd\0", "zstd"),
        ("picture.pth", b"\x89PNG\r\n\x1a\n", "PNG"),
        ("picture.onnx", b"\xff\xd8\xff\xe0", "JPEG"),
        ("picture.tif", b"II*\0\x08\0\0\0", "TIFF"),
        ("picture.webp", b"RIFF\0\0\0\0WEBP", "WebP"),
        ("picture.dcm", &dicom, "DICOM"),
        ("picture.heic", b"\0\0\0\x18ftypheic", "HEIF"),
        ("paper.pdf", b"%PDF-1.7", "PDF"),
        ("program.exe", b"MZ\x90\0", "a program"),
        ("model.json", b"{\"format\": \"layers-model\", \"modelTopology\": {}}", "TensorFlow.js"),
        ("config.json", b"{\"a\": 1}", "JSON"),
        ("denied.txt", b"AccessDenied", "a text file"),
        ("noise.bin", b"\xfe\xdc\xba\x98\x76\x54\x32\x10\xff", "fe dc ba 98"),
    ];
    for (name, bytes, part) in cases {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).expect("it is written");
        let text = Model::open(&file).err().unwrap_or_else(|| panic!("{name} is read")).to_string();
        assert!(text.contains(part) && text.lines().count() == 1, "{name}: {part}: {text}");
        assert!(!text.contains("readable safetensors"), "{name}: {text}");
    }
    std::fs::write(folder.path().join("net.bin"), [0; 16]).expect("it is written");
    let text = Model::open(folder.path().join("net.bin")).expect_err("it is refused").to_string();
    assert!(text.contains("OpenVINO"), "{text}");
}

/// An archive of empty entries.
fn archive(names: &[&str]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::<u8>::new());
    for name in names {
        let start = (bytes.len() as u32).to_le_bytes();
        let len = (name.len() as u16).to_le_bytes();
        bytes.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend(len.iter().chain(&[0u8, 0]).chain(name.as_bytes()));
        directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        directory.extend(len.iter().chain(&[0u8; 12]).chain(&start).chain(name.as_bytes()));
    }
    let place = (bytes.len() as u32).to_le_bytes();
    let size = (directory.len() as u32).to_le_bytes();
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([names.len() as u8, 0, names.len() as u8, 0]);
    bytes.extend(size.iter().chain(&place).chain(&[0u8, 0]));
    bytes
}

#[test]
fn archives_and_folders_are_named_by_what_they_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    for (names, part) in [
        (&["config.json", "metadata.json", "model.weights.h5"][..], "a Keras model"),
        (&["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"], "a Core ML package"),
        (&["net/saved_model.pb", "net/variables/"], "a TensorFlow SavedModel"),
        (&["bioimageio.yaml", "weights.pt"], "a bioimage.io package"),
        (&["arr_0.npy"], "NumPy arrays"),
        (&["serialized_exported_program.json"], "torch.export"),
        (&["photo.txt"], "holds no data.pkl"),
    ] {
        let file = folder.path().join("net.zip");
        std::fs::write(&file, archive(names)).expect("it is written");
        let text = Model::open(&file).expect_err("it is refused").to_string();
        assert!(text.contains(part), "{part}: {text}");
    }
    for (names, part) in [
        (&["saved_model.pb"][..], "--saved-model"),
        (&["net.pdmodel", "net.pdiparams"], "PaddlePaddle"),
        (&["net.xml", "net.bin"], "OpenVINO"),
        (&["data.pkl", "version"], "unpacked PyTorch"),
        (&["config.json", "model.safetensors"], "such as"),
        (&[], "is a folder; expected a model file"),
    ] {
        let inner = tempfile::tempdir().expect("a folder");
        names.iter().for_each(|name| std::fs::write(inner.path().join(name), "").expect("it is written"));
        let text = Model::open(inner.path()).expect_err("it is refused").to_string();
        assert!(text.contains(part), "{part}: {text}");
    }
    let package = folder.path().join("net.mlpackage");
    std::fs::create_dir_all(package.join("Data/com.apple.CoreML")).expect("it is made");
    let text = Model::open(&package).expect_err("it is refused").to_string();
    assert!(text.contains("Core ML"), "{text}");
}

#[test]
fn networks_of_other_kinds_are_told_by_what_they_are() {
    for (names, part) in [
        (
            &["image_encoder.a.weight", "mask_decoder.b.weight", "prompt_encoder.c.weight"][..],
            "Segment Anything",
        ),
        (&["bb.layers.0.attn.relative_position_bias_table", "decoder.a.weight"], "BiRefNet"),
        (&["cls_token", "pos_embed", "blocks.0.attn.qkv.weight"], "vision transformer"),
        (&["model.22.dfl.conv.weight", "model.1.cv1.conv.weight"], "YOLO"),
        (
            &["text_model.encoder.layers.0.a.weight", "text_model.embeddings.position_embedding.weight"],
            "CLIP",
        ),
    ] {
        let tensors = names.iter().map(|name| (*name, &[1, 1][..], &[0.0][..]));
        let error = Model::from_state_dict(tensors).expect_err("it is refused");
        assert!(
            matches!(error, Error::UnknownNetwork(_)) && error.to_string().contains(part),
            "{part}: {error}"
        );
    }
}
