//! ONNX files, written by hand, that ask for the impossible: each gives an error that names the cause, or stays small.

use super::survives;
use unet_wgpu::{Error, Model};

// ---- protobuf ----

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value > 127 {
        to.push(value as u8 | 128);
        value >>= 7;
    }
    to.push(value as u8);
}

fn int(tag: u64, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(tag << 3, &mut out);
    varint(value as u64, &mut out);
    out
}

fn bytes(tag: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    varint(tag << 3 | 2, &mut out);
    varint(content.as_ref().len() as u64, &mut out);
    out.extend(content.as_ref());
    out
}

fn fields<T: Into<Vec<u8>>>(parts: impl IntoIterator<Item = T>) -> Vec<u8> {
    parts.into_iter().flat_map(Into::into).collect()
}

// ---- ONNX's messages ----

fn attribute(name: &str, value: Vec<u8>) -> Vec<u8> {
    bytes(5, [bytes(1, name), value].concat())
}

fn whole(name: &str, value: i64) -> Vec<u8> {
    attribute(name, int(3, value))
}

fn list(name: &str, values: &[i64]) -> Vec<u8> {
    attribute(name, fields(values.iter().map(|&v| int(8, v))))
}

fn text(name: &str, value: &str) -> Vec<u8> {
    attribute(name, bytes(4, value))
}

/// A node of a graph. Inputs and outputs are separated by blanks.
fn node(op: &str, inputs: &str, outputs: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let names = |tag, names: &str| {
        fields(names.split_whitespace().map(|name| bytes(tag, if name == "-" { "" } else { name })))
    };
    bytes(1, [names(1, inputs), names(2, outputs), bytes(4, op), attributes.concat()].concat())
}

fn tensor(name: &str, kind: i64, dims: &[i64], raw: &[u8]) -> Vec<u8> {
    [fields(dims.iter().map(|&d| int(1, d))), int(2, kind), bytes(8, name), bytes(9, raw)].concat()
}

/// An initializer of integers.
fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes(5, tensor(name, 7, &[values.len() as i64], &raw))
}

/// An initializer of floats.
fn floats(name: &str, dims: &[i64], values: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes(5, tensor(name, 1, dims, &raw))
}

fn value(tag: u64, name: &str, dims: &[i64]) -> Vec<u8> {
    let shape = fields(dims.iter().map(|&d| bytes(1, int(1, d))));
    let kind = bytes(1, [int(1, 1), bytes(2, shape)].concat());
    bytes(tag, [bytes(1, name), bytes(2, kind)].concat())
}

/// A network with a picture `x` of 3 channels and any size, and a result `y`.
fn model(parts: &[Vec<u8>]) -> Vec<u8> {
    whole_model(&[parts.concat(), value(11, "x", &[1, 3, 0, 0]), value(12, "y", &[])].concat())
}

fn whole_model(graph: &[u8]) -> Vec<u8> {
    [int(1, 8), bytes(7, graph), bytes(8, int(2, 17))].concat()
}

#[track_caller]
fn refused(file: &[u8], part: &str) {
    let what = format!("a file of {} bytes, expected «{part}»", file.len());
    assert!(!survives(&what, || Model::from_onnx(file)), "{what}: loads");
    let error = Model::from_onnx(file).expect_err("it was refused just now").to_string();
    assert!(error.contains(part), "«{part}» is not in: {error}");
}

// ---- what is asked ----

#[test]
fn the_writer_of_these_files_writes_onnx() {
    let file = model(&[node("Relu", "x", "y", &[])]);
    assert!(survives("a ReLU", || Model::from_onnx(&file)));
}

#[test]
fn graphs_without_rhyme_or_reason() {
    let relu = |from: &str, to: &str| node("Relu", from, to, &[]);
    refused(&whole_model(&[]), "");
    refused(&whole_model(&relu("x", "y")), "an input for a picture");
    refused(
        &whole_model(&[relu("x", "y"), value(11, "x", &[1, 3, 0, 0])].concat()),
        "no node makes the network's output",
    );
    refused(&model(&[]), "no node makes the network's output");
    refused(&model(&[relu("x", "z")]), "no node makes the network's output");
    // A node that reads a later one, cycles, one that reads itself.
    assert!(survives("nodes out of order", || Model::from_onnx(&model(&[relu("z", "y"), relu("x", "z")]))));
    refused(
        &model(&[node("Add", "x b", "a", &[]), relu("a", "b"), relu("b", "y")]),
        "read each other's results in a circle: b, a",
    );
    refused(&model(&[relu("y", "y")]), "in a circle: y");
    let long = (0..40_000).map(|i| relu(&format!("t{i}"), &format!("t{}", (i + 1) % 40_000)));
    refused(&model(&[fields(long), relu("t0", "y")]), "in a circle");
    refused(&model(&[relu("x", "y"), relu("x", "y")]), "y is made twice");
    refused(&model(&[relu("x", "x"), relu("x", "y")]), "x is made twice");
    refused(
        &model(&[floats("w", &[1], &[1.0]), floats("w", &[1], &[2.0]), node("Mul", "x w", "y", &[])]),
        "w is made twice",
    );
    refused(&model(&[ints("w", &[1]), relu("w", "y")]), "does not depend on its input");
}

#[test]
fn what_is_unknown_is_named() {
    refused(&model(&[node("Frobnicate", "x", "y", &[])]), "y (Frobnicate): operator Frobnicate of opset 17");
    let foreign = bytes(1, [bytes(1, "x"), bytes(2, "y"), bytes(4, "Relu"), bytes(7, "com.acme")].concat());
    refused(&model(&[foreign]), "operator com.acme.Relu of opset 17");
    refused(
        &model(&[
            node("Resize", "x - s", "y", &[text("mode", "lanczos")]),
            floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]),
        ]),
        "attribute mode",
    );
    refused(
        &model(&[
            node("Resize", "x - s", "y", &[whole("antialias", 1)]),
            floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]),
        ]),
        "attribute antialias",
    );
    refused(
        &model(&[node("MaxPool", "x", "y", &[list("kernel_shape", &[2, 2]), text("auto_pad", "MAYBE")])]),
        "attribute auto_pad",
    );
}

#[test]
fn external_data_stays_beside_the_model() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("inner")).expect("a folder");
    std::fs::write(folder.path().join("secret.bin"), [0; 64]).expect("it is written");
    std::fs::write(folder.path().join("inner/short.bin"), [0; 10]).expect("it is written");
    std::fs::write(folder.path().join("inner/weights.bin"), [0; 64]).expect("it is written");
    let absolute = folder.path().join("secret.bin").display().to_string();
    let file = folder.path().join("inner/model.onnx");
    let entry = |key: &str, value: &str| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    let open = |dims: &[i64], location: &str, offset: &str, copies: usize| {
        let outside = |i| {
            let dims = fields(dims.iter().map(|&d| int(1, d)));
            let place = [entry("location", location), entry("offset", offset)].concat();
            bytes(5, [dims, int(2, 1), bytes(8, format!("w{i}")), place, int(14, 1)].concat())
        };
        let outside = fields((0..copies).map(outside));
        std::fs::write(&file, model(&[outside, node("Mul", "x w0", "y", &[])])).expect("it is written");
        match Model::open(&file) {
            Ok(_) => String::new(),
            Err(error @ (Error::Model(_) | Error::Shape { .. } | Error::Io { .. })) => error.to_string(),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(open(&[1], "weights.bin", "0", 1), "");
    for (dims, location, offset, copies, part) in [
        (&[1][..], "../secret.bin", "0", 1, "expected a file beside the model"),
        (&[1], "a/../../secret.bin", "0", 1, "expected a file beside the model"),
        (&[1], absolute.as_str(), "0", 1, "expected a file beside the model"),
        (&[1], "", "0", 1, "expected a file beside the model"),
        (&[1], "missing.bin", "0", 1, "missing.bin"),
        (&[1], ".", "0", 1, ""),
        (&[4], "short.bin", "0", 1, "short.bin"),
        (&[1], "weights.bin", "61", 1, "a file of 64 bytes"),
        (&[1], "weights.bin", "18446744073709551615", 1, "a file of 64 bytes"),
        (&[1], "weights.bin", "-1", 1, "a number"),
        (&[1 << 40], "weights.bin", "0", 1, "a file of 64 bytes"),
        (&[1 << 40, 1 << 40], "weights.bin", "0", 1, "tensor w0"),
        // The same bytes many times: a file of kilobytes that asks for gigabytes.
        (&[16], "weights.bin", "0", 100, "more often than"),
    ] {
        let message = open(dims, location, offset, copies);
        assert!(!message.is_empty() && message.contains(part), "{location}: «{part}» is not in: {message}");
    }
}

#[test]
fn sizes_beyond_reason() {
    let huge = i64::MAX;
    // Tensors that claim more data than they have.
    for dims in
        [&[huge, huge][..], &[-1, 3], &[1 << 32, 1 << 32], &[0, huge, huge], &[huge, huge, 0], &[1; 1000]]
    {
        let tensor = bytes(5, tensor("w", 1, dims, &[0; 12]));
        refused(&model(&[tensor, node("Mul", "x w", "y", &[])]), "tensor w");
    }
    // An input that no machine can hold.
    for dims in [
        &[1, huge, 0, 0][..],
        &[huge, 3, 0, 0],
        &[1, 3, huge, huge],
        &[1, 1 << 30, 1 << 30, 1 << 30],
        &[huge],
        &[huge; 6],
        &[2; 40],
    ] {
        let graph = [node("Relu", "x", "y", &[]), value(11, "x", dims), value(12, "y", &[])].concat();
        refused(&whole_model(&graph), "");
    }
    let shaped = |op: &str, shape: &[i64]| {
        model(&[ints("s", shape), node(op, "s", "c", &[]), node("Add", "x c", "y", &[])])
    };
    refused(&shaped("ConstantOfShape", &[1_000_000_000]), "computed constant");
    refused(&shaped("ConstantOfShape", &[huge, huge, 0]), "c (ConstantOfShape)");
    refused(&shaped("ConstantOfShape", &[-5]), "c (ConstantOfShape)");
    let binary = |op: &str, list: &[i64], on: &str| {
        model(&[
            ints("s", list),
            floats("w", &[1], &[1.0]),
            node(op, &format!("{on} s"), "c", &[]),
            node("Add", "x c", "y", &[]),
        ])
    };
    for on in ["x", "w"] {
        // A view of a picture costs nothing until something reads it.
        let expand = if on == "w" { "Expand" } else { "" };
        let many = binary("Expand", &[1_000_000_000, 1, 1, 1, 1], on);
        match on {
            "w" => refused(&many, expand),
            _ => assert!(survives("a view of a billion pictures", || Model::from_onnx(&many))),
        }
        refused(&binary("Expand", &[huge, huge, huge, huge, 1, 1, 1, 1], on), expand);
        refused(&binary("Expand", &[1; 1000], on), expand);
        refused(&binary("Expand", &[-1], on), expand);
        refused(&binary("Tile", &[huge; 4], on), "Tile");
        refused(&binary("Tile", &[-1], on), "Tile");
        refused(&binary("Unsqueeze", &[huge], on), "Unsqueeze");
        refused(&binary("Unsqueeze", &[0; 100_000], on), "Unsqueeze");
    }
    refused(&binary("Tile", &[1_000_000_000], "w"), "Tile");
    let range = |from, to, step| {
        let numbers = [("a", from), ("b", to), ("d", step)].map(|(name, v)| floats(name, &[], &[v])).concat();
        model(&[numbers, node("Range", "a b d", "c", &[]), node("Add", "x c", "y", &[])])
    };
    refused(&range(0.0, 1e9, 1.0), "computed constant");
    refused(&range(0.0, 1.0, 0.0), "Range");
    refused(&range(0.0, f32::INFINITY, 1.0), "Range");
    refused(&range(0.0, 1.0, 1e-38), "Range");
    for pads in [
        &[0, 0, 1_000_000_000, 0, 0, 0, 0, 0],
        &[0, 0, huge, 0, 0, 0, huge, 0],
        &[0, 0, i64::MIN, 0, 0, 0, -1, 0],
        &[0, 0, -9999, 0, 0, 0, 0, 0],
    ] {
        refused(&binary("Pad", pads, "x"), "");
    }
    // Many constants, each within the limits.
    let many = (0..1000).map(|i| node("ConstantOfShape", "s", &format!("c{i}"), &[]));
    refused(
        &model(&[ints("s", &[1 << 21]), fields(many), node("Relu", "x", "y", &[])]),
        "computed constants",
    );
    // Much work on few constants: each of these sums eight million numbers.
    let sums = (0..2000).map(|i| node("ReduceSum", "c", &format!("s{i}"), &[]));
    let wide = [ints("s", &[1 << 21]), node("ConstantOfShape", "s", "c", &[]), fields(sums)].concat();
    refused(&model(&[wide, node("Relu", "x", "y", &[])]), "computed constants");
}

#[test]
fn attributes_beyond_reason() {
    let huge = i64::MAX;
    let on_picture = |op: &str, attributes: &[Vec<u8>]| model(&[node(op, "x", "y", attributes)]);
    let shape = |list: &[i64]| model(&[ints("s", list), node("Reshape", "x s", "y", &[])]);
    refused(&shape(&[1, -1, -1]), "Reshape");
    refused(&shape(&[-2]), "Reshape");
    refused(&shape(&[huge, huge]), "Reshape");
    refused(&shape(&[0; 9]), "Reshape");
    refused(&on_picture("Split", &[whole("axis", 1), whole("num_outputs", huge)]), "Split");
    refused(&on_picture("Split", &[whole("axis", 1), whole("num_outputs", -1)]), "Split");
    refused(&on_picture("Softmax", &[whole("axis", 4)]), "one of 4");
    refused(&on_picture("Softmax", &[whole("axis", i64::MIN)]), "one of 4");
    refused(&on_picture("Concat", &[whole("axis", -5)]), "one of 4");
    refused(&on_picture("Flatten", &[whole("axis", 9)]), "one of 4");
    refused(&on_picture("Transpose", &[list("perm", &[0, 0, 1, 2])]), "Transpose");
    refused(&on_picture("Transpose", &[list("perm", &[0, 1, 2, huge])]), "Transpose");
    refused(&on_picture("ReduceMean", &[list("axes", &[2, 2])]), "ReduceMean");
    refused(&on_picture("DepthToSpace", &[whole("blocksize", 0)]), "DepthToSpace");
    refused(&on_picture("DepthToSpace", &[whole("blocksize", huge)]), "DepthToSpace");
    refused(&on_picture("SpaceToDepth", &[whole("blocksize", huge)]), "SpaceToDepth");
    let twos = || list("kernel_shape", &[2, 2]);
    for (name, values) in [
        ("strides", [0, 0]),
        ("strides", [huge, huge]),
        ("strides", [-1, -1]),
        ("dilations", [0, 0]),
        ("dilations", [huge, huge]),
        ("kernel_shape", [0, 0]),
        ("kernel_shape", [huge, huge]),
    ] {
        for padding in ["NOTSET", "SAME_UPPER", "VALID"] {
            refused(
                &on_picture("MaxPool", &[list(name, &values), twos(), text("auto_pad", padding)]),
                "MaxPool",
            );
            refused(
                &on_picture("AveragePool", &[list(name, &values), twos(), text("auto_pad", padding)]),
                "AveragePool",
            );
        }
    }
    refused(&on_picture("MaxPool", &[twos(), list("pads", &[huge; 4])]), "MaxPool");
    refused(&on_picture("MaxPool", &[twos(), list("pads", &[-1; 4])]), "MaxPool");

    let weight = || floats("w", &[3, 3, 1, 1], &[0.5; 9]);
    let conv = |op: &str, attributes: &[Vec<u8>]| model(&[weight(), node(op, "x w", "y", attributes)]);
    for op in ["Conv", "ConvTranspose"] {
        for (name, value) in [("group", 0), ("group", -1), ("group", huge), ("group", 2)] {
            refused(&conv(op, &[whole(name, value)]), op);
        }
        for (name, values) in [
            ("strides", &[0, 0][..]),
            ("strides", &[huge, huge]),
            ("dilations", &[huge, 0]),
            ("pads", &[huge; 4]),
            ("pads", &[huge, 0, 0, 0]),
            ("strides", &[1, 1, 1]),
        ] {
            for padding in ["NOTSET", "SAME_LOWER"] {
                let is_moot = name == "pads" && padding != "NOTSET";
                if !is_moot {
                    refused(&conv(op, &[list(name, values), text("auto_pad", padding)]), op);
                }
            }
        }
    }
    refused(&conv("ConvTranspose", &[list("output_padding", &[huge, huge])]), "ConvTranspose");
    refused(&conv("ConvTranspose", &[list("output_shape", &[huge, huge])]), "ConvTranspose");
    refused(&conv("ConvTranspose", &[list("output_shape", &[])]), "ConvTranspose");

    let scaled = |scale: f32| {
        model(&[floats("s", &[4], &[1.0, 1.0, scale, scale]), node("Resize", "x - s", "y", &[])])
    };
    for scale in [f32::INFINITY, f32::NEG_INFINITY, 0.0, -2.0, 1e9, 1e-30, f32::MAX] {
        refused(&scaled(scale), "Resize");
    }
    refused(&scaled(f32::NAN), "NaN");
    let sized = |size: &[i64]| model(&[ints("s", size), node("Resize", "x - - s", "y", &[])]);
    for size in [&[1, 3, 0, 0][..], &[1, 3, -1, 5], &[1, 3, huge, huge], &[1, 3], &[huge, 3, 8, 8]] {
        refused(&sized(size), "Resize");
    }
    for index in [3, -4, huge, i64::MIN] {
        refused(&model(&[ints("i", &[index]), node("Gather", "x i", "y", &[whole("axis", 1)])]), "Gather");
        refused(
            &model(&[
                ints("i", &[index]),
                ints("v", &[1, 2, 3]),
                node("Gather", "v i", "c", &[]),
                node("Add", "x c", "y", &[]),
            ]),
            "Gather",
        );
    }
    // The same axis sliced a hundred thousand times.
    let axes = vec![1; 100_000];
    let slice = [ints("s", &vec![0; 100_000]), ints("e", &vec![3; 100_000]), ints("a", &axes)].concat();
    refused(&model(&[slice, node("Slice", "x s e a", "y", &[])]), "Slice");
    let step = |step: i64| {
        model(&[
            ints("s", &[0]),
            ints("e", &[huge]),
            ints("a", &[2]),
            ints("t", &[step]),
            node("Slice", "x s e a t", "y", &[]),
        ])
    };
    refused(&step(0), "Slice");
    assert!(survives("a slice of one row", || Model::from_onnx(&step(huge))));
    refused(&step(i64::MIN), "does not depend on its input");
    // Keys with fewer axes than queries.
    refused(&model(&[ints("k", &[1]), node("Attention", "x k k", "y", &[])]), "Attention");
}

#[test]
fn parts_without_end() {
    // A picture cut into its columns, as often as the file asks.
    let cut = (0..3000).map(|i| node("SplitToSequence", "c", &format!("q{i}"), &[]));
    let wide = [ints("s", &[1 << 20]), node("ConstantOfShape", "s", "c", &[]), fields(cut)].concat();
    refused(&model(&[wide, node("Relu", "x", "y", &[])]), "SplitToSequence");
    // A sum of a hundred thousand pictures.
    refused(&model(&[node("Sum", &"x ".repeat(100_000), "y", &[])]), "more than");
    // Nodes that take two bytes of the file and a hundred bytes of memory each.
    let empty = bytes(1, []).repeat(4 << 20);
    refused(&model(&[empty]), "more than");
}

#[test]
fn many_nodes_are_read_soon() {
    let names: Vec<String> = (0..16_000).map(|i| format!("t{i}")).collect();
    let chain = |pair: &[String]| node("Relu", &pair[0], &pair[1], &[]);
    let nodes = fields(names.windows(2).map(chain));
    let ends = [node("Relu", "x", "t0", &[]), node("Relu", "t15999", "y", &[])].concat();
    assert!(survives("a chain of 16,000 nodes", || Model::from_onnx(&model(&[ends.clone(), nodes.clone()]))));
}

#[test]
fn graphs_inside_graphs() {
    let mut inner = node("Relu", "x", "y", &[]);
    let condition = bytes(5, tensor("yes", 9, &[], &[1]));
    for depth in 1..60 {
        let graph = [inner.clone(), value(12, "y", &[])].concat();
        let branch = |name| attribute(name, bytes(6, &graph));
        inner = node("If", "yes", "y", &[branch("then_branch"), attribute("else_branch", bytes(6, []))]);
        let file = model(&[condition.clone(), inner.clone()]);
        match depth {
            ..=16 => assert!(survives("graphs inside graphs", || Model::from_onnx(&file)), "{depth} deep"),
            _ => refused(&file, ""),
        }
    }
    let lost = node("If", "yes", "y", &[attribute("then_branch", bytes(6, value(12, "z", &[])))]);
    refused(&model(&[condition.clone(), lost]), "no node makes z");
    refused(&model(&[condition, node("If", "yes", "y", &[])]), "has no then_branch");
    refused(&model(&[node("If", "x", "y", &[])]), "its condition depends on the picture");
}

/// A function of one input and one output in the domain `own`.
fn function(name: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let nodes = nodes.iter().map(|node| bytes(7, node_content(node))).collect::<Vec<_>>().concat();
    bytes(25, [bytes(1, name), bytes(4, "a"), bytes(5, "o"), nodes, bytes(10, "own")].concat())
}

/// A node without the key and length that a graph gives it.
fn node_content(node: &[u8]) -> &[u8] {
    let end = 1 + node[1..].iter().position(|&byte| byte < 128).expect("a length") + 1;
    &node[end..]
}

#[test]
fn functions_that_call_too_much() {
    let call = |name: &str, from: &str, to: &str| {
        bytes(1, [bytes(1, from), bytes(2, to), bytes(4, name), bytes(7, "own")].concat())
    };
    let with = |functions: &[Vec<u8>]| [model(&[call("f0", "x", "y")]), functions.concat()].concat();
    let relu = with(&[function("f0", &[node("Relu", "a", "o", &[])])]);
    assert!(survives("a function", || Model::from_onnx(&relu)));
    refused(&with(&[function("f0", &[call("f0", "a", "o")])]), "the function f0 calls itself");
    let pair = [function("f0", &[call("f1", "a", "o")]), function("f1", &[call("f0", "a", "o")])];
    refused(&with(&pair), "the function f0 calls itself");
    // Each calls the next eight times.
    let chain = |i: usize| {
        let calls = (0..8).map(|k| call(&format!("f{}", i + 1), "a", if k == 0 { "o" } else { "-" }));
        function(&format!("f{i}"), &calls.collect::<Vec<_>>())
    };
    let mut all: Vec<_> = (0..20).map(chain).collect();
    all.push(function("f20", &[node("Relu", "a", "o", &[])]));
    refused(&with(&all), "far more nodes");
    // Each calls the next once, without end.
    let deep: Vec<_> =
        (0..10_000).map(|i| function(&format!("f{i}"), &[call(&format!("f{}", i + 1), "a", "o")])).collect();
    refused(&with(&deep), "nested more than");
    refused(&with(&[function("f0", &[])]), "");
}

#[test]
fn loops_without_end() {
    let condition = bytes(5, tensor("yes", 9, &[], &[1]));
    let count = |n: i64| bytes(5, tensor("n", 7, &[], &n.to_le_bytes()));
    let ports = |inner: &str, depth: usize| {
        let inputs =
            [format!("i{depth}"), "go".into(), format!("a{depth}")].map(|name| value(11, &name, &[]));
        let outputs = ["yes".to_string(), inner.into()].map(|name| value(12, &name, &[]));
        [inputs.concat(), outputs.concat()].concat()
    };
    let rounds = |body: Vec<u8>, to: &str, from: &str| {
        node("Loop", &format!("n yes {from}"), to, &[attribute("body", bytes(6, body))])
    };
    let simple = |depth: usize| [node("Relu", &format!("a{depth}"), "b", &[]), ports("b", depth)].concat();
    let file = |n: i64| model(&[condition.clone(), count(n), rounds(simple(0), "y", "x")]);
    assert!(survives("a loop", || Model::from_onnx(&file(3))));
    refused(&file(i64::MAX), "more than 1024 rounds");
    let nested = [rounds(simple(1), "c", "a0"), ports("c", 0)].concat();
    let nested = [rounds(nested, "y", "x"), condition.clone(), count(1000)];
    refused(&model(&nested), "");
    let idle = |depth: usize| [node("Identity", &format!("a{depth}"), "b", &[]), ports("b", depth)].concat();
    let nested = [rounds(idle(1), "c", "a0"), ports("c", 0)].concat();
    refused(&model(&[rounds(nested, "y", "x"), condition, count(1000)]), "too many nodes");
}
