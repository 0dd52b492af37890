//! Files that are no model that is read: what they are, by their first bytes, and what to do.
//!
//! One table for files and one for folders and archives, by what they hold. The first row that fits counts.

use crate::error::Error;
use crate::signature;
use std::path::Path;

/// As many bytes of a file as the table looks at.
pub(super) const FIRST: usize = 4096;

/// What is known of a file before it is read.
struct File<'a> {
    /// Its first bytes, at most [`FIRST`].
    first: &'a [u8],
    /// The ending of its name in small letters; empty if it has none.
    extension: &'a str,
    path: &'a Path,
}

impl File<'_> {
    fn starts(&self, with: &[u8]) -> bool {
        self.first.starts_with(with)
    }

    fn at(&self, place: usize, with: &[u8]) -> bool {
        self.first.get(place..).is_some_and(|rest| rest.starts_with(with))
    }

    fn ends_in(&self, extensions: &[&str]) -> bool {
        extensions.contains(&self.extension)
    }

    /// Whether it is text, and holds one of these words in its first bytes, in letters of any case.
    fn says(&self, words: &[&str]) -> bool {
        let text = self.text().to_lowercase();
        words.iter().any(|word| text.contains(word))
    }

    /// The first bytes if they are text, without leading blanks, else nothing.
    fn text(&self) -> &str {
        signature::text(self.first).unwrap_or_default()
    }

    /// Whether a file of the same name with another ending lies beside it.
    fn beside(&self, extension: &str) -> bool {
        self.path.with_extension(extension).is_file()
    }
}

/// A kind of file: how it is known, what it is, and what to do.
struct Kind {
    is: fn(&File<'_>) -> bool,
    what: &'static str,
    todo: &'static str,
}

const fn kind(is: fn(&File<'_>) -> bool, what: &'static str, todo: &'static str) -> Kind {
    Kind { is, what, todo }
}

const TF: &str = "convert it to ONNX: pip install tf2onnx, then python -m tf2onnx.convert --graphdef FILE --inputs NAME:0 \
                  --outputs NAME:0 --output net.onnx";
const KERAS: &str = "convert it to ONNX: in Keras 3, keras.saving.load_model(FILE).export(\"net.onnx\", format=\"onnx\"); \
                     before, python -m tf2onnx.convert";
const TFLITE: &str =
    "convert it to ONNX: pip install tf2onnx, then python -m tf2onnx.convert --tflite FILE --output net.onnx";
const SAVED: &str = "convert its folder to ONNX: pip install tf2onnx, then python -m tf2onnx.convert --saved-model FOLDER \
                     --output net.onnx";
const ORIGIN: &str = "it cannot be turned back; export the network that it was made from to ONNX";
const PADDLE: &str = "convert it to ONNX: pip install paddle2onnx, then paddle2onnx --model_dir FOLDER \
                      --model_filename NAME.pdmodel --params_filename NAME.pdiparams --save_file net.onnx";
const UNPACK: &str = "unpack it and name the model file in it";
const PICTURE: &str = "give it as the picture, and the model with -m";
const AGAIN: &str = "download it again";

/// Kinds that are told before the file is tried as a model.
const KINDS: &[Kind] = &[
    kind(|f| f.first.is_empty(), "an empty file", "download or save it again"),
    kind(
        |f| signature::is_lfs_pointer(f.first),
        "a Git LFS pointer, which stands for the file",
        "get the file itself: git lfs pull",
    ),
    kind(
        |f| signature::is_web_page(f.first),
        "a web page",
        "the download gave a page instead of the file; open the address in a browser and save the file itself",
    ),
    kind(|f| signature::is_hdf5(f.first), "an HDF5 file, as Keras saves models and weights", KERAS),
    kind(|f| f.at(4, b"TFL3"), "a TensorFlow Lite model", TFLITE),
    kind(|f| f.ends_in(&["tflite", "lite"]), "a TensorFlow Lite model", TFLITE),
    kind(|f| f.at(4, b"ET1"), "an ExecuTorch program", ORIGIN),
    kind(|f| f.starts(b"GGUF") || f.starts(b"lmgg") || f.starts(b"tjgg"), "a GGUF or GGML file", ORIGIN),
    kind(|f| f.starts(b"ftrt"), "a TensorRT engine", ORIGIN),
    kind(|f| f.ends_in(&["engine", "trt"]), "a TensorRT engine", ORIGIN),
    kind(|f| f.ends_in(&["mlmodel"]), "a Core ML model", ORIGIN),
    kind(|f| f.ends_in(&["mnn"]), "an MNN model", ORIGIN),
    kind(|f| f.ends_in(&["pdmodel", "pdiparams"]), "a PaddlePaddle model", PADDLE),
    kind(
        |f| f.ends_in(&["pdparams", "pdopt"]),
        "a PaddlePaddle state dict",
        "export the network to ONNX in the code that made it: paddle.onnx.export(net, \"net\")",
    ),
    kind(|f| f.ends_in(&["caffemodel", "prototxt"]), "a Caffe model", ORIGIN),
    kind(
        |f| f.ends_in(&["pb"]) && (f.starts(b"\x0a") || f.starts(b"\x08\x01\x12")),
        "a TensorFlow graph or SavedModel",
        TF,
    ),
    kind(|f| f.ends_in(&["xml", ""]) && f.says(&["<net "]), "an OpenVINO model", ORIGIN),
    kind(|f| f.ends_in(&["bin"]) && f.beside("xml"), "the weights of an OpenVINO model", ORIGIN),
    kind(
        |f| f.starts(&[0xdd, 0x85, 0x76, 0]),
        "a binary ncnn file (.param.bin)",
        "give the text file (.param) that it was made from, with its .bin beside it",
    ),
    kind(
        |f| f.starts(&[0x38, 0x4b, 0x0d, 0]) && f.ends_in(&["bin"]),
        "the int8 weights of an ncnn model",
        "give the .param file and .bin file with fp16 or f32 weights",
    ),
    kind(
        |f| f.ends_in(&["bin"]) && f.beside("param"),
        "the weights of an ncnn model",
        "name the .param file beside it",
    ),
    kind(
        |f| f.starts(&[0x47, 0x6b, 0x30, 1]) || f.starts(&[0x56, 0xc0, 2, 0]),
        "the weights of an ncnn model",
        "put its .param file beside it, of the same name, and name that",
    ),
    kind(
        |f| signature::is_matlab(f.first),
        "a MATLAB file",
        "export the network to ONNX: exportONNXNetwork(net, \"net.onnx\")",
    ),
    kind(
        |f| signature::is_numpy(f.first),
        "a NumPy array",
        "a model file holds a network; give an array as the input, and the model with -m",
    ),
    kind(|f| signature::is_gzip(f.first), "a gzip archive", UNPACK),
    kind(|f| signature::archive(f.first).is_some(), "an archive", UNPACK),
    kind(|f| f.starts(b"\x89PNG"), "a PNG picture", PICTURE),
    kind(|f| f.starts(b"\xff\xd8\xff"), "a JPEG picture", PICTURE),
    kind(|f| f.starts(b"GIF8"), "a GIF picture", PICTURE),
    kind(|f| f.starts(b"II*\0") || f.starts(b"MM\0*") || f.starts(b"II+\0"), "a TIFF picture", PICTURE),
    kind(|f| f.starts(b"RIFF") && f.at(8, b"WEBP"), "a WebP picture", PICTURE),
    kind(|f| f.starts(b"BM") && f.at(6, &[0; 4]), "a BMP picture", PICTURE),
    kind(|f| f.starts(b"\x76\x2f\x31\x01"), "an OpenEXR picture", PICTURE),
    kind(|f| signature::is_dicom(f.first), "a DICOM picture", PICTURE),
    kind(|f| f.at(4, b"ftyp"), "a video or a HEIF or AVIF picture", PICTURE),
    kind(|f| signature::is_pdf(f.first), "a PDF document", AGAIN),
    kind(|f| f.starts(b"\x7fELF") || f.starts(b"MZ"), "a program or library", "name a model file"),
    kind(
        |f| f.text().starts_with('{') && f.says(&["modeltopology", "layers-model", "graph-model"]),
        "a TensorFlow.js model",
        "convert it to ONNX: pip install tf2onnx, then python -m tf2onnx.convert --tfjs FILE --output net.onnx",
    ),
    kind(
        |f| f.text().starts_with(['{', '[']),
        "JSON text, such as a description of a model",
        "name the file with the weights",
    ),
    kind(|f| f.text().starts_with("<?xml") || f.text().starts_with('<'), "an XML file", "name a model file"),
    kind(
        |f| !f.text().is_empty() && !f.text().starts_with("7767517"),
        "a text file",
        "name a model file; if it was downloaded, read the text: it may be a message of the server",
    ),
];

/// The formats that are read.
const READ: &str =
    "expected ONNX, PyTorch (.pth, .pt, .ckpt), safetensors, ncnn (.param) or Open Image Denoise (.tza)";

/// The error that names a file by its first bytes; `None` if it may be a model.
pub(super) fn file(path: &Path, first: &[u8]) -> Option<Error> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let file = File { first, extension: &extension, path };
    let kind = KINDS.iter().find(|kind| (kind.is)(&file))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let todo = kind.todo.replace("FILE", &name);
    let what = if kind.todo == UNPACK { signature::archive(first).unwrap_or(kind.what) } else { kind.what };
    Some(Error::Model(format!("this is {what}, not a model that is read: {todo}")))
}

/// The error of a file that nothing is known of.
pub(super) fn unknown(first: &[u8]) -> Error {
    let start: Vec<String> = first.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Error::Model(format!("not a model that is read: it begins with the bytes {}; {READ}", start.join(" ")))
}

/// What a folder or an archive is: an entry whose name ends so, what it is, and what to do.
const HOLDINGS: &[(&str, &str, &str)] = &[
    ("saved_model.pb", "a TensorFlow SavedModel", SAVED),
    ("keras_metadata.pb", "a TensorFlow SavedModel", SAVED),
    ("model.weights.h5", "a Keras model", KERAS),
    ("com.apple.CoreML/model.mlmodel", "a Core ML package", ORIGIN),
    ("com.apple.CoreML", "a Core ML package", ORIGIN),
    (".mlmodel", "a Core ML package", ORIGIN),
    (".pdmodel", "a PaddlePaddle model", PADDLE),
    (".pdiparams", "a PaddlePaddle model", PADDLE),
    (
        "serialized_exported_program.json",
        "a program of torch.export",
        "export the network to ONNX: torch.onnx.export",
    ),
    ("archive_format", "a program of torch.export", "export the network to ONNX: torch.onnx.export"),
    (
        "data.pkl",
        "an unpacked PyTorch file",
        "name the file as it was before, or zip it again without compression",
    ),
    ("bioimageio.yaml", "a bioimage.io package", "unpack it and name its bioimageio.yaml"),
    ("rdf.yaml", "a bioimage.io package", "unpack it and name its rdf.yaml"),
    (
        ".npy",
        "an archive of NumPy arrays",
        "a model file holds a network; export it to ONNX in the code that made it",
    ),
    ("[Content_Types].xml", "an office document", "name a model file"),
];

/// The error that names a folder by the names of its entries.
pub(super) fn folder(path: &Path) -> Error {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .map(|entries| {
            entries.flatten().take(10_000).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    names.sort();
    // A Core ML package holds its model two folders down.
    if path.join("Data/com.apple.CoreML").is_dir() {
        names.insert(0, "com.apple.CoreML".into());
    }
    let kind = holding(&names)
        .map(|(what, todo)| format!("this folder is {what}, not a model that is read: {todo}"));
    let first = |endings: &[&str]| names.iter().find(|name| endings.iter().any(|end| name.ends_with(end)));
    let model = first(&[
        ".onnx",
        ".safetensors",
        ".pth",
        ".pt",
        ".ckpt",
        ".param",
        ".tza",
        "bioimageio.yaml",
        "rdf.yaml",
    ]);
    let message = match (model, kind) {
        (Some(name), _) => {
            format!("is a folder; name the model file in it, such as {}", path.join(name).display())
        }
        (None, Some(message)) => message,
        (None, None) if path.join("fold_0").is_dir() => {
            "is a folder of nnU-Net; name a checkpoint in it, such as fold_0/checkpoint_final.pth".into()
        }
        (None, None) if first(&[".xml"]).is_some() && first(&[".bin"]).is_some() => {
            format!("this folder is an OpenVINO model, not a model that is read: {ORIGIN}")
        }
        (None, None) => "is a folder; expected a model file".into(),
    };
    Error::Model(message)
}

/// The error that names a zip archive by the names of its entries.
#[cfg(feature = "pickle")]
pub(super) fn archive<'a>(names: impl Iterator<Item = &'a str>) -> Error {
    let names: Vec<&str> = names.collect();
    Error::Model(match holding(&names) {
        Some((what, todo)) => format!("this is {what}, not a model that is read: {todo}"),
        None => format!("this is a zip archive that PyTorch did not write (it holds no data.pkl): {UNPACK}"),
    })
}

fn holding(names: &[impl AsRef<str>]) -> Option<(&'static str, &'static str)> {
    let holds = |end: &str| names.iter().any(|name| name.as_ref().trim_end_matches('/').ends_with(end));
    HOLDINGS.iter().find(|(end, ..)| holds(end)).map(|(_, what, todo)| (*what, *todo))
}

/// The kinds of model files that are not read, and what to do.
#[cfg(test)]
pub(crate) fn refused_models() -> impl Iterator<Item = (&'static str, &'static str)> {
    let kinds = KINDS.iter().filter(|kind| [TF, KERAS, TFLITE, ORIGIN, PADDLE].contains(&kind.todo));
    let mut seen = std::collections::HashSet::new();
    kinds.map(|kind| (kind.what, kind.todo)).filter(move |kind| seen.insert(*kind))
}
