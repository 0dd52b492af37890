//! Model files: state dicts of other code bases, and bytes that are not a model.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use unet_wgpu::unet::{Norm, RandomWeights, UnetConfig, Upsample, Weights};
use unet_wgpu::{Error, Model, Result, Shape, Tensor, cpu};

/// A safetensors file in progress: metadata, and tensors with dtype, extents and bytes.
#[derive(Clone)]
struct File {
    metadata: Value,
    tensors: Vec<(String, &'static str, Vec<usize>, Vec<u8>)>,
    random: RandomWeights,
}

impl Weights for File {
    /// Draws random weights and records them.
    fn tensor(&mut self, name: &str, shape: Shape) -> Result<Arc<Tensor>> {
        let tensor = self.random.tensor(name, shape)?;
        let rank = match (shape.elements() == shape.n, name.starts_with("classifier")) {
            (true, _) => 1,
            (false, true) => 2,
            (false, false) => 4,
        };
        let extents = [shape.n, shape.c, shape.h, shape.w][..rank].to_vec();
        let bytes = tensor.data().iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors.push((name.into(), "F32", extents, bytes));
        Ok(tensor)
    }
}

impl File {
    /// A network with random weights under this project's names.
    fn new(config: &UnetConfig) -> File {
        let mut file = File { metadata: json!({}), tensors: Vec::new(), random: RandomWeights::new(7) };
        config.build(&mut file).unwrap();
        file.metadata = json!({ "unet.config": serde_json::to_string(config).unwrap() });
        file
    }

    /// The same tensors under other names, as other code bases write them: with counters beside the norms, without
    /// metadata.
    fn renamed(&self, name: impl Fn(&str) -> String) -> File {
        let mut file = self.clone();
        file.metadata = json!({});
        for tensor in &mut file.tensors {
            tensor.0 = name(&tensor.0);
        }
        let norms: Vec<String> =
            file.tensors.iter().filter_map(|t| Some(t.0.strip_suffix("running_var")?.to_string())).collect();
        for norm in norms {
            file.tensors.push((format!("{norm}num_batches_tracked"), "I64", vec![], vec![9; 8]));
        }
        // The order in a file does not matter.
        file.tensors.reverse();
        file
    }

    fn header(&self) -> Value {
        let mut header = json!({ "__metadata__": self.metadata });
        let mut start = 0;
        for (name, dtype, extents, bytes) in &self.tensors {
            let end = start + bytes.len();
            header[name] = json!({ "dtype": dtype, "shape": extents, "data_offsets": [start, end] });
            start = end;
        }
        header
    }

    fn with_header(&self, header: &str) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        self.tensors.iter().for_each(|(.., bytes)| file.extend(bytes));
        file
    }

    fn bytes(&self) -> Vec<u8> {
        self.with_header(&self.header().to_string())
    }

    fn find(&mut self, name: &str) -> &mut (String, &'static str, Vec<usize>, Vec<u8>) {
        self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
    }
}

fn message(bytes: &[u8]) -> String {
    match Model::from_safetensors(bytes) {
        Err(error @ (Error::Model(_) | Error::UnknownNetwork(_) | Error::Shape { .. })) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control) && text.chars().count() < 2000, "{text}");
            text
        }
        Err(other) => panic!("expected an error that tells of the file, got {other:?}"),
        Ok(_) => panic!("expected an error, but the file loads"),
    }
}

// ---- state dicts of other code bases ----

/// Splits a name of this project, `enc2.conv1.weight`, into level, layer and part: `("enc", 2, "conv1", "weight")`.
/// `output.weight` has no layer.
fn split(name: &str) -> (&str, usize, &str, &str) {
    let (module, part) = name.rsplit_once('.').unwrap();
    let (level, place) = module.split_once('.').unwrap_or((module, ""));
    let word = level.trim_end_matches(|c: char| c.is_ascii_digit());
    (word, level[word.len()..].parse().unwrap_or(0), place, part)
}

/// The index of a layer in the sequence conv, norm, activation, conv, norm, activation.
fn sequence(place: &str) -> usize {
    ["conv1", "norm1", "act1", "conv2", "norm2"].iter().position(|p| *p == place).unwrap()
}

/// A code base's name for a name of this project, in a network with a number of levels.
type Naming = fn(&str, usize) -> String;

const NAMINGS: [(&str, Naming); 8] = [
    ("the same", |name, _| name.into()),
    ("a word and a number, level in the layer's name", |name, _| match split(name) {
        ("enc", i, place, part) => format!("encoder{i}.enc{i}{place}.{part}"),
        ("bottleneck", _, place, part) => format!("bottleneck.bottleneck{place}.{part}"),
        ("dec", i, "up", part) => format!("upconv{i}.{part}"),
        ("dec", i, place, part) => format!("decoder{i}.dec{i}{place}.{part}"),
        (.., part) => format!("conv.{part}"),
    }),
    ("lists of sequences", |name, depth| match split(name) {
        ("enc", i, place, part) => format!("downs.{}.block.{}.{part}", i - 1, sequence(place)),
        ("bottleneck", _, place, part) => format!("bottleneck.block.{}.{part}", sequence(place)),
        ("dec", i, "up", part) => format!("ups.{}.up.{part}", depth - i),
        ("dec", i, place, part) => format!("ups.{}.conv.block.{}.{part}", depth - i, sequence(place)),
        (.., part) => format!("out_conv.{part}"),
    }),
    ("sequences in blocks, numbered from 0", |name, _| match split(name) {
        ("enc", i, place, part) => format!("enc{}.conv_block.conv.{}.{part}", i - 1, sequence(place)),
        ("bottleneck", _, place, part) => format!("bottleneck.conv_block.conv.{}.{part}", sequence(place)),
        ("dec", i, "up", part) => format!("dec{}.up.1.{part}", i - 1),
        ("dec", i, place, part) => format!("dec{}.conv_block.conv.{}.{part}", i - 1, sequence(place)),
        (.., part) => format!("final.{part}"),
    }),
    ("numbered as they run", |name, depth| match split(name) {
        ("enc", i, place, part) => format!("down{i}.{place}.{part}"),
        ("bottleneck", _, place, part) => format!("middle.{place}.{part}"),
        ("dec", i, place, part) => format!("up{}.{place}.{part}", depth + 1 - i),
        (.., part) => format!("head.{part}"),
    }),
    ("lists, deepest last", |name, _| match split(name) {
        ("enc", i, place, part) => format!("encoders.{i}.{place}.{part}"),
        ("bottleneck", _, place, part) => format!("bridge.{place}.{part}"),
        ("dec", i, "up", part) => format!("up_convs.{i}.{part}"),
        ("dec", i, place, part) => format!("decoders.{i}.{place}.{part}"),
        (.., part) => format!("outc.conv.{part}"),
    }),
    ("flat", |name, _| match split(name) {
        ("enc", i, place, part) => format!("enc{i}_{place}.{part}"),
        ("bottleneck", _, place, part) => format!("center_{place}.{part}"),
        ("dec", i, place, part) => format!("dec{i}_{place}.{part}"),
        (.., part) => format!("last_layer.{part}"),
    }),
    ("capitals", |name, _| match split(name) {
        ("enc", i, place, part) => format!("Down_{i}.{place}.{part}"),
        ("bottleneck", _, place, part) => format!("Bottleneck.{place}.{part}"),
        ("dec", i, "up", part) => format!("Up_{i}.Upsample.{part}"),
        ("dec", i, place, part) => format!("Up_{i}.{place}.{part}"),
        (.., part) => format!("Final.0.{part}"),
    }),
];

/// Checks that the file under another naming gives the same configuration and the same numbers.
#[track_caller]
fn assert_inferred(what: &str, config: &UnetConfig, naming: impl Fn(&str) -> String) {
    let file = File::new(config);
    let ours = Model::from_safetensors(&file.bytes()).unwrap();
    let renamed = file.renamed(naming);
    let theirs = Model::from_safetensors(&renamed.bytes()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let up = config.decoder.iter().scan(config.bottleneck, |from, &to| Some(std::mem::replace(from, to)));
    let up = config.up.clone().or_else(|| (!config.decoder.is_empty()).then(|| up.collect()));
    assert_eq!(theirs.config.clone().unwrap(), config.clone().with_up(up), "{what}");
    let input = Tensor::random(Shape::new(1, config.in_channels, 9, 14), 1);
    let run = |model: &Model| cpu::run(&model.graph(input.shape()).unwrap(), &input).unwrap();
    assert_eq!(run(&theirs), run(&ours), "{what}");
}

#[test]
fn the_same_weights_by_other_names_give_the_same_result() {
    let base = || UnetConfig::new(3, 2, &[4, 6, 8], 10, &[8, 6, 4]);
    let configs = [
        base(),
        base().with_bias(false).with_up(Some(vec![8, 6, 4])),
        base().with_norm(Norm::None),
        base().with_upsample(Upsample::NearestConv),
        base().with_upsample(Upsample::BilinearConv1x1).with_up(Some(vec![7, 5, 3])),
        UnetConfig::new(1, 1, &[4], 8, &[4]),
        // As many channels after the first decoder level as after the last.
        UnetConfig::new(3, 3, &[4, 5, 6], 8, &[4, 6, 4]),
    ];
    for config in configs {
        for (what, naming) in NAMINGS {
            // If up-sampling and convolutions are both 3x3, the name must tell the up-sampling.
            assert_inferred(&format!("{what}, {config:?}"), &config, |name| {
                naming(name, config.encoder.len())
            });
        }
    }
}

#[test]
fn where_shapes_leave_the_order_open_lists_run_in_order_and_names_count_as_the_encoder_does() {
    let config = UnetConfig::new(4, 4, &[4, 4, 4], 4, &[4, 4, 4]);
    for at in [0, 1, 2, 3, 6] {
        let (what, naming) = NAMINGS[at];
        assert_inferred(what, &config, |name| naming(name, 3));
    }
}

#[test]
fn ten_and_more_layers_sort_by_number() {
    let config = UnetConfig::new(3, 3, &[4, 5], 6, &[5, 4]);
    assert_inferred("wide numbers", &config, |name| match split(name) {
        ("output", ..) | (.., "up", _) => name.into(),
        (word, i, place, part) => format!("{word}{i}.block.{}.{part}", sequence(place) + 8),
    });
}

#[test]
fn classifiers_are_found() {
    let config = UnetConfig::new(3, 5, &[4, 6], 8, &[]);
    for head in ["classifier", "fc", "head", "classifier.1", "linear"] {
        assert_inferred(head, &config, |name| name.replace("classifier", head));
    }
}

#[test]
fn state_dicts_of_another_family_are_refused_with_what_does_not_fit() {
    let config = UnetConfig::new(3, 2, &[4, 6], 8, &[6, 4]);
    let file = File::new(&config);
    let with = |name: fn(&str) -> String| message(&file.renamed(name).bytes());
    let activation_before_norm = |name: &str| match split(name) {
        ("output", ..) | (.., "up", _) => name.to_string(),
        (word, i, place, part) => format!("{word}{i}.block.{}.{part}", [0, 2, 1, 3, 5][sequence(place)]),
    };
    for (text, part) in [
        (with(|name| name.replace("enc1", "stem")), "stem.conv1 belongs to no level"),
        (with(|name| name.replace("bottleneck", "enc3")), "no encoder levels with a bottleneck"),
        (with(|name| name.replace("output", "enc1.side")), "no output layer"),
        (with(|name| name.replace("output", "dec1.conv3")), "no output layer"),
        (with(|name| name.replace("dec2", "dec1.again")), "decoder level 1 has 5 convolutions"),
        (with(activation_before_norm), "enc1.block.2 does not directly follow enc1.block.0"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let unnamed = File::new(&config.with_upsample(Upsample::NearestConv));
    let text = message(&unnamed.renamed(|name| name.replace(".up.", ".conv0.")).bytes());
    assert!(text.contains("decoder level 1 has 3 convolutions and 2 norms, expected 2 of both"), "{text}");
    let mut prelu = file.renamed(str::to_string);
    prelu.tensors.push(("enc1.act1.weight".into(), "F32", vec![1], vec![0; 4]));
    assert!(
        message(&prelu.bytes())
            .contains("encoder level 1 has 2 convolutions and 3 norms, expected 2 of both")
    );
}

#[test]
fn sixteen_bit_weights_load() {
    let config = UnetConfig::new(2, 2, &[3], 4, &[3]);
    let input = Tensor::random(Shape::new(1, 2, 6, 6), 2);
    for dtype in ["F16", "BF16"] {
        let (mut short, mut long) = (File::new(&config), File::new(&config));
        for (short, long) in short.tensors.iter_mut().zip(&mut long.tensors) {
            let floats = long.3.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            let pairs: Vec<([u8; 2], f32)> = floats
                .map(|v| match dtype {
                    "F16" => (half::f16::from_f32(v).to_le_bytes(), half::f16::from_f32(v).to_f32()),
                    _ => (half::bf16::from_f32(v).to_le_bytes(), half::bf16::from_f32(v).to_f32()),
                })
                .collect();
            (short.1, short.3) = (dtype, pairs.iter().flat_map(|p| p.0).collect());
            long.3 = pairs.iter().flat_map(|p| p.1.to_le_bytes()).collect();
        }
        let run = |file: &File| {
            cpu::run(&Model::from_safetensors(&file.bytes()).unwrap().graph(input.shape()).unwrap(), &input)
                .unwrap()
        };
        assert_eq!(run(&short), run(&long), "{dtype}");
        assert_ne!(run(&short), run(&File::new(&config)), "{dtype}: rounded");
    }
}

// ---- hostile bytes ----

fn small() -> File {
    File::new(&UnetConfig::new(2, 2, &[2], 3, &[2]))
}

/// Two small files: with a configuration, and without.
pub(crate) fn small_files() -> [Vec<u8>; 2] {
    [small().bytes(), small().renamed(str::to_string).bytes()]
}

#[test]
fn headers_that_do_not_add_up_are_refused() {
    let file = small();
    let whole = file.bytes();
    for claimed in [u64::MAX, 1 << 63, 100_000_001, 99_999_999, whole.len() as u64, whole.len() as u64 - 7] {
        let text = message(&[&claimed.to_le_bytes(), &whole[8..]].concat());
        assert!(text.contains(&claimed.to_string()), "{text}");
    }

    let header = file.header();
    let (first, second) = ("enc1.conv1.weight", "enc1.conv1.bias");
    let change = |name: &str, key: &str, value: Value| {
        let mut header = header.clone();
        header[name][key] = value;
        file.with_header(&header.to_string())
    };
    let [start, end] = serde_json::from_value::<[u64; 2]>(header[second]["data_offsets"].clone()).unwrap();
    for offsets in [[0, end - start], [start - 4, end], [start + 4, end], [end, start], [start, u64::MAX]] {
        message(&change(second, "data_offsets", json!(offsets)));
    }
    for shape in
        [json!([1u64 << 32, 1u64 << 32, 3, 3]), json!([u64::MAX, 2]), json!([-1]), json!([0]), json!([])]
    {
        message(&change(first, "shape", shape));
    }
    message(&change(first, "shape", json!(vec![1; 100_000])));
    message(&change(first, "dtype", json!("F99")));
    // Eight tensors of 2^61 bytes each, and no data.
    let mut claims = json!({});
    for i in 0..8u64 {
        let end = (i + 1).saturating_mul(1 << 61).min(u64::MAX - 7);
        claims[format!("enc{i}.weight")] =
            json!({ "dtype": "U8", "shape": [end - (i << 61)], "data_offsets": [i << 61, end] });
    }
    message(&File { tensors: vec![], ..small() }.with_header(&claims.to_string()));

    let text = header.to_string();
    let entry = format!("\"{first}\":{}", header[first]);
    let twice = text.replacen(&entry, &format!("{entry},{entry}"), 1);
    let text = message(&file.with_header(&twice));
    assert!(text.contains("enc1.conv1.weight twice"), "{text}");
    for header in ["", "{}", "[]", "null", "{\"__metadata__\":{}}", &"[".repeat(1 << 20), "{\"a\":\u{0}}"] {
        message(&file.with_header(header));
        message(&File { tensors: vec![], ..small() }.with_header(header));
    }
}

#[test]
fn configurations_that_ask_for_much_take_nothing_before_the_tensor_is_found() {
    let mut file = small();
    let wide = |depth| UnetConfig::new(65536, 65536, &vec![65536; depth], 65536, &vec![65536; depth]);
    for config in [wide(1), wide(6), UnetConfig::new(2, 2, &[2], 65536, &[2])] {
        file.metadata = json!({ "unet.config": serde_json::to_string(&config).unwrap() });
        let text = message(&file.bytes());
        assert!(text.contains("expected (65536,"), "{text}");
    }
    for config in [wide(7), wide(100_000), UnetConfig::new(usize::MAX, 2, &[2], 2, &[2])] {
        file.metadata = json!({ "unet.config": serde_json::to_string(&config).unwrap() });
        message(&file.bytes());
    }
    for json in ["", "[]", "{", "{\"in_channels\":1e99}", "{\"\\n\\u001b[31m\":1}"] {
        file.metadata = json!({ "unet.config": json });
        assert!(message(&file.bytes()).contains("unet.config"));
    }
}

#[test]
fn errors_name_the_tensor_what_was_expected_and_what_came() {
    let refused = |change: &dyn Fn(&mut File)| {
        let mut file = small();
        change(&mut file);
        message(&file.bytes())
    };
    let values = |name: &'static str, value: f32| {
        refused(&move |file| {
            let bytes = &mut file.find(name).3;
            bytes[..4].copy_from_slice(&value.to_le_bytes());
        })
    };
    assert_eq!(values("dec1.up.weight", f32::NAN), "tensor dec1.up.weight holds NaN; weights must be finite");
    assert_eq!(
        values("output.bias", f32::NEG_INFINITY),
        "tensor output.bias holds -inf; weights must be finite"
    );
    assert_eq!(
        values("enc1.norm1.running_var", -1.0),
        "tensor enc1.norm1.running_var holds -1; a variance is not negative"
    );
    assert_eq!(
        refused(&|file| file.find("enc1.conv1.bias").1 = "I32"),
        "tensor enc1.conv1.bias has dtype I32; expected F64, F32, F16 or BF16"
    );
    assert_eq!(
        refused(&|file| file.find("enc1.conv1.weight").2 = vec![2, 2, 9]),
        "tensor enc1.conv1.weight: expected (2,2,3,3), got (2,2,9)"
    );
    assert_eq!(
        refused(&|file| file.tensors.retain(|t| t.0 != "output.weight")),
        "missing tensor output.weight, expected with shape (2,2)"
    );
    assert_eq!(
        refused(&|file| file.tensors.push(("a\nb".into(), "F32", vec![1], vec![0; 4]))),
        "extra tensor a b (1 in all) has no place in the architecture"
    );
    let long = refused(&|file| file.tensors.push(("x".repeat(1 << 20), "F32", vec![1], vec![0; 4])));
    assert!(long.starts_with("extra tensor xxx") && long.len() < 1000);
}

#[test]
fn folders_pipes_and_huge_files_are_refused_without_reading_them() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| match Model::open(path) {
        Err(error @ (Error::Model(_) | Error::Io { .. })) => error.to_string(),
        other => panic!("{}: {:?}", path.display(), other.err()),
    };
    let text = refused(folder.path());
    assert!(text.ends_with("is a folder; expected a model file"), "{text}");
    let missing = folder.path().join("missing.safetensors");
    assert!(matches!(Model::open(&missing), Err(Error::Io { .. })));

    // Both have a length of 1 TiB but take no space on the disk.
    let huge = folder.path().join("huge.safetensors");
    for start in [vec![b'x'; 64], small().bytes()] {
        std::fs::write(&huge, &start).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&huge).unwrap();
        // File systems without sparse files cannot run this test.
        if file.set_len(1 << 40).is_ok() {
            let text = refused(&huge);
            assert!(text.contains("huge.safetensors: not a readable safetensors file"), "{text}");
        }
    }
    #[cfg(unix)]
    {
        let text = refused(Path::new("/dev/zero"));
        assert_eq!(text, "/dev/zero: is not a regular file; expected a model file");
        let pipe = folder.path().join("pipe");
        if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
            assert!(refused(&pipe).ends_with("is not a regular file; expected a model file"));
        }
    }
    let good = folder.path().join("good.safetensors");
    std::fs::write(&good, small().bytes()).unwrap();
    Model::open(&good).unwrap();
}
